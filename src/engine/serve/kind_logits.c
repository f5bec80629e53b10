/*
 * kind_logits.c - the logits that a model computes after given tokens.
 */
#include "engine/serve/engine.h"

#include <math.h>

static bool
read_given_tokens(const glm_request *req, const glm_model *model, glm_ids *tokens, glm_error *err)
{
	size_t		   n;
	const int32_t *ids = glm_request_tokens(req, &n);

	if (n == 0)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"tokens\" must not be empty");
	if (n > (size_t) model->config.context)
		return glm_prompt_too_long(n, false, model, err);
	for (size_t i = 0; i < n; i++)
	{
		if (ids[i] < 0 || ids[i] >= model->config.vocab)
			return glm_fail(err, GLM_BAD_ARGUMENT, "token id %d is not between 0 and %d", ids[i],
							model->config.vocab - 1);
		if (!glm_ids_add(tokens, ids[i], err))
			return false;
	}
	return true;
}

/* The answer is the logits themselves. */
static bool
send_logits(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	int vocab = seq->model->config.vocab;

	for (int i = 0; i < vocab; i++)
	{
		if (!isfinite(seq->logits[i]))
			return glm_fail(err, GLM_NOT_FINITE, "model \"%s\" computed a logit that is not finite",
							seq->model->name);
	}
	glm_send_result(e, seq->ticket, seq->logits, vocab * sizeof(float));
	*finish = GLM_FINISH_STOP;
	return true;
}

const glm_request_kind glm_kind_logits = {
	.name = "logits",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT,
	.read_tokens = read_given_tokens,
	.want = GLM_WANT_LOGITS,
	.wants_from = glm_sequence_last_known,
	.take = send_logits,
};
