-- profile.sql - where time went: glm_profile, glm_profile_folded, labels.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_monitor IN ROLE pg_monitor;
SELECT plan(26);

CREATE FUNCTION pg_temp.metric(line text) RETURNS float8 LANGUAGE sql AS $$
    SELECT substr(l, length(line) + 2)::float8 FROM regexp_split_to_table(glm_metrics(), '\n') l WHERE starts_with(l, line || ' ')
$$;

-- what others asked before has ended
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM glm_stat_requests) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

SELECT glm_stat_reset();
SELECT is_empty('SELECT * FROM glm_profile', 'nothing has taken time');
SELECT is(glm_profile_folded(), '', 'there is no graph either');
SELECT is((SELECT array_agg(m[1] ORDER BY m[1]) FROM regexp_matches(glm_metrics(), 'chatglm_stage_seconds_total\{stage="([^"]*)"\} 0.0\n', 'g') m),
          '{constrain,"decode attention","decode matmul",deliver,"device copy",head,"prefill attention","prefill matmul",queue,sample,tokenize}',
          'each stage is a metric from the start, at zero');

-- other prompts than any before, so that none of them is cached
SELECT isnt(glm_generate('profile one: Hello, who are you?', max_tokens => 8, options => '{"label": "night \"job\"", "cache": false}'), NULL, 'a call with a label');
SELECT isnt(glm_generate('profile two', max_tokens => 20, options => '{"choices": ["yes", "no"], "cache": false}'), NULL, 'a constrained one without');
SELECT is(glm_count_tokens('a') > 0, true, 'and one that needs no passes');

SELECT is((SELECT count(*) FROM glm_profile), 22::bigint, 'eleven stages of two labels');
SELECT results_eq('SELECT DISTINCT model, label FROM glm_profile ORDER BY label', $$VALUES ('tiny-chatglm3', 'night "job"'), ('tiny-chatglm3', NULL)$$, 'the label is told');
SELECT is((SELECT array_agg(stage ORDER BY stage) FROM glm_profile WHERE calls > 0 AND label IS NOT NULL AND stage <> 'device copy'),
          '{"decode attention","decode matmul",deliver,head,"prefill attention","prefill matmul",queue,sample,tokenize}', 'what was done for one');
SELECT ok((SELECT calls > 0 FROM glm_profile WHERE label IS NULL AND stage = 'constrain'), 'a constraint has a stage of its own');
SELECT is((SELECT calls FROM glm_profile WHERE label IS NULL AND stage = 'sample'), 0::bigint, 'instead');
SELECT is((SELECT calls FROM glm_profile WHERE label IS NOT NULL AND stage = 'queue'), 1::bigint, 'one request waited');
SELECT ok((SELECT calls BETWEEN 1 AND 7 FROM glm_profile WHERE label IS NOT NULL AND stage = 'decode matmul'), 'eight tokens take seven passes behind the prompt, fewer with drafts');
SELECT ok((SELECT bool_and(ms > 0) FROM glm_profile WHERE label IS NOT NULL AND stage LIKE '%matmul'), 'products take time');
SELECT is((SELECT round(sum(share)::numeric, 9) FROM glm_profile WHERE label IS NOT NULL), 1.0::numeric, 'shares are of the whole');
SELECT ok((SELECT bool_and(abs(gb_s * ms * 1e6 - bytes) <= bytes * 1e-9) FROM glm_profile WHERE gb_s IS NOT NULL), 'GB/s are bytes by time');
SELECT ok((SELECT bool_and(abs(gop_s * ms * 1e6 - operations) <= operations * 1e-9) FROM glm_profile WHERE gop_s IS NOT NULL), 'and operations');
SELECT ok((SELECT operations > 0 FROM glm_profile WHERE label IS NOT NULL AND stage = 'prefill matmul'), 'operations of a prompt');
SELECT is(pg_temp.metric('chatglm_stage_calls_total{stage="decode matmul"}'), (SELECT sum(calls)::float8 FROM glm_profile WHERE stage = 'decode matmul'), 'metrics are the sum');

SELECT is((SELECT bool_and(l ~ '^chatglm;tiny-chatglm3;(night "job";)?[a-z]+(;[a-z]+)? [0-9]+$') FROM regexp_split_to_table(rtrim(glm_profile_folded(), E'\n'), '\n') l),
          true, 'folded: a stack and its microseconds a line');
SELECT throws_ok($$SELECT glm_generate('a', options => '{"label": 1}')$$, '22023', 'argument "options.label" must be a text of 1 to 63 bytes', 'a label is a text');
SELECT throws_ok(format($$SELECT glm_generate('a', options => '{"label": "%s"}')$$, repeat('x', 64)), '22023', NULL, 'of limited length');

-- branches: labels that part late are weighed beside each other, and each way takes its rows
CREATE FUNCTION pg_temp.weighed(labels text[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM glm_stat_reset();
    PERFORM count(*) FROM glm_classify_scores('profile four', labels, options => '{"cache": false}');
    RETURN (SELECT operations FROM glm_profile WHERE stage = 'decode matmul');
END $$;
SELECT cmp_ok(pg_temp.weighed('{"one answer, the first", "one answer, the second", "two replies, a third", "two replies, a fourth"}'), '>=',
              pg_temp.weighed('{"one answer, the first", "one answer, the second"}') + pg_temp.weighed('{"two replies, a third", "two replies, a fourth"}'),
              'two ways take what each of them does');

SET ROLE glm_tap_user;
SELECT is_empty('SELECT * FROM glm_profile', 'others see no rows');
SELECT throws_ok('SELECT glm_profile_folded()', '42501', NULL, 'and draw no graph');
SET ROLE glm_tap_monitor;
SELECT is((SELECT count(*) FROM glm_profile), 11::bigint, 'members of pg_monitor do');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
