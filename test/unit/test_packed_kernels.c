/*
 * test_packed_kernels.c - every table of packed products that this CPU can run.
 *
 * The scalar table is compared with the definition in packed_kernels.h, worked
 * out here in another way; the others are compared with it bit for bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/half.h"
#include "engine/compute/kernels/kernels.h"
#include "engine/compute/kernels/packed_kernels.h"
#include "matrix.h"

#define MOST_TABLES 5

static const glm_packed_kernels *tables[MOST_TABLES];
static int						 n_tables;

/* The scalar table first. */
static void
find_tables(void)
{
	const char *const names[] = {"scalar", "neon", "avx2", "avx512"};
	glm_error		  err;

	n_tables = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		const glm_kernels *base = glm_kernels_find(names[i], &err);

		if (base != NULL && (n_tables == 0 || glm_packed_find(base->name) != tables[n_tables - 1]))
			tables[n_tables++] = glm_packed_find(base->name);
	}
#if defined(__x86_64__)
	/* where "avx2" means AVX-VNNI, plain AVX2 runs too */
	if (n_tables > 1 && tables[1] == &glm_packed_avxvnni)
		tables[n_tables++] = &glm_packed_avx2;
#endif
	assert_ptr_equal(tables[0], &glm_packed_scalar);
}

/* ---- One case: weights, activations, results ---------------------------- */

typedef struct product_case
{
	glm_tensor w;
	float	  *bias; /* [n] or NULL */
	float	  *a;	 /* [m, lda] */
	size_t	   lda;
	int		   m;
} product_case;

static size_t
pick(size_t least, size_t most)
{
	return least + mx_bits() % (most - least + 1);
}

static void
open_case(product_case *c, glm_dtype dtype, int m, int n, int k, int group)
{
	float			*w = mx_weights(n, k);
	glm_quant_matrix q;

	mx_quantize(&q, dtype, GLM_ROUND_RTN, w, n, k, group);
	c->w = mx_pack(&q);
	glm_quant_close(&q);
	free(w);
	c->m = m;
	c->lda = (size_t) k + pick(0, 3);
	c->a = mx_inputs(m, (int) c->lda);
	c->bias = mx_bits() % 2 ? mx_weights(1, n) : NULL;
}

static void
close_case(product_case *c)
{
	mx_unpack(&c->w);
	free(c->a);
	free(c->bias);
}

static glm_int8_rows
open_rows(const glm_packed_kernels *table, const product_case *c, int m)
{
	size_t		  cols = (size_t) c->w.shape[1];
	glm_int8_rows x = {.m = m,
					   .block = glm_int8_block(m, table->rows),
					   .cols = (int) cols,
					   .group = c->w.group,
					   .groups = (int) glm_packed_groups(cols, (size_t) c->w.group)};
	size_t		  groups = (size_t) (m * x.groups);

	x.code = malloc(groups * (size_t) x.group);
	x.scale = malloc(groups * sizeof(*x.scale));
	x.minus_sum = malloc(groups * sizeof(*x.minus_sum));
	assert_true(x.code != NULL && x.scale != NULL && x.minus_sum != NULL);
	return x;
}

static void
close_rows(glm_int8_rows *x)
{
	free(x->code);
	free(x->scale);
	free(x->minus_sum);
}

/* Any way to read: it must not matter. */
static glm_reading
any_reading(void)
{
	return (glm_reading){.tiles = (int) pick(1, 4),
						 .ahead = (int) pick(0, 20000),
						 .lines = pick(0, 1) ? GLM_ALL_LINES : (int) pick(0, 4),
						 .level = (glm_fetch_level) pick(0, 2),
						 .in_order = pick(0, 1) == 1};
}

