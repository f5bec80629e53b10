/*
 * packed_avx512.h - packed products with AVX-512 VNNI: a file for each data type, as these are
 * functions over which a compiler takes a minute, and one for the rest.
 *
 * A vector of codes is one register, so is a tile's row of sums: two tiles of
 * twelve rows take 24 of the 32 registers, four tiles of four rows 16.  Compiled with -mavx512f
 * -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c.
 */
#ifndef GLM_PACKED_AVX512_H
#define GLM_PACKED_AVX512_H

#include "engine/compute/kernels/packed_kernels.h"

/* The columns of C that the tiles [tile0, tile1) hold, for weights of the data type. */
extern void glm_packed_avx512_q4(const glm_packed_product *op, int tile0, int tile1);
extern void glm_packed_avx512_q8(const glm_packed_product *op, int tile0, int tile1);

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define ROWS 12
#define EACH_ROWS EACH_ROWS_12
#define TILES 4

typedef __m512i ints;
typedef __m512	floats;

#define ints_zero() _mm512_setzero_si512()
#define ints_add(a, b) _mm512_add_epi32(a, b)
#define ints_spread(x) _mm512_set1_epi32(x)
/* INT4's codes times 16, as the zero points count */
#define low_nibbles(v) high_nibbles(_mm512_slli_epi16(v, 4))
#define high_nibbles(v) _mm512_and_si512(v, _mm512_set1_epi8((char) 0xf0))
#define code_of_int8(v) (v)
#define zeros_load(p) _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *) (p)))
#define floats_zero() _mm512_setzero_ps()
#define floats_store(p, v) _mm512_storeu_ps(p, v)

/* once: compilers would have each use of it read memory again */
static inline __attribute__((always_inline)) ints
ints_load(const uint8_t *p)
{
	ints v = _mm512_loadu_si512(p);

	__asm__("" : "+v"(v));
	return v;
}

static inline __attribute__((always_inline)) ints
dot(ints sum, ints code, ints x, glm_dtype dtype)
{
	(void) dtype;
	/* the intrinsic makes GCC 12 move and spill the sums of a full block */
	__asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(code), "v"(x));
	return sum;
}

static inline __attribute__((always_inline)) ints
dot_columns(ints sum, ints code, const int8_t *x, glm_dtype dtype)
{
	(void) dtype;
	__asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(code), "m"(*(const int8_t(*)[4]) x));
	return sum;
}
#define dot_columns dot_columns

static inline __attribute__((always_inline)) floats
scales_load(const uint8_t *scales, glm_dtype dtype)
{
	floats scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *) scales));

	return dtype == GLM_Q4 ? _mm512_mul_ps(scale, _mm512_set1_ps(1.0f / GLM_ZERO_ONE)) : scale;
}

static inline __attribute__((always_inline)) floats
finish(ints sum, ints zero, int minus_sum, floats wscale, float xscale, floats c, glm_dtype dtype)
{
	/* zero fills only the lower 16 bits of a lane, so this is zero * minus_sum */
	if (dtype == GLM_Q4)
		sum = _mm512_dpwssd_epi32(sum, zero, _mm512_set1_epi32(minus_sum));
	else
		sum = _mm512_add_epi32(sum, _mm512_set1_epi32(minus_sum * 128));
	return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(wscale, _mm512_set1_ps(xscale)),
						   c);
}

#endif /* __x86_64__ */

#endif /* GLM_PACKED_AVX512_H */
