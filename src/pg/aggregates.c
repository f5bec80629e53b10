/*
 * aggregates.c - glm_summarize_agg, glm_agg and glm_reduce: many rows made one text by a
 * model.
 *
 * The transition function only puts texts by, in the order in which they come, which is that
 * of ORDER BY in the call where it has one; the model is asked when all are there (fold.c).
 * Partial states of parallel workers could not be joined: which rows a worker has is a matter
 * of chance, and the answer would be as well.  What runs side by side are the questions.
 *
 * Each group has a tuplestore, whose temporary file goes with the group.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "args.h"
#include "ask.h"
#include "catch.h"
#include "encoding.h"
#include "fold.h"
#include "options.h"
#include "outcome.h"
#include "route.h"
#include "text_store.h"

PG_FUNCTION_INFO_V1(chatglm_put_by);
PG_FUNCTION_INFO_V1(chatglm_put_by_with_options);
PG_FUNCTION_INFO_V1(chatglm_put_by_instructed);
PG_FUNCTION_INFO_V1(chatglm_put_by_instructed_with_options);
PG_FUNCTION_INFO_V1(chatglm_summarize_texts);
PG_FUNCTION_INFO_V1(chatglm_agg_texts);
PG_FUNCTION_INFO_V1(chatglm_reduce_texts);
PG_FUNCTION_INFO_V1(chatglm_try_summarize_texts);
PG_FUNCTION_INFO_V1(chatglm_try_agg_texts);
PG_FUNCTION_INFO_V1(chatglm_try_reduce_texts);

#define KEY_BYTES 200 /* of a text, to choose a model by */

/* What a group has brought. */
typedef struct Collected
{
	ChatglmTexts *texts;
	text		 *instruction; /* NULL: the aggregate has none */
	Jsonb		 *options;	   /* NULL: none were given */
	char		 *route_key;   /* UTF-8: how its first text begins */
} Collected;

/* ---- Rows ------------------------------------------------------------------------------- */

static void
end_group(Datum arg)
{
	Collected *collected = (Collected *) DatumGetPointer(arg);

	chatglm_texts_end(collected->texts);
}

static Collected *
begin_group(FunctionCallInfo fcinfo, const text *content, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Collected	 *collected = palloc0(sizeof(*collected));
	int length = pg_mbcliplen(VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content), KEY_BYTES);

	collected->texts = chatglm_texts_begin();
	collected->route_key = chatglm_cstring_to_utf8(pnstrdup(VARDATA_ANY(content), length));
	AggRegisterCallback(fcinfo, end_group, PointerGetDatum(collected));
	MemoryContextSwitchTo(old);
	return collected;
}

/* Two values of the same type, without NULLs; each detoasted. */
static bool
are_equal(const void *a, const void *b)
{
	return VARSIZE_ANY(a) == VARSIZE_ANY(b) && memcmp(a, b, VARSIZE_ANY(a)) == 0;
}

/* An argument that has to be the same in all rows; *kept has that of the first. */
static void
keep_same(void **kept, bool first, const NullableDatum *arg, const char *name,
		  MemoryContext context)
{
	void *value = arg->isnull ? NULL : PG_DETOAST_DATUM(arg->value);

	if (first && value != NULL)
	{
		*kept = MemoryContextAlloc(context, VARSIZE_ANY(value));
		memcpy(*kept, value, VARSIZE_ANY(value));
	}
	if (value == NULL ? *kept != NULL : *kept == NULL || !are_equal(value, *kept))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be the same in all rows of a group", name)));
}

/* Puts a row by, unless its content is NULL; instruction and options are arguments or -1. */
static Datum
collect(FunctionCallInfo fcinfo, int instruction, int options)
{
	Collected	 *collected = PG_ARGISNULL(0) ? NULL : (Collected *) PG_GETARG_POINTER(0);
	bool		  first = collected == NULL;
	MemoryContext context;

	if (AggCheckCallContext(fcinfo, &context) == 0)
		elog(ERROR, "called as what it is not, a transition function");
	if (PG_ARGISNULL(1))
	{
		if (first)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(collected);
	}
	if (instruction > 0 && PG_ARGISNULL(instruction))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"instruction\" must not be NULL")));
	if (first)
		collected = begin_group(fcinfo, PG_GETARG_TEXT_PP(1), context);
	if (instruction > 0)
		keep_same((void **) &collected->instruction, first, &fcinfo->args[instruction],
				  "instruction", context);
	if (options > 0)
		keep_same((void **) &collected->options, first, &fcinfo->args[options], "options", context);
	chatglm_texts_add(collected->texts, PG_GETARG_TEXT_PP(1));
	PG_RETURN_POINTER(collected);
}

