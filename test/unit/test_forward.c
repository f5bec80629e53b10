/*
 * test_forward.c - the forward pass of a made-up model.
 *
 * Two things: that it is what a plain double-precision pass computes; and that a
 * sequence's logits are the same bits however it is cut into passes, whatever is
 * beside it, on any number of threads, with every kernel table.
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
#include "made_up.h"
#include "matrix.h"
#include "runner.h"

/* Token p of a sequence of its own number. */
static int32_t
token_of(int sequence, int position)
{
	return (sequence * 131 + position * 37) % 509;
}

/*
 * The logits of all n tokens of sequence 0, computed `chunk` at a time, with
 * `beside` other sequences in every pass: one more position of each.  [n, vocab]
 */
static float *
all_logits(rn_setup *s, const glm_model *model, int n, int chunk, int beside)
{
	size_t		 vocab = (size_t) model->config.vocab;
	float		*all = malloc((size_t) n * vocab * sizeof(float));
	glm_kv_table kv[8];
	int			 pass = 0;

	assert_non_null(all);
	rn_use(s, model);
	for (int q = 0; q <= beside; q++)
		rn_take_kv(s, model, n, &kv[q]);
	for (int done = 0; done < n; pass++)
	{
		int			 size = n - done < chunk ? n - done : chunk;
		const float *logits;

		/* some before and some behind; some of them want logits too */
		for (int q = 1; q <= beside; q += 2)
			rn_row(s, &kv[q], token_of(q, pass), pass, q == 1);
		glm_rows_begin(&s->rows, &kv[0]);
		for (int i = 0; i < size; i++)
			glm_rows_add(&s->rows, token_of(0, done + i), done + i, GLM_WANT_LOGITS);
		for (int q = 2; q <= beside; q += 2)
			rn_row(s, &kv[q], token_of(q, pass), pass, q == 2);
		logits = rn_run(s);
		memcpy(all + (size_t) done * vocab, logits + (beside > 0 ? vocab : 0),
			   (size_t) size * vocab * sizeof(float));
		done += size;
	}
	for (int q = 0; q <= beside; q++)
		glm_kv_give(s->kv, model->kv_block_bytes, &kv[q]);
	return all;
}

/* ---- Tests with the made-up model --------------------------------------------- */

#define LENGTH 75

static void
check_against_double(glm_dtype dtype, glm_dtype kv_dtype, int length, double bound)
{
	glm_model *model = md_make(dtype, kv_dtype);
	rn_setup   s = rn_open("auto", 2);
	float	  *got = all_logits(&s, model, length, length < RN_MAX_ROWS ? length : RN_MAX_ROWS, 0);
	static double kv[2][MD_CONTEXT][80];
	double		  worst = 0, early = 0, /* worst of the first positions */
		difference = 0, size = 0;

	for (int p = 0; p < length; p++)
	{
		float  embedded[136];
		double x[136], normed[136], logits[509];

		mx_row(embedded, md_tensor(model, GLM_EMBEDDING, GLM_NO_LAYER), token_of(0, p));
		for (int i = 0; i < 136; i++)
			x[i] = embedded[i];
		for (int l = 0; l < 2; l++)
			md_layer(model, l, x, kv[l], p);
		md_norm(normed, x, glm_model_norm(model, GLM_FINAL_NORM, GLM_NO_LAYER), 136);
		md_product(logits, md_tensor(model, GLM_HEAD, GLM_NO_LAYER), normed, NULL);
		for (int i = 0; i < 509; i++)
		{
			if (p < 16)
				early = fmax(early, fabs(logits[i] - got[p * 509 + i]));
			worst = fmax(worst, fabs(logits[i] - got[p * 509 + i]));
			difference += pow(logits[i] - got[p * 509 + i], 2);
			size += logits[i] * logits[i];
		}
	}
	printf("# logits at most %.1e off, %.1e of their size\n", worst, sqrt(difference / size));
	assert_true(early < (bound));
	/*
	 * Sooner or later fp32 and double round an activation to different integers, a
	 * step apart, which moves more of them; until then they agree as they do elsewhere.
	 */
	assert_true(glm_is_packed(dtype) ? sqrt(difference / size) < 1e-2 : worst < bound);
	free(got);
	rn_close(&s);
	md_free(model);
}

