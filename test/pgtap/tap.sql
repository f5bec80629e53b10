-- tap.sql - chatglm_tap, each assertion passing and failing, as pgTAP's own check_test sees it.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE EXTENSION chatglm_tap;
SELECT plan(153);
\set s '{"system": "Classify the sentiment of the review."}'
\set order 'Please ship 12 desk lamps to Berlin.'
\set extract '{"system": "Extract product, city and quantity as JSON."}'

-- ---- one answer ----
SELECT check_test(answer_is('I love it.', 'positive', 'love', :'s'), true, 'answer_is', 'love', '');
SELECT check_test(answer_is('I love it.', 'negative', 'love', :'s'), false, 'answer_is, another', 'love', E'    have: ''positive''\n    want: ''negative''');
SELECT check_test(answer_is('I love it.', NULL, 'love', :'s'), false, 'answer_is, NULL wanted', 'love', E'    have: ''positive''\n    want: NULL');
SELECT check_test(answer_is(NULL, 'positive', 'love', :'s'), false, 'answer_is, no prompt', 'love', '    the prompt is NULL');
SELECT check_test(answer_is('x', 'y', 'no model', '{"model": "nonesuch"}'), false, 'answer_is, an error', 'no model',
                  '    ERROR 42704: model "nonesuch" does not exist');
SELECT check_test(answer_matches('I love it.', '^pos', 'love', :'s'), true, 'answer_matches', 'love', '');
SELECT check_test(answer_matches('I love it.', '^neg', 'love', :'s'), false, 'answer_matches, not', 'love', '    answer ''positive'' does not match ''^neg''');
SELECT check_test(answer_in('I love it.', '{negative,positive}', 'love', :'s'), true, 'answer_in', 'love', '');
SELECT check_test(answer_in('I love it.', '{good,bad}', 'love', :'s'), false, 'answer_in, not', 'love', '    answer ''positive'' is none of {good,bad}');
SELECT check_test(answer_in('I love it.', NULL, 'love', :'s'), false, 'answer_in, no labels', 'love', '    answer ''positive'' is none of NULL');
SELECT check_test(answer_is_json(:'order', NULL, 'an order', :'extract'), true, 'answer_is_json', 'an order', '');
SELECT check_test(answer_is_json('I love it.', NULL, 'a word', :'s'), false, 'answer_is_json, not', 'a word',
                  '    answer ''positive'' is no JSON: invalid input syntax for type json');
SELECT check_test(answer_is_json(:'order', '{"properties": {"city": {"type": "string"}}, "required": ["city"]}', 'a schema', :'extract'), true,
                  'answer_is_json, a schema', 'a schema', '');
SELECT check_test(answer_is_json(:'order', '{"type": "strin"}', 'a schema', :'extract'), false, 'answer_is_json, no schema', 'a schema', 'ERROR 22023', true);
SELECT check_test(answer_is_json(NULL, '{}', 'none', :'extract'), false, 'answer_is_json, no prompt', 'none', '    the prompt is NULL');
SELECT check_test(finishes('I love it.', 'stop', 'ends', :'s'), true, 'finishes', 'ends', '');
SELECT check_test(finishes(:'order', 'stop', 'ends', :'extract'::jsonb || '{"max_tokens": 2}'), false, 'finishes, cut', 'ends',
                  'ended by ''length'' after 2 tokens, not by ''stop''', true);
SELECT check_test(finishes(:'order', 'length', 'ends', :'extract'::jsonb || '{"max_tokens": 2}'), true, 'finishes, by length', 'ends', '');
SELECT check_test(tokens_within('I love it.', 10, 'short', :'s'), true, 'tokens_within', 'short', '');
SELECT check_test(tokens_within(:'order', 5, 'short', :'extract'), false, 'tokens_within, not', 'short', 'at most 5 wanted', true);
SELECT check_test(tokens_within(:'order', 5, 'short', :'extract'::jsonb || '{"max_tokens": 5}'), false, 'tokens_within, cut', 'short',
                  '    5 tokens, ended by ''length''; at most 5 wanted, ended by ''stop''');
