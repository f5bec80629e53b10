/*
 * test_embed.c - vectors of texts: that they are the pooled states of the text's tokens, and
 * the same bits however passes cut the text, whatever runs beside, and after a preemption.
 */
#include "client.h"
#include "late.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/engine.h"
#include "engine/serve/pool.h"

#define ROOMY ((size_t) 64 << 20)
#define WIDTH 192 /* hidden size of the embedded model */
#define PREFIX 2  /* tokens before the text */

#define TEXT                                                                                       \
	"The desk lamp arrived in Berlin with a broken switch. 灯坏了,请退款。 "                \
	"Please send another one; the invoice is 4711."

/* ---- Pooling ------------------------------------------------------------------------ */

static void
fill_rows(float *rows, int n, int width)
{
	for (int i = 0; i < n * width; i++)
		rows[i] = sinf((float) i) * (float) (1 + i % 13);
}

static void
pools_mean_and_last(void **state)
{
	static const float rows[] = {1, 2, 3, 4, 6, -3};
	glm_error		   err = {0};

	(void) state;
	for (int last = 0; last < 2; last++)
	{
		glm_pool	*pool = glm_pool_open(last ? GLM_POOL_LAST : GLM_POOL_MEAN, 2);
		const float *vector;

		glm_pool_add(pool, rows, 3);
		assert_int_equal(glm_pool_count(pool), 3);
		vector = glm_pool_vector(pool, false, &err);
		assert_float_equal(vector[0], last ? 6 : 10 / 3.0F, 0);
		assert_float_equal(vector[1], last ? -3 : 1, 0);
		vector = glm_pool_vector(pool, true, &err);
		assert_float_equal(vector[0] * vector[0] + vector[1] * vector[1], 1, 1e-6);
		glm_pool_close(pool);
	}
}

static void
pieces_give_the_same_bits(void **state)
{
	static float rows[97 * 5];
	float		 whole[5];
	glm_error	 err = {0};

	(void) state;
	fill_rows(rows, 97, 5);
	for (int piece = 97; piece > 0; piece--)
	{
		glm_pool *pool = glm_pool_open(GLM_POOL_MEAN, 5);

		for (int i = 0; i < 97; i += piece)
			glm_pool_add(pool, rows + i * 5, 97 - i < piece ? 97 - i : piece);
		if (piece == 97)
			memcpy(whole, glm_pool_vector(pool, true, &err), sizeof(whole));
		assert_memory_equal(glm_pool_vector(pool, true, &err), whole, sizeof(whole));
		glm_pool_close(pool);
	}
}

static void
zeros_stay_and_what_is_not_finite_fails(void **state)
{
	float	  rows[] = {0, 0};
	glm_error err = {0};
	glm_pool *pool = glm_pool_open(GLM_POOL_MEAN, 2);

	(void) state;
	glm_pool_add(pool, rows, 1);
	assert_float_equal(glm_pool_vector(pool, true, &err)[1], 0, 0);
	rows[1] = INFINITY;
	glm_pool_add(pool, rows, 1);
	assert_null(glm_pool_vector(pool, true, &err));
	assert_int_equal(err.status, GLM_NOT_FINITE);
	glm_pool_close(pool);
}

/* ---- Requests ------------------------------------------------------------------------- */

static glm_request *
make_embed(const char *text, glm_pooling pooling, bool normalize)
{
	glm_request *req = make_request(text, 1, false);

	req->kind = GLM_EMBED;
	req->form = GLM_RAW;
	req->pooling = pooling;
	req->normalize = normalize;
	return req;
}

static void
take_vector(glm_engine *engine, int ticket, float *vector)
{
	answer *a = wait_for(engine, ticket);

	assert_string_equal(a->message, "");
	assert_int_equal(a->last.kind, GLM_EVENT_DONE);
	assert_int_equal(a->length, WIDTH * sizeof(*vector));
	memcpy(vector, a->text, WIDTH * sizeof(*vector));
}

static void
embed(glm_engine *engine, const char *text, glm_pooling pooling, bool normalize, float *vector)
{
	take_vector(engine, submit(engine, make_embed(text, pooling, normalize)), vector);
}

/* ---- The states themselves, by a kind of the test's own ---------------------------------- */

static int
from_the_text(const glm_sequence *seq)
{
	(void) seq;
	return PREFIX;
}

