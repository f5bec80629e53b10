/*
 * dtype.c - what weights are stored in: names, sizes, values as fp32.
 *
 * No state: pure functions.
 */
#include "engine/weights/dtype.h"

#include <string.h>

#include "engine/base/half.h"
#include "engine/weights/packed.h"

const glm_dtype_info glm_dtypes[GLM_N_DTYPES] = {
	[GLM_F32] = {"F32", "F32", NULL, 4},	[GLM_F16] = {"F16", "F16", NULL, 2},
	[GLM_BF16] = {"BF16", "BF16", NULL, 2}, [GLM_Q4] = {"INT4", "U8", "int4", 0},
	[GLM_Q8] = {"INT8", "U8", "int8", 0},	[GLM_I8] = {"INT8", NULL, NULL, 1},
};

static bool
is_named(const char *have, const char *name)
{
	return have != NULL && strcmp(have, name) == 0;
}

bool
glm_dtype_stored(const char *name, glm_dtype *out)
{
	for (int i = 0; i < GLM_N_DTYPES; i++)
		if (glm_dtypes[i].packed == NULL && is_named(glm_dtypes[i].stored, name))
		{
			*out = (glm_dtype) i;
			return true;
		}
	return false;
}

bool
glm_dtype_packed(const char *name, glm_dtype *out)
{
	for (int i = 0; i < GLM_N_DTYPES; i++)
		if (is_named(glm_dtypes[i].packed, name))
		{
			*out = (glm_dtype) i;
			return true;
		}
	return false;
}

size_t
glm_tensor_bytes(const glm_tensor *t)
{
	size_t rows = (size_t) t->shape[0];
	size_t cols = (size_t) t->shape[1];

	if (glm_is_packed(t->dtype))
		return glm_packed_bytes(t->dtype, rows, cols, (size_t) t->group);
	return rows * cols * (size_t) glm_dtypes[t->dtype].size;
}

void
glm_widen(float *y, const void *x, glm_dtype dtype, size_t n)
{
	const uint8_t *bytes = x;

	if (dtype == GLM_F32)
	{
		memcpy(y, x, n * sizeof(*y));
		return;
	}
	for (size_t i = 0; i < n; i++)
	{
		uint16_t half;

		memcpy(&half, bytes + i * sizeof(half), sizeof(half));
		y[i] = dtype == GLM_F16 ? glm_f16_to_f32(half) : glm_bf16_to_f32(half);
	}
}
