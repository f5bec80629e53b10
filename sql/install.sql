--
-- What CREATE EXTENSION makes, in any schema, and that DROP EXTENSION takes
-- all of it away.
--
CREATE SCHEMA glm;
CREATE EXTENSION chatglm SCHEMA glm;

-- from version 17 on the types of tables, views and arrays are members, too
CREATE VIEW glm.member AS
SELECT classid, objid, pg_describe_object(classid, objid, objsubid) COLLATE "C" AS member
  FROM pg_depend
 WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'chatglm')
   AND NOT (classid = 'pg_type'::regclass AND
            EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                     WHERE t.oid = objid AND (t.typelem <> 0 OR c.relkind <> 'c')));

SELECT member FROM glm.member ORDER BY 1;

-- every one of them says what it is
SELECT member AS "without a comment" FROM glm.member
 WHERE obj_description(objid, classid::regclass::name) IS NULL;

SELECT attrelid::regclass AS relation, attname AS "column without a comment"
  FROM glm.member JOIN pg_class ON classid = 'pg_class'::regclass AND objid = pg_class.oid OR
                                   classid = 'pg_type'::regclass AND objid = reltype
  JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
 WHERE relkind NOT IN ('i', 'S') AND col_description(attrelid, attnum) IS NULL;

-- pg_dump keeps rows of the configuration tables
SELECT extconfig::regclass[], extcondition FROM pg_extension WHERE extname = 'chatglm';

-- the functions work wherever they are, the custom scan finds its own
SELECT glm.glm_ready(), glm.glm_health()->'ready' AS health;
SELECT glm.glm_count_tokens('hello') > 0 AS counted;
EXPLAIN (COSTS OFF) SELECT * FROM glm.glm_stream('hello');
SELECT count(*) > 0 AS streamed FROM glm.glm_stream('hello');

DROP VIEW glm.member;
DROP EXTENSION chatglm;
DROP SCHEMA glm;
SELECT nspname FROM pg_namespace WHERE nspname IN ('glm', 'chatglm');

-- for the tests that follow
CREATE EXTENSION chatglm;
