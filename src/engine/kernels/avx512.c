/*
 * avx512.c - the kernel table for x86-64 with AVX-512 F, BW, VL and DQ.
 *
 * The 16 lanes of a dot product are one register, so a tile has as many
 * accumulators as outputs: eight to twelve.  What is left of K, or of a row, is
 * read under a mask that fills up with zeros.  The results are defined in
 * kernels.h; compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
 * -mf16c.
 */
#include "kernels.h"

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
	__m256		s8 = _mm256_add_ps(_mm512_castps512_ps256(lane), _mm512_extractf32x8_ps(lane, 1));
	__m128		s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
	__m128		s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));

	return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

INLINE __m512
exponential(__m512 x)
{
	const __m512 round = _mm512_set1_ps(GLM_EXP_ROUND);
	__m512		t,
				n,
				r,
				p;
	__m512i		power;

	/* min and max return their second operand when one is a NaN */
	x = _mm512_max_ps(_mm512_set1_ps(GLM_EXP_MIN), x);
	x = _mm512_min_ps(_mm512_set1_ps(GLM_EXP_MAX), x);
	t = _mm512_fmadd_ps(x, _mm512_set1_ps(GLM_LOG2_E), round);
	n = _mm512_sub_ps(t, round);
	r = _mm512_fmadd_ps(n, _mm512_set1_ps(-GLM_LN2_HIGH), x);
	r = _mm512_fmadd_ps(n, _mm512_set1_ps(-GLM_LN2_LOW), r);
	p = _mm512_set1_ps(GLM_EXP_C7);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(GLM_EXP_C6));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(GLM_EXP_C5));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(GLM_EXP_C4));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(GLM_EXP_C3));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(GLM_EXP_C2));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
	power = _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(t), 23),
							 _mm512_set1_epi32((int) GLM_EXP_ONE));
	return _mm512_mul_ps(p, _mm512_castsi512_ps(power));
}

/* ---- Matrix product --------------------------------------------------- */

/* Sixteen elements of W, widened; those outside the mask are 0 and not read. */
INLINE __m512
load_w(const char *w, __mmask16 mask, glm_dtype dtype)
{
	__m256i		half;

	if (dtype == GLM_F32)
		return _mm512_maskz_loadu_ps(mask, w);
	half = _mm256_maskz_loadu_epi16(mask, w);
	if (dtype == GLM_F16)
		return _mm512_cvtph_ps(half);
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* acc[r][c] += a[r][k .. k + 16) * w[c][k .. k + 16) where the mask says so */
INLINE void
tile_step(__m512 acc[3][8], const float *const a[3], const char *const w[8], int k,
		  __mmask16 mask, glm_dtype dtype, int rows, int columns)
{
	const size_t size = dtype == GLM_F32 ? 4 : 2;
	__m512		x[3];

#pragma GCC unroll 3
	for (int r = 0; r < rows; r++)
		x[r] = _mm512_maskz_loadu_ps(mask, a[r] + k);
#pragma GCC unroll 8
	for (int c = 0; c < columns; c++)
	{
		__m512		wide = load_w(w[c] + (size_t) k * size, mask, dtype);

#pragma GCC unroll 3
		for (int r = 0; r < rows; r++)
			acc[r][c] = _mm512_fmadd_ps(x[r], wide, acc[r][c]);
	}
}

INLINE void
tile(const glm_matmul *op, glm_dtype dtype, int i, int j, int rows, int columns)
{
	const size_t row_bytes = (size_t) op->k * (dtype == GLM_F32 ? 4 : 2);
	const float *a[3];
	const char *w[8];
	__m512		acc[3][8];
	int			k = 0;

#pragma GCC unroll 3
	for (int r = 0; r < rows; r++)
	{
		a[r] = op->a + (size_t) (i + r) * op->lda;
#pragma GCC unroll 8
		for (int c = 0; c < columns; c++)
			acc[r][c] = _mm512_setzero_ps();
	}
#pragma GCC unroll 8
	for (int c = 0; c < columns; c++)
		w[c] = (const char *) op->w + (size_t) (j + c) * row_bytes;

	for (; k + GLM_LANES <= op->k; k += GLM_LANES)
		tile_step(acc, a, w, k, 0xffff, dtype, rows, columns);
	if (k < op->k)
		tile_step(acc, a, w, k, lanes(op->k - k), dtype, rows, columns);

#pragma GCC unroll 3
	for (int r = 0; r < rows; r++)
	{
#pragma GCC unroll 8
		for (int c = 0; c < columns; c++)
		{
			float		sum = reduce(acc[r][c]);

			op->c[(size_t) (i + r) * op->ldc + j + c] = op->bias ? sum + op->bias[j + c] : sum;
		}
	}
}

#define TILE_COLUMNS 4
#define TILE_COLUMNS_ONE 8
#include "matmul.h"

/* ---- Softmax, weighted sums, SwiGLU ------------------------------------ */

static float
softmax(float *x, int n)
{
	__m512		max = _mm512_set1_ps(x[0]);
	__m512		sum = _mm512_setzero_ps();

	for (int i = 0; i < n; i += GLM_LANES)
		max = _mm512_max_ps(_mm512_mask_loadu_ps(max, lanes(n - i), x + i), max);
	max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
	for (int i = 0; i < n; i += GLM_LANES)
	{
		__mmask16	mask = lanes(n - i);
		__m512		e = exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), max));

		_mm512_mask_storeu_ps(x + i, mask, e);
		sum = _mm512_add_ps(sum, _mm512_maskz_mov_ps(mask, e));
	}
	return reduce(sum);
}

static void
weigh(float *y, const float *p, const float *v, int n, int width)
{
	for (int d = 0; d < width; d += 4 * GLM_LANES)
	{
		__mmask16	mask[4];
		__m512		acc[4];

		for (int r = 0; r < 4; r++)
		{
			int			left = width - d - GLM_LANES * r;

			mask[r] = left > 0 ? lanes(left) : 0;
			acc[r] = _mm512_maskz_loadu_ps(mask[r], y + d + GLM_LANES * r);
		}
		for (int i = 0; i < n; i++)
		{
			__m512		weight = _mm512_set1_ps(p[i]);
			const float *row = v + (size_t) i * width + d;

			for (int r = 0; r < 4; r++)
				acc[r] = _mm512_fmadd_ps(weight,
										 _mm512_maskz_loadu_ps(mask[r], row + GLM_LANES * r),
										 acc[r]);
		}
		for (int r = 0; r < 4; r++)
			_mm512_mask_storeu_ps(y + d + GLM_LANES * r, mask[r], acc[r]);
	}
}

static void
swiglu(float *gate, const float *up, int n)
{
	for (int i = 0; i < n; i += GLM_LANES)
	{
		__mmask16	mask = lanes(n - i);
		__m512		g = _mm512_maskz_loadu_ps(mask, gate + i);
		__m512		u = _mm512_maskz_loadu_ps(mask, up + i);
		/* a true change of sign: 0 - g would turn a zero's sign around */
		__m512		e = exponential(_mm512_xor_ps(g, _mm512_set1_ps(-0.0f)));

		g = _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
		_mm512_mask_storeu_ps(gate + i, mask, _mm512_mul_ps(g, u));
	}
}

const glm_kernels glm_kernels_avx512 = {
	.name = "avx512",
	.matmul = {
		[GLM_F32] = matmul_f32,
		[GLM_F16] = matmul_f16,
		[GLM_BF16] = matmul_bf16,
	},
	.softmax = softmax,
	.weigh = weigh,
	.swiglu = swiglu,
};

#endif							/* __x86_64__ */
