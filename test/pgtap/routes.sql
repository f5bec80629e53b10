-- routes.sql - names that stand for one of several models.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE ROLE glm_tap_router;
GRANT EXECUTE ON FUNCTION glm_route_set, glm_route_drop TO glm_tap_router;
CREATE TEMP TABLE tiny AS SELECT path FROM glm_models WHERE name = 'tiny-chatglm3';
SELECT plan(98);

SELECT glm_model_load(name, path) FROM tiny, unnest(ARRAY['tap-a', 'tap-b', 'tap-c']) name \g /dev/null
SELECT lives_ok($$SELECT glm_route_set('tap', '{"tap-a": 90, "tap-b": 10}')$$, 'set');
SELECT results_eq($$SELECT model COLLATE "C", weight, share FROM glm_routes WHERE name = 'tap' ORDER BY 1$$,
                  $$VALUES ('tap-a' COLLATE "C", 90::float8, 0.9::float8), ('tap-b', 10, 0.1)$$, 'the view shows it');

-- the model that answered
CREATE FUNCTION pg_temp.model_of(prompt text, model text, options jsonb DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
SELECT glm_chat(jsonb_build_array(jsonb_build_object('role', 'user', 'content', prompt)), model => model, max_tokens => 1,
                options => options)->'usage'->>'model' $$;

-- ---- wherever a model's name works ----
\set says '''[{"role": "user", "content": "hello"}]'''
SELECT is(glm_generate('hello', 'tap'), glm_generate('hello'), 'glm_generate');
SELECT is(glm_complete('hello', 'tap', max_tokens => 5), glm_complete('hello', max_tokens => 5), 'glm_complete');
SELECT is(glm_json('hello', '{"type": "integer"}', 'tap'), glm_json('hello', '{"type": "integer"}'), 'glm_json');
SELECT is((glm_try_generate('hello', 'tap')).response, glm_generate('hello'), 'glm_try_generate');
SELECT is((glm_try_json('hello', '{"type": "integer"}', 'tap')).value, glm_json('hello', '{"type": "integer"}'), 'glm_try_json');
SELECT is((SELECT string_agg(token, '' ORDER BY seq) FROM glm_stream('hello', 'tap')), glm_generate('hello'), 'glm_stream');
SELECT is((SELECT string_agg(token, '') FROM (SELECT (glm_stream('hello', 'tap')).token) s), glm_generate('hello'),
          'glm_stream in the select list');
SELECT is((SELECT string_agg(token, '' ORDER BY seq) FROM glm_chat_stream(:says, model => 'tap')), glm_generate('hello'),
          'glm_chat_stream');
SELECT is(glm_chat(:says, model => 'tap')->>'content', glm_generate('hello'), 'glm_chat');
SELECT is((SELECT response FROM glm_generate_batch(ARRAY['hello'], 'tap')), glm_generate('hello'), 'glm_generate_batch');
SELECT is(glm_tokenize('hello', 'tap'), glm_tokenize('hello'), 'glm_tokenize');
SELECT is(glm_detokenize(glm_tokenize('hello'), 'tap'), 'hello', 'glm_detokenize');
SELECT is(glm_count_tokens('hello', 'tap'), glm_count_tokens('hello'), 'glm_count_tokens');
SELECT is(glm_chat_tokens(:says, model => 'tap'), glm_chat_tokens(:says), 'glm_chat_tokens');
SELECT is(glm_logits(ARRAY[5], 'tap'), glm_logits(ARRAY[5]), 'glm_logits');
SELECT lives_ok($$SELECT glm_model_load('tap')$$, 'glm_model_load loads all of it');
SELECT ok(glm_model_unload('tap'), 'glm_model_unload unloads all of it');
SELECT ok(NOT glm_model_unload('tap-a') AND NOT glm_model_unload('tap-b'), 'of which nothing is left');
SELECT ok(NOT glm_model_unregister('tap'), 'glm_model_unregister finds no model of the name');
SELECT throws_ok($$SELECT * FROM glm_quantize('tap', '/nowhere/tap')$$, '42809', '"tap" is a route, not a model', 'glm_quantize');
SET chatglm.model = 'tap';
SELECT is(glm_generate('hello'), glm_generate('hello', 'tap-a'), 'chatglm.model');
SELECT ok(glm_chat(:says)->'usage'->>'model' IN ('tap-a', 'tap-b'), 'leads to one of its models');
RESET chatglm.model;
SELECT is(glm_chat(:says)->'usage'->>'model', 'tiny-chatglm3', 'usage tells the model without a route, too');
SELECT is(glm_generate(NULL, 'tap'), NULL, 'a NULL prompt');
SELECT is((SELECT count(*) FROM glm_models WHERE name = 'tap'), 0::bigint, 'a route is not among the models');

-- ---- shares ----
CREATE FUNCTION pg_temp.counts(query text, OUT models jsonb) LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, FORMAT JSON) ' || query INTO plan;
    models := jsonb_object_agg(split_part(item, ': ', 1), split_part(item, ': ', 2)::int)
       FROM jsonb_array_elements_text(jsonb_path_query_first(plan::jsonb, '$.**."Requests by Model"')) item;
