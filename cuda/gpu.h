/*
 * gpu.h - what kernels are written with: the same source for nvcc and for a C++ compiler
 * that runs it on the host (host/gpu_host.h).
 *
 * Rules of all kernels.  A kernel has one parameter, a struct of gpu_kernels.h.  Blocks have one
 * dimension of threads.  Shared memory is dynamic.  All threads call await_previous() before they
 * touch what another kernel may write, or read.  Every sum of floats says how it rounds
 * (__fmaf_rn and its like), and what needs PTX is a function of gpu_device.h with a twin in
 * gpu_host.h.
 */
#ifndef GLM_CUDA_GPU_H
#define GLM_CUDA_GPU_H

#ifdef __CUDACC__
#include "cuda/gpu_device.h"
#else
#include "cuda/host/gpu_host.h"
#endif

#endif /* GLM_CUDA_GPU_H */
