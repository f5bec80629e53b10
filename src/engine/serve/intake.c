/*
 * front.c - from a request to work for the scheduler.
 *
 * What a task (tasks.c) does: it finds its model, or waits until that is loaded, and
 * either answers at once (tokenize, detokenize, load ...) or builds the prompt, opens
 * a sequence with all the memory it will need, and has it handed to the engine thread
 * as soon as the model is in memory (loader.c).
 *
 * Everything here may be ended in a pause and then only gives back what it has.  The
 * last event of a request is sent by glm_task_finish, when the task is gone.
 */
#include "engine/serve/engine.h"
#include "engine/text/prompt.h"

#include <stdlib.h>
#include <string.h>

#define RESULT_SLICE ((size_t) 64 << 10) /* bytes of a result sent between two pauses */

/* ---- Requests that need no forward pass ------------------------------------ */

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

static bool
tokenize(const glm_request *req, const glm_model *model, glm_ids *ids, glm_error *err)
{
	const glm_tokenizer *tok = model->tokenizer;

	if (req->kind == GLM_CHAT_TOKENS)
		return glm_prompt_build(model->chat, tok, req, ids, err);
	if (req->add_special && !glm_prompt_prefix(model->chat, tok, ids, err))
		return false;
	return glm_tokenizer_encode(tok, glm_request_text(req, req->text), req->text.length, ids, err);
}

static bool
answer_tokenize(glm_engine *e, int ticket, const glm_request *req, const glm_model *model,
				int *tokens, glm_error *err)
{
	glm_ids ids = {.counted = req->kind == GLM_COUNT_TOKENS};
	bool	ok = tokenize(req, model, &ids, err);

	if (ok && req->kind != GLM_COUNT_TOKENS)
		ok = send_slices(e, ticket, ids.data, ids.length * sizeof(int32_t), err);
	*tokens = (int) ids.length;
	glm_ids_free(&ids);
	return ok;
}

static const int32_t *
request_tokens(const glm_request *req, size_t *n)
{
	*n = req->tokens.length / sizeof(int32_t);
	return (const int32_t *) glm_request_text(req, req->tokens);
}

static bool
answer_detokenize(glm_engine *e, int ticket, const glm_request *req, const glm_model *model,
				  int *tokens, glm_error *err)
{
	size_t		   n;
	const int32_t *ids = request_tokens(req, &n);
	glm_buf		   text = {0};
	bool		   ok = glm_tokenizer_decode(model->tokenizer, ids, n, &text, err) &&
			  send_slices(e, ticket, text.data, text.length, err);

	*tokens = (int) n;
	glm_buf_free(&text);
	return ok;
}

/* ---- Sequences ---------------------------------------------------------------- */

/* A prompt of so many tokens, or of more than these, when it was not read to its end. */
static bool
too_long(size_t tokens, bool more, const glm_model *model, glm_error *err)
{
	glm_fail(err, GLM_TOO_LONG, "prompt of %s%zu tokens does not fit the context of %d tokens",
			 more ? "more than " : "", tokens, model->config.context);
	glm_advise(err, GLM_ADVICE_SHORTEN);
	return false;
}

static bool
copy_tokens(const glm_request *req, const glm_model *model, glm_ids *out, glm_error *err)
{
	size_t		   n;
	const int32_t *ids = request_tokens(req, &n);

	if (n == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"tokens\" must not be empty");
	if (n > (size_t) model->config.context)
		return too_long(n, false, model, err);
	for (size_t i = 0; i < n; i++)
	{
		if (ids[i] < 0 || ids[i] >= model->config.vocab)
			return glm_fail(err, GLM_BAD_ARGUMENT, "token id %d is not between 0 and %d", ids[i],
							model->config.vocab - 1);
		if (!glm_ids_add(out, ids[i], err))
			return false;
	}
	return true;
}

/*
 * Refuses texts that cannot fit the context however they are cut into pieces, before
 * anybody reads megabytes of them.
 */
static bool
check_length(const glm_request *req, const glm_model *model, glm_error *err)
{
	size_t most = glm_tokenizer_longest(model->tokenizer) * (size_t) model->config.context;
	/* in JSON a character takes up to six bytes for one */
	size_t text = req->text.length / (req->form == GLM_MESSAGES ? 6 : 1);
	size_t sum = text + req->system.length + req->tools.length / 6;

	if (sum <= most || req->truncate != GLM_TRUNCATE_ERROR)
		return true;
	glm_fail(err, GLM_TOO_LONG, "prompt of %zu bytes cannot fit the context of %d tokens",
			 (size_t) req->text.length + req->system.length + req->tools.length,
			 model->config.context);
	glm_hint(err, "Shorten the prompt.");
	return false;
}

