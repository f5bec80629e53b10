/*
 * test_turns.c - requests that are long before a forward pass begins, beside others.
 *
 * Texts that take seconds to tokenize, prompts that cannot fit, models that take
 * seconds to open: nobody else waits for them, they take turns, and they end with who
 * wanted them.  What is demanded is an order of events, not a time.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.h"
#include "engine/base/clock.h"
#include "engine/serve/engine.h"
#include "engine/base/file.h"

#define LONG (12u << 20)	/* bytes that take seconds to count */
#define ENDLESS (48u << 20) /* so long that it is cancelled before it is counted */

static glm_engine *engine;

static int
setup(void **state)
{
	(void) state;
	engine = open_engine(2, 16, 64 << 20);
	/* the model is there from the start */
	wait_for(engine, submit(engine, make_request("hi", 2, false)));
	return 0;
}

static int
teardown(void **state)
{
	(void) state;
	glm_engine_close(engine);
	return 0;
}

static glm_request *
make_count(size_t bytes, uint32_t tenant)
{
	static const char sentence[] = "The parcel with order number 48213 has not arrived yet.\n";
	char			 *text = malloc(bytes + 1);
	glm_request		 *req;

	for (size_t i = 0; i < bytes; i++)
		text[i] = sentence[i % (sizeof(sentence) - 1)];
	text[bytes] = '\0';
	req = make_request(text, 1, false);
	req->kind = GLM_COUNT_TOKENS;
	req->tenant = tenant;
	free(text);
	return req;
}

static glm_request *
make_hello(uint32_t tenant)
{
	glm_request *req = make_request("Who are you?", 3, false);

	req->tenant = tenant;
	return req;
}

static void
assert_ended(int ticket, glm_status status)
{
	answer *a = wait_for(engine, ticket);

	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	assert_int_equal(a->last.status, status);
}

static int
intake_threads(void)
{
	int n;

	pthread_mutex_lock(&engine->intake.lock);
	n = engine->intake.n_threads + engine->intake.n_loaders;
	pthread_mutex_unlock(&engine->intake.lock);
	return n;
}

/* Nothing goes on in the engine any more but one thread that waits. */
static void
assert_quiet(void)
{
	for (int i = 0; i < 600000 && (stats_of(engine).waiting > 0 || intake_threads() > 1); i++)
		usleep(1000);
	assert_int_equal(stats_of(engine).waiting, 0);
	assert_int_equal(intake_threads(), 1);
}

/* ---- Turns ------------------------------------------------------------------- */

/* Neither another tenant nor the same one waits for a long text. */
static void
short_ones_do_not_wait_for_long_ones(void **state)
{
	int text = submit(engine, make_count(ENDLESS, 1));
	int more = submit(engine, make_count(ENDLESS, 1));

	(void) state;
	for (uint32_t tenant = 1; tenant <= 2; tenant++)
	{
		assert_int_equal(wait_for(engine, submit(engine, make_count(50, tenant)))->last.kind,
						 GLM_EVENT_DONE);
		assert_int_equal(wait_for(engine, submit(engine, make_hello(tenant)))->last.kind,
						 GLM_EVENT_DONE);
	}
	assert_false(answers[text].ended || answers[more].ended);
	glm_engine_cancel(engine, text);
	glm_engine_cancel(engine, more);
	assert_ended(text, GLM_CANCELLED);
	assert_ended(more, GLM_CANCELLED);
	assert_quiet();
}

/* How many of a tenant's six long texts are counted before another tenant's one. */
static int
count_beside(int expected, int64_t *submitting_ns)
{
	glm_request *req[7];
	int			 ticket[7];
	int			 before = 0;

	for (int i = 0; i < 7; i++)
		req[i] = make_count(700000, i < 6 ? 1 : 2);
	*submitting_ns = -glm_now_ns();
	for (int i = 0; i < 7; i++)
		ticket[i] = submit(engine, req[i]);
	*submitting_ns += glm_now_ns();
	for (int i = 0; i < 7; i++)
		assert_int_equal(wait_for(engine, ticket[i])->last.prompt_tokens, expected);
	for (int i = 0; i < 6; i++)
		before += answers[ticket[i]].order < answers[ticket[6]].order;
	assert_quiet();
	return before;
}

