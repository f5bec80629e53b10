/*
 * wide.cu - products with F32, F16 and BF16 weights: 16 lanes an output, as kernels.h
 * defines them.
 */
#include "cuda/arithmetic.h"

#define WIDE_ROWS 8 /* of a, that share what is read of w */

/* A half warp has one column of c, and WIDE_ROWS rows of it. */
KERNEL(wide, wide_args, 128)
{
	await_previous();
	int	  lane = (int) threadIdx.x % LANES;
	int	  j = (int) ((blockIdx.x * blockDim.x + threadIdx.x) / LANES);
	int	  i0 = (int) blockIdx.y * WIDE_ROWS, n = a.m - i0 < WIDE_ROWS ? a.m - i0 : WIDE_ROWS;
	float sum[WIDE_ROWS];

	UNROLL
	for (int i = 0; i < WIDE_ROWS; i++)
		sum[i] = 0;
	/* the last step is made whole with zeros, so that all lanes take as many */
	for (int k = lane; j < a.n && k - lane < a.k; k += LANES)
	{
		float w = k < a.k ? element(a.w, (uint64_t) j * a.k + k, a.dtype) : 0.0f;

		UNROLL
		for (int i = 0; i < WIDE_ROWS; i++)
			if (i < n)
				sum[i] = __fmaf_rn(k < a.k ? a.a[(i0 + i) * a.lda + k] : 0.0f, w, sum[i]);
	}
	UNROLL
	for (int i = 0; i < WIDE_ROWS; i++)
	{
		float all;

		if (i >= n)
			break; /* the whole block */
		all = sum_lanes16(sum[i]);
		if (j < a.n && lane == 0)
			put_product(a.c + (i0 + i) * a.ldc + j, all, a.bias, j, a.add);
	}
}
