/*
 * few_answers.c - answers that are constrained.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_answers.h"
#include "few_tokens.h"

static const char *const piece[] = {
	"{\"",	"\": ", "\": \"", "\", \"", "\"}", "}",		  ", ",
	"name", "na",	"age",	  "[",		"]",   "12",	  "3",
	"true", "ab",	"abc",	  "null",	"],",  "},",	  "x\", \"age\": ",
	"add",	"\n{",	"search", "\n",		" ",   "\xc3\xa9"};

_Static_assert(sizeof(piece) / sizeof(piece[0]) == FA_PIECES, "FA_PIECES");

const char fa_person[] =
	"{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 9}, "
	"\"age\": {\"type\": \"integer\", \"minimum\": 3, \"maximum\": 123}, "
	"\"tags\": {\"type\": \"array\", \"items\": {\"type\": \"string\", \"pattern\": "
	"\"^[a-c]{2,}x?$\"}}}, "
	"\"required\": [\"name\", \"age\"], \"additionalProperties\": false}";

glm_vocabulary *fa_vocabulary;

int
fa_open(void **state)
{
	(void) state;
	fa_vocabulary = ft_open(piece, FA_PIECES);
	return glm_vocabulary_words(fa_vocabulary) <= FA_WORDS ? 0 : -1;
}

int
fa_close(void **state)
{
	(void) state;
	glm_vocabulary_close(fa_vocabulary);
	return 0;
}

glm_constraint *
fa_constrain(glm_constraint_kind kind, const char *text)
{
	glm_constraint_spec spec = {.kind = kind, .text = text, .length = strlen(text)};
	glm_error			err;
	glm_constraint	   *constraint = glm_constraint_open(&spec, fa_vocabulary, &err);

	if (constraint == NULL)
		fail_msg("%s", err.message);
	return constraint;
}

glm_matcher *
fa_match(glm_constraint *constraint, int max_tokens)
{
	glm_error	 err;
	glm_matcher *matcher = glm_matcher_open(constraint, NULL, 0, max_tokens, &err);

	if (matcher == NULL)
		fail_msg("%s", err.message);
	return matcher;
}

/* ---- Writing answers ------------------------------------------------------------------------- */

unsigned
fa_draw(unsigned *random)
{
	*random = *random * 1103515245 + 12345;
	return *random >> 8;
}

void
fa_check_mask(glm_matcher *m, const uint64_t *allowed)
{
	const glm_machine_kind *kind = m->constraint->machine->kind;
	glm_constraint		   *c = m->constraint;
	jmp_buf					escape;
	glm_error				err;

	c->arena.escape = m->walk.escape = &escape;
	c->arena.err = m->walk.err = &err;
	if (setjmp(escape) != 0)
		fail_msg("%s", err.message);
	for (int32_t token = 0; token < FT_PIECE(FA_PIECES); token++)
	{
		glm_arena_mark mark = glm_arena_here(&m->walk);
		glm_place	  *place = glm_arena_get(&m->walk, m->place_size);
		size_t		   n;
		const char	  *bytes = glm_vocabulary_bytes(fa_vocabulary, token, &n);
		bool		   fits = n > 0;

		memcpy(place, m->place, m->place_size);
		for (size_t i = 0; fits && i < n; i++)
			fits = kind->step(c->machine, &m->walk, place->state, (uint8_t) bytes[i]);
		glm_arena_back(&m->walk, mark);
		if (fits != glm_mask_has(allowed, token) && token != FT_END && token != FT_END + 1)
			fail_msg("behind %s token %d \"%.*s\" is %s", m->answer.data, token, (int) n, bytes,
					 fits ? "refused" : "allowed");
	}
}

void
fa_write_answer(glm_matcher *m, unsigned random, int most, bool check, glm_buf *out)
{
	int tokens = 0;

	for (bool ended = false; !ended; tokens++)
	{
		uint64_t	allowed[FA_WORDS];
		int32_t		token = -1;
		size_t		n;
		const char *bytes;

		glm_matcher_mask(m, allowed);
		if (check)
			fa_check_mask(m, allowed);
		for (int tries = 0; tries < 200 && token < 0; tries++)
		{
			int32_t drawn = (int32_t) (fa_draw(&random) % FT_PIECE(FA_PIECES));

			if (glm_mask_has(allowed, drawn) && glm_matcher_allows(m, drawn))
				token = drawn;
		}
		if (token < 0)
			token = glm_matcher_way_out(m);
		assert_true(glm_matcher_allows(m, token));
		bytes = glm_vocabulary_bytes(fa_vocabulary, token, &n);
		glm_buf_add(out, bytes, n);
		ended = token == FT_END || token == FT_END + 1;
		glm_matcher_take(m, token);
	}
	assert_true(tokens <= most);
}
