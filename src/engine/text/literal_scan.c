/*
 * literal_scan.c - strings and numbers as Python writes them; see literal_scan.h.
 *
 * Strings: all quotes and escapes but \\N{name}, raw ones, several side by side.
 * Bytes and f-strings are none.  Numbers: decimal integers of any size that
 * Python's reader takes, 0x, 0o and 0b, digits grouped by _, and floats.  What has
 * no place in JSON or in SQL's text (infinity, NUL, half a surrogate pair) is no
 * literal: better shown as it is than changed.
 *
 * No locks: pure functions.
 */
#include "engine/text/literal_scan.h"

#define DECIMAL_MAX 4300 /* digits of an integer, as Python has it */
#define RADIX_MAX 256	 /* digits of one that is not decimal */

/* ---- Blanks ------------------------------------------------------------ */

static bool
is_python_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

void
glm_scan_blanks(glm_scan *s)
{
	while (s->at < s->end)
	{
		if (*s->at == '#')
		{
			const char *line = memchr(s->at, '\n', s->end - s->at);

			s->at = line ? line : s->end;
		}
		else if (is_python_blank(*s->at))
			s->at++;
		else if (!glm_scan_take(s, "\\\n"))
			return;
	}
}

/* ---- Strings ----------------------------------------------------------- */

