/*
 * args.c - from SQL arguments to what a request wants.
 *
 * Every generating function ends in the same ten arguments, written ...G in
 * the documentation: model, system, max_tokens, temperature, top_p, top_k,
 * seed, stop, response_format, options.  All are NULL by default and a NULL
 * means the setting (chatglm.max_tokens ...) or the documented default, so
 * none of these functions can be STRICT.  Each one out of range is an ERROR
 * that names the argument and the value.
 *
 * Nothing here is kept: all results live in the current memory context, and
 * chatglm_submit() copies what it needs.
 */
#include "chatglm.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "args.h"
#include "call.h"
#include "encoding.h"
#include "model_name.h"
#include "options.h"
#include "response_format.h"
#include "route.h"
#include "sampling_options.h"
#include "settings.h"

#define MAX_STOP_STRINGS 16
#define MAX_STOP_LENGTH 1024 /* bytes of UTF-8 */

/* The arguments of ...G, in order. */
enum
{
	TAIL_MODEL,
	TAIL_SYSTEM,
	TAIL_MAX_TOKENS,
	TAIL_TEMPERATURE,
	TAIL_TOP_P,
	TAIL_TOP_K,
	TAIL_SEED,
	TAIL_STOP,
	TAIL_RESPONSE_FORMAT,
	TAIL_OPTIONS
};

StaticAssertDecl(TAIL_OPTIONS + 1 == CHATGLM_N_TAIL, "the tail has ten arguments");

static void read_numbers(ChatglmCall *call, const NullableDatum *values);
static void read_seed(ChatglmCall *call, const NullableDatum *seed);
static void read_stop(ChatglmCall *call, ArrayType *stop);
static void read_tail_option(const char *key, JsonbValue *value, void *arg);

/* ---- Common arguments -------------------------------------------------- */

void
chatglm_read_model(ChatglmCall *call, const NullableDatum *model)
{
	const char	   *name = model->isnull ? chatglm_model : TextDatumGetCString(model->value);
	ChatglmModelRef ref;

	chatglm_check_model_name(name);
	call->route = chatglm_find_route(name);
	if (call->route != NULL)
		return; /* the choice is made when all of the call has been read */
	ref = chatglm_resolve_routed(name, NULL);
	chatglm_call_model(call, &ref);
}

static bool
read_prompt_text(ChatglmCall *call, glm_form form, const NullableDatum *args)
{
	chatglm_call_defaults(call, GLM_GENERATE);
	call->form = form;
	chatglm_read_tail(call, args + 1);

	if (form == GLM_RAW && call->system != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"system\" has no place in a raw continuation"),
						errhint("Write it into the prompt, or use glm_generate.")));
	if (args[0].isnull)
		return false;

	/* one without text is a turn too, as it is in a chat */
	call->text = chatglm_text_to_utf8(DatumGetTextPP(args[0].value), &call->text_length);
	return true;
}

bool
chatglm_read_prompt(ChatglmCall *call, const NullableDatum *args)
{
	return read_prompt_text(call, GLM_PROMPT, args);
}

bool
chatglm_read_raw_prompt(ChatglmCall *call, const NullableDatum *args)
{
	return read_prompt_text(call, GLM_RAW, args);
}

void
chatglm_read_tail(ChatglmCall *call, const NullableDatum *values)
{
	read_numbers(call, values);
	read_seed(call, &values[TAIL_SEED]);
	if (!values[TAIL_STOP].isnull)
		read_stop(call, DatumGetArrayTypeP(values[TAIL_STOP].value));
	if (!values[TAIL_RESPONSE_FORMAT].isnull)
		chatglm_read_response_format(call, DatumGetJsonbP(values[TAIL_RESPONSE_FORMAT].value));
	if (!values[TAIL_OPTIONS].isnull)
		chatglm_read_options(DatumGetJsonbP(values[TAIL_OPTIONS].value), read_tail_option, call);
	if (!values[TAIL_SYSTEM].isnull)
		call->system = chatglm_text_to_utf8(DatumGetTextPP(values[TAIL_SYSTEM].value), NULL);
	chatglm_read_model(call, &values[TAIL_MODEL]);
}

