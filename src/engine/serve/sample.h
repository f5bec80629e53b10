/*
 * sample.h - the next token, from logits.
 */
#ifndef GLM_SAMPLE_H
#define GLM_SAMPLE_H

#include "engine/base/base.h"
#include "engine/compute/backend.h"
#include "engine/serve/pick_room.h"

typedef struct glm_sampler glm_sampler;

/* A token and ln p(token) by the model itself. */
typedef struct glm_likely
{
	int32_t token;
	float	logprob;
} glm_likely;

/* Samples among the first n_ids ids: those behind are padding of the vocabulary. */
extern glm_sampler *glm_sampler_open(const glm_request *req, int n_ids);
extern void			glm_sampler_close(glm_sampler *s);
/* Goes on by a token that is not picked: one of the prompt, or one of the answer. */
extern void			glm_sampler_read(glm_sampler *s, int32_t token);
extern void			glm_sampler_advance(glm_sampler *s, int32_t token);
/*
 * Picks the next token of the answer from logits [n_ids] (changed in place) and goes on
 * by it.  `allowed` has a bit for each id, 64 a word, the lowest id lowest: an id without
 * it has probability 0, before anything else is done to the others; NULL: all may come.
 * `index` numbers the draws of a request: the same seed and index give the same random
 * number.  *logprob (may be NULL) is ln p(token) by the model itself, before the mask,
 * temperature, penalties and biases.  false: GLM_NOT_FINITE; GLM_INTERNAL when no id is allowed.
 */
extern bool glm_sampler_pick(glm_sampler *s, float *logits, uint64_t index, const uint64_t *allowed,
							 int32_t *token, float *logprob, glm_error *err);

/*
 * The same in parts, for who may draw again by the same logits: begin, as many draws as
 * needed, each with its own index and no more ids allowed than the one before, and the
 * end, which goes on by the token that was taken.  A draw of -1: no id is allowed.
 */
extern bool	   glm_sampler_begin(glm_sampler *s, float *logits, bool logprob, glm_error *err);
extern int32_t glm_sampler_draw(glm_sampler *s, float *logits, uint64_t index,
								const uint64_t *allowed);
extern void	   glm_sampler_end(glm_sampler *s, const float *logits, int32_t token, float *logprob);
/*
 * Does it leave unlikely tokens out, so that which are left depends on which are allowed?
 * If not, drawing from all, and anew from the allowed ones when what was drawn is not
 * one of them, gives each the probability that drawing from the allowed ones gives it.
 */
extern bool	   glm_sampler_cuts(const glm_sampler *s);

/* The log probability of a token that was not drawn, from logits nobody has changed. */
extern bool glm_sampler_know(const glm_sampler *s, const float *logits, int32_t token,
							 float *logprob, glm_error *err);

/* The n likeliest tokens by such logits, likeliest first, of equals the lower id; how many? */
extern int glm_sampler_likeliest(const glm_sampler *s, const float *logits, int n,
								 glm_likely *likely);

/*
 * Describes a pick with all ids allowed, to be made elsewhere, behind the tokens that are known
 * and n_draft more.  false: there is no room for it, so it has to be picked here.
 */
extern bool glm_sampler_describe(const glm_sampler *s, uint64_t index, bool logprob,
								 const int32_t *draft, int n_draft, glm_pick_room *room,
								 glm_pick *pick);
/* Does what comes next depend on the tokens before it beside the logits? */
extern bool glm_sampler_looks_back(const glm_sampler *s);
/* Are these logits numbers?  false: GLM_NOT_FINITE. */
extern bool glm_logits_check(const float *logits, int n, glm_error *err);
/* What the logarithm of a probability needs: the largest logit, the sum of e^(logit - max). */
extern void glm_logits_sum(const float *logits, int n, double *max, double *sum);
/* Takes what was picked elsewhere, as if glm_sampler_pick() had picked it now. */
extern bool glm_sampler_take(glm_sampler *s, const glm_picked_id *picked, int32_t *token,
							 float *logprob, glm_error *err);

#endif /* GLM_SAMPLE_H */
