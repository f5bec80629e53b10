/*
 * test_quantize.c - scales, zero points and codes of a matrix in memory.
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

#include "checkpoint.h"
#include "engine/quantize/fit.h"
#include "engine/base/half.h"
#include "matrix.h"

static const glm_work alone;

static double
weight_error(glm_dtype dtype, glm_rounding how, const float *w, int rows, int cols, int group)
{
	glm_quant_matrix q;
	glm_error		 err;
	glm_loss		 loss = {0};

	mx_quantize(&q, dtype, how, w, rows, cols, group);
	assert_true(glm_quant_weight_loss(&loss, &q, w, &alone, &err));
	glm_quant_close(&q);
	return glm_loss_error(&loss);
}

/* ---- How good it is --------------------------------------------------------- */

static void
test_errors_on_gaussian_weights(void **state)
{
	float *w = mx_weights(400, 512);
	double plain = weight_error(GLM_Q4, GLM_ROUND_PLAIN, w, 400, 512, 64);
	double rtn = weight_error(GLM_Q4, GLM_ROUND_RTN, w, 400, 512, 64);
	double hqq = weight_error(GLM_Q4, GLM_ROUND_HQQ, w, 400, 512, 64);
	double rtn8 = weight_error(GLM_Q8, GLM_ROUND_RTN, w, 400, 512, 64);
	double hqq8 = weight_error(GLM_Q8, GLM_ROUND_HQQ, w, 400, 512, 64);

	(void) state;
	printf("# int4, group 64: plain %.4f, rtn %.4f, hqq %.4f; int8: rtn %.5f, hqq %.5f\n", plain,
		   rtn, hqq, rtn8, hqq8);
	assert_true(hqq <= 0.93 * rtn);
	assert_true(hqq <= 0.78 * plain);
	assert_true(rtn < 0.095);
	assert_true(hqq8 <= rtn8 && rtn8 < 0.0065);
	free(w);
}

/* hqq tries rtn's grid too, so it does worse on no group. */
static void
test_every_group_gets_better(void **state)
{
	float *w = mx_weights(300, 64);

	(void) state;
	for (int i = 0; i < 300; i++)
	{
		float *group = w + 64 * i;

		/* all signs, skewed and with outliers too */
		for (int k = 0; k < 64; k++)
			group[k] = i % 3 == 0	? group[k]
					   : i % 3 == 1 ? fabsf(group[k])
									: group[k] * group[k] * group[k];
		assert_true(weight_error(GLM_Q4, GLM_ROUND_HQQ, group, 1, 64, 64) <=
					1.00001 * weight_error(GLM_Q4, GLM_ROUND_RTN, group, 1, 64, 64));
		assert_true(weight_error(GLM_Q8, GLM_ROUND_HQQ, group, 1, 64, 64) <=
					1.00001 * weight_error(GLM_Q8, GLM_ROUND_RTN, group, 1, 64, 64));
	}
	free(w);
}

/* Every code is the one whose stored value is nearest to the weight. */
static void
check_codes(glm_dtype dtype, glm_rounding how)
{
	float			*w = mx_weights(20, 100);
	glm_quant_matrix q;

	mx_quantize(&q, dtype, how, w, 20, 100, 32);
	for (int row = 0; row < 20; row++)
		for (int k = 0; k < 128; k++)
		{
			int	   code = q.code[row * 128 + k];
			int	   g = row * 4 + k / 32;
			double scale = glm_f16_to_f32(q.scale[g]);
			double zero = q.zero != NULL ? q.zero[g] / 16.0 : 128.0;
			double best = INFINITY;

			if (k >= 100)
			{
				assert_int_equal(code, 0);
				continue;
			}
			for (int c = 0; c < (dtype == GLM_Q4 ? 16 : 256); c++)
				best = fmin(best, fabs(w[row * 100 + k] - scale * (c - zero)));
			assert_true(fabs(w[row * 100 + k] - scale * (code - zero)) <= best + 1e-5 * scale);
		}
	glm_quant_close(&q);
	free(w);
}

