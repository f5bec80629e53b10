/*
 * chatglm_tap--1.0.sql - assertions about answers of models, in pgTAP's manner.
 *
 * Each assertion returns text, counts as one test, takes its description last but for args,
 * and says by diag() why it failed.  An ERROR of a request fails one test and ends no script,
 * so models are asked through the glm_try_ functions.  Answers are untrusted: they come into
 * the output only quoted and through diag(), which puts a # before each line.
 *
 * Functions of pgTAP are called without their schema, as pgTAP itself does and as scripts do;
 * chatglm's with it, which is looked up when they are called, as it is nobody's business here.
 * No temporary tables: suites run on standbys too.
 */

\echo Use "CREATE EXTENSION chatglm_tap" to load this file. \quit

-- ---- Asking ----

CREATE FUNCTION _glm_tap_schema() RETURNS text
LANGUAGE sql STABLE
AS $$
	SELECT pg_catalog.quote_ident(n.nspname)
	  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
	 WHERE e.extname = 'chatglm'
$$;

-- Arguments of a call from $1, the args of an assertion, as SQL.  What they may be is checked here.
CREATE FUNCTION _glm_tap_arguments(args jsonb) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	wrong text;
BEGIN
	IF args IS NULL OR jsonb_typeof(args) <> 'object' THEN
		RAISE EXCEPTION 'args must be a JSON object' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	SELECT key INTO wrong FROM jsonb_object_keys(args) AS key
	 WHERE key NOT IN ('model', 'system', 'max_tokens', 'temperature', 'top_p', 'top_k', 'seed', 'options');
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION 'args have no key "%"', wrong
			USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Keys are model, system, max_tokens, temperature, top_p, top_k, seed and options.';
	END IF;
	IF coalesce((args->>'temperature')::float8, 0) > 0 AND args->>'seed' IS NULL THEN
		RAISE EXCEPTION 'args have a temperature and no seed, so no two runs would be alike'
			USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a seed, too, or leave the temperature out: it is 0 then.';
	END IF;
	RETURN $sql$model => $1->>'model', system => $1->>'system', max_tokens => ($1->>'max_tokens')::int,
		temperature => coalesce(($1->>'temperature')::float8, 0), top_p => ($1->>'top_p')::float8,
		top_k => ($1->>'top_k')::int, seed => ($1->>'seed')::bigint, options => $1->'options'$sql$;
END
$$;

-- One answer; problem says why there is none.
CREATE FUNCTION _glm_tap_ask(prompt text, args jsonb, OUT answer text, OUT finish text, OUT tokens int, OUT problem text)
LANGUAGE plpgsql
AS $$
DECLARE
	r record;
BEGIN
	IF prompt IS NULL THEN
		problem := 'the prompt is NULL';
		RETURN;
	END IF;
	EXECUTE format('SELECT (r).* FROM (SELECT %s.glm_try_generate($2, %s) AS r) AS asked',
				   @extschema@._glm_tap_schema(), @extschema@._glm_tap_arguments(args))
		INTO r USING args, prompt;
	answer := r.response;
	finish := r.finish_reason;
	tokens := r.completion_tokens;
	problem := CASE WHEN r.error IS NOT NULL THEN format('ERROR %s: %s', r.sqlstate, r.error)
					WHEN r.response IS NULL THEN 'the answer is NULL' END;
END
$$;

