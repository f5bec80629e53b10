/*
 * test_device_beside.c - models on several GPUs compute at a time: a pass is put in order on
 * each before the first is waited for.  Answers are the CPU's, and what happens on one GPU is
 * the concern of those who are computed there, as long as it lives.
 *
 *     test_device_beside [test_...]
 *
 * That they do is seen by the order of calls: the driver for tests does nothing before it is
 * waited for, so a kernel that is launched on a GPU while another's wait was launched beside them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "labels.h"
#include "mock.h"

#define MB ((size_t) 1 << 20)
#define OTHERS (512 * MB) /* that are left to other processes */
#define PLENTY ((size_t) 4096 * MB)
#define WHOLE (OTHERS + 40 * MB) /* has room for the embedded model and its pool */
#define PART (OTHERS + 15 * MB)	 /* for some of its layers */
#define EACH 4					 /* requests for a model, of which the last weighs labels */
#define TEXTS 3					 /* those before it */
#define MODELS 3				 /* at most */
#define TOKENS 8
#define MOST_SECONDS 64

static char passes[64]; /* with a device's number behind it: its passes wait while it is there */

/* ---- Models and requests ----------------------------------------------------------------- */

/* The embedded model by a name for each number: models of their own. */
static glm_request *
make_for(int model, int number, bool stream)
{
	static const char *const prompts[TEXTS] = {
		"hello", "lamp lamp lamp tree", "Order 3 red chairs for Paris, and a lamp for the tree."};
	char		 labels[LB_JSON];
	glm_request *req;
	char		*name;

	lb_write(labels, &lb_crowd);
	req = number < TEXTS ? make_request(prompts[number], TOKENS, stream)
						 : lb_about(GLM_SCORE, GLM_PROMPT, "Which lamp is it?", labels, 0);
	name = (char *) req + req->model.offset;
	name[0] = model > 0 ? 'T' : 't';
	name[1] = model > 1 ? 'I' : 'i';
	req->temperature = number < TEXTS ? number * 0.7 : 0;
	req->seed = (uint64_t) number;
	return req;
}

static glm_config
config_of(const char *device)
{
	glm_config config = mock_config(device, false);

	config.max_sequences = MODELS * EACH;
	config.max_queue = 2 * MODELS * EACH;
	return config;
}

static void
check_done(const answer *a)
{
	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s", a->message);
}

typedef struct kept_answer
{
	char   text[4096];
	size_t length;
} kept_answer;

/* What the CPU answers. */
static const kept_answer *
expected(int number)
{
	static kept_answer kept[EACH];

	if (kept[number].length == 0)
	{
		glm_config	config = config_of("cpu");
		glm_engine *cpu = mock_engine(&config);

		for (int i = 0; i < EACH; i++)
		{
			const answer *a = mock_await(cpu, submit(cpu, make_for(0, i, false)));

			check_done(a);
			assert_in_range(a->length, 1, sizeof(kept[i].text));
			kept[i].length = a->length;
			memcpy(kept[i].text, a->text, a->length);
		}
		glm_engine_close(cpu);
	}
	return &kept[number];
}

static void
check_answer(glm_engine *engine, int ticket, int number)
{
	check_done(mock_await(engine, ticket));
	assert_int_equal(answers[ticket].length, expected(number)->length);
	assert_memory_equal(answers[ticket].text, expected(number)->text, expected(number)->length);
}

/* Models in the order of their numbers, each loaded by a request. */
static void
load(glm_engine *engine, int first, int end)
{
	for (int model = first; model < end; model++)
		check_answer(engine, submit(engine, make_for(model, 0, false)), 0);
}

/* An engine with the first model on the second GPU, and the second on the first. */
static glm_engine *
open_both(void)
{
	glm_config	config = config_of("cuda:0,1");
	glm_engine *engine;
	glm_stats	stats;

	expected(0); /* which takes an engine of its own */
	mock_room(WHOLE);
	mock_room_of(1, WHOLE + 8 * MB);
	engine = mock_engine(&config);
	load(engine, 0, 2);
	stats = stats_of(engine);
	assert_true(stats.device_use[0].models == 1 && stats.device_use[1].models == 1);
	assert_int_equal(stats.models_evicted, 0);
	return engine;
}

