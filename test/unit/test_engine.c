/*
 * test_engine.c - the engine as its host sees it: requests in, events out.
 *
 * Runs on the embedded model; every check here is about scheduling (order,
 * company, cancel, back-pressure, limits), not about what the model says.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/glm.h"

#define MODEL_PATH "models/tiny-chatglm3"
#define MAX_TICKETS 256

/* What came back for one ticket. */
typedef struct answer
{
	char		text[16384];
	size_t		length;
	int			tokens;			/* TOKEN events */
	bool		ended;
	glm_event	last;			/* the terminal event's header */
	char		message[512];
} answer;

static answer answers[MAX_TICKETS];

/* ---- Helpers ------------------------------------------------------------ */

static glm_engine *
open_engine(int threads, int max_sequences, size_t kv_bytes)
{
	glm_config	config = {.threads = threads, .cpus = "", .kv_cache_size = kv_bytes,
						  .max_sequences = max_sequences, .max_queue = 128,
						  .prefill_budget = 64, .kernels = "auto"};
	glm_error	err = {0};
	glm_engine *engine = glm_engine_open(&config, &err);

	if (engine == NULL)
		fail_msg("%s", err.message);
	memset(answers, 0, sizeof(answers));
	return engine;
}

static glm_span
put_span(char *block, uint32_t *size, const char *text)
{
	glm_span	span = {*size, (uint32_t) strlen(text)};

	memcpy(block + *size, text, span.length + 1);
	*size += span.length + 1;
	return span;
}

/* A chat request on the embedded model with greedy sampling. */
static glm_request *
make_request(const char *prompt, int max_tokens, bool stream)
{
	char	   *block = calloc(1, sizeof(glm_request) + strlen(prompt) + 256);
	glm_request *req = (glm_request *) block;
	uint32_t	size = sizeof(*req);

	req->kind = GLM_GENERATE;
	req->form = GLM_PROMPT;
	req->id = 1;
	req->model = put_span(block, &size, "tiny-chatglm3");
	req->path = put_span(block, &size, MODEL_PATH);
	req->text = put_span(block, &size, prompt);
	req->max_tokens = max_tokens;
	req->top_p = 1;
	req->repetition_penalty = 1;
	req->stream = stream;
	req->size = size;
	return req;
}

static int
submit(glm_engine *engine, glm_request *req)
{
	glm_error	err = {0};
	int			ticket;

	assert_true(glm_request_check(req, req->size, &err));
	ticket = glm_engine_submit(engine, req, &err);
	assert_true(ticket >= 0 && ticket < MAX_TICKETS);
	memset(&answers[ticket], 0, sizeof(answers[ticket]));
	free(req);
	return ticket;
}

static void
record(const glm_event *event)
{
	answer	   *a = &answers[event->ticket];

	assert_false(a->ended);
	if (event->kind == GLM_EVENT_ERROR)
		memcpy(a->message, event->payload, event->length < 511 ? event->length : 511);
	else if (event->length > 0)
	{
		assert_true(a->length + event->length < sizeof(a->text));
		memcpy(a->text + a->length, event->payload, event->length);
		a->length += event->length;
	}
	a->tokens += event->kind == GLM_EVENT_TOKEN;
	a->ended = event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR;
	if (a->ended)
		a->last = *event;
}

/* Takes events until nothing came for `quiet_ms`. */
static void
pump(glm_engine *engine, int quiet_ms)
{
	struct pollfd fd = {.fd = glm_engine_fd(engine), .events = POLLIN};
	glm_event  *event = malloc(GLM_EVENT_MAX);

	while (poll(&fd, 1, quiet_ms) > 0)
	{
		while (glm_engine_poll(engine, event))
			record(event);
	}
	free(event);
}

/* Takes events until the ticket's terminal one. */
static answer *
wait_for(glm_engine *engine, int ticket)
{
	for (int i = 0; !answers[ticket].ended && i < 60000; i++)
		pump(engine, 1);
	assert_true(answers[ticket].ended);
	return &answers[ticket];
}

static glm_stats
stats_of(glm_engine *engine)
{
	glm_stats	stats;

	glm_engine_stats(engine, &stats);
	return stats;
}

/* ---- Tests ------------------------------------------------------------------ */

/* The same request gives the same text alone and beside others, 1 to 3 threads. */
static void
same_answer_in_any_company(void **state)
{
	char		alone[16384] = "";

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
			char		prompt[64];

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
	glm_engine *engine = open_engine(1, 4, 64 << 20);
	glm_request *req = make_request("Repeat:", 60, true);
	int			ticket;

	(void) state;
	req->form = GLM_RAW;		/* rambles on long enough */
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

/* Reads a stream to its end, taking what it gets. */
static const char *
read_stream(glm_engine *engine, int ticket)
{
	while (!answers[ticket].ended)
	{
		glm_engine_taken(engine, ticket, answers[ticket].tokens);
		pump(engine, 1);
	}
	assert_int_equal(answers[ticket].last.kind, GLM_EVENT_DONE);
	return answers[ticket].text;
}

/*
 * Streams that nobody reads take neither places nor KV from others, and go on
 * as if nothing had been when they are read.
 */
static void
unread_streams_hold_nobody_up(void **state)
{
	glm_engine *engine = open_engine(1, 2, 1 << 20);	/* KV for four of them */
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
	answer	   *a = wait_for(engine, submit(engine, req));

	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	assert_int_equal(a->last.status, status);
	if (strstr(a->message, part) == NULL)
		fail_msg("\"%s\" does not mention \"%s\"", a->message, part);
}

static void
bad_requests_fail_alone(void **state)
{
	glm_engine *engine = open_engine(1, 4, 1 << 20);
	char	   *longer = malloc(100001);
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
	glm_engine *engine = open_engine(1, 4, 64 << 20);
	glm_request *req = make_request("Repeat:", 100, false);

	(void) state;
	req->timeout_ms = 50;
	req->form = GLM_RAW;
	glm_engine_set_step_delay(engine, 20);
	expect_error(engine, req, GLM_TIMED_OUT, "50 ms");
	glm_engine_close(engine);
}

/* More requests than tickets: an error at once, and room again afterwards. */
static void
full_queue_is_an_error(void **state)
{
	glm_engine *engine = open_engine(1, 2, 64 << 20);
	glm_request *req = make_request("hi", 400, true);
	glm_error	err = {0};
	int			n = 0;

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
unloaded_model_leaves(void **state)
{
	glm_engine *engine = open_engine(1, 4, 64 << 20);
	glm_request *req;
	glm_model_info info[4];

	(void) state;
	wait_for(engine, submit(engine, make_request("hi", 4, false)));
	assert_int_equal(glm_engine_models(engine, info, 4), 1);
	assert_string_equal(info[0].name, "tiny-chatglm3");
	assert_true(info[0].bytes_mapped > 1000000);
	req = make_request("", 1, false);
	req->kind = GLM_UNLOAD;
	assert_int_equal(wait_for(engine, submit(engine, req))->last.kind, GLM_EVENT_DONE);
	assert_int_equal(glm_engine_models(engine, info, 4), 0);
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
		cmocka_unit_test(full_queue_is_an_error),
		cmocka_unit_test(unloaded_model_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
