/*
 * test_attention.c - from the keys and values that are stored to what attention
 * makes of them, over a head of several groups whose last is not whole.
 *
 * Keys and values in int8 are set against fp32; contexts of several stretches, in
 * every dtype and by every kernel table, against the definition in cpu_attention.c,
 * written down once more here, and against double precision.
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
#include "engine/compute/backend.h"
#include "engine/compute/kernels/kernels.h"
#include "engine/base/threads.h"
#include "engine/compute/rows.h"
#include "engine/model/model.h"
#include "engine/serve/kv.h"

#define HEAD_DIM 72 /* groups of 32, 32 and 8 */
#define HEADS 4		/* in 2 groups of KV */
#define SHORT 45	/* rows: a block and a part of one */
#define LONG 1090	/* two stretches and a part of one */
#define WIDTH ((HEADS + 4) * HEAD_DIM)

typedef struct setup
{
	glm_threads		  *pool;
	const glm_backend *be;
	glm_device		  *dev; /* whose memory is the host's */
	glm_model		   model;
	glm_weights		  *weights; /* none, but what goes with them */
	glm_kv_pool		  *kv_pool;
	char			  *kv_memory;
	glm_kv_table	   kv;
	int				   rows;
	glm_rows		   pass;
	float			   qkv[LONG][WIDTH];   /* attention turns and scales Q */
	float			   given[LONG][WIDTH]; /* as it was before */
	float			   out[LONG][HEADS * HEAD_DIM];
} setup;

static uint32_t seed;

static float
random_float(void)
{
	seed = seed * 1664525 + 1013904223;
	return (float) (int32_t) seed * 0x1p-31f;
}

/* Rows of random Q, K and V; a context in which rotary embedding turns nothing. */
static setup *
set_up(glm_dtype kv_dtype, const char *kernels, int rows)
{
	setup			 *s = calloc(1, sizeof(*s));
	glm_model		 *model = &s->model;
	glm_tensor_list	  no_tensors = {0};
	glm_device_choice cpu;
	glm_error		  err;

	model->config = (glm_model_config){.layers = 1,
									   .heads = HEADS,
									   .groups = 2,
									   .head_dim = HEAD_DIM,
									   .rotary = HEAD_DIM / 2,
									   .context = rows};
	model->kv_dtype = kv_dtype;
	model->kv_block_bytes = glm_kv_block_bytes(&model->config, kv_dtype);
	model->rope = calloc((size_t) rows * HEAD_DIM / 2, sizeof(float));
	s->pool = glm_threads_open(2, &err);
	assert_true(glm_backend_find("cpu", NULL, &cpu, &err));
	s->be = cpu.backend;
	s->dev = s->be->open(&(int){0}, 1, kernels, s->pool, GLM_EXACT, &err);
	s->kv_pool = glm_kv_pool_open((size_t) 16 << 20);
	assert_true(model->rope && s->pool && s->dev && s->kv_pool);
	s->kv_memory = (char *) s->be->kv_pool(s->dev, 0, (size_t) 16 << 20, &err).at;
	assert_non_null(s->kv_memory);
	assert_true(glm_model_lay_out(model, &no_tensors, &err));
	s->weights = s->be->load(s->dev, 0, model, GLM_ALL_SEGMENTS, rows, NULL, NULL, &err);
	assert_non_null(s->weights);
	assert_true(glm_rows_reserve(&s->pass, rows, (size_t) rows, &err));
	assert_true(glm_kv_take(s->kv_pool, model->kv_block_bytes, (rows + 31) / 32, &s->kv));
	seed = 5;
	s->rows = rows;
	glm_rows_begin(&s->pass, &s->kv);
	for (int i = 0; i < rows; i++)
	{
		glm_rows_add(&s->pass, 0, i, GLM_WANT_NOTHING);
		for (int j = 0; j < WIDTH; j++)
			s->qkv[i][j] = random_float();
	}
	for (int i = 0; i < rows * HEAD_DIM / 2; i += 2)
		model->rope[i] = 1;
	return s;
}

static void
tear_down(setup *s)
{
	glm_kv_give(s->kv_pool, s->model.kv_block_bytes, &s->kv);
	glm_kv_pool_close(s->kv_pool);
	s->be->unload(s->dev, s->weights);
	s->be->close(s->dev);
	glm_threads_close(s->pool);
	glm_rows_free(&s->pass);
	free(s->model.matrix);
	free(s->model.place);
	free(s->model.norm);
	free(s->model.rope);
	free(s);
}

