/*
 * test_json_keywords.c - each keyword beside the reader: what is valid is read, what is not
 * is refused somewhere, and what can be seen early is refused early.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "readers.h"

#define D4 "\"$schema\": \"http://json-schema.org/draft-04/schema#\", "
#define CASES(cases) cases, sizeof(cases) / sizeof((cases)[0])

/* In both orders: no case depends on it. */
static void
assert_both(const reader_case *cases, size_t n)
{
	assert_cases(cases, n, GLM_ORDER_ANY, GLM_SPACE_EXACT);
	assert_cases(cases, n, GLM_ORDER_STRICT, GLM_SPACE_EXACT);
}

static void
types_and_enums(void **state)
{
	static const reader_case cases[] = {
		{"false", {NULL}, {"0", "\"\"", "null", "true", "[]", "{}"}},
		{"{\"type\": \"integer\"}", {"0", "-12"}, {"1.0", "1e3", "0.5", "\"1\"", "true"}},
		{"{\"type\": [\"integer\", \"number\"]}", {"1.5", "2"}, {"null"}},
		{"{\"type\": [\"string\", \"null\"]}", {"\"a\"", "null"}, {"0", "false", "{}"}},
		{"{\"type\": \"boolean\"}", {"true", "false"}, {"null", "0"}},
		{"{\"const\": true}", {"true"}, {"false", "1"}},
		{"{\"enum\": [1, \"a\", null, 2.5]}",
		 {"1", "1.0", "\"a\"", "null", "2.5"},
		 {"2", "1.5", "2.50001", "\"b\"", "\"\"", "true", "12", "-1"}},
		{"{\"enum\": [{\"a\": 1, \"b\": [2]}, [3]]}",
		 {"{\"a\": 1, \"b\": [2]}", "[3]"},
		 {"{\"a\": 1}", "{\"a\": 1, \"b\": [2], \"c\": 3}", "[]", "[3, 3]", "3", "{}"}},
		{"{\"type\": \"integer\", \"enum\": [1, 1.5]}", {"1"}, {"1.5", "1.0"}},
	};

	(void) state;
	assert_both(CASES(cases));
	assert_stops("{\"enum\": [\"abc\", \"abd\"]}", "\"abx", 3);
	assert_stops("{\"enum\": [12, 345]}", "13", 1);
}

static void
numbers(void **state)
{
	static const reader_case cases[] = {
		/* what a double would round to something else is neither */
		{"{\"oneOf\": [{\"type\": \"integer\"}, {\"minimum\": 2}]}",
		 {"1", "2.5", "2.000000000000001"},
		 {"2", "426176837827883747.3e0", "2.00000000000000000001"}},
		{"{\"exclusiveMaximum\": 1}",
		 {"0.1", "0.30000000000000004"},
		 {"0.99999999999999999999", "1"}},
		{"{\"type\": \"number\", \"not\": {\"minimum\": 0, \"maximum\": 0}}",
		 {"1e-299"},
		 {"0", "1e-390"}},
		{"{\"maximum\": 0.1}",
		 {"0.1", "0.1000", "0.09999999999999999"},
		 {"0.10000000000000000001"}},
		{"{\"minimum\": 5, \"maximum\": 100}",
		 {"5", "99.5", "100", "1e1", "\"x\""},
		 {"4", "4.99", "101", "-5", "1e3", "0"}},
		{"{\"exclusiveMinimum\": 0, \"exclusiveMaximum\": 1}", {"0.5", "0.001"}, {"0", "1", "0.0"}},
		{"{" D4 "\"minimum\": 1, \"exclusiveMinimum\": true}", {"1.5", "2"}, {"1"}},
		{"{\"type\": \"integer\", \"minimum\": -3, \"maximum\": -1}",
		 {"-3", "-1"},
		 {"-4", "0", "1"}},
		{"{\"type\": \"integer\", \"multipleOf\": 7}", {"0", "7", "-14"}, {"1", "8"}},
		{"{\"multipleOf\": 0.01}", {"19.99", "0.1", "5"}, {"0.001", "1.005"}},
		{"{\"maximum\": 9223372036854775807}", {"9223372036854775807"}, {"9223372036854775808"}},
		{"{\"not\": {\"multipleOf\": 3}}", {"1", "2.5"}, {"3", "0", "-9", "\"a\""}},
		/* drafts differ on whether 1.0 is an integer: neither way round is it written */
		{"{\"not\": {\"type\": \"integer\"}}", {"1.5", "\"a\""}, {"1", "1.0", "1e2"}},
		/* 0 as a double */
		{"{\"not\": {\"const\": 0}}", {"1e-300", "-0.5"}, {"1e-390", "-2.5e-330", "0e-2"}},
		/* nor what is one as a double */
		{"{\"not\": {\"type\": \"integer\"}}",
		 {"4503599627370495.5", "1.5707963267948966"},
		 {"9007199254740993.5", "3.00000000000000000001", "256.44556800892749567e14"}},
		/* many validators could not tell */
		{"{\"not\": {\"multipleOf\": 3}}", {"100000000000001"}, {"10000000000000001"}},
	};

	(void) state;
	assert_both(CASES(cases));
	assert_stops("{\"minimum\": 5, \"maximum\": 100}", "101", 2);
	assert_stops("{\"minimum\": 50, \"maximum\": 59}", "4", 0);
	assert_stops("{\"type\": \"integer\"}", "1.0", 1);
}

