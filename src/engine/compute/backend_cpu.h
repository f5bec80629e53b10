/*
 * backend_cpu.h - the CPU's operations that have files of their own; see backend.h.
 */
#ifndef GLM_BACKEND_CPU_H
#define GLM_BACKEND_CPU_H

#include "engine/compute/cpu_spread.h"

extern const glm_backend glm_backend_cpu;

/* ---- cpu_matmul.c ---- */

/* Floats that a thread needs for the columns of a product. */
extern size_t glm_cpu_matmul_scratch(void);
extern void	  glm_cpu_matmul(glm_device *dev, glm_mem c, glm_mem a, size_t lda,
							 glm_projection projection, int layer, int n, bool add, bool swiglu);

/* ---- cpu_attention.c ---- */

/* Floats that a run needs. */
extern size_t glm_cpu_attention_scratch(const glm_model_config *config);
extern void	  glm_cpu_attention(glm_device *dev, glm_mem out, glm_mem qkv, int layer, int first,
								int n);

#endif /* GLM_BACKEND_CPU_H */
