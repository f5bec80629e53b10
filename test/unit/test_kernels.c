/*
 * test_kernels.c - every kernel table this CPU can run, bit for bit.
 *
 * The scalar table is checked against the definition in kernels.h, written
 * down once more here, and against double precision.  Every other table must
 * then give the scalar table's bits.  Tables that the CPU lacks are named and
 * left out.
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
#include "kernel_data.h"

/* ---- Choosing ----------------------------------------------------------- */

static void
test_find(void **state)
{
	glm_error err;

	(void) state;
	assert_ptr_equal(glm_kernels_find("scalar", &err), &glm_kernels_scalar);
	assert_non_null(glm_kernels_find("auto", &err));
	for (int i = 0; i < kd_n_tables; i++)
		assert_ptr_equal(glm_kernels_find(kd_tables[i]->name, &err), kd_tables[i]);
	if (kd_n_tables > 0)
		assert_ptr_not_equal(glm_kernels_find("auto", &err), &glm_kernels_scalar);

	assert_null(glm_kernels_find("sse9", &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	assert_non_null(strstr(err.message, "sse9"));
#if defined(__x86_64__)
	assert_null(glm_kernels_find("neon", &err));
#else
	assert_null(glm_kernels_find("avx2", &err));
#endif
	assert_int_equal(err.status, GLM_UNSUPPORTED);
}

/* ---- Matrix product ----------------------------------------------------- */

/* kernels.h's definition of a dot product, with the double result beside it. */
static float
defined_dot(const float *a, const uint8_t *w, int k, glm_dtype dtype, double *exact, double *size)
{
	float lane[16] = {0};
	int	  steps = (k + 15) / 16 * 16;

	*exact = *size = 0;
	for (int i = 0; i < steps; i++)
	{
		float x = i < k ? a[i] : 0;
		float y = i < k ? kd_weight(w, (size_t) i, dtype) : 0;

		lane[i % 16] = fmaf(x, y, lane[i % 16]);
		*exact += (double) x * y;
		*size += fabs((double) x * y);
	}
	for (int width = 8; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return lane[0];
}

typedef struct product
{
	glm_matmul op;
	glm_dtype  dtype;
	float	  *a;
	uint8_t	  *w; /* one byte before op.w */
	float	  *bias;
	float	  *c;
	size_t	   c_length;
} product;

static product
product_make(int m, int n, int k, glm_dtype dtype)
{
	product p = {.dtype = dtype};

	p.op.m = m;
	p.op.n = n;
	p.op.k = k;
	p.op.lda = (size_t) k + 3;
	p.op.ldc = (size_t) n + 5;
	p.c_length = (size_t) m * p.op.ldc;
	p.a = malloc((size_t) m * p.op.lda * sizeof(float));
	p.w = malloc((size_t) n * (size_t) k * kd_size(dtype) + 1);
	p.bias = malloc((size_t) n * sizeof(float));
	p.c = malloc(p.c_length * sizeof(float));
	assert_true(p.a && p.w && p.bias && p.c);
	kd_fill(p.a, (size_t) m * p.op.lda);
	kd_fill_weights(p.w + 1, (size_t) n * (size_t) k, dtype);
	kd_fill(p.bias, (size_t) n);
	p.op.a = p.a;
	p.op.w = p.w + 1;
	p.op.bias = p.bias;
	p.op.c = p.c;
	return p;
}

static void
product_free(product *p)
{
	free(p->a);
	free(p->w);
	free(p->bias);
	free(p->c);
}

/* C of a table, everything outside [0, m) x [n0, n1) set to 7. */
static float *
compute(const product *p, const glm_kernels *table, int n0, int n1)
{
	float	  *c = malloc(p->c_length * sizeof(float));
	glm_matmul op = p->op;

	assert_non_null(c);
	for (size_t i = 0; i < p->c_length; i++)
		c[i] = 7;
	op.c = c;
	table->matmul[p->dtype](&op, n0, n1);
	return c;
}

static const glm_dtype dtypes[] = {GLM_F32, GLM_F16, GLM_BF16};

static void
test_scalar_matmul_is_as_defined(void **state)
{
	static const int depths[] = {1, 15, 16, 17, 100, 1000};

	(void) state;
	for (int t = 0; t < 3; t++)
		for (size_t d = 0; d < sizeof(depths) / sizeof(depths[0]); d++)
		{
			product p = product_make(3, 5, depths[d], dtypes[t]);
			float  *c = compute(&p, &glm_kernels_scalar, 0, 5);

			for (int i = 0; i < 3; i++)
				for (int j = 0; j < 5; j++)
				{
					size_t row = (size_t) j * (size_t) depths[d] * kd_size(dtypes[t]);
					double exact, size;
					float  want = defined_dot(p.op.a + (size_t) i * p.op.lda, p.w + 1 + row,
											  depths[d], dtypes[t], &exact, &size) +
								 p.bias[j];

					assert_memory_equal(&c[(size_t) i * p.op.ldc + j], &want, sizeof(want));
					assert_true(fabs(want - p.bias[j] - exact) <= size * 1e-6 + 1e-7);
				}
			free(c);
			product_free(&p);
		}
}

static void
check_tables_agree(int m, int n, int k, glm_dtype dtype)
{
	product p = product_make(m, n, k, dtype);
	int		n0 = n > 8 ? 3 : 0;
	float  *want;

	if (k % 2 == 0)
		p.op.bias = NULL;
	want = compute(&p, &glm_kernels_scalar, n0, n);
	for (int i = 0; i < kd_n_tables; i++)
	{
		float *got = compute(&p, kd_tables[i], n0, n);

		assert_memory_equal(got, want, p.c_length * sizeof(float));
		free(got);
	}
	free(want);
	product_free(&p);
}

static void
test_matmul_tables_agree(void **state)
{
	static const int depths[] = {1, 7, 8, 16, 31, 64, 100, 224};
	static const int widths[] = {1, 2, 3, 4, 7, 8, 9, 16, 21, 67};

	(void) state;
	for (int t = 0; t < 3; t++)
		for (int m = 1; m <= 8; m++)
			for (size_t n = 0; n < sizeof(widths) / sizeof(widths[0]); n++)
				for (size_t k = 0; k < sizeof(depths) / sizeof(depths[0]); k++)
					check_tables_agree(m, widths[n], depths[k], dtypes[t]);
	/* all heights of tiles beside whole ones, narrow and wide panels, several blocks of rows */
	for (int t = 0; t < 3; t++)
	{
		for (int m = 9; m <= 35; m++)
			check_tables_agree(m, 21, 40, dtypes[t]);
		check_tables_agree(193, 6, 33, dtypes[t]);
		/* several chunks of k, the last one whole, and not */
		for (int m = 1; m <= 41; m += 5)
		{
			check_tables_agree(m, 19, 768, dtypes[t]);
			check_tables_agree(m, 19, 901, dtypes[t]);
		}
		check_tables_agree(7, 5, 40000, dtypes[t]);
	}
}

/* Row i of a product is what it would be alone, whatever the range. */
static void
check_rows_alone(const glm_kernels *table, glm_dtype dtype)
{
	product p = product_make(11, 70, 45, dtype);
	float  *all = compute(&p, table, 0, 70);

	for (int i = 0; i < 11; i++)
		for (int n0 = 0; n0 < 70; n0 += 8)
		{
			product one = p;
			int		n1 = n0 + 8 < 70 ? n0 + 8 : 70;
			float  *row;

			one.op.a += (size_t) i * p.op.lda;
			one.op.m = 1;
			row = compute(&one, table, n0, n1);
			assert_memory_equal(row + n0, all + (size_t) i * p.op.ldc + n0,
								(size_t) (n1 - n0) * sizeof(float));
			free(row);
		}
	free(all);
	product_free(&p);
}

static void
test_matmul_rows_alone(void **state)
{
	(void) state;
	for (int t = 0; t < 3; t++)
	{
		check_rows_alone(&glm_kernels_scalar, dtypes[t]);
		for (int i = 0; i < kd_n_tables; i++)
			check_rows_alone(kd_tables[i], dtypes[t]);
	}
}

/* Same bits, or both NaN. */
static bool
same(float a, float b)
{
	return isnan(a) ? isnan(b) : memcmp(&a, &b, sizeof a) == 0;
}

/* All 65,536 weights of a 16-bit type, each times one. */
static void
test_every_half(void **state)
{
	uint16_t  *w = malloc(65536 * sizeof(uint16_t));
	float	  *c = malloc(65536 * sizeof(float));
	float	   one = 1;
	glm_matmul op = {.a = &one, .w = w, .c = c, .m = 1, .n = 65536, .k = 1, .lda = 1, .ldc = 65536};

	(void) state;
	assert_true(w && c);
	for (int i = 0; i < 65536; i++)
		w[i] = (uint16_t) i;
	for (int t = -1; t < kd_n_tables; t++)
	{
		const glm_kernels *table = t < 0 ? &glm_kernels_scalar : kd_tables[t];

		table->matmul[GLM_F16](&op, 0, 65536);
		for (int i = 0; i < 65536; i++)
			assert_true(same(c[i], glm_f16_to_f32(w[i]) + 0.0f));
		table->matmul[GLM_BF16](&op, 0, 65536);
		for (int i = 0; i < 65536; i++)
			assert_true(same(c[i], glm_bf16_to_f32(w[i]) + 0.0f));
	}
	free(w);
	free(c);
}

/* Infinities and products that underflow to -0. */
static void
test_matmul_extremes(void **state)
{
	static const float values[] = {0.0f, -0.0f, 1e-30f, -1e-30f, 1e30f, -1e30f, INFINITY, 1.0f};
	float			   a[17], w[17];

	(void) state;
	for (int trial = 0; trial < 2000; trial++)
	{
		int		   k = 1 + trial % 17;
		float	   want;
		glm_matmul op = {.a = a, .w = w, .c = &want, .m = 1, .n = 1, .k = k, .lda = 17, .ldc = 1};

		for (int i = 0; i < k; i++)
		{
			/* half of the trials without what makes the sum a NaN at once */
			a[i] = values[kd_random_bits() % (trial % 2 ? 4 : 8)];
			w[i] = values[kd_random_bits() % (trial % 2 ? 4 : 8)];
		}
		glm_kernels_scalar.matmul[GLM_F32](&op, 0, 1);
		for (int t = 0; t < kd_n_tables; t++)
		{
			float got;

			op.c = &got;
			kd_tables[t]->matmul[GLM_F32](&op, 0, 1);
			assert_true(same(got, want));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_scalar_matmul_is_as_defined),
		cmocka_unit_test(test_matmul_tables_agree),
		cmocka_unit_test(test_matmul_rows_alone),
		cmocka_unit_test(test_every_half),
		cmocka_unit_test(test_matmul_extremes),
	};

	kd_find_tables();
	return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