SELECT check_test(is_sure('I love it.', 0.5, 'sure', :'s'), true, 'is_sure', 'sure', '');
SELECT check_test(is_sure('I love it.', 1.01, 'sure', :'s'), false, 'is_sure, not', 'sure', 'answer ''positive'' has a probability of', true);
SELECT check_test(is_sure('x', 0.5, 'sure', '{"model": "nonesuch"}'), false, 'is_sure, an error', 'sure', '    ERROR 42704: model "nonesuch" does not exist');
SELECT check_test(performs_tokens_ok('I love it.', 0.001, 'fast', :'s'), true, 'performs_tokens_ok', 'fast', '');
SELECT check_test(performs_tokens_ok('I love it.', 1e12, 'fast', :'s'), false, 'performs_tokens_ok, not', 'fast', 'tokens a second, the best of 3 runs', true);

-- ---- tools ----
\set tools '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]'
\set ask '[{"role": "system", "content": "Answer with the tools."}, {"role": "user", "content": "What is the weather in Paris?"}]'
SELECT check_test(calls_tool(:'ask', :'tools', 'get_weather', '{"city": "Paris"}', 'weather'), true, 'calls_tool', 'weather', '');
SELECT check_test(calls_tool(:'ask', :'tools', 'get_weather', NULL, 'weather'), true, 'calls_tool, whatever arguments', 'weather', '');
SELECT check_test(calls_tool(:'ask', :'tools', 'get_weather', '{"city": "Rome"}', 'weather'), false, 'calls_tool, other arguments', 'weather',
                  'wanted a call of ''get_weather'' with {"city": "Rome"}', true);
SELECT check_test(calls_tool(:'ask', :'tools', 'get_time', NULL, 'time'), false, 'calls_tool, another', 'time', 'wanted a call of ''get_time''', true);
SELECT check_test(calls_tool(NULL, :'tools', 'get_time', NULL, 'time'), false, 'calls_tool, no messages', 'time', '    the messages are NULL');
SELECT check_test(calls_tool('[{"role": "nobody"}]', :'tools', 'get_time', NULL, 'time'), false, 'calls_tool, an error', 'time', 'ERROR 22032: messages', true);

-- ---- many answers ----
CREATE TABLE review (id int, body text, mood text);
INSERT INTO review VALUES (1, 'I love it.', 'positive'), (2, 'It is terrible.', 'negative'), (3, 'Great quality, I am very happy.', 'positive');
SELECT check_test(accuracy_ok('SELECT body, mood FROM review ORDER BY id', 1, 'all', :'s'), true, 'accuracy_ok', 'all', '');
PREPARE reviews AS SELECT body, mood FROM review ORDER BY id;
SELECT check_test(accuracy_ok('reviews', 1, 'all', :'s'), true, 'accuracy_ok, prepared', 'all', '');
UPDATE review SET mood = 'negative' WHERE id = 1;
SELECT check_test(accuracy_ok('reviews', 0.6, 'most', :'s'), true, 'accuracy_ok, most', 'most', '');
SELECT check_test(accuracy_ok('reviews', 1, 'all', :'s'), false, 'accuracy_ok, not', 'all',
                  E'    2 of 3 right (0.6667), at least 1 wanted\n    ''negative'' -> ''negative'': 1\n    ''negative'' -> ''positive'': 1\n    ''positive'' -> ''positive'': 1\n    row 1: ''I love it.'' gave ''positive'', wanted ''negative''');
SELECT check_test(accuracy_ok('SELECT body, mood FROM review WHERE false', 0, 'none', :'s'), false, 'accuracy_ok, no rows', 'none', '    the query has no rows');
SELECT check_test(accuracy_ok($$VALUES (NULL, 'x'), ('I love it.', E'\nok 99')$$, 1, 'odd', :'s'), false, 'accuracy_ok, odd rows', 'odd',
                  'the prompt is NULL', true);
SELECT check_test(agreement_ok('SELECT body FROM review', 'tiny-chatglm3', 'tiny-chatglm3', 1, 'alike', :'s'), true, 'agreement_ok', 'alike', '');
SELECT check_test(agreement_ok('SELECT body FROM review WHERE id = 1', 'tiny-chatglm3', 'nonesuch', 1, 'alike', :'s'), false, 'agreement_ok, an error', 'alike',
                  E'    0 of 1 alike (0.0000), at least 1 wanted\n    row 1: ''I love it.'' gave ''positive'' and ERROR 42704: model "nonesuch" does not exist');
