/*
 * half.h - F16 and BF16 to fp32 and back to F16, in plain C.
 *
 * Widening is exact for every input: both formats are subsets of fp32, so zeros keep their
 * sign, subnormals become normal numbers, infinities stay and NaNs keep their
 * payload.  These are the reference for the vector instructions in kernels/.
 */
#ifndef GLM_HALF_H
#define GLM_HALF_H

#include <stdint.h>
#include <string.h>

static inline float
glm_bits_to_f32(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* 1 sign, 8 exponent, 7 mantissa bits: the upper half of an fp32. */
static inline float
glm_bf16_to_f32(uint16_t h)
{
	return glm_bits_to_f32((uint32_t) h << 16);
}

/* 1 sign, 5 exponent (bias 15), 10 mantissa bits. */
static inline float
glm_f16_to_f32(uint16_t h)
{
	uint32_t sign = (uint32_t) (h & 0x8000) << 16;
	uint32_t exponent = (h >> 10) & 0x1f;
	uint32_t mantissa = h & 0x3ff;

	if (exponent == 0x1f) /* infinity, NaN */
		return glm_bits_to_f32(sign | 0x7f800000 | mantissa << 13);
	if (exponent == 0) /* zero, subnormal: mantissa * 2^-24 */
	{
		float value = (float) mantissa * 0x1p-24f;

		return sign ? -value : value;
	}
	return glm_bits_to_f32(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
}

/* The nearest F16, ties to even; what is too large becomes infinity. */
static inline uint16_t
glm_f32_to_f16(float value)
{
	uint32_t bits, sign;

	memcpy(&bits, &value, sizeof(bits));
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000) /* NaN */
		return (uint16_t) (sign | 0x7e00);
	if (bits >= 0x47800000) /* 2^16 and more, infinity */
		return (uint16_t) (sign | 0x7c00);
	if (bits < 0x38800000) /* below 2^-14: adding 1/2 leaves steps of 2^-24 */
	{
		float shifted = glm_bits_to_f32(bits) + 0.5f;

		memcpy(&bits, &shifted, sizeof(bits));
		return (uint16_t) (sign | (bits - 0x3f000000));
	}
	/* a carry out of the mantissa goes into the exponent, at last to infinity */
	bits += 0xfff + (bits >> 13 & 1);
	return (uint16_t) (sign | ((bits - 0x38000000) >> 13));
}

#endif /* GLM_HALF_H */
