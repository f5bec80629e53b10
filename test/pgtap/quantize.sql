-- quantize.sql - glm_quantize: what it writes answers, what it reports, whom it refuses.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;

-- where the server may write whoever it runs as
CREATE FUNCTION pg_temp.place(name text) RETURNS text LANGUAGE sql AS
$$SELECT current_setting('data_directory') || '/pg_stat_tmp/tap-' || pg_backend_pid() || '-' || name$$;
CREATE TEMP TABLE texts AS
SELECT jsonb_build_array(jsonb_build_object('role', 'user', 'content', q),
                         jsonb_build_object('role', 'assistant', 'content', glm_generate(q))) AS chat
  FROM unnest(ARRAY['hello', 'Who are you?', '你好', 'Thank you!']) q;

SELECT plan(35);

-- ---- without calibration ----
CREATE TEMP TABLE plain AS SELECT row_number() OVER () AS n, q.* FROM glm_quantize('tiny-chatglm3', pg_temp.place('plain')) q;
SELECT is((SELECT count(*) FROM plain), 39::bigint, 'a row for each tensor and one for the whole');
SELECT is((SELECT tensor FROM plain ORDER BY n DESC LIMIT 1), NULL, 'the last one is the whole model');
SELECT is((SELECT tensor FROM plain WHERE n = 1), 'transformer.embedding.word_embeddings.weight', 'rows are in file order');
SELECT ok((SELECT bool_and(method = CASE WHEN tensor ~ 'norm|bias' THEN 'copy' ELSE 'hqq' END) FROM plain), 'hqq is the default; norms and biases are copied');
SELECT ok((SELECT bool_and(weight_error BETWEEN 0.05 AND 0.1) FROM plain WHERE method = 'hqq'), 'errors are those of four bits');
SELECT ok((SELECT bool_and(weight_error = 0 AND bits = 16) FROM plain WHERE method = 'copy'), 'a copy has none');
SELECT cmp_ok((SELECT bits FROM plain WHERE tensor IS NULL), '<', 4.6::real, 'at most 4.6 bits a weight');
SELECT ok((SELECT bool_and(output_error IS NULL AND perplexity_before IS NULL AND perplexity_after IS NULL) FROM plain),
          'outputs are not known without calibration');
SELECT lives_ok($$SELECT glm_model_load('tap_plain', pg_temp.place('plain'), '{"verify": "full"}')$$, 'what was written loads');
SELECT is(glm_generate('hello', model => 'tap_plain'), glm_generate('hello'), 'and answers');
SELECT is((SELECT quantization FROM glm_models WHERE name = 'tap_plain'), 'int4', 'glm_models says how it is quantized');
SELECT throws_ok($$SELECT * FROM glm_quantize('tap_plain', pg_temp.place('again'))$$, '0A000', NULL, 'it is not quantized twice');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', pg_temp.place('plain'))$$, '58P02', NULL, 'a target that exists is left alone');

-- ---- with calibration ----
CREATE TEMP TABLE gptq AS SELECT * FROM glm_quantize('tiny-chatglm3', pg_temp.place('gptq'),
    '{"method": "gptq", "calibration_query": "SELECT chat FROM texts"}');
CREATE TEMP TABLE rtn AS SELECT * FROM glm_quantize('tiny-chatglm3', pg_temp.place('rtn'),
    jsonb_build_object('method', 'rtn', 'calibration', (SELECT jsonb_agg(chat) FROM texts)));
CREATE TEMP TABLE wide AS SELECT * FROM glm_quantize('tiny-chatglm3', pg_temp.place('wide'),
    '{"bits": 8, "group_size": 128, "keep": ["*output_layer*"], "calibration_query": "SELECT chat FROM texts"}');
SELECT is((SELECT count(*) FROM gptq WHERE method = 'gptq'), 22::bigint, 'gptq where there are inputs, and for the whole');
SELECT is((SELECT method FROM gptq WHERE tensor ~ 'embedding'), 'hqq', 'hqq for the table');
SELECT cmp_ok((SELECT output_error FROM gptq WHERE tensor IS NULL), '<', (SELECT 0.75 * output_error FROM rtn WHERE tensor IS NULL),
              'gptq has three quarters of rtn''s output error or less');
SELECT ok((SELECT bool_and((output_error IS NOT NULL) = (tensor ~ 'weight' AND tensor !~ 'norm|embedding')) FROM rtn WHERE tensor IS NOT NULL),
          'an output error for every matrix');
SELECT is((SELECT round(perplexity_before::numeric, 9) FROM gptq WHERE tensor IS NULL), (SELECT round(perplexity_before::numeric, 9) FROM rtn WHERE tensor IS NULL),
          'the same texts by a query and by an array');
SELECT cmp_ok((SELECT perplexity_before FROM gptq WHERE tensor IS NULL), '<', 1.5::float8, 'the model knows its answers');
SELECT cmp_ok((SELECT abs(perplexity_after / perplexity_before - 1) FROM gptq WHERE tensor IS NULL), '<', 0.05::float8, 'and so does what was written');
SELECT is((SELECT method || ' ' || bits FROM wide WHERE tensor ~ 'output_layer'), 'copy 16', 'keep keeps');
SELECT cmp_ok((SELECT abs(perplexity_after / perplexity_before - 1) FROM wide WHERE tensor IS NULL), '<', 0.01::float8, 'INT8 changes next to nothing');

-- ---- what is refused ----
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap', '{"method": "gptq"}')$$, '22023', NULL, 'gptq without calibration');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap', '{"bit": 4}')$$, '22023', NULL, 'an unknown option');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap', '{"bits": 3}')$$, '22023', NULL, 'a width that does not exist');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap', '[]')$$, '22023', NULL, 'options that are no object');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', 'tap')$$, '22023', NULL, 'a relative target');
SELECT throws_ok($$SELECT * FROM glm_quantize('nonesuch', '/tmp/tap')$$, '42704', NULL, 'a model that does not exist');
SELECT throws_ok($$SELECT * FROM glm_quantize('/nonexistent', '/tmp/tap')$$, '58P01', NULL, 'a directory that does not');
SELECT throws_ok($$SELECT * FROM glm_quantize(NULL, '/tmp/tap')$$, '22004', NULL, 'NULL');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap', '{"calibration_query": "DELETE FROM texts"}')$$, '22023', NULL, 'a query that gives no rows');
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap', '{"calibration_file": "/nonexistent"}')$$, '58P01', NULL, 'a file that does not exist');

-- ---- who may ----
CREATE ROLE tap_quantizer;
SET LOCAL ROLE tap_quantizer;
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap')$$, '42501', NULL, 'not everybody');
RESET ROLE;
GRANT EXECUTE ON FUNCTION glm_quantize TO tap_quantizer;
SET LOCAL ROLE tap_quantizer;
SELECT throws_ok($$SELECT * FROM glm_quantize('tiny-chatglm3', '/tmp/tap')$$, '42501', NULL, 'EXECUTE is not enough to write on the server');
SELECT is((SELECT count(*) FROM glm_stat_progress), 0::bigint, 'everybody may look at the progress');
RESET ROLE;

SELECT glm_model_unload('tap_plain') AS unloaded \gset
SELECT format('COPY (SELECT) TO PROGRAM %L', 'rm -r ' || pg_temp.place('') || '*') AS clean_up \gset
:clean_up;
SELECT * FROM finish();
ROLLBACK;
