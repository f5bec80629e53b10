/*
 * kernel_data.c - numbers for kernels to compute with, and the tables this CPU can run.
 */
#include "kernel_data.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/half.h"

static uint64_t seed = 1;

uint32_t
kd_random_bits(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (seed >> 32);
}

/* Uniform in [-1, 1). */
static float
random_float(void)
{
	return (float) (int32_t) kd_random_bits() * 0x1p-31f;
}

void
kd_fill(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = random_float();
}

size_t
kd_size(glm_dtype dtype)
{
	return dtype == GLM_F32 ? 4 : dtype == GLM_I8 ? 1 : 2;
}

/* n weights between about -1 and 1 at w, which may be unaligned. */
void
kd_fill_weights(uint8_t *w, size_t n, glm_dtype dtype)
{
	for (size_t i = 0; i < n; i++)
	{
		float	 value = random_float();
		uint16_t half = (uint16_t) kd_random_bits();

		if (dtype == GLM_F16)
			half =
				(half & 0x83ff) | (uint16_t) ((kd_random_bits() % 16) << 10); /* subnormals too */
		if (dtype == GLM_I8)
			half = (uint16_t) (uint8_t) ((int) (kd_random_bits() % 255) - 127);
		if (dtype == GLM_BF16)
			half = (half & 0x807f) | (uint16_t) ((100 + kd_random_bits() % 27) << 7);
		memcpy(w + i * kd_size(dtype), dtype == GLM_F32 ? (void *) &value : (void *) &half,
			   kd_size(dtype));
	}
}

float
kd_weight(const uint8_t *w, size_t i, glm_dtype dtype)
{
	float	 value;
	uint16_t half;

	memcpy(&value, w + i * kd_size(dtype), dtype == GLM_F32 ? 4 : 0);
	memcpy(&half, w + i * kd_size(dtype), dtype == GLM_F32 ? 0 : 2);
	return dtype == GLM_F32	  ? value
		   : dtype == GLM_F16 ? glm_f16_to_f32(half)
							  : glm_bf16_to_f32(half);
}

/* The vector kd_tables this CPU can run. */
const glm_kernels *kd_tables[4];
int				   kd_n_tables;

void
kd_find_tables(void)
{
	static const char *const names[] = {"avx2", "avx512", "neon"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		glm_error		   err;
		const glm_kernels *table = glm_kernels_find(names[i], &err);

		printf("# %s: %s\n", names[i], table ? "tested" : err.message);
		if (table != NULL)
			kd_tables[kd_n_tables++] = table;
	}
}
