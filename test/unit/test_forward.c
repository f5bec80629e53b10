/*
 * test_forward.c - the forward pass.
 *
 * Three things: a made-up model of odd shapes against a plain double-precision
 * pass; that a sequence's logits are the same bits however it is cut into
 * passes, whatever is beside it, on any number of threads, with every kernel
 * table; and the answers recorded with real checkpoints - the golden ones where
 * they are, and the embedded model's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "engine/half.h"
#include "engine/internal.h"
#include "engine/packed.h"
#include "matrix.h"

#define MAX_ROWS 96
#define CONTEXT 640

/* ---- A made-up model ------------------------------------------------------ */

static uint64_t seed = 11;

static float
random_float(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (float) (int32_t) (seed >> 32) * 0x1p-31f;
}

static float *
random_vector(size_t n, float middle)
{
	float	   *x = malloc(n * sizeof(float));

	assert_non_null(x);
	for (size_t i = 0; i < n; i++)
		x[i] = middle + 0.2f * random_float();
	return x;
}

/* The upper 16 bits of a float are a BF16; an F16 of its size is made by fields. */
static uint16_t
to_half(float value, glm_dtype dtype)
{
	uint32_t	bits;
	int			exponent;
	double		mantissa;

	memcpy(&bits, &value, sizeof bits);
	if (dtype == GLM_BF16)
		return (uint16_t) (bits >> 16);
	mantissa = frexp(fabs((double) value), &exponent);
	if (exponent < -13)
		return 0;
	return (uint16_t) ((bits >> 31 << 15) | (uint32_t) (exponent + 14) << 10 |
					   ((uint32_t) (mantissa * 2048) & 0x3ff));
}

static glm_tensor
packed_matrix(int rows, int columns, glm_dtype dtype)
{
	float	   *w = mx_weights(rows, columns);
	glm_quant_matrix q;
	glm_tensor	t;

	mx_quantize(&q, dtype, GLM_ROUND_HQQ, w, rows, columns, 32);
	t = mx_pack(&q);
	glm_quant_close(&q);
	free(w);
	return t;
}

static glm_tensor
random_matrix(int rows, int columns, glm_dtype dtype)
{
	size_t		n = (size_t) rows * (size_t) columns;
	float	   *x = malloc(n * sizeof(float));
	uint16_t   *half = (uint16_t *) x;
	float		size = 1.5f / sqrtf((float) columns);

	assert_non_null(x);
	if (glm_is_packed(dtype))
	{
		free(x);
		return packed_matrix(rows, columns, dtype);
	}
	for (size_t i = 0; i < n; i++)
	{
		float		value = size * random_float();

		if (dtype == GLM_F32)
			x[i] = value;
		else
			half[i] = to_half(value, dtype);
	}
	return (glm_tensor) {.data = x, .dtype = dtype, .n_dims = 2, .shape = {rows, columns}};
}

/* Nothing here is a multiple of 16, and one row is work enough for two threads. */
static glm_model *
make_model(glm_dtype dtype, glm_dtype kv_dtype)
{
	glm_model  *model = calloc(1, sizeof(*model));
	glm_model_config config = {
		.layers = 2, .hidden = 136, .heads = 6, .groups = 2, .head_dim = 20, .ffn = 262,
		.vocab = 509, .context = CONTEXT, .norm_eps = 1e-5f, .rope_base = 10000, .final_norm = true
	};
	int			pairs = config.head_dim / 4;

	assert_non_null(model);
	model->config = config;
	model->name = "made-up";
	model->embedding = random_matrix(config.vocab, config.hidden, dtype);
	model->output = random_matrix(config.vocab, config.hidden, dtype);
	model->final_norm = random_vector(136, 1);
	model->layer = calloc(2, sizeof(*model->layer));
	model->rope = malloc((size_t) (CONTEXT * pairs * 2) * sizeof(float));
	assert_true(model->layer && model->rope);
	for (int l = 0; l < config.layers; l++)
		model->layer[l] = (glm_layer) {
			.attn_norm = random_vector(136, 1),
			.qkv = random_matrix(200, 136, dtype),
			.qkv_bias = random_vector(200, 0),
			.dense = random_matrix(136, 120, dtype),
			.ffn_norm = random_vector(136, 1),
			.gate_up = random_matrix(2 * 262, 136, dtype),
			.down = random_matrix(136, 262, dtype),
		};
	for (int p = 0; p < CONTEXT; p++)
		for (int i = 0; i < pairs; i++)
		{
			double		angle = p * pow(10000, -2.0 * i / (config.head_dim / 2));

			model->rope[(p * pairs + i) * 2] = (float) cos(angle);
			model->rope[(p * pairs + i) * 2 + 1] = (float) sin(angle);
		}
	model->kv_dtype = kv_dtype;
	model->kv_block_bytes = glm_kv_block_bytes(&config, model->kv_dtype);
	return model;
}

