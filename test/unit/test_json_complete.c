/*
 * test_json_complete.c - the search for an end: it finds a short one from wherever a text
 * stands, and knows when there is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "readers.h"

#define STEPS 60000 /* what a matcher gives it after each token */

/* From the end of `begun`, which is no whole text, to exactly this. */
static void
assert_ends(const char *schema, const char *begun, const char *want)
{
	const char *end;

	reader_open(schema, GLM_ORDER_STRICT, GLM_SPACE_EXACT);
	assert_int_equal(reader_reads(begun), strlen(begun));
	end = reader_end(STEPS);
	if (end == NULL || strcmp(end, want) != 0)
		fail_msg("%s: %s ends by %s, not %s", schema, begun, end != NULL ? end : "nothing", want);
}

/* In all orders and spaces there is an end, by which the text is valid. */
static void
assert_has_end(const char *schema, const char *begun)
{
	for (int i = 0; i < 6; i++)
	{
		const char *end;
		char	   *whole;

		reader_open(schema, i % 2 == 0 ? GLM_ORDER_STRICT : GLM_ORDER_ANY,
					(glm_json_space) (i / 2));
		assert_int_equal(reader_reads(begun), strlen(begun));
		end = reader_end(STEPS);
		if (end == NULL)
			fail_msg("%.300s: %s has no end", schema, begun);
		whole = malloc(strlen(begun) + strlen(end) + 1);
		assert_non_null(whole);
		sprintf(whole, "%s%s", begun, end);
		if (reader_reads(whole) != -1)
			fail_msg("%.300s: %.300s", schema, whole);
		free(whole);
	}
}

