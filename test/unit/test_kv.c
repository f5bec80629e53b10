/*
 * test_kv.c - the KV pool: blocks never overlap, nothing is lost, and what
 * glm_kv_fits promises the empty pool keeps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/serve/kv.h"

#define MIB ((size_t) 1 << 20)

static void
test_block_bytes(void **state)
{
	glm_model_config chatglm3 = {.layers = 28, .groups = 2, .head_dim = 128};

	(void) state;
	assert_int_equal(glm_kv_block_bytes(&chatglm3, GLM_F32), 28 * 2 * 2 * 128 * 4 * 32);
	assert_int_equal(glm_kv_block_bytes(&chatglm3, GLM_F16), 28 * 2 * 2 * 128 * 2 * 32);
	assert_int_equal(glm_kv_block_bytes(&chatglm3, GLM_I8), 28 * 2 * 2 * (128 + 4 * 4) * 32);
	/* a last group that is not whole has a scale too */
	chatglm3.head_dim = 36;
	assert_int_equal(glm_kv_block_bytes(&chatglm3, GLM_I8), 28 * 2 * 2 * (36 + 2 * 4) * 32);
}

static void
test_dtype(void **state)
{
	(void) state;
	assert_int_equal(glm_kv_dtype(GLM_KV_AUTO, GLM_Q4), GLM_F16);
	assert_int_equal(glm_kv_dtype(GLM_KV_AUTO, GLM_F16), GLM_F32);
	assert_int_equal(glm_kv_dtype(GLM_KV_F32, GLM_Q8), GLM_F32);
	assert_int_equal(glm_kv_dtype(GLM_KV_F16, GLM_BF16), GLM_F16);
	assert_int_equal(glm_kv_dtype(GLM_KV_INT8, GLM_Q4), GLM_I8);
	assert_int_equal(glm_kv_dtype(GLM_KV_INT8, GLM_F32), GLM_I8);
}

static void
test_open(void **state)
{
	glm_kv_pool *pool;

	(void) state;
	assert_null(glm_kv_pool_open(0));
	assert_null(glm_kv_pool_open(1000));
	assert_null(glm_kv_pool_open(SIZE_MAX));
	assert_null(glm_kv_pool_open((size_t) 2 << 40)); /* more than numbers reach */
	pool = glm_kv_pool_open(3 * MIB + 5);
	assert_non_null(pool);
	assert_int_equal(glm_kv_pool_total(pool), 3 * MIB);
	assert_int_equal(glm_kv_pool_used(pool), 0);
	glm_kv_pool_close(pool);
	glm_kv_pool_close(NULL);
}

/* What the numbers of blocks are places of. */
static float memory[24 * MIB / sizeof(float)];

static float *
block_at(const glm_kv_table *table, int i)
{
	assert_true(table->block[i] < 24 * MIB / GLM_KV_UNIT);
	return memory + (size_t) table->block[i] * (GLM_KV_UNIT / sizeof(float));
}

/* Writes all of every block, then looks whether anybody else wrote there. */
static void
mark(const glm_kv_table *table, size_t bytes, float value)
{
	for (int i = 0; i < table->n_blocks; i++)
		for (size_t j = 0; j < bytes / sizeof(float); j++)
			block_at(table, i)[j] = value + (float) i;
}

static void
assert_marked(const glm_kv_table *table, size_t bytes, float value)
{
	for (int i = 0; i < table->n_blocks; i++)
		for (size_t j = 0; j < bytes / sizeof(float); j++)
			if (block_at(table, i)[j] != value + (float) i)
				fail_msg("block %d changed at %zu", i, j);
}

static const size_t sizes[] = {1024, 40 * 1024, 81920, 300 * 1024, 700 * 1000, 1835008, 3 * MIB};

#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* For each size, the pool holds exactly as many blocks as it says. */
static void
test_fits_is_exact(void **state)
{
	glm_kv_pool *pool = glm_kv_pool_open(9 * MIB);

	(void) state;
	for (size_t s = 0; s < N_SIZES; s++)
	{
		glm_kv_table table = {0}, more = {0};
		int			 n = 0;

		while (glm_kv_fits(pool, sizes[s], n + 1))
			n++;
		assert_true((size_t) n * sizes[s] >= 9 * MIB * 2 / 3); /* little is wasted */
		assert_true(glm_kv_take(pool, sizes[s], n, &table));
		assert_int_equal(table.n_blocks, n);
		assert_int_equal(glm_kv_pool_used(pool), (size_t) n * sizes[s]);
		mark(&table, sizes[s], 1);
		assert_marked(&table, sizes[s], 1);

		assert_false(glm_kv_take(pool, sizes[s], 1, &more));
		assert_int_equal(more.n_blocks, 0);
		assert_null(more.block);
		glm_kv_give(pool, sizes[s], &table);
		assert_int_equal(glm_kv_pool_used(pool), 0);
	}
	assert_false(glm_kv_fits(pool, 10 * MIB, 1));
	assert_false(glm_kv_fits(pool, 0, 1));
	assert_true(glm_kv_fits(pool, 9 * MIB, 1));
	assert_false(glm_kv_fits(pool, 9 * MIB, 2));
	glm_kv_pool_close(pool);
}

