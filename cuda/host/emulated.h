/*
 * emulated.h - the kernels, compiled for the host, by name: for tests.
 */
#ifndef GLM_CUDA_EMULATED_H
#define GLM_CUDA_EMULATED_H

#include <stddef.h>

#include "cuda/launch.h"

#ifdef __cplusplus
extern "C"
{
#endif

	typedef struct emulated_kernel
	{
		const char *name;
		void (*run)(const void *args);
		size_t bytes; /* of args */
	} emulated_kernel;

	extern const emulated_kernel emulated_kernels[GLM_CUDA_N_KERNELS];

	/* Runs one; all its writes are done when it returns.  One thread at a time. */
	extern void emulated_run(const emulated_kernel *kernel, cuda_grid grid, unsigned threads,
							 unsigned shared, const void *args);

	/*
 * "forward", "reverse" or "random:SEED", and behind it ",early" where asynchronous copies
 * are to arrive at once, ",ahead" where warps run ahead, ",small" for products
 * of compute capability 7.5, ",dependent" where kernels must await each other; see gpu_host.h.
 */
	extern void emulated_choose(const char *choice);

	/* Calls this when the next kernel that runs awaits the one before. */
	extern void emulated_earlier(void (*earlier)(void));

#ifdef __cplusplus
}
#endif

#endif /* GLM_CUDA_EMULATED_H */
