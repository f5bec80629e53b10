/*
 * sampling_options.c - options of a call that are about how tokens are drawn, and what is
 * told of them.
 *
 * logit_bias has OpenAI's form, an object of token ids and numbers.  Whether the model has
 * such tokens only the worker knows (adjust.c of the engine).
 */
#include "chatglm.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "options.h"
#include "sampling_options.h"

static void
require_option(bool good, const char *key, const char *rule, JsonbValue *value)
{
	if (!good)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be %s, not %s", key, rule,
							   chatglm_show_json(JsonbValueToJsonb(value)))));
}

/* no_overflow: what is too large becomes infinite, which is in no range */
static double
read_number(const char *key, JsonbValue *value)
{
	if (value->type != jbvNumeric)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be a number", key)));
	return DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
}

/* A number from least to most. */
static double
read_ranged(const char *key, JsonbValue *value, double least, double most)
{
	double number = read_number(key, value);

	require_option(number >= least && number <= most, key,
				   psprintf("at least %g and at most %g", least, most), value);
	return number;
}

void
chatglm_read_number_option(ChatglmCall *call, const char *key, JsonbValue *value)
{
	double number;

	if (strcmp(key, "min_p") == 0)
		call->min_p = read_ranged(key, value, 0, 1);
	else if (strcmp(key, "frequency_penalty") == 0)
		call->frequency_penalty = read_ranged(key, value, -GLM_PENALTY_MAX, GLM_PENALTY_MAX);
	else if (strcmp(key, "presence_penalty") == 0)
		call->presence_penalty = read_ranged(key, value, -GLM_PENALTY_MAX, GLM_PENALTY_MAX);
	else if (strcmp(key, "repetition_penalty") == 0)
	{
		number = read_number(key, value);
		require_option(isfinite(number) && number > 0, key, "a finite number above 0", value);
		call->repetition_penalty = number;
	}
	else
	{
		number = read_number(key, value);
		require_option(number >= 0 && number <= INT_MAX && number == floor(number), key,
					   "a whole number of milliseconds, 0 for none", value);
		call->timeout_ms = (int) number;
	}
}

/* ---- What comes back ------------------------------------------------------------------ */

/* true: those of the answer's tokens; a number: and of so many likeliest ones. */
void
chatglm_read_logprobs(ChatglmCall *call, const char *key, JsonbValue *value)
{
	double number;

	if (value->type == jbvBool)
	{
		call->logprobs = value->val.boolean;
		return;
	}
	number = value->type == jbvNumeric ? read_number(key, value) : -1;
	require_option(number >= 0 && number <= GLM_LOGPROBS_MAX && number == floor(number), key,
				   psprintf("true, false or a whole number up to %d", GLM_LOGPROBS_MAX), value);
	call->logprobs = 1 + (int) number;
}

void
chatglm_read_n(ChatglmCall *call, const char *key, JsonbValue *value)
{
	double number = read_number(key, value);

	require_option(number >= 1 && number <= CHATGLM_N_MAX && number == floor(number), key,
				   psprintf("a whole number from 1 to %d", CHATGLM_N_MAX), value);
	call->n = (int) number;
}

/* ---- logit_bias -------------------------------------------------------------------- */

/* A token's id, written as JSON has to write a key. */
static int32
read_token_id(const JsonbValue *key)
{
	char *text = pnstrdup(key->val.string.val, key->val.string.len);
	char *end;
	long  id;

	errno = 0;
	id = strtol(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || id > PG_INT32_MAX ||
		(text[0] == '0' && end != text + 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" of argument \"options.logit_bias\" is no token id", text),
				 errhint("glm_tokenize gives the ids of a text.")));
	return (int32) id;
}

void
chatglm_read_logit_bias(ChatglmCall *call, const char *key, JsonbValue *value)
{
	JsonbIterator	  *it;
	JsonbIteratorToken token;
	JsonbValue		   item;
	int				   n;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be an object of token ids and numbers",
							   key)));
	n = JsonContainerSize(value->val.binary.data);
	if (n > GLM_BIAS_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must have at most %d tokens, not %d", key,
							   GLM_BIAS_MAX, n)));
	call->bias = palloc(Max(n, 1) * sizeof(glm_bias));
	call->n_bias = 0;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		glm_bias *bias = &call->bias[call->n_bias];

		if (token != WJB_KEY)
			continue;
		bias->token = read_token_id(&item);
		key = psprintf("logit_bias.%d", bias->token);
		(void) JsonbIteratorNext(&it, &item, true);
		bias->bias = (float) read_ranged(key, &item, GLM_BIAS_BAN, -GLM_BIAS_BAN);
		call->n_bias++;
	}
}
