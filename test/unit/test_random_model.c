/*
 * test_random_model.c - make_random_model's directories are models, and sane ones.
 *
 * Runs the program, then its output through the engine: whole by its own
 * manifest, the widths asked for, no layer like another, logits that are
 * numbers.  And, with a model wide enough to tell, what memory a pass takes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "checkpoint.h"
#include "made_up.h"
#include "runner.h"
#include "sanitized.h"

/* 77 columns, 1030 rows: neither fills groups nor tiles. */
#define SHAPE "layers=3 hidden=77 heads=4 kv_groups=2 head_dim=20 ffn=150 vocab=1030 context=96"
#define N_TOKENS 40
#define VOCAB 1030

/* Runs the program with these options on dir/name; its exit status. */
static int
make(const char *options, const char *dir, const char *name)
{
	char command[1024];
	int	 status;

	snprintf(command, sizeof(command), "build/bench/make_random_model %s %s/%s >/dev/null 2>&1",
			 options, dir, name);
	status = system(command);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static glm_model *
open_verified(const char *dir, const char *name)
{
	const glm_open_options options = {.weights.verify = GLM_VERIFY_FULL};
	glm_error			   err = {0};
	char				   path[CK_PATH];
	glm_model			  *model;

	ck_path(path, dir, name);
	model = glm_model_open_with(name, path, &options, &err);
	if (model == NULL)
		fail_msg("%s", err.message);
	return model;
}

/* Next-token logits after N_TOKENS tokens: y [VOCAB]. */
static void
compute(const glm_model *model, float *y)
{
	rn_setup	 s = rn_open("auto", 2);
	glm_kv_table kv = {0};

	rn_use(&s, model);
	rn_take_kv(&s, model, N_TOKENS, &kv);
	glm_rows_begin(&s.rows, &kv);
	for (int i = 0; i < N_TOKENS; i++)
		glm_rows_add(&s.rows, i * 25 % VOCAB, i,
					 i + 1 == N_TOKENS ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
	memcpy(y, rn_run(&s), VOCAB * sizeof(*y));
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	rn_close(&s);
}

static double
deviation(const float *y, int n)
{
	double sum = 0;
	double square = 0;

	for (int i = 0; i < n; i++)
	{
		assert_true(isfinite(y[i]));
		sum += y[i];
		square += (double) y[i] * y[i];
	}
	return sqrt(square / n - sum / n * (sum / n));
}

static bool
same_bytes(const glm_model *model, const glm_tensor *a, const glm_tensor *b)
{
	glm_error err = {0};
	bool	  same;

	assert_true(glm_shards_hold(model->shards, a, &err));
	assert_true(glm_shards_hold(model->shards, b, &err));
	same = memcmp(a->data, b->data, glm_tensor_bytes(a)) == 0;
	glm_shards_drop(model->shards, a);
	glm_shards_drop(model->shards, b);
	return same;
}

/* ---- Tests ------------------------------------------------------------------ */

static void
check_width(const char *options, glm_dtype matrices, glm_dtype head)
{
	char	   dir[CK_PATH];
	char	   path[CK_PATH];
	char	   all[512];
	float	   y[VOCAB];
	glm_model *model;

	ck_open(dir);
	snprintf(all, sizeof(all), "%s %s", SHAPE, options);
	assert_int_equal(make(all, dir, "model"), 0);
	model = open_verified(dir, "model");
	assert_int_equal(model->config.layers, 3);
	assert_int_equal(md_tensor(model, GLM_EMBEDDING, GLM_NO_LAYER)->dtype, matrices);
	assert_int_equal(md_tensor(model, GLM_HEAD, GLM_NO_LAYER)->dtype, head);
	for (int l = 0; l < 3; l++)
		assert_int_equal(md_tensor(model, GLM_DOWN, l)->dtype, matrices);
	assert_false(same_bytes(model, md_tensor(model, GLM_QKV, 0), md_tensor(model, GLM_QKV, 1)));
	assert_false(same_bytes(model, md_tensor(model, GLM_DOWN, 1), md_tensor(model, GLM_DOWN, 2)));
	compute(model, y);
	/* activations of size 1, rows of variance 1 / columns */
	assert_in_range((int) (100 * deviation(y, VOCAB)), 60, 160);
	glm_model_close(model);
	ck_path(path, dir, "model");
	ck_close(path);
	ck_close(dir);
}

static void
test_widths(void **state)
{
	(void) state;
	check_width("bits=4", GLM_Q4, GLM_Q8);
	check_width("bits=4 head_bits=4 group=32", GLM_Q4, GLM_Q4);
	check_width("bits=8 group=128", GLM_Q8, GLM_Q8);
	check_width("bits=16", GLM_F16, GLM_F16);
}

/* The same options make the same model, another seed another one. */
static void
test_seed(void **state)
{
	char					 dir[CK_PATH];
	char					 path[CK_PATH];
	float					 y[3][VOCAB];
	static const char *const names[] = {"a", "b", "c"};

	(void) state;
	ck_open(dir);
	for (int i = 0; i < 3; i++)
	{
		glm_model *model;

		assert_int_equal(make(i < 2 ? SHAPE " seed=1" : SHAPE " seed=2", dir, names[i]), 0);
		model = open_verified(dir, names[i]);
		compute(model, y[i]);
		glm_model_close(model);
		ck_path(path, dir, names[i]);
		ck_close(path);
	}
	assert_memory_equal(y[0], y[1], sizeof(y[0]));
	assert_memory_not_equal(y[0], y[2], sizeof(y[0]));
	ck_close(dir);
}

/* ---- Memory ------------------------------------------------------------------ */

/* A 6B's proportions at a quarter of its width: gate and up are 26.75 KB a row. */
#define WIDE "layers=2 hidden=1024 heads=8 kv_groups=2 head_dim=128 ffn=3424 vocab=2000 context=512"
#define WIDE_ROWS 512

/* Megabytes that are this process's own. */
static double
anonymous(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char  line[256];
	long  kilobytes = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "RssAnon: %ld", &kilobytes);
	fclose(f);
	assert_true(kilobytes > 0);
	return (double) kilobytes / 1e3;
}

/*
 * A prompt of 512 tokens in one pass.  x and its norm are 4 MB, qkv and context 5,
 * which share 7 with gate and up of 256 rows, keys and values 1; gate and up of all
 * rows would be 7 more.
 */
static void
test_memory_of_a_pass(void **state)
{
	char		 dir[CK_PATH], path[CK_PATH];
	rn_setup	 s = rn_open("auto", 2);
	glm_kv_table kv = {0};
	glm_model	*model;
	double		 before, taken;

	(void) state;
	ck_open(dir);
	assert_int_equal(make(WIDE, dir, "model"), 0);
	model = open_verified(dir, "model");
	rn_take_kv(&s, model, WIDE_ROWS, &kv);
	glm_rows_begin(&s.rows, &kv);
	for (int i = 0; i < WIDE_ROWS; i++)
		glm_rows_add(&s.rows, i, i, i + 1 == WIDE_ROWS ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
	before = anonymous();
	rn_use(&s, model);
	rn_run(&s);
	taken = anonymous() - before;
	printf("# a pass of %d rows took %.1f MB\n", WIDE_ROWS, taken);
	assert_true(!memory_tells() || (taken > 9 && taken < 16));
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	rn_close(&s);
	glm_model_close(model);
	ck_path(path, dir, "model");
	ck_close(path);
	ck_close(dir);
}

/* ---- What cannot be made ------------------------------------------------------- */

/* It is said, and leaves nothing. */
static void
test_bad_options(void **state)
{
	char dir[CK_PATH];

	(void) state;
	ck_open(dir);
	assert_int_equal(make("bits=5", dir, "m"), 2);
	assert_int_equal(make("layer=5", dir, "m"), 2);
	assert_int_equal(make("layers=", dir, "m"), 2);
	assert_int_equal(make("group=65", dir, "m"), 2);
	assert_int_equal(make(SHAPE " vocab=100", dir, "m"), 1); /* the tokenizer has more */
	assert_int_equal(make(SHAPE, dir, "no/such/directory"), 1);
	ck_close(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_seed),
		cmocka_unit_test(test_memory_of_a_pass),
		cmocka_unit_test(test_bad_options),
	};

	return cmocka_run_group_tests_name("random_model", tests, NULL, NULL);
}
