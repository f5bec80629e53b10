/*
 * test_prefix.c - shared KV blocks: what is found again, what is given up and
 * in which order, and that nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/prefix.h"
#include "engine/serve/prefix_index.h"

#define BLOCK_BYTES ((size_t) 256 * 1024)
#define MAX_BLOCKS 6

typedef struct setup
{
	glm_kv_pool *pool;
	glm_prefix	*prefix;
	float		*memory; /* of the pool's blocks */
	uint64_t	 scope;	 /* of chains that are opened */
	uint64_t	 random;
} setup;

static float *
block_at(const setup *s, const glm_chain *chain, int i)
{
	return s->memory + (size_t) chain->kv.block[i] * (GLM_KV_UNIT / sizeof(float));
}

static void
copy_block(void *arg, uint32_t to, uint32_t from, size_t bytes)
{
	const setup *s = arg;
	size_t		 unit = GLM_KV_UNIT / sizeof(float);

	memcpy(s->memory + to * unit, s->memory + from * unit, bytes);
}

static void
open_setup(setup *s, int blocks)
{
	memset(s, 0, sizeof(*s));
	s->pool = glm_kv_pool_open(blocks * BLOCK_BYTES);
	s->memory = calloc((size_t) blocks, BLOCK_BYTES);
	s->prefix = glm_prefix_open(s->pool, copy_block, s);
	assert_true(s->prefix && s->memory);
	s->scope = 1;
	s->random = 7;
}

/* Of model 0 or 1. */
static bool
open_chain(setup *s, glm_chain *chain, int model, uint64_t scope, int capacity)
{
	return glm_chain_open(s->prefix, chain, (uint64_t) model + 1, BLOCK_BYTES, scope, capacity);
}

static void
close_setup(setup *s)
{
	glm_prefix_stats stats;

	glm_prefix_stats_get(s->prefix, 0, &stats);
	assert_int_equal(stats.bytes_used, 0);
	glm_prefix_forget(s->prefix, 0);
	assert_int_equal(glm_kv_pool_used(s->pool), 0);
	glm_prefix_close(s->prefix);
	glm_kv_pool_close(s->pool);
	free(s->memory);
}

/* Tokens of a prompt: block i holds kind[i] everywhere. */
static void
make_tokens(int32_t *tokens, const char *kinds)
{
	for (size_t i = 0; i < strlen(kinds) * GLM_KV_BLOCK; i++)
		tokens[i] = kinds[i / GLM_KV_BLOCK];
}

/* What a block of this path must hold: a number that only its path makes. */
static float
path_value(const char *kinds, int i, int model)
{
	float value = (float) model + 1;

	for (int j = 0; j <= i; j++)
		value = value * 4 + (float) (kinds[j] - 'a');
	return value;
}

/* Runs a "sequence"; returns the blocks found, -1 when there was no room. */
static int
fill(setup *s, glm_chain *chain, const char *kinds, int model, bool index)
{
	int32_t tokens[MAX_BLOCKS * GLM_KV_BLOCK];
	int		n = (int) strlen(kinds);
	int		found = 0;

	make_tokens(tokens, kinds);
	assert_true(open_chain(s, chain, model, s->scope, n));
	while (index && found < n && glm_chain_adopt(s->prefix, chain, tokens + found * GLM_KV_BLOCK))
	{
		assert_true(block_at(s, chain, found)[0] == path_value(kinds, found, model));
		found++;
	}
	for (int i = found; i < n; i++)
	{
		if (!glm_chain_grow(s->prefix, chain))
		{
			glm_chain_close(s->prefix, chain);
			return -1;
		}
		block_at(s, chain, i)[0] = path_value(kinds, i, model);
		if (index)
			glm_chain_index(s->prefix, chain, tokens, (i + 1) * GLM_KV_BLOCK);
	}
	return found;
}

