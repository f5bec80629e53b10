-- bad_input.sql - whatever is wrong is an ERROR with its own SQLSTATE, and the worker lives on.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE TEMP TABLE worker AS SELECT glm_health()->>'worker_pid' AS pid;

-- call, SQLSTATE, what its message names
CREATE TEMP TABLE bad (call text, state text, names text);
INSERT INTO bad VALUES
    ($$glm_generate('a', max_tokens => 0)$$, '22023', 'max_tokens'),
    ($$glm_generate('a', max_tokens => -2147483648)$$, '22023', 'max_tokens'),
    ($$glm_generate('a', temperature => -0.1)$$, '22023', 'temperature'),
    ($$glm_generate('a', temperature => 'NaN')$$, '22023', 'temperature'),
    ($$glm_generate('a', temperature => 'Infinity')$$, '22023', 'temperature'),
    ($$glm_generate('a', top_p => 0)$$, '22023', 'top_p'),
    ($$glm_generate('a', top_p => 1.01)$$, '22023', 'top_p'),
    ($$glm_generate('a', top_p => 'NaN')$$, '22023', 'top_p'),
    ($$glm_generate('a', top_k => -1)$$, '22023', 'top_k'),
    ($$glm_generate('a', stop => '{""}')$$, '22023', 'stop'),
    ($$glm_generate('a', stop => '{a,NULL}')$$, '22004', 'stop'),
    ($$glm_generate('a', stop => array_fill('x'::text, ARRAY[17]))$$, '22023', 'stop'),
    ($$glm_generate('a', stop => ARRAY[repeat('x', 1025)])$$, '22023', 'stop'),
    ($$glm_generate('a', response_format => '{"type": "grammar"}')$$, '0A000', 'response_format'),
    ($$glm_generate('a', response_format => '{"type": "text", "strict": true}')$$, '22023', 'strict'),
    ($$glm_generate('a', response_format => '{"type": "json_schema"}')$$, '22023', 'response_format.json_schema'),
    ($$glm_generate('a', response_format => '{"type": "json_schema", "schema": {}}')$$, '22023', '"schema"'),
    ($$glm_generate('a', response_format => '{"type": "json_schema", "json_schema": {"name": "a"}}')$$, '22023', 'response_format.json_schema.schema'),
    ($$glm_generate('a', response_format => '{"type": "json_schema", "json_schema": {"schema": [1]}}')$$, '22023', 'response_format.json_schema.schema'),
    ($$glm_generate('a', response_format => '{"type": "json_schema", "json_schema": {"schema": {}, "Strict": true}}')$$, '22023', 'Strict'),
    ($$glm_generate('a', response_format => '{"type": "json_object"}', stop => '{x}')$$, '22023', 'stop'),
    ($$glm_generate('a', response_format => '{"type": "json_object"}', options => '{"regex": "a"}')$$, '22023', 'response_format'),
    ($$glm_complete('a', options => '{"regex": "a", "choices": ["a"]}')$$, '22023', 'options.choices'),
    ($$glm_generate('a', options => '{"choices": {}}')$$, '22023', 'options.choices'),
    ($$glm_generate('a', options => '{"choices": []}')$$, '22023', 'options.choices'),
    ($$glm_generate('a', options => '{"choices": ["a", ""]}')$$, '22023', 'options.choices'),
    ($$glm_generate('a', options => '{"choices": ["a", null]}')$$, '22023', 'options.choices'),
    ($$glm_generate('a', options => '{"choices": ["a", "b", "a"]}')$$, '22023', 'options.choices'),
    ($$glm_generate('a', options => jsonb_build_object('choices', (SELECT jsonb_agg(i::text) FROM generate_series(1, 100001) i)))$$, '54000', '100000'),
    ($$glm_generate('a', options => jsonb_build_object('choices', ARRAY[repeat('x', 1024 * 1024), 'y']))$$, '54000', '1048576'),
    ($$glm_generate('a', options => '{"regex": ["a"]}')$$, '22023', 'options.regex'),
    ($$glm_generate('a', options => '{"property_order": "sorted"}')$$, '22023', 'options.property_order'),
    ($$glm_generate('a', options => '{"json_space": true}')$$, '22023', 'options.json_space'),
    ($$glm_json('a', '{}', stop => '{x}')$$, '22023', 'stop'),
    ($$glm_json('a', '{}', response_format => '{"type": "json_object"}')$$, '22023', 'schema'),
    ($$glm_json('a', NULL)$$, '22004', 'schema'),
    ($$glm_generate('a', response_format => '"text"')$$, '22023', 'response_format'),
    ($$glm_generate('a', options => '[]')$$, '22023', 'options'),
    ($$glm_generate('a', options => '{"min_P": 0.1}')$$, '22023', 'min_P'),
    ($$glm_generate('a', options => '{"min_p": 1.01}')$$, '22023', 'min_p'),
    ($$glm_generate('a', options => '{"on_length": true}')$$, '22023', 'on_length'),
    ($$glm_generate('a', options => '{"truncate": "left"}')$$, '22023', 'truncate'),
    ($$glm_generate('a', top_p => 1.0000001)$$, '22023', '1.0000001'),
    ($$glm_generate('a', options => '{"min_p": "0.1"}')$$, '22023', 'min_p'),
    ($$glm_generate('a', options => '{"repetition_penalty": 0}')$$, '22023', 'repetition_penalty'),
    ($$glm_generate('a', options => '{"repetition_penalty": 1e400}')$$, '22023', 'repetition_penalty'),
    ($$glm_generate('a', options => '{"timeout_ms": -1}')$$, '22023', 'timeout_ms'),
    ($$glm_generate('Who are you?', max_tokens => 2, options => '{"on_length": "error"}')$$, '54000', '2 tokens'),
    ($$glm_generate('a', system => repeat('word ', 20000), options => '{"truncate": "head"}')$$, '54000', 'room'),
    ($$glm_complete('a', system => 'b')$$, '22023', 'system'),
    ($$glm_generate('a', model => '')$$, '42602', 'model'),
    ($$glm_generate('a', model => '..')$$, '42602', '..'),
    ($$glm_generate('a', model => '../tiny-chatglm3')$$, '42602', '../tiny-chatglm3'),
    ($$glm_generate('a', model => '/etc')$$, '42602', '/etc'),
    ($$glm_generate('a', model => '.hidden')$$, '42602', '.hidden'),
    ($$glm_generate('a', model => repeat('m', 64))$$, '42602', 'mmm'),
    ($$glm_generate('a', model => 'nonesuch')$$, '42704', 'nonesuch'),
    ($$glm_generate(repeat('word ', 20000))$$, '54000', 'context'),
    ($$glm_chat('{}')$$, '22032', 'messages'),
    ($$glm_chat('null')$$, '22032', 'messages'),
    ($$glm_chat('[]')$$, '22032', 'messages'),
    ($$glm_chat('["hello"]')$$, '22032', '0'),
    ($$glm_chat('[{"content": "hello"}]')$$, '22032', 'role'),
    ($$glm_chat('[{"role": "user"}]')$$, '22032', 'content'),
    ($$glm_chat('[{"role": "wizard", "content": "hello"}]')$$, '22032', 'wizard'),
    ($$glm_chat('[{"role": "user", "content": 1}]')$$, '22032', 'content'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tools => '{}')$$, '22032', 'tools'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tools => '[1]')$$, '22032', 'tools'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tools => '[{"name": "get weather"}]')$$, '22032', 'get weather'),
    ($$glm_chat('[{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "zzz", "content": "b"}]')$$, '22032', 'zzz'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '"required"')$$, '22023', 'no tools'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '"required"', tools => '{"name": "f"}')$$, '22023', 'no tools'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '{"type": "function"}')$$, '22023', 'tool_choice'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '{"type": "function", "function": {"name": "f", "x": 1}}')$$, '22023', '"x"'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '{"type": "allowed_tools"}')$$, '0A000', 'allowed_tools'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '{"type": "function", "function": {"name": "f"}}', tools => '[{"name": "g"}]')$$, '22023', '"f"'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '"required"', tools => '[{"name": "f"}]', stop => '{x}')$$, '22023', 'stop'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '"required"', tools => '[{"name": "f"}]', response_format => '{"type": "json_object"}')$$, '22023', 'tool_choice'),
    ($$glm_chat('[{"role": "user", "content": "a"}]', tool_choice => '"sometimes"')$$, '22023', 'tool_choice'),
    ($$glm_logits('{}')$$, '22023', 'tokens'),
    ($$glm_logits('{-1}')$$, '22023', '-1'),
    ($$glm_logits('{1000000}')$$, '22023', '1000000'),
    ($$glm_logits('{1,NULL}')$$, '22004', 'tokens'),
    ($$glm_logits(array_fill(5, ARRAY[100000]))$$, '54000', 'context'),
    ($$glm_detokenize('{-1}')$$, '22023', '-1'),
    ($$glm_detokenize('{1000000}')$$, '22023', '1000000'),
    ($$glm_model_load('a/b', '/tmp')$$, '42602', 'a/b'),
    ($$glm_model_load('tap', 'relative')$$, '22023', 'relative'),
    ($$glm_model_load('tap', '/nonexistent/directory')$$, '58P01', '/nonexistent/directory'),
    ($$glm_model_load('nonesuch')$$, '42704', 'nonesuch'),
    ($$glm_model_load('tap', '/', '{"nonesuch": 1}')$$, '22023', 'nonesuch');

