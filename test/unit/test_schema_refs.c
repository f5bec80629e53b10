/*
 * test_schema_refs.c - what references lead to, cycles, limits and pauses of schemas.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schemas.h"
#include "engine/constrain/schema_compiler.h"

#define D4 "\"$schema\": \"http://json-schema.org/draft-04/schema#\", "
#define D7 "\"$schema\": \"http://json-schema.org/draft-07/schema#\", "
#define D2019 "\"$schema\": \"https://json-schema.org/draft/2019-09/schema\", "

/* ---- What a reference leads to -------------------------------------------------------------------- */

/* The schema's items refer to what stands at `pointer`. */
static void
assert_refers(const char *schema, const char *pointer)
{
	const glm_node *items = compiled(schema)->items;

	assert_true(items->refers);
	assert_string_equal(items->all.node[items->all.n - 1]->pointer, pointer);
}

static void
pointers_lead_anywhere(void **state)
{
	(void) state;
	assert_refers("{\"items\": {\"$ref\": \"#\"}}", "");
	assert_refers("{\"items\": {\"$ref\": \"#/$defs/a\"}, \"$defs\": {\"a\": {}}}", "/$defs/a");
	assert_refers("{\"items\": {\"$ref\": \"#/definitions/a~1b~0c%25d%20%C3%A9\"}, "
				  "\"definitions\": {\"a/b~c%d \xC3\xA9\": {}}}",
				  "/definitions/a~1b~0c%d \xC3\xA9");
	assert_refers("{\"items\": {\"$ref\": \"#/prefixItems/1\"}, \"prefixItems\": [{}, {}]}",
				  "/prefixItems/1");
	assert_refers(
		"{\"items\": {\"$ref\": \"#/my/own/0/place\"}, \"my\": {\"own\": [{\"place\": {}}]}}",
		"/my/own/0/place");
	assert_refers("{\"items\": {\"$ref\": \"#/$defs/\"}, \"$defs\": {\"\": {}}}", "/$defs/");
	assert_refers("{\"items\": {\"$ref\": \"#/$defs/a\"}, \"$defs\": {\"a\": true}}", "/$defs/a");
	/* by what is a place already to one that is none yet */
	assert_refers(
		"{\"items\": {\"$ref\": \"#/$defs/a/x\"}, \"$defs\": {\"a\": {\"x\": {\"items\": {}}}}}",
		"/$defs/a/x");
}

static void
what_is_not_there_is_refused(void **state)
{
	static const char *const missing[] = {
		"#/a",		  "#/$defs/b", "#a",	   "#/$defs/a/enum/0", "#/allOf/1",
		"#/allOf/01", "#/allOf/-", "#/allOf/", "#/title"};

	(void) state;
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		assert_refused_format(
			"{\"items\": {\"$ref\": \"%s\"}, \"allOf\": [{}], \"title\": \"a\", "
			"\"$defs\": {\"a\": {\"enum\": [1]}}}",
			missing[i], GLM_BAD_ARGUMENT,
			"schema keyword \"$ref\" at \"/items\" refers to \"%s\", which is not there");
	assert_refused(
		"{\"$ref\": \"http://x.org/y.json#/a\"}", GLM_UNSUPPORTED,
		"schema keyword \"$ref\" at \"\" refers to \"http://x.org/y.json#/a\", and remote "
		"references are not supported");
}

