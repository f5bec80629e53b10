-- chat.sql - glm_chat: the message it returns, tools, what a tool returned.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(28);

\set tools '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]'
\set ask '[{"role": "system", "content": "Answer with the tools."}, {"role": "user", "content": "What is the weather in Paris?"}]'

CREATE TEMP TABLE plain AS SELECT glm_chat('[{"role": "user", "content": "hello"}]') AS answer;
SELECT is(answer->>'role', 'assistant', 'role') FROM plain;
SELECT is(answer->>'content', 'Hello! How can I help you?', 'content') FROM plain;
SELECT is(answer->>'finish_reason', 'stop', 'finish_reason') FROM plain;
SELECT ok(NOT answer ? 'tool_calls', 'no tool_calls') FROM plain;
SELECT is((answer->'usage'->>'prompt_tokens')::int, cardinality(glm_chat_tokens('[{"role": "user", "content": "hello"}]')),
          'usage.prompt_tokens') FROM plain;
SELECT cmp_ok((answer->'usage'->>'completion_tokens')::int, '>', 0, 'usage.completion_tokens') FROM plain;
SELECT is((answer->'usage'->>'total_tokens')::int,
          (answer->'usage'->>'prompt_tokens')::int + (answer->'usage'->>'completion_tokens')::int, 'usage.total_tokens') FROM plain;

CREATE TEMP TABLE called AS SELECT glm_chat(:'ask', tools => :'tools') AS answer;
SELECT is(answer->>'finish_reason', 'tool_calls', 'a call is the reason to finish') FROM called;
SELECT is(answer->'content', 'null'::jsonb, 'content is null') FROM called;
SELECT is(jsonb_array_length(answer->'tool_calls'), 1, 'one call') FROM called;
SELECT is(answer->'tool_calls'->0->>'type', 'function', 'of a function') FROM called;
SELECT isnt(answer->'tool_calls'->0->>'id', NULL, 'with an id') FROM called;
SELECT is(answer->'tool_calls'->0->'function'->>'name', 'get_weather', 'by its name') FROM called;
SELECT is((answer->'tool_calls'->0->'function'->>'arguments')::jsonb, '{"city": "Paris"}', 'with its arguments, as text of a JSON object')
  FROM called;

-- the message can be handed back as it is, with the tool's result after it
SELECT is(glm_chat(:'ask'::jsonb || (answer - '{usage,finish_reason}'::text[]) ||
                   jsonb_build_object('role', 'tool', 'tool_call_id', answer->'tool_calls'->0->>'id', 'content', '{"temperature": 22}'),
                   tools => :'tools')->>'content',
          'In Paris it is 22 degrees.', 'the result of the tool is told') FROM called;

SELECT is(glm_chat(jsonb_set(:'ask'::jsonb, '{0,tools}', :'tools'::jsonb))->'tool_calls'->0->'function',
          answer->'tool_calls'->0->'function', 'tools inside the system message are tools') FROM called;
SELECT is(glm_chat_tokens(:'ask', tools => '[{"type": "function", "function": {"name": "get_weather", "parameters": {"city": {"type": "string"}}}}]'),
          glm_chat_tokens(:'ask', tools => :'tools'), 'OpenAI''s wrapping of a tool says the same');
SELECT is(glm_chat_tokens(:'ask', tools => '[]'), glm_chat_tokens(:'ask'), 'no tools are no tools');
SELECT ok(NOT glm_chat(:'ask', tools => :'tools', tool_choice => '"none"') ? 'tool_calls', 'tool_choice none: no calls');

-- prompts that do not fit
\set long 'repeat(''The parcel has not arrived. '', 1000)'
SELECT throws_ok(format($$SELECT glm_generate(%s)$$, :'long'), '54000', NULL, 'a prompt that does not fit is an error');
SELECT is((r).prompt_tokens, 2048 - 20, how || ': cut to what the context has beside the answer')
  FROM unnest('{head,tail,middle}'::text[]) how, LATERAL (SELECT glm_try_generate(:long, max_tokens => 20, options => jsonb_build_object('truncate', how)) AS r OFFSET 0) t;
SELECT is((r).prompt_tokens, 2048 - 512, 'a quarter of which is the most that is kept free')
  FROM (SELECT glm_try_generate(:long, max_tokens => 2000, options => '{"truncate": "tail", "timeout_ms": 60000}', stop => '{e,a}') AS r OFFSET 0) t;
SELECT is((glm_try_generate('Who are you?', options => '{"truncate": "head"}')).response, glm_generate('Who are you?'), 'one that fits is left alone');
SELECT is(count(*)::int, 3, 'streams and raw continuations too') FROM (
    SELECT token FROM glm_stream(:long, max_tokens => 1, options => '{"truncate": "head"}')
    UNION ALL SELECT token FROM glm_chat_stream(jsonb_build_array(jsonb_build_object('role', 'user', 'content', :long)), max_tokens => 1, options => '{"truncate": "middle"}')
    UNION ALL SELECT glm_complete(:long, max_tokens => 1, options => '{"truncate": "tail"}')) t;
SELECT throws_ok($$SELECT * FROM glm_stream('Who are you?', max_tokens => 3, options => '{"on_length": "error"}')$$, '54000', NULL, 'a stream that is cut ends in an error');
SELECT throws_ok($$SELECT glm_stream('Who are you?', max_tokens => 3, options => '{"on_length": "error"}')$$, '54000', NULL, 'in the select list too');

SELECT * FROM finish();
ROLLBACK;
