/*
 * test_attention.c - keys and values in int8, from what is stored to what attention
 * makes of them, over a head of several groups whose last is not whole.
 *
 * That all tables and all ways to cut a sequence into passes give the same bits is
 * tested where the other dtypes are: test_kernels.c and test_forward.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compute/backend.h"
#include "engine/serve/kv.h"

#define HEAD_DIM 72 /* groups of 32, 32 and 8 */
#define HEADS 4		/* in 2 groups of KV */
#define ROWS 45		/* a block and a part of one */
#define WIDTH ((HEADS + 4) * HEAD_DIM)

typedef struct setup
{
	glm_threads *pool;
	glm_device	*dev;
	glm_model	 model;
	glm_kv_pool *kv_pool;
	glm_kv_table kv;
	glm_row		 row[ROWS];
	float		 qkv[ROWS][WIDTH];
	float		 out[ROWS][HEADS * HEAD_DIM];
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
set_up(glm_dtype kv_dtype)
{
	setup	  *s = calloc(1, sizeof(*s));
	glm_model *model = &s->model;
	glm_error  err;

	model->config = (glm_model_config){.layers = 1,
									   .heads = HEADS,
									   .groups = 2,
									   .head_dim = HEAD_DIM,
									   .rotary = HEAD_DIM / 2,
									   .context = ROWS};
	model->kv_dtype = kv_dtype;
	model->kv_block_bytes = glm_kv_block_bytes(&model->config, kv_dtype);
	model->rope = calloc(ROWS * HEAD_DIM / 2, sizeof(float));
	s->pool = glm_threads_open(2, &err);
	s->dev = glm_backend_cpu.open("auto", s->pool, &err);
	s->kv_pool = glm_kv_pool_open((size_t) 4 << 20);
	assert_true(model->rope && s->pool && s->dev && s->kv_pool);
	assert_true(glm_backend_cpu.prepare(s->dev, model, &err));
	assert_true(glm_kv_take(s->kv_pool, model->kv_block_bytes, 2, &s->kv));
	seed = 5;
	for (int i = 0; i < ROWS; i++)
	{
		s->row[i] = (glm_row){.position = i, .kv = &s->kv};
		for (int j = 0; j < WIDTH; j++)
			s->qkv[i][j] = random_float();
	}
	for (int i = 0; i < ROWS * HEAD_DIM / 2; i += 2)
		model->rope[i] = 1;
	return s;
}

static void
tear_down(setup *s)
{
	glm_kv_give(s->kv_pool, s->model.kv_block_bytes, &s->kv);
	glm_kv_pool_close(s->kv_pool);
	glm_backend_cpu.close(s->dev);
	glm_threads_close(s->pool);
	free(s->model.rope);
	free(s);
}

static void
store(setup *s)
{
	glm_backend_cpu.rope_store(s->dev, &s->model, 0, s->qkv[0], s->row, ROWS);
}

static void
attend(setup *s)
{
	store(s);
	glm_backend_cpu.attention(s->dev, &s->model, 0, s->out[0], s->qkv[0], s->row, ROWS);
}

/* ---- What is stored ------------------------------------------------------------- */

/* Element i of a row's key or value, of KV group g, by the layout that kv.c describes. */
static float
stored(const setup *s, int row, int g, int i, bool value)
{
	const char *part = (const char *) s->kv.block[row / 32] +
					   (value ? glm_kv_values(&s->model, 0, g) : glm_kv_keys(&s->model, 0, g));
	const int8_t *code = (const int8_t *) part;
	const float	 *scale = (const float *) (part + 32 * HEAD_DIM);
	int			  at = row % 32;

	return value ? (float) code[at * HEAD_DIM + i] * scale[at * 3 + i / 32]
				 : (float) code[i * 32 + at] * scale[i / 32 * 32 + at];
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
	setup *s = set_up(GLM_I8);

	(void) state;
	/* one group that is large, and one that is zero: no other loses by them */
	original(s, 7, 1, false)[3] = 1000;
	memset(original(s, 40, 0, true) + 32, 0, 32 * sizeof(float));
	store(s);
	for (int row = 0; row < ROWS; row++)
		for (int part = 0; part < 4; part++)
			for (int i = 0; i < HEAD_DIM; i++)
			{
				const float *x = original(s, row, part / 2, part % 2);
				float		 got = stored(s, row, part / 2, i, part % 2);
				float		 most = largest(x, i);

				assert_true(fabsf(got - x[i]) <= most / 127 * 0.5001f);
				if (fabsf(x[i]) == most)
					assert_true(fabsf(got - x[i]) <= most * 1e-6f);
			}
	tear_down(s);
}

/* ---- Attention --------------------------------------------------------------------- */

static void
test_near_fp32(void **state)
{
	setup *codes = set_up(GLM_I8);
	setup *floats = set_up(GLM_F32);
	double difference = 0, size = 0;

	(void) state;
	attend(codes);
	attend(floats);
	for (int i = 0; i < ROWS; i++)
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
			setup *s = set_up(GLM_I8);

			original(s, 20, 1, value)[70] = bad[b];
			attend(s);
			assert_true(isnan(stored(s, 20, 1, 70, value)));
			for (int i = 0; i < ROWS; i++)
			{
				/* heads 2 and 3 read KV group 1 */
				assert_true(isfinite(s->out[i][1 * HEAD_DIM + 70]));
				assert_int_equal(!isfinite(s->out[i][3 * HEAD_DIM + 70]), i >= 20);
			}
			tear_down(s);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stored_to_half_a_step),
		cmocka_unit_test(test_near_fp32),
		cmocka_unit_test(test_not_finite),
	};

	return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
