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
							 .repetition_penalty = i % 4 == 1 ? 1.3 : 1,
							 .presence_penalty = i % 4 >= 2 ? 0.5 : 0,
							 .seed = (uint64_t) i};
	glm_sampler		 *sampler = glm_sampler_open(&req, IDS);

	for (int32_t id = i; id < IDS; id += 3)
		glm_sampler_advance(sampler, id);
	return sampler;
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
	glm_model	 *model = md_make(GLM_Q4, GLM_F16);
	rn_setup	  cpu = rn_open("auto", 1);
	rn_setup	  late = rn_open_on("late", &late_picker, "auto", 1);
	glm_sampler	 *sampler[ROWS];
	glm_pick	  picks[ROWS];
	glm_kv_table  kv[2];
	static char	  memory[ROWS * 1024];
	glm_pick_room room = {.memory = memory, .bytes = sizeof(memory)};

	(void) state;
	rn_use(&cpu, model);
	rn_use(&late, model);
	rn_take_kv(&cpu, model, 3 * ROWS, &kv[0]);
	rn_take_kv(&late, model, 3 * ROWS, &kv[1]);
	for (int i = 0; i < ROWS; i++)
	{
		sampler[i] = make_sampler(i);
		assert_true(glm_sampler_describe(sampler[i], 7, true, NULL, 0, &room, &picks[i]));
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

/* ---- Engines ------------------------------------------------------------------------ */

/* What one request was answered. */
typedef struct kept_answer
{
	char	 text[2048];
	uint64_t digest;
} kept_answer;

static kept_answer by_host[REQUESTS];

/* Some that come often do not come any more, others do. */
static glm_request *
with_bias(glm_request *req)
{
	glm_bias bias[40];

	for (int32_t i = 0; i < 40; i++)
		bias[i] = (glm_bias){10 * i + 3, i % 3 == 0 ? GLM_BIAS_BAN : (float) (i % 5)};
	return set_bias(req, bias, 40);
}

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
	req->repetition_penalty = i % 7 == 2 || i % 8 == 0 ? 1.2 : 1;
	req->frequency_penalty = i % 9 == 4 ? 0.3 : 0;
	req->presence_penalty = i % 11 == 4 || i % 8 == 4 ? -0.6 : 0;
	req->seed = (uint64_t) i * UINT64_C(0x9e3779b97f4a7c15);
	return i % 5 == 3 ? with_bias(req) : req;
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

/* Without room for what a pick has to be told, it is made by the host. */
static void
test_engine_no_room(void **state)
{
	glm_engine *engine;

	(void) state;
	late_set_pick_bytes(4096);
	engine = open_engine_on(&late_picker, 2, 12, ROOMY, GLM_KV_AUTO);
	late_set_pick_bytes(LATE_PICK_BYTES);
	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	answer_all(engine, 12);
	assert_true(late_count().picks > 0);
	assert_true(late_count().reads > 0);
	glm_engine_close(engine);
}

#define BIASED 2

static void
answer_biased(glm_engine *engine, uint64_t *digest)
{
	int ticket[BIASED];

	for (int i = 0; i < BIASED; i++)
	{
		const glm_bias only = {300 + 100 * i, 90};
		glm_request	  *req = make_request("Who are you?", 30 + 10 * i, false);

		req->logprobs = 1;
		ticket[i] = submit(engine, set_bias(req, &only, 1));
	}
	for (int i = 0; i < BIASED; i++)
	{
		assert_int_equal(wait_for(engine, ticket[i])->last.kind, GLM_EVENT_DONE);
		digest[i] = answers[ticket[i]].digest;
	}
}

/*
 * What picks of two passes that are under way point to is not the same memory: by the last token
 * of the first answer, behind which the second is alone.
 */
static void
test_engine_goes_ahead(void **state)
{
	glm_engine *engine = open_engine(1, BIASED, ROOMY);
	uint64_t	digest[2][BIASED];

	(void) state;
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	answer_biased(engine, digest[0]);
	glm_engine_close(engine);
	engine = open_engine_on(&late_picker, 1, BIASED, ROOMY, GLM_KV_AUTO);
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	answer_biased(engine, digest[1]);
	assert_memory_equal(digest[1], digest[0], sizeof(digest[0]));
	assert_true(stats_of(engine).followed > 10);
	assert_int_equal(late_count().reads, 0);
	glm_engine_close(engine);
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
answer_long(glm_engine *engine, bool beside)
{
	glm_request *req = make_request("Who are you?", 300, false);
	int			 ticket;

	req->temperature = 5; /* so hot that the end is not soon */
	ticket = submit(engine, req);
	while (beside && !answers[ticket].ended && late_count().left == 0)
		assert_int_equal(wait_for(engine, submit_logits(engine))->last.kind, GLM_EVENT_DONE);
	return wait_for(engine, ticket);
}

/* Who asks for logits gets them, and nobody else's come home; the others' tokens stay the same. */
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

	strcpy(before, answer_long(engine, false)->text);
	assert_int_equal(late_count().reads, 1);
	assert_true(late_count().picks > 0);

	assert_string_equal(answer_long(engine, true)->text, before);
	assert_true(late_count().left > 0); /* in a pass that was mixed */
	assert_int_equal(late_count().largest, row);
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

/* ---- What is refused ----------------------------------------------------------------------- */

#define COLORS "[\"a red chair\", \"a green chair\", \"a blue lamp\", \"two tables\"]"

static const answer *
answer_constrained(glm_engine *engine)
{
	glm_request *req = make_request("Order 3 red chairs for Paris.", 40, false);

	req->temperature = 5;
	req->logprobs = 1;
	return wait_for(engine, submit(engine, constrain(req, GLM_CHOICES, COLORS)));
}

/* The device's pick is refused, and the logits come home; each wait fails once, those among them. */
static void
test_engine_refused(void **state)
{
	glm_engine *engine = open_engine(1, 1, ROOMY);
	uint64_t	digest = answer_constrained(engine)->digest;
	int			waits = 0, steps;

	(void) state;
	glm_engine_close(engine);
	engine = open_engine_on(&late_picker, 1, 1, ROOMY, GLM_KV_AUTO);
	glm_engine_set_speculation(engine, GLM_SPECULATE_OFF);
	assert_true(answer_constrained(engine)->digest == digest);
	assert_true(late_count().reads > 0 && late_count().picks > 0);
	steps = (int) stats_of(engine).steps;
	for (bool failed = true; failed; waits++)
	{
		const answer *a;

		late_fail(waits + 1, GLM_DEVICE_FINE);
		a = answer_constrained(engine);
		failed = a->last.kind == GLM_EVENT_ERROR;
		if (failed)
			assert_string_equal(a->message, "the device coughed");
		else
			assert_true(a->digest == digest);
	}
	late_fail(0, GLM_DEVICE_FINE);
	assert_true(waits > steps + 1); /* of passes, and of what was read behind them */
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pass),
		cmocka_unit_test(test_engine_same),
		cmocka_unit_test(test_engine_no_room),
		cmocka_unit_test(test_engine_logits),
		cmocka_unit_test(test_engine_not_finite),
		cmocka_unit_test(test_engine_refused),
		cmocka_unit_test(test_engine_goes_ahead),
	};

	return cmocka_run_group_tests_name("picks", tests, NULL, NULL);
}
