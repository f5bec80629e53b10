-- embed.sql - vectors of texts, and how alike they are.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(61);
CREATE ROLE glm_tap_user;

CREATE FUNCTION length_of(v real[]) RETURNS float8 LANGUAGE sql AS
    $$ SELECT sqrt(sum(x::float8 * x::float8)) FROM unnest(v) x $$;
CREATE FUNCTION explained(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; found text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP found := found || line || E'\n'; END LOOP;
    RETURN found;
END $$;

SELECT glm_count_tokens('a') AS loaded \gset

-- ---- glm_embed
SELECT is(cardinality(glm_embed('desk lamp')), hidden, 'a vector has the model''s hidden size')
  FROM glm_models WHERE name = 'tiny-chatglm3';
SELECT ok(abs(length_of(glm_embed('desk lamp')) - 1) < 1e-6, 'and length 1');
SELECT ok(abs(length_of(glm_embed('desk lamp', pooling => 'last')) - 1) < 1e-6, 'pooled by the last token, too');
SELECT ok(length_of(glm_embed('desk lamp', normalized => false)) > 1.1, 'but not where it is not normalized');
SELECT ok(abs(glm_similarity(glm_embed('desk lamp', normalized => false), glm_embed('desk lamp')) - 1) < 1e-6,
          'which changes the length alone');
SELECT isnt(glm_embed('desk lamp', pooling => 'last'), glm_embed('desk lamp'), 'the last token is not the mean');
SELECT is(glm_embed(t, pooling => 'last'), glm_embed(t), 'but of a single token it is')
  FROM (SELECT t FROM (VALUES ('a'), ('lamp'), ('the'), ('?')) v(t) ORDER BY glm_count_tokens(t), t LIMIT 1) s;
SELECT is(glm_embed('desk lamp', NULL, NULL, NULL, NULL), glm_embed('desk lamp'), 'NULL is the default of each argument');
SELECT is(glm_embed('desk lamp', model => 'tiny-chatglm3'), glm_embed('desk lamp'), 'the model by name');
SELECT is(glm_embed(NULL), NULL, 'NULL in, NULL out');
SELECT is(pg_typeof(glm_embed('a'))::text, 'real[]', 'real[]');
SELECT is(glm_embed('desk lamp', options => '{"cache": false, "priority": "batch", "timeout_ms": 60000, "truncate": null}'),
          glm_embed('desk lamp'), 'options change no bit');
SELECT is(cardinality(glm_embed(repeat('?', 6000), options => '{"truncate": "head"}')), cardinality(glm_embed('a')),
          'a text that is cut');
SELECT is(glm_embed('x ' || repeat('?', 6000), options => '{"truncate": "head"}'),
          glm_embed(repeat('?', 6000), options => '{"truncate": "head"}'), 'what is cut away is not there');

SELECT throws_ok($$SELECT glm_embed('')$$, '22023', 'argument "content" must not be empty', 'an empty text');
SELECT throws_ok($$SELECT glm_embed('a', pooling => 'max')$$, '22023',
                 'argument "pooling" must be "mean" or "last", not "max"', 'another pooling');
SELECT throws_ok($$SELECT glm_embed(NULL, pooling => 'max')$$, '22023', NULL, 'even of NULL');
SELECT throws_ok($$SELECT glm_embed('a', options => '{"min_p": 0.1}')$$, '22023',
                 'unknown key "min_p" in argument "options"', 'options of answers');
SELECT throws_ok($$SELECT glm_embed('a', options => '[1]')$$, '22023', NULL, 'options that are no object');
SELECT throws_ok($$SELECT glm_embed('a', options => '{"truncate": "left"}')$$, '22023', NULL, 'options out of range');
SELECT throws_like($$SELECT glm_embed(repeat('?', 6000))$$, '%does not fit the context of 2048 tokens', 'a text that is too long');
SELECT throws_ok($$SELECT glm_embed(repeat('?', 6000))$$, '54000', NULL, 'is 54000');
SELECT throws_ok($$SELECT glm_embed('a', model => 'nobody')$$, '42704', NULL, 'a model that is not there');

SELECT is((r).embedding, glm_embed('desk lamp'), 'glm_try_embed has the vector') FROM glm_try_embed('desk lamp') r;
SELECT is((r).prompt_tokens, glm_count_tokens('desk lamp') + 2, 'and the tokens') FROM glm_try_embed('desk lamp') r;
SELECT is(ROW((r).embedding IS NULL, (r).error, (r).sqlstate)::text,
          '(t,"argument ""content"" must not be empty",22023)', 'or the error') FROM glm_try_embed('') r;
SELECT is(glm_try_embed(NULL) IS NULL, true, 'NULL in, NULL out');
SELECT lives_ok($$SELECT glm_route_set('glm_tap_route', '{"tiny-chatglm3": 1}')$$, 'a route');
SELECT is(glm_similarity('a', 'b', 'glm_tap_route'), glm_similarity('a', 'b'), 'by a route');
SELECT is(glm_embed('a', 'glm_tap_route', options => '{"route_key": "k"}'), glm_embed('a'), 'with a key');

-- ---- the same bits in flight
CREATE TEMP TABLE doc AS
    SELECT i AS id, string_agg(w, ' ' ORDER BY o) AS body
      FROM generate_series(1, 24) i,
           LATERAL (SELECT o, (ARRAY['desk', 'lamp', 'Berlin', '灯', 'refund', '4711', 'please'])[1 + (i * o + o / 3) % 7] AS w
                      FROM generate_series(1, 1 + (i * 13) % 40) o) s
     GROUP BY i;
INSERT INTO doc VALUES (25, NULL);
CREATE FUNCTION one_by_one() RETURNS TABLE (id int, v real[]) LANGUAGE plpgsql AS $$
DECLARE d record;
BEGIN
    FOR d IN SELECT * FROM doc ORDER BY doc.id DESC LOOP
        id := d.id; v := glm_embed(d.body, options => '{"cache": false}'); RETURN NEXT;
    END LOOP;
END $$;
CREATE TEMP TABLE alone AS SELECT * FROM one_by_one();
SELECT set_eq('SELECT id, glm_embed(body) FROM doc', 'SELECT id, v FROM alone', 'rows in flight have the bits of each alone');
SELECT set_eq('SELECT id, glm_embed(body) FROM doc', 'SELECT id, v FROM alone', 'and with all of it cached');
SELECT set_eq($$SELECT id, glm_embed(body), glm_complete(body, max_tokens => 2) IS NULL FROM doc$$,
              $$SELECT id, v, v IS NULL FROM alone$$, 'and beside answers');
SELECT matches(explained('SELECT glm_embed(body) FROM doc'), 'GlmBatch', 'rows are in flight');
SELECT matches(explained('SELECT glm_similarity(body, ''lamp'') FROM doc'), 'GlmBatch', 'for similarities too');
SELECT matches(explained('SELECT id FROM doc ORDER BY glm_similarity(body, ''lamp'', ''tiny-chatglm3'') LIMIT 3'), 'GlmBatch',
               'that order');

-- ---- glm_similarity
SELECT ok(abs(glm_similarity('desk lamp', 'desk lamp') - 1) < 1e-12, 'a text is like itself');
SELECT is(glm_similarity('desk lamp', '灯'), glm_similarity('灯', 'desk lamp'), 'it is symmetric');
SELECT is(glm_similarity('desk lamp', '灯'), glm_similarity(glm_embed('desk lamp'), glm_embed('灯')), 'that of the vectors');
SELECT is(glm_similarity('desk lamp', '灯', CASE WHEN random() < 2 THEN 'tiny-chatglm3' END), glm_similarity('desk lamp', '灯'),
          'asked in its place');
SELECT is(glm_similarity(NULL, 'a'), NULL, 'NULL in, NULL out');
SELECT is(glm_similarity('a'::text, NULL), NULL, 'on either side');
SELECT is(glm_similarity('a', NULL, CASE WHEN random() < 2 THEN 'tiny-chatglm3' END), NULL, 'in its place');
SELECT throws_ok($$SELECT glm_similarity('a', '')$$, '22023', NULL, 'an empty text');
SELECT throws_ok($$SELECT glm_similarity('', 'a', CASE WHEN random() < 2 THEN 'tiny-chatglm3' END)$$, '22023', NULL,
                 'in its place');
SELECT is(glm_similarity(ARRAY[3, 4]::real[], ARRAY[4, 3]::real[]), 0.96::float8, 'of two vectors');
SELECT is(glm_similarity(ARRAY[3e38, 0]::real[], ARRAY[-3e38, 0]::real[]), -1::float8, 'as long as they may be');
SELECT is(glm_similarity(NULL::real[], ARRAY[1]::real[]), NULL, 'NULL vector');
SELECT throws_ok($$SELECT glm_similarity(ARRAY[1, 2]::real[], ARRAY[1]::real[])$$, '22023',
                 'vectors of 2 and 1 numbers cannot be compared', 'of different lengths');
SELECT throws_ok($$SELECT glm_similarity(ARRAY[0, 0]::real[], ARRAY[1, 0]::real[])$$, '22023',
                 'a vector of zeros has no direction to compare', 'of zeros');
SELECT throws_ok($$SELECT glm_similarity('{}'::real[], '{}'::real[])$$, '22023', NULL, 'of nothing');
SELECT throws_ok($$SELECT glm_similarity(ARRAY[1, NULL]::real[], ARRAY[1, 0]::real[])$$, '22004', NULL, 'with NULLs');
SELECT throws_ok($$SELECT glm_similarity(ARRAY['NaN', 1]::real[], ARRAY[1, 0]::real[])$$, '22023',
                 'a vector must have finite numbers', 'with NaN');
SELECT throws_ok($$SELECT glm_similarity('{{1},{2}}'::real[], '{{1},{2}}'::real[])$$, '22023', NULL, 'of two dimensions');

-- ---- privileges
REVOKE EXECUTE ON FUNCTION glm_similarity(text, text, text) FROM PUBLIC;
SET LOCAL ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_similarity('a', 'b')$$, '42501', 'permission denied for function glm_similarity',
                 'not for whom EXECUTE was revoked from');
RESET ROLE;
GRANT EXECUTE ON FUNCTION glm_similarity(text, text, text) TO PUBLIC;
REVOKE EXECUTE ON FUNCTION glm_embed FROM PUBLIC;
SET LOCAL ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_embed('a')$$, '42501', NULL, 'nor glm_embed');
SELECT is(glm_similarity('a', 'a') IS NULL, false, 'but the one does not need the other');
RESET ROLE;

-- ---- errors as values
SELECT is((r.value::float8, r.error, r.model)::text, (glm_similarity('a lamp', 'two lamps'), NULL::text, 'tiny-chatglm3')::text, 'glm_try_similarity')
  FROM glm_try_similarity('a lamp', 'two lamps') r;
SELECT is((r.value, r.sqlstate, r.model)::text, '(,22023,)', 'an error of either text') FROM glm_try_similarity('a lamp', '') r;
SELECT is((r.value, r.sqlstate, r.model)::text, '(,42704,)', 'or of the model') FROM glm_try_similarity('a lamp', 'x', 'nonesuch') r;
SELECT is(glm_try_similarity(NULL, 'x') IS NULL, true, 'NULL in, NULL out');

SELECT * FROM finish();
ROLLBACK;
