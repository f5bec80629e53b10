/*
 * test_answer.c - what a chat model answered: content or a tool call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/glm.h"

static void
assert_answer_n(const char *raw, size_t n, const char *want)
{
	char	   *got = glm_answer_parse(raw, n);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void
assert_answer(const char *raw, const char *want)
{
	assert_answer_n(raw, strlen(raw), want);
}

static void
an_empty_first_line_means_content(void **state)
{
	(void) state;
	assert_answer("\n Hello!", "{\"content\": \"Hello!\"}");
	assert_answer("  \t\r\n\n 你好\n再见 \n", "{\"content\": \"你好\\n再见\"}");
	assert_answer("\n get_weather\n```python\ntool_call(a=1)\n```",
				  "{\"content\": \"get_weather\\n```python\\ntool_call(a=1)\\n```\"}");
	assert_answer("\n", "{\"content\": \"\"}");
	assert_answer("", "{\"content\": \"\"}");
	assert_answer("   ", "{\"content\": \"\"}");
}

static void
a_first_line_that_names_no_call_is_content_too(void **state)
{
	static const char *const raws[] = {
		"Hello", " Hello ", "Hello\nworld", "get_weather", "get_weather\n", "get_weather\ntool_call(a=1)",
		"get_weather\n```python\ntool_call(a=1)", "get_weather\n```tool_call(a=1)```", "get_weather\n```python\n```",
		"get weather\n```python\ntool_call(a=1)\n```", "get_weather\n```python\ntool_call(a=b)\n```",
		"get_weather\n```python\nimport os\n```", "get_weather\nSure:\n```python\ntool_call(a=1)\n```",
		"get_weather\n```python\ntool_call(a=1)\n``` done", "get_weather\n``", "get_weather\n```", "get_weather\n`````",
		"get_weather\n```\n``", "interpreter\nprint(1)"
	};
	char		want[200];

	(void) state;
	for (size_t i = 0; i < sizeof(raws) / sizeof(raws[0]); i++)
	{
		char	   *out = want + sprintf(want, "{\"content\": \"");

		for (const char *c = raws[i]; *c; c++)
			out += sprintf(out, *c == '\n' ? "\\n" : "%c", *c);
		strcpy(out, "\"}");
		assert_answer(raws[i], want);
	}
}

static void
calls_are_split(void **state)
{
	static const char want[] = "{\"content\": null, \"tool_calls\": [{\"name\": \"get_weather\", "
		"\"arguments\": \"{\\\"city\\\": \\\"北京\\\"}\"}]}";

	(void) state;
	assert_answer("get_weather\n```python\ntool_call(city=\"北京\")\n```", want);
	assert_answer(" get_weather\n ```python\ntool_call(city='北京')\n```\n", want);
	assert_answer("get_weather \r\n\n```\ntool_call(\n    city=\"北京\",\n)\n\n```  ", want);
	assert_answer("a.b-c\n```python\ntool_call(x=0.1, y=[1, {\"z\": None}])\n```",
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"a.b-c\", "
				  "\"arguments\": \"{\\\"x\\\": 0.1, \\\"y\\\": [1, {\\\"z\\\": null}]}\"}]}");
	/* a fence inside a string does not end the block */
	assert_answer("f\n```python\ntool_call(x=\"```\")\n```",
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"f\", "
				  "\"arguments\": \"{\\\"x\\\": \\\"```\\\"}\"}]}");
}

static void
code_for_the_interpreter_is_returned_not_read(void **state)
{
	(void) state;
	assert_answer("interpreter\n```python\nimport os\nprint(\"1\\n\")\n```",
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"interpreter\", \"arguments\": "
				  "\"{\\\"code\\\": \\\"import os\\\\nprint(\\\\\\\"1\\\\\\\\n\\\\\\\")\\\"}\"}]}");
	assert_answer("interpreter\n```\n\n```",
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"interpreter\", "
				  "\"arguments\": \"{\\\"code\\\": \\\"\\\"}\"}]}");
}

static void
broken_bytes_become_replacement_characters(void **state)
{
	(void) state;
	assert_answer("\n a\xFF\xE4\xBD", "{\"content\": \"a���\"}");
	assert_answer_n("\n a\0b", 5, "{\"content\": \"a�b\"}");
	assert_answer_n("f\n```\ntool_call(a='\0')\n```", 26, "{\"content\": null, \"tool_calls\": "
					"[{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"�\\\"}\"}]}");
}

/* Every beginning of a call is content, and no byte behind it is read. */
static void
every_cut_of_a_call_is_content(void **state)
{
	static const char call[] = "f\n```python\ntool_call(a=\"\\u5317\", b=[1.5, (2,)], c={'d': None})\n```";

	(void) state;
	for (size_t n = 0; n < sizeof(call); n++)
	{
		char	   *exact = malloc(n ? n : 1);
		char	   *got;

		memcpy(exact, call, n);
		got = glm_answer_parse(exact, n);
		assert_non_null(got);
		assert_int_equal(strstr(got, "tool_calls") != NULL, n == sizeof(call) - 1);
		free(got);
		free(exact);
		if (n == sizeof(call) - 1)
			break;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_first_line_means_content),
		cmocka_unit_test(a_first_line_that_names_no_call_is_content_too),
		cmocka_unit_test(calls_are_split),
		cmocka_unit_test(code_for_the_interpreter_is_returned_not_read),
		cmocka_unit_test(broken_bytes_become_replacement_characters),
		cmocka_unit_test(every_cut_of_a_call_is_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
