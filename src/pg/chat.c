/*
 * chat.c - glm_chat, and what chats are made of.
 *
 * Messages go to the engine as the JSON text they are, which
 * reads them as turns and says what is wrong with them.  Here it matters only whether tools
 * were offered, as an argument or inside a system message: the answer may then
 * be a call (toolcalls.c), or has to be (tool_choice.c), or they are left out.  That
 * is seen in the one pass that makes text of jsonb, message by message: its
 * memory is a few times the text's, and every message looks for interrupts.
 *
 * The answer is one flat object in the words of OpenAI's API:
 *
 *	{"role": "assistant", "content": text or null, "tool_calls": [...],
 *	 "finish_reason": "stop" | "length" | "tool_calls", "logprobs": {...}, "usage": {...}}
 *
 * or, where the option n asks for several, their object: {"choices": [...], "usage": {...}}.
 */
#include "chatglm.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "args.h"
#include "ask.h"
#include "call.h"
#include "chat.h"
#include "encoding.h"
#include "jsonb_build.h"
#include "logprobs.h"
#include "options.h"
#include "sql_values.h"
#include "tool_choice.h"
#include "toolcalls.h"

/* Positions of glm_chat's own arguments. */
enum
{
	CHAT_MESSAGES,
	CHAT_TOOLS,
	CHAT_TOOL_CHOICE,
	CHAT_TAIL
};

static void	  read_chat_messages(ChatglmCall *call, const NullableDatum *messages,
								 const NullableDatum *tools, ChatglmToolChoice *choice);
static Jsonb *chat_object(const ChatglmAnswer *answer);

/* ---- Entry points ------------------------------------------------------ */

bool
chatglm_read_chat(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmToolChoice choice;

	chatglm_call_defaults(call, GLM_GENERATE);
	chatglm_read_tail(call, &args[CHAT_TAIL]);
	chatglm_read_tool_choice(&choice, &args[CHAT_TOOL_CHOICE]);
	if (args[CHAT_MESSAGES].isnull)
		return false;
	read_chat_messages(call, &args[CHAT_MESSAGES], &args[CHAT_TOOLS], &choice);
	chatglm_require_call(call, &choice);
	return true;
}

static Datum
chat_value(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chat_object(answer));
}

/* glm_chat(messages jsonb, tools json, tool_choice jsonb, ...G) returns jsonb */
CHATGLM_DEFINE_FUNCTION(chatglm_chat, .n_args = CHAT_TAIL + CHATGLM_N_TAIL, .model = 3,
						.tells_finish = true, .tells_n = true, .tells_logprobs = true,
						.read = chatglm_read_chat, .value = chat_value);

static bool
read_chat_tokens(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmToolChoice choice = {0};

	if (args[0].isnull)
		return false;
	chatglm_call_defaults(call, GLM_CHAT_TOKENS);
	chatglm_read_model(call, &args[2]);
	read_chat_messages(call, &args[0], &args[1], &choice);
	return true;
}

/* glm_chat_tokens(messages jsonb, tools json, model text) returns int[] */
CHATGLM_DEFINE_FUNCTION(chatglm_chat_tokens, .n_args = 3, .model = 2, .read = read_chat_tokens,
						.value = chatglm_ids_value);

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

/* Does this message bring tools of its own? */
static bool
message_has_tools(const JsonbValue *message, JsonbValue *tools)
{
	return message->type == jbvBinary && JsonContainerIsObject(message->val.binary.data) &&
		   getKeyJsonValueFromContainer(message->val.binary.data, "tools", 5, tools) != NULL &&
		   tools->type != jbvNull;
}

/* Notes them, where a call of one may be required. */
static void
offer_tools(ChatglmToolChoice *choice, JsonbValue *tools)
{
	StringInfoData text;

	if (!choice->requires)
		return;
	initStringInfo(&text);
	chatglm_append_json(&text, tools);
	chatglm_tools_offered(choice, text.data);
	pfree(text.data);
}

/* Appends a message but for its tools. */
static void
append_without_tools(StringInfo out, const JsonbValue *message)
{
	JsonbIterator	  *it = JsonbIteratorInit(message->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue		   item;
	const char		  *separator = "";

	appendStringInfoChar(out, '{');
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		bool  tools;
		char *key;

		CHECK_FOR_INTERRUPTS();
		if (token != WJB_KEY)
			continue;
		key = pnstrdup(item.val.string.val, item.val.string.len);
		tools = strcmp(key, "tools") == 0;
		(void) JsonbIteratorNext(&it, &item, true);
		if (!tools)
		{
			appendStringInfoString(out, separator);
			escape_json(out, key);
			appendStringInfoString(out, ": ");
			chatglm_append_json(out, &item);
			separator = ", ";
		}
		pfree(key);
	}
	appendStringInfoChar(out, '}');
}

/*
 * The text of the messages, with the tools they bring or without; *has_tools
 * tells whether any of those are in it.
 */
