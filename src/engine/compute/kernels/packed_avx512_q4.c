/*
 * packed_avx512_q4.c - products of INT4 weights with AVX-512 VNNI; see packed_avx512.h.
 */
#include "engine/compute/kernels/packed_avx512.h"

#if defined(__x86_64__)

#include "engine/compute/kernels/packed_product.h"

BLOCK_FUNCTIONS(Q4)

void
glm_packed_avx512_q4(const glm_packed_product *op, int tile0, int tile1)
{
	blocks_product(op, tile0, tile1, &blocks_Q4);
}

#endif /* __x86_64__ */
