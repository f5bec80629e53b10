/*
 * test_json_step.c - JSON itself, as answers may have it: numbers, strings, white space,
 * depth, keys that come twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "readers.h"
#include "engine/constrain/json_machine.h"

#define CASES(cases) cases, sizeof(cases) / sizeof((cases)[0])

static void
values_are_read(void **state)
{
	static const reader_case cases[] = {
		{"true",
		 {"null", "true", "false", "0", "\"\"", "[]", "{}", "[[], {}, \"a\", -1.5e+3, null]",
		  "{\"a\": {\"b\": [1, 2]}, \"c\": \"d\"}"},
		 {"", "nul", "nulll", "[", "[1", "{\"a\"}", "{\"a\": }", "[1 2]", "[1, ]", "{, }", "1 2",
		  "'a'"}},
		{"{}",
		 {"0", "-0", "12", "-7", "0.5", "10.25", "1e5", "1E-5", "1.5e+10", "120000e3"},
		 {"-", "01", "1.", ".5", "+1", "1e", "1e+", "--1", "0x1", "1.5.2", "1e5.5", "Infinity"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_cases(CASES(cases), GLM_ORDER_STRICT, GLM_SPACE_EXACT);
}

/* What jsonb or a double could not hold. */
static void
numbers_have_limits(void **state)
{
	(void) state;
	assert_stops("{}", "1e300", -1);
	assert_stops("{}", "1e1000", 5);
	assert_stops("{}", "1.7976931348623157e308", -1);
	assert_stops("{}", "-0.5e320", 7);
	assert_stops("{\"not\": {\"maximum\": 5}}", "1e309", 4);
	assert_stops("{}", "1.5e-652", 7);
	assert_stops("{}", "1e0001", -1);
	assert_stops("{}", "123456789012345678901234567890123456", -1);
	assert_stops("{}", "1234567890123456789012345678901234567", 36);
}

