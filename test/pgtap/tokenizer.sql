-- tokenizer.sql - text to ids and back, and what a chat becomes.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(25);

SELECT is(glm_detokenize(glm_tokenize(t)), t, format('round trip of %L', t))
  FROM (VALUES ('hello'), ('Please ship 12 desk lamp to Berlin.'), ('你好,世界'), ('naïve Ωmega 🐘'), (E'two\nlines'),
               ('<|user|> is plain text'), ('[gMASK]sop')) v(t);
SELECT is(glm_count_tokens(t), cardinality(glm_tokenize(t)), format('count of %L', t))
  FROM (VALUES ('hello'), ('你好,世界'), (repeat('a long text ', 5000))) v(t);
SELECT is(glm_tokenize(''), '{}', 'an empty text has no tokens');
SELECT is(glm_count_tokens(''), 0, 'and counts 0');
SELECT is(glm_tokenize(NULL), NULL, 'NULL in, NULL out: tokenize');
SELECT is(glm_detokenize(NULL), NULL, 'detokenize');
SELECT is(glm_count_tokens(NULL), NULL, 'count_tokens');
SELECT is(glm_chat_tokens(NULL), NULL, 'chat_tokens');
SELECT is(glm_logits(NULL), NULL, 'logits');

SELECT is((glm_tokenize('hello', add_special => true))[3:], glm_tokenize('hello'), 'add_special puts two ids in front');
-- special ids follow the vocabulary as [MASK] [gMASK] [sMASK] sop eop system user assistant observation
SELECT is((glm_tokenize('', add_special => true))[2] - (glm_tokenize('', add_special => true))[1], 2, 'which are [gMASK] and sop');
SELECT is(glm_chat_tokens('[{"role": "user", "content": "hello"}]'),
          glm_tokenize('', add_special => true) || (sop + 3) || glm_tokenize(E'\n') || glm_tokenize('hello') || (sop + 4),
          'a chat is [gMASK] sop <|user|> newline text <|assistant|>')
  FROM (SELECT (glm_tokenize('', add_special => true))[2] AS sop) s;
SELECT ok(NOT (glm_tokenize('', add_special => true))[2] + 3 = ANY (glm_tokenize('<|user|>')),
          'a typed <|user|> is no special id');
SELECT is(glm_chat_tokens('[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]'),
          glm_chat_tokens('[{"role": "user", "content": "a"}, {"role": "assistant", "metadata": "", "content": "b"}, {"role": "user", "content": [{"type": "text", "text": "c"}]}]'),
          'OpenAI''s way of writing messages and ChatGLM3''s');
SELECT is(glm_chat_tokens('[{"role": "user", "content": "w"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "22"}]'),
          glm_chat_tokens('[{"role": "user", "content": "w"},
            {"role": "assistant", "metadata": "get_weather", "content": "```python\ntool_call(city=\"Paris\")\n```"},
            {"role": "observation", "content": "22"}]'),
          'tool calls and their results too');

SELECT is(cardinality(glm_logits(glm_tokenize('hello'))), (SELECT vocab FROM glm_models WHERE name = 'tiny-chatglm3'),
          'one logit for each id of the padded vocabulary');
SELECT is(glm_logits(glm_tokenize('hello')), glm_logits(glm_tokenize('hello')), 'the same twice');

SELECT * FROM finish();
ROLLBACK;
