/*
 * chat.c - glm_chat, and what chats are made of.
 *
 * Messages go to the engine as the JSON text they are; prompt.c there turns
 * them into ids and finds fault with them.  Here it matters only whether tools
 * were offered, as an argument or inside a system message: the answer may then
 * be a call, which glm_answer_parse() tells from plain text by reading
 * literals, never by evaluating anything.
 *
 * The answer is one flat object in the words of OpenAI's API:
 *
 *	{"role": "assistant", "content": text or null, "tool_calls": [...],
 *	 "finish_reason": "stop" | "length" | "tool_calls", "usage": {...}}
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "args.h"

PG_FUNCTION_INFO_V1(chatglm_chat);
PG_FUNCTION_INFO_V1(chatglm_chat_tokens);

/* Positions of glm_chat's own arguments. */
enum
{
	CHAT_MESSAGES,
	CHAT_TOOLS,
	CHAT_TOOL_CHOICE,
	CHAT_TAIL
};

static void read_chat(ChatglmCall *call, const NullableDatum *messages,
					  const NullableDatum *tools, bool offer_tools);
static bool tool_choice_offers(const NullableDatum *choice);
static Jsonb *without_tools(Jsonb *messages);
static Jsonb *chat_object(const ChatglmAnswer *answer);

/* ---- Entry points ------------------------------------------------------ */

static bool
read_glm_chat(ChatglmCall *call, const NullableDatum *args)
{
	bool		offer_tools;

	chatglm_call_defaults(call, GLM_GENERATE);
	chatglm_read_tail(call, &args[CHAT_TAIL]);
	offer_tools = tool_choice_offers(&args[CHAT_TOOL_CHOICE]);
	if (args[CHAT_MESSAGES].isnull)
		return false;
	read_chat(call, &args[CHAT_MESSAGES], &args[CHAT_TOOLS], offer_tools);
	return true;
}

static Datum
chat_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chat_object(answer));
}

const ChatglmFunction chatglm_chat_function = {
	.symbol = "chatglm_chat",
	.address = chatglm_chat,
	.n_args = CHAT_TAIL + CHATGLM_N_TAIL,
	.model = 3,
	.read = read_glm_chat,
	.value = chat_value
};

/* glm_chat(messages jsonb, tools json, tool_choice jsonb, ...G) returns jsonb */
Datum
chatglm_chat(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_chat_function);
}

static bool
read_chat_tokens(ChatglmCall *call, const NullableDatum *args)
{
	if (args[0].isnull)
		return false;
	chatglm_call_defaults(call, GLM_CHAT_TOKENS);
	chatglm_read_model(call, &args[2]);
	read_chat(call, &args[0], &args[1], true);
	return true;
}

static Datum
ids_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_array_of_words(INT4OID, &answer->bytes));
}

const ChatglmFunction chatglm_chat_tokens_function = {
	.symbol = "chatglm_chat_tokens",
	.address = chatglm_chat_tokens,
	.n_args = 3,
	.model = 2,
	.read = read_chat_tokens,
	.value = ids_value
};

/* glm_chat_tokens(messages jsonb, tools json, model text) returns int[] */
Datum
chatglm_chat_tokens(PG_FUNCTION_ARGS)
{
	return chatglm_call_function(fcinfo, &chatglm_chat_tokens_function);
}

bool
chatglm_read_chat_stream(ChatglmCall *call, const NullableDatum *args)
{
	chatglm_call_defaults(call, GLM_GENERATE);
	chatglm_read_tail(call, &args[2]);
	if (args[0].isnull)
		return false;
	read_chat(call, &args[0], &args[1], true);
	return true;
}

/* ---- Messages and tools --------------------------------------------------- */

/* Is this the text of a JSON null or an empty array? */
static bool
json_offers_nothing(const char *json)
{
	static const char blanks[] = " \t\r\n";

	json += strspn(json, blanks);
	if (*json == '[')
	{
		json++;
		return json[strspn(json, blanks)] == ']';
	}
	return *json == 'n';
}

/* Does the i-th message bring tools of its own? */
static bool
message_has_tools(Jsonb *messages, uint32 i)
{
	JsonbValue *message = getIthJsonbValueFromContainer(&messages->root, i);
	JsonbValue	found;

	return message->type == jbvBinary &&
		JsonContainerIsObject(message->val.binary.data) &&
		getKeyJsonValueFromContainer(message->val.binary.data, "tools", 5, &found) != NULL &&
		found.type != jbvNull;
}

static bool
messages_have_tools(Jsonb *messages)
{
	if (!JB_ROOT_IS_ARRAY(messages) || JB_ROOT_IS_SCALAR(messages))
		return false;
	for (uint32 i = 0; i < JB_ROOT_COUNT(messages); i++)
		if (message_has_tools(messages, i))
			return true;
	return false;
}

/*
 * Reads messages and tools into *call, whose tail is read already, and notes
 * whether the model gets to see any tools.
 */
