/*
 * message_walk.h - a conversation while it is walked: the turn being made, its tools and calls.
 */
#ifndef GLM_MESSAGE_WALK_H
#define GLM_MESSAGE_WALK_H

#include "engine/base/json.h"
#include "engine/text/chat_format.h"

typedef struct glm_message_walk
{
	const glm_chat *chat;
	glm_take_turn	take;
	void		   *arg;
	glm_error	   *err;
	size_t			index;	  /* of the message being read */
	glm_buf			metadata; /* of the turn being made */
	glm_buf			content;
} glm_message_walk;

/* ---- message_walk.c -------------------------------------------------------------- */

extern void glm_message_walk_begin(glm_message_walk *w);
extern bool glm_message_walk_end(glm_message_walk *w, glm_role role);
/* Something is wrong with a key of the message being read. */
extern bool glm_message_walk_bad_key(const glm_message_walk *w, const char *key, const char *what);

/* ---- tools.c --------------------------------------------------------------- */

/* Appends tools to the content of a system turn; `where` names them. */
extern bool glm_tools_add(glm_message_walk *w, json_t *tools, bool reorder, const char *where);

/* ---- calls.c --------------------------------------------------------------- */

/* The calls that results may come for, in order. */
typedef struct glm_calls
{
	size_t	 n;
	bool	 own;  /* one was written ChatGLM's way, which has no ids */
	json_t	*head; /* id -> number of the first call of that id without a result */
	json_t	*tail; /* id -> number of the last one */
	int64_t *next; /* [n] of the same id; -1: none */
	size_t	 capacity;
} glm_calls;

/* Makes a turn of each of an assistant's tool_calls, and notes them. */
extern bool glm_calls_read(glm_message_walk *w, json_t *tool_calls, glm_calls *calls);
/* Notes a call of ChatGLM's own form. */
extern bool glm_calls_own(glm_message_walk *w, glm_calls *calls);
extern void glm_calls_forget(glm_calls *calls);

/*
 * The order in which results tell which call they answer: that of the calls.
 * messages[from, to) are results; fills order[to - from] with their numbers.
 */
extern bool glm_calls_sort(glm_message_walk *w, glm_calls *calls, json_t *messages, size_t from,
						   size_t to, size_t *order);

#endif /* GLM_MESSAGE_WALK_H */
