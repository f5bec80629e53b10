/*
 * test_device.c - the backend for GPUs with a driver whose device the host is: whole models
 * give the CPU's bits, the engine answers alike on both, and devices are chosen as they should.
 *
 *     test_device              all but the last, which needs an environment of its own
 *     test_device gpu          what a real GPU can be asked too
 *     test_device WORDS...     no device: the reason must have these words
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "engine/serve/sample.h"
#include "made_up.h"
#include "mock.h"
#include "runner.h"

#define FEW 20	/* rows of a pass */
#define CHATS 1 /* of a checkpoint */
#define STEPS 4 /* of each */

static const glm_backend *cuda;

/* ---- Passes on both devices ------------------------------------------------------------ */

/* One sequence on the CPU and on the GPU. */
typedef struct pair
{
	const glm_model *model;
	rn_setup		 s[2];
	glm_kv_table	 kv[2];
	long			 compared, different; /* logits */
} pair;

static void
open_pair(pair *p, const glm_model *model, int tokens)
{
	*p = (pair){.model = model};
	p->s[0] = rn_open("auto", 1);
	p->s[1] = rn_open_on("cuda", cuda, "auto", 1);
	for (int i = 0; i < 2; i++)
	{
		rn_use(&p->s[i], model);
		rn_take_kv(&p->s[i], model, tokens, &p->kv[i]);
	}
}

static void
close_pair(pair *p)
{
	for (int i = 0; i < 2; i++)
	{
		glm_kv_give(p->s[i].kv, p->model->kv_block_bytes, &p->kv[i]);
		rn_close(&p->s[i]);
	}
	assert_true(p->compared > 0);
	assert_int_equal(p->different, 0);
}

/*
 * The tokens from position `first` on; the logits of the first few are compared, and those of
 * the last, which are returned.
 */
