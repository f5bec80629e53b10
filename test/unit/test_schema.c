/*
 * test_schema.c - what the keywords of a schema become, by draft, and which are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "schemas.h"

#define D3 "\"$schema\": \"http://json-schema.org/draft-03/schema#\", "
#define D4 "\"$schema\": \"http://json-schema.org/draft-04/schema#\", "
#define D6 "\"$schema\": \"http://json-schema.org/draft-06/schema#\", "
#define D7 "\"$schema\": \"http://json-schema.org/draft-07/schema#\", "
#define D2019 "\"$schema\": \"https://json-schema.org/draft/2019-09/schema\", "
#define D2020 "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", "

static void
assert_number(const glm_decimal *number, const char *want)
{
	char text[64];

	assert_non_null(number);
	assert_int_equal(glm_decimal_write(number, text), strlen(want));
	assert_memory_equal(text, want, strlen(want));
}

/* Do all components of a node accept a text? */
static bool
fits(const glm_node *node, const char *text)
{
	for (int i = 0; i < node->n_components; i++)
		if (glm_dfa_accepts(node->component[i].dfa, text, strlen(text)) ==
			node->component[i].negated)
			return false;
	return true;
}

static const glm_node *
property(const glm_node *node, const char *name)
{
	for (int i = 0; i < node->n_properties; i++)
		if (strcmp(node->properties[i].name.text, name) == 0)
			return node->properties[i].value;
	fail_msg("no property %s", name);
	return NULL;
}

/* ---- type, enum, const ------------------------------------------------------------------------- */

static void
types_are_kinds(void **state)
{
	const glm_node *node;

	(void) state;
	assert_int_equal(compiled("{}")->kinds, GLM_KIND_ANY);
	assert_int_equal(compiled("true")->kinds, GLM_KIND_ANY);
	assert_false(compiled("true")->never);
	assert_true(compiled("false")->never);
	assert_int_equal(compiled("false")->kinds, 0);
	assert_int_equal(compiled("{\"type\": \"boolean\"}")->kinds, GLM_KIND_TRUE | GLM_KIND_FALSE);
	node = compiled("{\"type\": [\"integer\", \"null\"]}");
	assert_int_equal(node->kinds, GLM_KIND_NUMBER | GLM_KIND_NULL);
	assert_true(node->range.integer && node->number);
	node = compiled("{\"type\": [\"integer\", \"number\"]}");
	assert_false(node->range.integer || node->number);
	/* OpenAPI's word, not JSON Schema's */
	assert_int_equal(compiled("{\"type\": \"string\", \"nullable\": true}")->kinds,
					 GLM_KIND_STRING);
}

static void
enums_are_taken_apart(void **state)
{
	const glm_node *node =
		compiled("{\"enum\": [null, true, 1.0, \"a\", \"b\\\"\", 5e-1, \"c\\u0000\"]}");

	(void) state;
	assert_int_equal(node->kinds,
					 GLM_KIND_NULL | GLM_KIND_TRUE | GLM_KIND_NUMBER | GLM_KIND_STRING);
	assert_int_equal(node->n_numbers, 2);
	assert_number(&node->numbers[0], "1");
	assert_number(&node->numbers[1], "0.5");
	assert_true(fits(node, "a") && fits(node, "b\""));
	assert_false(fits(node, "c") || fits(node, "") || fits(node, "ab"));
	assert_int_equal(node->any_value.n, 0);
	assert_int_equal(compiled("{\"type\": \"string\", \"enum\": [1, \"a\"]}")->kinds,
					 GLM_KIND_STRING);
}

