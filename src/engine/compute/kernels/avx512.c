/*
 * avx512.c - the kernel table for x86-64 with AVX-512 F, BW, VL and DQ.
 *
 * The 16 lanes of a dot product are one register, so a tile of sixteen outputs
 * has sixteen, which leaves as many for operands.  What is left of a row is
 * read under a mask that fills up with zeros.  The results are defined in
 * kernels.h; compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
 * -mf16c.
 */
#include "engine/compute/kernels/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* The lowest `left` of 16 lanes. */
INLINE __mmask16
lanes(int left)
{
	return left >= GLM_LANES ? (__mmask16) 0xffff : (__mmask16) ((1u << left) - 1);
}

INLINE float
reduce(__m512 lane)
{
	__m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(lane), _mm512_extractf32x8_ps(lane, 1));
	__m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
	__m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));

	return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* ---- Matrix product --------------------------------------------------- */

typedef __m512 vec;

#define VEC 16
#define v_zero _mm512_setzero_ps
#define v_load _mm512_loadu_ps
#define v_store _mm512_storeu_ps
#define v_add _mm512_add_ps
#define v_fma _mm512_fmadd_ps
#define v_keep(x) __asm__("" : "+v"(x))

INLINE vec
v_widen(const char *w, glm_dtype dtype)
{
	if (dtype == GLM_F32)
		return _mm512_loadu_ps(w);
	if (dtype == GLM_F16)
		return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) w));
	return _mm512_castsi512_ps(
		_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *) w)), 16));
}

/* l[j] + l[j + 8] of four outputs, then s[j] + s[j + 4]: [a][b][c][d], 4 each */
INLINE vec
sum_quarters(vec a, vec b, vec c, vec d)
{
	vec ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
	vec cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));

	return _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
}

/* s[j] + s[j + 2] in each quarter of a and b: [a, a, b, b] in each */
INLINE vec
sum_pairs(vec a, vec b)
{
	__m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);

	return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
						 _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

/* The sums of sixteen outputs; quarter i of the result is outputs 4 i, ... 4 i + 3. */
#define SUMS 16
INLINE void
sums(float *out, vec acc[16][1])
{
	vec a = sum_pairs(sum_quarters(acc[0][0], acc[4][0], acc[8][0], acc[12][0]),
					  sum_quarters(acc[1][0], acc[5][0], acc[9][0], acc[13][0]));
	vec b = sum_pairs(sum_quarters(acc[2][0], acc[6][0], acc[10][0], acc[14][0]),
					  sum_quarters(acc[3][0], acc[7][0], acc[11][0], acc[15][0]));

	v_store(out, _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd)));
}

#define TILE_ROWS 4
#define LOW_ROWS 16
#define TILE_COLUMNS(rows) ((rows) == 1 ? 16 : (rows) == 2 ? 8 : 4)
#define TILE_REGISTERS(rows) 1
#define v_reduce(sum) reduce((sum)[0])
#include "engine/compute/kernels/matmul.h"

#define v_set _mm512_set1_ps
#define v_subtract _mm512_sub_ps
#define v_multiply _mm512_mul_ps
#define v_divide _mm512_div_ps
#define v_max _mm512_max_ps
#define v_min _mm512_min_ps
#define v_negate(a) _mm512_xor_ps(a, _mm512_set1_ps(-0.0f))
#define v_reduce_max _mm512_reduce_max_ps
#define v_load_first(rest, x, n) _mm512_mask_loadu_ps(rest, lanes(n), x)
#define v_store_first(x, a, n) _mm512_mask_storeu_ps(x, lanes(n), a)
#define v_codes(w) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *) (w))))
/* the heads of a group of ChatGLM3-6B are a tile: its keys and values are widened once */
#define WEIGHTED_ROWS 16
#define WEIGHTED_REGISTERS(rows) ((rows) > 8 ? 1 : (rows) > 4 ? 2 : 4)
#define WEIGHTED_SHARES_F16 1
#include "engine/compute/kernels/weighted_sum.h"

INLINE vec
v_power(vec t)
{
	return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(t), 23),
												_mm512_set1_epi32((int) GLM_EXP_ONE)));
}

#include "engine/compute/kernels/softmax.h"
#include "engine/compute/kernels/elementwise.h"

const glm_kernels glm_kernels_avx512 = {
	.name = "avx512",
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