static void
strings(void **state)
{
	static const reader_case cases[] = {
		{"{\"minLength\": 2, \"maxLength\": 3}",
		 {"\"ab\"", "\"\xf0\x9f\x98\x80\xc3\xa9z\"", "\"a\\n\"", "5"},
		 {"\"a\"", "\"abcd\"", "\"\\n\""}},
		{"{\"pattern\": \"b+\"}", {"\"abba\"", "\"b\""}, {"\"\"", "\"acc\""}},
		{"{\"pattern\": \"^a|b$\"}", {"\"ax\"", "\"xb\""}, {"\"xa\"", "\"bx\""}},
		{"{\"pattern\": \"^(?=.*[0-9])(?!bad)[a-z0-9]{3,}$\"}",
		 {"\"abc1\"", "\"ba1\""},
		 {"\"abcd\"", "\"bad1\"", "\"a1\""}},
		{"{\"pattern\": \"^\\\"$\"}", {"\"\\\"\""}, {"\"\\\\\""}},
		{"{\"format\": \"date\"}", {"\"2024-02-29\""}, {"\"2023-02-29\"", "\"x\""}},
		{"{\"format\": \"of my own\"}", {"\"x\""}, {NULL}},
		{"{\"allOf\": [{\"pattern\": \"a\"}, {\"pattern\": \"b\"}, {\"maxLength\": 2}]}",
		 {"\"ab\"", "\"ba\""},
		 {"\"a\"", "\"aab\"", "\"cc\""}},
		{"{\"not\": {\"pattern\": \"^a\"}}", {"\"ba\"", "\"\""}, {"\"a\"", "\"ab\"", "1"}},
		{"{\"anyOf\": [{\"maxLength\": 1}, {\"pattern\": \"^ab*$\"}]}",
		 {"\"x\"", "\"abbb\""},
		 {"\"xy\"", "\"abx\""}},
	};

	(void) state;
	assert_both(CASES(cases));
	assert_stops("{\"maxLength\": 2}", "\"abc", 3);
	assert_stops("{\"pattern\": \"^ab$\"}", "\"ac", 2);
	/* three more are needed, two are left */
	assert_stops("{\"pattern\": \"[0-9]{3}$\", \"maxLength\": 4}", "\"xy", 2);
	assert_stops("{\"not\": {\"pattern\": \"^a\"}}", "\"a", 1);
	assert_stops("{\"anyOf\": [{\"maxLength\": 3}, {\"maxLength\": 1}]}", "\"abcd", 4);
}

