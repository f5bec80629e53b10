/*
 * message_walk.c - a turn, from its beginning to its end, while a conversation is walked.
 *
 * No locks: pure functions.
 */
#include "engine/text/message_walk.h"

void
glm_message_walk_begin(glm_message_walk *w)
{
	w->metadata.length = 0;
	w->content.length = 0;
	/* data is a C string from here on, even of an empty text */
	glm_buf_add(&w->metadata, "", 0);
	glm_buf_add(&w->content, "", 0);
}

bool
glm_message_walk_end(glm_message_walk *w, glm_role role)
{
	glm_turn turn = {role, &w->metadata, &w->content};

	if (w->metadata.failed || w->content.failed)
		return glm_no_memory(w->err);
	return w->take(w->arg, &turn, w->err);
}

bool
glm_message_walk_bad_key(const glm_message_walk *w, const char *key, const char *what)
{
	return glm_fail(w->err, GLM_BAD_JSON, "messages[%zu].%s %s", w->index, key, what);
}
