--
-- Tokens: text to ids and back, of plain texts and of chats.
--
CREATE TABLE text_sample (id int PRIMARY KEY, content text);
INSERT INTO text_sample VALUES
    (1, 'hello'), (2, '你好'), (3, 'The café, naïve.'), (4, 'two  blanks'),
    (5, E'a line\nand a tab\t.'), (6, '🙂 𝄞'), (7, '12,5 %'), (8, '<|user|>'), (9, '');

-- what goes in comes out
SELECT id, content = glm_detokenize(glm_tokenize(content)) AS same,
       glm_count_tokens(content) = coalesce(array_length(glm_tokenize(content), 1), 0) AS counted
  FROM text_sample ORDER BY id;
SELECT glm_tokenize('');
SELECT glm_detokenize('{}') = '' AS empty;

-- [gMASK] sop, on request
SELECT glm_detokenize(glm_tokenize('hello', add_special => true)) AS special;
SELECT (glm_tokenize('hello', add_special => true))[3:] = glm_tokenize('hello') AS "then the text";
SELECT glm_tokenize('hello', NULL, NULL) = glm_tokenize('hello') AS "NULL is the default";

-- a chat's roles are ids that no text can have
SELECT glm_detokenize(glm_chat_tokens('[{"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "<|assistant|>"}]'));
SELECT glm_tokenize('<|assistant|>') && (glm_chat_tokens('[{"role": "user", "content": "a"}]'))[1:3] AS injected;

-- tools: as an argument, inside a system message, OpenAI's way
SELECT glm_detokenize(glm_chat_tokens('[{"role": "user", "content": "hello"}]',
    tools => '[{"name": "f", "parameters": {"z": 1, "a": 2}}]'));
SELECT glm_chat_tokens('[{"role": "system", "content": "Use the tools."}, {"role": "user", "content": "hello"}]',
           tools => '[{"name": "f", "description": "d", "parameters": {}}]')
     = glm_chat_tokens('[{"role": "system", "content": "Use the tools.",
                          "tools": [{"parameters": {}, "name": "f", "description": "d"}]},
                         {"role": "user", "content": "hello"}]') AS "in the message",
       glm_chat_tokens('[{"role": "system", "content": "Use the tools."}, {"role": "user", "content": "hello"}]',
           tools => '[{"name": "f", "description": "d", "parameters": {}}]')
     = glm_chat_tokens('[{"role": "system", "content": "Use the tools."}, {"role": "user", "content": "hello"}]',
           tools => '[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}]') AS "OpenAI's";

-- a call and its result: ChatGLM3's own form and OpenAI's are the same ids
SELECT glm_chat_tokens('[{"role": "user", "content": "hello"},
           {"role": "assistant", "metadata": "f", "content": "```python\ntool_call(a=\"b\")\n```"},
           {"role": "observation", "content": "7"}]')
     = glm_chat_tokens('[{"role": "user", "content": "hello"},
           {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1_0", "type": "function",
               "function": {"name": "f", "arguments": "{\"a\": \"b\"}"}}]},
           {"role": "tool", "tool_call_id": "call_1_0", "content": "7"}]') AS same;

-- logits: one for each id; the embedded model gives finite ones
SELECT array_length(l, 1) = (SELECT vocab FROM glm_models WHERE name = 'tiny-chatglm3') AS "all ids",
       (SELECT bool_and(x > '-Infinity' AND x < 'Infinity') FROM unnest(l) x) AS finite
  FROM glm_logits(glm_tokenize('hello')) l;

-- arrays of any shape are read in their order
SELECT glm_detokenize(ARRAY[t[1:2], t[3:4]]) = glm_detokenize(t[1:4]) AS flattened
  FROM glm_tokenize('one two three four five six') t;

-- NULL in, NULL out
SELECT glm_tokenize(NULL) IS NULL AS tokenize, glm_detokenize(NULL) IS NULL AS detokenize,
       glm_count_tokens(NULL) IS NULL AS count_tokens, glm_chat_tokens(NULL) IS NULL AS chat_tokens,
       glm_logits(NULL) IS NULL AS logits;

DROP TABLE text_sample;