static void
arrays(void **state)
{
	static const reader_case cases[] = {
		{"{\"items\": {\"type\": \"number\"}, \"minItems\": 1, \"maxItems\": 2}",
		 {"[1]", "[1, 2]", "{}"},
		 {"[]", "[1, 2, 3]", "[\"a\"]"}},
		{"{\"prefixItems\": [{\"type\": \"null\"}, {\"type\": \"string\"}], \"items\": false}",
		 {"[]", "[null]", "[null, \"a\"]"},
		 {"[1]", "[null, 1]", "[null, \"a\", 1]"}},
		{"{" D4 "\"items\": [{\"type\": \"null\"}], \"additionalItems\": {\"type\": \"number\"}}",
		 {"[null, 1, 2]"},
		 {"[1]", "[null, null]"}},
		{"{\"contains\": {\"const\": 5}, \"minContains\": 2, \"maxContains\": 3}",
		 {"[5, 5]", "[1, 5, 2, 5, 5]"},
		 {"[]", "[5]", "[5, 5, 5, 5]", "[1, 2]"}},
		{"{\"contains\": {\"const\": 5}, \"minContains\": 0}", {"[]", "[1]"}, {NULL}},
		{"{\"not\": {\"contains\": {\"type\": \"string\"}}}",
		 {"[]", "[1, 2]"},
		 {"[\"a\"]", "[1, \"\"]"}},
		{"{\"items\": {\"$ref\": \"#\"}, \"type\": \"array\"}",
		 {"[]", "[[[], []]]"},
		 {"[1]", "[[1]]"}},
	};

	(void) state;
	assert_both(CASES(cases));
	assert_stops("{\"maxItems\": 2}", "[1, 2,", 5);
	assert_stops("{\"prefixItems\": [{}], \"items\": false}", "[1,", 2);
	assert_stops("{\"maxItems\": 0}", "[1", 1);
	assert_stops("{\"contains\": {\"const\": 5}, \"maxContains\": 1}", "[5, 5]", 5);
}

/* By value, however it is written. */
static void
items_that_are_unique(void **state)
{
	static const reader_case cases[] = {
		{"{\"uniqueItems\": true}",
		 {"[]", "[1, 2, \"1\", true, null, [], {}]", "[[1, 2], [2, 1]]", "[\"\", []]",
		  "[0, false, \"0\", \"\", null]", "[{\"a\": 1}, {\"a\": 2}, {\"b\": 1}]", "[[1], [[1]]]",
		  "[[[], 1], [[1]], [[], []]]", "[\"ab\", [\"a\", \"b\"], \"a\", \"b\"]"},
		 {"[1, 1]", "[1, 1.0]", "[100, 1e2]", "[0, -0]", "[\"a\", \"a\"]", "[[], []]",
		  "[{\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1.0}]", "[[1, [2]], 3, [1.0, [2]]]", "[{}, {}]",
		  "[null, 1, null]", "[0.50, 5e-1]"}},
		{"{\"items\": {\"uniqueItems\": true}}", {"[[1], [1]]", "[[1, 2]]"}, {"[[1, 1]]"}},
		{"{\"properties\": {\"a\": {\"uniqueItems\": true}}}",
		 {"{\"a\": [1], \"b\": [1, 1]}"},
		 {"{\"a\": [1, 1]}"}},
		/* what is unique here may come twice there */
		{"{\"anyOf\": [{\"uniqueItems\": true}, {\"maxItems\": 2}]}",
		 {"[1, 1]", "[1, 2, 3]"},
		 {"[1, 1, 2]"}},
		{"{\"not\": {\"uniqueItems\": true}}", {"[1, 1]", "[1, 2, 1.0]"}, {"[]", "[1, 2]"}},
	};

	(void) state;
	assert_both(CASES(cases));
}