static void
free_matrix(glm_tensor *t)
{
	if (glm_is_packed(t->dtype))
		mx_unpack(t);
	else
		free((void *) t->data);
}

static void
free_model(glm_model *model)
{
	for (int l = 0; l < model->config.layers; l++)
	{
		glm_layer  *layer = &model->layer[l];

		free(layer->attn_norm);
		free_matrix(&layer->qkv);
		free(layer->qkv_bias);
		free_matrix(&layer->dense);
		free(layer->ffn_norm);
		free_matrix(&layer->gate_up);
		free_matrix(&layer->down);
	}
	free_matrix(&model->embedding);
	free_matrix(&model->output);
	free(model->final_norm);
	free(model->layer);
	free(model->rope);
	free(model);
}

/* ---- The same in double ---------------------------------------------------- */

/* Row of a matrix as numbers: y [columns]. */
static void
slow_row(float *y, const glm_tensor *t, int row)
{
	size_t		first = (size_t) row * (size_t) t->shape[1];

	if (glm_is_packed(t->dtype))
	{
		glm_packed_row(y, t, row);
		return;
	}
	for (int i = 0; i < t->shape[1]; i++)
	{
		uint16_t	half = ((const uint16_t *) t->data)[first + (size_t) i];

		y[i] = t->dtype == GLM_F32 ? ((const float *) t->data)[first + (size_t) i]
			: t->dtype == GLM_F16 ? glm_f16_to_f32(half) : glm_bf16_to_f32(half);
	}
}

/* x [n] as products with packed weights see it: rounded to 8 bits in groups. */
static void
slow_int8(double *rounded, const double *x, int n, int group)
{
	for (int begin = 0; begin < n; begin += group)
	{
		int			end = begin + group < n ? begin + group : n;
		double		max = 0;

		for (int i = begin; i < end; i++)
			max = fmax(max, fabs(x[i]));
		for (int i = begin; i < end; i++)
			rounded[i] = max > 0 ? nearbyint(x[i] / max * 127) * max / 127 : 0;
	}
}

static void
slow_product(double *y, const glm_tensor *w, const double *x, const float *bias)
{
	double		rounded[262];

	if (glm_is_packed(w->dtype))
	{
		slow_int8(rounded, x, (int) w->shape[1], w->group);
		x = rounded;
	}
	for (int r = 0; r < w->shape[0]; r++)
	{
		float		row[262];

		slow_row(row, w, r);
		y[r] = bias ? bias[r] : 0;
		for (int c = 0; c < w->shape[1]; c++)
			y[r] += row[c] * x[c];
	}
}

static void
slow_norm(double *y, const double *x, const float *weight, int n)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += x[i] * x[i];
	for (int i = 0; i < n; i++)
		y[i] = x[i] / sqrt(sum / n + 1e-5) * weight[i];
}

static void
slow_rotate(double *head, int position)
{
	for (int i = 0; i < 5; i++)
	{
		double		angle = position * pow(10000, -2.0 * i / 10);
		double		a = head[2 * i],
					b = head[2 * i + 1];

		head[2 * i] = a * cos(angle) - b * sin(angle);
		head[2 * i + 1] = a * sin(angle) + b * cos(angle);
	}
}

