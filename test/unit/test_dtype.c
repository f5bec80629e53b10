/*
 * test_dtype.c - the table of dtypes: names, sizes, numbers of any as fp32.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/weights/dtype.h"
#include "engine/weights/packed.h"

static void
test_names(void **state)
{
	glm_dtype dtype;

	(void) state;
	for (int i = 0; i < GLM_N_DTYPES; i++)
	{
		const glm_dtype_info *info = &glm_dtypes[i];

		assert_non_null(info->name);
		assert_int_equal(info->packed != NULL, glm_is_packed((glm_dtype) i));
		assert_int_equal(info->size == 0, info->packed != NULL);
		if (info->packed != NULL)
		{
			assert_true(glm_dtype_packed(info->packed, &dtype));
			assert_int_equal(dtype, i);
		}
		else if (info->stored != NULL)
		{
			assert_true(glm_dtype_stored(info->stored, &dtype));
			assert_int_equal(dtype, i);
		}
	}
	/* what a file may hold and we do not compute with, and what is stored in it of ours */
	assert_false(glm_dtype_stored("F64", &dtype));
	assert_false(glm_dtype_stored("I8", &dtype));
	assert_false(glm_dtype_stored("U8", &dtype));
	assert_false(glm_dtype_stored("", &dtype));
	assert_false(glm_dtype_packed("int2", &dtype));
	assert_false(glm_dtype_packed("INT4", &dtype));
}

static void
test_bytes(void **state)
{
	glm_tensor t = {.n_dims = 2, .shape = {20, 100}, .group = 32};

	(void) state;
	t.dtype = GLM_F32;
	assert_int_equal(glm_tensor_bytes(&t), 8000);
	t.dtype = GLM_BF16;
	assert_int_equal(glm_tensor_bytes(&t), 4000);
	t.dtype = GLM_Q4;
	assert_int_equal(glm_tensor_bytes(&t), glm_packed_bytes(GLM_Q4, 20, 100, 32));
}

/* From any address; halves, the smallest and the largest, bit for bit. */
static void
test_widen(void **state)
{
	static const uint16_t f16[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00};
	static const float	  f16_wide[] = {1, -2, 0x1p-24f, 65504, (float) INFINITY};
	static const uint16_t bf16[] = {0x3f80, 0xc000, 0x0001, 0x7f7f, 0xff80};
	static const uint32_t bf16_wide[] = {0x3f800000, 0xc0000000, 0x00010000, 0x7f7f0000,
										 0xff800000};
	uint8_t				  bytes[1 + sizeof(f16_wide)];
	float				  y[5];

	(void) state;
	memcpy(bytes + 1, f16, sizeof(f16));
	glm_widen(y, bytes + 1, GLM_F16, 5);
	assert_memory_equal(y, f16_wide, sizeof(y));
	memcpy(bytes + 1, bf16, sizeof(bf16));
	glm_widen(y, bytes + 1, GLM_BF16, 5);
	assert_memory_equal(y, bf16_wide, sizeof(y));
	memcpy(bytes + 1, f16_wide, sizeof(f16_wide));
	glm_widen(y, bytes + 1, GLM_F32, 5);
	assert_memory_equal(y, f16_wide, sizeof(y));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_widen),
	};

	return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
