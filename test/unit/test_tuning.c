/*
 * test_tuning.c - how products read weights is chosen by what it takes.
 *
 * The clock is the test's: each way takes what the test says, times what the machine is like
 * at the moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "engine/compute/tuning.h"

#define LAYERS 28
#define BYTES ((size_t) 4 << 20)
#define NS_A_BYTE 0.03
#define IN_ORDER 0 /* tiles: the best way is in order */

static const glm_packed_kernels table = {.name = "test", .rows = 12, .tiles = 4};

static bool
same(const glm_reading *a, const glm_reading *b)
{
	return a->tiles == b->tiles && a->ahead == b->ahead && a->lines == b->lines &&
		   a->level == b->level && a->in_order == b->in_order;
}

/* How much longer than the best way this one takes: best is the one with these tiles and bytes. */
static double
factor(const glm_reading *r, int tiles, int ahead)
{
	if (r->in_order)
		return tiles == IN_ORDER && r->ahead == ahead ? 1.0 : 1.2;
	if (r->tiles == tiles && r->ahead == ahead)
		return r->lines == GLM_ALL_LINES ? 1.0 : 1.04;
	return r->ahead == ahead ? 1.1 : 1.2;
}

/* A pass: all layers; returns how they read last, and adds what the pass took to *ns. */
static glm_reading
pass(glm_tuning *tuning, int rows, int tiles, int ahead, double mood, int64_t *ns)
{
	glm_reading r = {0};

	for (int layer = 0; layer < LAYERS; layer++)
		for (int product = 0; product < 4; product++)
		{
			int64_t took;

			r = glm_tuning_reading(tuning, GLM_Q4, rows, layer, BYTES);
			took = (int64_t) ((double) BYTES * NS_A_BYTE * mood * factor(&r, tiles, ahead));
			glm_tuning_count(tuning, GLM_Q4, rows, layer, BYTES, took);
			*ns += took;
		}
	return r;
}

/* The fastest way wins, though the machine slows down and hurries between the passes. */
static void
test_fastest_wins(void **state)
{
	static const struct
	{
		int tiles, ahead;
	} best[] = {{1, 16384}, {2, 2048}, {4, 4096}, {2, 4096}, {IN_ORDER, 0}};

	(void) state;
	for (size_t i = 0; i < sizeof(best) / sizeof(best[0]); i++)
	{
		glm_tuning	tuning;
		glm_reading r = {0};
		int64_t		ns = 0;

		glm_tuning_init(&tuning, &table);
		for (int p = 0; p < 8; p++)
			r = pass(&tuning, 1, best[i].tiles, best[i].ahead, p % 2 ? 1.0 : 1.7, &ns);
		assert_int_equal(r.ahead, best[i].ahead);
		assert_int_equal(r.in_order, best[i].tiles == IN_ORDER);
		if (r.in_order)
			continue;
		assert_int_equal(r.tiles, best[i].tiles);
		assert_int_equal(r.lines, GLM_ALL_LINES);
	}
}

/* What is chosen is told, and what that cost; other numbers of rows are their own affair. */
static void
test_report(void **state)
{
	glm_tuning tuning;
	glm_tuned  tuned[GLM_TUNED_MAX];
	int64_t	   ns = 0;

	(void) state;
	glm_tuning_init(&tuning, &table);
	assert_int_equal(glm_tuning_report(&tuning, tuned, GLM_TUNED_MAX), 0);
	for (int p = 0; p < 8; p++)
		pass(&tuning, 2, 1, 16384, 1, &ns);
	assert_int_equal(glm_tuning_report(&tuning, tuned, GLM_TUNED_MAX), 1);
	assert_string_equal(tuned[0].what, "int4, 2 rows");
	assert_string_equal(tuned[0].how, "tiles 1, all fetched 16384 bytes ahead, second level");
	assert_true(atomic_load(&tuning.cost_ns) > 0);
	assert_true((double) atomic_load(&tuning.cost_ns) < 0.2 * (double) ns);
}

/* In the order of memory is for few rows, and told as such. */
static void
test_in_order(void **state)
{
	glm_tuning tuning;
	glm_tuned  tuned[GLM_TUNED_MAX];
	int64_t	   ns = 0;

	(void) state;
	glm_tuning_init(&tuning, &table);
	for (int p = 0; p < 8; p++)
	{
		pass(&tuning, 3, IN_ORDER, 4096, 1, &ns);
		for (int layer = 0; layer < LAYERS; layer++)
		{
			glm_reading r = glm_tuning_reading(&tuning, GLM_Q4, 5, layer, BYTES);

			assert_false(r.in_order);
			glm_tuning_count(&tuning, GLM_Q4, 5, layer, BYTES, 100000);
		}
	}
	assert_true(glm_tuning_report(&tuning, tuned, GLM_TUNED_MAX) >= 1);
	assert_string_equal(tuned[0].what, "int4, 3 to 4 rows");
	assert_string_equal(tuned[0].how, "in order, fetched 4096 bytes ahead");
}