static const float *
run_pair(pair *p, const int32_t *tokens, int n, int first)
{
	const float *logits[2];
	size_t		 vocab = (size_t) p->model->config.vocab;

	for (int i = 0; i < 2; i++)
	{
		glm_rows_begin(&p->s[i].rows, &p->kv[i]);
		for (int t = 0; t < n; t++)
			glm_rows_add(&p->s[i].rows, tokens[t], first + t,
						 t < FEW || t == n - 1 ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
		logits[i] = rn_run(&p->s[i]);
	}
	n = n <= FEW ? n : FEW + 1;
	for (size_t i = 0; i < (size_t) n * vocab; i++)
		p->different += memcmp(&logits[0][i], &logits[1][i], sizeof(float)) != 0;
	p->compared += (long) ((size_t) n * vocab);
	return logits[0] + (size_t) (n - 1) * vocab;
}

/* Passes of every size there is a product for; far: on into a second stretch of attention. */
static void
check_made_up(glm_dtype dtype, glm_dtype kv_dtype, bool far)
{
	static const int sizes[] = {1, 8, 9, 66, 2, 1, 250, 190, 1};
	glm_model		*model = md_make(dtype, kv_dtype);
	int32_t			 tokens[256];
	pair			 p;
	int				 at = 0;

	open_pair(&p, model, MD_CONTEXT);
	for (size_t i = 0; i < (far ? 9 : 5); i++)
	{
		for (int t = 0; t < sizes[i]; t++)
			tokens[t] = (at + t) * 131 % model->config.vocab;
		run_pair(&p, tokens, sizes[i], at);
		at += sizes[i];
	}
	print_message("    %s, keys and values %s: %ld logits, %ld differ\n", glm_dtypes[dtype].name,
				  glm_dtypes[kv_dtype].name, p.compared, p.different);
	close_pair(&p);
	md_free(model);
}

static void
test_made_up_models(void **state)
{
	static const glm_dtype kv[] = {GLM_F32, GLM_F16, GLM_I8};

	(void) state;
	for (int dtype = GLM_F32; dtype <= GLM_Q8; dtype++)
		check_made_up((glm_dtype) dtype, kv[dtype % 3], false);
	check_made_up(GLM_Q4, GLM_I8, true);
}

static int32_t
largest(const float *logits, int n)
{
	int32_t best = 0;

	for (int i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	return best;
}

/* A recorded chat, and its answer, which must be the recorded one. */
static void
check_chat(pair *p, const json_t *chat)
{
	const json_t *ids = json_object_get(chat, "ids"), *answer = json_object_get(chat, "greedy_ids");
	int			  n = (int) json_array_size(ids), steps = (int) json_array_size(answer);
	int32_t		 *tokens = malloc((size_t) n * sizeof(*tokens)), token;
	const float	 *logits;

	assert_non_null(tokens);
	for (int i = 0; i < n; i++)
		tokens[i] = (int32_t) json_integer_value(json_array_get(ids, (size_t) i));
	logits = run_pair(p, tokens, n, 0);
	for (int i = 0; i < steps && i < STEPS; i++)
	{
		token = largest(logits, p->model->config.vocab);
		assert_int_equal(token, json_integer_value(json_array_get(answer, (size_t) i)));
		logits = run_pair(p, &token, 1, n + i);
	}
	free(tokens);
}

static void
check_checkpoint(const char *dir, const char *expected)
{
	glm_error	 err;
	json_error_t json_error;
	glm_model	*model = glm_model_open("checkpoint", dir, &err);
	json_t		*json = json_load_file(expected, 0, &json_error), *chats;
	pair		 p;

	if (model == NULL || json == NULL)
		fail_msg("%s: %s%s", dir, model == NULL ? err.message : "", json == NULL ? "no JSON" : "");
	chats = json_object_get(json, "chat");
	open_pair(&p, model, model->config.context - 1);
	for (size_t i = 0; i < json_array_size(chats) && i < CHATS; i++)
		check_chat(&p, json_array_get(chats, i));
	print_message("    %s: %ld logits, %ld differ\n", dir, p.compared, p.different);
	close_pair(&p);
	glm_model_close(model);
	json_decref(json);
}

static void
test_golden(void **state)
{
	(void) state;
	rn_each_golden(check_checkpoint);
}

static void
test_embedded_model(void **state)
{
	(void) state;
	check_checkpoint("models/tiny-chatglm3", "test/model/expected.json");
}

/* ---- The engine on both --------------------------------------------------------------- */

#define REQUESTS 8

typedef struct kept_answer
{
	char	 text[2048];
	uint64_t digest;
} kept_answer;

/* Every way to pick that a device has. */
static glm_request *
make_numbered(int i)
{
	glm_request *req =
		make_request(i % 3 == 0 ? "lamp lamp lamp lamp lamp lamp" : "Order 3 red chairs for Paris.",
					 16, i % 2 == 0);

	req->temperature = i % 3 == 0 ? 0 : 0.5 + i % 7;
	req->top_k = i % 5 == 0 ? 1 + i : 0;
	req->top_p = i % 4 == 1 ? 0.9 : 1;
	req->min_p = i % 6 == 1 ? 0.02 : 0;
	req->logprobs = i % 4 == 2;
	req->seed = (uint64_t) i * UINT64_C(0x9e3779b97f4a7c15);
	req->scope = 1;
	return req;
}

static void
answer_all(const glm_backend *backend, kept_answer *kept, glm_kv_type kv_type)
{
	glm_engine *engine = open_engine_on(backend, 1, 8, ROOMY, kv_type);
	int			ticket[REQUESTS];

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
	glm_engine_close(engine);
}

static void
test_same_answers(void **state)
{
	static kept_answer kept[2][REQUESTS];

	(void) state;
	for (int type = GLM_KV_AUTO; type <= GLM_KV_INT8; type += GLM_KV_INT8 - GLM_KV_AUTO)
	{
		answer_all(NULL, kept[0], (glm_kv_type) type);
		answer_all(cuda, kept[1], (glm_kv_type) type);
		for (int i = 0; i < REQUESTS; i++)
		{
			assert_string_equal(kept[1][i].text, kept[0][i].text);
			assert_int_equal(kept[1][i].digest, kept[0][i].digest);
		}
	}
}

/* ---- Devices by configuration ----------------------------------------------------------- */

/* "auto" is the GPU where it can be used. */
static void
test_auto(void **state)
{
	static const char *const devices[] = {"auto", "cuda", "cuda:0", "cpu"};

	(void) state;
	for (size_t i = 0; i < 4; i++)
	{
		glm_config	config = mock_config(devices[i], false);
		glm_error	err = {0};
		glm_engine *engine = glm_engine_open(&config, &err);
		glm_stats	stats;

		if (engine == NULL)
			fail_msg("%s: %s", devices[i], err.message);
		glm_engine_stats(engine, &stats);
		assert_string_equal(stats.device, i < 3 ? "mock GPU" : "CPU");
		assert_string_equal(stats.device_why, "");
		if (i < 3)
			assert_string_equal(stats.kernels, "sm_90");
		glm_engine_close(engine);
	}
}

/* A device that is not there, or has too little memory, is said so; or the CPU stands in. */
static void
check_not_had(const char *device, size_t kv_bytes, const char *words)
{
	glm_config	config = mock_config(device, false);
	glm_error	err = {0};
	glm_engine *engine;
	glm_stats	stats;

	config.kv_cache_size = kv_bytes;
	if (strcmp(device, "auto") != 0)
	{
		assert_null(glm_engine_open(&config, &err));
		assert_non_null(strstr(err.message, words));
		assert_true(err.hint[0] != '\0');
		config.fallback = true;
	}
	engine = glm_engine_open(&config, &err);
	assert_non_null(engine);
	glm_engine_stats(engine, &stats);
	assert_string_equal(stats.device, "CPU");
	if (strstr(stats.device_why, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, stats.device_why);
	glm_engine_close(engine);
}

static void
test_not_had(void **state)
{
	(void) state;
	check_not_had("cuda:1", ROOMY, "no device \"cuda:1\"");
	mock_fault("cuModuleLoadData:0:209");
	check_not_had("auto", ROOMY, "cuModuleLoadData: CUDA_ERROR_NO_BINARY_FOR_GPU");
	mock_fault("");
}

/* ---- No device ------------------------------------------------------------------------------ */

static const char *wanted_words;

static void
test_no_device(void **state)
{
	glm_device_info info = {0};

	(void) state;
	assert_int_equal(cuda->find(&info, 1), 0);
	if (strstr(info.why_not, wanted_words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", wanted_words, info.why_not);
	check_not_had("auto", ROOMY, wanted_words);
	check_not_had("cuda:0", ROOMY, wanted_words);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_made_up_models), cmocka_unit_test(test_golden),
		cmocka_unit_test(test_embedded_model), cmocka_unit_test(test_same_answers),
		cmocka_unit_test(test_auto),		   cmocka_unit_test(test_not_had),
	};
	const struct CMUnitTest gpu[] = {
		cmocka_unit_test(test_made_up_models),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_embedded_model),
		cmocka_unit_test(test_same_answers),
	};
	const struct CMUnitTest none[] = {cmocka_unit_test(test_no_device)};

	cuda = mock_backend();
	if (argc > 1 && strcmp(argv[1], "gpu") == 0)
		return cmocka_run_group_tests(gpu, NULL, NULL);
	if (argc > 1)
	{
		wanted_words = argv[1];
		return cmocka_run_group_tests(none, NULL, NULL);
	}
	return cmocka_run_group_tests(all, NULL, NULL);
}
