/*
 * packed.cu - products with INT4 and INT8 weights, as packed_kernels.h defines them.
 *
 * The sum of a group is one of integers, exact in any order, made by mma_u8s8() of 16 rows
 * of weights and 8 of activations.  It begins with what the zero point takes off, and with
 * MAGIC, so that its bits are those of the float 1.5 * 2^23 + sum: |sum| < 2^22, see below.
 * Groups are then added in their order, with one fused multiply-add each.
 *
 * |sum| <= group * 255 * 127 (INT4: |16 code - zero| <= 255) or group * 128 * 127 (INT8):
 * 4,145,280 at most, and 2^22 is 4,194,304.
 *
 * Three kinds by rows of activations.  few_* and some_*: a block has one tile of weights; its
 * warps take groups in turn and leave the groups' sums in shared memory, where threads add
 * them up, a column of the product each, while the next round is computed.  many_*: a warp
 * has a tile and 64 rows of activations, and the sums stay in its registers; activations
 * come by asynchronous copies, two groups ahead.
 *
 * What is read of weights is read before it is needed, into registers: codes, scales and
 * zeros of the groups to come, so many that a device's memory is kept busy.
 */
#include "cuda/arithmetic.h"

#define MAGIC 0x4b400000
#define MAGIC_FLOAT 12582912.0f

/* The words that a lane has of a group of BITS and 32 STEPS columns; see weave. */
template <int BITS, int STEPS> struct lane_codes
{
	enum
	{
		PER_STEP = BITS == 4 ? 2 : 4,
		WORDS = STEPS * PER_STEP,
		GROUP_BYTES = WORDS * 32 * 4
	};
	unsigned word[WORDS];

	DEVICE_MEMBER void
	load(const uint8_t *group, int lane)
	{
		if constexpr (WORDS == 2)
		{
			uint2 two = ((const uint2 *) group)[lane];

			word[0] = two.x;
			word[1] = two.y;
		}
		else
		{
			UNROLL
			for (int i = 0; i < WORDS; i += 4)
			{
				uint4 four = ((const uint4 *) group)[i / 4 * 32 + lane];

				word[i] = four.x;
				word[i + 1] = four.y;
				word[i + 2] = four.z;
				word[i + 3] = four.w;
			}
		}
	}

	/* What mma_u8s8() takes of the 32 columns of a step; INT4: 16 times the codes. */
	DEVICE_MEMBER void
	fragment(unsigned f[4], int step) const
	{
		const unsigned *w = word + step * PER_STEP;

		if constexpr (BITS == 4)
		{
			f[0] = w[0] << 4 & 0xf0f0f0f0u;
			f[1] = w[1] << 4 & 0xf0f0f0f0u;
			f[2] = w[0] & 0xf0f0f0f0u;
			f[3] = w[1] & 0xf0f0f0f0u;
		}
		else
		{
			UNROLL
			for (int i = 0; i < 4; i++)
				f[i] = w[i];
		}
	}
};

/* A group of a tile: what a lane has of it, rows g and g + 8. */
template <int BITS, int STEPS> struct lane_group
{
	lane_codes<BITS, STEPS> codes;
	int						zero0, zero8;
	uint16_t				half0, half8; /* scales */

	DEVICE_MEMBER float
	scale(uint16_t half) const
	{
		return BITS == 4 ? __fmul_rn(f16_to_f32(half), 0.0625f) : f16_to_f32(half);
	}
};

/* A tile of weights. */
template <int BITS, int STEPS> struct tile_of
{
	const uint8_t *scales, *zeros, *codes;

	DEVICE_MEMBER
	tile_of(const packed_args &a, int tile)
	{
		scales = a.w + (uint64_t) tile * a.tile_bytes;
		zeros = scales + a.groups * 32;
		codes = scales + a.head;
	}

	DEVICE_MEMBER void
	load(lane_group<BITS, STEPS> *to, int group, int lane) const
	{
		int row = group * 16 + lane / 4;

		to->codes.load(codes + (uint64_t) group * lane_codes<BITS, STEPS>::GROUP_BYTES, lane);
		to->zero0 = BITS == 4 ? zeros[row] : 128;
		to->zero8 = BITS == 4 ? zeros[row + 8] : 128;
		to->half0 = ((const uint16_t *) scales)[row];
		to->half8 = ((const uint16_t *) scales)[row + 8];
	}
};