/* Trials end when their patience does, however slow the ways are that lose. */
static void
test_patience(void **state)
{
	const double slow = 100; /* a pass of many seconds */
	glm_tuning	 tuning;
	glm_reading	 r = {0}, first;
	int64_t		 ns = 0;

	(void) state;
	glm_tuning_init(&tuning, &table);
	first = glm_tuning_reading(&tuning, GLM_Q4, 1, 0, BYTES);
	for (int layer = 0; layer < GLM_TUNING_WAYS + 1; layer++)
	{
		r = glm_tuning_reading(&tuning, GLM_Q4, 1, layer, BYTES);
		glm_tuning_count(&tuning, GLM_Q4, 1, layer, BYTES,
						 (int64_t) 1e8 * (same(&r, &first) ? 1 : 2));
	}
	/* each of the ways once, and that was too much */
	assert_true(same(&r, &first));
	assert_true(atomic_load(&tuning.cost_ns) > 150 * 1000 * 1000);
	pass(&tuning, 1, 4, 4096, slow, &ns);
	assert_true(atomic_load(&tuning.cost_ns) < (unsigned long long) 12 * 100 * 1000 * 1000);
}

/* The head comes once a pass: it is never tried, and read as layers are, be its codes theirs or not. */
static void
test_head(void **state)
{
	glm_tuning	tuning;
	glm_reading first, r;
	int64_t		ns = 0;

	(void) state;
	glm_tuning_init(&tuning, &table);
	first = glm_tuning_reading(&tuning, GLM_Q8, 1, GLM_NO_LAYER, BYTES);
	for (int p = 0; p < 1000; p++)
	{
		r = glm_tuning_reading(&tuning, GLM_Q8, 1, GLM_NO_LAYER, BYTES);
		assert_true(same(&r, &first));
		glm_tuning_count(&tuning, GLM_Q8, 1, GLM_NO_LAYER, BYTES, 1000000 * (p % 7));
	}
	assert_int_equal(atomic_load(&tuning.cost_ns), 0);
	for (int p = 0; p < 8; p++)
	{
		first = pass(&tuning, 1, 2, 2048, 1, &ns);
		/* of the same codes, in the middle of a trial: no part of a layer's sample */
		glm_tuning_count(&tuning, GLM_Q4, 1, GLM_NO_LAYER, BYTES, INT64_C(1000000000));
	}
	assert_int_equal(first.ahead, 2048);
	r = glm_tuning_reading(&tuning, GLM_Q8, 1, GLM_NO_LAYER, BYTES);
	assert_true(same(&r, &first));
	r = glm_tuning_reading(&tuning, GLM_Q4, 1, GLM_NO_LAYER, BYTES);
	assert_true(same(&r, &first));
}

/* Many rows are no matter of reading: nothing is tried. */
static void
test_many_rows(void **state)
{
	glm_tuning tuning;
	int64_t	   ns = 0;

	(void) state;
	glm_tuning_init(&tuning, &table);
	for (int p = 0; p < 20; p++)
		pass(&tuning, 500, 1, 16384, 1, &ns);
	assert_int_equal(atomic_load(&tuning.cost_ns), 0);
}

/* A choice is judged again after some time, and changes when the machine has. */
static void
test_judged_again(void **state)
{
	glm_tuning	tuning;
	glm_reading r = {0};
	int64_t		ns = 0;
	int			p;

	(void) state;
	glm_tuning_init(&tuning, &table);
	for (p = 0; p < 8; p++)
		r = pass(&tuning, 1, 4, 4096, 1, &ns);
	assert_int_equal(r.tiles, 4);
	for (p = 0, ns = 0; r.tiles != 1 && p < 10000; p++)
		r = pass(&tuning, 1, 1, 16384, 1, &ns);
	for (int i = 0; i < 8; i++)
		r = pass(&tuning, 1, 1, 16384, 1, &ns);
	assert_int_equal(r.tiles, 1);
	assert_int_equal(r.ahead, 16384);
	assert_true(ns < (int64_t) 20 * 1000 * 1000 * 1000);
}

/* Turned off, and for small products, nothing is tried: all layers are read alike. */
static void
test_nothing_to_try(void **state)
{
	glm_tuning	tuning;
	glm_reading first, r;
	glm_tuned	tuned[GLM_TUNED_MAX];

	(void) state;
	glm_tuning_init(&tuning, &table);
	for (int i = 0; i < 3; i++)
	{
		size_t bytes = i == 0 ? 1000 : BYTES;

		glm_tuning_set(&tuning, i != 1);
		if (i == 2)
		{
			glm_tuning_init(&tuning, &glm_packed_scalar);
			assert_int_equal(glm_packed_scalar.tiles, 0);
		}
		first = glm_tuning_reading(&tuning, GLM_Q8, 3, 0, bytes);
		for (int layer = 0; layer < 1000; layer++)
		{
			r = glm_tuning_reading(&tuning, GLM_Q8, 3, layer, bytes);
			assert_true(same(&r, &first));
			glm_tuning_count(&tuning, GLM_Q8, 3, layer, bytes, 1000000 * (layer % 7));
		}
		assert_int_equal(glm_tuning_report(&tuning, tuned, GLM_TUNED_MAX), 0);
		assert_int_equal(atomic_load(&tuning.cost_ns), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fastest_wins), cmocka_unit_test(test_report),
		cmocka_unit_test(test_in_order),	 cmocka_unit_test(test_patience),
		cmocka_unit_test(test_judged_again), cmocka_unit_test(test_nothing_to_try),
		cmocka_unit_test(test_many_rows),	 cmocka_unit_test(test_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