END $$;
\set calls 'SELECT glm_count_tokens(\'text \' || i, \'tap\') FROM generate_series(1, 10000) i'
CREATE TEMP TABLE counted AS SELECT pg_temp.counts(:'calls') AS models;
SELECT is((models->>'tap-a')::int + (models->>'tap-b')::int, 10000, 'every call is counted') FROM counted;
-- five standard deviations of a binomial distribution, sqrt(10000 * 0.9 * 0.1) = 30
SELECT cmp_ok(abs((models->>'tap-a')::int - 9000), '<', 150, 'of 10,000 calls 90 % went to one model') FROM counted;
SELECT is(pg_temp.counts(:'calls'), models, 'and the same ones when they are asked again') FROM counted;
SELECT glm_route_set('tap', '{"tap-a": 0.2, "tap-b": 0.3, "tap-c": 0.5}') \g /dev/null
UPDATE counted SET models = pg_temp.counts(:'calls');
SELECT cmp_ok(abs((models->>'tap-a')::int - 2000), '<', 200, 'of three models the first') FROM counted;
SELECT cmp_ok(abs((models->>'tap-b')::int - 3000), '<', 230, 'the second') FROM counted;
SELECT cmp_ok(abs((models->>'tap-c')::int - 5000), '<', 250, 'and the third') FROM counted;
SELECT glm_route_set('tap', '{"tap-a": 1, "tap-b": 0}') \g /dev/null
SELECT is(pg_temp.counts(:'calls'), '{"tap-a": 10000}', 'a weight of 0 gets nothing');

-- ---- keys ----
SELECT glm_route_set('tap', '{"tap-a": 50, "tap-b": 50}') \g /dev/null
CREATE TEMP TABLE keyed AS
    SELECT i, pg_temp.model_of('hello', 'tap', jsonb_build_object('route_key', 'customer ' || i)) AS model FROM generate_series(1, 200) i;
SELECT is((SELECT count(DISTINCT model) FROM keyed), 2::bigint, 'keys are spread');
SELECT is((SELECT count(*) FROM keyed WHERE model <> pg_temp.model_of('Who are you?', 'tap', jsonb_build_object('route_key', 'customer ' || i))),
          0::bigint, 'a key has its model whatever is asked');
-- what route_choice.c documents, in SQL
CREATE FUNCTION pg_temp.drawn(route text, key text, model text, weight float8) RETURNS float8 LANGUAGE sql AS $$
SELECT -log(2, (sum(get_byte(digest, i)::numeric * 256 ^ (7 - i)) / 2 ^ 64::numeric)::numeric) / weight
  FROM sha256(sha256(convert_to(route, 'UTF8') || '\x00' || convert_to(key, 'UTF8')) || convert_to(model, 'UTF8')) digest,
       generate_series(0, 7) i $$;
