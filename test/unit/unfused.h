/*
 * unfused.h - for `make sanitize KIND=valgrind`: fused multiply-adds and F16 made of what valgrind is quick at.
 *
 * It calls a function of its own for each number of a fused multiply-add or a conversion, which took four fifths
 * of test_scopes' time.  All tables that it can run change alike, so they still agree with each other, and nothing
 * that it looks at, memory, is other than in the product.  Included before each file.
 */
#ifndef UNFUSED_H
#define UNFUSED_H

#ifndef __cplusplus
#include <immintrin.h>
#include <math.h>

static inline float
unfused(float a, float b, float c)
{
	return a * b + c;
}

#define fmaf unfused
#define __builtin_fmaf unfused
#define _mm256_fmadd_ps(a, b, c) _mm256_add_ps(_mm256_mul_ps(a, b), c)

/* Exponents move from F16's middle to F32's by a product, which makes subnormals normal too. */
#define _mm256_cvtph_ps unfused_cvtph
__attribute__((target("avx2"))) static inline __m256
unfused_cvtph(__m128i half)
{
	const __m256i wide = _mm256_cvtepu16_epi32(half);
	const __m256i size = _mm256_slli_epi32(_mm256_and_si256(wide, _mm256_set1_epi32(0x7FFF)), 13);
	const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(wide, _mm256_set1_epi32(0x8000)), 16);
	const __m256i special = _mm256_cmpgt_epi32(size, _mm256_set1_epi32((0x7C00 << 13) - 1));
	const __m256i exponent = _mm256_and_si256(special, _mm256_set1_epi32(0x7F800000));
	const __m256  value = _mm256_mul_ps(_mm256_castsi256_ps(size), _mm256_set1_ps(0x1p112f));

	return _mm256_or_ps(value, _mm256_castsi256_ps(_mm256_or_si256(sign, exponent)));
}
#endif

#endif /* UNFUSED_H */