static void
ids_are_bases(void **state)
{
	(void) state;
	assert_refers("{\"$id\": \"http://x.org/s/root.json\", \"items\": {\"$ref\": \"item.json\"}, "
				  "\"$defs\": {\"a\": {\"$id\": \"/s/item.json\"}}}",
				  "/$defs/a");
	assert_refers(
		"{\"$id\": \"http://x.org/s/root.json\", \"items\": {\"$ref\": \"root.json#/$defs/a\"}, "
		"\"$defs\": {\"a\": {}}}",
		"/$defs/a");
	assert_refers("{\"items\": {\"$ref\": \"a.json#/$defs/b\"}, "
				  "\"$defs\": {\"a\": {\"$id\": \"a.json\", \"$defs\": {\"b\": {}}}}}",
				  "/$defs/a/$defs/b");
	/* inside of a resource a pointer begins at its root, or else at the document's */
	assert_refers(
		"{\"items\": {\"$id\": \"a.json\", \"$ref\": \"#/$defs/b\", \"$defs\": {\"b\": {}}}, "
		"\"$defs\": {\"b\": {}}}",
		"/items/$defs/b");
	assert_refers(
		"{\"items\": {\"$id\": \"a.json\", \"$ref\": \"#/$defs/b\"}, \"$defs\": {\"b\": {}}}",
		"/$defs/b");
	assert_refers(
		"{\"items\": {\"$ref\": \"urn:uuid:1\"}, \"$defs\": {\"a\": {\"$id\": \"urn:uuid:1\"}}}",
		"/$defs/a");
	assert_refers("{" D4 "\"id\": \"http://x.org/r#\", \"items\": {\"$ref\": \"a\"}, "
				  "\"definitions\": {\"a\": {\"id\": \"a\"}}}",
				  "/definitions/a");
	/* where the base is another, the only URI that ends so is meant */
	assert_refers("{\"$id\": \"http://x.org/r.json\", \"items\": {\"$ref\": \"s/a.json\"}, "
				  "\"$defs\": {\"a\": {\"$id\": \"http://y.org/t/s/a.json\"}}}",
				  "/$defs/a");
	assert_refused("{\"$id\": \"http://x.org/r.json\", \"items\": {\"$ref\": \"a.json\"}, "
				   "\"$defs\": {\"a\": {\"$id\": \"http://y.org/t/a.json\"}, "
				   "\"b\": {\"$id\": \"http://y.org/s/a.json\"}}}",
				   GLM_UNSUPPORTED, "remote");
	assert_refused("{\"$id\": \"http://x.org/r.json\", \"items\": {\"$ref\": \"a.json\"}, "
				   "\"$defs\": {\"a\": {\"$id\": \"http://y.org/t/aa.json\"}}}",
				   GLM_UNSUPPORTED, "remote");
	/* a pointer that goes by an id is in its resource */
	assert_refers("{\"$defs\": {\"a\": {\"$id\": \"a/\", \"x\": {\"$ref\": \"b\"}, "
				  "\"$defs\": {\"b\": {\"$id\": \"b\"}}}}, \"items\": {\"$ref\": \"#/$defs/a/x\"}}",
				  "/$defs/a/x");
}

static void
an_id_may_be_something_else(void **state)
{
	(void) state;
	/* a property's name, a value of an enum, a word no keyword leads to */
	assert_refers("{" D4 "\"properties\": {\"id\": {\"$ref\": \"#/definitions/a\"}}, "
				  "\"items\": {\"$ref\": \"#/definitions/a\"}, \"definitions\": {\"a\": {}}}",
				  "/definitions/a");
	assert_refused("{\"$ref\": \"a.json\", \"enum\": [{\"$id\": \"a.json\"}]}", GLM_UNSUPPORTED,
				   "remote");
	assert_refused("{\"$ref\": \"a.json\", \"x\": {\"$id\": \"a.json\"}}", GLM_UNSUPPORTED,
				   "remote");
	/* $id is not a word of draft 4, nor id of later ones */
	assert_refused("{" D4 "\"items\": {\"$ref\": \"a\"}, \"not\": {\"$id\": \"a\"}}",
				   GLM_UNSUPPORTED, "remote");
	assert_refused("{" D7 "\"items\": {\"$ref\": \"a\"}, \"not\": {\"id\": \"a\"}}",
				   GLM_UNSUPPORTED, "remote");
}

