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
#include <string.h>

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

INLINE __m256
exponential(__m256 x)
{
	const __m256 round = _mm256_set1_ps(GLM_EXP_ROUND);
	__m256		 t, n, r, p;
	__m256i		 power;

	/* min and max return their second operand when one is a NaN */
	x = _mm256_max_ps(_mm256_set1_ps(GLM_EXP_MIN), x);
	x = _mm256_min_ps(_mm256_set1_ps(GLM_EXP_MAX), x);
	t = _mm256_fmadd_ps(x, _mm256_set1_ps(GLM_LOG2_E), round);
	n = _mm256_sub_ps(t, round);
	r = _mm256_fmadd_ps(n, _mm256_set1_ps(-GLM_LN2_HIGH), x);
	r = _mm256_fmadd_ps(n, _mm256_set1_ps(-GLM_LN2_LOW), r);
	p = _mm256_set1_ps(GLM_EXP_C7);
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(GLM_EXP_C6));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(GLM_EXP_C5));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(GLM_EXP_C4));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(GLM_EXP_C3));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(GLM_EXP_C2));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
	p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
	power = _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t), 23),
							 _mm256_set1_epi32((int) GLM_EXP_ONE));
	return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
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
#define TILE_PARTS(rows) ((rows) == 1 ? 2 : 1)
#define v_reduce(sum) reduce((sum)[0], (sum)[1])
#include "engine/compute/kernels/matmul.h"

#define v_set _mm256_set1_ps
#define v_multiply _mm256_mul_ps
#define v_codes(w) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *) (w))))
#define WEIGH_ROWS 4
#define WEIGH_REGISTERS(rows) ((rows) == 4 ? 2 : 4)
#define WEIGH_SHARES_F16 0
#include "engine/compute/kernels/weighted_sum.h"
#include "engine/compute/kernels/elementwise.h"

/* ---- Softmax, SwiGLU ------------------------------------ */

static float
maximum(const float *x, int n, float most)
{
	__m256 max8 = _mm256_set1_ps(most);
	float  lane[8], max;
	int	   i = 0;

	for (; i + 8 <= n; i += 8)
		max8 = _mm256_max_ps(_mm256_loadu_ps(x + i), max8);
	_mm256_storeu_ps(lane, max8);
	max = lane[0];
	for (int j = 1; j < 8; j++)
		max = lane[j] > max ? lane[j] : max;
	for (; i < n; i++)
		max = x[i] > max ? x[i] : max;
	return max;
}

static float
softmax(float *x, int n, float *most)
{
	__m256 max = _mm256_set1_ps(*most = maximum(x, n, *most));
	__m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
	int	   i = 0;

	for (; i + GLM_LANES <= n; i += GLM_LANES)
	{
		for (int h = 0; h < 2; h++)
		{
			__m256 e = exponential(_mm256_sub_ps(_mm256_loadu_ps(x + i + 8 * h), max));

			_mm256_storeu_ps(x + i + 8 * h, e);
			sum[h] = _mm256_add_ps(sum[h], e);
		}
	}
	if (i < n)
	{
		float  whole[GLM_LANES] = {0};
		size_t bytes = (size_t) (n - i) * sizeof(float);

		memcpy(whole, x + i, bytes);
		for (int h = 0; h < 2; h++)
			_mm256_storeu_ps(whole + 8 * h,
							 exponential(_mm256_sub_ps(_mm256_loadu_ps(whole + 8 * h), max)));
		memcpy(x + i, whole, bytes);
		memset(whole + (n - i), 0, sizeof(whole) - bytes); /* what is past the end counts 0 */
		for (int h = 0; h < 2; h++)
			sum[h] = _mm256_add_ps(sum[h], _mm256_loadu_ps(whole + 8 * h));
	}
	return reduce(sum[0], sum[1]);
}

INLINE __m256
swiglu8(__m256 gate, __m256 up)
{
	/* a true change of sign: 0 - gate would turn a zero's sign around */
	__m256 e = exponential(_mm256_xor_ps(gate, _mm256_set1_ps(-0.0f)));

	return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1.0f), e)), up);
}

static void
swiglu(float *gate, const float *up, int n)
{
	float g[8] = {0}, u[8] = {0};
	int	  i = 0;

	for (; i + 8 <= n; i += 8)
		_mm256_storeu_ps(gate + i, swiglu8(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
	memcpy(g, gate + i, (size_t) (n - i) * sizeof(float));
	memcpy(u, up + i, (size_t) (n - i) * sizeof(float));
	_mm256_storeu_ps(g, swiglu8(_mm256_loadu_ps(g), _mm256_loadu_ps(u)));
	memcpy(gate + i, g, (size_t) (n - i) * sizeof(float));
}

const glm_kernels glm_kernels_avx2 = {
	.name = "avx2",
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

#endif /* __x86_64__ */
