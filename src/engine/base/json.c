/*
 * json.c - JSON as Python's json module reads it.
 *
 * ChatGLM's own code is Python, where an integer has as many digits as it is
 * written with; jansson's have 64 bits.  Bounds of unsigned types, account and
 * tracking numbers are longer than that.  So the text is looked through before
 * jansson sees it, and an integer it could not hold becomes a string of a NUL
 * and the digits: the one string that can begin with a NUL, because no other may
 * hold any (SQL's text cannot either).  glm_json_text() gives texts alone,
 * glm_json_big() the digits as they came.
 *
 * No locks: pure functions.
 */
#include "engine/base/json.h"
#include "engine/base/base.h"

#include <string.h>

#define NUL_ESCAPE "\\u0000"
#define LOOK_SLICE ((size_t) 64 << 10) /* bytes between two pauses */

/* The text on its way to jansson. */
typedef struct rewrite
{
	const char *text;
	size_t		n;
	size_t		done; /* bytes of it that are in out, once anything is */
	glm_buf		out;  /* empty: the text can stay as it is */
} rewrite;

json_t *
glm_json_new(void)
{
	return json_pack("{}");
}

/* ---- Numbers in disguise ----------------------------------------------- */

const char *
glm_json_big(const json_t *value)
{
	const char *s = json_string_value(value);

	return s != NULL && json_string_length(value) > 0 && s[0] == '\0' ? s + 1 : NULL;
}

const char *
glm_json_text(const json_t *value)
{
	return glm_json_big(value) != NULL ? NULL : json_string_value(value);
}

bool
glm_json_fits(const char *digits, size_t n)
{
	const char *most = "9223372036854775807";

	if (n > 0 && digits[0] == '-')
	{
		most = "9223372036854775808";
		digits++;
		n--;
	}
	return n < strlen(most) || (n == strlen(most) && memcmp(digits, most, n) <= 0);
}

json_t *
glm_json_integer(const char *digits, size_t n)
{
	glm_buf big = {0};
	json_t *value;

	if (glm_json_fits(digits, n))
		return json_loadb(digits, n, JSON_DECODE_ANY, NULL);
	glm_buf_add(&big, "", 1);
	glm_buf_add(&big, digits, n);
	value = big.failed ? NULL : json_stringn(big.data, big.length);
	glm_buf_free(&big);
	return value;
}

/* ---- Looking through --------------------------------------------------- */

/* Puts what stands in [at, end) into disguise. */
static void
disguise(rewrite *r, size_t at, size_t end)
{
	glm_buf_add(&r->out, r->text + r->done, at - r->done);
	glm_buf_puts(&r->out, "\"" NUL_ESCAPE);
	glm_buf_add(&r->out, r->text + at, end - at);
	glm_buf_add(&r->out, "\"", 1);
	r->done = end;
}

/* The end of the string that begins at `at`; 0 when it holds a NUL. */
static size_t
skip_string(const rewrite *r, size_t at)
{
	const size_t width = strlen(NUL_ESCAPE);

	for (at++; at < r->n && r->text[at] != '"'; at++)
	{
		if (r->text[at] != '\\')
			continue;
		if (r->n - at >= width && memcmp(r->text + at, NUL_ESCAPE, width) == 0)
			return 0;
		at++;
	}
	return at < r->n ? at + 1 : r->n;
}

/* The end of the number that begins at `at`; disguised if it is a large integer. */
static size_t
skip_number(rewrite *r, size_t at)
{
	size_t first = at + (r->text[at] == '-');
	size_t end = first;

	while (end < r->n && r->text[end] >= '0' && r->text[end] <= '9')
		end++;
	/* one that begins with 0 is no JSON, as jansson will find */
	if (end < r->n && strchr(".eE", r->text[end]) != NULL && r->text[end] != '\0')
		while (end < r->n && r->text[end] != '\0' &&
			   strchr("0123456789.eE+-", r->text[end]) != NULL)
			end++;
	else if (end > first && r->text[first] != '0' && !glm_json_fits(r->text + at, end - at))
		disguise(r, at, end);
	return end > at ? end : at + 1;
}

/* The end of NaN, Infinity or -Infinity, disguised; 0 when none stands there. */
static size_t
skip_constant(rewrite *r, size_t at)
{
	static const char *const names[] = {"NaN", "Infinity", "-Infinity"};

	for (int i = 0; i < 3; i++)
	{
		size_t length = strlen(names[i]);

		if (r->n - at < length || memcmp(r->text + at, names[i], length) != 0)
			continue;
		disguise(r, at, at + length);
		return at + length;
	}
	return 0;
}

/* False when a string holds a NUL, *where, or a pause ended it, SIZE_MAX. */
static bool
look_through(rewrite *r, bool constants, size_t *where)
{
	size_t paused = 0;

	for (size_t at = 0, next; at < r->n; at = next)
	{
		char c = r->text[at];

		if (at - paused >= LOOK_SLICE)
		{
			paused = at;
			*where = SIZE_MAX;
			if (!glm_pause(NULL))
				return false;
		}
		next = at + 1;
		*where = at;
		if (c == '"')
			next = skip_string(r, at);
		else if (constants && (c == 'N' || c == 'I' || c == '-') && skip_constant(r, at) > 0)
			next = r->done;
		else if (c == '-' || (c >= '0' && c <= '9'))
			next = skip_number(r, at);
		if (next == 0)
			return false;
	}
	return true;
}

/* ---- Entry ------------------------------------------------------------- */

static void
set_place(json_error_t *why, const char *text, size_t at)
{
	why->line = 1;
	why->column = 1;
	for (size_t i = 0; i < at; i++)
	{
		why->column = text[i] == '\n' ? 1 : why->column + 1;
		why->line += text[i] == '\n';
	}
}

json_t *
glm_json_parse(const char *text, size_t n, bool constants, json_error_t *why)
{
	rewrite r = {.text = text, .n = n};
	json_t *value = NULL;
	size_t	where = 0;

	memset(why, 0, sizeof(*why));
	if (!look_through(&r, constants, &where))
	{
		if (where != SIZE_MAX)
		{
			strcpy(why->text, "a string holds " NUL_ESCAPE ", which no text can");
			set_place(why, text, where);
		}
	}
	else if (r.done == 0)
		value = glm_json_loadb(text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, why);
	else
	{
		glm_buf_add(&r.out, text + r.done, n - r.done);
		if (r.out.failed)
			strcpy(why->text, "out of memory");
		else
			value = glm_json_loadb(r.out.data, r.out.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, why);
	}
	if (value == NULL && json_error_code(why) == json_error_numeric_overflow)
		strcpy(why->text, "a number is too large");
	glm_buf_free(&r.out);
	return value;
}