/* One long text of a tenant comes before most of another's six, and gives its right count. */
static void
tenants_take_turns_with_long_ones(void **state)
{
	int64_t begin = glm_now_ns();
	int		alone = wait_for(engine, submit(engine, make_count(700000, 2)))->last.prompt_tokens;
	int64_t alone_ns = glm_now_ns() - begin;
	int64_t submitting_ns = alone_ns;
	int		before = 0;

	(void) state;
	/* again if this thread was held up and the others were well on their way before it came */
	for (int i = 0; i < 100 && submitting_ns > alone_ns / 8; i++)
		before = count_beside(alone, &submitting_ns);
	assert_true(submitting_ns <= alone_ns / 8);
	assert_in_range(before, 0, 1);
}

/* Deadlines and cancels are heard by those that work and by those that wait for it. */
static void
long_ones_end_in_time(void **state)
{
	int ticket[8];

	(void) state;
	for (int i = 0; i < 8; i++)
	{
		glm_request *req = make_count(LONG, 1);

		req->timeout_ms = i >= 3 && i < 6 ? 50 : i == 6 ? 60 : 0;
		ticket[i] = submit(engine, req);
	}
	for (int i = 3; i < 7; i++) /* one of them at work, the others in the queue */
		assert_ended(ticket[i], GLM_TIMED_OUT);
	glm_engine_cancel(engine, ticket[7]);
	assert_ended(ticket[7], GLM_CANCELLED);
	for (int i = 0; i < 3; i++)
	{
		assert_false(answers[ticket[i]].ended);
		glm_engine_cancel(engine, ticket[i]);
		assert_ended(ticket[i], GLM_CANCELLED);
	}
	assert_quiet();
}

static size_t
bytes_on_the_way(void)
{
	size_t n;

	pthread_mutex_lock(&engine->outbox.lock);
	n = engine->outbox.tail - engine->outbox.head;
	pthread_mutex_unlock(&engine->outbox.lock);
	return n;
}

/* The text of millions of ids, of which nobody takes more than some. */
static void
results_do_not_fill_the_way(void **state)
{
	glm_request *req = make_count(LONG, 1);
	int			 ticket;

	(void) state;
	req->kind = GLM_DETOKENIZE;
	req->tokens = req->text;
	req->tokens.length = req->tokens.length / 4 * 4;
	req->tokens.offset = (req->tokens.offset + 3) / 4 * 4;
	req->tokens.length -= 4;
	((char *) req)[req->tokens.offset + req->tokens.length] = '\0';
	for (uint32_t i = 0; i < req->tokens.length / 4; i++)
		((int32_t *) ((char *) req + req->tokens.offset))[i] = 300;
	req->text = (glm_span){0, 0};
	ticket = submit(engine, req);
	/* the host takes nothing yet; the half of the ring is left to others */
	for (int i = 0; i < 600000 && bytes_on_the_way() < 400000; i++)
		usleep(1000);
	usleep(1000);
	assert_in_range(bytes_on_the_way(), 400000, 1 << 19);
	glm_engine_cancel(engine, ticket);
	for (glm_event *event = malloc(GLM_EVENT_MAX); event != NULL; usleep(100))
	{
		if (!glm_engine_poll(engine, event) || event->kind != GLM_EVENT_ERROR)
			continue;
		assert_int_equal(event->status, GLM_CANCELLED);
		free(event);
		break;
	}
	assert_quiet();
}

/* ---- Prompts that cannot fit ---------------------------------------------------- */

/* 4 KB of tools, nested deep, would become a million tokens. */
static char *
nested_messages(int times)
{
	glm_buf text = {0};

	glm_buf_puts(&text, "[");
	for (int i = 0; i < times; i++)
	{
		glm_buf_puts(&text,
					 "{\"role\":\"system\",\"content\":\"\",\"tools\":[{\"name\":\"a\",\"x\":");
		for (int j = 0; j < 1900; j++)
			glm_buf_puts(&text, "[");
		for (int j = 0; j < 1900; j++)
			glm_buf_puts(&text, "]");
		glm_buf_puts(&text, "}]},");
	}
	glm_buf_puts(&text, "{\"role\":\"user\",\"content\":\"x\"}]");
	return text.data;
}

