--
-- What a user is told when an argument is wrong.
--
SELECT glm_complete('a', system => 'b');
SELECT glm_generate('a', max_tokens => 0);
SELECT glm_generate('a', temperature => -0.5);
SELECT glm_generate('a', temperature => 'NaN');
SELECT glm_generate('a', top_p => 0);
SELECT glm_generate('a', top_p => 1.5);
SELECT glm_generate('a', top_p => 1.0000001);
SELECT glm_generate('a', top_k => -1);

SELECT glm_generate('a', stop => '{a,NULL}');
SELECT glm_generate('a', stop => '{a,""}');
SELECT glm_generate('a', stop => array_fill('x'::text, '{17}'));
SELECT glm_generate('a', stop => ARRAY[repeat('x', 1025)]);

SELECT glm_generate('a', response_format => '{"type": "json_schema", "json_schema": {}}');
SELECT glm_generate('a', response_format => '{"type": "text", "strict": true}');
SELECT glm_generate('a', response_format => '"text"');
SELECT glm_generate('a', response_format => '{"type": "grammar"}');
SELECT glm_generate('a', response_format => '{"type": "json_object"}', stop => '{x}');
SELECT glm_generate('a', response_format => '{"type": "json_object"}', options => '{"regex": "a+"}');
SELECT glm_generate('a', options => '{"choices": ["a", "b", "a"]}');
SELECT glm_generate('a', options => '{"property_order": "sorted"}');
SELECT glm_json('a', NULL);

SELECT glm_generate('a', options => '[1]');
SELECT glm_generate('a', options => '{"min-p": 0.1}');
SELECT glm_generate('a', options => '{"min-p": null}');
SELECT glm_generate('a', options => '{"on_length": "throw"}');
SELECT glm_generate('a', options => '{"truncate": true}');
SELECT glm_generate('a', options => '{"cache": "no"}');
SELECT glm_generate('a', options => '{"priority": "high"}');
-- null is the default, and min_p may be 1
SELECT glm_generate('a', options => '{"cache": null, "min_p": null, "on_length": null, "priority": null, "repetition_penalty": null, "timeout_ms": null, "truncate": null}')
     = glm_generate('a') AS "null", glm_generate('Who are you?', temperature => 2, options => '{"min_p": 1}') = glm_generate('Who are you?') AS greedy;
SELECT glm_generate('a', options => '{"min_p": 1.01}');
SELECT glm_generate('a', options => '{"min_p": "0.1"}');
SELECT glm_generate('a', options => '{"repetition_penalty": 0}');
SELECT glm_generate('a', options => '{"timeout_ms": 0.5}');
SELECT glm_generate('a', options => '{"timeout_ms": 1e400}');
SELECT glm_generate('a', options => to_jsonb(repeat('x', 1000)));

SELECT glm_generate('a', model => '');
SELECT glm_generate('a', model => '../tiny-chatglm3');
SELECT glm_generate('a', model => '.hidden');
SELECT glm_generate('a', model => '/srv/models/chatglm3-6b');
SELECT glm_generate('a', model => E'two\nlines');
SELECT glm_generate('a', model => repeat('m', 64));
SELECT glm_generate('a', model => 'nonesuch');

SELECT glm_tokenize('a', model => 'nonesuch');
SELECT glm_detokenize('{1,NULL}');
SELECT glm_detokenize('{-1}');
SELECT glm_logits('{}');
SELECT glm_logits('{2147483647}');

SELECT glm_chat('{"role": "user"}');
SELECT glm_chat('[]');
SELECT glm_chat('[{"role": "user", "content": "a"}, {"role": "robot", "content": "b"}]');
SELECT glm_chat('[{"role": "user", "content": "a"}]', tools => '{"name": "f"}');
SELECT glm_chat('[{"role": "user", "content": "a"}]', tools => '[{"name": "get weather"}]');
SELECT glm_chat('[{"role": "user", "content": "a"}]', tools => '[{"name": "f", "x": "\u0000"}]');
SELECT glm_chat('[{"role": "user", "content": "a"}]', tools => '[{"name": "f", "x": 1E400}]');
SELECT glm_chat('[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]', system => 'c');

SELECT glm_model_load(NULL);
SELECT glm_model_load('a/b');
SELECT glm_model_load('m', 'relative/path');
SELECT glm_model_load('m', '/nonexistent/directory');
SELECT glm_model_load('m', '/');
SELECT glm_model_load('m', '/', '{"nonesuch": 1}');
SELECT glm_model_load('m', '/', '{"rope": "chatglm4"}');
SELECT glm_model_load('m', options => '{}');
SELECT glm_cancel(0), glm_cancel(-1), glm_cancel(NULL);
SELECT chatglm.check_model();

-- the same from streams, in the select list and in FROM
SELECT glm_stream('a', max_tokens => 0);
SELECT * FROM glm_stream('a', max_tokens => 0);
SELECT * FROM glm_chat_stream('[{"role": "user"}]');

-- the worker took no harm
SELECT glm_ready(), glm_count_tokens('hello') > 0 AS counts;
