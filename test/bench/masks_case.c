/*
 * masks_case.c - schemas with instances, one a line:
 *
 *     {"name": ..., "schema": ..., "tests": [{"valid": true, "data": ...}, ...]}
 *
 * Instances are printed as Python's json.dumps(data, ensure_ascii=False) prints what json.loads
 * reads: a blank behind each colon and comma, escapes for nothing that needs none, integers as
 * they stand, other numbers in the fewest digits that give the same double.  That changes no
 * structure, so it is done token by token.
 */
#include "masks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first and the byte behind the last; a NUL stands somewhere behind that. */
typedef struct span
{
	const char *at, *end;
} span;

static void
put(glm_buf *out, span s)
{
	glm_buf_add(out, s.at, (size_t) (s.end - s.at));
}

/* ---- Finding values ---------------------------------------------------------------------------- */

static const char *
skip_blanks(const char *at)
{
	return at + strspn(at, " \t\r\n");
}

/* Behind the string that begins here; NULL: it does not end. */
static const char *
skip_string(const char *at)
{
	for (at++; *at != '"' && *at != '\0'; at++)
		if (*at == '\\' && at[1] != '\0')
			at++;
	return *at == '"' ? at + 1 : NULL;
}

/* Behind the number or word that begins here. */
static const char *
skip_scalar(const char *at)
{
	return at + strcspn(at, " \t\r\n,:]}[{\"");
}

/* The value that begins here; false: it does not end. */
static bool
find_value(const char *at, span *value)
{
	int depth = 0;

	value->at = at = skip_blanks(at);
	do
	{
		if (*at == '\0')
			return false;
		depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
		at = *at == '"'								? skip_string(at)
			 : strchr("{}[],: \t\r\n", *at) != NULL ? at + 1
													: skip_scalar(at);
	} while (at != NULL && depth > 0);
	value->end = at;
	return at != NULL;
}

/*
 * The first or next element of an array or object, *at being behind its bracket or the
 * element before; false: there is none.  Of an object this is a key or, in the next call, a value.
 */
static bool
next_element(const char **at, span *element)
{
	*at = skip_blanks(*at);
	if (**at == ',' || **at == ':')
		++*at;
	*at = skip_blanks(*at);
	if (**at == ']' || **at == '}' || !find_value(*at, element))
		return false;
	*at = element->end;
	return true;
}

/* The member of an object with a plain name. */
static bool
find_member(span object, const char *name, span *value)
{
	const char *at = object.at + 1;
	size_t		n = strlen(name);
	span		key;

	while (*object.at == '{' && next_element(&at, &key) && next_element(&at, value))
		if ((size_t) (key.end - key.at) == n + 2 && memcmp(key.at + 1, name, n) == 0)
			return true;
	return false;
}

/* ---- Printing ------------------------------------------------------------------------------------ */

static void
print_character(uint32_t c, glm_buf *out)
{
	static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";
	char			  utf8[8];
	int				  n;

	for (const char *l = letters; *l != '\0'; l += 2)
		if (c == (uint32_t) *l)
		{
			glm_buf_add(out, (const char[]){'\\', l[1]}, 2);
			return;
		}
	if (c < 0x20)
		n = snprintf(utf8, sizeof(utf8), "\\u%04x", c);
	else if (c < 0x80)
		n = snprintf(utf8, sizeof(utf8), "%c", (char) c);
	else if (c < 0x800)
		n = snprintf(utf8, sizeof(utf8), "%c%c", 0xC0 | c >> 6, 0x80 | (c & 63));
	else if (c < 0x10000)
		n = snprintf(utf8, sizeof(utf8), "%c%c%c", 0xE0 | c >> 12, 0x80 | (c >> 6 & 63),
					 0x80 | (c & 63));
	else
		n = snprintf(utf8, sizeof(utf8), "%c%c%c%c", 0xF0 | c >> 18, 0x80 | (c >> 12 & 63),
					 0x80 | (c >> 6 & 63), 0x80 | (c & 63));
	glm_buf_add(out, utf8, (size_t) n);
}

/* The four digits of \u at this place. */
static uint32_t
sixteen_bits(const char *at)
{
	char digits[5] = "";

	memcpy(digits, at, strnlen(at, 4));
	return (uint32_t) strtoul(digits, NULL, 16);
}

/* The character behind a backslash at *at, which is moved behind it; half of a pair becomes "?". */
static uint32_t
read_escape(const char **at)
{
	static const char letters[] = "b\bf\fn\nr\rt\t";
	char			  letter = *++*at;
	const char		 *found = strchr(letters, letter);
	uint32_t		  c, low;

	++*at;
	if (letter != 'u')
		return found != NULL ? (uint8_t) found[1] : (uint8_t) letter;
	c = sixteen_bits(*at);
	*at += strnlen(*at, 4);
	if (c >> 11 != 0xD800 >> 11)
		return c;
	low = strncmp(*at, "\\u", 2) == 0 ? sixteen_bits(*at + 2) : 0;
	if (c >> 10 != 0xD800 >> 10 || low >> 10 != 0xDC00 >> 10)
		return '?';
	*at += 6;
	return 0x10000 + ((c & 0x3FF) << 10) + (low & 0x3FF);
}