/* ---- Each argument ------------------------------------------------------ */

static void
require_argument(bool good, const char *argument, const char *rule, const char *value)
{
	if (!good)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be %s, not %s", argument, rule, value)));
}

/* All its digits, whatever extra_float_digits says, so that 1.0000000001 does not look like 1. */
static char *
show_number(double number)
{
	char *shown = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	double_to_shortest_decimal_buf(number, shown);
	return shown;
}

static void
read_numbers(ChatglmCall *call, const NullableDatum *values)
{
	if (!values[TAIL_MAX_TOKENS].isnull)
	{
		call->max_tokens = DatumGetInt32(values[TAIL_MAX_TOKENS].value);
		call->max_tokens_unsaid = false;
		require_argument(call->max_tokens >= 1, "max_tokens", "at least 1",
						 psprintf("%d", call->max_tokens));
	}
	if (!values[TAIL_TEMPERATURE].isnull)
	{
		call->temperature = DatumGetFloat8(values[TAIL_TEMPERATURE].value);
		require_argument(isfinite(call->temperature) && call->temperature >= 0, "temperature",
						 "a finite number not below 0", show_number(call->temperature));
	}
	if (!values[TAIL_TOP_P].isnull)
	{
		call->top_p = DatumGetFloat8(values[TAIL_TOP_P].value);
		require_argument(call->top_p > 0 && call->top_p <= 1, "top_p", "above 0 and at most 1",
						 show_number(call->top_p));
	}
	if (!values[TAIL_TOP_K].isnull)
	{
		call->top_k = DatumGetInt32(values[TAIL_TOP_K].value);
		require_argument(call->top_k >= 0, "top_k", "0 (off) or more", psprintf("%d", call->top_k));
	}
}

/* Without a seed every sampled call is different; greedy ones need none. */
static void
read_seed(ChatglmCall *call, const NullableDatum *seed)
{
	if (!seed->isnull)
		call->seed = (uint64) DatumGetInt64(seed->value);
	else if (call->temperature > 0 && !pg_strong_random(&call->seed, sizeof(call->seed)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not draw a random seed")));
}

static void
read_stop(ChatglmCall *call, ArrayType *stop)
{
	Datum *elements;
	bool  *nulls;
	int	   n;

	deconstruct_array(stop, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	require_argument(n <= MAX_STOP_STRINGS, "stop",
					 psprintf("at most %d strings", MAX_STOP_STRINGS), psprintf("%d", n));

	call->stop = makeStringInfo();
	for (int i = 0; i < n; i++)
	{
		char *string;
		Size  length;

		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"stop\" must not contain NULL")));
		string = chatglm_text_to_utf8(DatumGetTextPP(elements[i]), &length);
		if (length == 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"stop\" must not contain an empty string")));
		require_argument(length <= MAX_STOP_LENGTH, "stop",
						 psprintf("of strings of at most %d bytes", MAX_STOP_LENGTH),
						 psprintf("%zu bytes", length));
		appendBinaryStringInfo(call->stop, string, length + 1);
	}
}

