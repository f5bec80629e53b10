/*
 * client.c - a host of the engine, for the tests that drive it; see client.h.
 */
#include "client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/engine.h"

#define PATIENCE 600000		  /* ms for what comes at last, on however slow a machine */
#define HELD (60 * 60 * 1000) /* ms */

answer	   answers[MAX_TICKETS];
static int n_ended;
static int n_tokens;

glm_engine *
open_engine(int threads, int max_sequences, size_t kv_bytes)
{
	return open_engine_with(threads, max_sequences, kv_bytes, GLM_KV_AUTO);
}

glm_engine *
open_engine_with(int threads, int max_sequences, size_t kv_bytes, glm_kv_type kv_type)
{
	return open_engine_on(NULL, threads, max_sequences, kv_bytes, kv_type);
}

glm_engine *
open_engine_on(const glm_backend *backend, int threads, int max_sequences, size_t kv_bytes,
			   glm_kv_type kv_type)
{
	glm_config	config = {.device = backend != NULL ? backend->name : NULL,
						  .backend = backend,
						  .threads = threads,
						  .cpus = "",
						  .kv_cache_size = kv_bytes,
						  .max_sequences = max_sequences,
						  .max_queue = 128,
						  .prefill_budget = 64,
						  .kernels = "auto",
						  .kv_type = kv_type};
	glm_error	err = {0};
	glm_engine *engine = glm_engine_open(&config, &err);

	if (engine == NULL)
		fail_msg("%s", err.message);
	memset(answers, 0, sizeof(answers));
	n_ended = n_tokens = 0;
	return engine;
}

static glm_span
put_span(char *block, uint32_t *size, const char *text)
{
	glm_span span = {*size, (uint32_t) strlen(text)};

	memcpy(block + *size, text, span.length + 1);
	*size += span.length + 1;
	return span;
}

glm_request *
make_request(const char *prompt, int max_tokens, bool stream)
{
	char		*block = calloc(1, sizeof(glm_request) + strlen(prompt) + 256);
	glm_request *req = (glm_request *) block;
	uint32_t	 size = sizeof(*req);

	req->kind = GLM_GENERATE;
	req->form = GLM_PROMPT;
	req->id = 1;
	req->model = put_span(block, &size, "tiny-chatglm3");
	req->path = put_span(block, &size, MODEL_PATH);
	req->text = put_span(block, &size, prompt);
	req->max_tokens = max_tokens;
	req->top_p = 1;
	req->repetition_penalty = 1;
	req->scope = 1;
	req->stream = stream;
	req->size = size;
	return req;
}

glm_request *
make_for_tokens(glm_kind kind, const int32_t *tokens, int n)
{
	glm_request *req = make_request("x", 1, false);
	uint32_t	 at = (req->size + 3) / 4 * 4;

	req = realloc(req, at + n * sizeof(*tokens) + 1);
	memcpy((char *) req + at, tokens, n * sizeof(*tokens));
	((char *) req)[at + n * sizeof(*tokens)] = '\0';
	req->tokens = (glm_span){at, n * sizeof(*tokens)};
	req->size = at + n * sizeof(*tokens) + 1;
	req->kind = kind;
	return req;
}

void
set_stop(glm_request *req, const char *stop)
{
	assert_true(strlen(stop) <= 32);
	req->stop = put_span((char *) req, &req->size, stop);
	req->stop.length++; /* its own NUL; another ends the span */
	((char *) req)[req->size++] = '\0';
}

glm_request *
constrain(glm_request *req, glm_constraint_kind kind, const char *text)
{
	req = realloc(req, req->size + strlen(text) + 1);
	assert_non_null(req);
	req->constrained = kind;
	req->constraint = put_span((char *) req, &req->size, text);
	return req;
}