SELECT is((SELECT count(*) FROM keyed WHERE model <> (SELECT m FROM unnest(ARRAY['tap-a', 'tap-b']) m
             ORDER BY pg_temp.drawn('tap', 'customer ' || i, m, 50) LIMIT 1)), 0::bigint, 'namely the documented one');
SELECT glm_route_set('tap', '{"tap-a": 80, "tap-b": 20}') \g /dev/null
CREATE TEMP TABLE moved AS
    SELECT model, pg_temp.model_of('hello', 'tap', jsonb_build_object('route_key', 'customer ' || i)) AS now FROM keyed;
SELECT is((SELECT count(*) FROM moved WHERE model = 'tap-a' AND now <> 'tap-a'), 0::bigint, 'who was with the model that wins stays');
SELECT cmp_ok((SELECT count(*) FROM moved WHERE model = 'tap-b' AND now = 'tap-a'), '>', 0::bigint, 'some of the others come to it');
SELECT is(pg_temp.model_of('hello', 'tap', '{"route_key": 7}'), pg_temp.model_of('hello', 'tap', '{"route_key": "7"}'),
          'a number is a key as it is written');
SELECT isnt(pg_temp.model_of('hello', 'tap', '{"route_key": ""}'), NULL, 'the empty key is one');
SELECT is(pg_temp.model_of('hello', 'tap', '{"route_key": null}'), pg_temp.model_of('hello', 'tap'), 'null is none');
SELECT is(pg_temp.model_of('hello', 'tap-a', '{"route_key": "x"}'), 'tap-a', 'a key without a route does nothing');
SELECT throws_ok($$SELECT glm_generate('hello', 'tap', options => '{"route_key": true}')$$, '22023', NULL, 'no key');
SELECT throws_ok($$SELECT glm_generate('hello', 'tap', options => '{"route_key": ["a"]}')$$, '22023', NULL, 'nor this');

-- ---- without a key, the request alone decides ----
CREATE TEMP TABLE alone AS SELECT i, pg_temp.model_of('text ' || i, 'tap') AS model FROM generate_series(1, 100) i;
SELECT is((SELECT count(*) FROM (SELECT i, pg_temp.model_of('text ' || i, 'tap') AS model FROM generate_series(100, 1, -1) i) again
           JOIN alone USING (i) WHERE again.model <> alone.model), 0::bigint, 'in any order');
SET chatglm.prefetch = 1;
SELECT is((SELECT count(*) FROM (SELECT i, pg_temp.model_of('text ' || i, 'tap') AS model FROM generate_series(1, 100) i) again
           JOIN alone USING (i) WHERE again.model <> alone.model), 0::bigint, 'and one at a time');
RESET chatglm.prefetch;
SELECT cmp_ok((SELECT count(DISTINCT glm_chat(:says, model => 'tap', max_tokens => 1, seed => i)->'usage'->>'model')
                 FROM generate_series(1, 60) i), '=', 2::bigint, 'the seed is part of it');
SELECT cmp_ok((SELECT count(DISTINCT glm_chat(:says, model => 'tap', max_tokens => 1, system => 'Be ' || i)->'usage'->>'model')
                 FROM generate_series(1, 60) i), '=', 2::bigint, 'and the system message');

-- ---- a change takes effect at once ----
PREPARE asked AS SELECT pg_temp.model_of('hello', 'tap');
SELECT glm_route_set('tap', '{"tap-a": 1}') \g /dev/null
SELECT results_eq('EXECUTE asked', $$VALUES ('tap-a')$$, 'a prepared statement');
SELECT glm_route_set('tap', '{"tap-b": 1}') \g /dev/null
SELECT results_eq('EXECUTE asked', $$VALUES ('tap-b')$$, 'follows');
SAVEPOINT before;
SELECT glm_route_set('tap', '{"tap-a": 1}') \g /dev/null
ROLLBACK TO before;
SELECT results_eq('EXECUTE asked', $$VALUES ('tap-b')$$, 'and so it does when the change is rolled back');

