-- surface.sql - every function, view and table is there as documented.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
CREATE ROLE glm_tap_user;

CREATE TEMP TABLE surface (name text, arguments text, result text, admin bool);
\set tail 'model text DEFAULT NULL::text, system text DEFAULT NULL::text, max_tokens integer DEFAULT NULL::integer, temperature double precision DEFAULT NULL::double precision, top_p double precision DEFAULT NULL::double precision, top_k integer DEFAULT NULL::integer, seed bigint DEFAULT NULL::bigint, stop text[] DEFAULT NULL::text[], response_format jsonb DEFAULT NULL::jsonb, options jsonb DEFAULT NULL::jsonb'
\set asked 'model text DEFAULT NULL::text, options jsonb DEFAULT NULL::jsonb'
\set labelled 'instructions text DEFAULT NULL::text, examples jsonb DEFAULT NULL::jsonb, model text DEFAULT NULL::text, options jsonb DEFAULT NULL::jsonb'
\set judged 'prompt text, continuation text, top_n integer DEFAULT 0, model text DEFAULT NULL::text, system text DEFAULT NULL::text, chat boolean DEFAULT false, options jsonb DEFAULT NULL::jsonb'
\set stream 'TABLE(seq integer, token text, token_id integer, logprob real, finish_reason text, top_logprobs jsonb)'
INSERT INTO surface VALUES
    ('glm_generate', 'prompt text, ' || :'tail', 'text', false),
    ('glm_complete', 'prompt text, ' || :'tail', 'text', false),
    ('glm_json', 'prompt text, schema json, ' || :'tail', 'jsonb', false),
    ('glm_try_json', 'prompt text, schema json, ' || :'tail', 'glm_json_result', false),
    ('glm_stream', 'prompt text, ' || :'tail', :'stream', false),
    ('glm_chat', 'messages jsonb, tools json DEFAULT NULL::json, tool_choice jsonb DEFAULT NULL::jsonb, ' || :'tail', 'jsonb', false),
    ('glm_chat_stream', 'messages jsonb, tools json DEFAULT NULL::json, tool_choice jsonb DEFAULT NULL::jsonb, ' || :'tail', :'stream', false),
    ('glm_try_generate', 'prompt text, ' || :'tail', 'glm_result', false),
    ('glm_generate_batch', 'prompts text[], ' || :'tail', 'TABLE(idx integer, response text, prompt_tokens integer, completion_tokens integer, finish_reason text, error text, model text)', false),
    ('glm_generate_n', 'prompt text, n integer, ' || :'tail', 'TABLE(idx integer, response text, prompt_tokens integer, completion_tokens integer, finish_reason text, logprobs jsonb, model text)', false),
    ('glm_tokenize', 'content text, model text DEFAULT NULL::text, add_special boolean DEFAULT false', 'integer[]', false),
    ('glm_detokenize', 'tokens integer[], model text DEFAULT NULL::text', 'text', false),
    ('glm_count_tokens', 'content text, model text DEFAULT NULL::text', 'integer', false),
    ('glm_chat_tokens', 'messages jsonb, tools json DEFAULT NULL::json, model text DEFAULT NULL::text', 'integer[]', false),
    ('glm_logits', 'tokens integer[], model text DEFAULT NULL::text', 'real[]', false),
    ('glm_preprocess', 'content text, options jsonb DEFAULT NULL::jsonb', 'text[]', false),
    ('glm_chunk', 'content text, tokens integer, overlap integer DEFAULT 0, model text DEFAULT NULL::text', 'text[]', false),
    ('glm_try_chunk', 'content text, tokens integer, overlap integer DEFAULT 0, model text DEFAULT NULL::text', 'glm_json_result', false),
    ('glm_embed', 'content text, model text DEFAULT NULL::text, pooling text DEFAULT ''mean''::text, normalized boolean DEFAULT true, options jsonb DEFAULT NULL::jsonb', 'real[]', false),
    ('glm_try_embed', 'content text, model text DEFAULT NULL::text, pooling text DEFAULT ''mean''::text, normalized boolean DEFAULT true, options jsonb DEFAULT NULL::jsonb', 'glm_embed_result', false),
    ('glm_similarity', 'a real[], b real[]', 'double precision', false),
    ('glm_similarity', 'a text, b text, model text DEFAULT NULL::text', 'double precision', false),
    ('glm_try_similarity', 'a text, b text, model text DEFAULT NULL::text', 'glm_json_result', false),
    ('glm_job_create', 'name text, source regclass, key text, target text, call text, options jsonb DEFAULT NULL::jsonb', 'void', false),
    ('glm_job_drop', 'name text', 'void', false),
    ('glm_job_start', 'name text', 'void', false),
    ('glm_job_pause', 'name text', 'void', false),
    ('glm_job_resume', 'name text', 'void', false),
    ('glm_job_cancel', 'name text', 'void', false),
    ('glm_job_sync', 'name text', 'void', false),
    ('glm_job_estimate', 'name text, sample integer DEFAULT 8', 'TABLE(rows bigint, tokens bigint, seconds double precision)', false),
    ('glm_linear_create', 'name text, weights jsonb, bias double precision DEFAULT 0, link text DEFAULT ''identity''::text', 'void', true),
    ('glm_linear_fit', 'name text, query text, options jsonb DEFAULT NULL::jsonb', 'jsonb', true),
    ('glm_linear_drop', 'name text', 'boolean', true),
    ('glm_predict', 'name text, features jsonb', 'double precision', false),
    ('glm_predict', 'name text, features text', 'double precision', false),
    ('glm_predict', 'name text, features real[]', 'double precision', false),
    ('glm_health', '', 'jsonb', false),
    ('glm_ready', '', 'boolean', false),
    ('glm_model_load', 'name text, path text DEFAULT NULL::text, options jsonb DEFAULT NULL::jsonb', 'void', true),
    ('glm_model_unload', 'name text', 'boolean', true),
    ('glm_model_unregister', 'name text', 'boolean', true),
    ('glm_quantize', 'source text, target text, options jsonb DEFAULT NULL::jsonb',
     'TABLE(tensor text, method text, bits real, weight_error double precision, output_error double precision, perplexity_before double precision, perplexity_after double precision)', true),
    ('glm_model_hash', 'name text', 'text', false),
    ('glm_generate_det', 'prompt text, model_hash text, max_tokens integer', 'text', false),
    ('glm_route_set', 'name text, weights jsonb', 'void', true),
    ('glm_route_drop', 'name text', 'boolean', true),
    ('glm_cancel', 'request_id bigint', 'boolean', true),
    ('glm_metrics', '', 'text', true),
    ('glm_profile_folded', '', 'text', true),
    ('glm_stat_reset', '', 'void', true),
    ('glm_extract', 'content text, schema json, ' || :'tail', 'jsonb', false),
    ('glm_try_extract', 'content text, schema json, ' || :'tail', 'glm_json_result', false),
    ('glm_translate', 'content text, to_language text, from_language text DEFAULT NULL::text, ' || :'tail', 'text', false),
    ('glm_try_translate', 'content text, to_language text, from_language text DEFAULT NULL::text, ' || :'tail', 'glm_result', false),
    ('glm_summarize', 'content text, max_words integer DEFAULT NULL::integer, ' || :'tail', 'text', false),
    ('glm_try_summarize', 'content text, max_words integer DEFAULT NULL::integer, ' || :'tail', 'glm_result', false),
    ('glm_redact', 'content text, kinds text[] DEFAULT NULL::text[], ' || :'tail', 'text', false),
    ('glm_try_redact', 'content text, kinds text[] DEFAULT NULL::text[], ' || :'tail', 'glm_result', false),
    ('glm_summarize_agg', 'content text', 'text', false),
    ('glm_summarize_agg', 'content text, options jsonb', 'text', false),
    ('glm_agg', 'content text, instruction text', 'text', false),
    ('glm_agg', 'content text, instruction text, options jsonb', 'text', false),
    ('glm_reduce', 'content text, instruction text', 'text', false),
    ('glm_reduce', 'content text, instruction text, options jsonb', 'text', false),
    ('glm_try_summarize_agg', 'content text', 'glm_result', false),
    ('glm_try_summarize_agg', 'content text, options jsonb', 'glm_result', false),
    ('glm_try_agg', 'content text, instruction text', 'glm_result', false),
    ('glm_try_agg', 'content text, instruction text, options jsonb', 'glm_result', false),
    ('glm_try_reduce', 'content text, instruction text', 'glm_result', false),
    ('glm_try_reduce', 'content text, instruction text, options jsonb', 'glm_result', false),
    ('glm_task_prompt', 'name text, language text DEFAULT NULL::text', 'text', false),
    ('glm_classify', 'content text, labels text[], ' || :'labelled', 'text', false),
    ('glm_try_classify', 'content text, labels text[], ' || :'labelled', 'glm_result', false),
    ('glm_classify_scores', 'content text, labels text[], ' || :'labelled', 'TABLE(label text, prob double precision, mass double precision)', false),
    ('glm_classify_scores_array', 'content text, labels text[], ' || :'labelled', 'glm_label_score[]', false),
    ('glm_try_classify_scores', 'content text, labels text[], ' || :'labelled', 'glm_json_result', false),
    ('glm_classify_multi', 'content text, labels text[], instructions text DEFAULT NULL::text, threshold real DEFAULT 0.5, ' || :'asked', 'text[]', false),
    ('glm_has_label', 'content text, labels text[], label text, instructions text DEFAULT NULL::text, threshold real DEFAULT 0.5, ' || :'asked', 'boolean', false),
    ('glm_try_classify_multi', 'content text, labels text[], instructions text DEFAULT NULL::text, threshold real DEFAULT 0.5, ' || :'asked', 'glm_json_result', false),
    ('glm_try_has_label', 'content text, labels text[], label text, instructions text DEFAULT NULL::text, threshold real DEFAULT 0.5, ' || :'asked', 'glm_json_result', false),
    ('glm_sentiment', 'content text, mixed boolean DEFAULT false, ' || :'asked', 'text', false),
    ('glm_try_sentiment', 'content text, mixed boolean DEFAULT false, ' || :'asked', 'glm_result', false),
    ('glm_filter', 'question text, content text, threshold real DEFAULT 0.5, ' || :'asked', 'boolean', false),
    ('glm_if', 'question text, content text, threshold real DEFAULT 0.5, ' || :'asked', 'boolean', false),
    ('glm_try_filter', 'question text, content text, threshold real DEFAULT 0.5, ' || :'asked', 'glm_json_result', false),
    ('glm_filter_prob', 'question text, content text, ' || :'asked', 'double precision', false),
    ('glm_try_filter_prob', 'question text, content text, ' || :'asked', 'glm_json_result', false),
    ('glm_score', 'query text, document text, ' || :'asked', 'double precision', false),
    ('glm_try_score', 'query text, document text, ' || :'asked', 'glm_json_result', false),
    ('glm_rank', 'query text, documents text[], top_n integer DEFAULT NULL::integer, ' || :'asked', 'TABLE(idx integer, document text, score double precision)', false),
    ('glm_try_rank', 'query text, documents text[], top_n integer DEFAULT NULL::integer, ' || :'asked', 'TABLE(idx integer, document text, score double precision, error text, sqlstate text)', false),
    ('glm_logprobs', :'judged', 'TABLE(seq integer, token_id integer, token text, logprob real, top jsonb)', false),
    ('glm_logprobs_array', :'judged', 'glm_token_logprob[]', false),
    ('glm_try_logprobs', :'judged', 'glm_json_result', false),
    ('glm_perplexity', 'content text, ' || :'asked', 'double precision', false),
    ('glm_try_perplexity', 'content text, ' || :'asked', 'glm_json_result', false),
    ('glm_parse_tool_calls', 'content text', 'jsonb', false);

