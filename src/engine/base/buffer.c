/*
 * buffer.c - a growable byte buffer, a growable list of ids.
 *
 * The buffer remembers that memory ran out instead of telling each caller:
 * build a whole text, look at `failed` once.  The list tells at once, as its
 * callers have an error to fill anyway.
 *
 * No locks: buffers and lists belong to their caller.
 */
#include "engine/base/base.h"

#include <stdlib.h>
#include <string.h>

/* ---- Buffer ----------------------------------------------------------- */

static bool
reserve_bytes(glm_buf *buf, size_t n)
{
	size_t capacity = buf->capacity ? buf->capacity : 64;
	char  *data;

	/* one byte more than asked, for the NUL; half of the address space is a bug */
	if (n >= SIZE_MAX / 4 - buf->length || GLM_INJECT("buffer"))
		return false;
	if (n < buf->capacity - buf->length)
		return true;
	while (capacity - buf->length <= n)
		capacity *= 2;
	data = realloc(buf->data, capacity);
	if (data == NULL)
		return false;
	buf->data = data;
	buf->capacity = capacity;
	return true;
}

void
glm_buf_add(glm_buf *buf, const void *bytes, size_t n)
{
	if (buf->failed)
		return;
	if (!reserve_bytes(buf, n))
	{
		buf->failed = true;
		return;
	}
	if (n > 0)
		memcpy(buf->data + buf->length, bytes, n);
	buf->length += n;
	buf->data[buf->length] = '\0';
}

void
glm_buf_puts(glm_buf *buf, const char *s)
{
	glm_buf_add(buf, s, strlen(s));
}

void
glm_buf_free(glm_buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

/* ---- List of ids ------------------------------------------------------ */

bool
glm_ids_add(glm_ids *ids, int32_t id, glm_error *err)
{
	if (ids->counted)
	{
		ids->length++;
		return true;
	}
	if (ids->length == ids->capacity)
	{
		size_t	 capacity = ids->capacity ? 2 * ids->capacity : 64;
		int32_t *data = NULL;

		if (capacity <= SIZE_MAX / 2 / sizeof(int32_t))
			data = realloc(ids->data, capacity * sizeof(int32_t));
		if (data == NULL)
			return glm_no_memory(err);
		ids->data = data;
		ids->capacity = capacity;
	}
	ids->data[ids->length++] = id;
	return true;
}

void
glm_ids_free(glm_ids *ids)
{
	free(ids->data);
	memset(ids, 0, sizeof(*ids));
}