/* The number of the option's value among these names; an ERROR when it is none of them. */
static int
read_name(const char *key, const JsonbValue *value, const char *const *names, const char *rule)
{
	int number = chatglm_option_choice(value, names);

	if (number < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be %s", key, rule)));
	return number;
}

static void
read_priority(ChatglmCall *call, const char *key, JsonbValue *value)
{
	static const char *const names[] = {"interactive", "batch", NULL};

	call->priority =
		CHATGLM_PRIORITY_INTERACTIVE + read_name(key, value, names, "\"interactive\" or \"batch\"");
}

static void
read_on_length(ChatglmCall *call, const char *key, JsonbValue *value)
{
	static const char *const names[] = {"keep", "null", "error", NULL};

	call->on_length =
		CHATGLM_ON_LENGTH_KEEP + read_name(key, value, names, "\"keep\", \"null\" or \"error\"");
}

static void
read_truncate(ChatglmCall *call, const char *key, JsonbValue *value)
{
	static const char *const names[] = {"error", "head", "tail", "middle", NULL};

	call->truncate = GLM_TRUNCATE_ERROR +
					 read_name(key, value, names, "\"error\", \"head\", \"tail\" or \"middle\"");
}

static void
read_property_order(ChatglmCall *call, const char *key, JsonbValue *value)
{
	static const char *const names[] = {"strict", "any", NULL};

	call->property_order = GLM_ORDER_STRICT + read_name(key, value, names, "\"strict\" or \"any\"");
}

static void
read_json_space(ChatglmCall *call, const char *key, JsonbValue *value)
{
	static const char *const names[] = {"exact", "compact", "any", NULL};

	call->json_space =
		GLM_SPACE_EXACT + read_name(key, value, names, "\"exact\", \"compact\" or \"any\"");
}

static void
read_cache(ChatglmCall *call, const char *key, JsonbValue *value)
{
	if (value->type != jbvBool)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be true or false", key)));
	call->no_cache = !value->val.boolean;
}

/* A string, or a number, which is taken as it is written. */
static void
read_route_key(ChatglmCall *call, const char *key, JsonbValue *value)
{
	if (value->type == jbvString)
		call->route_key =
			chatglm_cstring_to_utf8(pnstrdup(value->val.string.val, value->val.string.len));
	else if (value->type == jbvNumeric)
		call->route_key =
			DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be a string or a number", key)));
}

static void
read_label(ChatglmCall *call, const char *key, JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0 ||
		value->val.string.len >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be a text of 1 to %d bytes", key,
							   NAMEDATALEN - 1)));
	call->label = chatglm_cstring_to_utf8(pnstrdup(value->val.string.val, value->val.string.len));
}

/* The options there are, by name. */
static const struct
{
	const char *key;
	void (*read)(ChatglmCall *call, const char *key, JsonbValue *value);
} known[] = {
	{"cache", read_cache},
	{"choices", chatglm_read_choices},
	{"frequency_penalty", chatglm_read_number_option},
	{"json_space", read_json_space},
	{"label", read_label},
	{"logit_bias", chatglm_read_logit_bias},
	{"logprobs", chatglm_read_logprobs},
	{"min_p", chatglm_read_number_option},
	{"n", chatglm_read_n},
	{"on_length", read_on_length},
	{"presence_penalty", chatglm_read_number_option},
	{"priority", read_priority},
	{"property_order", read_property_order},
	{"regex", chatglm_read_regex},
	{"repetition_penalty", chatglm_read_number_option},
	{"route_key", read_route_key},
	{"timeout_ms", chatglm_read_number_option},
	{"truncate", read_truncate},
};

static char *
known_keys(void)
{
	StringInfoData keys;

	initStringInfo(&keys);
	for (int i = 0; i < (int) lengthof(known); i++)
		appendStringInfo(&keys, "%s%s",
						 i == 0							 ? ""
						 : i + 1 < (int) lengthof(known) ? ", "
														 : " and ",
						 known[i].key);
	return keys.data;
}

/* An option that is null is left to its default, as an argument that is NULL. */
static void
read_tail_option(const char *key, JsonbValue *value, void *arg)
{
	for (int i = 0; i < (int) lengthof(known); i++)
		if (strcmp(key, known[i].key) == 0)
		{
			if (value->type != jbvNull)
				known[i].read(arg, key, value);
			return;
		}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown key \"%s\" in argument \"options\"", key),
					errhint("Known keys are %s.", known_keys())));
}

void
chatglm_read_some_options(ChatglmCall *call, Jsonb *options, const char *const *keys)
{
	chatglm_require_object(options);
	chatglm_require_keys(&options->root, "options", keys);
	chatglm_read_options(options, read_tail_option, call);
}

bool
chatglm_read_serving_option(ChatglmCall *call, const char *key, JsonbValue *value)
{
	static const char *const keys[] = {"cache", "priority", "route_key", "timeout_ms", "truncate"};

	for (int i = 0; i < (int) lengthof(keys); i++)
		if (strcmp(key, keys[i]) == 0)
		{
			read_tail_option(key, value, call);
			return true;
		}
	return false;
}