/* malloc'd: the m rows from row i on, times W; the tiles cut in two at `cut`. */
static float *
run(const glm_packed_kernels *table, const product_case *c, int i, int m, int cut)
{
	int				   n = (int) c->w.shape[0];
	int				   tiles = (int) glm_packed_tiles((size_t) n);
	glm_int8_rows	   x = open_rows(table, c, m);
	float			  *out = malloc((size_t) m * (size_t) n * sizeof(*out));
	glm_packed_product op = {.x = &x,
							 .w = c->w.data,
							 .dtype = c->w.dtype,
							 .n = n,
							 .bias = c->bias,
							 .c = out,
							 .ldc = (size_t) n,
							 .reading = any_reading()};

	assert_non_null(out);
	memset(out, 0xff, (size_t) m * (size_t) n * sizeof(*out));
	table->quantize(&x, c->a + (size_t) i * c->lda, c->lda, m / 2, m);
	table->quantize(&x, c->a + (size_t) i * c->lda, c->lda, 0, m / 2);
	cut = cut < tiles ? cut : tiles;
	table->product(&op, cut, tiles);
	table->product(&op, 0, cut);
	close_rows(&x);
	return out;
}

/* ---- The definition ------------------------------------------------------ */

/* One output, from the weights that glm_packed_row gives and activations rounded here. */
static double
defined(const product_case *c, const float *a, int j, double *size)
{
	int	   k = (int) c->w.shape[1];
	float *w = malloc((size_t) k * sizeof(*w));
	double sum = c->bias != NULL ? c->bias[j] : 0;

	assert_non_null(w);
	glm_packed_row(w, &c->w, j);
	*size = fabs(sum);
	for (int begin = 0; begin < k; begin += c->w.group)
	{
		int	  end = begin + c->w.group < k ? begin + c->w.group : k;
		float max = 0;

		for (int i = begin; i < end; i++)
			max = fabsf(a[i]) > max ? fabsf(a[i]) : max;
		for (int i = begin; i < end && max > 0; i++)
		{
			double x = nearbyintf(a[i] * (127.0f / max)) * (double) (max / 127.0f);

			sum += x * w[i];
			*size += fabs(x * w[i]);
		}
	}
	free(w);
	return sum;
}

static void
test_scalar_is_as_defined(void **state)
{
	(void) state;
	for (int round = 0; round < 24; round++)
	{
		const int	 group = 32 << round % 3;
		product_case c;
		float		*out;

		open_case(&c, round % 2 ? GLM_Q4 : GLM_Q8, (int) pick(1, 6), (int) pick(1, 40),
				  (int) pick(1, 400), group);
		out = run(&glm_packed_scalar, &c, 0, c.m, 1);
		for (int i = 0; i < c.m; i++)
		{
			for (int j = 0; j < c.w.shape[0]; j++)
			{
				double size, want = defined(&c, c.a + (size_t) i * c.lda, j, &size);

				assert_true(fabs(out[i * c.w.shape[0] + j] - want) <= size * 1e-5 + 1e-30);
			}
		}
		free(out);
		close_case(&c);
	}
}

/* ---- All tables, all ways to cut the work -------------------------------- */

static void
test_tables_agree(void **state)
{
	(void) state;
	for (int round = 0; round < 120; round++)
	{
		product_case c;
		float		*want;

		open_case(&c, round % 2 ? GLM_Q4 : GLM_Q8, (int) pick(1, 40), (int) pick(1, 120),
				  (int) pick(1, 500), 32 << round % 3);
		want = run(&glm_packed_scalar, &c, 0, c.m, 0);
		for (int t = 1; t < n_tables; t++)
		{
			float *got = run(tables[t], &c, 0, c.m, (int) pick(0, 8));

			assert_memory_equal(got, want, (size_t) c.m * (size_t) c.w.shape[0] * sizeof(*got));
			free(got);
		}
		free(want);
		close_case(&c);
	}
}

/* A row's results are the same alone and among any number of others. */
static void
test_rows_alone(void **state)
{
	product_case c;
	const int	 n = 50, most = 30;

	(void) state;
	for (int dtype = GLM_Q4; dtype <= GLM_Q8; dtype++)
	{
		open_case(&c, (glm_dtype) dtype, most, n, 300, 64);
		for (int t = 0; t < n_tables; t++)
		{
			float *all = run(tables[t], &c, 0, most, 2);

			for (int m = 1; m < most; m++)
			{
				int	   i = (int) pick(0, (size_t) (most - m));
				float *some = run(tables[t], &c, i, m, 1);

				assert_memory_equal(some, all + i * n, (size_t) (m * n) * sizeof(*some));
				free(some);
			}
			free(all);
		}
		close_case(&c);
	}
}

