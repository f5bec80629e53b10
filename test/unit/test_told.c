/*
 * test_told.c - log probabilities that are told of an answer's tokens: those of the model's
 * logits, bit for bit, whether tokens were drawn, forced, drafted or picked by a device.
 */
#include "client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/serve/sample.h"
#include "engine/text/prompt.h"
#include "fixtures.h"
#include "late.h"

#define ROOMY ((size_t) 64 << 20)
#define TOKENS_MAX 80

/* ---- What was told -------------------------------------------------------------------- */

typedef struct told
{
	glm_told	head;
	const char *text;
} told;

/* Takes the next one from *at. */
static told
next_told(const answer *a, size_t *at)
{
	told t;

	assert_true(*at + sizeof(t.head) <= a->told_length);
	memcpy(&t.head, a->told + *at, sizeof(t.head));
	t.text = (const char *) a->told + *at + sizeof(t.head);
	*at += sizeof(t.head) + t.head.length;
	assert_true(*at <= a->told_length);
	return t;
}

static void
check_text(const told *t)
{
	size_t		n = 0;
	const char *bytes = glm_tokenizer_bytes(fx_tok, t->head.id, &n);

	assert_int_equal(t->head.named, bytes == NULL);
	if (bytes == NULL)
	{
		bytes = glm_tokenizer_name(fx_tok, t->head.id);
		n = bytes != NULL ? strlen(bytes) : 0;
	}
	assert_int_equal(t->head.length, n);
	assert_memory_equal(t->text, bytes != NULL ? bytes : "", n);
}

/* ---- By the logits ---------------------------------------------------------------------- */

/* Logits behind these ids; the answer that has them. */
static const float *
logits_behind(glm_engine *engine, const glm_ids *ids)
{
	static float  logits[4096];
	const answer *a =
		wait_for(engine, submit(engine, make_for_tokens(GLM_LOGITS, ids->data, (int) ids->length)));

	assert_int_equal(a->last.kind, GLM_EVENT_DONE);
	assert_true(a->length <= sizeof(logits));
	memcpy(logits, a->text, a->length);
	return logits;
}

static float
log_probability_of(const float *logits, int32_t id)
{
	double max, sum;

	glm_logits_sum(logits, glm_tokenizer_size(fx_tok), &max, &sum);
	return (float) (logits[id] - (max + log(sum)));
}

/* Is it the k-th likeliest, of equals the lower id first? */
static void
check_rank(const float *logits, int32_t id, int k)
{
	int before = 0;

	for (int32_t i = 0; i < glm_tokenizer_size(fx_tok); i++)
		before += logits[i] > logits[id] || (logits[i] == logits[id] && i < id);
	assert_int_equal(before, k);
}

/* ---- Requests ---------------------------------------------------------------------------- */

#define SCHEMA                                                                                     \
	"{\"type\": \"object\", \"properties\": {\"product\": {\"type\": \"string\"}, \"city\": "      \
	"{\"type\": \"string\"}}, \"required\": [\"product\", \"city\"], \"additionalProperties\": "   \
	"false}"

#define REQUESTS 12

static glm_request *
make_numbered(int i, bool stream)
{
	static const char *const prompts[] = {"Who are you?", "你好", "lamp lamp lamp lamp lamp lamp",
										  "Please ship 12 desk lamp to Berlin."};
	glm_request				*req = make_request(prompts[i % 4], TOKENS_MAX, stream);

	req->temperature = i % 3 * 0.7;
	req->seed = (uint64_t) i;
	req->logprobs = (uint8_t) (1 + i % 5 * 5);
	req->frequency_penalty = i % 4 == 2 ? 0.3 : 0;
	return i % 4 == 3 || i % 5 == 1 ? constrain(req, GLM_JSON_SCHEMA, SCHEMA) : req;
}

