/*
 * sqlfuncs.c - the SQL functions that ask once and answer once.
 *
 * Each one reads its arguments (args.c), runs a request (chatglm_run) and
 * makes a value of the bytes that came back.  A request belongs to the current
 * subtransaction, so an ERROR on the way needs no cleaning up here: request.c
 * cancels what an aborted (sub)transaction leaves behind.
 *
 * NULL in, NULL out, but none of these functions can be STRICT: an omitted
 * argument is a NULL too.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "args.h"

PG_FUNCTION_INFO_V1(chatglm_generate);
PG_FUNCTION_INFO_V1(chatglm_complete);
PG_FUNCTION_INFO_V1(chatglm_tokenize);
PG_FUNCTION_INFO_V1(chatglm_detokenize);
PG_FUNCTION_INFO_V1(chatglm_count_tokens);
PG_FUNCTION_INFO_V1(chatglm_logits);

static Datum generate(FunctionCallInfo fcinfo, glm_form form);
static void read_content(ChatglmCall *call, glm_kind kind, Datum content,
						 const NullableDatum *model);
static void read_tokens(ChatglmCall *call, glm_kind kind, Datum tokens,
						const NullableDatum *model);

/* ---- Entry points ------------------------------------------------------ */

/* glm_generate(prompt text, ...G) returns text */
Datum
chatglm_generate(PG_FUNCTION_ARGS)
{
	return generate(fcinfo, GLM_PROMPT);
}

/* glm_complete(prompt text, ...G) returns text */
Datum
chatglm_complete(PG_FUNCTION_ARGS)
{
	return generate(fcinfo, GLM_RAW);
}

/* glm_tokenize(content text, model text, add_special bool) returns int[] */
Datum
chatglm_tokenize(PG_FUNCTION_ARGS)
{
	ChatglmCall call;
	ChatglmAnswer answer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_content(&call, GLM_TOKENIZE, PG_GETARG_DATUM(0), &fcinfo->args[1]);
	call.add_special = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	chatglm_run(&call, &answer);
	PG_RETURN_ARRAYTYPE_P(chatglm_array_of_words(INT4OID, &answer.bytes));
}

/* glm_detokenize(tokens int[], model text) returns text */
Datum
chatglm_detokenize(PG_FUNCTION_ARGS)
{
	ChatglmCall call;
	ChatglmAnswer answer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_tokens(&call, GLM_DETOKENIZE, PG_GETARG_DATUM(0), &fcinfo->args[1]);
	chatglm_run(&call, &answer);
	PG_RETURN_TEXT_P(chatglm_text_from_utf8(answer.bytes.data, answer.bytes.len));
}

/* glm_count_tokens(content text, model text) returns int */
Datum
chatglm_count_tokens(PG_FUNCTION_ARGS)
{
	ChatglmCall call;
	ChatglmAnswer answer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_content(&call, GLM_COUNT_TOKENS, PG_GETARG_DATUM(0), &fcinfo->args[1]);
	chatglm_run(&call, &answer);
	PG_RETURN_INT32(answer.prompt_tokens);
}

/* glm_logits(tokens int[], model text) returns real[] */
Datum
chatglm_logits(PG_FUNCTION_ARGS)
{
	ChatglmCall call;
	ChatglmAnswer answer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	read_tokens(&call, GLM_LOGITS, PG_GETARG_DATUM(0), &fcinfo->args[1]);
	if (call.n_tokens == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"tokens\" must not be empty")));
	chatglm_run(&call, &answer);
	PG_RETURN_ARRAYTYPE_P(chatglm_array_of_words(FLOAT4OID, &answer.bytes));
}

/* ---- Shared with chat.c and stream.c ------------------------------------ */

void
chatglm_run(const ChatglmCall *call, ChatglmAnswer *answer)
{
	ChatglmRequest *request = chatglm_submit(call);
	const glm_event *event;

	answer->id = chatglm_request_id(request);
	initStringInfo(&answer->bytes);
	while ((event = chatglm_next_event(request))->kind != GLM_EVENT_DONE)
	{
		if (event->kind != GLM_EVENT_RESULT)
			elog(ERROR, "unexpected event %u for a request that does not stream",
				 event->kind);
		appendBinaryStringInfo(&answer->bytes, event->payload, event->length);
	}
	answer->finish = event->finish;
	answer->prompt_tokens = event->prompt_tokens;
	answer->completion_tokens = event->completion_tokens;
	chatglm_release(request);
}

/* ARR_DATA_PTR without its mixing of signed and unsigned offsets. */
static char *
array_data(ArrayType *array)
{
	return (char *) array + (ARR_HASNULL(array) ? (Size) array->dataoffset :
							 ARR_OVERHEAD_NONULLS(ARR_NDIM(array)));
}

/*
 * int32 and float arrays are the same bytes on both sides of the queue, so
 * the array is a header and a copy; a vocabulary of 150,000 logits deserves
 * better than as many Datums.
 */
ArrayType *
chatglm_array_of_words(Oid element, const StringInfoData *bytes)
{
	int			n = bytes->len / 4;
	Size		size = ARR_OVERHEAD_NONULLS(1) + (Size) n * 4;
	ArrayType  *array;

	if (n == 0)
		return construct_empty_array(element);
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = element;
	ARR_DIMS(array)[0] = n;
	ARR_LBOUND(array)[0] = 1;
	memcpy(array_data(array), bytes->data, (Size) n * 4);
	return array;
}

const char *
chatglm_finish_name(glm_finish finish)
{
	switch (finish)
	{
		case GLM_FINISH_STOP:
			return "stop";
		case GLM_FINISH_LENGTH:
			return "length";
		case GLM_FINISH_NONE:
			break;
	}
	return NULL;
}

/* ---- Helpers ------------------------------------------------------------- */

static Datum
generate(FunctionCallInfo fcinfo, glm_form form)
{
	ChatglmCall call;
	ChatglmAnswer answer;

	if (!chatglm_read_prompt(&call, form, fcinfo->args))
		PG_RETURN_NULL();
	chatglm_run(&call, &answer);
	PG_RETURN_TEXT_P(chatglm_text_from_utf8(answer.bytes.data, answer.bytes.len));
}

static void
read_content(ChatglmCall *call, glm_kind kind, Datum content, const NullableDatum *model)
{
	chatglm_call_defaults(call, kind);
	call->text = chatglm_text_to_utf8(DatumGetTextPP(content), &call->text_length);
	chatglm_read_model(call, model);
}

static void
read_tokens(ChatglmCall *call, glm_kind kind, Datum tokens, const NullableDatum *model)
{
	ArrayType  *array = DatumGetArrayTypeP(tokens);

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"tokens\" must not contain NULL")));
	chatglm_call_defaults(call, kind);
	call->n_tokens = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	call->tokens = (const int32 *) array_data(array);
	chatglm_read_model(call, model);
}