static void
test_against_double(void **state)
{
	(void) state;
	check_against_double(GLM_F32, GLM_F32, LENGTH, 2e-5);
	check_against_double(GLM_F16, GLM_F32, LENGTH, 2e-5);
	check_against_double(GLM_BF16, GLM_F32, LENGTH, 2e-5);
	check_against_double(GLM_Q4, GLM_F32, LENGTH, 2e-5);
	check_against_double(GLM_Q8, GLM_F32, LENGTH, 2e-5);
	/* keys and values that were rounded, and more than one stretch of attention */
	check_against_double(GLM_F16, GLM_F16, LENGTH, 4e-3);
	check_against_double(GLM_F16, GLM_I8, LENGTH, 4e-2);
	check_against_double(GLM_F16, GLM_F32, MD_CONTEXT - 1, 2e-5);
}

static void
check_same(const glm_model *model, const char *kernels, int threads, int length, int chunk,
		   int beside, const float *want)
{
	rn_setup s = rn_open(kernels, threads);
	float	*got = all_logits(&s, model, length, chunk, beside);

	if (memcmp(got, want, (size_t) length * (size_t) model->config.vocab * sizeof(float)) != 0)
		fail_msg("other logits: %s kernels, %d threads, chunks of %d, %d beside", kernels, threads,
				 chunk, beside);
	free(got);
	rn_close(&s);
}

static void
check_bits(glm_dtype dtype, glm_dtype kv_dtype)
{
	static const int chunks[] = {1, 3, 7, 32, LENGTH};
	glm_model		*model = md_make(dtype, kv_dtype);
	rn_setup		 s = rn_open("scalar", 1);
	float			*want = all_logits(&s, model, LENGTH, LENGTH, 0);

	rn_close(&s);
	for (int threads = 1; threads <= 3; threads++)
		for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++)
			for (int beside = 0; beside <= 5; beside += 5)
				check_same(model, "auto", threads, LENGTH, chunks[c], beside, want);
	check_same(model, "scalar", 2, LENGTH, 7, 5, want);
	free(want);
	md_free(model);
}

static void
test_bits_do_not_depend(void **state)
{
	(void) state;
	check_bits(GLM_F16, GLM_F32);
	check_bits(GLM_Q4, GLM_F16);
	check_bits(GLM_Q8, GLM_F16);
	check_bits(GLM_F16, GLM_I8);
	check_bits(GLM_Q4, GLM_I8);
}

/* Contexts of more than one stretch of attention, begun and ended anywhere; passes of several parts. */
static void
test_bits_of_long_contexts(void **state)
{
	static const int	   chunks[] = {1, 19, 64, 129, RN_MAX_ROWS};
	static const glm_dtype dtypes[][2] = {
		{GLM_F16, GLM_F32}, {GLM_F16, GLM_F16}, {GLM_F16, GLM_I8}, {GLM_Q4, GLM_F16}};

	(void) state;
	for (int t = 0; t < 4; t++)
	{
		glm_model *model = md_make(dtypes[t][0], dtypes[t][1]);
		rn_setup   s = rn_open("scalar", 1);
		float	  *want = all_logits(&s, model, MD_CONTEXT - 1, 32, 0);

		rn_close(&s);
		for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++)
			check_same(model, "auto", 2, MD_CONTEXT - 1, chunks[c], 0, want);
		free(want);
		md_free(model);
	}
}

/* Puts a plain fp32 matrix of the same values in t's place. */
static void
widen(glm_tensor *t)
{
	float *x = mx_widen(t);

	md_free_matrix(t);
	t->data = x;
	t->dtype = GLM_F32;
}

/*
 * A packed model is near the fp32 model of the values it stands for: the difference
 * is what rounding activations to 8 bits costs.
 */
static void
check_widened(glm_dtype dtype, const char *kernels)
{
	glm_model *model = md_make(dtype, GLM_F32);
	rn_setup   s = rn_open(kernels, 2);
	size_t	   n = LENGTH * (size_t) model->config.vocab;
	float	  *got = all_logits(&s, model, LENGTH, 32, 0);
	float	  *want;
	double	   difference = 0, size = 0;

	for (int i = 0; i < model->n_matrices; i++)
		widen(&model->matrix[i].tensor);
	want = all_logits(&s, model, LENGTH, 32, 0);
	for (size_t i = 0; i < n; i++)
	{
		difference += pow(got[i] - want[i], 2);
		size += pow(want[i], 2);
	}
	printf("# %.4f of the logits\n", sqrt(difference / size));
	assert_true(difference > 0 && sqrt(difference / size) < 0.02);
	free(got);
	free(want);
	rn_close(&s);
	md_free(model);
}

