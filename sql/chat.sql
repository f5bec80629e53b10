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

-- content may be a list of text parts
SELECT glm_chat_tokens('[{"role": "user", "content": [{"type": "text", "text": "hello"}]}]')
     = glm_chat_tokens('[{"role": "user", "content": "hello"}]') AS parts;

SELECT glm_chat(NULL) IS NULL AS "NULL";

DROP FUNCTION shape;
