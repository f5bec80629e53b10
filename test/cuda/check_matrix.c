/*
 * check_matrix.c - random matrices of every type.
 */
#include "check_matrix.h"

#include <string.h>

#include "check.h"
#include "engine/base/half.h"

static glm_tensor
packed_matrix(glm_tensor t)
{
	int		  rows = (int) t.shape[0], cols = (int) t.shape[1], groups, width;
	uint8_t	 *tiles, *code, *zero;
	uint16_t *scale;

	t.group = 32 << ck_draw(0, 2);
	groups = (int) glm_packed_groups((size_t) cols, (size_t) t.group);
	width = groups * t.group;
	t.data = tiles =
		ck_take(glm_packed_bytes(t.dtype, (size_t) rows, (size_t) cols, (size_t) t.group));
	code = ck_take(16 * (size_t) width);
	zero = ck_take(16 * (size_t) groups);
	scale = ck_take(32 * (size_t) groups);
	for (int r = 0; r < rows; r += 16)
	{
		int n = rows - r < 16 ? rows - r : 16;

		for (int i = 0; i < n * width; i++)
			code[i] = i % width >= cols	  ? 0
					  : t.dtype == GLM_Q4 ? (uint8_t) ck_draw(0, 15)
										  : (uint8_t) ck_draw(0, 255);
		for (int i = 0; i < n * groups; i++)
		{
			zero[i] = (uint8_t) ck_draw(0, 255);
			scale[i] = glm_f32_to_f16((float) (int32_t) ck_bits() * 0x1p-37f);
		}
		glm_tile_write(tiles, t.dtype, n, cols, t.group, code, scale,
					   t.dtype == GLM_Q4 ? zero : NULL);
		tiles += glm_packed_tile_bytes(t.dtype, (size_t) cols, (size_t) t.group);
	}
	return t;
}

glm_tensor
ck_matrix(glm_dtype dtype, int rows, int cols)
{
	glm_tensor t = {.dtype = dtype, .n_dims = 2, .shape = {rows, cols}};
	size_t	   n = (size_t) rows * (size_t) cols;
	float	  *x;

	if (glm_is_packed(dtype))
		return packed_matrix(t);
	x = ck_take(n * 4);
	ck_fill(x, n);
	t.data = x;
	if (dtype == GLM_F32)
		return t;
	/* narrower ones from the front on: nothing is read after it was written */
	for (size_t i = 0; i < n; i++)
	{
		float	 value = x[i];
		uint32_t bits;
		uint16_t half = glm_f32_to_f16(value);

		memcpy(&bits, &value, sizeof(bits));
		if (dtype == GLM_BF16)
			half = (uint16_t) (bits >> 16);
		memcpy((char *) x + i * 2, &half, sizeof(half));
	}
	return t;
}

void
ck_row(float *y, const glm_tensor *t, int row)
{
	size_t cols = (size_t) t->shape[1];

	if (glm_is_packed(t->dtype))
		glm_packed_row(y, t, row);
	else
		glm_widen(y,
				  (const char *) t->data + (size_t) row * cols * (size_t) glm_dtypes[t->dtype].size,
				  t->dtype, cols);
}
