/*
 * chatglm--1.0.sql - the SQL surface of chatglm.
 *
 * Functions and views live in the schema the extension is created in, the
 * configuration tables and what is not for users in schema chatglm.
 *
 * Most functions end in the same ten arguments, all NULL by default and meant
 * to be passed by name; NULL means the setting or the default:
 *
 *	model			name of the model (chatglm.model)
 *	system			system prompt
 *	max_tokens		most tokens of the answer (chatglm.max_tokens)
 *	temperature		0 takes the likeliest token (chatglm.temperature)
 *	top_p			keeps the likeliest tokens up to this probability (0.8)
 *	top_k			keeps at most this many tokens (0: off)
 *	seed			of the random numbers (another one for every call)
 *	stop			strings that end the answer
 *	response_format	object with type (text, json_object, json_schema) and json_schema
 *	options			object with cache, choices, json_space, min_p, on_length, priority,
 *					property_order, regex, repetition_penalty, route_key, timeout_ms,
 *					truncate
 *
 * Functions that need the worker are VOLATILE, and PARALLEL RESTRICTED since a
 * session has one line to it.
 */

-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION chatglm" to load this file. \quit

-- ---- Models ------------------------------------------------------------

CREATE SCHEMA chatglm;
COMMENT ON SCHEMA chatglm IS 'configuration and internals of the extension chatglm';

-- Collation "C": names are bytes, and the extension looks them up as such.
CREATE TABLE chatglm.model (
	name text COLLATE "C" PRIMARY KEY,
	path text NOT NULL,
	options jsonb
);
COMMENT ON TABLE chatglm.model IS
'names of models and the directories they stand for, as glm_model_load registers them; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.model.name IS 'name by which functions call the model';
COMMENT ON COLUMN chatglm.model.path IS 'absolute path of its directory on the server';
COMMENT ON COLUMN chatglm.model.options IS 'options of the model, a JSON object with the keys rope and verify';
REVOKE ALL ON chatglm.model FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.model', '');

CREATE FUNCTION chatglm.check_model() RETURNS trigger
AS 'MODULE_PATHNAME', 'chatglm_model_check'
LANGUAGE C;
COMMENT ON FUNCTION chatglm.check_model IS
'lets only members of pg_read_server_files write to chatglm.model, and only sound rows';
REVOKE ALL ON FUNCTION chatglm.check_model FROM PUBLIC;

CREATE TRIGGER check_model BEFORE INSERT OR UPDATE ON chatglm.model
FOR EACH ROW EXECUTE FUNCTION chatglm.check_model();
COMMENT ON TRIGGER check_model ON chatglm.model IS 'guards what is registered';

-- Weights: an object of models and numbers; a model's share is its weight in their sum.
CREATE TABLE chatglm.route (
	name text COLLATE "C" PRIMARY KEY,
	weights jsonb NOT NULL
);
COMMENT ON TABLE chatglm.route IS
'names that stand for one of several models, as glm_route_set makes them; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.route.name IS 'name of the route, which functions take for a model''s';
COMMENT ON COLUMN chatglm.route.weights IS 'object of models and weights, numbers not below 0';
REVOKE ALL ON chatglm.route FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.route', '');

CREATE FUNCTION chatglm.check_route() RETURNS trigger
AS 'MODULE_PATHNAME', 'chatglm_route_check'
LANGUAGE C;
COMMENT ON FUNCTION chatglm.check_route IS 'lets only sound rows into chatglm.route';
REVOKE ALL ON FUNCTION chatglm.check_route FROM PUBLIC;

CREATE TRIGGER check_route BEFORE INSERT OR UPDATE ON chatglm.route
FOR EACH ROW EXECUTE FUNCTION chatglm.check_route();
COMMENT ON TRIGGER check_route ON chatglm.route IS 'guards what routes lead to';

CREATE FUNCTION glm_route_set(name text, weights jsonb)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_route_set'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_route_set IS
'makes a name stand for one of several models, each with a share of the requests; from the next request on';
REVOKE ALL ON FUNCTION glm_route_set FROM PUBLIC;