glm_request *
set_bias(glm_request *req, const glm_bias *bias, size_t n)
{
	uint32_t at = (req->size + 7) / 8 * 8;

	req = realloc(req, at + n * sizeof(*bias) + 1);
	assert_non_null(req);
	memcpy((char *) req + at, bias, n * sizeof(*bias));
	((char *) req)[at + n * sizeof(*bias)] = '\0';
	req->bias = (glm_span){at, (uint32_t) (n * sizeof(*bias))};
	req->size = at + (uint32_t) (n * sizeof(*bias)) + 1;
	return req;
}

int
submit(glm_engine *engine, glm_request *req)
{
	glm_error err = {0};
	int		  ticket;

	assert_true(glm_request_check(req, req->size, &err));
	ticket = glm_engine_submit(engine, req, &err);
	assert_true(ticket >= 0 && ticket < MAX_TICKETS);
	memset(&answers[ticket], 0, sizeof(answers[ticket]));
	free(req);
	return ticket;
}

static void
record_told(answer *a, const char *bytes, size_t n)
{
	assert_true(a->told_length + n <= sizeof(a->told));
	memcpy(a->told + a->told_length, bytes, n);
	a->told_length += n;
	for (size_t i = 0; i < n; i++)
		a->digest = (a->digest ^ (uint8_t) bytes[i]) * UINT64_C(0x9e3779b97f4a7c15);
}

static void
record(const glm_event *event)
{
	answer	*a = &answers[event->ticket];
	uint32_t told = event->kind == GLM_EVENT_TOKEN		? (uint32_t) event->told
					: event->kind == GLM_EVENT_LOGPROBS ? event->length
														: 0;
	uint32_t length = event->length - told;

	assert_false(a->ended);
	if (event->kind == GLM_EVENT_ERROR)
		memcpy(a->message, event->payload, event->length < 511 ? event->length : 511);
	else if (length > 0)
	{
		assert_true(a->length + length < sizeof(a->text));
		memcpy(a->text + a->length, event->payload, length);
		a->length += length;
	}
	record_told(a, event->payload + length, told);
	if (event->kind == GLM_EVENT_TOKEN)
	{
		uint32_t logprob;

		memcpy(&logprob, &event->logprob, sizeof(logprob));
		a->tokens++;
		n_tokens++;
		a->digest = (a->digest ^ (uint32_t) event->token_id) * UINT64_C(0x9e3779b97f4a7c15);
		a->digest = (a->digest ^ logprob) * UINT64_C(0x9e3779b97f4a7c15);
	}
	a->ended = event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR;
	if (a->ended)
	{
		a->last = *event;
		a->order = n_ended++;
		a->tokens_before = n_tokens;
	}
}

void
pump(glm_engine *engine, int quiet_ms)
{
	struct pollfd fd = {.fd = glm_engine_fd(engine), .events = POLLIN};
	glm_event	 *event = malloc(GLM_EVENT_MAX);

	while (poll(&fd, 1, quiet_ms) > 0)
	{
		while (glm_engine_poll(engine, event))
			record(event);
	}
	free(event);
}

answer *
wait_for(glm_engine *engine, int ticket)
{
	for (int i = 0; !answers[ticket].ended && i < PATIENCE; i++)
		pump(engine, 1);
	assert_true(answers[ticket].ended);
	return &answers[ticket];
}

void
hold(glm_engine *engine)
{
	glm_engine_set_step_delay(engine, HELD);
}

void
wait_arrived(glm_engine *engine, int n)
{
	/* twice, as a sequence that changes from one to the other may be counted as both */
	for (int i = 0, seen = 0; seen < 2; i++)
	{
		const glm_counters *count = &engine->count;
		int					now = atomic_load(&count->waiting) + atomic_load(&count->running);

		assert_true(i < PATIENCE);
		seen = now == n ? seen + 1 : 0;
		pump(engine, 1);
	}
}

void
wait_running(glm_engine *engine, int n)
{
	for (int i = 0; stats_of(engine).running != n; i++)
	{
		assert_true(i < PATIENCE);
		pump(engine, 1);
	}
}

glm_stats
stats_of(glm_engine *engine)
{
	glm_stats stats;

	glm_engine_stats(engine, &stats);
	return stats;
}

const char *
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
