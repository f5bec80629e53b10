/*
 * test_heap.c - memory that was freed goes back, the pages of small pieces too, which malloc keeps
 * for the thread that freed them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/base/heap.h"

#define OF_A_SIZE 7 /* that malloc keeps */
#define PIECES (40 * OF_A_SIZE)
#define PAGE ((uintptr_t) 4096)
#define BETWEEN ((size_t) 64 * 1024)

/* Is the page of this address in memory? */
static bool
is_resident(uintptr_t address)
{
	unsigned char there = 0;

	return mincore((void *) (address & ~(PAGE - 1)), PAGE, &there) == 0 && (there & 1) != 0;
}

static int
count_resident(const uintptr_t *piece)
{
	int n = 0;

	for (int i = 0; i < PIECES; i++)
		n += is_resident(piece[i]);
	return n;
}

/* Small pieces, each with nothing but free memory around it, and freed itself. */
static void
leave_behind(uintptr_t *piece, uintptr_t *between)
{
	void *small[PIECES], *large[PIECES];

	for (int i = 0; i < PIECES; i++)
	{
		size_t size = 200 + (size_t) (i / OF_A_SIZE) * 16;

		large[i] = malloc(BETWEEN);
		small[i] = malloc(size);
		assert_true(large[i] && small[i]);
		memset(large[i], 1, BETWEEN);
		memset(small[i], 1, size);
		piece[i] = (uintptr_t) small[i];
	}
	*between = (uintptr_t) large[PIECES / 2] + BETWEEN / 2;
	for (int i = 0; i < PIECES; i++)
	{
		free(large[i]);
		free(small[i]);
	}
}

static void
pages_of_small_pieces_go(void **state)
{
	uintptr_t piece[PIECES], between;

	(void) state;
	leave_behind(piece, &between);
	malloc_trim(0);
	if (is_resident(between))
		skip(); /* another malloc than glibc's */
	assert_true(count_resident(piece) > PIECES / 4 * 3);
	glm_heap_rest();
	assert_true(count_resident(piece) < PIECES / 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_of_small_pieces_go),
	};

	return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
