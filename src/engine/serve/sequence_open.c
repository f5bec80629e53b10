/*
 * sequence_open.c - a request becomes a sequence.
 *
 * What can never be computed is refused here, and memory is taken here: no step allocates.  But what
 * has the vocabulary's size, or the answer's many times, is taken when a sequence is admitted: those
 * that wait may be thousands.
 */
#include "engine/serve/adjust.h"
#include "engine/serve/constrained.h"

#include <stdlib.h>

bool
glm_prompt_too_long(size_t tokens, bool more, const glm_model *model, glm_error *err)
{
	glm_fail(err, GLM_TOO_LONG, "prompt of %s%zu tokens does not fit the context of %d tokens",
			 more ? "more than " : "", tokens, model->config.context);
	glm_advise(err, GLM_ADVICE_SHORTEN);
	return false;
}

static bool
needs_sampler(const glm_sequence *seq)
{
	return (seq->kind->needs & GLM_NEEDS_SAMPLER) != 0;
}

/* Fits the request into the context: fills n_prompt and limit. */
static bool
set_limit(glm_sequence *seq, glm_error *err)
{
	const glm_request *req = seq->request;
	size_t			   context = seq->model->config.context;
	bool			   sampled = needs_sampler(seq);
	size_t			   answer = sampled ? (size_t) req->max_tokens : (size_t) seq->more;
	size_t			   room = sampled ? 1 : answer; /* what is not drawn cannot be cut */

	if (seq->tokens.length == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "the prompt is empty");
	if (seq->tokens.length + room > context)
		return glm_prompt_too_long(seq->tokens.length + answer * !sampled, false, seq->model, err);
	seq->n_prompt = seq->n_shown = (int) seq->tokens.length;
	if (answer > 0 && req->form == GLM_MESSAGES)
		seq->n_begun = (int) glm_chat_begun(seq->model->chat, seq->model->tokenizer,
											seq->tokens.data, seq->tokens.length);
	seq->limit =
		(int) (answer < context - seq->tokens.length ? seq->tokens.length + answer : context);
	return true;
}

/* Room in the token list for the whole answer, so that no step allocates. */
static bool
reserve_tokens(glm_sequence *seq, glm_error *err)
{
	int32_t *data =
		GLM_INJECT("sequence") ? NULL : realloc(seq->tokens.data, seq->limit * sizeof(int32_t));

	if (data == NULL)
		return glm_no_memory(err);
	seq->tokens.data = data;
	seq->tokens.capacity = seq->limit;
	return true;
}

static bool
check_sampler(const glm_sequence *seq, glm_error *err)
{
	return !needs_sampler(seq) ||
		   glm_adjust_check(seq->request, glm_tokenizer_size(seq->model->tokenizer), err);
}

bool
glm_sequence_prepare(glm_sequence *seq, glm_error *err)
{
	int n_tokens = (int) seq->tokens.length, n_read = seq->n_prompt - seq->n_begun;

	if (!needs_sampler(seq) || seq->sampler != NULL)
		return true;
	seq->sampler = glm_sampler_open(seq->request, glm_tokenizer_size(seq->model->tokenizer));
	if (seq->sampler == NULL ||
		!glm_draft_open(&seq->draft, seq->tokens.data, n_tokens, seq->limit))
		return glm_no_memory(err);
	for (int i = 0; i < n_tokens; i++)
		(i < n_read ? glm_sampler_read : glm_sampler_advance)(seq->sampler, seq->tokens.data[i]);
	return true;
}

static bool
open_decoder(glm_sequence *seq, glm_error *err)
{
	const glm_request *req = seq->request;

	if ((seq->kind->needs & GLM_NEEDS_DECODER) == 0)
		return true;
	seq->decoder =
		glm_decoder_open(seq->model->tokenizer, req->form != GLM_RAW ? seq->model->chat : NULL,
						 glm_request_text(req, req->stop), req->stop.length);
	if (seq->decoder == NULL)
		return glm_no_memory(err);
	if (req->turns)
		glm_decoder_mark_turns(seq->decoder);
	return true;
}

static bool
open_pool(glm_sequence *seq, glm_error *err)
{
	if ((seq->kind->needs & GLM_NEEDS_POOL) == 0)
		return true;
	seq->pool = glm_pool_open((glm_pooling) seq->request->pooling, seq->model->config.hidden);
	return seq->pool != NULL || glm_no_memory(err);
}

/* Of an answer that was begun only what comes behind is shown. */
static void
skip_begun(glm_sequence *seq)
{
	if (seq->decoder != NULL)
		glm_decoder_skip(seq->decoder, seq->tokens.data + seq->n_prompt - seq->n_begun,
						 (size_t) seq->n_begun);
}

bool
glm_sequence_fits(const glm_sequence *seq, glm_error *err)
{
	const glm_model *model = seq->model;
	const glm_home	*home = glm_sequence_home(seq);
	int				 blocks = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
	size_t			 block_bytes;

	if (home == NULL)
		return true;
	/* it is set before the home is */
	block_bytes = seq->served->kv_block_bytes;
	if (glm_kv_fits(home->kv, block_bytes, blocks))
		return true;
	glm_fail(err, GLM_NO_ROOM,
			 "%d tokens of model \"%s\" need %zu bytes of KV cache, there are %llu", seq->limit,
			 model->name, (size_t) blocks * block_bytes,
			 (unsigned long long) glm_kv_pool_total(home->kv));
	glm_advise(err, GLM_ADVICE_KV_CACHE);
	return false;
}

glm_sequence *
glm_sequence_open(glm_engine *e, const glm_request_kind *kind, int ticket, glm_served *served,
				  glm_error *err)
{
	const glm_request *req = e->ticket[ticket].request;
	glm_sequence	  *seq = calloc(1, sizeof(*seq));

	if (seq == NULL)
	{
		glm_models_release(&e->models, served);
		glm_no_memory(err);
		return NULL;
	}
	seq->ticket = ticket;
	seq->request = req;
	seq->kind = kind;
	seq->served = served;
	seq->model = served->model;
	if (kind->read_tokens(req, served->model, &seq->tokens, err) &&
		(kind->open == NULL || kind->open(seq, err)) && glm_constrained_open(e, seq, err) &&
		set_limit(seq, err) && reserve_tokens(seq, err) && check_sampler(seq, err) &&
		open_decoder(seq, err) && open_pool(seq, err) && glm_sequence_fits(seq, err) &&
		glm_constrained_begin(seq, err))
	{
		skip_begun(seq);
		return seq;
	}
	glm_sequence_free(e, seq);
	return NULL;
}
