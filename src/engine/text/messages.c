/*
 * messages.c - a conversation in JSON, turned into turns; see messages.h.
 *
 * A message may be written OpenAI's way or GLM's own, even in one list:
 *
 *     assistant with tool_calls   -> one assistant turn a call, as the format writes it
 *                                    (calls.c)
 *     tool                        -> observation, in the order of the calls
 *     developer                   -> system
 *     assistant with metadata, observation, system with tools: as they are
 *
 * Tools belong into the system turn, behind its content (tools.c).  They come
 * inside the system message, or apart (glm_request.tools) and then go into the
 * first system message, or into one with the format's words when there is none.
 *
 * JSON is read as Python reads it (json.c): a string may be a number in disguise,
 * so texts are asked for with glm_json_text().
 *
 * No locks: pure functions.
 */
#include "engine/text/message_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_messages(glm_message_walk *w, const glm_request *req, json_t *tools);
static bool read_message(glm_message_walk *w, json_t *message, json_t *tools, glm_calls *calls);

/* ---- Whole turns ------------------------------------------------------- */

static bool
whole_turn(glm_message_walk *w, glm_role role, const char *content)
{
	glm_message_walk_begin(w);
	glm_buf_puts(&w->content, content);
	return glm_message_walk_end(w, role);
}

/* ---- Entry ------------------------------------------------------------- */

static json_t *
parse_array(const char *text, size_t n, const char *name, glm_error *err)
{
	json_error_t why;
	json_t		*array = glm_json_parse(text, n, false, &why);

	if (array == NULL && !glm_pause(err))
		return NULL;
	if (array == NULL)
		glm_fail(err, GLM_BAD_JSON, "%s: %s at line %d, column %d", name, why.text, why.line,
				 why.column);
	else if (!json_is_array(array) && !json_is_null(array))
	{
		glm_fail(err, GLM_BAD_JSON, "%s must be a JSON array", name);
		json_decref(array);
		array = NULL;
	}
	return array;
}

/* The system turn of a request whose messages have none. */
static bool
lead_turn(glm_message_walk *w, const glm_request *req, json_t *tools)
{
	const char *system = glm_request_text(req, req->system);

	glm_message_walk_begin(w);
	glm_buf_puts(&w->content, system ? system : w->chat->system);
	if (tools != NULL && !glm_tools_add(w, tools, false, "tools"))
		return false;
	return glm_message_walk_end(w, GLM_ROLE_SYSTEM);
}

static bool
read_prompt(glm_message_walk *w, const glm_request *req, json_t *tools)
{
	if ((req->system.offset != 0 || tools != NULL) && !lead_turn(w, req, tools))
		return false;
	return whole_turn(w, GLM_ROLE_USER, glm_request_text(req, req->text));
}

