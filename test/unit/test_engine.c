/*
 * test_engine.c - the engine as its host sees it: requests in, events out.
 *
 * Runs on the embedded model; every check here is about scheduling (order,
 * company, cancel, back-pressure, limits), not about what the model says.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tests ------------------------------------------------------------------ */

/* The same request gives the same text alone and beside others, 1 to 3 threads. */
static void
same_answer_in_any_company(void **state)
{
	char alone[16384] = "";

	(void) state;
	for (int threads = 1; threads <= 3; threads++)
	{
		glm_engine *engine = open_engine(threads, 16, 64 << 20);
		int			first;

		first = submit(engine, make_request("Hello, who are you?", 48, false));
		if (threads == 1)
			strcpy(alone, wait_for(engine, first)->text);
		assert_string_equal(wait_for(engine, first)->text, alone);

		for (int i = 0; i < 20; i++)
		{
			char prompt[64];

			snprintf(prompt, sizeof(prompt), "%.*s", 3 * (i + 1),
					 "a prompt of some other length that is cut somewhere else");
			submit(engine, make_request(prompt, 5 + i, i % 2));
		}
		first = submit(engine, make_request("Hello, who are you?", 48, false));
		assert_string_equal(wait_for(engine, first)->text, alone);
		glm_engine_close(engine);
	}
	assert_true(strlen(alone) > 0);
}

/* Streamed text is the text at once; every token has its event; usage adds up. */
static void
stream_equals_generate(void **state)
{
	glm_engine *engine = open_engine(2, 4, 64 << 20);
	int			whole = submit(engine, make_request("hi", 12, false));
	int			stream = submit(engine, make_request("hi", 12, true));

	(void) state;
	assert_string_equal(wait_for(engine, stream)->text, wait_for(engine, whole)->text);
	assert_int_equal(answers[stream].tokens, answers[stream].last.completion_tokens);
	assert_int_equal(answers[whole].last.completion_tokens, answers[stream].last.completion_tokens);
	assert_true(answers[whole].last.prompt_tokens > 3);
	glm_engine_close(engine);
}

/* A reader that takes nothing gets GLM_OUTBOX tokens; the rest when it reads on. */
static void
unread_stream_pauses(void **state)
{
	glm_engine	*engine = open_engine(1, 4, 64 << 20);
	glm_request *req = make_request("Repeat:", 60, true);
	int			 ticket;

	(void) state;
	req->form = GLM_RAW; /* rambles on long enough */
	ticket = submit(engine, req);
	for (int i = 0; stats_of(engine).paused == 0 && i < 10000; i++)
		pump(engine, 1);
	pump(engine, 20);
	assert_int_equal(answers[ticket].tokens, GLM_OUTBOX);
	assert_false(answers[ticket].ended);

	/* others are not held up by it */
	assert_int_equal(wait_for(engine, submit(engine, make_request("hi", 4, false)))->last.kind,
					 GLM_EVENT_DONE);
	while (!answers[ticket].ended)
	{
		glm_engine_taken(engine, ticket, answers[ticket].tokens);
		pump(engine, 1);
	}
	assert_true(answers[ticket].tokens > GLM_OUTBOX);
	glm_engine_close(engine);
}

static glm_request *
make_long_stream(void)
{
	glm_request *req = make_request("Repeat:", 60, true);

	req->form = GLM_RAW;
	return req;
}

/*
 * Streams that nobody reads take neither places nor KV from others, and go on
 * as if nothing had been when they are read.
 */
static void
unread_streams_hold_nobody_up(void **state)
{
	glm_engine *engine = open_engine(1, 2, 1 << 20); /* KV for four of them */
	int			stream[10];
	char		whole[16384];

	(void) state;
	strcpy(whole, read_stream(engine, submit(engine, make_long_stream())));
	for (int i = 0; i < 10; i++)
	{
		stream[i] = submit(engine, make_long_stream());
		while (answers[stream[i]].tokens < GLM_OUTBOX)
			pump(engine, 1);
	}
	assert_int_equal(wait_for(engine, submit(engine, make_request("hi", 60, false)))->last.kind,
					 GLM_EVENT_DONE);
	for (int i = 9; i >= 0; i--)
		assert_string_equal(read_stream(engine, stream[i]), whole);
	assert_int_equal(stats_of(engine).kv_bytes_used, 0);
	glm_engine_close(engine);
}

