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
 * Three kinds by rows of activations.  few_* and some_*: a block has a tile of weights, or
 * two; its warps take groups in turn and leave the groups' sums in shared memory, where
 * threads add them up, a column of the product each.  many_* is in packed_many.cu.
 *
 * What is read of weights is read before it is needed, into registers: codes, scales and
 * zeros of the groups to come, so many that a device's memory is kept busy.
 */
#include "cuda/packed_lane.h"

/* ---- Up to 64 rows ---------------------------------------------------------------- */

/* What a lane takes of a group of a tile of 8 rows of activations. */
template <int STEPS> struct lane_rows
{
	uint2  x[STEPS];
	int2   minus_sum;
	float2 scale;
};

/* What a lane reads of activations, group by group: addresses in the first rows. */
template <int STEPS> struct lane_activations
{
	const int8_t  *code;
	const int32_t *minus_sum;
	const float	  *scale;
	unsigned	   rows; /* from 8 rows of codes to the next */

	DEVICE_MEMBER
	lane_activations(const packed_args &a, int group, int lane)
	{
		unsigned width = (unsigned) (a.groups * STEPS * 32);
		uint64_t at = (uint64_t) group * a.ld + lane % 4 * 2;

		code = a.code + (unsigned) (lane / 4) * width + group * STEPS * 32 + lane % 4 * 8;
		minus_sum = a.minus_sum + at;
		scale = a.scale + at;
		rows = 8 * width;
	}

	/* Loads row tile n. */
	DEVICE_MEMBER void
	load(lane_rows<STEPS> *to, int n) const
	{
		load_row<STEPS>(to->x, code + n * rows);
		to->minus_sum = *(const int2 *) (minus_sum + n * 8);
		to->scale = *(const float2 *) (scale + n * 8);
	}

	DEVICE_MEMBER void
	go_on(int groups, int ld)
	{
		code += groups * STEPS * 32;
		minus_sum += groups * ld;
		scale += groups * ld;
	}
};

/* A number of each group of a round. */
template <int WARPS> struct alignas(16) of_groups
{
	float of[WARPS];
};

/* Sums and scales of a round of WARPS groups, in shared memory. */
template <int ROW_TILES, int WARPS> struct round_of
{
	float			 sum[WARPS][ROW_TILES * 8][16];
	of_groups<WARPS> scale[16], row_scale[ROW_TILES * 8];
};

/* A thread's places in the first round: of the next ones, the same further on. */
template <int ROW_TILES, int WARPS> struct round_places
{
	float		*to_sum, *to_scale, *to_row;	   /* of a lane's group */
	const float *from_sum, *from_scale, *from_row; /* of a line and column of c */

	DEVICE_MEMBER
	round_places(round_of<ROW_TILES, WARPS> *r, int warp, int lane, int line, int column)
	{
		to_sum = &r->sum[warp][lane % 4 * 2][lane / 4];
		to_scale = &r->scale[lane / 4].of[warp];
		to_row = &r->row_scale[lane % 4 * 2].of[warp];
		line %= ROW_TILES * 8; /* those beyond have nothing to add */
		from_sum = &r->sum[0][line][column];
		from_scale = r->scale[column].of;
		from_row = r->row_scale[line].of;
	}
};

/* Leaves sums and scales of row tile n of a warp's group, `on` floats on. */
template <int BITS, int STEPS, int ROW_TILES, int WARPS>
DEVICE void
compute_tile(const round_places<ROW_TILES, WARPS> &places, int on, int n,
			 const lane_group<BITS, STEPS> &w, const lane_rows<STEPS> &x, int lane)
{
	float *sum = places.to_sum + on + n * 8 * 16, *row = places.to_row + on + n * 8 * WARPS;
	int	   c[4];

	begin_sums(c, w.zero0, w.zero8, x.minus_sum);
	group_sums<BITS, STEPS>(c, w.codes, x.x);
	for (int i = 0; i < 4; i++)
		sum[i % 2 * 16 + i / 2 * 8] = sum_as_float(c[i]);
	if (lane < 4)
	{
		row[0] = x.scale.x;
		row[WARPS] = x.scale.y;
	}
}

/* All of a group; x: row tile 0. */
template <int BITS, int STEPS, int ROW_TILES, int WARPS>
DEVICE void
compute_group(const round_places<ROW_TILES, WARPS> &places, int on,
			  const lane_group<BITS, STEPS> &w, const lane_rows<STEPS> &x,
			  const lane_activations<STEPS> &a, int m, int lane)
{
	compute_tile(places, on, 0, w, x, lane);
	UNROLL
	for (int n = 1; n < ROW_TILES; n++)
	{
		lane_rows<STEPS> more;

		if (n * 8 >= m)
			break;
		a.load(&more, n);
		compute_tile(places, on, n, w, more, lane);
	}
	if (lane % 4 == 0)
	{
		places.to_scale[on] = w.scale(w.half0);
		places.to_scale[on + 8 * WARPS] = w.scale(w.half8);
	}
}

/* Adds a round's first n groups to rows of c, EACH a thread, LINES apart, those there are. */
template <int EACH, int LINES, int ROW_TILES, int WARPS>
DEVICE void
add_round(float sum[EACH], const round_places<ROW_TILES, WARPS> &places, int on, int n, int m)
{
	of_groups<WARPS> scale = *(const of_groups<WARPS> *) (places.from_scale + on);

	UNROLL
	for (int i = 0; i < EACH; i++)
	{
		const float		*from = places.from_sum + on + i * LINES * 16;
		of_groups<WARPS> row =
			*(const of_groups<WARPS> *) (places.from_row + on + i * LINES * WARPS);

		/* in whole tiles, but for warps that have nothing else to do */
		if (EACH > 1 ? i * LINES >= m : (int) threadIdx.x / 16 >= m)
			break;
		UNROLL
		for (int g = 0; g < WARPS; g++)
			if (g < n)
				sum[i] = __fmaf_rn(from[g * ROW_TILES * 8 * 16], __fmul_rn(scale.of[g], row.of[g]),
								   sum[i]);
	}
}

