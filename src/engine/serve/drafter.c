/*
 * drafter.c - by what drafts for a model are made: what its passes cost, and the n-grams
 * of its answers.
 *
 * Costs are the model's: the times of passes by their rows, whoever is in them.
 * N-grams are kept apart for each scope (glm_request), because whoever gets a token
 * sooner than it takes to compute one learns that it was predicted, and so what earlier
 * answers were.  A model has room for some scopes; the one used longest ago makes way,
 * and when all are in use a new one goes without.
 *
 * All of it belongs to the engine thread.
 */
#include "engine/serve/draft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCOPES_MAX 16	  /* of some 200 KB each */
#define UNKNOWN_SHARE 0.3 /* of a pass: what a row adds, until it is known */
#define LEAST_SHARE 0.05  /* and at least */
#define KNOWN 0.5		  /* passes of a size, lately, by which it is known */

/* A token saved is worth less than a pass for it alone, as passes give several. */
#define WORTH 0.65

typedef struct place
{
	glm_ngrams *ngrams; /* NULL: never used */
	uint64_t	scope;
	int			users; /* sequences */
	uint64_t	last_used;
} place;

struct glm_drafter
{
	place	 place[SCOPES_MAX];
	uint64_t clock; /* counts uses */
	/* of passes by their rows: what the quick ones take, and how many there were lately */
	double	 quick_ns[GLM_DRAFT_ROWS + 1];
	double	 passes[GLM_DRAFT_ROWS + 1];
	double	 pass_ns[GLM_DRAFT_ROWS + 1]; /* what a pass is expected to take */
};

glm_drafter *
glm_drafter_open(void)
{
	return calloc(1, sizeof(glm_drafter));
}

void
glm_drafter_close(glm_drafter *d)
{
	if (d == NULL)
		return;
	for (int i = 0; i < SCOPES_MAX; i++)
		glm_ngrams_close(d->place[i].ngrams);
	free(d);
}

/* ---- N-grams of scopes -------------------------------------------------------- */

/* The place of a scope, else the best one to give it; NULL: all are in use. */
static place *
scope_place(glm_drafter *d, uint64_t scope)
{
	place *best = NULL;

	for (int i = 0; i < SCOPES_MAX; i++)
	{
		place *p = &d->place[i];

		if (p->ngrams != NULL && p->scope == scope)
			return p;
		if (p->users == 0 && (best == NULL || p->last_used < best->last_used))
			best = p;
	}
	return best;
}

glm_ngrams *
glm_drafter_ngrams(glm_drafter *d, uint64_t scope)
{
	place *p = scope != 0 ? scope_place(d, scope) : NULL;

	if (p == NULL)
		return NULL;
	if (p->ngrams == NULL)
	{
		p->ngrams = glm_ngrams_open();
		if (p->ngrams == NULL)
			return NULL;
	}
	else if (p->scope != scope)
		glm_ngrams_reset(p->ngrams);
	p->scope = scope;
	p->users++;
	p->last_used = ++d->clock;
	return p->ngrams;
}

void
glm_drafter_release(glm_drafter *d, const glm_ngrams *ngrams)
{
	for (int i = 0; ngrams != NULL && i < SCOPES_MAX; i++)
	{
		if (d->place[i].ngrams == ngrams)
			d->place[i].users--;
	}
}

/* ---- What a row costs ---------------------------------------------------------- */

/* Has this size of pass been seen lately? */
static bool
is_known(const glm_drafter *d, int rows)
{
	return d->passes[rows] >= KNOWN;
}

/* The next size from `rows` on, in this direction, that is known; 0: none is. */
static int
known_size(const glm_drafter *d, int rows, int step)
{
	while (rows >= 1 && rows <= GLM_DRAFT_ROWS && !is_known(d, rows))
		rows += step;
	return rows >= 1 && rows <= GLM_DRAFT_ROWS ? rows : 0;
}

/* What a pass of an unknown size takes, between or beyond those that are known. */
static double
guess_ns(const glm_drafter *d, int rows)
{
	int			  below = known_size(d, rows, -1);
	int			  above = known_size(d, rows, 1);
	int			  before = below > 1 ? known_size(d, below - 1, -1) : 0;
	const double *ns = d->pass_ns;
	double		  slope;

	if (below == 0)
		return ns[above] * (1 - UNKNOWN_SHARE * (above - rows) / above);
	if (above > 0)
		slope = (ns[above] - ns[below]) / (above - below);
	else if (before > 0)
		slope = (ns[below] - ns[before]) / (below - before);
	else
		slope = UNKNOWN_SHARE * ns[below] / below;
	return ns[below] + slope * (rows - below);
}

/* A size that took longer than a greater one was disturbed: it takes as long as that. */
static void
estimate_passes(glm_drafter *d)
{
	double least = INFINITY;

	for (int rows = GLM_DRAFT_ROWS; rows >= 1; rows--)
	{
		if (is_known(d, rows))
			d->pass_ns[rows] = least = fmin(least, d->quick_ns[rows]);
	}
	for (int rows = 1; rows <= GLM_DRAFT_ROWS; rows++)
	{
		if (!is_known(d, rows))
			d->pass_ns[rows] = guess_ns(d, rows);
	}
}

/*
 * What else runs on the machine makes passes slower, never quicker; so slow ones
 * move the figure little.  A size not seen lately begins anew, but at no more than
 * the others let expect: were it disturbed just then, nobody would try it again.
 */
void
glm_drafter_count_pass(glm_drafter *d, int rows, int64_t ns)
{
	const double keep = 0.998;
	double		 t = (double) ns;
	double		*quick = &d->quick_ns[rows <= GLM_DRAFT_ROWS ? rows : 0];

	if (rows > GLM_DRAFT_ROWS)
		return;
	if (!is_known(d, rows))
		*quick = d->pass_ns[rows] > 0 ? fmin(t, d->pass_ns[rows]) : t;
	else if (t < *quick)
		*quick += 0.3 * (t - *quick);
	else
		*quick += 0.02 * fmin(t - *quick, *quick);
	for (int i = 1; i <= GLM_DRAFT_ROWS; i++)
		d->passes[i] *= keep;
	d->passes[rows]++;
	estimate_passes(d);
}

bool
glm_drafter_costs(const glm_drafter *d, int sampled, glm_draft_costs *costs)
{
	if (sampled < 1 || sampled >= GLM_DRAFT_ROWS || known_size(d, 1, 1) == 0)
		return false;
	costs->pass_ns = d->pass_ns;
	costs->token_ns = d->pass_ns[sampled] / sampled * WORTH;
	costs->least_ns = LEAST_SHARE * d->pass_ns[1];
	return true;
}
