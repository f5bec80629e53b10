/*
 * gpu_stream.c - work put in order on a device.
 */
#include "cuda/gpu_stream.h"

#include <string.h>

#define FITS(name, type)                                                                           \
	_Static_assert(sizeof(type) <= CUDA_STEP_BYTES, "a step has room for " #type);
GLM_CUDA_KERNELS(FITS)

void
cuda_stream_note(cuda_stream *s, int result, const char *call)
{
	if (!s->failed && !cuda_fine(s->driver, result, call, &s->why))
		s->failed = true;
}

static int
launch_step(const cuda_stream *s, const cuda_step *step)
{
	const cuda_driver	 *d = s->driver;
	const cuda_grid		 *grid = &step->grid;
	void				 *parameter = (void *) (uintptr_t) step->args; /* the driver copies it */
	cuda_launch_attribute early = {.what = CUDA_MAY_BEGIN_EARLY, .value = {1}};
	cuda_launch_config	  config = {.x = grid->x,
									.y = grid->y,
									.z = grid->z,
									.threads_x = step->threads,
									.threads_y = 1,
									.threads_z = 1,
									.shared = step->shared,
									.stream = s->stream,
									.attribute = &early,
									.n_attributes = 1};

	if (s->dependent && s->after_launch)
		return d->launch_by(&config, s->function[step->what], &parameter, NULL);
	return d->launch(s->function[step->what], grid->x, grid->y, grid->z, step->threads, 1, 1,
					 step->shared, s->stream, &parameter, NULL);
}

void
cuda_stream_do(cuda_stream *s, const cuda_step *step)
{
	const cuda_driver *d = s->driver;

	if (s->failed)
		return;
	if (step->what == CUDA_STEP_PUT)
		cuda_stream_note(s, d->copy_to(step->there, step->host, step->bytes, s->stream), "copy_to");
	else if (step->what == CUDA_STEP_FETCH)
		cuda_stream_note(s, d->copy_from(step->host, step->there, step->bytes, s->stream),
						 "copy_from");
	else if (step->what == CUDA_STEP_COPY)
		cuda_stream_note(s,
						 d->copy_there(step->there, (uintptr_t) step->host, step->bytes, s->stream),
						 "copy_there");
	else
		cuda_stream_note(s, launch_step(s, step), cuda_kernel_names[step->what]);
	s->after_launch = step->what >= 0;
}

static void
take_or_do(cuda_stream *s, const cuda_step *step)
{
	if (s->take == NULL || !s->take(s->taker, step))
		cuda_stream_do(s, step);
}

static void
launch(void *arg, cuda_kernel kernel, cuda_grid grid, unsigned threads, unsigned shared,
	   const void *args, size_t bytes)
{
	cuda_step step = {
		.what = (int) kernel, .threads = threads, .shared = shared, .bytes = bytes, .grid = grid};

	memcpy(step.args, args, bytes);
	take_or_do(arg, &step);
}

bool
cuda_stream_open(cuda_stream *s, const cuda_driver *driver, void **function, glm_error *err)
{
	*s = (cuda_stream){.driver = driver, .function = function};
	s->launcher = (cuda_launcher){launch, s};
	return CUDA(driver, err, stream_open, &s->stream, CUDA_NON_BLOCKING);
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
	cuda_step step = {
		.what = CUDA_STEP_PUT, .bytes = bytes, .there = to, .host = (void *) (uintptr_t) from};

	if (bytes > 0)
		take_or_do(s, &step);
}

void
cuda_stream_put_first(cuda_stream *s, uint64_t to, const void *from, size_t bytes)
{
	const cuda_step step = {
		.what = CUDA_STEP_PUT, .bytes = bytes, .there = to, .host = (void *) (uintptr_t) from};

	cuda_stream_do(s, &step);
}

void
cuda_stream_fetch(cuda_stream *s, void *to, uint64_t from, size_t bytes)
{
	cuda_step step = {.what = CUDA_STEP_FETCH, .bytes = bytes, .there = from, .host = to};

	if (bytes > 0)
		take_or_do(s, &step);
}

void
cuda_stream_copy(cuda_stream *s, uint64_t to, uint64_t from, size_t bytes)
{
	cuda_step step = {
		.what = CUDA_STEP_COPY, .bytes = bytes, .there = to, .host = (void *) (uintptr_t) from};

	take_or_do(s, &step);
}

bool
cuda_stream_wait(cuda_stream *s, glm_error *err)
{
	bool fine;

	/* what was put in before something failed uses memory of its caller's */
	cuda_stream_note(s, s->driver->stream_wait(s->stream), "stream_wait");
	fine = !s->failed;
	if (!fine)
		*err = s->why;
	s->failed = false;
	return fine;
}
