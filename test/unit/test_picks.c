/*
 * test_picks.c - tokens that the device picks: the same as the host's, without any logits
 * that travel; and when it is left to the host.
 */
#include "client.h"

#include <string.h>

#include "checkpoint.h"
#include "engine/model/model.h"
#include "engine/serve/sample.h"
#include "late.h"
#include "made_up.h"
#include "runner.h"

#define REQUESTS 72
#define ROOMY ((size_t) 16 << 20)

/* ---- A pass ----------------------------------------------------------------------- */

#define ROWS 9
#define IDS 500 /* of 509: the others are padding */
#define VOCAB 509
#define HIDDEN 136

/* Every third row wants logits, another its hidden state. */
static void
add_rows(rn_setup *s, const glm_kv_table *kv)
{
	glm_rows_begin(&s->rows, kv);
	for (int p = 0; p < 3 * ROWS; p++)
		glm_rows_add(&s->rows, p * 37 % VOCAB, p, (glm_want) (p % 3));
}

static glm_sampler *
make_sampler(int i)
{
	const glm_request req = {.temperature = i % 3,
							 .top_p = i % 2 == 0 ? 1 : 0.8,
							 .top_k = i == 4 ? 30 : 0,
							 .repetition_penalty = 1,
							 .seed = (uint64_t) i};

	return glm_sampler_open(&req, IDS);
}

static void
run_with_picks(rn_setup *s, const glm_kv_table *kv, const glm_pick *picks)
{
	glm_error err = {0};

	add_rows(s, kv);
	if (!glm_forward_run(s->forward, s->model, s->weights, &s->rows.pass, picks, &s->results, &err))
		fail_msg("%s", err.message);
	glm_rows_clear(&s->rows);
}

/* Picks come home in place of logits where the device makes them, hidden states beside them. */
static void
test_pass(void **state)
{
	glm_model	*model = md_make(GLM_Q4, GLM_F16);
	rn_setup	 cpu = rn_open("auto", 1);
	rn_setup	 late = rn_open_on("late", &late_picker, "auto", 1);
	glm_sampler *sampler[ROWS];
	glm_pick	 picks[ROWS];
	glm_kv_table kv[2];

	(void) state;
	rn_use(&cpu, model);
	rn_use(&late, model);
	rn_take_kv(&cpu, model, 3 * ROWS, &kv[0]);
	rn_take_kv(&late, model, 3 * ROWS, &kv[1]);
	for (int i = 0; i < ROWS; i++)
	{
		sampler[i] = make_sampler(i);
		assert_true(glm_sampler_describe(sampler[i], 7, true, &picks[i]));
	}
	run_with_picks(&cpu, &kv[0], picks);
	assert_null(cpu.results.picked);
	run_with_picks(&late, &kv[1], picks);
	assert_null(late.results.logits);
	assert_memory_equal(late.results.hidden, cpu.results.hidden, ROWS * HIDDEN * sizeof(float));
	assert_int_equal(late_count().reads, 1);
	for (int i = 0; i < ROWS; i++)
	{
		int32_t	  token[2];
		float	  logprob[2];
		glm_error err = {0};

		assert_true(glm_sampler_pick(sampler[i], cpu.results.logits + i * VOCAB, 7, NULL, &token[0],
									 &logprob[0], &err));
		assert_true(
			glm_sampler_take(sampler[i], &late.results.picked[i], &token[1], &logprob[1], &err));
		assert_int_equal(token[1], token[0]);
		assert_memory_equal(&logprob[1], &logprob[0], sizeof(float));
		glm_sampler_close(sampler[i]);
	}
	/* who wants to see them gets logits */
	run_with_picks(&late, &kv[1], NULL);
	assert_null(late.results.picked);
	assert_non_null(late.results.logits);
	assert_int_equal(late_count().reads, 3);
	glm_kv_give(cpu.kv, model->kv_block_bytes, &kv[0]);
	glm_kv_give(late.kv, model->kv_block_bytes, &kv[1]);
	rn_close(&cpu);
	rn_close(&late);
	md_free(model);
}

