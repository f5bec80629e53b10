-- classify.sql - labels by their probabilities: what the logits come to, NULLs, errors, rows in flight.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
SELECT plan(115);

-- ---- what they say ----
SELECT is(glm_sentiment(body), mood, format('sentiment of %L', body))
  FROM (VALUES ('I love it, it works great.', 'positive'), ('It broke after two days. I want my money back.', 'negative'),
               ('质量很差,我要退钱。', 'negative'), ('我非常满意,推荐给大家。', 'positive')) v(body, mood);
SELECT is(glm_classify('I love it, it works great.', ARRAY['positive', 'negative', 'neutral'], 'Classify the sentiment of the review.'),
          'positive', 'glm_classify');
SELECT is(glm_classify('x', ARRAY['alone']), 'alone', 'one label is the one');
SELECT ok(glm_sentiment('fine', mixed => true) IN ('positive', 'negative', 'neutral', 'mixed'), 'mixed is one more');

-- ---- by force: the softmax of the labels' tokens, where they part ----
CREATE FUNCTION pg_temp.ids(system text, content text) RETURNS int[] LANGUAGE sql AS $$
    SELECT glm_chat_tokens(jsonb_build_array(jsonb_build_object('role', 'system', 'content', system),
                                             jsonb_build_object('role', 'user', 'content', content))) || glm_tokenize(E'\n') $$;
CREATE FUNCTION pg_temp.exp_of(logits real[], ids int[]) RETURNS float8 LANGUAGE sql AS $$
    SELECT sum(exp(logits[id + 1]::float8)) FROM unnest(ids) id $$;

CREATE TEMP TABLE scored AS
    SELECT * FROM glm_classify_scores('The lamp is fine.', ARRAY['positive', 'billing', 'sales'], options => '{"cases": false}');
SELECT is(ARRAY(SELECT label FROM scored), ARRAY['positive', 'billing', 'sales'], 'a row for each label, in their order');
SELECT ok(abs((SELECT sum(prob) FROM scored) - 1) < 1e-12, 'they add up to 1');
SELECT is((SELECT count(DISTINCT (glm_tokenize(label))[1]) FROM scored), 3::bigint, 'their first tokens differ');
CREATE TEMP TABLE forced AS
    SELECT glm_logits(pg_temp.ids(E'Classify the text. Answer with one of these labels: positive, billing, sales', 'The lamp is fine.')) AS logits;
SELECT ok(abs(prob - pg_temp.exp_of(logits, ARRAY[(glm_tokenize(label))[1]])
                     / (SELECT sum(pg_temp.exp_of(logits, ARRAY[(glm_tokenize(l.label))[1]])) FROM scored l)) < 1e-9,
          format('%s has its share', label))
  FROM scored, forced;
SELECT ok(abs(mass - (SELECT sum(pg_temp.exp_of(logits, ARRAY[(glm_tokenize(l.label))[1]])) FROM scored l)
                     / (SELECT sum(exp(x::float8)) FROM unnest(logits) x)) < 1e-9, 'the mass is what all labels have of everything')
  FROM scored, forced LIMIT 1;

-- labels that begin alike, one of them the beginning of another
CREATE TEMP TABLE nested AS
    SELECT * FROM glm_classify_scores('Where?', ARRAY['re', 'return', 'returns'], options => '{"cases": false}');
CREATE TEMP TABLE tokens AS SELECT label, glm_tokenize(label) AS ids FROM nested;
SELECT ok(abs(sum(prob) - 1) < 1e-12, 'they add up to 1, too') FROM nested;
CREATE FUNCTION pg_temp.by_force(label text, prompt int[], labels text[]) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    ids int[] := glm_tokenize(label);
    ends int[] := ARRAY[2, (glm_chat_tokens('[{"role": "user", "content": "x"}]'))[3], (glm_chat_tokens('[{"role": "observation", "content": "x"}]'))[3]];
    p float8 := 1;
    logits real[];
    next int[];
    above float8;
    below float8;
