/*
 * test_device_fast.c - GLM_FAST: models with weights of 16 bits come near the CPU's results, and to
 * the same bits however many rows are beside, however prompts are cut, with graphs and without;
 * all others are exact, as all are without it.
 *
 *     test_device_fast         with the driver for tests
 *     test_device_fast gpu     what a real GPU can be asked too
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "engine/base/file.h"
#include "engine/base/half.h"
#include "made_up.h"
#include "mock.h"
#include "runner.h"

#define TOKENS 140 /* of a prompt: more than a block of any kernel has rows */
#define BESIDE 9   /* other sequences */
#define F16_TOLERANCE 2e-3
#define BF16_TOLERANCE 2e-2

static const glm_backend *cuda;

/* ---- Passes ------------------------------------------------------------------------------ */

static int32_t
token_at(const glm_model *model, int sequence, int position)
{
	return (position * 131 + sequence * 57) % model->config.vocab;
}

/* How a prompt comes: in pieces of so many tokens, and beside each a row of other sequences. */
typedef struct way
{
	int beside, piece[8];
} way;

static const way ways[] = {
	{0, {140}},			  {0, {139, 1}},		{1, {8, 7, 64, 60, 1}}, {3, {1, 2, 9, 65, 63}},
	{9, {33, 40, 66, 1}}, {7, {64, 1, 10, 65}},
};

#define N_WAYS ((int) (sizeof(ways) / sizeof(ways[0])))