CREATE FUNCTION pg_temp.failure(call text, OUT state text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'SELECT ' || call;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
END $$;
CREATE TEMP TABLE got AS SELECT b.*, f.* FROM bad b(call, expected, names), pg_temp.failure(call) f;

SELECT plan((2 * count(*) + 9)::int) FROM bad;

SELECT is(state, expected, call) FROM got;
SELECT ok(strpos(message, names) > 0, format('%s names %s', call, names)) FROM got;

SELECT throws_ok($$SELECT * FROM glm_stream('a', max_tokens => 0)$$, '22023', NULL, 'streams check their arguments in FROM');
SELECT throws_ok($$SELECT glm_stream('a', max_tokens => 0)$$, '22023', NULL, 'and in the select list');
SELECT throws_ok($$SELECT * FROM glm_chat_stream('[]')$$, '22032', NULL, 'chats too');
SELECT throws_ok($$SELECT * FROM glm_generate_batch('{a}', response_format => '{"type": "json_object"}', stop => '{x}')$$, '22023', NULL, 'batches too');
SELECT throws_ok($$SELECT glm_generate(convert_from('\xff', 'UTF8'))$$, '22021', NULL, 'bytes that are no text never arrive');
SELECT throws_ok($$INSERT INTO chatglm.model (name, path) VALUES ('../x', '/tmp')$$, '42602', NULL, 'no way round by INSERT: name');
SELECT throws_ok($$INSERT INTO chatglm.model (name, path) VALUES ('tap', 'relative')$$, '22023', NULL, 'path');
SELECT is(glm_health()->>'worker_pid', pid, 'the worker is the one that it was') FROM worker;
SELECT is((glm_health()->>'running')::int + (glm_health()->>'waiting')::int, 0, 'and idle');

SELECT * FROM finish();
ROLLBACK;
