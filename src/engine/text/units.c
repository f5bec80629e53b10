/*
 * units.c - texts in words, sentences and paragraphs, without a dictionary.
 *
 * The rules are those of UAX #29 made simpler (docs/reference.md has them).  Words: runs of
 * letters, digits and low lines; an apostrophe between letters, a point or comma between
 * digits is inside; each Chinese character and Hiragana is one, and runs of Katakana.
 * Sentences end behind .!? and white space, but not before a small letter, behind 。！？
 * at once, and at a blank line.  Paragraphs end at blank lines.
 *
 * Each call reads on from where the last one ended, so a text takes time by its length.
 * No locks: pure functions.
 */
#include "engine/text/units.h"

#include <string.h>

/* A place in a text, and the character there. */
typedef struct cursor
{
	const char *text;
	size_t		n;
	size_t		at;
	uint32_t	c; /* 0 at the end */
	int			length;
	glm_class class;
} cursor;

static void
look(cursor *cur)
{
	cur->c = 0;
	cur->length = 0;
	cur->class = GLM_CLASS_OTHER;
	if (cur->at >= cur->n)
		return;
	cur->c = glm_character(cur->text + cur->at, cur->n - cur->at, &cur->length);
	cur->class = glm_class_of(cur->c);
}

static cursor
begin_at(const char *text, size_t n, size_t at)
{
	cursor cur = {.text = text, .n = n, .at = at};

	look(&cur);
	return cur;
}

static void
step(cursor *cur)
{
	cur->at += (size_t) cur->length;
	look(cur);
}

static bool
at_end(const cursor *cur)
{
	return cur->at >= cur->n;
}

/* ---- White space ------------------------------------------------------------- */

/* Passes white space; how many lines end in it, a paragraph separator counts for two. */
static int
pass_spaces(cursor *cur)
{
	int lines = 0;

	for (; !at_end(cur) && cur->class == GLM_CLASS_SPACE; step(cur))
	{
		bool after_return = cur->at > 0 && cur->text[cur->at - 1] == '\r';

		lines += cur->c == '\r' || (cur->c == '\n' && !after_return) || cur->c == 0x2028;
		lines += cur->c == 0x2029 ? 2 : 0;
	}
	return lines;
}

/* ---- Words --------------------------------------------------------------------- */

static bool
in_word(glm_class class)
{
	return class == GLM_CLASS_LETTER || class == GLM_CLASS_DIGIT || class == GLM_CLASS_EXTEND;
}

/* Does a word go on behind this character, which stands after one of class `before`? */
static bool
joins(const cursor *cur, glm_class before)
{
	cursor next = *cur;
	bool   apostrophe = cur->c == '\'' || cur->c == 0x2019;
	bool   point = cur->c == '.' || cur->c == ',';

	if (!apostrophe && !point)
		return false;
	step(&next);
	return apostrophe ? before == GLM_CLASS_LETTER && next.class == GLM_CLASS_LETTER
					  : before == GLM_CLASS_DIGIT && next.class == GLM_CLASS_DIGIT;
}

/* Passes the rest of a word that begins with this class. */
static void
pass_word(cursor *cur)
{
	glm_class first = cur->class;
	glm_class before = first;

	step(cur);
	while (!at_end(cur))
	{
		bool goes_on = cur->class == GLM_CLASS_EXTEND;

		if (first == GLM_CLASS_KATAKANA)
			goes_on |= cur->class == GLM_CLASS_KATAKANA;
		else if (first != GLM_CLASS_ALONE)
			goes_on |= in_word(cur->class) || joins(cur, before);
		if (!goes_on)
			return;
		if (cur->class != GLM_CLASS_EXTEND)
			before = cur->class;
		step(cur);
	}
}

static bool
next_word(cursor *cur, size_t *from)
{
	while (!at_end(cur) && (cur->class == GLM_CLASS_OTHER || cur->class == GLM_CLASS_SPACE ||
							cur->class == GLM_CLASS_EXTEND))
		step(cur);
	*from = cur->at;
	if (at_end(cur))
		return false;
	pass_word(cur);
	return true;
}

/* ---- Sentences ------------------------------------------------------------------- */

static bool
is_one_of(uint32_t c, const uint32_t *list)
{
	for (; *list != 0; list++)
		if (*list == c)
			return true;
	return false;
}

/* Ends a sentence wherever it stands. */
static bool
ends_at_once(uint32_t c)
{
	static const uint32_t list[] = {0x3002, 0xFF01, 0xFF1F, 0xFF61, 0};

	return is_one_of(c, list);
}

/* Ends one where white space, or the end, comes behind. */
static bool
ends_before_space(uint32_t c)
{
	static const uint32_t list[] = {'.',	'!',   '?',	  0x2026, 0x203C, 0x203D, 0x2047, 0x2048,
									0x2049, 0x589, 0x61F, 0x6D4,  0x964,  0x965,  0};

	return is_one_of(c, list);
}