/* The logits behind the last token. */
static void
last_logits(rn_setup *s, const glm_model *model, const way *how, float *to)
{
	glm_kv_table kv[1 + BESIDE];
	int			 beside = how->beside;

	for (int i = 0; i <= beside; i++)
		rn_take_kv(s, model, TOKENS, &kv[i]);
	for (int at = 0, pass = 0; at < TOKENS; at += how->piece[pass++])
	{
		int			 n = how->piece[pass];
		const float *logits;

		for (int i = beside; i > 0; i--)
			rn_row(s, &kv[i], token_at(model, i, pass), pass, false);
		glm_rows_begin(&s->rows, &kv[0]);
		for (int i = at; i < at + n; i++)
			glm_rows_add(&s->rows, token_at(model, 0, i), i,
						 i == TOKENS - 1 ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
		logits = rn_run(s);
		if (at + n == TOKENS)
			memcpy(to, logits, (size_t) model->config.vocab * sizeof(float));
	}
	for (int i = 0; i <= beside; i++)
		glm_kv_give(s->kv, model->kv_block_bytes, &kv[i]);
}

/* Of a made-up model on a device that is opened so. */
static void
logits_of(rn_setup s, const glm_model *model, const way *how, float *to)
{
	rn_use(&s, model);
	last_logits(&s, model, how, to);
	rn_close(&s);
}

static double
distance(const float *a, const float *b, int n)
{
	double off = 0, all = 0;

	for (int i = 0; i < n; i++)
	{
		off += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
		all += (double) b[i] * b[i];
	}
	return sqrt(off / all);
}

/* Weights of 16 bits give other bits, and nearly the same numbers; all others the CPU's. */
static void
test_near(void **state)
{
	(void) state;
	for (int dtype = GLM_F32; dtype <= GLM_Q8; dtype++)
	{
		glm_model *model = md_make((glm_dtype) dtype, GLM_F32);
		int		   vocab = model->config.vocab;
		bool	   is_fast = dtype == GLM_F16 || dtype == GLM_BF16;
		float	  *exact = malloc((size_t) vocab * sizeof(*exact));
		float	  *fast = malloc((size_t) vocab * sizeof(*fast));
		double	   off;

		assert_true(exact != NULL && fast != NULL);
		logits_of(rn_open("auto", 1), model, &ways[0], exact);
		logits_of(rn_open_fast("cuda", cuda, 1), model, &ways[0], fast);
		off = distance(fast, exact, vocab);
		print_message("    %s: off by %g\n", glm_dtypes[dtype].name, off);
		assert_int_equal(memcmp(fast, exact, (size_t) vocab * sizeof(*fast)) != 0, is_fast);
		assert_true(off <= (dtype == GLM_F16 ? F16_TOLERANCE : BF16_TOLERANCE));
		free(exact);
		free(fast);
		md_free(model);
	}
}

static void
test_same_beside(void **state)
{
	(void) state;
	for (int dtype = GLM_F16; dtype <= GLM_BF16; dtype++)
	{
		glm_model *model = md_make((glm_dtype) dtype, dtype == GLM_F16 ? GLM_F16 : GLM_I8);
		size_t	   bytes = (size_t) model->config.vocab * sizeof(float);
		float	  *first = malloc(bytes), *other = malloc(bytes);

		assert_true(first != NULL && other != NULL);
		for (int i = 0; i < N_WAYS; i++)
		{
			logits_of(rn_open_fast("cuda", cuda, 1), model, &ways[i], i == 0 ? first : other);
			if (i > 0)
				assert_memory_equal(other, first, bytes);
		}
		free(first);
		free(other);
		md_free(model);
	}
}

/* ---- The engine -------------------------------------------------------------------------- */

#define REQUESTS 3
#define ANSWER 5 /* tokens: a graph from the third pass on */

static char bf16_dir[CK_PATH];

/* One file of the embedded model in BF16: safetensors, whose header says F16. */
static void
convert(const char *bytes, size_t length)
{
	uint64_t	header, of_new;
	json_t	   *json, *tensor;
	const char *name;
	char	   *text, *all;
	size_t		numbers;

	memcpy(&header, bytes, sizeof(header));
	json = json_loadb(bytes + 8, header, 0, NULL);
	assert_non_null(json);
	json_object_foreach(json, name, tensor)
		if (strcmp(name, "__metadata__") != 0)
			json_object_set_new(tensor, "dtype", json_string("BF16"));
	text = json_dumps(json, JSON_COMPACT);
	assert_non_null(text);
	of_new = (strlen(text) + 7) / 8 * 8;
	numbers = (length - 8 - header) / 2;
	all = malloc(8 + of_new + numbers * 2);
	assert_non_null(all);
	memcpy(all, &of_new, 8);
	memset(all + 8, ' ', of_new);
	memcpy(all + 8, text, strlen(text));
	for (size_t i = 0; i < numbers; i++)
	{
		uint16_t half;
		float	 number;

		memcpy(&half, bytes + 8 + header + 2 * i, 2);
		number = glm_f16_to_f32(half);
		memcpy(all + 8 + of_new + 2 * i, (char *) &number + 2, 2);
	}
	ck_write(bf16_dir, "model.safetensors", all, 8 + of_new + numbers * 2);
	free(all);
	free(text);
	json_decref(json);
}

static int
make_bf16_model(void **state)
{
	static const char *const files[] = {"config.json", "tokenizer.model", "tokenizer_config.json",
										"model.safetensors"};

	(void) state;
	ck_open(bf16_dir);
	for (int i = 0; i < 4; i++)
	{
		glm_buf	  file = {0};
		glm_error err;
		char	  path[CK_PATH];

		ck_path(path, MODEL_PATH, files[i]);
		if (!glm_file_read(&file, path, (size_t) 100 << 20, &err))
			fail_msg("%s", err.message);
		if (i < 3)
			ck_write(bf16_dir, files[i], file.data, file.length);
		else
			convert(file.data, file.length);
		glm_buf_free(&file);
	}
	return 0;
}

static int
remove_bf16_model(void **state)
{
	(void) state;
	ck_close(bf16_dir);
	return 0;
}

static glm_request *
make_numbered(int i, bool bf16)
{
	static const char *const prompts[REQUESTS] = {"hello", "lamp lamp lamp lamp lamp lamp",
												  "3 red chairs"};
	glm_request				*req = make_request(prompts[i], ANSWER, false);

	req->temperature = i % 2;
	req->seed = 7;
	req->logprobs = true;
	if (bf16)
	{
		((char *) req)[req->model.offset] = 'B';
		memcpy((char *) req + req->size, bf16_dir, strlen(bf16_dir) + 1);
		req->path = (glm_span){req->size, (uint32_t) strlen(bf16_dir)};
		req->size += (uint32_t) strlen(bf16_dir) + 1;
	}
	return req;
}

static glm_engine *
open_on_gpu(bool fast, int prefill_budget)
{
	glm_config config = mock_config("cuda:0", false);

	if (getenv("CUDA_LIBRARY") != NULL)
		config.backend_library = getenv("CUDA_LIBRARY");
	config.fast = fast;
	config.prefill_budget = prefill_budget;
	return mock_engine(&config);
}

static uint64_t
digest_of(glm_engine *engine, int ticket)
{
	const answer *a = mock_await(engine, ticket);

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s", a->message);
	return a->digest;
}

/* The digests of all answers: of ids, and of their log probabilities. */
static void
answer_all(glm_engine *engine, bool bf16, bool together, uint64_t digest[REQUESTS])
{
	int ticket[REQUESTS];

	for (int i = 0; i < REQUESTS; i++)
	{
		ticket[i] = submit(engine, make_numbered(i, bf16));
		if (!together)
			digest[i] = digest_of(engine, ticket[i]);
	}
	for (int i = 0; together && i < REQUESTS; i++)
		digest[i] = digest_of(engine, ticket[i]);
}

/* One by one and all together, by pieces of prompts, with graphs and without. */
static void
check_answers(bool bf16)
{
	static const int budgets[] = {256, 7, 256, 3};
	/* the driver for tests is slower with each pass of as many rows: there are few of them */
	uint64_t		 first[REQUESTS], other[REQUESTS], exact[REQUESTS];
	glm_engine		*engine;

	for (int i = 0; i < (bf16 ? 2 : 4); i++)
	{
		engine = open_on_gpu(true, budgets[i]);
		glm_engine_set_tuning(engine, i < 2);
		answer_all(engine, bf16, i % 2 == 1, i == 0 ? first : other);
		assert_true(stats_of(engine).fast);
		glm_engine_close(engine);
		if (i > 0)
			assert_memory_equal(other, first, sizeof(first));
	}
	engine = open_on_gpu(false, 64);
	answer_all(engine, bf16, true, exact);
	assert_false(stats_of(engine).fast);
	glm_engine_close(engine);
	for (int i = 0; i < REQUESTS; i++)
		assert_true(exact[i] != first[i]);
}

static void
test_same_answers(void **state)
{
	(void) state;
	check_answers(false);
	check_answers(true);
}

/* On the CPU there is nothing that could be fast. */
static void
test_cpu(void **state)
{
	uint64_t   digest[2][REQUESTS];
	glm_config config = mock_config("cpu", false);

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		glm_engine *engine;

		config.fast = i == 1;
		engine = mock_engine(&config);
		answer_all(engine, false, true, digest[i]);
		assert_false(stats_of(engine).fast);
		glm_engine_close(engine);
	}
	assert_memory_equal(digest[0], digest[1], sizeof(digest[0]));
}

