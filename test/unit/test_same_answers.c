/*
 * test_same_answers.c - a request's answer depends on the request alone.
 *
 * REQUESTS made-up requests (greedy and sampled, streams and not, prompts that
 * begin alike, stop strings, penalties) are answered one by one by an engine
 * without cache and speculation.  Then again under every other condition, in a
 * shuffled order, many at a time: all must be equal to the first, byte for byte;
 * of streams the ids and log probabilities, bit for bit.  Each condition also
 * shows that it was one: blocks were found, drafts came true, sequences gave way.
 * All of it with keys and values in fp32, and some of it in int8.
 */
#include "client.h"
#include "late.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS 240
#define AT_A_TIME 50

typedef struct condition
{
	const char		  *name;
	int				   threads;
	int				   at_a_time;
	size_t			   kv_mb;
	int				   prefill_budget; /* 0: another one now and then */
	glm_speculation	   speculation;
	bool			   unshared;
	bool			   slow;	  /* streams are read late */
	bool			   disturbed; /* others come and are cancelled */
	int				   rounds;	  /* the second finds what the first left */
	/* that computes when it is waited for; NULL: the CPU */
	const glm_backend *device;
} condition;

static const condition alone = {"alone",		  1,		  1, 64, 512, GLM_SPECULATE_OFF,
								.unshared = true, .rounds = 1};

static const condition conditions[] = {
	{"among 50", 2, AT_A_TIME, 64, 256, GLM_SPECULATE_OFF, .unshared = true, .rounds = 1},
	{"cache cold and warm", 2, AT_A_TIME, 64, 256, GLM_SPECULATE_OFF, .rounds = 2},
	{"one by one, all on", 1, 1, 64, 256, GLM_SPECULATE_AUTO, .rounds = 1},
	{"budget 1", 2, AT_A_TIME, 64, 1, GLM_SPECULATE_AUTO, .rounds = 1},
	{"budgets that change", 3, AT_A_TIME, 64, 0, GLM_SPECULATE_ALWAYS, .rounds = 1},
	{"drafts always", 2, 8, 64, 512, GLM_SPECULATE_ALWAYS, .rounds = 1},
	{"drafts always, nothing shared", 2, 3, 64, 64, GLM_SPECULATE_ALWAYS, .unshared = true,
	 .rounds = 1},
	{"small pool", 2, AT_A_TIME, 2, 64, GLM_SPECULATE_AUTO, .rounds = 1},
	{"small pool, nothing shared", 2, AT_A_TIME, 2, 256, GLM_SPECULATE_OFF, .unshared = true,
	 .rounds = 1},
	{"late device", 2, AT_A_TIME, 64, 256, GLM_SPECULATE_ALWAYS, .rounds = 2,
	 .device = &late_backend},
	{"late device, small pool", 1, AT_A_TIME, 2, 64, GLM_SPECULATE_AUTO, .rounds = 1,
	 .device = &late_backend},
	{"late device that picks", 2, AT_A_TIME, 64, 256, GLM_SPECULATE_ALWAYS, .rounds = 1,
	 .device = &late_picker},
	{"late device that goes ahead, small pool", 1, 6, 1, 64, GLM_SPECULATE_OFF, .rounds = 2,
	 .device = &late_picker},
	{"late device that goes ahead", 1, 2, 64, 256, GLM_SPECULATE_OFF, .rounds = 1,
	 .device = &late_picker},
	{"late device that goes ahead, slow readers, others cancelled", 1, 4, 3, 64, GLM_SPECULATE_OFF,
	 .slow = true, .disturbed = true, .rounds = 2, .device = &late_picker},
	{"slow readers, others cancelled", 2, AT_A_TIME, 3, 0, GLM_SPECULATE_ALWAYS, .slow = true,
	 .disturbed = true, .rounds = 2},
};

#define N_CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

/* What one request was answered. */
typedef struct expected
{
	char	 text[4096];
	uint64_t digest;
	int		 completion_tokens;
} expected;

static expected	   first[REQUESTS];
static glm_kv_type kv_type;
static uint64_t	   state;

static unsigned
draw(unsigned below)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned) (state >> 33) % below;
}

/* ---- Requests ------------------------------------------------------------------ */

