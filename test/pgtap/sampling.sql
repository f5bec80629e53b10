-- sampling.sql - penalties and logit_bias: by hand from the logits, with constraints, and what is refused.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(32);

-- what glm_stream should give greedily: the largest logit, changed by hand, token after token
CREATE FUNCTION pg_temp.walk(prompt text, n int, frequency float8, presence float8, bias jsonb) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    ids int[] := glm_tokenize(prompt, add_special => true);
    answer int[] := '{}';
    next int;
BEGIN
    FOR i IN 1 .. n LOOP
        SELECT u.id - 1 INTO next
          FROM unnest(glm_logits(ids || answer)) WITH ORDINALITY u(logit, id)
               LEFT JOIN (SELECT a, count(*) FROM unnest(answer) a GROUP BY a) c(token, times) ON c.token = u.id - 1
         WHERE u.id <= 1024 AND coalesce((bias->>(u.id - 1)::text)::float8, 0) > -100
         ORDER BY u.logit - coalesce(c.times, 0) * frequency - CASE WHEN c.times > 0 THEN presence ELSE 0 END
                  + coalesce((bias->>(u.id - 1)::text)::float8, 0) DESC, u.id
         LIMIT 1;
        EXIT WHEN glm_detokenize(ARRAY[next]) LIKE '<|%|>'; -- which ends an answer
        answer := answer || next;
    END LOOP;
    RETURN answer;
END $$;

CREATE FUNCTION pg_temp.said(prompt text, options jsonb, temperature float8 DEFAULT 0, n int DEFAULT 24) RETURNS int[] LANGUAGE sql AS $$
    SELECT array_agg(token_id ORDER BY seq) FROM glm_stream(prompt, max_tokens => n, temperature => temperature, top_p => 1, seed => 7, options => options) $$;

-- glm_complete's own tokens are not shown, so its text is compared with that of the walk
SELECT is(glm_complete(prompt, max_tokens => 20, options => jsonb_build_object('frequency_penalty', f, 'presence_penalty', p, 'logit_bias', b)),
          glm_detokenize(pg_temp.walk(prompt, 20, f, p, b)), format('frequency %s, presence %s, bias %s', f, p, b))
  FROM (VALUES ('lamp lamp lamp lamp', 0.7, 0.0, '{}'::jsonb), ('lamp lamp lamp lamp', 0, 1.5, '{}'), ('lamp lamp lamp lamp', -1.5, 0.5, '{}'),
               ('Please ship 12 desk', 0.4, 0.4, '{"13": 3.5, "263": -100, "500": 100}')) v(prompt, f, p, b);

-- ---- logit_bias ----
SELECT is((pg_temp.said('hello', jsonb_build_object('logit_bias', jsonb_build_object(id, 100)), n => 4))[2:4], array_fill(id, ARRAY[3]), 'a bias of 100 makes a token come')
  FROM (SELECT (glm_tokenize('lamp'))[1] AS id) t;
SELECT ok(NOT said && pg_temp.said('Who are you?', jsonb_build_object('logit_bias', (SELECT jsonb_object_agg(i, -100) FROM unnest(said) i)), t),
          format('what is banned never comes, temperature %s', t))
  FROM unnest('{0,1,5}'::float8[]) t, LATERAL (SELECT pg_temp.said('Who are you?', '{}', t)) s(said);
SELECT is(pg_temp.said('Who are you?', '{"logit_bias": {}}'), pg_temp.said('Who are you?', NULL), 'an empty object changes nothing');
SELECT is(pg_temp.said('Who are you?', '{"logit_bias": null, "frequency_penalty": null, "presence_penalty": null}'), pg_temp.said('Who are you?', NULL), 'nor does null');
SELECT is((SELECT logprob FROM glm_stream('hello', max_tokens => 1, options => jsonb_build_object('logit_bias', jsonb_build_object(token_id, 7)))), logprob,
          'log probabilities are the model''s') FROM glm_stream('hello', max_tokens => 1);