static void
objects(void **state)
{
	static const reader_case cases[] = {
		{"{\"properties\": {\"a\": {\"type\": \"null\"}}, \"required\": [\"a\"]}",
		 {"{\"a\": null}", "{\"a\": null, \"b\": 1}", "[]"},
		 {"{}", "{\"a\": 1}", "{\"b\": 1}"}},
		{"{\"properties\": {\"a\": {}}, \"additionalProperties\": {\"type\": \"string\"}}",
		 {"{\"a\": 1, \"b\": \"\"}", "{\"ab\": \"\"}"},
		 {"{\"a\": 1, \"b\": 1}", "{\"\": 1}"}},
		{"{\"properties\": {\"ab\": {}, \"ac\": {}}, \"additionalProperties\": false}",
		 {"{}", "{\"ab\": 1, \"ac\": 2}"},
		 {"{\"a\": 1}", "{\"abc\": 1}", "{\"ad\": 1}"}},
		{"{\"required\": [\"b\"], \"additionalProperties\": {\"type\": \"null\"}}",
		 {"{\"b\": null}"},
		 {"{\"b\": 1}", "{\"a\": null}"}},
		{"{\"patternProperties\": {\"^x\": {\"type\": \"null\"}, \"y$\": {\"type\": [\"null\", "
		 "\"number\"]}}, \"additionalProperties\": false}",
		 {"{\"x\": null, \"y\": 1, \"xy\": null}"},
		 {"{\"x\": 1}", "{\"xy\": 1}", "{\"z\": 1}", "{\"y\": \"\"}"}},
		{"{\"properties\": {\"xa\": {\"maximum\": 5}}, \"patternProperties\": {\"^x\": {\"type\": "
		 "\"integer\"}}}",
		 {"{\"xa\": 5, \"b\": \"\"}"},
		 {"{\"xa\": 6}", "{\"xa\": null}", "{\"xb\": null}"}},
		{"{\"patternProperties\": {\"^a\": false}}",
		 {"{\"b\": 1}", "{}"},
		 {"{\"a\": 1}", "{\"ab\": 1}"}},
		{"{\"minProperties\": 1, \"maxProperties\": 2}",
		 {"{\"a\": 1}", "{\"a\": 1, \"b\": 2}"},
		 {"{}", "{\"a\": 1, \"b\": 2, \"c\": 3}"}},
		{"{\"propertyNames\": {\"pattern\": \"^[a-c]\", \"maxLength\": 2}, \"properties\": "
		 "{\"ab\": {}, "
		 "\"x\": {}}}",
		 {"{\"ab\": 1}", "{\"c\": 1}", "{}"},
		 {"{\"x\": 1}", "{\"abc\": 1}", "{\"\": 1}"}},
		{"{\"propertyNames\": false}", {"{}", "[]"}, {"{\"a\": 1}"}},
		{"{\"propertyNames\": {\"enum\": [\"a\", \"b\"]}}",
		 {"{\"a\": 1, \"b\": 2}"},
		 {"{\"c\": 1}"}},
	};

	(void) state;
	assert_both(CASES(cases));
	assert_stops("{\"properties\": {\"ab\": {}}, \"additionalProperties\": false}", "{\"b", 2);
	assert_stops("{\"propertyNames\": {\"maxLength\": 1}}", "{\"ab", 3);
	assert_stops("{\"propertyNames\": false}", "{\"", 1);
	assert_stops("{\"maxProperties\": 1}", "{\"a\": 1,", 7);
	/* the place of the one that is required is not taken by another */
	assert_stops("{\"required\": [\"a\"], \"maxProperties\": 1}", "{\"b", 2);
	assert_stops("{\"patternProperties\": {\"^a\": false}}", "{\"a", 2);
}

