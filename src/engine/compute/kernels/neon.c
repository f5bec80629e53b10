/*
 * neon.c - the kernel table for AArch64, where NEON is always there.
 *
 * The 16 lanes of a dot product are four registers, lanes 0-3, 4-7, 8-11 and
 * 12-15.  A tile has up to 16 of the 32 registers as accumulators: those of four
 * rows are computed a quarter of the lanes after the other.  The
 * results are defined in kernels.h; needs no flags.
 */
#include "engine/compute/kernels/kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float
reduce(const float32x4_t lane[4])
{
	float32x4_t s4 = vaddq_f32(vaddq_f32(lane[0], lane[2]), vaddq_f32(lane[1], lane[3]));
	float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));

	return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

/* ---- Matrix product --------------------------------------------------- */

typedef float32x4_t vec;

#define VEC 4
#define v_zero() vdupq_n_f32(0.0f)
#define v_load vld1q_f32
#define v_store vst1q_f32
#define v_add vaddq_f32
#define v_fma(a, b, c) vfmaq_f32(c, a, b)
#define v_keep(x) __asm__("" : "+w"(x))

/* Read as bytes, which may lie anywhere. */
INLINE vec
v_widen(const char *w, glm_dtype dtype)
{
	const uint8_t *bytes = (const uint8_t *) w;

	if (dtype == GLM_F32)
		return vreinterpretq_f32_u8(vld1q_u8(bytes));
	if (dtype == GLM_F16)
		return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(bytes)));
	return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(bytes)), 16));
}

/* l[j] + l[j + 8], then s[j] + s[j + 4] */
INLINE vec
sum_four(const vec lane[4])
{
	return vaddq_f32(vaddq_f32(lane[0], lane[2]), vaddq_f32(lane[1], lane[3]));
}

/* s[j] + s[j + 2] of two outputs: [a, a, b, b] */
INLINE vec
sum_pairs(vec a, vec b)
{
	return vaddq_f32(vcombine_f32(vget_low_f32(a), vget_low_f32(b)),
					 vcombine_f32(vget_high_f32(a), vget_high_f32(b)));
}

/* The sums of four outputs. */
#define SUMS 4
INLINE void
sums(float *out, vec acc[4][4])
{
	vec a = sum_pairs(sum_four(acc[0]), sum_four(acc[1]));
	vec b = sum_pairs(sum_four(acc[2]), sum_four(acc[3]));

	v_store(out, vpaddq_f32(a, b));
}

#define TILE_ROWS 4
#define LOW_ROWS 4
#define TILE_COLUMNS(rows) 4
#define TILE_REGISTERS(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define v_reduce(sum) reduce(sum)
#include "engine/compute/kernels/matmul.h"

#define v_set vdupq_n_f32
#define v_subtract vsubq_f32
#define v_multiply vmulq_f32
#define v_divide vdivq_f32
#define v_max vmaxq_f32
#define v_min vminq_f32
#define v_negate vnegq_f32
#define v_reduce_max vmaxvq_f32

INLINE vec
v_codes(const char *w)
{
	int32_t four;

	memcpy(&four, w, sizeof(four));
	return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
}

#define WEIGHTED_ROWS 4
#define WEIGHTED_REGISTERS(rows) 4
#define WEIGHTED_SHARES_F16 0
#include "engine/compute/kernels/weighted_sum.h"

INLINE vec
v_power(vec t)
{
	return vreinterpretq_f32_u32(
		vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23), vdupq_n_u32(GLM_EXP_ONE)));
}

#include "engine/compute/kernels/softmax.h"
#include "engine/compute/kernels/elementwise.h"

const glm_kernels glm_kernels_neon = {
	.name = "neon",
	.matmul =
		{
			[GLM_F32] = matmul_f32,
			[GLM_F16] = matmul_f16,
			[GLM_BF16] = matmul_bf16,
		},
	.softmax = softmax,
	.weighted_sum = weighted_sum,
	.swiglu = swiglu,
	.square_sum = square_sum,
	.scale = scale,
	.add = add,
	.join = join,
	.divide = divide,
	.rotate = rotate,
};

#endif /* __aarch64__ */
