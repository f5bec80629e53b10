/*
 * sample.h - the next token, from logits.
 */
#ifndef GLM_SAMPLE_H
#define GLM_SAMPLE_H

#include "engine/base/base.h"

typedef struct glm_sampler glm_sampler;

/* Samples among the first n_ids ids: those behind are padding of the vocabulary. */
extern glm_sampler *glm_sampler_open(const glm_request *req, int n_ids);
extern void			glm_sampler_close(glm_sampler *s);
/* Counts a token of the prompt or the answer for the repetition penalty. */
extern void			glm_sampler_see(glm_sampler *s, int32_t token);
/*
 * Picks the next token of the answer from logits [n_ids] (changed in place).
 * `index` numbers the draws of a request: the same seed and index give the
 * same random number.  *logprob (may be NULL) is ln p(token) by the model
 * itself, before temperature and penalties.  false: GLM_NOT_FINITE.
 */
extern bool			glm_sampler_pick(glm_sampler *s, float *logits, uint64_t index, int32_t *token,
									 float *logprob, glm_error *err);

#endif /* GLM_SAMPLE_H */