/* chatglm.put_by(internal, content text) returns internal */
Datum
chatglm_put_by(PG_FUNCTION_ARGS)
{
	return collect(fcinfo, -1, -1);
}

/* chatglm.put_by(internal, content text, options jsonb) returns internal */
Datum
chatglm_put_by_with_options(PG_FUNCTION_ARGS)
{
	return collect(fcinfo, -1, 2);
}

/* chatglm.put_by(internal, content text, instruction text) returns internal */
Datum
chatglm_put_by_instructed(PG_FUNCTION_ARGS)
{
	return collect(fcinfo, 2, -1);
}

/* chatglm.put_by(internal, content text, instruction text, options jsonb) returns internal */
Datum
chatglm_put_by_instructed_with_options(PG_FUNCTION_ARGS)
{
	return collect(fcinfo, 2, 3);
}

/* ---- Options ------------------------------------------------------------------------------ */

/* Those that are arguments elsewhere, and their places in ...G. */
static const struct
{
	const char *key;
	int			place;
	PGFunction	convert; /* of a numeric; NULL: a string */
} arguments[] = {
	{"model", 0, NULL},
	{"system", 1, NULL},
	{"max_tokens", 2, numeric_int4},
	{"temperature", 3, numeric_float8},
	{"top_p", 4, numeric_float8},
	{"top_k", 5, numeric_int4},
	{"seed", 6, numeric_int8},
};

#define TAIL_OPTIONS_PLACE (CHATGLM_N_TAIL - 1)

/* Puts an option where the argument of its name is; false: it is none of these. */
static bool
put_argument(NullableDatum *tail, const char *key, const JsonbValue *value)
{
	for (int i = 0; i < (int) lengthof(arguments); i++)
	{
		PGFunction	   convert = arguments[i].convert;
		NullableDatum *argument = &tail[arguments[i].place];

		if (strcmp(key, arguments[i].key) != 0)
			continue;
		if (value->type == jbvNull)
			return true;
		if (value->type != (convert != NULL ? jbvNumeric : jbvString))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"options.%s\" must be a %s", key,
								   convert != NULL ? "number" : "string")));
		argument->isnull = false;
		argument->value = convert != NULL
							  ? DirectFunctionCall1(convert, NumericGetDatum(value->val.numeric))
							  : PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
																		 value->val.string.len));
		return true;
	}
	return false;
}

/* The rest, which ...G has as options, too. */
static void
put_rest(JsonbParseState **rest, const char *key, JsonbValue *value)
{
	static const char *const known[] = {
		"cache",	"frequency_penalty",  "logit_bias", "min_p",	 "presence_penalty",
		"priority", "repetition_penalty", "route_key",	"timeout_ms"};
	JsonbValue name = {.type = jbvString};

	for (int i = 0; i < (int) lengthof(known); i++)
		if (strcmp(key, known[i]) == 0)
		{
			name.val.string.val = unconstify(char *, key);
			name.val.string.len = strlen(key);
			pushJsonbValue(rest, WJB_KEY, &name);
			pushJsonbValue(rest, WJB_VALUE, value);
			return;
		}
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("unknown key \"%s\" in argument \"options\"", key),
		 errhint("Known keys are cache, frequency_penalty, logit_bias, max_tokens, min_p, model, "
				 "presence_penalty, priority, repetition_penalty, route_key, seed, system, "
				 "temperature, timeout_ms, top_k and top_p.")));
}

typedef struct Reading
{
	NullableDatum	*tail;
	JsonbParseState *rest;
} Reading;

static void
read_option(const char *key, JsonbValue *value, void *arg)
{
	Reading *reading = arg;

	if (!put_argument(reading->tail, key, value))
		put_rest(&reading->rest, key, value);
}

/* What the options say, in the order of ...G. */
static void
read_group_options(Jsonb *options, NullableDatum *tail)
{
	Reading		reading = {tail, NULL};
	JsonbValue *rest;

	pushJsonbValue(&reading.rest, WJB_BEGIN_OBJECT, NULL);
	chatglm_read_options(options, read_option, &reading);
	rest = pushJsonbValue(&reading.rest, WJB_END_OBJECT, NULL);
	tail[TAIL_OPTIONS_PLACE].isnull = false;
	tail[TAIL_OPTIONS_PLACE].value = JsonbPGetDatum(JsonbValueToJsonb(rest));
}

/* ---- Outcomes ------------------------------------------------------------------------------ */

/* An aggregate. */
typedef struct Folding
{
	const char *name;
	const char *task;
	const char *merge; /* NULL: from the left, by the task alone */
} Folding;

static const Folding summarize_agg = {"glm_summarize_agg", "summarize_agg", "summarize_agg_merge"};
static const Folding agg = {"glm_agg", "agg", "agg_merge"};
static const Folding reduce = {"glm_reduce", "reduce", NULL};

