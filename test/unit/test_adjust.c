/*
 * test_adjust.c - penalties and biases: the sampler beside one that is given logits changed
 * by hand, and whole answers beside those that a walk over the model's logits gives.
 */
#include "client.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/adjust.h"
#include "engine/serve/sample.h"
#include "engine/text/decoder.h"
#include "fixtures.h"
#include "late.h"

#define ROOMY ((size_t) 64 << 20)

static uint32_t
random_bits(void)
{
	static uint64_t seed = 11;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t) (seed >> 32);
}

/* ---- By hand ----------------------------------------------------------------------- */

#define IDS 60

/* What is asked for, and what was there. */
typedef struct asked
{
	double repetition, frequency, presence;
	float  bias[1200]; /* by id */
	bool   seen[1200];
	int	   count[1200];
} asked;

static float
changed(const asked *a, int id, float logit)
{
	double x = logit;

	if (a->bias[id] == GLM_BIAS_BAN)
		return -INFINITY;
	if (a->seen[id])
		x = x > 0 ? x / a->repetition : x * a->repetition;
	x = x - a->count[id] * a->frequency - (a->count[id] > 0 ? a->presence : 0) + a->bias[id];
	return (float) x;
}

static void
change(const asked *a, float *out, const float *logits, int n)
{
	for (int i = 0; i < n; i++)
		out[i] = changed(a, i, logits[i]);
}

static glm_request *
make_asked(asked *a, bool repetition)
{
	glm_request *req = make_request("x", 1, false);
	glm_bias	 bias[8];

	memset(a, 0, sizeof(*a));
	a->repetition = req->repetition_penalty = repetition ? 1.4 : 1;
	a->frequency = req->frequency_penalty = (int) (random_bits() % 9) / 2.0 - 2;
	a->presence = req->presence_penalty = (int) (random_bits() % 9) / 2.0 - 2;
	for (int i = 0; i < 8; i++)
	{
		bias[i].token = 7 * i + (int) (random_bits() % 7);
		bias[i].bias = i < 3 ? GLM_BIAS_BAN : (float) (int) (random_bits() % 200) / 20 - 5;
		a->bias[bias[i].token] = bias[i].bias;
	}
	return set_bias(req, bias, 8);
}

/* Picks by a sampler that adjusts, and by one without that is given the changed logits. */
static void
pick_both(glm_sampler *adjusts, glm_sampler *plain, asked *a, uint64_t index)
{
	float	  logits[IDS], raw[IDS], by_hand[IDS], logprob;
	int32_t	  token, expected;
	double	  sum = 0;
	glm_error err = {0};

	for (int i = 0; i < IDS; i++)
	{
		raw[i] = logits[i] = (float) (int32_t) random_bits() * 0x1p-29f;
		sum += exp((double) raw[i]);
	}
	change(a, by_hand, raw, IDS);
	assert_true(glm_sampler_pick(adjusts, logits, index, NULL, &token, &logprob, &err));
	expected = glm_sampler_draw(plain, by_hand, index, NULL);
	assert_int_equal(token, expected);
	assert_true(a->bias[token] != GLM_BIAS_BAN);
	assert_true(fabs(logprob - (raw[token] - log(sum))) < 1e-5);
	a->seen[token] = true;
	a->count[token]++;
}