/* With a penalty the next pick depends on this one. */
static void
test_penalty_is_the_hosts(void **state)
{
	const glm_request req = {.top_p = 1, .repetition_penalty = 1.1};
	glm_sampler		 *sampler = glm_sampler_open(&req, IDS);
	glm_pick		  pick;

	(void) state;
	assert_false(glm_sampler_describe(sampler, 0, false, &pick));
	glm_sampler_close(sampler);
}

/* ---- Engines ------------------------------------------------------------------------ */

/* What one request was answered. */
typedef struct kept_answer
{
	char	 text[2048];
	uint64_t digest;
} kept_answer;

static kept_answer by_host[REQUESTS];

/* Every way to pick, from logits that the temperature brings close together. */
static glm_request *
make_numbered(int i)
{
	glm_request *req = make_request(i % 4 == 0 ? "lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp"
											   : "Order 3 red chairs for Paris.",
									40, i % 2 == 0);

	req->temperature = i % 3 == 0 ? 0 : 1 + i % 7;
	req->top_k = i % 5 == 0 ? 1 + i : 0;
	req->top_p = i % 4 == 1 ? 0.9 : 1;
	req->min_p = i % 6 == 1 ? 0.02 : 0;
	req->seed = (uint64_t) i * UINT64_C(0x9e3779b97f4a7c15);
	return req;
}

static void
answer_all(glm_engine *engine, int at_a_time)
{
	static int ticket[REQUESTS];

	for (int i = 0; i < REQUESTS; i += at_a_time)
	{
		for (int j = i; j < i + at_a_time; j++)
			ticket[j] = submit(engine, make_numbered(j));
		for (int j = i; j < i + at_a_time; j++)
		{
			while (!answers[ticket[j]].ended)
			{
				for (int k = i; k < i + at_a_time; k++)
					glm_engine_taken(engine, ticket[k], answers[ticket[k]].tokens);
				pump(engine, 1);
			}
		}
		for (int j = i; j < i + at_a_time; j++)
		{
			const answer *a = &answers[ticket[j]];

			assert_int_equal(a->last.kind, GLM_EVENT_DONE);
			assert_true(a->length < sizeof(by_host[j].text));
			if (at_a_time == 1)
			{
				strcpy(by_host[j].text, a->text);
				by_host[j].digest = a->digest;
			}
			assert_string_equal(a->text, by_host[j].text);
			assert_true(a->digest == by_host[j].digest);
		}
	}
}

/* One by one on the CPU, then many at a time, with drafts, on a device that picks. */
static void
test_engine_same(void **state)
{
	glm_engine	  *engine = open_engine(1, 1, ROOMY);
	glm_model_info model;

	(void) state;
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	answer_all(engine, 1);
	glm_engine_close(engine);

	engine = open_engine_on(&late_picker, 2, 12, ROOMY, GLM_KV_AUTO);
	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	answer_all(engine, 12);
	assert_int_equal(glm_engine_models(engine, &model, 1), 1);
	assert_true(model.accepted_tokens > 50);
	assert_true(late_count().picks > REQUESTS);
	assert_int_equal(late_count().reads, 0); /* no logits ever left it */
	glm_engine_close(engine);
}

/* A repetition penalty is the host's to heed. */
static void
test_engine_penalty(void **state)
{
	const glm_backend *const device[] = {&late_backend, &late_picker};
	uint64_t				 digest[2];

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		glm_engine	*engine = open_engine_on(device[i], 1, 2, ROOMY, GLM_KV_AUTO);
		glm_request *req = make_request("lamp lamp lamp", 40, true);
		int			 ticket;

		req->repetition_penalty = 1.3;
		ticket = submit(engine, req);
		read_stream(engine, ticket);
		digest[i] = answers[ticket].digest;
		assert_int_equal(late_count().picks, 0);
		assert_true(late_count().reads > 0);
		glm_engine_close(engine);
	}
	assert_true(digest[0] == digest[1]);
}

/* ---- Logits beside picks --------------------------------------------------------------- */

