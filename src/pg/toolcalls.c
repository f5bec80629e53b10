/*
 * toolcalls.c - what a chat model called, in the words of OpenAI's API, and
 * glm_parse_tool_calls.
 *
 * The engine tells calls from plain text (glm_answer_parse()) by reading literals,
 * never by evaluating anything.  Here they get their ids: a hash of what the
 * answer depends on and the answer itself, counted on within the answer.  So equal
 * calls of glm_chat have equal answers, ids and all.
 */
#include "chatglm.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "call.h"
#include "encoding.h"
#include "toolcalls.h"

PG_FUNCTION_INFO_V1(chatglm_parse_tool_calls);

uint64
chatglm_hash(uint64 hash, const char *bytes, Size length)
{
	return DatumGetUInt64(hash_bytes_extended((const unsigned char *) bytes, (int) length, hash));
}

uint64
chatglm_call_hash(const ChatglmCall *call)
{
	const char *const texts[] = {call->model, call->path, call->system, call->tools};
	uint64			  hash = chatglm_hash(0, call->text, call->text_length);

	for (int i = 0; i < (int) lengthof(texts); i++)
		if (texts[i] != NULL)
			hash = chatglm_hash(hash + i, texts[i], strlen(texts[i]));
	return hash;
}

/* The engine's question whether to go on. */
static bool
not_interrupted(void *arg, glm_error *err)
{
	return !QueryCancelPending && !ProcDiePending;
}

char *
chatglm_parse_answer(char *(*parse)(const char *, size_t), const char *bytes, Size length)
{
	char *parsed;

	glm_pause_with(not_interrupted, NULL);
	parsed = parse(bytes, length);
	glm_pause_with(NULL, NULL);
	if (parsed != NULL || not_interrupted(NULL, NULL))
		return parsed;
	CHECK_FOR_INTERRUPTS();
	return parse(bytes, length); /* they are held off, or were no more than that */
}

/* What the engine made of an answer, for our memory, encoding and types. */
static Jsonb *
take_parsed(char *parsed)
{
	char *copy;

	if (parsed == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		copy = pstrdup(parsed);
	}
	PG_FINALLY();
	{
		free(parsed);
	}
	PG_END_TRY();
	CHECK_FOR_INTERRUPTS();
	copy = chatglm_cstring_from_utf8(copy, strlen(copy));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
}

/* The calls in it; NULL when there are none. */
static JsonbContainer *
calls_of(Jsonb *parsed)
{
	JsonbValue calls;

	if (getKeyJsonValueFromContainer(&parsed->root, "tool_calls", 10, &calls) == NULL ||
		calls.type != jbvBinary)
		return NULL;
	return calls.val.binary.data;
}

/* Appends the string under a key of an object, as JSON. */
static void
append_string(StringInfo out, JsonbContainer *object, const char *key)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &value) != NULL &&
		value.type == jbvString)
		escape_json(out, pnstrdup(value.val.string.val, value.val.string.len));
	else
		appendStringInfoString(out, "null");
}

int
chatglm_append_parsed(StringInfo out, char *parsed, uint64 hash)
{
	Jsonb		   *answer = take_parsed(parsed);
	JsonbContainer *calls = calls_of(answer);
	int				n = calls != NULL ? (int) JsonContainerSize(calls) : 0;

	CHECK_FOR_INTERRUPTS();
	appendStringInfoString(out, "\"content\": ");
	append_string(out, &answer->root, "content");
	for (int i = 0; i < n; i++)
	{
		JsonbValue *call = getIthJsonbValueFromContainer(calls, i);

		CHECK_FOR_INTERRUPTS();
		appendStringInfo(out,
						 "%s{\"id\": \"call_%llu_%d\", "
						 "\"type\": \"function\", \"function\": {\"name\": ",
						 i > 0 ? ", " : ", \"tool_calls\": [", (unsigned long long) hash, i);
		append_string(out, call->val.binary.data, "name");
		appendStringInfoString(out, ", \"arguments\": ");
		append_string(out, call->val.binary.data, "arguments");
		appendStringInfoString(out, "}}");
		pfree(call);
	}
	if (n > 0)
		appendStringInfoChar(out, ']');
	return n;
}

bool
chatglm_text_calls(const char *bytes, Size length)
{
	return calls_of(take_parsed(chatglm_parse_answer(glm_answer_parse, bytes, length))) != NULL;
}

/*
 * glm_parse_tool_calls(content text) returns jsonb
 *
 * Needs no worker: the text is all there is to it.
 */
Datum
chatglm_parse_tool_calls(PG_FUNCTION_ARGS)
{
	Size		   length;
	char		  *utf8 = chatglm_text_to_utf8(PG_GETARG_TEXT_PP(0), &length);
	StringInfoData out;

	if (length > GLM_REQUEST_MAX)
		chatglm_request_too_large();
	initStringInfo(&out);
	appendStringInfoString(&out, "{\"role\": \"assistant\", ");
	(void) chatglm_append_parsed(&out, chatglm_parse_answer(glm_answer_parse, utf8, length),
								 chatglm_hash(0, utf8, length));
	appendStringInfoChar(&out, '}');
	CHECK_FOR_INTERRUPTS();
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
