/*
 * test_gptq.c - Hessians, their factors, and quantizing by them.
 *
 * Needs OpenBLAS; test_blas fails without it, the rest is skipped.
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
#include "matrix.h"

#define INPUTS 700

static const glm_work alone;
static glm_blas		  blas;

static void
test_blas(void **state)
{
	glm_error err;

	(void) state;
	if (!glm_blas_open(&blas, &err))
		fail_msg("%s", err.message);
	assert_true(glm_blas_open(&blas, &err));
}

static float *
hessian_of(const float *x, int n, int cols)
{
	float	 *h = calloc((size_t) cols * (size_t) cols, sizeof(float));
	glm_error err;

	assert_non_null(h);
	if (blas.sgemm == NULL)
		skip();
	/* in two portions, the second one of rows that lie apart */
	assert_true(glm_hessian_add(h, cols, x, (size_t) cols, n / 3, &blas, &alone, &err));
	for (int odd = 0; odd < 2; odd++)
		assert_true(glm_hessian_add(h, cols, x + (size_t) (n / 3 + odd) * (size_t) cols,
									2 * (size_t) cols, (n - n / 3 + 1 - odd) / 2, &blas, &alone,
									&err));
	return h;
}

/* ---- Hessians --------------------------------------------------------------- */

static void
test_add(void **state)
{
	const int cols = 300;
	float	 *x = mx_inputs(50, cols);
	float	 *h = hessian_of(x, 50, cols);

	(void) state;
	for (int i = 0; i < cols; i++)
		for (int j = i; j < cols; j++)
		{
			double sum = 0, size = 0;

			for (int n = 0; n < 50; n++)
			{
				sum += (double) x[n * cols + i] * x[n * cols + j];
				size += fabs((double) x[n * cols + i] * x[n * cols + j]);
			}
			assert_true(fabs(h[i * cols + j] - sum) <= 1e-5 * size);
		}
	free(x);
	free(h);
}

/* L L^T = H + lambda I, and H is still there.  520 columns are two blocks and a bit. */
static void
test_factor(void **state)
{
	const int cols = 520;
	float	 *x = mx_inputs(INPUTS, cols);
	float	 *h = hessian_of(x, INPUTS, cols);
	float	 *before = malloc((size_t) (cols * cols) * sizeof(float));
	float	 *diagonal = malloc((size_t) cols * sizeof(float));
	float	  lambda;
	glm_error err;

	(void) state;
	assert_true(before && diagonal);
	memcpy(before, h, (size_t) (cols * cols) * sizeof(float));
	assert_true(glm_hessian_factor(h, cols, diagonal, &lambda, &blas, &alone, &err));
	assert_true(lambda > 0);
	for (int i = 0; i < cols; i++)
		for (int j = 0; j <= i; j++)
		{
			double sum = 0, size = sqrt((double) h[i * cols + i] * h[j * cols + j]) + lambda;

			for (int k = 0; k <= j; k++)
				sum += (double) (k < i ? h[i * cols + k] : diagonal[i]) *
					   (k < j ? h[j * cols + k] : diagonal[j]);
			assert_true(h[j * cols + i] == before[j * cols + i]);
			assert_true(fabs(sum - h[j * cols + i] - (i == j ? lambda : 0)) <= 1e-4 * size);
		}
	free(x);
	free(h);
	free(before);
	free(diagonal);
}

static double
output_error(const glm_quant_matrix *q, const float *w, const float *h)
{
	glm_loss  loss = {0};
	glm_error err;

	assert_true(glm_quant_output_loss(&loss, q, w, h, &blas, &alone, &err));
	return glm_loss_error(&loss);
}

