-- health.sql - glm_health, glm_ready, glm_stat_requests and pg_stat_activity.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_monitor IN ROLE pg_monitor;
SELECT plan(26);

SELECT ok(glm_ready(), 'ready');
SELECT is((glm_health()->>'ready')::bool, true, 'health says the same');
SELECT is(ARRAY(SELECT k FROM unnest('{ready,version,state,reasons,last_error,worker_pid,uptime_s,kernels,device,device_why,device_arithmetic,devices,device_losses,device_rests_until,tuning,model_names}'::text[]) k
                 WHERE NOT glm_health() ? k), '{}', 'all keys');
SELECT ok((SELECT h->>'state' = 'ready' AND h->'reasons' = '[]' OR h->>'state' = 'degraded' AND jsonb_array_length(h->'reasons') > 0 FROM glm_health() h), 'a state, and reasons if it is not the best one');
SELECT is(ARRAY(SELECT column_name::text FROM information_schema.columns WHERE table_name = 'glm_stat_worker' AND ordinal_position > 3 ORDER BY 1),
          ARRAY(SELECT k FROM jsonb_object_keys(glm_health() - '{ready,version,state,reasons,last_error,worker_pid,uptime_s,kernels,device,device_why,device_arithmetic,devices,device_losses,device_rests_until,tuning,model_names}'::text[]) k ORDER BY 1),
          'and the figures of glm_stat_worker, which are all there are');
SELECT is(glm_health()->>'version', (SELECT extversion FROM pg_extension WHERE extname = 'chatglm'), 'version');
SELECT is(glm_health()->'tuning'->>'mode', 'auto', 'reading weights is tuned, and that is told');
SELECT is(jsonb_typeof(glm_health()->'tuning'->'cost_ms'), 'number', 'with what it has cost');
SELECT ok((glm_health()->>'kernels') IN ('scalar', 'avx2', 'avx512', 'neon'), 'the kernels are named');
SELECT is((glm_health()->>'kv_bytes')::bigint / 1048576,
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
SELECT ok(pg_temp.grown('completed', 2), 'two requests more are answered');
SELECT ok(pg_temp.grown('failed', 1), 'one of them failed');
SELECT ok(pg_temp.grown('completion_tokens', 5), 'five tokens more');
SELECT ok(pg_temp.grown('kv_used_bytes', 0), 'no KV memory more');
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
SELECT is((SELECT jsonb_object_agg(key, value) FROM jsonb_each(glm_health()) WHERE key IN ('starts', 'loads', 'completed', 'failed', 'completion_tokens', 'kv_bytes', 'queue_memory_bytes')),
          (SELECT to_jsonb(w) FROM (SELECT starts, loads, completed, failed, completion_tokens, kv_bytes, queue_memory_bytes FROM glm_stat_worker) w),
          'they are those of the view');
SELECT ok((SELECT glm_health()->'model_names' ? 'tiny-chatglm3'), 'the model is loaded');

SELECT is((SELECT count(*) FROM pg_stat_activity WHERE pid = (glm_health()->>'worker_pid')::int AND backend_type LIKE 'chatglm%'),
          1::bigint, 'the worker is in pg_stat_activity');

-- ---- what tells of others' prompts and answers is not for everybody ----
SET ROLE glm_tap_user;
SELECT is(ARRAY(SELECT key FROM jsonb_each(glm_health()) WHERE value = 'null' AND key NOT IN ('last_error', 'device_why', 'device_rests_until') ORDER BY key COLLATE "C"),
          ARRAY(SELECT key FROM jsonb_each((SELECT to_jsonb(w) FROM glm_stat_worker w)) WHERE value = 'null' ORDER BY key COLLATE "C"),
          'totals of all roles are null');
SELECT ok((glm_health()->>'queue_bytes') IS NULL, 'such as bytes of texts');
SELECT ok((glm_health()->>'completed')::int > 0, 'how many requests there were is not secret');
SET ROLE glm_tap_monitor;
SELECT is(ARRAY(SELECT key FROM jsonb_each(glm_health()) WHERE value = 'null' AND key NOT IN ('last_error', 'device_why', 'device_rests_until')), '{}'::text[],
          'members of pg_monitor see them');
SELECT isnt((SELECT prompt_tokens FROM glm_stat_models WHERE name = 'tiny-chatglm3'), NULL, 'here too');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
