/*
 * utf8.c - UTF-8, as PostgreSQL takes it: no surrogates, nothing overlong,
 * nothing above U+10FFFF.  Pure functions.
 */
#include "engine/base/base.h"

#include <string.h>

#define CHECK_WINDOW ((size_t) 1 << 20) /* bytes looked at between two pauses */

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
