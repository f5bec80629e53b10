/*
 * avx2.c - the kernel table for x86-64 with AVX2, FMA and F16C.
 *
 * The 16 lanes of a dot product are two registers, lanes 0-7 and 8-15.  A tile
 * keeps at least eight accumulators busy (twice the latency of an FMA) and at
 * most twelve, which leaves registers for the operands: a tile of three rows is
 * computed one half of the lanes after the other.  The results are
 * defined in kernels.h; compiled with -mavx2 -mfma -mf16c.
 */
#include "engine/compute/kernels/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* l[j] of the lower half, h[j] = l[j + 8] */
INLINE float
reduce(__m256 l, __m256 h)
{
	__m256 s8 = _mm256_add_ps(l, h);
	__m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
	__m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));

	return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* ---- Matrix product --------------------------------------------------- */

typedef __m256 vec;

#define VEC 8
#define v_zero _mm256_setzero_ps
#define v_load _mm256_loadu_ps
#define v_store _mm256_storeu_ps
#define v_add _mm256_add_ps
#define v_fma _mm256_fmadd_ps
#define v_keep(x) __asm__("" : "+x"(x))

INLINE vec
v_widen(const char *w, glm_dtype dtype)
{
	if (dtype == GLM_F32)
		return _mm256_loadu_ps((const float *) w);
	if (dtype == GLM_F16)
		return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) w));
	return _mm256_castsi256_ps(
		_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *) w)), 16));
}

/* l[j] + l[j + 8] of two outputs, then s[j] + s[j + 4]: [a][b], 4 each */
INLINE vec
sum_halves(const vec a[2], const vec b[2])
{
	vec x = _mm256_add_ps(a[0], a[1]), y = _mm256_add_ps(b[0], b[1]);

	return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}

/* The sums of four outputs. */
#define SUMS 4
INLINE void
sums(float *out, vec acc[4][2])
{
	__m256d x = _mm256_castps_pd(sum_halves(acc[0], acc[2]));
	__m256d y = _mm256_castps_pd(sum_halves(acc[1], acc[3]));
	/* s[j] + s[j + 2]: [0, 0, 1, 1][2, 2, 3, 3] */
	vec		s2 = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(x, y)),
							   _mm256_castpd_ps(_mm256_unpackhi_pd(x, y)));
	vec		s1 = _mm256_add_ps(_mm256_shuffle_ps(s2, s2, 0x88), _mm256_shuffle_ps(s2, s2, 0xdd));

	_mm_storeu_ps(out, _mm_movelh_ps(_mm256_castps256_ps128(s1), _mm256_extractf128_ps(s1, 1)));
}

#define TILE_ROWS 3
#define LOW_ROWS 12
#define TILE_COLUMNS(rows) 4
#define TILE_REGISTERS(rows) ((rows) == 1 ? 2 : 1)
#define v_reduce(sum) reduce((sum)[0], (sum)[1])
#include "engine/compute/kernels/matmul.h"

#define v_set _mm256_set1_ps
#define v_subtract _mm256_sub_ps
#define v_multiply _mm256_mul_ps
#define v_divide _mm256_div_ps
#define v_max _mm256_max_ps
#define v_min _mm256_min_ps
#define v_negate(a) _mm256_xor_ps(a, _mm256_set1_ps(-0.0f))
#define v_codes(w) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) (w))))
#define WEIGHTED_ROWS 4
#define WEIGHTED_REGISTERS(rows) ((rows) == 4 ? 2 : 4)
#define WEIGHTED_SHARES_F16 0
#include "engine/compute/kernels/weighted_sum.h"

INLINE vec
v_power(vec t)
{
	return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t), 23),
												_mm256_set1_epi32((int) GLM_EXP_ONE)));
}

INLINE float
v_reduce_max(vec a)
{
	__m128 m4 = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	__m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));

	return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

#include "engine/compute/kernels/softmax.h"
#include "engine/compute/kernels/elementwise.h"

const glm_kernels glm_kernels_avx2 = {
	.name = "avx2",
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

#endif /* __x86_64__ */
