-- batch.sql - rows in flight: same answers, bounded work, errors as rows.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(27);

CREATE TEMP TABLE review (id int PRIMARY KEY, body text);
INSERT INTO review SELECT i, CASE i % 4 WHEN 0 THEN '我非常满意,推荐给大家。' WHEN 1 THEN 'It broke after two days.'
       WHEN 2 THEN 'I love it, it works great.' ELSE NULL END || i FROM generate_series(1, 100) i;
ANALYZE review;

-- ---- the same answers, however many are in flight ----
SET LOCAL chatglm.prefetch = 1;
CREATE TEMP TABLE one_by_one AS SELECT id, glm_generate(body, system => 'Classify the sentiment of the review.', max_tokens => 8) AS answer FROM review;
SELECT is((SELECT count(*) FROM one_by_one WHERE answer IS NULL), 25::bigint, 'no prompt, no answer');
PREPARE batched AS SELECT id, glm_generate(body, system => 'Classify the sentiment of the review.', max_tokens => 8) FROM review;
SET LOCAL chatglm.prefetch = 2;
SELECT results_eq('batched', 'TABLE one_by_one', '2 in flight');
DEALLOCATE batched;
PREPARE batched AS SELECT id, glm_generate(body, system => 'Classify the sentiment of the review.', max_tokens => 8) FROM review;
SET LOCAL chatglm.prefetch = 32;
SELECT results_eq('batched', 'TABLE one_by_one', '32 in flight');
SET LOCAL chatglm.prefetch = 64;
SELECT results_eq('batched', 'TABLE one_by_one', '64 in flight');
SET LOCAL chatglm.prefetch = 1;
SELECT results_eq('batched', 'TABLE one_by_one', 'a batched plan executed one by one');
RESET chatglm.prefetch;
SELECT is((SELECT count(*) FROM (SELECT idx, response FROM glm_generate_batch(ARRAY(SELECT body FROM review ORDER BY id),
                   system => 'Classify the sentiment of the review.', max_tokens => 8) EXCEPT TABLE one_by_one) d), 0::bigint, 'glm_generate_batch');
SELECT results_eq($$SELECT id, (glm_try_generate(body, system => 'Classify the sentiment of the review.', max_tokens => 8)).response FROM review$$,
                  'TABLE one_by_one', 'glm_try_generate');
SELECT results_eq($$SELECT glm_detokenize(glm_tokenize(body)) FROM review$$, 'SELECT body FROM review', 'calls of calls');

-- ---- the plan ----
CREATE FUNCTION pg_temp.node(query text, analyzed bool DEFAULT true) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE format('EXPLAIN (FORMAT json, ANALYZE %s) %s', analyzed::int, query) INTO plan;
    RETURN plan->0->'Plan';
END $$;
SELECT is(pg_temp.node('SELECT glm_count_tokens(body) FROM review', false)->>'Custom Plan Provider', 'GlmBatch', 'EXPLAIN names the node');
SELECT is(pg_temp.node('SELECT glm_count_tokens(body) FROM review', false)->'Function', '["glm_count_tokens"]', 'and the function');
SELECT is(pg_temp.node('SELECT glm_count_tokens(body) FROM review')->'Requests', '75', 'EXPLAIN ANALYZE counts requests');
SELECT is(pg_temp.node('SELECT glm_count_tokens(body) FROM review')->>'Prompt Tokens',
          (SELECT sum(cardinality(glm_tokenize(body)))::text FROM review), 'and their tokens');
SELECT is(pg_temp.node('SELECT glm_generate(body, max_tokens => 1) FROM review')->'Generated Tokens', '75', 'generated ones too');
SELECT ok((n->>'Accepted Tokens')::int BETWEEN 0 AND (n->>'Generated Tokens')::int, 'those that speculation proposed among them')
  FROM pg_temp.node('SELECT glm_generate(body, max_tokens => 12) FROM review') n;
SELECT ok((SELECT (n->>'Accepted Tokens')::int BETWEEN 0 AND (n->>'Tokens')::int FROM pg_temp.node($$SELECT * FROM glm_stream('hello')$$) n), 'of streams as well');
-- answers long and unforeseen enough that reading rows cannot keep up with them
SELECT cmp_ok((pg_temp.node('SELECT glm_generate(body, max_tokens => 64, temperature => 100, seed => id) FROM review')->>'Mean in Flight')::float8, '>', 8::float8, 'many are in flight');
SELECT cmp_ok((pg_temp.node('SELECT glm_generate(body, max_tokens => 64, temperature => 100, seed => id) FROM review')->>'Time Waiting')::float8, '>', 0::float8, 'and are waited for');
SELECT is(pg_temp.node('SELECT glm_count_tokens(body) FROM review WHERE body IS NOT NULL LIMIT 5')->'Plans'->0->'Requests', '5', 'a LIMIT bounds them');
SELECT is(pg_temp.node('SELECT oid FROM pg_class LIMIT 1', false)->>'Custom Plan Provider', NULL, 'others have no such node');

-- ---- errors ----
SELECT throws_ok($$SELECT glm_generate(body, model => CASE WHEN id = 61 THEN 'nonesuch' END, max_tokens => 1) FROM review$$, '42704', NULL, 'an error ends the query');
SELECT results_eq($$SELECT count(*), count((r).response), count((r).error), max((r).sqlstate) FROM (
                    SELECT glm_try_generate(body, model => CASE WHEN id = 61 THEN 'nonesuch' END, max_tokens => 1) AS r FROM review OFFSET 0) t$$,
                  $$VALUES (100::bigint, 74::bigint, 1::bigint, '42704'::text)$$, 'or becomes a row');
SELECT is((glm_try_generate(repeat('long ', 100000))).sqlstate, '54000', 'what the worker refuses too');
SELECT is((glm_try_generate('hello', temperature => 100, seed => 1, max_tokens => 100000, options => '{"timeout_ms": 1}')).sqlstate, '57T01', 'and what it gives up');
DO $$ BEGIN
    PERFORM glm_generate('hello', temperature => 100, seed => 1, max_tokens => 100000, options => '{"timeout_ms": 1}');
EXCEPTION WHEN OTHERS THEN
    PERFORM set_config('test.caught', SQLSTATE, true);
END $$;
SELECT is(current_setting('test.caught'), '57T01', 'which WHEN OTHERS catches');
SELECT results_eq($$SELECT idx, error IS NULL FROM glm_generate_batch(ARRAY['hi', repeat('long ', 100000), 'hi'], max_tokens => 1)$$,
                  $$VALUES (1, true), (2, false), (3, true)$$, 'glm_generate_batch has errors as rows');
SELECT throws_ok($$SELECT * FROM glm_generate_batch(ARRAY['hi'], top_p => 2)$$, '22023', NULL, 'unless they are everyone''s');
SELECT is((SELECT count(*) FROM glm_generate_batch(NULL)), 0::bigint, 'no prompts, no rows');

SELECT * FROM finish();
ROLLBACK;
