/*
 * pattern_read.c - a pattern's text as a tree.
 *
 * Recursion goes as deep as parentheses are nested, which is counted.  How many places an
 * automaton would have is counted too, as the tree grows: what is too large is refused
 * before anything is multiplied out.
 */
#include "engine/constrain/pattern.h"
#include "engine/constrain/pattern_text.h"

#include <string.h>

#define MOST_TIMES (2 * GLM_PATTERN_PLACES) /* more than can be */

typedef struct reader
{
	glm_pattern_text in;
	glm_charsets	*sets;
	int				 depth; /* of parentheses */
} reader;

static glm_pattern *read_choice(reader *r);

static void
too_large(reader *r)
{
	glm_arena_fail(r->in.arena, GLM_TOO_COMPLEX,
				   "pattern would be an automaton of more than %d places", GLM_PATTERN_PLACES);
}

static glm_pattern *
new_node(reader *r, glm_pattern_kind kind, int64_t places)
{
	glm_pattern *node;

	if (places > GLM_PATTERN_PLACES)
		too_large(r);
	node = GLM_NEW(r->in.arena, glm_pattern, 1);
	node->kind = kind;
	node->places = places > 0 ? (int) places : 1; /* so that no number of empty groups is free */
	return node;
}

/* ---- Atoms ---------------------------------------------------------------------------------- */

static glm_pattern *
new_set(reader *r, glm_char_ranges *ranges, bool negated)
{
	glm_pattern *node = new_node(r, GLM_PATTERN_SET, 1);

	node->set = glm_charset_of(r->sets, ranges, negated);
	return node;
}

static glm_pattern *
new_char(reader *r, uint32_t c)
{
	glm_char_ranges ranges = {0};

	glm_char_ranges_add(r->in.arena, &ranges, c, c);
	return new_set(r, &ranges, false);
}

/* \b, or \B. */
static glm_pattern *
new_boundary(reader *r, bool negated)
{
	glm_pattern	   *node = new_node(r, GLM_PATTERN_BOUNDARY, 1);
	glm_char_ranges words = {0};

	glm_pattern_add_class(r->in.arena, 'w', &words);
	node->last = new_set(r, &words, false);
	node->negated = negated;
	return node;
}

/* Behind a backslash.  \A and \Z are not ECMA's, but where they are known they mean this. */
static glm_pattern *
read_escape(reader *r)
{
	glm_char_ranges ranges = {0};
	uint32_t		c;

	if (glm_pattern_eat(&r->in, 'A'))
		return new_node(r, GLM_PATTERN_START, 1);
	if (glm_pattern_eat(&r->in, 'Z'))
		return new_node(r, GLM_PATTERN_END, 1);
	if (glm_pattern_eat(&r->in, 'b'))
		return new_boundary(r, false);
	if (glm_pattern_eat(&r->in, 'B'))
		return new_boundary(r, true);
	if (glm_pattern_escape(&r->in, false, &ranges, &c))
		return new_set(r, &ranges, false);
	return new_char(r, c);
}

static glm_pattern *
read_class(reader *r)
{
	glm_char_ranges ranges = {0};
	bool			negated;

	glm_pattern_class(&r->in, &ranges, &negated);
	return new_set(r, &ranges, negated);
}

/* "." is anything but the end of a line. */
static glm_pattern *
new_dot(reader *r)
{
	glm_char_ranges ends = {0};

	glm_char_ranges_add(r->in.arena, &ends, '\n', '\n');
	glm_char_ranges_add(r->in.arena, &ends, '\r', '\r');
	glm_char_ranges_add(r->in.arena, &ends, 0x2028, 0x2029);
	return new_set(r, &ends, true);
}

