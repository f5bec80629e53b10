/*
 * test_timing.c - what became of a request, as its host is told when it has ended.
 */
#include "client.h"

#include <string.h>

static void
classes_have_their_bounds(void **state)
{
	const int64_t bounds[] = {1, 10, 100};

	(void) state;
	assert_int_equal(glm_bound_of(-1, bounds, 3), 0);
	assert_int_equal(glm_bound_of(1, bounds, 3), 0);
	assert_int_equal(glm_bound_of(2, bounds, 3), 1);
	assert_int_equal(glm_bound_of(100, bounds, 3), 2);
	assert_int_equal(glm_bound_of(101, bounds, 3), 3);
	for (int i = 1; i < GLM_N_TIME_BOUNDS; i++)
		assert_true(glm_time_bounds[i] > glm_time_bounds[i - 1]);
	for (int i = 1; i < GLM_N_TOKEN_BOUNDS; i++)
		assert_true(glm_token_bounds[i] > glm_token_bounds[i - 1]);
}

static uint32_t
count_gaps(const glm_timing *t)
{
	uint32_t n = 0;

	for (int i = 0; i <= GLM_N_TIME_BOUNDS; i++)
		n += t->gap[i];
	return n;
}

/* Tokens of one pass share the time since the pass before. */
static void
gaps_add_up(void **state)
{
	glm_timing t = {.submitted_ns = 1};

	(void) state;
	glm_timing_tokens(&t, 2, 1000000000);
	assert_int_equal(t.first_ns, 1000000000);
	assert_int_equal(count_gaps(&t), 0);
	glm_timing_tokens(&t, 1, 1000400000);
	assert_int_equal(t.gap[0], 1);
	glm_timing_tokens(&t, 4, 1008400000);
	assert_int_equal(t.gap[glm_bound_of(2000, glm_time_bounds, GLM_N_TIME_BOUNDS)], 4);
	assert_int_equal(t.gap_ns, 8400000);
	assert_int_equal(t.completion_tokens, 7);
	assert_int_equal(count_gaps(&t), 5);
}

/* An answer passes all stages, one after the other, and its numbers are those of its usage. */
static void
answer_is_told_of(void **state)
{
	glm_engine		 *engine = open_engine(1, 4, 64 << 20);
	int				  ticket = submit(engine, make_request("Hello, who are you?", 12, false));
	const answer	 *a = wait_for(engine, ticket);
	const glm_timing *t = glm_engine_timing(engine, ticket);

	(void) state;
	assert_true(t->submitted_ns > 0 && t->begun_ns >= t->submitted_ns);
	assert_true(t->ready_ns >= t->begun_ns && t->admitted_ns >= t->ready_ns);
	assert_true(t->first_ns >= t->admitted_ns && t->last_ns >= t->first_ns);
	assert_true(t->ended_ns >= t->last_ns);
	assert_int_equal(t->gap_ns, t->last_ns - t->first_ns);
	assert_int_equal(t->prompt_tokens, a->last.prompt_tokens);
	assert_int_equal(t->completion_tokens, a->last.completion_tokens);
	assert_int_equal(t->accepted_tokens, a->last.accepted_tokens);
	assert_true(t->draft_tokens >= t->accepted_tokens);
	assert_int_equal(t->preemptions, 0);
	assert_int_equal(t->stage, GLM_STAGE_DECODE);
	glm_engine_close(engine);
}

/* What needs no passes has no times of them. */
static void
count_ends_while_read(void **state)
{
	glm_engine		 *engine = open_engine(1, 4, 64 << 20);
	glm_request		 *req = make_request("Hello", 1, false);
	const glm_timing *t;
	int				  ticket;

	(void) state;
	req->kind = GLM_COUNT_TOKENS;
	ticket = submit(engine, req);
	wait_for(engine, ticket);
	t = glm_engine_timing(engine, ticket);
	assert_int_equal(t->stage, GLM_STAGE_READING);
	assert_true(t->begun_ns > 0 && t->ended_ns >= t->begun_ns);
	assert_int_equal(t->ready_ns, 0);
	assert_int_equal(t->prompt_tokens, 0);
	glm_engine_close(engine);
}

/* A stream that nobody reads is paused; cancelled, it ends where it was. */
static void
stages_are_told_while_it_runs(void **state)
{
	glm_engine		 *engine = open_engine(1, 1, 64 << 20);
	glm_request		 *req = make_request("Repeat:", 60, true);
	const glm_timing *t;
	int				  ticket;

	(void) state;
	req->form = GLM_RAW; /* rambles on long enough */
	ticket = submit(engine, req);
	while (glm_engine_stage(engine, ticket) != GLM_STAGE_PAUSED)
		pump(engine, 1);
	assert_int_equal(glm_engine_generated(engine, ticket), GLM_OUTBOX);
	assert_string_equal(glm_stage_name(glm_engine_stage(engine, ticket)), "paused");
	glm_engine_cancel(engine, ticket);
	wait_for(engine, ticket);
	t = glm_engine_timing(engine, ticket);
	assert_int_equal(answers[ticket].last.status, GLM_CANCELLED);
	assert_int_equal(t->stage, GLM_STAGE_DECODE);
	assert_int_equal(t->completion_tokens, GLM_OUTBOX);
	assert_string_equal(glm_stage_name(GLM_N_STAGE), "unknown");
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes_have_their_bounds),
		cmocka_unit_test(gaps_add_up),
		cmocka_unit_test(answer_is_told_of),
		cmocka_unit_test(count_ends_while_read),
		cmocka_unit_test(stages_are_told_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