static void
print_string(span s, glm_buf *out)
{
	const char *at = s.at + 1;

	glm_buf_add(out, "\"", 1);
	while (at < s.end - 1)
		if (*at == '\\')
			print_character(read_escape(&at), out);
		else
			glm_buf_add(out, at++, 1);
	glm_buf_add(out, "\"", 1);
}

/* As Python's repr(): 1.5, 1e+16, 1e-05. */
static void
print_double(double d, glm_buf *out)
{
	char  shortest[32], text[64], digits[20];
	char *point;
	int	  precision = 0, exponent, n;

	do
		snprintf(shortest, sizeof(shortest), "%.*e", precision, fabs(d));
	while (strtod(shortest, NULL) != fabs(d) && ++precision < 17);
	n = snprintf(digits, sizeof(digits), "%c%.*s", shortest[0], precision, shortest + 2);
	exponent = atoi(strchr(shortest, 'e') + 1);
	if (signbit(d))
		glm_buf_add(out, "-", 1);
	if (exponent >= -4 && exponent < 16)
	{
		int decimals = n - 1 - exponent;

		snprintf(text, sizeof(text), "%.*f", decimals > 1 ? decimals : 1, fabs(d));
		glm_buf_puts(out, text);
		return;
	}
	point = n > 1 ? "." : "";
	snprintf(text, sizeof(text), "%c%s%se%+03d", digits[0], point, digits + 1, exponent);
	glm_buf_puts(out, text);
}

static void
print_scalar(span s, glm_buf *out)
{
	size_t n = (size_t) (s.end - s.at);
	double d;

	if (strchr("-0123456789", *s.at) == NULL)
		put(out, s);
	else if (memchr(s.at, '.', n) == NULL && memchr(s.at, 'e', n) == NULL &&
			 memchr(s.at, 'E', n) == NULL)
		glm_buf_add(out, n == 2 && memcmp(s.at, "-0", 2) == 0 ? "0" : s.at,
					n == 2 && memcmp(s.at, "-0", 2) == 0 ? 1 : n);
	else if (isinf(d = strtod(s.at, NULL)))
		glm_buf_puts(out, d > 0 ? "Infinity" : "-Infinity");
	else
		print_double(d, out);
}

static void
print_value(span value, glm_buf *out)
{
	span s;

	for (s.at = value.at; s.at < value.end; s.at = s.end)
	{
		s.end = s.at + 1;
		if (strchr("{}[]", *s.at) != NULL)
			put(out, s);
		else if (*s.at == ',' || *s.at == ':')
			glm_buf_add(out, (const char[]){*s.at, ' '}, 2);
		else if (*s.at == '"')
		{
			s.end = skip_string(s.at);
			print_string(s, out);
		}
		else if (strchr(" \t\r\n", *s.at) == NULL)
		{
			s.end = skip_scalar(s.at);
			print_scalar(s, out);
		}
	}
}

/* ---- A line ---------------------------------------------------------------------------------------- */

static bool
read_instances(masks_case *c, span tests)
{
	const char *at = tests.at + 1;
	span		test, valid, data;

	while (next_element(&at, &test))
	{
		masks_instance *more = realloc(c->instance, sizeof(*more) * (size_t) (c->n + 1));

		if (more == NULL || !find_member(test, "valid", &valid) ||
			!find_member(test, "data", &data))
			return false;
		c->instance = more;
		c->instance[c->n] = (masks_instance){.valid = *valid.at == 't'};
		print_value(data, &c->instance[c->n].text);
		if (c->instance[c->n++].text.failed)
			return false;
	}
	return true;
}

bool
masks_case_read(masks_case *c, const char *line, glm_error *err)
{
	span whole, name, schema, tests;

	*c = (masks_case){0};
	if (!find_value(line, &whole) || !find_member(whole, "name", &name) ||
		!find_member(whole, "schema", &schema) || !find_member(whole, "tests", &tests) ||
		*name.at != '"' || *tests.at != '[' || !read_instances(c, tests))
		return glm_fail(err, GLM_BAD_FILE, "no case of a name, a schema and tests: %.60s", line);
	name.at++;
	name.end--;
	put(&c->name, name);
	put(&c->schema, schema);
	return c->name.failed || c->schema.failed ? glm_no_memory(err) : true;
}

void
masks_case_free(masks_case *c)
{
	for (int i = 0; i < c->n; i++)
		glm_buf_free(&c->instance[i].text);
	free(c->instance);
	glm_buf_free(&c->name);
	glm_buf_free(&c->schema);
	*c = (masks_case){0};
}