/* ---- Extremes ------------------------------------------------------------- */

/* Sums as large as they get, in 16 bits and in all: every product 127 * 255 or 127 * 15. */
static void
test_largest_sums(void **state)
{
	const int n = 20, k = 256, group = 128;

	(void) state;
	for (int dtype = GLM_Q4; dtype <= GLM_Q8; dtype++)
	{
		product_case	 c;
		glm_quant_matrix q;
		float			*want;
		glm_error		 err;

		open_case(&c, (glm_dtype) dtype, 3, n, k, group);
		mx_unpack(&c.w);
		assert_true(glm_quant_open(&q, (glm_dtype) dtype, n, k, group, &err));
		memset(q.code, dtype == GLM_Q4 ? 15 : 255, (size_t) (n * k));
		for (int i = 0; i < n * q.groups; i++)
			q.scale[i] = 0x3c00; /* 1 */
		c.w = mx_pack(&q);
		glm_quant_close(&q);
		for (int i = 0; i < c.m * (int) c.lda; i++)
			c.a[i] = i / (int) c.lda == 1 ? -3.0f : 3.0f;
		want = run(&glm_packed_scalar, &c, 0, c.m, 0);
		assert_true(fabsf(want[0]) > (dtype == GLM_Q4 ? 11000.0f : 97000.0f));
		for (int t = 1; t < n_tables; t++)
		{
			float *got = run(tables[t], &c, 0, c.m, 1);

			assert_memory_equal(got, want, (size_t) (c.m * n) * sizeof(*got));
			free(got);
		}
		free(want);
		close_case(&c);
	}
}

/* What is not finite stays visible, in its own row only; the smallest numbers count as 0. */
static void
test_not_finite(void **state)
{
	(void) state;
	for (int t = 0; t < n_tables; t++)
	{
		const float	 values[] = {NAN, INFINITY, -INFINITY, 0x1p-120f, -0x1p-149f, 0x1.fffffep127f};
		product_case c;
		const int	 n = 33;

		open_case(&c, GLM_Q4, 6, n, 64, 64);
		free(c.bias);
		c.bias = NULL;
		memset(c.a, 0, 6 * c.lda * sizeof(float));
		for (int i = 0; i < 6; i++)
			c.a[(size_t) i * c.lda + 17] = values[i];
		float *out = run(tables[t], &c, 0, 6, 1);

		for (int j = 0; j < n; j++)
		{
			for (int i = 0; i < 3; i++)
				assert_true(isnan(out[i * n + j]));
			for (int i = 3; i < 5; i++)
				assert_true(out[i * n + j] == 0.0f);
			assert_true(isfinite(out[5 * n + j]));
		}
		assert_true(fabsf(out[5 * n]) > 1e30f || fabsf(out[5 * n + 1]) > 1e30f);
		free(out);
		close_case(&c);
	}
}

static void
test_find(void **state)
{
	(void) state;
	assert_ptr_equal(glm_packed_find("scalar"), &glm_packed_scalar);
	for (int t = 0; t < n_tables; t++)
	{
		assert_non_null(tables[t]->name);
		assert_true(tables[t]->rows >= 1);
		for (int other = 0; other < t; other++)
			assert_string_not_equal(tables[t]->name, tables[other]->name);
	}
#if defined(__x86_64__)
	if (n_tables > 1)
		assert_ptr_not_equal(glm_packed_find("avx2"), &glm_packed_scalar);
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),		 cmocka_unit_test(test_scalar_is_as_defined),
		cmocka_unit_test(test_tables_agree), cmocka_unit_test(test_rows_alone),
		cmocka_unit_test(test_largest_sums), cmocka_unit_test(test_not_finite),
	};

	find_tables();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