static void
arrays_and_objects_of_enums_are_nodes(void **state)
{
	const glm_node *node = compiled("{\"enum\": [\"a\", [1, []], {\"x\": null}]}");
	const glm_node *array;
	const glm_node *object;

	(void) state;
	assert_int_equal(node->kinds, GLM_KIND_STRING | GLM_KIND_ARRAY | GLM_KIND_OBJECT);
	assert_int_equal(node->any_value.n, 3);
	assert_int_equal(node->any_value.node[0]->kinds,
					 GLM_KIND_ANY & ~(GLM_KIND_ARRAY | GLM_KIND_OBJECT));
	array = node->any_value.node[1];
	assert_int_equal(array->kinds, GLM_KIND_ARRAY);
	assert_true(array->array && array->min_items == 2 && array->max_items == 2);
	assert_number(array->prefix.node[0]->numbers, "1");
	assert_int_equal(array->prefix.node[1]->max_items, 0);
	object = node->any_value.node[2];
	assert_true(object->object && object->additional->never);
	assert_int_equal(property(object, "x")->kinds, GLM_KIND_NULL);
	assert_string_equal(object->required[0].text, "x");
	assert_int_equal(object->n_required, 1);
}

static void
const_is_an_enum_of_one(void **state)
{
	const glm_node *node = compiled("{\"const\": false}");

	(void) state;
	assert_int_equal(node->kinds, GLM_KIND_FALSE);
	node = compiled("{\"const\": \"a\", \"enum\": [\"a\", \"b\"]}");
	assert_true(fits(node, "b"));
	assert_int_equal(node->all.n, 1);
	assert_false(fits(node->all.node[0], "b"));
	/* not yet a keyword */
	assert_int_equal(compiled("{" D4 "\"const\": 1}")->kinds, GLM_KIND_ANY);
	assert_int_equal(compiled("{" D6 "\"const\": 1}")->kinds, GLM_KIND_NUMBER);
}

/* ---- Numbers ------------------------------------------------------------------------------------- */

static void
bounds_are_the_tighter_ones(void **state)
{
	const glm_node *node = compiled("{\"minimum\": 1, \"exclusiveMinimum\": 1, \"maximum\": 5, "
									"\"exclusiveMaximum\": 9, \"multipleOf\": 0.01}");

	(void) state;
	assert_true(node->number);
	assert_number(node->range.low, "1");
	assert_true(node->range.above_low);
	assert_number(node->range.high, "5");
	assert_false(node->range.below_high);
	assert_number(node->range.multiple_of, "0.01");
	node =
		compiled("{\"exclusiveMinimum\": 9223372036854775806, \"minimum\": 9223372036854775807}");
	assert_number(node->range.low, "9223372036854775807");
	assert_false(node->range.above_low);
}

static void
exclusive_bounds_are_by_draft(void **state)
{
	const glm_node *node =
		compiled("{" D4 "\"minimum\": 1, \"exclusiveMinimum\": true, \"exclusiveMaximum\": true}");

	(void) state;
	assert_true(node->range.above_low);
	assert_null(node->range.high);
	node = compiled("{\"maximum\": 1, \"exclusiveMaximum\": true}");
	assert_true(node->range.below_high);
	assert_refused("{" D4 "\"exclusiveMinimum\": 1}", GLM_BAD_ARGUMENT,
				   "schema keyword \"exclusiveMinimum\" at \"\" has to be true or false");
	assert_refused("{" D7 "\"exclusiveMaximum\": true}", GLM_BAD_ARGUMENT,
				   "schema keyword \"exclusiveMaximum\" at \"\" has to be a number");
}

/* ---- Strings -------------------------------------------------------------------------------------- */

