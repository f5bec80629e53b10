-- settings.sql - the settings chatglm.*: who may change which.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
SELECT plan(46);

SELECT results_eq(
    $$SELECT substr(name, 9), context, unit FROM pg_settings WHERE name LIKE 'chatglm.%' ORDER BY name COLLATE "C"$$,
    $$VALUES ('cpu_affinity', 'postmaster', NULL), ('debug_step_delay', 'sighup', 'ms'), ('device', 'postmaster', NULL), ('device_arithmetic', 'postmaster', NULL), ('device_fallback', 'postmaster', NULL), ('device_rest', 'sighup', 's'), ('huge_pages', 'sighup', NULL), ('job_workers', 'sighup', NULL), ('kernels', 'postmaster', NULL),
             ('kv_cache_size', 'postmaster', 'MB'), ('kv_cache_type', 'postmaster', NULL), ('log_min_duration', 'superuser', 'ms'), ('log_text', 'superuser', NULL), ('max_queue', 'postmaster', NULL), ('max_sequences', 'postmaster', NULL),
             ('max_tokens', 'user', NULL), ('memory_limit', 'postmaster', 'MB'), ('model', 'user', NULL),
             ('model_dir', 'sighup', NULL), ('prefetch', 'user', NULL), ('prefill_budget', 'sighup', NULL), ('prefix_sharing', 'superuser', NULL), ('queue_memory', 'postmaster', 'MB'), ('request_timeout', 'user', 'ms'),
             ('speculation', 'sighup', NULL), ('task_language', 'user', NULL), ('temperature', 'user', NULL), ('threads', 'postmaster', NULL), ('tuning', 'sighup', NULL), ('verify', 'sighup', NULL)$$,
    'names, contexts and units');
SELECT is(count(*), 0::bigint, 'every setting is described')
  FROM pg_settings WHERE name LIKE 'chatglm.%' AND coalesce(short_desc, '') = '';

SELECT is(current_setting('chatglm.model'), 'tiny-chatglm3', 'the embedded model is the default');
SELECT is(current_setting('chatglm.temperature')::float8, 0::float8, 'greedy by default');
SELECT is(current_setting('chatglm.max_tokens'), '512', 'max_tokens');
SELECT is(current_setting('chatglm.prefetch'), '32', 'prefetch');
SELECT is(current_setting('chatglm.request_timeout'), '0', 'no timeout');

SELECT throws_ok('SET chatglm.max_tokens = 0', '22023', NULL, 'max_tokens 0');
SELECT throws_ok('SET chatglm.prefetch = 0', '22023', NULL, 'prefetch 0');
SELECT throws_ok('SET chatglm.prefetch = 65', '22023', NULL, 'more than a session may have');
SELECT throws_ok('SET chatglm.temperature = -1', '22023', NULL, 'temperature below 0');
SELECT throws_ok('SET chatglm.request_timeout = -1', '22023', NULL, 'request_timeout below 0');
SELECT throws_ok('SET chatglm.log_min_duration = -2', '22023', NULL, 'log_min_duration below -1');
SELECT throws_ok($$SET chatglm.model = ''$$, '22023', 'invalid value for parameter "chatglm.model": ""', 'no name of a model');
SELECT throws_ok($$SET chatglm.model = '/etc'$$, '22023', NULL, 'a path is none');
SELECT throws_ok($$SET chatglm.task_language = 'x y'$$, '22023', NULL, 'no name of a language');
SELECT throws_ok('SET chatglm.nonesuch = 1', '42602', NULL, 'no setting of that name');
SELECT is(current_setting('chatglm.verify'), 'first-map', 'chunks are verified when they are mapped');
SELECT throws_ok('SET chatglm.threads = 1', '55P02', NULL, 'threads is set at start');
SELECT throws_ok($$SET chatglm.cpu_affinity = '0'$$, '55P02', NULL, 'cpu_affinity is set at start');
SELECT throws_ok('SET chatglm.kv_cache_size = 1', '55P02', NULL, 'kv_cache_size is set at start');
SELECT throws_ok('SET chatglm.kv_cache_type = int8', '55P02', NULL, 'kv_cache_type is set at start');
SELECT is(current_setting('chatglm.device_arithmetic'), 'exact', 'a GPU gives the CPU''s bits');
SELECT throws_ok('SET chatglm.device_arithmetic = fast', '55P02', NULL, 'unless it is set at start');
SELECT throws_ok($$SET chatglm.model_dir = '/tmp'$$, '55P02', NULL, 'model_dir is the administrator''s');
SELECT throws_ok('SET chatglm.debug_step_delay = 1', '55P02', NULL, 'debug_step_delay is the administrator''s');

-- ---- with whom beginnings are shared: an administrator's, for a role or database too ----
SELECT is(current_setting('chatglm.prefix_sharing'), 'role', 'beginnings are shared within a role');
SELECT throws_ok('SET chatglm.prefix_sharing = everybody', '22023', NULL, 'only known ways to share');
SELECT lives_ok('ALTER ROLE glm_tap_user SET chatglm.prefix_sharing = off', 'it can be set for a role');
SELECT lives_ok(format('ALTER DATABASE %I SET chatglm.prefix_sharing = off', current_database()), 'and for a database');
SELECT lives_ok(format('ALTER DATABASE %I RESET chatglm.prefix_sharing', current_database()), 'and reset');
SET ROLE glm_tap_user;
SELECT throws_ok($$SET chatglm.prefix_sharing = 'all'$$, '42501', NULL, 'not by the role itself');
SELECT throws_ok('SET chatglm.prefix_sharing = off', '42501', NULL, 'to nothing');
SELECT throws_ok('SET chatglm.log_min_duration = 0', '42501', NULL, 'nor what is logged');
SELECT throws_ok('SET chatglm.log_text = on', '42501', NULL, 'nor texts');
SELECT throws_ok($$ALTER ROLE glm_tap_user SET chatglm.prefix_sharing = 'all'$$, '42501', NULL, 'nor for later');
SELECT is((SELECT count(*) FROM pg_settings WHERE name = 'chatglm.model_dir'), 0::bigint, 'nor sees it where models lie');
SELECT throws_ok('SHOW chatglm.model_dir', '42501', NULL, 'not by SHOW either');
RESET ROLE;

-- what they do
SET chatglm.max_tokens = 2;
SELECT is(glm_chat('[{"role": "user", "content": "hello"}]')->'usage'->>'completion_tokens', '2', 'max_tokens ends an answer');
SELECT is(glm_chat('[{"role": "user", "content": "hello"}]')->>'finish_reason', 'length', 'and says so');
SELECT is(glm_chat('[{"role": "user", "content": "hello"}]', max_tokens => 3)->'usage'->>'completion_tokens', '3',
          'the argument goes before the setting');
RESET chatglm.max_tokens;
SET chatglm.temperature = 5;
SELECT isnt(glm_generate('hello', seed => 1), glm_generate('hello', seed => 2), 'a temperature makes seeds matter');
SELECT is(glm_generate('hello', seed => 1), glm_generate('hello', seed => 1), 'and the seed decides');
SELECT is(glm_generate('hello', temperature => 0, seed => 1), glm_generate('hello', temperature => 0, seed => 2),
          'not with temperature 0');
RESET chatglm.temperature;
SET chatglm.model = 'nonesuch';
SELECT throws_ok($$SELECT glm_generate('hello')$$, '42704', NULL, 'the setting names a model');
SELECT isnt(glm_generate('hello', model => 'tiny-chatglm3'), NULL, 'the argument goes before it');

SELECT * FROM finish();
ROLLBACK;