static void
skip_name(reader *r)
{
	size_t from = r->in.at;

	while (!glm_pattern_eat(&r->in, '>'))
	{
		int c = glm_pattern_peek(&r->in);

		if (c < 0 || (c < 0x80 && c != '_' && c != '$' && !(c >= '0' && c <= '9') &&
					  !((c | 0x20) >= 'a' && (c | 0x20) <= 'z')))
			glm_pattern_malformed(&r->in, "a group's name");
		r->in.at++;
	}
	if (r->in.at == from + 1)
		glm_pattern_malformed(&r->in, "a group's name");
}

/* Behind "(?": is the group a lookahead? */
static bool
read_group_kind(reader *r, bool *negated)
{
	*negated = glm_pattern_eat(&r->in, '!');
	if (*negated || glm_pattern_eat(&r->in, '='))
		return true;
	if (glm_pattern_eat(&r->in, ':'))
		return false;
	if (glm_pattern_peek(&r->in) < 0)
		glm_pattern_malformed(&r->in, "a ( that is not closed");
	if (!glm_pattern_eat(&r->in, '<'))
		glm_pattern_refused(&r->in, "an extended group");
	if (glm_pattern_peek(&r->in) == '=' || glm_pattern_peek(&r->in) == '!')
		glm_pattern_refused(&r->in, "a lookbehind");
	skip_name(r);
	return false;
}

/* Behind "(" */
static glm_pattern *
read_group(reader *r)
{
	glm_pattern *body;
	glm_pattern *look;
	bool		 negated = false;
	bool		 looks = glm_pattern_eat(&r->in, '?') && read_group_kind(r, &negated);

	if (++r->depth > GLM_PATTERN_DEPTH)
		glm_arena_fail(r->in.arena, GLM_TOO_COMPLEX, "pattern nests groups more than %d deep",
					   GLM_PATTERN_DEPTH);
	body = read_choice(r);
	r->depth--;
	if (!glm_pattern_eat(&r->in, ')'))
		glm_pattern_malformed(&r->in, "a ( that is not closed");
	if (!looks)
		return body;
	look = new_node(r, GLM_PATTERN_LOOK, (int64_t) body->places + 1);
	look->negated = negated;
	look->last = body;
	return look;
}

/* ---- Quantifiers ---------------------------------------------------------------------------- */

static int
read_times(reader *r)
{
	int n = 0;

	for (int c; (c = glm_pattern_peek(&r->in)) >= '0' && c <= '9'; r->in.at++)
		n = n < MOST_TIMES ? 10 * n + c - '0' : MOST_TIMES;
	return n;
}

static bool
at_digit(const reader *r)
{
	int c = glm_pattern_peek(&r->in);

	return c >= '0' && c <= '9';
}

/* "{2}", "{2,}", "{2,3}"; what only begins as one is taken back. */
static bool
read_braces(reader *r, int *least, int *most)
{
	size_t from = r->in.at;
	bool   counted;
	bool   comma;

	if (!glm_pattern_eat(&r->in, '{'))
		return false;
	counted = at_digit(r);
	*least = *most = read_times(r);
	comma = glm_pattern_eat(&r->in, ',');
	if (comma)
		*most = at_digit(r) ? read_times(r) : -1;
	if (!glm_pattern_eat(&r->in, '}') || (!counted && !comma))
	{
		r->in.at = from;
		return false;
	}
	if (!counted) /* text to ECMA, no lower limit to others */
		glm_pattern_refused(&r->in, "{,n}");
	if (*most >= 0 && *most < *least)
		glm_pattern_malformed(&r->in, "a { } that is out of order");
	return true;
}

static bool
read_quantifier(reader *r, int *least, int *most)
{
	*least = 0;
	*most = -1;
	if (glm_pattern_eat(&r->in, '*'))
		return true;
	if (glm_pattern_eat(&r->in, '+'))
	{
		*least = 1;
		return true;
	}
	if (glm_pattern_eat(&r->in, '?'))
	{
		*most = 1;
		return true;
	}
	return read_braces(r, least, most);
}