static void
test_packed_is_near_what_it_stands_for(void **state)
{
	(void) state;
	check_widened(GLM_Q4, "auto");
	check_widened(GLM_Q8, "auto");
	check_widened(GLM_Q4, "scalar");
}

/* The tokens [from, to) of sequence 0; one of them wants logits, -1: none. */
static void
add_rows(rn_setup *s, const glm_kv_table *kv, int from, int to, int with)
{
	glm_rows_begin(&s->rows, kv);
	for (int p = from; p < to; p++)
		glm_rows_add(&s->rows, token_of(0, p), p, p == with ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
}

/* Rows without logits cost none, and leave the KV all the same. */
static void
test_logits_of_some_rows(void **state)
{
	glm_model	*model = md_make(GLM_BF16, GLM_F32);
	rn_setup	 s = rn_open("auto", 1);
	float		*want = all_logits(&s, model, 40, 40, 0);
	glm_kv_table kv;

	(void) state;
	rn_take_kv(&s, model, 40, &kv);
	add_rows(&s, &kv, 0, 20, 5);
	assert_memory_equal(rn_run(&s), want + 5 * 509, 509 * sizeof(float));
	add_rows(&s, &kv, 20, 30, -1);
	rn_run(&s);
	add_rows(&s, &kv, 30, 40, 39);
	assert_memory_equal(rn_run(&s), want + 39 * 509, 509 * sizeof(float));
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	free(want);
	rn_close(&s);
	md_free(model);
}

/*
 * Hidden states are what the head is given: each times the head's matrix is the row's
 * logits.  Rows that want them and rows that want logits get in nobody's way.
 */
static void
test_hidden_states(void **state)
{
	glm_model	*model = md_make(GLM_F32, GLM_F32);
	rn_setup	 s = rn_open("auto", 2);
	float		*want = all_logits(&s, model, 40, 40, 0);
	glm_kv_table kv;
	const float *logits;

	(void) state;
	rn_take_kv(&s, model, 40, &kv);
	glm_rows_begin(&s.rows, &kv);
	for (int p = 0; p < 40; p++)
		glm_rows_add(&s.rows, token_of(0, p), p, (glm_want) (p % 3));
	logits = rn_run(&s);
	for (int p = 0; p < 40; p++)
	{
		double hidden[136], product[509];

		if (p % 3 == GLM_WANT_LOGITS)
			assert_memory_equal(logits + p / 3 * 509, want + p * 509, 509 * sizeof(float));
		if (p % 3 != GLM_WANT_HIDDEN)
			continue;
		for (int i = 0; i < 136; i++)
			hidden[i] = s.results.hidden[p / 3 * 136 + i];
		md_product(product, md_tensor(model, GLM_HEAD, GLM_NO_LAYER), hidden, NULL);
		for (int i = 0; i < 509; i++)
			assert_true(fabs(product[i] - want[p * 509 + i]) < 1e-5);
	}
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	free(want);
	rn_close(&s);
	md_free(model);
}

static void
test_bad_rows(void **state)
{
	glm_model	*model = md_make(GLM_F32, GLM_F32);
	rn_setup	 s = rn_open("auto", 1);
	glm_kv_table kv, other;

	(void) state;
	rn_use(&s, model);
	rn_take_kv(&s, model, 40, &kv);
	rn_take_kv(&s, model, 40, &other);
	rn_row(&s, &kv, 509, 0, true);
	rn_run_refused(&s, GLM_BAD_ARGUMENT, "token id 509");
	rn_row(&s, &kv, -1, 0, true);
	rn_run_refused(&s, GLM_BAD_ARGUMENT, "token id -1");
	rn_row(&s, &kv, 1, MD_CONTEXT, true);
	rn_run_refused(&s, GLM_TOO_LONG, "640");
	rn_row(&s, &kv, 1, -1, true);
	rn_run_refused(&s, GLM_TOO_LONG, "-1");
	rn_row(&s, &kv, 1, 64, true);
	rn_run_refused(&s, GLM_INTERNAL, "KV block");
	/* nor those of the sequence behind it */
	rn_row(&s, &kv, 1, 64, true);
	rn_row(&s, &other, 1, 0, true);
	rn_run_refused(&s, GLM_INTERNAL, "KV block");
	rn_run_refused(&s, GLM_INTERNAL, "rows");
	glm_rows_begin(&s.rows, &kv);
	for (int i = 0; i <= RN_MAX_ROWS; i++)
		glm_rows_add(&s.rows, 1, i, GLM_WANT_NOTHING);
	rn_run_refused(&s, GLM_INTERNAL, "rows");
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	glm_kv_give(s.kv, model->kv_block_bytes, &other);
	rn_close(&s);
	md_free(model);
}

/* Buffers are for so many rows with logits as were asked for, and others are refused. */
static void
test_most_logits(void **state)
{
	glm_model		   *model = md_make(GLM_F32, GLM_F32);
	rn_setup			s = rn_open("auto", 1);
	glm_forward_options options = {
		.kernels = "auto", .pool = s.threads, .max_rows = RN_MAX_ROWS, .max_logits = 2};
	glm_kv_table kv;
	glm_error	 err = {0};

	(void) state;
	glm_forward_close(s.forward);
	s.forward = glm_forward_open(&options, &err);
	assert_non_null(s.forward);
	assert_true(glm_forward_kv_pool(s.forward, 0, glm_kv_pool_total(s.kv), &err));
	rn_use(&s, model);
	rn_take_kv(&s, model, 40, &kv);
	for (int n = 2; n <= 3; n++)
	{
		glm_rows_begin(&s.rows, &kv);
		for (int p = 0; p < 5; p++)
			glm_rows_add(&s.rows, 1, p, p < n ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
		if (n == 2)
			rn_run(&s);
		else
			rn_run_refused(&s, GLM_INTERNAL, "3 with logits");
	}
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	rn_close(&s);
	md_free(model);
}

/* Broken weights reach the logits as NaN, they do not vanish on the way. */
static void
test_nan_is_seen(void **state)
{
	glm_model *model = md_make(GLM_F32, GLM_F32);
	rn_setup   s = rn_open("auto", 2);
	float	  *broken = (float *) md_tensor(model, GLM_QKV, 0)->data;
	float	  *logits;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		static const int row[] = {3, 125, 165}; /* of Q, of K, of V */
		float			*place = &broken[row[i] * 136];
		float			 before = *place;

		*place = NAN;
		logits = all_logits(&s, model, 10, 10, 0);
		assert_true(isnan(logits[9 * 509]));
		free(logits);
		*place = before;
	}
	rn_close(&s);
	md_free(model);
}

static int layers_granted;

static bool
grant_layers(void *arg, glm_error *err)
{
	(void) arg;
	return layers_granted-- > 0 || glm_fail(err, GLM_CANCELLED, "no more layers");
}

/* A pass can be ended before each layer; the next one of the same rows is none the worse. */
static void
test_ended_pass(void **state)
{
	glm_model	*model = md_make(GLM_F32, GLM_F32);
	rn_setup	 s = rn_open("auto", 2);
	float		*want = all_logits(&s, model, 12, 12, 0);
	glm_kv_table kv;

	(void) state;
	rn_take_kv(&s, model, 12, &kv);
	for (int n = 0; n < model->config.layers; n++)
	{
		layers_granted = n;
		glm_pause_with(grant_layers, NULL);
		add_rows(&s, &kv, 0, 12, 11);
		rn_run_refused(&s, GLM_CANCELLED, "no more layers");
		glm_pause_with(NULL, NULL);
		add_rows(&s, &kv, 0, 12, 11);
		assert_memory_equal(rn_run(&s), want + 11 * 509, 509 * sizeof(float));
	}
	free(want);
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	rn_close(&s);
	md_free(model);
}

static void
test_open_errors(void **state)
{
	glm_error			err = {0};
	glm_forward_options options = {
		.kernels = "vax", .pool = glm_threads_open(1, &err), .max_rows = 8};

	(void) state;
	assert_null(glm_forward_open(&options, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "vax");
	options.kernels = "auto";
	options.device = "cpu:1";
	assert_null(glm_forward_open(&options, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "no device \"cpu:1\"");
	glm_forward_close(NULL);
	glm_threads_close(options.pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_double),
		cmocka_unit_test(test_bits_do_not_depend),
		cmocka_unit_test(test_bits_of_long_contexts),
		cmocka_unit_test(test_packed_is_near_what_it_stands_for),
		cmocka_unit_test(test_logits_of_some_rows),
		cmocka_unit_test(test_hidden_states),
		cmocka_unit_test(test_bad_rows),
		cmocka_unit_test(test_most_logits),
		cmocka_unit_test(test_nan_is_seen),
		cmocka_unit_test(test_ended_pass),
		cmocka_unit_test(test_open_errors),
	};

	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
