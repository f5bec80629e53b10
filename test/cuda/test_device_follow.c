/*
 * test_device_follow.c - passes that are put in order behind one whose ids are not home yet:
 * that they are, and that answers are the CPU's whatever happens meanwhile: some end, are
 * cancelled or fail, others come, readers stall, the model is unloaded.
 *
 *     test_device_follow [test_...]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock.h"

#define REQUESTS 12
#define PLACES 6 /* sequences at a time */
#define PROMPTS 4
#define LONG 3	  /* the request whose answer has most tokens */
#define STOPPED 0 /* that ends by the model's stop */
#define LIMITED 5 /* one that is known to end before it does, so that no pass is behind its last */
#define MOST 8	  /* requests at a time in one test */

static char passes[64]; /* while it is there, passes are not done; .held: one is waited for */

/* ---- Requests ------------------------------------------------------------------------------ */

/* They end after 4 tokens to 22, by a stop or their number; some are streams, some are told more. */
static glm_request *
make_numbered(int i)
{
	static const char *const prompts[PROMPTS] = {"hello", "lamp lamp lamp lamp lamp tree",
												 "Order 3 red chairs for Paris.", "Who are you?"};
	glm_request				*req = make_request(prompts[i % PROMPTS], 3 + i, i % 3 == 2);

	if (i < PROMPTS)
		req->max_tokens = 22;
	req->temperature = i % 4 == 0 ? 0 : 0.4 * (i % 7);
	req->top_p = i % 5 == 1 ? 0.9 : 1;
	req->top_k = i % 6 == 3 ? 30 : 0;
	req->logprobs = i % 4 == 3;
	req->seed = (uint64_t) i * UINT64_C(0x9e3779b97f4a7c15);
	if (i % 5 == 4)
		set_stop(req, "e");
	return req;
}

static glm_config
config_of(const char *device, int places)
{
	glm_config config = mock_config(device, false);

	config.max_sequences = places;
	config.max_queue = REQUESTS;
	return config;
}

/* As it comes, a reader that takes what he gets. */
static const answer *
await(glm_engine *engine, int ticket)
{
	while (!answers[ticket].ended)
	{
		glm_engine_taken(engine, ticket, (uint32_t) answers[ticket].tokens);
		pump(engine, 1);
	}
	return &answers[ticket];
}

typedef struct kept_answer
{
	char	 text[512];
	uint64_t digest;
	int		 tokens;
} kept_answer;

/* What the CPU answers, one after the other. */
static const kept_answer *
expected(int number)
{
	static kept_answer kept[REQUESTS];

	if (kept[number].tokens == 0)
	{
		glm_config	config = config_of("cpu", 1);
		glm_engine *cpu = mock_engine(&config);

		for (int i = 0; i < REQUESTS; i++)
		{
			const answer *a = await(cpu, submit(cpu, make_numbered(i)));

			assert_int_equal(a->last.kind, GLM_EVENT_DONE);
			snprintf(kept[i].text, sizeof(kept[i].text), "%.511s", a->text);
			kept[i].digest = a->digest;
			kept[i].tokens = a->last.completion_tokens;
		}
		glm_engine_close(cpu);
	}
	return &kept[number];
}

static void
check_answer(glm_engine *engine, int ticket, int number)
{
	const answer *a = await(engine, ticket);

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("request %d: %s", number, a->message);
	assert_string_equal(a->text, expected(number)->text);
	assert_int_equal(a->digest, expected(number)->digest);
	assert_int_equal(a->last.completion_tokens, expected(number)->tokens);
}

/* Without drafts, which would come before what follows; the model is loaded. */
static glm_engine *
open_on_gpu(int places)
{
	glm_config	config = config_of("cuda:0", places);
	glm_engine *engine;

	expected(0); /* which takes an engine of its own */
	engine = mock_engine(&config);
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	check_answer(engine, submit(engine, make_numbered(LIMITED)), LIMITED);
	return engine;
}