static void
add_utf8(glm_buf *out, uint32_t c)
{
	char b[4];

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
take_hex(glm_scan *s, int digits, uint32_t *value)
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
parse_code_point(glm_scan *s, int digits, glm_buf *out)
{
	uint32_t c;
	uint32_t low;

	if (!take_hex(s, digits, &c))
		return false;
	if (digits == 4 && c >= 0xD800 && c < 0xDC00)
	{
		if (!glm_scan_take(s, "\\u") || !take_hex(s, 4, &low) || low < 0xDC00 || low > 0xDFFF)
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
parse_octal(glm_scan *s, glm_buf *out)
{
	uint32_t c = 0;

	for (int i = 0; i < 3 && s->at < s->end && *s->at >= '0' && *s->at <= '7'; i++)
		c = c * 8 + (uint32_t) (*s->at++ - '0');
	if (c == 0)
		return false;
	add_utf8(out, c);
	return true;
}

/* What follows a backslash. */
static bool
parse_escape(glm_scan *s, glm_buf *out)
{
	static const char from[] = "\\'\"abfnrtv";
	static const char to[] = "\\'\"\a\b\f\n\r\t\v";
	const char		 *known;
	char			  c;

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
		case 'N': /* by name: we have no table of names */
			return false;
		case '\n': /* a continued line */
			return true;
	}
	known = strchr(from, c);
	if (known == NULL) /* Python keeps an escape it does not know */
		glm_buf_add(out, "\\", 1);
	glm_buf_add(out, known ? &to[known - from] : &c, 1);
	return true;
}

/* In a raw string a backslash stands for itself, and keeps a quote from ending it. */
static bool
parse_raw(glm_scan *s, glm_buf *out)
{
	glm_buf_add(out, "\\", 1);
	if (s->at == s->end)
		return false;
	glm_buf_add(out, s->at++, 1);
	return true;
}

static bool
parse_string_body(glm_scan *s, const char *quote, bool lines, bool raw, glm_buf *out)
{
	while (!glm_scan_take(s, quote))
	{
		if (s->at == s->end || (*s->at == '\n' && !lines))
			return false;
		if (*s->at != '\\')
			glm_buf_add(out, s->at++, 1);
		else
		{
			s->at++;
			if (!(raw ? parse_raw(s, out) : parse_escape(s, out)))
				return false;
		}
	}
	return true;
}

/* Has the string that comes next a letter before its quote? */
static bool
has_prefix(const glm_scan *s)
{
	return s->end - s->at >= 2 && strchr("rRuU", s->at[0]) != NULL && s->at[0] != '\0' &&
		   (s->at[1] == '"' || s->at[1] == '\'');
}

bool
glm_scan_at_string(const glm_scan *s)
{
	return (s->at < s->end && (*s->at == '"' || *s->at == '\'')) || has_prefix(s);
}

static bool
parse_one_string(glm_scan *s, glm_buf *out)
{
	static const char *const quotes[] = {"\"\"\"", "'''", "\"", "'"};
	bool					 raw = *s->at == 'r' || *s->at == 'R';

	if (has_prefix(s))
		s->at++;
	for (int i = 0; i < 4; i++)
		if (glm_scan_take(s, quotes[i]))
			return parse_string_body(s, quotes[i], i < 2, raw, out) && !out->failed;
	return false;
}

bool
glm_scan_text(glm_scan *s, glm_buf *out)
{
	if (!glm_scan_at_string(s))
		return false;
	glm_buf_add(out, "", 0);
	while (glm_scan_at_string(s))
	{
		if (!parse_one_string(s, out))
			return false;
		glm_scan_blanks(s);
	}
	return true;
}

/* ---- Numbers ------------------------------------------------------------- */

/* Takes digits, which a _ may stand between; returns how many. */
static size_t
copy_digits(glm_scan *s, glm_buf *out)
{
	size_t n = 0;

	for (; s->at < s->end; s->at++)
	{
		bool grouped = *s->at == '_' && n > 0 && s->end - s->at > 1 && glm_is_digit(s->at[1]);

		if (!glm_is_digit(*s->at) && !grouped)
			break;
		if (grouped)
			continue;
		glm_buf_add(out, s->at, 1);
		n++;
	}
	return n;
}

/* Takes a fraction and an exponent; *real tells whether there is any.  `digits`: before it. */
static bool
copy_rest(glm_scan *s, size_t digits, glm_buf *out, bool *real)
{
	if (glm_scan_take(s, "."))
	{
		*real = true;
		glm_buf_add(out, ".", 1);
		digits += copy_digits(s, out);
		if (out->length > 0 && out->data[out->length - 1] == '.')
			glm_buf_add(out, "0", 1);
	}
	if (digits == 0)
		return false;
	if (glm_scan_take(s, "e") || glm_scan_take(s, "E"))
	{
		*real = true;
		glm_buf_add(out, "e", 1);
		if (glm_scan_take(s, "-"))
			glm_buf_add(out, "-", 1);
		else
			glm_scan_take(s, "+");
		return copy_digits(s, out) > 0;
	}
	return true;
}

/* A decimal number behind its sign, rewritten as JSON has it ("-.5" is "-0.5"). */
static json_t *
parse_decimal(glm_scan *s, bool negative)
{
	glm_buf whole = {0};
	glm_buf text = {0};
	json_t *value = NULL;
	bool	real = false;
	size_t	digits = copy_digits(s, &whole);
	size_t	zeros = 0;

	while (zeros + 1 < digits && whole.data[zeros] == '0')
		zeros++;
	glm_buf_add(&text, "-", negative);
	glm_buf_add(&text, digits > 0 ? whole.data + zeros : "0", digits > 0 ? digits - zeros : 1);
	if (copy_rest(s, digits, &text, &real) && !whole.failed && !text.failed)
	{
		if (real)
			value = json_loadb(text.data, text.length, JSON_DECODE_ANY, NULL);
		/* 007 is no number in Python, 00 is */
		else if (digits <= DECIMAL_MAX && (zeros == 0 || whole.data[zeros] == '0'))
			value = glm_json_integer(text.data, text.length);
	}
	glm_buf_free(&whole);
	glm_buf_free(&text);
	return value;
}

/* value = value * radix + digit, on decimal digits with the lowest first. */
static int
multiply_add(uint8_t *value, int n, int radix, int digit)
{
	for (int i = 0; i < n || digit > 0; i++)
	{
		if (i == n)
			value[n++] = 0;
		digit += value[i] * radix;
		value[i] = digit % 10;
		digit /= 10;
	}
	return n;
}

/* The value of a digit in bases up to 16, 99 when it is none. */
static int
digit_value(char c)
{
	if (glm_is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* An integer behind 0x, 0o or 0b. */
static json_t *
parse_radix(glm_scan *s, bool negative, int radix)
{
	uint8_t value[RADIX_MAX * 2] = {0};
	char	text[RADIX_MAX * 2 + 1];
	int		n = 1;
	int		count = 0;
	int		length = 0;

	for (; s->at < s->end; s->at++)
	{
		bool grouped = *s->at == '_' && s->end - s->at > 1 && digit_value(s->at[1]) < radix;

		if (digit_value(*s->at) >= radix && !grouped)
			break;
		if (grouped)
			continue;
		if (++count > RADIX_MAX)
			return NULL;
		n = multiply_add(value, n, radix, digit_value(*s->at));
	}
	while (n > 1 && value[n - 1] == 0)
		n--;
	if (negative && !(n == 1 && value[0] == 0))
		text[length++] = '-';
	while (n > 0)
		text[length++] = (char) ('0' + value[--n]);
	return count > 0 ? glm_json_integer(text, length) : NULL;
}

json_t *
glm_scan_number(glm_scan *s)
{
	bool	negative = glm_scan_take(s, "-");
	json_t *value;

	if (!negative)
		glm_scan_take(s, "+");
	glm_scan_blanks(s);
	if (glm_scan_take(s, "0x") || glm_scan_take(s, "0X"))
		value = parse_radix(s, negative, 16);
	else if (glm_scan_take(s, "0o") || glm_scan_take(s, "0O"))
		value = parse_radix(s, negative, 8);
	else if (glm_scan_take(s, "0b") || glm_scan_take(s, "0B"))
		value = parse_radix(s, negative, 2);
	else
		value = parse_decimal(s, negative);
	/* 5j, 1__0, 0b12 */
	if (s->at < s->end &&
		(glm_is_digit(*s->at) || glm_identifier_length(s->at, s->end - s->at) > 0))
	{
		json_decref(value);
		return NULL;
	}
	return value;
}
