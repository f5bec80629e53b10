/*
 * on_gpu.c - the checks' kernels run on a GPU, in memory that the host has too.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cuda/gpu_backend.h"

#define ATTACHED_TO_ALL 1

static cuda_gpu *device;
static int (*take_shared)(uint64_t *memory, size_t bytes, unsigned flags);

static void
end_by(const glm_error *err)
{
	printf("# %s\n", err->message);
	exit(2);
}

static void
run_at_once(void *arg, cuda_kernel kernel, cuda_grid grid, unsigned threads, unsigned shared,
			const void *args, size_t bytes)
{
	const cuda_launcher *l = &device->stream.launcher;
	glm_error			 err;

	(void) arg;
	l->launch(l->arg, kernel, grid, threads, shared, args, bytes);
	if (!cuda_stream_wait(&device->stream, &err))
		end_by(&err);
}

const cuda_launcher ck_launcher = {run_at_once, NULL};

bool
ck_open(void)
{
	glm_error err = {0};
	void	 *library, *found;

	device = cuda_open(0, &err);
	if (device == NULL)
	{
		printf("# %s\n", err.message);
		return false;
	}
	library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
	found = library != NULL ? dlsym(library, "cuMemAllocManaged") : NULL;
	memcpy(&take_shared, &found, sizeof(found));
	printf("# %s, %s\n", device->info.name, device->info.kernels);
	return found != NULL;
}

bool
ck_has(cuda_kernel kernel)
{
	return device->function[kernel] != NULL;
}

/* It orders its threads as it likes: other shapes each time. */
bool
ck_choose(const char *order)
{
	(void) order;
	return true;
}

void *
ck_memory(size_t bytes)
{
	uint64_t  memory = 0;
	glm_error err;

	if (!cuda_fine(device->driver, take_shared(&memory, bytes, ATTACHED_TO_ALL), "shared memory",
				   &err))
		end_by(&err);
	return (void *) (uintptr_t) memory;
}

void
ck_memory_free(void *memory)
{
	device->driver->memory_give((uintptr_t) memory);
}
