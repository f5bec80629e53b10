/*
 * packed_many.cu - products with INT4 and INT8 weights for more than 64 rows.
 *
 * A warp has a tile of weights and 64 rows of activations, and the sums stay in its
 * registers; activations come by asynchronous copies, two groups ahead.
 */
#include "cuda/packed_lane.h"

#define MANY_WARPS 4
#define MANY_STAGES 3

/*
 * A group of 64 rows of activations, which comes by asynchronous copies: rows so far apart
 * that lanes meet in no bank.  Scales and sums of rows that there are not stay as they are.
 */
template <int STEPS> struct many_stage
{
	int8_t	code[GLM_CUDA_SOME][STEPS * 32 + 16];
	float	scale[GLM_CUDA_SOME];
	int32_t minus_sum[GLM_CUDA_SOME];
};

/* Begins to bring a group of the rows from m0 on. */
template <int STEPS>
DEVICE void
fetch_stage(const packed_args &a, many_stage<STEPS> *stages, int group, int m0)
{
	many_stage<STEPS> &to = stages[group % MANY_STAGES];
	uint64_t		   width = (uint64_t) a.groups * STEPS * 32;
	int				   me = (int) threadIdx.x, at = me % (GLM_CUDA_SOME / 4) * 4;

	for (int i = me; group < a.groups && i < GLM_CUDA_SOME * STEPS * 2; i += MANY_WARPS * 32)
	{
		int row = i / (STEPS * 2), piece = i % (STEPS * 2) * 16;
		int from = m0 + row < a.m ? m0 + row : a.m - 1;

		copy_async16(to.code[row] + piece, a.code + from * width + group * STEPS * 32 + piece);
	}
	if (group < a.groups && me < GLM_CUDA_SOME / 2 && m0 + at < a.ld)
	{
		uint64_t from = (uint64_t) group * a.ld + m0 + at;

		if (me < GLM_CUDA_SOME / 4)
			copy_async16(to.scale + at, a.scale + from);
		else
			copy_async16(to.minus_sum + at, a.minus_sum + from);
	}
	copy_async_commit();
}

/* A group's part of sum [8][4]: 16 columns of c, n row tiles. */
template <int BITS, int STEPS>
DEVICE void
add_group(float sum[8][4], const lane_group<BITS, STEPS> &w, const many_stage<STEPS> &stage,
		  int tiles)
{
	int	  lane = (int) threadIdx.x % 32, g = lane / 4, t = lane % 4;
	float scale0 = w.scale(w.half0), scale8 = w.scale(w.half8);

	UNROLL
	for (int n = 0; n < 8; n++)
	{
		int	   at = n * 8 + 2 * t, c[4];
		float2 by;
		uint2  x[STEPS];

		if (n >= tiles)
			break;
		by = *(const float2 *) (stage.scale + at);
		load_row<STEPS>(x, stage.code[n * 8 + g] + t * 8);
		begin_sums(c, w.zero0, w.zero8, *(const int2 *) (stage.minus_sum + at));
		group_sums<BITS, STEPS>(c, w.codes, x);
		sum[n][0] = __fmaf_rn(sum_as_float(c[0]), __fmul_rn(scale0, by.x), sum[n][0]);
		sum[n][1] = __fmaf_rn(sum_as_float(c[1]), __fmul_rn(scale0, by.y), sum[n][1]);
		sum[n][2] = __fmaf_rn(sum_as_float(c[2]), __fmul_rn(scale8, by.x), sum[n][2]);
		sum[n][3] = __fmaf_rn(sum_as_float(c[3]), __fmul_rn(scale8, by.y), sum[n][3]);
	}
}

/* A block: four tiles of 16 columns of c, 64 rows. */
template <int BITS, int STEPS>
DEVICE void
product_of_tiles(const packed_args &a)
{
	DYNAMIC_SHARED(shared);
	many_stage<STEPS>	   *stages = (many_stage<STEPS> *) shared;
	int						lane = (int) threadIdx.x % 32, m0 = (int) blockIdx.y * GLM_CUDA_SOME;
	int						tiles = (a.n + 15) / 16;
	int						wanted = (int) (blockIdx.x * MANY_WARPS + threadIdx.x / 32);
	lane_tile<BITS, STEPS>	tile(a, wanted < tiles ? wanted : tiles - 1, 0,
								 lane); /* all take part */
	lane_group<BITS, STEPS> now = {}, next = {};
	float					sum[8][4] = {};

	fetch_stage<STEPS>(a, stages, 0, m0);
	fetch_stage<STEPS>(a, stages, 1, m0);
	tile.load(&now);
	for (int group = 0; group < a.groups; group++)
	{
		tile.go_on(1);
		if (group + 1 < a.groups)
			tile.load(&next);
		copy_async_wait<1>();
		/* all have theirs of this stage, and are done with the one that is filled next */
		__syncthreads();
		fetch_stage<STEPS>(a, stages, group + 2, m0);
		add_group<BITS, STEPS>(sum, now, stages[group % MANY_STAGES], (a.m - m0 + 7) / 8);
		now = next;
	}
	UNROLL
	for (int n = 0; n < 8; n++)
		for (int i = 0; i < 4; i++)
		{
			int j = wanted * 16 + lane / 4 + i / 2 * 8, row = m0 + n * 8 + lane % 4 * 2 + i % 2;

			if (j < a.n && row < a.m)
				put_product(a.c + row * a.ldc + j, sum[n][i], a.bias, j, a.add);
		}
}

#define MANY(bits, group)                                                                          \
	KERNEL(many_q##bits##_##group, packed_args, MANY_WARPS * 32)                                   \
	{                                                                                              \
		product_of_tiles<bits, group / 32>(a);                                                     \
	}

MANY(4, 32)
MANY(4, 64)
MANY(4, 128)
MANY(8, 32)
MANY(8, 64)
MANY(8, 128)