static void
attend(setup *s)
{
	memcpy(s->given, s->qkv, sizeof(s->given));
	s->be->begin(s->dev, s->weights, &s->pass.pass);
	s->be->attention(s->dev, (glm_mem){(uintptr_t) s->out}, (glm_mem){(uintptr_t) s->qkv}, 0, 0,
					 s->rows);
	s->be->end(s->dev);
}

/* ---- What is stored ------------------------------------------------------------- */

static char *
block_of(const setup *s, int row)
{
	return s->kv_memory + (size_t) s->kv.block[row / 32] * GLM_KV_UNIT;
}

/* Element i of a row's key or value, of KV group g, by the layout that kv_layout.h describes. */
static float
stored(const setup *s, int row, int g, int i, bool value)
{
	const char *half =
		block_of(s, row) + (value ? glm_kv_values(&s->model, 0, g) : glm_kv_keys(&s->model, 0, g));
	const int8_t *code = (const int8_t *) half;
	const float	 *scale = (const float *) (half + 32 * HEAD_DIM);
	int			  place = row % 32, at = value ? place * HEAD_DIM + i : i * 32 + place;

	if (s->model.kv_dtype == GLM_F32)
		return ((const float *) half)[at];
	if (s->model.kv_dtype == GLM_F16)
		return glm_f16_to_f32(((const uint16_t *) half)[at]);
	return (float) code[at] * scale[value ? place * 3 + i / 32 : i / 32 * 32 + place];
}

static float *
original(setup *s, int row, int g, bool value)
{
	return &s->qkv[row][(HEADS + (value ? 2 : 0) + g) * HEAD_DIM];
}

/* The largest magnitude of the group that element i is in. */
static float
largest(const float *x, int i)
{
	float most = 0;

	for (int j = i / 32 * 32; j < HEAD_DIM && j < i / 32 * 32 + 32; j++)
		most = fmaxf(most, fabsf(x[j]));
	return most;
}

static void
test_stored_to_half_a_step(void **state)
{
	setup *s = set_up(GLM_I8, "auto", SHORT);

	(void) state;
	/* one group that is large, and one that is zero: no other loses by them */
	original(s, 7, 1, false)[3] = 1000;
	memset(original(s, 40, 0, true) + 32, 0, 32 * sizeof(float));
	attend(s);
	for (int row = 0; row < SHORT; row++)
		for (int h = 0; h < 4; h++)
			for (int i = 0; i < HEAD_DIM; i++)
			{
				const float *x = original(s, row, h / 2, h % 2);
				float		 got = stored(s, row, h / 2, i, h % 2);
				float		 most = largest(x, i);

				assert_true(fabsf(got - x[i]) <= most / 127 * 0.5001f);
				if (fabsf(x[i]) == most)
					assert_true(fabsf(got - x[i]) <= most * 1e-6f);
			}
	tear_down(s);
}

static const char *const tables[] = {"scalar", "avx2", "avx512", "neon"};
#define N_TABLES (sizeof(tables) / sizeof(tables[0]))
static const glm_dtype dtypes[] = {GLM_F32, GLM_F16, GLM_I8};

/* Every table stores the same bytes, in each place of a block. */
static void
test_stored_by_every_table(void **state)
{
	(void) state;
	for (size_t t = 0; t < sizeof(dtypes) / sizeof(dtypes[0]); t++)
	{
		setup	 *want = set_up(dtypes[t], "auto", SHORT);
		glm_error err;

		attend(want);
		for (size_t k = 0; k < N_TABLES; k++)
		{
			setup *s;

			if (glm_kernels_find(tables[k], &err) == NULL)
				continue;
			s = set_up(dtypes[t], tables[k], SHORT);
			attend(s);
			for (int row = 0; row < SHORT; row++)
				for (int h = 0; h < 4; h++)
					for (int i = 0; i < HEAD_DIM; i++)
						assert_true(stored(s, row, h / 2, i, h % 2) ==
									stored(want, row, h / 2, i, h % 2));
			tear_down(s);
		}
		tear_down(want);
	}
}

/* ---- Attention --------------------------------------------------------------------- */