static bool
take_states(glm_engine *engine, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	(void) err;
	glm_send_result(engine, seq->ticket, seq->hidden,
					(size_t) seq->n_wanted * WIDTH * sizeof(*seq->hidden));
	if (seq->n_computed == seq->n_prompt)
		*finish = GLM_FINISH_STOP;
	return true;
}

static const glm_request_kind states_of_text = {
	.name = "states_of_text",
	.needs = GLM_NEEDS_MODEL,
	.read_tokens = glm_read_prompt,
	.want = GLM_WANT_HIDDEN,
	.wants_from = from_the_text,
	.take = take_states,
};

/* The states of a short text's tokens; how many. */
static int
states_of(glm_engine *engine, const char *text, float *states)
{
	glm_request		*req = make_embed(text, GLM_POOL_MEAN, false);
	int				 ticket = engine->free_ticket[--engine->n_free];
	glm_open_options options;
	glm_served		*served;
	glm_sequence	*seq;
	glm_error		 err = {0};
	answer			*a;

	engine->ticket[ticket].request = req;
	assert_true(glm_models_find(&engine->models, req, &options, &served, &err));
	seq = glm_sequence_open(engine, &states_of_text, ticket, served, &err);
	assert_non_null(seq);
	memset(&answers[ticket], 0, sizeof(answers[ticket]));
	glm_inbox_add(engine, seq);
	a = wait_for(engine, ticket);
	assert_int_equal(a->last.kind, GLM_EVENT_DONE);
	memcpy(states, a->text, a->length);
	return (int) (a->length / (WIDTH * sizeof(*states)));
}

static void
pools_the_tokens_of_the_text(void **state)
{
	static float states[20 * WIDTH];
	float		 mean[WIDTH], last[WIDTH], unit[WIDTH];
	double		 square = 0;
	glm_engine	*engine = open_engine(2, 4, ROOMY);
	int			 n;

	(void) state;
	embed(engine, "desk lamp", GLM_POOL_MEAN, false, mean);
	embed(engine, "desk lamp", GLM_POOL_LAST, false, last);
	embed(engine, "desk lamp", GLM_POOL_MEAN, true, unit);
	n = states_of(engine, "desk lamp", states);
	assert_in_range(n, 2, 19);
	assert_memory_equal(last, states + (n - 1) * WIDTH, sizeof(last));
	for (int d = 0; d < WIDTH; d++)
	{
		double sum = 0;

		for (int i = 0; i < n; i++)
			sum += states[i * WIDTH + d];
		assert_float_equal(mean[d], (float) (sum / n), 0);
		square += (sum / n) * (sum / n);
	}
	for (int d = 0; d < WIDTH; d++)
		assert_float_equal(unit[d], mean[d] / (float) sqrt(square), 1e-6);
	assert_int_equal(answers[0].last.completion_tokens, 0);
	glm_engine_close(engine);
}

/* ---- The same bits ----------------------------------------------------------------------- */

/* About 700 tokens. */
static const char *
long_text(void)
{
	static char text[4096];

	if (text[0] == '\0')
		for (int i = 0; i < 60; i++)
			sprintf(text + strlen(text), "Order %d: %s lamp. ", i * 37, i % 2 ? "a" : "some desk");
	return text;
}

static void
passes_may_cut_anywhere(void **state)
{
	static const int budget[] = {512, 1, 7, 64, 100, 511};
	glm_engine		*engine = open_engine(2, 4, ROOMY);
	float			 whole[2][WIDTH], cut[WIDTH];
	uint64_t		 steps;

	(void) state;
	for (int i = 0; i < 6; i++)
	{
		glm_engine_set_prefill_budget(engine, budget[i]);
		for (glm_pooling pooling = GLM_POOL_MEAN; pooling <= GLM_POOL_LAST; pooling++)
		{
			steps = stats_of(engine).steps;
			embed(engine, budget[i] == 1 ? TEXT : long_text(), pooling, true, cut);
			steps = stats_of(engine).steps - steps;
			if (i == 0)
				memcpy(whole[pooling], cut, sizeof(cut));
			else if (budget[i] != 1)
				assert_memory_equal(cut, whole[pooling], sizeof(cut));
			if (budget[i] == 512)
				assert_in_range(steps, 1, 3); /* all rows of a pass leave their states */
		}
	}
	glm_engine_close(engine);
}

