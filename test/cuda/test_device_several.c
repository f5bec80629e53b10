/*
 * test_device_several.c - several GPUs: models that are divided among them give the CPU's bits,
 * models find the GPU that has room, and one that fails is everybody's concern.
 *
 *     test_device_several [test_...]    of which * may be a part
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/engine.h"
#include "made_up.h"
#include "mock.h"
#include "runner.h"

#define DEVICES 3
#define MB ((size_t) 1 << 20)
#define OTHERS (512 * MB) /* that are left to other processes */
#define PLENTY ((size_t) 4096 * MB)
#define WHOLE (OTHERS + 40 * MB) /* has room for the embedded model and its pool */
#define PART (OTHERS + 15 * MB)	 /* for some of its layers */

static const glm_backend *cuda;

/* ---- Passes -------------------------------------------------------------------------------- */

/* The same passes on the CPU and on these devices together: the logits of all rows. */
static void
check_passes(const char *devices, const glm_model *model)
{
	static const int sizes[] = {1, 8, 9, 66, 2, 1, 1, 1};
	rn_setup		 s[2] = {rn_open("auto", 1), rn_open_on_all(devices, cuda, 1)};
	glm_kv_table	 kv[2];
	size_t			 vocab = (size_t) model->config.vocab;
	int				 at = 0;

	for (int i = 0; i < 2; i++)
	{
		rn_use(&s[i], model);
		rn_take_kv(&s[i], model, 120, &kv[i]);
	}
	for (size_t pass = 0; pass < sizeof(sizes) / sizeof(sizes[0]); at += sizes[pass++])
	{
		const float *logits[2];

		for (int i = 0; i < 2; i++)
		{
			glm_rows_begin(&s[i].rows, &kv[i]);
			for (int t = 0; t < sizes[pass]; t++)
				glm_rows_add(&s[i].rows, (at + t) * 131 % model->config.vocab, at + t,
							 GLM_WANT_LOGITS);
			logits[i] = rn_run(&s[i]);
		}
		assert_memory_equal(logits[0], logits[1], (size_t) sizes[pass] * vocab * sizeof(float));
	}
	for (int i = 0; i < 2; i++)
	{
		glm_kv_give(s[i].kv, model->kv_block_bytes, &kv[i]);
		rn_close(&s[i]);
	}
}

/* In every dtype; two layers on three GPUs leave one of them out. */
static void
test_passes(void **state)
{
	static const glm_dtype kv[] = {GLM_F32, GLM_F16, GLM_I8};

	(void) state;
	for (int dtype = GLM_F32; dtype <= GLM_Q8; dtype++)
	{
		glm_model *model = md_make((glm_dtype) dtype, kv[dtype % 3]);

		check_passes("cuda:0,1", model);
		check_passes(dtype % 2 == 0 ? "cuda:2,0,1" : "cuda:2,1", model);
		md_free(model);
	}
	assert_int_equal(mock_in_use(), 0);
}

static void
check_checkpoint(const char *dir, const char *expected)
{
	glm_error  err;
	glm_model *model = glm_model_open("checkpoint", dir, &err);

	(void) expected;
	if (model == NULL)
		fail_msg("%s: %s", dir, err.message);
	check_passes("cuda:0,1", model);
	check_passes("cuda:0,1,2", model);
	glm_model_close(model);
}

static void
test_checkpoints(void **state)
{
	(void) state;
	check_checkpoint(MODEL_PATH, "");
	rn_each_golden(check_checkpoint);
	assert_int_equal(mock_in_use(), 0);
}

/* The layers go by the GPUs' memory: one that has little gets few. */
static void
test_unequal(void **state)
{
	glm_error  err;
	glm_model *model = glm_model_open("tiny", MODEL_PATH, &err);

	(void) state;
	assert_non_null(model);
	mock_room_of(0, PLENTY / 4);
	check_passes("cuda:0,1", model);
	mock_room_of(0, OTHERS + 100 * MB);
	check_passes("cuda:1,0,2", model);
	mock_room(PLENTY);
	glm_model_close(model);
	assert_int_equal(mock_in_use(), 0);
}

/* GPUs that do not reach each other: copies go through the host's memory, and nobody notices. */
static void
test_no_peers(void **state)
{
	glm_model *model = md_make(GLM_Q4, GLM_I8);

	(void) state;
	mock_fault(""); /* counts from here */
	check_passes("cuda:0,1", model);
	assert_int_equal(mock_calls("cuCtxEnablePeerAccess"), 2);
	setenv("GLM_MOCK_NO_PEERS", "1", 1);
	mock_fault("");
	check_passes("cuda:0,1", model);
	assert_int_equal(mock_calls("cuCtxEnablePeerAccess"), 0);
	assert_true(mock_calls("cuMemcpyPeerAsync") > 0);
	unsetenv("GLM_MOCK_NO_PEERS");
	md_free(model);
}

/* ---- The engine ------------------------------------------------------------------------------- */

#define REQUESTS 6