CREATE TEMP VIEW found AS
    SELECT s.*, p.oid, p.prokind, p.provolatile, p.proparallel, p.procost, pg_get_function_arguments(p.oid) AS found_arguments,
           pg_get_function_result(p.oid) AS found_result
      FROM surface s LEFT JOIN pg_proc p ON p.proname = s.name AND pg_get_function_arguments(p.oid) = s.arguments;

SELECT plan((6 * count(*) + 32)::int) FROM surface;

SELECT is(found_arguments, arguments, name || ': arguments') FROM found ORDER BY name;
SELECT is(found_result, result, name || ': result') FROM found ORDER BY name;
-- but for those that need no worker
SELECT is(provolatile, CASE WHEN prokind = 'a' OR name IN ('glm_parse_tool_calls', 'glm_preprocess', 'glm_generate_det') OR arguments IN ('a real[], b real[]') THEN 'i' WHEN name IN ('glm_classify_scores', 'glm_logprobs', 'glm_rank', 'glm_try_rank', 'glm_task_prompt', 'glm_predict') THEN 's' ELSE 'v' END::"char", name || ': volatility') FROM found ORDER BY name;
SELECT is(proparallel = 's', provolatile <> 'v' AND prokind <> 'a' AND name NOT IN ('glm_generate_det', 'glm_classify_scores', 'glm_logprobs', 'glm_rank', 'glm_try_rank'), name || ': parallel safety') FROM found ORDER BY name;
SELECT isnt(obj_description(oid, 'pg_proc'), NULL, name || ' has a comment') FROM found ORDER BY name;
SELECT is(has_function_privilege('glm_tap_user', oid, 'EXECUTE'), NOT admin,
          name || CASE WHEN admin THEN ' is not for everybody' ELSE ' is for everybody' END)
  FROM found ORDER BY name;

