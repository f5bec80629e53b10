/*
 * messages.c - a conversation in JSON, turned into turns; see messages.h.
 *
 * A message may be written OpenAI's way or ChatGLM3's own, even in one list:
 *
 *     assistant with tool_calls   -> one assistant turn a call: metadata is the
 *                                    function's name, content the fenced
 *                                    tool_call(city="...") (or, for
 *                                    `interpreter`, its fenced code)
 *     tool                        -> observation
 *     assistant with metadata, observation, system with tools: as they are
 *
 * Tools belong into the system turn, behind its content.  They come inside the
 * system message, or apart (glm_request.tools) and then go into the first
 * system message, or into one with the published words when there is none.
 *
 * The order of the keys of a tool is part of what the model reads.  Tools that
 * come apart keep theirs.  Messages may have passed through jsonb, which keeps
 * none; so in those name, description and parameters come first, as in every
 * published example.
 *
 * No locks: pure functions.
 */
#include "messages.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "literal.h"

#define DEFAULT_SYSTEM \
	"Answer the following questions as best as you can. You have access to the following tools:"

typedef struct walk
{
	glm_take_turn take;
	void	   *arg;
	glm_error  *err;
	size_t		index;			/* of the message being read */
	glm_buf		metadata;		/* of the turn being made */
	glm_buf		content;
} walk;

static bool read_messages(walk *w, const glm_request *req, json_t *tools);
static bool read_message(walk *w, json_t *message, json_t *tools);

/* ---- Turns ------------------------------------------------------------- */

static void
begin_turn(walk *w)
{
	w->metadata.length = 0;
	w->content.length = 0;
	/* data is a C string from here on, even of an empty text */
	glm_buf_add(&w->metadata, "", 0);
	glm_buf_add(&w->content, "", 0);
}

static bool
end_turn(walk *w, glm_special role)
{
	glm_turn	turn = {role, &w->metadata, &w->content};

	if (w->metadata.failed || w->content.failed)
		return glm_no_memory(w->err);
	return w->take(w->arg, &turn, w->err);
}

static bool
whole_turn(walk *w, glm_special role, const char *content)
{
	begin_turn(w);
	glm_buf_puts(&w->content, content);
	return end_turn(w, role);
}

/* ---- Errors ------------------------------------------------------------ */

static bool
bad_key(const walk *w, const char *key, const char *what)
{
	return glm_fail(w->err, GLM_BAD_JSON, "messages[%zu].%s %s", w->index, key, what);
}

static json_t *
parse_array(const char *text, size_t n, const char *name, glm_error *err)
{
	json_error_t why;
	json_t	   *array = glm_json_loadb(text, n, JSON_DECODE_ANY, &why);

	if (array == NULL && !glm_pause(err))
		return NULL;
	if (array == NULL)
		glm_fail(err, GLM_BAD_JSON, "%s: %s at line %d, column %d",
				 name, why.text, why.line, why.column);
	else if (!json_is_array(array) && !json_is_null(array))
	{
		glm_fail(err, GLM_BAD_JSON, "%s must be a JSON array", name);
		json_decref(array);
		array = NULL;
	}
	return array;
}

/* ---- Tools ------------------------------------------------------------- */

/* The keys every published tool begins with, then the others. */
static json_t *
ordered_tool(json_t *tool)
{
	static const char *const first[] = {"name", "description", "parameters"};
	json_t	   *ordered = json_pack("{}");	/* PostgreSQL has a json_object() too */
	const char *key;
	json_t	   *value;

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		if ((value = json_object_get(tool, first[i])) != NULL)
			json_object_set(ordered, first[i], value);
	json_object_foreach(tool, key, value)
		if (json_object_get(ordered, key) == NULL)
			json_object_set(ordered, key, value);
	return ordered;
}

/* {"type": "function", "function": {...}} -> {...}; NULL when it is no tool. */
static json_t *
bare_tool(json_t *tool)
{
	json_t	   *function = json_object_get(tool, "function");
	json_t	   *type = json_object_get(tool, "type");

	if (json_is_object(function) &&
		(type == NULL || (json_is_string(type) && strcmp(json_string_value(type), "function") == 0)))
		tool = function;
	return json_string_length(json_object_get(tool, "name")) > 0 ? tool : NULL;
}

