-- preprocess.sql - texts in words, sentences and paragraphs.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SELECT plan(71);
CREATE ROLE glm_tap_user;

SELECT is(glm_preprocess(t, o::jsonb), e, translate(format('%s %s', t, o), E'\n', ' '))
  FROM (VALUES
    ('Hello, World!', NULL, '{"Hello, World!"}'::text[]),
    ('Hello, World!', '{}', '{"Hello, World!"}'),
    ('', '{}', '{}'),
    ('', '{"split": "words"}', '{}'),
    (' .,! ', '{"split": "words"}', '{}'),
    ('Hello, World!', '{"split": "words"}', '{Hello,World}'),
    ('Hello, World!', '{"split": "words", "case": "lower"}', '{hello,world}'),
    ('Hello, World!', '{"case": "upper"}', '{"HELLO, WORLD!"}'),
    ('I can''t pay 3.14 or 1,000 for user_name.', '{"split": "words"}', '{I,can''t,pay,3.14,or,1\,000,for,user_name}'),
    ('ÉCOLE Ωmega', '{"split": "words", "case": "lower"}', '{école,ωmega}'),
    ('台灯坏了，请退款。', '{"split": "words"}', '{台,灯,坏,了,请,退,款}'),
    ('用PostgreSQL存数据', '{"split": "words"}', '{用,PostgreSQL,存,数,据}'),
    ('한국어 단어 カタカナ ひら', '{"split": "words"}', '{한국어,단어,カタカナ,ひ,ら}'),
    ('One. Two! Is pi 3.14? yes', '{"split": "sentences"}', '{One.,Two!,"Is pi 3.14?",yes}'),
    ('台灯坏了。请退款！好吗？好', '{"split": "sentences"}', '{台灯坏了。,请退款！,好吗？,好}'),
    (E'A title\n\nA paragraph\nof two lines.\n \n\nThe end.\n', '{"split": "paragraphs"}', E'{A title,"A paragraph\nof two lines.",The end.}'),
    (E'A title\n\nOne. Two.', '{"split": "sentences"}', '{A title,One.,Two.}'),
    ('none', '{"split": "none"}', '{none}'),
    ('none', '{"split": null, "case": null, "normalize": null, "stop_words": null, "max_length": null, "overlap": null}', '{none}'),
    -- stop words
    ('The lamp is not on the desk', '{"split": "words", "stop_words": "en"}', '{lamp,desk}'),
    ('THE LAMP DOESN’T WORK', '{"split": "words", "stop_words": "en"}', '{LAMP,WORK}'),
    ('我们的台灯坏了，因为它很旧', '{"split": "words", "stop_words": "zh"}', '{台,灯,坏,旧}'),
    ('Der Hund und die Katze', '{"split": "words", "stop_words": ["der", "DIE", "und"]}', '{Hund,Katze}'),
    ('台灯坏了', '{"split": "words", "stop_words": ["台灯"]}', '{坏,了}'),
    ('the lamp', '{"split": "words", "stop_words": false}', '{the,lamp}'),
    ('the lamp', '{"split": "words", "stop_words": []}', '{the,lamp}'),
    ('the the', '{"split": "words", "stop_words": "en", "max_length": 2}', '{}'),
    -- runs
    ('a b c d e', '{"split": "words", "max_length": 2}', '{a b,c d,e}'),
    ('a, b c d e', '{"split": "words", "max_length": 3, "overlap": 1}', '{a b c,c d e}'),
    ('a b c d', '{"split": "words", "max_length": 3, "overlap": 2}', '{a b c,b c d}'),
    ('a b', '{"split": "words", "max_length": 5, "overlap": 4}', '{a b}'),
    ('台灯坏了，请退款', '{"split": "words", "max_length": 5}', '{台灯坏了 请,退款}'),
    ('One. Two. Three.', '{"split": "sentences", "max_length": 2, "overlap": 1}', '{One. Two.,Two. Three.}'),
    ('好。坏。好。', '{"split": "sentences", "max_length": 2}', '{好。坏。,好。}'),
    (E'a\n\nb\n\n\n\nc', '{"split": "paragraphs", "max_length": 2}', E'{"a\n\nb",c}'),
    ('0123456789', '{"max_length": 4}', '{0123,4567,89}'),
    ('0123456789', '{"max_length": 4, "overlap": 1}', '{0123,3456,6789}'),
    ('灯🐘é', '{"max_length": 2}', '{灯🐘,é}'),
    -- normalization
    (U&'e\0301', '{"normalize": "nfc"}', ARRAY[U&'\00E9']),
    (U&'\00E9', '{"normalize": "nfd"}', ARRAY[U&'e\0301']),
    ('ＡＢＣ ﬁ', '{"normalize": "nfkc", "case": "lower"}', '{abc fi}'),
    ('①', '{"normalize": "nfkd"}', '{1}')) v(t, o, e);