/* What a pick elsewhere is told, behind a draft that says a token twice and one that has no logit. */
static void
check_described(const glm_sampler *s, asked *a)
{
	static const int32_t draft[] = {7, 30, IDS, 7, -1};
	char				 memory[4096];
	glm_pick_room		 room = {.memory = memory, .bytes = sizeof(memory)};
	glm_pick			 pick;
	asked				 then = *a;
	int					 listed = 0;

	assert_true(glm_sampler_describe(s, 0, false, draft, 5, &room, &pick));
	then.seen[7] = then.seen[30] = true;
	then.count[7] += 2;
	then.count[30]++;
	assert_true(glm_sampler_looks_back(s) ==
				(a->repetition != 1 || a->frequency != 0 || a->presence != 0));
	assert_true((pick.seen != NULL) == (a->repetition != 1));
	for (int i = 0; i < IDS && pick.seen != NULL; i++)
		assert_int_equal(pick.seen[i / 64] >> i % 64 & 1, then.seen[i]);
	assert_true(pick.repetition == a->repetition && pick.frequency == a->frequency &&
				pick.presence == a->presence);
	if (pick.frequency == 0 && pick.presence == 0)
		memset(then.count, 0, sizeof(then.count));
	for (int i = 0; i < IDS; i++)
		listed += then.count[i] > 0 || then.bias[i] != 0;
	assert_int_equal(pick.n_changes, listed);
	for (int i = 0; i < pick.n_changes; i++)
	{
		int id = pick.change[i].id;

		assert_true(pick.change[i].bias == then.bias[id]);
		if (pick.frequency != 0 || pick.presence != 0)
			assert_int_equal(pick.change[i].count, then.count[id]);
		then.count[id] = 0; /* not twice */
		then.bias[id] = NAN;
	}
	room = (glm_pick_room){.memory = memory, .bytes = room.used - 1};
	assert_int_equal(glm_sampler_describe(s, 0, false, draft, 5, &room, &pick),
					 pick.repetition == 1 && listed == 0);
}

static void
test_sampler(void **state)
{
	static asked a;

	(void) state;
	for (int round = 0; round < 40; round++)
	{
		glm_request *req = make_asked(&a, round % 2 == 0);
		glm_request	 bare = {.top_p = 1, .repetition_penalty = 1};
		glm_sampler *adjusts, *plain;

		req->temperature = bare.temperature = round % 4 * 0.5;
		req->top_p = bare.top_p = round % 3 == 0 ? 0.9 : 1;
		req->top_k = bare.top_k = round % 5 == 0 ? 20 : 0;
		req->min_p = bare.min_p = round % 7 == 0 ? 0.01 : 0;
		req->seed = bare.seed = (uint64_t) round;
		adjusts = glm_sampler_open(req, IDS);
		plain = glm_sampler_open(&bare, IDS);
		/* of the prompt: for the repetition penalty alone */
		glm_sampler_read(adjusts, 5);
		a.seen[5] = true;
		glm_sampler_advance(adjusts, 9);
		a.seen[9] = true;
		a.count[9]++;
		for (uint64_t i = 0; i < 100; i++)
		{
			pick_both(adjusts, plain, &a, i);
			check_described(adjusts, &a);
		}
		glm_sampler_close(adjusts);
		glm_sampler_close(plain);
		free(req);
	}
}

/* Masks come first: a banned token does not come because no other is allowed. */
static void
test_mask_of_banned(void **state)
{
	const glm_bias ban[] = {{2, GLM_BIAS_BAN}, {3, GLM_BIAS_BAN}};
	uint64_t	   both = 3 << 2, more = 7 << 2;
	float		   logits[IDS] = {0};
	glm_request	  *req = set_bias(make_request("x", 1, false), ban, 2);
	glm_sampler	  *s;
	glm_error	   err = {0};

	(void) state;
	for (int hot = 0; hot < 2; hot++)
	{
		req->temperature = hot;
		s = glm_sampler_open(req, IDS);
		assert_true(glm_sampler_begin(s, logits, false, &err));
		assert_int_equal(glm_sampler_draw(s, logits, 0, &more), 4);
		assert_int_equal(glm_sampler_draw(s, logits, 1, &both), -1);
		glm_sampler_close(s);
		memset(logits, 0, sizeof(logits));
	}
	free(req);
}

/* ---- What is refused ------------------------------------------------------------------- */

