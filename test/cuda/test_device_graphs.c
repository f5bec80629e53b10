/*
 * test_device_graphs.c - small passes as graphs: that they are used, give the CPU's answers,
 * and are done without where they do not.
 *
 *     test_device_graphs         with the driver for tests
 *     test_device_graphs gpu     what a real GPU can be asked too
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"

#define REQUESTS 3
#define TOKENS 12

typedef struct kept_answer
{
	char	 text[1024];
	uint64_t digest;
} kept_answer;

static kept_answer expected[GLM_KV_INT8 + 1][REQUESTS]; /* by the type of keys and values */

static void
answer_all(glm_engine *engine, kept_answer *kept)
{
	static const char *const prompts[REQUESTS] = {"hello", "lamp lamp lamp", "3 red chairs"};

	for (int i = 0; i < REQUESTS; i++)
	{
		glm_request	 *req = make_request(prompts[i], TOKENS, false);
		const answer *a;

		req->temperature = i;
		req->seed = 7;
		a = mock_await(engine, submit(engine, req));
		if (a->last.kind != GLM_EVENT_DONE)
			fail_msg("%s: %s", prompts[i], a->message);
		snprintf(kept[i].text, sizeof(kept[i].text), "%.1023s", a->text);
		kept[i].digest = a->digest;
	}
}

/* What the device says of it; what[0] is 0 where it says nothing. */
static glm_tuned
said_of(glm_engine *engine, const char *what)
{
	glm_stats stats = stats_of(engine);

	for (int i = 0; i < stats.n_tuned; i++)
		if (strcmp(stats.tuned[i].what, what) == 0)
			return stats.tuned[i];
	return (glm_tuned){.what = ""};
}

/* The answers are the CPU's; what the device says of its graphs. */
static glm_tuned
check_answers_of(glm_engine *engine, glm_kv_type type)
{
	kept_answer kept[REQUESTS];
	glm_tuned	graphs;

	if (expected[type][0].text[0] == '\0')
	{
		glm_config	config = mock_config("cpu", false);
		glm_engine *cpu;

		config.kv_type = type;
		cpu = mock_engine(&config);
		answer_all(cpu, expected[type]);
		glm_engine_close(cpu);
	}
	answer_all(engine, kept);
	for (int i = 0; i < REQUESTS; i++)
	{
		assert_string_equal(kept[i].text, expected[type][i].text);
		assert_int_equal(kept[i].digest, expected[type][i].digest);
	}
	graphs = said_of(engine, "graphs");
	assert_string_equal(graphs.what, "graphs");
	return graphs;
}

static glm_tuned
check_answers(glm_engine *engine)
{
	return check_answers_of(engine, GLM_KV_AUTO);
}

static glm_engine *
open_on_gpu(void)
{
	glm_config config = mock_config("cuda:0", false);

	if (getenv("CUDA_LIBRARY") != NULL)
		config.backend_library = getenv("CUDA_LIBRARY");
	return mock_engine(&config);
}

/* A pass that comes again is a graph from the third time on. */
static void
test_used(void **state)
{
	glm_engine *engine = open_on_gpu();
	glm_tuned	graphs = check_answers(engine);
	int			kept, launched;

	(void) state;
	assert_false(graphs.dropped);
	assert_int_equal(sscanf(graphs.how, "%d kept, launched %d times", &kept, &launched), 2);
	assert_true(kept >= 1);
	assert_true(launched >= TOKENS); /* of three answers, nearly all */
	print_message("    %s; launches that may begin early: %s\n", graphs.how,
				  said_of(engine, "dependent launches").how);
	glm_engine_close(engine);
}

static void
test_nothing_is_left(void **state)
{
	(void) state;
	assert_int_equal(mock_in_use(), 0);
}

