/*
 * chat_format.c - the formats there are: one is chosen for a model, or found by its number.
 *
 * No locks: pure functions.
 */
#include "engine/text/chat_format.h"

#include <string.h>

#include "engine/text/chat_chatglm3.h"

static const glm_chat *const formats[GLM_N_CHAT_FORMATS] = {
	[GLM_CHAT_CHATGLM3] = &glm_chat_chatglm3,
};

static bool
has_tokens(const glm_tokenizer *tok, const glm_chat *chat)
{
	for (const char *const *name = chat->tokens; *name != NULL; name++)
		if (glm_tokenizer_special(tok, *name) < 0)
			return false;
	return true;
}

const glm_chat *
glm_chat_choose(const glm_tokenizer *tok, glm_error *err)
{
	for (int i = GLM_CHAT_NONE + 1; i < GLM_N_CHAT_FORMATS; i++)
		if (has_tokens(tok, formats[i]))
			return formats[i];
	glm_fail(err, GLM_UNSUPPORTED, "the tokenizer lacks the special tokens of every known chat");
	return NULL;
}

bool
glm_chat_stops(const glm_chat *chat, const glm_tokenizer *tok, int32_t id)
{
	const char *name = glm_tokenizer_name(tok, id);

	for (const char *const *stop = chat->stops; name != NULL && *stop != NULL; stop++)
		if (strcmp(name, *stop) == 0)
			return true;
	return false;
}

size_t
glm_chat_begun(const glm_chat *chat, const glm_tokenizer *tok, const int32_t *ids, size_t n)
{
	int32_t turn = chat->next_turn != NULL ? glm_tokenizer_special(tok, chat->next_turn) : -1;

	for (size_t i = n; turn >= 0 && i > 0; i--)
		if (ids[i - 1] == turn)
			return n - i;
	return 0;
}

/* ---- Answers ------------------------------------------------------------- */

static char *
parse_answer(glm_chat_format format, const char *raw, size_t length, bool marked)
{
	if (format <= GLM_CHAT_NONE || format >= GLM_N_CHAT_FORMATS)
		return NULL;
	return formats[format]->parse(raw, length, marked);
}

char *
glm_answer_parse(glm_chat_format format, const char *raw, size_t length)
{
	return parse_answer(format, raw, length, false);
}

char *
glm_answer_parse_turns(glm_chat_format format, const char *raw, size_t length)
{
	return parse_answer(format, raw, length, true);
}
