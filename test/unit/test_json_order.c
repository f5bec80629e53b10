/*
 * test_json_order.c - the order of keys: strict is that of the schema, by each subschema
 * that still matters, and never lets anything pass that is not valid.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "readers.h"

#define CASES(cases) cases, sizeof(cases) / sizeof((cases)[0])

static void
properties_come_in_order(void **state)
{
	static const reader_case cases[] = {
		{"{\"properties\": {\"b\": {}, \"a\": {}, \"c\": {}}}",
		 {"{\"b\": 1, \"a\": 2, \"c\": 3}", "{\"a\": 1}",
		  "{\"b\": 1, \"c\": 2, \"x\": 3, \"y\": 4}"},
		 {"{\"a\": 1, \"b\": 2}", "{\"c\": 1, \"a\": 2}", "{\"x\": 1, \"a\": 2}"}},
		/* names that are only required come behind those with properties, in their order */
		{"{\"properties\": {\"b\": {}}, \"required\": [\"d\", \"c\", \"b\"]}",
		 {"{\"b\": 1, \"d\": 2, \"c\": 3}", "{\"b\": 1, \"d\": 2, \"c\": 3, \"x\": 4}"},
		 {"{\"d\": 1, \"b\": 2, \"c\": 3}", "{\"b\": 1, \"c\": 2, \"d\": 3}",
		  "{\"b\": 1, \"x\": 2, \"d\": 3, \"c\": 4}"}},
		{"{\"$ref\": \"#/$defs/o\", \"$defs\": {\"o\": {\"properties\": {\"b\": {}, \"a\": {}}}}}",
		 {"{\"b\": 1, \"a\": 2}"},
		 {"{\"a\": 1, \"b\": 2}"}},
		{"{\"patternProperties\": {\"^x\": {}}, \"properties\": {\"a\": {}}}",
		 {"{\"a\": 1, \"x\": 2, \"y\": 3}"},
		 {"{\"x\": 1, \"a\": 2}"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_STRICT, GLM_SPACE_EXACT);
}

/* What is required and can come no more is seen as missing at once. */
static void
what_is_too_late_is_refused_early(void **state)
{
	(void) state;
	reader_open("{\"properties\": {\"a\": {}, \"b\": {}}, \"required\": [\"a\"]}", GLM_ORDER_STRICT,
				GLM_SPACE_EXACT);
	assert_int_equal(reader_reads("{\"b"), 2);
	assert_int_equal(reader_reads("{\"x"), 2);
	reader_open("{\"properties\": {\"a\": {}, \"b\": {}}, \"dependentRequired\": {\"b\": [\"a\"]}}",
				GLM_ORDER_STRICT, GLM_SPACE_EXACT);
	assert_int_equal(reader_reads("{\"b\""), 3);
	assert_int_equal(reader_reads("{\"a\": 1, \"b\": 2}"), -1);
}

static void
each_branch_has_its_order(void **state)
{
	static const reader_case cases[] = {
		{"{\"anyOf\": [{\"properties\": {\"a\": {}, \"b\": {}}, \"required\": [\"a\", \"b\"], "
		 "\"additionalProperties\": false}, {\"properties\": {\"b\": {}, \"a\": {}, \"c\": {}}, "
		 "\"required\": [\"c\"], \"additionalProperties\": false}]}",
		 {"{\"a\": 1, \"b\": 2}", "{\"b\": 1, \"a\": 2, \"c\": 3}", "{\"a\": 1, \"c\": 2}"},
		 {"{\"c\": 1, \"a\": 2}", "{\"a\": 1, \"b\": 2, \"c\": 3, \"d\": 4}"}},
		{"{\"allOf\": [{\"properties\": {\"a\": {}, \"b\": {}}}, {\"properties\": {\"c\": {}, "
		 "\"d\": {}}}]}",
		 {"{\"a\": 1, \"c\": 2, \"b\": 3, \"d\": 4}", "{\"c\": 1, \"a\": 2}"},
		 {"{\"b\": 1, \"a\": 2}", "{\"d\": 1, \"a\": 2, \"c\": 3}"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_STRICT, GLM_SPACE_EXACT);
}

/*
 * A name that the order forbids counts as missing for good.  Here c comes too late for
 * the first branch, which holds the `not`, and must not be let in when that branch has
 * failed and only others are left.
 */
static void
what_was_missing_stays_missing(void **state)
{
	static const reader_case cases[] = {
		{"{\"not\": {\"required\": [\"c\"]}, \"anyOf\": [{\"properties\": {\"c\": {}, \"d\": "
		 "{\"type\": "
		 "\"null\"}}}, {\"properties\": {\"e\": {\"type\": \"null\"}}}]}",
		 {"{\"d\": 1}", "{\"d\": 1, \"e\": null}"},
		 {"{\"d\": 1, \"c\": 2}", "{\"d\": null, \"c\": 2}", "{\"c\": 2}",
		  "{\"d\": 1, \"e\": null, \"c\": 2}"}},
	};

	(void) state;
	assert_cases(CASES(cases), GLM_ORDER_STRICT, GLM_SPACE_EXACT);
	assert_cases(CASES(cases), GLM_ORDER_ANY, GLM_SPACE_EXACT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(properties_come_in_order, reader_teardown),
		cmocka_unit_test_teardown(what_is_too_late_is_refused_early, reader_teardown),
		cmocka_unit_test_teardown(each_branch_has_its_order, reader_teardown),
		cmocka_unit_test_teardown(what_was_missing_stays_missing, reader_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
