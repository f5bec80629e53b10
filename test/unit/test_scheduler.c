/*
 * test_scheduler.c - what sequences share and who gives way: prefixes that are
 * computed once, a KV pool that is too small, priorities, tenants.
 *
 * Whatever happens, answers are those of a request that is alone.
 */
#include "client.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "sanitized.h"

#define ROOMY ((size_t) 64 << 20)
#define COMPANY 12

static const char common[] =
	"A review of a desk lamp follows. The lamp came late, the box was open, and the switch is "
	"hard to find in the dark, but the light is warm and it stands well on a small table. Say "
	"what you think of it and of the shop that sold it, then of the city it was sent to. ";

/* A prompt that begins like the others; `i` makes it its own. */
static glm_request *
make_similar(int i, int max_tokens)
{
	char prompt[1024];

	snprintf(prompt, sizeof(prompt), "%s%d lamps", common, i);
	return make_request(prompt, max_tokens, false);
}

/* Answers of an engine that never heard anything else. */
static void
answer_alone(char (*text)[4096], int n, int max_tokens)
{
	for (int i = 0; i < n; i++)
	{
		glm_engine *engine = open_engine(1, 4, ROOMY);

		strcpy(text[i], wait_for(engine, submit(engine, make_similar(i, max_tokens)))->text);
		glm_engine_close(engine);
	}
}

/* ---- Prefixes ----------------------------------------------------------------- */

static void
prefix_is_found_again(void **state)
{
	glm_engine	*engine = open_engine(2, 4, ROOMY);
	char		 alone[2][4096];
	answer		*first, *second;
	glm_request *req;

	(void) state;
	answer_alone(alone, 2, 40);
	first = wait_for(engine, submit(engine, make_similar(0, 40)));
	assert_string_equal(first->text, alone[0]);
	assert_int_equal(first->last.cached_tokens, 0);
	second = wait_for(engine, submit(engine, make_similar(1, 40)));
	assert_string_equal(second->text, alone[1]);
	assert_true(second->last.cached_tokens >= 2 * 32);
	assert_int_equal(second->last.cached_tokens % 32, 0);
	assert_true(second->last.cached_tokens < second->last.prompt_tokens);
	assert_int_equal(stats_of(engine).kv_bytes_used, 0);
	assert_true(stats_of(engine).kv_bytes_cached > 0);

	req = make_similar(1, 40);
	req->scope = 0;
	second = wait_for(engine, submit(engine, req));
	assert_string_equal(second->text, alone[1]);
	assert_int_equal(second->last.cached_tokens, 0);
	glm_engine_close(engine);
}

/* Two prompts that part in the midst of a block: of the second only what differs is computed. */
static void
parted_block_is_copied(void **state)
{
	glm_engine *engine = open_engine(2, 4, ROOMY);
	int			in_midst = 0;

	(void) state;
	for (int length = 60; length < 240; length += 20)
	{
		char		  prompt[2][512];
		const answer *second;
		glm_engine	 *fresh = open_engine(1, 4, ROOMY);

		for (int i = 0; i < 2; i++)
			snprintf(prompt[i], sizeof(prompt[i]), "%d: %.*s %s in all of them", length, length,
					 common, i == 0 ? "lamps" : "chairs");
		wait_for(engine, submit(engine, make_request(prompt[0], 40, false)));
		second = wait_for(engine, submit(engine, make_request(prompt[1], 40, false)));
		in_midst += second->last.cached_tokens % 32 != 0;
		assert_string_equal(
			second->text, wait_for(fresh, submit(fresh, make_request(prompt[1], 40, false)))->text);
		glm_engine_close(fresh);
	}
	assert_true(in_midst >= 3);
	glm_engine_close(engine);
}

