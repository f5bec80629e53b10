/*
 * backend_cpu.h - what the files of the CPU backend share: the device and the
 * way an operation is spread over the pool.
 */
#ifndef GLM_BACKEND_CPU_H
#define GLM_BACKEND_CPU_H

#include "engine/compute/backend.h"
#include "engine/compute/kernels/kernels.h"
#include "engine/compute/kernels/packed_kernels.h"
#include "engine/compute/forward.h"

/* Rows of activations in 8 bits at a time: blocks of 12, a usual prefill in one part. */
#define GLM_INT8_ROWS 516

struct glm_device
{
	const glm_kernels *kernels;
	glm_threads		  *pool;
	float			 **scores; /* [threads], each [scores_length]: see cpu_attention.c */
	size_t			   scores_length;

	uint8_t *kv; /* the pool of KV blocks, [kv_bytes]; NULL: none yet */
	size_t	 kv_bytes;

	const glm_packed_kernels *packed;
	glm_int8_rows			  int8; /* the arrays hold GLM_INT8_ROWS rows of int8_cols columns */
	size_t int8_cols;				/* with their groups filled up, whichever size those have */
};

/* Where a KV block lies. */
static inline uint8_t *
glm_cpu_kv(const glm_device *dev, uint32_t block)
{
	return dev->kv + (size_t) block * GLM_KV_UNIT;
}

/* Computes the items [begin, end) of an operation, on thread number `thread`. */
typedef void (*glm_range_body)(const void *arg, int thread, int begin, int end);

/*
 * Runs body over n_items; pieces are multiples of `grain`.  `work` estimates
 * the multiply-adds of all.  How the items are cut must not change a result.
 */
extern void glm_cpu_spread(glm_device *dev, glm_range_body body, const void *arg, int n_items,
						   int grain, size_t work);

/* ---- Operations of glm_backend, see there ------------------------------ */

/* cpu_matmul.c */
extern void glm_cpu_matmul(glm_device *dev, float *c, const float *a, size_t lda,
						   const glm_tensor *w, const float *bias, int n);

/* cpu_attention.c */
extern size_t glm_cpu_attention_scratch(const glm_model_config *config);
extern void	  glm_cpu_rope_store(glm_device *dev, const glm_model *model, int layer, float *qkv,
								 const glm_row *rows, int n);
extern void	  glm_cpu_attention(glm_device *dev, const glm_model *model, int layer, float *out,
								const float *qkv, const glm_row *rows, int n);

#endif /* GLM_BACKEND_CPU_H */
