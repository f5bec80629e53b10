/*
 * kind_embed.c - a vector for a text: what the final norm gives at its tokens, pooled.
 *
 * The text stands behind the prefix of prompts ([gMASK] sop), as the model has read texts
 * in training, but the states of the prefix are not pooled: they are the same for all texts.
 *
 * States are pooled after each pass.  A sequence that is preempted computes its tokens
 * anew, or finds them cached; of those that were pooled nothing is wanted then.
 */
#include "engine/serve/engine.h"
#include "engine/serve/pool.h"
#include "engine/text/prompt.h"

static bool
read_content(const glm_request *req, const glm_model *model, glm_ids *ids, glm_error *err)
{
	if (!glm_read_prompt(req, model, ids, err))
		return false;
	return ids->length > glm_prompt_prefix_length(model->chat) ||
		   glm_fail(err, GLM_BAD_ARGUMENT, "argument \"content\" must not be empty");
}

/* The first state that is not pooled yet. */
static int
wants_states_from(const glm_sequence *seq)
{
	if (seq->request->pooling == GLM_POOL_LAST)
		return glm_sequence_last_known(seq);
	return (int) glm_prompt_prefix_length(seq->model->chat) + glm_pool_count(seq->pool);
}

static void
pool_states(glm_sequence *seq)
{
	glm_pool_add(seq->pool, seq->hidden, seq->n_wanted);
}

static bool
send_vector(glm_engine *e, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	const float *vector;

	if (seq->n_computed < seq->n_prompt)
		return true;
	vector = glm_pool_vector(seq->pool, seq->request->normalize, err);
	if (vector == NULL)
		return false;
	glm_send_result(e, seq->ticket, vector, (size_t) seq->model->config.hidden * sizeof(float));
	*finish = GLM_FINISH_STOP;
	return true;
}

const glm_request_kind glm_kind_embed = {
	.name = "embed",
	.needs = GLM_NEEDS_MODEL | GLM_NEEDS_TEXT | GLM_NEEDS_POOL,
	.read_tokens = read_content,
	.want = GLM_WANT_HIDDEN,
	.wants_from = wants_states_from,
	.sample = pool_states,
	.take = send_vector,
};