static void
test_codes_are_nearest(void **state)
{
	(void) state;
	for (int how = GLM_ROUND_PLAIN; how <= GLM_ROUND_HQQ; how++)
	{
		check_codes(GLM_Q4, (glm_rounding) how);
		check_codes(GLM_Q8, (glm_rounding) how);
	}
}

/* scale = (max - min) / 15, zero = round(-min / scale). */
static void
test_rtn_is_as_defined(void **state)
{
	float			 w[32] = {-1.0f, 2.0f, 0.5f};
	glm_quant_matrix q;

	(void) state;
	mx_quantize(&q, GLM_Q4, GLM_ROUND_RTN, w, 1, 32, 32);
	assert_int_equal(q.scale[0], glm_f32_to_f16(3.0f / 15));
	assert_int_equal(q.zero[0], 5 * GLM_ZERO_ONE);
	assert_int_equal(q.code[0], 0);
	assert_int_equal(q.code[1], 15);
	assert_int_equal(q.code[3], 5);
	glm_quant_close(&q);
}

/* ---- Unusual weights -------------------------------------------------------- */

/* Values that are to come back as they were, or nearly. */
static void
check_kept(const float *w, int n, double tolerance)
{
	for (int dtype = GLM_Q4; dtype <= GLM_Q8; dtype++)
		for (int how = GLM_ROUND_RTN; how <= GLM_ROUND_HQQ; how++)
		{
			float			 y[64];
			glm_quant_matrix q;

			mx_quantize(&q, (glm_dtype) dtype, (glm_rounding) how, w, 1, n, 64);
			glm_quant_row(y, &q, 0);
			for (int k = 0; k < n; k++)
				if (!(fabs(y[k] - w[k]) <= tolerance * fabs(w[k])))
					fail_msg("%g became %g", w[k], y[k]);
			glm_quant_close(&q);
		}
}

static void
test_unusual_groups(void **state)
{
	static const float sizes[] = {1e-6f, 1e-3f, 1.0f, -1.0f, 1000.0f, -300000.0f};
	float			   w[64] = {0};

	(void) state;
	check_kept(w, 64, 0); /* nothing but zeros */
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
	{
		/* for the first one scales are too coarse: whole multiples of 2^-24 */
		double tolerance = s == 0 ? 0.11 : 0.001;

		/* the same everywhere; a single weight; a single one that is not 0 */
		for (int k = 0; k < 64; k++)
			w[k] = sizes[s];
		check_kept(w, 64, tolerance);
		check_kept(w, 1, tolerance);
		memset(w, 0, sizeof(w));
		w[17] = sizes[s];
		check_kept(w, 64, tolerance);
	}
	/* below what any scale can tell from 0 */
	for (int k = 0; k < 64; k++)
		w[k] = 1e-12f;
	check_kept(w, 64, 1);
}

static void
check_refused(glm_dtype dtype, glm_rounding how, float bad, glm_status status)
{
	float			*w = mx_weights(70, 100);
	glm_quant_matrix q;
	glm_error		 err;

	w[66 * 100 + 90] = bad;
	w[69 * 100 + 2] = NAN; /* the first one is named */
	assert_true(glm_quant_open(&q, dtype, 70, 100, 32, &err));
	assert_false(glm_quant_round(&q, how, w, &alone, &err));
	ck_assert_error(&err, status, "row 66, column 90");
	glm_quant_close(&q);
	free(w);
}

static void
test_refused_weights(void **state)
{
	(void) state;
	for (int how = GLM_ROUND_PLAIN; how <= GLM_ROUND_HQQ; how++)
		for (int dtype = GLM_Q4; dtype <= GLM_Q8; dtype++)
		{
			check_refused((glm_dtype) dtype, (glm_rounding) how, NAN, GLM_NOT_FINITE);
			check_refused((glm_dtype) dtype, (glm_rounding) how, -INFINITY, GLM_NOT_FINITE);
			check_refused((glm_dtype) dtype, (glm_rounding) how, 3e38f, GLM_UNSUPPORTED);
		}
	check_refused(GLM_Q4, GLM_ROUND_RTN, -65504.0f * 15.1f, GLM_UNSUPPORTED);
}

