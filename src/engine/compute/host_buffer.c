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
glm_host_buffer_for(const glm_host_buffer *buffer, size_t n)
{
	return n <= buffer->pinned_size ? buffer->pinned : buffer->data;
}
