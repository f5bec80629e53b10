/*
 * host_buffer.c - where results come home to from a device with memory of its own.
 *
 * Pinned memory is always there, whether somebody wants results or not; other memory costs
 * nothing before it is touched.  So the first is for results of usual size.
 */
#include "engine/compute/host_buffer.h"

#include <stdlib.h>

#include "engine/base/base.h"

#define MOST_PINNED (((size_t) 32 << 20) / sizeof(float))

/* What cannot be pinned goes to other memory, as it would without. */
static void
grow_pinned(glm_host_buffer *buffer, const glm_backend *backend, glm_device *dev, size_t size)
{
	glm_error none;
	float	 *bigger;

	size = size < MOST_PINNED ? size : MOST_PINNED;
	if (backend->pinned_take == NULL || size <= buffer->pinned_size)
		return;
	bigger = backend->pinned_take(dev, size * sizeof(float), &none);
	if (bigger == NULL)
		return;
	if (buffer->pinned != NULL)
		backend->pinned_give(dev, buffer->pinned);
	buffer->pinned = bigger;
	buffer->pinned_size = size;
}

bool
glm_host_buffer_grow(glm_host_buffer *buffer, const glm_backend *backend, glm_device *dev,
					 size_t size)
{
	float *bigger;

	grow_pinned(buffer, backend, dev, size);
	if (size <= buffer->size)
		return true;
	bigger = malloc(size * sizeof(*bigger));
	if (bigger == NULL)
		return false;
	free(buffer->data);
	buffer->data = bigger;
	buffer->size = size;
	return true;
}

void
glm_host_buffer_free(glm_host_buffer *buffer, const glm_backend *backend, glm_device *dev)
{
	if (buffer->pinned != NULL)
		backend->pinned_give(dev, buffer->pinned);
	free(buffer->data);
}

float *
glm_host_buffer_bring(const glm_host_buffer *buffer, const glm_backend *backend, glm_device *dev,
					  glm_mem from, size_t all, size_t first, size_t n)
{
	float *data = all <= buffer->pinned_size ? buffer->pinned : buffer->data;

	if (n == 0)
		return NULL;
	if (buffer->data == NULL)
		return (float *) from.at;
	backend->read(dev, data + first, glm_at(from, first), n * sizeof(float));
	return data;
}

float *
glm_host_buffer_bring_rows(const glm_host_buffer *buffer, const glm_backend *backend,
						   glm_device *dev, glm_mem from, int n, size_t width,
						   const glm_pick *picks)
{
	float *data = NULL;

	for (int i = 0, end; i < n; i = end + 1)
	{
		for (end = i; end < n && (picks == NULL || picks[end].n_ids == 0);)
			end++;
		if (end > i)
			data = glm_host_buffer_bring(buffer, backend, dev, from, (size_t) n * width,
										 (size_t) i * width, (size_t) (end - i) * width);
	}
	return data;
}
