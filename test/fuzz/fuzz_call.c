/*
 * fuzz_call.c - any UTF-8 without NULs as a call with Python's literals: nothing, or an object
 * which, written as a call, is read as the same.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/text/literal.h"

/* Writes "tool_call(key=literal, ...)"; false: a key is a reserved word,
 * which is read all the same. */
static bool
write_call(glm_buf *out, json_t *arguments)
{
	const char *key, *comma = "";
	json_t	   *value;

	glm_buf_puts(out, "tool_call(");
	json_object_foreach(arguments, key, value)
	{
		if (!glm_literal_is_keyword(key, strlen(key)))
			return false;
		glm_buf_puts(out, comma);
		glm_buf_puts(out, key);
		glm_buf_puts(out, "=");
		FUZZ_CHECK(glm_literal_write(out, value, GLM_STYLE_PYTHON));
		comma = ", ";
	}
	glm_buf_puts(out, ")");
	return true;
}

static void
check_call(json_t *arguments)
{
	glm_buf text = {0};
	glm_buf again = {0};
	json_t *same;

	FUZZ_CHECK(json_is_object(arguments));
	if (write_call(&text, arguments))
	{
		same = glm_literal_read_call(text.data, text.length);
		FUZZ_CHECK(same != NULL && write_call(&again, same));
		FUZZ_CHECK(text.length == again.length && memcmp(text.data, again.data, text.length) == 0);
		glm_json_free(same);
	}
	glm_buf_free(&text);
	glm_buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char   *text = malloc(size + 1);
	json_t *arguments;
	size_t	used = 0;

	memcpy(text, data, size);
	text[size] = '\0';
	if (strlen(text) == size && glm_utf8_check(text, size) < 0)
	{
		arguments = glm_literal_read_call(text, size);
		if (arguments != NULL)
			check_call(arguments);
		glm_json_free(arguments);
		arguments = glm_literal_read_call_in(text, size, &used);
		FUZZ_CHECK(used <= size);
		glm_json_free(arguments);
	}
	free(text);
	return 0;
}
