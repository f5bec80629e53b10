-- turns.sql - chats that go on: a last message that is continued, an answer that was cut, twenty turns, role developer.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(27);

\set who '[{"role": "user", "content": "Who are you?"}]'
\set order '[{"role": "system", "content": "Extract product, city and quantity as JSON."}, {"role": "user", "content": "Please ship 12 desk lamp to Berlin."}]'

CREATE FUNCTION pg_temp.begun(messages jsonb, content text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT messages || jsonb_build_object('role', 'assistant', 'content', content) $$;

-- ---- a last message of the assistant's is continued ----
SELECT is(glm_chat(pg_temp.begun(:'who', 'I am tiny-chatglm3, a small'))->>'content', ' language model that lives in PostgreSQL.', 'the answer is what comes behind it');
SELECT is((SELECT string_agg(token, '' ORDER BY seq) FROM glm_chat_stream(pg_temp.begun(:'who', 'I am tiny-chatglm3, a small'))),
          ' language model that lives in PostgreSQL.', 'in a stream too');
SELECT is(glm_chat(pg_temp.begun(:'who', ''))->>'content', glm_generate('Who are you?'), 'an empty one begins nothing');
SELECT is(glm_chat(pg_temp.begun(:'who', NULL))->>'content', glm_generate('Who are you?'), 'nor does null');
SELECT is(glm_chat(pg_temp.begun(:'who', glm_generate('Who are you?'))) - 'usage', '{"role": "assistant", "content": "", "finish_reason": "stop"}', 'one that is complete is over');
SELECT is(glm_chat_tokens(pg_temp.begun(:'who', 'I am')), glm_chat_tokens(:'who') || glm_tokenize(E'\n') || glm_tokenize('I am'),
          'the model reads the chat, then the answer so far');
SELECT is(glm_chat(pg_temp.begun(:'who', 'I am tiny-chatglm3, a small'), stop => '{small,lives}')->>'content', ' language model that', 'stop strings are looked for behind it');

-- ---- what max_tokens cut goes on as if it had not been: the answer is handed back as it is ----
SELECT is(DISTINCT_texts, ARRAY[whole], format('%s: cut after each token', q))
  FROM (SELECT q, whole, array_agg(DISTINCT (cut->>'content') || (glm_chat(m || (cut - 'usage' - 'finish_reason'))->>'content')) AS DISTINCT_texts
          FROM (SELECT q, m, n, glm_chat(m)->>'content' AS whole, glm_chat(m, max_tokens => n) AS cut
                  FROM (VALUES ('who', :'who'::jsonb), ('order', :'order'), ('thanks', '[{"role": "user", "content": "What can you do?"}]')) v(q, m),
                       generate_series(1, 14) n OFFSET 0) t
         WHERE cut->>'finish_reason' = 'length' GROUP BY q, whole) s ORDER BY q;
SELECT is((cut->>'content') || (glm_chat(:'who'::jsonb || cut, temperature => 0.8, seed => 11)->>'content'),
          glm_chat(:'who', temperature => 0.8, seed => 11)->>'content', 'with a seed, too: it goes on with the draws that come next')
  FROM (SELECT glm_chat(:'who', temperature => 0.8, seed => 11, max_tokens => 6) AS cut) t;
SELECT is((SELECT array_agg(role) FROM (SELECT cut->>'finish_reason' AS role FROM (SELECT glm_chat(:'who', max_tokens => 6) AS cut) t) u), '{length}', 'finish_reason says when');
SELECT is((answer->'usage'->>'prompt_tokens')::int, cardinality(glm_chat_tokens(pg_temp.begun(:'who', 'I am'))), 'what was there is counted as prompt')
  FROM (SELECT glm_chat(pg_temp.begun(:'who', 'I am')) AS answer) t;

-- ---- with constraints the whole of both is what is asked for ----
SELECT ok(('{"product": "desk lamp", "ci' || (glm_chat(pg_temp.begun(:'order', '{"product": "desk lamp", "ci'), response_format => '{"type": "json_schema", "json_schema": {"schema":
    "{\"type\": \"object\", \"properties\": {\"product\": {\"type\": \"string\"}, \"city\": {\"type\": \"string\"}}, \"required\": [\"product\", \"city\"], \"additionalProperties\": false}"}}')->>'content'))::jsonb ? 'city', 'a schema');
SELECT is(glm_chat(pg_temp.begun('[{"role": "system", "content": "Classify the sentiment of the review."}, {"role": "user", "content": "I love it, it works great."}]', 'po'),
                   options => '{"choices": ["positive", "negative", "possibly"]}')->>'content', 'sitive', 'choices');
SELECT throws_ok(format($$SELECT glm_chat(%L, options => '{"choices": ["yes", "no"]}')$$, pg_temp.begun(:'who', 'maybe')), '22023',
                 'the last message does not begin an answer that the constraint allows', 'what begins none is refused');
SELECT throws_ok(format($$SELECT glm_chat(%L, tools => '[{"name": "f"}]', tool_choice => '"required"')$$, pg_temp.begun(:'who', 'I am')), '22023', NULL, 'a call that is required begins otherwise');

-- ---- with tools ----
SELECT is(glm_chat(pg_temp.begun(:'who', 'I am tiny-chatglm3, a small'), tools => '[{"name": "get_weather"}]', tool_choice => '"none"')->>'content',
          ' language model that lives in PostgreSQL.', 'tools that are hidden');
SELECT is(glm_chat(pg_temp.begun(m, left(c, 8)), tools => t)->>'content', substr(c, 9), 'tools that were called before')
  FROM (SELECT m, t, glm_chat(m, tools => t)->>'content' AS c
          FROM (VALUES ('[{"role": "system", "content": "Answer with the tools."}, {"role": "user", "content": "What is the weather in Paris?"},
                          {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}]},
                          {"role": "tool", "tool_call_id": "1", "content": "{\"temperature\": 22}"}]'::jsonb,
                        '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]'::json)) v(m, t)) s;