bool
glm_messages_walk(const glm_chat *chat, const glm_request *req, bool is_json, glm_take_turn take,
				  void *arg, glm_error *err)
{
	glm_message_walk w = {.chat = chat, .take = take, .arg = arg, .err = err};
	json_t			*parsed = NULL;
	json_t			*tools = NULL;
	bool			 ok;

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

/* Has the message this role?  A developer's message is a system message by another name. */
static bool
has_role(json_t *message, const char *name)
{
	const char *role = glm_json_text(json_object_get(message, "role"));

	return role != NULL && (strcmp(role, name) == 0 ||
							(strcmp(role, "developer") == 0 && strcmp(name, "system") == 0));
}

static bool
is_result(json_t *message)
{
	return has_role(message, "tool") || has_role(message, "observation");
}

/* Reads messages[from, to), results that follow each other, in their calls' order. */
static bool
read_results(glm_message_walk *w, json_t *messages, size_t from, size_t to, glm_calls *calls)
{
	size_t *order = malloc((to - from) * sizeof(*order));
	bool	ok;

	if (order == NULL)
		return glm_no_memory(w->err);
	ok = glm_calls_sort(w, calls, messages, from, to, order);
	for (size_t i = 0; ok && i < to - from; i++)
	{
		w->index = order[i];
		ok = glm_pause(w->err) && read_message(w, json_array_get(messages, order[i]), NULL, calls);
	}
	free(order);
	return ok;
}

/* Reads all messages; tools go into that with the number `first`. */
static bool
read_in_order(glm_message_walk *w, json_t *messages, size_t first, json_t *tools, glm_calls *calls)
{
	size_t n = json_array_size(messages);

	for (size_t at = 0, next; at < n; at = next)
	{
		json_t *message = json_array_get(messages, at);

		if (!glm_pause(w->err))
			return false;
		next = at + 1;
		w->index = at;
		if (is_result(message))
		{
			while (next < n && is_result(json_array_get(messages, next)))
				next++;
			if (!read_results(w, messages, at, next, calls))
				return false;
		}
		/* results belong to the assistants' messages right before them */
		else if (!has_role(message, "assistant") ||
				 (at > 0 && !has_role(json_array_get(messages, at - 1), "assistant")))
			glm_calls_forget(calls);
		if (!is_result(message) && !read_message(w, message, at == first ? tools : NULL, calls))
			return false;
	}
	return true;
}

static bool
walk_array(glm_message_walk *w, const glm_request *req, json_t *messages, json_t *tools)
{
	size_t	  n = json_array_size(messages);
	size_t	  first = 0; /* system message, n when there is none */
	glm_calls calls = {0};
	bool	  ok;

	if (n == 0)
		return glm_fail(w->err, GLM_BAD_JSON, "messages must not be empty");
	while (first < n && !has_role(json_array_get(messages, first), "system"))
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
	ok = read_in_order(w, messages, first, tools, &calls);
	glm_calls_forget(&calls);
	return ok;
}

static bool
read_messages(glm_message_walk *w, const glm_request *req, json_t *tools)
{
	json_t *messages;
	bool	ok;

	if (req->text.length == 0)
		return glm_fail(w->err, GLM_BAD_JSON, "messages must not be empty");
	messages = parse_array(glm_request_text(req, req->text), req->text.length, "messages", w->err);
	if (messages == NULL)
		return false;
	ok = walk_array(w, req, messages, tools);
	glm_json_free(messages);
	return ok;
}

static bool
add_content_part(glm_message_walk *w, json_t *part, size_t i)
{
	const char *type = glm_json_text(json_object_get(part, "type"));
	const char *text = glm_json_text(json_object_get(part, "text"));

	if (type == NULL || strcmp(type, "text") != 0 || text == NULL)
		return glm_fail(w->err, GLM_BAD_JSON,
						"messages[%zu].content[%zu] must be {\"type\": \"text\", \"text\": ...}",
						w->index, i);
	glm_buf_puts(&w->content, text);
	return true;
}

/* A string, parts (joined as they are) or, where one may be silent, null. */
static bool
add_message_content(glm_message_walk *w, json_t *content, bool may_lack)
{
	if (glm_json_text(content) != NULL)
	{
		glm_buf_puts(&w->content, glm_json_text(content));
		return true;
	}
	if (json_is_array(content))
	{
		for (size_t i = 0; i < json_array_size(content); i++)
			if (!add_content_part(w, json_array_get(content, i), i))
				return false;
		return true;
	}
	if (may_lack && (content == NULL || json_is_null(content)))
		return true;
	return glm_message_walk_bad_key(
		w, "content", content ? "must be a string or a list of text parts" : "is missing");
}

static bool
add_metadata(glm_message_walk *w, json_t *metadata)
{
	if (metadata == NULL || json_is_null(metadata))
		return true;
	if (glm_json_text(metadata) == NULL || strchr(glm_json_text(metadata), '\n') != NULL)
		return glm_message_walk_bad_key(w, "metadata", "must be a string of one line");
	glm_buf_puts(&w->metadata, glm_json_text(metadata));
	return true;
}

static bool
read_system(glm_message_walk *w, json_t *message, json_t *tools)
{
	json_t *own = json_object_get(message, "tools");
	char	where[48];

	if (json_is_null(own))
		own = NULL;
	if (own != NULL && !json_is_array(own))
		return glm_message_walk_bad_key(w, "tools", "must be an array");
	if (own != NULL && tools != NULL)
		return glm_fail(w->err, GLM_BAD_ARGUMENT,
						"argument \"tools\" is given, but messages[%zu] has tools too", w->index);
	glm_message_walk_begin(w);
	if (!add_message_content(w, json_object_get(message, "content"), false))
		return false;
	snprintf(where, sizeof(where), "messages[%zu].tools", w->index);
	if (tools != NULL && !glm_tools_add(w, tools, false, "tools"))
		return false;
	if (own != NULL && !glm_tools_add(w, own, true, where))
		return false;
	return glm_message_walk_end(w, GLM_ROLE_SYSTEM);
}

/* ---- Assistants ---------------------------------------------------------- */

static bool
read_assistant(glm_message_walk *w, json_t *message, glm_calls *calls)
{
	json_t *tool_calls = json_object_get(message, "tool_calls");
	json_t *content = json_object_get(message, "content");
	bool	called = json_array_size(tool_calls) > 0;

	if (tool_calls != NULL && !json_is_null(tool_calls) && !json_is_array(tool_calls))
		return glm_message_walk_bad_key(w, "tool_calls", "must be an array");
	glm_message_walk_begin(w);
	if (!add_metadata(w, json_object_get(message, "metadata")) ||
		!add_message_content(w, content, called || content != NULL))
		return false;
	if (called && w->metadata.length > 0)
		return glm_message_walk_bad_key(w, "metadata", "and tool_calls exclude each other");
	if (w->metadata.length > 0 && !glm_calls_own(w, calls))
		return false;
	/* what was said beside the calls is a turn of its own before them */
	if ((!called || w->content.length > 0) && !glm_message_walk_end(w, GLM_ROLE_ASSISTANT))
		return false;
	return !called || glm_calls_read(w, tool_calls, calls);
}

/* ---- One message ------------------------------------------------------- */

static bool
read_plain(glm_message_walk *w, json_t *message, glm_role role)
{
	glm_message_walk_begin(w);
	return add_metadata(w, json_object_get(message, "metadata")) &&
		   add_message_content(w, json_object_get(message, "content"), false) &&
		   glm_message_walk_end(w, role);
}

/* Keys that would be lost in silence on a message of another role. */
static bool
check_keys(glm_message_walk *w, json_t *message, const char *role)
{
	json_t *tools = json_object_get(message, "tools");
	json_t *id = json_object_get(message, "tool_call_id");

	if (tools != NULL && !json_is_null(tools) && !has_role(message, "system"))
		return glm_message_walk_bad_key(w, "tools", "belongs to a system message");
	if (json_array_size(json_object_get(message, "tool_calls")) > 0 &&
		strcmp(role, "assistant") != 0)
		return glm_message_walk_bad_key(w, "tool_calls", "belongs to an assistant message");
	if (id != NULL && !json_is_null(id) && glm_json_text(id) == NULL)
		return glm_message_walk_bad_key(w, "tool_call_id", "must be a string");
	return true;
}

static bool
read_message(glm_message_walk *w, json_t *message, json_t *tools, glm_calls *calls)
{
	json_t	   *role_json = json_object_get(message, "role");
	const char *role = glm_json_text(role_json);

	if (!json_is_object(message))
		return glm_fail(w->err, GLM_BAD_JSON, "messages[%zu] must be an object", w->index);
	if (role == NULL)
		return glm_message_walk_bad_key(w, "role", role_json ? "must be a string" : "is missing");
	if (!check_keys(w, message, role))
		return false;
	if (has_role(message, "system"))
		return read_system(w, message, tools);
	if (strcmp(role, "user") == 0)
		return read_plain(w, message, GLM_ROLE_USER);
	if (strcmp(role, "assistant") == 0)
		return read_assistant(w, message, calls);
	if (is_result(message))
		return read_plain(w, message, GLM_ROLE_OBSERVATION);
	return glm_fail(
		w->err, GLM_BAD_JSON,
		"messages[%zu].role \"%.100s\" is none of system, user, assistant, observation, "
		"tool",
		w->index, role);
}