/* One that gives other bits is found before anything it computed counts. */
static void
test_wrong(void **state)
{
	glm_engine *engine = open_on_gpu();
	glm_tuned	graphs;

	(void) state;
	mock_wrong_graphs(true);
	graphs = check_answers(engine);
	mock_wrong_graphs(false);
	assert_true(graphs.dropped);
	assert_string_equal(graphs.how, "dropped: other bits than the plain launches");
	mock_fault(""); /* counts from here */
	check_answers(engine);
	assert_int_equal(mock_calls("cuStreamBeginCapture"), 0);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/*
 * One that leaves no keys and values finds those of the launches, gives the same logits, and is
 * found out all the same; one that does is not.
 */
static void
test_wrong_kv(void **state)
{
	static const glm_kv_type types[] = {GLM_KV_F32, GLM_KV_F16, GLM_KV_INT8};

	(void) state;
	for (int i = 0; i < 6; i++)
	{
		glm_config	config = mock_config("cuda:0", false);
		glm_engine *engine;
		glm_tuned	graphs;

		config.kv_type = types[i / 2];
		engine = mock_engine(&config);
		mock_wrong_kv(i % 2 == 1);
		graphs = check_answers_of(engine, config.kv_type);
		mock_wrong_kv(false);
		assert_int_equal(graphs.dropped, i % 2 == 1);
		if (graphs.dropped)
			assert_string_equal(graphs.how, "dropped: other bits than the plain launches");
		glm_engine_close(engine);
		assert_int_equal(mock_in_use(), 0);
	}
}

/* A driver that makes none is no reason to fail. */
static void
test_refused(void **state)
{
	static const char *const faults[] = {"cuStreamBeginCapture:0:1", "cuStreamEndCapture:0:1",
										 "cuGraphInstantiateWithFlags:0:1"};

	(void) state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		glm_engine *engine = open_on_gpu();
		glm_tuned	graphs;

		mock_fault(faults[i]);
		graphs = check_answers(engine);
		mock_fault("");
		assert_true(graphs.dropped);
		assert_string_equal(graphs.how, "dropped: the driver makes none");
		glm_engine_close(engine);
		assert_int_equal(mock_in_use(), 0);
	}
}

/* ---- Launches that begin before those before them have ended ------------------------------- */

static void
test_dependent(void **state)
{
	glm_engine *engine;

	(void) state;
	mock_fault("");
	engine = open_on_gpu();
	assert_false(check_answers(engine).dropped);
	assert_string_equal(said_of(engine, "dependent launches").how, "in graphs");
	assert_true(mock_calls("cuLaunchKernelEx") > 0);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* Those that begin too early are found out, and graphs are made without. */
static void
test_dependent_wrong(void **state)
{
	glm_engine *engine = open_on_gpu();
	glm_tuned	graphs, dependent;

	(void) state;
	mock_wrong_dependent(true);
	graphs = check_answers(engine);
	dependent = said_of(engine, "dependent launches");
	assert_true(dependent.dropped);
	assert_string_equal(dependent.how, "dropped: other bits than the plain launches");
	assert_false(graphs.dropped);
	mock_fault(""); /* counts from here */
	check_answers(engine);
	assert_int_equal(mock_calls("cuLaunchKernelEx"), 0);
	assert_true(mock_calls("cuGraphLaunch") > 0);
	mock_wrong_dependent(false);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

static void
test_dependent_refused(void **state)
{
	glm_engine *engine = open_on_gpu();

	(void) state;
	mock_fault("cuLaunchKernelEx:1:1");
	assert_false(check_answers(engine).dropped);
	mock_fault("");
	assert_string_equal(said_of(engine, "dependent launches").how,
						"dropped: the driver makes none");
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* Kernels compiled for older devices do not await each other, whatever device runs them. */
static void
test_not_dependent(void **state)
{
	static const char *const faults[] = {"", "cuFuncGetAttribute:1:1"};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		glm_engine *engine;

		mock_ptx_version(i == 0 ? 80 : 90);
		mock_fault(faults[i]);
		engine = open_on_gpu();
		mock_fault("");
		assert_false(check_answers(engine).dropped);
		assert_string_equal(said_of(engine, "dependent launches").what, "");
		assert_int_equal(mock_calls("cuLaunchKernelEx"), 0);
		glm_engine_close(engine);
		assert_int_equal(mock_in_use(), 0);
	}
	mock_ptx_version(90);
}

static void
test_off(void **state)
{
	glm_engine *engine = open_on_gpu();

	(void) state;
	glm_engine_set_tuning(engine, false);
	mock_fault("");
	check_answers(engine);
	assert_int_equal(mock_calls("cuStreamBeginCapture"), 0);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_used),
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_wrong_kv),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_dependent),
		cmocka_unit_test(test_dependent_wrong),
		cmocka_unit_test(test_dependent_refused),
		cmocka_unit_test(test_not_dependent),
	};
	const struct CMUnitTest gpu[] = {cmocka_unit_test(test_used)};

	mock_backend();
	if (argc > 1 && strcmp(argv[1], "gpu") == 0)
		return cmocka_run_group_tests(gpu, NULL, NULL);
	return cmocka_run_group_tests(all, NULL, NULL);
}