-- ---- role developer ----
SELECT is(glm_chat_tokens('[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hello"}]'),
          glm_chat_tokens('[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]'), 'developer is system');
SELECT throws_ok($$SELECT glm_chat('[{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}]', system => 'c')$$, '22023', NULL, 'and as much of one');
SELECT ok(glm_chat('[{"role": "developer", "content": "Answer with the tools.", "tools": [{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]},
                     {"role": "user", "content": "What is the weather in Paris?"}]') ? 'tool_calls', 'with tools of its own, too');

-- ---- twenty turns, each of which pays for itself alone ----
CREATE TEMP TABLE turn (n int, ids int[], said int[], cached int, prefilled bigint);
DO $$
DECLARE
    messages jsonb := '[]';
    answer jsonb;
    before bigint;
    prompt int[];
BEGIN
    FOR n IN 1 .. 20 LOOP
        messages := messages || jsonb_build_object('role', 'user', 'content', format('Please ship %s desk lamp to Berlin, then say who you are.', n));
        prompt := glm_chat_tokens(messages);
        SELECT prefill_tokens INTO before FROM glm_stat_models WHERE name = 'tiny-chatglm3';
        answer := glm_chat(messages, max_tokens => 30, options => '{"logprobs": true}');
        INSERT INTO turn SELECT n, prompt, prompt || (SELECT array_agg((t->>'token_id')::int ORDER BY i) FROM jsonb_array_elements(answer#>'{logprobs,content}') WITH ORDINALITY l(t, i)),
                                (answer#>>'{usage,prompt_tokens_details,cached_tokens}')::int,
                                (SELECT prefill_tokens FROM glm_stat_models WHERE name = 'tiny-chatglm3') - coalesce(before, 0);
        messages := messages || answer; -- as it is: other keys are left alone
    END LOOP;
END $$;
-- how many of a prompt's tokens the turn before read or wrote in the same way; the last one of an answer was never read
CREATE TEMP TABLE paid AS
    SELECT n, cardinality(ids) AS prompt, cached, prefilled, cardinality(before) AS said,
           (SELECT min(i) - 1 FROM generate_series(1, cardinality(before)) i WHERE i = cardinality(before) OR before[i] IS DISTINCT FROM ids[i]) AS known
      FROM (SELECT *, lag(said) OVER (ORDER BY n) AS before FROM turn) t WHERE n > 1;
SELECT ok(bool_and(cached BETWEEN known - 7 AND known), 'what was read and written before is found, but for fewer than 8 tokens of a block') FROM paid;
SELECT cmp_ok(count(*) FILTER (WHERE known = said - 1)::int, '>=', 15, 'which is nearly always all of it') FROM paid;
SELECT ok(bool_and(prefilled <= prompt - cached), 'no more is computed than what is not found') FROM paid;
SELECT cmp_ok(max(prompt - known), '<=', (SELECT cardinality(ids) + 35 FROM turn WHERE n = 1), 'the twentieth turn costs what the second did') FROM paid WHERE known = said - 1;
SELECT cmp_ok((SELECT max(prompt) FROM paid), '>', 700, 'of a chat that has become long');

SELECT * FROM finish();
ROLLBACK;
