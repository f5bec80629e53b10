/*
 * round_codes.h - activations rounded to 8 bits, as packed_kernels.h defines it, by whoever
 * makes them: a warp a group, whose columns its lanes have side by side.
 */
#ifndef GLM_CUDA_ROUND_CODES_H
#define GLM_CUDA_ROUND_CODES_H

#include "cuda/arithmetic.h"

#define MOST_EACH 4 /* columns that a lane has of a group */

#define SMALLEST_MAX 0x1p-100f /* of a group that is not zero */
#define CODE_ROUND 0x1.8p23f   /* a sum with it has its integer in the low bits */

/* Columns of a lane, of a piece that its warp has: of a group, if there are any. */
DEVICE int
columns_of_lane(const cuda_codes &to)
{
	return to.group > 0 ? to.group / 32 : 1;
}

/* Has a row only zeros to leave? */
DEVICE bool
fills_up(const cuda_codes &to, int row)
{
	return to.group > 0 && row >= to.m;
}

/* Scale and sum of a group; lane 0's work. */
DEVICE void
put_scale(const cuda_codes &to, int row, int g, float scale, int minus_sum)
{
	to.scale[(uint64_t) g * to.ld + row] = scale;
	to.minus_sum[(uint64_t) g * to.ld + row] = minus_sum;
}

/*
 * Leaves group g of a row, of which x [group / 32] are this lane's columns; where they end,
 * zeros.  Rows m to ld have no codes, and zeros for the rest.
 */
DEVICE void
round_group(const cuda_codes &to, int row, int g, const float x[MOST_EACH])
{
	int		 lane = (int) threadIdx.x % 32, each = to.group / 32, sum = 0;
	int8_t	*code = to.code + ((uint64_t) row * to.groups + g) * to.group + lane * each;
	unsigned most = 0;
	float	 max, inverse;
	bool	 fine;

	if (row >= to.m)
	{
		if (lane == 0)
			put_scale(to, row, g, 0, 0);
		return; /* the whole warp */
	}
	UNROLL
	for (int i = 0; i < MOST_EACH; i++)
	{
		unsigned bits = i < each ? __float_as_uint(x[i]) & 0x7fffffffu : 0;

		most = bits > most ? bits : most;
	}
	max = __uint_as_float(largest_of_warp(most));
	fine = max >= SMALLEST_MAX && max <= 0x1.fffffep127f;
	inverse = fine ? __fdiv_rn(127.0f, max) : 0.0f;
	UNROLL
	for (int i = 0; i < MOST_EACH; i++)
	{
		int rounded =
			fine ? (int8_t) __float_as_uint(__fadd_rn(__fmul_rn(x[i], inverse), CODE_ROUND)) : 0;

		if (i >= each)
			continue;
		code[i] = (int8_t) rounded;
		sum += rounded;
	}
	for (int by = 16; by >= 1; by /= 2)
		sum += __shfl_xor_sync(ALL_LANES, sum, by);
	if (lane == 0)
		put_scale(to, row, g,
				  fine				   ? __fdiv_rn(max, 127.0f)
				  : max < SMALLEST_MAX ? 0.0f
									   : NOT_A_NUMBER,
				  -sum);
}

#endif /* GLM_CUDA_ROUND_CODES_H */
