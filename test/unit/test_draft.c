/*
 * test_draft.c - what a drafter learns: the times of passes by their rows, and what
 * follows what, in each scope for itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "engine/serve/draft.h"

/* ---- Times of passes ------------------------------------------------------ */

/* What a pass of so many rows is expected to take, one of a single row being 1. */
static double
relative_time(const glm_drafter *d, int rows)
{
	glm_draft_costs one;
	glm_draft_costs costs;

	assert_true(glm_drafter_costs(d, 1, &one));
	assert_true(glm_drafter_costs(d, rows, &costs));
	return costs.token_ns * rows / one.token_ns;
}

static void
count_passes(glm_drafter *d, int times, int rows, int64_t ns)
{
	for (int i = 0; i < times; i++)
		glm_drafter_count_pass(d, rows, ns);
}

static bool
nearly(double a, double b)
{
	return fabs(a - b) < 0.02 * b;
}

static void
times_between_known_sizes(void **state)
{
	glm_drafter	   *d = glm_drafter_open();
	glm_draft_costs costs;

	(void) state;
	assert_false(glm_drafter_costs(d, 1, &costs)); /* nothing is known yet */
	count_passes(d, 20, 1, 1000);
	assert_true(nearly(relative_time(d, 1), 1));
	assert_true(relative_time(d, 2) > 1 && relative_time(d, 2) < 2);
	count_passes(d, 20, 5, 1800);
	assert_true(nearly(relative_time(d, 3), 1.4));
	assert_true(nearly(relative_time(d, 10), 2.8));
	assert_false(glm_drafter_costs(d, GLM_DRAFT_ROWS, &costs));
	glm_drafter_close(d);
}

/* A size first seen when the machine was busy is not taken for a slow one. */
static void
disturbed_passes_do_not_count(void **state)
{
	glm_drafter *d = glm_drafter_open();

	(void) state;
	count_passes(d, 20, 1, 1000);
	count_passes(d, 20, 4, 1600);
	count_passes(d, 1, 2, 9000); /* between the two */
	assert_true(nearly(relative_time(d, 2), 1.2));
	count_passes(d, 1, 6, 90000); /* beyond them */
	assert_true(nearly(relative_time(d, 6), 2));
	count_passes(d, 300, 1, 1000);
	count_passes(d, 1, 1, 50000);
	assert_true(nearly(relative_time(d, 4), 1.6));
	/* but a size that always takes longer is believed */
	for (int i = 0; i < 300; i++)
	{
		count_passes(d, 1, 1, 1000);
		count_passes(d, 1, 4, 3000);
		count_passes(d, 1, 6, 5000);
	}
	assert_true(relative_time(d, 4) > 2.5);
	glm_drafter_close(d);
}

/* No size is thought to be slower than a greater one. */
static void
times_rise(void **state)
{
	glm_drafter *d = glm_drafter_open();

	(void) state;
	count_passes(d, 20, 8, 4000);
	count_passes(d, 20, 2, 3000);
	count_passes(d, 20, 8, 2000);
	for (int rows = 2; rows < GLM_DRAFT_ROWS; rows++)
		assert_true(relative_time(d, rows) > 0.999 * relative_time(d, rows - 1));
	glm_drafter_close(d);
}

/* ---- Drafts ------------------------------------------------------------------ */

/* Drafts at most max tokens behind n, in a pass that has one row. */
static void
draft(glm_draft *f, const glm_ngrams *ngrams, int32_t *tokens, int n, int max,
	  const glm_draft_costs *costs)
{
	glm_draft_limits limits = {.max = max, .rows = 1, .costs = costs};

	glm_draft_make(f, ngrams, tokens, n, &limits);
}

