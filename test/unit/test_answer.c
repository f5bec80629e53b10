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
#include "engine/text/literal.h"

static void
assert_answer_n(const char *raw, size_t n, const char *want)
{
	char *got = glm_answer_parse(GLM_CHAT_CHATGLM3, raw, n);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void
assert_answer(const char *raw, const char *want)
{
	assert_answer_n(raw, strlen(raw), want);
}

/* An answer whose turns are marked; they are written with a | between them. */
static void
assert_turns(const char *raw, const char *want)
{
	char   marked[400];
	char  *got;
	size_t n = strlen(raw);

	for (size_t i = 0; i < n; i++)
		marked[i] = raw[i] == '|' ? '\0' : raw[i];
	got = glm_answer_parse_turns(GLM_CHAT_CHATGLM3, marked, n);
	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
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
	static const char *const raws[] = {"Hello",
									   " Hello ",
									   "Hello\nworld",
									   "get_weather",
									   "get_weather\n",
									   "get_weather\ntool_call(a=1)",
									   "get_weather\n```python\ntool_call(a=1)",
									   "get_weather\n```tool_call(a=1)```",
									   "get_weather\n```python\n```",
									   "get weather\n```python\ntool_call(a=1)\n```",
									   "get_weather\n```python\ntool_call(a=b)\n```",
									   "get_weather\n```python\nimport os\n```",
									   "get_weather\nSure:\n```python\ntool_call(a=1)\n```",
									   "get_weather\n```python\ntool_call(a=1)\n``` done",
									   "get_weather\n``",
									   "get_weather\n```",
									   "get_weather\n`````",
									   "get_weather\n```\n``",
									   "interpreter\nprint(1)"};
	char					 want[200];

	(void) state;
	for (size_t i = 0; i < sizeof(raws) / sizeof(raws[0]); i++)
	{
		char *out = want + sprintf(want, "{\"content\": \"");

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

/* As the engine writes the call of a tool that has to be called. */
static void
a_name_and_an_object_are_a_call(void **state)
{
	static const char forced[] = "get_weather\n{\"city\": \"北京\", \"days\": 1.50}";
	static const char want[] =
		"{\"content\": null, \"tool_calls\": [{\"name\": \"get_weather\", "
		"\"arguments\": \"{\\\"city\\\": \\\"北京\\\", \\\"days\\\": 1.50}\"}]}";

	(void) state;
	assert_answer(forced, want);
	assert_turns(forced, want);
	assert_answer("f\n{}", "{\"content\": null, \"tool_calls\": "
						   "[{\"name\": \"f\", \"arguments\": \"{}\"}]}");
	assert_turns("\nLet me see.|f\n{}", "{\"content\": \"Let me see.\", \"tool_calls\": "
										"[{\"name\": \"f\", \"arguments\": \"{}\"}]}");
	/* code as JSON has it, and a text that looks like the token between turns behind a fence */
	assert_answer("interpreter\n{\"code\": \"```<|assistant|>\"}",
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"interpreter\", \"arguments\": "
				  "\"{\\\"code\\\": \\\"```<|assistant|>\\\"}\"}]}");
}

static void
a_name_and_anything_else_is_content(void **state)
{
	(void) state;
	assert_answer("f\n[1]", "{\"content\": \"f\\n[1]\"}");
	assert_answer("f\n{1}", "{\"content\": \"f\\n{1}\"}");
	assert_answer("f\n{} {}", "{\"content\": \"f\\n{} {}\"}");
	assert_answer("f\n{}\nf\n{}", "{\"content\": \"f\\n{}\\nf\\n{}\"}");
	assert_answer("f g\n{}", "{\"content\": \"f g\\n{}\"}");
	assert_answer("f", "{\"content\": \"f\"}");
	assert_answer("\nf\n{}", "{\"content\": \"f\\n{}\"}");
	assert_turns("\nf\n{}", "{\"content\": \"f\\n{}\"}");
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
	assert_answer_n("f\n```\ntool_call(a='\0')\n```", 26,
					"{\"content\": null, \"tool_calls\": "
					"[{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": \\\"�\\\"}\"}]}");
}

#define CALL(name, value) name "\n```python\ntool_call(a=" value ")\n```"
#define CALLED(name, value) "{\"name\": \"" name "\", \"arguments\": \"{\\\"a\\\": " value "}\"}"

/* The published client splits the model's text at the turns' token. */
static void
turns_may_be_written_out(void **state)
{
	(void) state;
	assert_answer("\n Let me check.<|assistant|>" CALL("f", "1") "<|assistant|>" CALL("g", "2"),
				  "{\"content\": \"Let me check.\", \"tool_calls\": [" CALLED("f", "1") ", " CALLED(
					  "g", "2") "]}");
	assert_answer("interpreter\n```python\nx\n```<|assistant|>" CALL("f", "1") "<|assistant|>",
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"interpreter\", \"arguments\": "
				  "\"{\\\"code\\\": \\\"x\\\"}\"}, " CALLED("f", "1") "]}");
	/* in a string or in prose it is text */
	assert_answer(CALL("f", "'<|assistant|>'"), "{\"content\": null, \"tool_calls\": [" CALLED(
													"f", "\\\"<|assistant|>\\\"") "]}");
	assert_answer(CALL("f", "'<|assistant|>'") "\n" CALL("g", "2"),
				  "{\"content\": null, \"tool_calls\": [" CALLED(
					  "f", "\\\"<|assistant|>\\\"") ", " CALLED("g", "2") "]}");
	assert_answer("\nSee <|assistant|>.", "{\"content\": \"See <|assistant|>.\"}");
	assert_answer("<|assistant|>", "{\"content\": \"<|assistant|>\"}");
}

static void
each_turn_is_read_by_itself(void **state)
{
	(void) state;
	assert_turns("\nLet me check.|" CALL("f", "1"),
				 "{\"content\": \"Let me check.\", \"tool_calls\": [" CALLED("f", "1") "]}");
	assert_turns(CALL("f", "1") "|" CALL("g", "2"), "{\"content\": null, \"tool_calls\": [" CALLED(
														"f", "1") ", " CALLED("g", "2") "]}");
	assert_turns("\nOne.|\nTwo.", "{\"content\": \"One.\\nTwo.\"}");
	assert_turns("\nOne.||\n", "{\"content\": \"One.\"}");
	/* a blank that is left belongs to it, as in an answer that goes on */
	assert_turns("\n One. ", "{\"content\": \" One. \"}");
	assert_turns("\n|" CALL("f", "1"),
				 "{\"content\": null, \"tool_calls\": [" CALLED("f", "1") "]}");
	assert_turns(CALL("f", "1") "|\nDone.",
				 "{\"content\": \"Done.\", \"tool_calls\": [" CALLED("f", "1") "]}");
	assert_turns("\nI read it.|interpreter\n```python\nprint(1)\n```",
				 "{\"content\": \"I read it.\", \"tool_calls\": [{\"name\": \"interpreter\", "
				 "\"arguments\": \"{\\\"code\\\": \\\"print(1)\\\"}\"}]}");
	/* content that looks like a call is none: its metadata is empty */
	assert_turns("\n" CALL("f", "1"), "{\"content\": \"f\\n```python\\ntool_call(a=1)\\n```\"}");
	/* a turn that does not say so may end in calls, as a text may */
	assert_turns("Sure:\n" CALL("f", "1") "\n" CALL("g", "2") "|\nDone.",
				 "{\"content\": \"Sure:\\nDone.\", \"tool_calls\": [" CALLED("f", "1") ", " CALLED(
					 "g", "2") "]}");
	assert_turns("", "{\"content\": \"\"}");
	assert_turns("x\xFF", "{\"content\": \"x\xEF\xBF\xBD\"}");
}

static void
calls_end_a_text_whose_turns_are_not_marked(void **state)
{
	(void) state;
	assert_answer("Let me check.\n" CALL("f", "1"),
				  "{\"content\": \"Let me check.\", \"tool_calls\": [" CALLED("f", "1") "]}");
	assert_answer("One.\nTwo:\n\n" CALL("f", "1") "\n" CALL("g", "2") "\n",
				  "{\"content\": \"One.\\nTwo:\", \"tool_calls\": [" CALLED("f", "1") ", " CALLED(
					  "g", "2") "]}");
	assert_answer("interpreter\n```python\ns = '''\n```\n'''\n```\n" CALL("f", "1"),
				  "{\"content\": null, \"tool_calls\": [{\"name\": \"interpreter\", \"arguments\": "
				  "\"{\\\"code\\\": \\\"s = '''\\\\n```\\\\n'''\\\"}\"}, " CALLED("f", "1") "]}");
	/* what stands behind the last one says that it was none */
	assert_answer(CALL("f", "1") "\nDone.",
				  "{\"content\": \"f\\n```python\\ntool_call(a=1)\\n```\\nDone.\"}");
	assert_answer(CALL("f", "1") "\nand\n" CALL("g", "2"),
				  "{\"content\": \"f\\n```python\\ntool_call(a=1)\\n```\\nand\", "
				  "\"tool_calls\": [" CALLED("g", "2") "]}");
	assert_answer("f\n```\ntool_call(a=1)\ntool_call(a=2)\n```",
				  "{\"content\": \"f\\n```\\ntool_call(a=1)\\ntool_call(a=2)\\n```\"}");
}

static void
names_of_other_languages_and_forms(void **state)
{
	(void) state;
	assert_answer(CALL("3d_model", "1"),
				  "{\"content\": null, \"tool_calls\": [" CALLED("3d_model", "1") "]}");
	assert_answer(CALL("mcp:search", "1"),
				  "{\"content\": null, \"tool_calls\": [" CALLED("mcp:search", "1") "]}");
	assert_answer(CALL("查询天气", "1"),
				  "{\"content\": null, \"tool_calls\": [" CALLED("查询天气", "1") "]}");
}

/* Much of what nearly is a call takes time in proportion. */
static void
reading_is_linear(void **state)
{
	static const char *const units[] = {CALL("f", "1") "\n",
										"interpreter\n```\nx\n",
										"f\n```\ntool_call(a='''\n",
										"f\n```\ntool_call(a=[\n",
										"f\n\n\n",
										"f\n```\n",
										"```\n",
										"f\n```\ntool_call(a=1)\n```\ninterpreter\n```\n"};
	const size_t			 size = 2 << 20;
	char					*text = malloc(size + 2);

	(void) state;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
	{
		size_t n = strlen(units[i]);
		char  *got;

		for (size_t at = 0; at < size; at++)
			text[at] = units[i][at % n];
		/* and in the end it was none */
		text[size] = 'x';
		got = glm_answer_parse(GLM_CHAT_CHATGLM3, text, size + 1);
		assert_non_null(got);
		free(got);
	}
	free(text);
}

/* Arguments that nobody would write so long are content, and no want of memory. */
static void
too_large_a_call_is_content(void **state)
{
	static const char begin[] = "f\n```\ntool_call(a='";
	static const char end[] = "')\n```";
	const size_t	  n = strlen(begin) + GLM_LITERAL_MAX + strlen(end);
	char			 *text = malloc(n);
	char *(*const parse[])(glm_chat_format, const char *, size_t) = {glm_answer_parse,
																	 glm_answer_parse_turns};

	(void) state;
	memset(text, 'x', n);
	memcpy(text, begin, strlen(begin));
	memcpy(text + n - strlen(end), end, strlen(end));
	for (int i = 0; i < 2; i++)
	{
		char *got = parse[i](GLM_CHAT_CHATGLM3, text, n);

		assert_non_null(got);
		assert_null(strstr(got, "tool_calls"));
		free(got);
	}
	free(text);
}

/* Every beginning of a call is content, and no byte behind it is read. */
static void
every_cut_of_a_call_is_content(void **state)
{
	static const char call[] =
		"f\n```python\ntool_call(a=\"\\u5317\", b=[1.5, (2,)], c={'d': None})\n```";

	(void) state;
	for (size_t n = 0; n < sizeof(call); n++)
	{
		char *exact = malloc(n ? n : 1);
		char *got;

		memcpy(exact, call, n);
		got = glm_answer_parse(GLM_CHAT_CHATGLM3, exact, n);
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
		cmocka_unit_test(a_name_and_an_object_are_a_call),
		cmocka_unit_test(a_name_and_anything_else_is_content),
		cmocka_unit_test(code_for_the_interpreter_is_returned_not_read),
		cmocka_unit_test(broken_bytes_become_replacement_characters),
		cmocka_unit_test(turns_may_be_written_out),
		cmocka_unit_test(each_turn_is_read_by_itself),
		cmocka_unit_test(calls_end_a_text_whose_turns_are_not_marked),
		cmocka_unit_test(names_of_other_languages_and_forms),
		cmocka_unit_test(reading_is_linear),
		cmocka_unit_test(too_large_a_call_is_content),
		cmocka_unit_test(every_cut_of_a_call_is_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
