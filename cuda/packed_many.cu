/*
 * packed_many.cu - products with INT4 and INT8 weights for more than 64 rows.
 *
 * A warp has a pair of tiles of weights and 64 rows of activations, so that what is loaded of
 * these serves twice, and the sums stay in its registers; activations come by asynchronous
 * copies, two groups ahead.
 */
#include "cuda/packed_lane.h"

#define MANY_WARPS 4
#define MANY_STAGES 3

/*
 * A group of 64 rows of activations, which comes by asynchronous copies: rows so far apart
 * that lanes meet in no bank, when each takes its 16 bytes.  Scales and sums of rows that
 * there are not stay as they are.
 */
template <int STEPS> struct many_stage
{
	enum
	{
		PITCH = STEPS > 2 ? STEPS * 32 + 64 : STEPS * 32
	};
	int8_t	code[GLM_CUDA_MANY][PITCH];
	float	scale[GLM_CUDA_MANY];
	int32_t minus_sum[GLM_CUDA_MANY];
};

/* What a thread copies of each group of 64 rows: STEPS pieces of 16 bytes, and maybe one more. */
template <int STEPS> struct many_source
{
	enum
	{
		PITCH = many_stage<STEPS>::PITCH,
		PIECES = STEPS * 2,						  /* of a row */
		APART = MANY_WARPS * 32 / PIECES,		  /* rows from a thread's piece to its next */
		MORE = GLM_CUDA_MANY * sizeof(float) / 16 /* of all scales, and of all sums */
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
		to = row * PITCH + me % PIECES * 16;
		to_more = GLM_CUDA_MANY * PITCH + me * 16; /* scale, then minus_sum */
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
			copy_async16(place + to + i * APART * PITCH, code + from[i]);
		code += STEPS * 32;
		if (more != NULL)
		{
			copy_async16(place + to_more, more);
			more = (const char *) more + (uint64_t) ld * sizeof(float);
		}
	}
};

/* A group's part of sum [2][8][4]: two tiles of 16 columns of c, n row tiles. */
template <int BITS, int STEPS>
DEVICE void
add_group(float sum[2][8][4], const pair_operands<BITS, STEPS> &w, const float scale[2][2],
		  const many_stage<STEPS> &stage, int tiles)
{
	int lane = (int) threadIdx.x % 32, g = lane / 4, t = lane % 4;

	UNROLL
	for (int n = 0; n < 8; n++)
	{
		float2 by;
		int2   minus_sum;
		uint2  x[STEPS];

		/* halves are computed as a whole; what is no row's is not put into c */
		if (n == 4 && tiles <= 4)
			break;
		by = *(const float2 *) (stage.scale + n * 8 + 2 * t);
		minus_sum = *(const int2 *) (stage.minus_sum + n * 8 + 2 * t);
		load_row<STEPS>(x, stage.code[n * 8 + g] + first_column<STEPS>(lane));
		UNROLL
		for (int tile = 0; tile < 2; tile++)
		{
			float *to = sum[tile][n];
			int	   c[4];

			begin_sums(c, w.zero[tile], minus_sum);
			group_sums<STEPS>(c, w.a[tile], x);
			UNROLL
			for (int i = 0; i < 4; i++)
				to[i] = __fmaf_rn(sum_as_float(c[i]),
								  __fmul_rn(scale[tile][i / 2], i % 2 ? by.y : by.x), to[i]);
		}
	}
}

/* A block: four pairs of tiles, 128 columns of c, and 64 rows. */
template <int BITS, int STEPS>
DEVICE void
product_of_tiles(const packed_args &a)
{
	DYNAMIC_SHARED(shared);
	many_stage<STEPS>		  *stages = (many_stage<STEPS> *) shared;
	int						   lane = (int) threadIdx.x % 32, m0 = (int) blockIdx.y * GLM_CUDA_MANY;
	int						   pair = (int) blockIdx.x * MANY_WARPS + warp_index(), stage = 0;
	int						   row_tiles = (a.m - m0 + 7) / 8;
	/* all take part, if with the last tile, where there is none for them */
	pair_of_tiles<BITS, STEPS> tiles(a, pair, 0, lane);
	many_source<STEPS>		   source(a, m0);
	pair_group<BITS, STEPS>	   w;
	float					   sum[2][8][4] = {};

	/* they are there, whatever other kernels do */
	tiles.load(&w);
	for (int i = 1; i < BROUGHT && i < a.groups; i++)
		tiles.bring(i);
	await_previous();
	source.fetch(&stages[0]);
	copy_async_commit();
	if (a.groups > 1)
		source.fetch(&stages[1]);
	copy_async_commit();
	NO_UNROLL
	for (int group = 0; group < a.groups; group++)
	{
		pair_operands<BITS, STEPS> w_of(w, lane);
		float					   row = w.scale(), scale[2][2];

		rows_of_lane(scale[0], row, 0, lane);
		rows_of_lane(scale[1], row, 1, lane);
		tiles.go_on(1);
		if (group + 1 < a.groups)
			tiles.load(&w);
		if (group + BROUGHT < a.groups)
			tiles.bring(BROUGHT - 1);
		copy_async_wait<1>();
		/* all have theirs of this stage, and are done with the one that is filled next */
		__syncthreads();
		if (group + 2 < a.groups)
			source.fetch(&stages[stage > 0 ? stage - 1 : MANY_STAGES - 1]);
		copy_async_commit();
		add_group<BITS, STEPS>(sum, w_of, scale, stages[stage], row_tiles);
		stage = stage + 1 < MANY_STAGES ? stage + 1 : 0;
	}
	put_sums(a, sum, pair * 32, m0);
}

#define MANY(bits, group)                                                                          \
	KERNEL_OF_BLOCKS(many_q##bits##_##group, packed_args, MANY_WARPS * 32,                         \
					 bits * group > 256 ? 2 : 3)                                                   \
	{                                                                                              \
		product_of_tiles<bits, group / 32>(a);                                                     \
	}

MANY(4, 32)
MANY(4, 64)
MANY(4, 128)
MANY(8, 32)
MANY(8, 64)
MANY(8, 128)
