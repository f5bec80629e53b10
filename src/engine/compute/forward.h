/*
 * forward.h - one forward pass over rows of many sequences.
 */
#ifndef GLM_FORWARD_H
#define GLM_FORWARD_H

#include "engine/base/threads.h"
#include "engine/model/kv_layout.h"

typedef struct glm_row
{
	int32_t				token;
	int32_t				position;
	const glm_kv_table *kv;		/* has a block for this position */
	bool				logits; /* wanted for this row? */
} glm_row;

typedef struct glm_forward glm_forward; /* scratch buffers and the compute pool */

/* kernels: see glm_config; max_rows: most rows of one pass. */
extern glm_forward *glm_forward_open(const char *kernels, glm_threads *pool, int max_rows,
									 glm_error *err);
extern void			glm_forward_close(glm_forward *fwd);
extern const char  *glm_forward_kernels(const glm_forward *fwd);
/* The pool of KV blocks, once; and a copy of one, before what is computed next. */
extern bool			glm_forward_kv_pool(glm_forward *fwd, size_t bytes, glm_error *err);
extern void			glm_forward_kv_copy(void *fwd, uint32_t to, uint32_t from, size_t bytes);
/* Grows the scratch buffers to what this model needs.  Engine thread, between passes. */
extern bool			glm_forward_prepare(glm_forward *fwd, const glm_model *model, glm_error *err);

/*
 * One forward pass over n_rows rows of a model whose weights are readable.  Rows of one sequence are neighbours in
 * ascending position; positions before the first have their KV in place.
 * Writes the KV of every row; logits of the rows that want them land in
 * *logits as [n, vocab] fp32 in row order (memory of fwd, good until the next
 * pass).  Each row's result depends on its own sequence only, bit for bit.
 */
extern bool glm_forward_run(glm_forward *fwd, const glm_model *model, const glm_row *rows,
							int n_rows, float **logits, glm_error *err);

#endif /* GLM_FORWARD_H */