static void
test_near_fp32(void **state)
{
	setup *codes = set_up(GLM_I8, "auto", SHORT);
	setup *floats = set_up(GLM_F32, "auto", SHORT);
	double difference = 0, size = 0;

	(void) state;
	attend(codes);
	attend(floats);
	for (int i = 0; i < SHORT; i++)
		for (int j = 0; j < HEADS * HEAD_DIM; j++)
		{
			difference += pow(codes->out[i][j] - floats->out[i][j], 2);
			size += pow(floats->out[i][j], 2);
		}
	print_message("# attention over int8 %.1e off\n", sqrt(difference / size));
	assert_true(difference > 0 && sqrt(difference / size) < 0.006);
	tear_down(codes);
	tear_down(floats);
}

/* A key or value that is no number is none in the output, and harms nobody before it. */
static void
test_not_finite(void **state)
{
	static const float bad[] = {NAN, INFINITY, -INFINITY};

	(void) state;
	for (int b = 0; b < 3; b++)
		for (int value = 0; value < 2; value++)
		{
			setup *s = set_up(GLM_I8, "auto", SHORT);

			original(s, 20, 1, value)[70] = bad[b];
			attend(s);
			assert_true(isnan(stored(s, 20, 1, 70, value)));
			for (int i = 0; i < SHORT; i++)
			{
				/* heads 2 and 3 read KV group 1 */
				assert_true(isfinite(s->out[i][1 * HEAD_DIM + 70]));
				assert_int_equal(!isfinite(s->out[i][3 * HEAD_DIM + 70]), i >= 20);
			}
			tear_down(s);
		}
}

/* ---- Stretches ------------------------------------------------------------------- */

#define STRETCH 512

/* What attention has of the positions so far: the definition's max, sum and out. */
typedef struct partial
{
	float max;
	float sum;
	float out[HEAD_DIM];
} partial;

/* All keys and values, of both KV groups, as they are stored. */
typedef struct context
{
	float key[2][LONG][HEAD_DIM];
	float value[2][LONG][HEAD_DIM];
} context;

static void
read_context(const setup *s, context *c)
{
	for (int g = 0; g < 2; g++)
		for (int row = 0; row < LONG; row++)
			for (int d = 0; d < HEAD_DIM; d++)
			{
				c->key[g][row][d] = stored(s, row, g, d, false);
				c->value[g][row][d] = stored(s, row, g, d, true);
			}
}

/* The n positions from `start` on by themselves, seen by the query of this head. */
static partial
one_stretch(const context *c, const float *query, int head, int start, int n)
{
	partial p = {.max = -INFINITY};
	float	weight[STRETCH] = {0};
	int		g = head / 2;

	for (int d = 0; d < HEAD_DIM; d++)
		for (int i = 0; i < n; i++)
			weight[i] = fmaf(query[d], c->key[g][start + i][d], weight[i]);
	p.sum = glm_kernels_scalar.softmax(weight, n, &p.max);
	for (int i = 0; i < n; i++)
		for (int d = 0; d < HEAD_DIM; d++)
			p.out[d] = fmaf(weight[i], c->value[g][start + i][d], p.out[d]);
	return p;
}

static float
exponential(float x)
{
	float zero = 0;

	glm_kernels_scalar.softmax(&x, 1, &zero);
	return x;
}

static partial
joined(partial a, partial b)
{
	float	max = fmaxf(a.max, b.max);
	float	of_a = exponential(a.max - max), of_b = exponential(b.max - max);
	partial p = {.max = max, .sum = fmaf(b.sum, of_b, a.sum * of_a)};

	for (int d = 0; d < HEAD_DIM; d++)
		p.out[d] = fmaf(b.out[d], of_b, a.out[d] * of_a);
	return p;
}

/* Attention of a row's head by the definition, and in double precision. */
static void
define(const setup *s, const context *c, int row, int head, float *out, double *exact)
{
	const float	 *query = &s->qkv[row][head * HEAD_DIM];
	partial		  all = one_stretch(c, query, head, 0, row < STRETCH ? row + 1 : STRETCH);
	static double weight[LONG];
	double		  max = -INFINITY, sum = 0;

	for (int start = STRETCH; start <= row; start += STRETCH)
		all = joined(all, one_stretch(c, query, head, start,
									  row + 1 - start < STRETCH ? row + 1 - start : STRETCH));
	for (int d = 0; d < HEAD_DIM; d++)
		out[d] = all.out[d] / all.sum;

	memset(exact, 0, HEAD_DIM * sizeof(*exact));
	for (int i = 0; i <= row; i++)
	{
		weight[i] = 0;
		for (int d = 0; d < HEAD_DIM; d++)
			weight[i] += (double) query[d] * c->key[head / 2][i][d];
		max = fmax(max, weight[i]);
	}
	for (int i = 0; i <= row; i++)
		sum += weight[i] = exp(weight[i] - max);
	for (int i = 0; i <= row; i++)
		for (int d = 0; d < HEAD_DIM; d++)
			exact[d] += weight[i] / sum * c->value[head / 2][i][d];
}

