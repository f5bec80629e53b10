-- measures.sql - what is measured: glm_stat_worker, glm_stat_roles, glm_stat_errors, glm_stat_histograms, glm_metrics.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_other;
CREATE ROLE glm_tap_monitor IN ROLE pg_monitor;
SELECT plan(51);

CREATE FUNCTION pg_temp.metric(line text) RETURNS float8 LANGUAGE sql AS $$
    SELECT split_part(l, ' ', 2)::float8 FROM regexp_split_to_table(glm_metrics(), '\n') l WHERE split_part(l, ' ', 1) = line
$$;
CREATE FUNCTION pg_temp.counted(histogram text) RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(requests)::bigint FROM glm_stat_histograms WHERE name = histogram
$$;

-- what others asked before has ended
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM glm_stat_requests) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

-- ---- from zero on ----
SELECT lives_ok('SELECT glm_stat_reset()', 'reset');
SELECT is((SELECT completed + failed + cancelled + starts + loads FROM glm_stat_worker), 0::bigint, 'all is zero');
SELECT ok((SELECT stats_reset FROM glm_stat_worker) BETWEEN now() AND clock_timestamp(), 'and since when is told');
SELECT is((SELECT worker_pid FROM glm_stat_worker), (glm_health()->>'worker_pid')::int, 'the worker is the same');
SELECT is((SELECT up FROM glm_stat_worker), 1::bigint, 'it is up');
SELECT is_empty('SELECT * FROM glm_stat_roles', 'no role has asked');
SELECT is_empty('SELECT * FROM glm_stat_errors', 'nothing has failed');
SELECT is((SELECT sum(requests) FROM glm_stat_histograms), 0::numeric, 'no class holds any');
SELECT is((SELECT array_agg(DISTINCT name ORDER BY name) FROM glm_stat_histograms),
          '{first_token_seconds,queue_time_seconds,request_completion_tokens,request_prompt_tokens,request_seconds,token_gap_seconds}', 'all histograms are there');
SELECT is((SELECT count(*) FROM glm_stat_histograms WHERE most IS NULL), 6::bigint, 'each with a class without a bound');

-- an answer is counted before it is passed on
SELECT isnt(glm_generate('Hello, who are you?', max_tokens => 5, options => '{"timeout_ms": 0}'), NULL, 'an answer');
SELECT is((SELECT completed FROM glm_stat_worker), 1::bigint, 'one is completed');
SELECT is((SELECT completion_tokens FROM glm_stat_worker), 5::bigint, 'five tokens');
SELECT ok((SELECT prompt_tokens > 5 FROM glm_stat_worker), 'and those of its prompt');
SELECT is(pg_temp.counted('request_seconds'), 1::bigint, 'its time is in a class');
SELECT is(pg_temp.counted('first_token_seconds'), 1::bigint, 'as is that of its first token');
SELECT is(pg_temp.counted('queue_time_seconds'), 1::bigint, 'and its wait');
SELECT ok(pg_temp.counted('token_gap_seconds') BETWEEN 0 AND 4, 'between five tokens there are four gaps, fewer where several came at once');
SELECT is((SELECT requests FROM glm_stat_histograms WHERE name = 'request_completion_tokens' AND most = 5), 1::bigint, 'the bound belongs to its class');
SELECT is((SELECT sum(requests) FROM glm_stat_histograms WHERE name = 'request_completion_tokens' AND most <> 5), 0::numeric, 'and no other holds it');

SELECT results_eq('SELECT name, completed, completion_tokens FROM glm_stat_model_totals', $$VALUES ('tiny-chatglm3', 1::bigint, 5::bigint)$$, 'its model has it');

-- what needs no passes is in no histogram
SELECT is(glm_count_tokens('a') > 0, true, 'a request without passes');
SELECT is((SELECT completed FROM glm_stat_worker), 2::bigint, 'it is counted');
SELECT is(pg_temp.counted('request_seconds'), 1::bigint, 'in no class');

