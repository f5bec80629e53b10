/*
 * test_tenants.c - several tenants in one engine: whoever asks for much, or calls it
 * interactive, holds up himself.
 *
 * The order in which requests end tells who was served when.  The engine is held until all
 * have come; then each step makes one token of a sequence.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"

#define ROOMY ((size_t) 64 << 20)
#define PATIENCE_NS INT64_C(1000000000) /* admit.c's */
#define INTERACTIVE false
#define BATCH true

/* An answer of just so many tokens: at this temperature none of them ends it. */
static glm_request *
make_for(uint32_t tenant, bool batch, int max_tokens)
{
	glm_request *req = make_request("hello", max_tokens, false);

	req->temperature = 100;
	req->seed = 3;
	req->scope = 0;
	req->tenant = tenant;
	req->batch = batch;
	return req;
}

static int
ask(glm_engine *engine, uint32_t tenant, bool batch, int max_tokens)
{
	return submit(engine, make_for(tenant, batch, max_tokens));
}

/* Lets an engine that was held go on, when it has so many sequences. */
static void
let_go(glm_engine *engine, int n_sequences)
{
	wait_arrived(engine, n_sequences);
	glm_engine_set_step_delay(engine, 1);
}

static void
wait_for_all(glm_engine *engine, const int *ticket, int n)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(wait_for(engine, ticket[i])->last.kind, GLM_EVENT_DONE);
}

static void
assert_ends_before(int a, int b)
{
	assert_true(answers[a].order < answers[b].order);
}

/* ---- Places ----------------------------------------------------------------------- */

/* Another's batch has its share of the places beside a flood that calls itself interactive. */
static void
flood_leaves_batch_its_share(void **state)
{
	glm_engine *engine = open_engine(1, 4, ROOMY);
	int			flood[16];
	int			job[4];
	int64_t		begin;

	(void) state;
	hold(engine);
	for (int i = 0; i < 16; i++)
		flood[i] = ask(engine, 1, INTERACTIVE, 10);
	wait_arrived(engine, 16);
	begin = glm_now_ns();
	for (int i = 0; i < 4; i++)
		job[i] = ask(engine, 2, BATCH, 10);
	let_go(engine, 20);
	wait_for_all(engine, flood, 16);
	wait_for_all(engine, job, 4);
	for (int i = 0; i < 4; i++)
		assert_ends_before(job[i], flood[12]);
	assert_ends_before(job[0], flood[8]);
	/* without anybody displaced, which is for those that have waited long */
	if (glm_now_ns() - begin < PATIENCE_NS)
		assert_int_equal(stats_of(engine).preemptions, 0);
	glm_engine_close(engine);
}

/* It does not have to wait for the end of long answers either. */
static void
batch_loses_patience(void **state)
{
	glm_engine *engine = open_engine(1, 2, ROOMY);
	int			flood[4];
	int			job;
	int64_t		begin;

	(void) state;
	hold(engine);
	for (int i = 0; i < 4; i++)
		flood[i] = ask(engine, 1, INTERACTIVE, 120);
	wait_arrived(engine, 4);
	job = ask(engine, 2, BATCH, 4);
	wait_arrived(engine, 5);
	begin = glm_now_ns();
	while (glm_now_ns() - begin < PATIENCE_NS)
		usleep(10000);
	glm_engine_set_step_delay(engine, 1);
	assert_int_equal(wait_for(engine, job)->last.kind, GLM_EVENT_DONE);
	for (int i = 0; i < 4; i++)
		assert_false(answers[flood[i]].ended);
	assert_int_equal(stats_of(engine).preemptions, 1);
	glm_engine_set_step_delay(engine, 0);
	wait_for_all(engine, flood, 4);
	glm_engine_close(engine);
}

