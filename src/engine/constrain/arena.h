/*
 * arena.h - memory that is given back all at once, with a limit, and the way out of deep work.
 *
 * Everything that is made of a schema or a pattern lies in an arena.  What cannot go on, be
 * it for lack of memory or because of what the schema says, leaves with glm_arena_fail() for
 * the place that armed `escape` (a jmp_buf of the frame that called setjmp()): nothing between
 * the two holds anything but memory of arenas.  An arena belongs to whoever works with it;
 * no locks.
 */
#ifndef GLM_ARENA_H
#define GLM_ARENA_H

#include <setjmp.h>

#include "engine/base/base.h"

typedef struct glm_arena_block glm_arena_block;

typedef struct glm_arena
{
	glm_arena_block *last;	 /* the newest; each knows the one before it */
	size_t			 used;	 /* bytes of all blocks, what was given back not counted */
	size_t			 limit;	 /* of them */
	bool			 full;	 /* it was reached once */
	jmp_buf			*escape; /* where glm_arena_fail() goes */
	glm_error		*err;	 /* what it fills in */
} glm_arena;

/* A place to come back to. */
typedef struct glm_arena_mark
{
	glm_arena_block *block;
	size_t			 at;
} glm_arena_mark;

extern void glm_arena_init(glm_arena *arena, size_t limit);
extern void glm_arena_free(glm_arena *arena);

/* n bytes of zeros, aligned for anything.  GLM_TOO_COMPLEX past the limit. */
extern void *glm_arena_get(glm_arena *arena, size_t n);
/* A copy with a NUL behind it. */
extern char *glm_arena_copy(glm_arena *arena, const void *bytes, size_t n);
/* Room for `count` elements of `size` bytes where *capacity had room for fewer; the old ones are copied. */
extern void *glm_arena_grow(glm_arena *arena, void *old, size_t size, int *capacity, int count);

extern glm_arena_mark glm_arena_here(const glm_arena *arena);
/* Gives back what was taken since. */
extern void			  glm_arena_back(glm_arena *arena, glm_arena_mark mark);

/* glm_pause(); leaves when the work is not wanted any more. */
extern void glm_arena_pause(glm_arena *arena);

extern void glm_arena_fail(glm_arena *arena, glm_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

/* n things of a type */
#define GLM_NEW(arena, type, n) ((type *) glm_arena_get(arena, sizeof(type) * (size_t) (n)))

#endif /* GLM_ARENA_H */