static void
dependencies(void **state)
{
	static const reader_case cases[] = {
		{"{\"dependentRequired\": {\"a\": [\"b\", \"c\"]}}",
		 {"{}", "{\"b\": 1}", "{\"a\": 1, \"b\": 2, \"c\": 3}"},
		 {"{\"a\": 1}", "{\"a\": 1, \"b\": 2}"}},
		{"{\"dependentSchemas\": {\"a\": {\"properties\": {\"b\": {\"type\": \"null\"}}, "
		 "\"required\": "
		 "[\"b\"]}}}",
		 {"{}", "{\"b\": 1}", "{\"a\": 1, \"b\": null}"},
		 {"{\"a\": 1}", "{\"a\": 1, \"b\": 1}"}},
		{"{" D4 "\"dependencies\": {\"a\": [\"b\"], \"c\": {\"minProperties\": 3}}}",
		 {"{\"a\": 1, \"b\": 2}", "{\"c\": 1, \"b\": 2, \"d\": 3}"},
		 {"{\"a\": 1}", "{\"c\": 1}", "{\"c\": 1, \"b\": 2}"}},
		{"{\"not\": {\"dependentRequired\": {\"a\": [\"b\"]}}}",
		 {"{\"a\": 1}"},
		 {"{}", "{\"a\": 1, \"b\": 2}"}},
		{"{\"dependentSchemas\": {\"a\": false}}", {"{\"b\": 1}"}, {"{\"a\": 1}"}},
	};

	(void) state;
	assert_both(CASES(cases));
	/* it is seen before the value */
	assert_stops("{\"dependentSchemas\": {\"a\": false}}", "{\"a\"", 3);
}

static void
combinators(void **state)
{
	static const reader_case cases[] = {
		{"{\"allOf\": [{\"minimum\": 2}, {\"maximum\": 4}]}", {"3"}, {"1", "5"}},
		{"{\"anyOf\": [{\"type\": \"null\"}, {\"minimum\": 4}]}", {"null", "5", "\"\""}, {"3"}},
		{"{\"oneOf\": [{\"minimum\": 2}, {\"maximum\": 4}]}", {"1", "5"}, {"3", "\"\""}},
		{"{\"not\": {\"not\": {\"type\": \"null\"}}}", {"null"}, {"1"}},
		{"{\"not\": {\"required\": [\"a\"]}}", {"{}", "{\"b\": 1}"}, {"{\"a\": 1}", "[]"}},
		{"{\"if\": {\"minimum\": 10}, \"then\": {\"multipleOf\": 10}, \"else\": {\"multipleOf\": "
		 "3}}",
		 {"10", "20", "9"},
		 {"11", "8", "10.5"}},
		{"{\"then\": false}", {"1"}, {NULL}},
		{"{\"if\": false, \"else\": {\"type\": \"null\"}}", {"null"}, {"1"}},
		{"{\"if\": {\"properties\": {\"k\": {\"const\": \"a\"}}, \"required\": [\"k\"]}, \"then\": "
		 "{\"required\": [\"x\"]}}",
		 {"{\"k\": \"a\", \"x\": 1}", "{\"k\": \"b\"}", "{}"},
		 {"{\"k\": \"a\"}"}},
		{"{\"oneOf\": [{\"properties\": {\"k\": {\"const\": \"a\"}, \"x\": {\"type\": \"null\"}}, "
		 "\"required\": "
		 "[\"k\", \"x\"]}, {\"properties\": {\"k\": {\"const\": \"b\"}, \"x\": {\"type\": "
		 "\"number\"}}, "
		 "\"required\": [\"k\", \"x\"]}]}",
		 {"{\"k\": \"a\", \"x\": null}", "{\"k\": \"b\", \"x\": 1}"},
		 {"{\"k\": \"a\", \"x\": 1}", "{\"k\": \"b\", \"x\": null}",
		  "{\"k\": \"c\", \"x\": null}"}},
		{"{\"anyOf\": [{\"properties\": {\"a\": {\"properties\": {\"b\": {\"const\": 1}}}}}, "
		 "{\"properties\": {\"a\": {\"properties\": {\"b\": {\"const\": 2}}}}}]}",
		 {"{\"a\": {\"b\": 1}}", "{\"a\": {\"b\": 2}}", "{\"a\": {}}"},
		 {"{\"a\": {\"b\": 3}}"}},
		{"{\"not\": {\"propertyNames\": {\"not\": {\"const\": \"a\"}}}}",
		 {"{\"a\": 1}", "{\"b\": 1, \"a\": 2}"},
		 {"{}", "{\"b\": 1}"}},
	};

	(void) state;
	assert_both(CASES(cases));
	assert_stops("{\"not\": {\"required\": [\"a\"]}, \"type\": \"object\"}", "{\"a\"", 3);
	assert_stops("{\"oneOf\": [{\"const\": \"a\"}, {\"const\": \"b\"}]}", "\"c", 1);
	/* no other is left to hold */
	assert_stops(
		"{\"anyOf\": [{\"properties\": {\"a\": {\"type\": \"null\"}}, \"required\": [\"b\"], "
		"\"additionalProperties\": false}, {\"type\": \"null\"}]}",
		"{\"a\": 1", 6);
}

