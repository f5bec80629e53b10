/*
 * passages.c - a text cut into passages of limited tokens.
 *
 * How many tokens a passage has is counted of the passage alone, as whoever uses it will
 * read it: at its borders tokens differ from those of the whole text.  So a place to cut is
 * guessed from the tokens of what lies ahead, moved back to a border between paragraphs,
 * sentences or words, and what is cut off is counted.  That is rarely too much; then the
 * place is moved back again.
 *
 * Passages without overlap are the text, byte for byte.  An overlap begins at a word, and is
 * counted in the same way.  Each byte is read some three times, whatever the passages are.
 */
#include "engine/text/passages.h"

#include "engine/text/units.h"

/* ---- Places --------------------------------------------------------------------- */

/* The beginning of the character at or before byte `at`. */
static size_t
character_border(const char *text, size_t n, size_t at)
{
	if (at >= n)
		return n;
	while (at > 0 && ((unsigned char) text[at] & 0xC0) == 0x80)
		at--;
	return at;
}

/*
 * Where to cut [0, end] of a text that goes on behind it: at a paragraph or a sentence where
 * that leaves half of it at least, else at a word, else anywhere.
 */
static size_t
choose_border(const char *text, size_t n, size_t end)
{
	static const glm_unit coarse[] = {GLM_UNIT_PARAGRAPH, GLM_UNIT_SENTENCE};
	size_t				  border;

	for (int i = 0; i < 2; i++)
	{
		border = glm_last_border(coarse[i], text, n, end);
		if (border > end / 2)
			return border;
	}
	border = glm_last_border(GLM_UNIT_WORD, text, n, end);
	return border > 0 ? border : end;
}

/* ---- Tokens ---------------------------------------------------------------------- */

/* Does [from, to) have at most so many tokens?  Then p->ids are they. */
static bool
fits(glm_passages *p, size_t from, size_t to, size_t most, bool *fit, glm_error *err)
{
	bool stopped;

	p->ids.length = 0;
	if (!glm_tokenizer_encode_most(p->tok, p->text + from, to - from, most, &stopped, &p->ids, err))
		return false;
	*fit = !stopped && p->ids.length <= most;
	return true;
}

/* Bytes of text that the first so many of p->ids stand for: a guess where a piece is cut. */
static bool
bytes_of(const glm_passages *p, size_t ids, size_t *bytes, glm_error *err)
{
	glm_buf text = {0};
	bool	ok = glm_tokenizer_decode(p->tok, p->ids.data, ids, &text, err);

	*bytes = text.length;
	glm_buf_free(&text);
	return ok;
}

/* ---- A passage --------------------------------------------------------------------- */

static bool
too_few(const glm_passages *p, glm_error *err)
{
	glm_fail(err, GLM_BAD_ARGUMENT,
			 "argument \"tokens\" is %zu, but a character of the text has more", p->tokens);
	glm_hint(err, "A character that is no token of its own has one for each of its bytes.");
	return false;
}

/*
 * How much of the text from `from` on comes to the tokens of a passage, or all of it, *whole,
 * where that does.  Somewhat more than the last passage is read, and twice that where it is
 * not enough.
 */
static bool
guess_end(glm_passages *p, size_t from, size_t *end, bool *whole, glm_error *err)
{
	const char *text = p->text + from;
	size_t		rest = p->n - from;
	size_t		window = p->to - p->from > p->tokens ? p->to - p->from : p->tokens;
	bool		fit;

	window += window / 4 + 16;
	for (;;)
	{
		window = character_border(text, rest, window);
		if (!fits(p, from, from + window, p->tokens, &fit, err))
			return false;
		*whole = fit && window == rest;
		if (*whole || !fit)
			break;
		window *= 2;
	}
	*end = rest;
	if (*whole)
		return true;
	if (!bytes_of(p, p->tokens, end, err))
		return false;
	*end = character_border(text, rest, *end < window ? *end : window);
	return true;
}

/* Finds where the passage ends that begins at `from`. */
static bool
find_end(glm_passages *p, size_t from, size_t *to, glm_error *err)
{
	const char *text = p->text + from;
	size_t		rest = p->n - from;
	size_t		first = (size_t) glm_utf8_length(text, rest);
	size_t		end;
	bool		fit;

	*to = p->n;
	if (!guess_end(p, from, &end, &fit, err))
		return false;
	if (fit)
		return true;
	for (;;)
	{
		size_t border = end > first ? choose_border(text, rest, end) : first;

		if (!glm_pause(err) || !fits(p, from, from + border, p->tokens, &fit, err))
			return false;
		*to = from + border;
		if (fit)
			return true;
		if (border == first)
			return too_few(p, err);
		end = character_border(text, rest, border - 1 - border / 16);
	}
}

/* Where the next passage begins: at a word that leaves at most `overlap` tokens of this one. */
static bool
find_overlap(glm_passages *p, size_t *begin, glm_error *err)
{
	const char *text = p->text + p->from;
	size_t		n = p->to - p->from;
	size_t		at;
	bool		fit = false;

	*begin = p->to;
	if (p->overlap == 0 || p->ids.length <= p->overlap)
		return true;
	if (!bytes_of(p, p->ids.length - p->overlap, &at, err))
		return false;
	for (at = at > 0 ? at : 1; !fit; at = *begin - p->from + 1)
	{
		*begin = p->from + glm_next_border(text, n, at < n ? at : n);
		if (*begin == p->to)
			return true;
		if (!glm_pause(err) || !fits(p, *begin, p->to, p->overlap, &fit, err))
			return false;
	}
	return true;
}

bool
glm_passages_next(glm_passages *p, glm_error *err)
{
	size_t begin, end;

	if (!find_overlap(p, &begin, err) || !find_end(p, begin, &end, err))
		return false;
	/* with little room beside the overlap nothing new may fit: then there is none */
	if (end <= p->to && begin < p->to)
	{
		begin = p->to;
		if (!find_end(p, begin, &end, err))
			return false;
	}
	p->from = begin;
	p->to = end;
	return true;
}
