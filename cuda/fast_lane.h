/*
 * fast_lane.h - what a lane of a warp does in products by tensor instructions (fast.cu,
 * fast_many.cu): loads weights of 16 bits, and multiplies a step of columns.
 *
 * Which columns mma_f16() calls which is ours to say.  A step are 32 of them: lane (g, t) has
 * those from 8 t on, 16 bytes of a row in one piece, of which the first four are its columns of
 * one mma and the others those of the next.
 */
#ifndef GLM_CUDA_FAST_LANE_H
#define GLM_CUDA_FAST_LANE_H

#include "cuda/arithmetic.h"

#define STEP 32		  /* columns */
#define STRIP_STEPS 8 /* steps whose sum begins at +0; strips are then added in order */

/* Rows g and g + 8 of each of a warp's tiles of 16. */
template <int TILES> struct lane_weights
{
	const uint16_t *row[TILES][2]; /* from the lane's first column on */
	int				columns;	   /* from there to the last */
	bool			aligned;	   /* each row begins where pieces of 16 bytes do */

	/* n0: of the first tile; of rows that there are not any will do */
	DEVICE_MEMBER
	lane_weights(const fast_args &a, int n0, int lane)
	{
		int first = lane % 4 * 8;

		UNROLL
		for (int tile = 0; tile < TILES; tile++)
			UNROLL
		for (int half = 0; half < 2; half++)
		{
			int n = n0 + tile * 16 + half * 8 + lane / 4;

			row[tile][half] = a.w + (uint64_t) (n < a.n ? n : a.n - 1) * a.k + first;
		}
		columns = a.k - first;
		aligned = a.k % 8 == 0;
	}

	/* Eight columns of a row from `at` on; zeros where there are none. */
	DEVICE_MEMBER uint4
	eight(const uint16_t *from, int at) const
	{
		unsigned word[4] = {};

		if (aligned)
			return at < columns ? *(const uint4 *) (from + at) : uint4{0, 0, 0, 0};
		UNROLL
		for (int i = 0; i < 8; i++)
			if (at + i < columns)
				word[i / 2] |= (unsigned) from[at + i] << i % 2 * 16;
		return uint4{word[0], word[1], word[2], word[3]};
	}

	DEVICE_MEMBER void
	load(uint4 to[TILES][2], int step) const
	{
		UNROLL
		for (int tile = 0; tile < TILES; tile++)
		{
			to[tile][0] = eight(row[tile][0], step * STEP);
			to[tile][1] = eight(row[tile][1], step * STEP);
		}
	}
};

/* c += of 16 columns; 7.5 has products of 8, and none of BF16. */
template <int DTYPE>
DEVICE void
multiply_add(float c[4], const unsigned a[4], const unsigned b[2])
{
	if constexpr (DTYPE == GLM_CUDA_BF16)
		mma_bf16(c, a, b);
	else if (mma_is_small())
	{
		mma_f16_small(c, a, b[0]);
		mma_f16_small(c, a + 2, b[1]);
	}
	else
		mma_f16(c, a, b);
}

/* c += of a step; x: of 8 rows of activations, as weights are. */
template <int DTYPE>
DEVICE void
multiply_step(float c[4], const uint4 w[2], const uint4 &x)
{
	const unsigned first[4] = {w[0].x, w[1].x, w[0].y, w[1].y}, of_first[2] = {x.x, x.y};
	const unsigned second[4] = {w[0].z, w[1].z, w[0].w, w[1].w}, of_second[2] = {x.z, x.w};

	multiply_add<DTYPE>(c, first, of_first);
	multiply_add<DTYPE>(c, second, of_second);
}

/* A number of c, which is the sum times what the row of activations was divided by. */
DEVICE void
put_fast(const fast_args &a, float sum, int row, int column)
{
	if (row < a.m && column < a.n)
		put_product(a.c + row * a.ldc + column, __fmul_rn(sum, a.scale[row]), a.bias, column,
					a.add);
}

#endif /* GLM_CUDA_FAST_LANE_H */