static void
unshared_leaves_nothing(void **state)
{
	glm_engine	*engine = open_engine(1, 4, ROOMY);
	glm_request *req = make_similar(0, 40);

	(void) state;
	req->scope = 0;
	wait_for(engine, submit(engine, req));
	assert_int_equal(stats_of(engine).kv_bytes_cached, 0);
	assert_int_equal(wait_for(engine, submit(engine, make_similar(0, 4)))->last.cached_tokens, 0);
	glm_engine_close(engine);
}

/* Prompts that arrive together wait for the one that computes the beginning. */
static void
computed_once_for_all(void **state)
{
	glm_engine *engine = open_engine(2, COMPANY, ROOMY);
	char		alone[COMPANY][4096];
	int			ticket[COMPANY];
	uint64_t	prompt = 0;

	(void) state;
	answer_alone(alone, COMPANY, 20);
	for (int i = 0; i < COMPANY; i++)
		ticket[i] = submit(engine, make_similar(i, 20));
	for (int i = 0; i < COMPANY; i++)
	{
		assert_string_equal(wait_for(engine, ticket[i])->text, alone[i]);
		prompt += answers[ticket[i]].last.prompt_tokens;
	}
	assert_true(stats_of(engine).prompt_tokens + stats_of(engine).cached_tokens == prompt);
	assert_true(stats_of(engine).prompt_tokens < prompt / 2);
	glm_engine_close(engine);
}

static void
unloading_forgets(void **state)
{
	glm_engine	  *engine = open_engine(1, 4, ROOMY);
	glm_request	  *req = make_request("", 1, false);
	glm_model_info info;

	(void) state;
	wait_for(engine, submit(engine, make_similar(0, 4)));
	assert_int_equal(glm_engine_models(engine, &info, 1), 1);
	assert_int_equal(info.kv_bytes_cached, stats_of(engine).kv_bytes_cached);
	assert_true(info.kv_bytes_cached > 0 && info.prompt_tokens == info.prefill_tokens);
	assert_int_equal(info.completion_tokens, stats_of(engine).completion_tokens);
	req->kind = GLM_UNLOAD;
	wait_for(engine, submit(engine, req));
	assert_int_equal(stats_of(engine).kv_bytes_cached, 0);
	assert_int_equal(wait_for(engine, submit(engine, make_similar(0, 4)))->last.cached_tokens, 0);
	glm_engine_close(engine);
}

/* ---- A small pool --------------------------------------------------------------- */

/* Long answers outgrow the pool; whoever gives way says the same in the end. */
static void
small_pool_changes_nothing(void **state)
{
	char alone[COMPANY][4096];
	int	 ticket[COMPANY];

	(void) state;
	answer_alone(alone, COMPANY, 150);
	for (int unshared = 0; unshared < 2; unshared++)
	{
		glm_engine *engine = open_engine(2, COMPANY, (size_t) 3 << 20);

		for (int i = 0; i < COMPANY; i++)
		{
			glm_request *req = make_similar(i, 150);

			req->scope = unshared == 0;
			ticket[i] = submit(engine, req);
		}
		for (int i = 0; i < COMPANY; i++)
			assert_string_equal(wait_for(engine, ticket[i])->text, alone[i]);
		assert_int_equal(stats_of(engine).kv_bytes_used, 0);
		assert_int_equal(stats_of(engine).running, 0);
		glm_engine_close(engine);
	}
}

/* An answer of any tokens, so long as the seed's draws are not the end. */
static glm_request *
make_rambling(int seed)
{
	glm_request *req = make_request("hello", 190, false);

	req->temperature = 100;
	req->seed = seed;
	req->scope = seed % 2 == 0;
	return req;
}

