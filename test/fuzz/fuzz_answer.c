/*
 * fuzz_answer.c - any bytes as a model's answer, read in each format: JSON of content and calls.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"

/* Is this what glm_answer_parse() promises?  Frees it. */
static void
check_answer(char *text)
{
	json_t *answer = text != NULL ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *content = json_object_get(answer, "content");
	json_t *calls = json_object_get(answer, "tool_calls");
	json_t *call;
	size_t	i;

	FUZZ_CHECK(json_is_string(content) || (json_is_null(content) && calls != NULL));
	FUZZ_CHECK(calls == NULL || json_array_size(calls) > 0);
	json_array_foreach(calls, i, call)
	{
		json_t		*arguments = json_object_get(call, "arguments");
		json_t		*object;
		json_error_t why;

		FUZZ_CHECK(json_string_length(json_object_get(call, "name")) > 0);
		FUZZ_CHECK(json_is_string(arguments));
		object = glm_json_parse(json_string_value(arguments), json_string_length(arguments), false,
								&why);
		FUZZ_CHECK(json_is_object(object));
		glm_json_free(object);
	}
	json_decref(answer);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int format = GLM_CHAT_NONE + 1; format < GLM_N_CHAT_FORMATS; format++)
	{
		check_answer(glm_answer_parse((glm_chat_format) format, (const char *) data, size));
		check_answer(glm_answer_parse_turns((glm_chat_format) format, (const char *) data, size));
	}
	return 0;
}
