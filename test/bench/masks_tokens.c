/*
 * masks_tokens.c - a vocabulary, and texts as an answer in it.
 */
#include "masks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/constrain/vocabulary.h"
#include "engine/text/pieces.h"

#define MADE_IDS 65024	 /* ChatGLM3's, padding included */
#define MOST_IDS 1000000 /* of a model that is given */
#define END_ID 2		 /* </s>, of SentencePiece */

struct masks_tokens
{
	glm_tokenizer  *tok;
	glm_vocabulary *vocabulary;
	int				n;
	int32_t			byte[256]; /* the token of each byte; -1: there is none */
};

/* Beside this program: made when there is none. */
static bool
find_made(char *dir, size_t size, glm_error *err)
{
	char	path[4200];
	ssize_t n = readlink("/proc/self/exe", dir, size - 32);

	if (n < 0)
		return glm_fail(err, GLM_INTERNAL, "cannot read /proc/self/exe");
	dir[n] = '\0';
	strcpy(strrchr(dir, '/'), "/vocabulary");
	snprintf(path, sizeof(path), "%s/tokenizer.model", dir);
	if (access(path, R_OK) == 0)
		return true;
	fprintf(stderr, "making %s, once\n", path);
	mkdir(dir, 0777);
	return masks_train(path, err);
}

/* ---- What a vocabulary asks ------------------------------------------------------------------------ */

const char *
masks_tokens_bytes(const masks_tokens *tokens, int32_t id, size_t *n)
{
	const glm_piece *p;

	if (id >= tokens->tok->size)
		return NULL;
	p = &tokens->tok->pieces[id];
	if (p->kind != GLM_SPM_TEXT && p->kind != GLM_SPM_BYTE)
		return NULL;
	*n = p->kind == GLM_SPM_BYTE ? 1 : p->length;
	return p->kind == GLM_SPM_BYTE ? (const char *) &p->byte : tokens->tok->text.data + p->offset;
}

static const char *
bytes_of(void *arg, int32_t id, size_t *n)
{
	return masks_tokens_bytes(arg, id, n);
}

static bool
ends_answer(void *arg, int32_t id)
{
	(void) arg;
	return id == END_ID;
}

static bool
encode(void *arg, const char *bytes, size_t n, glm_ids *out)
{
	return masks_tokens_encode(arg, bytes, n, out);
}

/* ---- Texts --------------------------------------------------------------------------------------------- */

/* Are these tokens this text? */
static bool
is_text(const masks_tokens *tokens, const int32_t *id, size_t n_ids, const char *text, size_t n)
{
	for (size_t i = 0; i < n_ids; i++)
	{
		size_t		length = 0;
		const char *bytes = masks_tokens_bytes(tokens, id[i], &length);

		if (length > n || (length > 0 && memcmp(bytes, text, length) != 0))
			return false;
		text += length;
		n -= length;
	}
	return n == 0;
}

/*
 * The ids that stand for the text itself where it was encoded behind a digit, so that no blank
 * comes in front; false: a token has the digit and more, or the tokenizer changes the text.
 */
static bool
behind_digit(const masks_tokens *tokens, const glm_ids *led, const char *text, size_t n,
			 glm_ids *out)
{
	for (size_t first = 1; first <= 3 && first <= led->length; first++)
		if (is_text(tokens, led->data + first, led->length - first, text, n))
		{
			for (size_t i = first; i < led->length; i++)
				if (!glm_ids_add(out, led->data[i], NULL))
					return false;
			return true;
		}
	return false;
}

bool
masks_tokens_encode(const masks_tokens *tokens, const char *text, size_t n, glm_ids *out)
{
	glm_buf led = {0};
	glm_ids ids = {0};
	bool	ok;

	glm_buf_add(&led, "0", 1);
	glm_buf_add(&led, text, n);
	ok = !led.failed && glm_tokenizer_encode(tokens->tok, led.data, led.length, &ids, NULL) &&
		 behind_digit(tokens, &ids, text, n, out);
	glm_buf_free(&led);
	glm_ids_free(&ids);
	if (ok)
		return true;
	for (size_t i = 0; i < n; i++)
		if (tokens->byte[(uint8_t) text[i]] < 0 ||
			!glm_ids_add(out, tokens->byte[(uint8_t) text[i]], NULL))
			return false;
	return true;
}

/* ---- Opening --------------------------------------------------------------------------------------------- */

masks_tokens *
masks_tokens_open(const char *dir, glm_error *err)
{
	masks_tokens *tokens = calloc(1, sizeof(*tokens));
	char		  made[4100];

	if (tokens == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	if (dir != NULL || find_made(made, sizeof(made), err))
		tokens->tok =
			glm_tokenizer_open(dir != NULL ? dir : made, dir != NULL ? MOST_IDS : MADE_IDS, err);
	if (tokens->tok != NULL)
	{
		tokens->n = dir != NULL ? glm_tokenizer_size(tokens->tok) : MADE_IDS;
		memset(tokens->byte, -1, sizeof(tokens->byte));
		for (int32_t id = 0; id < tokens->tok->size; id++)
			if (tokens->tok->pieces[id].kind == GLM_SPM_BYTE)
				tokens->byte[tokens->tok->pieces[id].byte] = id;
		tokens->vocabulary = glm_vocabulary_open(
			&(glm_vocabulary_source){tokens->n, bytes_of, ends_answer, encode, tokens}, err);
	}
	if (tokens->vocabulary == NULL)
	{
		masks_tokens_close(tokens);
		return NULL;
	}
	return tokens;
}

void
masks_tokens_close(masks_tokens *tokens)
{
	if (tokens == NULL)
		return;
	glm_vocabulary_close(tokens->vocabulary);
	glm_tokenizer_close(tokens->tok);
	free(tokens);
}

int
masks_tokens_count(const masks_tokens *tokens)
{
	return tokens->n;
}

int32_t
masks_tokens_byte(const masks_tokens *tokens, uint8_t byte)
{
	return tokens->byte[byte];
}

glm_vocabulary *
masks_tokens_vocabulary(const masks_tokens *tokens)
{
	return tokens->vocabulary;
}