-- The text of a query: itself, or that of the prepared statement it names.
CREATE FUNCTION _glm_tap_query(query text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	prepared text;
BEGIN
	IF query !~ '\s' OR query ~ '^".*"$' THEN
		SELECT regexp_replace(statement, '^\s*prepare\s.*?\sas\s', '', 'i') INTO prepared
		  FROM pg_catalog.pg_prepared_statements
		 WHERE name = CASE WHEN query ~ '^"' THEN replace(substr(query, 2, length(query) - 2), '""', '"') ELSE lower(query) END;
		IF prepared IS NULL THEN
			RAISE EXCEPTION 'prepared statement "%" does not exist', query USING ERRCODE = 'invalid_sql_statement_name';
		END IF;
		query := prepared;
	END IF;
	RETURN regexp_replace(query, ';\s*$', '');
END
$$;

/*
 * SQL that asks for the answers to all rows (prompt, wanted) of a query, in flight; $1 are args.
 * Its one row has arrays in the order of the rows.
 */
CREATE FUNCTION _glm_tap_answers(query text, columns text, args jsonb) RETURNS text
LANGUAGE sql STABLE
AS $$
	SELECT format(
		'SELECT array_agg(prompt ORDER BY n), array_agg(wanted ORDER BY n), array_agg((r).response ORDER BY n),'
		'       array_agg(CASE WHEN prompt IS NULL THEN ''the prompt is NULL'''
		'                      WHEN (r).error IS NOT NULL THEN format(''ERROR %%s: %%s'', (r).sqlstate, (r).error) END ORDER BY n)'
		'  FROM (SELECT n, prompt, wanted, %s.glm_try_generate(prompt, %s) AS r'
		'          FROM (SELECT row_number() OVER () AS n, %s FROM (%s) AS given(%s)) AS numbered) AS asked',
		@extschema@._glm_tap_schema(), @extschema@._glm_tap_arguments(args),
		CASE columns WHEN 'prompt' THEN 'prompt::text, NULL::text AS wanted' ELSE 'prompt::text, wanted::text' END,
		@extschema@._glm_tap_query(query), columns)
$$;

-- A failed test and why.
CREATE FUNCTION _glm_tap_fail(description text, reason text) RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
	RETURN fail(description) || E'\n' || diag(regexp_replace(reason, '^', '    ', 'gn'));
END
$$;

-- ---- One answer ----

CREATE FUNCTION answer_is(prompt text, want text, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a record;
BEGIN
	a := @extschema@._glm_tap_ask(prompt, args);
	IF a.problem IS NULL AND a.answer = want THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description,
		coalesce(a.problem, format(E'have: %L\nwant: %L', a.answer, want)));
END
$$;
COMMENT ON FUNCTION answer_is IS 'passes if the answer is this text';

CREATE FUNCTION answer_matches(prompt text, regex text, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a record;
BEGIN
	a := @extschema@._glm_tap_ask(prompt, args);
	IF a.problem IS NULL AND a.answer ~ regex THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description,
		coalesce(a.problem, format('answer %L does not match %L', a.answer, regex)));
END
$$;
COMMENT ON FUNCTION answer_matches IS 'passes if the answer matches a regular expression of PostgreSQL';

CREATE FUNCTION answer_in(prompt text, labels text[], description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a record;
BEGIN
	a := @extschema@._glm_tap_ask(prompt, args);
	IF a.problem IS NULL AND a.answer = ANY (labels) THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description,
		coalesce(a.problem, format('answer %L is none of %s', a.answer, coalesce(labels::text, 'NULL'))));
END
$$;
COMMENT ON FUNCTION answer_in IS 'passes if the answer is one of these texts';

CREATE FUNCTION answer_is_json(prompt text, schema json DEFAULT NULL, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a record;
BEGIN
	IF schema IS NULL OR prompt IS NULL THEN
		a := @extschema@._glm_tap_ask(prompt, args);
		IF a.problem IS NULL THEN
			BEGIN
				PERFORM a.answer::jsonb;
				RETURN ok(true, description);
			EXCEPTION WHEN data_exception THEN
				a.problem := format('answer %L is no JSON: %s', a.answer, SQLERRM);
			END;
		END IF;
		RETURN @extschema@._glm_tap_fail(description, a.problem);
	END IF;
	EXECUTE format('SELECT (r).* FROM (SELECT %s.glm_try_json($2, $3, %s) AS r) AS asked',
				   @extschema@._glm_tap_schema(), @extschema@._glm_tap_arguments(args))
		INTO a USING args, prompt, schema;
	IF a.error IS NULL AND a.value IS NOT NULL THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description,
		CASE WHEN a.error IS NULL THEN 'the answer is NULL' ELSE format('ERROR %s: %s', a.sqlstate, a.error) END);
END
$$;
COMMENT ON FUNCTION answer_is_json IS
	'passes if the answer is JSON; with a schema, if an answer kept to it comes to an end';

CREATE FUNCTION finishes(prompt text, reason text DEFAULT 'stop', description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a record;
BEGIN
	a := @extschema@._glm_tap_ask(prompt, args);
	IF a.finish = reason THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description,
		coalesce(a.problem, format('ended by %L after %s tokens, not by %L: %L', a.finish, a.tokens, reason, a.answer)));
END
$$;
COMMENT ON FUNCTION finishes IS 'passes if the answer ends for this reason: stop or length';

CREATE FUNCTION tokens_within(prompt text, most int, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a record;
BEGIN
	a := @extschema@._glm_tap_ask(prompt, args);
	IF a.problem IS NULL AND a.tokens <= most AND a.finish = 'stop' THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description,
		coalesce(a.problem, format('%s tokens, ended by %L; at most %s wanted, ended by ''stop''', a.tokens, a.finish, most)));
END
$$;
COMMENT ON FUNCTION tokens_within IS 'passes if the answer ends by itself and has at most so many tokens';

CREATE FUNCTION calls_tool(messages jsonb, tools json, name text, arguments jsonb DEFAULT NULL, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	answer jsonb;
	call   jsonb;
	state  text;
	problem text;
BEGIN
	IF messages IS NULL THEN
		RETURN @extschema@._glm_tap_fail(description, 'the messages are NULL');
	END IF;
	BEGIN
		EXECUTE format('SELECT %s.glm_chat($2, $3, %s)', @extschema@._glm_tap_schema(), @extschema@._glm_tap_arguments(args))
			INTO answer USING args, messages, tools;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, problem = MESSAGE_TEXT;
		RETURN @extschema@._glm_tap_fail(description, format('ERROR %s: %s', state, problem));
	END;
	FOR call IN SELECT c->'function' FROM jsonb_array_elements(coalesce(answer->'tool_calls', '[]')) AS c
	LOOP
		CONTINUE WHEN call->>'name' IS DISTINCT FROM calls_tool.name;
		CONTINUE WHEN arguments IS NOT NULL AND NOT (call->>'arguments')::jsonb @> arguments;
		RETURN ok(true, description);
	END LOOP;
	RETURN @extschema@._glm_tap_fail(description, format(E'wanted a call of %L%s\nanswer: %L', name,
		coalesce(' with ' || arguments::text, ''), coalesce(answer->>'tool_calls', answer->>'content')));
END
$$;
COMMENT ON FUNCTION calls_tool IS
	'passes if the answer to a chat calls this tool, with arguments that contain these';

CREATE FUNCTION is_sure(prompt text, at_least float8, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	answer text;
	sure   float8;
	state  text;
	problem text;
BEGIN
	IF prompt IS NULL THEN
		RETURN @extschema@._glm_tap_fail(description, 'the prompt is NULL');
	END IF;
	BEGIN
		EXECUTE format('SELECT string_agg(token, '''' ORDER BY seq), exp(sum(logprob::float8)) FROM %s.glm_stream($2, %s)',
					   @extschema@._glm_tap_schema(), @extschema@._glm_tap_arguments(args))
			INTO answer, sure USING args, prompt;
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, problem = MESSAGE_TEXT;
		RETURN @extschema@._glm_tap_fail(description, format('ERROR %s: %s', state, problem));
	END;
	IF sure >= at_least THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description, format('answer %L has a probability of %s, the product of its tokens''; at least %s wanted',
		answer, round(sure::numeric, 4), coalesce(at_least::text, 'NULL')));
END
$$;
COMMENT ON FUNCTION is_sure IS
	'passes if the probability of the whole answer, the product of its tokens'' probabilities, is at least this';

CREATE FUNCTION performs_tokens_ok(prompt text, tokens_per_second float8, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	a     record;
	began timestamptz;
	rate  float8;
	best  float8;
BEGIN
	FOR run IN 0..3 LOOP	/* the first one warms up: model, caches */
		began := clock_timestamp();
		a := @extschema@._glm_tap_ask(prompt, args);
		IF a.problem IS NOT NULL THEN
			RETURN @extschema@._glm_tap_fail(description, a.problem);
		END IF;
		rate := a.tokens / greatest(extract(epoch FROM clock_timestamp() - began), 1e-6);
		best := greatest(best, CASE WHEN run > 0 THEN rate END);
	END LOOP;
	IF best >= tokens_per_second THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description, format('%s tokens a second, the best of 3 runs; at least %s wanted',
		round(best::numeric, 1), coalesce(tokens_per_second::text, 'NULL')));
END
$$;
COMMENT ON FUNCTION performs_tokens_ok IS
	'passes if the best of three warm runs makes at least so many tokens a second, its prompt''s time included';

-- ---- Many answers ----

-- How often which wanted text got which answer, the twenty most frequent pairs.
CREATE FUNCTION _glm_tap_confusion(wanted text[], answers text[]) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
	SELECT string_agg(line, E'\n' ORDER BY n DESC, line)
	  FROM (SELECT count(*) AS n, format('%L -> %s: %s', left(w, 60), coalesce(quote_literal(left(a, 60)), '(error)'), count(*)) AS line
			  FROM unnest(wanted, answers) AS pair(w, a)
			 GROUP BY left(w, 60), left(a, 60) ORDER BY count(*) DESC, 2 LIMIT 20) AS pairs
$$;

CREATE FUNCTION accuracy_ok(query text, at_least float8, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	prompts  text[];
	wanted   text[];
	answers  text[];
	problems text[];
	rows     int;
	good     int;
	wrong    text;
BEGIN
	EXECUTE @extschema@._glm_tap_answers(query, 'prompt, wanted', args) INTO prompts, wanted, answers, problems USING args;
	rows := coalesce(cardinality(prompts), 0);
	IF rows = 0 THEN
		RETURN @extschema@._glm_tap_fail(description, 'the query has no rows');
	END IF;
	good := (SELECT count(*) FROM unnest(wanted, answers) AS pair(w, a) WHERE a = w);
	IF good >= at_least * rows THEN
		RETURN ok(true, description);
	END IF;
	wrong := (SELECT string_agg(format('row %s: %L gave %s, wanted %L', n, left(p, 60), coalesce(quote_literal(left(a, 60)), e), left(w, 60)), E'\n' ORDER BY n)
				FROM (SELECT * FROM unnest(prompts, wanted, answers, problems) WITH ORDINALITY AS given(p, w, a, e, n)
					   WHERE a IS DISTINCT FROM w ORDER BY n LIMIT 5) AS first);
	RETURN @extschema@._glm_tap_fail(description, concat_ws(E'\n',
		format('%s of %s right (%s), at least %s wanted', good, rows, round(good::numeric / rows, 4), coalesce(at_least::text, 'NULL')),
		@extschema@._glm_tap_confusion(wanted, answers), wrong));
END
$$;
COMMENT ON FUNCTION accuracy_ok IS
	'passes if at least this share of the rows (prompt, wanted) of a query gets the answer that is wanted';

CREATE FUNCTION agreement_ok(query text, model_a text, model_b text, at_least float8, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	prompts text[];
	given   text[];
	a       text[];
	b       text[];
	errors_a text[];
	errors_b text[];
	with_a  jsonb := args || jsonb_build_object('model', model_a);
	with_b  jsonb := args || jsonb_build_object('model', model_b);
	rows    int;
	alike   int;
	other   text;
BEGIN
	EXECUTE @extschema@._glm_tap_answers(query, 'prompt', with_a) INTO prompts, given, a, errors_a USING with_a;
	rows := coalesce(cardinality(prompts), 0);
	IF rows = 0 THEN
		RETURN @extschema@._glm_tap_fail(description, 'the query has no rows');
	END IF;
	/* the same prompts, whatever the query would give a second time */
	EXECUTE @extschema@._glm_tap_answers(format('SELECT unnest(%L::text[])', prompts), 'prompt', with_b) INTO prompts, given, b, errors_b USING with_b;
	alike := (SELECT count(*) FROM unnest(a, b) AS pair(a, b) WHERE pair.a = pair.b);
	IF alike >= at_least * rows THEN
		RETURN ok(true, description);
	END IF;
	other := (SELECT string_agg(format('row %s: %L gave %s and %s', n, left(p, 60), coalesce(quote_literal(left(x, 60)), ex), coalesce(quote_literal(left(y, 60)), ey)), E'\n' ORDER BY n)
				FROM (SELECT * FROM unnest(prompts, a, b, errors_a, errors_b) WITH ORDINALITY AS given(p, x, y, ex, ey, n)
					   WHERE x = y IS NOT TRUE ORDER BY n LIMIT 5) AS first);
	RETURN @extschema@._glm_tap_fail(description, format(E'%s of %s alike (%s), at least %s wanted\n%s',
		alike, rows, round(alike::numeric / rows, 4), coalesce(at_least::text, 'NULL'), other));
END
$$;
COMMENT ON FUNCTION agreement_ok IS
	'passes if two models give the same answer to at least this share of the prompts of a query';

-- ---- Answers that were recorded ----

CREATE FUNCTION _glm_tap_model_hash(args jsonb) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	hash text;
BEGIN
	EXECUTE format('SELECT %s.glm_model_hash($1)', @extschema@._glm_tap_schema())
		INTO hash USING coalesce(args->>'model', current_setting('chatglm.model'));
	RETURN hash;
END
$$;

CREATE FUNCTION record_answers(query text, answers_table text, args jsonb DEFAULT '{}') RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
	prompts  text[];
	given    text[];
	answers  text[];
	problems text[];
	problem  text;
	n        bigint;
BEGIN
	EXECUTE @extschema@._glm_tap_answers(query, 'prompt', args) INTO prompts, given, answers, problems USING args;
	problem := (SELECT format('%L: %s', left(p, 60), e) FROM unnest(prompts, problems) AS r(p, e) WHERE e IS NOT NULL LIMIT 1);
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION 'nothing is recorded, as a prompt has no answer' USING DETAIL = problem;
	END IF;
	IF to_regclass(answers_table) IS NULL THEN
		EXECUTE format('CREATE TABLE %s (prompt_hash text PRIMARY KEY, prompt text NOT NULL, answer text,'
					   ' args jsonb NOT NULL, model_hash text NOT NULL, recorded timestamptz NOT NULL)', answers_table);
	END IF;
	EXECUTE format('DELETE FROM %s', answers_table);
	EXECUTE format('INSERT INTO %s SELECT DISTINCT ON (p) encode(sha256(convert_to(p, ''UTF8'')), ''hex''), p, a, $1, $2, now()'
				   ' FROM unnest($3, $4) AS r(p, a)', answers_table)
		USING args, @extschema@._glm_tap_model_hash(args), prompts, answers;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION record_answers IS
	'makes a table anew of the answers to the prompts of a query, for same_answers; returns their number';

CREATE FUNCTION same_answers(query text, answers_table text, description text DEFAULT NULL, args jsonb DEFAULT '{}') RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	prompts  text[];
	given    text[];
	answers  text[];
	problems text[];
	hash     text;
	r        record;
BEGIN
	IF to_regclass(answers_table) IS NULL THEN
		RETURN @extschema@._glm_tap_fail(description, format(
			'nothing is recorded: there is no table %s; call record_answers in a transaction that is not rolled back', answers_table));
	END IF;
	EXECUTE @extschema@._glm_tap_answers(query, 'prompt', args) INTO prompts, given, answers, problems USING args;
	hash := @extschema@._glm_tap_model_hash(args);
	EXECUTE format(
		'SELECT count(*) AS recorded, min(model_hash) AS model_hash, bool_and(args = $1) AS same_args,'
		'       count(*) FILTER (WHERE p IS NULL) AS gone,'
		'       count(*) FILTER (WHERE p IS NOT NULL AND a IS DISTINCT FROM answer) AS other,'
		'       (SELECT count(DISTINCT p) FROM unnest($2) AS p WHERE NOT EXISTS (SELECT FROM %1$s t WHERE t.prompt = p)) AS new,'
		'       (array_agg(format(''%%L: %%s, was %%L'', left(p, 60), coalesce(quote_literal(left(a, 60)), e), left(answer, 60)) ORDER BY n)'
		'          FILTER (WHERE p IS NOT NULL AND a IS DISTINCT FROM answer))[1:5] AS differences'
		'  FROM %1$s t LEFT JOIN (SELECT DISTINCT ON (p) * FROM unnest($2, $3, $4) WITH ORDINALITY AS r(p, a, e, n)) AS now ON p = prompt',
		answers_table) INTO r USING args, prompts, answers, problems;
	IF r.recorded = 0 THEN
		RETURN @extschema@._glm_tap_fail(description, format(
			'nothing is recorded: table %s is empty; call record_answers in a transaction that is not rolled back', answers_table));
	ELSIF r.gone = 0 AND r.new = 0 AND r.other = 0 AND r.same_args THEN
		RETURN ok(true, description);
	END IF;
	RETURN @extschema@._glm_tap_fail(description, concat_ws(E'\n',
		format('%s of %s answers differ, %s prompts are new, %s are gone', r.other, r.recorded, r.new, r.gone),
		CASE WHEN NOT r.same_args THEN 'args are not those of the recording' END,
		CASE WHEN r.model_hash = hash THEN 'the model is the same: ' || hash
			 ELSE format('the model changed: %s, was %s', hash, r.model_hash) END,
		array_to_string(r.differences, E'\n')));
END
$$;
COMMENT ON FUNCTION same_answers IS
	'passes if the prompts of a query get the answers that record_answers wrote to a table; else tells a changed model from changed prompts';
