/*
 * kind_tokens.c - texts to token ids and back, how many there are, and texts cut by them.
 *
 * All of these need a model's tokenizer and no forward pass.
 */
#include "engine/serve/engine.h"
#include "engine/text/passages.h"
#include "engine/text/prompt.h"

#define RESULT_SLICE ((size_t) 64 << 10) /* bytes of a result sent between two pauses */

static bool
send_slices(glm_engine *e, int ticket, const void *bytes, size_t n, glm_error *err)
{
	for (size_t at = 0, slice; at < n; at += slice)
	{
		slice = n - at < RESULT_SLICE ? n - at : RESULT_SLICE;
		glm_send_result(e, ticket, (const char *) bytes + at, slice);
		if (!glm_pause(err))
			return false;
	}
	return true;
}

/* Sends ids, of which *tokens says how many; frees them. */
static bool
send_ids(glm_engine *e, int ticket, glm_ids *ids, int *tokens, glm_error *err)
{
	bool ok = send_slices(e, ticket, ids->data, ids->length * sizeof(int32_t), err);

	*tokens = (int) ids->length;
	glm_ids_free(ids);
	return ok;
}

static bool
encode_text(const glm_request *req, const glm_model *model, glm_ids *ids, glm_error *err)
{
	const glm_tokenizer *tok = model->tokenizer;

	if (req->add_special && !glm_prompt_prefix(model->chat, tok, ids, err))
		return false;
	return glm_tokenizer_encode(tok, glm_request_text(req, req->text), req->text.length, ids, err);
}

static bool
answer_ids(glm_engine *e, int ticket, const glm_request *req, const glm_model *model, int *tokens,
		   glm_error *err)
{
	glm_ids ids = {0};

	if (encode_text(req, model, &ids, err))
		return send_ids(e, ticket, &ids, tokens, err);
	glm_ids_free(&ids);
	return false;
}

static bool
answer_prompt_ids(glm_engine *e, int ticket, const glm_request *req, const glm_model *model,
				  int *tokens, glm_error *err)
{
	glm_ids ids = {0};

	if (glm_prompt_build(model->chat, model->tokenizer, req, &ids, err))
		return send_ids(e, ticket, &ids, tokens, err);
	glm_ids_free(&ids);
	return false;
}

/* Sends what has gathered, if it is enough for an event or `all` is to go. */
static bool
send_gathered(glm_engine *e, int ticket, glm_buf *gathered, bool all, glm_error *err)
{
	if (gathered->failed)
		return glm_no_memory(err);
	if (gathered->length == 0 || (!all && gathered->length < GLM_EVENT_PAYLOAD))
		return true;
	if (!send_slices(e, ticket, gathered->data, gathered->length, err))
		return false;
	gathered->length = 0;
	return true;
}

/* The usage is the tokens of all. */
static bool
answer_passages(glm_engine *e, int ticket, const glm_request *req, const glm_model *model,
				int *tokens, glm_error *err)
{
	glm_passages passages = {.tok = model->tokenizer,
							 .text = glm_request_text(req, req->text),
							 .n = req->text.length,
							 .tokens = (size_t) req->max_tokens,
							 .overlap = (size_t) req->overlap};
	glm_buf		 gathered = {0};
	bool		 ok = true;

	while (ok && passages.to < passages.n)
	{
		ok = glm_passages_next(&passages, err);
		if (!ok)
			break;
		glm_buf_add(&gathered, passages.text + passages.from, passages.to - passages.from);
		glm_buf_add(&gathered, "", 1);
		*tokens += (int) passages.ids.length;
		ok = send_gathered(e, ticket, &gathered, false, err);
	}
	ok = ok && send_gathered(e, ticket, &gathered, true, err);
	glm_buf_free(&gathered);
	glm_ids_free(&passages.ids);
	return ok;
}

/* The usage is the answer. */
static bool
answer_count(glm_engine *e, int ticket, const glm_request *req, const glm_model *model, int *tokens,
			 glm_error *err)
{
	glm_ids ids = {.counted = true};
	bool	ok = encode_text(req, model, &ids, err);

	(void) e;
	(void) ticket;
	*tokens = (int) ids.length;
	glm_ids_free(&ids);
	return ok;
}

static bool
answer_text(glm_engine *e, int ticket, const glm_request *req, const glm_model *model, int *tokens,
			glm_error *err)
{
	size_t		   n;
	const int32_t *ids = glm_request_tokens(req, &n);
	glm_buf		   text = {0};
	bool		   ok = glm_tokenizer_decode(model->tokenizer, ids, n, &text, err) &&
			  send_slices(e, ticket, text.data, text.length, err);

	*tokens = (int) n;
	glm_buf_free(&text);
	return ok;
}

const glm_request_kind glm_kind_tokenize = {
	.name = "tokenize",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.answer = answer_ids,
};

const glm_request_kind glm_kind_detokenize = {
	.name = "detokenize",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.answer = answer_text,
};

const glm_request_kind glm_kind_count_tokens = {
	.name = "count_tokens",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.answer = answer_count,
};

const glm_request_kind glm_kind_chat_tokens = {
	.name = "chat_tokens",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.answer = answer_prompt_ids,
};

const glm_request_kind glm_kind_passages = {
	.name = "chunk", /* as hosts know it */
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.answer = answer_passages,
};
