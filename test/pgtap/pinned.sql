-- pinned.sql - hashes of models, and answers that never change.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;
CREATE TEMP TABLE tiny AS SELECT path FROM glm_models WHERE name = 'tiny-chatglm3';
SELECT plan(51);

CREATE FUNCTION pg_temp.message(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE query;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN sqlerrm;
END $$;

-- ---- hashes ----
SELECT glm_model_hash('tiny-chatglm3') AS hash \gset
SELECT quote_literal(:'hash') || '::text' AS h \gset
SELECT matches(:h, '^[0-9a-f]{64}:[1-9][0-9]*$', 'a hash and the version of the arithmetic');
SELECT is(split_part(:h, ':', 1), (SELECT encode(sha256(convert_to(string_agg(encode(sha256(pg_read_binary_file(path || '/' || file)), 'hex')
             || '  ' || file || E'\n', '' ORDER BY file COLLATE "C"), 'UTF8')), 'hex')
             FROM tiny, pg_ls_dir(path) file
            WHERE file IN ('config.json', 'tokenizer.model', 'tokenizer_config.json') OR file LIKE '%.safetensors'
                  OR file LIKE '%.safetensors.index.json'), 'the hash of a plain directory, as sha256sum computes it');
SELECT is(glm_model_hash('tiny-chatglm3'), :h, 'a second time it is the same');
SELECT is((SELECT hash || ':' || arithmetic FROM glm_models WHERE name = 'tiny-chatglm3'), :h, 'glm_models shows it');
INSERT INTO chatglm.model SELECT 'tap-a', path FROM tiny;
INSERT INTO chatglm.model SELECT 'tap-rope', path, '{"rope": "chatglm3"}' FROM tiny;
INSERT INTO chatglm.model SELECT 'tap-verify', path, '{"verify": "off"}' FROM tiny;
INSERT INTO chatglm.model VALUES ('tap-none', '/nonexistent/tap');
SELECT is(glm_model_hash('tap-a'), :h, 'another name of the directory has it, too');
SELECT is(glm_model_hash('tap-verify'), :h, 'and one with an option that changes no answer');
SELECT is(glm_model_hash('tap-rope'), encode(sha256(convert_to(split_part(:h, ':', 1) || E'  rope=chatglm3\n', 'UTF8')), 'hex') || ':'
          || split_part(:h, ':', 2), 'an option that may change answers is part of it');
SELECT ok((SELECT hash IS NULL AND arithmetic IS NULL FROM glm_models WHERE name = 'tap-none'), 'null where it is not known');
SELECT is(glm_model_hash(NULL), NULL, 'NULL');
SELECT throws_ok($$SELECT glm_model_hash('nothing')$$, '42704', 'model "nothing" does not exist', 'no such model');
SELECT throws_ok($$SELECT glm_model_hash('a/b')$$, '42602', NULL, 'no name');
SELECT throws_ok($$SELECT glm_model_hash('tap-none')$$, '58P01', NULL, 'a directory that is not there');
SELECT glm_route_set('tap-route', '{"tap-a": 1}') \g /dev/null
SELECT throws_ok($$SELECT glm_model_hash('tap-route')$$, '42809', '"tap-route" is a route, not a model', 'a route');

-- ---- answers ----
SELECT is(glm_generate_det('Who are you?', :h, 20), glm_generate('Who are you?', max_tokens => 20), 'the answer of the model');
SELECT is(glm_generate_det('Who are you?', :h, 3), glm_generate('Who are you?', max_tokens => 3), 'cut at max_tokens');
SELECT is(glm_generate_det('', :h, 5), glm_generate('', max_tokens => 5), 'of an empty prompt');
SELECT is(glm_generate_det(NULL, :h, 5), NULL, 'no prompt');
SELECT is(glm_generate_det('hello', NULL, 5), NULL, 'no hash');
SELECT is(glm_generate_det('hello', :h, NULL), NULL, 'no length');
SELECT throws_ok(format('SELECT glm_generate_det(%L, %L, %s)', 'hello', :h, n), '22023', NULL, 'max_tokens ' || n) FROM unnest(ARRAY[0, -1]) n;
SELECT throws_ok(format('SELECT glm_generate_det(%L, %L, 5)', 'hello', hash), '22023', NULL, 'hash ' || hash)
  FROM unnest(ARRAY['', 'abc', split_part(:h, ':', 1), :h || '0x', upper(:h), :h || ' ', repeat('a', 64) || ':', repeat('a', 64) || ':0',
                    repeat('a', 64) || ':-1', repeat('a', 63) || ':1', repeat('a', 65) || ':1', 'tiny-chatglm3']) hash;
SELECT throws_ok($$SELECT glm_generate_det('hello', repeat('a', 64) || ':1', 5)$$, '42704', 'no model here has the hash ' || repeat('a', 64), 'no such model');
SELECT throws_ok(format('SELECT glm_generate_det(%L, %L, 5)', 'hello', split_part(:h, ':', 1) || ':999'), '55000', NULL, 'another arithmetic');
SELECT throws_ok(format('SELECT glm_generate_det(%L, %L, 5)', repeat('very ', 5000), :h), '54000', NULL, 'a prompt that is too long');

-- ---- settings have no say ----
CREATE TEMP TABLE before AS SELECT glm_generate_det('Tell me a story.', :h, 12) AS answer;
SET chatglm.model = 'nothing';
SET chatglm.max_tokens = 1;
SET chatglm.temperature = 100;
SET chatglm.request_timeout = 1;
SET chatglm.prefetch = 1;
SET chatglm.prefix_sharing = 'off';
SELECT is((SELECT glm_generate_det('Tell me a story.', :h, 12)), answer, 'all of them set') FROM before;
SET search_path = '';
CREATE TEMP TABLE without AS SELECT public.glm_generate_det('Tell me a story.', :h, 12) AS answer;
RESET search_path;
SELECT is((SELECT answer FROM without), answer, 'nor has search_path') FROM before;
RESET chatglm.model;
RESET chatglm.max_tokens;
RESET chatglm.temperature;
RESET chatglm.request_timeout;
RESET chatglm.prefetch;
RESET chatglm.prefix_sharing;

-- ---- columns and indexes ----
CREATE TEMP TABLE ticket (id int GENERATED ALWAYS AS IDENTITY, body text);
SELECT format('ALTER TABLE ticket ADD answer text GENERATED ALWAYS AS (glm_generate_det(body, %L, 8)) STORED', :h) AS command \gset
SELECT lives_ok(:'command', 'a generated column');
INSERT INTO ticket (body) SELECT 'ticket ' || i FROM generate_series(1, 30) i;
INSERT INTO ticket (body) VALUES (NULL);
SELECT is((SELECT count(*) FROM ticket WHERE answer IS DISTINCT FROM glm_generate(body, max_tokens => 8)), 0::bigint, 'has the answers');
SELECT format('CREATE INDEX ticket_answer ON ticket (glm_generate_det(body, %L, 4))', :h) AS command \gset
SELECT lives_ok(:'command', 'an index');
UPDATE ticket SET body = 'Who are you?' WHERE id = 1;
SELECT is((SELECT answer FROM ticket WHERE id = 1), glm_generate('Who are you?', max_tokens => 8), 'and follows');
SET LOCAL enable_seqscan = off;
CREATE FUNCTION pg_temp.lines(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE query;
END $$;
SELECT ok((SELECT bool_or(l LIKE '%Index Scan%ticket_answer%') FROM pg_temp.lines(
          format('EXPLAIN (COSTS OFF) SELECT id FROM ticket WHERE glm_generate_det(body, %L, 4) = %L', :h, 'x')) l), 'which is used');
SELECT is((SELECT array_agg(id ORDER BY id) FROM ticket WHERE glm_generate_det(body, :h, 4) = glm_generate('Who are you?', max_tokens => 4)),
          (SELECT array_agg(id ORDER BY id) FROM ticket WHERE glm_generate(body, max_tokens => 4) = glm_generate('Who are you?', max_tokens => 4)),
          'and finds what it should');
RESET enable_seqscan;
SELECT ok((SELECT bool_or(l LIKE '%GlmBatch%') FROM pg_temp.lines(
          format('EXPLAIN (COSTS OFF) SELECT glm_generate_det(body, %L, 6) FROM ticket', :h)) l), 'rows are kept in flight');
SELECT is((SELECT count(*) FROM (SELECT body, glm_generate_det(body, :h, 6) AS answer FROM ticket) t
            WHERE answer IS DISTINCT FROM glm_generate(body, max_tokens => 6)), 0::bigint, 'with the same answers');

-- ---- everybody ----
SET ROLE glm_tap_user;
SELECT is(glm_model_hash('tiny-chatglm3'), :h, 'everybody may ask for a hash');
SELECT is(glm_generate_det('Who are you?', :h, 20), glm_generate('Who are you?', max_tokens => 20), 'and for answers');
SELECT throws_ok($$SELECT glm_model_hash('tap-none')$$, '58P01', NULL, 'an error');
SELECT unalike(pg_temp.message($$SELECT glm_model_hash('tap-none')$$), '%nonexistent%', 'tells no paths');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION glm_generate_det FROM PUBLIC;
SET ROLE glm_tap_user;
SELECT throws_ok(format('SELECT glm_generate_det(%L, %L, 5)', 'hello', :h), '42501', NULL, 'where that was not taken away');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