static void
strings_have_components(void **state)
{
	const glm_node *node =
		compiled("{\"pattern\": \"^a\", \"format\": \"date\", \"enum\": [\"abc\"], "
				 "\"minLength\": 2.0, \"maxLength\": 1e9}");

	(void) state;
	assert_true(node->string);
	assert_int_equal(node->min_length, 2);
	assert_int_equal(node->max_length, 1000000000);
	assert_true(node->formats != 0 && node->formats >> node->n_components == 0);
	assert_int_equal(compiled("{\"maxLength\": 1e30}")->max_length, GLM_NO_MOST);
	node = compiled("{\"pattern\": \"a.c\"}");
	assert_true(fits(node, "xabcx"));
	assert_false(fits(node, "ac"));
	assert_int_equal(node->formats, 0);
	/* one automaton for all places that have it */
	node = compiled(
		"{\"allOf\": [{\"pattern\": \"date\"}, {\"pattern\": \"date\"}, {\"format\": \"date\"}]}");
	assert_ptr_equal(node->all.node[0]->component[0].dfa, node->all.node[1]->component[0].dfa);
	assert_ptr_not_equal(node->all.node[0]->component[0].dfa, node->all.node[2]->component[0].dfa);
	/* a pattern may have U+0000, an unknown format says nothing */
	assert_true(fits(compiled("{\"pattern\": \"^[^\\u0000]$\"}"), "a"));
	assert_false(compiled("{\"format\": \"color\"}")->string);
}

/* ---- Arrays ----------------------------------------------------------------------------------------- */

static void
arrays_are_by_draft(void **state)
{
	const glm_node *node =
		compiled("{\"prefixItems\": [true, {\"type\": \"null\"}], \"items\": false, "
				 "\"minItems\": 1, \"maxItems\": 3, \"uniqueItems\": true}");

	(void) state;
	assert_true(node->array && node->unique && node->items->never);
	assert_int_equal(node->prefix.n, 2);
	assert_int_equal(node->prefix.node[1]->kinds, GLM_KIND_NULL);
	assert_string_equal(node->prefix.node[1]->pointer, "/prefixItems/1");
	assert_int_equal(node->min_items, 1);
	assert_int_equal(node->max_items, 3);
	/* a list of items, where no draft is declared too */
	node = compiled("{\"items\": [{\"type\": \"null\"}], \"additionalItems\": false}");
	assert_int_equal(node->prefix.n, 1);
	assert_true(node->items->never);
	node = compiled("{" D2019 "\"items\": [{}], \"additionalItems\": true}");
	assert_int_equal(node->prefix.n, 1);
	assert_null(node->items);
	assert_refused("{" D2020 "\"items\": [{}]}", GLM_BAD_ARGUMENT,
				   "schema keyword \"items\" at \"\" has to be a schema, a list is prefixItems");
	assert_null(compiled("{\"items\": {}, \"additionalItems\": false}")->items->items);
	assert_int_equal(compiled("{" D7 "\"prefixItems\": [false]}")->prefix.n, 0);
}

static void
contains_has_counts(void **state)
{
	const glm_node *node = compiled("{\"contains\": {\"type\": \"null\"}}");

	(void) state;
	assert_true(node->array);
	assert_int_equal(node->min_contains, 1);
	assert_int_equal(node->max_contains, GLM_NO_MOST);
	node = compiled("{\"maxContains\": 3, \"contains\": {}, \"minContains\": 0}");
	assert_int_equal(node->min_contains, 0);
	assert_int_equal(node->max_contains, 3);
	assert_int_equal(compiled("{" D7 "\"contains\": {}, \"minContains\": 5}")->min_contains, 1);
	assert_null(compiled("{" D4 "\"contains\": {}}")->contains);
	assert_false(compiled("{\"minContains\": 5}")->array);
}

/* ---- Objects ------------------------------------------------------------------------------------------ */

