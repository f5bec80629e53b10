/*
 * test_branches.c - labels that part at several places: how few passes weigh them, that these
 * stop early where nothing can change any more, and that tokens which are taken back spoil
 * nothing that others share.
 */
#include "labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What is shared -------------------------------------------------------------------- */

/* With first tokens that differ all costs one pass, and with all cached one row. */
static void
one_row_decides(void **state)
{
	static const char labels[] = "[\"positive\", \"billing\", \"sales\"]";
	glm_stats		  before;
	answer			 *a;

	(void) state;
	lb_ask(
		lb_about(GLM_SCORE, GLM_PROMPT,
				 "A lamp, a lamp, another lamp, and one more lamp, and one that is no lamp at all.",
				 labels, 0));
	before = stats_of(lb_engine);
	a = lb_ask(
		lb_about(GLM_SCORE, GLM_PROMPT,
				 "A lamp, a lamp, another lamp, and one more lamp, and one that is no lamp at all.",
				 labels, 0));
	assert_int_equal(stats_of(lb_engine).steps - before.steps, 1);
	assert_in_range(a->last.cached_tokens, 1, a->last.prompt_tokens - 1);
	assert_int_equal(stats_of(lb_engine).prompt_tokens - before.prompt_tokens,
					 a->last.prompt_tokens - a->last.cached_tokens);
}
/* ---- Side by side ------------------------------------------------------------------------ */

/* What the engine will have to look at: places where labels part, and how many after another. */
typedef struct shape
{
	int nodes;
	int levels;
} shape;

static shape
shape_of(lb_label **labels, int n, int depth)
{
	shape of = {0};
	int	  children = 0;
	bool  seen[LB_LABELS] = {false};

	for (int i = 0; i < n; i++)
	{
		lb_label *below[LB_LABELS];
		int		  n_below = 0;
		shape	  deeper;

		for (int k = i; k < n && !seen[i]; k++)
		{
			bool same = labels[i]->n > depth
							? labels[k]->n > depth && labels[k]->ids[depth] == labels[i]->ids[depth]
							: labels[k]->n <= depth;

			if (!same || seen[k])
				continue;
			below[n_below++] = labels[k];
			seen[k] = k > i;
		}
		children += n_below > 0;
		if (n_below < 2)
			continue;
		deeper = shape_of(below, n_below, depth + 1);
		of.nodes += deeper.nodes;
		of.levels = deeper.levels > of.levels ? deeper.levels : of.levels;
	}
	of.nodes += children > 1;
	of.levels += children > 1;
	return of;
}

static shape
shape_of_crowd(void)
{
	static lb_label labels[LB_LABELS];
	lb_label	   *all[LB_LABELS];

	for (int i = 0; i < lb_crowd.n; i++)
	{
		labels[i].n = lb_ids(GLM_TOKENIZE, lb_crowd.labels[i], labels[i].ids);
		all[i] = &labels[i];
	}
	return shape_of(all, lb_crowd.n, 0);
}

/* Weighs them; how many passes that took. */
static int
weigh_crowd(const char *prompt, int top, double *p)
{
	char	 json[LB_JSON];
	uint64_t before = stats_of(lb_engine).steps;
	answer	*a;

	lb_write(json, &lb_crowd);
	a = lb_ask(lb_about(GLM_SCORE, GLM_PROMPT, prompt, json, top));
	assert_int_equal(a->length, (lb_crowd.n + 1) * sizeof(double));
	memcpy(p, a->text, a->length);
	return (int) (stats_of(lb_engine).steps - before);
}

/* As many passes as levels, all that part on one of them in one: fewer than there are places. */
static void
places_side_by_side(void **state)
{
	shape  of = shape_of_crowd();
	double p[LB_LABELS + 1];

	(void) state;
	assert_in_range(of.levels, 2, of.nodes / 3);
	assert_in_range(weigh_crowd(lb_crowd.prompt, 0, p), of.levels, of.levels + of.nodes / 16);
}