/* One row of a layer; kv [position, K then V of both groups]. */
static void
slow_layer(const glm_layer *layer, double *x, double kv[][80], int position)
{
	double		normed[136],
				qkv[200],
				context[120] = {0},
				ffn[524],
				out[136];

	slow_norm(normed, x, layer->attn_norm, 136);
	slow_product(qkv, &layer->qkv, normed, layer->qkv_bias);
	for (int h = 0; h < 8; h++)
		slow_rotate(qkv + 20 * h, position);
	memcpy(kv[position], qkv + 120, sizeof(kv[position]));
	for (int h = 0; h < 6; h++)
	{
		double		sum = 0,
					score[CONTEXT];

		for (int p = 0; p <= position; p++)
		{
			score[p] = 0;
			for (int d = 0; d < 20; d++)
				score[p] += qkv[20 * h + d] * kv[p][20 * (h / 3) + d] / sqrt(20);
			sum += score[p] = exp(score[p]);
		}
		for (int p = 0; p <= position; p++)
			for (int d = 0; d < 20; d++)
				context[20 * h + d] += score[p] / sum * kv[p][40 + 20 * (h / 3) + d];
	}
	slow_product(out, &layer->dense, context, NULL);
	for (int i = 0; i < 136; i++)
		x[i] += out[i];
	slow_norm(normed, x, layer->ffn_norm, 136);
	slow_product(ffn, &layer->gate_up, normed, NULL);
	for (int i = 0; i < 262; i++)
		ffn[i] = ffn[i] / (1 + exp(-ffn[i])) * ffn[262 + i];
	slow_product(out, &layer->down, ffn, NULL);
	for (int i = 0; i < 136; i++)
		x[i] += out[i];
}

/* ---- Running ---------------------------------------------------------------- */

typedef struct setup
{
	glm_threads *threads;
	glm_kv_pool *kv;
	glm_forward *forward;
} setup;

static setup
set_up(const char *kernels, int threads)
{
	setup		s;
	glm_error	err;

	s.threads = glm_threads_open(threads, &err);
	s.kv = glm_kv_pool_open((size_t) 64 << 20);
	s.forward = glm_forward_open(kernels, s.threads, MAX_ROWS, &err);
	assert_true(s.threads && s.kv && s.forward);
	return s;
}

static void
tear_down(setup *s)
{
	assert_int_equal(glm_kv_pool_used(s->kv), 0);
	glm_forward_close(s->forward);
	glm_kv_pool_close(s->kv);
	glm_threads_close(s->threads);
}

static void
take_kv(setup *s, const glm_model *model, int tokens, glm_kv_table *kv)
{
	assert_true(glm_kv_take(s->kv, model->kv_block_bytes, tokens / GLM_KV_BLOCK + 1, kv));
}

/* Token p of a sequence of its own number. */
static int32_t
token_of(int sequence, int position)
{
	return (sequence * 131 + position * 37) % 509;
}

static void
run(setup *s, const glm_model *model, const glm_row *rows, int n, float **logits)
{
	glm_error	err;

	if (!glm_forward_run(s->forward, model, rows, n, logits, &err))
		fail_msg("%s", err.message);
}

/*
 * The logits of all n tokens of sequence 0, computed `chunk` at a time, with
 * `beside` other sequences in every pass: one more position of each.  [n, vocab]
 */
