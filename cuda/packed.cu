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
 * Three kinds by rows of activations.  few_* and some_*: a block has a pair of tiles of
 * weights; its warps take groups in turn, each of both tiles, so that what is loaded of
 * activations serves twice, and leave the groups' sums in shared memory, where they are added
 * up.  many_* is in packed_many.cu.
 *
 * What is read of weights is read before it is needed, into registers: codes, scales and
 * zeros of the groups to come, so many that a device's memory is kept busy.
 */
#include "cuda/packed_lane.h"

#define PRODUCT_WARPS 8 /* warps of a block, and groups of a round */

/* What a lane takes of a group of a tile of 8 rows of activations. */
template <int STEPS> struct lane_rows
{
	uint2 x[STEPS];
	int2  minus_sum;
};

/* What a lane reads of ROWS rows of activations, group by group: addresses in the first ones. */
template <int STEPS, int ROWS> struct lane_activations
{
	const int8_t  *code;
	const int32_t *minus_sum;
	const float	  *scale; /* of row `lane`, if there is one */
	unsigned	   rows;  /* from 8 rows of codes to the next */
	bool		   has_scale;

	DEVICE_MEMBER
	lane_activations(const packed_args &a, int m0, int group, int lane)
	{
		unsigned width = (unsigned) (a.groups * STEPS * 32);
		uint64_t at = (uint64_t) group * a.ld + m0;

		/* of rows that there are not any will do: the last, which costs nothing */
		code = a.code +
			   (uint64_t) (ROWS == 8 && lane / 4 >= a.m ? a.m - 1 : m0 + lane / 4) * width +
			   group * STEPS * 32 + first_column<STEPS>(lane);
		minus_sum = a.minus_sum + at + lane % 4 * 2;
		scale = a.scale + at + lane;
		rows = 8 * width;
		has_scale = lane < ROWS && m0 + lane < a.ld;
	}

	/* Loads row tile n. */
	DEVICE_MEMBER void
	load(lane_rows<STEPS> *to, int n) const
	{
		load_row<STEPS>(to->x, code + n * rows);
		to->minus_sum = *(const int2 *) (minus_sum + n * 8);
	}

	DEVICE_MEMBER void
	go_on(int groups, int ld)
	{
		code += groups * STEPS * 32;
		minus_sum += groups * ld;
		scale += groups * ld;
	}
};

/* ---- Up to 8 rows: a thread adds up one number of c --------------------------------- */

/* A number of each group of a round; so far apart that few lanes meet in a bank. */
struct alignas(16) of_groups
{
	float of[PRODUCT_WARPS], unused[4];
};

/* A round in shared memory. */
struct few_round
{
	float sum[PRODUCT_WARPS][2][8]
			 [20]; /* of a tile: rows of c, 16 columns; no two lanes in a bank */
	of_groups scale[32], row_scale[8];
};

/* A thread's places in the first round: of the next ones, the same further on. */
struct few_places
{
	enum
	{
		ROW_TILES = 1,
		BUFFERS = 2,
		ON = sizeof(few_round) / sizeof(float),
		EACH = 1 /* numbers of c that a thread adds up */
	};
	float		*to_sum, *to_scale, *to_row; /* of a lane's group */
	const float *from_sum, *from_scale, *from_row;

	DEVICE_MEMBER
	few_places(unsigned char *shared, int warp, int lane)
	{
		few_round *r = (few_round *) shared;

		to_sum = &r->sum[warp][0][lane % 4 * 2][lane / 4];
		to_scale = &r->scale[lane].of[warp];
		to_row = &r->row_scale[lane % 8].of[warp];
		from_sum = &r->sum[0][lane / 16][warp][lane % 16];
		from_scale = r->scale[lane].of;
		from_row = r->row_scale[warp].of;
	}

	/* Leaves the sums of a tile. */
	DEVICE_MEMBER void
	put(int on, int, int tile, const int c[4]) const
	{
		UNROLL
		for (int i = 0; i < 4; i++)
			to_sum[on + tile * 8 * 20 + i % 2 * 20 + i / 2 * 8] = sum_as_float(c[i]);
	}

	/* The lane's: of its row of weights, and of its row of activations. */
	DEVICE_MEMBER void
	put_scales(int on, float scale, float row, int lane) const
	{
		to_scale[on] = scale;
		if (lane < 8)
			to_row[on] = row;
	}

	/* Adds a round's first n groups: columns are the lane's, rows the warp's. */
	DEVICE_MEMBER void
	add(float sum[EACH], int on, int n, int m, int warp) const
	{
		of_groups scale, row;

		if (warp >= m)
			return;
		scale = *(const of_groups *) (from_scale + on);
		row = *(const of_groups *) (from_row + on);
		UNROLL
		for (int g = 0; g < PRODUCT_WARPS; g++)
			if (g < n)
				sum[0] = __fmaf_rn(from_sum[on + g * 2 * 8 * 20], __fmul_rn(scale.of[g], row.of[g]),
								   sum[0]);
	}

	/* Which number of c that is. */
	DEVICE_MEMBER void
	find(int *row, int *column, int, int warp, int lane) const
	{
		*row = warp;
		*column = lane;
	}
};

