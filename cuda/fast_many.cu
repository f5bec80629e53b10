/*
 * fast_many.cu - the products of fast.cu for more than 64 rows.
 *
 * A warp has a pair of tiles of weights and 64 rows of activations, whose sums stay in its
 * registers.  Two warps have the same weights, which the second finds in the cache; activations
 * come by asynchronous copies, three steps ahead, for all of the block.
 */
#include "cuda/fast_lane.h"

#define MANY_PAIRS 4  /* pairs of tiles of a block: 128 columns of c */
#define MANY_STEPS 4  /* of activations that are there or on their way */
#define MANY_ROWS 128 /* of a block */
#define MANY_THREADS (MANY_PAIRS * 2 * 32)

static_assert(MANY_STEPS == 4, "one step is multiplied, two may be on their way");

/* A step of all rows; lanes that take 16 bytes each meet in no bank. */
struct fast_step
{
	uint16_t x[MANY_ROWS][STEP];
};

/* What a thread copies of each step: 16 bytes of two rows. */
struct fast_source
{
	const uint16_t *from[2];
	int				to;

	DEVICE_MEMBER
	fast_source(const fast_args &a, int m0)
	{
		int row = (int) threadIdx.x / 4, first = (int) threadIdx.x % 4 * 8;

		UNROLL
		for (int i = 0; i < 2; i++)
		{
			int there = m0 + row + i * MANY_ROWS / 2;

			from[i] = a.x + (uint64_t) (there < a.m ? there : a.m - 1) * a.ld + first;
		}
		to = row * STEP + first;
	}

	/* Begins to bring a step. */
	DEVICE_MEMBER void
	fetch(fast_step *place, int step) const
	{
		uint16_t *x = place->x[0] + to;

		copy_async16(x, from[0] + step * STEP);
		copy_async16(x + MANY_ROWS / 2 * STEP, from[1] + step * STEP);
	}
};

/* The sums of a warp: two tiles, 8 times 8 rows. */
struct fast_sums
{
	float of[2][8][4];

	DEVICE_MEMBER void
	clear()
	{
		UNROLL
		for (int i = 0; i < 64; i++)
			of[i / 32][i / 4 % 8][i % 4] = 0;
	}

	DEVICE_MEMBER void
	add(const fast_sums &strip)
	{
		UNROLL
		for (int i = 0; i < 64; i++)
			of[i / 32][i / 4 % 8][i % 4] =
				__fadd_rn(of[i / 32][i / 4 % 8][i % 4], strip.of[i / 32][i / 4 % 8][i % 4]);
	}

	template <int DTYPE>
	DEVICE_MEMBER void
	add_step(const uint4 w[2][2], const fast_step &step, int row)
	{
		int lane = (int) threadIdx.x % 32;

		UNROLL
		for (int n = 0; n < 8; n++)
		{
			uint4 x = *(const uint4 *) &step.x[row + n * 8 + lane / 4][lane % 4 * 8];

			UNROLL
			for (int tile = 0; tile < 2; tile++)
				multiply_step<DTYPE>(of[tile][n], w[tile], x);
		}
	}

	DEVICE_MEMBER void
	put(const fast_args &a, int m0, int n0) const
	{
		int lane = (int) threadIdx.x % 32;

		UNROLL
		for (int i = 0; i < 64; i++)
			put_fast(a, of[i / 32][i / 4 % 8][i % 4], m0 + i / 4 % 8 * 8 + lane % 4 * 2 + i % 2,
					 n0 + i / 32 * 16 + lane / 4 + i % 4 / 2 * 8);
	}
};

template <int DTYPE>
DEVICE void
product_of_rows(const fast_args &a)
{
	DYNAMIC_SHARED(shared);
	fast_step	   *there = (fast_step *) shared;
	int				lane = (int) threadIdx.x % 32, warp = (int) threadIdx.x / 32;
	int				m0 = (int) blockIdx.y * MANY_ROWS, row = warp / MANY_PAIRS * 64;
	int				n0 = ((int) blockIdx.x * MANY_PAIRS + warp % MANY_PAIRS) * 32;
	int				steps = a.ld / STEP;
	lane_weights<2> weights(a, n0, lane);
	fast_source		source(a, m0);
	fast_sums		sum, strip;
	uint4			next[2][2];

	/* they are there, whatever other kernels do */
	weights.load(next, 0);
	await_previous();
	sum.clear();
	strip.clear();
	UNROLL
	for (int i = 0; i < MANY_STEPS - 1; i++)
	{
		if (i < steps)
			source.fetch(&there[i], i);
		copy_async_commit();
	}
	NO_UNROLL
	for (int step = 0; step < steps; step++)
	{
		uint4 w[2][2] = {{next[0][0], next[0][1]}, {next[1][0], next[1][1]}};

		weights.load(next, step + 1);
		copy_async_wait<2>();
		/* all have theirs of this step, and are done with the one that is filled next */
		__syncthreads();
		if (step + MANY_STEPS - 1 < steps)
			source.fetch(&there[(step + MANY_STEPS - 1) % MANY_STEPS], step + MANY_STEPS - 1);
		copy_async_commit();
		strip.add_step<DTYPE>(w, there[step % MANY_STEPS], row);
		if ((step + 1) % STRIP_STEPS == 0 || step + 1 == steps)
		{
			sum.add(strip);
			strip.clear();
		}
	}
	sum.put(a, m0 + row, n0);
}

KERNEL(many_f16, fast_args, MANY_THREADS)
{
	product_of_rows<GLM_CUDA_F16>(a);
}

KERNEL(many_bf16, fast_args, MANY_THREADS)
{
	product_of_rows<GLM_CUDA_BF16>(a);
}
