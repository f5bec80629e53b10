/*
 * packed_avx512.c - the table of packed products with AVX-512 VNNI; see packed_avx512.h.
 */
#include "engine/compute/kernels/packed_avx512.h"

#if defined(__x86_64__)

#include "engine/compute/kernels/packed_quantize.h"

static void
product(const glm_packed_product *op, int tile0, int tile1)
{
	(op->dtype == GLM_Q4 ? glm_packed_avx512_q4 : glm_packed_avx512_q8)(op, tile0, tile1);
}

const glm_packed_kernels glm_packed_avx512vnni = {
	.name = "avx512vnni", .rows = ROWS, .tiles = TILES, .quantize = quantize, .product = product};

#endif /* __x86_64__ */
