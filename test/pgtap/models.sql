-- models.sql - names of models: the table, the directory, who may do what.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_admin;
GRANT EXECUTE ON FUNCTION glm_model_load, glm_model_unload, glm_cancel TO glm_tap_admin;
SELECT plan(52);

-- the view shows a copy that the worker makes now and then, and when it becomes idle
CREATE FUNCTION pg_temp.becomes(condition text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    holds bool;
BEGIN
    FOR i IN 1 .. 6000 LOOP
        EXECUTE condition INTO holds;
        EXIT WHEN holds;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN holds;
END $$;

-- ---- the embedded model ----
SELECT lives_ok($$SELECT glm_model_load('tiny-chatglm3')$$, 'load');
SELECT ok(pg_temp.becomes($$SELECT loaded FROM glm_models WHERE name = 'tiny-chatglm3'$$), 'the view says so');
CREATE TEMP TABLE tiny AS SELECT * FROM glm_models WHERE name = 'tiny-chatglm3';
GRANT SELECT ON tiny TO PUBLIC;
SELECT is(source, 'directory', 'tiny-chatglm3 is found in the directory') FROM tiny;
SELECT ok(loaded, 'it is loaded') FROM tiny;
SELECT is(dtype, 'F16', 'dtype') FROM tiny;
SELECT ok(layers > 0 AND hidden > 0 AND vocab > 0 AND context >= 512 AND size_bytes > 0 AND load_ms >= 0, 'its measures') FROM tiny;
SELECT ok(pg_temp.becomes($$SELECT sequences = 0 FROM glm_models WHERE name = 'tiny-chatglm3'$$), 'no sequence uses it now');

-- ---- a name of one's own ----
SELECT lives_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny))$$, 'the same directory by another name');
SELECT is(glm_generate('hello', model => 'tap'), glm_generate('hello'), 'gives the same answers');
SELECT is((SELECT source FROM glm_models WHERE name = 'tap'), 'table', 'it is in the table');
SELECT is((SELECT path FROM chatglm.model WHERE name = 'tap'), (SELECT path FROM tiny), 'with its path');
SELECT ok(pg_temp.becomes($$SELECT chunks_mapped = chunks_total AND bytes_mapped = size_bytes
                             AND bytes_resident BETWEEN 1 AND bytes_mapped AND quantization = 'none'
                             FROM glm_models WHERE name = 'tap'$$), 'its weights are mapped');
SELECT throws_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny), '{"verifi": "full"}')$$, '22023', NULL,
                 'an option nobody knows');
SELECT throws_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny), '{"verify": "half"}')$$, '22023', NULL,
                 'a value nobody knows');
SELECT lives_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny), '{"verify": "full"}')$$, 'verify a model');
SELECT ok(glm_model_unload('tap'), 'unload');
SELECT ok(pg_temp.becomes($$SELECT NOT loaded FROM glm_models WHERE name = 'tap'$$), 'it is gone from memory');
SELECT ok(NOT glm_model_unload('tap'), 'a second time there is nothing to unload');
SELECT is(glm_generate('hello', model => 'tap'), glm_generate('hello'), 'it comes back when it is used');
SELECT ok(glm_model_unload('tap'), 'and goes again');
SELECT isnt(glm_generate('hello', model => 'tap'), NULL, 'and comes again');
SELECT lives_ok($$DELETE FROM chatglm.model WHERE name = 'tap'$$, 'the row can be deleted');
SELECT throws_ok($$SELECT glm_generate('hello', model => 'tap')$$, '42704', NULL, 'and the name is gone');

SELECT ok(glm_model_unload('tap'), 'what is left of it can be unloaded');
SELECT ok(NOT glm_model_unload('tap'), 'once');
SELECT is((SELECT count(*) FROM glm_models WHERE name = 'tap'), 0::bigint, 'a name that means nothing is not shown');

-- ---- unregistering ----
SELECT lives_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny))$$, 'registered again');
SELECT ok(glm_model_unregister('tap'), 'unregister');
SELECT is((SELECT count(*) FROM chatglm.model WHERE name = 'tap'), 0::bigint, 'deletes the row');
SELECT ok(NOT glm_model_unload('tap'), 'and unloads');
SELECT ok(NOT glm_model_unregister('tap'), 'a second time there is nothing');
SELECT ok(NOT glm_model_unregister('tiny-chatglm3'), 'a directory is not registered');
SELECT isnt(glm_generate('hello'), NULL, 'and stays');
SELECT throws_ok($$SELECT glm_model_unregister('a/b')$$, '42602', NULL, 'no name');
SELECT is(glm_model_unregister(NULL), NULL, 'NULL');
SAVEPOINT registered;
SELECT lives_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny))$$, 'registered in a subtransaction');
ROLLBACK TO registered;
SELECT is((SELECT count(*) FROM glm_models WHERE name = 'tap'), 0::bigint, 'which is rolled back: it is not shown');

-- ---- one that cannot be loaded leaves no row ----
SELECT throws_ok($$SELECT glm_model_load('tap', '/')$$, NULL, NULL, 'a directory without a model');
SELECT is((SELECT count(*) FROM chatglm.model WHERE name = 'tap'), 0::bigint, 'leaves no row');

-- ---- somebody without rights ----
SET ROLE glm_tap_user;
SELECT isnt(glm_generate('hello'), NULL, 'everybody may generate');
SELECT isnt(glm_count_tokens('hello'), NULL, 'and count');
SELECT isnt(glm_health(), NULL, 'and ask for health');
SELECT is((SELECT path FROM glm_models WHERE name = 'tiny-chatglm3'), NULL, 'but sees no paths');
SELECT throws_ok($$SELECT glm_model_load('tiny-chatglm3')$$, '42501', NULL, 'may not load');
SELECT throws_ok($$SELECT glm_model_unload('tiny-chatglm3')$$, '42501', NULL, 'nor unload');
SELECT throws_ok($$SELECT glm_cancel(1)$$, '42501', NULL, 'nor cancel');
SELECT throws_ok($$SELECT glm_model_unregister('tap')$$, '42501', NULL, 'nor unregister');
SELECT throws_ok($$SELECT * FROM chatglm.model$$, '42501', NULL, 'nor read the table');

SELECT ok((SELECT requests > 0 AND prompt_tokens IS NULL AND cached_tokens IS NULL AND prefill_tokens IS NULL
                  AND completion_tokens IS NULL AND draft_tokens IS NULL AND accepted_tokens IS NULL AND preemptions IS NULL
                  AND kv_bytes_used IS NULL AND kv_bytes_cached IS NULL AND kv_evictions IS NULL
             FROM glm_stat_models WHERE name = 'tiny-chatglm3'), 'nor see what others'' prompts came to');

-- ---- somebody who may load, but not read the server's files ----
SET ROLE glm_tap_admin;
SELECT lives_ok($$SELECT glm_model_load('tiny-chatglm3')$$, 'EXECUTE is enough for a name');
SELECT throws_ok($$SELECT glm_model_load('tap', '/etc')$$, '42501', NULL, 'not for a path');
RESET ROLE;
GRANT pg_read_server_files TO glm_tap_admin;
SET ROLE glm_tap_admin;
SELECT lives_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny))$$, 'pg_read_server_files is');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
