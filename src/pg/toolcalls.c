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

#include "call.h"
#include "encoding.h"
#include "jsonb_build.h"
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
	const char *const texts[] = {call->model, call->path, call->system, call->tools,
								 call->constraint};
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
chatglm_parse_answer(ChatglmParse parse, glm_chat_format format, const char *bytes, Size length)
{
	char *parsed;

	glm_pause_with(not_interrupted, NULL);
	parsed = parse(format, bytes, length);
	glm_pause_with(NULL, NULL);
	if (parsed != NULL || not_interrupted(NULL, NULL))
		return parsed;
	CHECK_FOR_INTERRUPTS();
	return parse(format, bytes, length); /* they are held off, or were no more than that */
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

/* Adds the string under a key of an object, under the same key. */
static void
add_string(JsonbParseState **json, JsonbContainer *object, const char *key)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &value) != NULL &&
		value.type == jbvString)
		chatglm_json_string(json, key, pnstrdup(value.val.string.val, value.val.string.len));
	else
		chatglm_json_null(json, key);
}

static void
add_call(JsonbParseState **json, JsonbContainer *call, uint64 hash, int number)
{
	chatglm_json_object(json, NULL);
	chatglm_json_string(json, "id", psprintf("call_%llu_%d", (unsigned long long) hash, number));
	chatglm_json_string(json, "type", "function");
	chatglm_json_object(json, "function");
	add_string(json, call, "name");
	add_string(json, call, "arguments");
	chatglm_json_end_object(json);
	chatglm_json_end_object(json);
}

int
chatglm_add_parsed(JsonbParseState **json, char *parsed, uint64 hash)
{
	Jsonb		   *answer = take_parsed(parsed);
	JsonbContainer *calls = calls_of(answer);
	int				n = calls != NULL ? (int) JsonContainerSize(calls) : 0;

	CHECK_FOR_INTERRUPTS();
	add_string(json, &answer->root, "content");
	if (n == 0)
		return 0;
	chatglm_json_array(json, "tool_calls");
	for (int i = 0; i < n; i++)
	{
		JsonbValue *call = getIthJsonbValueFromContainer(calls, i);

		CHECK_FOR_INTERRUPTS();
		add_call(json, call->val.binary.data, hash, i);
		pfree(call);
	}
	chatglm_json_end_array(json);
	return n;
}

bool
chatglm_text_calls(glm_chat_format format, const char *bytes, Size length)
{
	return calls_of(take_parsed(chatglm_parse_answer(glm_answer_parse, format, bytes, length))) !=
		   NULL;
}

/*
 * glm_parse_tool_calls(content text) returns jsonb
 *
 * Needs no worker: the text, read as ChatGLM3 writes, is all there is to it.
 */
Datum
chatglm_parse_tool_calls(PG_FUNCTION_ARGS)
{
	Size			 length;
	char			*utf8 = chatglm_text_to_utf8(PG_GETARG_TEXT_PP(0), &length);
	JsonbParseState *json = NULL;
	Jsonb			*result;

	if (length > GLM_REQUEST_MAX)
		chatglm_request_too_large();
	chatglm_json_object(&json, NULL);
	chatglm_json_string(&json, "role", "assistant");
	(void) chatglm_add_parsed(
		&json, chatglm_parse_answer(glm_answer_parse, GLM_CHAT_CHATGLM3, utf8, length),
		chatglm_hash(0, utf8, length));
	result = chatglm_json_finish(&json);
	CHECK_FOR_INTERRUPTS();
	PG_RETURN_JSONB_P(result);
}
