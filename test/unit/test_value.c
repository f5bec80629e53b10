/*
 * test_value.c - JSON read as it is written, and refused when it is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/constrain/value.h"

static glm_arena arena;
static glm_error err;
static jmp_buf	 escape;

/* NULL with err where it is refused. */
static glm_value *
read_bytes(const char *text, size_t n)
{
	char	  *exact = malloc(n + 1); /* so that a sanitizer sees what is read behind it */
	glm_value *value = NULL;

	memcpy(exact, text, n);
	glm_arena_free(&arena);
	glm_arena_init(&arena, (size_t) 64 << 20);
	arena.escape = &escape;
	arena.err = &err;
	memset(&err, 0, sizeof(err));
	if (setjmp(escape) == 0)
	{
		value = glm_value_read(&arena, exact, n);
		free(exact);
		return value;
	}
	free(exact);
	return NULL;
}

static glm_value *
read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

static int
free_arena(void **state)
{
	(void) state;
	glm_arena_free(&arena);
	glm_pause_with(NULL, NULL);
	return 0;
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* Writes a value with nothing between its parts and every byte of strings as it is. */
static void
write_value(glm_buf *out, const glm_value *value)
{
	bool object = value->kind == GLM_KIND_OBJECT;

	if (value->kind == GLM_KIND_STRING)
		glm_buf_puts(out, "\"");
	if (value->kind == GLM_KIND_STRING || value->kind == GLM_KIND_NUMBER)
		glm_buf_add(out, value->text, (size_t) value->n);
	if (value->kind == GLM_KIND_STRING)
		glm_buf_puts(out, "\"");
	if (value->kind == GLM_KIND_NULL)
		glm_buf_puts(out, "null");
	if (value->kind == GLM_KIND_TRUE)
		glm_buf_puts(out, "true");
	if (value->kind == GLM_KIND_FALSE)
		glm_buf_puts(out, "false");
	if (value->kind != GLM_KIND_ARRAY && !object)
		return;
	glm_buf_puts(out, object ? "{" : "[");
	for (int i = 0; i < value->n; i++)
	{
		if (i > 0)
			glm_buf_puts(out, ",");
		if (object)
		{
			assert_int_equal(strlen(value->key[i]), value->key_length[i]);
			glm_buf_puts(out, value->key[i]);
			glm_buf_puts(out, ":");
		}
		write_value(out, value->item[i]);
	}
	glm_buf_puts(out, object ? "}" : "]");
}

static void
assert_read(const char *json, const char *want)
{
	glm_value *value = read_text(json);
	glm_buf	   out = {0};

	if (value == NULL)
		fail_msg("%s: %s", json, err.message);
	write_value(&out, value);
	assert_string_equal(out.data, want);
	glm_buf_free(&out);
}

static void
order_and_digits_stay(void **state)
{
	(void) state;
	assert_read(
		"{\"b\": 1.0, \"a\": [1, 1.50, -0, 1E+2, 123456789012345678901234567890], \"0\": {}}",
		"{b:1.0,a:[1,1.50,-0,1E+2,123456789012345678901234567890],0:{}}");
	assert_read(" \t\r\n[ null , true,false , [ ] , { } ] \n", "[null,true,false,[],{}]");
	assert_read("\"\"", "\"\"");
	assert_read("0.5e-7", "0.5e-7");
}

static void
strings_are_decoded(void **state)
{
	(void) state;
	assert_read("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\"\\/\b\f\n\r\t\"");
	assert_read("\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\"",
				"\"A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
	assert_read("\"\xC3\xA9 \xF0\x9F\x98\x80 \x7F\"", "\"\xC3\xA9 \xF0\x9F\x98\x80 \x7F\"");
	assert_read("{\"a\\nb\": 1}", "{a\nb:1}");
	assert_read("\"\\uFFFF\\u0800\\u07FF\\u0080\\u007f\"",
				"\"\xEF\xBF\xBF\xE0\xA0\x80\xDF\xBF\xC2\x80\x7F\"");
}

static void
u0000_is_kept_but_in_keys(void **state)
{
	glm_value *value = read_text("\"a\\u0000b\"");

	(void) state;
	assert_int_equal(value->n, 3);
	assert_memory_equal(value->text, "a\0b", 4);
	assert_false(glm_value_is_text(value));
	assert_true(glm_value_is_text(read_text("\"ab\"")));
	assert_false(glm_value_is_text(read_text("1")));
	assert_null(read_text("{\"a\\u0000\": 1}"));
	assert_string_equal(err.message, "no JSON at byte 10: a key holds U+0000");
}

typedef struct refusal
{
	const char *json;
	const char *why;
} refusal;

static void
what_is_no_json_is_refused(void **state)
{
	static const refusal bad[] = {
		{"", "byte 0: no value"},
		{"nul", "byte 0: no value"},
		{"truE", "byte 0: no value"},
		{"NaN", "byte 0: no value"},
		{"'a'", "byte 0: no value"},
		{"+1", "byte 0: no value"},
		{".5", "byte 0: no value"},
		{"01", "byte 1: there is more"},
		{"1.", "byte 2: a digit"},
		{"-", "byte 1: a digit"},
		{"1e", "byte 2: a digit"},
		{"1e+-1", "byte 3: a digit"},
		{"1 2", "byte 2: there is more"},
		{"[1,]", "byte 3: no value"},
		{"[1 2]", "byte 3: an array"},
		{"[", "byte 1: no value"},
		{"[1", "byte 2: an array"},
		{"{\"a\" 1}", "byte 5: a key is followed"},
		{"{a: 1}", "byte 1: a key"},
		{"{\"a\": 1,}", "byte 8: a key"},
		{"{\"a\": 1", "byte 7: an object"},
		{"{\"a\"", "byte 4: a key is followed"},
		{"{1: 1}", "byte 1: a key"},
		{"\"a", "byte 2: a string without end"},
		{"\"\\", "byte 2: no escape"},
		{"\"\\\"", "byte 3: a string without end"},
		{"\"\\x\"", "byte 2: no escape"},
		{"\"\\u12\"", "byte 5: \\u needs"},
		{"\"\\u12g4\"", "byte 5: \\u needs"},
		{"\"\\ud800\"", "byte 7: half"},
		{"\"\\ud800\\n\"", "byte 8: half"},
		{"\"\\ud800\\u0041\"", "byte 13: half"},
		{"\"\\udc00\"", "byte 7: half"},
		{"\"a\nb\"", "byte 2: a control"},
		{"\"\x80\"", "byte 1: the text is not valid UTF-8"},
		{"\"\xED\xA0\x80\"", "byte 1: the text is not valid UTF-8"},
		{"\"\xC3\"", "byte 1: the text is not valid UTF-8"},
		{"// c\n1", "byte 0: no value"},
		{"{\"a\": 1, \"b\": 2, \"a\": 3}", "\"a\" comes twice in the object before byte 24"},
		{"{\"a\": 1, \"\\u0061\": 3}", "\"a\" comes twice"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		if (read_text(bad[i].json) != NULL)
			fail_msg("accepted: %s", bad[i].json);
		assert_int_equal(err.status, GLM_BAD_ARGUMENT);
		if (strstr(err.message, bad[i].why) == NULL)
			fail_msg("%s: %s", bad[i].json, err.message);
	}
	assert_null(read_bytes("1\0", 2));
	assert_null(read_bytes("\0", 1));
	assert_null(read_bytes("\"\\\0\"", 4));
}

/* No beginning of a text is one, whatever stands behind it in memory. */
static void
beginnings_are_refused(void **state)
{
	static const char text[] =
		"{\"k\\u00e9\": [1.5e+3, -0, \"\\uD83D\\uDE00\xC3\xA9\", null], \"t\": {}}";

	(void) state;
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_null(read_bytes(text, n));
	assert_non_null(read_bytes(text, sizeof(text) - 1));
}

static void
depth_is_limited(void **state)
{
	static char text[2 * GLM_VALUE_DEPTH + 3];
	size_t		n = GLM_VALUE_DEPTH;

	(void) state;
	memset(text, '[', n);
	memset(text + n, ']', n);
	assert_non_null(read_bytes(text, 2 * n));
	n++;
	memset(text, '[', n);
	memset(text + n, ']', n);
	assert_null(read_bytes(text, 2 * n));
	assert_int_equal(err.status, GLM_TOO_COMPLEX);
	assert_string_equal(err.message, "JSON nested more than 200 deep at byte 201");
}

/* Many siblings are not deep. */
static void
depth_is_of_nesting(void **state)
{
	glm_buf	   text = {0};
	glm_value *value;

	(void) state;
	glm_buf_puts(&text, "[");
	for (int i = 0; i < 1000; i++)
		glm_buf_puts(&text, "[{}],");
	glm_buf_puts(&text, "1]");
	value = read_bytes(text.data, text.length);
	assert_int_equal(value->n, 1001);
	glm_buf_free(&text);
}

static bool
end_it(void *arg, glm_error *why)
{
	(void) arg;
	return glm_fail(why, GLM_CANCELLED, "no more");
}

static void
a_pause_ends_it(void **state)
{
	glm_buf text = {0};

	(void) state;
	glm_buf_puts(&text, "[");
	for (int i = 0; i < 5000; i++)
		glm_buf_puts(&text, "1,");
	glm_buf_puts(&text, "1]");
	assert_non_null(read_bytes(text.data, text.length));
	glm_pause_with(end_it, NULL);
	assert_null(read_bytes(text.data, text.length));
	assert_int_equal(err.status, GLM_CANCELLED);
	assert_string_equal(err.message, "no more");
	glm_buf_free(&text);
}

/* ---- What was read ---------------------------------------------------------------------------- */

static void
members_are_found(void **state)
{
	glm_value *value = read_text("{\"b\": 1, \"\": 2, \"a\": 3, \"ab\": 4}");

	(void) state;
	assert_string_equal(glm_value_get(value, "b")->text, "1");
	assert_string_equal(glm_value_get(value, "")->text, "2");
	assert_string_equal(glm_value_get(value, "a")->text, "3");
	assert_string_equal(glm_value_get(value, "ab")->text, "4");
	assert_null(glm_value_get(value, "c"));
	assert_null(glm_value_get(glm_value_get(value, "a"), "a"));
	assert_null(glm_value_get(NULL, "a"));
	assert_null(glm_value_get(read_text("{}"), "a"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(order_and_digits_stay, free_arena),
		cmocka_unit_test_teardown(strings_are_decoded, free_arena),
		cmocka_unit_test_teardown(u0000_is_kept_but_in_keys, free_arena),
		cmocka_unit_test_teardown(what_is_no_json_is_refused, free_arena),
		cmocka_unit_test_teardown(beginnings_are_refused, free_arena),
		cmocka_unit_test_teardown(depth_is_limited, free_arena),
		cmocka_unit_test_teardown(depth_is_of_nesting, free_arena),
		cmocka_unit_test_teardown(a_pause_ends_it, free_arena),
		cmocka_unit_test_teardown(members_are_found, free_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