static void
assert_has_none(const char *schema)
{
	reader_open(schema, GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_null(reader_end(STEPS));
}

static void
whatever_was_begun_ends(void **state)
{
	(void) state;
	assert_ends("{}", "", "0");
	assert_ends("{}", "{", "}");
	assert_ends("{}", "{\"a", "\": 0}");
	assert_ends("{}", "{\"a\"", ": 0}");
	assert_ends("{}", "[1,", " 0]");
	assert_ends("{}", "[tr", "ue]");
	assert_ends("{}", "[-", "0]");
	assert_ends("{}", "[1.", "0]");
	assert_ends("{}", "[[[{\"a\": [", "]}]]]");
	assert_ends("{}", "\"a\\", "n\"");
	assert_ends("{}", "\"a\\u00", "01\"");
	assert_ends("{}", "\"\xe4\xb8", "\x80\"");
	assert_ends("{}", "[1e", "0]");
}

static void
values_are_what_is_asked(void **state)
{
	(void) state;
	assert_ends("{\"const\": \"abc\"}", "", "\"abc\"");
	assert_ends("{\"enum\": [\"abc\", \"abd\"]}", "\"ab", "c\"");
	assert_ends("{\"const\": {\"a\": [1, null]}}", "", "{\"a\": [1, null]}");
	assert_ends("{\"type\": \"integer\", \"minimum\": 1234567}", "", "1234567");
	assert_ends("{\"type\": \"number\", \"exclusiveMaximum\": -5}", "", "-6");
	assert_ends("{\"type\": \"string\", \"minLength\": 3}", "", "\"aaa\"");
	assert_has_end("{\"type\": \"integer\", \"minimum\": 1000, \"multipleOf\": 777}", "");
	assert_has_end("{\"type\": \"number\", \"exclusiveMinimum\": 0, \"exclusiveMaximum\": 0.01}",
				   "");
	assert_has_end("{\"type\": \"string\", \"pattern\": \"^[0-9]{3}-[A-F]{40}$\"}", "");
	assert_has_end("{\"type\": \"string\", \"pattern\": \"^[^a-z]+[^a]*\\\"$\"}", "\"");
	assert_has_end("{\"type\": \"string\", \"format\": \"date-time\"}", "\"20");
	assert_has_end("{\"type\": \"string\", \"format\": \"uuid\"}", "");
	assert_has_end("{\"type\": \"string\", \"pattern\": \"^(ab)+$\", \"minLength\": 700}", "");
	assert_has_end("{\"not\": {\"type\": [\"null\", \"number\", \"boolean\"]}, \"minLength\": 1}",
				   "");
	assert_has_end(
		"{\"allOf\": [{\"pattern\": \"^a\"}, {\"pattern\": \"z$\"}], \"type\": \"string\"}", "");
}

static void
containers_are_filled(void **state)
{
	(void) state;
	assert_ends(
		"{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {}, \"c\": {\"type\": \"array\"}}, "
		"\"required\": [\"a\", \"c\"]}",
		"{", "\"a\": null, \"c\": []}");
	assert_has_end("{\"type\": \"object\", \"required\": [\"\\\"\\n\\u0001\"]}", "");
	assert_has_end("{\"type\": \"array\", \"minItems\": 300}", "");
	assert_has_end("{\"type\": \"array\", \"minItems\": 5, \"uniqueItems\": true}", "[1");
	assert_has_end("{\"type\": \"array\", \"contains\": {\"const\": \"x\"}, \"minContains\": 3}",
				   "[1");
	assert_has_end(
		"{\"type\": \"object\", \"minProperties\": 4, \"propertyNames\": {\"maxLength\": 1}}", "");
	assert_has_end(
		"{\"type\": \"object\", \"patternProperties\": {\"^[0-9]+$\": {\"type\": \"null\"}}, "
		"\"additionalProperties\": false, \"minProperties\": 3}",
		"{\"1");
	assert_has_end(
		"{\"type\": \"object\", \"required\": [\"a\"], \"dependentRequired\": {\"a\": [\"b\"], "
		"\"b\": [\"c\"]}}",
		"");
	assert_has_end(
		"{\"not\": {\"propertyNames\": {\"not\": {\"const\": \"0\"}}}, \"type\": \"object\"}", "");
}

/* Where several branches could be wanted, and most ways are wrong. */
static void
branches_are_chosen_as_a_whole(void **state)
{
	(void) state;
	assert_has_end(
		"{\"type\": \"object\", \"oneOf\": [{\"required\": [\"a\", \"b\", \"c\"], \"properties\": "
		"{\"d\": false}}, {\"required\": [\"a\", \"b\", \"d\"], \"properties\": {\"c\": false}}], "
		"\"properties\": {\"a\": {\"const\": \"x\"}, \"c\": {\"type\": \"null\"}}}",
		"");
	/* []: both hold; [[]] is the shortest of which one does */
	assert_has_end(
		"{\"type\": \"array\", \"oneOf\": [{\"anyOf\": [{\"items\": {\"$ref\": \"#/$defs/a\"}}, "
		"{\"contains\": {\"$ref\": \"#/$defs/a\"}}]}, {\"anyOf\": [{\"items\": {\"$ref\": "
		"\"#/$defs/b\"}}, {\"contains\": {\"$ref\": \"#/$defs/a\"}}]}], \"$defs\": {\"a\": "
		"{\"type\": \"array\", \"contains\": {\"minimum\": 100, \"type\": \"number\"}}, \"b\": "
		"{\"type\": \"array\", \"items\": {\"type\": \"number\"}}}}",
		"");
	/* a, then b or c, each of which forbids a: a may not come at all */
	assert_has_end(
		"{\"type\": \"object\", \"patternProperties\": {\"^[a-e]$\": true}, "
		"\"additionalProperties\": false, \"dependentSchemas\": {\"a\": {\"anyOf\": "
		"[{\"required\": [\"b\"]}, {\"required\": [\"c\"]}]}, \"b\": {\"not\": {\"required\": "
		"[\"a\"]}}, \"c\": {\"not\": {\"required\": [\"a\"]}}}, \"required\": [\"d\"], "
		"\"minProperties\": 2}",
		"");
}

static void
what_has_no_end_is_known(void **state)
{
	(void) state;
	assert_has_none("false");
	assert_has_none("{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"integer\"}]}");
	assert_has_none("{\"type\": \"integer\", \"minimum\": 3, \"maximum\": 2}");
	assert_has_none(
		"{\"type\": \"object\", \"required\": [\"a\"], \"properties\": {\"a\": false}}");
	assert_has_none("{\"type\": \"object\", \"required\": [\"a\"], \"properties\": {\"a\": "
					"{\"$ref\": \"#\"}}}");
	assert_has_none("{\"type\": \"array\", \"minItems\": 3, \"uniqueItems\": true, \"items\": "
					"{\"enum\": [1, 2]}}");
	assert_has_none("{\"type\": \"string\", \"minLength\": 1000000000}");
	assert_has_none(
		"{\"type\": \"object\", \"required\": [\"a\", \"b\"], \"oneOf\": [{\"required\": [\"a\"]}, "
		"{\"required\": [\"b\"]}]}");
	reader_open("{\"const\": \"abc\"}", GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_null(reader_end(2));
	assert_non_null(reader_end(1000));
}

/* Nothing recurses by the length of an answer. */
static void
long_ends_are_found(void **state)
{
	glm_buf		schema = {0};
	const char *end;

	(void) state;
	glm_buf_puts(&schema, "{\"type\": \"object\", \"required\": [");
	for (int i = 0; i < 2000; i++)
	{
		char name[32];

		snprintf(name, sizeof(name), "%s\"name%d\"", i > 0 ? ", " : "", i);
		glm_buf_puts(&schema, name);
	}
	glm_buf_puts(&schema, "]}");
	assert_false(schema.failed);
	reader_open(schema.data, GLM_ORDER_STRICT, GLM_SPACE_EXACT);
	end = reader_end(STEPS);
	assert_non_null(end);
	assert_int_equal(strncmp(end, "{\"name0\": 0, \"name1\": 0, ", 24), 0);
	assert_non_null(strstr(end, "\"name1999\": 0}"));
	glm_buf_free(&schema);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(whatever_was_begun_ends, reader_teardown),
		cmocka_unit_test_teardown(values_are_what_is_asked, reader_teardown),
		cmocka_unit_test_teardown(containers_are_filled, reader_teardown),
		cmocka_unit_test_teardown(branches_are_chosen_as_a_whole, reader_teardown),
		cmocka_unit_test_teardown(what_has_no_end_is_known, reader_teardown),
		cmocka_unit_test_teardown(long_ends_are_found, reader_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