/* Asks for vectors of four texts, several at a time and beside answers. */
static void
embed_beside(glm_engine *engine, const char *const *texts, float (*alone)[WIDTH])
{
	float beside[WIDTH];
	int	  ticket[16];

	for (int i = 0; i < 16; i++)
	{
		glm_request *req = i % 4 == 3 ? make_request("hello", 20, false)
									  : make_embed(texts[(i * 3) % 4], GLM_POOL_MEAN, true);

		req->scope = i % 3 != 0;
		ticket[i] = submit(engine, req);
	}
	for (int i = 0; i < 16; i++)
	{
		if (i % 4 == 3)
		{
			wait_for(engine, ticket[i]);
			continue;
		}
		take_vector(engine, ticket[i], beside);
		assert_memory_equal(beside, alone[(i * 3) % 4], sizeof(beside));
	}
}

/* And on whatever device: the second has memory of its own, and picks tokens. */
static void
whatever_runs_beside(void **state)
{
	const char *texts[] = {TEXT, long_text(), "a", "lamp lamp lamp lamp"};
	glm_engine *engine = open_engine(2, 8, ROOMY);
	float		alone[4][WIDTH];

	(void) state;
	for (int i = 0; i < 4; i++)
		embed(engine, texts[i], GLM_POOL_MEAN, true, alone[i]);
	embed_beside(engine, texts, alone);
	glm_engine_close(engine);
	engine = open_engine_on(&late_backend, 2, 8, ROOMY, GLM_KV_AUTO);
	embed_beside(engine, texts, alone);
	glm_engine_close(engine);
}

/* An embedding that reads two tokens a pass, beside answers that take its blocks from it. */
static void
preempted_and_pooled_once(void **state)
{
	glm_engine *engine = open_engine(1, 8, ROOMY);
	float		alone[WIDTH], after[WIDTH];
	int			ticket[4];

	(void) state;
	embed(engine, long_text(), GLM_POOL_MEAN, true, alone);
	glm_engine_close(engine);

	for (int scope = 0; scope < 2; scope++)
	{
		glm_request *req = make_embed(long_text(), GLM_POOL_MEAN, true);

		engine = open_engine(1, 8, (size_t) 3 << 20);
		glm_engine_set_prefill_budget(engine, 2);
		hold(engine);
		req->batch = 1;
		req->scope = scope;
		ticket[0] = submit(engine, req);
		wait_arrived(engine, 1);
		for (int i = 1; i < 4; i++)
		{
			req = make_request("hello", 400, false);
			req->temperature = 100;
			req->seed = i;
			req->scope = 0;
			ticket[i] = submit(engine, req);
		}
		wait_arrived(engine, 4);
		glm_engine_set_step_delay(engine, 0);
		take_vector(engine, ticket[0], after);
		assert_memory_equal(after, alone, sizeof(after));
		for (int i = 1; i < 4; i++)
			wait_for(engine, ticket[i]);
		assert_true(stats_of(engine).preemptions > 0);
		assert_int_equal(stats_of(engine).kv_bytes_used, 0);
		glm_engine_close(engine);
	}
}

/* ---- What cannot be ------------------------------------------------------------------------- */

static void
empty_and_long_texts(void **state)
{
	glm_engine	*engine = open_engine(2, 4, ROOMY);
	char		*text = calloc(1, 20001);
	float		 vector[WIDTH];
	glm_request *req;
	answer		*a;

	(void) state;
	a = wait_for(engine, submit(engine, make_embed("", GLM_POOL_MEAN, true)));
	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	assert_int_equal(a->last.status, GLM_BAD_ARGUMENT);
	assert_string_equal(a->message, "argument \"content\" must not be empty");
	memset(text, '?', 20000);
	a = wait_for(engine, submit(engine, make_embed(text, GLM_POOL_MEAN, true)));
	assert_int_equal(a->last.status, GLM_TOO_LONG);
	req = make_embed(text, GLM_POOL_MEAN, true);
	req->truncate = GLM_TRUNCATE_TAIL;
	take_vector(engine, submit(engine, req), vector);
	assert_in_range(answers[0].last.prompt_tokens, 0, 2048);
	free(text);
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pools_mean_and_last),
		cmocka_unit_test(pieces_give_the_same_bits),
		cmocka_unit_test(zeros_stay_and_what_is_not_finite_fails),
		cmocka_unit_test(pools_the_tokens_of_the_text),
		cmocka_unit_test(passes_may_cut_anywhere),
		cmocka_unit_test(whatever_runs_beside),
		cmocka_unit_test(preempted_and_pooled_once),
		cmocka_unit_test(empty_and_long_texts),
	};

	return cmocka_run_group_tests_name("embed", tests, NULL, NULL);
}