static void
found_again(void **state)
{
	setup	  s;
	glm_chain a, b, c;

	(void) state;
	open_setup(&s, 16);
	assert_int_equal(fill(&s, &a, "aab", 0, true), 0);
	assert_int_equal(fill(&s, &b, "aac", 0, true), 2);
	assert_int_equal(a.kv.block[1], b.kv.block[1]);
	assert_int_not_equal(a.kv.block[2], b.kv.block[2]);
	assert_int_equal(glm_kv_pool_used(s.pool), 4 * BLOCK_BYTES);
	assert_int_equal(fill(&s, &c, "aab", 1, true), 0); /* another model */
	glm_chain_close(s.prefix, &c);
	assert_int_equal(fill(&s, &c, "aab", 0, false), 0); /* opted out */
	glm_chain_close(s.prefix, &c);
	glm_chain_close(s.prefix, &a);
	glm_chain_close(s.prefix, &b);
	assert_int_equal(fill(&s, &a, "aab", 0, true), 3);
	glm_chain_close(s.prefix, &a);
	glm_prefix_forget(s.prefix, 1);
	assert_int_equal(fill(&s, &a, "aab", 0, true), 0);
	assert_int_equal(fill(&s, &b, "aab", 1, true), 3);
	glm_chain_close(s.prefix, &a);
	glm_chain_close(s.prefix, &b);
	close_setup(&s);
}

/* Two that compute the same block side by side end up with one. */
static void
computed_twice_kept_once(void **state)
{
	setup	  s;
	glm_chain a, b;
	int32_t	  tokens[2 * GLM_KV_BLOCK];

	(void) state;
	open_setup(&s, 8);
	make_tokens(tokens, "ab");
	assert_int_equal(fill(&s, &a, "ab", 0, false), 0);
	assert_int_equal(fill(&s, &b, "ab", 0, false), 0);
	glm_chain_index(s.prefix, &a, tokens, 63);
	glm_chain_index(s.prefix, &b, tokens, 64);
	glm_chain_index(s.prefix, &a, tokens, 64);
	assert_int_equal(a.kv.block[0], b.kv.block[0]);
	assert_int_equal(a.kv.block[1], b.kv.block[1]);
	assert_int_equal(glm_kv_pool_used(s.pool), 2 * BLOCK_BYTES);
	glm_chain_close(s.prefix, &a);
	glm_chain_close(s.prefix, &b);
	close_setup(&s);
}

static void
oldest_leaf_goes_first(void **state)
{
	setup			 s;
	glm_chain		 a, b;
	glm_prefix_stats stats;

	(void) state;
	open_setup(&s, 4);
	assert_int_equal(fill(&s, &a, "abc", 0, true), 0);
	glm_chain_close(s.prefix, &a);
	assert_int_equal(fill(&s, &b, "dd", 0, true), 0); /* one more than is free */
	assert_int_equal(fill(&s, &a, "ab", 0, true), 2); /* only the leaf went */
	glm_prefix_stats_get(s.prefix, 1, &stats);
	assert_int_equal(stats.evictions, 1);
	assert_int_equal(stats.bytes_used, 4 * BLOCK_BYTES);
	assert_int_equal(glm_prefix_room(s.prefix), 0);
	glm_chain_close(s.prefix, &a);
	assert_int_equal(fill(&s, &a, "ccc", 0, true), -1); /* held blocks stay */
	glm_chain_close(s.prefix, &b);
	close_setup(&s);
}

/* ---- Copies ---- */

/* A prompt of one full block, then one of `alike` equal tokens and others; what was copied. */
static int
part_after(setup *s, glm_chain *chain, int model, int alike, int n)
{
	int32_t tokens[2 * GLM_KV_BLOCK];

	make_tokens(tokens, "ab");
	for (int i = alike; i < GLM_KV_BLOCK; i++)
		tokens[GLM_KV_BLOCK + i] = 'x' + alike;
	assert_true(open_chain(s, chain, model, s->scope, 2));
	if (!glm_chain_adopt(s->prefix, chain, tokens))
		assert_true(glm_chain_grow(s->prefix, chain));
	return glm_chain_copy(s->prefix, chain, tokens + GLM_KV_BLOCK, n);
}

