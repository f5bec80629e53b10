/*
 * test_prompt.c - from messages to turns, and from turns to ids.
 *
 * Turns are compared as text, one "role|metadata|content" each; the ids of the
 * template are compared with golden/ where it lies beside the tree and with
 * the tokenizer's own answers otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixtures.h"
#include "engine/text/chat_chatglm3.h"
#include "engine/text/messages.h"
#include "engine/text/prompt.h"

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define TOOL_TEXT "\n[\n    {\n        \"name\": \"f\",\n        \"parameters\": {}\n    }\n]"
#define DEFAULT_SYSTEM                                                                             \
	"Answer the following questions as best as you can. You have access to the following tools:"

/* ---- Requests ------------------------------------------------------------ */

typedef struct block
{
	glm_request *req;
	uint32_t	 size;
} block;

static glm_span
put(block *b, const char *text)
{
	glm_span span = {b->size, text ? (uint32_t) strlen(text) : 0};

	if (text == NULL)
		return (glm_span){0, 0};
	b->req = realloc(b->req, b->size + span.length + 1);
	memcpy((char *) b->req + b->size, text, span.length + 1);
	b->size += span.length + 1;
	return span;
}

static glm_request *
make_request(glm_form form, const char *text, const char *system, const char *tools)
{
	block	 b = {calloc(1, sizeof(glm_request)), sizeof(glm_request)};
	glm_span spans[3] = {put(&b, text), put(&b, system), put(&b, tools)};

	b.req->kind = GLM_GENERATE;
	b.req->form = form;
	b.req->text = spans[0];
	b.req->system = spans[1];
	b.req->tools = spans[2];
	b.req->size = b.size;
	return b.req;
}

/* ---- Turns --------------------------------------------------------------- */

static bool
write_turn(void *arg, const glm_turn *turn, glm_error *err)
{
	static const char *const roles[] = {"system", "user", "assistant", "observation"};

	assert_in_range(turn->role, GLM_ROLE_SYSTEM, GLM_ROLE_OBSERVATION);
	(void) err;
	glm_buf_puts(arg, roles[turn->role]);
	glm_buf_puts(arg, "|");
	glm_buf_puts(arg, turn->metadata->data);
	glm_buf_puts(arg, "|");
	glm_buf_puts(arg, turn->content->data);
	glm_buf_puts(arg, "\x1e");
	return true;
}