typedef struct kept_answer
{
	char	 text[2048];
	uint64_t digest;
} kept_answer;

/* Prompts that begin alike, so that blocks are shared and copied; greedy, sampled, with drafts. */
static glm_request *
make_numbered(int i)
{
	static const char *const prompts[] = {
		"lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp",
		"lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp tree",
		"Order 3 red chairs for Paris, and a lamp for the tree that stands behind the red house."};
	glm_request *req = make_request(prompts[i % 3], 8, i % 2 == 0);

	req->temperature = i % 3 == 0 ? 0 : 0.5 + i % 7;
	req->logprobs = i % 4 == 2;
	req->seed = (uint64_t) i * UINT64_C(0x9e3779b97f4a7c15);
	req->scope = 1;
	return req;
}

static void
answer_all(glm_engine *engine, kept_answer *kept)
{
	int ticket[REQUESTS];

	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	for (int i = 0; i < REQUESTS; i++)
		ticket[i] = submit(engine, make_numbered(i));
	for (int i = 0; i < REQUESTS; i++)
	{
		const answer *a = mock_await(engine, ticket[i]);

		if (a->last.kind != GLM_EVENT_DONE)
			fail_msg("request %d: %s", i, a->message);
		snprintf(kept[i].text, sizeof(kept[i].text), "%.2047s", a->text);
		kept[i].digest = a->digest;
	}
}

static const kept_answer *
expected_answers(void)
{
	static kept_answer expected[REQUESTS];

	if (expected[0].text[0] == '\0')
	{
		glm_config	config = mock_config("cpu", false);
		glm_engine *cpu = mock_engine(&config);

		answer_all(cpu, expected);
		glm_engine_close(cpu);
	}
	return expected;
}

static void
check_answers(glm_engine *engine)
{
	const kept_answer *expected = expected_answers();
	kept_answer		   kept[REQUESTS];

	answer_all(engine, kept);
	for (int i = 0; i < REQUESTS; i++)
	{
		assert_string_equal(kept[i].text, expected[i].text);
		assert_int_equal(kept[i].digest, expected[i].digest);
	}
}

static void
check_models_on(glm_engine *engine, int on_first, int on_second)
{
	glm_stats stats = stats_of(engine);

	assert_int_equal(stats.device_use[0].models, on_first);
	assert_int_equal(stats.device_use[1].models, on_second);
}

/* What no GPU holds is on all of them, small passes as graphs. */
static void
test_divided(void **state)
{
	static const char *const devices[] = {"cuda:0,1", "cuda:0,1,2"};

	(void) state;
	mock_room(PART);
	for (int i = 0; i < 2; i++)
	{
		glm_config	config = mock_config(devices[i], false);
		glm_engine *engine = mock_engine(&config);
		glm_stats	stats;
		int			kept, launched;

		check_answers(engine);
		stats = stats_of(engine);
		assert_int_equal(stats.n_devices, 2 + i);
		for (int d = 0; d < stats.n_devices; d++)
		{
			assert_int_equal(stats.device_use[d].models, 1);
			assert_int_equal(stats.device_use[d].number, d);
			assert_true(stats.device_use[d].kv_bytes_total > 0);
			assert_true(stats.device_use[d].bytes_free < PART - OTHERS);
			assert_true(mock_in_use_of(d) > 2 * MB);
		}
		assert_string_equal(stats.device, i == 0 ? "2 x mock GPU" : "3 x mock GPU");
		assert_int_equal(stats.models_evicted, 0);
		assert_int_equal(
			sscanf(stats.tuned[stats.n_tuned - 1].how, "%d kept, launched %d", &kept, &launched),
			2);
		assert_true(kept >= 2 && launched > 0);
		glm_engine_close(engine);
		assert_int_equal(mock_in_use(), 0);
	}
	mock_room(PLENTY);
}