/* The reported error is that of the outputs, computed the long way. */
static void
test_output_error(void **state)
{
	const int		 cols = 300, rows = 70;
	float			*x = mx_inputs(100, cols);
	float			*w = mx_weights(rows, cols);
	float			*h = hessian_of(x, 100, cols);
	float			 y[300];
	glm_quant_matrix q;
	double			 got, off = 0, all = 0;

	(void) state;
	mx_quantize(&q, GLM_Q4, GLM_ROUND_RTN, w, rows, cols, 64);
	got = output_error(&q, w, h);
	for (int row = 0; row < rows; row++)
	{
		glm_quant_row(y, &q, row);
		for (int n = 0; n < 100; n++)
		{
			double out = 0, difference = 0;

			for (int k = 0; k < cols; k++)
			{
				out += (double) x[n * cols + k] * w[row * cols + k];
				difference += (double) x[n * cols + k] * (w[row * cols + k] - y[k]);
			}
			off += difference * difference;
			all += out * out;
		}
	}
	assert_true(fabs(got / sqrt(off / all) - 1) < 1e-3);
	glm_quant_close(&q);
	free(x);
	free(w);
	free(h);
}

/* ---- Quantizing ------------------------------------------------------------- */

/* What the job does with a matrix: factors the Hessian once, quantizes by the factor. */
static bool
factor_and_quantize(glm_quant_matrix *q, const float *w, float *h, const glm_work *work,
					glm_error *err)
{
	float *diagonal = malloc((size_t) q->cols * sizeof(float));
	float  lambda;
	bool   ok;

	assert_non_null(diagonal);
	ok = glm_hessian_factor(h, q->cols, diagonal, &lambda, &blas, work, err) &&
		 glm_quant_gptq(q, w, h, diagonal, &blas, work, err);
	free(diagonal);
	return ok;
}

static void
gptq(glm_quant_matrix *q, glm_dtype dtype, const float *w, float *h, int rows, int cols, int group)
{
	glm_error err;

	if (!glm_quant_open(q, dtype, rows, cols, group, &err) ||
		!factor_and_quantize(q, w, h, &alone, &err))
		fail_msg("%s", err.message);
}

static void
test_better_on_outputs(void **state)
{
	static const struct
	{
		int rows, cols, group;
	} shapes[] = {{130, 512, 64}, {33, 300, 32}, {65, 270, 128}};

	(void) state;
	for (size_t s = 0; s < 3; s++)
	{
		int				 rows = shapes[s].rows, cols = shapes[s].cols;
		float			*x = mx_inputs(INPUTS, cols);
		float			*w = mx_weights(rows, cols);
		float			*h = hessian_of(x, INPUTS, cols);
		double			 error[3];
		glm_quant_matrix q;

		for (int how = GLM_ROUND_RTN; how <= GLM_ROUND_HQQ; how++)
		{
			mx_quantize(&q, GLM_Q4, (glm_rounding) how, w, rows, cols, shapes[s].group);
			error[how - GLM_ROUND_RTN] = output_error(&q, w, h);
			glm_quant_close(&q);
		}
		gptq(&q, GLM_Q4, w, h, rows, cols, shapes[s].group);
		error[2] = output_error(&q, w, h);
		glm_quant_close(&q);
		printf("# outputs, group %d: rtn %.4f, hqq %.4f, gptq %.4f\n", shapes[s].group, error[0],
			   error[1], error[2]);
		assert_true(error[2] <= 0.6 * error[0]);
		assert_true(error[2] <= 0.7 * error[1]);
		free(x);
		free(w);
		free(h);
	}
}

static void
test_int8(void **state)
{
	float			*x = mx_inputs(INPUTS, 300);
	float			*w = mx_weights(20, 300);
	float			*h = hessian_of(x, INPUTS, 300);
	glm_quant_matrix rtn, q;

	(void) state;
	mx_quantize(&rtn, GLM_Q8, GLM_ROUND_RTN, w, 20, 300, 64);
	gptq(&q, GLM_Q8, w, h, 20, 300, 64);
	assert_true(output_error(&q, w, h) <= 0.75 * output_error(&rtn, w, h));
	glm_quant_close(&rtn);
	glm_quant_close(&q);
	free(x);
	free(w);
	free(h);
}

