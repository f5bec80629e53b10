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
	load(lane_codes<BITS, STEPS> *c, int group, int lane) const
	{
		c->load(codes + (uint64_t) group * lane_codes<BITS, STEPS>::GROUP_BYTES, lane);
	}

	DEVICE_MEMBER int
	zero(int group, int row) const
	{
		return BITS == 4 ? zeros[group * 16 + row] : 128;
	}

	DEVICE_MEMBER float
	scale(int group, int row) const
	{
		float scale = f16_to_f32(((const uint16_t *) scales)[group * 16 + row]);

		return BITS == 4 ? __fmul_rn(scale, 0.0625f) : scale;
	}
};

/* The integers of a group: c as mma_u8s8() has it, x the lane's row of activations. */
template <int BITS, int STEPS>
DEVICE void
group_sums(int c[4], const lane_codes<BITS, STEPS> &codes, const int8_t *x, int t)
{
	UNROLL
	for (int step = 0; step < STEPS; step++)
	{
		unsigned f[4], b[2] = {0, 0};

		if (x != NULL)
		{
			uint2 eight = *(const uint2 *) (x + step * 32 + t * 8);

			b[0] = eight.x;
			b[1] = eight.y;
		}
		codes.fragment(f, step);
		mma_u8s8(c, f, b);
	}
}

