/*
 * packed_avx2.h - packed products in 256-bit registers.
 *
 * Sixteen lanes are two registers, and only sixteen exist: one tile of four
 * rows.  The file that includes this defines dot4(sum, code, x), which adds to each
 * of 8 lanes the products of four codes and four x: codes 0 .. 15, and of INT8 what
 * int8_code makes of 0 .. 255, which is INT8_MIDDLE where the weight is zero.
 */
#include <immintrin.h>
#include <string.h>

#define ROWS 4
#define EACH_ROWS EACH_ROWS_4
#define TILES 1

typedef struct ints
{
	__m256i half[2];
} ints;

typedef struct floats
{
	__m256 half[2];
} floats;

#define LANES static inline __attribute__((always_inline))

LANES ints
ints_spread(int32_t x)
{
	return (ints){{_mm256_set1_epi32(x), _mm256_set1_epi32(x)}};
}

LANES ints
ints_zero(void)
{
	return ints_spread(0);
}

LANES ints
ints_load(const uint8_t *p)
{
	return (ints){
		{_mm256_loadu_si256((const __m256i *) p), _mm256_loadu_si256((const __m256i *) (p + 32))}};
}

LANES ints
ints_add(ints a, ints b)
{
	return (ints){{_mm256_add_epi32(a.half[0], b.half[0]), _mm256_add_epi32(a.half[1], b.half[1])}};
}

#if defined(SHORT_RUN)
LANES ints
dots_add(ints a, ints b, glm_dtype dtype)
{
	if (dtype != GLM_Q4)
		return ints_add(a, b);
	return (ints){{_mm256_add_epi16(a.half[0], b.half[0]), _mm256_add_epi16(a.half[1], b.half[1])}};
}

/* with the factor that INT4's codes have in I */
LANES ints
dots_widen(ints sum)
{
	const __m256i factor = _mm256_set1_epi16(GLM_ZERO_ONE);

	return (ints){{_mm256_madd_epi16(sum.half[0], factor), _mm256_madd_epi16(sum.half[1], factor)}};
}

#define times_zero_one(sum) (sum)
#else
#define times_zero_one(sum) _mm256_slli_epi32(sum, 4)
#endif

LANES ints
low_nibbles(ints v)
{
	const __m256i mask = _mm256_set1_epi8(15);

	return (ints){{_mm256_and_si256(v.half[0], mask), _mm256_and_si256(v.half[1], mask)}};
}

LANES ints
high_nibbles(ints v)
{
	return low_nibbles((ints){{_mm256_srli_epi16(v.half[0], 4), _mm256_srli_epi16(v.half[1], 4)}});
}

LANES ints
code_of_int8(ints v)
{
	return (ints){{int8_code(v.half[0]), int8_code(v.half[1])}};
}

LANES ints
dot(ints sum, ints code, ints x, glm_dtype dtype)
{
	return (ints){{dot4(sum.half[0], code.half[0], x.half[0], dtype),
				   dot4(sum.half[1], code.half[1], x.half[1], dtype)}};
}

LANES ints
zeros_load(const uint8_t *p)
{
	return (ints){{_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) p)),
				   _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *) (p + 8)))}};
}

LANES floats
floats_zero(void)
{
	return (floats){{_mm256_setzero_ps(), _mm256_setzero_ps()}};
}

LANES void
floats_store(float *p, floats v)
{
	_mm256_storeu_ps(p, v.half[0]);
	_mm256_storeu_ps(p + 8, v.half[1]);
}

LANES floats
scales_load(const uint8_t *scales, glm_dtype dtype)
{
	const __m256 unit = _mm256_set1_ps(dtype == GLM_Q4 ? 1.0f / GLM_ZERO_ONE : 1.0f);
	floats		 scale;

	for (int h = 0; h < 2; h++)
		scale.half[h] =
			_mm256_mul_ps(unit, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) scales + h)));
	return scale;
}

LANES floats
finish(ints sum, ints zero, int minus_sum, floats wscale, float xscale, floats c, glm_dtype dtype)
{
	const __m256i minus = _mm256_set1_epi32(dtype == GLM_Q4 ? minus_sum : minus_sum * INT8_MIDDLE);

	for (int h = 0; h < 2; h++)
	{
		/* zero fills only the lower 16 bits of a lane, so this is zero * minus_sum */
		__m256i whole = dtype == GLM_Q4 ? _mm256_add_epi32(times_zero_one(sum.half[h]),
														   _mm256_madd_epi16(zero.half[h], minus))
										: _mm256_add_epi32(sum.half[h], minus);

		c.half[h] =
			_mm256_fmadd_ps(_mm256_cvtepi32_ps(whole),
							_mm256_mul_ps(wscale.half[h], _mm256_set1_ps(xscale)), c.half[h]);
	}
	return c;
}

#include "engine/compute/kernels/packed_product.h"
#include "engine/compute/kernels/packed_quantize.h"

BLOCK_FUNCTIONS(Q4)
BLOCK_FUNCTIONS(Q8)

static void
product(const glm_packed_product *op, int tile0, int tile1)
{
	blocks_product(op, tile0, tile1, op->dtype == GLM_Q4 ? &blocks_Q4 : &blocks_Q8);
}