/* Appends the tools to the content of a system turn; `where` names them. */
static bool
add_tools(walk *w, json_t *tools, bool reorder, const char *where)
{
	json_t	   *list = json_array();
	bool		ok = true;

	for (size_t i = 0; ok && i < json_array_size(tools); i++)
	{
		json_t	   *tool = bare_tool(json_array_get(tools, i));

		if (tool == NULL)
			ok = glm_fail(w->err, GLM_BAD_JSON, "%s[%zu] must be an object with a \"name\"", where, i);
		else if (json_array_append_new(list, reorder ? ordered_tool(tool) : json_incref(tool)) != 0)
			ok = glm_no_memory(w->err);
	}
	if (ok)
	{
		glm_buf_add(&w->content, "\n", 1);
		ok = glm_literal_write(&w->content, list, GLM_STYLE_INDENT);
		if (!glm_pause(w->err))
			ok = false;
		else if (!ok && !w->content.failed)
			glm_fail(w->err, GLM_TOO_LONG, "%s take more than %u bytes when written with indents",
					 where, GLM_LITERAL_MAX);
		else if (!ok)
			glm_no_memory(w->err);
	}
	json_decref(list);
	return ok;
}

/* ---- Entry ------------------------------------------------------------- */

/* The system turn of a request whose messages have none. */
static bool
lead_turn(walk *w, const glm_request *req, json_t *tools)
{
	const char *system = glm_request_text(req, req->system);

	begin_turn(w);
	glm_buf_puts(&w->content, system ? system : DEFAULT_SYSTEM);
	if (tools != NULL && !add_tools(w, tools, false, "tools"))
		return false;
	return end_turn(w, GLM_SP_SYSTEM);
}

static bool
read_prompt(walk *w, const glm_request *req, json_t *tools)
{
	if ((req->system.offset != 0 || tools != NULL) && !lead_turn(w, req, tools))
		return false;
	return whole_turn(w, GLM_SP_USER, glm_request_text(req, req->text));
}

bool
glm_messages_walk(const glm_request *req, bool is_json,
				  glm_take_turn take, void *arg, glm_error *err)
{
	walk		w = {.take = take, .arg = arg, .err = err};
	json_t	   *parsed = NULL;
	json_t	   *tools = NULL;
	bool		ok;

	if (req->tools.offset != 0)
	{
		parsed = parse_array(glm_request_text(req, req->tools), req->tools.length, "tools", err);
		if (parsed == NULL)
			return false;
		/* an empty list is none, as clients send it */
		if (json_array_size(parsed) > 0)
			tools = parsed;
	}
	ok = is_json ? read_messages(&w, req, tools) : read_prompt(&w, req, tools);
	glm_json_free(parsed);
	glm_buf_free(&w.metadata);
	glm_buf_free(&w.content);
	return ok;
}

/* ---- Messages ---------------------------------------------------------- */

static bool
is_system(json_t *message)
{
	const char *role = json_string_value(json_object_get(message, "role"));

	return role != NULL && strcmp(role, "system") == 0;
}

static bool
walk_array(walk *w, const glm_request *req, json_t *messages, json_t *tools)
{
	size_t		n = json_array_size(messages);
	size_t		first = 0;		/* system message, n when there is none */

	if (n == 0)
		return glm_fail(w->err, GLM_BAD_JSON, "messages must not be empty");
	while (first < n && !is_system(json_array_get(messages, first)))
	{
		if (++first % 1024 == 0 && !glm_pause(w->err))
			return false;
	}
	if (first < n && req->system.offset != 0)
		return glm_fail(w->err, GLM_BAD_ARGUMENT,
						"argument \"system\" is given, but messages[%zu] is a system message too",
						first);
	if (first == n && (tools != NULL || req->system.offset != 0) && !lead_turn(w, req, tools))
		return false;
	for (w->index = 0; w->index < n; w->index++)
		if (!glm_pause(w->err) ||
			!read_message(w, json_array_get(messages, w->index), w->index == first ? tools : NULL))
			return false;
	return true;
}

static bool
read_messages(walk *w, const glm_request *req, json_t *tools)
{
	json_t	   *messages = parse_array(glm_request_text(req, req->text), req->text.length,
									   "messages", w->err);
	bool		ok;

	if (messages == NULL)
		return false;
	ok = walk_array(w, req, messages, tools);
	glm_json_free(messages);
	return ok;
}

