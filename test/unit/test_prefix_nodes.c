/*
 * test_prefix_nodes.c - where the index of shared KV blocks has its memory: what it keeps for
 * good lies together, and not between what requests take and free.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "engine/serve/prefix.h"
#include "engine/serve/prefix_index.h"

#define CHAINS 512
#define PAGE 4096
#define LEFT_BY_A_REQUEST 20

static int
compare(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *) a, y = *(const uintptr_t *) b;

	return (x > y) - (x < y);
}

/* Pages that hold at least one of these nodes. */
static int
count_pages(const glm_chain *chain)
{
	uintptr_t page[CHAINS];
	int		  n = 1;

	for (int i = 0; i < CHAINS; i++)
		page[i] = (uintptr_t) chain[i].node[0] / PAGE;
	qsort(page, CHAINS, sizeof(*page), compare);
	for (int i = 1; i < CHAINS; i++)
		n += page[i] != page[i - 1];
	return n;
}

static void
nodes_lie_together(void **state)
{
	static glm_chain chain[CHAINS];
	static void		*of_request[CHAINS][LEFT_BY_A_REQUEST];
	glm_kv_pool		*pool = glm_kv_pool_open((size_t) 1 << 20);
	glm_prefix		*prefix = glm_prefix_open(pool, NULL, NULL);

	(void) state;
	assert_true(pool && prefix);
	for (int i = 0; i < CHAINS; i++)
	{
		for (int j = 0; j < LEFT_BY_A_REQUEST; j++)
			of_request[i][j] = malloc(sizeof(glm_cached));
		assert_true(glm_chain_open(prefix, &chain[i], 1, GLM_KV_UNIT, 1, 1));
		assert_true(glm_chain_grow(prefix, &chain[i]));
	}
	assert_in_range(count_pages(chain), 1, CHAINS * sizeof(glm_cached) / PAGE * 3 / 2);

	for (int i = 0; i < CHAINS; i++)
	{
		for (int j = 0; j < LEFT_BY_A_REQUEST; j++)
			free(of_request[i][j]);
		glm_chain_close(prefix, &chain[i]);
	}
	glm_prefix_close(prefix);
	glm_kv_pool_close(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_lie_together),
	};

	return cmocka_run_group_tests_name("prefix nodes", tests, NULL, NULL);
}
