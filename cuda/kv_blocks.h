/*
 * kv_blocks.h - where the keys and values of a pass lie.
 */
#ifndef GLM_CUDA_KV_BLOCKS_H
#define GLM_CUDA_KV_BLOCKS_H

#include "cuda/arithmetic.h"

/* The keys of a row's block and group; the values are kv.groups halves behind them. */
DEVICE char *
keys_of(const cuda_kv &kv, const cuda_row &row, int block, int group)
{
	return kv.pool + (uint64_t) kv.block[row.first_block + block] * GLM_CUDA_KV_UNIT + kv.layer +
		   (uint64_t) group * kv.half;
}

#endif /* GLM_CUDA_KV_BLOCKS_H */
