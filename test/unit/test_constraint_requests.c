/*
 * test_constraint_requests.c - requests with constraints: which are refused and when, what
 * their answers cost, and that tokens keep their probabilities.
 */
#include "client.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLORS                                                                                     \
	"{\"enum\": [\"amber\", \"blue\", \"red\", \"green\", \"gold\", \"beige\", \"white\"]}"

static glm_engine *engine;

static int
open_one(void **state)
{
	(void) state;
	engine = open_engine(2, 50, 64 << 20);
	return 0;
}

static int
close_one(void **state)
{
	(void) state;
	assert_int_equal(stats_of(engine).kv_bytes_used, 0);
	glm_engine_close(engine);
	return 0;
}

static const answer *
ask(glm_constraint_kind kind, const char *text, int max_tokens)
{
	glm_request *req = constrain(make_request("hello", max_tokens, false), kind, text);

	return wait_for(engine, submit(engine, req));
}

/* ---- What cannot be answered ------------------------------------------------------ */

static void
refused(glm_constraint_kind kind, const char *text, int max_tokens, glm_status status,
		const char *fragment)
{
	const answer *a = ask(kind, text, max_tokens);

	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	if (strstr(a->message, fragment) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", a->message, fragment);
	assert_int_equal(a->last.status, status);
}

/* All of it before there is a pass. */
static void
what_cannot_be_is_refused(void **state)
{
	(void) state;
	refused(GLM_JSON_SCHEMA, "{\"type\": ", 50, GLM_BAD_ARGUMENT, "");
	refused(GLM_JSON_SCHEMA, "{\"minimum\": \"low\"}", 50, GLM_BAD_ARGUMENT, "minimum");
	refused(GLM_JSON_SCHEMA, "{\"unevaluatedItems\": false}", 50, GLM_UNSUPPORTED,
			"unevaluatedItems");
	refused(GLM_JSON_SCHEMA, "false", 50, GLM_BAD_ARGUMENT, "no value");
	refused(GLM_JSON_SCHEMA, "{\"type\": \"string\", \"minLength\": 200}", 50, GLM_BAD_ARGUMENT,
			"max_tokens is 50");
	refused(GLM_JSON_OBJECT, "", 2, GLM_BAD_ARGUMENT, "max_tokens is 2");
	refused(GLM_CHOICES, "[]", 50, GLM_BAD_ARGUMENT, "");
	refused(GLM_REGEX, "(a", 50, GLM_BAD_ARGUMENT, "");
	refused(GLM_REGEX, "(a)\\1", 50, GLM_UNSUPPORTED, "");
	assert_int_equal(stats_of(engine).steps, 0);
}

/* ---- What answers cost -------------------------------------------------------------- */

/* Nothing is drawn, so there is one pass, of the prompt. */
static void
one_answer_needs_no_draws(void **state)
{
	const char *only = "{\"const\": {\"name\": \"only\", \"list\": [true, false], \"end\": null}}";
	uint64_t	steps = stats_of(engine).steps;
	const answer *a = ask(GLM_JSON_SCHEMA, only, 100);

	(void) state;
	assert_string_equal(a->text, "{\"name\": \"only\", \"list\": [true, false], \"end\": null}");
	assert_int_equal(a->last.finish, GLM_FINISH_STOP);
	assert_true(a->last.completion_tokens > 10);
	assert_int_equal(stats_of(engine).steps - steps, 1);
}

/* In a stream each token has the probability that the model gives it. */
static void
streams_tell_how_likely_forced_tokens_are(void **state)
{
	const char *only =
		"{\"const\": [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\"]}";
	glm_request *req = constrain(make_request("hello", 100, true), GLM_JSON_SCHEMA, only);
	int			 ticket = submit(engine, req);

	(void) state;
	assert_string_equal(read_stream(engine, ticket),
						"[\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\"]");
	assert_true(answers[ticket].tokens > GLM_OUTBOX);
	assert_int_equal(answers[ticket].tokens, answers[ticket].last.completion_tokens);
	assert_true(answers[ticket].digest != 0);
}

/* ---- Raw prompts ------------------------------------------------------------------------ */

static const answer *
complete(const char *prompt, const char *choices, int max_tokens)
{
	glm_request *req = constrain(make_request(prompt, max_tokens, false), GLM_CHOICES, choices);

	req->form = GLM_RAW;
	return wait_for(engine, submit(engine, req));
}

/*
 * "▁positive" is one token.  Behind a blank that is a token of its own it is two, unless the
 * blank is taken back; what is shown is the choice alone.
 */
static void
a_prompt_may_end_within_a_token(void **state)
{
	static const char prompt[] = "I love it, it works great. This is ";
	int				  before = complete(prompt, "[\"中\"]", 20)->last.prompt_tokens;
	const answer	 *a = complete(prompt, "[\"positive\", \"negative\"]", 20);

	(void) state;
	assert_true(strcmp(a->text, "positive") == 0 || strcmp(a->text, "negative") == 0);
	assert_int_equal(a->last.prompt_tokens, before - 1);
	/* "is" is a token to itself, and "is positive" none */
	a = complete("I love it, it works great. This is", "[\"positive\", \"negative\"]", 20);
	assert_int_equal(a->last.prompt_tokens, before - 1);
}

/* ---- Probabilities ---------------------------------------------------------------------- */

#define DRAWS 3000
#define N_COLORS 7

static int
number_of(const char *color)
{
	static const char *const names[N_COLORS] = {"amber", "blue",  "red",  "green",
												"gold",	 "beige", "white"};

	for (int i = 0; i < N_COLORS; i++)
		if (strncmp(color + 1, names[i], strlen(names[i])) == 0)
			return i;
	fail_msg("\"%s\" is no color", color);
	return 0;
}

/* How often each comes; with a min_p that leaves all, the mask comes before the first draw. */
static void
count_colors(int count[N_COLORS], double min_p)
{
	int ticket[50];

	memset(count, 0, N_COLORS * sizeof(int));
	for (int i = 0; i < DRAWS; i += 50)
	{
		for (int k = 0; k < 50; k++)
		{
			glm_request *req =
				constrain(make_request("A color, please", 30, false), GLM_JSON_SCHEMA, COLORS);

			req->temperature = 2.5;
			req->min_p = min_p;
			req->seed = (uint64_t) (i + k) * 2 + (min_p > 0);
			ticket[k] = submit(engine, req);
		}
		for (int k = 0; k < 50; k++)
			count[number_of(wait_for(engine, ticket[k])->text)]++;
	}
}

/* Two samples of one distribution, by the chi-squared test. */
static void
drawing_again_keeps_probabilities(void **state)
{
	int	   again[N_COLORS], masked[N_COLORS];
	double chi = 0;
	int	   seen = 0;

	(void) state;
	count_colors(again, 0);
	count_colors(masked, 1e-300);
	for (int i = 0; i < N_COLORS; i++)
	{
		double sum = again[i] + masked[i];

		seen += sum > 50;
		if (sum > 0)
			chi += (again[i] - masked[i]) * (again[i] - masked[i]) / sum;
		print_message("    %d and %d\n", again[i], masked[i]);
	}
	assert_true(seen > 3);
	assert_true(chi < 22.5); /* p = 0.001 with 6 degrees of freedom */
}

/* ---- Ends ---------------------------------------------------------------------------------- */

/* The constraints of a model go with it; the next one compiles its own. */
static void
models_are_unloaded_with_their_constraints(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		glm_request *req = make_request("x", 1, false);

		assert_int_equal(number_of(ask(GLM_JSON_SCHEMA, COLORS, 30)->text) < N_COLORS, true);
		req->kind = GLM_UNLOAD;
		assert_int_equal(wait_for(engine, submit(engine, req))->last.kind, GLM_EVENT_DONE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(one_answer_needs_no_draws),
		cmocka_unit_test(streams_tell_how_likely_forced_tokens_are),
		cmocka_unit_test(a_prompt_may_end_within_a_token),
		cmocka_unit_test(drawing_again_keeps_probabilities),
		cmocka_unit_test(models_are_unloaded_with_their_constraints),
	};

	return cmocka_run_group_tests(tests, open_one, close_one);
}
