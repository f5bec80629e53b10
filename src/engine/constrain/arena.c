/*
 * arena.c - memory that is given back all at once.
 *
 * Blocks are taken as they are needed, each at least as large as all before it together up
 * to a bound, so that a small schema costs little and a large one few calls.  What is given
 * back to a mark stays in its block; blocks behind it are freed.
 */
#include "engine/constrain/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 16
#define FIRST_BLOCK ((size_t) 4 * 1024)
#define LARGEST_BLOCK ((size_t) 1024 * 1024)

struct glm_arena_block
{
	glm_arena_block *before;
	size_t			 size; /* bytes behind this header */
	size_t			 at;   /* of them taken */
	_Alignas(ALIGN) char bytes[];
};

void
glm_arena_init(glm_arena *arena, size_t limit)
{
	*arena = (glm_arena){.limit = limit};
}

static void
drop_last(glm_arena *arena)
{
	glm_arena_block *block = arena->last;

	arena->last = block->before;
	arena->used -= block->size;
	free(block);
}

void
glm_arena_free(glm_arena *arena)
{
	while (arena->last != NULL)
		drop_last(arena);
}

static void
add_block(glm_arena *arena, size_t n)
{
	size_t			 size = arena->used < FIRST_BLOCK	  ? FIRST_BLOCK
							: arena->used < LARGEST_BLOCK ? arena->used
														  : LARGEST_BLOCK;
	glm_arena_block *block;

	size = size < n ? n : size;
	if (size > arena->limit - arena->used)
	{
		arena->full = true;
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "constraint takes more than %zu MB",
					   arena->limit >> 20);
	}
	block = GLM_INJECT("arena") ? NULL : malloc(sizeof(*block) + size);
	if (block == NULL)
		glm_arena_fail(arena, GLM_NO_ROOM, "out of memory");
	*block = (glm_arena_block){.before = arena->last, .size = size};
	arena->last = block;
	arena->used += size;
}

void *
glm_arena_get(glm_arena *arena, size_t n)
{
	glm_arena_block *block;
	void			*p;

	if (n > SIZE_MAX / 4)
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "constraint takes more than %zu MB",
					   arena->limit >> 20);
	n = (n + ALIGN - 1) / ALIGN * ALIGN;
	if (arena->last == NULL || n > arena->last->size - arena->last->at)
		add_block(arena, n);
	block = arena->last;
	p = block->bytes + block->at;
	block->at += n;
	return memset(p, 0, n);
}

char *
glm_arena_copy(glm_arena *arena, const void *bytes, size_t n)
{
	char *copy = glm_arena_get(arena, n + 1);

	if (n > 0)
		memcpy(copy, bytes, n);
	return copy;
}

void *
glm_arena_grow(glm_arena *arena, void *old, size_t size, int *capacity, int count)
{
	int	  n = *capacity > 0 ? *capacity : 4;
	void *larger;

	if (count <= *capacity)
		return old;
	while (n < count)
		n += n < count / 2 ? count / 2 : n;
	larger = glm_arena_get(arena, size * (size_t) n);
	if (*capacity > 0)
		memcpy(larger, old, size * (size_t) *capacity);
	*capacity = n;
	return larger;
}

glm_arena_mark
glm_arena_here(const glm_arena *arena)
{
	return (glm_arena_mark){arena->last, arena->last != NULL ? arena->last->at : 0};
}

void
glm_arena_back(glm_arena *arena, glm_arena_mark mark)
{
	while (arena->last != mark.block)
		drop_last(arena);
	if (arena->last != NULL)
		arena->last->at = mark.at;
}

void
glm_arena_pause(glm_arena *arena)
{
	if (!glm_pause(arena->err))
		longjmp(*arena->escape, 1);
}

void
glm_arena_fail(glm_arena *arena, glm_status status, const char *fmt, ...)
{
	char	message[sizeof(arena->err->message)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	glm_fail(arena->err, status, "%s", message);
	longjmp(*arena->escape, 1);
}
