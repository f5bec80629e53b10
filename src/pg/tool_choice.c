/*
 * tool_choice.c - glm_chat's argument tool_choice, and the call that it may require.
 *
 * "auto" leaves it to the model whether to call, "none" hides the tools from it, and
 * "required" or the name of a tool makes the answer a call: the engine gets the names of
 * the tools that may be called, each with the schema of its parameters.  These are taken
 * as they are written, since the order of a schema's keys is that of the arguments.
 *
 * What is wrong with tools the engine says, when it writes them into the prompt; what
 * cannot be read as a tool here is passed over.
 */
#include "chatglm.h"

#include "json_walk.h"
#include "options.h"
#include "response_format.h"
#include "tool_choice.h"

#define ANY_OBJECT "{\"type\": \"object\"}"

static void bad_choice(Jsonb *choice) pg_attribute_noreturn();

/* ---- The argument --------------------------------------------------------- */

static void
bad_choice(Jsonb *choice)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"tool_choice\" must be \"auto\", \"none\", \"required\" or "
						   "{\"type\": \"function\", \"function\": {\"name\": ...}}, not %s",
						   chatglm_show_json(choice))));
}

/* {"type": "function", "function": {"name": ...}} */
static char *
chosen_name(Jsonb *choice)
{
	static const char *const choice_keys[] = {"type", "function", NULL};
	static const char *const function_keys[] = {"name", NULL};
	JsonbValue				 type;
	JsonbValue				 function;
	JsonbValue				 name;

	if (getKeyJsonValueFromContainer(&choice->root, "type", 4, &type) == NULL ||
		type.type != jbvString)
		bad_choice(choice);
	if (chatglm_option_choice(&type, (const char *const[]){"function", NULL}) < 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("tool_choice of type \"%.*s\" is not supported", type.val.string.len,
							   type.val.string.val)));
	chatglm_require_keys(&choice->root, "tool_choice", choice_keys);
	if (getKeyJsonValueFromContainer(&choice->root, "function", 8, &function) == NULL ||
		function.type != jbvBinary || !JsonContainerIsObject(function.val.binary.data))
		bad_choice(choice);
	chatglm_require_keys(function.val.binary.data, "tool_choice.function", function_keys);
	if (getKeyJsonValueFromContainer(function.val.binary.data, "name", 4, &name) == NULL ||
		name.type != jbvString)
		bad_choice(choice);
	return pnstrdup(name.val.string.val, name.val.string.len);
}

void
chatglm_read_tool_choice(ChatglmToolChoice *choice, const NullableDatum *argument)
{
	static const char *const words[] = {"auto", "none", "required", NULL};
	JsonbValue				 word;
	Jsonb					*value;

	memset(choice, 0, sizeof(*choice));
	initStringInfo(&choice->callable);
	if (argument->isnull)
		return;
	value = DatumGetJsonbP(argument->value);
	if (JB_ROOT_IS_OBJECT(value))
	{
		choice->requires = true;
		choice->name = chosen_name(value);
		return;
	}
	if (!JsonbExtractScalar(&value->root, &word))
		bad_choice(value);
	switch (chatglm_option_choice(&word, words))
	{
		case 0:
			break;
		case 1:
			choice->hides = true;
			break;
		case 2:
			choice->requires
			= true;
			break;
		default:
			bad_choice(value);
	}
}

/* ---- The tools that may be called ------------------------------------------- */

/* The member of this object under a key that is written plainly; empty: there is none. */
static ChatglmJsonSlice
member(ChatglmJsonSlice object, const char *name)
{
	ChatglmJsonSlice found = {NULL, NULL};
	ChatglmJsonSlice key;
	ChatglmJsonSlice value;
	ChatglmJsonWalk	 walk;

	if (chatglm_json_walk(&walk, object, '{'))
		while (chatglm_json_next(&walk, &key, &value))
			if (chatglm_json_is(key, name))
				found = value; /* of keys that come twice the last one counts */
	return found;
}

static void
offer_tool(ChatglmToolChoice *choice, ChatglmJsonSlice tool)
{
	ChatglmJsonSlice function = member(tool, "function");
	ChatglmJsonSlice bare = function.at != function.end && *function.at == '{' ? function : tool;
	ChatglmJsonSlice name = member(bare, "name");
	ChatglmJsonSlice parameters = member(bare, "parameters");
	StringInfo		 out = &choice->callable;

	if (name.at == name.end || *name.at != '"')
		return;
	if (choice->name != NULL && strcmp(choice->name, chatglm_json_decode(name)) != 0)
		return;
	appendStringInfoString(out, out->len > 0 ? ", {\"name\": " : "{\"name\": ");
	appendBinaryStringInfo(out, name.at, name.end - name.at);
	appendStringInfoString(out, ", \"parameters\": ");
	if (parameters.at == parameters.end || *parameters.at == 'n')
		appendStringInfoString(out, ANY_OBJECT);
	else
		appendBinaryStringInfo(out, parameters.at, parameters.end - parameters.at);
	appendStringInfoChar(out, '}');
}

void
chatglm_tools_offered(ChatglmToolChoice *choice, const char *tools)
{
	ChatglmJsonSlice tool;
	ChatglmJsonWalk	 walk;

	if (choice->requires && chatglm_json_walk(&walk, chatglm_json_slice(tools), '['))
		while (chatglm_json_next(&walk, NULL, &tool))
			offer_tool(choice, tool);
}

void
chatglm_require_call(ChatglmCall *call, const ChatglmToolChoice *choice)
{
	if (!choice->requires)
		return;
	if (choice->callable.len == 0 && choice->name != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"tool_choice\" names the tool \"%s\", which is not among "
							   "the tools",
							   choice->name)));
	if (choice->callable.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"tool_choice\" requires a call, but there are no tools")));
	chatglm_constrain(call, GLM_TOOL_CALL, "tool_choice", psprintf("[%s]", choice->callable.data));
}
