/*
 * few_tokens.c - vocabularies of some tokens.
 */
#include "few_tokens.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static char				  byte_piece[256];
static const char *const *pieces;

static const char *
piece_bytes(void *arg, int32_t id, size_t *n)
{
	(void) arg;
	*n = 1;
	if (id < FT_BYTE(0))
		return NULL;
	if (id < FT_PIECE(0))
		return &byte_piece[id - FT_BYTE(0)];
	*n = strlen(pieces[id - FT_PIECE(0)]);
	return pieces[id - FT_PIECE(0)];
}

static bool
piece_ends(void *arg, int32_t id)
{
	(void) arg;
	return id == FT_END || id == FT_END + 1;
}

glm_vocabulary_source
ft_source(const char *const *piece, int n)
{
	for (int i = 0; i < 256; i++)
		byte_piece[i] = (char) i;
	pieces = piece;
	return (glm_vocabulary_source){.n_ids = FT_PIECE(n), .bytes = piece_bytes, .ends = piece_ends};
}

glm_vocabulary *
ft_open(const char *const *piece, int n)
{
	glm_vocabulary_source source = ft_source(piece, n);
	glm_vocabulary		 *vocabulary = glm_vocabulary_open(&source, NULL);

	assert_non_null(vocabulary);
	return vocabulary;
}