BEGIN
    FOR i IN 0 .. cardinality(ids) LOOP
        -- how the labels that begin with the same i tokens go on: NULL is an end
        next := ARRAY(SELECT DISTINCT (glm_tokenize(l))[i + 1] FROM unnest(labels) l WHERE (glm_tokenize(l))[1:i] = ids[1:i]);
        CONTINUE WHEN cardinality(next) = 1;
        logits := glm_logits(prompt || ids[1:i]);
        below := (SELECT sum(CASE WHEN n IS NULL THEN pg_temp.exp_of(logits, ends) ELSE pg_temp.exp_of(logits, ARRAY[n]) END) FROM unnest(next) n);
        above := CASE WHEN i = cardinality(ids) THEN pg_temp.exp_of(logits, ends) ELSE pg_temp.exp_of(logits, ARRAY[ids[i + 1]]) END;
        p := p * above / below;
        EXIT WHEN i = cardinality(ids);
    END LOOP;
    RETURN p;
END $$;
SELECT ok(abs(prob - pg_temp.by_force(label, pg_temp.ids('Classify the text. Answer with one of these labels: re, return, returns', 'Where?'),
                                      ARRAY['re', 'return', 'returns'])) < 1e-9, format('%s by force', label))
  FROM nested;

-- ---- how a label may be said ----
SELECT lives_ok($$SELECT * FROM glm_classify_scores('Well?', ARRAY['good', 'Good', 'bad'])$$, 'labels that differ in case alone have no cases');
SELECT isnt((SELECT prob FROM glm_classify_scores('Well?', ARRAY['good', 'bad']) LIMIT 1),
            (SELECT prob FROM glm_classify_scores('Well?', ARRAY['good', 'bad'], options => '{"cases": false}') LIMIT 1), 'other labels have');

-- ---- calibration ----
CREATE TEMP TABLE weighed AS
    SELECT * FROM glm_classify_scores('The lamp is fine.', ARRAY['positive', 'billing', 'sales'], options => '{"calibrate": true, "cases": false}');
SELECT ok(abs(sum(prob) - 1) < 1e-12, 'calibrated ones add up to 1') FROM weighed;
SELECT results_eq($$SELECT * FROM glm_classify_scores('The lamp is fine.', ARRAY['positive', 'billing', 'sales'], options => '{"calibrate": true, "cases": false}')$$,
                  'TABLE weighed', 'and are always the same');
WITH empty AS (
    SELECT e, label, prob FROM unnest(ARRAY['N/A', '', '[MASK]']) e,
           glm_classify_scores(e, ARRAY['positive', 'billing', 'sales'], options => '{"cases": false}')
), bias AS (
    SELECT label, exp(avg(ln(prob))) AS by FROM empty GROUP BY label
)
SELECT ok(bool_and(abs(w.prob - s.prob / by / (SELECT sum(s.prob / by) FROM scored s JOIN bias USING (label))) < 1e-9),
          'each is divided by what texts without content give it')
  FROM weighed w JOIN scored s USING (label) JOIN bias USING (label);

-- ---- yes and no ----
SELECT ok(glm_score('lamps', body) BETWEEN 0 AND 1, 'a probability') FROM (VALUES ('The lamp is fine.')) v(body);
SELECT is(glm_filter('Is it about lamps?', 'The lamp is fine.', 0), true, 'threshold 0 lets all through');
SELECT is(glm_filter('Is it about lamps?', 'The lamp is fine.', 1), false, 'threshold 1 none');
WITH yes(word) AS (VALUES ('yes'), ('Yes'), ('YES'), ('true'), ('True'), ('是')),
     no(word) AS (VALUES ('no'), ('No'), ('NO'), ('false'), ('False'), ('否')),
     all_words AS (SELECT array_agg(word) AS words FROM (TABLE yes UNION ALL TABLE no) w),
     prompt AS (SELECT pg_temp.ids(E'Does the document answer the query? Say yes or no.\nlamps', 'The lamp is fine.') AS ids)
