/*
 * literal_read.c - reading a call of tool_call() with literals; see literal.h.
 *
 * A recursive descent over the literals of Python that have a value in JSON:
 * strings, decimal numbers, True, False, None (and JSON's true, false, null),
 * lists, tuples (as lists) and dicts with string keys.  Names, operators,
 * sets, comments, f-strings, positional arguments, numbers that JSON's reader
 * cannot hold exactly: no literal, and so no call.  Nothing is ever evaluated.
 *
 * The text is a model's output.  The parser never looks past its end, nests
 * DEPTH_MAX deep at most and reads each byte once.
 *
 * No locks: pure functions.
 */
#include <string.h>

#include "literal.h"

#define DEPTH_MAX 64

/* What is left to read: [at, end). */
typedef struct slice
{
	const char *at;
	const char *end;
	int			depth;			/* of the value being parsed */
} slice;

static json_t *parse_value(slice *s);

/* ---- Slices ------------------------------------------------------------ */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static void
skip_blanks(slice *s)
{
	while (s->at < s->end && is_blank(*s->at))
		s->at++;
}

/* Takes the text if it comes next. */
static bool
take(slice *s, const char *text)
{
	size_t		n = strlen(text);

	if ((size_t) (s->end - s->at) < n || memcmp(s->at, text, n) != 0)
		return false;
	s->at += n;
	return true;
}

/* Takes the text if it comes next but for blanks. */
static bool
take_next(slice *s, const char *text)
{
	skip_blanks(s);
	return take(s, text);
}

/* ---- Strings ----------------------------------------------------------- */

static void
add_utf8(glm_buf *out, uint32_t c)
{
	char		b[4];

	if (c < 0x80)
	{
		b[0] = (char) c;
		glm_buf_add(out, b, 1);
	}
	else if (c < 0x800)
	{
		b[0] = (char) (0xC0 | c >> 6);
		b[1] = (char) (0x80 | (c & 0x3F));
		glm_buf_add(out, b, 2);
	}
	else if (c < 0x10000)
	{
		b[0] = (char) (0xE0 | c >> 12);
		b[1] = (char) (0x80 | (c >> 6 & 0x3F));
		b[2] = (char) (0x80 | (c & 0x3F));
		glm_buf_add(out, b, 3);
	}
	else
	{
		b[0] = (char) (0xF0 | c >> 18);
		b[1] = (char) (0x80 | (c >> 12 & 0x3F));
		b[2] = (char) (0x80 | (c >> 6 & 0x3F));
		b[3] = (char) (0x80 | (c & 0x3F));
		glm_buf_add(out, b, 4);
	}
}

/* Exactly `digits` hexadecimal digits. */
static bool
take_hex(slice *s, int digits, uint32_t *value)
{
	*value = 0;
	for (int i = 0; i < digits; i++, s->at++)
	{
		const char *hex = "0123456789abcdef";
		const char *digit;

		if (s->at >= s->end || *s->at == '\0')
			return false;
		digit = strchr(hex, *s->at >= 'A' && *s->at <= 'F' ? *s->at + ('a' - 'A') : *s->at);
		if (digit == NULL)
			return false;
		*value = *value << 4 | (uint32_t) (digit - hex);
	}
	return true;
}

/* \xhh, \uhhhh or \Uhhhhhhhh; halves of a pair, as JSON writes them, join. */
static bool
parse_code_point(slice *s, int digits, glm_buf *out)
{
	uint32_t	c;
	uint32_t	low;

	if (!take_hex(s, digits, &c))
		return false;
	if (digits == 4 && c >= 0xD800 && c < 0xDC00)
	{
		if (!take(s, "\\u") || !take_hex(s, 4, &low) || low < 0xDC00 || low > 0xDFFF)
			return false;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	}
	/* SQL's text holds neither NUL nor lone surrogates */
	if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return false;
	add_utf8(out, c);
	return true;
}

static bool
parse_octal(slice *s, glm_buf *out)
{
	uint32_t	c = 0;

	for (int i = 0; i < 3 && s->at < s->end && *s->at >= '0' && *s->at <= '7'; i++)
		c = c * 8 + (uint32_t) (*s->at++ - '0');
	if (c == 0)
		return false;
	add_utf8(out, c);
	return true;
}

