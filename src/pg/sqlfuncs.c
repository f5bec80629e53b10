/*
 * sqlfuncs.c - the SQL functions over plain texts and token ids.
 *
 * Each of them is a ChatglmFunction: one half reads the arguments (args.c), the
 * other makes a value of the bytes that came back.  ask.c puts the halves
 * together for a call in its place, batch.c for many rows in flight.
 *
 * NULL in, NULL out, but none of these functions can be STRICT: an omitted
 * argument is a NULL too.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "args.h"
#include "ask.h"
#include "call.h"
#include "encoding.h"
#include "jsonb_build.h"
#include "sql_values.h"
#include "sqlfuncs.h"

/* ---- Arguments --------------------------------------------------------- */

/* A text and a model. */
static bool
read_content(ChatglmCall *call, glm_kind kind, const NullableDatum *args)
{
	if (args[0].isnull)
		return false;
	chatglm_call_defaults(call, kind);
	call->text = chatglm_text_to_utf8(DatumGetTextPP(args[0].value), &call->text_length);
	chatglm_read_model(call, &args[1]);
	return true;
}

static bool
read_count_tokens(ChatglmCall *call, const NullableDatum *args)
{
	return read_content(call, GLM_COUNT_TOKENS, args);
}

static bool
read_tokenize(ChatglmCall *call, const NullableDatum *args)
{
	if (!read_content(call, GLM_TOKENIZE, args))
		return false;
	call->add_special = !args[2].isnull && DatumGetBool(args[2].value);
	return true;
}

/* Token ids and a model. */
static bool
read_tokens(ChatglmCall *call, glm_kind kind, const NullableDatum *args)
{
	ArrayType *array;

	if (args[0].isnull)
		return false;
	array = DatumGetArrayTypeP(args[0].value);
	if (array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"tokens\" must not contain NULL")));
	chatglm_call_defaults(call, kind);
	call->n_tokens = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	call->tokens = (const int32 *) chatglm_array_data(array);
	chatglm_read_model(call, &args[1]);
	return true;
}

static bool
read_detokenize(ChatglmCall *call, const NullableDatum *args)
{
	return read_tokens(call, GLM_DETOKENIZE, args);
}

static bool
read_logits(ChatglmCall *call, const NullableDatum *args)
{
	if (!read_tokens(call, GLM_LOGITS, args))
		return false;
	if (call->n_tokens == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"tokens\" must not be empty")));
	return true;
}

/* A text, the most tokens of a chunk, the overlap and a model. */
static bool
read_chunk(ChatglmCall *call, const NullableDatum *args)
{
	int tokens = args[1].isnull ? 0 : DatumGetInt32(args[1].value);
	int overlap = args[2].isnull ? 0 : DatumGetInt32(args[2].value);

	if (args[0].isnull || args[1].isnull)
		return false;
	if (tokens < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"tokens\" must be at least 1, not %d", tokens)));
	if (overlap < 0 || overlap >= tokens)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"overlap\" must be 0 or more and less than tokens, not %d",
						overlap)));
	chatglm_call_defaults(call, GLM_PASSAGES);
	call->max_tokens = tokens;
	call->overlap = overlap;
	call->text = chatglm_text_to_utf8(DatumGetTextPP(args[0].value), &call->text_length);
	chatglm_read_model(call, &args[3]);
	return true;
}

/* ---- Values ------------------------------------------------------------- */

static Datum
text_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len));
}

static Datum
logits_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_array_of_words(FLOAT4OID, &answer->bytes));
}

static Datum
count_value(const ChatglmAnswer *answer, Oid type)
{
	return Int32GetDatum(answer->prompt_tokens);
}

static Jsonb *
texts_json(const ChatglmAnswer *answer)
{
	JsonbParseState *json = NULL;
	const char		*end = answer->bytes.data + answer->bytes.len;

	chatglm_json_array(&json, NULL);
	for (const char *at = answer->bytes.data; at < end; at += strlen(at) + 1)
		chatglm_json_string(&json, NULL, chatglm_cstring_from_utf8(at, strlen(at)));
	return chatglm_json_finish_array(&json);
}

/* Texts that each end in a NUL. */
static Datum
texts_value(const ChatglmAnswer *answer, Oid type)
{
	ArrayBuildState *texts = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	const char		*end = answer->bytes.data + answer->bytes.len;

	if (type == JSONBOID)
		return JsonbPGetDatum(texts_json(answer));

	for (const char *at = answer->bytes.data; at < end;)
	{
		Size  length = strlen(at);
		text *one = chatglm_text_from_utf8(at, length);

		texts = accumArrayResult(texts, PointerGetDatum(one), false, TEXTOID, CurrentMemoryContext);
		pfree(one);
		at += length + 1;
	}
	return makeArrayResult(texts, CurrentMemoryContext);
}

/* ---- Entry points ------------------------------------------------------- */

/* glm_generate(prompt text, ...G) returns text */
CHATGLM_DEFINE_FUNCTION(chatglm_generate, .n_args = 1 + CHATGLM_N_TAIL, .model = 1,
						.read = chatglm_read_prompt, .value = text_value);

/* glm_complete(prompt text, ...G) returns text */
CHATGLM_DEFINE_FUNCTION(chatglm_complete, .n_args = 1 + CHATGLM_N_TAIL, .model = 1,
						.read = chatglm_read_raw_prompt, .value = text_value);

/* glm_tokenize(content text, model text, add_special bool) returns int[] */
CHATGLM_DEFINE_FUNCTION(chatglm_tokenize, .n_args = 3, .model = 1, .read = read_tokenize,
						.value = chatglm_ids_value);

/* glm_detokenize(tokens int[], model text) returns text */
CHATGLM_DEFINE_FUNCTION(chatglm_detokenize, .n_args = 2, .model = 1, .read = read_detokenize,
						.value = text_value);

/* glm_count_tokens(content text, model text) returns int */
CHATGLM_DEFINE_FUNCTION(chatglm_count_tokens, .n_args = 2, .model = 1, .read = read_count_tokens,
						.value = count_value);

/*
 * glm_chunk(content text, tokens int, overlap int, model text) returns text[];
 * glm_try_chunk(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_chunk, chatglm_try_chunk, .n_args = 4, .model = 3,
						.read = read_chunk, .value = texts_value);

/* glm_logits(tokens int[], model text) returns real[] */
CHATGLM_DEFINE_FUNCTION(chatglm_logits, .n_args = 2, .model = 1, .read = read_logits,
						.value = logits_value);
