/*
 * calls.c - the tool calls of a conversation, and the results that answer them.
 *
 * Each of an assistant's tool_calls becomes a turn as the chat format writes it.
 *
 * GLM's formats have no ids: a result answers the call that has its place in
 * the order.  OpenAI's has ids and asks for no order.  So results that follow each
 * other are put into the order of the calls before them; an id that none of these
 * has is an error, and so is a gap, after which every result would be taken for
 * another call's.  Results without ids take the places left, in their order.
 *
 * No locks: pure functions.
 */
#include "engine/text/message_walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/blank.h"
#include "engine/text/literal.h"

/* ---- A call's turn --------------------------------------------------------- */

/* Is there nothing in this text but blanks, or null? */
static bool
is_nothing(const char *text)
{
	text += strspn(text, GLM_BLANKS);
	if (strncmp(text, "null", 4) == 0)
		text += 4;
	return text[strspn(text, GLM_BLANKS)] == '\0';
}

/*
 * The object of a call's arguments, a new reference; NULL after an error.  Clients
 * send nothing, null or an empty text for a call without any.
 */
static json_t *
call_arguments(glm_message_walk *w, json_t *arguments, const char *key)
{
	const char	*text = glm_json_text(arguments);
	json_error_t why;
	json_t		*object;

	if (arguments == NULL || json_is_null(arguments) || (text != NULL && is_nothing(text)))
		return glm_json_new();
	object = text == NULL ? json_incref(arguments)
						  : glm_json_parse(text, json_string_length(arguments), false, &why);
	if (json_is_object(object))
		return object;
	glm_json_free(object);
	if (glm_pause(w->err))
		glm_message_walk_bad_key(w, key, "must be a JSON object, or its text");
	return NULL;
}

static bool
read_call(glm_message_walk *w, json_t *call, size_t i)
{
	json_t	   *function = json_object_get(call, "function");
	const char *name = glm_json_text(json_object_get(function, "name"));
	json_t	   *type = json_object_get(call, "type");
	const char *type_text = glm_json_text(type);
	json_t	   *arguments;
	char		key[64];
	bool		ok;

	snprintf(key, sizeof(key), "tool_calls[%zu]", i);
	if (type != NULL && (type_text == NULL || strcmp(type_text, "function") != 0))
		return glm_message_walk_bad_key(w, key, "must be of type \"function\"");
	if (name == NULL || !glm_literal_is_name(name, strlen(name)))
		return glm_message_walk_bad_key(
			w, key, "has no function name made of letters, digits, _, -, ., : and /");
	snprintf(key, sizeof(key), "tool_calls[%zu].function.arguments", i);
	arguments = call_arguments(w, json_object_get(function, "arguments"), key);
	if (arguments == NULL)
		return false;

	glm_message_walk_begin(w);
	ok = w->chat->write_call(&w->metadata, &w->content, name, arguments);
	if (!ok && !w->content.failed)
		glm_fail(w->err, GLM_TOO_LONG, "messages[%zu].tool_calls are too long", w->index);
	else
		ok = glm_message_walk_end(w, GLM_ROLE_ASSISTANT);
	json_decref(arguments);
	return ok;
}

/* ---- Calls that wait for results ------------------------------------------- */

void
glm_calls_forget(glm_calls *calls)
{
	glm_json_free(calls->head);
	glm_json_free(calls->tail);
	free(calls->next);
	memset(calls, 0, sizeof(*calls));
}

static bool
reserve_call(glm_calls *calls)
{
	size_t	 capacity = calls->capacity ? 2 * calls->capacity : 16;
	int64_t *next;

	if (calls->n < calls->capacity)
		return true;
	next = realloc(calls->next, capacity * sizeof(*next));
	if (next == NULL)
		return false;
	calls->next = next;
	calls->capacity = capacity;
	if (calls->head == NULL)
		calls->head = glm_json_new();
	if (calls->tail == NULL)
		calls->tail = glm_json_new();
	return calls->head != NULL && calls->tail != NULL;
}

/* Notes the next call; id NULL: it has none. */
static bool
note_call(glm_message_walk *w, glm_calls *calls, const char *id)
{
	json_int_t number = (json_int_t) calls->n;
	json_t	  *last;

	if (!reserve_call(calls))
		return glm_no_memory(w->err);
	calls->next[calls->n++] = -1;
	if (id == NULL)
		return true;
	last = json_object_get(calls->tail, id);
	if (last != NULL)
		calls->next[json_integer_value(last)] = number;
	else if (json_object_set_new(calls->head, id, json_integer(number)) != 0)
		return glm_no_memory(w->err);
	return json_object_set_new(calls->tail, id, json_integer(number)) == 0 || glm_no_memory(w->err);
}

