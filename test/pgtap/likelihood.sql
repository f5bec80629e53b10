-- likelihood.sql - how likely a text is: what the logits come to, NULLs, errors, rows in flight.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
SELECT plan(32);

CREATE FUNCTION pg_temp.logprob(logits real[], id int) RETURNS float8 LANGUAGE sql AS $$
    SELECT logits[id + 1] - ln(sum(exp(x::float8))) FROM unnest(logits) x $$;
CREATE FUNCTION pg_temp.ids(content text) RETURNS int[] LANGUAGE sql AS $$
    SELECT glm_chat_tokens(jsonb_build_array(jsonb_build_object('role', 'user', 'content', content))) || glm_tokenize(E'\n') $$;

-- ---- by force: a chat ----
CREATE TEMP TABLE told AS SELECT * FROM glm_logprobs('Who are you?', 'I am a lamp, 你好', 3, chat => true);
SELECT is(array_agg(token_id ORDER BY seq), glm_tokenize('I am a lamp, 你好'), 'a row for each token') FROM told;
SELECT is(array_agg(seq ORDER BY seq), ARRAY(SELECT generate_series(1, (SELECT count(*)::int FROM told))), 'numbered from 1') FROM told;
SELECT is(bool_and(abs(logprob - pg_temp.logprob(glm_logits(pg_temp.ids('Who are you?') || (glm_tokenize('I am a lamp, 你好'))[1:seq - 1]), token_id)) < 1e-5), true,
          'each as the logits before it say') FROM told;
SELECT is(bool_and(jsonb_array_length(top) = 3), true, 'the three likeliest of each place') FROM told;
SELECT is(top->0->>'token_id', (SELECT (i - 1)::text FROM unnest(glm_logits(pg_temp.ids('Who are you?'))) WITH ORDINALITY u(x, i) ORDER BY x DESC, i LIMIT 1),
          'the first is the largest logit') FROM told WHERE seq = 1;
SELECT is(bool_and((top->0->>'logprob')::real >= (top->1->>'logprob')::real AND (top->1->>'logprob')::real >= (top->2->>'logprob')::real), true, 'in their order') FROM told;
SELECT is(bool_and(logprob <= (top->0->>'logprob')::real), true, 'no token is likelier than the first') FROM told;
SELECT is(string_agg(token, '' ORDER BY seq) FILTER (WHERE seq < 8), ' I am a lam', 'texts of tokens') FROM told;
SELECT is(bool_and(abs(l.logprob - s.logprob) < 1e-6), true, 'the same as an answer''s stream tells')
  FROM glm_logprobs('Who are you?', glm_generate('Who are you?'), chat => true) l
  JOIN (SELECT row_number() OVER (ORDER BY seq) AS n, token_id, logprob FROM glm_stream('Who are you?') OFFSET 2) s
    ON s.n = l.seq + 2 AND s.token_id = l.token_id;

-- ---- by force: a raw text ----
CREATE TEMP TABLE raw AS SELECT * FROM glm_logprobs('The lamp is', ' fine, they said.');
SELECT is(array_agg(token_id ORDER BY seq),
          (glm_tokenize('The lamp is fine, they said.'))[cardinality(glm_tokenize('The lamp is fine, they said.')) - count(*)::int + 1:],
          'what prompt and text have together') FROM raw;
SELECT is(bool_and(top IS NULL), true, 'top is NULL for top_n 0') FROM raw;
SELECT is(bool_and(abs(logprob - pg_temp.logprob(glm_logits((ids)[1:cardinality(ids) - n + seq - 1]), token_id)) < 1e-5), true, 'each as the logits before it say')
  FROM raw, (SELECT glm_tokenize('The lamp is fine, they said.', add_special => true) AS ids, count(*)::int AS n FROM raw) t;

-- ---- perplexity ----
SELECT is(glm_perplexity('The lamp is fine, they said.')::numeric(12, 6),
          (SELECT exp(-avg(logprob::float8)) FROM glm_logprobs('', 'The lamp is fine, they said.'))::numeric(12, 6), 'e to the mean');
SELECT ok(glm_perplexity('I love it, it works great.') < glm_perplexity('great works it it, love I.'), 'a text that the model knows is less of a surprise');
SELECT is(glm_perplexity(repeat('lamp ', 400)) > 0, true, 'a long one');

-- ---- NULL, and nothing ----
SELECT is(glm_perplexity(NULL), NULL, 'NULL');
SELECT is(glm_perplexity(''), NULL, 'no text');
SELECT is((SELECT count(*) FROM glm_logprobs(NULL, 'x')), 0::bigint, 'no prompt');
SELECT is((SELECT count(*) FROM glm_logprobs('x', NULL)), 0::bigint, 'no continuation');
SELECT is((SELECT count(*) FROM glm_logprobs('x', '')), 0::bigint, 'an empty one');

-- ---- errors ----
SELECT throws_ok($$SELECT * FROM glm_logprobs('x', 'y', 21)$$, '22023', NULL, 'too many of a place');
SELECT throws_ok($$SELECT * FROM glm_logprobs('x', 'y', -1)$$, '22023', NULL, 'less than none');
SELECT throws_ok($$SELECT * FROM glm_logprobs('x', 'y', system => 'z')$$, '22023', NULL, 'a system message without a chat');
SELECT throws_ok($$SELECT * FROM glm_logprobs('x', 'y', options => '{"truncate": "head"}')$$, '22023', NULL, 'no such option');
SELECT throws_ok($$SELECT glm_perplexity(repeat('very ', 5000))$$, '54000', NULL, 'too long');
SELECT is((glm_try_perplexity(repeat('very ', 5000))).sqlstate, '54000', 'as a value');
SELECT is((glm_try_perplexity('The lamp')).value::text::float8, glm_perplexity('The lamp'), 'and what is none');
SELECT is((SELECT array_agg(t->>'token_id') FROM jsonb_array_elements((glm_try_logprobs('The lamp is', ' fine, they said.', 2)).value) t),
          (SELECT array_agg(token_id::text ORDER BY seq) FROM raw), 'glm_try_logprobs');

-- ---- rows in flight ----
CREATE TEMP TABLE review AS SELECT i AS id, 'The lamp no. ' || i || ' is fine.' AS body FROM generate_series(1, 50) i;
ANALYZE review;
SET LOCAL chatglm.prefetch = 1;
CREATE TEMP TABLE one_by_one AS SELECT id, glm_perplexity(body) AS p, array_agg(logprob ORDER BY seq) AS l FROM review, glm_logprobs('', body, 2) GROUP BY id, body;
RESET chatglm.prefetch;
SELECT is((SELECT count(*) FROM (SELECT id, glm_perplexity(body) AS p, array_agg(logprob ORDER BY seq) AS l FROM review, glm_logprobs('', body, 2) GROUP BY id, body
           EXCEPT TABLE one_by_one) d), 0::bigint, 'in flight and one by one');
CREATE FUNCTION pg_temp.explained(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan;
END $$;
SELECT matches(pg_temp.explained('SELECT * FROM review, glm_logprobs('''', body)'), 'GlmBatch', 'in FROM they are in flight');

-- ---- privileges ----
SET LOCAL ROLE glm_tap_user;
SELECT ok((SELECT count(*) FROM glm_logprobs('x', 'y')) > 0, 'everybody may call them');
SELECT ok(glm_perplexity('x') > 0, 'glm_perplexity');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
