/*
 * test_constrained.c - answers that have to be something are that, and the same whatever
 * else is computed.
 *
 * REQUESTS requests for texts of a list, for what patterns match and for JSON are answered
 * one by one without cache and drafts, and again under other conditions, many at a time.
 * Each answer is looked at for what it had to be, and must equal the first byte for byte,
 * of streams the ids and log probabilities too.
 */
#include "client.h"
#include "late.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"

#define REQUESTS 120

/* ---- What answers have to be ------------------------------------------------------ */

typedef struct constraint
{
	glm_constraint_kind kind;
	const char		   *text;
} constraint;

static const constraint constraints[] = {
	{GLM_CHOICES, "[\"positive\", \"negative\", \"neutral\"]"},
	{GLM_CHOICES, "[\"a desk lamp\", \"a desk\", \"a red chair\", \" a table \"]"},
	{GLM_CHOICES, "[\"正面\", \"负面\", \"正常\"]"},
	{GLM_CHOICES, "[\"the only answer there is, which nobody has to draw\"]"},
	{GLM_CHOICES, "[\"order 12 of 2026: a lamp for Berlin\", \"order 12 of 2025: two chairs\"]"},
	{GLM_CHOICES, "[\" \", \"\\n\", \"x\\n\\n\"]"},
	{GLM_REGEX, "^[A-Z]{2}-[0-9]{3}( +x|yy)?$"},
	{GLM_REGEX, "^(lamp|desk|table){1,4} *$"},
	{GLM_TOOL_CALL, "[{\"name\": \"get_weather\", \"parameters\": {\"type\": \"object\", "
					"\"properties\": {\"city\": {\"type\": \"string\", \"maxLength\": 9}}, "
					"\"required\": [\"city\"], \"additionalProperties\": false}}, "
					"{\"name\": \"get_time\", \"parameters\": {\"type\": \"object\", "
					"\"additionalProperties\": false}}]"},
	{GLM_JSON_OBJECT, ""},
	{GLM_JSON_SCHEMA, "{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\", "
					  "\"maxLength\": 12}, \"count\": {\"type\": \"integer\", \"minimum\": 1, "
					  "\"maximum\": 40}, \"color\": {\"enum\": [\"red\", \"green\", \"blue\"]}}, "
					  "\"required\": [\"city\", \"count\", \"color\"], "
					  "\"additionalProperties\": false}"},
	{GLM_JSON_SCHEMA, "{\"type\": \"array\", \"minItems\": 2, \"maxItems\": 5, \"items\": "
					  "{\"type\": \"boolean\"}}"},
	{GLM_JSON_SCHEMA, "{\"type\": \"number\", \"minimum\": -7.5, \"maximum\": 1e6}"},
};

#define N_CONSTRAINTS (sizeof(constraints) / sizeof(constraints[0]))

static bool
is_choice(const char *text, const char *list)
{
	json_t *choices = json_loads(list, 0, NULL);
	json_t *choice;
	size_t	i;
	bool	found = false;

	json_array_foreach(choices, i, choice)
		found = found || strcmp(json_string_value(choice), text) == 0;
	json_decref(choices);
	return found;
}

