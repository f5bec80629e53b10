/*
 * packed_avx2.c - packed products with AVX2 alone.
 *
 * vpmaddubsw adds two products of 8 bits in 16 bits and saturates: two of 255 *
 * 127 do not fit, two of 15 * 127 do.  So an INT8 code is taken in two halves.
 * Compiled with -mavx2 -mfma -mf16c.
 */
#include "engine/compute/kernels/packed_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

static inline __attribute__((always_inline)) __m256i
nibbles4(__m256i code, __m256i x)
{
	return _mm256_madd_epi16(_mm256_maddubs_epi16(code, x), _mm256_set1_epi16(1));
}

static inline __attribute__((always_inline)) __m256i
dot4(__m256i sum, __m256i code, __m256i x, glm_dtype dtype)
{
	const __m256i mask = _mm256_set1_epi8(15);
	__m256i		  high;

	if (dtype == GLM_Q4)
		return _mm256_add_epi32(sum, nibbles4(code, x));
	high = nibbles4(_mm256_and_si256(_mm256_srli_epi16(code, 4), mask), x);
	sum = _mm256_add_epi32(sum, nibbles4(_mm256_and_si256(code, mask), x));
	return _mm256_add_epi32(sum, _mm256_slli_epi32(high, 4));
}

#include "engine/compute/kernels/packed_avx2.h"

const glm_packed_kernels glm_packed_avx2 = {
	.name = "avx2", .rows = ROWS, .tiles = TILES, .quantize = quantize, .product = product};

#endif /* __x86_64__ */
