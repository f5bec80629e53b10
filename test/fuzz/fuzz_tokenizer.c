/*
 * fuzz_tokenizer.c - any bytes as tokenizer.model: an error, or ids that all have a text.
 */
#include "fuzz.h"

#include <string.h>

#include "engine/text/tokenizer.h"

#define VOCABULARY 4096

static const char text[] = "Hello  world!\n\t42 \xE4\xBD\xA0\xE5\xA5\xBD <0x0A> \xF0\x9F\x98\x80";

static void
check_text(const glm_tokenizer *tok)
{
	glm_ids	  ids = {0};
	glm_buf	  back = {0};
	glm_error err = {0};

	if (glm_tokenizer_encode(tok, text, sizeof(text) - 1, &ids, &err))
	{
		for (size_t i = 0; i < ids.length; i++)
			FUZZ_CHECK(ids.data[i] >= 0 && ids.data[i] < glm_tokenizer_size(tok));
		FUZZ_CHECK(glm_tokenizer_decode(tok, ids.data, ids.length, &back, &err));
		FUZZ_CHECK(back.length == 0 || glm_utf8_check(back.data, back.length) < 0);
	}
	else
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
	glm_ids_free(&ids);
	glm_buf_free(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char	  *dir = fuzz_write("tokenizer.model", data, size);
	glm_error	   err = {0};
	glm_tokenizer *tok = glm_tokenizer_open(dir, VOCABULARY, &err);
	size_t		   n;

	if (tok == NULL)
	{
		FUZZ_CHECK(err.status != GLM_OK && err.message[0] != '\0');
		return 0;
	}
	FUZZ_CHECK(glm_tokenizer_size(tok) > 0 && glm_tokenizer_size(tok) <= VOCABULARY);
	for (int32_t id = 0; id < glm_tokenizer_size(tok); id++)
	{
		const char *bytes = glm_tokenizer_bytes(tok, id, &n);

		FUZZ_CHECK(bytes == NULL || (n <= glm_tokenizer_longest(tok) && !memchr(bytes, '\0', n)));
	}
	check_text(tok);
	glm_tokenizer_close(tok);
	return 0;
}
