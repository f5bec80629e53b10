/*
 * gpu_wgmma.c - products of many rows by wgmma_*, which no device has run before: it is not
 * believed, neither that it is right nor that it is worth while.
 *
 * When a product comes for the first time that one of these kernels could do, it is done by
 * both, from the same and into the same place, whose numbers are spoiled before each.  If one
 * bit differs, or the driver refuses, none of these kernels is used any more, and that is said.
 * If it takes longer than the plain kernel, it alone is not used.  What counts is what the plain
 * kernel gave.  That takes some time of one pass, and for so long four times the product's
 * numbers of the host's memory, once for each of the six.
 *
 * A pass that may be a graph tries nothing: its steps are not done before it is complete.
 */
#include "cuda/gpu_wgmma.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/gpu_backend.h"

#define ROUNDS 3 /* that are timed, of which the fastest counts */

/* A product on trial. */
typedef struct trial
{
	cuda_gpu		  *dev;
	const packed_args *a;
	int				   dtype, group;
	size_t			   bytes;			 /* from the first of its numbers to the last */
	char			  *before, *spoiled; /* what c was, and what it is before each kernel */
	char			  *plain, *by_wgmma;
	void			  *begin, *end; /* events */
} trial;

static void
launch(const trial *t, cuda_kernel kind)
{
	cuda_packed_by(&t->dev->stream.launcher, kind, t->a, t->dtype, t->group);
}

static bool
put(const trial *t, const char *from)
{
	const cuda_stream *s = &t->dev->stream;

	return s->driver->copy_to((uintptr_t) t->a->c, from, t->bytes, s->stream) == CUDA_FINE;
}

static bool
fetch(const trial *t, char *to)
{
	const cuda_stream *s = &t->dev->stream;

	return s->driver->copy_from(to, (uintptr_t) t->a->c, t->bytes, s->stream) == CUDA_FINE &&
		   s->driver->stream_wait(s->stream) == CUDA_FINE;
}

/* What a kernel makes of it. */
static bool
outcome(const trial *t, cuda_kernel kind, char *to)
{
	if (!put(t, t->spoiled))
		return false;
	launch(t, kind);
	return fetch(t, to) && !t->dev->stream.failed;
}

static bool
time_of(const trial *t, cuda_kernel kind, float *us)
{
	const cuda_driver *d = t->dev->driver;
	void			  *stream = t->dev->stream.stream;

	*us = 0;
	for (int i = 0; i < ROUNDS; i++)
	{
		float ms = 0;

		if (d->event_record(t->begin, stream) != CUDA_FINE)
			return false;
		launch(t, kind);
		if (d->event_record(t->end, stream) != CUDA_FINE || d->event_wait(t->end) != CUDA_FINE ||
			d->event_elapsed(&ms, t->begin, t->end) != CUDA_FINE || t->dev->stream.failed)
			return false;
		if (i == 0 || ms * 1000 < *us)
			*us = ms * 1000;
	}
	return true;
}

/* Memory and events for it; what is added to must be what it was. */
static bool
prepare(trial *t)
{
	const cuda_driver *d = t->dev->driver;
	size_t			   row = (size_t) t->a->n * sizeof(float);

	t->bytes = ((size_t) t->a->m - 1) * t->a->ldc * sizeof(float) + row;
	t->before = malloc(4 * t->bytes);
	if (t->before == NULL || d->event_open(&t->begin, 0) != CUDA_FINE ||
		d->event_open(&t->end, 0) != CUDA_FINE || !fetch(t, t->before))
		return false;
	t->spoiled = t->before + t->bytes;
	t->plain = t->spoiled + t->bytes;
	t->by_wgmma = t->plain + t->bytes;
	memcpy(t->spoiled, t->before, t->bytes);
	for (int i = 0; !t->a->add && i < t->a->m; i++)
		memset(t->spoiled + (size_t) i * t->a->ldc * sizeof(float), 0xfb, row);
	return true;
}