static void
prompts_that_cannot_fit_are_given_up(void **state)
{
	static const char word[] = "word ";
	char			 *nested = nested_messages(16);
	char			 *text = malloc(LONG + 1);
	glm_request		 *req;
	answer			 *a;

	(void) state;
	req = make_request(nested, 1, false);
	req->form = GLM_MESSAGES;
	a = wait_for(engine, submit(engine, req));
	assert_int_equal(a->last.status, GLM_TOO_LONG);
	assert_string_equal(a->message,
						"prompt of more than 4096 tokens does not fit the context of 2048 tokens");

	/* a system prompt counts as the prompt does */
	for (size_t i = 0; i < LONG; i++)
		text[i] = word[i % 5];
	text[LONG] = '\0';
	req = make_request(text, 1, false);
	req->system = req->text;
	a = wait_for(engine, submit(engine, req));
	assert_int_equal(a->last.status, GLM_TOO_LONG);
	assert_non_null(
		strstr(a->message, "prompt of 25165824 bytes cannot fit the context of 2048 tokens"));

	/* one that is not very much too long is counted to its end */
	text[5000] = '\0';
	req = make_request(text, 1, false);
	req->form = GLM_RAW;
	a = wait_for(engine, submit(engine, req));
	assert_string_equal(a->message,
						"prompt of 3003 tokens does not fit the context of 2048 tokens");
	free(text);

	/* whoever only wants the ids can end it */
	req = make_request(nested, 1, false);
	req->kind = GLM_CHAT_TOKENS;
	req->form = GLM_MESSAGES;
	req->timeout_ms = 50;
	assert_ended(submit(engine, req), GLM_TIMED_OUT);
	free(nested);
	assert_quiet();
}

/* ---- Passes ------------------------------------------------------------------------- */

/* Who waits for a place ends in time beside a pass; was that still running then? */
static bool
ends_beside_a_pass(glm_engine *slow, const char *prompt)
{
	int			 in_pass = submit(slow, make_request(prompt, 1, false));
	glm_request *req = make_hello(2);
	bool		 seen;

	while (stats_of(slow).running == 0 && !answers[in_pass].ended)
		pump(slow, 0);
	req->timeout_ms = 20;
	assert_int_equal(wait_for(slow, submit(slow, req))->last.status, GLM_TIMED_OUT);
	seen = stats_of(slow).steps == 0;
	glm_engine_cancel(slow, in_pass);
	wait_for(slow, in_pass);
	return seen && answers[in_pass].last.status == GLM_CANCELLED && stats_of(slow).steps == 0;
}

/*
 * A pass of 512 rows with the slowest kernels.  While it runs, who waits for a place ends
 * in time, and when nobody wants it any more it ends itself: no step is counted.
 */
static void
long_passes_look_around(void **state)
{
	glm_config	config = {.threads = 1,
						  .cpus = "",
						  .kv_cache_size = 64 << 20,
						  .max_sequences = 1,
						  .max_queue = 8,
						  .prefill_budget = GLM_PREFILL_MAX,
						  .kernels = "scalar"};
	glm_error	err = {0};
	glm_engine *slow = NULL;
	bool		seen = false;
	char		text[3000];

	(void) state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = "word "[i % 5];
	text[sizeof(text) - 1] = '\0';
	/* again if this thread was held up for longer than the pass takes */
	for (int i = 0; i < 20 && !seen; i++)
	{
		if (slow != NULL)
			glm_engine_close(slow);
		slow = glm_engine_open(&config, &err);
		assert_non_null(slow);
		wait_for(slow, submit(slow, make_count(10, 1)));
		seen = ends_beside_a_pass(slow, text);
	}
	assert_true(seen);
	/* what it left half done does not show */
	strcpy(text, wait_for(engine, submit(engine, make_hello(1)))->text);
	assert_string_equal(wait_for(slow, submit(slow, make_hello(1)))->text, text);
	glm_engine_close(slow);
}

/* ---- Models ----------------------------------------------------------------------- */

/* A model that takes long to open: its context is 2^20 and so is its table of angles. */
static void
make_slow_model(char dir[CK_PATH])
{
	json_t	  *config = ck_config();
	ck_weights weights;
	glm_buf	   tokenizer = {0};
	glm_error  err;

	ck_config_set(config, "seq_length", "1048576");
	ck_config_set(config, "kv_channels", "256");
	ck_open(dir);
	ck_config_save(config, dir);
	ck_weights_init(&weights, config, "F16");
	ck_weights_save(&weights, 0, weights.n, dir, "model.safetensors");
	assert_true(glm_file_read(&tokenizer, MODEL_PATH "/tokenizer.model", 10 << 20, &err));
	ck_write(dir, "tokenizer.model", tokenizer.data, tokenizer.length);
	glm_buf_free(&tokenizer);
	json_decref(config);
}

