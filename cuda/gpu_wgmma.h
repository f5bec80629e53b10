/*
 * gpu_wgmma.h - products by wgmma_*, where the device has it: see gpu_wgmma.c.
 */
#ifndef GLM_CUDA_GPU_WGMMA_H
#define GLM_CUDA_GPU_WGMMA_H

#include <stdatomic.h>

#include "cuda/gpu_kernels.h"
#include "engine/base/observation.h"

/* What is known of a kernel. */
enum
{
	CUDA_WGMMA_UNTRIED,
	CUDA_WGMMA_USED,
	CUDA_WGMMA_SLOWER
};

typedef struct cuda_gpu cuda_gpu;

/* Zeroed: nothing is tried. */
typedef struct cuda_wgmma
{
	int	  known[6];		/* of wgmma_q4_32 and those behind it */
	float us, plain_us; /* of the last that was tried */

	/* any thread */
	atomic_int	n_used, n_slower; /* kernels */
	atomic_bool dropped;		  /* all of them */
	char		why[48];		  /* written before */
} cuda_wgmma;

/* A product with packed weights by the kernel that is best for it. */
extern void cuda_multiply(cuda_gpu *dev, const packed_args *a, int dtype, int group);

/* What is said of it; false: there is nothing, as the device has none.  Any thread. */
extern bool cuda_wgmma_tell(const cuda_gpu *dev, glm_tuned *out);

#endif /* GLM_CUDA_GPU_WGMMA_H */
