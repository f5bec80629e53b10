/*
 * texts.c - calibration texts become rows of tokens.
 *
 * All texts lie behind each other in one array of rows; a row knows its place in
 * its own text.  The token of a row counts for the perplexity where it is something that
 * a model is asked to say: of a chat the assistant's turns, with what ends them, of any
 * other text all but the prefix of prompts.
 *
 * No state: pure functions.
 */
#include "engine/quantize/texts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/text/prompt.h"

/* Is this text a JSON array, and so a chat? */
static bool
is_chat(const char *text, size_t n)
{
	json_t *root;
	bool	chat = false;

	if (text[strspn(text, " \t\r\n")] != '[')
		return false;
	root = glm_json_loadb(text, n, 0, NULL);
	chat = json_is_array(root);
	glm_json_free(root);
	return chat;
}

/* The ids of one text; prompt.c takes it out of a request. */
static bool
tokenize_text(const glm_model *model, const char *text, size_t n, glm_ids *ids, bool *chat,
			  glm_error *err)
{
	glm_request *req = calloc(1, sizeof(*req) + n + 1);
	bool		 ok;

	if (req == NULL)
		return glm_no_memory(err);
	*chat = is_chat(text, n);
	req->size = (uint32_t) (sizeof(*req) + n + 1);
	req->kind = GLM_GENERATE;
	req->form = *chat ? GLM_MESSAGES : GLM_RAW;
	req->text = (glm_span){.offset = sizeof(*req), .length = (uint32_t) n};
	memcpy(req + 1, text, n);
	ok = glm_prompt_build_over(model->chat, model->tokenizer, req, ids, err);
	free(req);
	return ok;
}

static bool
reserve_rows(glm_texts *texts, size_t n, glm_error *err)
{
	glm_pass_row *rows = realloc(texts->row, (texts->n_rows + n) * sizeof(*rows));

	if (rows == NULL)
		return glm_no_memory(err);
	texts->row = rows;
	return true;
}

/* Adds the first n ids as the rows of a text; row.want: GLM_WANT_LOGITS where the next one counts. */
static bool
add_rows(glm_texts *texts, const glm_model *model, const int32_t *ids, size_t n, bool chat,
		 glm_error *err)
{
	size_t prefix = glm_prompt_prefix_length(model->chat);
	bool  *said = calloc(n, sizeof(*said));

	if (said == NULL || !reserve_rows(texts, n, err))
	{
		free(said);
		return glm_no_memory(err);
	}
	if (chat)
		model->chat->find_said(model->tokenizer, ids, n, said);
	for (size_t i = 0; i < n; i++)
	{
		if (i > 0)
			texts->row[texts->n_rows - 1].want =
				(chat ? said[i] : i >= prefix) ? GLM_WANT_LOGITS : GLM_WANT_NOTHING;
		texts->row[texts->n_rows++] =
			(glm_pass_row){.token = ids[i], .position = (int32_t) i, .sequence = texts->n_texts};
	}
	free(said);
	texts->n_texts++;
	return true;
}

/*
 * Bytes of a plain text that can matter for its first `left` ids, so that a book
 * is not tokenized for its first page.  A token more than is taken keeps those
 * that are apart from the cut.
 */
static size_t
cut_text(const glm_tokenizer *tok, const char *text, size_t n, size_t left)
{
	size_t most = (left + 1) * glm_tokenizer_longest(tok);

	if (n <= most || is_chat(text, n))
		return n;
	while (most > 0 && ((uint8_t) text[most] & 0xc0) == 0x80)
		most--;
	return most;
}

static bool
read_text(glm_texts *texts, const glm_model *model, json_t *text, size_t number, size_t max_tokens,
		  glm_error *err)
{
	glm_ids ids = {0};
	size_t	left = max_tokens - texts->n_rows;
	size_t	context = (size_t) model->config.context;
	size_t	n = json_string_length(text);
	bool	chat = false;
	bool	ok = true;

	if (!json_is_string(text))
		return glm_fail(err, GLM_BAD_ARGUMENT, "calibration text %zu is not a string", number + 1);
	if (n == 0)
		return true;
	n = cut_text(model->tokenizer, json_string_value(text), n, left);
	if (!tokenize_text(model, json_string_value(text), n, &ids, &chat, err))
	{
		glm_error why = *err;

		glm_ids_free(&ids);
		return glm_fail(err, why.status, "calibration text %zu: %.300s", number + 1, why.message);
	}
	if (ids.length > left)
		ids.length = left;
	if (ids.length > context)
		ids.length = context;
	if (ids.length > glm_prompt_prefix_length(model->chat))
		ok = add_rows(texts, model, ids.data, ids.length, chat, err);
	glm_ids_free(&ids);
	return ok;
}

bool
glm_texts_read(glm_texts *texts, const glm_model *model, const char *json, int max_tokens,
			   const glm_work *work, glm_error *err)
{
	json_t *list = glm_json_loadb(json, strlen(json), 0, NULL);
	size_t	i;
	json_t *text;
	bool	ok = true;

	*texts = (glm_texts){0};
	if (!glm_pause(err))
		ok = false;
	else if (!json_is_array(list))
		ok = glm_fail(err, GLM_BAD_ARGUMENT, "calibration must be an array of texts");
	json_array_foreach(list, i, text)
	{
		if (!ok || texts->n_rows + glm_prompt_prefix_length(model->chat) >= (size_t) max_tokens)
			break;
		ok = glm_work_cancelled(work) ? glm_fail(err, GLM_CANCELLED, "the request was cancelled")
									  : read_text(texts, model, text, i, (size_t) max_tokens, err);
	}
	glm_json_free(list);
	if (ok && texts->n_rows == 0)
		ok = glm_fail(err, GLM_BAD_ARGUMENT, "the calibration texts are empty");
	return ok;
}

void
glm_texts_free(glm_texts *texts)
{
	free(texts->row);
	*texts = (glm_texts){0};
}