/* Quotation marks and brackets that close behind the end of a sentence. */
static bool
is_closing(uint32_t c)
{
	static const uint32_t list[] = {'"',	'\'',	')',	']',	'}',	0xBB,	0x2019,
									0x201D, 0x203A, 0x3009, 0x300B, 0x300D, 0x300F, 0x3011,
									0x3015, 0x3017, 0xFF09, 0xFF3D, 0xFF5D, 0};

	return is_one_of(c, list);
}

static bool
is_small(uint32_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 0xDF && c <= 0xFF && c != 0xF7) ||
		   (c >= 0x3B1 && c <= 0x3C9) || (c >= 0x430 && c <= 0x45F);
}

/* Passes what may end a sentence; does it? */
static bool
pass_end(cursor *cur)
{
	bool   at_once = false;
	bool   weak = true; /* nothing but points */
	cursor next;

	for (; !at_end(cur) && (ends_at_once(cur->c) || ends_before_space(cur->c)); step(cur))
	{
		at_once |= ends_at_once(cur->c);
		weak &= cur->c == '.' || cur->c == 0x2026;
	}
	while (!at_end(cur) && is_closing(cur->c))
		step(cur);
	if (at_once || at_end(cur))
		return true;
	next = *cur;
	pass_spaces(&next);
	return next.at > cur->at && !(weak && is_small(next.c));
}

static bool
next_sentence(cursor *cur, size_t *from, size_t *to)
{
	pass_spaces(cur);
	*from = *to = cur->at;
	while (!at_end(cur))
	{
		if (cur->class == GLM_CLASS_SPACE)
		{
			if (pass_spaces(cur) >= 2)
				return true;
			continue;
		}
		if (ends_at_once(cur->c) || ends_before_space(cur->c))
		{
			bool ended = pass_end(cur);

			*to = cur->at;
			if (ended)
				return true;
			continue;
		}
		step(cur);
		*to = cur->at;
	}
	return *to > *from;
}

/* ---- Paragraphs ---------------------------------------------------------------------- */

static bool
next_paragraph(cursor *cur, size_t *from, size_t *to)
{
	pass_spaces(cur);
	*from = *to = cur->at;
	while (!at_end(cur))
	{
		if (cur->class != GLM_CLASS_SPACE)
		{
			step(cur);
			*to = cur->at;
		}
		else if (pass_spaces(cur) >= 2)
			return true;
	}
	return *to > *from;
}

/* ---- Entry ------------------------------------------------------------------------------ */

bool
glm_next_unit(glm_unit unit, const char *text, size_t n, size_t *from, size_t *to)
{
	cursor cur = begin_at(text, n, *to);
	bool   found;

	switch (unit)
	{
		case GLM_UNIT_SENTENCE:
			return next_sentence(&cur, from, to);
		case GLM_UNIT_PARAGRAPH:
			return next_paragraph(&cur, from, to);
		case GLM_UNIT_WORD:
			break;
	}
	found = next_word(&cur, from);
	*to = cur.at;
	return found;
}

#define LOOK_AHEAD 256 /* bytes behind a place that tell whether a unit begins there */

/* ---- Borders ---------------------------------------------------------------------------- */

/*
 * Where one unit ends and the next begins, in the gap [from, to) between them: behind its
 * last white space, so that a bracket that opens goes with what follows; else at its end,
 * so that a full stop goes with what it ends.
 */
static size_t
border_in_gap(const char *text, size_t n, size_t from, size_t to)
{
	cursor cur = begin_at(text, n, from);
	size_t border = to;

	while (cur.at < to)
	{
		bool space = cur.class == GLM_CLASS_SPACE;

		step(&cur);
		if (space)
			border = cur.at;
	}
	return border;
}

size_t
glm_last_border(glm_unit unit, const char *text, size_t n, size_t end)
{
	size_t last = 0, before = 0, from = 0, to = 0;

	/* what stands far behind does not matter, and may be much */
	if (n - end > LOOK_AHEAD)
		n = end + LOOK_AHEAD;
	while (glm_next_unit(unit, text, n, &from, &to))
	{
		size_t border = border_in_gap(text, n, before, from);

		if (border > end)
			return last;
		if (before > 0)
			last = border;
		before = to;
	}
	return last;
}

size_t
glm_next_border(const char *text, size_t n, size_t begin)
{
	size_t before = 0, from = 0, to = 0;

	while (glm_next_unit(GLM_UNIT_WORD, text, n, &from, &to))
	{
		size_t border = border_in_gap(text, n, before, from);

		if (border >= begin)
			return border;
		before = to;
	}
	return n;
}