/* A context in whose stretches the largest scores rise and fall, none so far that it alone counts. */
static setup *
set_up_long(glm_dtype kv_dtype, const char *kernels)
{
	static const float size[2][3] = {{1, 4, 2}, {6, 3, 7}};
	setup			  *s = set_up(kv_dtype, kernels, LONG);

	for (int i = 0; i < LONG; i++)
		for (int g = 0; g < 2; g++)
			for (int d = 0; d < HEAD_DIM; d++)
				original(s, i, g, false)[d] *= size[g][i / STRETCH];
	return s;
}

/* What attend() leaves in one, for a table that takes long for it: all tables store the same. */
static void
take_stored(setup *s, const setup *from)
{
	memcpy(s->given, s->qkv, sizeof(s->given));
	for (int row = 0; row < LONG; row += 32)
		memcpy(block_of(s, row), block_of(from, row), s->model.kv_block_bytes);
}

/* Rows of one pass: alone and as runs, within a stretch and over the end of each. */
static const int ranges[][2] = {{0, 2},		{510, 511},	  {511, 512},	{512, 513},	  {480, 530},
								{770, 771}, {1000, 1001}, {1000, 1060}, {1024, 1025}, {1040, LONG}};
#define N_RANGES (sizeof(ranges) / sizeof(ranges[0]))

/* Attention of all ranges by the kernels of this name; false: this CPU has none. */
static bool
attend_ranges(const setup *like, const char *kernels, float (*out)[HEADS * HEAD_DIM])
{
	setup	 *s;
	glm_error err;

	if (glm_kernels_find(kernels, &err) == NULL)
		return false;
	s = set_up_long(like->model.kv_dtype, kernels);
	take_stored(s, like);
	for (size_t r = 0; r < N_RANGES; r++)
	{
		int first = ranges[r][0], n = ranges[r][1] - first;

		memcpy(s->qkv[first], s->given[first], (size_t) n * sizeof(s->qkv[0]));
		s->be->begin(s->dev, s->weights, &s->pass.pass);
		s->be->attention(s->dev, (glm_mem){(uintptr_t) out}, (glm_mem){(uintptr_t) s->qkv[first]},
						 0, first, n);
		s->be->end(s->dev);
		out += n;
	}
	tear_down(s);
	return true;
}

static void
check_stretches(glm_dtype kv_dtype)
{
	static float   want[LONG][HEADS * HEAD_DIM], got[LONG][HEADS * HEAD_DIM];
	static context c;
	setup		  *s = set_up_long(kv_dtype, "auto");
	double		   exact[HEAD_DIM], worst = 0;
	int			   n = 0;

	attend(s);
	read_context(s, &c);
	for (size_t r = 0; r < N_RANGES; r++)
		for (int row = ranges[r][0]; row < ranges[r][1]; row++, n++)
			for (int head = 0; head < HEADS; head++)
			{
				define(s, &c, row, head, &want[n][head * HEAD_DIM], exact);
				for (int d = 0; d < HEAD_DIM; d++)
					worst = fmax(worst, fabs(want[n][head * HEAD_DIM + d] - exact[d]));
			}
	print_message("# attention over stretches at most %.1e off\n", worst);
	assert_true(worst < 1e-5);
	for (size_t k = 0; k < N_TABLES; k++)
		if (attend_ranges(s, tables[k], got))
			assert_memory_equal(got, want, (size_t) n * sizeof(want[0]));
	tear_down(s);
}

static void
test_stretches(void **state)
{
	(void) state;
	for (size_t t = 0; t < sizeof(dtypes) / sizeof(dtypes[0]); t++)
		check_stretches(dtypes[t]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stored_to_half_a_step),
		cmocka_unit_test(test_stored_by_every_table),
		cmocka_unit_test(test_near_fp32),
		cmocka_unit_test(test_not_finite),
		cmocka_unit_test(test_stretches),
	};

	return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
