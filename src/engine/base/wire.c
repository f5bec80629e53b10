/*
 * wire.c - see wire.h.
 *
 * A message lies in memory of the one who reads it, or in a queue that its sender has left.
 * No locks: pure functions.
 */
#include "engine/base/base.h"

#include <stdalign.h>
#include <string.h>

bool
glm_fragment_check(const void *message, size_t size)
{
	const glm_fragment *piece = message;

	return (uintptr_t) message % alignof(glm_fragment) == 0 && size > GLM_FRAGMENT_HEADER &&
		   piece->id != 0 && piece->size >= sizeof(glm_request) && piece->size <= GLM_REQUEST_MAX &&
		   piece->offset < piece->size && size - GLM_FRAGMENT_HEADER <= piece->size - piece->offset;
}

bool
glm_fragment_put(const glm_fragment *piece, size_t size, void *block, uint32_t block_size,
				 uint32_t *received)
{
	size_t length = size - GLM_FRAGMENT_HEADER;

	if (piece->size != block_size || piece->offset != *received)
		return false;
	memcpy((char *) block + piece->offset, piece->bytes, length);
	*received += (uint32_t) length;
	return true;
}

bool
glm_event_check(const void *message, size_t size)
{
	const glm_event *event = message;

	return (uintptr_t) message % alignof(glm_event) == 0 && size >= sizeof(glm_event) &&
		   event->length <= GLM_EVENT_PAYLOAD && size == sizeof(glm_event) + event->length &&
		   event->kind >= GLM_EVENT_TOKEN && event->kind <= GLM_EVENT_ERROR &&
		   (event->kind != GLM_EVENT_TOKEN ||
			(event->told >= 0 && event->told <= (int32_t) event->length));
}

bool
glm_told_next(const char **at, const char *end, glm_told *told, const char **text)
{
	size_t left = (size_t) (end - *at);

	if (left < sizeof(*told))
		return false;
	memcpy(told, *at, sizeof(*told));
	if (left - sizeof(*told) < told->length)
		return false;
	*text = *at + sizeof(*told);
	*at = *text + told->length;
	return true;
}