-- ---- EXPLAIN ----
CREATE FUNCTION pg_temp.lines(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE query;
END $$;
SELECT glm_route_set('tap', '{"tap-a": 3, "tap-b": 1}') \g /dev/null
SELECT ok('  Route: tap (tap-a 75%, tap-b 25%)' IN (SELECT pg_temp.lines($$EXPLAIN (COSTS OFF) SELECT glm_generate('x' || i, 'tap') FROM generate_series(1, 3) i$$)),
          'EXPLAIN shows the route');
SELECT is((SELECT count(*) FROM pg_temp.lines($$EXPLAIN (COSTS OFF) SELECT glm_generate('x' || i, 'tap') FROM generate_series(1, 3) i$$) l
            WHERE l LIKE '%Model%'), 0::bigint, 'in the place of a model');
SELECT is((SELECT count(*) FROM pg_temp.lines($$EXPLAIN (ANALYZE, COSTS OFF) SELECT glm_count_tokens('x' || i, 'tap-a') FROM generate_series(1, 3) i$$) l
            WHERE l LIKE '%by Model%'), 0::bigint, 'without a route no models are counted');

SELECT ok('  Route: tap (tap-a 75%, tap-b 25%)' IN (SELECT pg_temp.lines($$EXPLAIN (COSTS OFF) SELECT * FROM glm_stream('x', 'tap')$$)), 'of a stream in FROM, too');
SELECT ok('  Model: tap-a' IN (SELECT pg_temp.lines($$EXPLAIN (COSTS OFF) SELECT * FROM glm_chat_stream('[{"role": "user", "content": "x"}]', model => 'tap-a')$$)), 'or its model');
SELECT is((SELECT count(*) FROM pg_temp.lines($$EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM glm_stream('x', 'tap', max_tokens => 2)$$) l
            WHERE l ~ '^  Requests by Model: tap-[ab]: 1$'), 1::bigint, 'and which one answered');

-- ---- the model that answered ----
SELECT glm_route_set('tap', '{"tap-b": 1}') \g /dev/null
SELECT is((glm_try_generate('hello', 'tap')).model, 'tap-b', 'glm_result');
SELECT is((glm_try_json('hello', '{"type": "integer"}', 'tap')).model, 'tap-b', 'glm_json_result');
SELECT is((glm_try_embed('hello', 'tap')).model, 'tap-b', 'glm_embed_result');
SELECT is((SELECT array_agg(model) FROM (SELECT model FROM glm_generate_batch(ARRAY['hello', NULL], 'tap') UNION ALL SELECT model FROM glm_generate_n('hello', 2, 'tap')) m),
          ARRAY['tap-b', NULL, 'tap-b', 'tap-b'], 'glm_generate_batch, glm_generate_n');
SELECT glm_route_set('tap', '{"tap-a": 3, "tap-b": 1}') \g /dev/null

-- ---- what is refused ----
SELECT throws_ok($$SELECT glm_route_set(NULL, '{"tap-a": 1}')$$, '22004', NULL, 'no name');
SELECT throws_ok($$SELECT glm_route_set('tap', NULL)$$, '22004', NULL, 'no weights');
SELECT throws_ok(format('SELECT glm_route_set(%L, %L)', 'tap', weights), '22023', NULL, 'weights ' || weights)
  FROM unnest(ARRAY['{}', '[]', '"tap-a"', '{"tap-a": -1}', '{"tap-a": "NaN"}', '{"tap-a": null}', '{"tap-a": 1e400}', '{"tap-a": 0, "tap-b": 0}']) weights;
SELECT throws_ok(format('SELECT glm_route_set(%L, %L)', 'tap', (SELECT jsonb_object_agg('m' || i, 1) FROM generate_series(1, 101) i)), '22023', NULL,
                 'too many models');
SELECT throws_ok($$SELECT glm_route_set('tap', '{"a/b": 1}')$$, '42602', NULL, 'a model that cannot be');
SELECT throws_ok($$SELECT glm_route_set('../tap', '{"tap-a": 1}')$$, '42602', NULL, 'a name that cannot be');
SELECT throws_ok($$SELECT glm_route_set('tap', '{"tap-a": 1, "nothing": 0}')$$, '42704', 'model "nothing" of route "tap" does not exist', 'a model that is not there');
SELECT throws_ok($$SELECT glm_route_set('tiny-chatglm3', '{"tap-a": 1}')$$, '42710', NULL, 'the name of a model');
SELECT throws_ok($$SELECT glm_model_load('tap', (SELECT path FROM tiny))$$, '42710', NULL, 'a model of a route''s name');
SELECT throws_ok($$SELECT glm_route_set('tap2', '{"tap": 1}')$$, '42809', NULL, 'a route to a route');
SELECT throws_ok($$SELECT glm_route_set('tap', '{"tap": 1}')$$, '42809', NULL, 'nor to itself');
DELETE FROM chatglm.model WHERE name = 'tap-b';
SELECT glm_model_unload('tap-b') \g /dev/null
SELECT is(ARRAY(SELECT DISTINCT coalesce(r.sqlstate || ' ' || r.error, 'answered')
                  FROM generate_series(1, 60) i, glm_try_generate('text ' || i, 'tap', max_tokens => 1) r ORDER BY 1),
          ARRAY['42704 model "tap-b" of route "tap" does not exist', 'answered'], 'a model that is gone is an error for its share');

-- ---- rows by plain SQL ----
SELECT throws_ok($$INSERT INTO chatglm.route VALUES ('tap2', '{"tap-a": -1}')$$, '22023', NULL, 'the trigger checks weights');
SELECT throws_ok($$INSERT INTO chatglm.route VALUES ('a/b', '{"tap-a": 1}')$$, '42602', NULL, 'and names');
SELECT lives_ok($$INSERT INTO chatglm.route VALUES ('tap2', '{"tap-c": 1}')$$, 'but not whether models are there');
SELECT is(pg_temp.model_of('hello', 'tap2'), 'tap-c', 'such a row is a route');
SELECT lives_ok($$INSERT INTO chatglm.model SELECT 'tap2', path FROM tiny$$, 'a model that gets a route''s name by plain SQL');
SELECT is(pg_temp.model_of('hello', 'tap2'), 'tap-c', 'does not take its requests away');

-- ---- privileges ----
SET ROLE glm_tap_user;
SELECT isnt(glm_generate('hello', 'tap2'), NULL, 'everybody may use a route');
SELECT is((SELECT count(*) FROM glm_routes WHERE name = 'tap2'), 1::bigint, 'and see it');
SELECT throws_ok($$SELECT glm_route_set('tap', '{"tap-a": 1}')$$, '42501', NULL, 'not set it');
SELECT throws_ok($$SELECT glm_route_drop('tap')$$, '42501', NULL, 'nor drop it');
SELECT throws_ok($$SELECT * FROM chatglm.route$$, '42501', NULL, 'nor read the table');
SET ROLE glm_tap_router;
SELECT lives_ok($$SELECT glm_route_set('tap', '{"tap-a": 1}')$$, 'EXECUTE is enough');
SELECT throws_ok($$UPDATE chatglm.route SET weights = '{}'$$, '42501', NULL, 'for the function alone');
SELECT ok(glm_route_drop('tap'), 'drop');
SELECT ok(NOT glm_route_drop('tap'), 'a second time there is nothing');
SELECT is(glm_route_drop(NULL), NULL, 'NULL');
RESET ROLE;
SELECT throws_ok($$SELECT glm_generate('hello', 'tap')$$, '42704', 'model "tap" does not exist', 'then the name is gone');

SELECT * FROM finish();
ROLLBACK;
