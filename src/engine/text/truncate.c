/*
 * truncate.c - a prompt that does not fit, made to fit; see truncate.h.
 *
 * What is cut is ids, not bytes, so that as much is kept as there is room for and
 * the answer's usage counts what the model has read.  A piece of byte fallback
 * is part of a character; a cut never lies between two parts of one.  The result
 * depends on the prompt, the context and max_tokens alone.
 *
 * No locks: pure functions.
 */
#include "engine/text/truncate.h"

#include <string.h>

#include "engine/text/pieces.h"

#define ROOM_SHARE 4 /* of the context: the room kept for an answer is at most one part */
#define SPARE 8		 /* ids by which a cut of bytes misses those that are kept */

size_t
glm_truncate_limit(int context, int max_tokens)
{
	int room = context / ROOM_SHARE;

	if (room > max_tokens)
		room = max_tokens;
	if (room < 1)
		room = 1;
	return (size_t) (context - room);
}

/* ---- Bytes --------------------------------------------------------------- */

static bool
inside_character(char c)
{
	return ((uint8_t) c & 0xC0) == 0x80;
}

/* The length of the first whole characters of at most `most` bytes. */
static size_t
first_bytes(const char *text, size_t most)
{
	while (most > 0 && inside_character(text[most]))
		most--;
	return most;
}

/* Where the last whole characters of at most `most` bytes begin. */
static size_t
last_bytes(const char *text, size_t n, size_t most)
{
	size_t start = n - most;

	while (start < n && inside_character(text[start]))
		start++;
	return start;
}

bool
glm_truncate_text(const glm_tokenizer *tok, glm_truncate how, size_t limit, const char **text,
				  size_t *n, glm_buf *joined, glm_error *err)
{
	/* no id stands for more bytes than the longest piece has */
	size_t most = (limit + SPARE) * glm_tokenizer_longest(tok);
	size_t start;

	if (how == GLM_TRUNCATE_ERROR || *n <= (how == GLM_TRUNCATE_MIDDLE ? 2 * most : most))
		return true;
	start = last_bytes(*text, *n, most);
	switch (how)
	{
		case GLM_TRUNCATE_HEAD:
			*text += start;
			*n -= start;
			return true;
		case GLM_TRUNCATE_TAIL:
			*n = first_bytes(*text, most);
			return true;
		default:
			glm_buf_add(joined, *text, first_bytes(*text, most));
			glm_buf_add(joined, *text + start, *n - start);
			*text = joined->data;
			*n = joined->length;
			return !joined->failed || glm_no_memory(err);
	}
}

/* ---- Ids ----------------------------------------------------------------- */

/* Does the text of this id begin with the rest of a character? */
static bool
continues(const glm_tokenizer *tok, int32_t id)
{
	return id < tok->size && tok->pieces[id].kind == GLM_SPM_BYTE &&
		   inside_character((char) tok->pieces[id].byte);
}

/* Takes ids[a, b) out of the list. */
static void
take_ids_out(glm_ids *ids, size_t a, size_t b)
{
	memmove(ids->data + a, ids->data + b, (ids->length - b) * sizeof(int32_t));
	ids->length -= b - a;
}

bool
glm_truncate_ids(const glm_tokenizer *tok, glm_truncate how, size_t limit, glm_ids *ids,
				 size_t from, size_t to, glm_error *err)
{
	size_t others = ids->length - (to - from);
	size_t keep = limit > others ? limit - others : 0;
	size_t a = from; /* what goes: [a, b) */
	size_t b = to;

	if (how == GLM_TRUNCATE_ERROR || ids->length <= limit)
		return true;
	if (how == GLM_TRUNCATE_TAIL)
		a = from + keep;
	else if (how == GLM_TRUNCATE_HEAD)
		b = to - keep;
	else
	{
		a = from + keep / 2 + keep % 2;
		b = to - keep / 2;
	}
	while (a > from && a < to && continues(tok, ids->data[a]))
		a--;
	while (b < to && continues(tok, ids->data[b]))
		b++;
	if (a == from && b == to)
	{
		glm_fail(err, GLM_TOO_LONG,
				 "%zu tokens that are not cut leave no room for the text, "
				 "as %zu may be used",
				 others, limit);
		glm_hint(err, "Shorten the system message, the tools or the other messages.");
		return false;
	}
	take_ids_out(ids, a, b);
	return true;
}