static int
submit_logits(glm_engine *engine)
{
	static const int32_t ids[] = {3, 14, 159};

	return submit(engine, make_for_tokens(GLM_LOGITS, ids, 3));
}

/* Has a long answer computed; with `beside`, requests for logits until one shared a pass. */
static const answer *
answer_long(glm_engine *engine, size_t row, bool beside)
{
	glm_request *req = make_request("Who are you?", 300, false);
	int			 ticket;

	req->temperature = 5; /* so hot that the end is not soon */
	ticket = submit(engine, req);
	while (beside && !answers[ticket].ended && late_count().largest <= row)
		assert_int_equal(wait_for(engine, submit_logits(engine))->last.kind, GLM_EVENT_DONE);
	return wait_for(engine, ticket);
}

/* Who asks for logits gets them, with all of that pass; the others' tokens stay the same. */
static void
test_engine_logits(void **state)
{
	glm_engine	*engine = open_engine_on(&late_picker, 1, 4, ROOMY, GLM_KV_AUTO);
	static char	 before[sizeof(answers[0].text)];
	static float logits[2][sizeof(answers[0].text) / sizeof(float)];
	size_t		 row;
	int			 alone;

	(void) state;
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	alone = submit_logits(engine);
	wait_for(engine, alone);
	assert_int_equal(late_count().picks, 0);
	assert_int_equal(late_count().reads, 1);
	row = late_count().largest;
	assert_true(answers[alone].length == row);
	memcpy(logits[0], answers[alone].text, row);

	strcpy(before, answer_long(engine, row, false)->text);
	assert_int_equal(late_count().reads, 1);
	assert_true(late_count().picks > 0);

	assert_string_equal(answer_long(engine, row, true)->text, before);
	assert_true(late_count().largest > row); /* a pass that was mixed */
	alone = submit_logits(engine);
	memcpy(logits[1], wait_for(engine, alone)->text, row);
	assert_memory_equal(logits[1], logits[0], row);
	glm_engine_close(engine);
}

/* ---- What is not finite ------------------------------------------------------------------ */

#define SPOILED 4

/* Logits that are not finite fail the sequence whose they are, whoever picks. */
static void
check_spoiled(const glm_backend *device, char text[SPOILED][2048])
{
	glm_engine *engine = open_engine_on(device, 1, SPOILED, ROOMY, GLM_KV_AUTO);
	int			failed = 0;

	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	for (int round = 0; round < 2; round++)
	{
		int ticket[SPOILED];

		if (round == 1)
			late_spoil(2);
		for (int i = 0; i < SPOILED; i++)
		{
			glm_request *req = make_request("Who are you?", 60, false);

			req->temperature = 5;
			req->seed = (uint64_t) i;
			ticket[i] = submit(engine, req);
		}
		for (int i = 0; i < SPOILED; i++)
		{
			const answer *a = wait_for(engine, ticket[i]);

			if (a->last.kind == GLM_EVENT_ERROR)
			{
				failed++;
				assert_int_equal(round, 1);
				assert_int_equal(a->last.status, GLM_NOT_FINITE);
				assert_string_equal(a->message, "the model computed a logit that is not finite");
			}
			else if (round == 0 && text[i][0] == '\0')
				strcpy(text[i], a->text);
			else
				assert_string_equal(a->text, text[i]);
		}
	}
	assert_int_equal(failed, 1);
	assert_int_equal(late_count().reads == 0, device == &late_picker);
	glm_engine_close(engine);
}

static void
test_engine_not_finite(void **state)
{
	static char text[SPOILED][2048];

	(void) state;
	check_spoiled(&late_backend, text);
	check_spoiled(&late_picker, text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass),		  cmocka_unit_test(test_penalty_is_the_hosts),
		cmocka_unit_test(test_engine_same),	  cmocka_unit_test(test_engine_penalty),
		cmocka_unit_test(test_engine_logits), cmocka_unit_test(test_engine_not_finite),
	};

	return cmocka_run_group_tests_name("picks", tests, NULL, NULL);
}
