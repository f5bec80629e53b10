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
/*
 * Brings n floats behind the first `first` of `all` that are at `from`; where all of them are,
 * or would be, NULL if n is 0.  One that never grew has none: what is at `from` is the host's.
 */
extern float *glm_host_buffer_bring(const glm_host_buffer *buffer, const glm_backend *backend,
									glm_device *dev, glm_mem from, size_t all, size_t first,
									size_t n);
/* The same for the rows of n, so many floats each, that nothing is picked for; picks NULL: all. */
extern float *glm_host_buffer_bring_rows(const glm_host_buffer *buffer, const glm_backend *backend,
										 glm_device *dev, glm_mem from, int n, size_t width,
										 const glm_pick *picks);

#endif /* GLM_HOST_BUFFER_H */
