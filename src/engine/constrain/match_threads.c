/*
 * match_threads.c - lists of places where matches are, and which of them were seen.
 */
#include "engine/constrain/match_threads.h"

#include <stdlib.h>

#define FIRST_SEEN 64

void
glm_threads_add(glm_arena *arena, glm_threads *list, glm_thread t)
{
	list->at = glm_arena_grow(arena, list->at, sizeof(t), &list->capacity, list->n + 1);
	list->at[list->n++] = t;
}

static int
by_thread(const void *a, const void *b)
{
	glm_thread x = *(const glm_thread *) a;
	glm_thread y = *(const glm_thread *) b;

	return (x > y) - (x < y);
}

void
glm_threads_sort(glm_threads *list)
{
	bool sorted = true;

	for (int i = 1; i < list->n && sorted; i++)
		sorted = list->at[i - 1] <= list->at[i];
	if (!sorted)
		qsort(list->at, (size_t) list->n, sizeof(glm_thread), by_thread);
}

static bool
see(glm_threads_seen *seen, glm_thread t)
{
	uint32_t mask = (uint32_t) seen->capacity - 1;
	uint32_t i = (uint32_t) ((t * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & mask;

	for (; seen->round_of[i] == seen->round; i = (i + 1) & mask)
		if (seen->at[i] == t)
			return true;
	seen->at[i] = t;
	seen->round_of[i] = seen->round;
	seen->n++;
	return false;
}

static void
make_larger(glm_arena *arena, glm_threads_seen *seen)
{
	glm_threads_seen old = *seen;
	int				 n = old.capacity > 0 ? 2 * old.capacity : FIRST_SEEN;

	*seen = (glm_threads_seen){.round = old.round, .capacity = n};
	seen->at = GLM_NEW(arena, glm_thread, n);
	seen->round_of = GLM_NEW(arena, uint32_t, n);
	for (int i = 0; i < old.capacity; i++)
		if (old.round_of[i] == old.round)
			see(seen, old.at[i]);
}

bool
glm_threads_see(glm_arena *arena, glm_threads_seen *seen, glm_thread t)
{
	if (2 * seen->n >= seen->capacity)
		make_larger(arena, seen);
	return see(seen, t);
}