static void
cancel_leaves_nothing(void **state)
{
	glm_engine *engine = open_engine(1, 4, 64 << 20);
	int			ticket[20];

	(void) state;
	for (int i = 0; i < 20; i++)
	{
		ticket[i] = submit(engine, make_request("hi", 400, true));
		if (i % 3 == 0)
			pump(engine, 1);
		glm_engine_cancel(engine, ticket[i]);
	}
	for (int i = 0; i < 20; i++)
		wait_for(engine, ticket[i]);
	assert_int_equal(stats_of(engine).kv_bytes_used, 0);
	assert_int_equal(stats_of(engine).running, 0);
	assert_int_equal(stats_of(engine).waiting, 0);
	glm_engine_close(engine);
}

static void
expect_error(glm_engine *engine, glm_request *req, glm_status status, const char *part)
{
	answer *a = wait_for(engine, submit(engine, req));

	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	assert_int_equal(a->last.status, status);
	if (strstr(a->message, part) == NULL)
		fail_msg("\"%s\" does not mention \"%s\"", a->message, part);
}

static void
bad_requests_fail_alone(void **state)
{
	glm_engine	*engine = open_engine(1, 4, 1 << 20);
	char		*longer = malloc(100001);
	glm_request *req;

	(void) state;
	memset(longer, 'x', 100000);
	longer[100000] = '\0';
	expect_error(engine, make_request(longer, 8, false), GLM_TOO_LONG, "context");
	free(longer);
	expect_error(engine, make_request("hi", 2000, false), GLM_NO_ROOM, "KV cache");

	req = make_request("hi", 8, false);
	memcpy((char *) req + req->path.offset, "models/none-chatglm3", req->path.length);
	expect_error(engine, req, GLM_NO_FILE, "none-chatglm3");

	req = make_request("hi", 1, false);
	req->kind = GLM_UNLOAD;
	memcpy((char *) req + req->model.offset, "some-chatglm3", req->model.length);
	expect_error(engine, req, GLM_NO_MODEL, "some-chatglm3");

	assert_int_equal(wait_for(engine, submit(engine, make_request("hi", 8, false)))->last.kind,
					 GLM_EVENT_DONE);
	assert_int_equal(stats_of(engine).failed, 4);
	glm_engine_close(engine);
}

static void
timeout_ends_a_request(void **state)
{
	glm_engine	*engine = open_engine(1, 4, 64 << 20);
	glm_request *req = make_request("Repeat:", 100, false);

	(void) state;
	req->timeout_ms = 50;
	req->form = GLM_RAW;
	glm_engine_set_step_delay(engine, 20);
	expect_error(engine, req, GLM_TIMED_OUT, "50 ms");
	glm_engine_close(engine);
}

/* How far an answer is can be asked while it is made, though nothing of it is sent before its end. */
static void
tokens_are_counted_as_they_are_made(void **state)
{
	glm_engine	*engine = open_engine(1, 4, 64 << 20);
	glm_request *req = make_request("Repeat:", 12, false);
	int			 ticket;
	int			 seen = 1;

	(void) state;
	req->form = GLM_RAW;
	req->temperature = 100;
	hold(engine);
	ticket = submit(engine, req);
	while (glm_engine_generated(engine, ticket) == 0)
		pump(engine, 1);
	assert_int_equal(glm_engine_generated(engine, ticket), 1);
	assert_int_equal(answers[ticket].tokens, 0);
	glm_engine_set_step_delay(engine, 20);
	while (!answers[ticket].ended)
	{
		int now = glm_engine_generated(engine, ticket);

		assert_in_range(now, seen, 12);
		seen = now;
		pump(engine, 5);
	}
	assert_int_equal(glm_engine_generated(engine, ticket), answers[ticket].last.completion_tokens);
	glm_engine_close(engine);
}