static void
test_refused(void **state)
{
	const glm_bias	one = {IDS, 1}, negative = {-1, 1}, large = {1, 100.5f}, none = {1, NAN};
	static glm_bias all[GLM_BIAS_MAX + 1];
	glm_request	   *req;
	glm_error		err = {0};

	(void) state;
	req = set_bias(make_request("x", 1, false), &one, 1);
	assert_true(glm_request_check(req, req->size, &err));
	assert_true(glm_adjust_check(req, IDS + 1, &err));
	assert_false(glm_adjust_check(req, IDS, &err));
	assert_non_null(strstr(err.message, "token 60, but the model has 0 to 59"));
	free(req);
	req = set_bias(make_request("x", 1, false), &negative, 1);
	assert_false(glm_adjust_check(req, IDS, &err));
	free(req);
	for (int i = 0; i < 2; i++)
	{
		req = set_bias(make_request("x", 1, false), i == 0 ? &large : &none, 1);
		assert_false(glm_request_check(req, req->size, &err));
		assert_int_equal(err.status, GLM_BAD_ARGUMENT);
		free(req);
	}
	for (int i = 0; i <= GLM_BIAS_MAX; i++)
		all[i] = (glm_bias){i, GLM_BIAS_BAN};
	req = set_bias(make_request("x", 1, false), all, GLM_BIAS_MAX + 1);
	assert_false(glm_request_check(req, req->size, &err));
	free(req);
	req = set_bias(make_request("x", 1, false), all, 10);
	assert_false(glm_adjust_check(req, 10, &err));
	all[9].bias = -99;
	memcpy((char *) req + req->bias.offset, all, 10 * sizeof(*all));
	assert_true(glm_adjust_check(req, 10, &err));
	free(req);
	for (int i = 0; i < 4; i++)
	{
		static const double bad[] = {2.01, -2.01, NAN, INFINITY};

		req = make_request("x", 1, false);
		req->frequency_penalty = bad[i];
		assert_false(glm_request_check(req, req->size, &err));
		req->frequency_penalty = 0;
		req->presence_penalty = bad[i];
		assert_false(glm_request_check(req, req->size, &err));
		free(req);
	}
}

/* ---- Whole answers ------------------------------------------------------------------------ */

#define LENGTH 40
#define REQUESTS 24

static const char *const prompts[] = {"lamp lamp lamp lamp lamp lamp lamp lamp",
									  "Please ship 12 desk lamps to Berlin. Please ship"};

/* Request number i, raw, and what it asks for. */
static glm_request *
make_numbered(asked *a, int i)
{
	glm_request *req = make_request(prompts[i % 2], LENGTH, i % 3 == 0);
	glm_bias	 bias[40];

	memset(a, 0, sizeof(*a));
	req->form = GLM_RAW;
	a->repetition = req->repetition_penalty = i % 4 == 0 ? 1.2 : 1;
	a->frequency = req->frequency_penalty = (i % 5 - 1) * 0.4;
	a->presence = req->presence_penalty = (i % 3) * 0.5;
	for (int k = 0; k < 40; k++)
	{
		bias[k].token = 3 + 25 * k + i;
		bias[k].bias = k % 3 == 0 ? GLM_BIAS_BAN : (float) (k % 7 - 3);
		a->bias[bias[k].token] = bias[k].bias;
	}
	return i % 6 == 5 ? req : set_bias(req, bias, 40);
}

/* The token behind these by the model's logits, changed by hand. */
static int32_t
next_of(glm_engine *engine, const glm_ids *ids, const asked *a)
{
	const answer *found =
		wait_for(engine, submit(engine, make_for_tokens(GLM_LOGITS, ids->data, (int) ids->length)));
	int		n_ids = glm_tokenizer_size(fx_tok);
	float	best = -INFINITY;
	int32_t token = -1;

	assert_int_equal(found->last.kind, GLM_EVENT_DONE);
	assert_true(found->length >= (size_t) n_ids * sizeof(float));
	for (int32_t i = 0; i < n_ids; i++)
	{
		float logit;

		memcpy(&logit, found->text + (size_t) i * sizeof(float), sizeof(logit));
		logit = changed(a, i, logit);
		if (token < 0 || logit > best)
		{
			best = logit;
			token = i;
		}
	}
	return token;
}