static bool
is_match(const char *text, const char *pattern)
{
	regex_t compiled;
	bool	found;

	assert_int_equal(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
	found = regexec(&compiled, text, 0, NULL, 0) == 0;
	regfree(&compiled);
	return found;
}

/* A line with a name, then the object that this tool takes. */
static bool
is_call(const char *text)
{
	static const char *const opening[] = {"get_weather\n{\"city\": \"", "get_time\n{}"};

	if (strcmp(text, opening[1]) == 0)
		return true;
	return strncmp(text, opening[0], strlen(opening[0])) == 0 &&
		   is_match(strchr(text, '\n') + 1, "^[{]\"city\": \".*\"[}]$");
}

/* Is it JSON, and what these schemas ask for? */
static bool
is_json(const char *text, const constraint *c)
{
	/* jansson has no long integers */
	size_t		flags = c->kind == GLM_JSON_OBJECT ? JSON_DECODE_INT_AS_REAL : 0;
	json_t	   *value = json_loads(text, flags | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	const char *color = json_string_value(json_object_get(value, "color"));
	json_int_t	count = json_integer_value(json_object_get(value, "count"));
	size_t		n = json_array_size(value);
	bool		good = json_is_object(value);

	if (strstr(c->text, "city") != NULL)
		good = json_object_size(value) == 3 && json_is_string(json_object_get(value, "city")) &&
			   color != NULL && strstr(c->text, color) != NULL && count >= 1 && count <= 40;
	else if (strstr(c->text, "boolean") != NULL)
		good = n >= 2 && n <= 5 && json_is_boolean(json_array_get(value, n - 1));
	else if (strstr(c->text, "number") != NULL)
		good = json_is_number(value);
	json_decref(value);
	return good;
}

static bool
is_what_it_has_to_be(const char *text, const constraint *c)
{
	switch (c->kind)
	{
		case GLM_CHOICES:
			return is_choice(text, c->text);
		case GLM_REGEX:
			return is_match(text, c->text);
		case GLM_TOOL_CALL:
			return is_call(text);
		default:
			return is_json(text, c);
	}
}

/* ---- Requests ----------------------------------------------------------------------- */

static uint64_t state;

static unsigned
draw(unsigned below)
{
	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned) (state >> 33) % below;
}

static glm_request *
make_numbered(int i, bool unshared)
{
	static const char *const prompts[] = {"The lamp came late.", "A red chair for Paris, please.",
										  "你好", "desk lamp desk lamp desk lamp desk lamp"};
	const constraint		*c = &constraints[i % N_CONSTRAINTS];
	glm_request				*req;

	state = (uint64_t) i * 977 + 5;
	draw(2);
	req = make_request(prompts[draw(4)], 60 + (int) draw(60), draw(2));
	req->form = draw(3) == 0 ? GLM_RAW : GLM_PROMPT;
	req->temperature = draw(3) * 0.75;
	req->top_p = draw(3) == 0 ? 0.7 : 1;
	req->top_k = draw(4) == 0 ? 20 : 0;
	req->min_p = draw(6) == 0 ? 0.05 : 0;
	req->seed = draw(1000);
	req->repetition_penalty = draw(4) == 0 ? 1.3 : 1;
	req->turns = !req->stream && draw(3) == 0;
	req->logprobs = draw(4) == 0 ? (uint8_t) (1 + draw(2) * 3) : 0;
	req->scope = unshared || draw(10) == 0 ? 0 : 1 + draw(2);
	return constrain(req, c->kind, c->text);
}

/* ---- Conditions ----------------------------------------------------------------------- */

typedef struct condition
{
	const char		  *name;
	int				   threads;
	int				   at_a_time;
	size_t			   kv_mb;
	int				   prefill_budget;
	glm_speculation	   speculation;
	bool			   unshared;
	bool			   slow; /* streams are read late */
	bool			   preempts;
	/* that computes when it is waited for; NULL: the CPU */
	const glm_backend *device;
} condition;

static const condition conditions[] = {
	{"alone", 1, 1, 64, 512, GLM_SPECULATE_OFF, .unshared = true},
	{"among 50", 2, 50, 64, 256, GLM_SPECULATE_OFF, .unshared = true},
	{"cache", 2, 50, 64, 256, GLM_SPECULATE_AUTO, .unshared = false},
	{"budget 1", 2, 50, 64, 1, GLM_SPECULATE_AUTO, .unshared = false},
	{"drafts always", 3, 8, 64, 512, GLM_SPECULATE_ALWAYS, .unshared = false},
	{"drafts always, budget 30", 1, 3, 64, 30, GLM_SPECULATE_ALWAYS, .unshared = true},
	{"small pool", 2, 50, 1, 64, GLM_SPECULATE_ALWAYS, .unshared = true, .preempts = true},
	{"late device", 2, 50, 64, 256, GLM_SPECULATE_ALWAYS, .device = &late_backend},
	{"late device that picks", 2, 50, 64, 256, GLM_SPECULATE_ALWAYS, .device = &late_picker},
	{"late device that picks, few at a time", 2, 4, 64, 64, GLM_SPECULATE_AUTO,
	 .device = &late_picker},
	{"slow readers", 2, 50, 2, 30, GLM_SPECULATE_ALWAYS, .slow = true, .preempts = true},
};

#define N_CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

static answer first[REQUESTS];

typedef struct run
{
	const condition *condition;
	glm_engine		*engine;
	int				 ticket[REQUESTS]; /* -1: not submitted yet, -2: done */
	bool			 turns[REQUESTS];
	int				 submitted;
	int				 running;
} run;

static void
check_answer(const run *r, int i)
{
	const constraint *c = &constraints[i % N_CONSTRAINTS];
	const answer	 *a = &answers[r->ticket[i]];
	const char		 *text = a->text;

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s: request %d failed: %s", r->condition->name, i, a->message);
	assert_int_equal(a->last.finish, GLM_FINISH_STOP);
	if (r->turns[i])
		assert_int_equal(*text++, '\n');
	if (!is_what_it_has_to_be(text, c))
		fail_msg("%s: request %d gives \"%s\"", r->condition->name, i, text);
	if (r->condition == &conditions[0])
		first[i] = *a;
	if (strcmp(a->text, first[i].text) != 0 || a->digest != first[i].digest ||
		a->last.completion_tokens != first[i].last.completion_tokens)
		fail_msg("%s: request %d gives \"%s\", alone \"%s\"", r->condition->name, i, a->text,
				 first[i].text);
	assert_true(a->tokens == 0 || a->tokens == a->last.completion_tokens);
}

static void
submit_some(run *r)
{
	while (r->submitted < REQUESTS && r->running < r->condition->at_a_time)
	{
		int			 i = r->submitted * 37 % REQUESTS;
		glm_request *req = make_numbered(i, r->condition->unshared);

		r->turns[i] = req->turns && req->form != GLM_RAW && req->constrained != GLM_TOOL_CALL;
		r->ticket[i] = submit(r->engine, req);
		r->submitted++;
		r->running++;
	}
}

static void
read_some(run *r)
{
	pump(r->engine, 1);
	for (int i = 0; i < REQUESTS; i++)
	{
		int ticket = r->ticket[i];

		if (ticket < 0)
			continue;
		if (!r->condition->slow || answers[ticket].tokens % GLM_OUTBOX == 0)
			glm_engine_taken(r->engine, ticket, answers[ticket].tokens);
		if (!answers[ticket].ended)
			continue;
		check_answer(r, i);
		r->ticket[i] = -2;
		r->running--;
	}
}

/* Most tokens are picked by the device; the logits of some have to be seen, and are fewer. */
static void
check_picks(void)
{
	late_counts count = late_count();

	print_message("    %d rows picked, %d left, %d copies home\n", count.picks, count.left,
				  count.reads);
	assert_true(count.picks > 4 * REQUESTS && count.left > 0);
	assert_true(count.picks > count.reads);
}

static void
run_condition(const condition *c)
{
	run			   r = {.condition = c};
	glm_stats	   stats;
	glm_model_info model;

	r.engine = open_engine_on(c->device, c->threads, c->at_a_time, c->kv_mb << 20, GLM_KV_AUTO);
	glm_engine_set_prefill_budget(r.engine, c->prefill_budget);
	glm_engine_set_speculation(r.engine, c->speculation);
	for (int i = 0; i < REQUESTS; i++)
		r.ticket[i] = -1;
	while (r.submitted < REQUESTS || r.running > 0)
	{
		submit_some(&r);
		read_some(&r);
	}
	stats = stats_of(r.engine);
	assert_int_equal(glm_engine_models(r.engine, &model, 1), 1);
	print_message("    %s: %llu steps for %llu tokens, %llu of %llu drafts right, %llu preempted\n",
				  c->name, (unsigned long long) stats.steps,
				  (unsigned long long) stats.completion_tokens,
				  (unsigned long long) model.accepted_tokens,
				  (unsigned long long) model.draft_tokens, (unsigned long long) stats.preemptions);
	assert_int_equal(stats.kv_bytes_used, 0);
	if (c->speculation == GLM_SPECULATE_ALWAYS && !c->unshared)
		assert_true(model.accepted_tokens > 0);
	assert_int_equal(stats.preemptions > 0, c->preempts);
	if (c->device == &late_picker)
		check_picks();
	/* what is forced needs no step of its own */
	if (c->at_a_time == 1)
		assert_true(stats.steps < stats.completion_tokens);
	glm_engine_close(r.engine);
}

static void
answers_are_valid_and_the_same(void **unused)
{
	(void) unused;
	for (size_t i = 0; i < N_CONDITIONS; i++)
		run_condition(&conditions[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_valid_and_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
