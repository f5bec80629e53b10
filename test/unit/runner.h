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
	glm_threads		*threads;
	glm_kv_pool		*kv;
	glm_forward		*forward;
	int				 place; /* of the device, where models are loaded */
	const glm_model *model; /* in use */
	glm_weights		*weights;
	glm_rows		 rows; /* of the next pass, to be filled in */
	glm_results		 results;
} rn_setup;

extern rn_setup rn_open(const char *kernels, int threads);
/* On another device; extra: see glm_backend_find. */
extern rn_setup rn_open_on(const char *device, const glm_backend *extra, const char *kernels,
						   int threads);
/* The same with GLM_FAST. */
extern rn_setup rn_open_fast(const char *device, const glm_backend *extra, int threads);
/* The same at the last place there is: all devices together, if there are several. */
extern rn_setup rn_open_on_all(const char *device, const glm_backend *extra, int threads);
/* Fails the test when KV blocks were not given back.  Models are closed after it. */
extern void		rn_close(rn_setup *s);

/* Makes a model resident in place of the one before. */
extern void rn_use(rn_setup *s, const glm_model *model);

/* Blocks for so many tokens and some more. */
extern void rn_take_kv(rn_setup *s, const glm_model *model, int tokens, glm_kv_table *kv);

/* Begins a sequence's rows, of which there is one. */
extern void rn_row(rn_setup *s, const glm_kv_table *kv, int32_t token, int position, bool logits);

/* One pass, which must succeed; the logits of the rows that want them [.., vocab]. */
extern const float *rn_run(rn_setup *s);
/* One that must not. */
extern void			rn_run_refused(rn_setup *s, glm_status status, const char *fragment);

/* Calls check with each golden checkpoint and its expected.json; skips the test without them. */
extern void rn_each_golden(void (*check)(const char *dir, const char *expected));

#endif /* RUNNER_H */
