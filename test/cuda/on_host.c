/*
 * on_host.c - the checks' kernels run on the host.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cuda/host/emulated.h"

static bool dependent;

static void
run_at_once(void *arg, cuda_kernel kernel, cuda_grid grid, unsigned threads, unsigned shared,
			const void *args, size_t bytes)
{
	(void) arg;
	if (bytes != emulated_kernels[kernel].bytes)
		abort();
	if (dependent)
	{
		ck_hide();
		emulated_earlier(ck_show);
	}
	emulated_run(&emulated_kernels[kernel], grid, threads, shared, args);
}

const cuda_launcher ck_launcher = {run_at_once, NULL};

bool
ck_open(void)
{
	return true;
}

bool
ck_choose(const char *order)
{
	dependent = strstr(order, ",dependent") != NULL;
	emulated_choose(order);
	return true;
}

bool
ck_has(cuda_kernel kernel)
{
	return emulated_kernels[kernel].run != NULL;
}

void *
ck_memory(size_t bytes)
{
	return aligned_alloc(256, (bytes + 255) / 256 * 256);
}

void
ck_memory_free(void *memory)
{
	free(memory);
}
