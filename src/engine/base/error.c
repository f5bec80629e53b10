/*
 * error.c - filling a glm_error.
 *
 * Every function of the engine that can fail takes a glm_error and returns
 * false (or NULL) once it has been filled.  A message often quotes names out of
 * files and requests; whatever they are, it stays valid UTF-8, because the host
 * hands it to clients: bytes that are not become '?', and a message cut at the
 * end of its field is cut between characters.
 *
 * No locks: an error belongs to its caller.
 */
#include "engine/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void
make_valid(char *s)
{
	size_t	  n = strlen(s);
	ptrdiff_t bad;

	while ((bad = glm_utf8_check(s, n)) >= 0)
	{
		/* a cut character ends the text; drop it instead of marking it */
		if (glm_utf8_length(s + bad, n - bad) == 0)
		{
			s[bad] = '\0';
			return;
		}
		s[bad] = '?';
	}
}

bool
glm_fail(glm_error *err, glm_status status, const char *fmt, ...)
{
	va_list args;

	if (err == NULL)
		return false;
	err->status = status;
	err->advice = GLM_ADVICE_NONE;
	err->hint[0] = '\0';
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	make_valid(err->message);
	return false;
}

void
glm_hint(glm_error *err, const char *fmt, ...)
{
	va_list args;

	if (err == NULL)
		return;
	va_start(args, fmt);
	vsnprintf(err->hint, sizeof(err->hint), fmt, args);
	va_end(args);
	make_valid(err->hint);
}

void
glm_advise(glm_error *err, glm_advice advice)
{
	if (err != NULL)
		err->advice = advice;
}

bool
glm_no_memory(glm_error *err)
{
	return glm_fail(err, GLM_NO_ROOM, "out of memory");
}

void
glm_event_set_error(glm_event *event, const glm_error *err)
{
	size_t message = strlen(err->message) + 1;
	size_t hint = strlen(err->hint) + 1;

	memset(event, 0, sizeof(*event));
	event->kind = GLM_EVENT_ERROR;
	event->status = err->status;
	event->advice = err->advice;
	event->length = message + hint;
	memcpy(event->payload, err->message, message);
	memcpy(event->payload + message, err->hint, hint);
}
