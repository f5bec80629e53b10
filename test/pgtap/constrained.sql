-- constrained.sql - answers that have to be something: what they are, wherever they are asked for.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(44);

\set extract 'Extract product, city and quantity as JSON.'
\set purchase '{"type": "object", "properties": {"product": {"type": "string", "maxLength": 20}, "city": {"type": "string", "pattern": "^[A-Z]"}, "quantity": {"type": "integer", "minimum": 1, "maximum": 50}}, "required": ["product", "city", "quantity"], "additionalProperties": false}'
CREATE TEMP TABLE orders (n int, body text);
INSERT INTO orders SELECT n, format('Please ship %s desk lamp to %s.', n, city)
  FROM generate_series(1, 40) n, LATERAL (SELECT ('{Berlin,Osaka,Paris,Oslo}'::text[])[1 + n % 4] AS city) c;

-- ---- glm_json: the model's own answer where that fits, in the schema's order
SELECT is(glm_json('Please ship 12 desk lamp to Berlin.', :'purchase', system => :'extract'),
          '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'glm_json');
SELECT is(glm_generate('Please ship 12 desk lamp to Berlin.', system => :'extract',
                       response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase'))),
          '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'a schema in a string keeps its order');
SELECT matches(glm_generate('Please ship 12 desk lamp to Berlin.', system => :'extract',
                       response_format => jsonb_build_object('type', 'json_schema', 'json_schema',
                           jsonb_build_object('schema', :'purchase'::jsonb, 'name', 'order', 'strict', true))),
          '^{"city": "[^"]*", "product": "[^"]*", "quantity": [0-9]+}$', 'one in jsonb has that of jsonb');
SELECT is(glm_generate('Please ship 12 desk lamp to Berlin.', system => :'extract', options => '{"property_order": "any", "json_space": "exact"}',
                       response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase'::jsonb))),
          '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'any order is the model''s');
SELECT matches(glm_generate('Please ship 12 desk lamp to Berlin.', system => :'extract', options => '{"json_space": "compact"}',
                       response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase'))),
          '^{"product":"[^"]*","city":"[^"]*","quantity":[0-9]+}$', 'compact');
SELECT is(glm_json('x', '{"const": {"b": [1, "é\n", null], "a": 1.50}}'), '{"b": [1, "é\n", null], "a": 1.50}', 'a constant');
SELECT is(jsonb_typeof(glm_json('x', 'true', max_tokens => 40, temperature => 2, seed => n)) IS NOT NULL, true, 'any value at all, seed ' || n)
  FROM generate_series(1, 3) n;
SELECT is(glm_json(NULL, :'purchase'), NULL, 'no prompt, no answer');
SELECT is(jsonb_typeof(glm_generate('Write JSON.', response_format => '{"type": "json_object"}', max_tokens => 30, temperature => 1.5, seed => n)::jsonb),
          'object', 'json_object, seed ' || n) FROM generate_series(1, 3) n;

-- ---- rows in flight
CREATE TEMP TABLE answered AS SELECT n, glm_json(body, :'purchase', system => :'extract', temperature => 1.5, seed => n) AS v FROM orders;
SELECT is(count(*), 40::bigint, 'every row fits its schema') FROM answered
 WHERE (v->>'quantity')::int BETWEEN 1 AND 50 AND v->>'city' ~ '^[A-Z]' AND length(v->>'product') <= 20
   AND (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(v) k) = '{city,product,quantity}';
SET LOCAL chatglm.prefetch = 1;
SELECT is((SELECT array_agg(glm_json(body, :'purchase', system => :'extract', temperature => 1.5, seed => n) ORDER BY n) FROM orders),
          (SELECT array_agg(v ORDER BY n) FROM answered), 'one row at a time gives the same');
RESET chatglm.prefetch;
SELECT is(array_agg(r.value ORDER BY n), array_agg(v ORDER BY n), 'glm_try_json in FROM, too')
  FROM orders JOIN answered USING (n), glm_try_json(body, :'purchase', system => :'extract', temperature => 1.5, seed => n) r;
SELECT is((t.r).sqlstate || ' ' || ((t.r).value IS NULL), state || ' true', 'an error as a value: ' || left(schema, 60))
  FROM (SELECT schema, state, glm_try_json('x', schema::json, max_tokens => 20) AS r
          FROM (VALUES ('{"allOf": [{"type": "object"}, {"type": "string"}]}', '22023'), ('{"unevaluatedProperties": false}', '0A000'),
                       ('{"minLength": 100, "type": "string"}', '22023'), ('{"type": "nonesuch"}', '22023'),
                       (format('{"title": "%s"}', repeat('x', 1024 * 1024)), '54000')) v(schema, state) OFFSET 0) t;
SELECT is((glm_try_json('x', '{"const": 1}')).finish_reason, 'stop', 'finish_reason');
SELECT is(array_agg(glm_generate('How do you feel?', temperature => 2, seed => n, options => '{"choices": ["good", "bad", "so so"]}')) <@ '{good,bad,"so so"}', true,
          'choices in many rows') FROM orders;
SELECT is(count(*) FILTER (WHERE response::jsonb ? 'city' AND error IS NULL), 2::bigint, 'glm_generate_batch')
  FROM glm_generate_batch('{Berlin,Oslo}', response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase')));
-- what is asked differs by what it has to be alone
SELECT isnt(a, b, 'calls that differ in the constraint alone are two')
  FROM (SELECT glm_generate(body, options => '{"choices": ["a"]}') AS a, glm_generate(body, options => '{"choices": ["b"]}') AS b FROM orders LIMIT 1) t;

-- ---- choices and patterns
SELECT is(glm_generate('I love it, it works great.', system => 'Classify the sentiment of the review.', options => '{"choices": ["negative", "neutral", "positive"]}'),
          'positive', 'choices');
SELECT is(glm_complete('The answer is', options => '{"choices": [" yes and\nno "]}'), E' yes and\nno ', 'a choice comes as it is');
SELECT is(glm_generate('x', options => '{"choices": [" yes and\nno "]}'), E' yes and\nno ', 'in a chat, too');
SELECT matches(glm_generate('x', temperature => 2, seed => 1, options => '{"regex": "[A-Z]{2}-[0-9]{3}(x|yz)?"}'), '^[A-Z]{2}-[0-9]{3}(x|yz)?$', 'regex');
SELECT matches(glm_complete('x', temperature => 2, seed => 2, options => '{"regex": "a|bc"}'), '^(a|bc)$', 'regex, all of it');
SELECT is(glm_generate('x', options => '{"regex": ""}'), '', 'nothing');

-- ---- streams
SELECT is(string_agg(token, '' ORDER BY seq), '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'a stream')
  FROM glm_stream('Please ship 12 desk lamp to Berlin.', system => :'extract',
                  response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase')));
SELECT is(array_agg(finish_reason ORDER BY seq) FILTER (WHERE finish_reason IS NOT NULL), '{stop}', 'its last row says stop')
  FROM glm_stream('x', options => '{"choices": ["a long one"]}');


-- ---- chats and raw prompts
\set order '[{"role": "system", "content": "Extract product, city and quantity as JSON."}, {"role": "user", "content": "Please ship 12 desk lamp to Berlin."}]'
SELECT is(glm_chat(:'order', response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase')))->>'content',
          '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'glm_chat');
SELECT is(string_agg(token, '' ORDER BY seq), '{"product": "desk lamp", "city": "Berlin", "quantity": 12}', 'glm_chat_stream')
  FROM glm_chat_stream(:'order', response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase')));
SELECT is(jsonb_typeof(glm_complete('{"order": ', temperature => 1.5, seed => 3, max_tokens => 60,
                                    response_format => jsonb_build_object('type', 'json_schema', 'json_schema', jsonb_build_object('schema', :'purchase')))::jsonb->'quantity'),
          'number', 'glm_complete');

-- ---- tools
\set tools '[{"type": "function", "function": {"name": "set_unit", "parameters": {"type": "object", "properties": {"unit": {"enum": ["C", "F"]}, "at": {"type": "integer", "minimum": 5}}, "required": ["at", "unit"], "additionalProperties": false}}}, {"name": "stop"}]'
\set ask '[{"role": "user", "content": "How warm is it?"}]'
CREATE TEMP TABLE called AS
    SELECT glm_chat(:'ask', tools => :'tools', tool_choice => '"required"', temperature => 1.5, seed => n, max_tokens => 60) AS answer FROM generate_series(1, 8) n;
SELECT is(array_agg(DISTINCT answer->>'finish_reason'), '{tool_calls}', 'a call that is required is a call') FROM called;
SELECT is(bool_and(answer#>>'{tool_calls,0,function,name}' IN ('set_unit', 'stop') AND answer->'content' = 'null'), true, 'of one of the tools') FROM called;
SELECT is(bool_and(jsonb_typeof((answer#>>'{tool_calls,0,function,arguments}')::jsonb) = 'object'), true, 'with an object') FROM called;
CREATE TEMP TABLE named AS
    SELECT glm_chat(:'ask', tools => :'tools', tool_choice => '{"type": "function", "function": {"name": "set_unit"}}', max_tokens => 60) AS answer;
SELECT is(answer#>>'{tool_calls,0,function,name}', 'set_unit', 'a tool by its name') FROM named;
SELECT matches(answer#>>'{tool_calls,0,function,arguments}', '^{"unit": "[CF]", "at": ([5-9]|[1-9][0-9]+)}$', 'its arguments fit, in order') FROM named;
SELECT is(glm_parse_tool_calls(text)#>'{tool_calls,0,function}', answer#>'{tool_calls,0,function}', 'a stream says the same')
  FROM named, (SELECT string_agg(token, '' ORDER BY seq) AS text
                 FROM glm_chat_stream(:'ask', tools => :'tools', tool_choice => '{"type": "function", "function": {"name": "set_unit"}}', max_tokens => 60)) s;
SELECT is(glm_chat(jsonb_build_array(jsonb_build_object('role', 'system', 'content', '', 'tools', '[{"name": "f", "parameters": {"const": {"a": "}]"}}}]'::jsonb)) || :'ask',
                   tool_choice => '"required"')#>>'{tool_calls,0,function,arguments}', '{"a": "}]"}', 'tools of a system message');
SELECT is(glm_chat(:'ask', tools => :'tools', options => '{"choices": ["warm", "cold"]}')->>'content' IN ('warm', 'cold'), true, 'a constraint beside tools is the answer''s');

SELECT * FROM finish();
ROLLBACK;
