/*
 * match_threads.h - where the matches of a pattern are that were begun: lists of places, and which
 * were seen.
 */
#ifndef GLM_MATCH_THREADS_H
#define GLM_MATCH_THREADS_H

#include "engine/constrain/arena.h"

/* place, 32 bits; set in the middle of a character, 16; duty, 16 */
typedef uint64_t glm_thread;

typedef struct glm_threads
{
	glm_thread *at;
	int			n, capacity;
} glm_threads;

/* Which threads were seen since `round` was counted up. */
typedef struct glm_threads_seen
{
	glm_thread *at;
	uint32_t   *round_of;
	uint32_t	round;
	int			n, capacity; /* a power of two */
} glm_threads_seen;

static inline glm_thread
glm_thread_of(int place, int set, int duty)
{
	return (uint64_t) duty << 48 | (uint64_t) set << 32 | (uint32_t) place;
}

static inline int
glm_thread_place(glm_thread t)
{
	return (int) (t & UINT32_MAX);
}

static inline int
glm_thread_set(glm_thread t)
{
	return (int) (t >> 32 & UINT16_MAX);
}

static inline int
glm_thread_duty(glm_thread t)
{
	return (int) (t >> 48);
}

extern void glm_threads_add(glm_arena *arena, glm_threads *list, glm_thread t);
extern void glm_threads_sort(glm_threads *list);
/* Was this thread seen in this round?  It is from now on. */
extern bool glm_threads_see(glm_arena *arena, glm_threads_seen *seen, glm_thread t);

#endif /* GLM_MATCH_THREADS_H */