/* ---- More rows: a warp adds up 8 rows of a tile, as mma_u8s8() has them ---------------- */

#define SOME_TILES (GLM_CUDA_SOME / 8)

static_assert(SOME_TILES * 2 == PRODUCT_WARPS, "each warp adds up 8 rows of one of two tiles");

struct some_round
{
	float sum[PRODUCT_WARPS][SOME_TILES][2][32][4];
	float scale[PRODUCT_WARPS][2][8][2]; /* rows g and g + 8 side by side */
	float row_scale[PRODUCT_WARPS][GLM_CUDA_SOME];
};

struct some_places
{
	enum
	{
		ROW_TILES = SOME_TILES,
		BUFFERS = 1,
		ON = 0,
		EACH = 4
	};
	float		*to_sum, *to_scale, *to_row;
	const float *from_sum, *from_scale, *from_row;

	DEVICE_MEMBER
	some_places(unsigned char *shared, int warp, int lane)
	{
		some_round *r = (some_round *) shared;

		to_sum = r->sum[warp][0][0][lane];
		to_scale = &r->scale[warp][lane / 16][lane % 8][lane % 16 / 8];
		to_row = &r->row_scale[warp][lane];
		from_sum = r->sum[0][warp / 2][warp % 2][lane];
		from_scale = r->scale[0][warp % 2][lane / 4];
		from_row = &r->row_scale[0][warp / 2 * 8 + lane % 4 * 2];
	}

	DEVICE_MEMBER void
	put(int, int n, int tile, const int c[4]) const
	{
		*(float4 *) (to_sum + (n * 2 + tile) * 32 * 4) =
			float4{sum_as_float(c[0]), sum_as_float(c[1]), sum_as_float(c[2]), sum_as_float(c[3])};
	}

	DEVICE_MEMBER void
	put_scales(int, float scale, float row, int) const
	{
		*to_scale = scale;
		*to_row = row;
	}

	DEVICE_MEMBER void
	add(float sum[EACH], int, int n, int m, int warp) const
	{
		if (warp / 2 * 8 >= m)
			return;
		UNROLL
		for (int g = 0; g < PRODUCT_WARPS; g++)
		{
			float4 of;
			float2 scale, row;

			if (g >= n)
				break;
			of = *(const float4 *) (from_sum + g * SOME_TILES * 2 * 32 * 4);
			scale = *(const float2 *) (from_scale + g * 2 * 8 * 2);
			row = *(const float2 *) (from_row + g * GLM_CUDA_SOME);
			sum[0] = __fmaf_rn(of.x, __fmul_rn(scale.x, row.x), sum[0]);
			sum[1] = __fmaf_rn(of.y, __fmul_rn(scale.x, row.y), sum[1]);
			sum[2] = __fmaf_rn(of.z, __fmul_rn(scale.y, row.x), sum[2]);
			sum[3] = __fmaf_rn(of.w, __fmul_rn(scale.y, row.y), sum[3]);
		}
	}

	DEVICE_MEMBER void
	find(int *row, int *column, int i, int warp, int lane) const
	{
		*row = warp / 2 * 8 + lane % 4 * 2 + i % 2;
		*column = warp % 2 * 16 + lane / 4 + i / 2 * 8;
	}
};

/* ---- The product --------------------------------------------------------------------- */

/*
 * A block: a pair of tiles, 32 columns of c, and up to ROW_TILES * 8 rows.  Weights of AHEAD
 * rounds are being loaded, and activations of one.
 */
