/*
 * runner.h - forward passes of a model without an engine around them.
 */
#ifndef RUNNER_H
#define RUNNER_H

#include "engine/compute/forward.h"
#include "engine/serve/kv.h"

#define RN_MAX_ROWS 512 /* of a pass */

typedef struct rn_setup
{
	glm_threads *threads;
	glm_kv_pool *kv;
	glm_forward *forward;
} rn_setup;

extern rn_setup rn_open(const char *kernels, int threads);
/* Fails the test when KV blocks were not given back. */
extern void		rn_close(rn_setup *s);

/* Blocks for so many tokens and some more. */
extern void rn_take_kv(rn_setup *s, const glm_model *model, int tokens, glm_kv_table *kv);

/* One pass, which must succeed; the logits of the rows that want them [.., vocab]. */
extern float *rn_run(rn_setup *s, const glm_model *model, const glm_row *rows, int n);

/* Calls check with each golden checkpoint and its expected.json; skips the test without them. */
extern void rn_each_golden(void (*check)(const char *dir, const char *expected));

#endif /* RUNNER_H */
