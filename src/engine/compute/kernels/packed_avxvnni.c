/*
 * packed_avxvnni.c - packed products with AVX-VNNI, on x86-64 CPUs that have dot
 * products but no AVX-512.  Compiled with -mavx2 -mavxvnni -mfma -mf16c.
 */
#include "engine/compute/kernels/packed_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define INT8_MIDDLE 128
#define int8_code(v) (v)

static inline __attribute__((always_inline)) __m256i
dot4(__m256i sum, __m256i code, __m256i x, glm_dtype dtype)
{
	(void) dtype;
	return _mm256_dpbusd_avx_epi32(sum, code, x);
}

#include "engine/compute/kernels/packed_avx2.h"

const glm_packed_kernels glm_packed_avxvnni = {
	.name = "avxvnni", .rows = ROWS, .tiles = TILES, .quantize = quantize, .product = product};

#endif /* __x86_64__ */