static void
anchors_are_names(void **state)
{
	(void) state;
	assert_refers("{\"items\": {\"$ref\": \"#b\"}, \"$defs\": {\"a\": {\"$anchor\": \"b\"}}}",
				  "/$defs/a");
	assert_refers(
		"{\"items\": {\"$ref\": \"#b\"}, \"$defs\": {\"a\": {\"$dynamicAnchor\": \"b\"}}}",
		"/$defs/a");
	assert_refers("{\"items\": {\"$ref\": \"x#b\"}, "
				  "\"$defs\": {\"a\": {\"$id\": \"x\", \"$defs\": {\"c\": {\"$anchor\": \"b\"}}}}}",
				  "/$defs/a/$defs/c");
	assert_refers("{" D7
				  "\"items\": {\"$ref\": \"#b\"}, \"definitions\": {\"a\": {\"$id\": \"#b\"}}}",
				  "/definitions/a");
	assert_refers("{" D4
				  "\"items\": {\"$ref\": \"#b\"}, \"definitions\": {\"a\": {\"id\": \"#b\"}}}",
				  "/definitions/a");
	assert_refused("{" D7
				   "\"items\": {\"$ref\": \"#b\"}, \"definitions\": {\"a\": {\"$anchor\": \"b\"}}}",
				   GLM_BAD_ARGUMENT, "which is not there");
}

static void
siblings_count_since_2019(void **state)
{
	const char *schema =
		"{%s\"items\": {\"type\": \"null\", \"$ref\": \"#/x\", \"$id\": \"y\"}, \"x\": {}}";
	const glm_node *items = compiled_format(schema, D7)->items;

	(void) state;
	assert_int_equal(items->kinds, GLM_KIND_ANY);
	assert_int_equal(items->all.n, 1);
	items = compiled_format(schema, D2019)->items;
	assert_int_equal(items->kinds, GLM_KIND_NULL);
	assert_int_equal(items->all.n, 1);
	/* a $schema below, with an id of its own */
	items = compiled("{\"items\": {\"$id\": \"old\", " D4 "\"const\": 1}}")->items;
	assert_int_equal(items->kinds, GLM_KIND_ANY);
	/* one that is not known is the newest */
	assert_int_equal(compiled("{\"$schema\": \"http://x.org/mine\", \"const\": 1}")->kinds,
					 GLM_KIND_NUMBER);
}

static void
references_resolve_as_in_rfc_3986(void **state)
{
	/* of its 5.4, without those of queries and fragments alone */
	static const char *const normal[][2] = {
		{"g:h", "g:h"},
		{"g", "http://a/b/c/g"},
		{"./g", "http://a/b/c/g"},
		{"g/", "http://a/b/c/g/"},
		{"/g", "http://a/g"},
		{"//g", "http://g"},
		{"?y", "http://a/b/c/d;p?y"},
		{"g?y", "http://a/b/c/g?y"},
		{"", "http://a/b/c/d;p?q"},
		{".", "http://a/b/c/"},
		{"..", "http://a/b/"},
		{"../g", "http://a/b/g"},
		{"../..", "http://a/"},
		{"../../g", "http://a/g"},
		{"../../../../g", "http://a/g"},
		{"/./g", "http://a/g"},
		{"/../g", "http://a/g"},
		{"g.", "http://a/b/c/g."},
		{"..g", "http://a/b/c/..g"},
		{"./g/.", "http://a/b/c/g/"},
		{"g/../h", "http://a/b/c/h"},
		{"g?y/../x", "http://a/b/c/g?y/../x"},
	};
	glm_arena arena;

	(void) state;
	glm_arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < sizeof(normal) / sizeof(normal[0]); i++)
		assert_string_equal(glm_uri_resolve(&arena, "http://a/b/c/d;p?q", normal[i][0]),
							normal[i][1]);
	assert_string_equal(glm_uri_resolve(&arena, "http://a", "g"), "http://a/g");
	assert_string_equal(glm_uri_resolve(&arena, "", "a/b"), "a/b");
	assert_string_equal(glm_uri_resolve(&arena, "urn:x:y", "g"), "urn:g");
	glm_arena_free(&arena);
}

/* ---- Cycles ------------------------------------------------------------------------------------------ */