-- a beginning that was computed is a hit
SELECT isnt(glm_generate(repeat('the same beginning ', 30), max_tokens => 1), NULL, 'a long prompt');
CREATE TEMP TABLE before AS SELECT prefix_hits FROM glm_stat_worker;
SELECT isnt(glm_generate(repeat('the same beginning ', 30), max_tokens => 1), NULL, 'and again');
SELECT is((SELECT w.prefix_hits - before.prefix_hits FROM glm_stat_worker w, before), 1::bigint, 'one hit');
SELECT ok((SELECT cached_tokens >= 32 FROM glm_stat_worker), 'of a block or more');

-- ---- errors ----
SELECT throws_ok($$SELECT glm_detokenize('{-1}')$$, '22023', NULL, 'one that fails');
SELECT throws_ok($$SELECT glm_generate('hi', max_tokens => 4000, temperature => 50, top_p => 1, seed => 1, options => '{"timeout_ms": 1}')$$, '57T01', NULL, 'one that takes too long');
SELECT is((SELECT failed FROM glm_stat_worker), 2::bigint, 'two have failed');
SELECT is((SELECT errors FROM glm_stat_errors WHERE stage = 'reading' AND sqlstate = '22023'), 1::bigint, 'the first while it was read');
SELECT is((SELECT sum(errors) FROM glm_stat_errors WHERE sqlstate = '57T01'), 1::numeric, 'the second somewhere');
SELECT is(pg_temp.metric('chatglm_errors_total{stage="reading",sqlstate="22023"}'), 1::float8, 'metrics say the same');

-- ---- metrics ----
SELECT is(pg_temp.metric('chatglm_completed_total'), (SELECT completed::float8 FROM glm_stat_worker), 'metrics and the view have one table');
SELECT is(pg_temp.metric('chatglm_model_completed_total{model="tiny-chatglm3"}'), (SELECT completed::float8 FROM glm_stat_worker), 'by model as well');
SELECT is(pg_temp.metric('chatglm_request_seconds_count'), pg_temp.counted('request_seconds')::float8, 'histograms too');
SELECT is(pg_temp.metric('chatglm_request_seconds_bucket{le="+Inf"}'), pg_temp.counted('request_seconds')::float8, 'whose last class holds all');
SELECT is(ARRAY(SELECT column_name::text FROM information_schema.columns WHERE table_name = 'glm_stat_worker' AND ordinal_position > 3 ORDER BY ordinal_position),
          (SELECT (array_agg(m[1] ORDER BY n))[:32] FROM regexp_matches(glm_metrics(), '# TYPE chatglm_(\S+)', 'g') WITH ORDINALITY r(m, n)),
          'each figure of the view is a family, in its order');
SELECT is(right(glm_metrics(), 6), E'# EOF\n', 'the end is marked');

SELECT ok(glm_model_unload('tiny-chatglm3'), 'a model leaves');
SELECT is((SELECT completion_tokens FROM glm_stat_model_totals), (SELECT completion_tokens FROM glm_stat_worker), 'what it was used for is there still');

-- ---- who sees what ----
GRANT EXECUTE ON FUNCTION pg_temp.metric(text), pg_temp.counted(text) TO PUBLIC;
SET ROLE glm_tap_user;
SELECT isnt(glm_generate('hi', max_tokens => 2), NULL, 'a request of another role');
SELECT results_eq('SELECT usename, datname, completed, completion_tokens FROM glm_stat_roles', $$VALUES ('glm_tap_user'::name, current_database(), 1::bigint, 2::bigint)$$, 'it sees its own');
SELECT is((SELECT prompt_tokens FROM glm_stat_worker), NULL, 'not the total');
SELECT is_empty('SELECT * FROM glm_stat_histograms', 'no histograms');
SELECT is_empty('SELECT * FROM glm_stat_model_totals', 'nor models');
SELECT throws_ok('SELECT glm_metrics()', '42501', NULL, 'nor metrics');
SET ROLE glm_tap_other;
SELECT is_empty('SELECT * FROM glm_stat_roles', 'others do not see it');
SET ROLE glm_tap_monitor;
SELECT is((SELECT completed FROM glm_stat_roles WHERE usename = 'glm_tap_user'), 1::bigint, 'members of pg_monitor do');
SELECT isnt(glm_metrics(), NULL, 'and read metrics');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
