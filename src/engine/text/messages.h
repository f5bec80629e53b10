/*
 * messages.h - a conversation in JSON, turned into turns.
 *
 * Apart from prompt.c, which knows ids and no JSON: here is JSON and no ids.
 */
#ifndef GLM_MESSAGES_H
#define GLM_MESSAGES_H

#include "engine/base/base.h"

struct glm_chat;

typedef enum glm_role
{
	GLM_ROLE_SYSTEM = 0,
	GLM_ROLE_USER,
	GLM_ROLE_ASSISTANT,
	GLM_ROLE_OBSERVATION,
	GLM_N_ROLES
} glm_role;

/*
 * One turn of a conversation.  Both texts are good until the callback returns; metadata is
 * empty but where an assistant calls a tool, or a message brings its own.
 */
typedef struct glm_turn
{
	glm_role	   role;
	const glm_buf *metadata;
	const glm_buf *content;
} glm_turn;

typedef bool (*glm_take_turn)(void *arg, const glm_turn *turn, glm_error *err);

/*
 * Walks the turns of a request of form GLM_PROMPT or GLM_MESSAGES: system
 * prompt and tools in their place, OpenAI's way of writing turned into
 * the format's.  Stops at the first turn that the callback refuses.
 */
extern bool glm_messages_walk(const struct glm_chat *chat, const glm_request *req, bool is_json,
							  glm_take_turn take, void *arg, glm_error *err);

#endif /* GLM_MESSAGES_H */
