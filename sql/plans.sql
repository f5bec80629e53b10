--
-- What rewriting a plan must leave as it is: every row, the sort that a LIMIT
-- bounds, the turn of volatile functions, cursors.
-- Random statements and request counts are in test/t/test_plans.py.
--
\pset format unaligned
CREATE TABLE doc (id int PRIMARY KEY, body text, answer text);
INSERT INTO doc SELECT i, 'Text number ' || i FROM generate_series(1, 60) i;
ANALYZE doc;

CREATE FUNCTION plan_of(query text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (%s) %s', options, query) LOOP
        IF line !~ '^ *Model: ' THEN
            -- versions differ in which side of an equality comes first
            RETURN NEXT replace(line, '(c.day = open_day(v.at))', '(open_day(v.at) = c.day)');
        END IF;
    END LOOP;
END $$;

-- ---- joins whose inner side is unique: the clauses that prove it stay ----
CREATE TABLE cal (shop int, day date, note text, PRIMARY KEY (shop, day));
INSERT INTO cal SELECT s, date '2024-01-01' + d, 'note' FROM generate_series(1, 5) s, generate_series(0, 9) d;
CREATE TABLE visit AS SELECT 1 + i % 5 AS shop, timestamp '2024-01-01' + i % 10 * interval '1 day' AS at, 'visit ' || i AS body
  FROM generate_series(1, 200) i;
CREATE FUNCTION open_day(timestamp) RETURNS timestamp LANGUAGE plpgsql STABLE COST 200 AS 'BEGIN RETURN $1; END';
CREATE FUNCTION lookup(int) RETURNS int LANGUAGE plpgsql STABLE COST 1000 AS 'BEGIN RETURN $1; END';
ANALYZE cal, visit;
SELECT plan_of($q$SELECT v.body FROM visit v JOIN cal c ON c.shop = v.shop AND c.day = open_day(v.at) AND glm_count_tokens(v.body || c.note) > 1$q$, 'VERBOSE, COSTS OFF') AS plan;
SELECT count(*) FROM visit v JOIN cal c ON c.shop = v.shop AND c.day = open_day(v.at) AND glm_count_tokens(v.body || c.note) > 1;
SELECT count(*) FROM visit v, cal c WHERE glm_count_tokens(v.body || c.note) > 1 AND c.shop = v.shop AND c.day = open_day(v.at);
BEGIN;
UPDATE visit v SET body = 'seen' FROM cal c WHERE c.shop = v.shop AND c.day = open_day(v.at) AND glm_count_tokens(v.body || c.note) > 1;
SELECT count(*) FROM visit WHERE body = 'seen';
ROLLBACK;
BEGIN;
DELETE FROM visit v USING cal c WHERE c.shop = v.shop AND c.day = open_day(v.at) AND glm_count_tokens(v.body || c.note) > 1;
SELECT count(*) FROM visit;
ROLLBACK;
-- by every kind of join
SET enable_hashjoin = off;
SELECT count(*) FROM visit v JOIN cal c ON c.shop = v.shop AND c.day = open_day(v.at) AND glm_count_tokens(v.body || c.note) > 1;
SET enable_mergejoin = off;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM visit v JOIN cal c ON c.shop = v.shop AND c.day = open_day(v.at) AND glm_count_tokens(v.body || c.note) > 1;
SELECT count(*) FROM doc a JOIN doc b ON b.id = lookup(a.id) AND glm_count_tokens(a.body || b.body) > 0;
SELECT count(b.id) FROM doc a LEFT JOIN doc b ON b.id = lookup(a.id) AND glm_count_tokens(a.body || b.body) > 0 WHERE glm_count_tokens(b.body) > 0;
-- a call that proves it itself
CREATE TABLE word (id int, body text);
INSERT INTO word SELECT i, repeat('a', i) FROM generate_series(1, 20) i;
CREATE TABLE tok AS SELECT DISTINCT glm_count_tokens(body) AS tok FROM word;
ALTER TABLE tok ADD UNIQUE (tok);
ALTER FUNCTION glm_count_tokens IMMUTABLE;
SELECT count(*) FROM word a JOIN tok b ON b.tok = glm_count_tokens(a.body);
SELECT count(*) FROM word a JOIN tok b ON b.tok = glm_count_tokens(a.body) AND glm_tokenize(a.body) IS NOT NULL;
ALTER FUNCTION glm_count_tokens VOLATILE;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_indexscan;
RESET enable_bitmapscan;

-- ---- a LIMIT bounds the sort below ----
CREATE TABLE big AS SELECT i AS id, 'ticket number ' || i AS body, i % 100 AS k FROM generate_series(1, 3000) i;
ANALYZE big;
CREATE FUNCTION sorts_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        IF line ~ 'Sort Methods?: ' THEN
            RETURN NEXT substring(line FROM 'top-N heapsort|quicksort|external \w+|still in progress');
        END IF;
    END LOOP;
END $$;
SELECT query, (SELECT string_agg(s, ', ') FROM sorts_of(query) s) FROM (VALUES
    ('SELECT id, glm_count_tokens(body) FROM big ORDER BY k, id LIMIT 3'),
    ('SELECT id, glm_detokenize(glm_tokenize(body)) FROM big ORDER BY k, id LIMIT 3 OFFSET 2'),
    ('SELECT * FROM (SELECT id, glm_count_tokens(body) n FROM big ORDER BY k, id LIMIT 10) s WHERE n > 3 LIMIT 5'),
    ('SELECT * FROM generate_series(1, 3) x, LATERAL (SELECT id, glm_count_tokens(body) n FROM big WHERE id % 3 = x % 3 ORDER BY k, id LIMIT x) s'),
    ('SELECT (SELECT glm_count_tokens(body) FROM big WHERE id % 3 = x % 3 ORDER BY k, id LIMIT 1) FROM generate_series(1, 3) x'),
    ('SELECT s.id, glm_count_tokens(s.body) FROM (SELECT * FROM big ORDER BY k, id) s LIMIT 3'),
    -- but one that drops rows does not
    ('SELECT * FROM (SELECT * FROM big ORDER BY k, id OFFSET 0) s WHERE glm_count_tokens(body) > 0 LIMIT 3'),
    ('SELECT * FROM (SELECT id, glm_count_tokens(body) n FROM (SELECT * FROM big ORDER BY k, id OFFSET 0) t OFFSET 0) s WHERE n > 0 LIMIT 3')
) q(query);
SELECT id FROM (SELECT * FROM big ORDER BY k DESC, id OFFSET 0) s WHERE glm_count_tokens(body) > 0 AND id % 2 = 0 LIMIT 3;
SELECT x, s.id FROM generate_series(1, 3) x, LATERAL (SELECT id, glm_count_tokens(body) FROM big ORDER BY k, id LIMIT x) s;
CREATE INDEX big_k ON big (k);
SET enable_seqscan = off;
SELECT * FROM sorts_of('SELECT id, glm_count_tokens(body) FROM big ORDER BY k, id LIMIT 10');
RESET enable_seqscan;

-- ---- volatile functions of others keep their turn ----
CREATE TABLE chain AS SELECT i AS id, i::text AS v FROM generate_series(1, 4) i;
CREATE FUNCTION prev(int) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT coalesce((SELECT v FROM chain WHERE id = $1 - 1), ''0'')';
BEGIN;
UPDATE chain SET v = glm_detokenize(glm_tokenize(prev(id))) || id RETURNING v;
ROLLBACK;
BEGIN;
UPDATE chain SET v = glm_detokenize(glm_tokenize(v)) || '!' WHERE prev(id) IN ('0', '1!', '2!') RETURNING v;
ROLLBACK;
BEGIN;
UPDATE chain SET v = glm_detokenize(glm_tokenize((SELECT prev(chain.id)))) || id RETURNING v;
ROLLBACK;
BEGIN;
UPDATE chain SET v = glm_detokenize(glm_tokenize(v)) || prev(id) RETURNING v;
ROLLBACK;
CREATE SEQUENCE seq;
SELECT glm_detokenize(glm_tokenize('x' || nextval('seq'))), currval('seq') FROM doc WHERE id < 4;
SELECT glm_detokenize(glm_tokenize('x' || n)), currval('seq') FROM (SELECT nextval('seq') AS n FROM doc WHERE id < 4 OFFSET 0) s;
SELECT glm_detokenize(glm_tokenize('x' || id)), nextval('seq'), currval('seq') FROM doc WHERE id < 4;
SELECT plan_of($q$SELECT glm_count_tokens(body || prev(id)) FROM doc$q$) AS plan;
-- what harms nobody may run ahead, and what is evaluated with the row does not
SELECT plan_of($q$SELECT glm_count_tokens(body), random(), nextval('seq') FROM doc WHERE random() < 0.1 AND clock_timestamp() > '2020-01-01'$q$) AS plan;

-- ---- cursors ----
BEGIN;
DECLARE c CURSOR FOR SELECT id, glm_count_tokens(body) > 0 AS counted FROM doc;
FETCH 3 FROM c;
UPDATE doc SET answer = 'third' WHERE CURRENT OF c;
FETCH BACKWARD 1 FROM c;
UPDATE doc SET answer = 'second' WHERE CURRENT OF c RETURNING id;
FETCH NEXT FROM c;
FETCH LAST FROM c;
DELETE FROM doc WHERE CURRENT OF c RETURNING id;
FETCH PRIOR FROM c;
FETCH ABSOLUTE 5 FROM c;
FETCH RELATIVE -2 FROM c;
MOVE BACKWARD ALL FROM c;
FETCH 1 FROM c;
SELECT id, answer FROM doc WHERE answer IS NOT NULL ORDER BY id;
MOVE ALL FROM c;
UPDATE doc SET answer = 'none' WHERE CURRENT OF c;
ROLLBACK;
-- through a sub-select and a filter, and by an index alone
CREATE INDEX ON doc (body);
VACUUM doc;
BEGIN;
DECLARE c CURSOR FOR SELECT id, glm_detokenize(glm_tokenize(body)) AS body FROM (SELECT * FROM doc OFFSET 2) s WHERE glm_count_tokens(body) > 0 AND id % 2 = 0;
FETCH 2 FROM c;
UPDATE doc SET answer = 'sixth' WHERE CURRENT OF c RETURNING id;
CLOSE c;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
DECLARE c CURSOR FOR SELECT body, glm_count_tokens(body) > 0 AS counted FROM doc WHERE body > 'Text number 5' ORDER BY body;
SELECT plan_of($q$SELECT body, glm_count_tokens(body) > 0 AS counted FROM doc WHERE body > 'Text number 5' ORDER BY body$q$) AS plan;
FETCH 2 FROM c;
DELETE FROM doc WHERE CURRENT OF c RETURNING body;
-- where there is no one row of a table, as without us
DECLARE d CURSOR FOR SELECT count(glm_count_tokens(body)) FROM doc;
FETCH 1 FROM d;
UPDATE doc SET answer = 'x' WHERE CURRENT OF d;
ROLLBACK;
-- partitions and inheritance: the row of the one, and no row of the others
CREATE TABLE part (id int, body text, answer text) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (3);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (3) TO (100);
INSERT INTO part SELECT id, body FROM doc WHERE id < 6;
CREATE TABLE parent (id int, body text, answer text);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT id, body FROM doc WHERE id < 3;
INSERT INTO child SELECT id, body FROM doc WHERE id BETWEEN 3 AND 5;
BEGIN;
DECLARE c CURSOR FOR SELECT id, glm_count_tokens(body) > 0 AS counted FROM part;
FETCH 2 FROM c;
UPDATE part SET answer = 'p' || id WHERE CURRENT OF c;
FETCH 2 FROM c;
UPDATE part SET answer = 'p' || id WHERE CURRENT OF c;
SELECT id, answer FROM part ORDER BY id;
DECLARE d CURSOR FOR SELECT id, glm_count_tokens(body) > 0 AS counted FROM parent;
FETCH 2 FROM d;
UPDATE parent SET answer = 'p' || id WHERE CURRENT OF d;
FETCH 2 FROM d;
UPDATE parent SET answer = 'p' || id WHERE CURRENT OF d;
SELECT id, answer FROM parent ORDER BY id;
ROLLBACK;
-- the usual loops
DO $$
DECLARE
    c CURSOR FOR SELECT id, glm_count_tokens(body) AS n FROM doc WHERE glm_count_tokens(body) > 0;
    l CURSOR FOR SELECT id, glm_count_tokens(body) AS n FROM doc FOR UPDATE;
BEGIN
    FOR r IN c LOOP
        UPDATE doc SET answer = r.id WHERE CURRENT OF c;
    END LOOP;
    RAISE NOTICE '%', (SELECT count(*) FROM doc WHERE answer = id::text);
    FOR r IN l LOOP
        UPDATE doc SET answer = -r.id WHERE CURRENT OF l;
    END LOOP;
    RAISE NOTICE '%', (SELECT count(*) FROM doc WHERE answer = (-id)::text);
END $$;
-- a setting between two FETCHes is the later one's
BEGIN;
DECLARE c CURSOR FOR SELECT glm_generate('Who are you?') AS answer FROM doc;
SET LOCAL chatglm.max_tokens = 1;
FETCH 1 FROM c;
SET LOCAL chatglm.max_tokens = 3;
FETCH 1 FROM c;
ROLLBACK;

-- ---- plans that are kept follow chatglm.prefetch ----
SET plan_cache_mode = force_generic_plan;
PREPARE counting AS SELECT glm_count_tokens(body) FROM doc;
SELECT plan_of($q$EXECUTE counting$q$) AS plan;
SET chatglm.prefetch = 1;
SELECT plan_of($q$EXECUTE counting$q$) AS plan;
SET chatglm.prefetch = 2;
SELECT plan_of($q$EXECUTE counting$q$) AS plan;
BEGIN;
SET LOCAL chatglm.prefetch = 1;
SELECT plan_of($q$EXECUTE counting$q$) AS plan;
ROLLBACK;
SELECT plan_of($q$EXECUTE counting$q$) AS plan;
RESET chatglm.prefetch;
DEALLOCATE counting;
RESET plan_cache_mode;

-- ---- STRICT functions get no NULL ----
CREATE FUNCTION strict_count(content text, model text) RETURNS int STRICT LANGUAGE c AS '$libdir/chatglm', 'chatglm_count_tokens';
SELECT count(strict_count(body, CASE WHEN id < 5 THEN 'tiny-chatglm3' END)) FROM doc;
ALTER FUNCTION glm_count_tokens STRICT;
SELECT count(glm_count_tokens(body, model => CASE WHEN id < 5 THEN 'tiny-chatglm3' END)), count(glm_count_tokens(body)) FROM doc;
ALTER FUNCTION glm_count_tokens CALLED ON NULL INPUT;
SELECT count(glm_count_tokens(body)) FROM doc;
ALTER FUNCTION glm_stream STRICT;
SELECT count(*) FROM glm_stream('hello');
ALTER FUNCTION glm_stream CALLED ON NULL INPUT;
SELECT count(*) > 0 AS rows FROM glm_stream('hello');

-- ---- the same calls are counted ----
CREATE FUNCTION counted_calls(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    oid oid := 'glm_count_tokens'::regproc;
    before bigint := coalesce(pg_stat_get_function_calls(oid), 0) + coalesce(pg_stat_get_xact_function_calls(oid), 0);
BEGIN
    EXECUTE query;
    RETURN coalesce(pg_stat_get_function_calls(oid), 0) + coalesce(pg_stat_get_xact_function_calls(oid), 0) - before;
END $$;
BEGIN;
SET LOCAL track_functions = 'all';
SELECT counted_calls('SELECT count(glm_count_tokens(body)) FROM doc'), counted_calls('SELECT FROM doc WHERE glm_count_tokens(body) > 0 LIMIT 7');
SET LOCAL chatglm.prefetch = 1;
SELECT counted_calls('SELECT count(glm_count_tokens(body)) FROM doc'), counted_calls('SELECT FROM doc WHERE glm_count_tokens(body) > 0 LIMIT 7');
COMMIT;

DROP TABLE doc, cal, visit, word, tok, big, chain, part, parent, child;
DROP SEQUENCE seq;
DROP FUNCTION plan_of, open_day, lookup, sorts_of, prev, strict_count, counted_calls;
