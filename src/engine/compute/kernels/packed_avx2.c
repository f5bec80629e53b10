/*
 * packed_avx2.c - packed products with AVX2 alone.
 *
 * vpmaddubsw adds two products of 8 bits in 16 bits and saturates.  Two of 15 * 127 are far
 * from that: INT4 sums stay in 16 bits for four vectors of codes, eight times two products
 * (8 * 2 * 15 * 127 = 30,480), and are widened then.  Two of 255 * 127 do not fit, two of
 * 128 * 127 do: an INT8 code becomes the weight it stands for, whose sign goes over to x.
 * Compiled with -mavx2 -mfma -mf16c.
 */
#include "engine/compute/kernels/packed_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define SHORT_RUN 4
#define INT8_MIDDLE 0 /* of what int8_code makes */

/* 0 .. 255 to -128 .. 127 */
static inline __attribute__((always_inline)) __m256i
int8_code(__m256i code)
{
	return _mm256_xor_si256(code, _mm256_set1_epi8(-128));
}

/* sum has 16 bits if INT4, else 32 */
static inline __attribute__((always_inline)) __m256i
dot4(__m256i sum, __m256i code, __m256i x, glm_dtype dtype)
{
	__m256i pairs;

	if (dtype == GLM_Q4)
	{
		sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(code, x));
		__asm__ volatile("" : "+x"(sum));
		return sum;
	}
	pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(code), _mm256_sign_epi8(x, code));
	return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#include "engine/compute/kernels/packed_avx2.h"

const glm_packed_kernels glm_packed_avx2 = {
	.name = "avx2", .rows = ROWS, .tiles = TILES, .quantize = quantize, .product = product};

#endif /* __x86_64__ */