/* Row by row never worse than hqq, on inputs where compensation cannot help either. */
static void
check_never_worse(const float *h_upper, const float *w, int rows, int cols)
{
	float			*h = malloc((size_t) (cols * cols) * sizeof(float));
	glm_quant_matrix q, hqq;

	assert_non_null(h);
	memcpy(h, h_upper, (size_t) (cols * cols) * sizeof(float));
	mx_quantize(&hqq, GLM_Q4, GLM_ROUND_HQQ, w, rows, cols, 64);
	gptq(&q, GLM_Q4, w, h, rows, cols, 64);
	for (int row = 0; row < rows; row++)
	{
		float  e[2][200];
		double norm[2];
		float  scratch[2 * 200];

		glm_quant_row(e[0], &q, row);
		glm_quant_row(e[1], &hqq, row);
		for (int k = 0; k < cols; k++)
		{
			e[0][k] = w[row * cols + k] - e[0][k];
			e[1][k] = w[row * cols + k] - e[1][k];
		}
		glm_hessian_norms(norm, e[0], 2, cols, h_upper, &blas, &alone, scratch);
		assert_true(norm[0] <= norm[1] * 1.0001);
	}
	glm_quant_close(&q);
	glm_quant_close(&hqq);
	free(h);
}

static void
test_never_worse_than_hqq(void **state)
{
	const int cols = 200;
	float	 *w = mx_weights(40, cols);
	float	 *x = mx_inputs(30, cols); /* far fewer than columns */
	float	 *h = hessian_of(x, 30, cols);

	(void) state;
	check_never_worse(h, w, 40, cols);
	memset(h, 0, (size_t) (cols * cols) * sizeof(float));
	check_never_worse(h, w, 40, cols); /* no inputs at all */
	for (int i = 0; i < cols; i++)
		h[i * cols + i] = i % 3 ? 100.0f : 0.0f;
	check_never_worse(h, w, 40, cols); /* not correlated, some columns never used */
	free(w);
	free(x);
	free(h);
}

/* Added up by a pool as by one thread? */
static bool
hessian_is_the_same(const float *x, int cols, const glm_work *work)
{
	size_t	  n = (size_t) cols * (size_t) cols;
	float	 *h = calloc(2 * n, sizeof(float));
	glm_error err;
	bool	  same;

	assert_non_null(h);
	assert_true(glm_hessian_add(h, cols, x, (size_t) cols, INPUTS, &blas, &alone, &err));
	assert_true(glm_hessian_add(h + n, cols, x, (size_t) cols, INPUTS, &blas, work, &err));
	same = memcmp(h, h + n, n * sizeof(float)) == 0;
	free(h);
	return same;
}

static void
test_threads_do_not_matter(void **state)
{
	const int		 cols = 600, rows = 200;
	size_t			 bytes = (size_t) (cols * cols) * sizeof(float);
	float			*x = mx_inputs(INPUTS, cols);
	float			*w = mx_weights(rows, cols);
	float			*h = hessian_of(x, INPUTS, cols);
	float			*again = malloc(bytes);
	double			 error;
	glm_quant_matrix want, got;
	glm_error		 err;

	(void) state;
	assert_non_null(again);
	memcpy(again, h, bytes);
	gptq(&want, GLM_Q4, w, again, rows, cols, 64);
	error = output_error(&want, w, h);
	assert_true(glm_quant_open(&got, GLM_Q4, rows, cols, 64, &err));
	for (int n = 2; n <= 3; n++)
	{
		glm_work work = {.pool = glm_threads_open(n, &err)};
		glm_loss same = {0};

		assert_non_null(work.pool);
		assert_true(hessian_is_the_same(x, cols, &work));
		memcpy(again, h, bytes);
		assert_true(factor_and_quantize(&got, w, again, &work, &err));
		assert_true(mx_same(&got, &want));
		assert_true(glm_quant_output_loss(&same, &got, w, h, &blas, &work, &err));
		assert_true(glm_loss_error(&same) == error);
		glm_threads_close(work.pool);
	}
	glm_quant_close(&want);
	glm_quant_close(&got);
	free(x);
	free(w);
	free(h);
	free(again);
}