static void
strings_are_written_in_one_way(void **state)
{
	static const reader_case cases[] = {
		{"{}",
		 {"\"\\\"\\\\\\b\\f\\n\\r\\t\"", "\"\\u0001\\u001f\"", "\"/ \x7f\"", "\"\xc3\xa9\"",
		  "\"\xe4\xb8\xad\xf0\x9f\x98\x80\"", "\"\xf4\x8f\xbf\xbf\""},
		 {"\"\\/\"", "\"\\u0041\"", "\"\\u000a\"", "\"\\u001F\"", "\"\\u0000\"", "\"\\ud83d\"",
		  "\"\\x41\"", "\"\n\"", "\"\t\""}},
		/* UTF-8 that is none: overlong, a surrogate, past the last character, cut short */
		{"{}",
		 {"\"\xed\x9f\xbf\"", "\"\xe0\xa0\x80\"", "\"\xf0\x90\x80\x80\""},
		 {"\"\xc0\x80\"", "\"\xc1\xbf\"", "\"\xe0\x9f\xbf\"", "\"\xed\xa0\x80\"",
		  "\"\xf0\x8f\xbf\xbf\"", "\"\xf4\x90\x80\x80\"", "\"\xf5\x80\x80\x80\"", "\"\x80\"",
		  "\"\xc3\"", "\"\xe4\xb8\"", "\"\xff\""}},
		/* escapes are refused as soon as they can lead to nothing */
		{"{\"pattern\": \"^[a-z]*$\"}", {"\"abc\""}, {"\"a\\", "\"\\n"}},
		{"{\"enum\": [\"a\\\"b\", \"\\u0001\"]}",
		 {"\"a\\\"b\"", "\"\\u0001\""},
		 {"\"a\\n", "\"\\u001", "\"\\u0002\""}},
		{"{\"properties\": {\"a\\\\b\": {\"type\": \"null\"}}, \"additionalProperties\": false}",
		 {"{\"a\\\\b\": null}"},
		 {"{\"a\\\\b\": 1}", "{\"a\\n", "{\"\\"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_stops("{\"additionalProperties\": false}", "{\"", 1);
	assert_stops("{\"pattern\": \"^[a-z]*$\"}", "\"a\\", 2);
}

static void
white_space_is_as_asked(void **state)
{
	static const char *const schema = "{\"type\": [\"object\", \"array\"]}";
	static const reader_case exact[] = {
		{"",
		 {"{\"a\": [1, 2], \"b\": {}}"},
		 {"{\"a\":1}", "{\"a\":  1}", "[1,2]", "[1, 2 ]", "[ ]", "{ }", "{\"a\" : 1}", " []", "[] ",
		  "[1,\n2]", "{\"a\": 1,\"b\": 2}"}}};
	static const reader_case compact[] = {
		{"",
		 {"{\"a\":[1,2],\"b\":{}}"},
		 {"{\"a\": 1}", "[1, 2]", "[ ]", " []", "{\"a\":1, \"b\":2}"}}};
	static const reader_case any[] = {
		{"",
		 {"{\"a\":[1,2],\"b\":{}}", "{\"a\": [1, 2], \"b\": {}}", "{\n\t\"a\" : [ 1 , 2 ]\r\n}",
		  "[ ]", "{ }", "[1\n]"},
		 {" []", "[] ", "[1 2]", "[tr ue]", "[1. 5]", "[\v1]", "[                     1]"}}};
	const reader_case *cases[] = {exact, compact, any};
	glm_json_space	   spaces[] = {GLM_SPACE_EXACT, GLM_SPACE_COMPACT, GLM_SPACE_ANY};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		reader_case one = *cases[i];

		one.schema = schema;
		assert_cases(&one, 1, GLM_ORDER_ANY, spaces[i]);
	}
}

/* Where nothing but known names may come, and between values, most bytes are out at once. */
static void
few_bytes_have_to_be_tried(void **state)
{
	const char *closed = "{\"properties\": {\"name\": true, \"note\": true, \"\\n\": true}, "
						 "\"additionalProperties\": false}";

	(void) state;
	reader_open(closed, GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_true(reader_untold() < 40);
	assert_true(reader_goes_on("{\""));
	assert_int_equal(reader_untold(), 3);
	assert_true(reader_goes_on("na"));
	assert_int_equal(reader_untold(), 2);
	assert_true(reader_goes_on("me\": n"));
	assert_true(reader_untold() < 10);
	assert_true(reader_goes_on("ull"));
	assert_true(reader_untold() < 40);
	assert_true(reader_goes_on(", \"note\": \""));
	assert_int_equal(reader_untold(), 256);
	reader_open("{\"properties\": {\"name\": true}}", GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_true(reader_goes_on("{\""));
	assert_int_equal(reader_untold(), 256);
}

static void
keys_come_once(void **state)
{
	static const reader_case cases[] = {
		{"{}", {"{\"a\": 1, \"b\": 2}"}, {"{\"a\": 1, \"a\": 1}", "{\"\": 1, \"\": 2}"}},
		{"{\"properties\": {\"a\": {}}, \"required\": [\"b\"]}",
		 {"{\"a\": 1, \"b\": 2}"},
		 {"{\"a\": 1, \"a\": 2, \"b\": 3}", "{\"b\": 1, \"b\": 2}",
		  "{\"a\": 1, \"b\": 2, \"c\": 3, \"c\": 4}"}},
		/* also where no member is open any more */
		{"{\"anyOf\": [{\"required\": [\"a\"]}]}", {"{\"a\": 1}"}, {"{\"a\": 1, \"a\": 2}"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_cases(CASES(cases), GLM_ORDER_STRICT, GLM_SPACE_EXACT);
}

static void
depth_has_a_limit(void **state)
{
	char text[GLM_JSON_DEPTH + 2];

	(void) state;
	memset(text, '[', GLM_JSON_DEPTH + 1);
	text[GLM_JSON_DEPTH + 1] = '\0';
	assert_stops("{}", text, GLM_JSON_DEPTH);
	assert_stops("{\"items\": {\"$ref\": \"#\"}}", text, GLM_JSON_DEPTH);
}

/* So many subschemas may apply to one value, and no more. */
static void
subschemas_have_a_limit(void **state)
{
	glm_buf schema = {0};

	(void) state;
	glm_buf_puts(&schema, "{\"items\": {\"anyOf\": [{}");
	for (int i = 1; i < GLM_SET_MEMBERS; i++)
		glm_buf_puts(&schema, ", {\"maximum\": 1}");
	glm_buf_puts(&schema, "]}}");
	assert_false(schema.failed);
	assert_escapes(schema.data, "[1", GLM_TOO_COMPLEX, "subschemas apply to one value at /items");
	glm_buf_free(&schema);
}

/* A text may be left at any byte, and the state is a value. */
static void
states_are_values(void **state)
{
	(void) state;
	reader_open("{\"properties\": {\"a\": {\"enum\": [\"xy\", \"xz\"]}}, \"required\": [\"a\"]}",
				GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_int_equal(reader_reads("{\"a\": \"x"), 8);
	assert_true(reader_goes_on("z"));
	assert_false(reader_goes_on("z"));
	assert_int_equal(reader_reads("{\"a\": \"xy\"}"), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(values_are_read, reader_teardown),
		cmocka_unit_test_teardown(numbers_have_limits, reader_teardown),
		cmocka_unit_test_teardown(strings_are_written_in_one_way, reader_teardown),
		cmocka_unit_test_teardown(white_space_is_as_asked, reader_teardown),
		cmocka_unit_test_teardown(few_bytes_have_to_be_tried, reader_teardown),
		cmocka_unit_test_teardown(keys_come_once, reader_teardown),
		cmocka_unit_test_teardown(depth_has_a_limit, reader_teardown),
		cmocka_unit_test_teardown(subschemas_have_a_limit, reader_teardown),
		cmocka_unit_test_teardown(states_are_values, reader_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