static void
cycles_in_place_are_refused(void **state)
{
	static const char *const inner[] = {
		"\"$ref\": \"#/$defs/a\"",
		"\"allOf\": [{}, {\"$ref\": \"#/$defs/a\"}]",
		"\"anyOf\": [{\"$ref\": \"#/$defs/a\"}]",
		"\"oneOf\": [{\"$ref\": \"#/$defs/a\"}]",
		"\"not\": {\"$ref\": \"#/$defs/a\"}",
		"\"if\": {\"$ref\": \"#/$defs/a\"}",
		"\"if\": {}, \"then\": {\"$ref\": \"#/$defs/a\"}",
		"\"if\": {}, \"else\": {\"$ref\": \"#/$defs/a\"}",
		"\"dependentSchemas\": {\"x\": {\"$ref\": \"#/$defs/a\"}}",
		"\"$ref\": \"#/$defs/b\"",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++)
	{
		assert_refused_format("{\"items\": {\"$ref\": \"#/$defs/a\"}, \"$defs\": {\"a\": {%s}, "
							  "\"b\": {\"allOf\": [{\"$ref\": \"#/$defs/a\"}]}}}",
							  inner[i], GLM_BAD_ARGUMENT, "schema keyword \"$ref\" at \"/$defs/");
		assert_non_null(strstr(schema_error.message, "leads back to itself"));
	}
	assert_refused("{\"$ref\": \"#\"}", GLM_BAD_ARGUMENT,
				   "schema keyword \"$ref\" at \"\" leads back");
}

static void
cycles_by_way_of_parts_are_fine(void **state)
{
	static const char *const parts[] = {
		"\"items\": %s",
		"\"prefixItems\": [%s]",
		"\"contains\": %s",
		"\"properties\": {\"a\": %s}",
		"\"patternProperties\": {\"a\": %s}",
		"\"additionalProperties\": %s",
		"\"propertyNames\": %s",
	};

	(void) state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
	{
		char schema[200];
		char part[100];

		snprintf(part, sizeof(part), parts[i], "{\"$ref\": \"#\"}");
		snprintf(schema, sizeof(schema), "{\"anyOf\": [{%s}, {\"type\": \"null\"}]}", part);
		assert_int_equal(compiled(schema)->any.n, 2);
	}
	/* one place twice is no cycle */
	assert_int_equal(
		compiled("{\"allOf\": [{\"$ref\": \"#/x\"}, {\"$ref\": \"#/x\"}], \"x\": {}}")->all.n, 2);
}

/* ---- Limits -------------------------------------------------------------------------------------------- */

/* `begin`, n times `part` with a number in it, `end`. */
static char *
repeated(const char *begin, const char *part, int n, const char *end)
{
	size_t size = strlen(begin) + strlen(end) + (size_t) n * (strlen(part) + 12) + 1;
	char  *text = malloc(size);
	char  *at = stpcpy(text, begin);

	for (int i = 0; i < n; i++)
	{
		const char *number = strchr(part, '#');

		at += sprintf(at, "%s%.*s%d%s", i > 0 ? ", " : "", (int) (number - part), part, i,
					  number + 1);
	}
	strcpy(at, end);
	return text;
}

static void
assert_repeated(const char *begin, const char *part, int n, const char *end, const char *why)
{
	char *text = repeated(begin, part, n, end);

	if (why == NULL)
		assert_non_null(compiled(text));
	else
		assert_refused(text, GLM_TOO_COMPLEX, why);
	free(text);
}

static void
limits_are_named(void **state)
{
	(void) state;
	assert_repeated("{\"properties\": {", "\"p#\": {}", GLM_SCHEMA_NODES - 1, "}}", NULL);
	assert_repeated("{\"properties\": {", "\"p#\": {}", GLM_SCHEMA_NODES, "}}",
					"schema keyword \"properties\" at \"\": more than 50000 subschemas");
	assert_repeated("{\"enum\": [", "\"v#\"", GLM_SCHEMA_ENUM, "]}", NULL);
	assert_repeated("{\"enum\": [", "#", GLM_SCHEMA_ENUM, "]}", NULL);
	assert_repeated("{\"enum\": [", "#", GLM_SCHEMA_ENUM + 1, "]}",
					"schema keyword \"enum\" at \"\" has more than 100000 values");
	assert_repeated("{\"items\": {\"enum\": [", "[#]", GLM_SCHEMA_NODES, "]}}",
					"schema keyword \"enum\" at \"/items\": more than 50000 subschemas");
	assert_refused("{\"minimum\": 1e9999}", GLM_TOO_COMPLEX,
				   "schema keyword \"minimum\" at \"\" has a number of too many digits");
	assert_refused("{\"enum\": [1e9999]}", GLM_TOO_COMPLEX,
				   "schema keyword \"enum\" at \"\" has a number of too many digits");
}

