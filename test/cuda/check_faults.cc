/*
 * check_faults.cc - does the host notice what is wrong?  Kernels with one fault each, which
 * must give other results than the right one in some order, or end their process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda/gpu.h"

enum fault
{
	NONE,
	NO_BARRIER,		 /* between threads that give and take */
	NO_STORE,		 /* one thread gives nothing */
	READ_TOO_SOON,	 /* of what a copy brings */
	OVERWRITE,		 /* of what is still to be copied: early copies alone show it */
	WARP_BARRIER,	 /* where all threads should meet: only a warp that runs ahead shows it */
	LANES_MISSING,	 /* in an operation of a warp */
	BARRIER_BY_SOME, /* which the others never reach */
	NOT_WAITED,		 /* for a copy, at the end */
	NOT_AWAITED,	 /* by one thread: the kernel before */
#if defined(__SANITIZE_ADDRESS__)
	BEYOND_SHARED, /* one element behind the end */
#endif
	N_FAULTS
};

static const char *const names[] = {"none",
									"no barrier",
									"no store",
									"read too soon",
									"overwrite",
									"barrier of a warp",
									"lanes missing",
									"barrier by some",
									"not waited for",
									"kernel before not awaited",
									"beyond shared memory"};

enum
{
	THREADS = 64
};

struct reverse_args
{
	float		*y;
	const float *x;
	int			 fault;
};

/* y[i] = x[63 - i], by way of shared memory, eight times */
KERNEL(reverse, reverse_args, THREADS)
{
	DYNAMIC_SHARED(shared);
	float *s = (float *) shared;
	int	   i = (int) threadIdx.x;

	if (a.fault != NOT_AWAITED || i != 8)
		await_previous();
	if (a.fault == BARRIER_BY_SOME && i < 40)
		__syncthreads();
	if (a.fault == LANES_MISSING && i < 40)
		__syncwarp();
	for (int round = 0; round < 8; round++)
	{
		if (a.fault == WARP_BARRIER)
			__syncwarp();
		else if (a.fault != OVERWRITE)
			__syncthreads();
		if (i % 4 == 0 && !(a.fault == NO_STORE && i == 8))
			copy_async16(s + i, a.x + round * THREADS + i);
		copy_async_commit();
		if (a.fault != READ_TOO_SOON && !(a.fault == NOT_WAITED && round == 7))
			copy_async_wait<0>();
		if (a.fault != NO_BARRIER)
			__syncthreads();
		a.y[round * THREADS + i] = s[THREADS - 1 - i];
	}
	copy_async_wait<0>();
	if (a.fault == NOT_WAITED && i % 4 == 0)
		copy_async16(s + i, a.x);
#if defined(__SANITIZE_ADDRESS__)
	if (a.fault == BEYOND_SHARED)
		s[i + 1] = 0;
#endif
}

/* Is the result right, with one of the choices there are?  Ends the process where it should. */
static bool
right(int fault, gpu::choice choice)
{
	float		 x[THREADS * 8], y[THREADS * 8];
	reverse_args args = {y, x, fault};

	for (int i = 0; i < THREADS * 8; i++)
		x[i] = (float) i;
	memset(y, 0, sizeof(y));
	gpu::chosen = choice;
	gpu::launch(
		"reverse", dim3{1, 1, 1}, THREADS, THREADS * sizeof(float),
		[](const void *p) { reverse(*(const reverse_args *) p); }, &args);
	for (int i = 0; i < THREADS * 8; i++)
		if (y[i] != x[i / THREADS * THREADS + THREADS - 1 - i % THREADS])
			return false;
	return true;
}

/* In a process of its own, with all choices. */
static bool
noticed(int fault)
{
	int	  status;
	pid_t child = fork();

	if (child == 0)
	{
		const struct rlimit no_core = {0, 0};
		bool				all = true;

		setrlimit(RLIMIT_CORE, &no_core);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(2);
		for (int i = 0; i < 4; i++)
			for (int order = gpu::FORWARD; order <= gpu::RANDOM; order++)
				all &= right(fault, gpu::choice{(gpu::order_kind) order, 7, i % 2 == 1, i / 2 == 1,
												false, true});
		_exit(all ? 0 : 1);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	return status != 0;
}

int
main()
{
	bool fine = true;

	for (int fault = NONE; fault < N_FAULTS; fault++)
	{
		bool good = noticed(fault) == (fault != NONE);

		printf("%s %d - fault noticed: %s\n", good ? "ok" : "not ok", fault + 1, names[fault]);
		fine &= good;
	}
	return fine ? 0 : 1;
}
