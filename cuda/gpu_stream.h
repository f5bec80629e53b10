/*
 * gpu_stream.h - work put in order on a device: copies and kernels.
 *
 * Nothing here fails at once.  The first thing that does is kept, what comes behind it is
 * left out, and stream_wait() tells.
 */
#ifndef GLM_CUDA_GPU_STREAM_H
#define GLM_CUDA_GPU_STREAM_H

#include "cuda/driver.h"
#include "cuda/launch.h"

#define CUDA_STEP_BYTES 128 /* of what a kernel is told, at most */

/* A launch, or a copy between the device and pinned memory, or on the device. */
typedef struct cuda_step
{
	int		  what; /* a cuda_kernel, or one of those below */
	unsigned  threads, shared;
	cuda_grid grid;
	size_t	  bytes;
	uint64_t  there;
	void	 *host; /* of a copy on the device: where it is from */
	char	  args[CUDA_STEP_BYTES];
} cuda_step;

enum
{
	CUDA_STEP_PUT = -1,
	CUDA_STEP_FETCH = -2,
	CUDA_STEP_COPY = -3
};

typedef struct cuda_stream
{
	const cuda_driver *driver;
	void			 **function; /* [GLM_CUDA_N_KERNELS] */
	void			  *stream;
	cuda_launcher	   launcher; /* into this stream */
	/* true: somebody took the step, and does it later; NULL: nobody does */
	bool (*take)(void *taker, const cuda_step *step);
	void	 *taker;
	/*
	 * Launches behind launches may begin before those have ended: kernels await them where they
	 * must.  Not for kernels that were compiled for devices before 9.0, which do not.
	 */
	bool	  dependent;
	bool	  after_launch; /* the last step was one */
	bool	  failed;
	glm_error why;
} cuda_stream;

extern bool cuda_stream_open(cuda_stream *s, const cuda_driver *driver, void **function,
							 glm_error *err);
extern void cuda_stream_close(cuda_stream *s); /* zeroed is fine */

/* Copies; memory of the host that is pinned must stay as it is until the wait. */
extern void cuda_stream_put(cuda_stream *s, uint64_t to, const void *from, size_t bytes);
extern void cuda_stream_fetch(cuda_stream *s, void *to, uint64_t from, size_t bytes);
extern void cuda_stream_copy(cuda_stream *s, uint64_t to, uint64_t from, size_t bytes);

/* The same before all steps that somebody took: what they read, and is another each time. */
extern void cuda_stream_put_first(cuda_stream *s, uint64_t to, const void *from, size_t bytes);

/* Puts a step into it. */
extern void cuda_stream_do(cuda_stream *s, const cuda_step *step);
/* Keeps the first failure, of a call of the driver's. */
extern void cuda_stream_note(cuda_stream *s, int result, const char *call);

/* Waits for all of it.  false: something failed, *err says what; the next begins anew. */
extern bool cuda_stream_wait(cuda_stream *s, glm_error *err);

#endif /* GLM_CUDA_GPU_STREAM_H */