CREATE FUNCTION glm_route_drop(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_route_drop'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_route_drop IS
'deletes a route; false when there was none';
REVOKE ALL ON FUNCTION glm_route_drop FROM PUBLIC;

CREATE VIEW glm_routes AS
SELECT name, key AS model, weight, weight OPERATOR(pg_catalog./) sum(weight) OVER (PARTITION BY name) AS share
FROM (SELECT r.name, w.key, w.value::pg_catalog.text::pg_catalog.float8 AS weight
	FROM chatglm.route r, pg_catalog.jsonb_each(r.weights) w) AS weights;
COMMENT ON VIEW glm_routes IS
'routes and their models, as glm_route_set made them';
COMMENT ON COLUMN glm_routes.name IS 'name of the route';
COMMENT ON COLUMN glm_routes.model IS 'name of a model that it leads to';
COMMENT ON COLUMN glm_routes.weight IS 'weight of the model';
COMMENT ON COLUMN glm_routes.share IS 'share of the requests that it gets, from 0 to 1';
GRANT SELECT ON glm_routes TO PUBLIC;

CREATE FUNCTION glm_model_load(name text, path text DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_model_load'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000;
COMMENT ON FUNCTION glm_model_load IS
'loads a model; with a path, registers the name in chatglm.model first';
REVOKE ALL ON FUNCTION glm_model_load FROM PUBLIC;

CREATE FUNCTION glm_model_unload(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_model_unload'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_model_unload IS
'unloads a model once its last request has ended; false when it was not loaded';
REVOKE ALL ON FUNCTION glm_model_unload FROM PUBLIC;

CREATE FUNCTION glm_model_unregister(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_model_unregister'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_model_unregister IS
'deletes a model''s row in chatglm.model and unloads it; false when there was none';
REVOKE ALL ON FUNCTION glm_model_unregister FROM PUBLIC;

-- In a backend, so that who asks waits, and nobody else.
CREATE FUNCTION glm_model_hash(name text)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_model_hash'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED COST 100000;
COMMENT ON FUNCTION glm_model_hash IS
'tells what a model is: the SHA-256 of its contents in hex, a colon and the version of the arithmetic; for glm_generate_det';

-- Options: method ("rtn", "hqq", "gptq"), bits (4, 8), group_size (32, 64, 128), keep and wide (arrays of
-- patterns of tensor names: left as they are, INT8 in an INT4 model), calibration (array of texts),
-- calibration_query, calibration_file, max_calibration_tokens, rope (as of glm_model_load).
CREATE FUNCTION glm_quantize(source text, target text, options jsonb DEFAULT NULL)
RETURNS TABLE (tensor text, method text, bits real, weight_error float8, output_error float8,
	perplexity_before float8, perplexity_after float8)
AS 'MODULE_PATHNAME', 'chatglm_quantize'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 200;
COMMENT ON FUNCTION glm_quantize IS
'writes a quantized copy of a model into a new directory; returns a row for each tensor, the last one for the whole model';
REVOKE ALL ON FUNCTION glm_quantize FROM PUBLIC;

-- ---- Prompts of tasks ---------------------------------------------------

-- Whoever may call a task's function may read its prompt: the model read it for them.
CREATE TABLE chatglm.task_prompt (
	name text COLLATE "C",
	language text COLLATE "C",
	text text NOT NULL,
	changed boolean NOT NULL DEFAULT true,
	PRIMARY KEY (name, language)
);
COMMENT ON TABLE chatglm.task_prompt IS
'prompts of functions for tasks, for their owner to change; pg_dump keeps the rows that were changed or added';
COMMENT ON COLUMN chatglm.task_prompt.name IS 'task: the function without glm_, with _merge where an aggregate makes one of several answers';
COMMENT ON COLUMN chatglm.task_prompt.language IS 'language of the prompt, as chatglm.task_language names it';
COMMENT ON COLUMN chatglm.task_prompt.text IS 'system message, a line of three dashes, the user''s turn; {content} and the like stand for what the function has';
COMMENT ON COLUMN chatglm.task_prompt.changed IS 'false for the extension''s own text, which a row that is inserted replaces; set by itself';
GRANT SELECT ON chatglm.task_prompt TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.task_prompt', 'WHERE changed');

CREATE FUNCTION chatglm.check_task_prompt() RETURNS trigger
AS 'MODULE_PATHNAME', 'chatglm_task_prompt_check'
LANGUAGE C;
COMMENT ON FUNCTION chatglm.check_task_prompt IS
'lets only sound prompts into chatglm.task_prompt, and a new row take the place of the extension''s own';
REVOKE ALL ON FUNCTION chatglm.check_task_prompt FROM PUBLIC;

CREATE TRIGGER check_task_prompt BEFORE INSERT OR UPDATE ON chatglm.task_prompt
FOR EACH ROW EXECUTE FUNCTION chatglm.check_task_prompt();
COMMENT ON TRIGGER check_task_prompt ON chatglm.task_prompt IS 'guards what prompts say';

CREATE FUNCTION chatglm.own_task_prompts()
RETURNS TABLE (name text, language text, text text)
AS 'MODULE_PATHNAME', 'chatglm_own_task_prompts'
LANGUAGE C STABLE PARALLEL SAFE ROWS 30;
COMMENT ON FUNCTION chatglm.own_task_prompts IS
'the extension''s own prompts, those that the database''s encoding can hold';

INSERT INTO chatglm.task_prompt SELECT p.*, false FROM chatglm.own_task_prompts() p;

CREATE FUNCTION glm_task_prompt(name text, language text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_show_task_prompt'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION glm_task_prompt IS
'shows the prompt of a task in a language, or in English where there is none in it';

-- ---- Answers -----------------------------------------------------------

CREATE FUNCTION glm_generate(
	prompt text,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_generate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_generate IS
'answers a prompt, put into the model''s chat template';

CREATE FUNCTION glm_complete(
	prompt text,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_complete'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_complete IS
'continues a text as it is, without a chat template';

-- IMMUTABLE, as neither names nor settings have a say: for generated columns and indexes.
CREATE FUNCTION glm_generate_det(prompt text, model_hash text, max_tokens int)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_generate_det'
LANGUAGE C IMMUTABLE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_generate_det IS
'answers a prompt like glm_generate, by the model of a hash, greedily and whatever the settings: the same answer for ever';

-- The schema is json, not jsonb: the order of its keys is that of the answer's.
CREATE FUNCTION glm_json(
	prompt text,
	schema json,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'chatglm_json'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_json IS
'answers a prompt like glm_generate, with a value that fits a JSON schema';

CREATE FUNCTION glm_generate_n(
	prompt text,
	n int,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (idx int, response text, prompt_tokens int, completion_tokens int, finish_reason text, logprobs jsonb, model text)
AS 'MODULE_PATHNAME', 'chatglm_generate_n'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 4;
COMMENT ON FUNCTION glm_generate_n IS
'answers a prompt like glm_generate, n times with seeds that follow each other; the prompt is computed once';

CREATE FUNCTION glm_stream(
	prompt text,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (seq int, token text, token_id int, logprob real, finish_reason text, top_logprobs jsonb)
AS 'MODULE_PATHNAME', 'chatglm_stream'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 100;
COMMENT ON FUNCTION glm_stream IS
'answers a prompt like glm_generate, with a row for every token as it is made';

CREATE FUNCTION glm_chat(
	messages jsonb,
	tools json DEFAULT NULL,
	tool_choice jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'chatglm_chat'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_chat IS
'answers a chat: messages and tools in, an object with role, content, tool_calls, finish_reason and usage out';

CREATE FUNCTION glm_chat_stream(
	messages jsonb,
	tools json DEFAULT NULL,
	tool_choice jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (seq int, token text, token_id int, logprob real, finish_reason text, top_logprobs jsonb)
AS 'MODULE_PATHNAME', 'chatglm_chat_stream'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 100;
COMMENT ON FUNCTION glm_chat_stream IS
'answers a chat with a row for every token as it is made';

-- Needs no worker: the text is all there is to it.
CREATE FUNCTION glm_parse_tool_calls(content text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'chatglm_parse_tool_calls'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION glm_parse_tool_calls IS
'reads the text of a stream as the message it is: an object with role, content and, if there are any, tool_calls';

-- ---- Answers for jobs -----------------------------------------------------

CREATE TYPE glm_result AS (
	response text,
	prompt_tokens int,
	completion_tokens int,
	finish_reason text,
	error text,
	sqlstate text,
	model text);
COMMENT ON TYPE glm_result IS
'an answer, or the error that took its place';
COMMENT ON COLUMN glm_result.response IS 'the answer; null when there is an error, or when it was cut and on_length says null';
COMMENT ON COLUMN glm_result.prompt_tokens IS 'tokens of the prompt; null when there is an error';
COMMENT ON COLUMN glm_result.completion_tokens IS 'tokens of the answer; null when there is an error';
COMMENT ON COLUMN glm_result.finish_reason IS 'stop, or length when max_tokens or the context cut the answer; null when there is an error';
COMMENT ON COLUMN glm_result.error IS 'message of the error; null when there is none';
COMMENT ON COLUMN glm_result.sqlstate IS 'SQLSTATE of the error; null when there is none';
COMMENT ON COLUMN glm_result.model IS 'the model that was asked, also where a route was named; null when there is an error';

CREATE FUNCTION glm_try_generate(
	prompt text,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_generate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_generate IS
'answers a prompt like glm_generate; an error becomes a value of the row instead of the end of the statement';

CREATE TYPE glm_json_result AS (
	value jsonb,
	prompt_tokens int,
	completion_tokens int,
	finish_reason text,
	error text,
	sqlstate text,
	model text);
COMMENT ON TYPE glm_json_result IS
'a value that fits a schema, or the error that took its place';
COMMENT ON COLUMN glm_json_result.value IS 'the answer; null when there is an error';
COMMENT ON COLUMN glm_json_result.prompt_tokens IS 'tokens of the prompt; null when there is an error';
COMMENT ON COLUMN glm_json_result.completion_tokens IS 'tokens of the answer; null when there is an error';
COMMENT ON COLUMN glm_json_result.finish_reason IS 'stop; null when there is an error';
COMMENT ON COLUMN glm_json_result.error IS 'message of the error; null when there is none';
COMMENT ON COLUMN glm_json_result.sqlstate IS 'SQLSTATE of the error; null when there is none';
COMMENT ON COLUMN glm_json_result.model IS 'the model that was asked, also where a route was named; null when there is an error';

CREATE FUNCTION glm_try_json(
	prompt text,
	schema json,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_json'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_json IS
'answers a prompt like glm_json; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_generate_batch(
	prompts text[],
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (idx int, response text, prompt_tokens int, completion_tokens int, finish_reason text, error text, model text)
AS 'MODULE_PATHNAME', 'chatglm_generate_batch'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000 ROWS 100;
COMMENT ON FUNCTION glm_generate_batch IS
'answers an array of prompts, chatglm.prefetch at a time, with a row for each in their order; errors are values of the row';

-- ---- Tasks ----------------------------------------------------------------

CREATE FUNCTION glm_extract(
	content text,
	schema json,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'chatglm_extract'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_extract IS
'gives what a text says of the fields of a JSON schema, as a value that fits it';

CREATE FUNCTION glm_try_extract(
	content text,
	schema json,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_extract'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_extract IS
'is glm_extract; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_translate(
	content text,
	to_language text,
	from_language text DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_translate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_translate IS
'translates a text into a language';

CREATE FUNCTION glm_try_translate(
	content text,
	to_language text,
	from_language text DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_translate'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_translate IS
'is glm_translate; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_summarize(
	content text,
	max_words int DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_summarize'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_summarize IS
'summarizes a text';

CREATE FUNCTION glm_try_summarize(
	content text,
	max_words int DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_summarize'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_summarize IS
'is glm_summarize; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_redact(
	content text,
	kinds text[] DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_redact'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_redact IS
'replaces what a text has of some kinds, personal data by default, by [KIND]';

CREATE FUNCTION glm_try_redact(
	content text,
	kinds text[] DEFAULT NULL,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	max_tokens int DEFAULT NULL,
	temperature float8 DEFAULT NULL,
	top_p float8 DEFAULT NULL,
	top_k int DEFAULT NULL,
	seed bigint DEFAULT NULL,
	stop text[] DEFAULT NULL,
	response_format jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_redact'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_redact IS
'is glm_redact; an error becomes a value of the row instead of the end of the statement';
-- ---- Which label, and how likely ----------------------------------------

-- They compute no more than the prompt, and a row or a few behind it; the planner has to
-- know all the same that each call is dear, so that whatever else a WHERE has comes first.
CREATE FUNCTION glm_classify(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_classify'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_classify IS
'gives the label that a text has, the likeliest of an array';

CREATE FUNCTION glm_try_classify(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_classify'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_classify IS
'classifies like glm_classify; an error becomes a value of the row instead of the end of the statement';

CREATE TYPE glm_label_score AS (
	label text,
	prob float8,
	mass float8);
COMMENT ON TYPE glm_label_score IS
'a label, and how likely a text has it';
COMMENT ON COLUMN glm_label_score.label IS 'the label';
COMMENT ON COLUMN glm_label_score.prob IS 'its probability, of these labels alone: those of all add up to 1';
COMMENT ON COLUMN glm_label_score.mass IS 'share of the labels of all that the model might have answered, where they first part; the same for all';

CREATE FUNCTION glm_classify_scores_array(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_label_score[]
AS 'MODULE_PATHNAME', 'chatglm_classify_scores'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_classify_scores_array IS
'gives the rows of glm_classify_scores as an array';

CREATE FUNCTION glm_try_classify_scores(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_classify_scores'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_classify_scores IS
'gives the probabilities of labels as an object with scores and mass; an error becomes a value of the row instead of the end of the statement';

-- STABLE, so that it becomes part of the query that calls it.  The sub-select stays one, as
-- its function is volatile, and its calls are kept in flight.
CREATE FUNCTION glm_classify_scores(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (label text, prob float8, mass float8)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
AS $$
SELECT s.label, s.prob, s.mass
FROM (SELECT @extschema@.glm_classify_scores_array($1, $2, $3, $4, $5, $6) AS scores) q,
	LATERAL pg_catalog.unnest(q.scores) s
$$;
COMMENT ON FUNCTION glm_classify_scores IS
'gives the probability of each label of a text';

CREATE FUNCTION glm_has_label(
	content text,
	labels text[],
	label text,
	instructions text DEFAULT NULL,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_has_label'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_has_label IS
'tells whether a text has one of several labels, of which it may have more than one';

CREATE FUNCTION glm_try_has_label(
	content text,
	labels text[],
	label text,
	instructions text DEFAULT NULL,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_has_label'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_has_label IS
'tells true or false like glm_has_label; an error becomes a value of the row instead of the end of the statement';

-- Without labels it asks about none, for the error.
CREATE FUNCTION glm_classify_multi(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text[]
LANGUAGE sql VOLATILE PARALLEL RESTRICTED COST 10000
AS $$
SELECT CASE WHEN $1 IS NOT NULL THEN
	COALESCE(pg_catalog.array_agg(q.label ORDER BY q.n) FILTER (WHERE q.has), '{}') END
FROM (SELECT l.label, l.n, @extschema@.glm_has_label($1, $2, l.label, $3, $4, $5, $6) AS has
	FROM pg_catalog.unnest(CASE WHEN pg_catalog.cardinality($2) OPERATOR(pg_catalog.>) 0 THEN $2 ELSE '{NULL}' END)
		WITH ORDINALITY l(label, n)) q
$$;
COMMENT ON FUNCTION glm_classify_multi IS
'gives those labels of an array that a text has';

-- The first error of its labels, if there is one, and the tokens of all.
CREATE FUNCTION glm_try_classify_multi(
	content text,
	labels text[],
	instructions text DEFAULT NULL,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
LANGUAGE sql VOLATILE PARALLEL RESTRICTED COST 10000
AS $$
SELECT CASE WHEN f.error IS NULL AND $1 IS NOT NULL THEN f.value END,
	CASE WHEN f.error IS NULL THEN f.prompt_tokens END, CASE WHEN f.error IS NULL THEN f.completion_tokens END,
	CASE WHEN f.error IS NULL THEN f.finish_reason END, f.error, f.sqlstate, CASE WHEN f.error IS NULL THEN f.model END
FROM (SELECT COALESCE(pg_catalog.jsonb_agg(q.label ORDER BY q.n) FILTER (WHERE (q.r).value OPERATOR(pg_catalog.=) 'true'), '[]') AS value,
		pg_catalog.sum((q.r).prompt_tokens)::pg_catalog.int4 AS prompt_tokens,
		pg_catalog.sum((q.r).completion_tokens)::pg_catalog.int4 AS completion_tokens,
		pg_catalog.max((q.r).finish_reason) AS finish_reason,
		(pg_catalog.array_agg((q.r).error ORDER BY q.n) FILTER (WHERE (q.r).error IS NOT NULL))[1] AS error,
		(pg_catalog.array_agg((q.r).sqlstate ORDER BY q.n) FILTER (WHERE (q.r).error IS NOT NULL))[1] AS sqlstate,
		pg_catalog.max((q.r).model) AS model
	FROM (SELECT l.label, l.n, @extschema@.glm_try_has_label($1, $2, l.label, $3, $4, $5, $6) AS r
		FROM pg_catalog.unnest(CASE WHEN pg_catalog.cardinality($2) OPERATOR(pg_catalog.>) 0 THEN $2 ELSE '{NULL}' END)
			WITH ORDINALITY l(label, n)) q) f
$$;
COMMENT ON FUNCTION glm_try_classify_multi IS
'gives the labels of glm_classify_multi as an array; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_sentiment(
	content text,
	mixed bool DEFAULT false,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_sentiment'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_sentiment IS
'tells whether a text is positive, negative or neutral, or with mixed also mixed';

CREATE FUNCTION glm_try_sentiment(
	content text,
	mixed bool DEFAULT false,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_sentiment'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_sentiment IS
'judges like glm_sentiment; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_filter(
	question text,
	content text,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_filter'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_filter IS
'tells whether the answer to a question about a text is yes';

CREATE FUNCTION glm_if(
	question text,
	content text,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_filter'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_if IS
'is another name of glm_filter';

CREATE FUNCTION glm_try_filter(
	question text,
	content text,
	threshold real DEFAULT 0.5,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_filter'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_filter IS
'tells true or false like glm_filter; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_filter_prob(
	question text,
	content text,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_filter_prob'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_filter_prob IS
'gives the probability of yes that glm_filter holds against its threshold';

CREATE FUNCTION glm_try_filter_prob(
	question text,
	content text,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_filter_prob'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_filter_prob IS
'gives the probability of glm_filter_prob as an object with prob and mass; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_score(
	query text,
	document text,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_score'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_score IS
'gives the probability that a document answers a query';

CREATE FUNCTION glm_try_score(
	query text,
	document text,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_score'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_score IS
'scores like glm_score; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_rank(
	query text,
	documents text[],
	top_n int DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (idx int, document text, score float8)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
AS $$
SELECT q.n::pg_catalog.int4, q.document, q.score
FROM (SELECT d.n, d.document, @extschema@.glm_score($1, d.document, $4, $5) AS score
	FROM pg_catalog.unnest($2) WITH ORDINALITY d(document, n)) q
ORDER BY q.score DESC NULLS LAST, q.n
LIMIT $3
$$;
COMMENT ON FUNCTION glm_rank IS
'gives documents by how likely they answer a query, the likeliest first';

CREATE FUNCTION glm_try_rank(
	query text,
	documents text[],
	top_n int DEFAULT NULL,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS TABLE (idx int, document text, score float8, error text, sqlstate text)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 10000 ROWS 10
AS $$
SELECT q.n::pg_catalog.int4, q.document, (q.r).value::pg_catalog.float8, (q.r).error, (q.r).sqlstate
FROM (SELECT d.n, d.document, @extschema@.glm_try_score($1, d.document, $4, $5) AS r
	FROM pg_catalog.unnest($2) WITH ORDINALITY d(document, n)) q
ORDER BY (q.r).value::pg_catalog.float8 DESC NULLS LAST, q.n
LIMIT $3
$$;
COMMENT ON FUNCTION glm_try_rank IS
'ranks documents like glm_rank; an error becomes a value of its document''s row instead of the end of the statement';

-- ---- How likely a text --------------------------------------------------

CREATE TYPE glm_token_logprob AS (
	seq int,
	token_id int,
	token text,
	logprob real,
	top jsonb);
COMMENT ON TYPE glm_token_logprob IS
'a token of a text, and how likely the model finds it';
COMMENT ON COLUMN glm_token_logprob.seq IS 'number of the token, from 1';
COMMENT ON COLUMN glm_token_logprob.token_id IS 'id of the token';
COMMENT ON COLUMN glm_token_logprob.token IS 'text of the token; bytes that are no whole character are question marks';
COMMENT ON COLUMN glm_token_logprob.logprob IS 'natural logarithm of the probability that the model gives it behind all before it';
COMMENT ON COLUMN glm_token_logprob.top IS 'the likeliest tokens of this place, an array of objects with token_id, token and logprob; null for top_n 0';

CREATE FUNCTION glm_logprobs_array(
	prompt text,
	continuation text,
	top_n int DEFAULT 0,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	chat bool DEFAULT false,
	options jsonb DEFAULT NULL)
RETURNS glm_token_logprob[]
AS 'MODULE_PATHNAME', 'chatglm_judge_tokens'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_logprobs_array IS
'gives the rows of glm_logprobs as an array';

CREATE FUNCTION glm_try_logprobs(
	prompt text,
	continuation text,
	top_n int DEFAULT 0,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	chat bool DEFAULT false,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_judge_tokens'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_logprobs IS
'gives the tokens of glm_logprobs as an array of objects; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_logprobs(
	prompt text,
	continuation text,
	top_n int DEFAULT 0,
	model text DEFAULT NULL,
	system text DEFAULT NULL,
	chat bool DEFAULT false,
	options jsonb DEFAULT NULL)
RETURNS TABLE (seq int, token_id int, token text, logprob real, top jsonb)
LANGUAGE sql STABLE PARALLEL RESTRICTED COST 10000 ROWS 100
AS $$
SELECT t.seq, t.token_id, t.token, t.logprob, t.top
FROM (SELECT @extschema@.glm_logprobs_array($1, $2, $3, $4, $5, $6, $7) AS tokens) q,
	LATERAL pg_catalog.unnest(q.tokens) t
$$;
COMMENT ON FUNCTION glm_logprobs IS
'tells how likely the model finds each token of a text behind a prompt';

CREATE FUNCTION glm_perplexity(
	content text,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_perplexity'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_perplexity IS
'gives the perplexity of a text: among how many tokens, equally likely, the model would have had to choose each time';

CREATE FUNCTION glm_try_perplexity(
	content text,
	model text DEFAULT NULL,
	options jsonb DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_perplexity'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION glm_try_perplexity IS
'gives the perplexity of a text; an error becomes a value of the row instead of the end of the statement';

-- ---- Aggregates -----------------------------------------------------------

-- Rows are put by and the model is asked when all are there.  There is no way to join the
-- states of parallel workers: the outcome would depend on which rows each of them had.

CREATE FUNCTION chatglm.put_by(state internal, content text) RETURNS internal
AS 'MODULE_PATHNAME', 'chatglm_put_by'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION chatglm.put_by(internal, text) IS 'puts a row of an aggregate by';

CREATE FUNCTION chatglm.put_by(state internal, content text, options jsonb) RETURNS internal
AS 'MODULE_PATHNAME', 'chatglm_put_by_with_options'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION chatglm.put_by(internal, text, jsonb) IS 'puts a row of an aggregate by';

CREATE FUNCTION chatglm.put_by(state internal, content text, instruction text) RETURNS internal
AS 'MODULE_PATHNAME', 'chatglm_put_by_instructed'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION chatglm.put_by(internal, text, text) IS 'puts a row of an aggregate by';

CREATE FUNCTION chatglm.put_by(state internal, content text, instruction text, options jsonb) RETURNS internal
AS 'MODULE_PATHNAME', 'chatglm_put_by_instructed_with_options'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION chatglm.put_by(internal, text, text, jsonb) IS 'puts a row of an aggregate by';

CREATE FUNCTION chatglm.summarize_texts(state internal) RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_summarize_texts'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION chatglm.summarize_texts IS 'the summary of the rows that were put by';

CREATE FUNCTION chatglm.agg_texts(state internal) RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_agg_texts'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION chatglm.agg_texts IS 'the answer for the rows that were put by';

CREATE FUNCTION chatglm.reduce_texts(state internal) RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_reduce_texts'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION chatglm.reduce_texts IS 'the answer, from the first to the last, for the rows that were put by';

CREATE AGGREGATE glm_summarize_agg(content text) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.summarize_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_summarize_agg(text) IS
'summarizes the texts of all rows';

CREATE AGGREGATE glm_summarize_agg(content text, options jsonb) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.summarize_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_summarize_agg(text, jsonb) IS
'summarizes the texts of all rows, with options';

CREATE AGGREGATE glm_agg(content text, instruction text) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.agg_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_agg(text, text) IS
'does what an instruction says with the texts of all rows';

CREATE AGGREGATE glm_agg(content text, instruction text, options jsonb) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.agg_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_agg(text, text, jsonb) IS
'does what an instruction says with the texts of all rows, with options';

CREATE AGGREGATE glm_reduce(content text, instruction text) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.reduce_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_reduce(text, text) IS
'does what an instruction says with the texts of all rows, one after the other, each time with the answer so far';

CREATE AGGREGATE glm_reduce(content text, instruction text, options jsonb) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.reduce_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_reduce(text, text, jsonb) IS
'does what an instruction says with the texts of all rows, one after the other, each time with the answer so far, with options';

CREATE FUNCTION chatglm.try_summarize_texts(state internal) RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_summarize_texts'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION chatglm.try_summarize_texts IS 'what chatglm.summarize_texts gives, or the error that took its place';

CREATE FUNCTION chatglm.try_agg_texts(state internal) RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_agg_texts'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION chatglm.try_agg_texts IS 'what chatglm.agg_texts gives, or the error that took its place';

CREATE FUNCTION chatglm.try_reduce_texts(state internal) RETURNS glm_result
AS 'MODULE_PATHNAME', 'chatglm_try_reduce_texts'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000;
COMMENT ON FUNCTION chatglm.try_reduce_texts IS 'what chatglm.reduce_texts gives, or the error that took its place';

CREATE AGGREGATE glm_try_summarize_agg(content text) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.try_summarize_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_try_summarize_agg(text) IS
'does what glm_summarize_agg does; an error becomes a value of the group''s row instead of the end of the statement';

CREATE AGGREGATE glm_try_summarize_agg(content text, options jsonb) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.try_summarize_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_try_summarize_agg(text, jsonb) IS
'does what glm_summarize_agg does, with options; an error becomes a value of the group''s row instead of the end of the statement';

CREATE AGGREGATE glm_try_agg(content text, instruction text) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.try_agg_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_try_agg(text, text) IS
'does what glm_agg does; an error becomes a value of the group''s row instead of the end of the statement';

CREATE AGGREGATE glm_try_agg(content text, instruction text, options jsonb) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.try_agg_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_try_agg(text, text, jsonb) IS
'does what glm_agg does, with options; an error becomes a value of the group''s row instead of the end of the statement';

CREATE AGGREGATE glm_try_reduce(content text, instruction text) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.try_reduce_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_try_reduce(text, text) IS
'does what glm_reduce does; an error becomes a value of the group''s row instead of the end of the statement';

CREATE AGGREGATE glm_try_reduce(content text, instruction text, options jsonb) (
	SFUNC = chatglm.put_by, STYPE = internal, SSPACE = 32768, FINALFUNC = chatglm.try_reduce_texts, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE glm_try_reduce(text, text, jsonb) IS
'does what glm_reduce does, with options; an error becomes a value of the group''s row instead of the end of the statement';

-- ---- Tokens ------------------------------------------------------------

CREATE FUNCTION glm_tokenize(content text, model text DEFAULT NULL, add_special bool DEFAULT false)
RETURNS int[]
AS 'MODULE_PATHNAME', 'chatglm_tokenize'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION glm_tokenize IS
'gives the token ids of a text';

CREATE FUNCTION glm_detokenize(tokens int[], model text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_detokenize'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION glm_detokenize IS
'gives the text of token ids';

CREATE FUNCTION glm_count_tokens(content text, model text DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'chatglm_count_tokens'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION glm_count_tokens IS
'counts the tokens of a text';

CREATE FUNCTION glm_chat_tokens(messages jsonb, tools json DEFAULT NULL, model text DEFAULT NULL)
RETURNS int[]
AS 'MODULE_PATHNAME', 'chatglm_chat_tokens'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 100;
COMMENT ON FUNCTION glm_chat_tokens IS
'gives the token ids that a chat becomes before the model reads it';

CREATE FUNCTION glm_chunk(content text, tokens int, overlap int DEFAULT 0, model text DEFAULT NULL)
RETURNS text[]
AS 'MODULE_PATHNAME', 'chatglm_chunk'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 500;
COMMENT ON FUNCTION glm_chunk IS
'cuts a text into chunks of at most so many tokens, where paragraphs, sentences or words begin';

CREATE FUNCTION glm_try_chunk(content text, tokens int, overlap int DEFAULT 0, model text DEFAULT NULL)
RETURNS glm_json_result
AS 'MODULE_PATHNAME', 'chatglm_try_chunk'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 500;
COMMENT ON FUNCTION glm_try_chunk IS
'cuts a text like glm_chunk, into an array; an error becomes a value of the row instead of the end of the statement';

CREATE FUNCTION glm_logits(tokens int[], model text DEFAULT NULL)
RETURNS real[]
AS 'MODULE_PATHNAME', 'chatglm_logits'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION glm_logits IS
'gives the logits of the token after these, one for each id of the padded vocabulary';

-- ---- Texts in parts ------------------------------------------------------

-- Needs no model, so it may stand in a generated column.
CREATE FUNCTION glm_preprocess(content text, options jsonb DEFAULT NULL)
RETURNS text[]
AS 'MODULE_PATHNAME', 'chatglm_preprocess'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION glm_preprocess IS
'splits a text into words, sentences or paragraphs, normalized, in small letters, without stop words';

-- ---- Vectors -----------------------------------------------------------

CREATE FUNCTION glm_embed(
	content text,
	model text DEFAULT NULL,
	pooling text DEFAULT 'mean',
	normalized bool DEFAULT true,
	options jsonb DEFAULT NULL)
RETURNS real[]
AS 'MODULE_PATHNAME', 'chatglm_embed'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 5000;
COMMENT ON FUNCTION glm_embed IS
'gives a vector for a text: the mean of the model''s hidden states at its tokens, or the last one';

CREATE TYPE glm_embed_result AS (
	embedding real[],
	prompt_tokens int,
	completion_tokens int,
	finish_reason text,
	error text,
	sqlstate text,
	model text);
COMMENT ON TYPE glm_embed_result IS
'a vector for a text, or the error that took its place';
COMMENT ON COLUMN glm_embed_result.embedding IS 'the vector; null when there is an error';
COMMENT ON COLUMN glm_embed_result.prompt_tokens IS 'tokens of the text, and those in front of it; null when there is an error';
COMMENT ON COLUMN glm_embed_result.completion_tokens IS '0; null when there is an error';
COMMENT ON COLUMN glm_embed_result.finish_reason IS 'stop; null when there is an error';
COMMENT ON COLUMN glm_embed_result.error IS 'message of the error; null when there is none';
COMMENT ON COLUMN glm_embed_result.sqlstate IS 'SQLSTATE of the error; null when there is none';
COMMENT ON COLUMN glm_embed_result.model IS 'the model that was asked, also where a route was named; null when there is an error';

CREATE FUNCTION glm_try_embed(
	content text,
	model text DEFAULT NULL,
	pooling text DEFAULT 'mean',
	normalized bool DEFAULT true,
	options jsonb DEFAULT NULL)
RETURNS glm_embed_result
AS 'MODULE_PATHNAME', 'chatglm_try_embed'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 5000;
COMMENT ON FUNCTION glm_try_embed IS
'gives a vector for a text like glm_embed; an error becomes a value of the row instead of the end of the statement';

-- Of two vectors; needs no worker.
CREATE FUNCTION glm_similarity(a real[], b real[])
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_similarity'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION glm_similarity(real[], real[]) IS
'gives the cosine of the angle between two vectors, from -1 to 1';

-- Planned as the cosine of two calls of glm_embed, so that these can be in flight.
CREATE FUNCTION chatglm.similarity_support(internal)
RETURNS internal
AS 'MODULE_PATHNAME', 'chatglm_similarity_support'
LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION chatglm.similarity_support IS
'planner support: puts glm_embed in the place of glm_similarity of texts';
REVOKE ALL ON FUNCTION chatglm.similarity_support FROM PUBLIC;

CREATE FUNCTION glm_similarity(a text, b text, model text DEFAULT NULL)
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_text_similarity'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 10000
SUPPORT chatglm.similarity_support;
COMMENT ON FUNCTION glm_similarity(text, text, text) IS
'gives the cosine of the angle between the vectors of two texts, see glm_embed';

CREATE FUNCTION glm_try_similarity(a text, b text, model text DEFAULT NULL)
RETURNS glm_json_result
LANGUAGE sql VOLATILE PARALLEL RESTRICTED COST 10000
AS $$
SELECT CASE WHEN a.error IS NULL AND b.error IS NULL
		THEN pg_catalog.to_jsonb(@extschema@.glm_similarity(a.embedding, b.embedding)) END,
	CASE WHEN a.error IS NULL AND b.error IS NULL THEN a.prompt_tokens OPERATOR(pg_catalog.+) b.prompt_tokens END,
	CASE WHEN a.error IS NULL AND b.error IS NULL THEN a.completion_tokens END,
	CASE WHEN a.error IS NULL AND b.error IS NULL THEN a.finish_reason END,
	COALESCE(a.error, b.error), COALESCE(a.sqlstate, b.sqlstate),
	CASE WHEN a.error IS NULL AND b.error IS NULL THEN a.model END
FROM @extschema@.glm_try_embed($1, $3, options => '{"route_key": "glm_similarity"}') a,
	@extschema@.glm_try_embed($2, $3, options => '{"route_key": "glm_similarity"}') b
$$;
COMMENT ON FUNCTION glm_try_similarity IS
'compares two texts like glm_similarity; an error becomes a value of the row instead of the end of the statement';

-- ---- Linear models -----------------------------------------------------

-- Whoever may predict may use every name; weights are for who has the owner's privileges.  The
-- owner is a name and no regrole, so that a dump can be restored where there is no such role.
CREATE TABLE chatglm.linear_model (
	name text COLLATE "C" PRIMARY KEY,
	owner name NOT NULL,
	link text NOT NULL,
	bias float8 NOT NULL,
	weights jsonb NOT NULL,
	summary jsonb
);
COMMENT ON TABLE chatglm.linear_model IS
'linear models, as glm_linear_create and glm_linear_fit make them; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.linear_model.name IS 'name by which glm_predict calls the model';
COMMENT ON COLUMN chatglm.linear_model.owner IS 'role that made it, and may replace and drop it';
COMMENT ON COLUMN chatglm.linear_model.link IS 'identity, or logistic: the prediction is a probability';
COMMENT ON COLUMN chatglm.linear_model.bias IS 'what is added to the sum';
COMMENT ON COLUMN chatglm.linear_model.weights IS 'object of weights by the names of features, or array of them by place';
COMMENT ON COLUMN chatglm.linear_model.summary IS 'what glm_linear_fit returned; null when it was not fitted';
REVOKE ALL ON chatglm.linear_model FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.linear_model', '');

CREATE FUNCTION chatglm.check_linear_model() RETURNS trigger
AS 'MODULE_PATHNAME', 'chatglm_linear_check'
LANGUAGE C;
COMMENT ON FUNCTION chatglm.check_linear_model IS 'lets only sound rows into chatglm.linear_model';
REVOKE ALL ON FUNCTION chatglm.check_linear_model FROM PUBLIC;

CREATE TRIGGER check_linear_model BEFORE INSERT OR UPDATE ON chatglm.linear_model
FOR EACH ROW EXECUTE FUNCTION chatglm.check_linear_model();
COMMENT ON TRIGGER check_linear_model ON chatglm.linear_model IS 'guards what linear models hold';

CREATE FUNCTION glm_linear_create(name text, weights jsonb, bias float8 DEFAULT 0, link text DEFAULT 'identity')
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_linear_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION glm_linear_create IS
'makes a linear model of weights and a bias, or replaces one of the caller''s';
REVOKE ALL ON FUNCTION glm_linear_create FROM PUBLIC;

CREATE FUNCTION glm_linear_fit(name text, query text, options jsonb DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'chatglm_linear_fit'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000;
COMMENT ON FUNCTION glm_linear_fit IS
'makes a linear model that fits the rows of a query, by least squares or logistic regression; returns how well it does';
REVOKE ALL ON FUNCTION glm_linear_fit FROM PUBLIC;

CREATE FUNCTION glm_linear_drop(name text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_linear_drop'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 100;
COMMENT ON FUNCTION glm_linear_drop IS
'deletes a linear model of the caller''s; false when there was none';
REVOKE ALL ON FUNCTION glm_linear_drop FROM PUBLIC;

CREATE FUNCTION glm_predict(name text, features jsonb)
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_predict'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION glm_predict(text, jsonb) IS
'gives what a linear model predicts for an object of features';

-- A literal without a type could be an array as well as an object; it is taken for text.
CREATE FUNCTION glm_predict(name text, features text)
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_predict_text'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION glm_predict(text, text) IS
'gives what a linear model predicts for an object of features, written as JSON';

CREATE FUNCTION glm_predict(name text, features real[])
RETURNS float8
AS 'MODULE_PATHNAME', 'chatglm_predict_array'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20;
COMMENT ON FUNCTION glm_predict(text, real[]) IS
'gives what a linear model predicts for an array of features';

CREATE VIEW glm_linear_models AS
SELECT m.name, m.owner, m.link,
	CASE WHEN pg_catalog.jsonb_typeof(m.weights) = 'object' THEN ARRAY(SELECT pg_catalog.jsonb_object_keys(m.weights)) END AS features,
	CASE WHEN o.own THEN m.bias END AS bias,
	CASE WHEN o.own THEN m.weights END AS weights,
	CASE WHEN o.own THEN m.summary END AS summary
FROM chatglm.linear_model m, LATERAL (SELECT EXISTS (
	SELECT FROM pg_catalog.pg_roles r
	WHERE r.rolname OPERATOR(pg_catalog.=) m.owner AND pg_catalog.pg_has_role(r.oid, 'USAGE')) AS own) o;
COMMENT ON VIEW glm_linear_models IS
'linear models; what is in them is for roles with the owner''s privileges';
COMMENT ON COLUMN glm_linear_models.name IS 'name by which glm_predict calls the model';
COMMENT ON COLUMN glm_linear_models.owner IS 'role that made it, and may replace and drop it';
COMMENT ON COLUMN glm_linear_models.link IS 'identity, or logistic: the prediction is a probability';
COMMENT ON COLUMN glm_linear_models.features IS 'names of the features; null where they are known by place';
COMMENT ON COLUMN glm_linear_models.bias IS 'what is added to the sum';
COMMENT ON COLUMN glm_linear_models.weights IS 'object of weights by the names of features, or array of them by place';
COMMENT ON COLUMN glm_linear_models.summary IS 'what glm_linear_fit returned; null when it was not fitted';
GRANT SELECT ON glm_linear_models TO PUBLIC;

-- ---- What is going on ------------------------------------------------------

CREATE FUNCTION glm_health() RETURNS jsonb
AS 'MODULE_PATHNAME', 'chatglm_health'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION glm_health IS
'tells the state of the worker: ready or why not, all figures of glm_stat_worker, what computes, loaded models; totals that tell of others'' prompts are null except for members of pg_read_all_stats';

CREATE FUNCTION glm_ready() RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_ready'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION glm_ready IS
'tells whether calls are served: the worker runs, and a call of the current user would find room in its queue';

CREATE FUNCTION glm_cancel(request_id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'chatglm_cancel'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION glm_cancel IS
'cancels any session''s request, by its id in glm_stat_requests; false when there is none';
REVOKE ALL ON FUNCTION glm_cancel FROM PUBLIC;

CREATE FUNCTION chatglm.models()
RETURNS TABLE (name text, path text, source text, hash text, arithmetic int, loaded boolean, dtype text, quantization text,
	layers int, hidden int, vocab int, context int, sequences int, size_bytes bigint, chunks_total int,
	chunks_mapped int, bytes_mapped bigint, bytes_resident bigint, requests bigint, load_ms float8)
AS 'MODULE_PATHNAME', 'chatglm_models'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.models IS 'the rows of view glm_models';

CREATE VIEW glm_models AS SELECT * FROM chatglm.models();
COMMENT ON VIEW glm_models IS
'models that can be used in this database by name, from chatglm.model and chatglm.model_dir, and whether they are loaded';
COMMENT ON COLUMN glm_models.name IS 'name by which functions call the model';
COMMENT ON COLUMN glm_models.path IS 'its directory on the server; for members of pg_read_server_files';
COMMENT ON COLUMN glm_models.source IS 'where the name comes from: table (a row of chatglm.model) or directory (under chatglm.model_dir)';
COMMENT ON COLUMN glm_models.hash IS 'SHA-256 of its contents in hex, once glm_model_hash was asked for it and while its files are the same; null until then';
COMMENT ON COLUMN glm_models.arithmetic IS 'version of the arithmetic that it is computed with; null where hash is';
COMMENT ON COLUMN glm_models.loaded IS 'whether the worker has it open; all columns after this one are null when it has not';
COMMENT ON COLUMN glm_models.dtype IS 'type of the matrices in its files: F32, F16, BF16, INT8 or INT4';
COMMENT ON COLUMN glm_models.quantization IS 'none, int8 or int4';
COMMENT ON COLUMN glm_models.layers IS 'number of transformer layers';
COMMENT ON COLUMN glm_models.hidden IS 'width of a layer';
COMMENT ON COLUMN glm_models.vocab IS 'number of token ids, including those that only pad the matrix';
COMMENT ON COLUMN glm_models.context IS 'most tokens of a prompt and its answer together';
COMMENT ON COLUMN glm_models.sequences IS 'requests that use it now';
COMMENT ON COLUMN glm_models.size_bytes IS 'bytes of its weight files, which is what chatglm.memory_limit counts';
COMMENT ON COLUMN glm_models.chunks_total IS 'pieces of at most 128 MiB that its weight files are seen as';
COMMENT ON COLUMN glm_models.chunks_mapped IS 'how many of these pieces are mapped now';
COMMENT ON COLUMN glm_models.bytes_mapped IS 'bytes of the mapped pieces';
COMMENT ON COLUMN glm_models.bytes_resident IS 'bytes of the mapped pieces that are in memory; up to a second old';
COMMENT ON COLUMN glm_models.requests IS 'requests that have used it since it was loaded';
COMMENT ON COLUMN glm_models.load_ms IS 'milliseconds that loading it took';
GRANT SELECT ON glm_models TO PUBLIC;

CREATE FUNCTION chatglm.stat_models()
RETURNS TABLE (name text, requests bigint, prompt_tokens bigint, cached_tokens bigint,
	prefill_tokens bigint, completion_tokens bigint, draft_tokens bigint, accepted_tokens bigint,
	preemptions bigint, kv_bytes_used bigint, kv_bytes_cached bigint, kv_evictions bigint)
AS 'MODULE_PATHNAME', 'chatglm_stat_models'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.stat_models IS 'the rows of view glm_stat_models';

CREATE VIEW glm_stat_models AS SELECT * FROM chatglm.stat_models();
COMMENT ON VIEW glm_stat_models IS
'what each loaded model was used for since it was loaded; all columns but name and requests are null except for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_models.name IS 'name of the loaded model';
COMMENT ON COLUMN glm_stat_models.requests IS 'requests that have used it since it was loaded';
COMMENT ON COLUMN glm_stat_models.prompt_tokens IS 'tokens of their prompts';
COMMENT ON COLUMN glm_stat_models.cached_tokens IS 'tokens of their prompts that were found in the prefix cache instead of being computed';
COMMENT ON COLUMN glm_stat_models.prefill_tokens IS 'tokens of prompts that were computed, again after a preemption too';
COMMENT ON COLUMN glm_stat_models.completion_tokens IS 'tokens of their answers';
COMMENT ON COLUMN glm_stat_models.draft_tokens IS 'tokens that speculation proposed and that were computed in advance';
COMMENT ON COLUMN glm_stat_models.accepted_tokens IS 'proposed tokens that became part of an answer';
COMMENT ON COLUMN glm_stat_models.preemptions IS 'how often a sequence gave its KV memory up, to be computed again later';
COMMENT ON COLUMN glm_stat_models.kv_bytes_used IS 'KV memory that running sequences hold';
COMMENT ON COLUMN glm_stat_models.kv_bytes_cached IS 'KV memory that is kept for prompts that begin alike';
COMMENT ON COLUMN glm_stat_models.kv_evictions IS 'cached KV blocks that made way for others';
GRANT SELECT ON glm_stat_models TO PUBLIC;

CREATE FUNCTION chatglm.requests()
RETURNS TABLE (request_id bigint, pid int, role oid, kind text, model text, started timestamptz, tokens int,
	database oid, in_flight boolean, state text)
AS 'MODULE_PATHNAME', 'chatglm_stat_requests'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.requests IS 'the rows of view glm_stat_requests';

CREATE VIEW glm_stat_requests AS
SELECT request_id, pid, pg_catalog.pg_get_userbyid(role) AS usename, kind, model, started, tokens,
	(SELECT datname FROM pg_catalog.pg_database d WHERE d.oid OPERATOR(pg_catalog.=) database) AS datname, in_flight, state
FROM chatglm.requests();
COMMENT ON VIEW glm_stat_requests IS
'requests that the worker knows; of others'' only request_id, pid and usename, except for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_requests.request_id IS 'number of the request, for glm_cancel';
COMMENT ON COLUMN glm_stat_requests.pid IS 'process of the session that asks';
COMMENT ON COLUMN glm_stat_requests.usename IS 'role that asks';
COMMENT ON COLUMN glm_stat_requests.kind IS 'the function that asks, without glm_; generate for glm_try_generate, glm_json, glm_try_json, glm_generate_n, glm_generate_batch and functions for tasks, too';
COMMENT ON COLUMN glm_stat_requests.model IS 'name of the model';
COMMENT ON COLUMN glm_stat_requests.started IS 'when the worker took the request';
COMMENT ON COLUMN glm_stat_requests.tokens IS 'tokens of the answer so far';
COMMENT ON COLUMN glm_stat_requests.datname IS 'database of the session';
COMMENT ON COLUMN glm_stat_requests.in_flight IS 'whether it is one of several rows that a statement asks for ahead';
COMMENT ON COLUMN glm_stat_requests.state IS 'limited (waits for limits of its role), reading (also before and for what needs no passes), loading (its model), waiting (for its turn or memory), prefill (its prompt is computed), decode, paused (until its reader has read) or job';
GRANT SELECT ON glm_stat_requests TO PUBLIC;

CREATE FUNCTION chatglm.batches()
RETURNS TABLE (pid int, role oid, database text, function text, rows_read bigint, answered bigint, failed bigint,
	planned bigint, tokens bigint, started timestamptz, elapsed interval)
AS 'MODULE_PATHNAME', 'chatglm_stat_batches'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.batches IS 'the rows of view glm_stat_batches';

CREATE VIEW glm_stat_batches AS
SELECT pid, pg_catalog.pg_get_userbyid(role) AS usename, database, function, rows_read, answered, failed, planned, tokens,
	started, elapsed
FROM chatglm.batches();
COMMENT ON VIEW glm_stat_batches IS
'how far statements with rows in flight have come, a row for each plan node GlmBatch, each glm_generate_batch and each group of an aggregate; of others'' only pid, usename and database, except for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_batches.pid IS 'process of the session';
COMMENT ON COLUMN glm_stat_batches.usename IS 'role that runs the statement';
COMMENT ON COLUMN glm_stat_batches.database IS 'database of the session';
COMMENT ON COLUMN glm_stat_batches.function IS 'functions that one plan node GlmBatch calls, or glm_generate_batch, or an aggregate';
COMMENT ON COLUMN glm_stat_batches.rows_read IS 'rows that have been asked for; of an aggregate, questions';
COMMENT ON COLUMN glm_stat_batches.answered IS 'rows, or questions, whose answers are there';
COMMENT ON COLUMN glm_stat_batches.failed IS 'answers that are errors, as values of glm_try_generate and its sisters and of glm_generate_batch';
COMMENT ON COLUMN glm_stat_batches.planned IS 'rows that the planner expects; for glm_generate_batch the number of prompts, for an aggregate that of texts';
COMMENT ON COLUMN glm_stat_batches.tokens IS 'tokens generated for the rows answered';
COMMENT ON COLUMN glm_stat_batches.started IS 'when the first row was asked for';
COMMENT ON COLUMN glm_stat_batches.elapsed IS 'time since then';
GRANT SELECT ON glm_stat_batches TO PUBLIC;

CREATE FUNCTION chatglm.progress()
RETURNS TABLE (request_id bigint, pid int, source text, target text, phase text, tensor text,
	bytes_done bigint, bytes_total bigint, percent float8, seconds_left float8, elapsed_s float8)
AS 'MODULE_PATHNAME', 'chatglm_stat_progress'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION chatglm.progress IS 'the row of view glm_stat_progress';

CREATE VIEW glm_stat_progress AS SELECT * FROM chatglm.progress();
COMMENT ON VIEW glm_stat_progress IS
'how far the running glm_quantize has come; source and target are for the role that called it and members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_progress.request_id IS 'number of the request that runs glm_quantize, for glm_cancel';
COMMENT ON COLUMN glm_stat_progress.pid IS 'process of its session';
COMMENT ON COLUMN glm_stat_progress.source IS 'name of the model that is read';
COMMENT ON COLUMN glm_stat_progress.target IS 'directory that is written';
COMMENT ON COLUMN glm_stat_progress.phase IS 'calibrating, quantizing, writing or evaluating';
COMMENT ON COLUMN glm_stat_progress.tensor IS 'tensor that is being worked on';
COMMENT ON COLUMN glm_stat_progress.bytes_done IS 'bytes of weights gone through, each pass over them counted';
COMMENT ON COLUMN glm_stat_progress.bytes_total IS 'bytes of weights to go through, each pass over them counted';
COMMENT ON COLUMN glm_stat_progress.percent IS 'share of bytes_total that is done';
COMMENT ON COLUMN glm_stat_progress.seconds_left IS 'seconds that are left at the pace so far; null while that cannot be told';
COMMENT ON COLUMN glm_stat_progress.elapsed_s IS 'seconds since it began';
GRANT SELECT ON glm_stat_progress TO PUBLIC;

-- ---- What was measured -------------------------------------------------------

CREATE FUNCTION chatglm.stat_worker()
RETURNS TABLE (
	worker_pid int, started timestamptz, stats_reset timestamptz, up bigint, threads bigint, waiting bigint,
	running bigint, paused bigint, queue_requests bigint, queue_bytes bigint, queue_memory_bytes bigint, kv_bytes
	bigint, kv_used_bytes bigint, kv_cached_bytes bigint, models bigint, model_bytes bigint, model_mapped_bytes
	bigint, model_resident_bytes bigint, starts bigint, loads bigint, unloads bigint, completed bigint, failed
	bigint, cancelled bigint, prompt_tokens bigint, cached_tokens bigint, prefix_hits bigint, prefill_tokens
	bigint, completion_tokens bigint, draft_tokens bigint, accepted_tokens bigint, preemptions bigint,
	kv_evictions bigint, passes bigint, pass_seconds float8)
AS 'MODULE_PATHNAME', 'chatglm_stat_worker'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION chatglm.stat_worker IS 'the row of view glm_stat_worker';

CREATE VIEW glm_stat_worker AS SELECT * FROM chatglm.stat_worker();
COMMENT ON VIEW glm_stat_worker IS
'the worker now, and what it did since the last glm_stat_reset, restarts between; totals that tell of others'' prompts are null except for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_worker.worker_pid IS 'its process; null when there is none';
COMMENT ON COLUMN glm_stat_worker.started IS 'when it started';
COMMENT ON COLUMN glm_stat_worker.stats_reset IS 'since when columns from starts on are counted';
COMMENT ON COLUMN glm_stat_worker.up IS 'whether the worker takes requests';
COMMENT ON COLUMN glm_stat_worker.threads IS 'threads that compute';
COMMENT ON COLUMN glm_stat_worker.waiting IS 'requests that are not begun';
COMMENT ON COLUMN glm_stat_worker.running IS 'requests that are computed, the paused ones among them';
COMMENT ON COLUMN glm_stat_worker.paused IS 'requests that wait for their reader';
COMMENT ON COLUMN glm_stat_worker.queue_requests IS 'requests that hold room in the queue';
COMMENT ON COLUMN glm_stat_worker.queue_bytes IS 'bytes of their texts and of results not read yet';
COMMENT ON COLUMN glm_stat_worker.queue_memory_bytes IS 'bytes that these may come to';
COMMENT ON COLUMN glm_stat_worker.kv_bytes IS 'size of the KV pool';
COMMENT ON COLUMN glm_stat_worker.kv_used_bytes IS 'KV memory that running requests hold';
COMMENT ON COLUMN glm_stat_worker.kv_cached_bytes IS 'KV memory that is kept for prompts that begin alike';
COMMENT ON COLUMN glm_stat_worker.models IS 'models that are loaded';
COMMENT ON COLUMN glm_stat_worker.model_bytes IS 'bytes of their weight files';
COMMENT ON COLUMN glm_stat_worker.model_mapped_bytes IS 'bytes of these that are mapped';
COMMENT ON COLUMN glm_stat_worker.model_resident_bytes IS 'bytes of these that are in memory';
COMMENT ON COLUMN glm_stat_worker.starts IS 'starts of the worker';
COMMENT ON COLUMN glm_stat_worker.loads IS 'models that were loaded';
COMMENT ON COLUMN glm_stat_worker.unloads IS 'models that were unloaded';
COMMENT ON COLUMN glm_stat_worker.completed IS 'requests that were answered';
COMMENT ON COLUMN glm_stat_worker.failed IS 'requests that ended in an error';
COMMENT ON COLUMN glm_stat_worker.cancelled IS 'requests that were cancelled';
COMMENT ON COLUMN glm_stat_worker.prompt_tokens IS 'tokens of prompts';
COMMENT ON COLUMN glm_stat_worker.cached_tokens IS 'tokens of prompts that were found in the prefix cache';
COMMENT ON COLUMN glm_stat_worker.prefix_hits IS 'requests with such tokens';
COMMENT ON COLUMN glm_stat_worker.prefill_tokens IS 'tokens of prompts that were computed, again after a preemption too';
COMMENT ON COLUMN glm_stat_worker.completion_tokens IS 'tokens of answers';
COMMENT ON COLUMN glm_stat_worker.draft_tokens IS 'tokens that speculation proposed';
COMMENT ON COLUMN glm_stat_worker.accepted_tokens IS 'proposed tokens that became part of an answer';
COMMENT ON COLUMN glm_stat_worker.preemptions IS 'how often a request gave its KV memory up, to be computed again';
COMMENT ON COLUMN glm_stat_worker.kv_evictions IS 'cached KV blocks that made way for others';
COMMENT ON COLUMN glm_stat_worker.passes IS 'forward passes';
COMMENT ON COLUMN glm_stat_worker.pass_seconds IS 'time spent in forward passes';
GRANT SELECT ON glm_stat_worker TO PUBLIC;

CREATE FUNCTION chatglm.stat_roles()
RETURNS TABLE (role oid, database oid, completed bigint, failed bigint, cancelled bigint, prompt_tokens bigint, cached_tokens bigint, prefix_hits bigint, completion_tokens bigint, draft_tokens bigint, accepted_tokens bigint, preemptions bigint,
	queue_seconds float8, total_seconds float8)
AS 'MODULE_PATHNAME', 'chatglm_stat_roles'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.stat_roles IS 'the rows of view glm_stat_roles';

CREATE VIEW glm_stat_roles AS
SELECT pg_catalog.pg_get_userbyid(role) AS usename,
	(SELECT datname FROM pg_catalog.pg_database d WHERE d.oid OPERATOR(pg_catalog.=) database) AS datname,
	completed, failed, cancelled, prompt_tokens, cached_tokens, prefix_hits, completion_tokens, draft_tokens, accepted_tokens, preemptions, queue_seconds, total_seconds
FROM chatglm.stat_roles();
COMMENT ON VIEW glm_stat_roles IS
'requests that have ended, by the role that asked and its database, since the last glm_stat_reset; of the roles of which one is a member, and of all for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_roles.usename IS 'role that asked; null for all roles after the first 511';
COMMENT ON COLUMN glm_stat_roles.datname IS 'database of its session; null when that is gone';
COMMENT ON COLUMN glm_stat_roles.completed IS 'requests that were answered';
COMMENT ON COLUMN glm_stat_roles.failed IS 'requests that ended in an error';
COMMENT ON COLUMN glm_stat_roles.cancelled IS 'requests that were cancelled';
COMMENT ON COLUMN glm_stat_roles.prompt_tokens IS 'tokens of prompts';
COMMENT ON COLUMN glm_stat_roles.cached_tokens IS 'tokens of prompts that were found in the prefix cache';
COMMENT ON COLUMN glm_stat_roles.prefix_hits IS 'requests with such tokens';
COMMENT ON COLUMN glm_stat_roles.completion_tokens IS 'tokens of answers';
COMMENT ON COLUMN glm_stat_roles.draft_tokens IS 'tokens that speculation proposed';
COMMENT ON COLUMN glm_stat_roles.accepted_tokens IS 'proposed tokens that became part of an answer';
COMMENT ON COLUMN glm_stat_roles.preemptions IS 'how often a request gave its KV memory up, to be computed again';
COMMENT ON COLUMN glm_stat_roles.queue_seconds IS 'seconds that requests waited before they were read and before they were computed';
COMMENT ON COLUMN glm_stat_roles.total_seconds IS 'seconds from their coming to their end';
GRANT SELECT ON glm_stat_roles TO PUBLIC;

CREATE FUNCTION chatglm.stat_model_totals()
RETURNS TABLE (name text, completed bigint, failed bigint, cancelled bigint, prompt_tokens bigint, cached_tokens bigint, prefix_hits bigint, completion_tokens bigint, draft_tokens bigint, accepted_tokens bigint, preemptions bigint,
	queue_seconds float8, total_seconds float8)
AS 'MODULE_PATHNAME', 'chatglm_stat_model_totals'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.stat_model_totals IS 'the rows of view glm_stat_model_totals';

CREATE VIEW glm_stat_model_totals AS SELECT * FROM chatglm.stat_model_totals();
COMMENT ON VIEW glm_stat_model_totals IS
'requests that have ended, by the model that they asked, since the last glm_stat_reset, loaded or not; rows are for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_model_totals.name IS 'name of the model; null for all models after the first 63';
COMMENT ON COLUMN glm_stat_model_totals.completed IS 'requests that were answered';
COMMENT ON COLUMN glm_stat_model_totals.failed IS 'requests that ended in an error';
COMMENT ON COLUMN glm_stat_model_totals.cancelled IS 'requests that were cancelled';
COMMENT ON COLUMN glm_stat_model_totals.prompt_tokens IS 'tokens of prompts';
COMMENT ON COLUMN glm_stat_model_totals.cached_tokens IS 'tokens of prompts that were found in the prefix cache';
COMMENT ON COLUMN glm_stat_model_totals.prefix_hits IS 'requests with such tokens';
COMMENT ON COLUMN glm_stat_model_totals.completion_tokens IS 'tokens of answers';
COMMENT ON COLUMN glm_stat_model_totals.draft_tokens IS 'tokens that speculation proposed';
COMMENT ON COLUMN glm_stat_model_totals.accepted_tokens IS 'proposed tokens that became part of an answer';
COMMENT ON COLUMN glm_stat_model_totals.preemptions IS 'how often a request gave its KV memory up, to be computed again';
COMMENT ON COLUMN glm_stat_model_totals.queue_seconds IS 'seconds that requests waited before they were read and before they were computed';
COMMENT ON COLUMN glm_stat_model_totals.total_seconds IS 'seconds from their coming to their end';
GRANT SELECT ON glm_stat_model_totals TO PUBLIC;

CREATE FUNCTION chatglm.stat_errors()
RETURNS TABLE (stage text, sqlstate text, errors bigint)
AS 'MODULE_PATHNAME', 'chatglm_stat_errors'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION chatglm.stat_errors IS 'what view glm_stat_errors adds up';

CREATE VIEW glm_stat_errors AS
SELECT stage, sqlstate, pg_catalog.sum(errors)::bigint AS errors FROM chatglm.stat_errors() GROUP BY stage, sqlstate;
COMMENT ON VIEW glm_stat_errors IS
'requests that ended early since the last glm_stat_reset, by how far they were and why; rows are for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_errors.stage IS 'how far they were: submit (refused at once), reading, loading, waiting, prefill, decode or job, as in glm_stat_requests';
COMMENT ON COLUMN glm_stat_errors.sqlstate IS 'what their callers got; 57014 when they were cancelled';
COMMENT ON COLUMN glm_stat_errors.errors IS 'how many';
GRANT SELECT ON glm_stat_errors TO PUBLIC;

CREATE FUNCTION chatglm.stat_histograms()
RETURNS TABLE (name text, most float8, requests bigint)
AS 'MODULE_PATHNAME', 'chatglm_stat_histograms'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION chatglm.stat_histograms IS 'the rows of view glm_stat_histograms';

CREATE VIEW glm_stat_histograms AS SELECT * FROM chatglm.stat_histograms();
COMMENT ON VIEW glm_stat_histograms IS
'requests that were computed since the last glm_stat_reset, by how long they took and how many tokens they had; rows are for members of pg_read_all_stats';
COMMENT ON COLUMN glm_stat_histograms.name IS 'queue_time_seconds, first_token_seconds, token_gap_seconds (between tokens), request_seconds (of those answered), request_prompt_tokens or request_completion_tokens';
COMMENT ON COLUMN glm_stat_histograms.most IS 'upper bound of the class, which belongs to it; null for what is above all bounds';
COMMENT ON COLUMN glm_stat_histograms.requests IS 'how many requests, of token_gap_seconds how many tokens, are in the class and in none below it';
GRANT SELECT ON glm_stat_histograms TO PUBLIC;

CREATE FUNCTION chatglm.profile()
RETURNS TABLE (model text, label text, stage text, calls bigint, ms float8, share float8, bytes bigint, operations bigint,
	gb_s float8, gop_s float8)
AS 'MODULE_PATHNAME', 'chatglm_profile'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION chatglm.profile IS 'the rows of view glm_profile';

CREATE VIEW glm_profile AS SELECT * FROM chatglm.profile();
COMMENT ON VIEW glm_profile IS
'where the time of requests with prompts went that have ended since the last glm_stat_reset, by model, label and what was done; rows are for members of pg_read_all_stats';
COMMENT ON COLUMN glm_profile.model IS 'name of the model; empty for all after the first 63 models and labels';
COMMENT ON COLUMN glm_profile.label IS 'options.label of the calls; null when they had none';
COMMENT ON COLUMN glm_profile.stage IS 'queue, tokenize (or wait for the model), prefill matmul, prefill attention, decode matmul, decode attention, head, sample, constrain (sampling with a constraint), deliver or device copy';
COMMENT ON COLUMN glm_profile.calls IS 'passes in which it was done for a request, counted for each request; of queue and tokenize requests';
COMMENT ON COLUMN glm_profile.ms IS 'milliseconds that it took; of a pass for several requests each has its part';
COMMENT ON COLUMN glm_profile.share IS 'of the time of all stages of the model and label';
COMMENT ON COLUMN glm_profile.bytes IS 'bytes of weights, or keys and values, that were read for it';
COMMENT ON COLUMN glm_profile.operations IS 'multiplications and additions';
COMMENT ON COLUMN glm_profile.gb_s IS 'bytes by time, in GB/s; null where none are counted';
COMMENT ON COLUMN glm_profile.gop_s IS 'operations by time, in billions a second; null where none are counted';
GRANT SELECT ON glm_profile TO PUBLIC;

CREATE FUNCTION glm_profile_folded() RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_profile_folded'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION glm_profile_folded IS
'glm_profile as folded stacks with microseconds, from which flame graphs are drawn; for members of pg_read_all_stats';
REVOKE ALL ON FUNCTION glm_profile_folded FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glm_profile_folded TO pg_read_all_stats;

CREATE FUNCTION glm_metrics() RETURNS text
AS 'MODULE_PATHNAME', 'chatglm_metrics'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION glm_metrics IS
'all that was measured, of all roles, as OpenMetrics text for Prometheus; for members of pg_read_all_stats';
REVOKE ALL ON FUNCTION glm_metrics FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glm_metrics TO pg_read_all_stats;

CREATE FUNCTION glm_stat_reset() RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_stat_reset'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION glm_stat_reset IS
'begins all that is counted in glm_health, glm_stat_worker, glm_stat_roles, glm_stat_model_totals, glm_stat_errors, glm_stat_histograms, glm_profile and glm_metrics anew';
REVOKE ALL ON FUNCTION glm_stat_reset FROM PUBLIC;

-- ---- Limits ------------------------------------------------------------

-- Looked up for every request by the oid of the role, whatever its name becomes; '-' is nobody's.
CREATE TABLE chatglm.limits (
	role regrole PRIMARY KEY,
	concurrent int CHECK (concurrent >= 0),
	queued int CHECK (queued >= 0),
	tokens_per_minute bigint CHECK (tokens_per_minute >= 0),
	tokens_per_day bigint CHECK (tokens_per_day >= 0),
	max_tokens int CHECK (max_tokens > 0),
	timeout_ms int CHECK (timeout_ms > 0),
	priority text CHECK (priority IN ('interactive', 'batch')),
	models text[] CHECK (array_position(models, NULL) IS NULL),
	sharing text CHECK (sharing IN ('role', 'off'))
);
COMMENT ON TABLE chatglm.limits IS
'what roles may ask of the worker from this database; a null is no limit; counts from the next request on; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.limits.role IS 'the role, or one whose members have no row of their own; ''-'': all who have neither, but superusers';
COMMENT ON COLUMN chatglm.limits.concurrent IS 'requests computed at a time, in all sessions; others wait';
COMMENT ON COLUMN chatglm.limits.queued IS 'calls that may wait for that; rows in flight and batch always may';
COMMENT ON COLUMN chatglm.limits.tokens_per_minute IS 'tokens of prompts and answers; rows in flight and batch wait when they are used up, other calls fail';
COMMENT ON COLUMN chatglm.limits.tokens_per_day IS 'the same by day of UTC, as glm_usage counts them; all fail';
COMMENT ON COLUMN chatglm.limits.max_tokens IS 'most tokens of an answer; the setting chatglm.max_tokens counts as no more';
COMMENT ON COLUMN chatglm.limits.timeout_ms IS 'longest time of a request, waiting included';
COMMENT ON COLUMN chatglm.limits.priority IS 'batch: all its requests are of that class';
COMMENT ON COLUMN chatglm.limits.models IS 'models that it may ask, by the names they have behind routes';
COMMENT ON COLUMN chatglm.limits.sharing IS 'role: beginnings of prompts are shared with no other role, whatever chatglm.prefix_sharing says; off: with no other request';
REVOKE ALL ON chatglm.limits FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.limits', '');

CREATE FUNCTION chatglm.usage()
RETURNS TABLE (role oid, database oid, day date, requests bigint, prompt_tokens bigint, completion_tokens bigint, errors bigint)
AS 'MODULE_PATHNAME', 'chatglm_usage'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100;
COMMENT ON FUNCTION chatglm.usage IS 'the rows of view glm_usage';

CREATE VIEW glm_usage AS
SELECT pg_catalog.pg_get_userbyid(role) AS usename,
	(SELECT datname FROM pg_catalog.pg_database d WHERE d.oid OPERATOR(pg_catalog.=) database) AS datname,
	day, requests, prompt_tokens, completion_tokens, errors
FROM chatglm.usage();
COMMENT ON VIEW glm_usage IS
'what counted for the limits of roles, by database and day, restarts between; of the roles of which one is a member, and of all for members of pg_read_all_stats';
COMMENT ON COLUMN glm_usage.usename IS 'role that logged in, or was the current user; a request of two counts for both. Null for all roles of a day that found no row left';
COMMENT ON COLUMN glm_usage.datname IS 'database of the session; null when that is gone';
COMMENT ON COLUMN glm_usage.day IS 'day of UTC on which the requests ended';
COMMENT ON COLUMN glm_usage.requests IS 'requests, those that failed or were refused among them';
COMMENT ON COLUMN glm_usage.prompt_tokens IS 'tokens of prompts, cached ones among them';
COMMENT ON COLUMN glm_usage.completion_tokens IS 'tokens of answers, as far as they were computed';
COMMENT ON COLUMN glm_usage.errors IS 'requests that ended in an error, were cancelled or refused';
GRANT SELECT ON glm_usage TO PUBLIC;

CREATE FUNCTION chatglm.role_limits(role oid)
RETURNS TABLE (name text, most bigint, used bigint, until timestamptz, value text)
AS 'MODULE_PATHNAME', 'chatglm_role_limits'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 5;
COMMENT ON FUNCTION chatglm.role_limits IS 'the rows of view glm_limits for one role';

-- predefined roles ask nothing
CREATE VIEW glm_limits AS
SELECT r.rolname AS usename, l.name, l.most, l.used, l.until, l.value
FROM pg_catalog.pg_roles r, chatglm.role_limits(r.oid) l
WHERE r.rolname OPERATOR(pg_catalog.!~~) 'pg\_%';
COMMENT ON VIEW glm_limits IS
'limits that hold for roles in this database, by whatever row of chatglm.limits, and what is used of them now; of the roles of which one is a member, and of all for members of pg_read_all_stats';
COMMENT ON COLUMN glm_limits.usename IS 'role that is held to the limit, as the one that logged in or the current user';
COMMENT ON COLUMN glm_limits.name IS 'concurrent, queued, tokens_per_minute, tokens_per_day, max_tokens, timeout_ms, priority, models or sharing, as the column of chatglm.limits';
COMMENT ON COLUMN glm_limits.most IS 'the limit, if it is a number';
COMMENT ON COLUMN glm_limits.used IS 'requests being computed, calls that wait, tokens that count now; null for limits of one request, and where the worker counts more than 1024 roles';
COMMENT ON COLUMN glm_limits.until IS 'when a limit of tokens that is used up lets the role ask again; null while it is not, and for a limit of 0';
COMMENT ON COLUMN glm_limits.value IS 'the limit, if it is no number: batch, an array of models, off or role';
GRANT SELECT ON glm_limits TO PUBLIC;

-- ---- Jobs --------------------------------------------------------------

-- Written with the rights of its owner by the functions below; owners of jobs have none on it.
CREATE TABLE chatglm.job (
	name text COLLATE "C" PRIMARY KEY,
	owner regrole NOT NULL,
	source regclass NOT NULL,
	key name[] NOT NULL,
	target name[] NOT NULL,
	call text NOT NULL,
	condition text,
	options jsonb NOT NULL,
	state text NOT NULL DEFAULT 'created',
	reason text,
	background boolean NOT NULL DEFAULT false,
	home text,
	cursor text,
	walked boolean NOT NULL DEFAULT false,
	syncing boolean NOT NULL DEFAULT false,
	not_before timestamptz,
	faults int NOT NULL DEFAULT 0,
	done bigint NOT NULL DEFAULT 0,
	failed bigint NOT NULL DEFAULT 0,
	stale bigint NOT NULL DEFAULT 0,
	tokens bigint NOT NULL DEFAULT 0,
	total bigint,
	rate float8,
	stored timestamptz,
	started timestamptz,
	finished timestamptz
) WITH (fillfactor = 50);
COMMENT ON TABLE chatglm.job IS
'batch jobs, what they are and how far they have come; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.job.name IS 'name of the job';
COMMENT ON COLUMN chatglm.job.owner IS 'role that made it, and with whose rights it runs';
COMMENT ON COLUMN chatglm.job.source IS 'table whose rows it is about';
COMMENT ON COLUMN chatglm.job.key IS 'columns of the key';
COMMENT ON COLUMN chatglm.job.target IS 'columns that it writes';
COMMENT ON COLUMN chatglm.job.call IS 'expression over a row t, names qualified';
COMMENT ON COLUMN chatglm.job.condition IS 'which rows it is about, names qualified; null: all';
COMMENT ON COLUMN chatglm.job.options IS 'options as glm_job_create was given them';
COMMENT ON COLUMN chatglm.job.state IS 'created, running, paused, done or cancelled';
COMMENT ON COLUMN chatglm.job.reason IS 'why it is paused or waits; null: somebody paused it';
COMMENT ON COLUMN chatglm.job.background IS 'whether processes in the background work on it';
COMMENT ON COLUMN chatglm.job.home IS 'cluster and database in which it was started; elsewhere it waits for glm_job_start';
COMMENT ON COLUMN chatglm.job.cursor IS 'key that the walk through the table has come to';
COMMENT ON COLUMN chatglm.job.walked IS 'whether the walk has come to its end';
COMMENT ON COLUMN chatglm.job.syncing IS 'whether the walk leaves out rows that are as they were answered';
COMMENT ON COLUMN chatglm.job.not_before IS 'when the next chunk may be computed';
COMMENT ON COLUMN chatglm.job.faults IS 'how often in a row a chunk was lost or the job failed';
COMMENT ON COLUMN chatglm.job.done IS 'rows stored since it was begun';
COMMENT ON COLUMN chatglm.job.failed IS 'rows given up since then';
COMMENT ON COLUMN chatglm.job.stale IS 'answers thrown away since then, as their rows had changed';
COMMENT ON COLUMN chatglm.job.tokens IS 'tokens of prompts and answers since then';
COMMENT ON COLUMN chatglm.job.total IS 'rows that the planner expected';
COMMENT ON COLUMN chatglm.job.rate IS 'rows stored a second, of late';
COMMENT ON COLUMN chatglm.job.stored IS 'when rows were stored last';
COMMENT ON COLUMN chatglm.job.started IS 'when it was begun';
COMMENT ON COLUMN chatglm.job.finished IS 'when it was done or cancelled';
REVOKE ALL ON chatglm.job FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.job', '');

CREATE SEQUENCE chatglm.job_queue_id;
COMMENT ON SEQUENCE chatglm.job_queue_id IS 'numbers of rows of chatglm.job_queue';
REVOKE ALL ON chatglm.job_queue_id FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.job_queue_id', '');

-- Written by triggers, for as little as a row can cost: there is no number, and no index.  Its columns are known to them by
-- their numbers.
CREATE TABLE chatglm.job_change (
	job text COLLATE "C" NOT NULL,
	key text NOT NULL,
	queued_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE chatglm.job_change IS
'keys of rows that were written, until a job takes them into the queue; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.job_change.job IS 'name of the job';
COMMENT ON COLUMN chatglm.job_change.key IS 'key of the row; of several columns, an array of theirs as text';
COMMENT ON COLUMN chatglm.job_change.queued_at IS 'when its transaction began';
REVOKE ALL ON chatglm.job_change FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.job_change', '');

CREATE TABLE chatglm.job_queue (
	id bigint NOT NULL DEFAULT pg_catalog.nextval('chatglm.job_queue_id'),
	job text COLLATE "C" NOT NULL,
	keys text[] NOT NULL,
	changed boolean NOT NULL DEFAULT false,
	tries int NOT NULL DEFAULT 0,
	claims int NOT NULL DEFAULT 0,
	worker bigint,
	pid int,
	not_before timestamptz,
	queued_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (job, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE chatglm.job_queue IS
'keys that jobs have yet to compute, or are computing; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.job_queue.id IS 'number of the row, in the order of their coming';
COMMENT ON COLUMN chatglm.job_queue.job IS 'name of the job';
COMMENT ON COLUMN chatglm.job_queue.keys IS 'keys of rows; of several columns, each is an array of theirs as text';
COMMENT ON COLUMN chatglm.job_queue.changed IS 'whether rows that are as they were answered are left out';
COMMENT ON COLUMN chatglm.job_queue.tries IS 'attempts that have failed, of each of the keys';
COMMENT ON COLUMN chatglm.job_queue.claims IS 'how often a session began to compute them';
COMMENT ON COLUMN chatglm.job_queue.worker IS 'token of the session that computes them; null: none does';
COMMENT ON COLUMN chatglm.job_queue.pid IS 'process of that session';
COMMENT ON COLUMN chatglm.job_queue.not_before IS 'when they may be tried again';
COMMENT ON COLUMN chatglm.job_queue.queued_at IS 'when they came';
REVOKE ALL ON chatglm.job_queue FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.job_queue', '');

CREATE TABLE chatglm.job_error (
	job text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	attempts int NOT NULL,
	sqlstate text NOT NULL,
	message text NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (job, key)
);
COMMENT ON TABLE chatglm.job_error IS
'rows that jobs have given up; pg_dump keeps them';
COMMENT ON COLUMN chatglm.job_error.job IS 'name of the job';
COMMENT ON COLUMN chatglm.job_error.key IS 'key of the row';
COMMENT ON COLUMN chatglm.job_error.attempts IS 'attempts that it had';
COMMENT ON COLUMN chatglm.job_error.sqlstate IS 'SQLSTATE of the last error';
COMMENT ON COLUMN chatglm.job_error.message IS 'beginning of its message';
COMMENT ON COLUMN chatglm.job_error.at IS 'when it was given up';
REVOKE ALL ON chatglm.job_error FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.job_error', '');

CREATE TABLE chatglm.job_done (
	job text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	hash bytea NOT NULL,
	PRIMARY KEY (job, key)
);
COMMENT ON TABLE chatglm.job_done IS
'of what inputs, call and model the stored answers of jobs are; pg_dump keeps the rows';
COMMENT ON COLUMN chatglm.job_done.job IS 'name of the job';
COMMENT ON COLUMN chatglm.job_done.key IS 'key of the row';
COMMENT ON COLUMN chatglm.job_done.hash IS 'SHA-256 of inputs, call and model';
REVOKE ALL ON chatglm.job_done FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('chatglm.job_done', '');

-- Everybody may execute it, so that whoever makes a partition gets its trigger; nobody else
-- has the right to use the schema.
CREATE FUNCTION chatglm.job_row() RETURNS trigger
AS 'MODULE_PATHNAME', 'chatglm_job_row'
LANGUAGE C;
COMMENT ON FUNCTION chatglm.job_row IS
'appends the key of a row that was written to the queue of a continuous job';

CREATE FUNCTION glm_job_create(name text, source regclass, key text, target text, call text, options jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_create IS
'makes a job that writes an expression over each row of a table into columns of the row';

CREATE FUNCTION glm_job_drop(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_drop IS
'removes a job with all that it remembers; what it has stored in its table stays';

CREATE PROCEDURE glm_job_run(name text)
AS 'MODULE_PATHNAME', 'chatglm_job_run'
LANGUAGE C;
COMMENT ON PROCEDURE glm_job_run IS
'runs a job here and now, in a transaction for each chunk, until nothing is left to do';

CREATE FUNCTION glm_job_start(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_start'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_start IS
'has a job run in the background, from its beginning or, when it was stopped on the way, from there';

CREATE FUNCTION glm_job_pause(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_pause'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_pause IS
'lets a running job begin no further chunk';

CREATE FUNCTION glm_job_resume(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_resume'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_resume IS
'lets a paused job go on where it was';

CREATE FUNCTION glm_job_cancel(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_cancel'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_cancel IS
'ends a job at once, with what is being computed; started again, it begins anew';

CREATE FUNCTION glm_job_sync(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'chatglm_job_sync'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE COST 1000;
COMMENT ON FUNCTION glm_job_sync IS
'has a job walk through its table again and compute the rows whose inputs, call or model are not those of their answers';

CREATE FUNCTION glm_job_estimate(name text, sample int DEFAULT 8)
RETURNS TABLE (rows bigint, tokens bigint, seconds float8)
AS 'MODULE_PATHNAME', 'chatglm_job_estimate'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 ROWS 1;
COMMENT ON FUNCTION glm_job_estimate IS
'tells what a job will take: rows as the planner expects them, tokens and time from computing some of them here, without storing them';

CREATE FUNCTION chatglm.jobs()
RETURNS TABLE (name text, owner name, source regclass, mode text, state text, reason text, background boolean,
	done bigint, failed bigint, stale bigint, rows_left bigint, estimated boolean, rate float8, eta interval,
	lag interval, tokens bigint, workers int, not_before timestamptz, started timestamptz, finished timestamptz)
AS 'MODULE_PATHNAME', 'chatglm_jobs_rows'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION chatglm.jobs IS 'the rows of view glm_jobs';

CREATE VIEW glm_jobs AS SELECT * FROM chatglm.jobs();
COMMENT ON VIEW glm_jobs IS
'jobs of the roles that one is a member of, and how far they have come';
COMMENT ON COLUMN glm_jobs.name IS 'name of the job';
COMMENT ON COLUMN glm_jobs.owner IS 'role that made it, and with whose rights it runs';
COMMENT ON COLUMN glm_jobs.source IS 'table whose rows it is about';
COMMENT ON COLUMN glm_jobs.mode IS 'once or continuous';
COMMENT ON COLUMN glm_jobs.state IS 'created, running, paused, done or cancelled';
COMMENT ON COLUMN glm_jobs.reason IS 'why it is paused or waits; null: somebody paused it';
COMMENT ON COLUMN glm_jobs.background IS 'whether processes in the background work on it';
COMMENT ON COLUMN glm_jobs.done IS 'rows stored since it was begun';
COMMENT ON COLUMN glm_jobs.failed IS 'rows given up since then, which glm_job_errors shows';
COMMENT ON COLUMN glm_jobs.stale IS 'answers thrown away since then, as their rows had changed while they were computed';
COMMENT ON COLUMN glm_jobs.rows_left IS 'rows still to be computed';
COMMENT ON COLUMN glm_jobs.estimated IS 'whether rows_left is an estimate: until the walk through the table ends, or of a long queue';
COMMENT ON COLUMN glm_jobs.rate IS 'rows stored a second, of late; null before the second chunk';
COMMENT ON COLUMN glm_jobs.eta IS 'time that the rest takes at this rate; null when it does not run';
COMMENT ON COLUMN glm_jobs.lag IS 'how long the oldest key in the queue has been there';
COMMENT ON COLUMN glm_jobs.tokens IS 'tokens of prompts and answers since it was begun';
COMMENT ON COLUMN glm_jobs.workers IS 'chunks that are being computed now';
COMMENT ON COLUMN glm_jobs.not_before IS 'when the next chunk may be computed, after a fault or by a budget; null: at once';
COMMENT ON COLUMN glm_jobs.started IS 'when it was begun';
COMMENT ON COLUMN glm_jobs.finished IS 'when it was done or cancelled';
GRANT SELECT ON glm_jobs TO PUBLIC;

CREATE FUNCTION chatglm.job_errors()
RETURNS TABLE (name text, key text, attempts int, sqlstate text, message text, at timestamptz)
AS 'MODULE_PATHNAME', 'chatglm_job_errors_rows'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION chatglm.job_errors IS 'the rows of view glm_job_errors';

CREATE VIEW glm_job_errors AS SELECT * FROM chatglm.job_errors();
COMMENT ON VIEW glm_job_errors IS
'rows that jobs have given up, of jobs of the roles that one is a member of';
COMMENT ON COLUMN glm_job_errors.name IS 'name of the job';
COMMENT ON COLUMN glm_job_errors.key IS 'key of the row; of several columns, an array of theirs as text';
COMMENT ON COLUMN glm_job_errors.attempts IS 'attempts that it had';
COMMENT ON COLUMN glm_job_errors.sqlstate IS 'SQLSTATE of the last error';
COMMENT ON COLUMN glm_job_errors.message IS 'beginning of its message';
COMMENT ON COLUMN glm_job_errors.at IS 'when it was given up';
GRANT SELECT ON glm_job_errors TO PUBLIC;
