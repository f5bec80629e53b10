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

/* What a thread copies of each group of 64 rows: STEPS pieces of 16 bytes, and maybe one more. */
template <int STEPS> struct many_source
{
	enum
	{
		PIECES = STEPS * 2,						  /* of a row */
		APART = MANY_WARPS * 32 / PIECES,		  /* rows from a thread's piece to its next */
		MORE = GLM_CUDA_SOME * sizeof(float) / 16 /* of all scales, and of all sums */
	};
	const int8_t *code; /* of the next group */
	unsigned	  from[STEPS];
	const void	 *more; /* or NULL */
	int			  to, to_more, ld;

	DEVICE_MEMBER
	many_source(const packed_args &a, int m0)
	{
		int me = (int) threadIdx.x, row = me / PIECES, at = me % MORE * 4;

		code = a.code + me % PIECES * 16;
		UNROLL
		for (int i = 0; i < STEPS; i++)
		{
			int there = m0 + row + i * APART < a.m ? m0 + row + i * APART : a.m - 1;

			from[i] = (unsigned) there * (unsigned) (a.groups * STEPS * 32);
		}
		to = row * (STEPS * 32 + 16) + me % PIECES * 16;
		to_more = GLM_CUDA_SOME * (STEPS * 32 + 16) + me * 16; /* scale, then minus_sum */
		more = me < MORE ? (const void *) (a.scale + m0 + at) : a.minus_sum + m0 + at;
		more = me < 2 * MORE && m0 + at < a.ld ? more : NULL;
		ld = a.ld;
	}

	/* Begins to bring the next group. */
	DEVICE_MEMBER void
	fetch(many_stage<STEPS> *stage)
	{
		unsigned char *place = (unsigned char *) stage;

		UNROLL
		for (int i = 0; i < STEPS; i++)
			copy_async16(place + to + i * APART * (STEPS * 32 + 16), code + from[i]);
		code += STEPS * 32;
		if (more != NULL)
		{
			copy_async16(place + to_more, more);
			more = (const char *) more + (uint64_t) ld * sizeof(float);
		}
	}
};

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

/* Loads the next group of weights, which is that one, if there is one. */
template <int BITS, int STEPS>
DEVICE void
load(const packed_args &a, lane_tile<BITS, STEPS> *tile, lane_group<BITS, STEPS> *to, int group)
{
	if (group < a.groups)
		tile->load(to);
	tile->go_on(1);
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
	many_source<STEPS>		source(a, m0);
	lane_group<BITS, STEPS> w[2];
	float					sum[8][4] = {};

	source.fetch(&stages[0]);
	copy_async_commit();
	if (a.groups > 1)
		source.fetch(&stages[1]);
	copy_async_commit();
	load(a, &tile, &w[0], 0);
	load(a, &tile, &w[1], 1);
	for (int group = 0, stage = 0; group < a.groups;)
	{
		UNROLL
		for (int slot = 0; slot < 2; slot++)
		{
			if (group >= a.groups)
				break;
			copy_async_wait<1>();
			/* all have theirs of this stage, and are done with the one that is filled next */
			__syncthreads();
			if (group + 2 < a.groups)
				source.fetch(&stages[stage > 0 ? stage - 1 : MANY_STAGES - 1]);
			copy_async_commit();
			add_group<BITS, STEPS>(sum, w[slot], stages[stage], (a.m - m0 + 7) / 8);
			load(a, &tile, &w[slot], group + 2);
			stage = stage + 1 < MANY_STAGES ? stage + 1 : 0;
			group++;
		}
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
