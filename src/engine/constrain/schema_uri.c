/*
 * schema_uri.c - URI references (RFC 3986, 5.2) and JSON pointers (RFC 6901) as texts.
 */
#include "engine/constrain/schema_compiler.h"

#include <ctype.h>
#include <string.h>

#define POINTER_MOST 200 /* bytes; messages have room for it */
#define TOKEN_MOST 100

/* ---- URI references --------------------------------------------------------------------------- */

/* Length of "scheme:", or 0. */
static size_t
scheme_length(const char *uri)
{
	size_t n = 0;

	if (!isalpha((unsigned char) uri[0]))
		return 0;
	while (isalnum((unsigned char) uri[n]) || (uri[n] != '\0' && strchr("+-.", uri[n]) != NULL))
		n++;
	return uri[n] == ':' ? n + 1 : 0;
}

/* Length of "scheme://authority", of which each may be missing. */
static size_t
origin_length(const char *uri)
{
	size_t n = scheme_length(uri);

	if (strncmp(uri + n, "//", 2) == 0)
		n += 2 + strcspn(uri + n + 2, "/?");
	return n;
}

/* Takes "." and ".." out of a path that begins with "/". */
static void
remove_dots(char *path)
{
	char	   *end = path + strcspn(path, "?");
	char	   *out = path;
	const char *at = path;

	while (at < end)
	{
		const char *next = memchr(at + 1, '/', (size_t) (end - at - 1));
		size_t		n = (size_t) ((next != NULL ? next : end) - at);
		bool		up = n == 3 && memcmp(at, "/..", 3) == 0;

		if (up)
			while (out > path && *--out != '/')
				continue;
		if (up || (n == 2 && memcmp(at, "/.", 2) == 0))
		{
			/* the last one leaves its slash */
			if (next == NULL)
				*out++ = '/';
		}
		else
		{
			memmove(out, at, n);
			out += n;
		}
		at += n;
	}
	memmove(out, end, strlen(end) + 1);
}

const char *
glm_uri_resolve(glm_arena *arena, const char *base, const char *reference)
{
	size_t origin = origin_length(base);
	size_t keep = strlen(base); /* of the base */
	char  *uri;

	if (reference[0] == '\0')
		return base;
	if (scheme_length(reference) > 0)
		keep = 0;
	else if (strncmp(reference, "//", 2) == 0)
		keep = scheme_length(base);
	else if (reference[0] == '/')
		keep = origin;
	else
	{
		keep = origin + strcspn(base + origin, "?");
		if (reference[0] != '?')
			while (keep > origin && base[keep - 1] != '/')
				keep--;
	}
	uri = glm_arena_get(arena, keep + strlen(reference) + 2);
	memcpy(uri, base, keep);
	/* a name right behind an authority */
	if (keep == origin && keep > scheme_length(base) && strchr("/?", reference[0]) == NULL)
		uri[keep++] = '/';
	strcpy(uri + keep, reference);
	origin = origin_length(uri);
	if (uri[origin] == '/')
		remove_dots(uri + origin);
	return uri;
}

/* ---- JSON pointers ---------------------------------------------------------------------------- */

/* Appends "/" and a token, of which a very long one is cut. */
static char *
put_token(char *out, const char *token)
{
	*out++ = '/';
	for (int i = 0; i < TOKEN_MOST && token[i] != '\0'; i++)
	{
		if (token[i] == '~' || token[i] == '/')
			*out++ = '~';
		*out++ = token[i] == '~' ? '0' : token[i] == '/' ? '1' : token[i];
	}
	return out;
}

const char *
glm_pointer_add(glm_arena *arena, const char *pointer, const char *first, const char *second)
{
	char   text[POINTER_MOST + 3 + 2 * (1 + 2 * TOKEN_MOST)];
	char  *end = stpcpy(text, pointer);
	size_t n;

	end = put_token(end, first);
	if (second != NULL)
		end = put_token(end, second);
	n = (size_t) (end - text);
	if (n > POINTER_MOST)
	{
		memmove(text + 3, end - (POINTER_MOST - 3), POINTER_MOST - 3);
		memcpy(text, "...", 3);
		n = POINTER_MOST;
	}
	return glm_arena_copy(arena, text, n);
}