static void
objects_have_properties(void **state)
{
	const glm_node *node = compiled(
		"{\"properties\": {\"b\": {\"type\": \"null\"}, \"a/~b\": {\"$ref\": \"#\"}}, "
		"\"patternProperties\": {\"^x\": false}, \"additionalProperties\": {\"type\": \"array\"}, "
		"\"propertyNames\": {\"maxLength\": 3}, \"required\": [\"b\", \"c\"], "
		"\"minProperties\": 1, \"maxProperties\": 9}");

	(void) state;
	assert_true(node->object && !node->asks_only);
	assert_string_equal(node->properties[0].name.text, "b");
	assert_string_equal(property(node, "a/~b")->pointer, "/properties/a~1~0b");
	assert_ptr_equal(property(node, "a/~b")->all.node[0], node);
	assert_true(node->patterns[0].value->never);
	assert_int_equal(node->patterns[0].n_components, 1);
	assert_true(glm_dfa_accepts(node->patterns[0].component[0].dfa, "xy", 2));
	assert_int_equal(node->additional->kinds, GLM_KIND_ARRAY);
	assert_int_equal(node->property_names->max_length, 3);
	assert_int_equal(node->n_required, 2);
	assert_int_equal(node->required[1].length, 1);
	assert_int_equal(node->min_properties, 1);
	assert_int_equal(node->max_properties, 9);
	assert_null(compiled("{\"additionalProperties\": true}")->additional);
	assert_true(compiled("{\"required\": [\"a\"], \"minProperties\": 2}")->asks_only);
	assert_null(compiled("{" D4 "\"propertyNames\": false}")->property_names);
}

static void
dependencies_are_by_draft(void **state)
{
	const char *old = "{%s\"dependencies\": {\"a\": [\"b\", \"c\"], \"d\": {\"type\": \"object\"}, "
					  "\"e\": false}}";
	const glm_node *node = compiled_format(old, "");

	(void) state;
	assert_int_equal(node->n_dependencies, 1);
	assert_string_equal(node->dependencies[0].name.text, "a");
	assert_string_equal(node->dependencies[0].needed[1].text, "c");
	assert_int_equal(node->n_dependent, 2);
	assert_string_equal(node->dependent[0].value->pointer, "/dependencies/d");
	assert_true(node->dependent[1].value->never);
	assert_int_equal(compiled_format(old, D7)->n_dependent, 2);
	assert_int_equal(compiled_format(old, D2019)->n_dependent, 0);
	node = compiled("{" D2020
					"\"dependentRequired\": {\"a\": []}, \"dependentSchemas\": {\"b\": true}}");
	assert_int_equal(node->n_dependencies, 1);
	assert_int_equal(node->n_dependent, 1);
	assert_int_equal(compiled("{" D7 "\"dependentRequired\": {\"a\": [\"b\"]}}")->n_dependencies,
					 0);
}

/* ---- Combinators ---------------------------------------------------------------------------------------- */

static void
combinators_stay_as_they_are(void **state)
{
	const glm_node *node = compiled(
		"{\"allOf\": [{}, {\"type\": \"null\"}], \"anyOf\": [true], \"oneOf\": [false, {}], "
		"\"not\": {\"type\": \"array\"}, \"if\": {}, \"then\": false, \"else\": {}}");

	(void) state;
	assert_int_equal(node->all.n, 2);
	assert_int_equal(node->all.node[1]->kinds, GLM_KIND_NULL);
	assert_int_equal(node->any.n, 1);
	assert_true(node->one.node[0]->never);
	assert_int_equal(node->not_->kinds, GLM_KIND_ARRAY);
	assert_true(node->if_ != NULL && node->then_->never && node->else_ != NULL);
	assert_null(compiled("{\"then\": false}")->then_);
	assert_null(compiled("{" D6 "\"if\": {}, \"then\": false}")->then_);
}

/* Asked once more without the format, where less in one place is more in another. */
static void
formats_are_asked_both_ways(void **state)
{
	const glm_node *node = compiled("{\"not\": {\"properties\": {\"a\": {\"format\": \"date\"}}}}");
	const glm_node *part;

	(void) state;
	assert_false(fits(property(node->not_, "a"), "x"));
	assert_int_equal(node->all.n, 1);
	part = node->all.node[0]->not_;
	assert_true(fits(property(part, "a"), "x"));
	assert_false(property(part, "a")->string);
	assert_int_equal(node->all.node[0]->all.n, 0);
	node = compiled(
		"{\"oneOf\": [{\"format\": \"date\", \"pattern\": \"^2\"}, {\"type\": \"null\"}]}");
	part = node->all.node[0];
	assert_true(fits(part->one.node[0], "2") && !fits(part->one.node[0], "3"));
	assert_ptr_equal(part->one.node[1], node->one.node[1]);
	/* by way of itself */
	node = compiled("{\"if\": {\"items\": {\"$ref\": \"#\"}}, \"format\": \"date\"}");
	part = node->all.node[0]->if_;
	assert_int_equal(part->items->all.node[0]->n_components, 0);
	assert_ptr_equal(part->items->all.node[0]->if_, part);
	assert_int_equal(
		compiled("{\"allOf\": [{\"format\": \"date\"}], \"not\": {\"type\": \"null\"}}")->all.n, 1);
	assert_int_equal(compiled("{\"contains\": {\"format\": \"date\"}}")->all.n, 0);
	assert_int_equal(compiled("{\"contains\": {\"format\": \"date\"}, \"maxContains\": 1}")->all.n,
					 1);
}