SELECT check_test(agreement_ok('SELECT body FROM review WHERE false', 'tiny-chatglm3', 'tiny-chatglm3', 0, 'alike', :'s'), false, 'agreement_ok, no rows', 'alike',
                  '    the query has no rows');
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := ''; BEGIN
FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || replace(query, '$1', '''{}''::jsonb') LOOP plan := plan || line; END LOOP; RETURN plan; END $$;
SELECT matches(pg_temp.plan_of(_glm_tap_answers('SELECT body, mood FROM review', 'prompt, wanted', '{}')), 'GlmBatch', 'rows are in flight');

-- ---- answers that were recorded ----
SELECT check_test(same_answers('SELECT body FROM review', 'recorded', 'same', :'s'), false, 'same_answers, nothing recorded', 'same',
                  'nothing is recorded: there is no table recorded', true);
SELECT is(record_answers('SELECT body FROM review', 'recorded', :'s'), 3::bigint, 'three are recorded');
SELECT check_test(same_answers('SELECT body FROM review ORDER BY id DESC', 'recorded', 'same', :'s'), true, 'same_answers', 'same', '');
UPDATE recorded SET answer = 'neutral' WHERE prompt = 'I love it.';
SELECT check_test(same_answers('SELECT body FROM review', 'recorded', 'same', :'s'), false, 'same_answers, another answer', 'same',
                  E'    1 of 3 answers differ, 0 prompts are new, 0 are gone\n    the model is the same: ' || glm_model_hash('tiny-chatglm3') ||
                  E'\n    ''I love it.'': ''positive'', was ''neutral''');
UPDATE recorded SET model_hash = 'another';
SELECT check_test(same_answers('SELECT body FROM review', 'recorded', 'same', :'s'), false, 'same_answers, another model', 'same',
                  'the model changed: ' || glm_model_hash('tiny-chatglm3') || ', was another', true);
SELECT is(record_answers('SELECT body FROM review', 'recorded', :'s'), 3::bigint, 'recorded anew');
SELECT check_test(same_answers('SELECT body FROM review WHERE id > 1 UNION ALL SELECT ''hello''', 'recorded', 'same', :'s'), false, 'same_answers, other prompts', 'same',
                  '0 of 3 answers differ, 1 prompts are new, 1 are gone', true);
SELECT check_test(same_answers('SELECT body FROM review', 'recorded', 'same', :'s'::jsonb || '{"top_k": 5}'), false, 'same_answers, other args', 'same',
                  'args are not those of the recording', true);
DELETE FROM recorded;
SELECT check_test(same_answers('SELECT body FROM review', 'recorded', 'same', :'s'), false, 'same_answers, emptied', 'same', 'table recorded is empty', true);
SELECT throws_ok($$SELECT record_answers('SELECT ''x''', 'recorded', '{"model": "nonesuch"}')$$, 'P0001', 'nothing is recorded, as a prompt has no answer', 'nothing to record');

-- ---- args ----
SELECT throws_ok($$SELECT answer_is('x', 'y', 'd', '{"modle": "x"}')$$, '22023', 'args have no key "modle"', 'an unknown key');
SELECT throws_ok($$SELECT answer_is('x', 'y', 'd', '[]')$$, '22023', 'args must be a JSON object', 'no object');
SELECT throws_ok($$SELECT answer_is('x', 'y', 'd', '{"temperature": 0.5}')$$, '22023', 'args have a temperature and no seed, so no two runs would be alike', 'no seed');
SELECT throws_ok($$SELECT accuracy_ok('nonesuch', 1)$$, '26000', 'prepared statement "nonesuch" does not exist', 'no such statement');
SELECT is(count(*), 0::bigint, 'every function that scripts call has a comment')
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'chatglm_tap' JOIN pg_proc p ON p.oid = d.objid
 WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND p.proname !~ '^_' AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT * FROM finish();
ROLLBACK;