/* Learns all n tokens as a prompt and returns the drafts for what follows. */
static int
draft_after(const int32_t *text, int n, int max, int32_t *drafts)
{
	glm_draft f;
	int32_t	  tokens[256];
	int		  n_drafts;

	memcpy(tokens, text, n * sizeof(*tokens));
	assert_true(glm_draft_open(&f, tokens, n, 256));
	draft(&f, NULL, tokens, n, max, NULL);
	n_drafts = f.n_tokens;
	memcpy(drafts, tokens + n, n_drafts * sizeof(*drafts));
	glm_draft_close(&f);
	return n_drafts;
}

static void
copies_what_followed(void **state)
{
	static const int32_t text[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4};
	static const int32_t other[] = {1, 2, 3, 4, 5, 6};
	int32_t				 drafts[GLM_DRAFT_MAX];

	(void) state;
	assert_int_equal(draft_after(text, 11, 3, drafts), 3);
	assert_int_equal(drafts[0], 5);
	assert_int_equal(drafts[1], 6);
	assert_int_equal(drafts[2], 7);
	assert_int_equal(draft_after(text, 11, 0, drafts), 0);
	assert_int_equal(draft_after(other, 6, 3, drafts), 0); /* nothing repeats */
}

/* Says yes to tokens until one that is not allowed comes, and not after it. */
typedef struct filter
{
	int32_t refused;
	int		asked;
} filter;

static bool
allows(void *arg, int32_t token)
{
	filter *f = arg;

	f->asked++;
	return token != f->refused;
}

static void
ends_before_what_is_not_allowed(void **state)
{
	int32_t text[256] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4};

	(void) state;
	for (int32_t refused = 4; refused <= 9; refused++)
	{
		int				 n = refused - 5; /* 5, 6, 7, 8 would come; 4 does not, 9 no more */
		filter			 of = {.refused = refused};
		glm_draft_limits limits = {.max = 4, .rows = 1, .allows = allows, .arg = &of};
		glm_draft		 f;

		if (refused == 4 || refused == 9)
			n = 4;
		assert_true(glm_draft_open(&f, text, 11, 256));
		glm_draft_make(&f, NULL, text, 11, &limits);
		assert_int_equal(f.n_tokens, n);
		assert_int_equal(of.asked, n == 4 ? 4 : n + 1);
		for (int i = 0; i < n; i++)
			assert_int_equal(text[11 + i], 5 + i);
		glm_draft_close(&f);
	}
}

/* The third to the fifth token are these, whatever is drawn. */
static int32_t
forced(void *arg)
{
	filter *f = arg;

	return f->asked == 2 ? 40 : f->asked == 3 ? 3 : f->asked == 4 ? 4 : -1;
}

static void
goes_on_by_what_is_forced(void **state)
{
	static const int32_t want[] = {5, 6, 40, 3, 4, 5, 6};
	int32_t				 text[256] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4};
	filter				 f = {.refused = -1};
	glm_draft_limits limits = {.max = 7, .rows = 1, .forced = forced, .allows = allows, .arg = &f};
	glm_draft		 d;

	(void) state;
	assert_true(glm_draft_open(&d, text, 11, 256));
	glm_draft_make(&d, NULL, text, 11, &limits);
	assert_int_equal(d.n_tokens, 7);
	assert_memory_equal(text + 11, want, sizeof(want));
	glm_draft_close(&d);
}

/* Where rows are dear, what is doubtful is not worth one. */
static void
cost_shortens_drafts(void **state)
{
	int32_t			tokens[256] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 4};
	glm_draft_costs costs;
	int				length[2];

	(void) state;
	for (int dear = 0; dear < 2; dear++)
	{
		glm_drafter *d = glm_drafter_open();
		glm_draft	 f;

		for (int rows = 1; rows < 16; rows++)
			count_passes(d, 20, rows, dear ? 1000 * rows : 1000 + rows);
		assert_true(glm_drafter_costs(d, 1, &costs));
		assert_true(glm_draft_open(&f, tokens, 11, 256));
		draft(&f, glm_drafter_ngrams(d, 1), tokens, 11, 8, &costs);
		length[dear] = f.n_tokens;
		glm_draft_close(&f);
		glm_drafter_close(d);
	}
	assert_true(length[0] > 0);
	assert_int_equal(length[1], 0);
}