/* The answer that a walk over the logits gives. */
static void
walk(glm_engine *engine, int i, char *text)
{
	static asked a;
	glm_request *req = make_numbered(&a, i);
	glm_decoder *decoder = glm_decoder_open(fx_tok, NULL, NULL, 0);
	glm_ids		 ids = {0};
	glm_buf		 out = {0};
	glm_error	 err = {0};
	bool		 stopped;

	if (i % 6 == 5)
		memset(a.bias, 0, sizeof(a.bias));
	assert_true(glm_ids_add(&ids, glm_tokenizer_special(fx_tok, "[gMASK]"), &err));
	assert_true(glm_ids_add(&ids, glm_tokenizer_special(fx_tok, "sop"), &err));
	assert_true(glm_tokenizer_encode(fx_tok, prompts[i % 2], strlen(prompts[i % 2]), &ids, &err));
	for (size_t k = 0; k < ids.length; k++)
		a.seen[ids.data[k]] = true;
	for (int k = 0; k < LENGTH; k++)
	{
		int32_t		token = next_of(engine, &ids, &a);
		const char *name = glm_tokenizer_name(fx_tok, token);

		if (name != NULL && (strcmp(name, "<|user|>") == 0 || strcmp(name, "<|observation|>") == 0))
			break;
		if (name == NULL && token == 2) /* </s> */
			break;
		a.seen[token] = true;
		a.count[token]++;
		assert_true(glm_decoder_push(decoder, token, &out, &stopped));
		assert_true(glm_ids_add(&ids, token, &err));
	}
	assert_true(glm_decoder_finish(decoder, &out));
	assert_true(out.length < 1024);
	memcpy(text, out.data, out.length);
	text[out.length] = '\0';
	glm_decoder_close(decoder);
	glm_buf_free(&out);
	glm_ids_free(&ids);
	free(req);
}

static void
answer_all(const glm_backend *device, glm_speculation speculation, int at_a_time,
		   char expected[REQUESTS][1024])
{
	glm_engine	*engine = open_engine_on(device, 2, at_a_time, ROOMY, GLM_KV_AUTO);
	static asked a;
	int			 ticket[REQUESTS];

	glm_engine_set_speculation(engine, speculation);
	for (int i = 0; i < REQUESTS; i += at_a_time)
	{
		for (int j = i; j < i + at_a_time && j < REQUESTS; j++)
			ticket[j] = submit(engine, make_numbered(&a, j));
		for (int j = i; j < i + at_a_time && j < REQUESTS; j++)
		{
			while (!answers[ticket[j]].ended)
			{
				for (int k = i; k < i + at_a_time && k < REQUESTS; k++)
					glm_engine_taken(engine, ticket[k], answers[ticket[k]].tokens);
				pump(engine, 1);
			}
			assert_int_equal(answers[ticket[j]].last.kind, GLM_EVENT_DONE);
			assert_string_equal(answers[ticket[j]].text, expected[j]);
		}
	}
	glm_engine_close(engine);
}

static void
test_answers(void **state)
{
	static char expected[REQUESTS][1024];
	glm_engine *engine = open_engine(2, 4, ROOMY);
	int			different = 0;

	(void) state;
	for (int i = 0; i < REQUESTS; i++)
	{
		walk(engine, i, expected[i]);
		different += i > 1 && strcmp(expected[i], expected[i - 2]) != 0;
	}
	glm_engine_close(engine);
	assert_true(different > REQUESTS / 2);
	answer_all(NULL, GLM_SPECULATE_OFF, 1, expected);
	answer_all(NULL, GLM_SPECULATE_ALWAYS, 8, expected);
	answer_all(&late_picker, GLM_SPECULATE_ALWAYS, 3, expected);
}

/* An id that the model has not is refused where the model is known. */
static void
test_unknown_token(void **state)
{
	const glm_bias bias = {70000, 1};
	glm_engine	  *engine = open_engine(1, 1, ROOMY);
	const answer  *a =
		wait_for(engine, submit(engine, set_bias(make_request("hello", 5, false), &bias, 1)));

	(void) state;
	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	assert_int_equal(a->last.status, GLM_BAD_ARGUMENT);
	assert_non_null(strstr(a->message, "70000"));
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sampler),		  cmocka_unit_test(test_mask_of_banned),
		cmocka_unit_test(test_refused),		  cmocka_unit_test(test_answers),
		cmocka_unit_test(test_unknown_token),
	};

	return cmocka_run_group_tests_name("adjust", tests, fx_open_tokenizer, fx_close_tokenizer);
}
