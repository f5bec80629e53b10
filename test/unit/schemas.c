/*
 * schemas.c - schemas of tests, compiled.
 */
#include "schemas.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

glm_error schema_error;

static glm_arena arena;
static jmp_buf	 escape;

int
free_schema(void **state)
{
	(void) state;
	glm_arena_free(&arena);
	glm_pause_with(NULL, NULL);
	return 0;
}

const glm_node *
try_schema(const char *text, size_t n)
{
	glm_arena_free(&arena);
	glm_arena_init(&arena, (size_t) 64 << 20);
	arena.escape = &escape;
	arena.err = &schema_error;
	memset(&schema_error, 0, sizeof(schema_error));
	if (setjmp(escape) != 0)
		return NULL;
	return glm_schema_compile(&arena, glm_value_read(&arena, text, n))->root;
}

const glm_node *
compiled(const char *text)
{
	const glm_node *node = try_schema(text, strlen(text));

	if (node == NULL)
		fail_msg("%.200s: %s", text, schema_error.message);
	return node;
}

/* The first %s is the word; to be freed. */
static char *
with_word(const char *format, const char *word)
{
	const char *at = strstr(format, "%s");
	size_t		before = at != NULL ? (size_t) (at - format) : strlen(format);
	char	   *text = malloc(strlen(format) + strlen(word) + 1);

	assert_non_null(text);
	sprintf(text, "%.*s%s%s", (int) before, format, at != NULL ? word : "",
			at != NULL ? at + 2 : "");
	return text;
}

const glm_node *
compiled_format(const char *format, const char *word)
{
	char		   *text = with_word(format, word);
	const glm_node *node = compiled(text);

	free(text);
	return node;
}

void
assert_refused(const char *text, glm_status status, const char *why)
{
	if (try_schema(text, strlen(text)) != NULL)
		fail_msg("accepted: %.200s", text);
	if (schema_error.status != status || strstr(schema_error.message, why) == NULL)
		fail_msg("%.200s: status %d, %s", text, schema_error.status, schema_error.message);
}

void
assert_refused_format(const char *format, const char *word, glm_status status, const char *why)
{
	char *text = with_word(format, word);
	char *message = with_word(why, word);

	assert_refused(text, status, message);
	free(message);
	free(text);
}
