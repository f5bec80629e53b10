/*
 * sqlfuncs.c - the SQL functions over plain texts and token ids.
 *
 * Each of them is a ChatglmFunction: one half reads the arguments (args.c), the
 * other makes a value of the bytes that came back.  function.c puts the halves
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
#include "sql_values.h"
#include "sqlfuncs.h"

PG_FUNCTION_INFO_V1(chatglm_generate);
PG_FUNCTION_INFO_V1(chatglm_complete);
PG_FUNCTION_INFO_V1(chatglm_tokenize);
PG_FUNCTION_INFO_V1(chatglm_detokenize);
PG_FUNCTION_INFO_V1(chatglm_count_tokens);
PG_FUNCTION_INFO_V1(chatglm_logits);

/* ---- Arguments --------------------------------------------------------- */

static bool
read_generate(ChatglmCall *call, const NullableDatum *args)
{
	return chatglm_read_prompt(call, GLM_PROMPT, args);
}

static bool
read_complete(ChatglmCall *call, const NullableDatum *args)
{
	return chatglm_read_prompt(call, GLM_RAW, args);
}

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

/* ---- Entry points ------------------------------------------------------- */

const ChatglmFunction chatglm_generate_function = {.symbol = "chatglm_generate",
												   .address = chatglm_generate,
												   .n_args = 1 + CHATGLM_N_TAIL,
												   .model = 1,
												   .read = read_generate,
												   .value = text_value};

/* glm_generate(prompt text, ...G) returns text */
Datum
chatglm_generate(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_generate_function);
}

const ChatglmFunction chatglm_complete_function = {.symbol = "chatglm_complete",
												   .address = chatglm_complete,
												   .n_args = 1 + CHATGLM_N_TAIL,
												   .model = 1,
												   .read = read_complete,
												   .value = text_value};

/* glm_complete(prompt text, ...G) returns text */
Datum
chatglm_complete(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_complete_function);
}

const ChatglmFunction chatglm_tokenize_function = {.symbol = "chatglm_tokenize",
												   .address = chatglm_tokenize,
												   .n_args = 3,
												   .model = 1,
												   .read = read_tokenize,
												   .value = chatglm_ids_value};

/* glm_tokenize(content text, model text, add_special bool) returns int[] */
Datum
chatglm_tokenize(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_tokenize_function);
}

const ChatglmFunction chatglm_detokenize_function = {.symbol = "chatglm_detokenize",
													 .address = chatglm_detokenize,
													 .n_args = 2,
													 .model = 1,
													 .read = read_detokenize,
													 .value = text_value};

/* glm_detokenize(tokens int[], model text) returns text */
Datum
chatglm_detokenize(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_detokenize_function);
}

const ChatglmFunction chatglm_count_tokens_function = {.symbol = "chatglm_count_tokens",
													   .address = chatglm_count_tokens,
													   .n_args = 2,
													   .model = 1,
													   .read = read_count_tokens,
													   .value = count_value};

/* glm_count_tokens(content text, model text) returns int */
Datum
chatglm_count_tokens(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_count_tokens_function);
}

const ChatglmFunction chatglm_logits_function = {.symbol = "chatglm_logits",
												 .address = chatglm_logits,
												 .n_args = 2,
												 .model = 1,
												 .read = read_logits,
												 .value = logits_value};

/* glm_logits(tokens int[], model text) returns real[] */
Datum
chatglm_logits(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_logits_function);
}