/* Answers that ramble on meet in a pool with room for three of them. */
static void
preempted_and_computed_anew(void **state)
{
	char		alone[8][4096];
	int			ticket[8];
	glm_engine *engine = open_engine(1, 8, ROOMY);

	(void) state;
	for (int i = 0; i < 8; i++)
		strcpy(alone[i], wait_for(engine, submit(engine, make_rambling(i)))->text);
	assert_int_equal(stats_of(engine).preemptions, 0);
	glm_engine_close(engine);

	engine = open_engine(1, 8, (size_t) 2 << 20);
	hold(engine);
	for (int i = 0; i < 8; i++)
		ticket[i] = submit(engine, make_rambling(i));
	wait_arrived(engine, 8);
	glm_engine_set_step_delay(engine, 0);
	for (int i = 0; i < 8; i++)
		assert_string_equal(wait_for(engine, ticket[i])->text, alone[i]);
	assert_true(stats_of(engine).preemptions > 0);
	assert_int_equal(stats_of(engine).kv_bytes_used, 0);
	glm_engine_close(engine);
}

/* ---- Speculation ------------------------------------------------------------------- */

/* Greedy, seeded, penalized; of texts that copy and of rambling ones. */
static glm_request *
make_various(int i)
{
	char		 prompt[128];
	glm_request *req;

	snprintf(prompt, sizeof(prompt), "lamp lamp lamp %d lamp lamp lamp", i % 7);
	req = make_request(prompt, 60, false);
	req->form = i % 3 == 0 ? GLM_RAW : GLM_PROMPT;
	req->temperature = i % 4 * 0.5;
	req->seed = i;
	req->repetition_penalty = i % 5 == 0 ? 1.2 : 1;
	req->scope = i % 6 != 0;
	return req;
}

static void
drafts_change_nothing(void **state)
{
	char plain[40][4096];
	int	 plain_tokens[40];

	(void) state;
	for (int speculation = GLM_SPECULATE_OFF; speculation <= GLM_SPECULATE_ALWAYS; speculation++)
	{
		glm_engine	  *engine = open_engine(2, 8, ROOMY);
		int			   accepted = 0;
		glm_model_info info;

		glm_engine_set_speculation(engine, speculation);
		for (int i = 0; i < 40; i++)
		{
			answer *a = wait_for(engine, submit(engine, make_various(i)));

			if (speculation == GLM_SPECULATE_OFF)
			{
				strcpy(plain[i], a->text);
				plain_tokens[i] = a->last.completion_tokens;
			}
			assert_string_equal(a->text, plain[i]);
			assert_int_equal(a->last.completion_tokens, plain_tokens[i]);
			accepted += a->last.accepted_tokens;
		}
		assert_int_equal(glm_engine_models(engine, &info, 1), 1);
		assert_int_equal(info.accepted_tokens, accepted);
		assert_true(info.draft_tokens >= info.accepted_tokens);
		assert_true(speculation == GLM_SPECULATE_OFF ? info.draft_tokens == 0 : accepted > 100);
		glm_engine_close(engine);
	}
}

static glm_request *
make_raw(bool stream)
{
	glm_request *req = make_request("Repeat:", 60, stream);

	req->form = GLM_RAW; /* rambles on long enough */
	return req;
}

/* Drafts do not overrun a reader's outbox. */
static void
drafts_wait_for_the_reader(void **state)
{
	glm_engine *engine = open_engine(1, 4, ROOMY);
	char		whole[4096];
	int			stream;

	(void) state;
	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	strcpy(whole, wait_for(engine, submit(engine, make_raw(false)))->text);
	stream = submit(engine, make_raw(true));
	for (int i = 0; stats_of(engine).paused == 0 && i < 10000; i++)
		pump(engine, 1);
	pump(engine, 20);
	assert_int_equal(answers[stream].tokens, GLM_OUTBOX);
	assert_string_equal(read_stream(engine, stream), whole);
	assert_true(answers[stream].last.accepted_tokens > 0);
	glm_engine_close(engine);
}

/* ---- Turns ------------------------------------------------------------------------ */

static int
submit_for(glm_engine *engine, uint32_t tenant, bool batch)
{
	glm_request *req = make_request("hello", 8, false);

	req->temperature = 100;
	req->tenant = tenant;
	req->batch = batch;
	return submit(engine, req);
}

