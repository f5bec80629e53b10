/*
 * fuzz_request.c - any bytes as what a backend sends to the worker: messages that are put
 * together to a block, or are no pieces of one; and the block: no request, or one of which
 * every byte can be touched.
 *
 * An input is a row of messages, each behind its length (two bytes).  An odd first byte makes
 * all of the rest one block instead, whose size is right, so that more is looked at.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"

#define BLOCK_MAX (1u << 20) /* of one that is put together here */

static volatile unsigned sum;

static void
touch_span(const glm_request *req, glm_span span)
{
	const char *text = glm_request_text(req, span);

	FUZZ_CHECK(text == NULL ? span.length == 0 : text[span.length] == '\0');
	for (uint32_t i = 0; i < span.length; i++)
		sum += (unsigned char) text[i];
}

static void
touch(const glm_request *req)
{
	const glm_span	texts[] = {req->model,	  req->path,	   req->options,	 req->target,
							   req->identity, req->label,	   req->text,		 req->system,
							   req->tools,	  req->constraint, req->continuation};
	const int32_t  *ids;
	const glm_bias *bias;
	size_t			n;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		touch_span(req, texts[i]);
		FUZZ_CHECK(texts[i].offset == 0 ||
				   strlen(glm_request_text(req, texts[i])) == texts[i].length);
	}
	touch_span(req, req->stop);
	for (uint32_t at = 0; at < req->stop.length;
		 at += (uint32_t) strlen(glm_request_text(req, req->stop) + at) + 1)
		sum++;
	ids = glm_request_tokens(req, &n);
	for (size_t i = 0; i < n; i++)
		sum += (unsigned) ids[i];
	bias = glm_request_bias(req, &n);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(bias[i].bias >= GLM_BIAS_BAN && bias[i].bias <= -GLM_BIAS_BAN);
}

static void
try_block(const void *block, size_t size)
{
	glm_error err = {0};

	if (glm_request_check(block, size, &err))
		touch(block);
	else
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
}

/* Takes the messages as the worker does, one request after the other. */
static void
try_messages(const uint8_t *data, size_t size)
{
	char	*block = NULL;
	uint32_t block_size = 0, received = 0;

	for (size_t at = 0, n; at + 2 <= size; at += 2 + n)
	{
		glm_fragment *message;

		n = data[at] + 256u * data[at + 1];
		n = n < size - at - 2 ? n : size - at - 2;
		message = malloc(n > 0 ? n : 1);
		memcpy(message, data + at + 2, n);
		if (glm_fragment_check(message, n) && message->size <= BLOCK_MAX)
		{
			if (message->offset == 0)
			{
				free(block);
				block = malloc(message->size);
				block_size = message->size;
				received = 0;
			}
			if (block != NULL && glm_fragment_put(message, n, block, block_size, &received) &&
				received == block_size)
				try_block(block, block_size);
			FUZZ_CHECK(received <= block_size);
		}
		free(message);
	}
	free(block);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	glm_request *req;

	if (size == 0 || data[0] % 2 == 0)
	{
		try_messages(data + (size > 0), size - (size > 0));
		return 0;
	}
	req = malloc(size);
	memcpy(req, data + 1, size - 1);
	if (size > sizeof(*req))
		req->size = (uint32_t) (size - 1);
	try_block(req, size - 1);
	free(req);
	return 0;
}