/*
 * A block: TILES tiles of 16 columns of c, all rows; WARPS groups of each a round.  Weights
 * of AHEAD rounds are being loaded, and activations of one.
 */
template <int BITS, int STEPS, int ROW_TILES, int WARPS, int TILES> struct product_of_tile
{
	enum
	{
		LINES = WARPS * 2, /* rows of c that threads take side by side */
		EACH = (ROW_TILES * 8 + LINES - 1) / LINES,
		BUFFERS = TILES > 1 ? 1 : 2, /* of a round */
		ROUND = sizeof(round_of<ROW_TILES, WARPS>) / sizeof(float),
		WORDS = lane_codes<BITS, STEPS>::WORDS,
		AHEAD = TILES > 1 || WORDS > 8 ? 1
				: WORDS > 4			   ? 2
									   : 3
	};
	typedef round_places<ROW_TILES, WARPS> places_here;

	int						lane, warp;
	lane_group<BITS, STEPS> w[AHEAD];
	lane_rows<STEPS>		x; /* of the first row tile */
	float					sum[EACH];

	/*
	 * Groups from `first` on, of which x and w[slot] have this warp's, and then what comes in
	 * their place; on: floats to the round's buffer.
	 */
	DEVICE_MEMBER void
	round(const packed_args &a, lane_tile<BITS, STEPS> *tile, lane_activations<STEPS> *rows,
		  const places_here &places, int first, int slot, int on)
	{
		int left = a.groups - first;

		if (warp < left)
			compute_group(places, on, w[slot], x, *rows, a.m, lane);
		rows->go_on(WARPS, a.ld);
		if (warp + AHEAD * WARPS < left)
			tile->load(&w[slot]);
		tile->go_on(WARPS);
		if (warp + WARPS < left)
			rows->load(&x, 0);
		/* with two buffers, who is here has added up the round before, whose place is next */
		__syncthreads();
		if (left >= WARPS)
			add_round<EACH, LINES>(sum, places, on, WARPS, a.m);
		else
			add_round<EACH, LINES>(sum, places, on, left, a.m);
		if constexpr (BUFFERS == 1)
			__syncthreads();
	}

	/* All rounds; tile: that of weights */
	DEVICE_MEMBER void
	add_all(const packed_args &a, const places_here &places, int which)
	{
		lane_tile<BITS, STEPS>	tile(a, which, warp, lane);
		lane_activations<STEPS> rows(a, warp, lane);

		int on = 0;

		UNROLL
		for (int i = 0; i < AHEAD; i++)
		{
			if (warp + i * WARPS < a.groups)
				tile.load(&w[i]);
			tile.go_on(WARPS);
		}
		if (warp < a.groups)
			rows.load(&x, 0);
		for (int first = 0; first < a.groups;)
		{
			UNROLL
			for (int slot = 0; slot < AHEAD; slot++)
			{
				if (first >= a.groups)
					break;
				round(a, &tile, &rows, places, first, slot, on);
				first += WARPS;
				on = BUFFERS > 1 ? ROUND - on : 0;
			}
		}
	}

	DEVICE_MEMBER void
	run(const packed_args &a, unsigned char *shared)
	{
		int thread = (int) threadIdx.x % (WARPS * 32), of_block = (int) threadIdx.x / (WARPS * 32);
		int which = (int) blockIdx.x * TILES + of_block, tiles = (a.n + 15) / 16;
		int j = which * 16 + thread % 16;
		places_here places((round_of<ROW_TILES, WARPS> *) shared + of_block * BUFFERS, thread / 32,
						   thread % 32, thread / 16, thread % 16);

		lane = thread % 32;
		warp = thread / 32;
		for (int i = 0; i < EACH; i++)
			sum[i] = 0;
		add_all(a, places, which < tiles ? which : tiles - 1); /* all take part */
		UNROLL
		for (int i = 0; i < EACH; i++)
		{
			int row = thread / 16 + i * LINES;

			if (row < a.m && j < a.n)
				put_product(a.c + row * a.ldc + j, sum[i], a.bias, j, a.add);
		}
	}
};

/* ---- By name ------------------------------------------------------------------------ */

#define PRODUCTS(bits, group)                                                                      \
	KERNEL(few_q##bits##_##group, packed_args, 256)                                                \
	{                                                                                              \
		DYNAMIC_SHARED(shared);                                                                    \
		product_of_tile<bits, group / 32, 1, 8, 1> product;                                        \
                                                                                                   \
		product.run(a, shared);                                                                    \
	}                                                                                              \
	KERNEL(some_q##bits##_##group, packed_args, 256)                                               \
	{                                                                                              \
		DYNAMIC_SHARED(shared);                                                                    \
		product_of_tile<bits, group / 32, 8, 4, 2> product;                                        \
                                                                                                   \
		product.run(a, shared);                                                                    \
	}

PRODUCTS(4, 32)
PRODUCTS(4, 64)
PRODUCTS(4, 128)
PRODUCTS(8, 32)
PRODUCTS(8, 64)
PRODUCTS(8, 128)