/* More requests than tickets: an error at once, and room again afterwards. */
static void
full_queue_is_an_error(void **state)
{
	glm_engine	*engine = open_engine(1, 2, 64 << 20);
	glm_request *req = make_request("hi", 400, true);
	glm_error	 err = {0};
	int			 n = 0;

	(void) state;
	while (glm_engine_submit(engine, req, &err) >= 0)
		n++;
	assert_int_equal(n, 2 + 128);
	assert_int_equal(err.status, GLM_BUSY);
	for (int i = 0; i < n; i++)
		glm_engine_cancel(engine, i);
	for (int i = 0; i < n; i++)
		wait_for(engine, i);
	assert_true(glm_engine_submit(engine, req, &err) >= 0);
	free(req);
	glm_engine_close(engine);
}

static void
unload(glm_engine *engine)
{
	glm_request *req = make_request("", 1, false);

	req->kind = GLM_UNLOAD;
	assert_int_equal(wait_for(engine, submit(engine, req))->last.kind, GLM_EVENT_DONE);
}

/* submit() that leaves the request to the caller. */
static int
submit_copy(glm_engine *engine, const glm_request *req)
{
	glm_error err = {0};
	int		  ticket = glm_engine_submit(engine, req, &err);

	assert_true(ticket >= 0);
	answers[ticket] = (answer){0};
	return ticket;
}

static void
unloaded_model_leaves(void **state)
{
	glm_engine	  *engine = open_engine(1, 4, 64 << 20);
	glm_model_info info[4];

	(void) state;
	wait_for(engine, submit(engine, make_request("hi", 4, false)));
	assert_int_equal(glm_engine_models(engine, info, 4), 1);
	assert_string_equal(info[0].name, "tiny-chatglm3");
	assert_true(info[0].bytes_mapped > 1000000);
	unload(engine);
	assert_int_equal(glm_engine_models(engine, info, 4), 0);
	glm_engine_close(engine);
}

/* Mappings of the embedded model's files. */
static int
file_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char  line[1024];
	int	  n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, MODEL_PATH "/") != NULL;
	fclose(f);
	return n;
}

/* After its first answer a model moves to huge pages, beside passes, and answers as before. */
static void
model_settles(void **state)
{
	glm_engine	*engine = open_engine(1, 4, 64 << 20);
	glm_request *req = make_request("Tell me a long story.", 60, false);
	uint64_t	 digest;
	int			 i;

	(void) state;
	glm_engine_set_huge_pages(engine, false);
	digest = wait_for(engine, submit_copy(engine, req))->digest;
	assert_true(file_mappings() > 0);
	unload(engine);

	glm_engine_set_huge_pages(engine, true);
	for (i = 0; i < 10000 && (i == 0 || file_mappings() > 0); i++)
		assert_int_equal(wait_for(engine, submit_copy(engine, req))->digest, digest);
	assert_int_equal(file_mappings(), 0);
	assert_int_equal(wait_for(engine, submit_copy(engine, req))->digest, digest);
	free(req);
	glm_engine_close(engine);
}

/* A model that goes, and an engine that closes, wait for no copy. */
static void
settling_keeps_no_model(void **state)
{
	glm_engine	  *engine = open_engine(1, 4, 64 << 20);
	glm_model_info info[4];

	(void) state;
	for (int i = 0; i < 20; i++)
	{
		wait_for(engine, submit(engine, make_request("hi", 1, false)));
		unload(engine);
		assert_int_equal(glm_engine_models(engine, info, 4), 0);
	}
	wait_for(engine, submit(engine, make_request("hi", 1, false)));
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_answer_in_any_company),
		cmocka_unit_test(stream_equals_generate),
		cmocka_unit_test(unread_stream_pauses),
		cmocka_unit_test(unread_streams_hold_nobody_up),
		cmocka_unit_test(cancel_leaves_nothing),
		cmocka_unit_test(bad_requests_fail_alone),
		cmocka_unit_test(timeout_ends_a_request),
		cmocka_unit_test(tokens_are_counted_as_they_are_made),
		cmocka_unit_test(full_queue_is_an_error),
		cmocka_unit_test(unloaded_model_leaves),
		cmocka_unit_test(model_settles),
		cmocka_unit_test(settling_keeps_no_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
