-- health.sql - glm_health, glm_ready, glm_stat_requests and pg_stat_activity.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_monitor IN ROLE pg_monitor;
SELECT plan(21);

SELECT ok(glm_ready(), 'ready');
SELECT is((glm_health()->>'ready')::bool, true, 'health says the same');
SELECT is(ARRAY(SELECT k FROM unnest('{ready,worker_pid,uptime_s,kernels,device,device_why,threads,requests,completed,failed,cancelled,prompt_tokens,completion_tokens,waiting,running,paused,kv_bytes_total,kv_bytes_used,models,last_error,version}'::text[]) k
                 WHERE NOT glm_health() ? k), '{}', 'all keys');
SELECT is(glm_health()->>'version', (SELECT extversion FROM pg_extension WHERE extname = 'chatglm'), 'version');
SELECT is(glm_health()->'tuning'->>'mode', 'auto', 'reading weights is tuned, and that is told');
SELECT is(jsonb_typeof(glm_health()->'tuning'->'cost_ms'), 'number', 'with what it has cost');
SELECT ok((glm_health()->>'kernels') IN ('scalar', 'avx2', 'avx512', 'neon'), 'the kernels are named');
SELECT is((glm_health()->>'kv_bytes_total')::bigint / 1048576,
          (SELECT setting::bigint FROM pg_settings WHERE name = 'chatglm.kv_cache_size'), 'the pool is as large as set');

CREATE TEMP TABLE before AS SELECT glm_health() AS h;
SELECT is(glm_count_tokens('a') > 0, true, 'a request that needs no model run');
SELECT isnt(glm_generate('hello', max_tokens => 5), NULL, 'one that does');
SELECT throws_ok($$SELECT glm_detokenize('{-1}')$$, '22023', NULL, 'a request that fails');

-- figures are copied for us now and then, and whenever the worker has nothing to do
CREATE FUNCTION pg_temp.grown(key text, expected int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        IF (glm_health()->>key)::bigint - (SELECT (h->>key)::bigint FROM before) = expected THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN false;
END $$;
SELECT ok(pg_temp.grown('requests', 3), 'three requests more');
SELECT ok(pg_temp.grown('failed', 1), 'one of them failed');
SELECT ok(pg_temp.grown('completion_tokens', 5), 'five tokens more');
SELECT ok(pg_temp.grown('kv_bytes_used', 0), 'no KV memory more');
CREATE FUNCTION pg_temp.none_left() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        IF NOT EXISTS (SELECT FROM glm_stat_requests) THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN false;
END $$;
SELECT ok(pg_temp.none_left(), 'no request is left');

SELECT is((SELECT count(*) FROM pg_stat_activity WHERE pid = (glm_health()->>'worker_pid')::int AND backend_type LIKE 'chatglm%'),
          1::bigint, 'the worker is in pg_stat_activity');

-- ---- what tells of others' prompts and answers is not for everybody ----
SET ROLE glm_tap_user;
SELECT is(ARRAY(SELECT key FROM jsonb_each(glm_health()) WHERE value = 'null' AND key <> 'last_error' ORDER BY key COLLATE "C"),
          '{cached_tokens,completion_tokens,kv_bytes_cached,kv_bytes_used,kv_evictions,preemptions,prompt_tokens,queue_bytes}'::text[],
          'totals of all roles are null');
SELECT ok((glm_health()->>'requests')::int > 0, 'how many requests there were is not secret');
SET ROLE glm_tap_monitor;
SELECT is(ARRAY(SELECT key FROM jsonb_each(glm_health()) WHERE value = 'null' AND key <> 'last_error'), '{}'::text[],
          'members of pg_monitor see them');
SELECT isnt((SELECT prompt_tokens FROM glm_stat_models WHERE name = 'tiny-chatglm3'), NULL, 'here too');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
