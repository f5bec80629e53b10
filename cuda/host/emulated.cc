/*
 * emulated.cc - the kernels, compiled for the host, by name.
 */
#include "cuda/host/emulated.h"

#include <stdlib.h>

#include "cuda/all.cu"

const emulated_kernel emulated_kernels[GLM_CUDA_N_KERNELS] = {
#define ENTRY(name, type)                                                                          \
	{#name, [](const void *args) { name(*(const type *) args); }, sizeof(type)},
	GLM_CUDA_KERNELS(ENTRY)
#undef ENTRY
};

void
emulated_run(const emulated_kernel *kernel, cuda_grid grid, unsigned threads, unsigned shared,
			 const void *args)
{
	gpu::launch(kernel->name, dim3{grid.x, grid.y, grid.z}, threads, shared, kernel->run, args);
}

void
emulated_choose(const char *choice)
{
	const char *seed = strchr(choice, ':');

	gpu::chosen.order = choice[0] == 'f'   ? gpu::FORWARD
						: choice[1] == 'e' ? gpu::REVERSE
										   : gpu::RANDOM;
	gpu::chosen.seed = seed != NULL ? (unsigned) atoi(seed + 1) : 0;
	gpu::chosen.early = strstr(choice, ",early") != NULL;
	gpu::chosen.ahead = strstr(choice, ",ahead") != NULL;
	gpu::chosen.small = strstr(choice, ",small") != NULL;
	gpu::chosen.dependent = strstr(choice, ",dependent") != NULL;
}

void
emulated_earlier(void (*earlier)(void))
{
	gpu::earlier = earlier;
}