template <int BITS, int STEPS, class PLACES, int MOST_AHEAD> struct product_of_pair
{
	enum
	{
		ROW_TILES = PLACES::ROW_TILES,
		WORDS = lane_codes<BITS, STEPS>::WORDS,
		WORDS_AHEAD = MOST_AHEAD * 4,
		AHEAD = WORDS <= 4 ? MOST_AHEAD : (WORDS_AHEAD + WORDS - 1) / WORDS
	};
	typedef lane_activations<STEPS, ROW_TILES * 8> activations;

	int						lane, warp, m; /* m: rows */
	pair_group<BITS, STEPS> w[AHEAD];
	lane_rows<STEPS>		x[2]; /* of the first row tile, while another group is awaited */
	float					row_scale;
	float					sum[PLACES::EACH];

	DEVICE_MEMBER void
	load_rows(const activations &rows)
	{
		rows.load(&x[0], 0);
		row_scale = rows.has_scale ? *rows.scale : 0;
	}

	/* Leaves sums of the warp's group, of which x[0] has the first 8 rows; ALL: of all row tiles. */
	template <bool ALL>
	DEVICE_MEMBER void
	multiply(const PLACES &places, int on, const pair_operands<BITS, STEPS> &w_of,
			 const activations &rows)
	{
		UNROLL
		for (int n = 0; n < ROW_TILES; n++)
		{
			if (!ALL && n * 8 >= m)
				break;
			if (n + 1 < ROW_TILES && (ALL || n * 8 + 8 < m))
				rows.load(&x[(n + 1) % 2], n + 1);
			UNROLL
			for (int tile = 0; tile < 2; tile++)
			{
				int c[4];

				begin_sums(c, w_of.zero[tile], x[n % 2].minus_sum);
				group_sums<STEPS>(c, w_of.a[tile], x[n % 2].x);
				places.put(on, n, tile, c);
			}
		}
	}

	/*
	 * Groups from `first` on, of which x[0] and w[slot] have this warp's, and then what comes in
	 * their place; on: floats to the round's buffer.
	 */
	DEVICE_MEMBER void
	round(const packed_args &a, pair_of_tiles<BITS, STEPS> *tiles, activations *rows,
		  const PLACES &places, int first, int slot, int on)
	{
		int left = a.groups - first;

		if (warp < left)
		{
			pair_operands<BITS, STEPS> w_of(w[slot], lane);

			places.put_scales(on, w[slot].scale(), row_scale, lane);
			if (STEPS < 4 && m > (ROW_TILES - 1) * 8)
				multiply<true>(places, on, w_of, *rows);
			else
				multiply<false>(places, on, w_of, *rows); /* checks save registers, too */
			if (warp + AHEAD * PRODUCT_WARPS < left)
				tiles->load(&w[slot]);
			/* where one round is loaded the next two are brought nearer */
			if (AHEAD == 1 && warp + 3 * PRODUCT_WARPS < left)
				tiles->bring(2 * PRODUCT_WARPS);
		}
		tiles->go_on(PRODUCT_WARPS);
		rows->go_on(PRODUCT_WARPS, a.ld);
		if (warp + PRODUCT_WARPS < left)
			load_rows(*rows);
		/* with two buffers, who is here has added up the round before, whose place is next */
		__syncthreads();
		if (left >= PRODUCT_WARPS)
			places.add(sum, on, PRODUCT_WARPS, m, warp);
		else
			places.add(sum, on, left, m, warp);
		if constexpr (PLACES::BUFFERS == 1)
			__syncthreads();
	}

	/* All rounds */
	DEVICE_MEMBER void
	add_all(const packed_args &a, const PLACES &places, int m0)
	{
		pair_of_tiles<BITS, STEPS> tiles(a, (int) blockIdx.x, warp, lane);
		activations				   rows(a, m0, warp, lane);
		int						   on = 0;

		UNROLL
		for (int i = 0; i < AHEAD; i++)
		{
			if (warp + i * PRODUCT_WARPS < a.groups)
				tiles.load(&w[i]);
			tiles.go_on(PRODUCT_WARPS);
		}
		UNROLL
		for (int i = 1; AHEAD == 1 && i < 3; i++)
			if (warp + i * PRODUCT_WARPS < a.groups)
				tiles.bring((i - 1) * PRODUCT_WARPS);
		/* weights are there before any kernel is launched; what they are multiplied with is not */
		await_previous();
		if (warp < a.groups)
			load_rows(rows);
		for (int first = 0; first < a.groups;)
		{
			UNROLL
			for (int slot = 0; slot < AHEAD; slot++)
			{
				if (first >= a.groups)
					break;
				round(a, &tiles, &rows, places, first, slot, on);
				first += PRODUCT_WARPS;
				on = PLACES::ON - on;
			}
		}
	}

	DEVICE_MEMBER void
	run(const packed_args &a, unsigned char *shared)
	{
		int m0 = (int) blockIdx.y * ROW_TILES * 8;

		lane = (int) threadIdx.x % 32;
		warp = warp_index();
		m = a.m - m0 < ROW_TILES * 8 ? a.m - m0 : ROW_TILES * 8;
		for (int i = 0; i < PLACES::EACH; i++)
			sum[i] = 0;
		PLACES places(shared, warp, lane);

		add_all(a, places, m0);
		UNROLL
		for (int i = 0; i < PLACES::EACH; i++)
		{
			int row, column;

			places.find(&row, &column, i, warp, lane);
			column += (int) blockIdx.x * 32;
			if (row < m && column < a.n)
				put_product(a.c + (m0 + row) * a.ldc + column, sum[i], a.bias, column, a.add);
		}
	}
};

/* ---- By name ------------------------------------------------------------------------ */

#define PRODUCTS(bits, group)                                                                      \
	KERNEL_OF_BLOCKS(few_q##bits##_##group, packed_args, 256, 2)                                   \
	{                                                                                              \
		DYNAMIC_SHARED(shared);                                                                    \
		product_of_pair<bits, group / 32, few_places, 3> product;                                  \
                                                                                                   \
		product.run(a, shared);                                                                    \
	}                                                                                              \
	KERNEL_OF_BLOCKS(some_q##bits##_##group, packed_args, 256, 2)                                  \
	{                                                                                              \
		DYNAMIC_SHARED(shared);                                                                    \
		product_of_pair<bits, group / 32, some_places, 1> product;                                 \
                                                                                                   \
		product.run(a, shared);                                                                    \
	}

PRODUCTS(4, 32)
PRODUCTS(4, 64)
PRODUCTS(4, 128)
PRODUCTS(8, 32)
PRODUCTS(8, 64)
PRODUCTS(8, 128)