/* ---- Scopes ------------------------------------------------------------------ */

/* How many tokens of the answer 10, 11, ... are drafted after its first five; it is learnt. */
static int
n_drafted(glm_ngrams *ngrams)
{
	int32_t	  tokens[256];
	glm_draft f;
	int		  right = 0;

	for (int i = 0; i < 40; i++)
		tokens[i] = 10 + i;
	assert_true(glm_draft_open(&f, tokens, 1, 256));
	for (int n = 2; n <= 30; n++)
		glm_draft_learn(&f, ngrams, tokens, n);
	draft(&f, ngrams, tokens, 5, GLM_DRAFT_MAX, NULL);
	while (right < f.n_tokens && tokens[5 + right] == 15 + right)
		right++;
	glm_draft_close(&f);
	return right;
}

/* What one scope's answers taught, another never shows. */
static void
scopes_learn_apart(void **state)
{
	glm_drafter *d = glm_drafter_open();
	glm_ngrams	*one = glm_drafter_ngrams(d, 1);
	glm_ngrams	*two = glm_drafter_ngrams(d, 2);
	int32_t		 tokens[256];
	glm_draft	 f;

	(void) state;
	assert_non_null(one);
	assert_ptr_not_equal(one, two);
	assert_ptr_equal(glm_drafter_ngrams(d, 1), one);
	assert_null(glm_drafter_ngrams(d, 0));
	for (int i = 0; i < 3; i++)
		assert_int_equal(n_drafted(one), GLM_DRAFT_MAX);
	for (int i = 0; i < 256; i++)
		tokens[i] = 10 + i;
	assert_true(glm_draft_open(&f, tokens, 5, 256));
	draft(&f, two, tokens, 5, GLM_DRAFT_MAX, NULL);
	assert_int_equal(f.n_tokens, 0);
	draft(&f, one, tokens, 5, GLM_DRAFT_MAX, NULL);
	assert_int_equal(f.n_tokens, GLM_DRAFT_MAX);
	glm_draft_close(&f);
	glm_drafter_close(d);
}

/* A scope that gets another's place finds nothing in it; one in use keeps its own. */
static void
places_are_cleared(void **state)
{
	glm_drafter *d = glm_drafter_open();
	glm_ngrams	*kept = glm_drafter_ngrams(d, 1);
	uint64_t	 scope = 2;
	int32_t		 tokens[256];
	glm_draft	 f;

	(void) state;
	n_drafted(kept);
	for (; scope < 200; scope++)
	{
		glm_ngrams *ngrams = glm_drafter_ngrams(d, scope);

		assert_non_null(ngrams);
		assert_ptr_not_equal(ngrams, kept);
		for (int i = 0; i < 256; i++)
			tokens[i] = 10 + i;
		assert_true(glm_draft_open(&f, tokens, 5, 256));
		draft(&f, ngrams, tokens, 5, GLM_DRAFT_MAX, NULL);
		assert_int_equal(f.n_tokens, 0);
		glm_draft_close(&f);
		n_drafted(ngrams);
		glm_drafter_release(d, ngrams);
	}
	while (glm_drafter_ngrams(d, scope) != NULL) /* until all are in use */
		scope++;
	assert_true(scope < 300);
	assert_ptr_equal(glm_drafter_ngrams(d, 1), kept);
	glm_drafter_release(d, NULL);
	glm_drafter_close(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_between_known_sizes),
		cmocka_unit_test(disturbed_passes_do_not_count),
		cmocka_unit_test(times_rise),
		cmocka_unit_test(copies_what_followed),
		cmocka_unit_test(ends_before_what_is_not_allowed),
		cmocka_unit_test(goes_on_by_what_is_forced),
		cmocka_unit_test(cost_shortens_drafts),
		cmocka_unit_test(scopes_learn_apart),
		cmocka_unit_test(places_are_cleared),
	};

	return cmocka_run_group_tests_name("draft", tests, NULL, NULL);
}
