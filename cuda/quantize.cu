/*
 * quantize.cu - numbers of 8 bits: activations rounded to them, and weights put into the
 * order that products read.
 */
#include "cuda/round_codes.h"

KERNEL(quantize, quantize_args, 128)
{
	await_previous();
	int	  item = (int) (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
	int	  row = item / a.to.groups, g = item % a.to.groups, each = columns_of_lane(a.to);
	int	  first = (g * 32 + (int) threadIdx.x % 32) * each;
	float x[MOST_EACH];

	if (row >= a.to.ld)
		return; /* whole warps */
	UNROLL
	for (int i = 0; i < MOST_EACH; i++)
		x[i] = i < each && first + i < a.cols && row < a.to.m ? a.a[row * a.lda + first + i] : 0.0f;
	round_group(a.to, row, g, x);
}

/*
 * 64 bytes of a tile's codes are a vector: 4 bytes of each of 16 rows, of 8 columns (INT4)
 * or 4 (INT8).  mma_u8s8() takes 32 columns at a time, a step, and its lane (g, t) wants 8 of
 * them in rows g and g + 8.  Which columns it calls which is ours to say, as a sum of integers
 * has no order: lane t takes those from 16 t on of each 64, 8 in one step and 8 in the next, so
 * that those of x are 16 bytes in one piece; of a group of 32, those from 8 t on.  Its words are
 *     INT4: [step][row]        the word of row g + 8 row in the vector of these columns
 *     INT8: [step][pair][row]  in the two
 * and lie in pieces of 16 bytes (8 where a group has no more), those of 32 lanes side by side.
 */
KERNEL(weave, weave_args, 128)
{
	await_previous();
	uint64_t item = (uint64_t) blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
	int		 lane = (int) (threadIdx.x % 32), g = lane / 4, t = lane % 4;
	int		 per_step = a.bits == 4 ? 2 : 4, words = a.group / 32 * per_step;
	int		 piece = words < 4 ? words : 4;
	unsigned kept[16], *unit;

	if (item >= (uint64_t) a.n_tiles * a.groups)
		return; /* whole warps */
	unit = (unsigned *) (a.tiles + item / a.groups * a.tile_bytes + a.head) +
		   item % a.groups * words * 32;
	UNROLL
	for (int w = 0; w < 16; w++)
	{
		int step = w / per_step, pair = w % per_step / 2, row = g + w % 2 * 8;
		int eighth = a.group == 32 ? t : step / 2 * 8 + 2 * t + step % 2;
		int vector = a.bits == 4 ? eighth : 2 * eighth + pair;

		if (w < words)
			kept[w] = unit[vector * 16 + row];
	}
	__syncwarp();
	UNROLL
	for (int w = 0; w < 16; w++)
		if (w < words)
			unit[(w / piece * 32 + lane) * piece + w % piece] = kept[w];
}