static void
close_both(glm_engine *engine)
{
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

/* Requests for models [0, n), which all run before the steps go on; calls are counted anew. */
static void
submit_together(glm_engine *engine, int n, int each, bool stream, int ticket[MODELS][EACH])
{
	mock_fault("");
	hold(engine);
	for (int model = 0; model < n; model++)
		for (int i = 0; i < each; i++)
			ticket[model][i] = submit(engine, make_for(model, i, stream));
	wait_running(engine, n * each);
}

static void
go_on(glm_engine *engine)
{
	glm_engine_set_step_delay(engine, 0);
}

/* ---- At a time ------------------------------------------------------------------------------ */

/* Where drafts are always made, they are from the second step on: one may bring a whole answer. */
static void
check_together_with(glm_engine *engine, int n, glm_speculation speculation)
{
	int ticket[MODELS][EACH];

	glm_engine_set_speculation(engine, GLM_SPECULATE_AUTO);
	submit_together(engine, n, EACH, false, ticket);
	glm_engine_set_speculation(engine, speculation);
	go_on(engine);
	for (int model = 0; model < n; model++)
		for (int i = 0; i < EACH; i++)
			check_answer(engine, ticket[model][i], i);
	assert_true(mock_calls("beside") > 0);
}

static void
check_together(glm_engine *engine, int n)
{
	check_together_with(engine, n, GLM_SPECULATE_AUTO);
}

static void
test_two_models(void **state)
{
	glm_engine *engine = open_both();

	(void) state;
	check_together(engine, 2);
	check_together_with(engine, 2, GLM_SPECULATE_ALWAYS);
	close_both(engine);
}

/* One GPU has two models, which take turns there. */
static void
test_three_models(void **state)
{
	glm_engine *engine;

	(void) state;
	engine = open_both();
	mock_room_of(1, WHOLE + 60 * MB);
	load(engine, 2, 3);
	assert_int_equal(stats_of(engine).device_use[1].models, 2);
	check_together(engine, 3);
	close_both(engine);
}

/* One is divided, and needs both: nothing is computed beside it. */
static void
test_divided_between(void **state)
{
	glm_config	config = config_of("cuda:0,1");
	glm_engine *engine;
	glm_stats	stats;

	(void) state;
	expected(0);
	mock_room(PART);
	engine = mock_engine(&config);
	load(engine, 0, 1);
	mock_room(WHOLE + 20 * MB);
	load(engine, 1, 3);
	stats = stats_of(engine);
	assert_true(stats.device_use[0].models == 2 && stats.device_use[1].models == 2);
	check_together(engine, 3);
	check_together(engine, 3);
	close_both(engine);
}

/* ---- Faults ------------------------------------------------------------------------------------ */

/*
 * A pass that fails fails those who are in it.  These all take more than two passes, so that whether the
 * first is over by now, is under way or has not begun, the next that is told anything has them all.  What
 * is waited for may be the trial of a graph.
 */
static void
test_one_fails(void **state)
{
	glm_engine *engine = open_both();
	glm_error	err = {0};
	int			ticket[MODELS][EACH];

	(void) state;
	submit_together(engine, 2, TEXTS, false, ticket);
	mock_fault("cuMemcpyHtoDAsync@0:1:701");
	go_on(engine);
	for (int i = 0; i < TEXTS; i++)
	{
		const answer *a = mock_await(engine, ticket[1][i]);

		assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
		assert_non_null(strstr(a->message, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"));
		check_answer(engine, ticket[0][i], i);
	}
	mock_fault("");
	assert_false(glm_engine_lost(engine, &err));
	check_together(engine, 2);
	close_both(engine);
}

/* One that is lost ends the engine; what was computed beside it has come first. */
static void
test_one_is_lost(void **state)
{
	glm_engine *engine = open_both();
	glm_error	err = {0};
	int			ticket[MODELS][EACH], had[TEXTS];

	(void) state;
	submit_together(engine, 2, TEXTS, true, ticket);
	pump(engine, 1);
	for (int i = 0; i < TEXTS; i++)
		had[i] = answers[ticket[0][i]].tokens;
	mock_fault("kernel@0:1:700");
	go_on(engine);
	for (int i = 0; i < TEXTS; i++)
	{
		for (int model = 0; model < 2; model++)
		{
			const answer *a = mock_await(engine, ticket[model][i]);

			/* an answer of the other may have come to its end */
			if (model == 0 && a->last.kind == GLM_EVENT_DONE)
				continue;
			assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
			assert_non_null(strstr(a->message, "CUDA_ERROR_ILLEGAL_ADDRESS"));
		}
		assert_true(answers[ticket[0][i]].tokens > had[i]);
	}
	mock_fault("");
	assert_true(glm_engine_lost(engine, &err));
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use_of(1), 0);
	assert_true(mock_in_use_of(0) > 0);
}

/* ---- Passes that wait --------------------------------------------------------------------------- */

static void
name_hold(char name[80], int device, const char *suffix)
{
	snprintf(name, 80, "%s.%d%s", passes, device, suffix);
}

static void
begin_hold(int device)
{
	char  name[80];
	FILE *f;

	name_hold(name, device, ".held");
	unlink(name);
	name_hold(name, device, "");
	f = fopen(name, "w");
	assert_non_null(f);
	fclose(f);
}

/* Until somebody waits for that device. */
static void
wait_held(glm_engine *engine, int device)
{
	char name[80];

	name_hold(name, device, ".held");
	while (access(name, F_OK) != 0)
		pump(engine, 1);
}

static void
end_hold(int device)
{
	char name[80];

	name_hold(name, device, "");
	unlink(name);
	name_hold(name, device, ".held");
	unlink(name);
}

/* What is cancelled while its pass is under way beside another ends with it. */
static void
test_cancelled(void **state)
{
	glm_engine *engine = open_both();
	int			ticket[MODELS][EACH];

	(void) state;
	submit_together(engine, 2, 2, false, ticket);
	begin_hold(0);
	begin_hold(1);
	go_on(engine);
	while (mock_calls("beside") == 0)
		pump(engine, 1);
	glm_engine_cancel(engine, ticket[0][0]);
	glm_engine_cancel(engine, ticket[1][1]);
	end_hold(0);
	end_hold(1);
	assert_int_equal(mock_await(engine, ticket[0][0])->last.status, GLM_CANCELLED);
	assert_int_equal(mock_await(engine, ticket[1][1])->last.status, GLM_CANCELLED);
	check_answer(engine, ticket[0][1], 1);
	check_answer(engine, ticket[1][0], 0);
	close_both(engine);
}

/*
 * The second model's passes are known to take so long: how many tokens does the first come to
 * until that of the next step is waited for?
 */
static int
count_tokens_beside(glm_engine *engine, int seconds)
{
	int ticket[MODELS][EACH], before, n;

	begin_hold(0);
	hold(engine);
	ticket[1][0] = submit(engine, make_for(1, 0, true));
	wait_held(engine, 0);
	sleep((unsigned) seconds);
	end_hold(0);
	wait_running(engine, 1);
	ticket[0][0] = submit(engine, make_for(0, 0, true));
	wait_running(engine, 2);
	pump(engine, 1);
	before = answers[ticket[0][0]].tokens;
	begin_hold(0);
	go_on(engine);
	wait_held(engine, 0);
	pump(engine, 1);
	n = answers[ticket[0][0]].tokens - before;
	end_hold(0);
	check_answer(engine, ticket[0][0], 0);
	check_answer(engine, ticket[1][0], 0);
	return n;
}

/* A model that is quick does not wait for one that is slow; slow is what this machine makes of it. */
static void
test_quick_one(void **state)
{
	glm_engine *engine = open_both();
	int			n = 0;

	(void) state;
	for (int seconds = 1; n < 2 && seconds <= MOST_SECONDS; seconds *= 2)
		n = count_tokens_beside(engine, seconds);
	assert_true(n >= 2);
	close_both(engine);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_models),		cmocka_unit_test(test_three_models),
		cmocka_unit_test(test_divided_between), cmocka_unit_test(test_one_fails),
		cmocka_unit_test(test_cancelled),		cmocka_unit_test(test_quick_one),
		cmocka_unit_test(test_one_is_lost), /* the last: that GPU stays so */
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	snprintf(passes, sizeof(passes), "/tmp/chatglm-beside-%d", (int) getpid());
	setenv("GLM_MOCK_HOLD_PASSES", passes, 1);
	mock_devices(2);
	mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