static void
copied_where_they_part(void **state)
{
	setup	  s;
	glm_chain a, b;

	(void) state;
	open_setup(&s, 8);
	assert_int_equal(fill(&s, &a, "ab", 0, true), 0);
	for (int alike = 0; alike < GLM_KV_BLOCK; alike++)
	{
		for (int n = 0; n < GLM_KV_BLOCK; n++)
		{
			int most = alike < n ? alike : n;
			int copied = part_after(&s, &b, 0, alike, n);

			assert_int_equal(copied, most >= GLM_ALIKE_MIN ? most : 0);
			assert_int_equal(b.kv.n_blocks, copied > 0 ? 2 : 1);
			if (copied > 0)
			{
				assert_int_not_equal(b.kv.block[1], a.kv.block[1]);
				assert_memory_equal(block_at(&s, &b, 1), block_at(&s, &a, 1), BLOCK_BYTES);
			}
			glm_chain_close(s.prefix, &b);
		}
	}
	/* not behind a block that is not indexed, nor another model's */
	assert_int_equal(part_after(&s, &b, 1, 20, 31), 0);
	glm_chain_close(s.prefix, &b);
	glm_chain_close(s.prefix, &a);
	close_setup(&s);
}

/* The block that shares most is taken, though a newer one begins alike too. */
static void
longest_is_copied(void **state)
{
	setup	  s;
	glm_chain a, b;
	int32_t	  tokens[GLM_KV_BLOCK];

	(void) state;
	open_setup(&s, 8);
	for (int alike = 24; alike >= 10; alike -= 7)
	{
		make_tokens(tokens, "a");
		for (int i = alike; i < GLM_KV_BLOCK; i++)
			tokens[i] = 'b';
		assert_true(open_chain(&s, &a, 0, s.scope, 1));
		assert_true(glm_chain_grow(s.prefix, &a));
		block_at(&s, &a, 0)[0] = (float) alike;
		glm_chain_index(s.prefix, &a, tokens, GLM_KV_BLOCK);
		glm_chain_close(s.prefix, &a);
	}
	make_tokens(tokens, "a");
	assert_true(open_chain(&s, &b, 0, s.scope, 1));
	assert_int_equal(glm_chain_copy(s.prefix, &b, tokens, 31), 24);
	assert_true(block_at(&s, &b, 0)[0] == 24);
	glm_chain_close(s.prefix, &b);
	close_setup(&s);
}

/* What is copied from is not what makes way for the copy. */
static void
source_is_not_evicted(void **state)
{
	setup	  s;
	glm_chain a, b, c;

	(void) state;
	open_setup(&s, 3);
	assert_int_equal(fill(&s, &a, "ab", 0, true), 0);
	glm_chain_close(s.prefix, &a);
	assert_int_equal(part_after(&s, &b, 0, 20, 31), 20); /* the third block */
	assert_true(block_at(&s, &b, 1)[0] == path_value("ab", 1, 0));
	assert_int_equal(part_after(&s, &c, 0, 20, 31), 0); /* only the source would be left */
	assert_int_equal(c.kv.n_blocks, 1);
	glm_chain_close(s.prefix, &b);
	glm_chain_close(s.prefix, &c);
	close_setup(&s);
}

/* ---- Scopes ---- */

