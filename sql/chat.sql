--
-- glm_chat: messages and tools in, one object in OpenAI's words out.
--
\pset format unaligned
CREATE FUNCTION shape(answer jsonb) RETURNS TABLE (key text, type text) LANGUAGE sql AS
$$ SELECT key, jsonb_typeof(value) FROM jsonb_each(answer) ORDER BY key COLLATE "C" $$;

SELECT answer->>'content' AS content, answer->>'finish_reason' AS finish_reason
  FROM glm_chat('[{"role": "user", "content": "Who are you?"}]') answer;
SELECT * FROM shape(glm_chat('[{"role": "user", "content": "Who are you?"}]'));
SELECT (u->>'total_tokens')::int = (u->>'prompt_tokens')::int + (u->>'completion_tokens')::int AS adds_up,
       (u->>'prompt_tokens')::int = array_length(glm_chat_tokens('[{"role": "user", "content": "hello"}]'), 1) AS prompt,
       (u->>'completion_tokens')::int = (SELECT count(*) FROM glm_stream('hello')) AS completion
  FROM (SELECT glm_chat('[{"role": "user", "content": "hello"}]')->'usage') v(u);
SELECT glm_chat('[{"role": "user", "content": "Who are you?"}]', max_tokens => 3)->>'finish_reason' AS finish_reason;

-- a system message and the argument are the same
SELECT glm_chat('[{"role": "user", "content": "It broke after two days."}]', system => '判断评论的情感。')->'content' AS argument,
       glm_chat('[{"role": "system", "content": "判断评论的情感。"},
                  {"role": "user", "content": "It broke after two days."}]')->'content' AS message;

-- a call of a tool
CREATE TABLE asked AS SELECT glm_chat('[{"role": "system", "content": "Answer with the tools."},
    {"role": "user", "content": "What is the weather in Paris?"}]',
    tools => '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]') AS answer;
SELECT answer->'role' AS role, answer->'content' AS content, answer->'finish_reason' AS finish_reason,
       jsonb_array_length(answer->'tool_calls') AS calls FROM asked;
SELECT call->>'type' AS type, call->>'id' ~ '^call_[0-9]+_0$' AS id, call->'function' AS function
  FROM asked, jsonb_array_elements(answer->'tool_calls') call;

-- and the answer once the tool has been run, with the call handed back as it came
SELECT glm_chat('[{"role": "system", "content": "Answer with the tools."},
                  {"role": "user", "content": "What is the weather in Paris?"}]'::jsonb
                || jsonb_build_array(answer - 'usage' - 'finish_reason',
                                     jsonb_build_object('role', 'tool', 'tool_call_id', answer#>'{tool_calls,0,id}',
                                                        'content', '{"temperature": 22}')),
                tools => '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]')->'content' AS content
  FROM asked;
DROP TABLE asked;

-- tool_choice
-- (cached_tokens depends on what was asked before)
SELECT (glm_chat(m, tools => t, tool_choice => '"none"') #- at) - 'id' = glm_chat(m) #- at AS "none",
       glm_chat(m, tools => t, tool_choice => '"auto"')#>'{usage,total_tokens}' = glm_chat(m, tools => t)#>'{usage,total_tokens}' AS "auto",
       glm_chat(m, tools => '[]') #- at = glm_chat(m) #- at AS "no tools",
       glm_chat('[{"role": "system", "content": "", "tools": [{"name": "f"}]}]' || m, tool_choice => '"none"') #- at
           = glm_chat('[{"role": "system", "content": ""}]' || m) #- at AS "none, in the message"
  FROM (VALUES ('[{"role": "user", "content": "Who are you?"}]'::jsonb,
                '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]'::json,
                '{usage,prompt_tokens_details}'::text[])) v(m, t, at);
SELECT glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '"required"');
SELECT glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '{"type": "function", "function": {"name": "f"}}');
SELECT glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '[]');