/* An interactive request takes a place at once of a tenant that has more than its share. */
static void
share_is_taken_at_once(void **state)
{
	glm_engine *engine = open_engine(1, 4, ROOMY);
	int			flood[8];
	int			asked[2];

	(void) state;
	hold(engine);
	for (int i = 0; i < 8; i++)
		flood[i] = ask(engine, 1, INTERACTIVE, 120);
	wait_arrived(engine, 8);
	for (int i = 0; i < 2; i++)
		asked[i] = ask(engine, 2, INTERACTIVE, 4);
	let_go(engine, 10);
	wait_for_all(engine, asked, 2);
	for (int i = 0; i < 8; i++)
		assert_false(answers[flood[i]].ended);
	assert_in_range(stats_of(engine).preemptions, 1, 2);
	glm_engine_set_step_delay(engine, 0);
	wait_for_all(engine, flood, 8);
	glm_engine_close(engine);
}

/* A tenant's own batch comes to its turn beside its endless interactive requests. */
static void
batch_has_its_turn(void **state)
{
	glm_engine *engine = open_engine(1, 1, ROOMY);
	int			asked[12];
	int			job[2];

	(void) state;
	hold(engine);
	for (int i = 0; i < 2; i++)
		job[i] = ask(engine, 1, BATCH, 8);
	for (int i = 0; i < 12; i++)
		asked[i] = ask(engine, 1, INTERACTIVE, 8);
	let_go(engine, 14);
	wait_for_all(engine, asked, 12);
	wait_for_all(engine, job, 2);
	assert_ends_before(job[0], asked[5]);
	assert_ends_before(job[1], asked[9]);
	assert_ends_before(asked[1], job[1]);
	glm_engine_close(engine);
}

/* Who was displaced once gets on all the same: nobody is displaced for ever. */
static void
displaced_gets_done(void **state)
{
	glm_engine *engine = open_engine(1, 1, ROOMY);
	int			job;
	int			asked = 0;

	(void) state;
	hold(engine);
	job = ask(engine, 1, BATCH, 100);
	let_go(engine, 1);
	while (!answers[job].ended && asked < 200)
	{
		wait_for(engine, ask(engine, 2, INTERACTIVE, 2));
		asked++;
	}
	assert_true(answers[job].ended);
	assert_int_equal(answers[job].last.completion_tokens, 100);
	glm_engine_close(engine);
}

/* ---- Prompts and the pool --------------------------------------------------------------- */

static glm_request *
make_long_prompt(uint32_t tenant, bool batch)
{
	char		 prompt[1600] = "";
	glm_request *req;

	for (int i = 0; i < 80; i++)
		sprintf(prompt + strlen(prompt), "lamp %d of %u, ", i, tenant);
	req = make_request(prompt, 1, false);
	req->scope = 0;
	req->tenant = tenant;
	req->batch = batch;
	return req;
}

/* Many long prompts of one tenant do not hold up another's. */
static void
prompts_share_the_budget(void **state)
{
	glm_engine *engine = open_engine(1, 16, ROOMY);
	int			many[8];
	int			one;

	(void) state;
	hold(engine);
	for (int i = 0; i < 8; i++)
		many[i] = submit(engine, make_long_prompt(1, INTERACTIVE));
	wait_arrived(engine, 8);
	one = submit(engine, make_long_prompt(2, BATCH));
	let_go(engine, 9);
	wait_for(engine, one);
	wait_for_all(engine, many, 8);
	for (int i = 3; i < 8; i++)
		assert_ends_before(one, many[i]);
	assert_int_equal(stats_of(engine).prompt_tokens,
					 8 * answers[many[0]].last.prompt_tokens + answers[one].last.prompt_tokens);
	glm_engine_close(engine);
}

/* In a pool with room for three, a tenant with one sequence never gives way to one with eight. */
static void
pool_is_shared_by_turns(void **state)
{
	glm_engine *engine = open_engine(1, 9, (size_t) 2 << 20);
	int			many[8];
	int			one;

	(void) state;
	hold(engine);
	one = ask(engine, 2, BATCH, 190);
	wait_arrived(engine, 1);
	for (int i = 0; i < 8; i++)
		many[i] = ask(engine, 1, INTERACTIVE, 190);
	wait_arrived(engine, 9);
	glm_engine_set_step_delay(engine, 0);
	wait_for(engine, one);
	wait_for_all(engine, many, 8);
	assert_true(stats_of(engine).preemptions > 0);
	for (int i = 1; i < 8; i++)
		assert_ends_before(one, many[i]);
	glm_engine_close(engine);
}