/*
 * The ids of a prompt.  One that does not fit can only fail, so it is not read much
 * farther than that: to twice the context, so that a message still says how much too
 * long an ordinary one is.
 */
static bool
build_prompt(const glm_request *req, const glm_model *model, glm_ids *ids, glm_error *err)
{
	size_t most = 2 * (size_t) model->config.context;

	if (!check_length(req, model, err))
		return false;
	if (glm_prompt_fit(model->chat, model->tokenizer, req, model->config.context, most, ids, err))
		return true;
	if (err->status == GLM_TOO_LONG && ids->length > most && req->truncate == GLM_TRUNCATE_ERROR)
		too_long(most, true, model, err);
	return false;
}

/* Fits the request into the context: fills n_prompt and limit. */
static bool
set_limit(glm_sequence *seq, glm_error *err)
{
	const glm_request *req = seq->request;
	size_t			   context = seq->model->config.context;
	size_t			   answer = req->kind == GLM_GENERATE ? (size_t) req->max_tokens : 0;
	size_t			   room = answer > 0 ? 1 : 0;

	if (seq->tokens.length == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "the prompt is empty");
	if (seq->tokens.length + room > context)
		return too_long(seq->tokens.length, false, seq->model, err);
	seq->n_prompt = (int) seq->tokens.length;
	seq->limit =
		(int) (answer < context - seq->tokens.length ? seq->tokens.length + answer : context);
	return true;
}

/* Room in the token list for the whole answer, so that no step allocates. */
static bool
reserve_tokens(glm_sequence *seq, glm_error *err)
{
	int32_t *data = realloc(seq->tokens.data, seq->limit * sizeof(int32_t));

	if (data == NULL)
		return glm_no_memory(err);
	seq->tokens.data = data;
	seq->tokens.capacity = seq->limit;
	return true;
}

static bool
open_sampler(glm_sequence *seq, glm_error *err)
{
	const glm_request *req = seq->request;

	seq->sampler = glm_sampler_open(req, glm_tokenizer_size(seq->model->tokenizer));
	seq->decoder =
		glm_decoder_open(seq->model->tokenizer, req->form != GLM_RAW ? seq->model->chat : NULL,
						 glm_request_text(req, req->stop), req->stop.length);
	if (seq->sampler == NULL || seq->decoder == NULL ||
		!glm_foresight_open(&seq->foresight, seq->tokens.data, seq->n_prompt, seq->limit))
		return glm_no_memory(err);
	if (req->turns)
		glm_decoder_mark_turns(seq->decoder);
	for (int i = 0; i < seq->n_prompt; i++)
		glm_sampler_see(seq->sampler, seq->tokens.data[i]);
	return true;
}

/* A sequence for the request; takes over the reference to the model. */
static glm_sequence *
open_sequence(glm_engine *e, int ticket, const glm_request *req, glm_model *model, glm_error *err)
{
	glm_sequence *seq = calloc(1, sizeof(*seq));
	int			  blocks;

	if (seq == NULL)
	{
		glm_models_release(&e->models, model);
		glm_no_memory(err);
		return NULL;
	}
	seq->ticket = ticket;
	seq->request = req;
	seq->model = model;
	if (req->kind == GLM_LOGITS)
	{
		if (!copy_tokens(req, model, &seq->tokens, err))
			goto fail;
	}
	else if (!build_prompt(req, model, &seq->tokens, err))
		goto fail;
	if (!set_limit(seq, err) || !reserve_tokens(seq, err))
		goto fail;
	if (req->kind == GLM_GENERATE && !open_sampler(seq, err))
		goto fail;
	blocks = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
	if (!glm_kv_fits(e->kv, model->kv_block_bytes, blocks))
	{
		glm_fail(err, GLM_NO_ROOM,
				 "%d tokens of model \"%s\" need %zu bytes of KV cache, there are %llu", seq->limit,
				 model->name, blocks * model->kv_block_bytes,
				 (unsigned long long) glm_kv_pool_total(e->kv));
		glm_advise(err, GLM_ADVICE_KV_CACHE);
		goto fail;
	}
	return seq;

fail:
	glm_sequence_free(e, seq);
	return NULL;
}