static bool
add_part(walk *w, json_t *part, size_t i)
{
	const char *type = json_string_value(json_object_get(part, "type"));
	json_t	   *text = json_object_get(part, "text");

	if (type == NULL || strcmp(type, "text") != 0 || !json_is_string(text))
		return glm_fail(w->err, GLM_BAD_JSON,
						"messages[%zu].content[%zu] must be {\"type\": \"text\", \"text\": ...}",
						w->index, i);
	glm_buf_puts(&w->content, json_string_value(text));
	return true;
}

/* A string, parts (joined as they are) or, where one may be silent, null. */
static bool
add_content(walk *w, json_t *content, bool may_lack)
{
	if (json_is_string(content))
	{
		glm_buf_puts(&w->content, json_string_value(content));
		return true;
	}
	if (json_is_array(content))
	{
		for (size_t i = 0; i < json_array_size(content); i++)
			if (!add_part(w, json_array_get(content, i), i))
				return false;
		return true;
	}
	if (may_lack && (content == NULL || json_is_null(content)))
		return true;
	return bad_key(w, "content", content ? "must be a string or a list of text parts" : "is missing");
}

static bool
add_metadata(walk *w, json_t *metadata)
{
	if (metadata == NULL || json_is_null(metadata))
		return true;
	if (!json_is_string(metadata) || strchr(json_string_value(metadata), '\n') != NULL)
		return bad_key(w, "metadata", "must be a string of one line");
	glm_buf_puts(&w->metadata, json_string_value(metadata));
	return true;
}

static bool
read_system(walk *w, json_t *message, json_t *tools)
{
	json_t	   *own = json_object_get(message, "tools");
	char		where[48];

	if (json_is_null(own))
		own = NULL;
	if (own != NULL && !json_is_array(own))
		return bad_key(w, "tools", "must be an array");
	if (own != NULL && tools != NULL)
		return glm_fail(w->err, GLM_BAD_ARGUMENT,
						"argument \"tools\" is given, but messages[%zu] has tools too", w->index);
	begin_turn(w);
	if (!add_content(w, json_object_get(message, "content"), false))
		return false;
	snprintf(where, sizeof(where), "messages[%zu].tools", w->index);
	if (tools != NULL && !add_tools(w, tools, false, "tools"))
		return false;
	if (own != NULL && !add_tools(w, own, true, where))
		return false;
	return end_turn(w, GLM_SP_SYSTEM);
}

/* ---- Tool calls -------------------------------------------------------- */

/* The object of a call's arguments, a new reference; NULL after an error. */
static json_t *
call_arguments(walk *w, json_t *arguments, const char *key)
{
	json_t	   *object = json_incref(arguments);

	if (json_is_string(arguments))
	{
		json_decref(object);
		object = glm_json_loadb(json_string_value(arguments), json_string_length(arguments), 0, NULL);
	}
	if (json_is_object(object))
		return object;
	json_decref(object);
	if (glm_pause(w->err))
		bad_key(w, key, "must be a JSON object, or its text");
	return NULL;
}

/* tool_call(city="北京"); what is no keyword goes the long way round. */
static bool
add_call(walk *w, json_t *arguments)
{
	bool		keywords = true;
	bool		ok = true;
	const char *key;
	json_t	   *value;
	size_t		i = 0;

	json_object_foreach(arguments, key, value)
		keywords = keywords && glm_literal_is_keyword(key, strlen(key));
	glm_buf_puts(&w->content, keywords ? "tool_call(" : "tool_call(**");
	if (!keywords)
		ok = glm_literal_write(&w->content, arguments, GLM_STYLE_PYTHON);
	else
		json_object_foreach(arguments, key, value)
		{
			glm_buf_puts(&w->content, i++ > 0 ? ", " : "");
			glm_buf_puts(&w->content, key);
			glm_buf_puts(&w->content, "=");
			ok = ok && glm_literal_write(&w->content, value, GLM_STYLE_PYTHON);
		}
	glm_buf_puts(&w->content, ")");
	return ok;
}

static bool
add_call_body(walk *w, const char *name, json_t *arguments)
{
	json_t	   *code = json_object_get(arguments, "code");
	bool		ok = true;

	glm_buf_puts(&w->content, "```python\n");
	if (strcmp(name, "interpreter") == 0 && json_is_string(code) && json_object_size(arguments) == 1)
		glm_buf_puts(&w->content, json_string_value(code));
	else
		ok = add_call(w, arguments);
	glm_buf_puts(&w->content, "\n```");
	if (!ok && !w->content.failed)
		return glm_fail(w->err, GLM_TOO_LONG, "messages[%zu].tool_calls are too long", w->index);
	return true;
}

