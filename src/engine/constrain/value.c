/*
 * value.c - reading JSON as it is written.
 *
 * Unlike jansson (base/json.c) it keeps the order of keys and the digits of numbers, and
 * refuses what a schema or an answer must not have: keys that come twice or hold U+0000 (no
 * text of SQL does) and halves of surrogates.  The bytes are nobody's that we trust: their
 * UTF-8 is checked first, and every read is against the end.  Whoever walks a value may
 * recurse, because none is deeper than GLM_VALUE_DEPTH.
 */
#include "engine/constrain/value.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_A_PAUSE 4096

typedef struct reader
{
	glm_arena  *arena;
	const char *text, *at, *end;
	int			depth;
	int			n_values;
} reader;

static glm_value *read_value(reader *r);

static _Noreturn void
malformed(const reader *r, const char *why)
{
	glm_arena_fail(r->arena, GLM_BAD_ARGUMENT, "no JSON at byte %zu: %s",
				   (size_t) (r->at - r->text), why);
}

static void
skip_blanks(reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

/* Is this the next byte?  Then it is read. */
static bool
take(reader *r, char byte)
{
	if (r->at == r->end || *r->at != byte)
		return false;
	r->at++;
	return true;
}

static void
expect(reader *r, char byte, const char *why)
{
	if (!take(r, byte))
		malformed(r, why);
}

/* ---- Strings ------------------------------------------------------------------------------ */

static unsigned
read_hex(reader *r)
{
	unsigned code = 0;

	for (int i = 0; i < 4; i++)
	{
		char c = r->at < r->end ? *r->at : '\0';

		if (c >= '0' && c <= '9')
			code = code * 16 + (unsigned) (c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			code = code * 16 + (unsigned) ((c | 0x20) - 'a' + 10);
		else
			malformed(r, "\\u needs four hexadecimal digits");
		r->at++;
	}
	return code;
}

/* The character of what stands behind \u, of which there may be two. */
static unsigned
read_code_point(reader *r)
{
	unsigned high = read_hex(r);
	unsigned low;

	if (high < 0xD800 || high > 0xDFFF)
		return high;
	if (high > 0xDBFF || !take(r, '\\') || !take(r, 'u'))
		malformed(r, "half a surrogate pair");
	low = read_hex(r);
	if (low < 0xDC00 || low > 0xDFFF)
		malformed(r, "half a surrogate pair");
	return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static char *
put_utf8(char *out, unsigned code)
{
	if (code < 0x80)
		*out++ = (char) code;
	else if (code < 0x800)
		*out++ = (char) (0xC0 | code >> 6);
	else if (code < 0x10000)
		*out++ = (char) (0xE0 | code >> 12);
	else
		*out++ = (char) (0xF0 | code >> 18);
	for (int shift = code < 0x80	  ? -6
					 : code < 0x800	  ? 0
					 : code < 0x10000 ? 6
									  : 12;
		 shift >= 0; shift -= 6)
		*out++ = (char) (0x80 | (code >> shift & 0x3F));
	return out;
}

static char *
put_escape(reader *r, char *out)
{
	static const char written[] = "\"\\/bfnrtu";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	const char		 *found = r->at < r->end && *r->at != '\0' ? strchr(written, *r->at) : NULL;

	if (found == NULL)
		malformed(r, "no escape that JSON has");
	r->at++;
	if (*found == 'u')
		return put_utf8(out, read_code_point(r));
	*out = meant[found - written];
	return out + 1;
}

/* Where the string that begins here ends: at its quote. */
static const char *
find_quote(const reader *r)
{
	const char *at = r->at;

	while (at < r->end && *at != '"')
		at += *at == '\\' && r->end - at > 1 ? 2 : 1;
	return at;
}

/* What is behind a quote, up to the next. */
static const char *
read_string(reader *r, int *length)
{
	const char *end = find_quote(r);
	char	   *text;
	char	   *out;

	if (end - r->at >= INT_MAX)
		glm_arena_fail(r->arena, GLM_TOO_COMPLEX, "a string of JSON is too long");
	/* no escape is shorter than what it stands for */
	text = out = glm_arena_get(r->arena, (size_t) (end - r->at) + 1);
	while (r->at < end)
	{
		if ((unsigned char) *r->at < 0x20)
			malformed(r, "a control character in a string");
		if (take(r, '\\'))
			out = put_escape(r, out);
		else
			*out++ = *r->at++;
	}
	expect(r, '"', "a string without end");
	*length = (int) (out - text);
	return text;
}

/* ---- Numbers and words --------------------------------------------------------------------- */

static void
skip_digits(reader *r)
{
	if (r->at == r->end || *r->at < '0' || *r->at > '9')
		malformed(r, "a digit is missing");
	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
}

static void
read_number(reader *r, glm_value *value)
{
	const char *begin = r->at;

	value->kind = GLM_KIND_NUMBER;
	take(r, '-');
	if (!take(r, '0'))
		skip_digits(r);
	if (take(r, '.'))
		skip_digits(r);
	if (take(r, 'e') || take(r, 'E'))
	{
		if (!take(r, '+'))
			take(r, '-');
		skip_digits(r);
	}
	if (r->at - begin >= INT_MAX)
		glm_arena_fail(r->arena, GLM_TOO_COMPLEX, "a number of JSON is too long");
	value->n = (int) (r->at - begin);
	value->text = glm_arena_copy(r->arena, begin, (size_t) value->n);
}

static void
read_word(reader *r, glm_value *value, const char *word, glm_kinds kind)
{
	size_t n = strlen(word);

	if ((size_t) (r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		malformed(r, "no value begins like this");
	r->at += n;
	value->kind = kind;
}

/* ---- Arrays and objects -------------------------------------------------------------------- */

static void
go_deeper(reader *r)
{
	if (++r->depth > GLM_VALUE_DEPTH)
		glm_arena_fail(r->arena, GLM_TOO_COMPLEX, "JSON nested more than %d deep at byte %zu",
					   GLM_VALUE_DEPTH, (size_t) (r->at - r->text));
}

static void
add_item(reader *r, glm_value *array, int *room, glm_value *item)
{
	array->item = glm_arena_grow(r->arena, array->item, sizeof(*array->item), room, array->n + 1);
	array->item[array->n++] = item;
}

static void
read_array(reader *r, glm_value *array)
{
	int room = 0;

	array->kind = GLM_KIND_ARRAY;
	go_deeper(r);
	skip_blanks(r);
	if (!take(r, ']'))
	{
		do
			add_item(r, array, &room, read_value(r));
		while (take(r, ','));
		expect(r, ']', "an array goes on with , or ]");
	}
	r->depth--;
}

static int
compare_members(const void *a, const void *b)
{
	return strcmp(((const glm_value_member *) a)->key, ((const glm_value_member *) b)->key);
}

/* Sorts the names, which shows those that come twice. */
static void
index_members(reader *r, glm_value *object)
{
	object->by_name = GLM_NEW(r->arena, glm_value_member, object->n);
	for (int i = 0; i < object->n; i++)
		object->by_name[i] = (glm_value_member){object->key[i], object->item[i]};
	qsort(object->by_name, (size_t) object->n, sizeof(*object->by_name), compare_members);
	for (int i = 1; i < object->n; i++)
		if (compare_members(&object->by_name[i - 1], &object->by_name[i]) == 0)
			glm_arena_fail(r->arena, GLM_BAD_ARGUMENT,
						   "the key \"%.100s\" comes twice in the object before byte %zu",
						   object->by_name[i].key, (size_t) (r->at - r->text));
}

static void
read_member(reader *r, glm_value *object, int *room)
{
	int			key_room = *room;
	int			length_room = *room;
	int			n = object->n;
	glm_value  *value;
	const char *key;
	int			length;

	skip_blanks(r);
	expect(r, '"', "a key is a string");
	key = read_string(r, &length);
	if (strlen(key) != (size_t) length)
		malformed(r, "a key holds U+0000");
	skip_blanks(r);
	expect(r, ':', "a key is followed by :");
	value = read_value(r);
	object->key = glm_arena_grow(r->arena, object->key, sizeof(*object->key), &key_room, n + 1);
	object->key_length = glm_arena_grow(r->arena, object->key_length, sizeof(*object->key_length),
										&length_room, n + 1);
	object->key[n] = key;
	object->key_length[n] = length;
	add_item(r, object, room, value);
}

static void
read_object(reader *r, glm_value *object)
{
	int room = 0;

	object->kind = GLM_KIND_OBJECT;
	go_deeper(r);
	skip_blanks(r);
	if (!take(r, '}'))
	{
		do
			read_member(r, object, &room);
		while (take(r, ','));
		expect(r, '}', "an object goes on with , or }");
	}
	index_members(r, object);
	r->depth--;
}

static glm_value *
read_value(reader *r)
{
	glm_value *value = GLM_NEW(r->arena, glm_value, 1);

	if (++r->n_values % VALUES_A_PAUSE == 0)
		glm_arena_pause(r->arena);
	skip_blanks(r);
	if (take(r, '{'))
		read_object(r, value);
	else if (take(r, '['))
		read_array(r, value);
	else if (take(r, '"'))
	{
		value->kind = GLM_KIND_STRING;
		value->text = read_string(r, &value->n);
	}
	else if (r->at < r->end && (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')))
		read_number(r, value);
	else if (r->at < r->end && *r->at == 't')
		read_word(r, value, "true", GLM_KIND_TRUE);
	else if (r->at < r->end && *r->at == 'f')
		read_word(r, value, "false", GLM_KIND_FALSE);
	else
		read_word(r, value, "null", GLM_KIND_NULL);
	skip_blanks(r);
	return value;
}

glm_value *
glm_value_read(glm_arena *arena, const char *text, size_t n)
{
	reader	   r = {.arena = arena, .text = text, .at = text, .end = text + n};
	glm_value *value;
	ptrdiff_t  bad;

	if (n > GLM_VALUE_BYTES)
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "JSON text has %zu bytes, at most %zu are allowed",
					   n, GLM_VALUE_BYTES);
	bad = glm_utf8_check(text, n);
	if (bad >= 0)
	{
		r.at += bad;
		malformed(&r, "the text is not valid UTF-8");
	}
	value = read_value(&r);
	if (r.at != r.end)
		malformed(&r, "there is more than one value");
	return value;
}

/* ---- What was read ------------------------------------------------------------------------- */

glm_value *
glm_value_get(const glm_value *object, const char *key)
{
	glm_value_member  wanted = {.key = key};
	glm_value_member *found;

	if (object == NULL || object->kind != GLM_KIND_OBJECT)
		return NULL;
	found = bsearch(&wanted, object->by_name, (size_t) object->n, sizeof(wanted), compare_members);
	return found != NULL ? found->value : NULL;
}

bool
glm_value_is_text(const glm_value *value)
{
	return value->kind == GLM_KIND_STRING && strlen(value->text) == (size_t) value->n;
}