SELECT ok(abs(glm_score('lamps', 'The lamp is fine.') - (SELECT sum(pg_temp.by_force(word, ids, words)) FROM yes, prompt, all_words)) < 1e-9,
          'glm_score by force');
SELECT is(ARRAY[glm_filter('Is it about lamps?', 'The lamp is fine.', (p * 0.999)::real), glm_filter('Is it about lamps?', 'The lamp is fine.', least(1, p * 1.001)::real)], ARRAY[true, false],
          'glm_filter_prob is what the threshold is for') FROM glm_filter_prob('Is it about lamps?', 'The lamp is fine.') p;
SELECT is((r.value->>'prob')::float8, glm_filter_prob('Is it about lamps?', 'x'), 'glm_try_filter_prob') FROM glm_try_filter_prob('Is it about lamps?', 'x') r;
SELECT ok((r.value->>'mass')::float8 BETWEEN 0 AND 1, 'tells the mass of yes and no, too') FROM glm_try_filter_prob('Is it about lamps?', 'x') r;
SELECT is((glm_try_filter_prob(NULL, 'x')).sqlstate, '22004', 'or an error');
SELECT is(glm_if('Is it about lamps?', 'The lamp is fine.', 0.3), glm_filter('Is it about lamps?', 'The lamp is fine.', 0.3), 'glm_if');
SELECT is(ARRAY(SELECT score FROM glm_rank('lamps', ARRAY['The lamp is fine.', NULL, 'Two apples', 'A desk lamp', 'Two apples'])),
          ARRAY(SELECT glm_score('lamps', d) FROM unnest(ARRAY['The lamp is fine.', NULL, 'Two apples', 'A desk lamp', 'Two apples']) d ORDER BY 1 DESC NULLS LAST),
          'glm_rank sorts by glm_score');
SELECT ok((SELECT array_agg(idx) FROM glm_rank('lamps', ARRAY['Two apples', 'Two apples'])) = ARRAY[1, 2], 'of those alike the first');
SELECT is((SELECT count(*) FROM glm_rank('lamps', ARRAY['a', 'b', 'c'], 2)), 2::bigint, 'top_n');
SELECT is((SELECT count(*) FROM glm_rank('lamps', '{}')), 0::bigint, 'no documents');
SELECT is(glm_classify_multi('The lamp is fine.', ARRAY['lamp', 'apple'], threshold => 0), ARRAY['lamp', 'apple'], 'glm_classify_multi: all');
SELECT is(glm_classify_multi('The lamp is fine.', ARRAY['lamp', 'apple'], threshold => 1), '{}', 'none');
SELECT is(glm_classify_multi('The lamp is fine.', labels, threshold => 0.4),
          ARRAY(SELECT l FROM unnest(labels) l WHERE glm_has_label('The lamp is fine.', labels, l, threshold => 0.4)), 'those that it has')
  FROM (SELECT ARRAY['lamp', 'apple', 'positive', 'shipping']) v(labels);

-- ---- examples and instructions ----
SELECT isnt((SELECT prob FROM glm_classify_scores('Well?', ARRAY['good', 'bad'], 'Be kind.') LIMIT 1),
            (SELECT prob FROM glm_classify_scores('Well?', ARRAY['good', 'bad']) LIMIT 1), 'instructions count');
SELECT isnt((SELECT prob FROM glm_classify_scores('Well?', ARRAY['good', 'bad'], NULL, '[{"content": "Yes.", "label": "good"}]') LIMIT 1),
            (SELECT prob FROM glm_classify_scores('Well?', ARRAY['good', 'bad']) LIMIT 1), 'so do examples');

