/*
 * test_device_picks.c - tokens that the device picks, by whatever is asked for: the CPU's, bit for
 * bit, and only they come home.
 *
 *     test_device_picks [DEVICE]    cuda:0, or several that have a part of the model each
 */
#include <stdio.h>
#include <string.h>

#include "mock.h"

#define REQUESTS 12
#define TOKENS 10
#define PICKED_BYTES 32			/* that come home of a row that was picked, or left */
#define LOGITS_BYTES (1024 * 4) /* and of one whose logits are wanted */
#define PART                                                                                       \
	((size_t) 527 << 20) /* room for some layers of the embedded model, and other processes */

static const char *devices = "cuda:0";
static bool		   graphs; /* passes may be such */

typedef struct kept_answer
{
	char	 text[1024];
	uint64_t digest;
	int		 tokens;
} kept_answer;

/* ---- What is asked for ---------------------------------------------------------------- */

/* Tokens that come often are banned, or made more likely still. */
static glm_request *
with_bias(glm_request *req)
{
	glm_bias bias[60];

	for (int32_t i = 0; i < 60; i++)
		bias[i] = (glm_bias){16 * i + 3, i % 4 == 0 ? GLM_BIAS_BAN : (float) (i % 7) - 2.5f};
	return set_bias(req, bias, 60);
}

/* Penalties and biases, alone and together, and nothing; of some drafts are right for long. */
static glm_request *
make_numbered(int i)
{
	glm_request *req = make_request(i % 3 == 0 ? "lamp lamp lamp lamp lamp lamp lamp"
											   : "Order 3 red chairs for Paris.",
									TOKENS, i % 2 == 0);

	req->temperature = i % 3 == 0 ? 0 : 0.5 + i % 5;
	req->top_k = i % 5 == 1 ? 1 + 2 * i : 0;
	req->top_p = i % 4 == 1 ? 0.9 : 1;
	req->min_p = i % 7 == 1 ? 0.02 : 0;
	req->repetition_penalty = i % 4 == 1 || i % 9 == 0 ? 1.25 : 1;
	req->frequency_penalty = i % 4 == 2 ? 0.4 : 0;
	req->presence_penalty = i % 4 == 2 || i % 6 == 5 ? -0.7 : 0;
	req->logprobs = i % 3 == 1;
	req->seed = (uint64_t) i * UINT64_C(0x9e3779b97f4a7c15);
	req->scope = 1;
	return i % 4 == 3 || i % 6 == 2 ? with_bias(req) : req;
}

/* Answers that have to be something: most of what is picked may come, or the mask goes along. */
static glm_request *
make_constrained(int i)
{
	static const struct
	{
		glm_constraint_kind kind;
		const char		   *text;
	} constraints[] = {
		{GLM_CHOICES, "[\"a red chair\", \"a red lamp\", \"two tables\", \"positive\"]"},
		{GLM_REGEX, "^[A-Z]{2}-[0-9]{3}( +x|yy)?$"},
		{GLM_JSON_SCHEMA, "{\"type\": \"array\", \"minItems\": 2, \"maxItems\": 3, \"items\": "
						  "{\"type\": \"boolean\"}}"},
		{GLM_JSON_SCHEMA, "{\"type\": \"number\", \"minimum\": -7.5, \"maximum\": 1e6}"},
	};
	glm_request *req = make_numbered(i);

	req->max_tokens = 30;
	req->stream = false; /* nobody takes so many */
	return constrain(req, constraints[i / 3 % 4].kind, constraints[i / 3 % 4].text);
}

/* Of one the likeliest tokens are wanted too. */
static glm_request *
make_with_likeliest(int i)
{
	glm_request *req = make_numbered(i);

	req->logprobs = i == 4 ? 4 : 0;
	return req;
}

/* ---- Both engines --------------------------------------------------------------------- */

/* So many at a time: emulated devices take longer from pass to pass, see gpu_wait.c. */
static void
answer_all(glm_engine *engine, glm_request *(*make)(int i), int at_a_time, kept_answer *kept)
{
	int ticket[REQUESTS];

	for (int i = 0; i < REQUESTS; i += at_a_time)
	{
		for (int j = i; j < i + at_a_time; j++)
			ticket[j] = submit(engine, make(j));
		for (int j = i; j < i + at_a_time; j++)
		{
			const answer *a = mock_await(engine, ticket[j]);

			if (a->last.kind != GLM_EVENT_DONE)
				fail_msg("request %d: %s", j, a->message);
			snprintf(kept[j].text, sizeof(kept[j].text), "%.1023s", a->text);
			kept[j].digest = a->digest;
			kept[j].tokens = a->last.completion_tokens;
		}
	}
}

