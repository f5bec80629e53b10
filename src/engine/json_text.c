/*
 * json_text.c - JSON of megabytes, read and freed with pauses (pause.c).
 *
 * Jansson reads a text in one go and frees a tree in another, each of which takes a
 * second for tens of megabytes.  Here it is handed its text some kilobytes at a time,
 * and a tree is taken apart from its leaves.
 *
 * No locks: pure functions.
 */
#include "json.h"

#include <string.h>

#define READ_SLICE ((size_t) 64 << 10)	/* bytes between two pauses */
#define FREE_SLICE 4096			/* values between two pauses */

typedef struct source
{
	const char *text;
	size_t		left;
	size_t		since;			/* bytes since the last pause */
} source;

/* Jansson's: the next bytes of the text, 0 at its end, (size_t) -1 to stop. */
static size_t
next_bytes(void *buffer, size_t size, void *arg)
{
	source	   *s = arg;
	size_t		n = s->left < size ? s->left : size;

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
	source		s = {.text = text, .left = n};

	return json_load_callback(next_bytes, &s, flags, why);
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
		size_t		last = json_array_size(value) - 1;

		take_apart(json_array_get(value, last), count);
		json_array_remove(value, last);
		/* whoever has ended it waits for no more than the rest of this */
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
	size_t		count = 0;

	take_apart(value, &count);
	json_decref(value);
}
