/*
 * test_device_waits.c - a device that takes its time: who waits sleeps, what another model's
 * upload holds up is that model alone, requests end while a pass is on the device, and of two
 * passes the first is waited for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "made_up.h"
#include "mock.h"
#include "runner.h"

#define SLOW_MS 40

/* While these are there, passes or uploads are not done; .held: one waits. */
static char passes[64], uploads[64];

static void
begin_hold(const char *file)
{
	char  held[80];
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fclose(f);
	snprintf(held, sizeof(held), "%s.held", file);
	unlink(held);
}

static void
wait_held(glm_engine *engine, const char *file)
{
	char held[80];

	snprintf(held, sizeof(held), "%s.held", file);
	while (access(held, F_OK) != 0)
		pump(engine, 1);
}

static void
end_hold(const char *file)
{
	char held[80];

	unlink(file);
	snprintf(held, sizeof(held), "%s.held", file);
	unlink(held);
}

/*
 * Once it is known how long passes take, nobody asks for most of that time.  However slow
 * this machine is, it only asks later.
 */
static void
test_sleeps(void **state)
{
	glm_config	config = mock_config("cuda:0", false);
	glm_engine *engine = mock_engine(&config);

	(void) state;
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	mock_slow(SLOW_MS);
	/* the usual time grows by an eighth a pass, from that of the fast ones before */
	for (int i = 0; i < 40 && mock_first_poll() < SLOW_MS * 750; i++)
		assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	mock_fault(""); /* counts from here */
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	assert_true(mock_calls("cuStreamQuery") > 0);
	assert_true(mock_first_poll() >= SLOW_MS * 750);
	mock_slow(0);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* Two models are on their way, as slow as can be, and a third one serves. */
static void
test_uploads(void **state)
{
	glm_config	 config = mock_config("cuda:0", false);
	glm_engine	*engine = mock_engine(&config);
	glm_request *third = mock_for_second(4);
	int			 late[2];

	(void) state;
	((char *) third)[third->model.offset + 1] = 'I';
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	begin_hold(uploads);
	late[0] = submit(engine, mock_for_second(4));
	late[1] = submit(engine, third);
	wait_held(engine, uploads);
	assert_int_equal(mock_count_failed(engine, 3, ""), 0);
	for (int i = 0; i < 2; i++)
		assert_false(answers[late[i]].ended);
	end_hold(uploads);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mock_await(engine, late[i])->last.kind, GLM_EVENT_DONE);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* An upload that nobody waits for any more ends, and can be begun again. */
static void
test_upload_given_up(void **state)
{
	glm_config	config = mock_config("cuda:0", false);
	glm_engine *engine = mock_engine(&config);
	int			ticket;

	(void) state;
	begin_hold(uploads);
	ticket = submit(engine, mock_for_second(4));
	wait_held(engine, uploads);
	glm_engine_cancel(engine, ticket);
	assert_int_equal(mock_await(engine, ticket)->last.status, GLM_CANCELLED);
	end_hold(uploads);
	assert_int_equal(mock_await(engine, submit(engine, mock_for_second(4)))->last.kind,
					 GLM_EVENT_DONE);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* What is cancelled, or out of time, while its pass is on the device ends with it. */
static void
test_ended_in_a_pass(void **state)
{
	glm_config	 config = mock_config("cuda:0", false);
	glm_engine	*engine = mock_engine(&config);
	glm_request *req = make_request("hello", 6, false);
	int			 cancelled, out_of_time, other;

	(void) state;
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	begin_hold(passes);
	cancelled = submit(engine, make_request("lamp", 6, false));
	wait_held(engine, passes);
	req->timeout_ms = 1;
	out_of_time = submit(engine, req);
	other = submit(engine, make_request("lamp lamp", 6, false));
	glm_engine_cancel(engine, cancelled);
	end_hold(passes);
	assert_int_equal(mock_await(engine, cancelled)->last.status, GLM_CANCELLED);
	assert_int_equal(mock_await(engine, out_of_time)->last.status, GLM_TIMED_OUT);
	assert_int_equal(mock_await(engine, other)->last.kind, GLM_EVENT_DONE);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* ---- Two passes ------------------------------------------------------------------------------ */

/* A row behind one whose token is not known, with its place in this pass. */
static void
add_row(glm_rows *rows, const glm_kv_table *kv, int32_t token, int position)
{
	glm_rows_clear(rows);
	glm_rows_begin(rows, kv);
	glm_rows_add(rows, token, position, GLM_WANT_LOGITS);
}

static bool
start(rn_setup *s, const glm_rows *rows, glm_results *results)
{
	const glm_pick pick = {
		.temperature = 2, .top_p = 1, .n_ids = s->model->config.vocab, .seed = 5};
	static glm_pick told[2]; /* which stay until passes are over */
	static int		turn;
	glm_error		err = {0};

	turn = !turn;
	told[turn] = pick;
	if (glm_forward_start(s->forward, s->model, s->weights, &rows->pass, &told[turn], results,
						  &err))
		return true;
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	return false;
}

static glm_picked_id
finish(rn_setup *s, const glm_results *results)
{
	glm_error err = {0};

	if (!glm_forward_finish(s->forward, s->weights, &err))
		fail_msg("%s", err.message);
	return results->picked[0];
}

/* Who waits for the first has its ids when nothing of the second is done. */
static void
test_one_by_one(void **state)
{
	glm_model	 *model = md_make(GLM_Q4, GLM_F16);
	rn_setup	  s = rn_open_on("cuda", mock_backend(), "auto", 1);
	glm_rows	  rows[2] = {0};
	glm_results	  results[2];
	glm_picked_id first, second, again;
	glm_kv_table  kv;
	glm_error	  err;
	long		  done;

	(void) state;
	glm_forward_set_tuning(s.forward, false); /* to prove a graph is to wait for all */
	rn_use(&s, model);
	rn_take_kv(&s, model, 2, &kv);
	for (int i = 0; i < 2; i++)
		assert_true(glm_rows_reserve(&rows[i], 1, 4, &err));
	/* there is none whose pick could be named */
	add_row(&rows[0], &kv, -1, 1);
	assert_false(start(&s, &rows[0], &results[0]));
	mock_fault(""); /* counts from here */
	add_row(&rows[0], &kv, 7, 0);
	assert_true(start(&s, &rows[0], &results[0]));
	add_row(&rows[1], &kv, -2, 1);
	assert_false(start(&s, &rows[1], &results[1]));
	add_row(&rows[1], &kv, -1, 1);
	assert_true(start(&s, &rows[1], &results[1]));
	first = finish(&s, &results[0]);
	done = mock_calls("kernel");
	second = finish(&s, &results[1]);
	assert_true(done > 0);
	assert_int_equal(mock_calls("kernel"), 2 * done);
	/* the same by the token that was picked */
	add_row(&rows[0], &kv, first.id, 1);
	assert_true(start(&s, &rows[0], &results[0]));
	again = finish(&s, &results[0]);
	assert_int_equal(again.id, second.id);
	assert_memory_equal(&again.logit, &second.logit, sizeof(float));
	for (int i = 0; i < 2; i++)
		glm_rows_free(&rows[i]);
	glm_kv_give(s.kv, model->kv_block_bytes, &kv);
	rn_close(&s);
	md_free(model);
	assert_int_equal(mock_in_use(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sleeps),			cmocka_unit_test(test_uploads),
		cmocka_unit_test(test_upload_given_up), cmocka_unit_test(test_ended_in_a_pass),
		cmocka_unit_test(test_one_by_one),
	};

	snprintf(passes, sizeof(passes), "/tmp/chatglm-passes-%d", (int) getpid());
	snprintf(uploads, sizeof(uploads), "/tmp/chatglm-uploads-%d", (int) getpid());
	setenv("GLM_MOCK_HOLD_PASSES", passes, 1);
	setenv("GLM_MOCK_HOLD_UPLOADS", uploads, 1);
	mock_sleeps();
	mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
