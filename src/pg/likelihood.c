/*
 * likelihood.c - glm_logprobs and glm_perplexity: how likely a model finds a text.
 */
#include "chatglm.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "args.h"
#include "encoding.h"
#include "jsonb_build.h"
#include "likelihood.h"
#include "options.h"

/* Columns of glm_token_logprob. */
enum
{
	LOGPROB_SEQ,
	LOGPROB_TOKEN_ID,
	LOGPROB_TOKEN,
	LOGPROB_LOGPROB,
	LOGPROB_TOP,
	LOGPROB_COLUMNS
};

/* ---- Arguments ------------------------------------------------------------------------ */

static const char *const option_keys[] = {"cache", "priority", "route_key", "timeout_ms", NULL};

/* A text that is judged behind what is in `call` already; false: there is none. */
static bool
put_continuation(ChatglmCall *call, const NullableDatum *arg)
{
	Size length;

	call->continuation = chatglm_text_to_utf8(DatumGetTextPP(arg->value), &length);
	call->kept = (const char *) &call->top_logprobs;
	call->kept_length = sizeof(call->top_logprobs);
	return length > 0;
}

/*
 * (prompt text, continuation text, top_n int, model text, system text, chat bool,
 * options jsonb)
 */
static bool
read_logprobs(ChatglmCall *call, const NullableDatum *args)
{
	bool chat = !args[5].isnull && DatumGetBool(args[5].value);

	if (args[0].isnull || args[1].isnull)
		return false;
	chatglm_call_defaults(call, GLM_LOGPROBS);
	call->form = chat ? GLM_PROMPT : GLM_RAW;
	call->top_logprobs = args[2].isnull ? 0 : DatumGetInt32(args[2].value);
	if (call->top_logprobs < 0 || call->top_logprobs > GLM_TOP_LOGPROBS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"top_n\" must be between 0 and %d, not %d",
							   GLM_TOP_LOGPROBS, call->top_logprobs)));
	if (!args[4].isnull && !chat)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"system\" has no place in a raw continuation"),
						errhint("Write it into the prompt, or pass chat => true.")));
	if (!args[4].isnull)
		call->system = chatglm_text_to_utf8(DatumGetTextPP(args[4].value), NULL);
	if (!args[6].isnull)
		chatglm_read_some_options(call, DatumGetJsonbP(args[6].value), option_keys);
	call->text = chatglm_text_to_utf8(DatumGetTextPP(args[0].value), &call->text_length);
	chatglm_read_model(call, &args[3]);
	return put_continuation(call, &args[1]);
}

/* (content text, model text, options jsonb) */
static bool
read_perplexity(ChatglmCall *call, const NullableDatum *args)
{
	if (args[0].isnull)
		return false;
	chatglm_call_defaults(call, GLM_LOGPROBS);
	call->text = "";
	if (!args[2].isnull)
		chatglm_read_some_options(call, DatumGetJsonbP(args[2].value), option_keys);
	chatglm_read_model(call, &args[1]);
	return put_continuation(call, &args[0]);
}

/* ---- Values ---------------------------------------------------------------------------- */

/* What a result has, entry by entry. */
typedef struct Entries
{
	const glm_token_logprob *at;
	const char				*text;	/* of this one */
	int						 n;		/* tokens of the text */
	int						 width; /* entries for each */
} Entries;

static void
begin_entries(Entries *entries, const ChatglmAnswer *answer)
{
	Size n;

	entries->at = (const glm_token_logprob *) answer->bytes.data;
	entries->n = answer->completion_tokens;
	entries->width = 1 + *(const int *) (const void *) answer->kept;
	n = (Size) entries->n * entries->width;
	if ((Size) answer->bytes.len < n * (sizeof(glm_token_logprob) + 1) ||
		answer->bytes.data[answer->bytes.len - 1] != '\0')
		elog(ERROR, "log probabilities of %d tokens have %d bytes", entries->n, answer->bytes.len);
	entries->text = answer->bytes.data + n * sizeof(glm_token_logprob);
}

static void
next_entry(Entries *entries)
{
	entries->at++;
	entries->text += strlen(entries->text) + 1;
}

/* The double with the fewest digits that is this float. */
static double
shown_float(float number)
{
	char digits[FLOAT_SHORTEST_DECIMAL_LEN];

	float_to_shortest_decimal_buf(number, digits);
	return strtod(digits, NULL);
}