/* What the sums of rows g, g + 8 and columns n, n + 1 begin with. */
DEVICE void
begin_sums(int c[4], int zero0, int zero8, const int32_t *minus_sum)
{
	int2 two = *(const int2 *) minus_sum;

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

/* Leaves the sums of a group in part [ROW_TILES * 8][16]. */
template <int BITS, int STEPS, int ROW_TILES>
DEVICE void
compute_group(const packed_args &a, const tile_of<BITS, STEPS> &tile,
			  const lane_codes<BITS, STEPS> &codes, float *part, int group, int lane)
{
	int			  g = lane / 4, t = lane % 4;
	int			  zero0 = tile.zero(group, g), zero8 = tile.zero(group, g + 8);
	uint64_t	  width = (uint64_t) a.groups * STEPS * 32;
	const int8_t *x = a.code + group * STEPS * 32;

	UNROLL
	for (int n = 0; n < ROW_TILES; n++)
	{
		int c[4], row = n * 8 + g;

		if (n * 8 >= a.m)
			break;
		begin_sums(c, zero0, zero8, a.minus_sum + (uint64_t) group * a.ld + n * 8 + 2 * t);
		group_sums<BITS, STEPS>(c, codes, row < a.m ? x + row * width : NULL, t);
		for (int i = 0; i < 4; i++)
			part[(n * 8 + 2 * t + i % 2) * 16 + g + i / 2 * 8] = sum_as_float(c[i]);
	}
}

/* A block: a tile of 16 columns of c, all rows; WARPS groups a round. */
template <int BITS, int STEPS, int ROW_TILES, int WARPS>
DEVICE void
product_of_tile(const packed_args &a)
{
	enum
	{
		PART = ROW_TILES * 8 * 16,
		LINES = WARPS * 2, /* rows of c that threads take side by side */
		EACH = (ROW_TILES * 8 + LINES - 1) / LINES
	};
	DYNAMIC_SHARED(shared);
	float				   *part = (float *) shared; /* [2][WARPS][ROW_TILES * 8][16] */
	int						warp = (int) threadIdx.x / 32, lane = (int) threadIdx.x % 32;
	int						column = (int) threadIdx.x % 16, line = (int) threadIdx.x / 16;
	int						j = (int) blockIdx.x * 16 + column;
	tile_of<BITS, STEPS>	tile(a, (int) blockIdx.x);
	lane_codes<BITS, STEPS> now = {}, next = {};
	float					sum[EACH];

	for (int i = 0; i < EACH; i++)
		sum[i] = 0;
	if (warp < a.groups)
		tile.load(&now, warp, lane);
	for (int first = 0, turn = 0; first < a.groups; first += WARPS, turn ^= 1)
	{
		float *round = part + turn * WARPS * PART;
		int	   left = a.groups - first < WARPS ? a.groups - first : WARPS;

		if (first + WARPS + warp < a.groups)
			tile.load(&next, first + WARPS + warp, lane);
		if (warp < left)
			compute_group<BITS, STEPS, ROW_TILES>(a, tile, now, round + warp * PART, first + warp,
												  lane);
		/* one a round: who is here has added up the round before, whose place is next */
		__syncthreads();
		for (int g = 0; g < left; g++)
		{
			float		 scale = tile.scale(first + g, column);
			const float *x_scale = a.scale + (uint64_t) (first + g) * a.ld;

			UNROLL
			for (int i = 0; i < EACH; i++)
			{
				int row = line + i * LINES;

				if (row < a.m)
					sum[i] = __fmaf_rn(round[g * PART + row * 16 + column],
									   __fmul_rn(scale, x_scale[row]), sum[i]);
			}
		}
		now = next;
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

/* Where the activations of a stage lie: rows so far apart that lanes meet in no bank. */
template <int STEPS> struct many_stage
{
	enum
	{
		PITCH = STEPS * 32 + 16,
		BYTES = GLM_CUDA_SOME * PITCH
	};
};

/* Begins to bring 64 rows of a group, from row m0 on. */
template <int STEPS>
DEVICE void
fetch_stage(const packed_args &a, unsigned char *stages, int group, int m0)
{
	unsigned char *to = stages + group % MANY_STAGES * many_stage<STEPS>::BYTES;
	uint64_t	   width = (uint64_t) a.groups * STEPS * 32;

	for (int i = (int) threadIdx.x; group < a.groups && i < GLM_CUDA_SOME * STEPS * 2;
		 i += MANY_WARPS * 32)
	{
		int row = i / (STEPS * 2), at = i % (STEPS * 2) * 16;
		int from = m0 + row < a.m ? m0 + row : a.m - 1;

		copy_async16(to + row * many_stage<STEPS>::PITCH + at,
					 a.code + from * width + group * STEPS * 32 + at);
	}
	copy_async_commit();
}

/* A group's part of sum [8][4]: 16 columns of c, 64 rows from m0 on. */
template <int BITS, int STEPS>
DEVICE void
add_group(float sum[8][4], const packed_args &a, const tile_of<BITS, STEPS> &tile,
		  const lane_codes<BITS, STEPS> &codes, const unsigned char *stage, int group, int m0)
{
	int	  lane = (int) threadIdx.x % 32, g = lane / 4, t = lane % 4;
	int	  zero0 = tile.zero(group, g), zero8 = tile.zero(group, g + 8);
	float scale0 = tile.scale(group, g), scale8 = tile.scale(group, g + 8);

	UNROLL
	for (int n = 0; n < 8; n++)
	{
		uint64_t at = (uint64_t) group * a.ld + m0 + n * 8 + 2 * t;
		int		 c[4];
		float2	 x;

		if (m0 + n * 8 >= a.m)
			break;
		x = *(const float2 *) (a.scale + at);
		begin_sums(c, zero0, zero8, a.minus_sum + at);
		group_sums<BITS, STEPS>(c, codes,
								(const int8_t *) stage + (n * 8 + g) * many_stage<STEPS>::PITCH, t);
		sum[n][0] = __fmaf_rn(sum_as_float(c[0]), __fmul_rn(scale0, x.x), sum[n][0]);
		sum[n][1] = __fmaf_rn(sum_as_float(c[1]), __fmul_rn(scale0, x.y), sum[n][1]);
		sum[n][2] = __fmaf_rn(sum_as_float(c[2]), __fmul_rn(scale8, x.x), sum[n][2]);
		sum[n][3] = __fmaf_rn(sum_as_float(c[3]), __fmul_rn(scale8, x.y), sum[n][3]);
	}
}

/* A block: four tiles of 16 columns of c, 64 rows. */
template <int BITS, int STEPS>
DEVICE void
product_of_tiles(const packed_args &a)
{
	DYNAMIC_SHARED(stages);
	int						lane = (int) threadIdx.x % 32, m0 = (int) blockIdx.y * GLM_CUDA_SOME;
	int						tiles = (a.n + 15) / 16;
	int						wanted = (int) (blockIdx.x * MANY_WARPS + threadIdx.x / 32);
	tile_of<BITS, STEPS>	tile(a, wanted < tiles ? wanted : tiles - 1); /* all take part */
	lane_codes<BITS, STEPS> now = {}, next = {};
	float					sum[8][4];

	for (int n = 0; n < 8; n++)
		for (int i = 0; i < 4; i++)
			sum[n][i] = 0;
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
		add_group<BITS, STEPS>(sum, a, tile, now,
							   stages + group % MANY_STAGES * many_stage<STEPS>::BYTES, group, m0);
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
		product_of_tile<bits, group / 32, 1, 8>(a);                                                \
	}                                                                                              \
	KERNEL(some_q##bits##_##group, packed_args, 128)                                               \
	{                                                                                              \
		product_of_tile<bits, group / 32, 8, 4>(a);                                                \
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