static void
interactive_comes_first(void **state)
{
	glm_engine *engine = open_engine(1, 2, ROOMY);
	int			job[6];
	int			asked;

	(void) state;
	hold(engine);
	for (int i = 0; i < 6; i++)
		job[i] = submit_for(engine, 1, true);
	wait_arrived(engine, 6);
	wait_running(engine, 2);
	asked = submit_for(engine, 1, false);
	wait_arrived(engine, 7);
	glm_engine_set_step_delay(engine, 1);
	wait_for(engine, asked);
	for (int i = 0; i < 6; i++)
		wait_for(engine, job[i]);
	for (int i = 2; i < 6; i++)
		assert_true(answers[asked].order < answers[job[i]].order);
	assert_int_equal(stats_of(engine).preemptions, 1);
	glm_engine_close(engine);
}

/* One with many requests does not make another wait for all of them. */
static void
tenants_take_turns(void **state)
{
	glm_engine *engine = open_engine(1, 1, ROOMY);
	int			many[6];
	int			few[2];

	(void) state;
	hold(engine);
	for (int i = 0; i < 6; i++)
		many[i] = submit_for(engine, 1, false);
	for (int i = 0; i < 2; i++)
		few[i] = submit_for(engine, 2, false);
	wait_arrived(engine, 8);
	glm_engine_set_step_delay(engine, 1);
	for (int i = 0; i < 6; i++)
		wait_for(engine, many[i]);
	for (int i = 0; i < 2; i++)
		wait_for(engine, few[i]);
	assert_true(answers[few[0]].order < answers[many[2]].order);
	assert_true(answers[few[1]].order < answers[many[3]].order);
	for (int i = 1; i < 6; i++)
		assert_true(answers[many[i - 1]].order < answers[many[i]].order);
	glm_engine_close(engine);
}