-- equal calls have equal answers, ids and all; another question has another id
SELECT count(DISTINCT answer) AS answers, count(DISTINCT answer#>>'{tool_calls,0,id}') AS ids
  FROM (SELECT glm_chat(jsonb_build_array('{"role": "system", "content": "Answer with the tools."}'::jsonb,
                                          jsonb_build_object('role', 'user', 'content', 'What is the weather in ' || city || '?')),
                        tools => '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]', options => '{"cache": false}') AS answer
          FROM unnest('{Paris,Berlin,Paris,Paris,Berlin}'::text[]) city OFFSET 0) a;

-- a streamed call says so, and its text is parsed into what glm_chat gives
\set m '[{"role": "system", "content": "Answer with the tools."}, {"role": "user", "content": "What is the weather in Paris?"}]'
\set t '[{"name": "get_weather", "parameters": {"city": {"type": "string"}}}]'
SELECT array_agg(finish_reason ORDER BY seq DESC) FILTER (WHERE finish_reason IS NOT NULL) AS finish,
       glm_parse_tool_calls(string_agg(token, '' ORDER BY seq)) #- '{tool_calls,0,id}'
         = glm_chat(:'m', tools => :'t') - 'usage' - 'finish_reason' #- '{tool_calls,0,id}' AS parsed
  FROM glm_chat_stream(:'m', tools => :'t');
SELECT (array_agg(finish_reason ORDER BY seq DESC))[1] AS select_list
  FROM (SELECT (glm_chat_stream(:'m', tools => :'t')).*) s;
SELECT (array_agg(finish_reason ORDER BY seq DESC))[1] AS cut FROM glm_chat_stream(:'m', tools => :'t', max_tokens => 3);
SELECT string_agg(token, '' ORDER BY seq) = glm_chat(:'m')->>'content' AS "none", (array_agg(finish_reason ORDER BY seq DESC))[1] AS finish
  FROM glm_chat_stream(:'m', tools => :'t', tool_choice => '"none"');
SELECT * FROM glm_chat_stream(:'m', tools => :'t', tool_choice => '"sometimes"');

-- the text of any stream
SELECT jsonb_pretty(glm_parse_tool_calls(E'Let me check.\nget_weather\n```python\ntool_call(city="Berlin")\n```\nget_time\n```python\ntool_call(zone=12345678901234567890)\n```'));
SELECT glm_parse_tool_calls(E'Hello\n```\ntool_call(a=f())\n```'), glm_parse_tool_calls(''), glm_parse_tool_calls(NULL) IS NULL AS "NULL",
       glm_parse_tool_calls('a') = glm_parse_tool_calls('a') AS same;

-- what is said of a cut answer
SELECT glm_chat('[{"role": "user", "content": "Who are you?"}]', max_tokens => 3, options => '{"on_length": "error"}');
SELECT glm_chat(:'m', tools => :'t', max_tokens => 3, options => '{"on_length": "null"}') - 'usage';

-- history as clients write it
SELECT glm_detokenize(glm_chat_tokens('[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"},
    {"role": "assistant", "content": null, "tool_calls": [
      {"id": "W", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
      {"id": "T", "type": "function", "function": {"name": "get_time", "arguments": "{\"城市\": \"北京\", \"id\": 12345678901234567890}"}}]},
    {"role": "tool", "tool_call_id": "T", "content": "14:05"},
    {"role": "tool", "tool_call_id": "W", "content": "22 C"}]'));
SELECT glm_chat_tokens('[{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [{"id": "W", "function": {"name": "f"}}]},
    {"role": "tool", "tool_call_id": "zzz", "content": "1"}]');

-- content may be a list of text parts
SELECT glm_chat_tokens('[{"role": "user", "content": [{"type": "text", "text": "hello"}]}]')
     = glm_chat_tokens('[{"role": "user", "content": "hello"}]') AS parts;

SELECT glm_chat(NULL) IS NULL AS "NULL";

DROP FUNCTION shape;