static void
forget(const trial *t)
{
	const cuda_stream *s = &t->dev->stream;

	/* whatever it is doing must not come later, into memory that was given back */
	if (s->driver->stream_wait(s->stream) != CUDA_FINE)
		return;
	if (t->begin != NULL)
		t->dev->driver->event_close(t->begin);
	if (t->end != NULL)
		t->dev->driver->event_close(t->end);
	free(t->before);
}

/* Leaves in c what the plain kernel gives; NULL: both give it, else why it is dropped. */
static const char *
compare(trial *t, float *us, float *plain_us)
{
	const char *why = "the driver refuses";

	if (time_of(t, GLM_CUDA_wgmma_q4_32, us) && time_of(t, GLM_CUDA_many_q4_32, plain_us) &&
		outcome(t, GLM_CUDA_wgmma_q4_32, t->by_wgmma) && outcome(t, GLM_CUDA_many_q4_32, t->plain))
		why = memcmp(t->plain, t->by_wgmma, t->bytes) == 0 ? NULL
														   : "other bits than the plain kernel";
	else
	{
		/* what is wrong for good will be heard of from the plain kernel */
		t->dev->stream.failed = false;
		put(t, t->before);
		launch(t, GLM_CUDA_many_q4_32);
	}
	return why;
}

/* Does the product, and finds out whether the kernel can be used from now on. */
static void
try(cuda_gpu *dev, const packed_args *a, int dtype, int group, int *known)
{
	cuda_wgmma *w = &dev->wgmma;
	trial		t = {.dev = dev, .a = a, .dtype = dtype, .group = group};
	const char *why;

	if (!prepare(&t))
	{
		/* another time */
		forget(&t);
		launch(&t, GLM_CUDA_many_q4_32);
		return;
	}
	why = compare(&t, &w->us, &w->plain_us);
	forget(&t);
	if (why != NULL)
	{
		snprintf(w->why, sizeof(w->why), "%s", why);
		atomic_store(&w->dropped, true);
		return;
	}
	*known = w->us <= w->plain_us ? CUDA_WGMMA_USED : CUDA_WGMMA_SLOWER;
	atomic_fetch_add(*known == CUDA_WGMMA_USED ? &w->n_used : &w->n_slower, 1);
}

void
cuda_multiply(cuda_gpu *dev, const packed_args *a, int dtype, int group)
{
	cuda_kernel kind = cuda_packed_kind(a), kernel;
	cuda_wgmma *w = &dev->wgmma;
	int		   *known;

	kernel = cuda_packed_kernel(GLM_CUDA_wgmma_q4_32, dtype, group);
	known = &w->known[kernel - GLM_CUDA_wgmma_q4_32];
	if (kind == GLM_CUDA_many_q4_32 && dev->function[kernel] != NULL && !dev->stream.failed &&
		!atomic_load(&w->dropped) && !atomic_load(&dev->graphs.off))
	{
		if (*known == CUDA_WGMMA_UNTRIED && !dev->graphs.records)
		{
			try(dev, a, dtype, group, known);
			return;
		}
		if (*known == CUDA_WGMMA_USED)
			kind = GLM_CUDA_wgmma_q4_32;
	}
	cuda_packed_by(&dev->stream.launcher, kind, a, dtype, group);
}

bool
cuda_wgmma_tell(const cuda_gpu *dev, glm_tuned *out)
{
	const cuda_wgmma *w = &dev->wgmma;

	if (dev->function[GLM_CUDA_wgmma_q4_32] == NULL)
		return false;
	*out = (glm_tuned){.what = "wgmma", .dropped = atomic_load(&w->dropped)};
	if (out->dropped)
		snprintf(out->how, sizeof(out->how), "dropped: %s", w->why);
	else
		snprintf(out->how, sizeof(out->how), "%d kernels used, %d slower", atomic_load(&w->n_used),
				 atomic_load(&w->n_slower));
	return true;
}