-- ---- NULL ----
SELECT is(glm_classify(NULL, NULL), NULL, 'NULL: glm_classify');
SELECT is((SELECT count(*) FROM glm_classify_scores(NULL, ARRAY['a', 'b'])), 0::bigint, 'glm_classify_scores');
SELECT is(glm_classify_multi(NULL, ARRAY['a']), NULL, 'glm_classify_multi');
SELECT is(glm_sentiment(NULL), NULL, 'glm_sentiment');
SELECT is(glm_filter('x?', NULL), NULL, 'glm_filter');
SELECT is(glm_score('x', NULL), NULL, 'glm_score');
SELECT is((SELECT count(*) FROM glm_rank('x', NULL)), 0::bigint, 'glm_rank');
SELECT ok(glm_filter('x?', 'y', NULL) IS NOT NULL, 'a threshold that is NULL is the default');

-- ---- errors ----
SELECT throws_ok(format('SELECT glm_classify(''x'', %s)', labels), state, NULL, format('labels %s', labels))
  FROM (VALUES ('NULL', '22004'), ('ARRAY[''a'', NULL]', '22004'), ('''{}''', '22023'), ('ARRAY[''a'', ''b'', ''a'']', '22023'),
               ('ARRAY[''a'', '' '']', '22023'), ('ARRAY[''a'', '''']', '22023'),
               ('ARRAY(SELECT i::text FROM generate_series(1, 1001) i)', '54000')) v(labels, state);
SELECT throws_ok($$SELECT glm_classify_multi('x', '{}')$$, '22023', NULL, 'glm_classify_multi: no labels');
SELECT throws_ok($$SELECT glm_classify_multi('x', NULL)$$, '22004', NULL, 'NULL');
SELECT throws_ok($$SELECT glm_filter(NULL, 'x')$$, '22004', NULL, 'no question');
SELECT throws_ok($$SELECT glm_score(NULL, 'x')$$, '22004', NULL, 'no query');
SELECT throws_ok($$SELECT glm_filter('x?', 'x', 1.5)$$, '22023', NULL, 'no threshold');
SELECT throws_ok($$SELECT glm_filter('x?', 'x', 'NaN')$$, '22023', NULL, 'nor is NaN');
SELECT throws_ok($$SELECT glm_filter('x?', 'x', options => '{"seed": 1}')$$, '22023', NULL, 'no such option');
SELECT throws_ok($$SELECT glm_filter('x?', 'x', options => '{"cases": 1}')$$, '22023', NULL, 'an option of another type');
SELECT throws_ok($$SELECT glm_filter('x?', 'x', 0.5, 'nonesuch')$$, '42704', NULL, 'no such model');
SELECT throws_ok($$SELECT glm_classify('x', ARRAY['a', 'b'], NULL, '[{"content": "x", "label": "c"}]')$$, '22023', NULL, 'an example of no label');
SELECT throws_ok($$SELECT glm_classify('x', ARRAY['a', 'b'], NULL, '[{"content": "x"}]')$$, '22023', NULL, 'an example without one');
SELECT throws_ok($$SELECT glm_classify(repeat('very ', 5000), ARRAY['a', 'b'])$$, '54000', NULL, 'too long');
SELECT is(glm_classify(repeat('very ', 5000), ARRAY['a', 'b'], options => '{"truncate": "middle"}') IN ('a', 'b'), true, 'or cut');

-- ---- errors as values ----
SELECT is((glm_try_classify('x', '{}')).sqlstate, '22023', 'glm_try_classify');
SELECT is((glm_try_classify('x', ARRAY['a'])).response, 'a', 'its answer');
SELECT is((glm_try_sentiment(repeat('very ', 5000))).sqlstate, '54000', 'glm_try_sentiment');
SELECT is((glm_try_filter('x?', 'x', 0)).value, 'true', 'glm_try_filter');
SELECT is((glm_try_score('lamps', 'x')).value::text::float8, glm_score('lamps', 'x'), 'glm_try_score');
SELECT is((SELECT sum(v::float8)::numeric(12, 9) FROM jsonb_each_text((glm_try_classify_scores('x', ARRAY['a', 'b'])).value->'scores') e(k, v)), 1.0, 'glm_try_classify_scores');

SELECT is((glm_try_has_label('x', ARRAY['a', 'b'], 'a', threshold => 0)).value, 'true', 'glm_try_has_label');
SELECT is((glm_try_has_label('x', ARRAY['a', 'b'], NULL)).sqlstate, '22004', 'its error');
SELECT is((r.value, r.error, r.model, r.completion_tokens)::text, '("[""lamp"", ""apple""]",,tiny-chatglm3,0)', 'glm_try_classify_multi')
  FROM glm_try_classify_multi('The lamp is fine.', ARRAY['lamp', 'apple'], threshold => 0) r;
SELECT is((glm_try_classify_multi('x', ARRAY['a', 'b'])).value, to_jsonb(glm_classify_multi('x', ARRAY['a', 'b'])), 'those that glm_classify_multi gives');
SELECT cmp_ok((glm_try_classify_multi('x', ARRAY['a', 'b'])).prompt_tokens, '>', (glm_try_has_label('x', ARRAY['a', 'b'], 'a')).prompt_tokens, 'tokens of all labels');
SELECT is((glm_try_classify_multi('x', ARRAY['a'], threshold => 1)).value, '[]', 'none');
SELECT is(row_to_json(glm_try_classify_multi(NULL, ARRAY['a']))::jsonb - 'x', '{"value": null, "prompt_tokens": null, "completion_tokens": null, "finish_reason": null, "error": null, "sqlstate": null, "model": null}', 'NULL');
SELECT is((r.value, r.sqlstate, r.prompt_tokens, r.model)::text, format('(,%s,,)', state), format('labels %L', labels))
  FROM (VALUES ('{}'::text[], '22023'), (NULL, '22004'), (ARRAY['a', NULL], '22004'), (ARRAY['a', 'a'], '22023')) v(labels, state),
       LATERAL (SELECT (glm_try_classify_multi('x', labels)).* OFFSET 0) r;
SELECT is((glm_try_classify_multi(repeat('very ', 5000), ARRAY['a', 'b'])).sqlstate, '54000', 'a text too long');
CREATE TEMP TABLE ranked AS SELECT * FROM glm_try_rank('lamps', ARRAY['Two apples', repeat('very ', 5000), NULL, 'A desk lamp']);
SELECT is(ARRAY(SELECT (idx, score, sqlstate)::text FROM ranked WHERE score IS NOT NULL),
          ARRAY(SELECT (idx, score, NULL::text)::text FROM glm_rank('lamps', ARRAY['Two apples', NULL, NULL, 'A desk lamp']) WHERE score IS NOT NULL), 'glm_try_rank');
SELECT is(ARRAY(SELECT (idx, score, sqlstate)::text FROM ranked OFFSET 2), ARRAY['(2,,54000)', '(3,,)'], 'errors and NULL last');
SELECT is((SELECT count(*) FROM glm_try_rank('lamps', ARRAY['a', 'b', 'c'], 2)), 2::bigint, 'its top_n');
SELECT is((SELECT array_agg(sqlstate) FROM glm_try_rank(NULL, ARRAY['a', 'b'])), ARRAY['22004', '22004'], 'no query');
SELECT is((glm_try_classify('x', ARRAY['a', 'b'])).model, 'tiny-chatglm3', 'the model that was asked');

SELECT throws_ok($$SELECT glm_has_label('x', ARRAY['a', 'b'], 'c')$$, '22023', 'argument "label" is "c", which is none of the labels', 'a label that is none');

-- ---- labels of all kinds ----
SELECT is(glm_classify('x', ARRAY[label]), label, format('one label: %s', left(label, 20)))
  FROM (VALUES (E'two\nlines'), ('"quoted"'), ('back\slash'), ('{braces}'), (' blank in front'), ('晴'), ('😀'), (repeat('long ', 200))) v(label);
SELECT ok(abs(sum(prob) - 1) < 1e-12 AND count(*) = 200, 'two hundred labels') FROM glm_classify_scores('x', ARRAY(SELECT 'label ' || i FROM generate_series(1, 200) i));
SELECT is(glm_classify('x', labels, options => o), (SELECT label FROM glm_classify_scores('x', labels, options => o) ORDER BY prob DESC LIMIT 1), format('the likeliest of many, %s', o))
  FROM (SELECT ARRAY(SELECT a || ' ' || b FROM unnest(ARRAY['order', 'orders', 'return', 'refund', 'Bern', 'Berlin']) a, unnest(ARRAY['late', 'lost', 'later', 'not there']) b)) l(labels),
       (VALUES ('{}'::jsonb), ('{"cases": false}')) v(o);

-- ---- rows in flight: the same bits ----
CREATE TEMP TABLE review (id int PRIMARY KEY, stars int, body text);
INSERT INTO review SELECT i, i % 5, CASE i % 3 WHEN 0 THEN '我非常满意,推荐给大家。' WHEN 1 THEN 'It broke after two days.' ELSE 'I love it, it works great.' END || i
  FROM generate_series(1, 1000) i;
ANALYZE review;
CREATE FUNCTION pg_temp.node(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE format('EXPLAIN (FORMAT json, ANALYZE) %s', query) INTO plan;
    RETURN jsonb_path_query_first(plan, '$.**?(@."Custom Plan Provider" == "GlmBatch")');
END $$;
SET LOCAL chatglm.prefetch = 1;
CREATE TEMP TABLE one_by_one AS SELECT id, glm_score('lamps', body) AS s, label, prob, mass
  FROM review, glm_classify_scores(body, ARRAY['good', 'bad', 'goodness']) WHERE id <= 60;
RESET chatglm.prefetch;
SELECT is((SELECT count(*) FROM (SELECT id, glm_score('lamps', body) AS s, label, prob, mass
  FROM review, glm_classify_scores(body, ARRAY['good', 'bad', 'goodness']) WHERE id <= 60 EXCEPT TABLE one_by_one) d), 0::bigint, 'in flight and one by one');
SELECT isnt(pg_temp.node('SELECT * FROM review, glm_classify_scores(body, ARRAY[''good'', ''bad'']) WHERE id <= 60'), NULL,
            'glm_classify_scores in FROM is in flight');

-- ---- cheap conditions first ----
SELECT is(pg_temp.node($$SELECT id FROM review WHERE glm_filter('Is it good?', body) AND stars = 4 AND id <= 100$$)->'Requests', '20',
          'only rows that pass the others are asked about');
SELECT is(pg_temp.node($$SELECT id FROM review WHERE (glm_filter('Is it good?', body) OR stars = 4) AND id <= 50$$) IS NOT NULL, true, 'OR: in flight');
SELECT is(pg_temp.node($$SELECT r.id FROM review r JOIN review o ON o.id = r.id + 1 WHERE o.stars = 4 AND o.id <= 50 AND glm_filter('Is it good?', r.body)
                          AND r.stars = 3 AND r.id <= 50$$)->'Requests', '10', 'a join');
SELECT is((SELECT count(DISTINCT t) FROM (SELECT glm_filter('Is it good?', body, 0) AS t FROM review WHERE id = 1
           UNION ALL SELECT glm_filter('Is it good?', body, 1) FROM review WHERE id = 1) u), 2::bigint, 'thresholds are told apart');
SELECT is((SELECT array_agg(ARRAY[glm_filter('Is it good?', body, 0), glm_filter('Is it good?', body, 1)]) FROM review WHERE id <= 2),
          ARRAY[[true, false], [true, false]], 'in one row, too');

-- ---- privileges ----
SET LOCAL ROLE glm_tap_user;
SELECT is(glm_sentiment('I love it, it works great.'), 'positive', 'everybody may call them');
SELECT is((SELECT count(*) FROM glm_rank('x', ARRAY['a', 'b'])), 2::bigint, 'those of SQL as well');
SELECT is((SELECT count(*) FROM glm_classify_scores('x', ARRAY['a', 'b'])), 2::bigint, 'in FROM');
SELECT is(glm_classify_multi('x', ARRAY['a'], threshold => 0), ARRAY['a'], 'glm_classify_multi');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