static void
read_chat(ChatglmCall *call, const NullableDatum *messages,
		  const NullableDatum *tools, bool offer_tools)
{
	Jsonb	   *list = DatumGetJsonbP(messages->value);

	if (!offer_tools && messages_have_tools(list))
		list = without_tools(list);
	call->form = GLM_MESSAGES;
	call->text = chatglm_cstring_to_utf8(JsonbToCString(NULL, &list->root, VARSIZE(list)));
	call->text_length = strlen(call->text);

	if (offer_tools && !tools->isnull)
	{
		char	   *json = chatglm_text_to_utf8(DatumGetTextPP(tools->value), NULL);

		if (!json_offers_nothing(json))
			call->tools = json;
	}
	call->tools_offered = call->tools != NULL || messages_have_tools(list);
}

/* The messages with every "tools" taken out. */
static Jsonb *
without_tools(Jsonb *messages)
{
	for (uint32 i = 0; i < JB_ROOT_COUNT(messages); i++)
		if (message_has_tools(messages, i))
		{
			Datum		path[2];
			ArrayType  *array;

			path[0] = CStringGetTextDatum(psprintf("%u", i));
			path[1] = CStringGetTextDatum("tools");
			array = construct_array(path, 2, TEXTOID, -1, false, TYPALIGN_INT);
			messages = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete_path,
														  JsonbPGetDatum(messages),
														  PointerGetDatum(array)));
		}
	return messages;
}

/* Are the tools to be shown to the model?  The model itself decides to call. */
static bool
tool_choice_offers(const NullableDatum *choice)
{
	Jsonb	   *value;
	char	   *shown;

	if (choice->isnull)
		return true;
	value = DatumGetJsonbP(choice->value);
	shown = chatglm_show_json(value);
	if (strcmp(shown, "\"auto\"") == 0)
		return true;
	if (strcmp(shown, "\"none\"") == 0)
		return false;
	if (strcmp(shown, "\"required\"") == 0 || JB_ROOT_IS_OBJECT(value))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("tool_choice %s is not supported", shown),
				 errhint("Use \"auto\" or \"none\"; the model decides by itself whether to call a tool.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"tool_choice\" must be \"auto\" or \"none\", not %s", shown)));
}

/* ---- The answer ------------------------------------------------------------ */

/* glm_answer_parse() for our memory, encoding and types. */
static Jsonb *
parse_answer(const ChatglmAnswer *answer)
{
	char	   *raw = chatglm_without_nuls(answer->bytes.data, answer->bytes.len);
	char	   *parsed = glm_answer_parse(raw, strlen(raw));
	char	   *copy;

	if (parsed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	copy = pstrdup(parsed);
	free(parsed);
	copy = chatglm_cstring_from_utf8(copy, strlen(copy));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
}

/* Appends the string under a key of an object, as JSON. */
static void
append_string(StringInfo out, JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &value) != NULL &&
		value.type == jbvString)
		escape_json(out, pnstrdup(value.val.string.val, value.val.string.len));
	else
		appendStringInfoString(out, "null");
}

/* Appends "content" and "tool_calls"; returns how many calls there are. */
static int
append_parsed(StringInfo out, const ChatglmAnswer *answer)
{
	Jsonb	   *parsed = parse_answer(answer);
	JsonbValue	calls;
	int			n = 0;

	appendStringInfoString(out, "\"content\": ");
	append_string(out, &parsed->root, "content");
	if (getKeyJsonValueFromContainer(&parsed->root, "tool_calls", 10, &calls) == NULL ||
		calls.type != jbvBinary)
		return 0;

	appendStringInfoString(out, ", \"tool_calls\": [");
	for (; n < (int) JsonContainerSize(calls.val.binary.data); n++)
	{
		JsonbValue *call = getIthJsonbValueFromContainer(calls.val.binary.data, n);

		appendStringInfo(out, "%s{\"id\": \"call_" UINT64_FORMAT "_%d\", "
						 "\"type\": \"function\", \"function\": {\"name\": ",
						 n > 0 ? ", " : "", answer->id, n);
		append_string(out, call->val.binary.data, "name");
		appendStringInfoString(out, ", \"arguments\": ");
		append_string(out, call->val.binary.data, "arguments");
		appendStringInfoString(out, "}}");
	}
	appendStringInfoChar(out, ']');
	return n;
}

static Jsonb *
chat_object(const ChatglmAnswer *answer)
{
	StringInfoData out;
	const char *finish = chatglm_finish_name(answer->finish);

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"role\": \"assistant\", ");
	if (answer->tools_offered)
	{
		if (append_parsed(&out, answer) > 0)
			finish = "tool_calls";
	}
	else
	{
		appendStringInfoString(&out, "\"content\": ");
		escape_json(&out, chatglm_cstring_from_utf8(answer->bytes.data, answer->bytes.len));
	}
	appendStringInfo(&out, ", \"finish_reason\": \"%s\", \"usage\": {\"prompt_tokens\": %d, "
					 "\"completion_tokens\": %d, \"total_tokens\": %d, "
					 "\"prompt_tokens_details\": {\"cached_tokens\": %d}}}",
					 finish, answer->prompt_tokens, answer->completion_tokens,
					 answer->prompt_tokens + answer->completion_tokens, answer->cached_tokens);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
