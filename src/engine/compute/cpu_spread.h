/*
 * cpu_spread.h - the CPU as a device, and how an operation is spread over its threads.
 */
#ifndef GLM_CPU_SPREAD_H
#define GLM_CPU_SPREAD_H

#include "engine/base/threads.h"
#include "engine/compute/backend.h"
#include "engine/compute/kernels/kernels.h"
#include "engine/compute/kernels/packed_kernels.h"
#include "engine/model/kv_layout.h"
#include "engine/compute/tuning.h"
#include "engine/model/residency.h"

/* Rows of activations in 8 bits at a time: blocks of 12, a usual prefill at once. */
#define GLM_INT8_ROWS 516

struct glm_device
{
	const glm_kernels		 *kernels;
	const glm_packed_kernels *packed;
	glm_threads				 *pool;
	glm_tuning				  tuning;

	uint8_t *kv; /* the pool of KV blocks, [kv_bytes]; NULL: none yet */
	size_t	 kv_bytes;

	/* of the pass that was begun */
	const glm_weights *weights;
	const glm_pass	  *pass;
};

/* Weights lie where they are mapped; what passes of this model need beside is here. */
struct glm_weights
{
	const glm_model *model;
	glm_residency	 residency;
	float		   **scratch; /* [n_threads]: runs of attention, columns of a product */
	int				 n_threads;
	glm_int8_rows	 int8; /* arrays for GLM_INT8_ROWS rows of the widest packed matrix */
};

/* Where a KV block lies. */
static inline uint8_t *
glm_cpu_kv(const glm_device *dev, uint32_t block)
{
	return dev->kv + (size_t) block * GLM_KV_UNIT;
}

/*
 * Runs body over n_items; pieces are multiples of `grain`.  `work` estimates
 * the multiply-adds of all.  How the items are cut must not change a result.
 */
extern void glm_cpu_spread(glm_device *dev, glm_range_body body, const void *arg, int n_items,
						   int grain, size_t work);

#endif /* GLM_CPU_SPREAD_H */