/* ---- Which kernels compute ----------------------------------------------------------------- */

static void
check_kernels(bool fast, bool bf16, int capability, bool expected)
{
	static const char *const f16[] = {"few_f16", "some_f16"}, *const b[] = {"few_bf16",
																			"some_bf16"};
	uint64_t	digest[REQUESTS];
	glm_engine *engine;

	mock_capability(capability);
	mock_fault(""); /* counts from here */
	engine = open_on_gpu(fast, 64);
	answer_all(engine, bf16, true, digest);
	glm_engine_close(engine);
	mock_capability(90);
	assert_int_equal(mock_calls("wide") > 0, !expected);
	assert_int_equal(mock_calls("narrow") > 0, expected);
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(mock_calls(f16[i]) > 0, expected && !bf16);
		assert_int_equal(mock_calls(b[i]) > 0, expected && bf16);
	}
	assert_int_equal(mock_in_use(), 0);
}

/* Products of BF16 came with 8.0. */
static void
test_kernels(void **state)
{
	(void) state;
	for (int bf16 = 0; bf16 < 2; bf16++)
	{
		check_kernels(false, bf16, 90, false);
		check_kernels(true, bf16, 90, true);
		check_kernels(true, bf16, 75, !bf16);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_near),		 cmocka_unit_test(test_same_beside),
		cmocka_unit_test(test_same_answers), cmocka_unit_test(test_cpu),
		cmocka_unit_test(test_kernels),
	};
	const struct CMUnitTest gpu[] = {
		cmocka_unit_test(test_near),
		cmocka_unit_test(test_same_beside),
		cmocka_unit_test(test_same_answers),
	};

	cuda = mock_backend();
	if (argc > 1 && strcmp(argv[1], "gpu") == 0)
		return cmocka_run_group_tests(gpu, make_bf16_model, remove_bf16_model);
	return cmocka_run_group_tests(all, make_bf16_model, remove_bf16_model);
}