/* A request to load the model of a directory. */
static glm_request *
make_load(const char *dir, int timeout_ms)
{
	glm_request *req = make_request(dir, 1, false);

	req->kind = GLM_LOAD;
	memcpy((char *) req + req->model.offset, "slow", 4); /* for "tiny" */
	req->path = req->text;
	req->timeout_ms = timeout_ms;
	return req;
}

static int
n_models(void)
{
	glm_model_info info[4];

	return glm_engine_models(engine, info, 4);
}

static void
nobody_waits_for_a_model_but_who_wants_it(void **state)
{
	char dir[CK_PATH];
	int	 first;
	int	 second;

	(void) state;
	make_slow_model(dir);
	first = submit(engine, make_load(dir, 0));
	assert_int_equal(wait_for(engine, submit(engine, make_count(50, 1)))->last.kind,
					 GLM_EVENT_DONE);
	assert_int_equal(wait_for(engine, submit(engine, make_hello(2)))->last.kind, GLM_EVENT_DONE);
	assert_false(answers[first].ended);

	/* it ends with its last waiter, here by cancel and by time ... */
	second = submit(engine, make_load(dir, 30));
	assert_ended(second, GLM_TIMED_OUT);
	assert_int_equal(intake_threads(), 2);
	glm_engine_cancel(engine, first);
	assert_ended(first, GLM_CANCELLED);
	assert_quiet();
	assert_int_equal(n_models(), 1);

	/* ... and goes on for one that is left */
	first = submit(engine, make_load(dir, 0));
	second = submit(engine, make_load(dir, 0));
	glm_engine_cancel(engine, first);
	assert_ended(first, GLM_CANCELLED);
	assert_int_equal(wait_for(engine, second)->last.kind, GLM_EVENT_DONE);
	assert_quiet();
	assert_int_equal(n_models(), 2);
	ck_close(dir);
}

/* All who come while it is being opened get it, in the order in which they came. */
static void
those_that_wait_get_it_in_order(void **state)
{
	glm_engine *fresh = open_engine(1, 1, 64 << 20);
	int			ticket[8];

	(void) state;
	for (int i = 0; i < 8; i++)
		ticket[i] = submit(fresh, make_hello(1));
	for (int i = 0; i < 8; i++)
		assert_int_equal(wait_for(fresh, ticket[i])->last.kind, GLM_EVENT_DONE);
	for (int i = 1; i < 8; i++)
		assert_true(answers[ticket[i - 1]].order < answers[ticket[i]].order);
	glm_engine_close(fresh);
}

/* A file that is no model is an error of all who wait, and the next one tries anew. */
static void
what_cannot_be_opened_is_an_error(void **state)
{
	int ticket[3];

	(void) state;
	for (int i = 0; i < 3; i++)
		ticket[i] = submit(engine, make_load("/nonexistent/model", 0));
	for (int i = 0; i < 3; i++)
		assert_ended(ticket[i], GLM_NO_FILE);
	assert_quiet();
}

/* An engine that closes ends everything that goes on. */
static void
closing_ends_all(void **state)
{
	char		dir[CK_PATH];
	glm_engine *fresh = open_engine(1, 2, 64 << 20);

	(void) state;
	make_slow_model(dir);
	for (int i = 0; i < 6; i++)
		submit(fresh, make_count(LONG / 4, (uint32_t) i / 2));
	submit(fresh, make_load(dir, 0));
	submit(fresh, make_hello(1));
	usleep(20000);
	glm_engine_close(fresh);
	ck_close(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_ones_do_not_wait_for_long_ones),
		cmocka_unit_test(tenants_take_turns_with_long_ones),
		cmocka_unit_test(long_ones_end_in_time),
		cmocka_unit_test(results_do_not_fill_the_way),
		cmocka_unit_test(prompts_that_cannot_fit_are_given_up),
		cmocka_unit_test(long_passes_look_around),
		cmocka_unit_test(nobody_waits_for_a_model_but_who_wants_it),
		cmocka_unit_test(those_that_wait_get_it_in_order),
		cmocka_unit_test(what_cannot_be_opened_is_an_error),
		cmocka_unit_test(closing_ends_all),
	};

	return cmocka_run_group_tests_name("turns", tests, setup, teardown);
}
