/*
 * gpus.c - one GPU or several as one device: opened, models on them, their memory.
 *
 * How layers are divided depends on the model and on the GPUs' memory, not on what is free of
 * it, so it is the same whenever it is asked for.  Answers do not depend on it.
 */
#include "cuda/gpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Opening --------------------------------------------------------------------------- */

/* Where GPUs reach each other's memory copies need no way through the host's; else they take it. */
static void
open_ways(const glm_device *dev)
{
	for (int i = 0; i < dev->n; i++)
		for (int j = 0; j < dev->n; j++)
		{
			const cuda_driver *d = dev->gpu[i]->driver;
			int				   can = 0;

			if (i == j || d->peer_can(&can, dev->gpu[i]->device, dev->gpu[j]->device) != CUDA_FINE)
				continue;
			cuda_enter(dev->gpu[i]);
			if (can)
				d->peer_open(dev->gpu[j]->context, 0);
		}
}

glm_device *
cuda_gpus_open(const int *which, int n, const char *kernels, glm_threads *pool,
			   glm_arithmetic arithmetic, glm_error *err)
{
	glm_device *dev = calloc(1, sizeof(*dev));

	(void) kernels; /* the CPU's */
	(void) pool;
	if (dev == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	while (dev->n < n)
	{
		cuda_gpu *gpu = cuda_open(which[dev->n], err);

		if (gpu == NULL)
		{
			cuda_gpus_close(dev);
			return NULL;
		}
		gpu->info.arithmetic = arithmetic;
		dev->last[dev->n] = dev->n;
		dev->gpu[dev->n++] = gpu;
	}
	open_ways(dev);
	return dev;
}

void
cuda_gpus_close(glm_device *dev)
{
	for (int i = 0; i < dev->n; i++)
		cuda_close(dev->gpu[i]);
	while (dev->buffers != NULL)
	{
		cuda_buffer *next = dev->buffers->next;

		free(dev->buffers);
		dev->buffers = next;
	}
	free(dev);
}

bool
cuda_gpus_lost(const glm_device *dev)
{
	bool lost = false;

	for (int i = 0; i < dev->n; i++)
		lost |= cuda_lost(dev->gpu[i]);
	return lost;
}

/* ---- Places ------------------------------------------------------------------------------ */

int
cuda_gpus_places(const glm_device *dev)
{
	return dev->n > 1 ? dev->n + 1 : 1;
}

/* "2 x NVIDIA H200", or each by its name where they are of different kinds. */
static void
name_all(const glm_device *dev, char *name, size_t room)
{
	bool   alike = true;
	size_t length;

	for (int i = 1; i < dev->n; i++)
		alike &= strcmp(dev->gpu[i]->info.name, dev->gpu[0]->info.name) == 0;
	length =
		alike ? (size_t) snprintf(name, room, "%d x %.80s", dev->n, dev->gpu[0]->info.name) : 0;
	for (int i = 0; !alike && i < dev->n && length < room; i++)
		length += (size_t) snprintf(name + length, room - length, "%s%s", i > 0 ? ", " : "",
									dev->gpu[i]->info.name);
}

void
cuda_gpus_info(const glm_device *dev, int place, glm_device_info *info)
{
	int first = cuda_first_of(dev, place), end = cuda_end_of(dev, place);

	cuda_info(dev->gpu[first], info);
	for (int i = first + 1; i < end; i++)
	{
		glm_device_info one;

		cuda_info(dev->gpu[i], &one);
		info->bytes += one.bytes;
		info->bytes_free = one.bytes_free < info->bytes_free ? one.bytes_free : info->bytes_free;
	}
	info->devices = end - first;
	if (info->devices > 1)
		name_all(dev, info->name, sizeof(info->name));
}

/* ---- Models ------------------------------------------------------------------------------ */

/* The first layer of GPU i, of all where the model is divided. */
static int
first_layer(const glm_device *dev, const glm_model *model, int i)
{
	double before = 0, all = 0;

	for (int j = 0; j < dev->n; j++)
	{
		all += (double) dev->gpu[j]->info.bytes;
		before += j < i ? (double) dev->gpu[j]->info.bytes : 0;
	}
	return i == dev->n ? model->config.layers
					   : (int) (before / all * (double) model->config.layers + 0.5);
}

/* What GPU i has of a model at a place; false: nothing. */
static bool
span_of(const glm_device *dev, int place, const glm_model *model, int i, cuda_span *span)
{
	if (place < dev->n)
	{
		*span = (cuda_span){0, model->config.layers, true, true};
		return true;
	}
	*span = (cuda_span){first_layer(dev, model, i), first_layer(dev, model, i + 1), i == 0,
						i == dev->n - 1};
	return span->embedding || span->head || span->first < span->last;
}

void
cuda_gpus_need(const glm_device *dev, int place, const glm_model *model, int max_rows,
			   glm_footprint *need)
{
	size_t of_layer = model->kv_block_bytes / (size_t) model->config.layers;
	int	   first = cuda_first_of(dev, place), end = cuda_end_of(dev, place);

	*need = (glm_footprint){0};
	for (int i = first; i < end; i++)
	{
		glm_device_info info;
		cuda_span		span;
		uint64_t		bytes;
		size_t			block;

		if (!span_of(dev, place, model, i, &span))
			continue;
		bytes = cuda_weights_need(dev->gpu[i], model, &span, max_rows);
		block = of_layer * (size_t) (span.last - span.first);
		cuda_info(dev->gpu[i], &info);
		if (i == first || bytes + need->room > need->bytes + info.bytes_free)
		{
			need->bytes = bytes;
			need->room = info.bytes_free;
		}
		need->kv_block_bytes = block > need->kv_block_bytes ? block : need->kv_block_bytes;
	}
}

glm_weights *
cuda_gpus_load(glm_device *dev, int place, const glm_model *model, int segment, int max_rows,
			   glm_go_on go_on, void *arg, glm_error *err)
{
	glm_weights *w = calloc(1, sizeof(*w));

	if (w == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	w->place = place;
	if (segment != GLM_ALL_SEGMENTS)
	{
		glm_fail(err, GLM_UNSUPPORTED, "a GPU takes all of a model, not a segment");
		cuda_gpus_unload(dev, w);
		return NULL;
	}
	for (int i = cuda_first_of(dev, place); i < cuda_end_of(dev, place); i++)
	{
		cuda_span span;

		if (!span_of(dev, place, model, i, &span))
			continue;
		w->part[w->n] = cuda_load(dev->gpu[i], model, &span, max_rows, go_on, arg, err);
		if (w->part[w->n] == NULL)
		{
			cuda_gpus_unload(dev, w);
			return NULL;
		}
		w->on[w->n++] = i;
	}
	return w;
}

void
cuda_gpus_unload(glm_device *dev, glm_weights *w)
{
	for (int i = 0; i < w->n; i++)
		cuda_unload(dev->gpu[w->on[i]], w->part[i]);
	free(w);
}

int
cuda_gpus_place(const glm_weights *w)
{
	return w->place;
}

/* ---- Memory -------------------------------------------------------------------------------- */

static uint64_t
name_of_buffer(const glm_device *dev, const cuda_buffer *b)
{
	return b->at[cuda_first_of(dev, b->place)];
}

static void
give_buffer(const glm_device *dev, cuda_buffer *b)
{
	for (int i = 0; i < dev->n; i++)
	{
		if (b->at[i] == 0)
			continue;
		cuda_enter(dev->gpu[i]);
		dev->gpu[i]->driver->memory_give(b->at[i]);
	}
	free(b);
}

/* As much of each GPU of a place; NULL and *err. */
static cuda_buffer *
take_buffer(const glm_device *dev, int place, size_t bytes, glm_error *err)
{
	cuda_buffer *b = calloc(1, sizeof(*b));

	if (b == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	b->place = place;
	b->bytes = bytes;
	for (int i = cuda_first_of(dev, place); i < cuda_end_of(dev, place); i++)
	{
		b->at[i] = cuda_take(dev->gpu[i], bytes, err);
		if (b->at[i] == 0)
		{
			give_buffer(dev, b);
			return NULL;
		}
	}
	return b;
}

glm_mem
cuda_gpus_alloc(glm_device *dev, int place, size_t bytes, glm_error *err)
{
	cuda_buffer *b = take_buffer(dev, place, bytes, err);

	if (b == NULL)
		return GLM_NO_MEM;
	b->next = dev->buffers;
	dev->buffers = b;
	return (glm_mem){name_of_buffer(dev, b)};
}

void
cuda_gpus_free(glm_device *dev, glm_mem m)
{
	for (cuda_buffer **at = &dev->buffers; *at != NULL; at = &(*at)->next)
	{
		cuda_buffer *b = *at;

		if (name_of_buffer(dev, b) != m.at)
			continue;
		*at = b->next;
		give_buffer(dev, b);
		return;
	}
}

glm_mem
cuda_gpus_memory(const glm_device *dev, int gpu, glm_mem m)
{
	for (const cuda_buffer *b = dev->buffers; b != NULL; b = b->next)
	{
		uint64_t offset = m.at - name_of_buffer(dev, b);

		if (b->place == dev->n && offset < b->bytes)
			return (glm_mem){b->at[gpu] + offset};
	}
	return m;
}

glm_mem
cuda_gpus_kv_pool(glm_device *dev, int place, size_t bytes, glm_error *err)
{
	cuda_buffer *b = take_buffer(dev, place, bytes, err);
	glm_mem		 name;

	if (b == NULL)
		return GLM_NO_MEM;
	name.at = name_of_buffer(dev, b);
	for (int i = 0; i < dev->n; i++)
	{
		if (b->at[i] == 0)
			continue;
		if (place < dev->n)
			dev->gpu[i]->kv = b->at[i];
		else
			dev->gpu[i]->kv_shared = b->at[i];
	}
	free(b);
	return name;
}

void *
cuda_gpus_pinned_take(glm_device *dev, size_t bytes, glm_error *err)
{
	cuda_gpu *gpu = dev->gpu[0];
	void	 *memory = NULL;

	cuda_enter(gpu);
	if (CUDA(gpu->driver, err, pinned_take, &memory, bytes, CUDA_PORTABLE))
		return memory;
	cuda_lives(gpu);
	return NULL;
}

void
cuda_gpus_pinned_give(glm_device *dev, void *memory)
{
	cuda_enter(dev->gpu[0]);
	dev->gpu[0]->driver->pinned_give(memory);
}
