/*
 * test_elementwise.c - what kernel tables have beside products: exponential, softmax, weighted
 * sums, norms and the like, every table this CPU can run, bit for bit.
 *
 * As in test_kernels.c the scalar table is checked against the definition, the others
 * against the scalar one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_data.h"

/* ---- Exponential, softmax ------------------------------------------------ */

/* exp(x) of a table, for x <= 0 */
static float
table_exp(const glm_kernels *table, float x)
{
	float max = 0;

	table->softmax(&x, 1, &max);
	return x;
}

static void
test_exponential(void **state)
{
	double worst = 0;

	(void) state;
	for (int i = 0; i < 200000; i++)
	{
		float  x = -87.0f * (float) i / 200000;
		double want = exp((double) x);
		float  got = table_exp(&glm_kernels_scalar, x);
		double ulp = ldexp(1, ilogb(want) - 23);

		worst = fmax(worst, fabs(got - want) / ulp);
		for (int t = 0; t < kd_n_tables; t++)
		{
			float other = table_exp(kd_tables[t], x);

			assert_memory_equal(&other, &got, sizeof(got));
		}
	}
	printf("# exp: at most %.3f units in the last place off\n", worst);
	assert_true(worst < 1);
	assert_true(table_exp(&glm_kernels_scalar, 0) == 1);
	assert_true(table_exp(&glm_kernels_scalar, -1e30f) < 1.7e-38f);
}

static void
test_softmax(void **state)
{
	float x[300], want[300], got[300];

	(void) state;
	for (int n = 1; n <= 300; n++)
	{
		double exact = 0, max = -1e9;
		float  sum, before, want_max, got_max;

		kd_fill(x, (size_t) n);
		for (int i = 0; i < n; i++)
		{
			x[i] *= 40;
			max = fmax(max, x[i]);
		}
		memcpy(want, x, sizeof(want));
		want_max = n % 2 ? -INFINITY : (float) max + 1; /* of the scores before */
		max = fmax(max, want_max);
		before = want_max;
		sum = glm_kernels_scalar.softmax(want, n, &want_max);
		assert_true(want_max == max);
		for (int i = 0; i < n; i++)
		{
			exact += exp(x[i] - max);
			assert_true(fabs(want[i] - exp(x[i] - max)) < 4e-6);
		}
		assert_true(fabs(sum - exact) < exact * 4e-6);
		for (int t = 0; t < kd_n_tables; t++)
		{
			float other;

			memcpy(got, x, sizeof(got));
			got_max = before;
			other = kd_tables[t]->softmax(got, n, &got_max);
			assert_true(got_max == want_max);
			assert_memory_equal(&other, &sum, sizeof(sum));
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
		}
	}
}

/* A NaN or an infinity among the scores must not pass for a number. */
static void
test_softmax_not_finite(void **state)
{
	static const float bad[] = {NAN, INFINITY};

	(void) state;
	for (int t = -1; t < kd_n_tables; t++)
		for (int b = 0; b < 2; b++)
			for (int at = 0; at < 37; at++)
			{
				float x[37], max = -INFINITY;

				kd_fill(x, 37);
				x[at] = bad[b];
				assert_true(
					isnan((t < 0 ? &glm_kernels_scalar : kd_tables[t])->softmax(x, 37, &max)));
			}
}

/* ---- Weighted sums, elementwise, SwiGLU ------------------------------------------------ */

/* What V[i, d] stands for; codes are checked with the scales in the order kernels.h says. */
static float
value_at(const glm_weighted_sum *op, int i, int d)
{
	int		groups = (op->width + 31) / 32;
	uint8_t code = ((const uint8_t *) op->v)[i * op->width + d];

	if (op->dtype != GLM_I8)
		return kd_weight(op->v, (size_t) (i * op->width + d), op->dtype);
	return (float) (code < 128 ? code : code - 256) *
		   (op->down ? op->scale[i / 32 * op->width + d] : op->scale[i * groups + d / 32]);
}

/* Weighs m rows of n weights with rows of V of this width; y begins at what is in it, or at 0. */
static void
check_weighted_sum(int m, int n, int width, glm_dtype dtype, bool down, bool add)
{
	size_t ldy = (size_t) width + 3, ldp = (size_t) n + 1, y_length = (size_t) m * ldy;
	float *p = malloc((size_t) m * ldp * sizeof(float)), *start = malloc(y_length * sizeof(float)),
		  *want = malloc(y_length * sizeof(float)), *got = malloc(y_length * sizeof(float));
	size_t			 scales = ((size_t) n + 31) * ((size_t) width + 31) / 32 + 32;
	float			*scale = malloc(scales * sizeof(float));
	uint8_t			*v = malloc((size_t) n * (size_t) width * kd_size(dtype));
	glm_weighted_sum op = {.y = got,
						   .ldy = ldy,
						   .p = p,
						   .ldp = ldp,
						   .v = v,
						   .dtype = dtype,
						   .scale = scale,
						   .down = down,
						   .next = n % 2 ? v : NULL,
						   .m = m,
						   .n = n,
						   .width = width,
						   .add = add};

	assert_true(p && start && want && got && scale && v);
	kd_fill(scale, scales);
	kd_fill(p, (size_t) m * ldp);
	kd_fill(start, y_length);
	kd_fill_weights(v, (size_t) n * (size_t) width, dtype);
	memcpy(want, start, y_length * sizeof(float));
	for (int r = 0; r < m; r++)
		for (int d = 0; d < width; d++)
		{
			float *y = &want[(size_t) r * ldy + (size_t) d];

			*y = add ? *y : 0;
			for (int i = 0; i < n; i++)
				*y = fmaf(p[(size_t) r * ldp + (size_t) i], value_at(&op, i, d), *y);
		}
	for (int t = -1; t < kd_n_tables; t++)
	{
		memcpy(got, start, y_length * sizeof(float));
		(t < 0 ? &glm_kernels_scalar : kd_tables[t])->weighted_sum(&op);
		assert_memory_equal(got, want, y_length * sizeof(float));
	}
	free(p);
	free(start);
	free(want);
	free(got);
	free(scale);
	free(v);
}