/* ---- What is refused -------------------------------------------------------------------------------------- */

static void
what_cannot_be_enforced_is_named(void **state)
{
	static const char *const keywords[] = {"unevaluatedProperties", "unevaluatedItems",
										   "$dynamicRef", "$recursiveRef"};

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		assert_refused_format("{\"properties\": {\"a\": {\"%s\": false}}}", keywords[i],
							  GLM_UNSUPPORTED,
							  "schema keyword \"%s\" at \"/properties/a\" is not supported");
		assert_int_equal(compiled_format("{" D7 "\"%s\": false}", keywords[i])->kinds,
						 GLM_KIND_ANY);
	}
	assert_int_equal(compiled("{\"unevaluatedItems\": true}")->kinds, GLM_KIND_ANY);
	assert_refused(
		"{\"items\": {\"format\": \"idn-email\"}}", GLM_UNSUPPORTED,
		"schema keyword \"format\" at \"/items\" says \"idn-email\", which is not supported");
	assert_refused("{\"pattern\": \"(a)\\\\1\"}", GLM_UNSUPPORTED,
				   "schema keyword \"pattern\" at \"\": ");
	/* what nothing leads to does no harm */
	assert_non_null(compiled("{\"$defs\": {\"a\": {\"unevaluatedItems\": false}}}"));
}

static void
draft_3_is_refused(void **state)
{
	(void) state;
	assert_int_equal(compiled("{" D3 "\"type\": \"string\"}")->kinds, GLM_KIND_STRING);
	assert_refused(
		"{" D3 "\"properties\": {\"a\": {\"extends\": {}}}}", GLM_UNSUPPORTED,
		"schema keyword \"extends\" at \"/properties/a\" is of draft 3, which is not supported");
	assert_refused("{" D3 "\"disallow\": \"null\"}", GLM_UNSUPPORTED,
				   "\"disallow\" at \"\" is of draft 3");
	assert_refused("{" D3 "\"divisibleBy\": 2}", GLM_UNSUPPORTED,
				   "\"divisibleBy\" at \"\" is of draft 3");
	assert_refused("{\"type\": \"any\"}", GLM_UNSUPPORTED,
				   "\"type\" at \"\" says any as in draft 3");
	assert_refused("{\"type\": [\"null\", {}]}", GLM_UNSUPPORTED,
				   "\"type\" at \"\" has a schema as in draft 3");
	assert_refused("{\"required\": true}", GLM_UNSUPPORTED,
				   "\"required\" at \"\" says true as in draft 3");
	assert_refused("{\"dependencies\": {\"a\": \"b\"}}", GLM_UNSUPPORTED,
				   "\"dependencies\" at \"\" has a string as in draft 3");
	assert_int_equal(compiled("{\"extends\": 5, \"disallow\": 5}")->kinds, GLM_KIND_ANY);
}