static const char *const beginnings[] = {
	"",
	"Please ship 12 desk lamps to Berlin. ",
	"A review of a desk lamp follows. The lamp came late, the box was open, and the switch is "
	"hard to find in the dark, but the light is warm and it stands well on a small table. ",
	"你好,请问你是谁?",
	"lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp "
	"lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp ",
};

static const char *const ends[] = {
	"Who are you?", "Order 3 red chairs for Paris.", "北京今天天气怎么样",
	"hello",		"The screen is great",			 "lamp lamp",
};

/* Request number i, always the same. */
static glm_request *
make_numbered(int i, const condition *c)
{
	char		 prompt[1024];
	glm_request *req;

	state = (uint64_t) i * 977 + 5;
	draw(2);
	snprintf(prompt, sizeof(prompt), "%s%s %u", beginnings[draw(5)], ends[draw(6)], draw(4));
	req = make_request(prompt, 1 + (int) draw(90), i % 2);
	req->form = draw(3) == 0 ? GLM_RAW : GLM_PROMPT;
	req->temperature = draw(2) * draw(5) * 0.5;
	req->top_p = draw(3) == 0 ? 0.7 : 1;
	req->top_k = draw(4) == 0 ? 20 : 0;
	req->seed = draw(1000);
	req->repetition_penalty = draw(4) == 0 ? 1.3 : 1;
	req->frequency_penalty = draw(8) == 0 ? 0.4 : 0;
	req->presence_penalty = draw(8) == 0 ? -0.3 : 0;
	req->logprobs = draw(3) == 0 ? (uint8_t) (1 + draw(2) * draw(6)) : 0;
	req->batch = draw(2);
	req->tenant = draw(3);
	if (draw(4) == 0)
		set_stop(req, "e");
	req->scope = c->unshared || draw(10) == 0 ? 0 : 1 + draw(2);
	return req;
}

/* ---- Running them ----------------------------------------------------------------- */

typedef struct run
{
	const condition *condition;
	glm_engine		*engine;
	int				 ticket[REQUESTS]; /* -1: not submitted yet, -2: done */
	int				 order[REQUESTS];
	int				 submitted;
	int				 running;
	uint64_t		 random; /* of the run, not of its requests */
} run;

static void
shuffle(run *r)
{
	state = r->random;
	for (int i = 0; i < REQUESTS; i++)
		r->order[i] = i;
	for (int i = REQUESTS - 1; i > 0; i--)
	{
		int j = (int) draw((unsigned) i + 1);
		int swap = r->order[i];

		r->order[i] = r->order[j];
		r->order[j] = swap;
	}
	r->random = state;
}

static void
compare(const run *r, int i)
{
	const answer *a = &answers[r->ticket[i]];

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s: request %d failed: %s", r->condition->name, i, a->message);
	assert_true(a->last.cached_tokens < a->last.prompt_tokens);
	if (r->condition == &alone)
	{
		strcpy(first[i].text, a->text);
		first[i].digest = a->digest;
		first[i].completion_tokens = a->last.completion_tokens;
	}
	if (strcmp(a->text, first[i].text) != 0 || a->digest != first[i].digest ||
		a->last.completion_tokens != first[i].completion_tokens)
		fail_msg("%s: request %d gives \"%s\", alone \"%s\"", r->condition->name, i, a->text,
				 first[i].text);
}

/* Takes the answers that are complete, before their tickets are used again. */
static bool
collect(run *r)
{
	bool any = false;

	for (int i = 0; i < REQUESTS; i++)
	{
		if (r->ticket[i] < 0 || !answers[r->ticket[i]].ended)
			continue;
		compare(r, i);
		r->ticket[i] = -2;
		r->running--;
		any = true;
	}
	return any;
}

/* Somebody who changes his mind. */
static void
disturb(run *r)
{
	glm_request *req = make_request("lamp lamp lamp lamp lamp lamp", 200, true);
	int			 ticket;

	req->temperature = 100;
	ticket = submit(r->engine, req);
	pump(r->engine, 0);
	glm_engine_cancel(r->engine, ticket);
	wait_for(r->engine, ticket);
	collect(r);
}

static void
submit_some(run *r)
{
	while (r->submitted < REQUESTS && r->running < r->condition->at_a_time)
	{
		int i = r->order[r->submitted++];

		r->ticket[i] = submit(r->engine, make_numbered(i, r->condition));
		r->running++;
	}
	if (r->condition->prefill_budget == 0)
		glm_engine_set_prefill_budget(r->engine, 1 + r->submitted * 7 % 100);
	if (r->condition->disturbed && r->submitted % 5 == 0)
		disturb(r);
}