/* The lane's row of activations [STEPS * 32], or zeros, as mma_u8s8() takes it. */
template <int STEPS>
DEVICE void
load_row(uint2 x[STEPS], const int8_t *row, int t)
{
	UNROLL
	for (int step = 0; step < STEPS; step++)
		x[step] = row != NULL ? *(const uint2 *) (row + step * 32 + t * 8) : uint2{0, 0};
}

/* Adds the integers of a group to c, which is as mma_u8s8() has it. */
template <int BITS, int STEPS>
DEVICE void
group_sums(int c[4], const lane_codes<BITS, STEPS> &codes, const uint2 x[STEPS])
{
	UNROLL
	for (int step = 0; step < STEPS; step++)
	{
		unsigned f[4], b[2] = {x[step].x, x[step].y};

		codes.fragment(f, step);
		mma_u8s8(c, f, b);
	}
}

/* What the sums of rows g, g + 8 and columns n, n + 1 begin with; two: minus_sum. */
DEVICE void
begin_sums(int c[4], int zero0, int zero8, int2 two)
{
	c[0] = zero0 * two.x + MAGIC;
	c[1] = zero0 * two.y + MAGIC;
	c[2] = zero8 * two.x + MAGIC;
	c[3] = zero8 * two.y + MAGIC;
}

DEVICE float
sum_as_float(int with_magic)
{
	return __fsub_rn(__uint_as_float((unsigned) with_magic), MAGIC_FLOAT);
}

/* ---- Up to 64 rows ---------------------------------------------------------------- */

/* What a lane takes of a group of the activations, of the row tile n. */
template <int STEPS> struct lane_rows
{
	uint2  x[STEPS];
	int2   minus_sum;
	float2 scale;

	DEVICE_MEMBER void
	load(const packed_args &a, int group, int n, int lane)
	{
		int			  row = n * 8 + lane / 4, t = lane % 4;
		const int8_t *code = a.code + ((uint64_t) row * a.groups + group) * STEPS * 32;
		uint64_t	  at = (uint64_t) group * a.ld + n * 8 + 2 * t;

		load_row<STEPS>(x, row < a.m ? code : NULL, t);
		minus_sum = *(const int2 *) (a.minus_sum + at);
		scale = *(const float2 *) (a.scale + at);
	}
};

/* A group's sums and scales, in shared memory. */
template <int ROW_TILES> struct group_of
{
	float sum[ROW_TILES * 8][16];
	float scale[16], row_scale[ROW_TILES * 8];
};

/* Leaves those of row tile n. */
template <int BITS, int STEPS, int ROW_TILES>
DEVICE void
compute_tile(group_of<ROW_TILES> *to, int n, const lane_group<BITS, STEPS> &w,
			 const lane_rows<STEPS> &x, int lane)
{
	int g = lane / 4, row = n * 8 + lane % 4 * 2, c[4];

	begin_sums(c, w.zero0, w.zero8, x.minus_sum);
	group_sums<BITS, STEPS>(c, w.codes, x.x);
	for (int i = 0; i < 4; i++)
		to->sum[row + i % 2][g + i / 2 * 8] = sum_as_float(c[i]);
	if (g == 0)
	{
		to->row_scale[row] = x.scale.x;
		to->row_scale[row + 1] = x.scale.y;
	}
}

/* All of a group; first: the lane's part of row tile 0. */
template <int BITS, int STEPS, int ROW_TILES>
DEVICE void
compute_group(const packed_args &a, group_of<ROW_TILES> *to, const lane_group<BITS, STEPS> &w,
			  const lane_rows<STEPS> &first, int group, int lane)
{
	compute_tile(to, 0, w, first, lane);
	UNROLL
	for (int n = 1; n < ROW_TILES; n++)
	{
		lane_rows<STEPS> x;

		if (n * 8 >= a.m)
			break;
		x.load(a, group, n, lane);
		compute_tile(to, n, w, x, lane);
	}
	if (lane % 4 == 0)
	{
		to->scale[lane / 4] = w.scale(w.half0);
		to->scale[lane / 4 + 8] = w.scale(w.half8);
	}
}

/* Adds the groups of a round, of which some are left, to the rows that a thread has of c. */
template <int ROW_TILES, int WARPS, int EACH>
DEVICE void
add_round(float sum[EACH], const group_of<ROW_TILES> *round, int left, int m)
{
	int column = (int) threadIdx.x % 16, line = (int) threadIdx.x / 16;

	UNROLL
	for (int g = 0; g < WARPS; g++)
	{
		UNROLL
		for (int i = 0; i < EACH; i++)
		{
			int row = line + i * WARPS * 2;

			if (g < left && row < m)
				sum[i] =
					__fmaf_rn(round[g].sum[row][column],
							  __fmul_rn(round[g].scale[column], round[g].row_scale[row]), sum[i]);
		}
	}
}

