-- serving.sql - prompts that begin alike, and who comes first: what SQL shows of it.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(17);

-- a model of its own name has a cache of its own
SELECT glm_model_load('glm_tap_serving', (SELECT path FROM glm_models WHERE name = 'tiny-chatglm3'));
SET LOCAL chatglm.model = 'glm_tap_serving';
SET LOCAL chatglm.max_tokens = 4;
CREATE TEMP TABLE alike AS
SELECT i, repeat('The lamp came late and the box was open. ', 12) || i AS body FROM generate_series(1, 20) i;
CREATE FUNCTION pg_temp.cached(answer jsonb) RETURNS int LANGUAGE sql AS
$$SELECT (answer #>> '{usage,prompt_tokens_details,cached_tokens}')::int$$;
CREATE FUNCTION pg_temp.ask(body text, options jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS
$$SELECT glm_chat(jsonb_build_array(jsonb_build_object('role', 'user', 'content', body)), options => options)$$;

SELECT is(pg_temp.cached(pg_temp.ask((SELECT body FROM alike WHERE i = 1), '{"cache": false}')), 0, 'nothing is cached at first');
SELECT is(pg_temp.cached(pg_temp.ask((SELECT body FROM alike WHERE i = 1))), 0, 'nor after a request that opted out');
SELECT cmp_ok(pg_temp.cached(pg_temp.ask((SELECT body FROM alike WHERE i = 2))), '>', 64, 'what begins alike is found');
SELECT is(pg_temp.cached(pg_temp.ask((SELECT body FROM alike WHERE i = 2), '{"cache": false}')), 0, 'unless one does not want to');
SELECT is(pg_temp.ask((SELECT body FROM alike WHERE i = 2))->'content',
          pg_temp.ask((SELECT body FROM alike WHERE i = 2), '{"cache": false}')->'content', 'and changes no answer');

-- rows in flight
CREATE FUNCTION pg_temp.node(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json, ANALYZE) ' || query INTO plan;
    RETURN plan->0->'Plan';
END $$;
CREATE TEMP TABLE seen AS SELECT pg_temp.node('SELECT glm_generate(body) FROM alike') AS node;
SELECT cmp_ok((node->>'Cached Tokens')::int * 2, '>', (node->>'Prompt Tokens')::int, 'EXPLAIN ANALYZE shows cached tokens') FROM seen;
SELECT cmp_ok((node->>'Cached Tokens')::int, '<', (node->>'Prompt Tokens')::int, 'never all of them') FROM seen;
SELECT is(pg_temp.node($$SELECT glm_generate(body, options => '{"cache": false}') FROM alike$$)->>'Cached Tokens', '0', 'none for who opted out');

-- the view; figures are copied for us when the worker has nothing to do
CREATE FUNCTION pg_temp.figures() RETURNS glm_stat_models LANGUAGE sql AS
$$SELECT * FROM glm_stat_models WHERE name = 'glm_tap_serving'$$;
SELECT cmp_ok((f).requests, '>=', 47::bigint, 'requests, loading among them') FROM pg_temp.figures() f;
SELECT is((f).prefill_tokens, (f).prompt_tokens - (f).cached_tokens, 'a token of a prompt is computed or cached') FROM pg_temp.figures() f;
SELECT cmp_ok((f).cached_tokens, '>', (f).prompt_tokens / 4, 'many are cached') FROM pg_temp.figures() f;
SELECT cmp_ok((f).completion_tokens, '<=', 4 * 47::bigint, 'generated tokens') FROM pg_temp.figures() f;
SELECT is((f).kv_bytes_used, 0::bigint, 'nothing is held') FROM pg_temp.figures() f;
SELECT cmp_ok((f).kv_bytes_cached, '>', 0::bigint, 'but kept') FROM pg_temp.figures() f;

-- options
SELECT throws_ok($$SELECT glm_generate('a', options => '{"cache": 1}')$$, '22023', NULL, 'cache is true or false');
SELECT throws_ok($$SELECT glm_generate('a', options => '{"priority": "high"}')$$, '22023', NULL, 'priority is one of two');
SELECT is(glm_generate('a', options => '{"priority": "batch"}'), glm_generate('a', options => '{"priority": "interactive"}'), 'both answer');

SELECT glm_model_unload('glm_tap_serving');
SELECT * FROM finish();
ROLLBACK;