/* Where the pool or the budget has no room for branches there are more passes, and the same bits. */
static void
places_one_by_one(void **state)
{
	double p[LB_LABELS + 1], again[LB_LABELS + 1];
	int	   passes;

	(void) state;
	lb_engine = open_engine(1, 8, LB_ROOMY);
	passes = weigh_crowd(lb_crowd.prompt, 0, p);
	glm_engine_set_prefill_budget(lb_engine, 1);
	assert_true(weigh_crowd(lb_crowd.prompt, 0, again) > passes);
	assert_memory_equal(p, again, (size_t) (lb_crowd.n + 1) * sizeof(*p));
	glm_engine_close(lb_engine);
	/* hardly more blocks than the sequence needs itself */
	lb_engine = open_engine(1, 8, (size_t) 256 << 10);
	assert_true(weigh_crowd(lb_crowd.prompt, 0, again) > passes);
	assert_memory_equal(p, again, (size_t) (lb_crowd.n + 1) * sizeof(*p));
	glm_engine_close(lb_engine);
}

static int
likeliest(const double *p)
{
	int best = 0;

	for (int i = 1; i < lb_crowd.n; i++)
		best = p[i] > p[best] ? i : best;
	return best;
}

/* Who wants the likeliest alone gets the same one, and no pass that cannot change it. */
static void
likeliest_alone(void **state)
{
	static const char *const prompts[] = {"I love it, it works great.", "Where is my order?",
										  "I was charged twice.", "Please send it back.", "x"};
	shape					 of = shape_of_crowd();
	int						 passes = 0;

	(void) state;
	for (int i = 0; i < 5; i++)
	{
		double all[LB_LABELS + 1], some[LB_LABELS + 1];

		weigh_crowd(prompts[i], 0, all);
		passes += weigh_crowd(prompts[i], 1, some);
		assert_int_equal(likeliest(some), likeliest(all));
		assert_memory_equal(&some[lb_crowd.n], &all[lb_crowd.n], sizeof(double));
	}
	/* a row decides in most of these, and the way to a label in the others */
	assert_in_range(passes, 5, 5 * of.levels);
}

/*
 * Wherever a block of the cache ends, what was put behind the prompt and taken back is not
 * what others find there.
 */
static void
nothing_is_spoiled(void **state)
{
	const lb_question *q = &lb_questions[LB_QUESTIONS - 1];
	char			   json[LB_JSON], prompt[300];

	(void) state;
	lb_write(json, q);
	for (int pad = 0; pad < 33; pad++)
	{
		answer *a;
		double	p[LB_LABELS + 1], again[LB_LABELS + 1];
		char	answered[2048];

		for (int i = 0; i < pad; i++)
			memcpy(prompt + 2 * i, " x", 3);
		prompt[2 * pad] = '\0';
		for (int round = 0; round < 2; round++)
		{
			glm_request *req = lb_about(GLM_SCORE, GLM_PROMPT, prompt, json, 0);

			req->scope = round == 0 ? 0 : 7;
			a = lb_ask(req);
			memcpy(round == 0 ? p : again, a->text, a->length);
			/* goes on by what the labels went on by */
			req = lb_about(GLM_LOGPROBS, GLM_PROMPT, prompt, q->labels[1], 0);
			req->scope = round == 0 ? 0 : 7;
			a = lb_ask(req);
			assert_true(a->length < sizeof(answered));
			if (round == 0)
				memcpy(answered, a->text, a->length);
			assert_memory_equal(answered, a->text, a->length);
		}
		assert_memory_equal(p, again, (size_t) (q->n + 1) * sizeof(*p));
		/* once more, now that others' continuation is cached */
		{
			glm_request *req = lb_about(GLM_SCORE, GLM_PROMPT, prompt, json, 0);

			req->scope = 7;
			a = lb_ask(req);
			assert_memory_equal(p, a->text, a->length);
			req = lb_about(GLM_LOGPROBS, GLM_PROMPT, prompt, q->labels[1], 0);
			req->scope = 7;
			a = lb_ask(req);
			assert_memory_equal(answered, a->text, a->length);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_row_decides, lb_open, lb_close),
		cmocka_unit_test_setup_teardown(places_side_by_side, lb_open, lb_close),
		cmocka_unit_test(places_one_by_one),
		cmocka_unit_test_setup_teardown(likeliest_alone, lb_open, lb_close),
		cmocka_unit_test_setup_teardown(nothing_is_spoiled, lb_open, lb_close),
	};

	return cmocka_run_group_tests_name("branches", tests, NULL, NULL);
}
