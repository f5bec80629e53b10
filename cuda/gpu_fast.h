/*
 * gpu_fast.h - products by tensor instructions, on a device that was opened with GLM_FAST.
 */
#ifndef GLM_CUDA_GPU_FAST_H
#define GLM_CUDA_GPU_FAST_H

#include "cuda/gpu_backend.h"

/* Are products with weights of this type computed so?  Else, as all others, they are exact. */
extern bool cuda_is_fast(const cuda_gpu *dev, int dtype);

/* Columns of activations in 16 bits, those that fill up among them. */
extern int cuda_narrow_columns(int k);

/* *narrowed: the type that the same activations were rounded to before; GLM_CUDA_F32: none. */
extern void cuda_multiply_fast(cuda_gpu *dev, const wide_args *a, int *narrowed);

#endif /* GLM_CUDA_GPU_FAST_H */