SELECT is(glm_preprocess(NULL), NULL, 'NULL in, NULL out');
SELECT is(glm_preprocess('a b'), '{a b}', 'options may be left out');

SELECT throws_ok(format('SELECT glm_preprocess(''a'', %L)', o), '22023', m, o)
  FROM (VALUES ('{"stem": true}', 'unknown key "stem" in argument "options"'),
               ('{"split": "lines"}', NULL), ('{"split": 1}', NULL),
               ('{"split": "tokens"}', 'argument "options.split" cannot be "tokens", which take a model'),
               ('{"normalize": "nfx"}', NULL), ('{"case": "title"}', NULL),
               ('{"stop_words": "en"}', 'argument "options.stop_words" needs "split": "words"'),
               ('{"split": "words", "stop_words": "fr"}', NULL), ('{"split": "words", "stop_words": true}', NULL),
               ('{"split": "words", "stop_words": [1]}', NULL), ('{"split": "words", "stop_words": {"a": 1}}', NULL),
               ('{"max_length": 0}', NULL), ('{"max_length": 1.5}', NULL), ('{"max_length": "2"}', NULL), ('{"max_length": 1e10}', NULL),
               ('{"overlap": -1}', NULL), ('{"overlap": 2, "max_length": 2}', NULL), ('{"overlap": 1}', NULL),
               ('[]', NULL)) v(o, m);
SELECT throws_ok($$SELECT glm_preprocess(NULL, '{"stem": true}')$$, '22023', NULL, 'even of NULL');

-- ---- where only what is IMMUTABLE may stand
CREATE TABLE note (
    body text,
    words text[] GENERATED ALWAYS AS (glm_preprocess(body, '{"split": "words", "normalize": "nfkc", "case": "lower", "stop_words": "en"}')) STORED);
CREATE INDEX note_words ON note USING gin (words);
CREATE INDEX note_sentences ON note (cardinality(glm_preprocess(body, '{"split": "sentences"}')));
INSERT INTO note VALUES ('The desk lamp is broken.'), ('Where is the LAMP?'), ('A chair. And a desk.'), (NULL);
SELECT is(words, '{desk,lamp,broken}', 'a generated column') FROM note WHERE body LIKE '%broken%';
SELECT results_eq($$SELECT body FROM note WHERE words @> '{lamp}' ORDER BY 1$$, ARRAY['The desk lamp is broken.', 'Where is the LAMP?'], 'searched by its words');
UPDATE note SET body = 'The chair is fine.' WHERE body LIKE '%broken%';
SELECT is((SELECT count(*) FROM note WHERE words @> '{chair}'), 2::bigint, 'follows an update');
SELECT is((SELECT count(*) FROM note WHERE cardinality(glm_preprocess(body, '{"split": "sentences"}')) = 2), 1::bigint, 'an index over an expression');

-- ---- long texts take time by their length
SELECT is(cardinality(glm_preprocess(repeat('some words. ', 20000), '{"split": "words", "stop_words": "en"}')), 20000, 'a long text');
SELECT is(cardinality(glm_preprocess(repeat(' ', 1000000), '{"split": "sentences"}')), 0, 'a long run of blanks');

REVOKE EXECUTE ON FUNCTION glm_preprocess FROM PUBLIC;
SET LOCAL ROLE glm_tap_user;
SELECT throws_ok($$SELECT glm_preprocess('a')$$, '42501', NULL, 'not for whom EXECUTE was revoked from');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