static char *
messages_text(Jsonb *messages, ChatglmToolChoice *choice, bool *has_tools)
{
	StringInfoData	   out;
	JsonbIterator	  *it;
	JsonbIteratorToken token;
	JsonbValue		   message;
	const char		  *separator = "";

	*has_tools = false;
	initStringInfo(&out);
	if (!JB_ROOT_IS_ARRAY(messages) || JB_ROOT_IS_SCALAR(messages))
		return JsonbToCString(&out, &messages->root,
							  VARSIZE(messages)); /* the engine says what is wrong */

	it = JsonbIteratorInit(&messages->root);
	appendStringInfoChar(&out, '[');
	while ((token = JsonbIteratorNext(&it, &message, true)) != WJB_DONE)
	{
		JsonbValue tools;
		bool	   brings;

		CHECK_FOR_INTERRUPTS();
		if (token != WJB_ELEM)
			continue;
		brings = message_has_tools(&message, &tools);
		appendStringInfoString(&out, separator);
		if (brings && choice->hides)
			append_without_tools(&out, &message);
		else
			chatglm_append_json(&out, &message);
		if (brings && !choice->hides)
		{
			offer_tools(choice, &tools);
			*has_tools = true;
		}
		separator = ", ";
		if ((Size) out.len > GLM_REQUEST_MAX)
			chatglm_request_too_large();
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

/*
 * Reads messages and tools into *call, whose tail is read already, and notes
 * whether the model gets to see any tools.
 */
static void
read_chat_messages(ChatglmCall *call, const NullableDatum *messages, const NullableDatum *tools,
				   ChatglmToolChoice *choice)
{
	bool has_tools;

	call->form = GLM_MESSAGES;
	call->text =
		chatglm_cstring_to_utf8(messages_text(DatumGetJsonbP(messages->value), choice, &has_tools));
	call->text_length = strlen(call->text);

	if (!choice->hides && !tools->isnull)
	{
		char *json = text_to_cstring(DatumGetTextPP(tools->value));

		if (!json_offers_nothing(json))
			call->tools = chatglm_cstring_to_utf8(json);
		chatglm_tools_offered(choice, json);
	}
	call->tools_offered = call->tools != NULL || has_tools;
}

/* ---- The answer ------------------------------------------------------------ */

/* Is the last turn a call?  One that was cut is none. */
static bool
ends_in_call(const ChatglmAnswer *answer)
{
	int start = answer->bytes.len;

	while (start > 0 && answer->bytes.data[start - 1] != '\0')
		start--;
	return chatglm_text_calls(answer->chat, answer->bytes.data + start, answer->bytes.len - start);
}

/* Adds what was answered; how many calls are in it. */
static int
add_content(JsonbParseState **json, const ChatglmAnswer *answer)
{
	if (answer->withheld)
		chatglm_json_null(json, "content");
	else if (answer->tools_offered)
	{
		uint64 hash = chatglm_hash(answer->hash, answer->bytes.data, answer->bytes.len);
		char  *parsed = chatglm_parse_answer(glm_answer_parse_turns, answer->chat,
											 answer->bytes.data, answer->bytes.len);

		return chatglm_add_parsed(json, parsed, hash);
	}
	else
		chatglm_json_string(json, "content",
							chatglm_cstring_from_utf8(answer->bytes.data, answer->bytes.len));
	return 0;
}

/* The members of the message; what ended it. */
static const char *
add_message(JsonbParseState **json, const ChatglmAnswer *answer)
{
	const char *finish = chatglm_finish_name(answer->finish);

	chatglm_json_string(json, "role", "assistant");
	if (add_content(json, answer) > 0 &&
		(answer->finish != GLM_FINISH_LENGTH || ends_in_call(answer)))
		finish = "tool_calls";
	return finish;
}

static void
add_usage(JsonbParseState **json, const ChatglmAnswer *answer)
{
	int completion = answer->completion_tokens;

	for (int i = 0; i < answer->n - 1; i++)
		completion += answer->others[i].completion_tokens;
	chatglm_json_object(json, "usage");
	chatglm_json_string(json, "model",
						chatglm_cstring_from_utf8(answer->model, strlen(answer->model)));
	chatglm_json_count(json, "prompt_tokens", answer->prompt_tokens);
	chatglm_json_count(json, "completion_tokens", completion);
	chatglm_json_count(json, "total_tokens", answer->prompt_tokens + completion);
	chatglm_json_object(json, "prompt_tokens_details");
	chatglm_json_count(json, "cached_tokens", answer->cached_tokens);
	chatglm_json_end_object(json);
	chatglm_json_end_object(json);
}

static void
add_choice(JsonbParseState **json, const ChatglmAnswer *answer, int index)
{
	const char *finish;

	chatglm_json_object(json, NULL);
	chatglm_json_count(json, "index", index);
	chatglm_json_object(json, "message");
	finish = add_message(json, answer);
	chatglm_json_end_object(json);
	chatglm_json_string(json, "finish_reason", finish);
	chatglm_add_logprobs(json, answer);
	chatglm_json_end_object(json);
}

static Jsonb *
chat_object(const ChatglmAnswer *answer)
{
	JsonbParseState *json = NULL;

	chatglm_json_object(&json, NULL);
	if (answer->n == 0)
	{
		chatglm_json_string(&json, "finish_reason", add_message(&json, answer));
		chatglm_add_logprobs(&json, answer);
	}
	else
	{
		chatglm_json_array(&json, "choices");
		add_choice(&json, answer, 0);
		for (int i = 1; i < answer->n; i++)
			add_choice(&json, &answer->others[i - 1], i);
		chatglm_json_end_array(&json);
	}
	add_usage(&json, answer);
	return chatglm_json_finish(&json);
}
