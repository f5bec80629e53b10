-- aggregates.sql - glm_summarize_agg, glm_agg, glm_reduce: many rows made one text.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
SELECT plan(60);
SET LOCAL chatglm.max_tokens = 6;

CREATE FUNCTION pg_temp.summary(content text) RETURNS text LANGUAGE sql AS
$$ SELECT (glm_try_generate(content, system => 'Summarize the texts, which blank lines divide. Answer with the summary alone.')).response $$;
CREATE FUNCTION pg_temp.merged(content text) RETURNS text LANGUAGE sql AS
$$ SELECT (glm_try_generate(content, system => 'Make one summary of these summaries, which blank lines divide. Answer with the summary alone.')).response $$;
CREATE FUNCTION pg_temp.answer(content text, instruction text) RETURNS text LANGUAGE sql AS
$$ SELECT (glm_try_generate(content, system => instruction || E'\nConsider all of the texts, which blank lines divide.')).response $$;
CREATE FUNCTION pg_temp.step(content text, state text, instruction text) RETURNS text LANGUAGE sql AS
$$ SELECT (glm_try_generate(content, system => instruction || coalesce(E'\nThe answer so far: ' || nullif(state, ''), '') ||
                            E'\nAnswer anew, with the next text taken into account.')).response $$;
-- some 80 tokens each: 40 of them are too many for one prompt, and fit two
CREATE TABLE pg_temp.long AS SELECT i, i || ': ' || repeat('hello you ', 16) AS body FROM generate_series(1, 40) i;
CREATE FUNCTION pg_temp.joined(a int, b int) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(body, E'\n\n' ORDER BY i) FROM pg_temp.long WHERE i BETWEEN a AND b $$;

-- ---- what fits one prompt ----
SELECT is(glm_summarize_agg(t), pg_temp.summary('one'), 'one row') FROM (VALUES ('one')) v(t);
SELECT is(glm_summarize_agg(t ORDER BY t), pg_temp.summary(E'a\n\nb\n\nc'), 'rows in their order') FROM (VALUES ('b'), ('c'), ('a')) v(t);
SELECT is(glm_summarize_agg(t ORDER BY t DESC), pg_temp.summary(E'c\n\nb\n\na'), 'or another') FROM (VALUES ('b'), ('c'), ('a')) v(t);
SELECT is(glm_agg(t, 'Count.' ORDER BY t), pg_temp.answer(E'a\n\nb', 'Count.'), 'with an instruction') FROM (VALUES ('b'), ('a')) v(t);
SELECT is(glm_reduce(t, 'Count.' ORDER BY t), pg_temp.step(E'a\n\nb', NULL, 'Count.'), 'one after the other') FROM (VALUES ('b'), ('a')) v(t);
SELECT is(glm_agg(t, 'Say {content} {{'), pg_temp.answer(E'{instruction}\n---', 'Say {content} {{'), 'braces are the caller''s')
  FROM (VALUES (E'{instruction}\n---')) v(t);
SELECT is(glm_summarize_agg(DISTINCT t), pg_temp.summary(E'a\n\nb'), 'DISTINCT') FROM (VALUES ('b'), ('a'), ('b')) v(t);
SELECT is(glm_summarize_agg(t ORDER BY t) FILTER (WHERE t < 'c'), pg_temp.summary(E'a\n\nb'), 'FILTER') FROM (VALUES ('b'), ('c'), ('a')) v(t);
SELECT results_eq($$SELECT g, glm_summarize_agg(t ORDER BY t) FROM (VALUES (1, 'b'), (2, 'c'), (1, 'a'), (3, NULL)) v(g, t) GROUP BY g ORDER BY g$$,
                  $$VALUES (1, pg_temp.summary(E'a\n\nb')), (2, pg_temp.summary('c')), (3, NULL)$$, 'groups');

-- ---- NULLs ----
SELECT is(glm_summarize_agg(t), NULL, 'no rows') FROM (SELECT 'x' WHERE false) v(t);
SELECT is(glm_agg(t, 'x'), NULL, 'no rows for an instruction') FROM (SELECT 'x' WHERE false) v(t);
SELECT is(glm_reduce(t, 'x'), NULL, 'nor one after the other') FROM (SELECT 'x' WHERE false) v(t);
SELECT is(glm_summarize_agg(t), NULL, 'NULL rows alone') FROM (VALUES (NULL::text), (NULL)) v(t);
SELECT is(glm_summarize_agg(t ORDER BY t), pg_temp.summary(E'a\n\nb'), 'NULL rows are left out') FROM (VALUES (NULL), ('b'), (NULL), ('a')) v(t);
SELECT is(glm_agg(t, i), pg_temp.answer('a', 'x'), 'with their instructions') FROM (VALUES (NULL, NULL), ('a', 'x')) v(t, i);
SELECT isnt(glm_summarize_agg(''), NULL, 'an empty text is one');