/* What becomes of a group. */
typedef struct Outcome
{
	const Folding	*folding;
	const Collected *collected;
	ChatglmFold		 fold;
	text			*result;
} Outcome;

/*
 * What all questions of a group have in common.  Where a route is named they are all asked
 * of one model, which the first text decides if no key does.
 */
static void
begin_fold(ChatglmFold *fold, const Collected *collected)
{
	NullableDatum tail[CHATGLM_N_TAIL];

	for (int i = 0; i < CHATGLM_N_TAIL; i++)
		tail[i] = (NullableDatum){(Datum) 0, true};
	if (collected->options != NULL)
		read_group_options(collected->options, tail);
	chatglm_call_defaults(&fold->call, GLM_GENERATE);
	fold->call.form = GLM_PROMPT;
	chatglm_read_tail(&fold->call, tail);
	chatglm_require_told(&fold->call, NULL);
	if (fold->call.priority == CHATGLM_PRIORITY_UNSAID)
		fold->call.priority = CHATGLM_PRIORITY_BATCH;
	fold->call.in_flight = true;
	if (collected->instruction != NULL)
		fold->instruction = text_to_cstring(collected->instruction);
	if (fold->call.route_key == NULL)
		fold->call.route_key = collected->route_key;
	chatglm_choose_model(&fold->call);
}

static void
fold_group(void *arg)
{
	Outcome			*outcome = arg;
	const Folding	*folding = outcome->folding;
	ChatglmTexts	*texts = outcome->collected->texts;
	ChatglmCallStat *stat = chatglm_call_stat_begin(folding->name, chatglm_texts_count(texts));

	outcome->fold.stat = stat->stat;
	begin_fold(&outcome->fold, outcome->collected);
	outcome->result = folding->merge != NULL
						  ? chatglm_fold_tree(&outcome->fold, folding->task, folding->merge, texts)
						  : chatglm_fold_left(&outcome->fold, folding->task, texts);
	chatglm_call_stat_end(stat);
}

static Datum
fold_or_throw(FunctionCallInfo fcinfo, const Folding *folding)
{
	Outcome outcome = {.folding = folding};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	outcome.collected = (Collected *) PG_GETARG_POINTER(0);
	fold_group(&outcome);
	PG_RETURN_TEXT_P(outcome.result);
}

static Datum
result_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len));
}

/* The result as a row, or the error that took its place; what it had begun ends with it. */
static Datum
fold_or_tell(FunctionCallInfo fcinfo, const Folding *folding)
{
	Outcome		  outcome = {.folding = folding};
	ChatglmAnswer answer = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	outcome.collected = (Collected *) PG_GETARG_POINTER(0);
	answer.error = chatglm_catch_all(fold_group, &outcome, CurrentMemoryContext);
	if (answer.error == NULL)
	{
		const char *result = chatglm_cstring_to_utf8(text_to_cstring(outcome.result));

		initStringInfo(&answer.bytes);
		appendStringInfoString(&answer.bytes, result);
		answer.model = pstrdup(outcome.fold.call.model);
		answer.finish = outcome.fold.finish;
		answer.prompt_tokens = (int) Min(outcome.fold.prompt_tokens, PG_INT32_MAX);
		answer.completion_tokens = (int) Min(outcome.fold.completion_tokens, PG_INT32_MAX);
	}
	return chatglm_outcome_row(&answer, get_func_rettype(fcinfo->flinfo->fn_oid), result_value);
}

/* chatglm.summarize_texts(internal) returns text */
Datum
chatglm_summarize_texts(PG_FUNCTION_ARGS)
{
	return fold_or_throw(fcinfo, &summarize_agg);
}

/* chatglm.try_summarize_texts(internal) returns glm_result */
Datum
chatglm_try_summarize_texts(PG_FUNCTION_ARGS)
{
	return fold_or_tell(fcinfo, &summarize_agg);
}

/* chatglm.agg_texts(internal) returns text */
Datum
chatglm_agg_texts(PG_FUNCTION_ARGS)
{
	return fold_or_throw(fcinfo, &agg);
}

/* chatglm.try_agg_texts(internal) returns glm_result */
Datum
chatglm_try_agg_texts(PG_FUNCTION_ARGS)
{
	return fold_or_tell(fcinfo, &agg);
}

/* chatglm.reduce_texts(internal) returns text */
Datum
chatglm_reduce_texts(PG_FUNCTION_ARGS)
{
	return fold_or_throw(fcinfo, &reduce);
}

/* chatglm.try_reduce_texts(internal) returns glm_result */
Datum
chatglm_try_reduce_texts(PG_FUNCTION_ARGS)
{
	return fold_or_tell(fcinfo, &reduce);
}
