/*
 * packed_lane.h - what a lane has of packed weights, and its part of a group's sums.
 */
#ifndef GLM_CUDA_PACKED_LANE_H
#define GLM_CUDA_PACKED_LANE_H

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

/* What a lane reads of a tile of weights, group by group: addresses of the next one. */
template <int BITS, int STEPS> struct lane_tile
{
	typedef lane_codes<BITS, STEPS> lane_of;

	const uint8_t  *code, *zero;
	const uint16_t *scale;

	DEVICE_MEMBER
	lane_tile(const packed_args &a, int tile, int group, int lane)
	{
		const uint8_t *base = a.w + (uint64_t) tile * a.tile_bytes;
		int			   row = group * 16 + lane / 4;

		code = base + a.head + (uint64_t) group * lane_of::GROUP_BYTES +
			   lane * (lane_of::WORDS < 4 ? lane_of::WORDS : 4) * 4;
		zero = base + a.groups * 32 + row;
		scale = (const uint16_t *) base + row;
	}

	DEVICE_MEMBER void
	load(lane_group<BITS, STEPS> *to) const
	{
		to->codes.load(code);
		to->zero0 = BITS == 4 ? zero[0] : 128;
		to->zero8 = BITS == 4 ? zero[8] : 128;
		to->half0 = scale[0];
		to->half8 = scale[8];
	}

	DEVICE_MEMBER void
	go_on(int by)
	{
		code += by * lane_of::GROUP_BYTES;
		zero += by * 16;
		scale += by * 16;
	}
};

/* STEPS * 32 columns of a row of activations, from the lane's first on, as mma_u8s8() takes it. */
template <int STEPS>
DEVICE void
load_row(uint2 x[STEPS], const int8_t *row)
{
	UNROLL
	for (int step = 0; step < STEPS; step++)
		x[step] = *(const uint2 *) (row + step * 32);
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
		if (mma_is_small())
		{
			UNROLL
			for (int i = 0; i < 4; i++)
				mma_u8s8_small(c + i % 2 * 2, f[i], b[i / 2]);
		}
		else
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

#endif /* GLM_CUDA_PACKED_LANE_H */
