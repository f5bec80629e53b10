/*
 * packed_lane.h - what a lane has of packed weights, and its part of a group's sums.
 */
#ifndef GLM_CUDA_PACKED_LANE_H
#define GLM_CUDA_PACKED_LANE_H

#include "cuda/arithmetic.h"

#define MAGIC 0x4b400000
#define MAGIC_FLOAT 12582912.0f
/* groups of weights that are on their way from memory, for a pair of tiles and many rows */
#define BROUGHT 8

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

	/* at: where the lane's first piece is */
	DEVICE_MEMBER void
	load(const uint8_t *at)
	{
		if constexpr (WORDS == 2)
		{
			uint2 two = *(const uint2 *) at;

			word[0] = two.x;
			word[1] = two.y;
		}
		else
		{
			UNROLL
			for (int i = 0; i < WORDS; i += 4)
			{
				uint4 four = ((const uint4 *) at)[i / 4 * 32];

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

/* The same in all lanes, which the compiler knows by this. */
DEVICE int
warp_index()
{
	return __shfl_sync(ALL_LANES, (int) threadIdx.x / 32, 0);
}

/*
 * A group of a pair of tiles: the lane's codes of both, and scale and zero point of one row,
 * which is lane % 16 of tile lane / 16.
 */
template <int BITS, int STEPS> struct pair_group
{
	lane_codes<BITS, STEPS> codes[2];
	int						zero;
	uint16_t				half; /* scale */

	DEVICE_MEMBER float
	scale() const
	{
		return BITS == 4 ? __fmul_rn(f16_to_f32(half), 0.0625f) : f16_to_f32(half);
	}
};

/* Rows g and g + 8 of tile `of` of what lanes have of rows. */
template <class T>
DEVICE void
rows_of_lane(T to[2], T row, int of, int lane)
{
	UNROLL
	for (int i = 0; i < 2; i++)
		to[i] = __shfl_sync(ALL_LANES, row, of * 16 + i * 8 + lane / 4);
}

/* What products take of it: operands, and zero points of rows g and g + 8. */
template <int BITS, int STEPS> struct pair_operands
{
	unsigned a[2][STEPS][4];
	int		 zero[2][2];

	DEVICE_MEMBER
	pair_operands(const pair_group<BITS, STEPS> &w, int lane)
	{
		UNROLL
		for (int i = 0; i < 2; i++)
		{
			UNROLL
			for (int step = 0; step < STEPS; step++)
				w.codes[i].fragment(a[i][step], step);
			if (BITS == 4)
				rows_of_lane(zero[i], w.zero, i, lane);
			else
				zero[i][0] = zero[i][1] = 128;
		}
	}
};

/* What a lane reads of a pair of tiles, group by group: addresses of the next one. */
template <int BITS, int STEPS> struct pair_of_tiles
{
	typedef lane_codes<BITS, STEPS> lane_of;

	const uint8_t  *code, *zero, *line; /* line: of codes, the lane's */
	const uint16_t *scale;
	unsigned		second; /* bytes from the first tile to the second */
	bool			has_line;

	/* Of the last tile, where it has none beside it, both are that one. */
	DEVICE_MEMBER
	pair_of_tiles(const packed_args &a, int pair, int group, int lane)
	{
		int			   last = (a.n + 15) / 16 - 1, tile = pair * 2 < last ? pair * 2 : last;
		const uint8_t *base = a.w + (uint64_t) tile * a.tile_bytes;
		const uint8_t *mine;
		int			   row = group * 16 + lane % 16;

		second = tile < last ? (unsigned) a.tile_bytes : 0;
		mine = base + lane / 16 * second;
		code = base + a.head + (uint64_t) group * lane_of::GROUP_BYTES +
			   lane * (lane_of::WORDS < 4 ? lane_of::WORDS : 4) * 4;
		zero = mine + a.groups * 32 + row;
		scale = (const uint16_t *) mine + row;
		line = base + a.head + lane / lane_of::WORDS % 2 * second +
			   (uint64_t) group * lane_of::GROUP_BYTES + lane % lane_of::WORDS * 128;
		has_line = lane < 2 * lane_of::WORDS;
	}

	/* Brings codes of the group `on` groups behind the next one nearer. */
	DEVICE_MEMBER void
	bring(int on) const
	{
		if (has_line)
			prefetch128(line + on * lane_of::GROUP_BYTES);
	}

	DEVICE_MEMBER void
	load(pair_group<BITS, STEPS> *to) const
	{
		to->codes[0].load(code);
		to->codes[1].load(code + second);
		to->zero = BITS == 4 ? *zero : 128;
		to->half = *scale;
	}

	DEVICE_MEMBER void
	go_on(int by)
	{
		code += by * lane_of::GROUP_BYTES;
		line += by * lane_of::GROUP_BYTES;
		zero += by * 16;
		scale += by * 16;
	}
};

/* Where a lane's columns of a group begin; see weave. */
template <int STEPS>
DEVICE int
first_column(int lane)
{
	return lane % 4 * (STEPS > 1 ? 16 : 8);
}

/* STEPS * 32 columns of a row of activations, from the lane's first on, as mma_u8s8() takes it. */
template <int STEPS>
DEVICE void
load_row(uint2 x[STEPS], const int8_t *row)
{
	if constexpr (STEPS == 1)
		x[0] = *(const uint2 *) row;
	else
	{
		UNROLL
		for (int step = 0; step < STEPS; step += 2)
		{
			uint4 two = *(const uint4 *) (row + step * 32);

			x[step] = uint2{two.x, two.y};
			x[step + 1] = uint2{two.z, two.w};
		}
	}
}

/* Adds the integers of a group to c, which is as mma_u8s8() has it. */
template <int STEPS>
DEVICE void
group_sums(int c[4], const unsigned a[STEPS][4], const uint2 x[STEPS])
{
	UNROLL
	for (int step = 0; step < STEPS; step++)
	{
		unsigned b[2] = {x[step].x, x[step].y};

		if (mma_is_small())
		{
			UNROLL
			for (int i = 0; i < 4; i++)
				mma_u8s8_small(c + i % 2 * 2, a[step][i], b[i / 2]);
		}
		else
			mma_u8s8(c, a[step], b);
	}
}

/*
 * What the sums of rows g, g + 8 and columns n, n + 1 begin with; two: minus_sum, which may be
 * anything where there is no row.
 */
DEVICE void
begin_sums(int c[4], const int zero[2], int2 two)
{
	UNROLL
	for (int i = 0; i < 2; i++)
	{
		c[2 * i] = (int) ((unsigned) zero[i] * (unsigned) two.x + MAGIC);
		c[2 * i + 1] = (int) ((unsigned) zero[i] * (unsigned) two.y + MAGIC);
	}
}

DEVICE float
sum_as_float(int with_magic)
{
	return __fsub_rn(__uint_as_float((unsigned) with_magic), MAGIC_FLOAT);
}

/* A warp's columns of c, from j on, and its rows from m0 on. */
DEVICE void
put_sums(const packed_args &a, const float sum[2][8][4], int j, int m0)
{
	int lane = (int) threadIdx.x % 32;

	UNROLL
	for (int n = 0; n < 8; n++)
		UNROLL
	for (int k = 0; k < 8; k++)
	{
		int i = k % 4, column = j + k / 4 * 16 + lane / 4 + i / 2 * 8;
		int row = m0 + n * 8 + lane % 4 * 2 + i % 2;

		if (column < a.n && row < a.m)
			put_product(a.c + row * a.ldc + column, sum[k / 4][n][i], a.bias, column, a.add);
	}
}

#endif /* GLM_CUDA_PACKED_LANE_H */
