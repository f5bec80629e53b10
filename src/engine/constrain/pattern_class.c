/*
 * pattern_class.c - escapes and classes of characters in patterns.
 *
 * ECMA-262 with the flag u, as JSON Schema asks for, and with what browsers take beside it
 * where it can mean one thing only: "\-" and "\_", "[\w-.]".  \d and \w are ASCII.
 */
#include "engine/constrain/pattern_text.h"

#include <string.h>

static const glm_char_range DIGITS[] = {{'0', '9'}};
static const glm_char_range WORDS[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const glm_char_range SPACES[] = {
	{'\t', '\r'},	  {' ', ' '},		{0xA0, 0xA0},	  {0x1680, 0x1680}, {0x2000, 0x200A},
	{0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

#define COUNT(a) ((int) (sizeof(a) / sizeof((a)[0])))

void
glm_pattern_malformed(const glm_pattern_text *in, const char *why)
{
	glm_arena_fail(in->arena, GLM_BAD_ARGUMENT, "pattern is malformed: %s, at byte %zu", why,
				   in->at);
}

void
glm_pattern_refused(const glm_pattern_text *in, const char *what)
{
	glm_arena_fail(in->arena, GLM_UNSUPPORTED,
				   "pattern has %s, at byte %zu, which is not supported", what, in->at);
}

uint32_t
glm_pattern_char(glm_pattern_text *in)
{
	const uint8_t *byte = (const uint8_t *) in->text + in->at;
	int			   n = glm_utf8_length(in->text + in->at, in->n - in->at);
	uint32_t	   c = n > 1 ? byte[0] & 0x7Fu >> n : byte[0];

	for (int i = 1; i < n; i++)
		c = c << 6 | (byte[i] & 0x3F);
	in->at += (size_t) n;
	return c;
}

static bool
is_letter(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* ---- One character -------------------------------------------------------------------------- */

static int
hex_value(int c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t
hex_digits(glm_pattern_text *in, int n)
{
	uint32_t value = 0;

	for (int i = 0; i < n; i++, in->at++)
	{
		int digit = hex_value(glm_pattern_peek(in));

		if (digit < 0)
			glm_pattern_malformed(in, "too few hexadecimal digits");
		value = value << 4 | (uint32_t) digit;
	}
	return value;
}

/* Behind "\u{" */
static uint32_t
code_point(glm_pattern_text *in)
{
	uint32_t value = hex_digits(in, 1);

	while (!glm_pattern_eat(in, '}'))
	{
		value = value << 4 | hex_digits(in, 1);
		if (value > GLM_LAST_CODE_POINT)
			glm_pattern_malformed(in, "no such code point");
	}
	return value;
}

/* Behind "\u": of a pair of surrogates, the character they are. */
static uint32_t
unicode(glm_pattern_text *in)
{
	uint32_t lead;
	uint32_t trail;
	size_t	 behind;

	if (glm_pattern_eat(in, '{'))
		return code_point(in);
	lead = hex_digits(in, 4);
	behind = in->at;
	if (lead >= 0xD800 && lead <= 0xDBFF && glm_pattern_eat(in, '\\') && glm_pattern_eat(in, 'u') &&
		glm_pattern_peek(in) != '{')
	{
		trail = hex_digits(in, 4);
		if (trail >= 0xDC00 && trail <= 0xDFFF)
			return 0x10000 + ((lead - 0xD800) << 10) + (trail - 0xDC00);
	}
	in->at = behind;
	return lead;
}

static uint32_t
control(glm_pattern_text *in)
{
	int c = glm_pattern_peek(in);

	if (!is_letter(c))
		glm_pattern_malformed(in, "no letter behind \\c");
	in->at++;
	return (uint32_t) c & 31;
}

/* Behind a backslash: a character that is meant by it. */
static uint32_t
escaped_char(glm_pattern_text *in)
{
	static const char letters[] = "tnvfr";
	static const char meant[] = "\t\n\v\f\r";
	int				  c = glm_pattern_peek(in);
	const char		 *letter;

	if (c >= 0x80)
		return glm_pattern_char(in);
	in->at++;
	if (c == 'x')
		return hex_digits(in, 2);
	if (c == 'u')
		return unicode(in);
	if (c == 'c')
		return control(in);
	if (c == '0' && !is_digit(glm_pattern_peek(in)))
		return 0;
	letter = c > 0 ? strchr(letters, c) : NULL;
	if (letter != NULL)
		return (uint8_t) meant[letter - letters];
	if (is_letter(c) || is_digit(c))
		glm_pattern_malformed(in, "an escape that has no meaning");
	return (uint32_t) c;
}

/* ---- Many ----------------------------------------------------------------------------------- */

bool
glm_pattern_add_class(glm_arena *arena, int c, glm_char_ranges *ranges)
{
	glm_char_ranges		  named = {0};
	const glm_char_range *range;
	int					  n;

	if (c == 'd' || c == 'D')
		range = DIGITS, n = COUNT(DIGITS);
	else if (c == 'w' || c == 'W')
		range = WORDS, n = COUNT(WORDS);
	else if (c == 's' || c == 'S')
		range = SPACES, n = COUNT(SPACES);
	else
		return false;
	for (int i = 0; i < n; i++)
		glm_char_ranges_add(arena, c >= 'a' ? ranges : &named, range[i].low, range[i].high);
	if (c < 'a')
		glm_char_ranges_add_others(arena, ranges, &named);
	return true;
}

/* "\p{...}" or "\P{...}", behind the backslash. */
static void
property(glm_pattern_text *in, glm_char_ranges *ranges)
{
	bool			negated = in->text[in->at++] == 'P';
	const char	   *name = in->text + in->at + 1;
	const char	   *end = in->at < in->n ? memchr(name - 1, '}', in->n - in->at) : NULL;
	glm_char_ranges found = {0};

	if (glm_pattern_peek(in) != '{' || end == NULL)
		glm_pattern_malformed(in, "no { } behind \\p");
	if (!glm_unicode_add(in->arena, name, (size_t) (end - name), &found))
		glm_pattern_refused(in, "a property of Unicode that is no general category");
	in->at += (size_t) (end - name) + 2;
	if (negated)
		glm_char_ranges_add_others(in->arena, ranges, &found);
	for (int i = 0; i < found.n && !negated; i++)
		glm_char_ranges_add(in->arena, ranges, found.range[i].low, found.range[i].high);
}

bool
glm_pattern_escape(glm_pattern_text *in, bool in_class, glm_char_ranges *ranges, uint32_t *c)
{
	int letter = glm_pattern_peek(in);

	if (letter < 0)
		glm_pattern_malformed(in, "nothing behind \\");
	if (glm_pattern_add_class(in->arena, letter, ranges))
	{
		in->at++;
		return true;
	}
	if (letter == 'p' || letter == 'P')
	{
		property(in, ranges);
		return true;
	}
	if (in_class && letter == 'b')
	{
		in->at++;
		*c = '\b';
		return false;
	}
	if (letter == 'k' || (letter >= '1' && letter <= '9'))
		glm_pattern_refused(in, "a back reference");
	*c = escaped_char(in);
	return false;
}

/* One character or one class; false: a class. */
static bool
class_item(glm_pattern_text *in, glm_char_ranges *ranges, uint32_t *c)
{
	if (glm_pattern_eat(in, '\\'))
		return !glm_pattern_escape(in, true, ranges, c);
	*c = glm_pattern_char(in);
	return true;
}

/* Behind "low-" of a class. */
static void
class_range(glm_pattern_text *in, glm_char_ranges *ranges, bool single, uint32_t low)
{
	uint32_t high;
	bool	 both = class_item(in, ranges, &high);

	if (both && single && high < low)
		glm_pattern_malformed(in, "a range that is out of order");
	if (both && single)
		glm_char_ranges_add(in->arena, ranges, low, high);
	else /* beside a class, "-" stands for itself */
		glm_char_ranges_add(in->arena, ranges, '-', '-');
	if (both && !single)
		glm_char_ranges_add(in->arena, ranges, high, high);
}

void
glm_pattern_class(glm_pattern_text *in, glm_char_ranges *ranges, bool *negated)
{
	*negated = glm_pattern_eat(in, '^');
	while (!glm_pattern_eat(in, ']'))
	{
		uint32_t c = 0;
		bool	 single;

		if (glm_pattern_peek(in) < 0)
			glm_pattern_malformed(in, "a [ that is not closed");
		single = class_item(in, ranges, &c);
		if (single)
			glm_char_ranges_add(in->arena, ranges, c, c);
		if (in->at + 1 < in->n && in->text[in->at + 1] != ']' && glm_pattern_eat(in, '-'))
			class_range(in, ranges, single, c);
	}
}
