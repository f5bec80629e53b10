/*
 * packed_quantize.h - rounds activations to 8 bits, for each kernel file.
 *
 * Plain C that compilers turn into vector code of the including file's
 * instruction set.  The largest magnitude is found on the bits, as integers,
 * because that has one result in any order; rounding is by adding a number so
 * large that the sum has no fraction bits.
 */
#ifndef GLM_PACKED_QUANTIZE_H
#define GLM_PACKED_QUANTIZE_H

#include <math.h>
#include <string.h>

#include "engine/compute/kernels/packed_kernels.h"

#define MOST_GROUP 128
#define ROUND 0x1.8p23f /* its low mantissa bits are the integer */

/* code [group] of a [n]; returns the scale, and minus the sum of the codes. */
static inline float
quantize_group(int8_t *code, int32_t *minus_sum, const float *a, int n)
{
	uint32_t bits[MOST_GROUP];
	uint32_t max_bits = 0;
	int32_t	 sum = 0;
	float	 max, inverse;

	memcpy(bits, a, (size_t) n * sizeof(*a));
	for (int k = 0; k < n; k++)
	{
		uint32_t magnitude = bits[k] & 0x7fffffff;

		max_bits = magnitude > max_bits ? magnitude : max_bits;
	}
	memcpy(&max, &max_bits, sizeof(max));
	*minus_sum = 0;
	if (!(max >= GLM_INT8_SMALLEST && max <= 0x1.fffffep127f))
		return max < GLM_INT8_SMALLEST ? 0.0f : NAN;
	inverse = 127.0f / max;
	for (int k = 0; k < n; k++)
	{
		float rounded = a[k] * inverse + ROUND;

		memcpy(&bits[k], &rounded, sizeof(rounded));
		code[k] = (int8_t) bits[k];
	}
	for (int k = 0; k < n; k++)
		sum += code[k];
	*minus_sum = -sum;
	return max / 127.0f;
}

static inline void
quantize_row(const glm_int8_rows *x, const float *a, int i)
{
	int		row0 = i / x->block * x->block;
	size_t	rows = (size_t) glm_int8_block_rows(x, row0);
	size_t	row = (size_t) (i - row0);
	int8_t *code = x->code + (size_t) row0 * (size_t) (x->groups * x->group) + row * 4;
	size_t	at = (size_t) row0 * (size_t) x->groups + row;

	for (int g = 0; g < x->groups; g++, at += rows)
	{
		int8_t line[MOST_GROUP] = {0};
		int	   left = x->cols - g * x->group;

		x->scale[at] = quantize_group(line, &x->minus_sum[at], a + g * x->group,
									  left < x->group ? left : x->group);
		for (int k = 0; k < x->group; k += 4, code += rows * 4)
			memcpy(code, line + k, 4);
	}
}

static void
quantize(const glm_int8_rows *x, const float *a, size_t lda, int i0, int i1)
{
	for (int i = i0; i < i1; i++)
		quantize_row(x, a + (size_t) i * lda, i);
}

#endif /* GLM_PACKED_QUANTIZE_H */
