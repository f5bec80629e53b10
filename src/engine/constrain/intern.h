/*
 * intern.h - an index of things that are kept once each.
 *
 * The things have the numbers 0, 1, 2 ... in the order they came in, and stay with whoever
 * compares them:
 *
 *     for (i = glm_intern_first(&index, hash); i >= 0; i = glm_intern_next(&index, i))
 *         if (thing i is the one)
 *             return i;
 *     make thing index.n; return glm_intern_add(arena, &index, hash);
 */
#ifndef GLM_INTERN_H
#define GLM_INTERN_H

#include "engine/constrain/arena.h"

typedef struct glm_intern
{
	uint64_t *hash; /* [n] */
	int		 *next; /* [n], of the same bucket, or -1 */
	int		  n;
	int		 *bucket; /* [n_buckets], a power of two; newest thing + 1, or 0 */
	int		  n_buckets;
} glm_intern;

extern uint64_t glm_hash_bytes(const void *bytes, size_t n);
/* 64 bits of n bytes behind others; never 0. */
extern uint64_t glm_mix(uint64_t hash, const void *bytes, size_t n);

/* The things that have this hash, one after the other; -1: no more. */
extern int glm_intern_first(const glm_intern *index, uint64_t hash);
extern int glm_intern_next(const glm_intern *index, int i);
/* The number of a new thing.  When it fails the index is as it was. */
extern int glm_intern_add(glm_arena *arena, glm_intern *index, uint64_t hash);

#endif /* GLM_INTERN_H */
