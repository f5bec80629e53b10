/*
 * literal.c - values as Python writes them; see literal.h.
 *
 * Two traps.  Floats: Python gives the shortest digits that read back as the
 * same number and has its own rule for when an exponent is written; neither
 * printf nor jansson does that.  Quotes: repr() prefers single quotes, but the
 * tool calls ChatGLM3 models make have double ones, so that is what is written
 * here, always.
 *
 * No locks: pure functions.
 */
#include "engine/text/literal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_EVERY ((size_t) 256 << 10) /* bytes written between two pauses */

typedef struct writer
{
	glm_buf	 *out;
	glm_style style;
	size_t	  limit;	/* of out->length */
	size_t	  pause_at; /* out->length at which the next is due */
	int		  depth;
} writer;

static bool write_value(writer *w, json_t *value);

/* ---- Strings ----------------------------------------------------------- */

static void
write_escaped(writer *w, unsigned char c)
{
	const char *pair = NULL;
	char		code[8];

	switch (c)
	{
		case '"':
			pair = "\\\"";
			break;
		case '\\':
			pair = "\\\\";
			break;
		case '\n':
			pair = "\\n";
			break;
		case '\r':
			pair = "\\r";
			break;
		case '\t':
			pair = "\\t";
			break;
		case '\b':
			pair = w->style == GLM_STYLE_PYTHON ? NULL : "\\b";
			break;
		case '\f':
			pair = w->style == GLM_STYLE_PYTHON ? NULL : "\\f";
			break;
	}
	if (pair == NULL)
	{
		snprintf(code, sizeof(code), w->style == GLM_STYLE_PYTHON ? "\\x%02x" : "\\u%04x", c);
		pair = code;
	}
	glm_buf_puts(w->out, pair);
}

static bool
is_plain(const writer *w, unsigned char c)
{
	if (c == 0x7F)
		return w->style != GLM_STYLE_PYTHON;
	return c >= 0x20 && c != '"' && c != '\\';
}

static void
write_string(writer *w, const char *s, size_t n)
{
	size_t from = 0;

	glm_buf_add(w->out, "\"", 1);
	for (size_t i = 0; i < n; i++)
	{
		if (is_plain(w, (unsigned char) s[i]))
			continue;
		glm_buf_add(w->out, s + from, i - from);
		write_escaped(w, (unsigned char) s[i]);
		from = i + 1;
	}
	glm_buf_add(w->out, s + from, n - from);
	glm_buf_add(w->out, "\"", 1);
}

/* ---- Numbers ----------------------------------------------------------- */

/* Shortest digits d1 d2 ... with |value| = d1.d2... * 10^exponent. */
static void
shortest_digits(double value, char digits[24], int *exponent)
{
	char text[40];
	int	 n = 0;

	for (int precision = 0; precision < 17; precision++)
	{
		snprintf(text, sizeof(text), "%.*e", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}
	/* whatever the locale's decimal point is, skip it */
	for (const char *c = text; *c != 'e' && *c != '\0'; c++)
		if (*c >= '0' && *c <= '9')
			digits[n++] = *c;
	digits[n] = '\0';
	*exponent = atoi(strchr(text, 'e') + 1);
}

/* float.__repr__ of a finite number. */
static void
write_real(writer *w, double value)
{
	char digits[24];
	char tail[16];
	int	 exponent;
	int	 n;

	shortest_digits(value, digits, &exponent);
	n = (int) strlen(digits);
	if (value < 0 || (value == 0 && 1 / value < 0))
		glm_buf_add(w->out, "-", 1);
	if (exponent < -4 || exponent >= 16)
	{
		glm_buf_add(w->out, digits, 1);
		if (n > 1)
			glm_buf_add(w->out, ".", 1);
		glm_buf_puts(w->out, digits + 1);
		snprintf(tail, sizeof(tail), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		glm_buf_puts(w->out, tail);
		return;
	}
	if (exponent < 0)
		glm_buf_add(w->out, "0.000", 1 - exponent);
	for (int i = 0; i < n || i <= exponent; i++)
	{
		glm_buf_add(w->out, i < n ? &digits[i] : "0", 1);
		if (i == exponent)
			glm_buf_puts(w->out, i + 1 < n ? "." : ".0");
	}
}

static void
write_integer(writer *w, json_int_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, value);
	glm_buf_puts(w->out, text);
}

/* ---- Containers -------------------------------------------------------- */

static void
write_break(writer *w)
{
	glm_buf_add(w->out, "\n", 1);
	for (int i = 0; i < w->depth; i++)
		glm_buf_add(w->out, "    ", 4);
}

/* What stands before item i of a container. */
static void
write_separator(writer *w, size_t i)
{
	if (i > 0)
		glm_buf_puts(w->out, w->style == GLM_STYLE_INDENT ? "," : ", ");
	if (w->style == GLM_STYLE_INDENT)
		write_break(w);
}

static void
write_end(writer *w, const char *bracket)
{
	w->depth--;
	if (w->style == GLM_STYLE_INDENT)
		write_break(w);
	glm_buf_puts(w->out, bracket);
}

static bool
write_array(writer *w, json_t *value)
{
	if (json_array_size(value) == 0)
	{
		glm_buf_puts(w->out, "[]");
		return true;
	}
	glm_buf_puts(w->out, "[");
	w->depth++;
	for (size_t i = 0; i < json_array_size(value); i++)
	{
		write_separator(w, i);
		if (!write_value(w, json_array_get(value, i)))
			return false;
	}
	write_end(w, "]");
	return true;
}

static bool
write_object(writer *w, json_t *value)
{
	const char *key;
	json_t	   *item;
	size_t		i = 0;

	if (json_object_size(value) == 0)
	{
		glm_buf_puts(w->out, "{}");
		return true;
	}
	glm_buf_puts(w->out, "{");
	w->depth++;
	json_object_foreach(value, key, item)
	{
		write_separator(w, i++);
		write_string(w, key, strlen(key));
		glm_buf_puts(w->out, ": ");
		if (!write_value(w, item))
			return false;
	}
	write_end(w, "}");
	return true;
}

static bool
write_value(writer *w, json_t *value)
{
	bool python = w->style == GLM_STYLE_PYTHON;

	if (w->out->failed || w->out->length > w->limit)
		return false;
	if (w->out->length >= w->pause_at)
	{
		w->pause_at = w->out->length + PAUSE_EVERY;
		if (!glm_pause(NULL))
			return false;
	}
	switch (json_typeof(value))
	{
		case JSON_OBJECT:
			return write_object(w, value);
		case JSON_ARRAY:
			return write_array(w, value);
		case JSON_STRING:
			if (glm_json_big(value) != NULL)
			{
				glm_buf_puts(w->out, glm_json_big(value));
				return true;
			}
			write_string(w, json_string_value(value), json_string_length(value));
			return true;
		case JSON_INTEGER:
			write_integer(w, json_integer_value(value));
			return true;
		case JSON_REAL:
			write_real(w, json_real_value(value));
			return true;
		case JSON_TRUE:
			glm_buf_puts(w->out, python ? "True" : "true");
			return true;
		case JSON_FALSE:
			glm_buf_puts(w->out, python ? "False" : "false");
			return true;
		default:
			glm_buf_puts(w->out, python ? "None" : "null");
			return true;
	}
}

bool
glm_literal_write(glm_buf *out, json_t *value, glm_style style)
{
	writer w = {out, style, out->length + GLM_LITERAL_MAX, out->length + PAUSE_EVERY, 0};

	return write_value(&w, value) && !out->failed && out->length <= w.limit;
}