-- ---- more than fits ----
SELECT ok(EXISTS (SELECT FROM generate_series(15, 30) k
                   WHERE whole = pg_temp.merged(pg_temp.summary(pg_temp.joined(1, k)) || E'\n\n' || pg_temp.summary(pg_temp.joined(k + 1, 40)))),
          'a summary of two summaries') FROM (SELECT glm_summarize_agg(body ORDER BY i) FROM pg_temp.long) s(whole);
SELECT ok(EXISTS (SELECT FROM generate_series(15, 30) k
                   WHERE whole = pg_temp.step(pg_temp.joined(k + 1, 40), pg_temp.step(pg_temp.joined(1, k), NULL, 'Count.'), 'Count.')),
          'the second half with the answer to the first') FROM (SELECT glm_reduce(body, 'Count.' ORDER BY i) FROM pg_temp.long) s(whole);
CREATE TABLE pg_temp.whole AS SELECT glm_summarize_agg(a.body || b.i ORDER BY a.i, b.i) AS s, glm_agg(a.body || b.i, 'Count.' ORDER BY a.i, b.i) AS a,
    glm_reduce(a.body || b.i, 'Count.' ORDER BY a.i, b.i) AS r FROM pg_temp.long a, generate_series(1, 3) b(i);
SELECT isnt(s, NULL, 'three packs') FROM pg_temp.whole;
SET LOCAL chatglm.prefetch = 1;
SET LOCAL work_mem = '64kB';
SELECT is((s, a, r)::text, (SELECT (w.s, w.a, w.r)::text FROM pg_temp.whole w), 'the same, one question at a time and with little memory')
  FROM (SELECT glm_summarize_agg(a.body || b.i ORDER BY a.i, b.i) AS s, glm_agg(a.body || b.i, 'Count.' ORDER BY a.i, b.i) AS a,
               glm_reduce(a.body || b.i, 'Count.' ORDER BY a.i, b.i) AS r FROM pg_temp.long a, generate_series(1, 3) b(i)) n;
RESET chatglm.prefetch;
RESET work_mem;
SELECT isnt(glm_summarize_agg(repeat('very long ', 2500)), NULL, 'a text that does not fit alone is cut');
SELECT isnt(glm_reduce(repeat('very long ', 2500), 'Count.'), NULL, 'for a reduction, too');
SET LOCAL chatglm.max_tokens = 100000;
SELECT isnt(glm_summarize_agg(body), NULL, 'an answer takes a quarter of the context at most') FROM (SELECT body FROM pg_temp.long LIMIT 30) l;
SET LOCAL chatglm.max_tokens = 6;

-- ---- options ----
SELECT is(glm_summarize_agg('one', '{"max_tokens": 2}'),
          glm_generate('one', max_tokens => 2, system => 'Summarize the texts, which blank lines divide. Answer with the summary alone.'), 'max_tokens');
SELECT is(glm_agg('one', 'Count.', '{"system": "Be brief.", "model": "tiny-chatglm3", "cache": false, "seed": 3, "temperature": 1}'),
          glm_generate('one', system => E'Be brief.\nCount.\nConsider all of the texts, which blank lines divide.', seed => 3, temperature => 1),
          'system, seed, temperature');
SELECT is(glm_agg('one', 'Count.', '{"frequency_penalty": 2, "logit_bias": {"10": -5}}'),
          glm_generate('one', system => E'Count.\nConsider all of the texts, which blank lines divide.', options => '{"frequency_penalty": 2, "logit_bias": {"10": -5}}'),
          'options of other functions');
SELECT is(glm_reduce('one', 'Count.', NULL), glm_reduce('one', 'Count.'), 'NULL is none');
SELECT is(glm_reduce('one', 'Count.', '{"model": null}'), glm_reduce('one', 'Count.'), 'null has the default');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '{"nonesuch": 1}')$$, '22023', 'unknown key "nonesuch" in argument "options"', 'an unknown option');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '{"choices": ["a"]}')$$, '22023', NULL, 'one that has no place here');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '{"max_tokens": "a"}')$$, '22023', 'argument "options.max_tokens" must be a number', 'of another type');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '{"model": 1}')$$, '22023', 'argument "options.model" must be a string', 'or that');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '{"max_tokens": 0}')$$, '22023', NULL, 'out of range');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '[]')$$, '22023', NULL, 'no object');
SELECT throws_ok($$SELECT glm_summarize_agg('x', '{"model": "nonesuch"}')$$, '42704', NULL, 'no such model');
SELECT throws_ok($$SELECT glm_summarize_agg('x', o::jsonb) FROM (VALUES ('{"seed": 1}'), ('{"seed": 2}')) v(o)$$, '22023',
                 'argument "options" must be the same in all rows of a group', 'options that differ');