static float *
all_logits(setup *s, const glm_model *model, int n, int chunk, int beside)
{
	size_t		vocab = (size_t) model->config.vocab;
	float	   *all = malloc((size_t) n * vocab * sizeof(float));
	glm_kv_table kv[8];
	glm_row		rows[MAX_ROWS];
	glm_error	err;
	int			pass = 0;

	assert_non_null(all);
	assert_true(glm_forward_prepare(s->forward, model, &err));
	for (int q = 0; q <= beside; q++)
		take_kv(s, model, n, &kv[q]);
	for (int done = 0; done < n; pass++)
	{
		int			size = n - done < chunk ? n - done : chunk;
		int			r = 0,
					skip = 0;
		float	   *logits;

		/* some before and some behind; some of them want logits too */
		for (int q = 1; q <= beside; q++)
			if (q % 2)
			{
				rows[r++] = (glm_row) {token_of(q, pass), pass, &kv[q], q == 1};
				skip += q == 1;
			}
		for (int i = 0; i < size; i++)
			rows[r++] = (glm_row) {token_of(0, done + i), done + i, &kv[0], true};
		for (int q = 1; q <= beside; q++)
			if (q % 2 == 0)
				rows[r++] = (glm_row) {token_of(q, pass), pass, &kv[q], q == 2};
		run(s, model, rows, r, &logits);
		memcpy(all + (size_t) done * vocab, logits + (size_t) skip * vocab,
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
	glm_model  *model = make_model(dtype, kv_dtype);
	setup		s = set_up("auto", 2);
	float	   *got = all_logits(&s, model, length, length < MAX_ROWS ? length : MAX_ROWS, 0);
	static double kv[2][CONTEXT][80];
	double		worst = 0,
				early = 0,			/* worst of the first positions */
				difference = 0,
				size = 0;

	for (int p = 0; p < length; p++)
	{
		float		embedded[136];
		double		x[136],
					normed[136],
					logits[509];

		slow_row(embedded, &model->embedding, token_of(0, p));
		for (int i = 0; i < 136; i++)
			x[i] = embedded[i];
		for (int l = 0; l < 2; l++)
			slow_layer(&model->layer[l], x, kv[l], p);
		slow_norm(normed, x, model->final_norm, 136);
		slow_product(logits, &model->output, normed, NULL);
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
	tear_down(&s);
	free_model(model);
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
	check_against_double(GLM_F16, GLM_F32, CONTEXT - 1, 2e-5);
}

static void
check_same(const glm_model *model, const char *kernels, int threads, int length, int chunk,
		   int beside, const float *want)
{
	setup		s = set_up(kernels, threads);
	float	   *got = all_logits(&s, model, length, chunk, beside);

	if (memcmp(got, want, (size_t) length * (size_t) model->config.vocab * sizeof(float)) != 0)
		fail_msg("other logits: %s kernels, %d threads, chunks of %d, %d beside",
				 glm_forward_kernels(s.forward), threads, chunk, beside);
	free(got);
	tear_down(&s);
}

static void
check_bits(glm_dtype dtype, glm_dtype kv_dtype)
{
	static const int chunks[] = {1, 3, 7, 32, LENGTH};
	glm_model  *model = make_model(dtype, kv_dtype);
	setup		s = set_up("scalar", 1);
	float	   *want = all_logits(&s, model, LENGTH, LENGTH, 0);

	tear_down(&s);
	for (int threads = 1; threads <= 3; threads++)
		for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++)
			for (int beside = 0; beside <= 5; beside += 5)
				check_same(model, "auto", threads, LENGTH, chunks[c], beside, want);
	check_same(model, "scalar", 2, LENGTH, 7, 5, want);
	free(want);
	free_model(model);
}

static void
test_bits_do_not_depend(void **state)
{
	(void) state;
	check_bits(GLM_F16, GLM_F32);
	check_bits(GLM_Q4, GLM_F16);
	check_bits(GLM_Q8, GLM_F16);
}

/* Contexts of more than one stretch of attention, begun and ended anywhere. */
static void
test_bits_of_long_contexts(void **state)
{
	static const int chunks[] = {1, 19, 64, MAX_ROWS};

	(void) state;
	for (int kv_dtype = GLM_F32; kv_dtype <= GLM_F16; kv_dtype++)
	{
		glm_model  *model = make_model(GLM_F16, (glm_dtype) kv_dtype);
		setup		s = set_up("scalar", 1);
		float	   *want = all_logits(&s, model, CONTEXT - 1, 32, 0);

		tear_down(&s);
		for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++)
			check_same(model, "auto", 2, CONTEXT - 1, chunks[c], 0, want);
		free(want);
		free_model(model);
	}
}

/* Puts a plain fp32 matrix of the same values in t's place. */
static void
widen(glm_tensor *t)
{
	size_t		columns = (size_t) t->shape[1];
	float	   *x = malloc((size_t) t->shape[0] * columns * sizeof(float));

	assert_non_null(x);
	for (int r = 0; r < t->shape[0]; r++)
		slow_row(x + (size_t) r * columns, t, r);
	free_matrix(t);
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
	glm_model  *model = make_model(dtype, GLM_F32);
	setup		s = set_up(kernels, 2);
	size_t		n = LENGTH * (size_t) model->config.vocab;
	float	   *got = all_logits(&s, model, LENGTH, 32, 0);
	float	   *want;
	double		difference = 0,
				size = 0;

	widen(&model->embedding);
	widen(&model->output);
	for (int l = 0; l < model->config.layers; l++)
	{
		widen(&model->layer[l].qkv);
		widen(&model->layer[l].dense);
		widen(&model->layer[l].gate_up);
		widen(&model->layer[l].down);
	}
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
	tear_down(&s);
	free_model(model);
}

static void
test_packed_is_near_what_it_stands_for(void **state)
{
	(void) state;
	check_widened(GLM_Q4, "auto");
	check_widened(GLM_Q8, "auto");
	check_widened(GLM_Q4, "scalar");
}

/* Rows without logits cost none, and leave the KV all the same. */
static void
test_logits_of_some_rows(void **state)
{
	glm_model  *model = make_model(GLM_BF16, GLM_F32);
	setup		s = set_up("auto", 1);
	float	   *want = all_logits(&s, model, 40, 40, 0);
	glm_kv_table kv;
	glm_row		rows[40];
	float	   *logits;

	(void) state;
	take_kv(&s, model, 40, &kv);
	for (int i = 0; i < 40; i++)
		rows[i] = (glm_row) {token_of(0, i), i, &kv, i == 5 || i == 39};
	run(&s, model, rows, 20, &logits);
	assert_memory_equal(logits, want + 5 * 509, 509 * sizeof(float));
	run(&s, model, rows + 20, 10, &logits);
	run(&s, model, rows + 30, 10, &logits);
	assert_memory_equal(logits, want + 39 * 509, 509 * sizeof(float));
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	free(want);
	tear_down(&s);
	free_model(model);
}

static void
check_refused(setup *s, const glm_model *model, const glm_row *rows, int n,
			  glm_status status, const char *fragment)
{
	float	   *logits;
	glm_error	err;

	assert_false(glm_forward_run(s->forward, model, rows, n, &logits, &err));
	ck_assert_error(&err, status, fragment);
}

static void
test_bad_rows(void **state)
{
	glm_model  *model = make_model(GLM_F32, GLM_F32);
	setup		s = set_up("auto", 1);
	glm_kv_table kv;
	glm_row		rows[MAX_ROWS + 1] = {{0}};
	glm_error	err;

	(void) state;
	assert_true(glm_forward_prepare(s.forward, model, &err));
	take_kv(&s, model, 40, &kv);
	rows[0] = (glm_row) {509, 0, &kv, true};
	check_refused(&s, model, rows, 1, GLM_BAD_ARGUMENT, "token id 509");
	rows[0].token = -1;
	check_refused(&s, model, rows, 1, GLM_BAD_ARGUMENT, "token id -1");
	rows[0] = (glm_row) {1, CONTEXT, &kv, true};
	check_refused(&s, model, rows, 1, GLM_TOO_LONG, "640");
	rows[0].position = -1;
	check_refused(&s, model, rows, 1, GLM_TOO_LONG, "-1");
	rows[0].position = 64;
	check_refused(&s, model, rows, 1, GLM_INTERNAL, "KV block");
	check_refused(&s, model, rows, 0, GLM_INTERNAL, "rows");
	check_refused(&s, model, rows, MAX_ROWS + 1, GLM_INTERNAL, "rows");
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	tear_down(&s);
	free_model(model);
}

/* Broken weights reach the logits as NaN, they do not vanish on the way. */
static void
test_nan_is_seen(void **state)
{
	glm_model  *model = make_model(GLM_F32, GLM_F32);
	setup		s = set_up("auto", 2);
	float	   *broken = (float *) model->layer[0].qkv.data;
	float	   *logits;

	(void) state;
	for (int part = 0; part < 3; part++)
	{
		static const int row[] = {3, 125, 165};	/* of Q, of K, of V */
		float	   *place = &broken[row[part] * 136];
		float		before = *place;

		*place = NAN;
		logits = all_logits(&s, model, 10, 10, 0);
		assert_true(isnan(logits[9 * 509]));
		free(logits);
		*place = before;
	}
	tear_down(&s);
	free_model(model);
}

static void
test_open_errors(void **state)
{
	glm_error	err;
	glm_threads *threads = glm_threads_open(1, &err);

	(void) state;
	assert_null(glm_forward_open("vax", threads, 8, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "vax");
	glm_forward_close(NULL);
	glm_threads_close(threads);
}

/* ---- Recorded answers ------------------------------------------------------------ */

static int32_t
greedy(const float *logits, int vocab)
{
	int32_t		best = 0;

	for (int i = 1; i < vocab; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* Computes a prompt in chunks; the logits after it. */
static float *
prefill(setup *s, const glm_model *model, const json_t *ids, glm_kv_table *kv)
{
	int			n = (int) json_array_size(ids);
	glm_row		rows[MAX_ROWS];
	float	   *logits = NULL;

	for (int done = 0; done < n;)
	{
		int			size = n - done < MAX_ROWS ? n - done : MAX_ROWS;

		for (int i = 0; i < size; i++)
			rows[i] = (glm_row) {
				(int32_t) json_integer_value(json_array_get(ids, (size_t) (done + i))),
				done + i, kv, done + i == n - 1
			};
		run(s, model, rows, size, &logits);
		done += size;
	}
	return logits;
}

/* `expected` lists the first logits, as many as were recorded. */
static double
worst_logit(const float *logits, const json_t *expected)
{
	double		worst = 0;

	for (size_t i = 0; i < json_array_size(expected); i++)
		worst = fmax(worst, fabs(logits[i] - json_number_value(json_array_get(expected, i))));
	return worst;
}

static void
check_logits(setup *s, const glm_model *model, const json_t *entry, double *worst)
{
	const json_t *ids = json_object_get(entry, "ids");
	glm_kv_table kv;

	/* those of the padding behind the vocabulary were not recorded */
	assert_in_range(json_array_size(json_object_get(entry, "next_logits")), 1, model->config.vocab);
	take_kv(s, model, (int) json_array_size(ids), &kv);
	*worst = fmax(*worst, worst_logit(prefill(s, model, ids, &kv),
									  json_object_get(entry, "next_logits")));
	glm_kv_give(s->kv, model->kv_block_bytes, &kv);
}

/* The greedy ids must come, each of them: their margins exceed any rounding. */
static void
check_chat(setup *s, const glm_model *model, const json_t *chat, double *worst)
{
	const json_t *ids = json_object_get(chat, "ids");
	const json_t *answer = json_object_get(chat, "greedy_ids");
	int			n = (int) json_array_size(ids);
	int			steps = (int) json_array_size(answer);
	glm_kv_table kv;
	float	   *logits;

	assert_true(n > 0 && steps > 0);
	assert_true(json_number_value(json_object_get(chat, "min_margin")) > 1e-4);
	take_kv(s, model, n + steps, &kv);
	logits = prefill(s, model, ids, &kv);
	*worst = fmax(*worst, worst_logit(logits, json_object_get(chat, "first_logits")));
	for (int i = 0; i < steps; i++)
	{
		int32_t		token = greedy(logits, model->config.vocab);
		glm_row		row = {token, n + i, &kv, true};

		assert_int_equal(token, json_integer_value(json_array_get(answer, (size_t) i)));
		run(s, model, &row, 1, &logits);
	}
	glm_kv_give(s->kv, model->kv_block_bytes, &kv);
}

static void
check_checkpoint(const char *dir, const char *expected)
{
	glm_error	err;
	json_error_t json_error;
	glm_model  *model = glm_model_open("checkpoint", dir, &err);
	json_t	   *json = json_load_file(expected, 0, &json_error);
	setup		s = set_up("auto", 2);
	double		worst = 0;

	if (model == NULL)
		fail_msg("%s", err.message);
	if (json == NULL)
		fail_msg("%s: %s", expected, json_error.text);
	assert_true(glm_forward_prepare(s.forward, model, &err));
	assert_true(json_array_size(json_object_get(json, "chat")) > 0);
	for (size_t i = 0; i < json_array_size(json_object_get(json, "chat")); i++)
		check_chat(&s, model, json_array_get(json_object_get(json, "chat"), i), &worst);
	for (size_t i = 0; i < json_array_size(json_object_get(json, "logits")); i++)
		check_logits(&s, model, json_array_get(json_object_get(json, "logits"), i), &worst);
	printf("# %s: logits at most %.1e off\n", dir, worst);
	assert_true(worst < 1e-4);
	json_decref(json);
	tear_down(&s);
	glm_model_close(model);
}

static void
test_golden(void **state)
{
	const char *golden = ck_golden();

	(void) state;
	if (golden == NULL)
		skip();
	for (const char *name = "ab"; *name; name++)
	{
		char		dir[CK_PATH],
					expected[CK_PATH];

		snprintf(dir, sizeof(dir), "%s/chatglm3-%c", golden, *name);
		ck_path(expected, dir, "expected.json");
		check_checkpoint(dir, expected);
	}
}

static void
test_embedded_model(void **state)
{
	(void) state;
	check_checkpoint("models/tiny-chatglm3", "test/model/expected.json");
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
		cmocka_unit_test(test_bad_rows),
		cmocka_unit_test(test_nan_is_seen),
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_embedded_model),
	};

	return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
