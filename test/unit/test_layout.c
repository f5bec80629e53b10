/*
 * test_layout.c - packed tiles, byte by byte as packed.h lays them out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/half.h"
#include "matrix.h"

/* Any codes, scales and zero points at all. */
static void
random_quant(glm_quant_matrix *q, glm_dtype dtype, int rows, int cols, int group)
{
	glm_error err;

	assert_true(glm_quant_open(q, dtype, rows, cols, group, &err));
	for (int row = 0; row < rows; row++)
	{
		for (int k = 0; k < cols; k++)
			q->code[row * q->groups * group + k] = mx_bits() & (dtype == GLM_Q4 ? 15 : 255);
		for (int g = 0; g < q->groups; g++)
		{
			q->scale[row * q->groups + g] = (uint16_t) (mx_bits() % 0x7c00);
			if (q->zero != NULL)
				q->zero[row * q->groups + g] = (uint8_t) mx_bits();
		}
	}
}

static double
value_of(const glm_quant_matrix *q, int row, int k)
{
	int	   g = row * q->groups + k / q->group;
	double zero = q->zero != NULL ? q->zero[g] / 16.0 : 128.0;

	return glm_f16_to_f32(q->scale[g]) * (q->code[row * q->groups * q->group + k] - zero);
}

/* Both readers give the exact value, for tensors of odd sizes at odd addresses. */
static void
check_rows(glm_dtype dtype, int rows, int cols, int group)
{
	glm_quant_matrix q;
	glm_tensor		 t;
	float			*y = malloc((size_t) cols * 2 * sizeof(float));

	assert_non_null(y);
	random_quant(&q, dtype, rows, cols, group);
	t = mx_pack(&q);
	for (int row = 0; row < rows; row++)
	{
		glm_packed_row(y, &t, row);
		glm_quant_row(y + cols, &q, row);
		assert_memory_equal(y, y + cols, (size_t) cols * sizeof(float));
		for (int k = 0; k < cols; k++)
			assert_true((double) y[k] == value_of(&q, row, k));
	}
	mx_unpack(&t);
	glm_quant_close(&q);
	free(y);
}

static void
test_rows(void **state)
{
	static const int rows[] = {1, 15, 16, 17, 40};
	static const int cols[] = {1, 31, 64, 100, 320};

	(void) state;
	for (size_t r = 0; r < 5; r++)
		for (size_t c = 0; c < 5; c++)
			for (int group = 32; group <= 128; group *= 2)
			{
				check_rows(GLM_Q4, rows[r], cols[c], group);
				check_rows(GLM_Q8, rows[r], cols[c], group);
			}
}

static void
test_int4_bytes(void **state)
{
	glm_quant_matrix q;
	glm_tensor		 t;
	const uint8_t	*tile;

	(void) state;
	random_quant(&q, GLM_Q4, 19, 70, 32); /* 3 groups, two tiles */
	t = mx_pack(&q);
	/* 3 groups * 16 rows * 3 bytes = 144, up to 192; 96 columns * 16 rows / 2 */
	assert_int_equal(glm_packed_bytes(GLM_Q4, 19, 70, 32), 2 * (192 + 768));
	tile = (const uint8_t *) t.data + 192 + 768;
	assert_memory_equal(tile + (1 * 16 + 2) * 2, &q.scale[18 * 3 + 1], 2);
	assert_int_equal(tile[96 + 2 * 16 + 1], q.zero[17 * 3 + 2]);
	/* row 18 is row 2 of its tile; columns 41 and 45 share a byte of vector 5 */
	assert_int_equal(tile[192 + 5 * 64 + 4 * 2 + 1],
					 q.code[18 * 96 + 41] | q.code[18 * 96 + 45] << 4);
	mx_unpack(&t);
	glm_quant_close(&q);
}

static void
test_int8_bytes(void **state)
{
	glm_quant_matrix q;
	glm_tensor		 t;
	const uint8_t	*tile;

	(void) state;
	random_quant(&q, GLM_Q8, 16, 128, 128);
	t = mx_pack(&q);
	/* 16 scales are 32 bytes, up to 64 */
	assert_int_equal(glm_packed_bytes(GLM_Q8, 16, 128, 128), 64 + 2048);
	tile = t.data;
	assert_memory_equal(tile + 7 * 2, &q.scale[7], 2);
	assert_int_equal(tile[64 + 10 * 64 + 4 * 7 + 3], q.code[7 * 128 + 43]);
	mx_unpack(&t);
	glm_quant_close(&q);
}

/* What no row or column fills is zero, whatever was there before. */
static void
test_padding(void **state)
{
	glm_quant_matrix q;
	uint8_t			 tile[192 + 768];
	size_t			 used = 0;

	(void) state;
	random_quant(&q, GLM_Q4, 1, 70, 32);
	for (int g = 0; g < 3; g++)
	{
		q.scale[g] = 0xffff;
		q.zero[g] = 0xff;
	}
	memset(q.code, 15, 70);
	memset(tile, 0xaa, sizeof(tile));
	glm_tile_write(tile, GLM_Q4, 1, 70, 32, q.code, q.scale, q.zero);
	for (size_t i = 0; i < sizeof(tile); i++)
		used += (size_t) __builtin_popcount(tile[i]);
	assert_int_equal(used, 3 * 16 + 3 * 8 + 70 * 4);
	glm_quant_close(&q);
}

/* 4.375 and 8.25 bits a weight at group 64, on the shapes of a 6B model. */
static void
test_bits(void **state)
{
	const double weights = 27392.0 * 4096;

	(void) state;
	assert_true(glm_packed_bytes(GLM_Q4, 27392, 4096, 64) * 8 == 4.375 * weights);
	assert_true(glm_packed_bytes(GLM_Q8, 27392, 4096, 64) * 8 == 8.25 * weights);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),	   cmocka_unit_test(test_int4_bytes),
		cmocka_unit_test(test_int8_bytes), cmocka_unit_test(test_padding),
		cmocka_unit_test(test_bits),
	};

	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