/* A pool that is soon full: sequences give way, and get on. */
static void
test_divided_in_little_room(void **state)
{
	glm_config	config = mock_config("cuda:0,1", false);
	glm_engine *engine;

	(void) state;
	mock_room(OTHERS + 12 * MB);
	config.kv_cache_size = 256 << 10; /* five blocks */
	config.max_sequences = REQUESTS;
	engine = mock_engine(&config);
	check_answers(engine);
	check_models_on(engine, 1, 1);
	assert_true(stats_of(engine).preemptions + stats_of(engine).kv_evictions > 0);
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

/* ---- Where models go ---------------------------------------------------------------------------- */

/* The first goes where most room is, the next where most is left; each has a pool there. */
static void
test_model_a_device(void **state)
{
	glm_config	  config = mock_config("cuda:0,1", false);
	glm_engine	 *engine;
	const answer *second;

	(void) state;
	mock_room(WHOLE);
	mock_room_of(1, WHOLE + 8 * MB);
	engine = mock_engine(&config);
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	check_models_on(engine, 0, 1);
	assert_true(mock_in_use_of(0) < MB && mock_in_use_of(1) > 16 * MB);
	second = mock_await(engine, submit(engine, mock_for_second(4)));
	if (second->last.kind != GLM_EVENT_DONE)
		fail_msg("%s", second->message);
	check_models_on(engine, 1, 1);
	assert_true(mock_in_use_of(0) > 16 * MB);
	assert_int_equal(stats_of(engine).models_evicted, 0);
	assert_int_equal(stats_of(engine).kv_bytes_total, 2 * config.kv_cache_size);
	check_answers(engine);
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

/* Where memory turns out not to be there the next GPU is asked, at last all together. */
static void
test_next_one(void **state)
{
	glm_config	config = mock_config("cuda:0,1", false);
	glm_engine *engine = mock_engine(&config);

	(void) state;
	mock_fault("cuMemAlloc:1:2"); /* of the first, for weights */
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	mock_fault("");
	check_models_on(engine, 0, 1);
	check_answers(engine);
	glm_engine_close(engine);

	engine = mock_engine(&config);
	mock_fault("cuMemAlloc:2:2"); /* of the first, for the pool */
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	mock_fault("");
	check_models_on(engine, 0, 1);
	glm_engine_close(engine);

	engine = mock_engine(&config);
	mock_fault("cuMemAlloc:0:2");
	assert_int_equal(mock_count_failed(engine, 1, "CUDA_ERROR_OUT_OF_MEMORY"), 1);
	mock_fault("");
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* Too large for all together, and an idle one that makes way. */
static void
test_no_room(void **state)
{
	glm_config	  config = mock_config("cuda:0,1", false);
	glm_engine	 *engine;
	const answer *a;

	(void) state;
	mock_room(OTHERS + 3 * MB);
	engine = mock_engine(&config);
	a = mock_await(engine, submit(engine, make_request("hello", 2, false)));
	assert_int_equal(a->last.status, GLM_NO_ROOM);
	assert_non_null(strstr(a->message, "on device \"2 x mock GPU\", of which 2 are free"));
	mock_room(PART);
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	check_models_on(engine, 1, 1);
	a = mock_await(engine, submit(engine, mock_for_second(4)));
	assert_int_equal(a->last.kind, GLM_EVENT_DONE);
	assert_int_equal(stats_of(engine).models_evicted, 1);
	check_models_on(engine, 1, 1);
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

/* ---- A device that is lost ------------------------------------------------------------------------ */

/* Any of them ends the engine; the others are as they were. */
static void
test_lost(void **state)
{
	glm_config	config = mock_config("cuda:0,1", false);
	glm_engine *engine;
	glm_error	err = {0};

	(void) state;
	mock_room(PART);
	engine = mock_engine(&config);
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	check_models_on(engine, 1, 1);
	mock_fault("cuMemcpyPeerAsync:1:700");
	assert_int_equal(mock_count_failed(engine, 2, "CUDA_ERROR_ILLEGAL_ADDRESS"), 2);
	mock_fault("");
	assert_true(glm_engine_lost(engine, &err));
	assert_non_null(strstr(err.message, "cuMemcpyPeerAsync: CUDA_ERROR_ILLEGAL_ADDRESS"));
	glm_engine_close(engine);
	/* the first one lived: its memory was given back */
	assert_int_equal(mock_in_use_of(0), 0);
	assert_true(mock_in_use_of(1) > 0);
}

/* ---- Names ------------------------------------------------------------------------------------------ */

static void
test_names(void **state)
{
	static const char *const bad[] = {"cuda:",	  "cuda:0,",   "cuda:,0",	"cuda:0,0", "cuda:0 ,1",
									  "cuda:0,x", "cuda:0,64", "cuda:-1,0", "cpu:0,1",	"auto:0,1"};
	glm_error				 err = {0};

	(void) state;
	assert_true(glm_device_check("cuda:0,1", &err));
	assert_true(glm_device_check("cuda:3,1,2", &err));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		if (glm_device_check(bad[i], &err))
			fail_msg("%s", bad[i]);
		assert_int_equal(err.status, GLM_BAD_ARGUMENT);
		assert_true(err.hint[0] != '\0');
	}
	for (int i = 0; i < 2; i++)
	{
		glm_config config = mock_config(i == 0 ? "cuda:0,9" : "cuda:3,0", false);

		assert_null(glm_engine_open(&config, &err));
		assert_int_equal(err.status, GLM_UNSUPPORTED);
		assert_non_null(strstr(err.message, i == 0 ? "no device \"cuda:9\", the last is \"cuda:2\""
												   : "no device \"cuda:3\""));
		assert_true(err.hint[0] != '\0');
	}
	assert_int_equal(mock_in_use(), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_passes),
		cmocka_unit_test(test_checkpoints),
		cmocka_unit_test(test_unequal),
		cmocka_unit_test(test_no_peers),
		cmocka_unit_test(test_divided),
		cmocka_unit_test(test_divided_in_little_room),
		cmocka_unit_test(test_model_a_device),
		cmocka_unit_test(test_next_one),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_lost),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	mock_devices(DEVICES);
	cuda = mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
