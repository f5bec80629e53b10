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

/* ---- Products of four warps ---------------------------------------------------------------- */

enum wgmma_fault
{
	W_NONE = N_FAULTS,
	W_NOT_FENCED,
	W_WRITTEN_BEHIND, /* the fence: a sum */
	W_NOT_WAITED,
	W_READ_TOO_SOON,   /* a sum: late products alone show it */
	W_OPERAND_CHANGED, /* before the wait: the same */
	W_NOT_COMMITTED,
	W_NOT_SHOWN,
	W_LEADING, /* is wrong */
	W_STRIDE,
	W_SWIZZLE,
	W_BEYOND, /* shared memory */
	W_OTHER,  /* what one warp describes */
	N_WGMMA_FAULTS
};

static const char *const wgmma_names[] = {"wgmma: none",
										  "wgmma: no fence",
										  "wgmma: a sum written behind the fence",
										  "wgmma: not waited for",
										  "wgmma: a sum read before the wait",
										  "wgmma: an operand changed before the wait",
										  "wgmma: no commit",
										  "wgmma: not shown",
										  "wgmma: leading offset",
										  "wgmma: stride",
										  "wgmma: swizzle",
										  "wgmma: beyond shared memory",
										  "wgmma: another matrix in one warp"};

enum
{
	ROWS = 64,
	COLUMNS = 32,
	LEADING = 1040
};

struct multiply_args
{
	int			  *y; /* [ROWS, ROWS] */
	const uint8_t *a; /* [ROWS, COLUMNS] */
	const int8_t  *b;
	int			   fault;
};

static uint64_t
describe(int fault)
{
	uint64_t leading = fault == W_LEADING ? LEADING - 16 : LEADING;
	uint64_t stride = fault == W_STRIDE ? 112 : 128, start = fault == W_BEYOND ? 32 : 0;

	if (fault == W_OTHER && threadIdx.x / 32 == 2)
		start += 16;
	return start / 16 | leading / 16 << 16 | stride / 16 << 32 |
		   (uint64_t) (fault == W_SWIZZLE) << 62;
}

/* y = a b^T, and the rows' numbers */
KERNEL(multiply, multiply_args, WGMMA_THREADS)
{
	DYNAMIC_SHARED(shared);
	int		 me = (int) threadIdx.x, row = me / 32 * 16 + me % 32 / 4, column = me % 4 * 4;
	int		 c[32], more = 0;
	unsigned f[1][4];

	await_previous();
	for (int i = me; i < ROWS * COLUMNS / 4; i += WGMMA_THREADS)
	{
		int n = i / 8, k = i % 8 * 4;

		wgmma_put(shared + k / 16 * LEADING + n * 16 + k % 16,
				  *(const unsigned *) (a.b + n * COLUMNS + k));
	}
	if (a.fault != W_NOT_SHOWN)
		wgmma_show();
	__syncthreads();
	for (int i = 0; i < 4; i++)
		f[0][i] = *(const unsigned *) (a.a + (row + i % 2 * 8) * COLUMNS + i / 2 * 16 + column);
	for (int i = 0; i < 32; i++)
		c[i] = row + i / 2 % 2 * 8;
	if (a.fault != W_NOT_FENCED)
		wgmma_fence<1>(c, f);
	if (a.fault == W_WRITTEN_BEHIND)
		c[3]++;
	wgmma_u8s8(c, f[0], describe(a.fault));
	if (a.fault == W_OPERAND_CHANGED)
		f[0][1]++;
	if (a.fault == W_READ_TOO_SOON)
		more = c[1];
	if (a.fault != W_NOT_COMMITTED)
		wgmma_commit();
	if (a.fault != W_NOT_WAITED)
		wgmma_wait<0, 1>(c, f);
	for (int i = 0; i < 32; i++)
		a.y[(row + i / 2 % 2 * 8) * ROWS + i / 4 * 8 + me % 4 * 2 + i % 2] =
			a.fault == W_READ_TOO_SOON && i == 1 ? more : c[i];
}

static bool
right_wgmma(int fault, gpu::choice choice)
{
	alignas(4) uint8_t a[ROWS * COLUMNS];
	alignas(4) int8_t  b[ROWS * COLUMNS];
	static int		   y[ROWS * ROWS];
	multiply_args	   args = {y, a, b, fault};

	for (int i = 0; i < ROWS * COLUMNS; i++)
	{
		a[i] = (uint8_t) (i * 7 + i / COLUMNS);
		b[i] = (int8_t) (i * 11 + i / COLUMNS * 5);
	}
	gpu::chosen = choice;
	gpu::launch(
		"multiply", dim3{1, 1, 1}, WGMMA_THREADS, LEADING + ROWS * 16,
		[](const void *p) { multiply(*(const multiply_args *) p); }, &args);
	for (int i = 0; i < ROWS * ROWS; i++)
	{
		int sum = i / ROWS;

		for (int k = 0; k < COLUMNS; k++)
			sum += a[i / ROWS * COLUMNS + k] * b[i % ROWS * COLUMNS + k];
		if (y[i] != sum)
			return false;
	}
	return true;
}

/* ---- All of them ----------------------------------------------------------------------------- */

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
				all &= (fault < N_FAULTS ? right : right_wgmma)(
					fault,
					gpu::choice{(gpu::order_kind) order, 7, i % 2 == 1, i / 2 == 1, false, true});
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

	for (int fault = NONE; fault < N_WGMMA_FAULTS; fault++)
	{
		bool good = noticed(fault) == (fault != NONE && fault != W_NONE);

		printf("%s %d - fault noticed: %s\n", good ? "ok" : "not ok", fault + 1,
			   fault < N_FAULTS ? names[fault] : wgmma_names[fault - N_FAULTS]);
		fine &= good;
	}
	return fine ? 0 : 1;
}