/* A matrix that comes some rows at a time ends up as the whole one does. */
static void
test_stripes(void **state)
{
	const int		 rows = 150, cols = 270, most = 2 * GLM_QUANT_ROWS;
	float			*x = mx_inputs(INPUTS, cols);
	float			*w = mx_weights(rows, cols);
	float			*h = hessian_of(x, INPUTS, cols);
	float			*diagonal = malloc((size_t) cols * sizeof(float));
	float			 lambda;
	float			 y[2][270];
	glm_loss		 whole = {0}, sum = {0};
	glm_quant_matrix want;
	glm_error		 err;

	(void) state;
	assert_non_null(diagonal);
	gptq(&want, GLM_Q4, w, h, rows, cols, 64);
	assert_true(glm_quant_output_loss(&whole, &want, w, h, &blas, &alone, &err));
	assert_true(glm_hessian_factor(h, cols, diagonal, &lambda, &blas, &alone, &err));
	for (int first = 0; first < rows; first += most)
	{
		int				 n = rows - first < most ? rows - first : most;
		const float		*part = w + first * cols;
		glm_quant_matrix got;

		assert_true(glm_quant_open(&got, GLM_Q4, n, cols, 64, &err));
		assert_true(glm_quant_gptq(&got, part, h, diagonal, &blas, &alone, &err));
		assert_true(glm_quant_output_loss(&sum, &got, part, h, &blas, &alone, &err));
		for (int r = 0; r < n; r++)
		{
			glm_quant_row(y[0], &want, first + r);
			glm_quant_row(y[1], &got, r);
			assert_memory_equal(y[0], y[1], sizeof(y[0]));
		}
		glm_quant_close(&got);
	}
	assert_true(sum.lost == whole.lost && sum.square == whole.square);
	glm_quant_close(&want);
	free(diagonal);
	free(x);
	free(w);
	free(h);
}

/* ---- Failures --------------------------------------------------------------- */

static void
test_bad_inputs(void **state)
{
	const _Atomic bool cancel = true;
	const glm_work	   cancelled = {.cancel = &cancel};
	float			  *x = mx_inputs(10, 64);
	float			  *w = mx_weights(4, 64);
	float			  *h = hessian_of(x, 10, 64);
	glm_quant_matrix   q;
	glm_error		   err;

	(void) state;
	assert_true(glm_quant_open(&q, GLM_Q4, 4, 64, 64, &err));
	assert_false(factor_and_quantize(&q, w, h, &cancelled, &err));
	assert_int_equal(err.status, GLM_CANCELLED);
	assert_false(glm_hessian_add(h, 64, x, 64, 10, &blas, &cancelled, &err));
	assert_int_equal(err.status, GLM_CANCELLED);
	h[7 * 64 + 7] = INFINITY;
	assert_false(factor_and_quantize(&q, w, h, &alone, &err));
	ck_assert_error(&err, GLM_NOT_FINITE, "inputs");
	h[7 * 64 + 7] = 1;
	w[3 * 64 + 5] = NAN;
	assert_false(factor_and_quantize(&q, w, h, &alone, &err));
	ck_assert_error(&err, GLM_NOT_FINITE, "row 3, column 5");
	glm_quant_close(&q);
	free(x);
	free(w);
	free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blas),
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_factor),
		cmocka_unit_test(test_output_error),
		cmocka_unit_test(test_better_on_outputs),
		cmocka_unit_test(test_int8),
		cmocka_unit_test(test_never_worse_than_hqq),
		cmocka_unit_test(test_threads_do_not_matter),
		cmocka_unit_test(test_stripes),
		cmocka_unit_test(test_bad_inputs),
	};

	return cmocka_run_group_tests_name("gptq", tests, NULL, NULL);
}