SELECT has_view('glm_models', 'view glm_models');
SELECT has_view('glm_stat_requests', 'view glm_stat_requests');
SELECT columns_are('glm_models', ARRAY['name', 'path', 'source', 'hash', 'arithmetic', 'loaded', 'dtype', 'quantization', 'layers', 'hidden', 'vocab',
                   'context', 'sequences', 'size_bytes', 'chunks_total', 'chunks_mapped', 'bytes_mapped', 'bytes_resident',
                   'requests', 'load_ms'], 'columns of glm_models');
SELECT isnt(obj_description('glm_models'::regclass), NULL, 'glm_models has a comment');
SELECT columns_are('glm_stat_models', ARRAY['name', 'requests', 'prompt_tokens', 'cached_tokens', 'prefill_tokens',
                   'completion_tokens', 'draft_tokens', 'accepted_tokens', 'preemptions', 'kv_bytes_used', 'kv_bytes_cached',
                   'kv_evictions'], 'columns of glm_stat_models');
SELECT isnt(obj_description('glm_stat_models'::regclass), NULL, 'glm_stat_models has a comment');
SELECT isnt(obj_description('glm_stat_requests'::regclass), NULL, 'glm_stat_requests has a comment');
SELECT columns_are('glm_stat_batches', ARRAY['pid', 'usename', 'database', 'function', 'rows_read', 'answered', 'failed', 'planned',
                   'tokens', 'started', 'elapsed'], 'columns of glm_stat_batches');