/* Whole blocks and beginnings of blocks are found within a scope, and never from another. */
static void
scopes_are_apart(void **state)
{
	setup	  s;
	glm_chain a, b, c;

	(void) state;
	open_setup(&s, 16);
	assert_int_equal(fill(&s, &a, "ab", 0, true), 0);
	s.scope = 2;
	assert_int_equal(fill(&s, &b, "ab", 0, true), 0);
	assert_int_not_equal(a.kv.block[0], b.kv.block[0]);
	assert_int_not_equal(a.kv.block[1], b.kv.block[1]); /* nor while indexing what is there */
	s.scope = UINT64_MAX;
	assert_int_equal(part_after(&s, &c, 0, 20, 31), 0);
	glm_chain_close(s.prefix, &c);
	s.scope = 2;
	assert_int_equal(part_after(&s, &c, 0, 20, 31), 20);
	glm_chain_close(s.prefix, &c);
	glm_chain_close(s.prefix, &a);
	glm_chain_close(s.prefix, &b);
	s.scope = 1; /* cached blocks are as far apart */
	assert_int_equal(fill(&s, &a, "ab", 0, true), 2);
	glm_chain_close(s.prefix, &a);
	s.scope = 3;
	assert_int_equal(fill(&s, &a, "ab", 0, true), 0);
	glm_chain_close(s.prefix, &a);
	close_setup(&s);
}

/*
 * Only a few of the blocks that begin alike are looked at; those of other scopes are
 * not among the few, however many they are.
 */
static void
others_hide_nothing(void **state)
{
	setup	  s;
	glm_chain a;
	int32_t	  tokens[GLM_KV_BLOCK];

	(void) state;
	open_setup(&s, 40);
	for (int i = 0; i < 20; i++)
	{
		make_tokens(tokens, "a");
		tokens[i == 0 ? 30 : 10] = 1000 + i;
		assert_true(open_chain(&s, &a, 0, i == 0 ? 1 : 2, 1));
		assert_true(glm_chain_grow(s.prefix, &a));
		glm_chain_index(s.prefix, &a, tokens, GLM_KV_BLOCK);
		glm_chain_close(s.prefix, &a);
	}
	make_tokens(tokens, "a");
	assert_true(open_chain(&s, &a, 0, 1, 1));
	assert_int_equal(glm_chain_copy(s.prefix, &a, tokens, 31), 30);
	glm_chain_close(s.prefix, &a);
	close_setup(&s);
}

/*
 * Whoever floods the pool gives up his own: what another scope has cached, within its
 * share, is found again.
 */
static void
flood_evicts_its_own(void **state)
{
	setup	  s;
	glm_chain a;
	char	  kinds[] = "a";

	(void) state;
	open_setup(&s, 8);
	assert_int_equal(fill(&s, &a, "abc", 0, true), 0);
	glm_chain_close(s.prefix, &a);
	s.scope = 2;
	for (int i = 0; i < 40; i++)
	{
		kinds[0] = (char) ('e' + i);
		assert_int_equal(fill(&s, &a, kinds, i % 2, true), 0);
		glm_chain_close(s.prefix, &a);
	}
	s.scope = 1;
	assert_int_equal(fill(&s, &a, "abc", 0, true), 3);
	glm_chain_close(s.prefix, &a);

	/* within a scope the oldest goes first, of whatever model */
	s.scope = 2;
	assert_int_equal(fill(&s, &a, kinds, 1, true), 1);
	glm_chain_close(s.prefix, &a);

	/* and a scope that needs room gets it from who has most, down to the last block */
	s.scope = 3;
	assert_int_equal(fill(&s, &a, "aa", 0, true), 0);
	glm_chain_close(s.prefix, &a);
	s.scope = 1;
	assert_int_equal(fill(&s, &a, "abc", 0, true), 3);
	glm_chain_close(s.prefix, &a);
	s.scope = 4;
	assert_int_equal(fill(&s, &a, "abcdab", 1, true), 0);
	glm_chain_close(s.prefix, &a);
	close_setup(&s);
}

