/*
 * wide.cu - products with F32, F16 and BF16 weights: 16 lanes an output, as kernels.h
 * defines them.
 *
 * Two threads have the 16 lanes of a column of c, eight each, and WIDE_ROWS rows of it.  A step
 * are 16 numbers of a row of w, of which each takes the eight of its lanes: 16 bytes in one
 * piece, and both of them a sector of memory.  What is read of w serves all rows.
 */
#include "cuda/arithmetic.h"

#define WIDE_ROWS 8
#define WIDE_AHEAD 4 /* steps whose weights are read before the first is used */
#define EIGHT (LANES / 2)

/* Weights of a step: a thread's, as they are in memory. */
template <int DTYPE> struct eight_weights
{
	enum
	{
		PIECES = DTYPE == GLM_CUDA_F32 ? 2 : 1
	};
	uint4 piece[PIECES];

	/* at: 16 bytes fit */
	DEVICE_MEMBER void
	load(const void *w, uint64_t at)
	{
		UNROLL
		for (int i = 0; i < PIECES; i++)
			piece[i] = ((const uint4 *) w)[at * PIECES / EIGHT + i];
	}

	DEVICE_MEMBER void
	numbers(float to[EIGHT]) const
	{
		UNROLL
		for (int i = 0; i < EIGHT; i++)
		{
			const uint4 &p = piece[i * PIECES / EIGHT];
			int			 word = PIECES == 2 ? i % 4 : i / 2;
			unsigned	 bits = word == 0 ? p.x : word == 1 ? p.y : word == 2 ? p.z : p.w;

			if (DTYPE == GLM_CUDA_F32)
				to[i] = __uint_as_float(bits);
			else if (DTYPE == GLM_CUDA_F16)
				to[i] = f16_to_f32((uint16_t) (i % 2 ? bits >> 16 : bits));
			else
				to[i] = __uint_as_float(i % 2 ? bits & 0xffff0000u : bits << 16);
		}
	}
};

/* Adds a step's products to n rows; x: the first row's numbers of it, `there` of them. */
template <bool WHOLE>
DEVICE void
add_step(float sum[WIDE_ROWS][EIGHT], const float w[EIGHT], const float *x, uint64_t lda, int n,
		 int there)
{
	UNROLL
	for (int i = 0; i < WIDE_ROWS; i++)
	{
		float v[EIGHT];

		if (i >= n)
			break;
		UNROLL
		for (int k = 0; k < EIGHT; k += 4)
			if (WHOLE)
			{
				float4 four = *(const float4 *) (x + k);

				v[k] = four.x;
				v[k + 1] = four.y;
				v[k + 2] = four.z;
				v[k + 3] = four.w;
			}
			else
				for (int j = k; j < k + 4; j++)
					v[j] = j < there ? x[j] : 0.0f;
		UNROLL
		for (int k = 0; k < EIGHT; k++)
			sum[i][k] = __fmaf_rn(v[k], w[k], sum[i][k]);
		x += lda;
	}
}

/* Is all of it where pieces of 16 bytes begin? */
DEVICE bool
is_aligned(const wide_args &a)
{
	return a.k % EIGHT == 0 && a.lda % 4 == 0 && (uintptr_t) a.w % 16 == 0 &&
		   (uintptr_t) a.a % 16 == 0;
}

/* All steps of a row of w, which begins at element `row`; x: the first row of a. */
template <int DTYPE>
DEVICE void
add_steps(float sum[WIDE_ROWS][EIGHT], const wide_args &a, uint64_t row, const float *x, int n)
{
	int	  first = (int) threadIdx.x % 2 * EIGHT, k = 0;
	float w[EIGHT];

	NO_UNROLL
	for (; is_aligned(a) && k + WIDE_AHEAD * LANES <= a.k; k += WIDE_AHEAD * LANES)
	{
		eight_weights<DTYPE> of[WIDE_AHEAD];

		UNROLL
		for (int i = 0; i < WIDE_AHEAD; i++)
			of[i].load(a.w, row + k + first + i * LANES);
		UNROLL
		for (int i = 0; i < WIDE_AHEAD; i++)
		{
			of[i].numbers(w);
			add_step<true>(sum, w, x + k + first + i * LANES, a.lda, n, EIGHT);
		}
	}
	/* the last step is made whole with zeros, so that all lanes take as many */
	NO_UNROLL
	for (; k < a.k; k += LANES)
	{
		int there = a.k - k - first;

		UNROLL
		for (int i = 0; i < EIGHT; i++)
			w[i] = i < there ? element(a.w, row + k + first + i, DTYPE) : 0.0f;
		add_step<false>(sum, w, x + k + first, a.lda, n, there);
	}
}

/* The tree over 16 lanes, as sum_lanes16(), in the thread that has the first eight. */
DEVICE float
sum_eights(float lane[EIGHT])
{
	UNROLL
	for (int i = 0; i < EIGHT; i++)
		lane[i] = __fadd_rn(lane[i], __shfl_xor_sync(ALL_LANES, lane[i], 1));
	UNROLL
	for (int by = EIGHT / 2; by >= 1; by /= 2)
	{
		UNROLL
		for (int i = 0; i < by; i++)
			lane[i] = __fadd_rn(lane[i], lane[i + by]);
	}
	return lane[0];
}

template <int DTYPE>
DEVICE void
wide_product(const wide_args &a)
{
	int	  j = (int) ((blockIdx.x * blockDim.x + threadIdx.x) / 2);
	int	  i0 = (int) blockIdx.y * WIDE_ROWS, n = a.m - i0 < WIDE_ROWS ? a.m - i0 : WIDE_ROWS;
	float sum[WIDE_ROWS][EIGHT] = {};

	/* all take part, if with the last column */
	add_steps<DTYPE>(sum, a, (uint64_t) (j < a.n ? j : a.n - 1) * a.k, a.a + i0 * a.lda, n);
	UNROLL
	for (int i = 0; i < WIDE_ROWS; i++)
	{
		float all;

		if (i >= n)
			break; /* the whole block */
		all = sum_eights(sum[i]);
		if (j < a.n && threadIdx.x % 2 == 0)
			put_product(a.c + (i0 + i) * a.ldc + j, all, a.bias, j, a.add);
	}
}

KERNEL(wide, wide_args, 128)
{
	await_previous();
	if (a.dtype == GLM_CUDA_F32)
		wide_product<GLM_CUDA_F32>(a);
	else if (a.dtype == GLM_CUDA_F16)
		wide_product<GLM_CUDA_F16>(a);
	else
		wide_product<GLM_CUDA_BF16>(a);
}
