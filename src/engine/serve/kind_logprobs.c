/*
 * kind_logprobs.c - how likely a model finds each token of a text that is given.
 *
 * The text is put behind its prompt and computed as if it were one; each row behind the
 * prompt leaves logits, by which the token that follows it is judged.  The last token is
 * judged too, but nothing behind it, so it is not computed.
 *
 * In a chat the text is the content of an answer, whose ids are those of the text alone.
 * Behind a raw prompt they are those that both have together: the first is then the one by
 * which these differ from the prompt's alone.
 */
#include "engine/serve/engine.h"

#include <stdlib.h>
#include <string.h>

#include "engine/serve/sample_math.h"
#include "engine/text/prompt.h"

typedef struct judged
{
	int				   n_prompt; /* tokens before the text */
	int				   n;		 /* of the text */
	int				   n_done;
	int				   top;
	int32_t			   last; /* the token that is not computed */
	glm_token_logprob *out;	 /* [n, 1 + top] */
} judged;

/* ---- Opening ------------------------------------------------------------------------- */

static void
close_judged(void *own)
{
	judged *j = own;

	free(j->out);
	free(j);
}

/* Puts the text behind the prompt; how long that is then. */
static bool
add_judged_text(glm_sequence *seq, size_t *n_prompt, glm_error *err)
{
	const glm_request *req = seq->request;
	const glm_model	  *model = seq->model;
	size_t			   most = 2 * (size_t) model->config.context;
	glm_ids			   ids = {0};
	bool			   ok = glm_prompt_continuation(model->chat, model->tokenizer, req,
													glm_request_text(req, req->continuation),
													req->continuation.length, most, &ids, err);
	size_t			   same = 0;

	if (ok && req->form == GLM_RAW)
	{
		while (same < ids.length && same < seq->tokens.length &&
			   ids.data[same] == seq->tokens.data[same])
			same++;
		seq->tokens.length = same;
	}
	*n_prompt = seq->tokens.length;
	for (size_t i = same; ok && i < ids.length; i++)
		ok = glm_ids_add(&seq->tokens, ids.data[i], err);
	glm_ids_free(&ids);
	return ok;
}

static bool
open_judged(glm_sequence *seq, glm_error *err)
{
	judged *j;
	size_t	n_prompt, n;

	if (seq->request->continuation.length == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"continuation\" must not be empty");
	if (!add_judged_text(seq, &n_prompt, err))
		return false;
	if (seq->tokens.length > (size_t) seq->model->config.context)
		return glm_prompt_too_long(seq->tokens.length, false, seq->model, err);
	j = seq->own = calloc(1, sizeof(*j));
	if (j == NULL)
		return glm_no_memory(err);
	n = seq->tokens.length - n_prompt;
	j->n_prompt = (int) n_prompt;
	j->n = (int) n;
	j->top = seq->request->top_logprobs;
	j->out = calloc(n * (size_t) (1 + j->top), sizeof(*j->out));
	if (j->out == NULL)
		return glm_no_memory(err);
	j->last = seq->tokens.data[--seq->tokens.length];
	seq->more = 1;
	return true;
}

static bool
read_before(const glm_request *req, const glm_model *model, glm_ids *tokens, glm_error *err)
{
	return glm_read_prompt(req, model, tokens, err) &&
		   glm_prompt_answer(model->chat, model->tokenizer, req, tokens, err);
}

/* ---- Passes -------------------------------------------------------------------------- */

static int
wants_behind_prompt(const glm_sequence *seq)
{
	const judged *j = seq->own;

	return j->n_prompt - 1 + j->n_done;
}

/* The likeliest tokens, of those alike the lowest ids: their logits in place of logprobs. */
static void
find_likeliest(const float *logits, int n_ids, glm_token_logprob *top, int n)
{
	int found = 0;

	for (int32_t id = 0; id < n_ids; id++)
	{
		int at = found;

		if (found == n && (n == 0 || logits[id] <= top[n - 1].logprob))
			continue;
		if (found < n)
			found++;
		else
			at = n - 1;
		for (; at > 0 && top[at - 1].logprob < logits[id]; at--)
			top[at] = top[at - 1];
		top[at] = (glm_token_logprob){id, logits[id]};
	}
}

/* Judges the next token by the logits before it. */
static void
judge_token(judged *j, const glm_sequence *seq, const float *logits, int n_ids)
{
	glm_token_logprob *out = j->out + (size_t) j->n_done * (size_t) (1 + j->top);
	double			   max, sum;

	out->token_id = j->n_done + 1 < j->n ? seq->tokens.data[j->n_prompt + j->n_done] : j->last;
	out->logprob = logits[out->token_id];
	find_likeliest(logits, n_ids, out + 1, j->top);
	glm_logits_sum(logits, n_ids, &max, &sum);
	for (int i = 0; i <= j->top; i++)
		out[i].logprob = log_probability(out[i].logprob, max, sum);
	j->n_done++;
}

static void
judge_tokens(glm_sequence *seq)
{
	judged *j = seq->own;
	int		n_ids = glm_tokenizer_size(seq->model->tokenizer);

	for (int i = 0; i < seq->n_wanted; i++)
	{
		const float *logits = seq->logits + (size_t) i * (size_t) seq->model->config.vocab;

		if (!glm_logits_check(logits, n_ids, &seq->pick_error))
			return;
		judge_token(j, seq, logits, n_ids);
	}
}

/* The bytes of each token behind them all, each with a NUL; special tokens by their names. */
static bool
write_judged(const judged *j, const glm_tokenizer *tok, glm_buf *out)
{
	size_t n = (size_t) j->n * (size_t) (1 + j->top);

	glm_buf_add(out, j->out, n * sizeof(*j->out));
	for (size_t i = 0; i < n; i++)
	{
		size_t		length = 0;
		const char *text = glm_tokenizer_bytes(tok, j->out[i].token_id, &length);
		const char *name = glm_tokenizer_name(tok, j->out[i].token_id);

		if (text != NULL)
			glm_buf_add(out, text, length);
		else if (name != NULL)
			glm_buf_puts(out, name);
		glm_buf_add(out, "", 1);
	}
	return !out->failed;
}

static bool
take_judged(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	const judged *j = seq->own;

	(void) e;
	if (seq->pick_error.status != GLM_OK)
	{
		*err = seq->pick_error;
		return false;
	}
	if (j->n_done < j->n)
		return true;
	if (!write_judged(j, seq->model->tokenizer, &seq->text))
		return glm_no_memory(err);
	/* so that the usage tells the text's tokens from the prompt's */
	seq->tokens.data[seq->tokens.length++] = j->last;
	seq->n_prompt = j->n_prompt;
	*finish = GLM_FINISH_STOP;
	return true;
}

const glm_request_kind glm_kind_logprobs = {
	.name = "logprobs",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.read_tokens = read_before,
	.open = open_judged,
	.close = close_judged,
	.want = GLM_WANT_LOGITS,
	.wants_from = wants_behind_prompt,
	.sample = judge_tokens,
	.take = take_judged,
};
