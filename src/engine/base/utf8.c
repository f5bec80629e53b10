/*
 * text.c - a growable byte buffer, a growable list of ids, and UTF-8.
 *
 * The buffer remembers that memory ran out instead of telling each caller:
 * build a whole text, look at `failed` once.  The list tells at once, as its
 * callers have an error to fill anyway.  UTF-8 is what PostgreSQL takes
 * for it: no surrogates, nothing overlong, nothing above U+10FFFF.
 *
 * No locks: buffers and lists belong to their caller, the rest are pure functions.
 */
#include "engine/internal.h"

#include <stdlib.h>
#include <string.h>

#define CHECK_WINDOW ((size_t) 1 << 20) /* bytes looked at between two pauses */

/* ---- Buffer ----------------------------------------------------------- */

static bool
reserve(glm_buf *buf, size_t n)
{
	size_t capacity = buf->capacity ? buf->capacity : 64;
	char  *data;

	/* one byte more than asked, for the NUL; half of the address space is a bug */
	if (n >= SIZE_MAX / 4 - buf->length)
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
	if (!reserve(buf, n))
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

/* ---- UTF-8 ------------------------------------------------------------ */

/* Lowest and highest second byte after a lead byte, and the whole length. */
static int
lead_byte(unsigned char lead, unsigned char *low, unsigned char *high)
{
	*low = 0x80;
	*high = 0xBF;
	if (lead < 0x80)
		return 1;
	if (lead < 0xC2) /* a trail byte, or an overlong form */
		return -1;
	if (lead < 0xE0)
		return 2;
	if (lead < 0xF0)
	{
		if (lead == 0xE0) /* shorter is overlong */
			*low = 0xA0;
		if (lead == 0xED) /* above are surrogates */
			*high = 0x9F;
		return 3;
	}
	if (lead < 0xF5)
	{
		if (lead == 0xF0)
			*low = 0x90;
		if (lead == 0xF4) /* above is past U+10FFFF */
			*high = 0x8F;
		return 4;
	}
	return -1;
}

int
glm_utf8_length(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *) s;
	unsigned char		 low;
	unsigned char		 high;
	int					 length;

	if (n == 0)
		return 0;
	length = lead_byte(u[0], &low, &high);
	for (int i = 1; i < length; i++)
	{
		if ((size_t) i == n)
			return 0;
		if (u[i] < low || u[i] > high)
			return -1;
		low = 0x80;
		high = 0xBF;
	}
	return length;
}

/* Bytes at the beginning that are ASCII, in words. */
static size_t
ascii_length(const char *s, size_t n)
{
	size_t at = 0;

	for (uint64_t word; at + sizeof(word) <= n; at += sizeof(word))
	{
		memcpy(&word, s + at, sizeof(word));
		if ((word & UINT64_C(0x8080808080808080)) != 0)
			break;
	}
	return at;
}

ptrdiff_t
glm_utf8_check(const char *s, size_t n)
{
	size_t at = 0;

	while (at < n)
	{
		int length;

		if ((unsigned char) s[at] < 0x80)
		{
			at += ascii_length(s + at, n - at);
			if (at == n)
				break;
		}
		length = glm_utf8_length(s + at, n - at);
		if (length <= 0)
			return (ptrdiff_t) at;
		at += length;
	}
	return -1;
}

bool
glm_utf8_check_long(const char *s, size_t n, ptrdiff_t *bad, glm_error *err)
{
	size_t at = 0;

	for (size_t left; (left = n - at) > 0;)
	{
		size_t window = left < CHECK_WINDOW ? left : CHECK_WINDOW;

		*bad = glm_utf8_check(s + at, window);
		/* a character that the window's end cuts in two begins the next window */
		if (*bad >= 0 && (left == window || glm_utf8_length(s + at + *bad, left - *bad) <= 0))
		{
			*bad += (ptrdiff_t) at;
			return true;
		}
		at += *bad >= 0 ? (size_t) *bad : window;
		if (!glm_pause(err))
			return false;
	}
	*bad = -1;
	return true;
}