/* The same schemas apply in two places, but one place needs all of them and the other one. */
static void
places_do_not_mix(void **state)
{
	static const reader_case cases[] = {
		{"{\"$defs\": {\"p\": {\"required\": [\"a\"], \"properties\": {\"a\": {}}, "
		 "\"additionalProperties\": "
		 "false}, \"q\": {\"required\": [\"b\"], \"properties\": {\"b\": {}}, "
		 "\"additionalProperties\": "
		 "{\"type\": \"null\"}}}, \"properties\": {\"all\": {\"allOf\": [{\"$ref\": "
		 "\"#/$defs/p\"}, {\"$ref\": "
		 "\"#/$defs/q\"}]}}, \"anyOf\": [{\"properties\": {\"some\": {\"$ref\": \"#/$defs/p\"}}}, "
		 "{\"properties\": {\"some\": {\"$ref\": \"#/$defs/q\"}}}]}",
		 {"{\"some\": {\"a\": 1}}", "{\"some\": {\"b\": 1}}", "{\"all\": 1, \"some\": {\"b\": 1}}"},
		 {"{\"all\": {\"a\": 1}, \"some\": 1}", "{\"all\": {\"b\": 1}}",
		  "{\"some\": {\"c\": null}}"}},
		{"{\"$defs\": {\"p\": {\"properties\": {\"a\": {\"type\": \"null\"}}}, \"q\": "
		 "{\"properties\": {\"a\": "
		 "{\"type\": \"number\"}}}}, \"allOf\": [{\"properties\": {\"x\": {\"$ref\": "
		 "\"#/$defs/p\"}}}, "
		 "{\"properties\": {\"x\": {\"$ref\": \"#/$defs/q\"}}}], \"properties\": {\"y\": "
		 "{\"items\": "
		 "{\"anyOf\": [{\"$ref\": \"#/$defs/p\"}, {\"$ref\": \"#/$defs/q\"}]}}}}",
		 {"{\"y\": [{\"a\": 1}, {\"a\": null}]}", "{\"x\": {\"b\": 1}, \"y\": [{\"a\": 1}]}"},
		 {"{\"x\": {\"a\": 1}}", "{\"x\": {\"a\": null}}", "{\"y\": [{\"a\": \"\"}]}"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_ANY, GLM_SPACE_EXACT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(types_and_enums, reader_teardown),
		cmocka_unit_test_teardown(numbers, reader_teardown),
		cmocka_unit_test_teardown(strings, reader_teardown),
		cmocka_unit_test_teardown(arrays, reader_teardown),
		cmocka_unit_test_teardown(items_that_are_unique, reader_teardown),
		cmocka_unit_test_teardown(objects, reader_teardown),
		cmocka_unit_test_teardown(dependencies, reader_teardown),
		cmocka_unit_test_teardown(combinators, reader_teardown),
		cmocka_unit_test_teardown(places_do_not_mix, reader_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