/* A pool that has to do with less promises, and gives, no more than that. */
static void
test_shrink(void **state)
{
	glm_kv_pool *pool = glm_kv_pool_open(8 * MIB);
	glm_kv_table table;

	(void) state;
	glm_kv_pool_shrink(pool, 16 * MIB);
	assert_int_equal(glm_kv_pool_total(pool), 8 * MIB);
	glm_kv_pool_shrink(pool, 3 * MIB + 5);
	assert_int_equal(glm_kv_pool_total(pool), 3 * MIB);
	assert_true(glm_kv_fits(pool, MIB, 3));
	assert_false(glm_kv_fits(pool, MIB, 4));
	assert_false(glm_kv_take(pool, MIB, 4, &table));
	assert_true(glm_kv_take(pool, MIB, 3, &table));
	for (int i = 0; i < 3; i++)
		assert_true((uint64_t) table.block[i] * GLM_KV_UNIT + MIB <= 3 * MIB);
	glm_kv_give(pool, MIB, &table);
	glm_kv_pool_close(pool);
}

static void
test_all_or_nothing(void **state)
{
	glm_kv_pool *pool = glm_kv_pool_open(4 * MIB);
	glm_kv_table first = {0}, second = {0};

	(void) state;
	assert_true(glm_kv_take(pool, 256 * 1024, 10, &first));
	assert_false(glm_kv_take(pool, 256 * 1024, 7, &second));
	assert_int_equal(glm_kv_pool_used(pool), 10 * 256 * 1024);
	/* enough bytes are free, but no row of ten slabs for three of these */
	assert_false(glm_kv_take(pool, 800 * 1000, 1, &second));
	assert_int_equal(glm_kv_pool_used(pool), 10 * 256 * 1024);
	assert_true(glm_kv_take(pool, 256 * 1024, 6, &second));
	glm_kv_give(pool, 256 * 1024, &first);
	glm_kv_give(pool, 256 * 1024, &second);
	assert_true(glm_kv_take(pool, 1024, 0, &first));
	assert_int_equal(first.n_blocks, 0);
	glm_kv_give(pool, 1024, &first);
	assert_int_equal(glm_kv_pool_used(pool), 0);
	glm_kv_pool_close(pool);
}

/* The same memory again and again, so that a long service touches little. */
static void
test_memory_is_reused(void **state)
{
	glm_kv_pool *pool = glm_kv_pool_open(64 * MIB);
	glm_kv_table neighbour = {0}, table = {0};
	uint32_t	 first[5];

	(void) state;
	for (int with = 0; with < 2; with++)
	{
		if (with)
			assert_true(glm_kv_take(pool, 81920, 1, &neighbour));
		assert_true(glm_kv_take(pool, 81920, 5, &table));
		memcpy(first, table.block, sizeof(first));
		glm_kv_give(pool, 81920, &table);
		for (int i = 0; i < 100; i++)
		{
			assert_true(glm_kv_take(pool, 81920, 5, &table));
			assert_memory_equal(table.block, first, sizeof(first));
			glm_kv_give(pool, 81920, &table);
		}
	}
	glm_kv_give(pool, 81920, &neighbour);
	glm_kv_pool_close(pool);
}

/* Sequences of models of all sizes come and go in no order. */
static void
test_many_sequences(void **state)
{
	enum
	{
		N = 24
	};
	glm_kv_pool *pool = glm_kv_pool_open(24 * MIB);
	glm_kv_table table[N] = {{0}};
	size_t		 size[N] = {0};
	uint64_t	 used = 0;
	uint32_t	 random = 7;
	int			 refused = 0, taken = 0;

	(void) state;
	for (int step = 0; step < 4000; step++)
	{
		int i;

		random = random * 1664525 + 1013904223;
		i = (int) (random >> 8) % N;
		if (size[i] != 0)
		{
			if (step % 8 == 0)
				assert_marked(&table[i], size[i], (float) i * 1000);
			used -= (uint64_t) table[i].n_blocks * size[i];
			glm_kv_give(pool, size[i], &table[i]);
			size[i] = 0;
		}
		else
		{
			size_t bytes = sizes[(random >> 16) % N_SIZES];
			int	   n = 1 + (int) (random >> 24) % 6;

			if (glm_kv_take(pool, bytes, n, &table[i]))
			{
				taken++;
				size[i] = bytes;
				used += (uint64_t) n * bytes;
				mark(&table[i], bytes, (float) i * 1000);
			}
			else
				refused++;
		}
		assert_int_equal(glm_kv_pool_used(pool), used);
	}
	assert_true(taken > 500 && refused > 100); /* else this tested nothing */
	for (int i = 0; i < N; i++)
		if (size[i] != 0)
		{
			assert_marked(&table[i], size[i], (float) i * 1000);
			glm_kv_give(pool, size[i], &table[i]);
		}
	/* and then the pool is as good as new */
	assert_int_equal(glm_kv_pool_used(pool), 0);
	assert_true(glm_kv_take(pool, 3 * MIB, 8, &table[0]));
	glm_kv_give(pool, 3 * MIB, &table[0]);
	glm_kv_pool_close(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block_bytes),
		cmocka_unit_test(test_dtype),
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_fits_is_exact),
		cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_memory_is_reused),
		cmocka_unit_test(test_many_sequences),
	};

	return cmocka_run_group_tests_name("kv", tests, NULL, NULL);
}
