/*
 * front.c - the front thread: from a request to work for the scheduler.
 *
 * Takes requests in the order they came, finds or loads their model and either
 * answers at once (tokenize, detokenize, load ...) or builds the prompt, opens
 * a sequence with all the memory it will need, and hands it to the engine
 * thread.  It never runs a forward pass, so counting tokens takes microseconds
 * while a long prompt is being computed.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

/* ---- Requests that need no forward pass ------------------------------------ */

static bool
answer_tokenize(glm_engine *e, int ticket, const glm_request *req,
				const glm_model *model, glm_error *err)
{
	glm_ids		ids = {0};
	bool		ok = true;

	if (req->kind == GLM_CHAT_TOKENS)
		ok = glm_prompt_build(model->tokenizer, req, &ids, err);
	else
	{
		if (req->add_special)
			ok = glm_ids_add(&ids, glm_tokenizer_special(model->tokenizer, GLM_SP_GMASK), err) &&
				glm_ids_add(&ids, glm_tokenizer_special(model->tokenizer, GLM_SP_SOP), err);
		ok = ok && glm_tokenizer_encode(model->tokenizer, glm_request_text(req, req->text),
										req->text.length, &ids, err);
	}
	if (ok)
	{
		if (req->kind != GLM_COUNT_TOKENS)
			glm_send_result(e, ticket, ids.data, ids.length * sizeof(int32_t));
		glm_send_done(e, ticket, GLM_FINISH_NONE, (int) ids.length, 0);
	}
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
answer_detokenize(glm_engine *e, int ticket, const glm_request *req,
				  const glm_model *model, glm_error *err)
{
	size_t		n;
	const int32_t *ids = request_tokens(req, &n);
	glm_buf		text = {0};
	bool		ok = glm_tokenizer_decode(model->tokenizer, ids, n, &text, err);

	if (ok)
	{
		glm_send_result(e, ticket, text.data, text.length);
		glm_send_done(e, ticket, GLM_FINISH_NONE, (int) n, 0);
	}
	glm_buf_free(&text);
	return ok;
}

/* ---- Sequences ---------------------------------------------------------------- */

static bool
copy_tokens(const glm_request *req, const glm_model *model, glm_ids *out, glm_error *err)
{
	size_t		n;
	const int32_t *ids = request_tokens(req, &n);

	if (n == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"tokens\" must not be empty");
	for (size_t i = 0; i < n; i++)
	{
		if (ids[i] < 0 || ids[i] >= model->config.vocab)
			return glm_fail(err, GLM_BAD_ARGUMENT, "token id %d is not between 0 and %d",
							ids[i], model->config.vocab - 1);
		if (!glm_ids_add(out, ids[i], err))
			return false;
	}
	return true;
}

/*
 * Refuses text that cannot fit the context however it is cut into pieces,
 * before megabytes of it hold up everybody else's requests.
 */
static bool
check_length(const glm_request *req, const glm_model *model, glm_error *err)
{
	/* in JSON a character takes up to six bytes for one */
	size_t		most = glm_tokenizer_longest(model->tokenizer) * (size_t) model->config.context *
		(req->form == GLM_MESSAGES ? 6 : 1);

	if (req->text.length <= most || req->truncate != GLM_TRUNCATE_ERROR)
		return true;
	glm_fail(err, GLM_TOO_LONG, "prompt of %u bytes cannot fit the context of %d tokens",
			 req->text.length, model->config.context);
	glm_hint(err, "Shorten the prompt.");
	return false;
}

/* Fits the request into the context: fills n_prompt and limit. */
static bool
set_limit(glm_sequence *seq, glm_error *err)
{
	const glm_request *req = seq->request;
	size_t		context = seq->model->config.context;
	size_t		answer = req->kind == GLM_GENERATE ? (size_t) req->max_tokens : 0;
	size_t		room = answer > 0 ? 1 : 0;

	if (seq->tokens.length == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "the prompt is empty");
	if (seq->tokens.length + room > context)
	{
		glm_fail(err, GLM_TOO_LONG, "prompt of %zu tokens does not fit the context of %zu tokens",
				 seq->tokens.length, context);
		glm_hint(err, "Shorten the prompt; glm_count_tokens() tells a text's length.");
		return false;
	}
	seq->n_prompt = (int) seq->tokens.length;
	seq->limit = (int) (answer < context - seq->tokens.length ?
						seq->tokens.length + answer : context);
	return true;
}

/* Room in the token list for the whole answer, so that no step allocates. */
static bool
reserve_tokens(glm_sequence *seq, glm_error *err)
{
	int32_t    *data = realloc(seq->tokens.data, seq->limit * sizeof(int32_t));

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
	seq->decoder = glm_decoder_open(seq->model->tokenizer, req->form != GLM_RAW,
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
	int			blocks;

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
	else if (!check_length(req, model, err) ||
			 !glm_prompt_fit(model->tokenizer, req, model->config.context, &seq->tokens, err))
		goto fail;
	if (!set_limit(seq, err) || !reserve_tokens(seq, err))
		goto fail;
	if (req->kind == GLM_GENERATE && !open_sampler(seq, err))
		goto fail;
	blocks = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
	if (!glm_kv_fits(e->kv, model->kv_block_bytes, blocks))
	{
		glm_fail(err, GLM_NO_ROOM, "%d tokens of model \"%s\" need %zu bytes of KV cache, there are %llu",
				 seq->limit, model->name, blocks * model->kv_block_bytes,
				 (unsigned long long) glm_kv_pool_total(e->kv));
		glm_hint(err, "Raise chatglm.kv_cache_size or ask for fewer max_tokens.");
		goto fail;
	}
	return seq;

fail:
	glm_sequence_free(e, seq);
	return NULL;
}

/* ---- The thread ------------------------------------------------------------------ */

/* Answers a request that needs a model but no sequence. */
static bool
answer(glm_engine *e, int ticket, const glm_request *req, const glm_model *model, glm_error *err)
{
	switch ((glm_kind) req->kind)
	{
		case GLM_TOKENIZE:
		case GLM_COUNT_TOKENS:
		case GLM_CHAT_TOKENS:
			return answer_tokenize(e, ticket, req, model, err);
		case GLM_DETOKENIZE:
			return answer_detokenize(e, ticket, req, model, err);
		case GLM_LOAD:
			glm_send_done(e, ticket, GLM_FINISH_NONE, 0, 0);
			return true;
		default:
			return glm_fail(err, GLM_INTERNAL, "unknown kind of request %d", req->kind);
	}
}

static bool
unload(glm_engine *e, int ticket, const glm_request *req, glm_error *err)
{
	const char *name = glm_request_text(req, req->model);

	if (name == NULL)
		return glm_fail(err, GLM_BAD_ARGUMENT, "the request names no model");
	if (!glm_models_unload(&e->models, name, err))
		return false;
	glm_send_done(e, ticket, GLM_FINISH_NONE, 0, 0);
	return true;
}

/* Carries out one request, or hands it on; false with *err when it failed. */
static bool
handle(glm_engine *e, int ticket, const glm_request *req, glm_error *err)
{
	glm_model  *model;
	glm_sequence *seq;
	bool		ok;

	if (glm_ticket_ended(&e->ticket[ticket], err))
		return false;
	if (req->kind == GLM_UNLOAD)
		return unload(e, ticket, req, err);
	if (req->kind == GLM_QUANTIZE)
		return glm_job_start(e, ticket, err);
	model = glm_models_acquire(&e->models, req, err);
	if (model == NULL)
		return false;
	if (req->kind == GLM_GENERATE || req->kind == GLM_LOGITS)
	{
		seq = open_sequence(e, ticket, req, model, err);
		if (seq == NULL)
			return false;
		glm_scheduler_add(e, seq);
		return true;
	}
	ok = answer(e, ticket, req, model, err);
	glm_models_release(&e->models, model);
	return ok;
}

/* The next ticket, waiting for one; -1 when the engine stops. */
static int
next_ticket(glm_engine *e)
{
	int			ticket = -1;

	pthread_mutex_lock(&e->front_lock);
	while (e->front_length == 0 && !atomic_load(&e->stopping))
		pthread_cond_wait(&e->front_work, &e->front_lock);
	if (!atomic_load(&e->stopping))
	{
		ticket = e->front_ring[e->front_head];
		e->front_head = (e->front_head + 1) % e->n_tickets;
		e->front_length--;
	}
	pthread_mutex_unlock(&e->front_lock);
	return ticket;
}

void *
glm_front_main(void *arg)
{
	glm_engine *e = arg;
	int			ticket;

	glm_thread_enter("glm front");
	while ((ticket = next_ticket(e)) >= 0)
	{
		glm_error	err = {0};

		if (!handle(e, ticket, e->ticket[ticket].request, &err))
			glm_send_error(e, ticket, &err);
	}
	return NULL;
}
