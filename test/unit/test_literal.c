/*
 * test_literal.c - values as Python writes them, and calls read back.
 *
 * The expected texts are what Python 3.11's json.dumps() gave.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text/literal.h"

/* ---- Writing ------------------------------------------------------------- */

static void
assert_written(const char *json, glm_style style, const char *want)
{
	json_error_t why;
	json_t		*value = glm_json_parse(json, strlen(json), false, &why);
	glm_buf		 out = {0};

	assert_non_null(value);
	assert_true(glm_literal_write(&out, value, style));
	assert_string_equal(out.data, want);
	glm_buf_free(&out);
	json_decref(value);
}

static void
floats_have_the_shortest_digits(void **state)
{
	static const char *const pairs[][2] = {
		{"0.1", "0.1"},
		{"0.30000000000000004", "0.30000000000000004"},
		{"100.0", "100.0"},
		{"1e2", "100.0"},
		{"1e15", "1000000000000000.0"},
		{"1e16", "1e+16"},
		{"1.5e300", "1.5e+300"},
		{"0.0001", "0.0001"},
		{"0.00001", "1e-05"},
		{"1.25e-7", "1.25e-07"},
		{"-0.0", "-0.0"},
		{"0.0", "0.0"},
		{"-2.5", "-2.5"},
		{"123456.789", "123456.789"},
		{"5e-324", "5e-324"},
		{"1.7976931348623157e308", "1.7976931348623157e+308"},
		{"0.00123", "0.00123"},
		{"9007199254740993.0", "9007199254740992.0"},
		{"12345678901234567.0", "1.2345678901234568e+16"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_written(pairs[i][0], GLM_STYLE_JSON, pairs[i][1]);
}

static void
json_in_one_line(void **state)
{
	(void) state;
	assert_written("{\"b\":[1,2.0,{}],\"a\":null,\"c\":[],\"d\":[true,false]}", GLM_STYLE_JSON,
				   "{\"b\": [1, 2.0, {}], \"a\": null, \"c\": [], \"d\": [true, false]}");
	assert_written("\"北京 \\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\"", GLM_STYLE_JSON,
				   "\"北京 \\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
	assert_written("-9223372036854775808", GLM_STYLE_JSON, "-9223372036854775808");
}

static void
json_with_indents(void **state)
{
	(void) state;
	assert_written("[{\"name\":\"天气\",\"parameters\":{},\"required\":[\"a\",1],\"x\":[]}]",
				   GLM_STYLE_INDENT,
				   "[\n    {\n        \"name\": \"天气\",\n        \"parameters\": {},\n"
				   "        \"required\": [\n            \"a\",\n            1\n        ],\n"
				   "        \"x\": []\n    }\n]");
	assert_written("[]", GLM_STYLE_INDENT, "[]");
}

static void
python_literals(void **state)
{
	(void) state;
	assert_written("{\"a\":[true,false,null,1,-2.50]}", GLM_STYLE_PYTHON,
				   "{\"a\": [True, False, None, 1, -2.5]}");
	assert_written("[18446744073709551615, -9223372036854775809]", GLM_STYLE_PYTHON,
				   "[18446744073709551615, -9223372036854775809]");
	assert_written("\"it's \\\"北京\\\"\\\\ \\n\\u0008\\u007f\"", GLM_STYLE_PYTHON,
				   "\"it's \\\"北京\\\"\\\\ \\n\\x08\\x7f\"");
}

static void
indents_cannot_fill_the_memory(void **state)
{
	const int depth = 2000;
	char	 *json = malloc(2 * depth + 40000);
	json_t	 *value;
	glm_buf	  out = {0};

	(void) state;
	memset(json, '[', depth);
	for (int i = 0; i < 10000; i++)
		memcpy(json + depth + 2 * i, "1,", 2);
	memset(json + depth + 20000 - 1, ']', depth);
	json[2 * depth + 20000 - 1] = '\0';
	value = json_loads(json, 0, NULL);
	assert_non_null(value);
	assert_false(glm_literal_write(&out, value, GLM_STYLE_INDENT));
	assert_false(out.failed);
	assert_in_range(out.length, GLM_LITERAL_MAX, GLM_LITERAL_MAX + 4 * depth + 16);
	glm_buf_free(&out);
	json_decref(value);
	free(json);
}

/* ---- Reading ------------------------------------------------------------- */

/* What the call's arguments are as JSON; NULL: it is none. */
static void
assert_read(const char *code, const char *want)
{
	size_t	n = strlen(code);
	char   *exact = malloc(n + 1); /* so that a sanitizer sees what is read behind it */
	json_t *arguments;
	glm_buf out = {0};

	memcpy(exact, code, n);
	arguments = glm_literal_read_call(exact, n);
	if (want == NULL && arguments != NULL)
		fail_msg("taken for a call: %s", code);
	if (want != NULL && arguments == NULL)
		fail_msg("not taken for a call: %s", code);
	if (want != NULL)
	{
		assert_true(glm_literal_write(&out, arguments, GLM_STYLE_JSON));
		assert_string_equal(out.data, want);
	}
	glm_buf_free(&out);
	json_decref(arguments);
	free(exact);
}

static void
calls_with_literals_are_read(void **state)
{
	(void) state;
	assert_read("tool_call()", "{}");
	assert_read("  tool_call ( city = '北京' , )\n", "{\"city\": \"北京\"}");
	assert_read("tool_call(a=1, b=-2, c=+3, d=0, e=1.5, f=.5, g=2., h=-1e3, i=1E-2)",
				"{\"a\": 1, \"b\": -2, \"c\": 3, \"d\": 0, \"e\": 1.5, \"f\": 0.5, \"g\": 2.0, "
				"\"h\": -1000.0, \"i\": 0.01}");
	assert_read("tool_call(a=True, b=False, c=None, d=true, e=false, f=null)",
				"{\"a\": true, \"b\": false, \"c\": null, \"d\": true, \"e\": false, \"f\": null}");
	assert_read("tool_call(a=[1, [2], ], b=(1, 2), c=(3,), d=(4), e=(), f={'x': {\"y\": []},})",
				"{\"a\": [1, [2]], \"b\": [1, 2], \"c\": [3], \"d\": 4, \"e\": [], \"f\": {\"x\": "
				"{\"y\": []}}}");
	assert_read("tool_call(**{\"two words\": 1}, b=2)", "{\"two words\": 1, \"b\": 2}");
}

static void
strings_are_read(void **state)
{
	(void) state;
	assert_read("tool_call(a=\"it's\", b='say \"hi\"', c='''l1\nl2 'q' ''', d=\"\"\"x\"\"y\"\"\")",
				"{\"a\": \"it's\", \"b\": \"say \\\"hi\\\"\", \"c\": \"l1\\nl2 'q' \", \"d\": "
				"\"x\\\"\\\"y\"}");
	assert_read("tool_call(a='\\n\\t\\\\\\'\\\"\\x41\\u5317\\U0001F642\\101\\q\\\nz')",
				"{\"a\": \"\\n\\t\\\\'\\\"A北🙂A\\\\qz\"}");
	assert_read("tool_call(a='\\ud83d\\ude42')", "{\"a\": \"🙂\"}");
	assert_read("tool_call(a='```')", "{\"a\": \"```\"}");
	assert_read("tool_call(a='', b=\"\")", "{\"a\": \"\", \"b\": \"\"}");
}

static void
integers_of_any_size_keep_their_digits(void **state)
{
	(void) state;
	assert_read(
		"tool_call(a=12345678901234567890, b=-12345678901234567890, c=[9223372036854775808])",
		"{\"a\": 12345678901234567890, \"b\": -12345678901234567890, \"c\": "
		"[9223372036854775808]}");
	assert_read(
		"tool_call(a=9223372036854775807, b=-9223372036854775808, c=-9223372036854775809)",
		"{\"a\": 9223372036854775807, \"b\": -9223372036854775808, \"c\": -9223372036854775809}");
	assert_read("tool_call(a=123456789012345678901234567890)",
				"{\"a\": 123456789012345678901234567890}");
	assert_read(
		"tool_call(a=0xFFFFFFFFFFFFFFFF, b=-0x8000_0000_0000_0001, c=0o7777777777777777777777)",
		"{\"a\": 18446744073709551615, \"b\": -9223372036854775809, \"c\": 73786976294838206463}");
}

static void
other_ways_to_write_a_literal(void **state)
{
	(void) state;
	assert_read("# first\ntool_call(a=1,  # one\n  b=2)  # done", "{\"a\": 1, \"b\": 2}");
	assert_read("tool_call(a='x' \"y\"\n  r'\\z', b=('p' 'q'))",
				"{\"a\": \"xy\\\\z\", \"b\": \"pq\"}");
	assert_read("tool_call(a=r\"\\d+\", b=R'\\'', c=u'k', d=r'''\\\n''')",
				"{\"a\": \"\\\\d+\", \"b\": \"\\\\'\", \"c\": \"k\", \"d\": \"\\\\\\n\"}");
	assert_read("tool_call(a=0x1f, b=0o17, c=0b101, d=1_000, e=1_0.5_0, f=0x_f, g=00, h=- 5)",
				"{\"a\": 31, \"b\": 15, \"c\": 5, \"d\": 1000, \"e\": 10.5, \"f\": 15, \"g\": 0, "
				"\"h\": -5}");
	assert_read(
		"tool_call(a={1: 'x', 2.5: 1, True: 2, None: 3, (\"k\"): 4, 12345678901234567890: 5})",
		"{\"a\": {\"1\": \"x\", \"2.5\": 1, \"true\": 2, \"null\": 3, \"k\": 4, "
		"\"12345678901234567890\": 5}}");
	assert_read("tool_call(城市=\"北京\", naïve=1, _x2=2)",
				"{\"城市\": \"北京\", \"naïve\": 1, \"_x2\": 2}");
	assert_read("tool_call(from='a', class=1)", "{\"from\": \"a\", \"class\": 1}");
	assert_read("tool_call(a=1, \\\n b=2)", "{\"a\": 1, \"b\": 2}");
}

static void
whatever_is_no_literal_is_no_call(void **state)
{
	static const char *const codes[] = {"",
										"tool_call",
										"tool_call(",
										"tool_call(a",
										"tool_call(a=",
										"tool_call(a=1",
										"tool_call(1)",
										"tool_call('a')",
										"tool_call(a=1)x",
										"tool_call(a=1); f()",
										"tool_call(a=b)",
										"tool_call(a=f(1))",
										"tool_call(a=__import__('os'))",
										"tool_call(a=1+2)",
										"tool_call(a='x'.y)",
										"tool_call(a='x' y)",
										"tool_call(a=[1 2])",
										"tool_call(a=[,])",
										"tool_call(a={1, 2})",
										"tool_call(a={(1, 2): 3})",
										"tool_call(a={[1]: 3})",
										"tool_call(a={'x' 1})",
										"tool_call(a=1, a=2)",
										"tool_call(a=1 b=2)",
										"tool_call(a==1)",
										"tool_call(a=f'x')",
										"tool_call(a=b'x')",
										"tool_call(a=rb'x')",
										"tool_call(a=r 'x')",
										"tool_call(a=r'\\')",
										"tool_call(a='x)",
										"tool_call(a='x\ny')",
										"tool_call(a='\\')",
										"tool_call(a='\\x4')",
										"tool_call(a='\\N{BULLET}')",
										"tool_call(a='\\0')",
										"tool_call(a='\\ud83d')",
										"tool_call(a='\\U00110000')",
										"tool_call(a=007)",
										"tool_call(a=0x)",
										"tool_call(a=0b2)",
										"tool_call(a=0xg)",
										"tool_call(a=1__0)",
										"tool_call(a=1_)",
										"tool_call(a=_1)",
										"tool_call(a=5j)",
										"tool_call(a=--1)",
										"tool_call(a=1e)",
										"tool_call(a=.)",
										"tool_call(a=-)",
										"tool_call(a=1e999)",
										"tool_call(a=nan)",
										"tool_call(a=1)# x\ny",
										"eval(a=1)",
										"tool_call(a=1, **{\"a\": 2})",
										"tool_call(**x)",
										"tool_call(,)",
										"tool_call(*[1])",
										"tool_call(1a=2)",
										"tool_call(a=Truex)",
										"tool_callx(a=1)",
										"tool_call(a=1))",
										"tool_call(a，=1)",
										"tool_call(ａ=1)",
										"tool_call(＃=1)"};

	(void) state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		assert_read(codes[i], NULL);
}

static void
nesting_is_bounded(void **state)
{
	char code[200001];

	(void) state;
	for (int deep = 60; deep <= 70; deep++)
	{
		char want[200];

		sprintf(code, "tool_call(a=%.*s%.*s)", deep,
				"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", deep,
				"]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
		sprintf(want, "{\"a\": %.*s}", 2 * deep, code + 12);
		assert_read(code, deep <= 64 ? want : NULL);
	}
	memset(code, '(', 200000);
	code[200000] = '\0';
	memcpy(code, "tool_call(a=", 12);
	assert_read(code, NULL);
}

static void
names(void **state)
{
	(void) state;
	assert_true(glm_literal_is_name("get_weather", 11));
	assert_true(glm_literal_is_name("a.b-c2", 6));
	assert_false(glm_literal_is_name("", 0));
	assert_true(glm_literal_is_name("3d_model", 8));
	assert_true(glm_literal_is_name("-", 1));
	assert_true(glm_literal_is_name("mcp:search", 10));
	assert_true(glm_literal_is_name("查询天气", 12));
	assert_false(glm_literal_is_name("a b", 3));
	assert_false(glm_literal_is_name("a\0b", 3));
	assert_false(glm_literal_is_name("Sure:", 5));
	assert_false(glm_literal_is_name("好的，", 9));
	assert_false(glm_literal_is_name("```", 3));
	assert_false(glm_literal_is_name("\xff", 1));
	assert_true(glm_literal_is_keyword("city_2", 6));
	assert_true(glm_literal_is_keyword("城市", 6));
	assert_false(glm_literal_is_keyword("", 0));
	assert_false(glm_literal_is_keyword("a-b", 3));
	assert_false(glm_literal_is_keyword("2a", 2));
	assert_false(glm_literal_is_keyword("from", 4));
	assert_false(glm_literal_is_keyword("两 个", 7));
	/* Python would read another name: full-width letters, a superscript */
	assert_false(glm_literal_is_keyword("ａ", 3));
	assert_false(glm_literal_is_keyword("x²", 3));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(floats_have_the_shortest_digits),
		cmocka_unit_test(json_in_one_line),
		cmocka_unit_test(json_with_indents),
		cmocka_unit_test(python_literals),
		cmocka_unit_test(indents_cannot_fill_the_memory),
		cmocka_unit_test(calls_with_literals_are_read),
		cmocka_unit_test(strings_are_read),
		cmocka_unit_test(integers_of_any_size_keep_their_digits),
		cmocka_unit_test(other_ways_to_write_a_literal),
		cmocka_unit_test(whatever_is_no_literal_is_no_call),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