static void
close_on_gpu(glm_engine *engine)
{
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* Requests [first, first + n), which all run before the steps go on. */
static void
submit_together(glm_engine *engine, int first, int n, int *ticket)
{
	hold(engine);
	for (int i = 0; i < n; i++)
		ticket[i] = submit(engine, make_numbered(first + i));
	wait_running(engine, n);
	glm_engine_set_step_delay(engine, 0);
}

/* ---- Passes that wait ----------------------------------------------------------------------- */

static void
name_held(char name[80])
{
	snprintf(name, 80, "%s.held", passes);
}

/*
 * Until a pass that is followed is waited for.  Graphs are off, as to prove one is to wait for it
 * too, before what follows is complete.
 */
static void
hold_passes(glm_engine *engine)
{
	uint64_t followed = stats_of(engine).followed;
	char	 name[80];
	FILE	*f;

	while (stats_of(engine).followed < followed + 3)
		pump(engine, 1);
	f = fopen(passes, "w");
	assert_non_null(f);
	fclose(f);
	name_held(name);
	while (access(name, F_OK) != 0)
		pump(engine, 1);
}

static void
release_passes(void)
{
	char name[80];

	unlink(passes);
	name_held(name);
	unlink(name);
}

/* ---- That it is done, and right ------------------------------------------------------------- */

/* The second is complete while the first is waited for: its steps were taken, but not its ids. */
static void
test_ahead(void **state)
{
	glm_engine *engine = open_on_gpu(1);
	glm_stats	before, held, after;
	int			ticket, tokens;

	(void) state;
	glm_engine_set_tuning(engine, false);
	before = stats_of(engine);
	ticket = submit(engine, make_numbered(STOPPED));
	hold_passes(engine);
	held = stats_of(engine);
	tokens = glm_engine_generated(engine, ticket);
	/* the prompt's and that of the first token are none behind which, and before which, one was */
	assert_int_equal(held.steps - before.steps, tokens);
	assert_int_equal(held.followed - before.followed, tokens);
	assert_false(answers[ticket].ended);
	release_passes();
	check_answer(engine, ticket, STOPPED);
	/* what was behind the last was for nobody */
	do
		after = stats_of(engine);
	while (after.steps - before.steps < (uint64_t) expected(STOPPED)->tokens + 1);
	assert_int_equal(after.followed - before.followed, expected(STOPPED)->tokens - 1);
	/* nor is anything behind the last where that is known to be */
	check_answer(engine, submit(engine, make_numbered(LIMITED)), LIMITED);
	assert_int_equal(stats_of(engine).steps - after.steps, expected(LIMITED)->tokens);
	close_on_gpu(engine);
}

/* Graphs are proved in passes that follow, too, and used. */
static void
check_all(glm_engine *engine)
{
	int			ticket[REQUESTS], kept, launched;
	glm_stats	stats;
	const char *graphs;

	for (int i = 0; i < REQUESTS; i++)
		ticket[i] = submit(engine, make_numbered(i));
	for (int i = 0; i < REQUESTS; i++)
		check_answer(engine, ticket[i], i);
	stats = stats_of(engine);
	graphs = stats.tuned[stats.n_tuned - 1].how;
	assert_int_equal(sscanf(graphs, "%d kept, launched %d times", &kept, &launched), 2);
	assert_true(launched > 0);
	assert_true(stats.followed > 0);
}

static void
test_many(void **state)
{
	glm_engine *engine = open_on_gpu(PLACES);

	(void) state;
	check_all(engine);
	close_on_gpu(engine);
}

/* Where a draft can be made it comes first, and nothing follows while there are drafts. */
static void
test_drafts(void **state)
{
	glm_engine	  *engine = open_on_gpu(PLACES);
	glm_model_info info;

	(void) state;
	for (int speculation = GLM_SPECULATE_AUTO; speculation <= GLM_SPECULATE_ALWAYS;
		 speculation += GLM_SPECULATE_ALWAYS)
	{
		glm_engine_set_speculation(engine, (glm_speculation) speculation);
		check_all(engine);
	}
	assert_int_equal(glm_engine_models(engine, &info, 1), 1);
	assert_true(info.accepted_tokens > 0);
	close_on_gpu(engine);
}

/* ---- What happens meanwhile ----------------------------------------------------------------- */

/* Who is cancelled while two passes are under way ends with them, and who comes need not wait for long. */
static void
test_cancelled(void **state)
{
	int ticket[MOST], other[2];

	(void) state;
	for (int gone = -1; gone < LONG; gone++)
	{
		glm_engine *engine = open_on_gpu(PLACES);

		glm_engine_set_tuning(engine, false);
		submit_together(engine, 0, PROMPTS, ticket);
		hold_passes(engine);
		if (gone >= 0)
			glm_engine_cancel(engine, ticket[gone]);
		else
			for (int i = 0; i < 2; i++)
				other[i] = submit(engine, make_numbered(LIMITED + i));
		release_passes();
		for (int i = 0; i < PROMPTS; i++)
			if (i != gone)
				check_answer(engine, ticket[i], i);
			else
				assert_int_equal(await(engine, ticket[gone])->last.status, GLM_CANCELLED);
		for (int i = 0; gone < 0 && i < 2; i++)
		{
			check_answer(engine, other[i], LIMITED + i);
			assert_true(answers[other[i]].order < answers[ticket[LONG]].order);
		}
		close_on_gpu(engine);
	}
}

/* A reader that stalls is left out, and has not a token more than there is room for. */
static void
test_stalled(void **state)
{
	glm_engine	*engine = open_on_gpu(PLACES);
	glm_request *req = make_numbered(LONG);
	int			 ticket, other[3];
	uint64_t	 followed;

	(void) state;
	req->stream = true;
	req->logprobs = false;
	ticket = submit(engine, req);
	for (int i = 0; i < 3; i++)
		other[i] = submit(engine, make_numbered(i));
	while (answers[ticket].tokens < GLM_OUTBOX)
		pump(engine, 1);
	followed = stats_of(engine).followed;
	for (int i = 0; i < 3; i++)
		check_answer(engine, other[i], i);
	check_answer(engine, submit(engine, make_numbered(11)), 11);
	assert_true(stats_of(engine).followed > followed);
	assert_int_equal(stats_of(engine).paused, 1);
	assert_int_equal(answers[ticket].tokens, GLM_OUTBOX);
	assert_int_equal(await(engine, ticket)->last.kind, GLM_EVENT_DONE);
	assert_string_equal(answers[ticket].text, expected(LONG)->text);
	close_on_gpu(engine);
}

/* The model goes when the last of its requests ends, but not before the pass behind it is over. */
static void
test_unloaded(void **state)
{
	glm_engine *engine = open_on_gpu(PLACES);

	(void) state;
	glm_engine_set_tuning(engine, false);
	for (int i = 0; i < 2; i++)
	{
		int			 number = i == 0 ? LONG : STOPPED;
		glm_request *req = make_request("", 0, false);
		int			 ticket = submit(engine, make_numbered(number)), unload;
		size_t		 used = mock_in_use();

		hold_passes(engine);
		req->kind = GLM_UNLOAD;
		unload = submit(engine, req);
		assert_int_equal(await(engine, unload)->last.kind, GLM_EVENT_DONE);
		release_passes();
		check_answer(engine, ticket, number);
		while (mock_in_use() >= used)
			pump(engine, 1);
		check_answer(engine, submit(engine, make_numbered(0)), 0);
	}
	close_on_gpu(engine);
}

/* ---- Faults ------------------------------------------------------------------------------------ */

/* What fails in one of two passes fails those who are in them; who comes then is answered. */
static void
check_fault(glm_engine *engine, const char *fault, const char *words)
{
	int ticket[MOST];

	submit_together(engine, 0, PROMPTS, ticket);
	hold_passes(engine);
	mock_fault(fault);
	release_passes();
	for (int i = 0; i < PROMPTS; i++)
	{
		const answer *a = await(engine, ticket[i]);

		/* who ends with the pass before the one that fails */
		if (a->last.kind == GLM_EVENT_DONE)
			continue;
		if (strstr(a->message, words) == NULL)
			fail_msg("%s: \"%s\"", fault, a->message);
	}
	assert_int_equal(answers[ticket[LONG]].last.kind, GLM_EVENT_ERROR);
	mock_fault("");
}

static void
test_faults(void **state)
{
	static const char *const faults[] = {"cuEventSynchronize:1:701", "cuEventRecord:1:701",
										 "cuMemcpyDtoDAsync:1:701",	 "cuMemcpyHtoDAsync:1:701",
										 "cuMemcpyHtoDAsync:2:701",	 "cuLaunchKernel:3:701",
										 "cuMemcpyDtoHAsync:1:701",	 "cuStreamSynchronize:1:701"};
	glm_error				 err;

	(void) state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
	{
		glm_engine *engine = open_on_gpu(PLACES);

		glm_engine_set_tuning(engine, false);
		check_fault(engine, faults[i], "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES");
		assert_false(glm_engine_lost(engine, &err));
		check_answer(engine, submit(engine, make_numbered(LIMITED)), LIMITED);
		close_on_gpu(engine);
	}
}

/* An engine that is closed ends what it has begun, and nothing else. */
static void
test_closed(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		glm_engine *engine = open_on_gpu(PLACES);
		uint64_t	followed = stats_of(engine).followed;

		mock_slow(5);
		submit(engine, make_numbered(LONG));
		submit(engine, make_numbered(1));
		while (stats_of(engine).followed < followed + 2)
			pump(engine, 1);
		close_on_gpu(engine);
		mock_slow(0);
	}
}

static void
test_lost(void **state)
{
	glm_engine *engine = open_on_gpu(PLACES);
	glm_error	err = {0};

	(void) state;
	glm_engine_set_tuning(engine, false);
	check_fault(engine, "kernel:2:700", "CUDA_ERROR_ILLEGAL_ADDRESS");
	assert_true(glm_engine_lost(engine, &err));
	glm_engine_close(engine);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ahead),	cmocka_unit_test(test_many),
		cmocka_unit_test(test_drafts),	cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_stalled), cmocka_unit_test(test_unloaded),
		cmocka_unit_test(test_faults),	cmocka_unit_test(test_closed),
		cmocka_unit_test(test_lost), /* the last: it stays so */
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	snprintf(passes, sizeof(passes), "/tmp/chatglm-follow-%d", (int) getpid());
	setenv("GLM_MOCK_HOLD_PASSES", passes, 1);
	mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
