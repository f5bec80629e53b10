/*
 * test_json_text.c - JSON read some kilobytes at a time is what jansson reads at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"

/* The same value, or the same complaint at the same place. */
static void
assert_same(const char *text, size_t n)
{
	json_error_t want_why = {0};
	json_error_t why = {0};
	json_t		*want = json_loadb(text, n, JSON_DECODE_ANY, &want_why);
	json_t		*got = glm_json_loadb(text, n, JSON_DECODE_ANY, &why);

	assert_int_equal(want == NULL, got == NULL);
	if (want == NULL)
	{
		assert_string_equal(why.text, want_why.text);
		assert_int_equal(why.line, want_why.line);
		assert_int_equal(why.column, want_why.column);
	}
	else
		assert_true(json_equal(want, got));
	json_decref(want);
	glm_json_free(got);
}

static void
it_is_what_jansson_reads(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"[",
		"{}",
		"[]",
		"null",
		"1",
		"\"a",
		"\"\\\"[,{\\\\\"",
		"[1,]",
		"[1 2]",
		"{\"a\":}",
		"{\"a\":1,\"a\":2}",
		"[\"\\u4f60\", \"\xE4\xBD\xA0\", 1e300, -0.0, 12345678901234567890]",
		"[1]\n]",
		"[\n1,\n\n x]",
		"{\"a\": [{\"b\": [null, true, false, {}]}], \"c\": \"\\n\"}",
		"\"\xFF\"",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_same(texts[i], strlen(texts[i]));
}

/* Characters, escapes and numbers across the edges of what is handed over at a time. */
static void
edges_do_not_show(void **state)
{
	static const char tail[] =
		"\\\"\\u00e9\xE4\xBD\xA0\", -1.25e-7, {\"key\": [[], {}, true]}, \"[{,\"]";
	char *text = malloc(5000);

	(void) state;
	for (size_t filler = 900; filler < 1100; filler++)
	{
		strcpy(text, "[\"");
		memset(text + 2, 'x', filler);
		strcpy(text + 2 + filler, tail);
		assert_same(text, strlen(text));
		assert_same(text, strlen(text) - 1);
	}
	free(text);
}

/* Few bytes, much memory: such texts are not read to their end. */
static void
values_are_bounded(void **state)
{
	const size_t n = 3 * (GLM_JSON_VALUES / 2 + 10);
	char		*text = malloc(n + 2);
	json_error_t why = {0};
	json_t		*value;

	(void) state;
	text[0] = '[';
	for (size_t i = 1; i <= n; i++)
		text[i] = "[],"[(i - 1) % 3];
	strcpy(text + n, "]");
	assert_null(glm_json_loadb(text, n + 1, 0, &why));
	assert_string_equal(why.text, "more than 4194304 values");

	/* in a string they are text */
	text[0] = '"';
	strcpy(text + n, "\"");
	value = glm_json_loadb(text, n + 1, JSON_DECODE_ANY, &why);
	assert_int_equal(json_string_length(value), n - 1);
	glm_json_free(value);
	free(text);
}

/* Values that others have as well are not taken apart. */
static void
freeing_leaves_what_is_shared(void **state)
{
	json_t *value = json_loads("{\"a\": [[1, 2], {\"b\": [3]}], \"c\": [[[[]]]]}", 0, NULL);
	json_t *shared = json_incref(json_array_get(json_object_get(value, "a"), 1));
	char   *text;

	(void) state;
	glm_json_free(value);
	text = json_dumps(shared, JSON_COMPACT);
	assert_string_equal(text, "{\"b\":[3]}");
	free(text);
	glm_json_free(shared);
	glm_json_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_jansson_reads),
		cmocka_unit_test(edges_do_not_show),
		cmocka_unit_test(values_are_bounded),
		cmocka_unit_test(freeing_leaves_what_is_shared),
	};

	return cmocka_run_group_tests_name("json_text", tests, NULL, NULL);
}
