-- chunk.sql - texts cut into chunks of limited tokens.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(32);
CREATE ROLE glm_tap_user;

CREATE TEMP TABLE doc AS SELECT * FROM (VALUES
    (1, repeat('The desk lamp arrived in Berlin with a broken switch. Please send another one. ', 20)),
    (2, repeat('台灯坏了，请退款。我要一个新的！', 30)),
    (3, E'A title\n\nFirst paragraph, with some words.\n\n\n' || repeat('word ', 200) || E'\n\nThe end.'),
    (4, repeat('unbreakable', 80)),
    (5, E'  blanks   and\ttabs \n' || repeat(' ', 100) || '🐘🐘🐘 é'),
    (6, 'short'),
    (7, ''),
    (8, NULL)) v(id, body);

SELECT is(array_to_string(glm_chunk(body, n), ''), body, format('chunks of %s of text %s are the text', n, id))
  FROM doc, (VALUES (8), (40)) v(n) WHERE body <> '' ORDER BY id, n;
SELECT is((SELECT count(*) FROM doc, (VALUES (6), (8), (40), (500)) v(n), unnest(glm_chunk(body, n, n / 3)) c
            WHERE glm_count_tokens(c) > n OR c = ''), 0::bigint, 'none has more tokens than asked for, with overlap too');
SELECT is((SELECT count(*) FROM doc, (VALUES (6), (8), (40)) v(n), unnest(glm_chunk(body, n, n / 3)) c
            WHERE strpos(body, c) = 0), 0::bigint, 'each is a part of the text');
SELECT ok(cardinality(glm_chunk(body, 40, 20)) > cardinality(glm_chunk(body, 40)) * 5 / 4, 'overlaps make more of them')
  FROM doc WHERE id = 1;
SELECT is((glm_chunk(E'One part here.\n\nAnother part', glm_count_tokens('One part here. Another')))[1], E'One part here.\n\n',
          'cut where a paragraph begins');
SELECT is(glm_chunk('', 8), '{}', 'an empty text has none');
SELECT is(glm_chunk('short', 8), ARRAY['short'], 'a short one is one');
SELECT is(glm_chunk(NULL, 8), NULL, 'NULL in, NULL out');
SELECT is(glm_chunk('short', NULL), NULL, 'tokens NULL');
SELECT is(glm_chunk('short', 8, NULL, NULL), ARRAY['short'], 'NULL is the default of the others');
SELECT is(glm_chunk('short', 8, model => 'tiny-chatglm3'), ARRAY['short'], 'the model by name');

SELECT throws_ok($$SELECT glm_chunk('a', 0)$$, '22023', 'argument "tokens" must be at least 1, not 0', 'no tokens');
SELECT throws_ok($$SELECT glm_chunk('a', 8, 8)$$, '22023', 'argument "overlap" must be 0 or more and less than tokens, not 8',
                 'overlap of all');
SELECT throws_ok($$SELECT glm_chunk('a', 8, -1)$$, '22023', NULL, 'or less than none');
SELECT throws_ok($$SELECT glm_chunk('🐘', 1)$$, '22023', 'argument "tokens" is 1, but a character of the text has more',
                 'a character that is more');
SELECT throws_ok($$SELECT glm_chunk('a', 8, model => 'nobody')$$, '42704', NULL, 'a model that is not there');

REVOKE EXECUTE ON FUNCTION glm_chunk FROM PUBLIC;
SET LOCAL ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_chunk('a', 8)$$, '42501', NULL, 'not for whom EXECUTE was revoked from');
RESET ROLE;

-- ---- errors as values ----
SELECT is((r.value, r.finish_reason, r.error, r.model)::text, (to_jsonb(glm_chunk('The lamp is broken. Please send another one.', 14)), 'stop', NULL::text, 'tiny-chatglm3')::text, 'glm_try_chunk')
  FROM glm_try_chunk('The lamp is broken. Please send another one.', 14) r;
SELECT is((glm_try_chunk('', 14)).value, '[]', 'no chunks');
SELECT is((glm_try_chunk('x', 0)).sqlstate, '22023', 'an error');
SELECT is((glm_try_chunk(NULL, 14)).value, NULL, 'NULL');

SELECT * FROM finish();
ROLLBACK;