static void
test_refused_matrices(void **state)
{
	glm_quant_matrix q;
	glm_error		 err;

	(void) state;
	assert_false(glm_quant_open(&q, GLM_Q4, 10, 10, 48, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "group size 48");
	assert_false(glm_quant_open(&q, GLM_F16, 10, 10, 64, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	assert_false(glm_quant_open(&q, GLM_Q4, 0, 10, 64, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	assert_false(glm_quant_open(&q, GLM_Q4, 10, INT32_MAX, 64, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	glm_quant_close(&q);
}

/* ---- Threads ---------------------------------------------------------------- */

static void
test_threads_do_not_matter(void **state)
{
	float			*w = mx_weights(333, 200);
	glm_quant_matrix want, got;
	glm_error		 err;
	glm_loss		 loss = {0};

	(void) state;
	mx_quantize(&want, GLM_Q4, GLM_ROUND_HQQ, w, 333, 200, 64);
	assert_true(glm_quant_weight_loss(&loss, &want, w, &alone, &err));
	assert_true(glm_quant_open(&got, GLM_Q4, 333, 200, 64, &err));
	for (int n = 1; n <= 3; n++)
	{
		glm_work work = {.pool = glm_threads_open(n, &err)};
		glm_loss same = {0};

		assert_non_null(work.pool);
		assert_true(glm_quant_round(&got, GLM_ROUND_HQQ, w, &work, &err));
		assert_true(mx_same(&got, &want));
		assert_true(glm_quant_weight_loss(&same, &got, w, &work, &err));
		assert_memory_equal(&same, &loss, sizeof(loss));
		glm_threads_close(work.pool);
	}
	glm_quant_close(&got);
	glm_quant_close(&want);
	free(w);
}

static void
test_cancel(void **state)
{
	const _Atomic bool cancel = true;
	const glm_work	   work = {.cancel = &cancel};
	float			  *w = mx_weights(10, 64);
	glm_loss		   loss = {0};
	glm_quant_matrix   q;
	glm_error		   err;

	(void) state;
	assert_true(glm_quant_open(&q, GLM_Q4, 10, 64, 64, &err));
	assert_false(glm_quant_round(&q, GLM_ROUND_HQQ, w, &work, &err));
	assert_int_equal(err.status, GLM_CANCELLED);
	assert_false(glm_quant_weight_loss(&loss, &q, w, &work, &err));
	assert_int_equal(err.status, GLM_CANCELLED);
	glm_quant_close(&q);
	free(w);
}

/* ---- fp16 ------------------------------------------------------------------- */

/* Every number between two neighbours goes to the nearer one, ties to even. */
static void
test_narrowing(void **state)
{
	(void) state;
	for (unsigned h = 0; h < 0x7c00; h++)
	{
		float low = glm_f16_to_f32((uint16_t) h);
		float high = h < 0x7bff ? glm_f16_to_f32((uint16_t) (h + 1)) : 65536.0f;
		float middle = (low + high) / 2;

		assert_int_equal(glm_f32_to_f16(low), h);
		assert_int_equal(glm_f32_to_f16(-low), h | 0x8000);
		assert_int_equal(glm_f32_to_f16(middle), h + (h & 1));
		assert_int_equal(glm_f32_to_f16(nextafterf(middle, 0)), h);
		assert_int_equal(glm_f32_to_f16(nextafterf(middle, 1e9f)), h + 1);
	}
	assert_int_equal(glm_f32_to_f16(INFINITY), 0x7c00);
	assert_int_equal(glm_f32_to_f16(-1e30f), 0xfc00);
	assert_true(isnan(glm_f16_to_f32(glm_f32_to_f16(NAN))));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_on_gaussian_weights),
		cmocka_unit_test(test_every_group_gets_better),
		cmocka_unit_test(test_codes_are_nearest),
		cmocka_unit_test(test_rtn_is_as_defined),
		cmocka_unit_test(test_unusual_groups),
		cmocka_unit_test(test_refused_weights),
		cmocka_unit_test(test_refused_matrices),
		cmocka_unit_test(test_threads_do_not_matter),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_narrowing),
	};

	return cmocka_run_group_tests_name("quantize", tests, NULL, NULL);
}