/* Each schema refers to the next; the last is whole. */
static void
chains_do_not_recurse(void **state)
{
	glm_buf text = {0};
	char	part[80];

	(void) state;
	glm_buf_puts(&text, "{\"$ref\": \"#/$defs/d0\", \"$defs\": {");
	for (int i = 0; i < 20000; i++)
	{
		snprintf(part, sizeof(part), "\"d%d\": {\"$ref\": \"#/$defs/d%d\"}, ", i, i + 1);
		glm_buf_puts(&text, part);
	}
	glm_buf_puts(&text, "\"d20000\": {\"format\": \"date\"}}}");
	assert_int_equal(compiled(text.data)->all.n, 1);
	glm_buf_free(&text);
}

/* allOf twice the next, 24 times: 2^24 paths, 25 places. */
static void
bombs_are_small(void **state)
{
	glm_buf text = {0};
	char	part[120];

	(void) state;
	glm_buf_puts(&text, "{\"$ref\": \"#/$defs/d0\", \"$defs\": {");
	for (int i = 0; i < 24; i++)
	{
		snprintf(part, sizeof(part),
				 "\"d%d\": {\"allOf\": [{\"$ref\": \"#/$defs/d%d\"}, "
				 "{\"$ref\": \"#/$defs/d%d\"}]}, ",
				 i, i + 1, i + 1);
		glm_buf_puts(&text, part);
	}
	glm_buf_puts(&text, "\"d24\": {\"format\": \"date\"}}}");
	assert_int_equal(compiled(text.data)->all.n, 1);
	glm_buf_free(&text);
}

/* A pointer in a message is cut at its beginning, between characters. */
static void
pointers_in_messages_are_short(void **state)
{
	char   schema[3000] = "";
	char   name[600] = "";
	size_t n;

	(void) state;
	for (int i = 0; i < 100; i++)
		strcat(name, "\xE2\x82\xAC");
	for (int i = 0; i < 5; i++)
		sprintf(schema + strlen(schema), "{\"properties\": {\"%s\": ", name);
	strcat(schema, "{\"unevaluatedItems\": false}");
	for (int i = 0; i < 5; i++)
		strcat(schema, "}}");
	assert_refused(schema, GLM_UNSUPPORTED, "schema keyword \"unevaluatedItems\" at \"...");
	n = strlen(schema_error.message);
	assert_true(n < 300 && strcmp(schema_error.message + n - 18, "\" is not supported") == 0);
	assert_int_equal(glm_utf8_check(schema_error.message, n), -1);
}

static bool
end_it(void *arg, glm_error *err)
{
	(void) arg;
	return glm_fail(err, GLM_CANCELLED, "no more");
}

static void
a_pause_ends_it(void **state)
{
	char *text = repeated("{\"properties\": {", "\"p#\": {}", 1000, "}}");

	(void) state;
	glm_pause_with(end_it, NULL);
	assert_null(try_schema(text, strlen(text)));
	assert_int_equal(schema_error.status, GLM_CANCELLED);
	assert_string_equal(schema_error.message, "no more");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(pointers_lead_anywhere, free_schema),
		cmocka_unit_test_teardown(what_is_not_there_is_refused, free_schema),
		cmocka_unit_test_teardown(ids_are_bases, free_schema),
		cmocka_unit_test_teardown(an_id_may_be_something_else, free_schema),
		cmocka_unit_test_teardown(anchors_are_names, free_schema),
		cmocka_unit_test_teardown(siblings_count_since_2019, free_schema),
		cmocka_unit_test(references_resolve_as_in_rfc_3986),
		cmocka_unit_test_teardown(cycles_in_place_are_refused, free_schema),
		cmocka_unit_test_teardown(cycles_by_way_of_parts_are_fine, free_schema),
		cmocka_unit_test_teardown(limits_are_named, free_schema),
		cmocka_unit_test_teardown(chains_do_not_recurse, free_schema),
		cmocka_unit_test_teardown(bombs_are_small, free_schema),
		cmocka_unit_test_teardown(pointers_in_messages_are_short, free_schema),
		cmocka_unit_test_teardown(a_pause_ends_it, free_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
