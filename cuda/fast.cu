/*
 * fast.cu - products with F16 and BF16 weights by tensor instructions, where the setting lets
 * them: other bits than the CPU's, but the same ones whatever is computed beside.
 *
 * Activations are rounded to the type of the weights first.  A number of c is then defined in one
 * way for all kernels, numbers of rows and places of a row among them: weights are always what
 * mma_f16() calls a, activations always b; strips of 256 columns have a sum each, which begins at
 * +0 and has steps added in their order; and the strips' sums are added in their order.  What is
 * left to the device is how an mma adds its 16 products to a number: it does not depend on
 * the other numbers, but differs from one kind of GPU to the next.
 *
 * few_* and some_*: a block has tiles of weights; its warps take strips in turn, and leave their
 * sums in shared memory, where they are added up.  many_* is in fast_many.cu.
 */
#include "cuda/fast_lane.h"

#define FAST_WARPS 8 /* warps of a block, and strips of a round */

/* ---- Activations in 16 bits ----------------------------------------------------------- */

DEVICE uint16_t
f32_to_bf16(float x)
{
	unsigned bits = __float_as_uint(x);

	if ((bits & 0x7fffffffu) > 0x7f800000u)
		return (uint16_t) (bits >> 16); /* a NaN stays one; a product is a quiet one */
	return (uint16_t) ((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* The largest magnitude of a row, as bits, in all threads of a block of 8 warps. */
DEVICE unsigned
largest_of_row(const float *x, int cols, unsigned *shared)
{
	unsigned largest = 0;

	for (int j = (int) threadIdx.x; j < cols; j += (int) blockDim.x)
	{
		unsigned bits = __float_as_uint(x[j]) & 0x7fffffffu;

		largest = bits > largest ? bits : largest;
	}
	largest = largest_of_warp(largest);
	if (threadIdx.x % 32 == 0)
		shared[threadIdx.x / 32] = largest;
	__syncthreads();
	for (int i = 0; i < FAST_WARPS; i++)
		largest = shared[i] > largest ? shared[i] : largest;
	return largest;
}

/*
 * The power of two that F16 is to be multiplied with: it brings the largest number to 2^14 or
 * just above, so that none is too large, and what is 2^28 times smaller still has all its bits.
 * A row with what is no number stays as it is, and has no numbers for a result.
 */
DEVICE int
scale_exponent(unsigned largest)
{
	int exponent = (int) (largest >> 23) - 127;

	if (largest == 0 || exponent > 127)
		return 0;
	return exponent < -126 + 14 ? 126 : 14 - exponent;
}

/* A block a row; what fills up columns are zeros. */
KERNEL(narrow, narrow_args, 256)
{
	await_previous();
	DYNAMIC_SHARED(shared);
	const float *x = a.a + blockIdx.x * a.lda;
	unsigned	*to = (unsigned *) (a.to + (uint64_t) blockIdx.x * a.ld);
	bool		 is_f16 = a.dtype == GLM_CUDA_F16;
	int			 up = is_f16 ? scale_exponent(largest_of_row(x, a.cols, (unsigned *) shared)) : 0;
	float		 by = __uint_as_float((unsigned) (127 + up) << 23);

	for (int j = (int) threadIdx.x * 2; j < a.ld; j += (int) blockDim.x * 2)
	{
		float	 low = j < a.cols ? __fmul_rn(x[j], by) : 0.0f;
		float	 high = j + 1 < a.cols ? __fmul_rn(x[j + 1], by) : 0.0f;
		unsigned of_low = is_f16 ? f32_to_f16(low) : f32_to_bf16(low);

		to[j / 2] = of_low | (unsigned) (is_f16 ? f32_to_f16(high) : f32_to_bf16(high)) << 16;
	}
	if (threadIdx.x == 0)
		a.scale[blockIdx.x] = __uint_as_float((unsigned) (127 - up) << 23);
}

/* ---- Up to 8 rows a block, or 32 ------------------------------------------------------- */

/* The strips' sums of a round; columns so far apart that lanes meet in no bank. */
template <int TILES, int ROW_TILES> struct strips_round
{
	float sum[FAST_WARPS][ROW_TILES * 8][TILES * 16 + 4];
};

/*
 * A block: TILES tiles of weights and ROW_TILES * 8 rows.  Weights of AHEAD steps are being loaded
 * while those before are multiplied.
 */
template <int DTYPE, int TILES, int ROW_TILES, int AHEAD> struct product_of_strips
{
	enum
	{
		COLUMNS = TILES * 16,
		EACH = ROW_TILES * 8 * COLUMNS / (FAST_WARPS * 32), /* numbers that a thread adds up */
		SUMS = EACH > 0 ? EACH : 1
	};
	typedef strips_round<TILES, ROW_TILES> in_shared;

	const uint16_t *x;				/* from the lane's first column on */
	unsigned		row[ROW_TILES]; /* where row g of each 8 begins */
	uint4			w[AHEAD][TILES][2];
	float			sum[SUMS];

	/* Weights of AHEAD steps from here on. */
	DEVICE_MEMBER void
	load(const lane_weights<TILES> &weights, int step)
	{
		UNROLL
		for (int i = 0; i < AHEAD; i++)
			weights.load(w[i], step + i);
	}

	/* The sum of a strip, whose first weights are loaded; then those of the warp's next one are. */
	DEVICE_MEMBER void
	add_strip(float c[TILES][ROW_TILES][4], const lane_weights<TILES> &weights, int first,
			  int steps)
	{
		NO_UNROLL
		for (int step = 0; step < STRIP_STEPS; step += AHEAD)
		{
			int next = step + AHEAD < STRIP_STEPS ? step + AHEAD : FAST_WARPS * STRIP_STEPS;

			UNROLL
			for (int i = 0; i < AHEAD; i++)
			{
				const uint16_t *at = x + (first + step + i) * STEP;

				if (first + step + i >= steps)
					break;
				UNROLL
				for (int n = 0; n < ROW_TILES; n++)
				{
					uint4 of_row = *(const uint4 *) (at + row[n]);

					UNROLL
					for (int tile = 0; tile < TILES; tile++)
						multiply_step<DTYPE>(c[tile][n], w[i][tile], of_row);
				}
			}
			load(weights, first + next);
		}
	}

	DEVICE_MEMBER void
	put(in_shared *round, const float c[TILES][ROW_TILES][4], int warp, int lane) const
	{
		UNROLL
		for (int tile = 0; tile < TILES; tile++)
			UNROLL
		for (int n = 0; n < ROW_TILES; n++)
			UNROLL
		for (int i = 0; i < 4; i++)
			round->sum[warp][n * 8 + lane % 4 * 2 + i % 2][tile * 16 + lane / 4 + i / 2 * 8] =
				c[tile][n][i];
	}

	/* Adds a round's first n strips: number i of the thread's. */
	DEVICE_MEMBER void
	add(const in_shared &round, int n)
	{
		UNROLL
		for (int i = 0; i < SUMS; i++)
		{
			int at = (int) threadIdx.x + i * FAST_WARPS * 32;

			if (at < ROW_TILES * 8 * COLUMNS)
				for (int strip = 0; strip < n; strip++)
					sum[i] = __fadd_rn(sum[i], round.sum[strip][at / COLUMNS][at % COLUMNS]);
		}
	}

	DEVICE_MEMBER void
	run(const fast_args &a, in_shared *round)
	{
		int lane = (int) threadIdx.x % 32, warp = (int) threadIdx.x / 32, steps = a.ld / STEP;
		int m0 = (int) blockIdx.y * ROW_TILES * 8, n0 = (int) blockIdx.x * COLUMNS;
		int strips = (steps + STRIP_STEPS - 1) / STRIP_STEPS;
		lane_weights<TILES> weights(a, n0, lane);

		x = a.x + lane % 4 * 8;
		UNROLL
		for (int n = 0; n < ROW_TILES; n++)
		{
			int m = m0 + n * 8 + lane / 4;

			row[n] = (unsigned) (m < a.m ? m : a.m - 1) * (unsigned) a.ld;
		}
		UNROLL
		for (int i = 0; i < SUMS; i++)
			sum[i] = 0;
		load(weights, warp * STRIP_STEPS);
		/* weights are there before any kernel is launched; what they are multiplied with is not */
		await_previous();
		NO_UNROLL
		for (int first = 0; first < strips; first += FAST_WARPS)
		{
			float c[TILES][ROW_TILES][4] = {};

			if (first + warp < strips)
			{
				add_strip(c, weights, (first + warp) * STRIP_STEPS, steps);
				put(round, c, warp, lane);
			}
			__syncthreads();
			add(*round, strips - first < FAST_WARPS ? strips - first : FAST_WARPS);
			__syncthreads();
		}
		UNROLL
		for (int i = 0; i < SUMS; i++)
		{
			int at = (int) threadIdx.x + i * FAST_WARPS * 32;

			if (at < ROW_TILES * 8 * COLUMNS)
				put_fast(a, sum[i], m0 + at / COLUMNS, n0 + at % COLUMNS);
		}
	}
};

#define STRIPS(name, type, tiles, row_tiles, ahead)                                                \
	KERNEL_OF_BLOCKS(name, fast_args, FAST_WARPS * 32, 2)                                          \
	{                                                                                              \
		DYNAMIC_SHARED(shared);                                                                    \
		product_of_strips<GLM_CUDA_##type, tiles, row_tiles, ahead> product;                       \
                                                                                                   \
		product.run(a, (strips_round<tiles, row_tiles> *) shared);                                 \
	}

STRIPS(few_f16, F16, 1, 1, 8)
STRIPS(few_bf16, BF16, 1, 1, 8)
STRIPS(some_f16, F16, 2, 4, 2)
STRIPS(some_bf16, BF16, 2, 4, 2)
