/*
 * fuzz_messages.c - any bytes as messages, and behind a NUL as tools: an error, or turns.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/text/chat_chatglm3.h"
#include "engine/text/messages.h"

/* A turn's texts are UTF-8 with a NUL behind them. */
static bool
take(void *arg, const glm_turn *turn, glm_error *err)
{
	const glm_buf *texts[] = {turn->metadata, turn->content};

	(void) err;
	++*(int *) arg;
	FUZZ_CHECK(turn->role < GLM_N_ROLES);
	for (int i = 0; i < 2; i++)
		FUZZ_CHECK(strlen(texts[i]->data) == texts[i]->length &&
				   glm_utf8_check(texts[i]->data, texts[i]->length) < 0);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size > 0 ? memchr(data, '\0', size) : NULL;
	size_t		   n = nul != NULL ? (size_t) (nul - data) : size;
	glm_request	  *req = calloc(1, sizeof(*req) + size + 2);
	glm_error	   err = {0};
	int			   turns = 0;

	req->size = (uint32_t) (sizeof(*req) + size + 2);
	req->form = GLM_MESSAGES;
	req->text = (glm_span){sizeof(*req), (uint32_t) n};
	memcpy(req + 1, data, size);
	if (nul != NULL)
		req->tools = (glm_span){(uint32_t) (sizeof(*req) + n + 1), (uint32_t) (size - n - 1)};
	if (glm_request_check_texts(req, &err))
	{
		bool ok = glm_messages_walk(&glm_chat_chatglm3, req, true, take, &turns, &err);

		FUZZ_CHECK(ok ? turns > 0 : err.status != GLM_OK && err.message[0] != '\0');
	}
	free(req);
	return 0;
}
