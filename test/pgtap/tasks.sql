-- tasks.sql - glm_extract, glm_translate, glm_summarize, glm_redact.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
SELECT plan(62);
\set schema '{"type": "object", "properties": {"product": {"type": "string"}, "city": {"type": "string"}, "quantity": {"type": "integer"}}, "required": ["product", "city", "quantity"], "additionalProperties": false}'

-- ---- glm_extract ----
SELECT is(glm_extract('Please ship 12 desk lamps to Berlin.', :'schema'), '{"product": "desk lamps", "city": "Berlin", "quantity": 12}'::jsonb, 'an order');
SELECT is(glm_extract('x', :'schema'), glm_json('x', :'schema', system => 'Extract from the text, as JSON: product, city, quantity'),
          'it is a glm_json with the prompt of its task');
SELECT is(glm_extract('x', '{"properties": {"a": {"type": "boolean", "description": "whether {content}"}}}', max_tokens => 60),
          glm_json('x', '{"properties": {"a": {"type": "boolean", "description": "whether {content}"}}}', max_tokens => 60,
                   system => E'Extract from the text, as JSON: a\nKeep to this JSON schema: {"properties": {"a": {"type": "boolean", "description": "whether {content}"}}}'),
          'a schema that says more than types is shown to the model; braces in it are its own');
SELECT is(glm_extract('x', '{"enum": [3]}'), '3'::jsonb, 'a schema without names');
SELECT is(glm_extract('x', :'schema', system => 'Be brief.'),
          glm_json('x', :'schema', system => E'Be brief.\nExtract from the text, as JSON: product, city, quantity'), 'system goes before the task''s');
SELECT is(glm_extract(NULL, :'schema'), NULL, 'NULL');
SELECT throws_ok($$SELECT glm_extract('x', NULL)$$, '22004', 'argument "schema" must not be NULL', 'no schema');
SELECT throws_ok($$SELECT glm_extract('x', '{"type": "strin"}')$$, '22023', NULL, 'a schema that is none');
SELECT throws_ok($$SELECT glm_extract('x', '{}', response_format => '{"type": "json_object"}')$$, '22023', NULL, 'two say what it has to be');
SELECT throws_ok($$SELECT glm_extract('x', '{}', model => 'nonesuch')$$, '42704', NULL, 'no such model');
SELECT is(glm_try_extract('x', '{}', model => 'nonesuch'),
          ROW(NULL, NULL, NULL, NULL, 'model "nonesuch" does not exist', '42704', NULL)::glm_json_result, 'the error as a value');
SELECT is((glm_try_extract('Please ship 12 desk lamps to Berlin.', :'schema')).value->>'city', 'Berlin', 'the value');
SELECT is((glm_try_extract('x', NULL)).sqlstate, '22004', 'no schema, as a value');
SELECT is((glm_try_extract(repeat('very ', 5000), '{}')).sqlstate, '54000', 'a text that is too long');

-- ---- glm_translate ----
\set german 'Translate the text into German. Answer with the translation alone.'
SELECT is(glm_translate('hello', 'German', max_tokens => 8), glm_generate('hello', system => :'german', max_tokens => 8), 'translate');
SELECT is((glm_try_translate('hello', 'German', max_tokens => 8)).prompt_tokens,
          (glm_try_generate('hello', system => :'german', max_tokens => 8)).prompt_tokens, 'token for token');
SELECT is(glm_translate('hello', 'German', 'English', max_tokens => 8),
          glm_generate('hello', system => :'german' || E'\nThe text is written in English.', max_tokens => 8), 'from a language');
SELECT is(glm_translate(E'{language} {{ {content}\n---\n{nonesuch}', 'German', max_tokens => 8),
          glm_generate(E'{language} {{ {content}\n---\n{nonesuch}', system => :'german', max_tokens => 8), 'braces in a text are the text''s');
SELECT is((glm_try_translate('hello', '{content}', max_tokens => 8)).prompt_tokens,
          (glm_try_generate('hello', system => replace(:'german', 'German', '{content}'), max_tokens => 8)).prompt_tokens, 'in an argument, too');
SELECT is(glm_translate(NULL, 'German'), NULL, 'NULL');
SELECT is(glm_translate(NULL, NULL), NULL, 'NULL again');
SELECT is(glm_try_translate(NULL, 'German')::text, NULL, 'NULL is no error');
SELECT throws_ok($$SELECT glm_translate('x', NULL)$$, '22004', 'argument "to_language" must not be NULL', 'into what?');
SELECT throws_ok($$SELECT glm_translate('x', ' ')$$, '22023', 'argument "to_language" must not be empty', 'into nothing');
SELECT throws_ok($$SELECT glm_translate('x', 'German', '')$$, '22023', 'argument "from_language" must not be empty', 'from nothing');
SELECT throws_ok($$SELECT glm_translate(repeat('very ', 5000), 'German')$$, '54000', NULL, 'a text that is too long');
SELECT isnt(glm_translate(repeat('very ', 5000), 'German', options => '{"truncate": "tail"}', max_tokens => 2), NULL, 'or cut');
SELECT is(glm_translate('hello', 'German', max_tokens => 2, options => '{"on_length": "null"}'), NULL, 'an answer that was cut may be NULL');
SELECT throws_ok($$SELECT glm_translate('x', 'German', max_tokens => 0)$$, '22023', NULL, 'common arguments are checked');
SELECT is((SELECT array_agg(glm_translate('text ' || i, 'German', max_tokens => 4) ORDER BY i) FROM generate_series(1, 6) i),
          (SELECT array_agg(glm_generate('text ' || i, system => :'german', max_tokens => 4) ORDER BY i) FROM generate_series(1, 6) i), 'rows');
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT is((SELECT line FROM pg_temp.plan_of(format('SELECT glm_%s FROM generate_series(1, 3) i', call)) line LIMIT 1), 'Custom Scan (GlmBatch)',
          call || ' is kept in flight')
  FROM unnest(ARRAY['extract(i::text, ''{}'')', 'try_extract(i::text, ''{}'')', 'translate(i::text, ''x'')', 'try_translate(i::text, ''x'')',
                    'summarize(i::text)', 'try_summarize(i::text)', 'redact(i::text)', 'try_redact(i::text)']) call;