static void
malformed_keywords_are_refused(void **state)
{
	static const char *const bad[][2] = {
		{"\"type\": 1", "has to be the name of a type, or several"},
		{"\"type\": []", "has to name a type"},
		{"\"type\": \"text\"", "has no type \"text\""},
		{"\"type\": \"null\\u0000\"", "holds U+0000, which no answer can"},
		{"\"enum\": 1", "has to be an array"},
		{"\"minimum\": \"1\"", "has to be a number"},
		{"\"multipleOf\": 0", "has to be more than 0"},
		{"\"multipleOf\": -1", "has to be more than 0"},
		{"\"minLength\": -1", "has to be an integer of 0 or more"},
		{"\"maxLength\": 1.5", "has to be an integer of 0 or more"},
		{"\"maxItems\": null", "has to be a number"},
		{"\"pattern\": 1", "has to be a string"},
		{"\"format\": {}", "has to be a string"},
		{"\"items\": 1", "has to be a schema"},
		{"\"prefixItems\": {}", "has to be an array of schemas"},
		{"\"prefixItems\": [1]", "has to be made of schemas"},
		{"\"uniqueItems\": 1", "has to be true or false"},
		{"\"contains\": []", "has to be a schema"},
		{"\"properties\": []", "has to be an object"},
		{"\"properties\": {\"a\": 1}", "has to be made of schemas"},
		{"\"patternProperties\": {\"a\": []}", "has to be made of schemas"},
		{"\"additionalProperties\": \"false\"", "has to be a schema"},
		{"\"propertyNames\": \"a\"", "has to be a schema"},
		{"\"required\": 5", "has to be an array of strings"},
		{"\"required\": [\"a\", 1]", "has to be an array of strings"},
		{"\"dependentRequired\": {\"a\": {}}", "has to be made of arrays of strings"},
		{"\"dependentSchemas\": {\"a\": []}", "has to be made of schemas"},
		{"\"dependencies\": []", "has to be an object"},
		{"\"allOf\": {}", "has to be an array of schemas"},
		{"\"anyOf\": []", "has to have a schema"},
		{"\"oneOf\": [{}, 1]", "has to be made of schemas"},
		{"\"not\": []", "has to be a schema"},
		{"\"if\": 1", "has to be a schema"},
		{"\"$ref\": 1", "has to be a string"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_refused_format("{\"items\": {%s}}", bad[i][0], GLM_BAD_ARGUMENT, bad[i][1]);
		assert_non_null(strstr(schema_error.message, " at \"/items\" "));
	}
	assert_refused("{\"pattern\": \"(\"}", GLM_BAD_ARGUMENT,
				   "schema keyword \"pattern\" at \"\": ");
	assert_refused("{\"patternProperties\": {\"[\": {}}}", GLM_BAD_ARGUMENT,
				   "schema keyword \"patternProperties\" at \"\": ");
	assert_refused("[]", GLM_BAD_ARGUMENT, "schema has to be an object, true or false");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(types_are_kinds, free_schema),
		cmocka_unit_test_teardown(enums_are_taken_apart, free_schema),
		cmocka_unit_test_teardown(arrays_and_objects_of_enums_are_nodes, free_schema),
		cmocka_unit_test_teardown(const_is_an_enum_of_one, free_schema),
		cmocka_unit_test_teardown(bounds_are_the_tighter_ones, free_schema),
		cmocka_unit_test_teardown(exclusive_bounds_are_by_draft, free_schema),
		cmocka_unit_test_teardown(strings_have_components, free_schema),
		cmocka_unit_test_teardown(arrays_are_by_draft, free_schema),
		cmocka_unit_test_teardown(contains_has_counts, free_schema),
		cmocka_unit_test_teardown(objects_have_properties, free_schema),
		cmocka_unit_test_teardown(dependencies_are_by_draft, free_schema),
		cmocka_unit_test_teardown(combinators_stay_as_they_are, free_schema),
		cmocka_unit_test_teardown(formats_are_asked_both_ways, free_schema),
		cmocka_unit_test_teardown(what_cannot_be_enforced_is_named, free_schema),
		cmocka_unit_test_teardown(draft_3_is_refused, free_schema),
		cmocka_unit_test_teardown(malformed_keywords_are_refused, free_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
