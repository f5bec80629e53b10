/*
 * test_device_waits.c - a device that takes its time: who waits sleeps, what another model's
 * upload holds up is that model alone, and requests end while a pass is on the device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mock.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sleeps),
		cmocka_unit_test(test_uploads),
		cmocka_unit_test(test_upload_given_up),
		cmocka_unit_test(test_ended_in_a_pass),
	};

	snprintf(passes, sizeof(passes), "/tmp/chatglm-passes-%d", (int) getpid());
	snprintf(uploads, sizeof(uploads), "/tmp/chatglm-uploads-%d", (int) getpid());
	setenv("GLM_MOCK_HOLD_PASSES", passes, 1);
	setenv("GLM_MOCK_HOLD_UPLOADS", uploads, 1);
	mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