/* More streams than places are read at once: a tenant with one sequence misses no pass. */
static void
woken_streams_share_the_passes(void **state)
{
	glm_engine *engine = open_engine(1, 2, ROOMY);
	int			stream[12];
	int			before = 0;
	int			one;

	(void) state;
	for (int i = 0; i < 12; i++)
	{
		glm_request *req = make_for(1, INTERACTIVE, 100);

		req->stream = true;
		stream[i] = submit(engine, req);
		while (stats_of(engine).paused <= i || answers[stream[i]].tokens < GLM_OUTBOX)
			pump(engine, 1);
	}
	assert_int_equal(stats_of(engine).paused, 12);
	hold(engine);
	for (int i = 0; i < 12; i++)
		glm_engine_taken(engine, stream[i], answers[stream[i]].tokens);
	one = ask(engine, 2, INTERACTIVE, 10);
	wait_arrived(engine, 13);
	pump(engine, 20);
	for (int i = 0; i < 12; i++)
		before += answers[stream[i]].tokens;
	glm_engine_set_step_delay(engine, 1);
	while (!answers[one].ended)
	{
		pump(engine, 1);
		for (int i = 0; i < 12; i++)
			glm_engine_taken(engine, stream[i], answers[stream[i]].tokens);
	}
	/* at most one token of a stream beside each of its own; one in six passes would make it 130 */
	assert_in_range(answers[one].tokens_before - before, 0, 30);
	assert_int_equal(stats_of(engine).preemptions, 1);
	assert_true(answers[stream[0]].tokens > GLM_OUTBOX);
	for (int i = 0; i < 12; i++)
		glm_engine_cancel(engine, stream[i]);
	for (int i = 0; i < 12; i++)
		wait_for(engine, stream[i]);
	glm_engine_close(engine);
}

/* ---- Cancelling ---------------------------------------------------------------------- */

/* What is cancelled ends at once, whatever else is being made ready. */
static void
cancelled_in_the_queue(void **state)
{
	glm_engine	*engine = open_engine(1, 2, ROOMY);
	size_t		 n = (size_t) 32 << 20;
	char		*text = malloc(n + 1);
	glm_request *req;
	int			 large;
	int			 small[3];

	(void) state;
	wait_for(engine, ask(engine, 1, INTERACTIVE, 1));
	for (size_t i = 0; i < n; i++)
		text[i] = "word "[i % 5];
	text[n] = '\0';
	req = make_request(text, 1, false);
	free(text);
	req->kind = GLM_COUNT_TOKENS;
	large = submit(engine, req);
	/* those that are cancelled would not be done before, however late that comes */
	for (int i = 0; i < 3; i++)
		small[i] = ask(engine, 1, INTERACTIVE, i == 1 ? 1 : 500);
	glm_engine_cancel(engine, small[0]);
	glm_engine_cancel(engine, small[2]);
	assert_int_equal(wait_for(engine, small[0])->last.status, GLM_CANCELLED);
	assert_string_equal(wait_for(engine, small[2])->message, "the request was cancelled");
	assert_false(answers[large].ended);
	assert_int_equal(wait_for(engine, small[1])->last.kind, GLM_EVENT_DONE);
	glm_engine_cancel(engine, large);
	assert_int_equal(wait_for(engine, large)->last.status, GLM_CANCELLED);
	assert_int_equal(stats_of(engine).cancelled, 3);
	assert_int_equal(stats_of(engine).waiting, 0);
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flood_leaves_batch_its_share),
		cmocka_unit_test(batch_loses_patience),
		cmocka_unit_test(share_is_taken_at_once),
		cmocka_unit_test(batch_has_its_turn),
		cmocka_unit_test(displaced_gets_done),
		cmocka_unit_test(prompts_share_the_budget),
		cmocka_unit_test(pool_is_shared_by_turns),
		cmocka_unit_test(woken_streams_share_the_passes),
		cmocka_unit_test(cancelled_in_the_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
