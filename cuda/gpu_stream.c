/*
 * gpu_stream.c - work put in order on a device.
 */
#include "cuda/gpu_stream.h"

#include <string.h>

#define NON_BLOCKING 1 /* waits for no other stream */

/* Keeps the first failure. */
static void
note(cuda_stream *s, int result, const char *call)
{
	if (!s->failed && !cuda_fine(s->driver, result, call, &s->why))
		s->failed = true;
}

static void
launch(void *arg, cuda_kernel kernel, cuda_grid grid, unsigned threads, unsigned shared,
	   const void *args, size_t bytes)
{
	cuda_stream *s = arg;
	void		*parameter = (void *) (uintptr_t) args; /* the driver copies it */

	(void) bytes;
	if (!s->failed)
		note(s,
			 s->driver->launch(s->function[kernel], grid.x, grid.y, grid.z, threads, 1, 1, shared,
							   s->stream, &parameter, NULL),
			 cuda_kernel_names[kernel]);
}

bool
cuda_stream_open(cuda_stream *s, const cuda_driver *driver, void **function, glm_error *err)
{
	*s = (cuda_stream){.driver = driver, .function = function};
	s->launcher = (cuda_launcher){launch, s};
	return CUDA(driver, err, stream_open, &s->stream, NON_BLOCKING);
}

void
cuda_stream_close(cuda_stream *s)
{
	if (s->stream != NULL)
		s->driver->stream_close(s->stream);
	s->stream = NULL;
}

void
cuda_stream_put(cuda_stream *s, uint64_t to, const void *from, size_t bytes)
{
	if (!s->failed && bytes > 0)
		note(s, s->driver->copy_to(to, from, bytes, s->stream), "copy_to");
}

void
cuda_stream_fetch(cuda_stream *s, void *to, uint64_t from, size_t bytes)
{
	if (!s->failed && bytes > 0)
		note(s, s->driver->copy_from(to, from, bytes, s->stream), "copy_from");
}

void
cuda_stream_copy(cuda_stream *s, uint64_t to, uint64_t from, size_t bytes)
{
	if (!s->failed)
		note(s, s->driver->copy_there(to, from, bytes, s->stream), "copy_there");
}

bool
cuda_stream_wait(cuda_stream *s, glm_error *err)
{
	bool fine;

	/* what was put in before something failed uses memory of its caller's */
	note(s, s->driver->stream_wait(s->stream), "stream_wait");
	fine = !s->failed;
	if (!fine)
		*err = s->why;
	s->failed = false;
	return fine;
}
