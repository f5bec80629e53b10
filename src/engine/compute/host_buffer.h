/*
 * host_buffer.h - where results come home to from a device with memory of its own.
 */
#ifndef GLM_HOST_BUFFER_H
#define GLM_HOST_BUFFER_H

#include "engine/compute/backend.h"

/* Few floats to memory that the device reaches best, if there is any, more to any; zeroed at first. */
typedef struct glm_host_buffer
{
	float *data;
	size_t size;
	float *pinned;
	size_t pinned_size;
} glm_host_buffer;

/* Room for so many floats; false: out of memory, and it is as it was. */
extern bool	  glm_host_buffer_grow(glm_host_buffer *buffer, const glm_backend *backend,
								   glm_device *dev, size_t size);
/* Before the device is closed. */
extern void	  glm_host_buffer_free(glm_host_buffer *buffer, const glm_backend *backend,
								   glm_device *dev);
/* Where n floats go, for which there is room. */
extern float *glm_host_buffer_for(const glm_host_buffer *buffer, size_t n);

#endif /* GLM_HOST_BUFFER_H */