/* Walks the answer's tokens: each is told as its logits say. */
static void
check_walk(glm_engine *engine, int i, const answer *a)
{
	glm_request	   *req = make_numbered(i, false);
	glm_error		err = {0};
	const glm_chat *chat = glm_chat_choose(fx_tok, &err);
	glm_ids			ids = {0};
	size_t			at = 0;
	int				n = 0;

	assert_true(glm_prompt_build(chat, fx_tok, req, &ids, &err));
	for (; at < a->told_length; n++)
	{
		const float *logits = logits_behind(engine, &ids);
		told		 token = next_told(a, &at);

		check_text(&token);
		assert_true(token.head.logprob == log_probability_of(logits, token.head.id));
		assert_int_equal(token.head.n_top, req->logprobs - 1);
		for (int k = 0; k < token.head.n_top; k++)
		{
			told likely = next_told(a, &at);

			check_text(&likely);
			check_rank(logits, likely.head.id, k);
			assert_true(likely.head.logprob == log_probability_of(logits, likely.head.id));
			assert_int_equal(likely.head.n_top, 0);
		}
		assert_true(glm_ids_add(&ids, token.head.id, &err));
	}
	assert_int_equal(n, a->last.completion_tokens);
	assert_true(n > 3);
	glm_ids_free(&ids);
	free(req);
}

/* What a stream tells is the same without its own tokens. */
static void
check_stream(const answer *whole, const answer *stream)
{
	size_t at = 0, in_stream = 0;

	assert_string_equal(stream->text, whole->text);
	while (at < whole->told_length)
	{
		told token = next_told(whole, &at);

		for (int k = 0; k < token.head.n_top; k++)
		{
			told a = next_told(whole, &at);
			told b = next_told(stream, &in_stream);

			assert_memory_equal(&a.head, &b.head, sizeof(a.head));
			assert_memory_equal(a.text, b.text, a.head.length);
		}
	}
	assert_int_equal(in_stream, stream->told_length);
	assert_int_equal(stream->tokens, whole->last.completion_tokens);
}

static answer whole[REQUESTS];

static void
test_walks(void **state)
{
	glm_engine *engine = open_engine(2, 4, ROOMY);

	(void) state;
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	for (int i = 0; i < REQUESTS; i++)
	{
		int ticket = submit(engine, make_numbered(i, false));

		whole[i] = *wait_for(engine, ticket);
		assert_int_equal(whole[i].last.kind, GLM_EVENT_DONE);
		check_walk(engine, i, &whole[i]);
		ticket = submit(engine, make_numbered(i, true));
		read_stream(engine, ticket);
		check_stream(&whole[i], &answers[ticket]);
	}
	glm_engine_close(engine);
}

/* Side by side, with drafts, and on a device that picks. */
static void
check_others(const glm_backend *device)
{
	glm_engine *engine = open_engine_on(device, 2, REQUESTS, ROOMY, GLM_KV_AUTO);
	int			ticket[REQUESTS];

	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	for (int round = 0; round < 2; round++)
	{
		for (int i = 0; i < REQUESTS; i++)
			ticket[i] = submit(engine, make_numbered(i, false));
		for (int i = 0; i < REQUESTS; i++)
		{
			const answer *a = wait_for(engine, ticket[i]);

			assert_string_equal(a->text, whole[i].text);
			assert_int_equal(a->told_length, whole[i].told_length);
			assert_memory_equal(a->told, whole[i].told, a->told_length);
		}
	}
	glm_engine_close(engine);
}

static void
test_same_told(void **state)
{
	(void) state;
	check_others(NULL);
	check_others(&late_backend);
	check_others(&late_picker);
}

/* Without likeliest ones the device that picks does tell. */
static void
test_device_tells(void **state)
{
	glm_engine	 *engine = open_engine_on(&late_picker, 1, 1, ROOMY, GLM_KV_AUTO);
	glm_request	 *req = make_request("Who are you?", 20, false);
	const answer *a;

	(void) state;
	req->logprobs = 1;
	a = wait_for(engine, submit(engine, req));
	assert_int_equal(late_count().reads, 0);
	assert_true(late_count().picks > 0);
	assert_true(a->told_length > 20 * sizeof(glm_told));
	req = make_request("Who are you?", 20, false);
	req->logprobs = 2;
	a = wait_for(engine, submit(engine, req));
	assert_true(late_count().reads > 0);
	glm_engine_close(engine);
}

static void
test_too_many(void **state)
{
	glm_request *req = make_request("x", 1, false);
	glm_error	 err = {0};

	(void) state;
	req->logprobs = 1 + GLM_LOGPROBS_MAX;
	assert_true(glm_request_check(req, req->size, &err));
	req->logprobs++;
	assert_false(glm_request_check(req, req->size, &err));
	free(req);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walks),
		cmocka_unit_test(test_same_told),
		cmocka_unit_test(test_device_tells),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests_name("told", tests, fx_open_tokenizer, fx_close_tokenizer);
}
