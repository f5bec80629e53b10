/*
 * kv_written.h - the keys and values that a pass writes: for who compares what they are.
 */
#ifndef GLM_CUDA_KV_WRITTEN_H
#define GLM_CUDA_KV_WRITTEN_H

#include "cuda/gpu_stream.h"
#include "engine/compute/backend.h"

/* Zeroed: none. */
typedef struct cuda_written
{
	const glm_pass	*pass;
	const glm_model *model;
	uint64_t		 pool;	 /* that blocks are numbered in */
	int				 layers; /* of them that are on this GPU */
} cuda_written;

/* Of all blocks that it writes into, as they are copied one behind the other. */
extern size_t cuda_written_bytes(const cuda_written *w);
/* Copies them, or puts them there, some time before the stream has been waited for. */
extern bool	  cuda_written_fetch(const cuda_written *w, const cuda_stream *s, char *to);
extern bool	  cuda_written_put(const cuda_written *w, const cuda_stream *s, const char *from);
/* In such a copy makes all that the pass writes, and nothing else, something that it is not. */
extern void	  cuda_written_spoil(const cuda_written *w, char *blocks);

#endif /* GLM_CUDA_KV_WRITTEN_H */
