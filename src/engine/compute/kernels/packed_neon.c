/*
 * packed_neon.c - packed products with the dot product instructions of AArch64.
 *
 * Both factors of sdot are signed: INT4's codes fit as they are, INT8's are
 * turned into code - 128, which is what they stand for.  Compiled with
 * -march=armv8.2-a+dotprod.
 */
#include "engine/compute/kernels/packed_kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#define ROWS 4
#define EACH_ROWS EACH_ROWS_4
#define TILES 1

typedef struct ints
{
	int32x4_t quarter[4];
} ints;

typedef struct floats
{
	float32x4_t quarter[4];
} floats;

#define LANES static inline __attribute__((always_inline))
#define EACH _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)

LANES ints
ints_spread(int32_t x)
{
	ints v;

	EACH v.quarter[i] = vdupq_n_s32(x);
	return v;
}

LANES ints
ints_zero(void)
{
	return ints_spread(0);
}

LANES ints
ints_load(const uint8_t *p)
{
	ints v;

	EACH v.quarter[i] = vreinterpretq_s32_u8(vld1q_u8(p + 16 * i));
	return v;
}

LANES ints
ints_add(ints a, ints b)
{
	EACH a.quarter[i] = vaddq_s32(a.quarter[i], b.quarter[i]);
	return a;
}

LANES ints
low_nibbles(ints v)
{
	EACH v.quarter[i] = vandq_s32(v.quarter[i], vdupq_n_s32(0x0f0f0f0f));
	return v;
}

LANES ints
high_nibbles(ints v)
{
	EACH v.quarter[i] = vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(v.quarter[i]), 4));
	return v;
}

LANES ints
code_of_int8(ints v)
{
	EACH v.quarter[i] = veorq_s32(v.quarter[i], vdupq_n_s32((int32_t) 0x80808080));
	return v;
}

LANES ints
dot(ints sum, ints code, ints x, glm_dtype dtype)
{
	(void) dtype;
	EACH sum.quarter[i] = vdotq_s32(sum.quarter[i], vreinterpretq_s8_s32(code.quarter[i]),
									vreinterpretq_s8_s32(x.quarter[i]));
	return sum;
}

LANES ints
zeros_load(const uint8_t *p)
{
	uint8x16_t bytes = vld1q_u8(p);
	uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));

	return (ints){{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
				   vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
				   vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
				   vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}

LANES floats
floats_zero(void)
{
	floats v;

	EACH v.quarter[i] = vdupq_n_f32(0);
	return v;
}

LANES void
floats_store(float *p, floats v)
{
	EACH vst1q_f32(p + 4 * i, v.quarter[i]);
}

LANES floats
scales_load(const uint8_t *scales, glm_dtype dtype)
{
	floats v;

	EACH
	{
		float16x4_t half = vreinterpret_f16_u8(vld1_u8(scales + 8 * i));

		v.quarter[i] =
			vmulq_n_f32(vcvt_f32_f16(half), dtype == GLM_Q4 ? 1.0f / GLM_ZERO_ONE : 1.0f);
	}
	return v;
}

LANES floats
finish(ints sum, ints zero, int minus_sum, floats wscale, float xscale, floats c, glm_dtype dtype)
{
	EACH
	{
		int32x4_t whole = dtype == GLM_Q4 ? vmlaq_n_s32(vshlq_n_s32(sum.quarter[i], 4),
														zero.quarter[i], minus_sum)
										  : sum.quarter[i];

		c.quarter[i] =
			vfmaq_f32(c.quarter[i], vcvtq_f32_s32(whole), vmulq_n_f32(wscale.quarter[i], xscale));
	}
	return c;
}

#include "engine/compute/kernels/packed_product.h"
#include "engine/compute/kernels/packed_quantize.h"

BLOCK_FUNCTIONS(Q4)
BLOCK_FUNCTIONS(Q8)

static void
product(const glm_packed_product *op, int tile0, int tile1)
{
	blocks_product(op, tile0, tile1, op->dtype == GLM_Q4 ? &blocks_Q4 : &blocks_Q8);
}

const glm_packed_kernels glm_packed_neon = {
	.name = "neon", .rows = ROWS, .tiles = TILES, .quantize = quantize, .product = product};

#endif /* __aarch64__ */