/* A block: a tile of 16 columns of c, all rows; WARPS groups a round, those of AHEAD loaded. */
template <int BITS, int STEPS, int ROW_TILES, int WARPS, int AHEAD>
DEVICE void
product_of_tile(const packed_args &a)
{
	enum
	{
		LINES = WARPS * 2, /* rows of c that threads take side by side */
		EACH = (ROW_TILES * 8 + LINES - 1) / LINES
	};
	DYNAMIC_SHARED(shared);
	group_of<ROW_TILES>	   *groups = (group_of<ROW_TILES> *) shared; /* [2][WARPS] */
	int						warp = (int) threadIdx.x / 32, lane = (int) threadIdx.x % 32;
	int						column = (int) threadIdx.x % 16, line = (int) threadIdx.x / 16;
	int						j = (int) blockIdx.x * 16 + column;
	tile_of<BITS, STEPS>	tile(a, (int) blockIdx.x);
	lane_group<BITS, STEPS> w[AHEAD + 1] = {};
	lane_rows<STEPS>		x = {}, next = {}; /* of the first row tile */
	float					sum[EACH] = {};

	UNROLL
	for (int i = 0; i < AHEAD; i++)
		if (i * WARPS + warp < a.groups)
			tile.load(&w[i], i * WARPS + warp, lane);
	if (warp < a.groups)
		x.load(a, warp, 0, lane);
	for (int first = 0, turn = 0; first < a.groups; first += WARPS, turn ^= 1)
	{
		group_of<ROW_TILES> *round = groups + turn * WARPS;
		int left = a.groups - first < WARPS ? a.groups - first : WARPS, group = first + warp;

		if (group + AHEAD * WARPS < a.groups)
			tile.load(&w[AHEAD], group + AHEAD * WARPS, lane);
		if (group + WARPS < a.groups)
			next.load(a, group + WARPS, 0, lane);
		if (warp < left)
			compute_group(a, round + warp, w[0], x, group, lane);
		/* one a round: who is here has added up the round before, whose place is next */
		__syncthreads();
		add_round<ROW_TILES, WARPS, EACH>(sum, round, left, a.m);
		x = next;
		UNROLL
		for (int i = 0; i < AHEAD; i++)
			w[i] = w[i + 1];
	}
	UNROLL
	for (int i = 0; i < EACH; i++)
	{
		int row = line + i * LINES;

		if (row < a.m && j < a.n)
			put_product(a.c + row * a.ldc + j, sum[i], a.bias, j, a.add);
	}
}

/* ---- More ------------------------------------------------------------------------- */

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
		load_row<STEPS>(x, stage.code[n * 8 + g], t);
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
	tile_of<BITS, STEPS>	tile(a, wanted < tiles ? wanted : tiles - 1); /* all take part */
	lane_group<BITS, STEPS> now = {}, next = {};
	float					sum[8][4] = {};

	fetch_stage<STEPS>(a, stages, 0, m0);
	fetch_stage<STEPS>(a, stages, 1, m0);
	tile.load(&now, 0, lane);
	for (int group = 0; group < a.groups; group++)
	{
		if (group + 1 < a.groups)
			tile.load(&next, group + 1, lane);
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

/* ---- By name ------------------------------------------------------------------------ */

#define PRODUCTS(bits, group)                                                                      \
	KERNEL(few_q##bits##_##group, packed_args, 256)                                                \
	{                                                                                              \
		product_of_tile<bits, group / 32, 1, 8, bits * group <= 256 ? 2 : 1>(a);                   \
	}                                                                                              \
	KERNEL(some_q##bits##_##group, packed_args, 128)                                               \
	{                                                                                              \
		product_of_tile<bits, group / 32, 8, 4, 1>(a);                                             \
	}                                                                                              \
	KERNEL(many_q##bits##_##group, packed_args, MANY_WARPS * 32)                                   \
	{                                                                                              \
		product_of_tiles<bits, group / 32>(a);                                                     \
	}

PRODUCTS(4, 32)
PRODUCTS(4, 64)
PRODUCTS(4, 128)
PRODUCTS(8, 32)
PRODUCTS(8, 64)
PRODUCTS(8, 128)