static bool
read_call(walk *w, json_t *call, size_t i)
{
	json_t	   *function = json_object_get(call, "function");
	json_t	   *name = json_object_get(function, "name");
	const char *type = json_string_value(json_object_get(call, "type"));
	json_t	   *arguments;
	char		key[64];
	bool		ok;

	snprintf(key, sizeof(key), "tool_calls[%zu]", i);
	if (json_object_get(call, "type") != NULL && (type == NULL || strcmp(type, "function") != 0))
		return bad_key(w, key, "must be of type \"function\"");
	if (!glm_literal_is_name(json_string_value(name), json_string_length(name)))
		return bad_key(w, key, "has no function name made of letters, digits, _, . and -");
	snprintf(key, sizeof(key), "tool_calls[%zu].function.arguments", i);
	arguments = call_arguments(w, json_object_get(function, "arguments"), key);
	if (arguments == NULL)
		return false;

	begin_turn(w);
	glm_buf_puts(&w->metadata, json_string_value(name));
	ok = add_call_body(w, json_string_value(name), arguments) && end_turn(w, GLM_SP_ASSISTANT);
	json_decref(arguments);
	return ok;
}

static bool
read_assistant(walk *w, json_t *message)
{
	json_t	   *calls = json_object_get(message, "tool_calls");
	size_t		n = json_array_size(calls);

	if (calls != NULL && !json_is_null(calls) && !json_is_array(calls))
		return bad_key(w, "tool_calls", "must be an array");
	begin_turn(w);
	if (!add_metadata(w, json_object_get(message, "metadata")) ||
		!add_content(w, json_object_get(message, "content"),
					 n > 0 || json_object_get(message, "content") != NULL))
		return false;
	if (n > 0 && w->metadata.length > 0)
		return bad_key(w, "metadata", "and tool_calls exclude each other");
	/* what was said beside the calls is a turn of its own before them */
	if ((n == 0 || w->content.length > 0) && !end_turn(w, GLM_SP_ASSISTANT))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!read_call(w, json_array_get(calls, i), i))
			return false;
	return true;
}

/* ---- One message ------------------------------------------------------- */

static bool
read_plain(walk *w, json_t *message, glm_special role)
{
	begin_turn(w);
	return add_metadata(w, json_object_get(message, "metadata")) &&
		add_content(w, json_object_get(message, "content"), false) &&
		end_turn(w, role);
}

/* Keys that would be lost in silence on a message of another role. */
static bool
check_keys(walk *w, json_t *message, const char *role)
{
	json_t	   *tools = json_object_get(message, "tools");

	if (tools != NULL && !json_is_null(tools) && strcmp(role, "system") != 0)
		return bad_key(w, "tools", "belongs to a system message");
	if (json_array_size(json_object_get(message, "tool_calls")) > 0 && strcmp(role, "assistant") != 0)
		return bad_key(w, "tool_calls", "belongs to an assistant message");
	if (json_object_get(message, "tool_call_id") != NULL &&
		!json_is_string(json_object_get(message, "tool_call_id")))
		return bad_key(w, "tool_call_id", "must be a string");
	return true;
}

static bool
read_message(walk *w, json_t *message, json_t *tools)
{
	json_t	   *role_json = json_object_get(message, "role");
	const char *role = json_string_value(role_json);

	if (!json_is_object(message))
		return glm_fail(w->err, GLM_BAD_JSON, "messages[%zu] must be an object", w->index);
	if (role == NULL)
		return bad_key(w, "role", role_json ? "must be a string" : "is missing");
	if (!check_keys(w, message, role))
		return false;
	if (strcmp(role, "system") == 0)
		return read_system(w, message, tools);
	if (strcmp(role, "user") == 0)
		return read_plain(w, message, GLM_SP_USER);
	if (strcmp(role, "assistant") == 0)
		return read_assistant(w, message);
	if (strcmp(role, "observation") == 0 || strcmp(role, "tool") == 0)
		return read_plain(w, message, GLM_SP_OBSERVATION);
	return glm_fail(w->err, GLM_BAD_JSON,
					"messages[%zu].role \"%s\" is none of system, user, assistant, observation, tool",
					w->index, role);
}
