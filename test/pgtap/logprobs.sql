-- logprobs.sql - options.logprobs and n: what is told of an answer's tokens, and several answers to one question.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(45);

\set who '[{"role": "user", "content": "Who are you?"}]'

-- ---- glm_chat ----
CREATE TEMP TABLE told AS SELECT answer, c.token, c.n
  FROM (SELECT glm_chat(:'who', options => '{"logprobs": 3}') AS answer) t, jsonb_array_elements(answer#>'{logprobs,content}') WITH ORDINALITY c(token, n);
CREATE TEMP TABLE rows AS SELECT * FROM glm_chat_stream(:'who', options => '{"logprobs": 3}');
SELECT is(count(*), max((answer#>>'{usage,completion_tokens}')::int)::bigint, 'an entry for each token of completion_tokens') FROM told;
SELECT is(ltrim(string_agg(token->>'token', '' ORDER BY n) FILTER (WHERE token->'bytes' <> 'null'), E' \n'), max(answer->>'content'), 'their texts are the answer''s') FROM told;
SELECT is(array_agg((token->>'token_id')::int ORDER BY n), (SELECT array_agg(token_id ORDER BY seq) FROM rows), 'ids are those of a stream') FROM told;
SELECT is(array_agg((token->>'logprob')::real ORDER BY n), (SELECT array_agg(logprob ORDER BY seq) FROM rows), 'log probabilities too') FROM told;
SELECT is(jsonb_agg(token->'top_logprobs' ORDER BY n), (SELECT jsonb_agg(top_logprobs ORDER BY seq) FROM rows), 'and what stands beside them') FROM told;
SELECT is(array_agg(DISTINCT jsonb_array_length(token->'top_logprobs')), '{3}', 'as many as asked for') FROM told;
SELECT ok(bool_and(token->'top_logprobs'->0->'token_id' = token->'token_id' AND token->'top_logprobs'->0->'logprob' = token->'logprob'), 'greedy takes the first of them') FROM told;
SELECT ok(bool_and((token#>>'{top_logprobs,0,logprob}')::real >= (token#>>'{top_logprobs,1,logprob}')::real AND (token#>>'{top_logprobs,1,logprob}')::real >= (token#>>'{top_logprobs,2,logprob}')::real),
          'the likeliest first') FROM told;
SELECT ok(bool_and((token->>'logprob')::float8 <= 0), 'logarithms of probabilities') FROM told;
SELECT is((SELECT token - 'logprob' - 'top_logprobs' FROM told ORDER BY n DESC LIMIT 1), jsonb_build_object('token', '<|user|>', 'token_id', (SELECT token_id FROM rows ORDER BY seq DESC LIMIT 1), 'bytes', NULL),
          'the token that ends the answer has a name');
SELECT is((SELECT token->'bytes' FROM told WHERE token->>'token' = ' I'), '[32, 73]', 'bytes are those of UTF-8');
-- by the model's logits
SELECT ok(abs((token->>'logprob')::float8 - (x[(token->>'token_id')::int + 1] - s.log_sum)) < 1e-4, 'log softmax of the logits')
  FROM told, LATERAL (SELECT glm_logits(glm_chat_tokens(:'who'))) l(x),
       LATERAL (SELECT ln(sum(exp(u.v::float8))) FROM unnest(x) WITH ORDINALITY u(v, i) WHERE i <= 1024) s(log_sum) WHERE n = 1;

SELECT is(glm_chat(:'who', options => '{"logprobs": true}')#>'{logprobs,content,3}', token || '{"top_logprobs": []}', 'true: of the answer''s tokens alone') FROM told WHERE n = 4;
SELECT is(glm_chat(:'who', options => '{"logprobs": 0}'), glm_chat(:'who', options => '{"logprobs": true}'), 'as 0');
SELECT is(glm_chat(:'who', options => '{"logprobs": false}') - 'usage', glm_chat(:'who') - 'usage', 'false: none');
SELECT ok(NOT glm_chat(:'who') ? 'logprobs', 'as without the option');
SELECT is(answer - 'logprobs' - 'usage', glm_chat(:'who') - 'usage', 'the answer is the same') FROM told LIMIT 1;
SELECT is(glm_chat(:'who', temperature => 3, top_p => 0.5, seed => 1, max_tokens => 1, options => '{"logprobs": 3}')#>'{logprobs,content,0,top_logprobs}', token->'top_logprobs',
          'before temperature and top_p') FROM told WHERE n = 1;
SELECT is(glm_chat(:'who', max_tokens => 1, options => jsonb_build_object('logprobs', 3, 'logit_bias', jsonb_build_object(token->>'token_id', -100)))#>'{logprobs,content,0,top_logprobs}', token->'top_logprobs',
          'and before biases') FROM told WHERE n = 1;
SELECT is(answer->'logprobs', 'null', 'what is withheld tells nothing') FROM (SELECT glm_chat(:'who', max_tokens => 3, options => '{"logprobs": 2, "on_length": "null"}') AS answer) t;
-- tokens that are forced have the model's probabilities, too
SELECT is((SELECT jsonb_agg(c->'logprob') FROM jsonb_array_elements(glm_chat(:'who', options => '{"logprobs": 2, "choices": ["nothing else"]}')#>'{logprobs,content}') c),
          (SELECT jsonb_agg(to_jsonb(logprob) ORDER BY seq) FROM glm_stream('Who are you?', options => '{"logprobs": 2, "choices": ["nothing else"]}')), 'forced tokens');
SELECT ok(answer ? 'tool_calls' AND jsonb_array_length(answer#>'{logprobs,content}') = (answer#>>'{usage,completion_tokens}')::int, 'beside calls')
  FROM (SELECT glm_chat('[{"role": "system", "content": "Answer with the tools."}, {"role": "user", "content": "What is the weather in Paris?"}]',
                        tools => '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]', options => '{"logprobs": 1}') AS answer) t;

-- ---- streams ----
SELECT ok(bool_and(top_logprobs IS NULL), 'a stream without the option has none') FROM glm_stream('hello');
SELECT ok(bool_and(top_logprobs IS NULL), 'nor with true') FROM glm_stream('hello', options => '{"logprobs": true}');
SELECT is((SELECT string_agg((s).token, '' ORDER BY (s).seq) FROM (SELECT glm_stream('hello', options => '{"logprobs": 20}') AS s) t), glm_generate('hello'), 'text is text in the select list');
SELECT is(array_agg(DISTINCT jsonb_array_length(top_logprobs)), '{20}', 'twenty') FROM glm_stream('hello', options => '{"logprobs": 20}');

-- ---- n answers ----
CREATE TEMP TABLE several AS SELECT * FROM glm_generate_n('Who are you?', 5, temperature => 1.5, top_p => 1, seed => 40, max_tokens => 20);
SELECT is(array_agg(idx ORDER BY idx), '{1,2,3,4,5}', 'glm_generate_n numbers them') FROM several;
SELECT is(array_agg(response ORDER BY idx), (SELECT array_agg(glm_generate('Who are you?', temperature => 1.5, top_p => 1, seed => 39 + i, max_tokens => 20) ORDER BY i) FROM generate_series(1, 5) i),
          'they are those of seeds that follow each other') FROM several;
SELECT cmp_ok(count(DISTINCT response), '>', 1::bigint, 'and differ') FROM several;
SELECT is(glm_generate_n.*, ROW(1, (r).response, (r).prompt_tokens, (r).completion_tokens, (r).finish_reason, NULL::jsonb, (r).model), 'one is as glm_try_generate')
  FROM glm_generate_n('hello', 1), LATERAL (SELECT glm_try_generate('hello') AS r OFFSET 0) t;
SELECT is(logprobs, glm_chat('[{"role": "user", "content": "hello"}]', options => '{"logprobs": 2}')->'logprobs', 'with log probabilities') FROM glm_generate_n('hello', 1, options => '{"logprobs": 2}');
CREATE TEMP TABLE chosen AS SELECT glm_chat(:'who', temperature => 1.5, top_p => 1, seed => 40, max_tokens => 20, options => '{"n": 5, "logprobs": 1}') AS answer;
SELECT is(jsonb_agg(c.one#>'{message,content}' ORDER BY n), (SELECT jsonb_agg(response ORDER BY idx) FROM several), 'glm_chat has them as choices')
  FROM chosen, jsonb_array_elements(answer->'choices') WITH ORDINALITY c(one, n);
SELECT is(jsonb_agg(c.one - 'logprobs' #- '{message,content}' ORDER BY n), (SELECT jsonb_agg(jsonb_build_object('index', idx - 1, 'message', '{"role": "assistant"}'::jsonb, 'finish_reason', finish_reason) ORDER BY idx) FROM several),
          'in OpenAI''s form') FROM chosen, jsonb_array_elements(answer->'choices') WITH ORDINALITY c(one, n);
SELECT is((answer#>>'{usage,completion_tokens}')::bigint, (SELECT sum(completion_tokens) FROM several), 'usage counts all answers') FROM chosen;
SELECT is((answer#>>'{usage,prompt_tokens}')::int, (SELECT max(prompt_tokens) FROM several), 'and the prompt once') FROM chosen;
SELECT is(jsonb_array_length(glm_chat(:'who', options => '{"n": 1}')->'choices'), 1, 'n of 1 is one choice');
SELECT is(array_agg(answer->'choices' ORDER BY i), array_agg(one->'choices' ORDER BY i), 'in flight as alone')
  FROM (SELECT i, glm_chat(m, temperature => 1, seed => i, max_tokens => 12, options => '{"n": 3}') AS answer, (SELECT glm_chat(m, temperature => 1, seed => i, max_tokens => 12, options => '{"n": 3}') OFFSET 0) AS one
          FROM (SELECT i, jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'hello ' || i)) FROM generate_series(1, 30) i) v(i, m) OFFSET 0) t;
-- the prompt is computed once, whether others may share it or not
SELECT cmp_ok(prefilled, '<', (answer#>>'{usage,prompt_tokens}')::bigint + 8 * 16, format('the prompt is computed once, cache %s', cache))
  FROM (VALUES (true), (false)) v(cache),
       LATERAL (SELECT prefill_tokens AS before FROM glm_stat_models WHERE name = 'tiny-chatglm3' AND cache IS NOT NULL OFFSET 0) b,
       LATERAL (SELECT glm_chat(jsonb_build_array(jsonb_build_object('role', 'user', 'content', repeat('A long one. ', 40) || cache)), max_tokens => 5,
                                temperature => 1, seed => 1, options => jsonb_build_object('n', 8, 'cache', cache)) AS answer WHERE b.before IS NOT NULL OFFSET 0) c,
       LATERAL (SELECT prefill_tokens - before AS prefilled FROM glm_stat_models WHERE name = 'tiny-chatglm3' AND answer IS NOT NULL OFFSET 0) a;

-- ---- what is refused ----
SELECT throws_ok(format('SELECT %s', call), '22023', m, call)
  FROM (VALUES ('glm_generate(''a'', options => ''{"logprobs": 1}'')', 'argument "options.logprobs" has no place in what this function gives'),
               ('glm_generate(''a'', options => ''{"n": 2}'')', 'argument "options.n" is 2, but this function gives one answer'),
               ('glm_stream(''a'', options => ''{"n": 2}'')', 'argument "options.n" is 2, but this function gives one answer'),
               ('glm_generate_batch(''{a}'', options => ''{"n": 2}'')', 'argument "options.n" is 2, but this function gives one answer'),
               ('glm_chat(''[]'', options => ''{"logprobs": 21}'')', 'argument "options.logprobs" must be true, false or a whole number up to 20, not 21'),
               ('glm_chat(''[]'', options => ''{"n": 33}'')', 'argument "options.n" must be a whole number from 1 to 32, not 33')) v(call, m);

SELECT * FROM finish();
ROLLBACK;