/* How often it may come matters, not which of the ways is tried first: "*?" is "*". */
static glm_pattern *
read_repeated(reader *r, glm_pattern *part, bool repeatable)
{
	glm_pattern *node;
	int			 least;
	int			 most;
	int64_t		 places;

	if (!read_quantifier(r, &least, &most))
		return part;
	if (!repeatable)
		glm_pattern_malformed(&r->in, "nothing to repeat");
	glm_pattern_eat(&r->in, '?');
	/* what takes no text holds as often as once */
	if (part->kind == GLM_PATTERN_LOOK)
		return least > 0 ? part : new_node(r, GLM_PATTERN_SEQUENCE, 1);
	places = (int64_t) least * part->places;
	if (most < 0)
		places += part->places + 1;
	else
		places += (int64_t) (most - least) * (part->places + 1);
	node = new_node(r, GLM_PATTERN_REPEAT, places);
	node->least = least;
	node->most = most;
	node->last = part;
	return node;
}

/* ---- Sequences and choices ------------------------------------------------------------------ */

static bool
at_boundary(const reader *r)
{
	const char *at = r->in.text + r->in.at;

	return r->in.at + 1 < r->in.n && at[0] == '\\' && (at[1] | 0x20) == 'b';
}

static glm_pattern *
read_atom(reader *r, bool *repeatable)
{
	int c = glm_pattern_peek(&r->in);

	*repeatable = c != '^' && c != '$' && !at_boundary(r);
	if (c >= 0x80)
		return new_char(r, glm_pattern_char(&r->in));
	r->in.at++;
	switch (c)
	{
		case '^':
			return new_node(r, GLM_PATTERN_START, 1);
		case '$':
			return new_node(r, GLM_PATTERN_END, 1);
		case '.':
			return new_dot(r);
		case '[':
			return read_class(r);
		case '\\':
			return read_escape(r);
		case '(':
			return read_group(r);
		default:
			return new_char(r, (uint32_t) c);
	}
}

static glm_pattern *
read_term(reader *r)
{
	glm_pattern *atom;
	bool		 repeatable;
	int			 least;
	int			 most;

	if (read_quantifier(r, &least, &most))
		glm_pattern_malformed(&r->in, "nothing to repeat");
	atom = read_atom(r, &repeatable);
	return read_repeated(r, atom, repeatable);
}

static void
add_part(reader *r, glm_pattern *node, glm_pattern *part)
{
	int64_t places = (int64_t) node->places + part->places + (node->kind == GLM_PATTERN_CHOICE);

	if (places > GLM_PATTERN_PLACES)
		too_large(r);
	node->places = (int) places;
	part->before = node->last;
	node->last = part;
}

/* A list of one is that one. */
static glm_pattern *
unwrap(glm_pattern *list)
{
	return list->last != NULL && list->last->before == NULL ? list->last : list;
}

static glm_pattern *
read_sequence(reader *r)
{
	glm_pattern *sequence = new_node(r, GLM_PATTERN_SEQUENCE, 1);

	for (int c; (c = glm_pattern_peek(&r->in)) >= 0 && c != '|' && c != ')';)
		add_part(r, sequence, read_term(r));
	return unwrap(sequence);
}

static glm_pattern *
read_choice(reader *r)
{
	glm_pattern *choice = new_node(r, GLM_PATTERN_CHOICE, 1);

	do
		add_part(r, choice, read_sequence(r));
	while (glm_pattern_eat(&r->in, '|'));
	return unwrap(choice);
}

glm_pattern *
glm_pattern_read(glm_arena *arena, const char *text, size_t n, glm_charsets *sets)
{
	reader		 r = {.in = {arena, text, n, 0}, .sets = sets};
	glm_pattern *pattern;

	if (glm_utf8_check(text, n) >= 0)
		glm_pattern_malformed(&r.in, "it is not UTF-8");
	pattern = read_choice(&r);
	if (glm_pattern_peek(&r.in) >= 0)
		glm_pattern_malformed(&r.in, "a ) that was not opened");
	return pattern;
}
