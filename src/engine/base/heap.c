/*
 * heap.c - memory that was freed goes back to the system.
 *
 * glibc's malloc_trim() gives back whole pages without a piece in use.  But a small piece that
 * is freed is in use for it as long as the thread that freed it keeps it for its next malloc():
 * some of each size, wherever they lie, so that after a rush some hundred pages are held by
 * nothing else.  There is no call that takes them from a thread.  So it exchanges them: having
 * taken all that are kept and as many again, it frees the latter first, which are kept
 * instead of the others.  They come from few places, as what is free was joined before.
 */
#include "engine/base/heap.h"

#include <malloc.h>
#include <stdlib.h>

#define KEPT 7 /* of each size, by one thread */
#define SMALLEST 24
#define STEP 16
#define SIZES 64

/* Volatile, so that no compiler finds that nothing is done with them. */
typedef void *volatile pieces[SIZES][KEPT];

static void
take(pieces piece)
{
	for (int i = 0; i < SIZES; i++)
		for (int j = 0; j < KEPT; j++)
			piece[i][j] = malloc(SMALLEST + (size_t) i * STEP);
}

static void
give(pieces piece)
{
	for (int i = 0; i < SIZES; i++)
		for (int j = 0; j < KEPT; j++)
			free(piece[i][j]);
}

void
glm_heap_rest(void)
{
	pieces before, instead;

	malloc_trim(0);
	take(before);
	take(instead);
	give(instead);
	give(before);
	malloc_trim(0);
}
