/*
 * packed_scalar.c - packed products in plain C: runs anywhere, and defines by its
 * results what every other table must compute (see packed_kernels.h).
 */
#include "engine/compute/kernels/packed_kernels.h"

#include <math.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/compute/kernels/packed_quantize.h"

/* I for one row of W, whose lane begins at `codes`, and one row of x; 4 bytes a lane. */
static int32_t
group_sum(const uint8_t *codes, const int8_t *x, int rows, int group, glm_dtype dtype)
{
	int32_t sum = 0;

	for (int k = 0; k < group; k++)
	{
		int column = x[k / 4 * rows * 4 + k % 4];

		if (dtype == GLM_Q8)
			sum += codes[k / 4 * 64 + k % 4] * column;
		else
			sum += (codes[k / 8 * 64 + k % 4] >> (k % 8 < 4 ? 0 : 4) & 15) * column;
	}
	return sum;
}

/* Row j of W times row i of x. */
static float
dot(const glm_packed_product *op, int i, int j)
{
	const glm_int8_rows *x = op->x;
	size_t				 cols = (size_t) x->cols, group = (size_t) x->group;
	int					 row0 = i / x->block * x->block;
	int					 rows = glm_int8_block_rows(x, row0);
	int					 lane = j % GLM_TILE_ROWS;
	const uint8_t		*tile =
		op->w + (size_t) (j / GLM_TILE_ROWS) * glm_packed_tile_bytes(op->dtype, cols, group);
	const uint8_t *zeros = tile + x->groups * GLM_TILE_ROWS * 2;
	const uint8_t *codes = tile + glm_packed_head(op->dtype, cols, group) + lane * 4;
	const int8_t *code = x->code + (size_t) row0 * (size_t) (x->groups * x->group) + (i - row0) * 4;
	size_t		  at = (size_t) row0 * (size_t) x->groups + (size_t) (i - row0);
	float		  c = 0.0f;

	for (int g = 0; g < x->groups; g++, at += (size_t) rows)
	{
		int32_t	 sum = group_sum(codes, code, rows, x->group, op->dtype);
		uint16_t half;
		float	 wscale;

		memcpy(&half, tile + (g * GLM_TILE_ROWS + lane) * 2, sizeof(half));
		wscale = glm_f16_to_f32(half);
		if (op->dtype == GLM_Q4)
		{
			sum = 16 * sum + zeros[g * GLM_TILE_ROWS + lane] * x->minus_sum[at];
			wscale *= 1.0f / GLM_ZERO_ONE;
		}
		else
			sum += 128 * x->minus_sum[at];
		c = fmaf((float) sum, wscale * x->scale[at], c);
		codes += x->group / (op->dtype == GLM_Q4 ? 8 : 4) * 64;
		code += rows * x->group;
	}
	return op->bias != NULL ? c + op->bias[j] : c;
}

static void
product(const glm_packed_product *op, int tile0, int tile1)
{
	int end = tile1 * GLM_TILE_ROWS < op->n ? tile1 * GLM_TILE_ROWS : op->n;

	for (int i = 0; i < op->x->m; i++)
		for (int j = tile0 * GLM_TILE_ROWS; j < end; j++)
			op->c[(size_t) i * op->ldc + (size_t) j] = dot(op, i, j);
}

const glm_packed_kernels glm_packed_scalar = {
	.name = "scalar", .rows = 4, .quantize = quantize, .product = product};