/* ---- A task -------------------------------------------------------------------- */

/* Answers a request that needs a model but no sequence. */
static bool
answer(glm_engine *e, int ticket, const glm_request *req, const glm_model *model, int *tokens,
	   glm_error *err)
{
	switch ((glm_kind) req->kind)
	{
		case GLM_TOKENIZE:
		case GLM_COUNT_TOKENS:
		case GLM_CHAT_TOKENS:
			return answer_tokenize(e, ticket, req, model, tokens, err);
		case GLM_DETOKENIZE:
			return answer_detokenize(e, ticket, req, model, tokens, err);
		case GLM_LOAD:
			return true;
		default:
			return glm_fail(err, GLM_INTERNAL, "unknown kind of request %d", req->kind);
	}
}

static bool
unload(glm_engine *e, const glm_request *req, glm_error *err)
{
	return glm_models_unload(&e->models, req, err);
}

/* Has its model answer the request, or makes a sequence of it. */
static glm_outcome_kind
use_model(glm_engine *e, glm_task *task, const glm_request *req, glm_outcome *out)
{
	glm_model		*model;
	bool			 ok;
	glm_outcome_kind kind = glm_loader_find(e, task, req, &model, &out->err);

	if (kind != GLM_TASK_GOES_ON)
		return kind;
	if (req->kind == GLM_GENERATE || req->kind == GLM_LOGITS)
	{
		task->sequence = open_sequence(e, task->ticket, req, model, &out->err);
		return task->sequence != NULL ? GLM_TASK_GOES_ON : GLM_TASK_FAILED;
	}
	ok = answer(e, task->ticket, req, model, &out->tokens, &out->err);
	glm_models_release(&e->models, model);
	return ok ? GLM_TASK_ANSWERED : GLM_TASK_FAILED;
}

static glm_outcome_kind
go_on(glm_engine *e, glm_task *task, const glm_request *req, glm_outcome *out)
{
	if (glm_ticket_ended(&e->ticket[task->ticket], &out->err))
		return GLM_TASK_FAILED;
	if (req->kind == GLM_UNLOAD)
		return unload(e, req, &out->err) ? GLM_TASK_ANSWERED : GLM_TASK_FAILED;
	if (req->kind == GLM_QUANTIZE)
		return GLM_TASK_QUANTIZES;
	if (!task->checked && !glm_request_check_texts(req, &out->err))
		return GLM_TASK_FAILED;
	task->checked = true;
	if (task->sequence == NULL)
	{
		glm_outcome_kind kind = use_model(e, task, req, out);

		if (kind != GLM_TASK_GOES_ON)
			return kind;
	}
	return glm_loader_hold(e, task, task->sequence->model, &out->err);
}

void
glm_task_run(glm_engine *e, glm_task *task, glm_outcome *out)
{
	const glm_request *req = e->ticket[task->ticket].request;
	glm_loading		  *waited = task->loading;

	task->loading = NULL;
	if (waited == NULL || !glm_loading_done(waited) || glm_loading_good(waited, &out->err))
		out->end = go_on(e, task, req, out);
	if (waited != NULL)
		glm_loading_drop(e, waited);
	if (out->end == GLM_TASK_PARKED)
		return;
	out->sequence = task->sequence;
	task->sequence = NULL;
	if (out->end == GLM_TASK_GOES_ON)
		out->end = GLM_TASK_SEQUENCED;
	else if (out->sequence != NULL)
		glm_sequence_free(e, out->sequence);
}

void
glm_task_finish(glm_engine *e, int ticket, glm_outcome *out)
{
	switch (out->end)
	{
		case GLM_TASK_ANSWERED:
			glm_send_done(e, ticket, GLM_FINISH_NONE, out->tokens, 0);
			break;
		case GLM_TASK_SEQUENCED:
			glm_scheduler_add(e, out->sequence);
			break;
		case GLM_TASK_QUANTIZES:
			if (!glm_job_start(e, ticket, &out->err))
				glm_send_error(e, ticket, &out->err);
			break;
		case GLM_TASK_FAILED:
			glm_send_error(e, ticket, &out->err);
			break;
		default:
			break; /* parked */
	}
}