static glm_engine *
open_on(const char *device, glm_speculation speculation)
{
	glm_config	config = mock_config(device, false);
	glm_engine *engine;

	config.max_sequences = REQUESTS;
	config.max_queue = REQUESTS;
	engine = mock_engine(&config);
	glm_engine_set_speculation(engine, speculation);
	glm_engine_set_tuning(engine, graphs); /* one that is proved has all come home */
	return engine;
}

/* The CPU's, one by one and without drafts; then all at once on the device. */
static void
check_answers(glm_request *(*make)(int i), glm_speculation speculation, kept_answer *kept)
{
	kept_answer	   expected[REQUESTS];
	glm_engine	  *engine = open_on("cpu", GLM_SPECULATE_OFF);
	glm_model_info model;
	glm_stats	   stats;

	answer_all(engine, make, 1, expected);
	glm_engine_close(engine);
	engine = open_on(devices, speculation);
	/* what a device is asked when a model is loaded comes home before */
	mock_await(engine, submit(engine, make_request("x", 1, false)));
	mock_fault("");
	answer_all(engine, make, REQUESTS, kept);
	for (int i = 0; i < REQUESTS; i++)
	{
		assert_string_equal(kept[i].text, expected[i].text);
		assert_int_equal(kept[i].digest, expected[i].digest);
	}
	print_message("    %ld rows picked, %ld bytes came home\n", mock_calls("picked"),
				  mock_calls("home"));
	assert_true(mock_calls("picked") >= REQUESTS * TOKENS / 2);
	stats = stats_of(engine);
	for (int d = 0; d < stats.n_devices; d++)
		assert_int_equal(stats.device_use[d].models, 1);
	assert_int_equal(glm_engine_models(engine, &model, 1), 1);
	assert_int_equal(model.accepted_tokens > 0, speculation == GLM_SPECULATE_ALWAYS);
	glm_engine_close(engine);
}

/* ---- Picks ---------------------------------------------------------------------------- */

/* All kinds of penalties and biases in one pass: ids alone come home. */
static void
test_mixed(void **state)
{
	kept_answer kept[REQUESTS];

	(void) state;
	check_answers(make_numbered, GLM_SPECULATE_OFF, kept);
	assert_int_equal(mock_calls("home"), mock_calls("picked") * PICKED_BYTES);
}

static void
test_drafts(void **state)
{
	kept_answer kept[REQUESTS];

	(void) state;
	check_answers(make_numbered, GLM_SPECULATE_ALWAYS, kept);
	assert_int_equal(mock_calls("home"), mock_calls("picked") * PICKED_BYTES);
}

/* What picks depend on is part of passes that are graphs, which are made and launched meanwhile. */
static void
test_graphs(void **state)
{
	kept_answer kept[REQUESTS];

	(void) state;
	graphs = true;
	check_answers(make_numbered, GLM_SPECULATE_OFF, kept);
	graphs = false;
	assert_true(mock_calls("cuGraphLaunch") > 1);
}

/* Whose logits are wanted has his come home, and nobody else. */
static void
test_likeliest(void **state)
{
	kept_answer kept[REQUESTS];

	(void) state;
	check_answers(make_with_likeliest, GLM_SPECULATE_OFF, kept);
	assert_int_equal(mock_calls("home"),
					 mock_calls("picked") * PICKED_BYTES + (long) kept[4].tokens * LOGITS_BYTES);
}

/* Logits come home where an id is refused, and of tokens that are told without being drawn. */
static void
test_constrained(void **state)
{
	kept_answer kept[REQUESTS];
	long		logits;

	(void) state;
	check_answers(make_constrained, GLM_SPECULATE_ALWAYS, kept);
	logits = mock_calls("home") - mock_calls("picked") * PICKED_BYTES;
	assert_int_equal(logits % LOGITS_BYTES, 0);
	assert_true(logits > 0 && logits < mock_calls("picked") * LOGITS_BYTES);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mixed),		cmocka_unit_test(test_drafts),
		cmocka_unit_test(test_graphs),		cmocka_unit_test(test_likeliest),
		cmocka_unit_test(test_constrained),
	};

	if (argc > 1)
		devices = argv[1];
	mock_devices(2);
	mock_backend();
	if (strchr(devices, ',') != NULL)
		mock_room(PART);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