static void
read_some(run *r)
{
	pump(r->engine, 0);
	if (!collect(r))
		pump(r->engine, 1);
	collect(r);
	for (int i = 0; i < REQUESTS; i++)
	{
		int ticket = r->ticket[i];

		if (ticket >= 0 && (!r->condition->slow || answers[ticket].tokens % GLM_OUTBOX == 0))
			glm_engine_taken(r->engine, ticket, answers[ticket].tokens);
	}
}

static void
run_all(run *r)
{
	for (int round = 0; round < r->condition->rounds; round++)
	{
		shuffle(r);
		for (int i = 0; i < REQUESTS; i++)
			r->ticket[i] = -1;
		r->submitted = 0;
		while (r->submitted < REQUESTS || r->running > 0)
		{
			submit_some(r);
			read_some(r);
		}
	}
}

/* ---- What shows that the condition was met ------------------------------------------- */

static void
check_figures(const condition *c, const glm_stats *stats, const glm_model_info *model)
{
	assert_int_equal(stats->kv_bytes_used, 0);
	assert_int_equal(stats->running + stats->waiting, 0);
	assert_int_equal(stats->completed, (uint64_t) REQUESTS * c->rounds);
	if (c->unshared)
		assert_int_equal(stats->cached_tokens + stats->kv_bytes_cached, 0);
	else
		assert_true(stats->cached_tokens > 1000);
	if (c->speculation == GLM_SPECULATE_OFF)
		assert_int_equal(model->draft_tokens, 0);
	if (c->speculation == GLM_SPECULATE_ALWAYS)
		assert_true(model->accepted_tokens > 200);
	if (c->kv_mb < 3)
		assert_true(stats->preemptions > 0);
	if (c->device != NULL)
		assert_true(late_count().reads > 100);
	if (c->device != &late_picker)
		assert_int_equal(stats->followed, 0);
	if (c->device == &late_picker)
	{
		assert_true(late_count().picks > 200);
		/* of so many, or where they wait for blocks, there is nearly always one for whom another
		   pass is planned */
		assert_true(stats->followed > 10 || c->at_a_time == AT_A_TIME || c->kv_mb < 3);
	}
	else if (c->device != NULL)
		assert_int_equal(late_count().picks, 0);
}

static void
run_condition(const condition *c)
{
	run			   r = {.condition = c, .random = 11};
	glm_stats	   stats;
	glm_model_info model;

	r.engine = open_engine_on(c->device, c->threads, c->at_a_time, c->kv_mb << 20, kv_type);
	glm_engine_set_prefill_budget(r.engine, c->prefill_budget == 0 ? 64 : c->prefill_budget);
	glm_engine_set_speculation(r.engine, c->speculation);
	run_all(&r);
	stats = stats_of(r.engine);
	assert_int_equal(glm_engine_models(r.engine, &model, 1), 1);
	print_message("    %s: %llu cached, %llu of %llu drafts right, %llu preempted, "
				  "%llu of %llu passes followed\n",
				  c->name, (unsigned long long) stats.cached_tokens,
				  (unsigned long long) model.accepted_tokens,
				  (unsigned long long) model.draft_tokens, (unsigned long long) stats.preemptions,
				  (unsigned long long) stats.followed, (unsigned long long) stats.steps);
	check_figures(c, &stats, &model);
	glm_engine_close(r.engine);
}

static void
same_under_all_conditions(void **unused)
{
	(void) unused;
	run_condition(&alone);
	for (size_t i = 0; i < N_CONDITIONS; i++)
		run_condition(&conditions[i]);
}

static void
same_with_int8_keys_and_values(void **unused)
{
	int		  others = 0;
	expected *before = malloc(sizeof(first));

	(void) unused;
	assert_non_null(before);
	memcpy(before, first, sizeof(first));
	kv_type = GLM_KV_INT8;
	run_condition(&alone);
	for (int i = 0; i < REQUESTS; i++)
		others += strcmp(before[i].text, first[i].text) != 0 || before[i].digest != first[i].digest;
	assert_true(others > 0); /* they were int8 */
	free(before);
	for (size_t i = 1; i < N_CONDITIONS; i += 3)
		run_condition(&conditions[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_under_all_conditions),
		cmocka_unit_test(same_with_int8_keys_and_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