/* What follows a backslash. */
static bool
parse_escape(slice *s, glm_buf *out)
{
	static const char from[] = "\\'\"abfnrtv";
	static const char to[] = "\\'\"\a\b\f\n\r\t\v";
	const char *known;
	char		c;

	if (s->at == s->end)
		return false;
	if (*s->at >= '0' && *s->at <= '7')
		return parse_octal(s, out);
	c = *s->at++;
	switch (c)
	{
		case 'x':
			return parse_code_point(s, 2, out);
		case 'u':
			return parse_code_point(s, 4, out);
		case 'U':
			return parse_code_point(s, 8, out);
		case 'N':				/* by name: we have no table of names */
			return false;
		case '\n':				/* a continued line */
			return true;
	}
	known = strchr(from, c);
	if (known == NULL)			/* Python keeps an escape it does not know */
		glm_buf_add(out, "\\", 1);
	glm_buf_add(out, known ? &to[known - from] : &c, 1);
	return true;
}

static bool
parse_string_body(slice *s, const char *quote, bool lines, glm_buf *out)
{
	while (!take(s, quote))
	{
		if (s->at == s->end || (*s->at == '\n' && !lines))
			return false;
		if (*s->at != '\\')
			glm_buf_add(out, s->at++, 1);
		else
		{
			s->at++;
			if (!parse_escape(s, out))
				return false;
		}
	}
	return true;
}

/* Reads a string literal into out; the opening quote comes next. */
static bool
parse_text(slice *s, glm_buf *out)
{
	static const char *const quotes[] = {"\"\"\"", "'''", "\"", "'"};

	glm_buf_add(out, "", 0);
	for (int i = 0; i < 4; i++)
		if (take(s, quotes[i]))
			return parse_string_body(s, quotes[i], i < 2, out) && !out->failed;
	return false;
}

static json_t *
parse_string(slice *s)
{
	glm_buf		text = {0};
	json_t	   *value = parse_text(s, &text) ? json_stringn(text.data, text.length) : NULL;

	glm_buf_free(&text);
	return value;
}

/* ---- Numbers and names ------------------------------------------------- */

/* Digits of a number, "0" where Python lets them out and JSON does not. */
static size_t
copy_digits(slice *s, glm_buf *out)
{
	const char *from = s->at;

	while (s->at < s->end && is_digit(*s->at))
		s->at++;
	glm_buf_add(out, from, s->at - from);
	if (s->at == from)
		glm_buf_add(out, "0", 1);
	return s->at - from;
}

/* Rewrites a decimal literal as JSON has it ("-.5" as "-0.5"). */
static bool
copy_number(slice *s, glm_buf *out)
{
	size_t		digits;

	if (take(s, "-"))
		glm_buf_add(out, "-", 1);
	else
		take(s, "+");
	digits = copy_digits(s, out);
	if (take(s, "."))
	{
		glm_buf_add(out, ".", 1);
		digits += copy_digits(s, out);
	}
	if (digits == 0)
		return false;
	if (take(s, "e") || take(s, "E"))
	{
		glm_buf_add(out, "e", 1);
		if (take(s, "-"))
			glm_buf_add(out, "-", 1);
		else
			take(s, "+");
		if (copy_digits(s, out) == 0)
			return false;
	}
	/* 5j, 0x1f, 1_000: nothing we know */
	return s->at == s->end || !glm_literal_is_keyword(s->at, 1);
}

/* A number out of range is no literal: better shown than changed. */
static json_t *
parse_number(slice *s)
{
	glm_buf		text = {0};
	json_t	   *value = NULL;

	if (copy_number(s, &text) && !text.failed)
		value = json_loadb(text.data, text.length, JSON_DECODE_ANY, NULL);
	glm_buf_free(&text);
	return value;
}

/* The length of the keyword that comes next, 0 when none does. */
static size_t
keyword_length(const slice *s)
{
	size_t		n = 0;

	while (n < (size_t) (s->end - s->at) &&
		   (glm_literal_is_keyword(&s->at[n], 1) || (n > 0 && is_digit(s->at[n]))))
		n++;
	return n;
}

