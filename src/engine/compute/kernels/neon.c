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

INLINE float32x4_t
exponential(float32x4_t x)
{
	const float32x4_t round = vdupq_n_f32(GLM_EXP_ROUND);
	float32x4_t		  t, n, r, p;
	uint32x4_t		  power;

	x = vmaxq_f32(vdupq_n_f32(GLM_EXP_MIN), x);
	x = vminq_f32(vdupq_n_f32(GLM_EXP_MAX), x);
	t = vfmaq_f32(round, x, vdupq_n_f32(GLM_LOG2_E));
	n = vsubq_f32(t, round);
	r = vfmaq_f32(x, n, vdupq_n_f32(-GLM_LN2_HIGH));
	r = vfmaq_f32(r, n, vdupq_n_f32(-GLM_LN2_LOW));
	p = vdupq_n_f32(GLM_EXP_C7);
	p = vfmaq_f32(vdupq_n_f32(GLM_EXP_C6), p, r);
	p = vfmaq_f32(vdupq_n_f32(GLM_EXP_C5), p, r);
	p = vfmaq_f32(vdupq_n_f32(GLM_EXP_C4), p, r);
	p = vfmaq_f32(vdupq_n_f32(GLM_EXP_C3), p, r);
	p = vfmaq_f32(vdupq_n_f32(GLM_EXP_C2), p, r);
	p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
	p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
	power = vaddq_u32(vshlq_n_u32(vreinterpretq_u32_f32(t), 23), vdupq_n_u32(GLM_EXP_ONE));
	return vmulq_f32(p, vreinterpretq_f32_u32(power));
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
#define TILE_PARTS(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define v_reduce(sum) reduce(sum)
#include "engine/compute/kernels/matmul.h"

#define v_set vdupq_n_f32
#define v_multiply vmulq_f32

INLINE vec
v_codes(const char *w)
{
	int32_t four;

	memcpy(&four, w, sizeof(four));
	return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
}

#define WEIGH_ROWS 4
#define WEIGH_REGISTERS(rows) 4
#define WEIGH_SHARES_F16 0
#include "engine/compute/kernels/weighted_sum.h"
#include "engine/compute/kernels/elementwise.h"

/* ---- Softmax, SwiGLU ------------------------------------ */

static float
maximum(const float *x, int n, float most)
{
	float32x4_t max4 = vdupq_n_f32(most);
	float		max;
	int			i = 0;

	for (; i + 4 <= n; i += 4)
		max4 = vmaxq_f32(max4, vld1q_f32(x + i));
	max = vmaxvq_f32(max4);
	for (; i < n; i++)
		max = x[i] > max ? x[i] : max;
	return max;
}

static float
softmax(float *x, int n, float *most)
{
	float32x4_t max = vdupq_n_f32(*most = maximum(x, n, *most));
	float32x4_t sum[4];
	int			i = 0;

	for (int q = 0; q < 4; q++)
		sum[q] = vdupq_n_f32(0.0f);
	for (; i + GLM_LANES <= n; i += GLM_LANES)
	{
		for (int q = 0; q < 4; q++)
		{
			float32x4_t e = exponential(vsubq_f32(vld1q_f32(x + i + 4 * q), max));

			vst1q_f32(x + i + 4 * q, e);
			sum[q] = vaddq_f32(sum[q], e);
		}
	}
	if (i < n)
	{
		float  whole[GLM_LANES] = {0};
		size_t bytes = (size_t) (n - i) * sizeof(float);

		memcpy(whole, x + i, bytes);
		for (int q = 0; q < 4; q++)
			vst1q_f32(whole + 4 * q, exponential(vsubq_f32(vld1q_f32(whole + 4 * q), max)));
		memcpy(x + i, whole, bytes);
		memset(whole + (n - i), 0, sizeof(whole) - bytes); /* what is past the end counts 0 */
		for (int q = 0; q < 4; q++)
			sum[q] = vaddq_f32(sum[q], vld1q_f32(whole + 4 * q));
	}
	return reduce(sum);
}

INLINE float32x4_t
swiglu4(float32x4_t gate, float32x4_t up)
{
	float32x4_t e = exponential(vnegq_f32(gate));

	return vmulq_f32(vdivq_f32(gate, vaddq_f32(vdupq_n_f32(1.0f), e)), up);
}

static void
swiglu(float *gate, const float *up, int n)
{
	float g[4] = {0}, u[4] = {0};
	int	  i = 0;

	for (; i + 4 <= n; i += 4)
		vst1q_f32(gate + i, swiglu4(vld1q_f32(gate + i), vld1q_f32(up + i)));
	memcpy(g, gate + i, (size_t) (n - i) * sizeof(float));
	memcpy(u, up + i, (size_t) (n - i) * sizeof(float));
	vst1q_f32(g, swiglu4(vld1q_f32(g), vld1q_f32(u)));
	memcpy(gate + i, g, (size_t) (n - i) * sizeof(float));
}

const glm_kernels glm_kernels_neon = {
	.name = "neon",
	.matmul =
		{
			[GLM_F32] = matmul_f32,
			[GLM_F16] = matmul_f16,
			[GLM_BF16] = matmul_bf16,
		},
	.softmax = softmax,
	.weigh = weigh,
	.swiglu = swiglu,
	.square_sum = square_sum,
	.scale = scale,
	.add = add,
	.join = join,
	.divide = divide,
	.rotate = rotate,
};

#endif /* __aarch64__ */
