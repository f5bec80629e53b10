/*
 * told.c - tokens with their log probabilities, as their reader is told of them.
 *
 * The text of a token is what it adds to an answer, byte for byte, which need not be whole
 * characters; of one that adds none it is the name.  Long texts, which no published
 * vocabulary has, are cut.
 */
#include "engine/serve/told.h"

#include <string.h>

#define TEXT_MAX 128

bool
glm_tells(const glm_sequence *seq)
{
	return seq->request->stream || seq->request->logprobs > 0;
}

int
glm_tells_likeliest(const glm_sequence *seq)
{
	return seq->request->logprobs > 0 ? seq->request->logprobs - 1 : 0;
}

/* false: it would come to more bytes than `most`. */
static bool
add_token(glm_buf *out, const glm_tokenizer *tok, glm_likely likely, int n_top, size_t most)
{
	glm_told	told = {.id = likely.token, .logprob = likely.logprob, .n_top = (uint8_t) n_top};
	size_t		n = 0;
	const char *text = glm_tokenizer_bytes(tok, likely.token, &n);

	if (text == NULL)
	{
		text = glm_tokenizer_name(tok, likely.token);
		n = text != NULL ? strlen(text) : 0;
		told.named = 1;
	}
	told.length = (uint16_t) (n < TEXT_MAX ? n : TEXT_MAX);
	if (out->length + sizeof(told) + told.length > most)
		return false;
	glm_buf_add(out, &told, sizeof(told));
	glm_buf_add(out, text != NULL ? text : "", told.length);
	return true;
}

bool
glm_told_add(glm_sequence *seq, const glm_picked *picked, size_t most)
{
	const glm_tokenizer *tok = seq->model->tokenizer;

	if (seq->request->logprobs == 0)
		return true;
	if (!seq->request->stream)
		(void) add_token(&seq->told, tok, (glm_likely){picked->token, picked->logprob},
						 picked->n_likely, most);
	for (int i = 0; i < picked->n_likely; i++)
		if (!add_token(&seq->told, tok, picked->likely[i], 0, most))
			break;
	return !seq->told.failed;
}