-- ---- the language of prompts ----
SET LOCAL chatglm.task_language = 'zh';
SELECT is(glm_translate('hello', '德语', max_tokens => 8), glm_generate('hello', system => '把文本翻译成德语。只回答译文。', max_tokens => 8), 'in Chinese');
SET LOCAL chatglm.task_language = 'fr';
SELECT is(glm_translate('hello', 'German', max_tokens => 8), glm_generate('hello', system => :'german', max_tokens => 8), 'English where there is none');
RESET chatglm.task_language;
SAVEPOINT prompts;
UPDATE chatglm.task_prompt SET text = E'{content}\n\n{{{language}}' WHERE name = 'translate' AND language = 'en';
SELECT is(glm_translate('hello', 'German', max_tokens => 8), glm_generate(E'hello\n\n{German}', max_tokens => 8), 'one''s own prompt, without a system message');
ALTER TABLE chatglm.task_prompt DISABLE TRIGGER USER;
UPDATE chatglm.task_prompt SET text = '{content} {nonesuch}' WHERE name = 'translate' AND language = 'en';
SELECT throws_ok($$SELECT glm_translate('hello', 'German')$$, '22023', 'the prompt of task "translate" has the unknown placeholder {nonesuch}',
                 'one that came past the trigger');
ALTER TABLE chatglm.task_prompt DROP COLUMN text;
SELECT is(glm_translate('hello', 'German', max_tokens => 8), glm_generate('hello', system => :'german', max_tokens => 8),
          'a table that is not as the extension made it is none');
ROLLBACK TO prompts;

-- ---- glm_summarize ----
SELECT is(glm_summarize('hello', max_tokens => 8),
          glm_generate('hello', system => 'Summarize the text. Answer with the summary alone.', max_tokens => 8), 'summarize');
SELECT is(glm_summarize('hello', 20, max_tokens => 8),
          glm_generate('hello', system => E'Summarize the text. Answer with the summary alone.\nUse at most 20 words.', max_tokens => 8), 'in so many words');
SELECT is(glm_summarize(NULL), NULL, 'NULL');
SELECT throws_ok($$SELECT glm_summarize('x', 0)$$, '22023', 'argument "max_words" must be at least 1, not 0', 'in no words');
SELECT is((glm_try_summarize('x', -1)).sqlstate, '22023', 'as a value');
SELECT isnt((glm_try_summarize('x', max_tokens => 2)).response, NULL, 'the answer');

-- ---- glm_redact ----
SELECT is(glm_redact('write to jo.doe+x@example.co.uk, or 192.168.10.254', ARRAY['email', 'ip address']), 'write to [EMAIL], or [IP_ADDRESS]', 'by their form');
SELECT is(glm_redact('card 4111 1111 1111 1111, no card 4111 1111 1111 1112', ARRAY['Credit_Card']),
          'card [CREDIT_CARD], no card 4111 1111 1111 1112', 'with its check digit');
SELECT is(glm_redact('DE89 3704 0044 0532 0130 00 but not DE88 3704 0044 0532 0130 00', ARRAY['iban']), '[IBAN] but not DE88 3704 0044 0532 0130 00', 'and another one');
SELECT is(glm_redact('+49 30 1234-567 (555) 123-4567 13812345678 +44 (0)20 1234 5678', ARRAY['phone']), '[PHONE] [PHONE] [PHONE] [PHONE]', 'telephones');
SELECT is(glm_redact('see https://example.org/a?b=c now', ARRAY['url']), 'see [URL] now', 'links');
SELECT is(glm_redact('邮箱a.b@c.cn,电话13812345678', ARRAY['邮箱', '电话']), '邮箱[邮箱],电话[电话]', 'kinds in Chinese');
SELECT is(glm_redact(NULL), NULL, 'NULL');
SELECT throws_ok($$SELECT glm_redact('x', '{}')$$, '22023', 'argument "kinds" must not be empty', 'no kinds');
SELECT throws_ok($$SELECT glm_redact('x', ARRAY[' '])$$, '22023', NULL, 'an empty kind');
SELECT throws_ok($$SELECT glm_redact('x', ARRAY[NULL])$$, '22004', NULL, 'a NULL kind');
SELECT throws_ok($$SELECT glm_redact('x', options => '{"truncate": "head"}')$$, '22023', NULL, 'all of it must be read');
SELECT is((glm_try_redact(repeat('very ', 5000))).sqlstate, '54000', 'a text that is too long is not shown');

-- ---- who may ----
SET ROLE glm_tap_user;
SELECT isnt(glm_translate('hello', 'German', max_tokens => 2), NULL, 'everybody may');

SELECT * FROM finish();
ROLLBACK;