static void
assert_turns(glm_form form, const char *text, const char *system, const char *tools,
			 const char *want)
{
	glm_request *req = make_request(form, text, system, tools);
	glm_buf		 out = {0};
	glm_error	 err = {0};

	if (!glm_messages_walk(&glm_chat_chatglm3, req, form == GLM_MESSAGES, write_turn, &out, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < out.length; i++)
		if (out.data[i] == '\x1e')
			out.data[i] = i + 1 < out.length ? '#' : '\0';
	assert_string_equal(out.data, want);
	glm_buf_free(&out);
	free(req);
}

static void
assert_messages(const char *messages, const char *want)
{
	assert_turns(GLM_MESSAGES, messages, NULL, NULL, want);
}

static void
a_prompt_is_a_user_turn(void **state)
{
	(void) state;
	assert_turns(GLM_PROMPT, "[1]", NULL, NULL, "user||[1]");
	assert_turns(GLM_PROMPT, "hi", "Be brief.", NULL, "system||Be brief.#user||hi");
	assert_turns(GLM_PROMPT, "hi", NULL, "[{\"name\":\"f\",\"parameters\":{}}]",
				 "system||" DEFAULT_SYSTEM TOOL_TEXT "#user||hi");
	assert_turns(GLM_PROMPT, "hi", NULL, "[]", "user||hi");
}

static void
plain_messages_in_order(void **state)
{
	(void) state;
	assert_messages(
		"[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"U\"},"
		"{\"role\":\"assistant\",\"content\":\"A\"},{\"role\":\"user\",\"content\":\"\"}]",
		"system||S#user||U#assistant||A#user||");
	assert_messages("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a \"},"
					"{\"type\":\"text\",\"text\":\"b\"}],\"name\":\"x\"}]",
					"user||a b");
	assert_messages("[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]}]", "assistant||");
	assert_turns(GLM_MESSAGES, "[" USER "]", "S", NULL, "system||S#user||hi");
}

static void
both_ways_of_calling_a_tool_are_one(void **state)
{
	static const char want[] =
		"user||hi#assistant|get_weather|```python\ntool_call(city=\"北京\", days=2)\n```"
		"#observation||{\"t\": 22}";

	(void) state;
	assert_messages("[" USER ",{\"role\":\"assistant\",\"metadata\":\"get_weather\",\"content\":"
					"\"```python\\ntool_call(city=\\\"北京\\\", days=2)\\n```\"},"
					"{\"role\":\"observation\",\"content\":\"{\\\"t\\\": 22}\"}]",
					want);
	assert_messages("[" USER ",{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
					"\"c1\",\"type\":\"function\","
					"\"function\":{\"name\":\"get_weather\",\"arguments\":\"{\\\"city\\\": "
					"\\\"北京\\\", \\\"days\\\": 2}\"}}]},"
					"{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"{\\\"t\\\": 22}\"}]",
					want);
	assert_messages("[" USER ",{\"role\":\"assistant\",\"tool_calls\":[{\"function\":"
					"{\"name\":\"get_weather\",\"arguments\":{\"city\": \"北京\", \"days\": 2}}}]},"
					"{\"role\":\"tool\",\"content\":\"{\\\"t\\\": 22}\"}]",
					want);
}

static void
calls_are_written_as_python(void **state)
{
#define CALL(name, arguments) "{\"function\":{\"name\":\"" name "\",\"arguments\":" arguments "}}"
	(void) state;
	assert_messages("[{\"role\":\"assistant\",\"tool_calls\":[" CALL("f", "{}") "]}]",
					"assistant|f|```python\ntool_call()\n```");
	assert_messages("[{\"role\":\"assistant\",\"tool_calls\":[" CALL(
						"f", "{\"a\":[true,null,{\"b\":1.50}],\"c\":\"say \\\"hi\\\"\\n\"}") "]}]",
					"assistant|f|```python\ntool_call(a=[True, None, {\"b\": 1.5}], c=\"say "
					"\\\"hi\\\"\\n\")\n```");
	assert_messages(
		"[{\"role\":\"assistant\",\"tool_calls\":[" CALL("f", "{\"two words\":1,\"b\":2}") "]}]",
		"assistant|f|```python\ntool_call(**{\"two words\": 1, \"b\": 2})\n```");
	assert_messages("[{\"role\":\"assistant\",\"tool_calls\":[" CALL(
						"interpreter", "{\"code\":\"print(1)\"}") "]}]",
					"assistant|interpreter|```python\nprint(1)\n```");
	assert_messages("[{\"role\":\"assistant\",\"content\":\"Two.\",\"tool_calls\":[" CALL(
						"f", "{\"a\":1}") "," CALL("g", "\"{}\"") "]}]",
					"assistant||Two.#assistant|f|```python\ntool_call(a=1)\n```#assistant|g|```"
					"python\ntool_call()\n```");
}

/* Clients write a call without arguments in many ways. */
static void
calls_may_lack_arguments(void **state)
{
	static const char *const ways[] = {"",
									   ",\"arguments\":null",
									   ",\"arguments\":\"\"",
									   ",\"arguments\":\" \\n\"",
									   ",\"arguments\":\"null\"",
									   ",\"arguments\":{}",
									   ",\"arguments\":\"{}\""};

	(void) state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
	{
		char messages[200];

		sprintf(messages,
				"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\"%s}}]}]",
				ways[i]);
		assert_messages(messages, "assistant|f|```python\ntool_call()\n```");
	}
}

static void
calls_are_written_as_a_model_writes_them(void **state)
{
	(void) state;
	assert_messages(
		"[{\"role\":\"assistant\",\"tool_calls\":[" CALL("查询天气", "{\"城市\":\"北京\"}") "]}]",
		"assistant|查询天气|```python\ntool_call(城市=\"北京\")\n```");
	assert_messages(
		"[{\"role\":\"assistant\",\"tool_calls\":[" CALL("3d-model", "{\"class\":1}") "]}]",
		"assistant|3d-model|```python\ntool_call(**{\"class\": 1})\n```");
	assert_messages(
		"[{\"role\":\"assistant\",\"tool_calls\":[" CALL(
			"f", "{\"n\":12345678901234567890}") "," CALL("f", "\"{\\\"n\\\":[-"
															   "18446744073709551616]}\"") "]}]",
		"assistant|f|```python\ntool_call(n=12345678901234567890)\n```#"
		"assistant|f|```python\ntool_call(n=[-18446744073709551616])\n```");
}

static void
results_stand_in_the_order_of_their_calls(void **state)
{
#define TWO                                                                                        \
	"{\"role\":\"assistant\",\"tool_calls\":["                                                     \
	"{\"id\":\"W\",\"function\":{\"name\":\"w\"}},{\"id\":\"T\",\"function\":{\"name\":\"t\"}}]}"
#define CALLED "assistant|w|```python\ntool_call()\n```#assistant|t|```python\ntool_call()\n```#"
#define TOOL(id, text) "{\"role\":\"tool\"" id ",\"content\":\"" text "\"}"
#define ID(id) ",\"tool_call_id\":\"" id "\""
	(void) state;
	assert_messages("[" TWO "," TOOL(ID("T"), "14:05") "," TOOL(ID("W"), "22 C") "]",
					CALLED "observation||22 C#observation||14:05");
	assert_messages("[" TWO "," TOOL(ID("W"), "22 C") "," TOOL(ID("T"), "14:05") "," USER "]",
					CALLED "observation||22 C#observation||14:05#user||hi");
	/* without ids they keep their order, and fill what those with ids leave */
	assert_messages("[" TWO
					"," TOOL("", "1") "," TOOL(",\"tool_call_id\":null", "2") "," TOOL("", "3") "]",
					CALLED "observation||1#observation||2#observation||3");
	assert_messages("[" TWO "," TOOL(ID("T"), "t") "," TOOL("", "w") "]",
					CALLED "observation||w#observation||t");
	assert_messages("[" TWO "," TOOL(ID("W"), "w") "]", CALLED "observation||w");
	/* calls of several messages, one id twice, calls of ChatGLM's own form */
	assert_messages(
		"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"A\",\"function\":{\"name\":\"a\"}}]},"
		"{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"B\",\"function\":{\"name\":\"b\"}}]}"
		"," TOOL(ID("B"), "b") "," TOOL(ID("A"), "a") "]",
		"assistant|a|```python\ntool_call()\n```#assistant|b|```python\ntool_call()\n```#"
		"observation||a#observation||b");
	assert_messages(
		"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"A\",\"function\":{\"name\":\"a\"}},"
		"{\"id\":\"A\",\"function\":{\"name\":\"b\"}}]}," TOOL(ID("A"), "1") "," TOOL(ID("A"),
																					  "2") "]",
		"assistant|a|```python\ntool_call()\n```#assistant|b|```python\ntool_call()\n```#"
		"observation||1#observation||2");
	assert_messages(
		"[{\"role\":\"assistant\",\"metadata\":\"f\",\"content\":\"x\"}," TOOL(ID("any"), "1") "]",
		"assistant|f|x#observation||1");
}

/* Twenty thousand calls and their results, last first: sorted in a moment. */
static void
sorting_results_is_linear(void **state)
{
	const int	 n = 20000;
	char		*messages = malloc(n * 160 + 100);
	char		*out = messages + sprintf(messages, "[{\"role\":\"assistant\",\"tool_calls\":[");
	glm_request *req;
	glm_buf		 turns = {0};
	glm_error	 err = {0};
	const char	*first;

	(void) state;
	for (int i = 0; i < n; i++)
		out += sprintf(out, "%s{\"id\":\"%d\",\"function\":{\"name\":\"f\"}}", i ? "," : "", i);
	out += sprintf(out, "]}");
	for (int i = n; i-- > 0;)
		out +=
			sprintf(out, ",{\"role\":\"tool\",\"tool_call_id\":\"%d\",\"content\":\"r%d\"}", i, i);
	sprintf(out, "]");
	req = make_request(GLM_MESSAGES, messages, NULL, NULL);
	assert_true(glm_messages_walk(&glm_chat_chatglm3, req, true, write_turn, &turns, &err));
	first = strstr(turns.data, "observation||");
	assert_memory_equal(first, "observation||r0\x1e", 16);
	glm_buf_free(&turns);
	free(req);
	free(messages);
}

static void
a_developer_is_a_system(void **state)
{
	(void) state;
	assert_messages("[{\"role\":\"developer\",\"content\":\"S\"}," USER "]", "system||S#user||hi");
	assert_turns(GLM_MESSAGES, "[{\"role\":\"developer\",\"content\":\"S\"}," USER "]", NULL,
				 "[{\"name\":\"f\",\"parameters\":{}}]", "system||S" TOOL_TEXT "#user||hi");
}

static void
tools_stand_in_the_system_turn(void **state)
{
	static const char tool[] = "[{\"name\":\"f\",\"parameters\":{}}]";

	(void) state;
	assert_messages("[{\"role\":\"system\",\"content\":\"S\",\"tools\":[{\"name\":\"f\","
					"\"parameters\":{}}]}," USER "]",
					"system||S" TOOL_TEXT "#user||hi");
	assert_turns(GLM_MESSAGES, "[" USER "]", NULL, tool,
				 "system||" DEFAULT_SYSTEM TOOL_TEXT "#user||hi");
	assert_turns(GLM_MESSAGES, "[" USER "]", "S", tool, "system||S" TOOL_TEXT "#user||hi");
	assert_turns(
		GLM_MESSAGES,
		"[" USER
		",{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"system\",\"content\":\"T\"}]",
		NULL, tool, "user||hi#system||S" TOOL_TEXT "#system||T");
	/* OpenAI's wrapping is taken off */
	assert_turns(GLM_MESSAGES, "[" USER "]", "S",
				 "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]",
				 "system||S" TOOL_TEXT "#user||hi");
	assert_messages("[{\"role\":\"system\",\"content\":\"S\",\"tools\":[]}]", "system||S\n[]");
	/* a bound of 64 bits without a sign is ordinary */
	assert_turns(GLM_MESSAGES, "[" USER "]", "S",
				 "[{\"name\":\"f\",\"maximum\":18446744073709551615}]",
				 "system||S\n[\n    {\n        \"name\": \"f\",\n        \"maximum\": "
				 "18446744073709551615\n    }\n]#user||hi");
	assert_messages("[{\"role\":\"system\",\"content\":\"S\",\"tools\":null}]", "system||S");
}

static void
the_order_of_keys_is_kept_or_made(void **state)
{
	static const char made[] =
		"\n[\n    {\n        \"name\": \"f\",\n        \"description\": \"天气\",\n"
		"        \"parameters\": {\n            \"b\": 1,\n            \"a\": 2\n        },\n      "
		"  \"x\": []\n    }\n]";
	static const char kept[] =
		"\n[\n    {\n        \"x\": [],\n        \"parameters\": {\n            \"b\": 1,\n"
		"            \"a\": 2\n        },\n        \"name\": \"f\",\n        \"description\": "
		"\"天气\"\n    }\n]";
	static const char tools[] =
		"[{\"x\":[],\"parameters\":{\"b\":1,\"a\":2},\"name\":\"f\",\"description\":\"天气\"}]";
	char messages[400];
	char want[600];

	(void) state;
	sprintf(messages, "[{\"role\":\"system\",\"content\":\"\",\"tools\":%s}]", tools);
	sprintf(want, "system||%s", made);
	assert_messages(messages, want);
	sprintf(want, "system||%s#user||hi", kept);
	assert_turns(GLM_MESSAGES, "[{\"role\":\"system\",\"content\":\"\"}," USER "]", NULL, tools,
				 want);
}

/* ---- Refusals ------------------------------------------------------------ */

static void
assert_refused(const char *text, const char *system, const char *tools, glm_status status,
			   const char *fragment)
{
	glm_request *req = make_request(GLM_MESSAGES, text, system, tools);
	glm_ids		 ids = {0};
	glm_error	 err = {0};

	assert_false(glm_prompt_build(&glm_chat_chatglm3, fx_tok, req, &ids, &err));
	ck_assert_error(&err, status, fragment);
	glm_ids_free(&ids);
	free(req);
}

static void
malformed_messages_are_refused_by_index_and_key(void **state)
{
	static const char *const cases[][2] = {
		{"", "empty"},
		{"[", "line 1"},
		{"{}", "array"},
		{"null", "empty"},
		{"[]", "empty"},
		{"[1]", "messages[0]"},
		{"[{\"content\":\"\"}]", "messages[0].role is missing"},
		{"[{\"role\":1}]", "messages[0].role must be a string"},
		{"[" USER ",{\"role\":\"robot\",\"content\":\"\"}]", "messages[1].role \"robot\""},
		{"[{\"role\":\"user\"}]", "messages[0].content is missing"},
		{"[{\"role\":\"assistant\"}]", "messages[0].content is missing"},
		{"[{\"role\":\"user\",\"content\":null}]", "messages[0].content"},
		{"[{\"role\":\"user\",\"content\":5}]", "messages[0].content"},
		{"[{\"role\":\"user\",\"content\":[\"a\"]}]", "messages[0].content[0]"},
		{"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"},{\"type\":\"image_"
		 "url\"}]}]",
		 "messages[0].content[1]"},
		{"[{\"role\":\"user\",\"content\":\"a\\u0000b\"}]",
		 "messages: a string holds \\u0000, which no text can at line 1"},
		{"[{\"role\":\"user\",\"content\":\"\\ud800\"}]", "messages:"},
		{"[{\"role\":\"user\",\"content\":\"\",\"tools\":[]}]", "messages[0].tools"},
		{"[{\"role\":\"user\",\"content\":\"\",\"tool_calls\":[{}]}]", "messages[0].tool_calls"},
		{"[{\"role\":\"tool\",\"content\":\"\",\"tool_call_id\":1}]", "messages[0].tool_call_id"},
		{"[{\"role\":\"assistant\",\"content\":\"\",\"metadata\":7}]", "messages[0].metadata"},
		{"[{\"role\":\"assistant\",\"content\":\"\",\"metadata\":\"a\\nb\"}]",
		 "messages[0].metadata"},
		{"[{\"role\":\"assistant\",\"tool_calls\":{}}]", "messages[0].tool_calls"},
		{"[{\"role\":\"assistant\",\"tool_calls\":[1]}]", "messages[0].tool_calls[0]"},
		{"[{\"role\":\"assistant\",\"tool_calls\":[{\"type\":\"x\",\"function\":{\"name\":\"f\","
		 "\"arguments\":{}}}]}]",
		 "tool_calls[0]"},
		{"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"a "
		 "b\",\"arguments\":{}}}]}]",
		 "tool_calls[0]"},
		{"[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":7,\"function\":{\"name\":\"f\"}}]}]",
		 "tool_calls[0].id"},
		{"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":7}}]"
		 "}]",
		 "tool_calls[0].function.arguments"},
		{"[{\"role\":12345678901234567890}]", "messages[0].role must be a string"},
		{"[{\"role\":\"user\",\"content\":12345678901234567890}]", "messages[0].content"},
		{"[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"[]"
		 "\"}}]}]",
		 "tool_calls[0].function.arguments"},
		{"[{\"role\":\"assistant\",\"metadata\":\"f\",\"tool_calls\":[{\"function\":{\"name\":"
		 "\"f\",\"arguments\":{}}}]}]",
		 "metadata"},
		{"[{\"role\":\"system\",\"content\":\"\",\"tools\":{}}]", "messages[0].tools"},
		{"[{\"role\":\"system\",\"content\":\"\",\"tools\":[{\"name\":\"f\"},{}]}]",
		 "messages[0].tools[1]"},
		{"[{\"role\":\"system\",\"content\":\"\",\"tools\":[{\"type\":\"function\",\"function\":{}}"
		 "]}]",
		 "messages[0].tools[0]"},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused(cases[i][0], NULL, NULL, GLM_BAD_JSON, cases[i][1]);
}