bool
glm_calls_own(glm_message_walk *w, glm_calls *calls)
{
	calls->own = true;
	return note_call(w, calls, NULL);
}

bool
glm_calls_read(glm_message_walk *w, json_t *tool_calls, glm_calls *calls)
{
	size_t	i;
	json_t *call;

	json_array_foreach(tool_calls, i, call)
	{
		json_t *id = json_object_get(call, "id");
		char	key[48];

		if (!glm_pause(w->err))
			return false;
		snprintf(key, sizeof(key), "tool_calls[%zu].id", i);
		if (id != NULL && !json_is_null(id) && glm_json_text(id) == NULL)
			return glm_message_walk_bad_key(w, key, "must be a string");
		if (!read_call(w, call, i) || !note_call(w, calls, glm_json_text(id)))
			return false;
	}
	return true;
}

/* ---- Results ----------------------------------------------------------------- */

/* Takes the call that has this id; *number stays where there is none of it. */
static bool
take_call(glm_message_walk *w, glm_calls *calls, const char *id, json_int_t *number)
{
	json_t	  *head = json_object_get(calls->head, id);
	json_int_t next;

	if (head == NULL && calls->own)
		return true;
	if (head == NULL)
		return glm_fail(w->err, GLM_BAD_JSON,
						"messages[%zu].tool_call_id \"%.100s\" is not the id "
						"of a call in the assistant message before it",
						w->index, id);
	*number = json_integer_value(head);
	if (*number < 0)
		return glm_fail(w->err, GLM_BAD_JSON,
						"messages[%zu].tool_call_id \"%.100s\" has a result already", w->index, id);
	next = calls->next[*number];
	return json_object_set_new(calls->head, id, json_integer(next)) == 0 || glm_no_memory(w->err);
}

/* Gives each result with an id its call's place; SIZE_MAX marks what is free. */
static bool
place_results(glm_message_walk *w, glm_calls *calls, json_t *messages, size_t from, size_t to,
			  size_t *place, bool *placed)
{
	for (size_t i = from; i < to; i++)
	{
		const char *id =
			glm_json_text(json_object_get(json_array_get(messages, i), "tool_call_id"));
		json_int_t number = -1;

		if (i % 1024 == 0 && !glm_pause(w->err))
			return false;
		w->index = i;
		if (id != NULL && !take_call(w, calls, id, &number))
			return false;
		placed[i - from] = number >= 0;
		if (number >= 0)
			place[number] = i;
	}
	return true;
}

/* Writes the order: places by number, those without an id in between. */
static bool
write_order(glm_message_walk *w, const glm_calls *calls, const size_t *place, const bool *placed,
			size_t from, size_t to, size_t *order)
{
	size_t n = 0;
	size_t free_one = from;
	size_t gap = SIZE_MAX;

	for (size_t call = 0; call < calls->n; call++)
	{
		size_t message = place[call];

		while (message == SIZE_MAX && free_one < to && placed[free_one - from])
			free_one++;
		if (message == SIZE_MAX && free_one < to)
			message = free_one++;
		if (message == SIZE_MAX && gap == SIZE_MAX)
			gap = call;
		if (message == SIZE_MAX)
			continue;
		w->index = message;
		if (gap != SIZE_MAX)
			return glm_fail(w->err, GLM_BAD_JSON,
							"messages[%zu] is the result of call %zu, but call %zu "
							"has none",
							message, call + 1, gap + 1);
		order[n++] = message;
	}
	for (; free_one < to; free_one++)
		if (!placed[free_one - from])
			order[n++] = free_one;
	return true;
}

bool
glm_calls_sort(glm_message_walk *w, glm_calls *calls, json_t *messages, size_t from, size_t to,
			   size_t *order)
{
	size_t *place = malloc((calls->n + 1) * sizeof(*place));
	bool   *placed = malloc(to - from);
	bool	ok = place != NULL && placed != NULL;

	if (!ok)
		glm_no_memory(w->err);
	for (size_t i = 0; ok && i < calls->n; i++)
		place[i] = SIZE_MAX;
	ok = ok && place_results(w, calls, messages, from, to, place, placed) &&
		 write_order(w, calls, place, placed, from, to, order);
	free(place);
	free(placed);
	return ok;
}
