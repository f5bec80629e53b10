/*
 * messages.h - a conversation in JSON, turned into turns.
 *
 * Apart from prompt.c, which knows ids and no JSON: here is JSON and no ids.
 */
#ifndef GLM_MESSAGES_H
#define GLM_MESSAGES_H

#include "engine/text/tokenizer.h"

/*
 * One turn of ChatGLM3's template.  Both texts are good until the callback
 * returns; metadata is empty but for an assistant that calls a tool.
 */
typedef struct glm_turn
{
	glm_special	   role; /* GLM_SP_SYSTEM ... GLM_SP_OBSERVATION */
	const glm_buf *metadata;
	const glm_buf *content;
} glm_turn;

typedef bool (*glm_take_turn)(void *arg, const glm_turn *turn, glm_error *err);

/*
 * Walks the turns of a request of form GLM_PROMPT or GLM_MESSAGES: system
 * prompt and tools in their place, OpenAI's way of writing turned into
 * ChatGLM3's.  Stops at the first turn that the callback refuses.
 */
extern bool glm_messages_walk(const glm_request *req, bool is_json, glm_take_turn take, void *arg,
							  glm_error *err);

#endif /* GLM_MESSAGES_H */