static json_t *
parse_constant(slice *s)
{
	static const char *const names[] = {"None", "null", "False", "false", "True", "true"};
	size_t		n = keyword_length(s);

	for (int i = 0; i < 6; i++)
		if (strlen(names[i]) == n && memcmp(names[i], s->at, n) == 0)
		{
			s->at += n;
			return i < 2 ? json_null() : json_boolean(i >= 4);
		}
	return NULL;
}

/* ---- Containers -------------------------------------------------------- */

/* The rest of a list or tuple after its opening bracket. */
static json_t *
parse_items(slice *s, const char *close)
{
	json_t	   *list = json_array();
	bool		tuple = *close == ')';
	bool		comma = true;

	while (!take_next(s, close))
	{
		json_t	   *item = comma ? parse_value(s) : NULL;

		if (item == NULL || json_array_append_new(list, item) != 0)
		{
			json_decref(list);
			return NULL;
		}
		comma = take_next(s, ",");
	}
	/* (x) is x; only a comma makes it a tuple */
	if (tuple && !comma && json_array_size(list) == 1)
	{
		json_t	   *item = json_incref(json_array_get(list, 0));

		json_decref(list);
		return item;
	}
	return list;
}

/* One "key": value of a dict into object. */
static bool
parse_pair(slice *s, json_t *object)
{
	glm_buf		key = {0};
	json_t	   *value = NULL;
	bool		ok;

	skip_blanks(s);
	if (parse_text(s, &key) && take_next(s, ":"))
		value = parse_value(s);
	ok = value != NULL && json_object_set_new(object, key.data, value) == 0;
	glm_buf_free(&key);
	return ok;
}

/* The rest of a dict after its opening brace, into object. */
static bool
parse_pairs(slice *s, json_t *object)
{
	bool		comma = true;

	while (!take_next(s, "}"))
	{
		if (!comma || !parse_pair(s, object))
			return false;
		comma = take_next(s, ",");
	}
	return true;
}

static json_t *
parse_dict(slice *s)
{
	json_t	   *object = json_pack("{}");	/* PostgreSQL has a json_object() too */

	if (object != NULL && parse_pairs(s, object))
		return object;
	json_decref(object);
	return NULL;
}

/* One literal; NULL when there is none. */
static json_t *
parse_value(slice *s)
{
	json_t	   *value;

	skip_blanks(s);
	if (s->at == s->end || s->depth == DEPTH_MAX)
		return NULL;
	s->depth++;
	if (*s->at == '"' || *s->at == '\'')
		value = parse_string(s);
	else if (take(s, "["))
		value = parse_items(s, "]");
	else if (take(s, "("))
		value = parse_items(s, ")");
	else if (take(s, "{"))
		value = parse_dict(s);
	else if (keyword_length(s) > 0)
		value = parse_constant(s);
	else
		value = parse_number(s);
	s->depth--;
	return value;
}

/* ---- Calls ------------------------------------------------------------- */

/* keyword=value into arguments; a keyword that comes twice is an error. */
static bool
parse_keyword(slice *s, json_t *arguments)
{
	char		name[256];
	size_t		n = keyword_length(s);
	json_t	   *value;

	if (n == 0 || n >= sizeof(name))
		return false;
	memcpy(name, s->at, n);
	name[n] = '\0';
	s->at += n;
	if (json_object_get(arguments, name) != NULL || !take_next(s, "="))
		return false;
	value = parse_value(s);
	return value != NULL && json_object_set_new(arguments, name, value) == 0;
}

/* The rest of a call after its opening parenthesis, and nothing behind it. */
static bool
parse_arguments(slice *s, json_t *arguments)
{
	bool		comma = true;

	while (!take_next(s, ")"))
	{
		if (!comma)
			return false;
		if (take(s, "**"))		/* names that are no keywords, see messages.c */
		{
			if (!take_next(s, "{") || !parse_pairs(s, arguments))
				return false;
		}
		else if (!parse_keyword(s, arguments))
			return false;
		comma = take_next(s, ",");
	}
	skip_blanks(s);
	return s->at == s->end;
}

json_t *
glm_literal_read_call(const char *code, size_t n)
{
	slice		s = {code, code + n, 0};
	json_t	   *arguments = json_pack("{}");	/* PostgreSQL has a json_object() too */

	if (take_next(&s, "tool_call") && take_next(&s, "(") && parse_arguments(&s, arguments))
		return arguments;
	json_decref(arguments);
	return NULL;
}