SELECT is(has_table_privilege('glm_tap_user', 'glm_stat_batches', 'SELECT'), true, 'glm_stat_batches is for everybody');
SELECT columns_are('glm_result', ARRAY['response', 'prompt_tokens', 'completion_tokens', 'finish_reason', 'error', 'sqlstate', 'model'],
                   'columns of glm_result');
SELECT isnt(obj_description('glm_result'::regtype, 'pg_type'), NULL, 'glm_result has a comment');
SELECT columns_are('glm_json_result', ARRAY['value', 'prompt_tokens', 'completion_tokens', 'finish_reason', 'error', 'sqlstate', 'model'],
                   'columns of glm_json_result');
SELECT isnt(obj_description('glm_json_result'::regtype, 'pg_type'), NULL, 'glm_json_result has a comment');
SELECT has_table('chatglm', 'model', 'table chatglm.model');
SELECT col_is_pk('chatglm', 'model', 'name', 'its key is the name');
SELECT isnt(obj_description('chatglm.model'::regclass), NULL, 'chatglm.model has a comment');
SELECT table_privs_are('chatglm', 'model', 'glm_tap_user', ARRAY[]::text[], 'chatglm.model is closed');
SELECT has_table('chatglm', 'route', 'table chatglm.route');
SELECT table_privs_are('chatglm', 'route', 'glm_tap_user', ARRAY[]::text[], 'chatglm.route is closed');
SELECT has_view('glm_routes', 'view glm_routes');
SELECT is(ARRAY(SELECT t::regclass::text COLLATE "C" FROM unnest(extconfig) t ORDER BY 1),
          ARRAY['chatglm.job', 'chatglm.job_change', 'chatglm.job_done', 'chatglm.job_error', 'chatglm.job_queue', 'chatglm.job_queue_id', 'chatglm.limits', 'chatglm.linear_model',
                'chatglm.model', 'chatglm.route', 'chatglm.task_prompt'], 'pg_dump keeps the rows of the tables')
  FROM pg_extension WHERE extname = 'chatglm';
SELECT is(p.proname, NULL, 'no function of the extension is left out here')
  FROM (VALUES (1)) v LEFT JOIN (pg_depend d JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
         JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'chatglm')
    ON p.proname LIKE 'glm\_%' AND p.prokind <> 'p' AND p.proname NOT IN (SELECT name FROM surface)
 LIMIT 1;
SELECT is(prokind, 'p', 'glm_job_run is a procedure') FROM pg_proc WHERE proname = 'glm_job_run';
SELECT columns_are('glm_jobs', ARRAY['name', 'owner', 'source', 'mode', 'state', 'reason', 'background', 'done', 'failed', 'stale',
                   'rows_left', 'estimated', 'rate', 'eta', 'lag', 'tokens', 'workers', 'not_before', 'started', 'finished'],
                   'columns of glm_jobs');
SELECT columns_are('glm_job_errors', ARRAY['name', 'key', 'attempts', 'sqlstate', 'message', 'at'], 'columns of glm_job_errors');
SELECT is(has_table_privilege('glm_tap_user', v, 'SELECT'), true, v || ' is for everybody')
  FROM (VALUES ('glm_jobs'), ('glm_job_errors')) t (v);
SELECT table_privs_are('chatglm', t, 'glm_tap_user', ARRAY[]::text[], 'chatglm.' || t || ' is closed')
  FROM (VALUES ('job'), ('job_change'), ('job_queue'), ('job_done')) v (t);
SELECT is(extversion, (SELECT default_version FROM pg_available_extensions WHERE name = 'chatglm'), 'version')
  FROM pg_extension WHERE extname = 'chatglm';

SELECT * FROM finish();
ROLLBACK;