static void
test_weighted_sum(void **state)
{
	static const int widths[] = {1, 4, 12, 16, 20, 32, 64, 100, 128, 200};

	(void) state;
	for (size_t w = 0; w < sizeof(widths) / sizeof(widths[0]); w++)
		for (int m = 1; m <= 17; m++)
			for (int n = 1; n <= 32; n += m < 5 ? 1 : 9)
			{
				check_weighted_sum(m, n, widths[w], (m + n) % 2 ? GLM_F32 : GLM_F16, false,
								   n % 3 == 0);
				check_weighted_sum(m, n, widths[w], GLM_I8, (m + n) % 2, n % 3 == 0);
			}
	/* keys: several groups down a head, the last one not whole; and a last group of a row */
	for (int m = 1; m <= 17; m += 4)
		for (int n = 16; n <= 200; n += 23)
		{
			check_weighted_sum(m, n, 32, GLM_I8, true, false);
			check_weighted_sum(m, 32, n, GLM_I8, false, true);
		}
}

/* kernels.h's definition of a sum of squares, with the double result beside it. */
static float
defined_square_sum(const float *x, int n, double *exact)
{
	float lane[64] = {0};

	*exact = 0;
	for (int i = 0; i < (n + 63) / 64 * 64; i++)
	{
		float value = i < n ? x[i] : 0;

		lane[i % 64] = fmaf(value, value, lane[i % 64]);
		*exact += (double) value * value;
	}
	for (int width = 32; width > 0; width /= 2)
		for (int j = 0; j < width; j++)
			lane[j] += lane[j + width];
	return lane[0];
}

static void
test_square_sum(void **state)
{
	float x[4100];

	(void) state;
	kd_fill(x, 4100);
	for (int n = 1; n <= 4100; n += n < 300 ? 1 : 95)
	{
		double exact;
		float  want = defined_square_sum(x, n, &exact);

		assert_true(fabs(want - exact) <= exact * 1e-6);
		for (int t = -1; t < kd_n_tables; t++)
		{
			float got = (t < 0 ? &glm_kernels_scalar : kd_tables[t])->square_sum(x, n);

			assert_memory_equal(&got, &want, sizeof(got));
		}
	}
}

/* The operations without sums, against the same in scalar C. */
static void
test_elementwise(void **state)
{
	float x[203], y[203], z[203], want[203], got[203];

	(void) state;
	kd_fill(x, 203);
	kd_fill(y, 203);
	kd_fill(z, 203);
	for (int n = 4; n <= 203; n++)
		for (int t = 0; t < kd_n_tables; t++)
		{
			glm_kernels_scalar.scale(want, x, y[0], z, n);
			kd_tables[t]->scale(got, x, y[0], z, n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			glm_kernels_scalar.add(want, y, (size_t) n);
			kd_tables[t]->add(got, y, (size_t) n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			for (int i = 0; i < n; i++)
				want[i] = fmaf(x[i], z[1], want[i] * y[2]);
			glm_kernels_scalar.join(got, y[2], x, z[1], n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			glm_kernels_scalar.join(want, z[2], y, y[3], n);
			kd_tables[t]->join(got, z[2], y, y[3], n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			glm_kernels_scalar.divide(want, y[1], n);
			kd_tables[t]->divide(got, y[1], n);
			assert_memory_equal(got, want, (size_t) n * sizeof(float));
			for (int turned = 0; turned <= n; turned += n < 8 ? 2 : n / 8 * 2)
			{
				glm_kernels_scalar.rotate(want, x, y, z[0], turned, n);
				kd_tables[t]->rotate(got, x, y, z[0], turned, n);
				assert_memory_equal(got, want, (size_t) n * sizeof(float));
			}
		}
}

static void
test_swiglu(void **state)
{
	float gate[100], up[100], want[100], got[100];

	(void) state;
	for (int n = 1; n <= 100; n++)
	{
		kd_fill(gate, 100);
		kd_fill(up, 100);
		for (int i = 0; i < n; i++)
			gate[i] *= n % 3 == 0 ? 200 : 8;
		gate[0] = n % 2 ? -0.0f : 0.0f;
		memcpy(want, gate, sizeof(want));
		glm_kernels_scalar.swiglu(want, up, n);
		for (int i = 0; i < n; i++)
		{
			double exact = gate[i] / (1 + exp(-(double) gate[i])) * up[i];

			assert_true(fabs(want[i] - exact) <= fabs(exact) * 1e-6 + 1e-30);
		}
		for (int t = 0; t < kd_n_tables; t++)
		{
			memcpy(got, gate, sizeof(got));
			kd_tables[t]->swiglu(got, up, n);
			assert_memory_equal(got, want, sizeof(want));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exponential),
		cmocka_unit_test(test_softmax),
		cmocka_unit_test(test_softmax_not_finite),
		cmocka_unit_test(test_weighted_sum),
		cmocka_unit_test(test_square_sum),
		cmocka_unit_test(test_elementwise),
		cmocka_unit_test(test_swiglu),
	};

	kd_find_tables();
	return cmocka_run_group_tests_name("elementwise", tests, NULL, NULL);
}