-- ---- errors ----
SELECT throws_ok($$SELECT glm_agg('x', NULL)$$, '22004', 'argument "instruction" must not be NULL', 'no instruction');
SELECT throws_ok($$SELECT glm_agg('x', i) FROM (VALUES ('a'), ('b')) v(i)$$, '22023', 'argument "instruction" must be the same in all rows of a group',
                 'instructions that differ');
SELECT results_eq($$SELECT glm_agg('x', i) FROM (VALUES ('a'), ('b'), ('a')) v(i) GROUP BY i ORDER BY i$$,
                  $$VALUES (pg_temp.answer(E'x\n\nx', 'a')), (pg_temp.answer('x', 'b'))$$, 'each group has its own');
SELECT throws_ok($$SELECT glm_agg('x', repeat('very ', 1000))$$, '54000', NULL, 'an instruction that leaves no room');
SELECT throws_ok($$SELECT glm_agg('x', repeat('very ', 10000))$$, '54000', NULL, 'far too long');
SELECT throws_ok($$SELECT glm_summarize_agg(t) OVER () FROM (VALUES ('x')) v(t)$$, '0A000', NULL, 'no window function');
SELECT throws_ok($$SELECT glm_summarize_agg(body, '{"timeout_ms": 1, "cache": false}') FROM pg_temp.long$$, '57T01', NULL, 'a time limit for each question');

-- ---- errors as values ----
SELECT is(glm_try_summarize_agg(t ORDER BY t), glm_try_generate(E'a\n\nb', system => 'Summarize the texts, which blank lines divide. Answer with the summary alone.'),
          'a result as of one question, with its tokens and model') FROM (VALUES ('b'), ('a')) v(t);
SELECT is((glm_try_summarize_agg(body ORDER BY i)).response, glm_summarize_agg(body ORDER BY i), 'glm_try_summarize_agg') FROM pg_temp.long;
SELECT is((glm_try_agg(body, 'Count.' ORDER BY i)).response, glm_agg(body, 'Count.' ORDER BY i), 'glm_try_agg') FROM pg_temp.long;
SELECT is((glm_try_reduce(body, 'Count.' ORDER BY i)).response, glm_reduce(body, 'Count.' ORDER BY i), 'glm_try_reduce') FROM pg_temp.long;
SELECT is((glm_try_agg(body, 'Count.', '{"max_tokens": 2}' ORDER BY i)).response, glm_agg(body, 'Count.', '{"max_tokens": 2}' ORDER BY i), 'with options') FROM pg_temp.long;
SELECT is((glm_try_reduce(body, 'Count.', '{"max_tokens": 2}' ORDER BY i)).response, glm_reduce(body, 'Count.', '{"max_tokens": 2}' ORDER BY i), 'one after the other, too') FROM pg_temp.long;
SELECT cmp_ok((r).prompt_tokens, '>', 2 * 1024, 'tokens of all questions') FROM (SELECT glm_try_summarize_agg(body) AS r FROM pg_temp.long OFFSET 0) s;
SELECT is(glm_try_agg(t, 'x'), NULL, 'no rows') FROM (SELECT 'x' WHERE false) v(t);
SELECT results_eq($$SELECT i, (r).response IS NULL, (r).sqlstate, (r).error IS NULL, (r).model FROM (
                        SELECT i, glm_try_agg('x', i) AS r FROM (VALUES ('Count.'), (repeat('very ', 1000)), ('Say.')) v(i) GROUP BY i OFFSET 0) s ORDER BY length(i)$$,
                  $$VALUES ('Say.', false, NULL, true, 'tiny-chatglm3'), ('Count.', false, NULL, true, 'tiny-chatglm3'), (repeat('very ', 1000), true, '54000', false, NULL)$$,
                  'an error is that of its group');
SELECT is((glm_try_summarize_agg(body, '{"timeout_ms": 1, "cache": false}')).sqlstate, '57T01', 'a question that is out of time, of many') FROM pg_temp.long;
SELECT is((glm_try_summarize_agg('x', '{"model": "nonesuch"}')).sqlstate, '42704', 'no such model');
SELECT is((glm_try_summarize_agg('x', '{"nonesuch": 1}')).sqlstate, '22023', 'an unknown option');
SELECT throws_ok($$SELECT glm_try_agg('x', NULL)$$, '22004', NULL, 'what is wrong with a row is thrown');
-- those that were under way end with their pass
CREATE FUNCTION pg_temp.none_left() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        IF NOT EXISTS (SELECT FROM glm_stat_requests WHERE pid = pg_backend_pid()) THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
    RETURN false;
END $$;
SELECT ok(pg_temp.none_left(), 'no question is left');

-- ---- plans ----
SELECT is(proparallel, 'r', oid::regprocedure || ' stays in the leader') FROM pg_proc WHERE proname = 'glm_reduce' ORDER BY pronargs;

SET ROLE glm_tap_user;
SELECT isnt(glm_summarize_agg('x'), NULL, 'everybody may');

SELECT * FROM finish();
ROLLBACK;