static void
results_must_answer_calls(void **state)
{
#define CALLS                                                                                      \
	"{\"role\":\"assistant\",\"tool_calls\":["                                                     \
	"{\"id\":\"A\",\"function\":{\"name\":\"f\"}},{\"id\":\"B\",\"function\":{\"name\":\"g\"}}]}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":" id ",\"content\":\"" text "\"}"
	static const char *const cases[][2] = {
		{"[" CALLS "," RESULT("\"Z\"", "z") "]",
		 "messages[1].tool_call_id \"Z\" is not the id of a call"},
		{"[" CALLS "," RESULT("\"A\"", "a") "," RESULT("\"A\"", "b") "]",
		 "messages[2].tool_call_id \"A\" has a result"},
		{"[" CALLS "," RESULT("\"B\"", "b") "]",
		 "messages[1] is the result of call 2, but call 1 has none"},
		{"[" USER "," RESULT("\"A\"", "a") "]", "messages[1].tool_call_id \"A\""},
		{"[" CALLS "," USER "," RESULT("\"A\"", "a") "]", "messages[2].tool_call_id \"A\""},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_refused(cases[i][0], NULL, NULL, GLM_BAD_JSON, cases[i][1]);
}

static void
tools_nobody_could_call_are_refused(void **state)
{
	(void) state;
	assert_refused("[" USER "]", NULL, "[{\"name\":\"f\"},{\"name\":\"get weather\"}]",
				   GLM_BAD_JSON, "tools[1] has the name \"get weather\"");
	assert_refused("[" USER "]", NULL, "[{\"name\":\"a\\nb\"}]", GLM_BAD_JSON,
				   "tools[0] has the name");
	assert_refused("[{\"role\":\"system\",\"content\":\"\",\"tools\":[{\"name\":\"Sure:\"}]}]",
				   NULL, NULL, GLM_BAD_JSON, "messages[0].tools[0] has the name \"Sure:\"");
	assert_refused("[" USER "]", NULL, "[{\"name\":12345678901234567890}]", GLM_BAD_JSON,
				   "tools[0]");
}

static void
arguments_that_contradict_messages_are_refused(void **state)
{
	static const char with_system[] =
		"[{\"role\":\"system\",\"content\":\"S\",\"tools\":[{\"name\":\"f\"}]}]";

	(void) state;
	assert_refused(with_system, "S", NULL, GLM_BAD_ARGUMENT, "\"system\"");
	assert_refused(with_system, NULL, "[{\"name\":\"f\"}]", GLM_BAD_ARGUMENT, "\"tools\"");
	assert_refused("[" USER "]", NULL, "{", GLM_BAD_JSON, "tools");
	assert_refused("[" USER "]", NULL, "{}", GLM_BAD_JSON, "tools");
	assert_refused("[" USER "]", NULL, "[1]", GLM_BAD_JSON, "tools[0]");
	assert_refused("[" USER "]", NULL, "[{\"name\":\"\"}]", GLM_BAD_JSON, "tools[0]");
}

static void
depth_is_bounded(void **state)
{
	const int depth = 100000;
	char	 *messages = malloc(depth + 1);

	(void) state;
	memset(messages, '[', depth);
	messages[depth] = '\0';
	assert_refused(messages, NULL, NULL, GLM_BAD_JSON, "messages");
	free(messages);
}

/* ---- Ids ----------------------------------------------------------------- */

static void
add_encoded(glm_ids *ids, const char *text)
{
	assert_true(glm_tokenizer_encode(fx_tok, text, strlen(text), ids, NULL));
}

static void
add_special(glm_ids *ids, const char *name)
{
	assert_true(glm_ids_add(ids, glm_tokenizer_special(fx_tok, name), NULL));
}

static void
assert_ids(const glm_tokenizer *t, glm_request *req, const glm_ids *want)
{
	glm_ids	  got = {0};
	glm_error err = {0};

	if (!glm_prompt_build(&glm_chat_chatglm3, t, req, &got, &err))
		fail_msg("%s", err.message);
	assert_int_equal(got.length, want->length);
	assert_memory_equal(got.data, want->data, want->length * sizeof(int32_t));
	glm_ids_free(&got);
	free(req);
}

static void
the_template_is_the_published_one(void **state)
{
	glm_ids want = {0};

	(void) state;
	add_special(&want, "[gMASK]");
	add_special(&want, "sop");
	add_special(&want, "<|system|>");
	add_encoded(&want, "\n");
	add_encoded(&want, "Be brief.");
	add_special(&want, "<|user|>");
	add_encoded(&want, "\n");
	add_encoded(&want, "<|user|>你好");
	add_special(&want, "<|assistant|>");
	assert_ids(fx_tok, make_request(GLM_PROMPT, "<|user|>你好", "Be brief.", NULL), &want);
	glm_ids_free(&want);
}

static void
a_raw_prompt_has_no_turns(void **state)
{
	glm_ids	  want = {0};
	glm_error err = {0};
	static const struct
	{
		const char *text, *system, *tools, *fragment;
	} cases[] = {{"a", "S", NULL, "\"system\""}, {"a", NULL, "[]", "\"tools\""}};

	(void) state;
	add_special(&want, "[gMASK]");
	add_special(&want, "sop");
	add_encoded(&want, "Once upon");
	assert_ids(fx_tok, make_request(GLM_RAW, "Once upon", NULL, NULL), &want);
	for (int i = 0; i < 2; i++)
	{
		glm_request *req = make_request(GLM_RAW, cases[i].text, cases[i].system, cases[i].tools);

		want.length = 0;
		assert_false(glm_prompt_build(&glm_chat_chatglm3, fx_tok, req, &want, &err));
		ck_assert_error(&err, GLM_BAD_ARGUMENT, cases[i].fragment);
		free(req);
	}
	glm_ids_free(&want);
}

/* An empty prompt is an empty turn, or the beginning of text. */
static void
a_prompt_may_be_empty(void **state)
{
	glm_ids want = {0};

	(void) state;
	add_special(&want, "[gMASK]");
	add_special(&want, "sop");
	assert_ids(fx_tok, make_request(GLM_RAW, "", NULL, NULL), &want);
	add_special(&want, "<|user|>");
	add_encoded(&want, "\n");
	add_special(&want, "<|assistant|>");
	assert_ids(fx_tok, make_request(GLM_PROMPT, "", NULL, NULL), &want);
	assert_ids(fx_tok,
			   make_request(GLM_MESSAGES, "[{\"role\":\"user\",\"content\":\"\"}]", NULL, NULL),
			   &want);
	glm_ids_free(&want);
}

/* Compares one row of golden's chats, and where tools come apart as well. */
static void
check_golden_chat(const glm_tokenizer *t, json_t *row)
{
	json_t *array = json_object_get(row, "ids");
	json_t *messages = json_object_get(row, "messages");
	json_t *first = json_array_get(messages, 0);
	char   *text = json_dumps(messages, 0);
	char   *tools = json_dumps(json_object_get(first, "tools"), 0);
	glm_ids want = {0};

	for (size_t i = 0; i < json_array_size(array); i++)
		glm_ids_add(&want, (int32_t) json_integer_value(json_array_get(array, i)), NULL);
	assert_true(want.length > 0);
	assert_ids(t, make_request(GLM_MESSAGES, text, NULL, NULL), &want);
	free(text);
	if (tools != NULL)
	{
		json_object_del(first, "tools");
		text = json_dumps(messages, 0);
		assert_ids(t, make_request(GLM_MESSAGES, text, NULL, tools), &want);
		free(text);
		free(tools);
	}
	glm_ids_free(&want);
}

static void
golden_chats_are_exact(void **state)
{
	static const char *const names[] = {"chatglm3-a", "chatglm3-b"};
	static const int		 vocabs[] = {768, 1024};

	(void) state;
	if (ck_golden() == NULL)
		skip();
	for (int i = 0; i < 2; i++)
	{
		char		   dir[CK_PATH];
		char		   path[CK_PATH];
		glm_tokenizer *t;
		json_t		  *expected;
		json_t		  *chats;

		ck_path(dir, ck_golden(), names[i]);
		ck_path(path, dir, "expected.json");
		t = glm_tokenizer_open(dir, vocabs[i], NULL);
		expected = json_load_file(path, 0, NULL);
		chats = json_object_get(expected, "chat");
		assert_true(t != NULL && json_array_size(chats) > 0);
		for (size_t j = 0; j < json_array_size(chats); j++)
			check_golden_chat(t, json_array_get(chats, j));
		json_decref(expected);
		glm_tokenizer_close(t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prompt_is_a_user_turn),
		cmocka_unit_test(plain_messages_in_order),
		cmocka_unit_test(both_ways_of_calling_a_tool_are_one),
		cmocka_unit_test(calls_are_written_as_python),
		cmocka_unit_test(calls_may_lack_arguments),
		cmocka_unit_test(calls_are_written_as_a_model_writes_them),
		cmocka_unit_test(results_stand_in_the_order_of_their_calls),
		cmocka_unit_test(sorting_results_is_linear),
		cmocka_unit_test(a_developer_is_a_system),
		cmocka_unit_test(results_must_answer_calls),
		cmocka_unit_test(tools_nobody_could_call_are_refused),
		cmocka_unit_test(a_prompt_may_be_empty),
		cmocka_unit_test(tools_stand_in_the_system_turn),
		cmocka_unit_test(the_order_of_keys_is_kept_or_made),
		cmocka_unit_test(malformed_messages_are_refused_by_index_and_key),
		cmocka_unit_test(arguments_that_contradict_messages_are_refused),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(the_template_is_the_published_one),
		cmocka_unit_test(a_raw_prompt_has_no_turns),
		cmocka_unit_test(golden_chats_are_exact),
	};

	return cmocka_run_group_tests(tests, fx_open_tokenizer, fx_close_tokenizer);
}