/* Whoever arrives joins the next pass; nobody who runs misses one for it. */
static void
arrivals_cost_no_pass(void **state)
{
	glm_engine	*engine = open_engine(1, 64, ROOMY);
	glm_request *req = make_rambling(3);
	int			 ticket[20];
	int			 first;

	(void) state;
	req->max_tokens = 800;
	hold(engine);
	first = submit(engine, req);
	for (int i = 0; i < 20; i++)
	{
		ticket[i] = submit_for(engine, 1, false);
		glm_engine_set_step_delay(engine, 20);
		while (glm_engine_generated(engine, ticket[i]) == 0)
			pump(engine, 1);
		hold(engine);
	}
	glm_engine_set_step_delay(engine, 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(wait_for(engine, ticket[i])->last.kind, GLM_EVENT_DONE);
	/* the first was there all the time, so all passes were its own */
	assert_int_equal(wait_for(engine, first)->order, 20);
	assert_true(stats_of(engine).steps <= (uint64_t) answers[first].last.completion_tokens + 3);
	glm_engine_close(engine);
}

/* The same weights under another name of the same length. */
static glm_request *
rename_model(glm_request *req)
{
	memcpy((char *) req + req->model.offset, "tiny-chatglm4", req->model.length);
	return req;
}

/* Models share the time: one with many sequences does not slow another down to its pace. */
static void
models_take_turns(void **state)
{
	glm_engine	  *engine = open_engine(1, 32, ROOMY);
	int			   many[16];
	int			   lonely;
	glm_request	  *req;
	glm_model_info info[2];

	(void) state;
	wait_for(engine, submit(engine, make_request("hello", 1, false)));
	wait_for(engine, submit(engine, rename_model(make_request("hello", 1, false))));
	assert_int_equal(glm_engine_models(engine, info, 2), 2);
	hold(engine);
	for (int i = 0; i < 16; i++)
	{
		req = make_rambling(i);
		req->max_tokens = 60;
		many[i] = submit(engine, req);
	}
	req = rename_model(make_rambling(3));
	req->max_tokens = 60;
	lonely = submit(engine, req);
	wait_arrived(engine, 17);
	glm_engine_set_step_delay(engine, 0);
	wait_for(engine, lonely);
	for (int i = 0; i < 16; i++)
		wait_for(engine, many[i]);
	/* it had half of the time and a sixteenth of the work */
	assert_true(answers[lonely].order < answers[many[15]].order);
	assert_string_equal(answers[lonely].text, answers[many[3]].text);
	glm_engine_close(engine);
}

#define MANY_WAIT 100
#define BYTES_EACH 24576 /* of a waiting one; it was 53 KB */

static size_t
bytes_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* Thousands may wait: what a sampler needs by the size of the vocabulary, only those have that were admitted. */
static void
waiting_takes_little(void **state)
{
	glm_engine *engine;
	size_t		before;
	int			first, waiting[MANY_WAIT];

	(void) state;
	if (!memory_tells())
		skip();
	engine = open_engine(1, 1, ROOMY);
	wait_for(engine, submit(engine, make_request("hello", 1, false)));
	hold(engine);
	first = submit(engine, make_similar(0, 4));
	wait_running(engine, 1);
	before = bytes_in_use();
	for (int i = 0; i < MANY_WAIT; i++)
	{
		glm_request *req = make_similar(i, 4);

		req->temperature = 1;
		req->repetition_penalty = 1.1;
		waiting[i] = submit(engine, req);
	}
	wait_arrived(engine, MANY_WAIT + 1);
	assert_in_range(bytes_in_use() - before, 1, MANY_WAIT * BYTES_EACH);
	glm_engine_set_step_delay(engine, 0);
	wait_for(engine, first);
	for (int i = 0; i < MANY_WAIT; i++)
		assert_int_equal(wait_for(engine, waiting[i])->last.kind, GLM_EVENT_DONE);
	glm_engine_close(engine);
}

#define BLOCKS 1000
#define BLOCK_BYTES ((size_t) 64 << 10) /* less than what malloc takes from the system by itself */
#define A_MINUTE INT64_C(60000000000)

static size_t
resident_bytes(void)
{
	FILE		 *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * (size_t) sysconf(_SC_PAGESIZE);
}

/* An engine that has had work, and has none, gives back what was freed. */
static void
idle_gives_back(void **state)
{
	static char *block[BLOCKS];
	glm_engine	*engine;
	size_t		 most;
	int64_t		 begin;

	(void) state;
	if (!memory_tells())
		skip();
	engine = open_engine(1, 1, ROOMY);
	for (int i = 0; i < BLOCKS; i++)
	{
		block[i] = malloc(BLOCK_BYTES);
		assert_non_null(block[i]);
		memset(block[i], 1, BLOCK_BYTES);
	}
	most = resident_bytes();
	for (int i = 0; i + 1 < BLOCKS; i++) /* but for the last, above which nothing is free */
		free(block[i]);
	wait_for(engine, submit(engine, make_request("hello", 1, false)));
	for (begin = glm_now_ns(); resident_bytes() > most - BLOCKS * BLOCK_BYTES / 2;)
	{
		assert_true(glm_now_ns() - begin < A_MINUTE);
		usleep(10000);
	}
	free(block[BLOCKS - 1]);
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefix_is_found_again),
		cmocka_unit_test(parted_block_is_copied),
		cmocka_unit_test(unshared_leaves_nothing),
		cmocka_unit_test(computed_once_for_all),
		cmocka_unit_test(unloading_forgets),
		cmocka_unit_test(small_pool_changes_nothing),
		cmocka_unit_test(preempted_and_computed_anew),
		cmocka_unit_test(drafts_change_nothing),
		cmocka_unit_test(drafts_wait_for_the_reader),
		cmocka_unit_test(interactive_comes_first),
		cmocka_unit_test(tenants_take_turns),
		cmocka_unit_test(arrivals_cost_no_pass),
		cmocka_unit_test(models_take_turns),
		cmocka_unit_test(waiting_takes_little),
		cmocka_unit_test(idle_gives_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