/* Chains of few kinds come and go in no order in a pool that is too small. */
static void
random_chains(void **state)
{
	setup	  s;
	glm_chain chain[8] = {0};
	int		  found = 0, refused = 0;

	(void) state;
	open_setup(&s, 20);
	for (int step = 0; step < 20000; step++)
	{
		char kinds[MAX_BLOCKS + 1] = "";
		int	 i, n, got;

		s.random = s.random * UINT64_C(6364136223846793005) + 1442695040888963407;
		i = (int) (s.random >> 60) % 8;
		n = 1 + (int) (s.random >> 40) % MAX_BLOCKS;
		for (int j = 0; j < n; j++)
			kinds[j] = "ab"[s.random >> (20 + j) & 1];
		glm_chain_close(s.prefix, &chain[i]);
		s.scope = 1 + (s.random >> 33) % 3;
		got = fill(&s, &chain[i], kinds, (int) (s.random >> 50) & 1, step % 5 != 0);
		found += got > 0 ? got : 0;
		refused += got < 0;
	}
	assert_true(found > 500 && refused > 100); /* else this tested nothing */
	for (int i = 0; i < 8; i++)
		glm_chain_close(s.prefix, &chain[i]);
	close_setup(&s);
}

/* ---- A last block that is not full -------------------------------------------------- */

static void
test_last_block(void **state)
{
	setup	  s;
	glm_chain a, b;
	int32_t	  tokens[3 * GLM_KV_BLOCK];

	(void) state;
	for (int i = 0; i < 3 * GLM_KV_BLOCK; i++)
		tokens[i] = 100 + i;
	open_setup(&s, 8);
	for (int n = 1; n < GLM_KV_BLOCK; n++)
	{
		glm_prefix_forget(s.prefix, 0);
		assert_true(open_chain(&s, &a, 0, 1, 3));
		assert_true(glm_chain_grow(s.prefix, &a) && glm_chain_grow(s.prefix, &a));
		for (int i = 0; i < GLM_KV_BLOCK; i++)
			block_at(&s, &a, 1)[i] = (float) i;
		glm_chain_index_last(s.prefix, &a, tokens, GLM_KV_BLOCK + n);
		glm_chain_close(s.prefix, &a);

		assert_true(open_chain(&s, &b, 0, 1, 3));
		assert_true(glm_chain_adopt(s.prefix, &b, tokens));
		/* nobody takes it for a whole one */
		assert_false(glm_chain_adopt(s.prefix, &b, tokens + GLM_KV_BLOCK));
		assert_int_equal(glm_chain_copy(s.prefix, &b, tokens + GLM_KV_BLOCK, GLM_KV_BLOCK - 1),
						 n < GLM_ALIKE_MIN ? 0 : n);
		for (int i = 0; n >= GLM_ALIKE_MIN && i < n; i++)
			assert_true(block_at(&s, &b, 1)[i] == (float) i);
		glm_chain_close(s.prefix, &b);
	}
	/* of another scope nothing; and a chain that ends with a full block has no other */
	assert_true(open_chain(&s, &b, 0, 2, 3));
	assert_false(glm_chain_adopt(s.prefix, &b, tokens));
	assert_true(glm_chain_grow(s.prefix, &b));
	glm_chain_index_last(s.prefix, &b, tokens, GLM_KV_BLOCK);
	assert_int_equal(b.n_indexed, 1);
	glm_chain_close(s.prefix, &b);
	close_setup(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_last_block),
		cmocka_unit_test(found_again),
		cmocka_unit_test(computed_twice_kept_once),
		cmocka_unit_test(oldest_leaf_goes_first),
		cmocka_unit_test(copied_where_they_part),
		cmocka_unit_test(longest_is_copied),
		cmocka_unit_test(source_is_not_evicted),
		cmocka_unit_test(scopes_are_apart),
		cmocka_unit_test(others_hide_nothing),
		cmocka_unit_test(flood_evicts_its_own),
		cmocka_unit_test(random_chains),
	};

	return cmocka_run_group_tests_name("prefix", tests, NULL, NULL);
}
