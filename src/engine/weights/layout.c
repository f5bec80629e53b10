/*
 * layout.c - codes in and out of tiles; packed.h has the layout.
 *
 * Written for clarity: writing a tile costs little beside finding its codes,
 * and the reader here is the reference that faster kernels are tested against.
 * Tiles may lie anywhere; nothing here needs them aligned.  No state, no locks.
 */
#include "engine/weights/packed.h"

#include <string.h>

#include "engine/base/half.h"

#define VECTOR 64 /* bytes that hold `step` columns of 16 rows */
#define LANE 4	  /* bytes of one row in it */

/* Columns in one vector. */
static int
step_of(glm_dtype dtype)
{
	return dtype == GLM_Q4 ? 2 * LANE : LANE;
}

/* The codes of one row, `step` columns of each vector; width is a multiple of the group. */
static void
write_codes(uint8_t *out, glm_dtype dtype, const uint8_t *code, int width)
{
	int step = step_of(dtype);

	for (int k = 0; k < width; k += step, out += VECTOR)
	{
		for (int j = 0; j < LANE; j++)
		{
			out[j] = code[k + j];
			if (dtype == GLM_Q4)
				out[j] = (uint8_t) (code[k + j] | code[k + LANE + j] << 4);
		}
	}
}

void
glm_tile_write(uint8_t *tile, glm_dtype dtype, int n_rows, int cols, int group, const uint8_t *code,
			   const uint16_t *scale, const uint8_t *zero)
{
	int		 groups = (int) glm_packed_groups((size_t) cols, (size_t) group);
	int		 width = groups * group;
	uint8_t *zeros = tile + (size_t) groups * GLM_TILE_ROWS * sizeof(*scale);
	uint8_t *codes = tile + glm_packed_head(dtype, (size_t) cols, (size_t) group);

	/* missing rows, padding and what fills up the head */
	memset(tile, 0, glm_packed_tile_bytes(dtype, (size_t) cols, (size_t) group));
	for (int r = 0; r < n_rows; r++)
	{
		for (int g = 0; g < groups; g++)
		{
			size_t from = (size_t) r * (size_t) groups + (size_t) g;
			size_t to = (size_t) g * GLM_TILE_ROWS + (size_t) r;

			memcpy(tile + to * sizeof(*scale), &scale[from], sizeof(*scale));
			if (dtype == GLM_Q4)
				zeros[to] = zero[from];
		}
		write_codes(codes + r * LANE, dtype, code + (size_t) r * (size_t) width, width);
	}
}

/* Column k of the row whose first lane `codes` points at. */
static int
read_code(const uint8_t *codes, glm_dtype dtype, int k)
{
	int step = step_of(dtype);
	int byte = codes[(size_t) (k / step) * VECTOR + (size_t) (k % LANE)];

	if (dtype == GLM_Q8)
		return byte;
	return k % step < LANE ? byte & 15 : byte >> 4;
}

void
glm_packed_row(float *y, const glm_tensor *t, int64_t row)
{
	size_t		   cols = (size_t) t->shape[1];
	size_t		   group = (size_t) t->group;
	size_t		   groups = glm_packed_groups(cols, group);
	size_t		   r = (size_t) row % GLM_TILE_ROWS;
	const uint8_t *tile =
		(const uint8_t *) t->data +
		(size_t) row / GLM_TILE_ROWS * glm_packed_tile_bytes(t->dtype, cols, group);
	const uint8_t *zeros = tile + groups * GLM_TILE_ROWS * sizeof(uint16_t);
	const uint8_t *codes = tile + glm_packed_head(t->dtype, cols, group) + r * LANE;

	for (size_t g = 0; g < groups; g++)
	{
		size_t	 place = g * GLM_TILE_ROWS + r;
		size_t	 end = (g + 1) * group < cols ? (g + 1) * group : cols;
		int		 zero = t->dtype == GLM_Q4 ? zeros[place] : 128 * GLM_ZERO_ONE;
		uint16_t half;
		float	 scale;

		memcpy(&half, tile + place * sizeof(half), sizeof(half));
		/* 11 bits times 12 bits: no rounding anywhere */
		scale = glm_f16_to_f32(half) / GLM_ZERO_ONE;
		for (size_t k = g * group; k < end; k++)
			y[k] = scale * (float) (read_code(codes, t->dtype, (int) k) * GLM_ZERO_ONE - zero);
	}
}