/* The token at hand as a member of `json`, then the next one is. */
static void
add_entry(JsonbParseState **json, Entries *entries)
{
	chatglm_json_count(json, "token_id", entries->at->token_id);
	chatglm_json_string(json, "token",
						chatglm_any_to_server_lossy(entries->text, strlen(entries->text)));
	chatglm_json_float(json, "logprob", shown_float(entries->at->logprob));
	next_entry(entries);
}

static void
add_top(JsonbParseState **json, Entries *entries)
{
	for (int i = 1; i < entries->width; i++)
	{
		chatglm_json_object(json, NULL);
		add_entry(json, entries);
		chatglm_json_end_object(json);
	}
}

static Datum
token_row(TupleDesc desc, int number, Entries *entries)
{
	Datum			 values[LOGPROB_COLUMNS] = {0};
	bool			 nulls[LOGPROB_COLUMNS] = {false};
	JsonbParseState *json = NULL;

	values[LOGPROB_SEQ] = Int32GetDatum(number);
	values[LOGPROB_TOKEN_ID] = Int32GetDatum(entries->at->token_id);
	values[LOGPROB_TOKEN] =
		CStringGetTextDatum(chatglm_any_to_server_lossy(entries->text, strlen(entries->text)));
	values[LOGPROB_LOGPROB] = Float4GetDatum(entries->at->logprob);
	nulls[LOGPROB_TOP] = entries->width == 1;
	next_entry(entries);
	if (entries->width > 1)
	{
		chatglm_json_array(&json, NULL);
		add_top(&json, entries);
		values[LOGPROB_TOP] = JsonbPGetDatum(chatglm_json_finish_array(&json));
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

static Jsonb *
tokens_json(Entries *entries)
{
	JsonbParseState *json = NULL;

	chatglm_json_array(&json, NULL);
	for (int i = 0; i < entries->n; i++)
	{
		chatglm_json_object(&json, NULL);
		add_entry(&json, entries);
		if (entries->width > 1)
		{
			chatglm_json_array(&json, "top");
			add_top(&json, entries);
			chatglm_json_end_array(&json);
		}
		chatglm_json_end_object(&json);
	}
	return chatglm_json_finish_array(&json);
}

/* An array of glm_token_logprob, or of objects like it. */
static Datum
logprobs_value(const ChatglmAnswer *answer, Oid type)
{
	Entries	  entries;
	Oid		  row_type = get_element_type(type);
	TupleDesc desc;
	Datum	 *rows;

	begin_entries(&entries, answer);
	if (type == JSONBOID)
		return JsonbPGetDatum(tokens_json(&entries));
	desc = lookup_rowtype_tupdesc_copy(row_type, -1);
	if (desc->natts != LOGPROB_COLUMNS)
		elog(ERROR, "a token has %d columns", desc->natts);
	rows = palloc(entries.n * sizeof(*rows));
	for (int i = 0; i < entries.n; i++)
		rows[i] = token_row(desc, i + 1, &entries);
	return PointerGetDatum(construct_array(rows, entries.n, row_type, -1, false, TYPALIGN_DOUBLE));
}

static Datum
perplexity_value(const ChatglmAnswer *answer, Oid type)
{
	Entries entries;
	double	sum = 0;

	begin_entries(&entries, answer);
	for (int i = 0; i < entries.n; i++)
		sum += entries.at[i].logprob;
	if (type == JSONBOID)
		return JsonbPGetDatum(chatglm_json_of_float(exp(-sum / entries.n)));
	return Float8GetDatum(exp(-sum / entries.n));
}

/* ---- Entry points -------------------------------------------------------------------------- */

/*
 * glm_logprobs_array(prompt text, continuation text, top_n int, model text, system text,
 * chat bool, options jsonb) returns glm_token_logprob[], which glm_logprobs unfolds;
 * glm_try_logprobs(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_judge_tokens, chatglm_try_judge_tokens, .n_args = 7, .model = 3,
						.read = read_logprobs, .value = logprobs_value);

/*
 * glm_perplexity(content text, model text, options jsonb) returns float8;
 * glm_try_perplexity(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_perplexity, chatglm_try_perplexity, .n_args = 3, .model = 1,
						.read = read_perplexity, .value = perplexity_value);