-- ---- with constraints: what is allowed comes first ----
SELECT is(glm_generate('I love it, it works great.', system => 'Classify the sentiment of the review.',
                       options => jsonb_build_object('choices', '["positive", "negative", "neutral"]'::jsonb, 'logit_bias',
                           (SELECT jsonb_object_agg(id, -100) FROM unnest((SELECT array_agg(token_id) FROM glm_stream('I love it, it works great.',
                               system => 'Classify the sentiment of the review.', options => '{"choices": ["positive", "negative", "neutral"]}')
                               WHERE token ~ '^[[:alpha:]]')) id))) IN ('negative', 'neutral'), true,
          'of choices one whose tokens are not banned');
SELECT is(glm_generate('hello', options => '{"choices": ["only"]}' || jsonb_build_object('logit_bias',
              (SELECT jsonb_object_agg(id, -100) FROM generate_series(0, 1000) id))), 'only', 'what a constraint leaves comes though it is banned');
SELECT ok(glm_generate('hello', temperature => 3, top_p => 1, seed => s, options => '{"regex": "[ab]{5}"}' || jsonb_build_object('logit_bias',
              (SELECT jsonb_object_agg(id, -100) FROM generate_series(3, 1000) id))) ~ '^[ab]{5}$', 'a pattern too')
  FROM generate_series(1, 3) s;

-- ---- in flight ----
SELECT is(array_agg(glm_generate(p, options => o) ORDER BY i), array_agg(one ORDER BY i), 'in flight as alone')
  FROM (SELECT i, p, o, (SELECT glm_generate(p, options => o) OFFSET 0) AS one
          FROM (SELECT i, 'lamp lamp ' || i, jsonb_build_object('frequency_penalty', i % 5 * 0.4, 'presence_penalty', i % 3 - 1, 'logit_bias', jsonb_build_object(20 * i, -100))
                  FROM generate_series(1, 20) i) v(i, p, o) OFFSET 0) t;

-- ---- what is refused ----
SELECT throws_ok(format('SELECT glm_generate(''a'', options => %L)', o), '22023', m, o)
  FROM (VALUES ('{"frequency_penalty": 2.1}', 'argument "options.frequency_penalty" must be at least -2 and at most 2, not 2.1'),
               ('{"presence_penalty": -2.1}', 'argument "options.presence_penalty" must be at least -2 and at most 2, not -2.1'),
               ('{"presence_penalty": "1"}', 'argument "options.presence_penalty" must be a number'),
               ('{"logit_bias": 3}', 'argument "options.logit_bias" must be an object of token ids and numbers'),
               ('{"logit_bias": [1]}', 'argument "options.logit_bias" must be an object of token ids and numbers'),
               ('{"logit_bias": {"lamp": 3}}', 'key "lamp" of argument "options.logit_bias" is no token id'),
               ('{"logit_bias": {"-1": 3}}', 'key "-1" of argument "options.logit_bias" is no token id'),
               ('{"logit_bias": {"01": 3}}', 'key "01" of argument "options.logit_bias" is no token id'),
               ('{"logit_bias": {"9999999999": 3}}', 'key "9999999999" of argument "options.logit_bias" is no token id'),
               ('{"logit_bias": {"": 3}}', 'key "" of argument "options.logit_bias" is no token id'),
               ('{"logit_bias": {"5": 100.5}}', 'argument "options.logit_bias.5" must be at least -100 and at most 100, not 100.5'),
               ('{"logit_bias": {"5": null}}', 'argument "options.logit_bias.5" must be a number')) v(o, m);
SELECT throws_like($$SELECT glm_generate('a', options => '{"logit_bias": {"70000": 1}}')$$, '%has token 70000, but the model has 0 to %', 'a token that the model has not');
SELECT is((glm_try_generate('a', options => '{"logit_bias": {"70000": 1}}')).sqlstate, '22023', 'which is a value of the row');
SELECT throws_ok(format('SELECT glm_generate(''a'', options => %L)', jsonb_build_object('logit_bias', (SELECT jsonb_object_agg(i, 1) FROM generate_series(1, 1025) i))),
                 '22023', 'argument "options.logit_bias" must have at most 1024 tokens, not 1025', 'too many');

SELECT * FROM finish();
ROLLBACK;
