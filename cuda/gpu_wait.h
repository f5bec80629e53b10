/*
 * gpu_wait.h - waiting for a pass: see gpu_wait.c.
 */
#ifndef GLM_CUDA_GPU_WAIT_H
#define GLM_CUDA_GPU_WAIT_H

#include "cuda/gpu_stream.h"

#define CUDA_WAIT_BUCKETS 10

typedef struct cuda_waiting
{
	int64_t began_ns;
	int64_t usual_ns[CUDA_WAIT_BUCKETS]; /* of passes of about so many rows; 0: there was none */
	int		bucket;						 /* of the pass that is waited for next */
	int		bucket_behind;				 /* of the one behind it */
} cuda_waiting;

/* A pass of so many rows; behind: another is under way. */
extern void cuda_waiting_begin(cuda_waiting *w, int rows, bool behind);
/*
 * Until the event, or the stream where that is NULL, is done or has taken longer than usual: a
 * wait of the driver's is for what is left.
 */
extern void cuda_waiting_sleep(const cuda_waiting *w, const cuda_stream *s, void *event);
/* It is done, and if there is one behind it, that begins. */
extern void cuda_waiting_end(cuda_waiting *w);

#endif /* GLM_CUDA_GPU_WAIT_H */
