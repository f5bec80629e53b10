/*
 * json_text.c - JSON of megabytes, read and freed with pauses (pause.c).
 *
 * Jansson reads a text in one go and frees a tree in another, each of which takes a
 * second for tens of megabytes.  Here it is handed its text some kilobytes at a time,
 * and a tree is taken apart from its leaves.
 *
 * A value takes some 100 bytes of memory for as little as two of text, so their number
 * is bounded: it is that of the marks which begin or separate values outside of strings.
 *
 * No locks: pure functions.
 */
#include "engine/base/json.h"
#include "engine/base/base.h"

#include <stdio.h>
#include <string.h>

#define READ_SLICE ((size_t) 64 << 10) /* bytes between two pauses */
#define FREE_SLICE 4096				   /* values between two pauses */

typedef struct source
{
	const char *text;
	size_t		left;
	size_t		since; /* bytes since the last pause */
	size_t		values;
	bool		in_string;
	bool		escaped; /* in a string, behind a backslash */
} source;

/* Counts the values that begin in the next n bytes. */
static void
count_values(source *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		char c = s->text[i];

		if (s->escaped)
			s->escaped = false;
		else if (s->in_string && c == '\\')
			s->escaped = true;
		else if (c == '"')
			s->in_string = !s->in_string;
		else if (!s->in_string)
			s->values += c == '[' || c == '{' || c == ',';
	}
}

/* Jansson's: the next bytes of the text, 0 at its end, (size_t) -1 to stop. */
static size_t
next_bytes(void *buffer, size_t size, void *arg)
{
	source *s = arg;
	size_t	n = s->left < size ? s->left : size;

	count_values(s, n);
	if (s->values > GLM_JSON_VALUES)
		return (size_t) -1;
	s->since += n;
	if (s->since >= READ_SLICE)
	{
		s->since = 0;
		if (!glm_pause(NULL))
			return (size_t) -1;
	}
	memcpy(buffer, s->text, n);
	s->text += n;
	s->left -= n;
	return n;
}

json_t *
glm_json_loadb(const char *text, size_t n, size_t flags, json_error_t *why)
{
	source	s = {.text = text, .left = n};
	json_t *value = json_load_callback(next_bytes, &s, flags, why);

	if (s.values <= GLM_JSON_VALUES)
		return value;
	/* of what was read until then something may have been whole, such as a first array */
	glm_json_free(value);
	if (why != NULL)
		snprintf(why->text, sizeof(why->text), "more than %d values", GLM_JSON_VALUES);
	return NULL;
}

static bool
is_container(const json_t *value)
{
	return json_is_array(value) || json_is_object(value);
}

/* Frees the containers below a value that nobody else has; counts what it frees. */
static void
take_apart(json_t *value, size_t *count)
{
	const char *key;
	json_t	   *item;
	void	   *next;

	if (!is_container(value) || value->refcount != 1)
		return;
	while (json_is_array(value) && json_array_size(value) > 0)
	{
		size_t last = json_array_size(value) - 1;

		take_apart(json_array_get(value, last), count);
		json_array_remove(value, last);
		/* a pause that ended the work still lets the rest be freed */
		if (++*count % FREE_SLICE == 0)
			(void) glm_pause(NULL);
	}
	json_object_foreach_safe(value, next, key, item)
	{
		take_apart(item, count);
		json_object_del(value, key);
		if (++*count % FREE_SLICE == 0)
			(void) glm_pause(NULL);
	}
}

void
glm_json_free(json_t *value)
{
	size_t count = 0;

	take_apart(value, &count);
	json_decref(value);
}
