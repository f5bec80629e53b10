--
-- Models by name: chatglm.model, glm_model_load and glm_model_unload.
--
CREATE ROLE regress_glm_user;
CREATE ROLE regress_glm_loader;
GRANT EXECUTE ON FUNCTION glm_model_load, glm_model_unload TO regress_glm_loader;

-- the embedded model is a directory's name
SELECT glm_model_load('tiny-chatglm3');
SELECT source, loaded, dtype, layers > 0 AS layers, hidden > 0 AS hidden, vocab > 0 AS vocab, context > 0 AS context,
       size_bytes > 0 AS size, requests > 0 AS requests, load_ms >= 0 AS load_ms
  FROM glm_models WHERE name = 'tiny-chatglm3';

-- a name of one's own for the same directory
SELECT glm_model_load('regress', path, '{}') FROM glm_models WHERE name = 'tiny-chatglm3';
SELECT name, options FROM chatglm.model;
SELECT source, loaded FROM glm_models WHERE name = 'regress';
SELECT glm_generate('hello', model => 'regress') = glm_generate('hello') AS same;

-- registering again changes the row; a load that fails takes it back
SELECT glm_model_load('regress', (SELECT path FROM glm_models WHERE name = 'tiny-chatglm3'));
SELECT name, options FROM chatglm.model;
CREATE TEMP TABLE before AS SELECT * FROM chatglm.model;
SELECT glm_model_load('regress', '/');
SELECT count(*) AS unchanged FROM chatglm.model NATURAL JOIN (SELECT name, path FROM before) b;

-- a row hides a directory of its name
BEGIN;
INSERT INTO chatglm.model VALUES ('tiny-chatglm3', '/nonexistent');
SELECT source, loaded FROM glm_models WHERE name = 'tiny-chatglm3' AND source IS NOT NULL;
SELECT glm_generate('hello');
ROLLBACK;

-- unloading says whether there was something to unload; it comes back when used
SELECT glm_model_unload('regress');
SELECT glm_model_unload('regress');
SELECT source, loaded, layers FROM glm_models WHERE name = 'regress';
SELECT glm_model_unload(NULL);

-- what plain SQL may write
INSERT INTO chatglm.model VALUES ('a/b', '/tmp');
INSERT INTO chatglm.model VALUES ('regress2', 'relative/path');
INSERT INTO chatglm.model VALUES ('regress2', '/tmp', '{"nonesuch": 1}');
INSERT INTO chatglm.model VALUES ('regress2', '/tmp', '[]');
UPDATE chatglm.model SET name = '.hidden';
-- names are bytes
INSERT INTO chatglm.model VALUES ('Regress', '/nonexistent');
SELECT glm_count_tokens('a', model => 'Regress');
DELETE FROM chatglm.model WHERE name = 'Regress';

-- who may do what
GRANT USAGE ON SCHEMA chatglm TO regress_glm_user;
GRANT INSERT ON chatglm.model TO regress_glm_user;
SET ROLE regress_glm_user;
SELECT name, path FROM glm_models WHERE name IN ('regress', 'tiny-chatglm3') ORDER BY name;
SELECT glm_count_tokens('hello', model => 'regress') > 0 AS "uses the name";
SELECT name FROM chatglm.model;
INSERT INTO chatglm.model VALUES ('regress2', '/tmp');
SELECT glm_model_load('regress');
SELECT glm_model_unload('regress');
SELECT glm_cancel(1);
RESET ROLE;

SET ROLE regress_glm_loader;
SELECT glm_model_load('regress');
SELECT glm_model_load('regress2', '/tmp');
RESET ROLE;
GRANT pg_read_server_files TO regress_glm_loader;
SET ROLE regress_glm_loader;
SELECT glm_model_load('regress2', path) FROM glm_models WHERE name = 'regress';
SELECT glm_model_unload('regress2');
RESET ROLE;
SELECT name FROM chatglm.model ORDER BY name;

DELETE FROM chatglm.model;
SELECT glm_generate('hello', model => 'regress');
SELECT glm_model_unload('regress');
REVOKE USAGE ON SCHEMA chatglm FROM regress_glm_user;
REVOKE INSERT ON chatglm.model FROM regress_glm_user;
REVOKE EXECUTE ON FUNCTION glm_model_load, glm_model_unload FROM regress_glm_loader;
DROP ROLE regress_glm_user;
DROP ROLE regress_glm_loader;
