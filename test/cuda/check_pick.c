/*
 * check_pick.c - picks: against the sampler of the host.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine/serve/sample.h"

#define ROWS 5

/* How a row is picked, as a request says it. */
typedef struct way
{
	glm_request req;
	uint64_t	index;
	uint64_t   *allowed; /* or NULL */
	uint32_t   *seen;	 /* or NULL */
	bool		logprob;
} way;

/* Few ids carry the weight, or none does, and some are alike. */
static void
fill_logits(float *logits, int n)
{
	float spread = (float) ck_draw(1, 12);

	ck_fill(logits, (size_t) n);
	for (int i = 0; i < n; i++)
		logits[i] = ck_draw(0, 5) == 0 ? (float) ck_draw(-3, 3) : logits[i] * spread;
	if (ck_draw(0, 9) == 0)
		logits[ck_draw(0, n - 1)] = ck_draw(0, 1) ? INFINITY : NAN;
}

static uint64_t *
some_bits(int n, int one_in)
{
	uint64_t *bits = ck_take((size_t) (n / 64 + 1) * 8);

	memset(bits, 0, (size_t) (n / 64 + 1) * 8);
	for (int i = 0; i < n; i++)
		if (ck_draw(1, one_in) == 1)
			bits[i / 64] |= (uint64_t) 1 << i % 64;
	return bits;
}

static void
make_way(way *w, int n_ids)
{
	memset(w, 0, sizeof(*w));
	w->req.temperature = ck_draw(0, 3) == 0 ? 0 : ck_draw(1, 20) * 0.1;
	w->req.top_k = ck_draw(0, 2) == 0 ? ck_draw(1, n_ids + 3) : 0;
	w->req.top_p = ck_draw(0, 1) == 0 ? 1 : ck_draw(1, 99) * 0.01;
	w->req.min_p = ck_draw(0, 2) == 0 ? ck_draw(1, 50) * 0.01 : 0;
	w->req.repetition_penalty = ck_draw(0, 2) == 0 ? ck_draw(5, 20) * 0.1 : 1;
	w->req.seed = ck_bits() | (uint64_t) ck_bits() << 32;
	w->index = ck_bits();
	w->logprob = ck_draw(0, 1);
	if (ck_draw(0, 2) == 0)
		w->allowed = some_bits(n_ids, ck_draw(1, 50));
	if (w->req.repetition_penalty != 1)
		w->seen = (uint32_t *) some_bits(n_ids, 3);
}

/* Nearly all ids are as likely, and of them most are wanted: more than are sorted at a time. */
static void
make_flat(way *w, float *logits, int n)
{
	*w = (way){.req = {.temperature = 1, .top_p = 0.95, .repetition_penalty = 1}, .logprob = true};
	w->req.seed = ck_bits();
	ck_fill(logits, (size_t) n);
	for (int i = 0; i < n; i++)
		logits[i] *= 0.01f;
}

static cuda_pick
describe(const way *w, int n_ids)
{
	return (cuda_pick){.temperature = w->req.temperature,
					   .top_p = w->req.top_p,
					   .min_p = w->req.min_p,
					   .penalty = w->req.repetition_penalty,
					   .seed = w->req.seed,
					   .index = w->index,
					   .mask = (uint32_t *) w->allowed,
					   .seen = w->seen,
					   .top_k = w->req.top_k,
					   .n_ids = n_ids,
					   .logprob = w->logprob};
}

/* What the host's sampler picks, in the same form; but for the sums, which it keeps. */
static cuda_picked
pick_on_host(const way *w, const float *logits, int n_ids)
{
	cuda_picked	 p = {.id = -1};
	glm_sampler *s = glm_sampler_open(&w->req, n_ids);
	float		*changed = ck_take((size_t) n_ids * 4);
	glm_error	 err;

	memcpy(changed, logits, (size_t) n_ids * 4);
	for (int i = 0; w->seen != NULL && i < n_ids; i++)
		if ((w->seen[i / 32] >> i % 32 & 1) != 0)
			glm_sampler_read(s, i);
	if (!glm_sampler_begin(s, changed, false, &err))
		p.status = GLM_CUDA_NOT_FINITE;
	else
	{
		if (w->logprob)
			glm_logits_sum(logits, n_ids, &p.max, &p.sum);
		p.id = glm_sampler_draw(s, changed, w->index, w->allowed);
		p.logit = p.id < 0 ? 0 : logits[p.id];
		p.status = p.id < 0 ? GLM_CUDA_NONE : GLM_CUDA_PICKED;
	}
	glm_sampler_close(s);
	return p;
}

static void
check_picks(int vocab)
{
	int				n_ids = vocab - ck_draw(0, vocab / 8), sums = (vocab + 63) / 64;
	float		   *logits = ck_take((size_t) (ROWS * vocab) * 4);
	cuda_pick	   *pick = ck_take(ROWS * sizeof(*pick));
	cuda_picked	   *got = ck_take(ROWS * sizeof(*got));
	cuda_candidate *candidate = ck_take((size_t) (ROWS * vocab) * sizeof(*candidate));
	double		   *sum = ck_take((size_t) (ROWS * sums) * sizeof(*sum));
	cuda_picked		wanted[ROWS];

	for (int i = 0; i < ROWS; i++)
	{
		way	   w;
		float *row = logits + i * vocab;

		make_way(&w, n_ids);
		fill_logits(row, vocab);
		if (i == 0 && n_ids > 2 * GLM_CUDA_SORT)
			make_flat(&w, row, vocab);
		wanted[i] = pick_on_host(&w, row, n_ids);
		pick[i] = describe(&w, n_ids);
	}
	cuda_pick_rows(&ck_launcher, &(pick_args){got, logits, pick, candidate, sum, vocab}, ROWS);
	for (int i = 0; i < ROWS; i++)
	{
		char what[160];

		/* of what has no id, the status alone counts */
		if (wanted[i].status != GLM_CUDA_PICKED)
			got[i].max = got[i].sum = wanted[i].max = wanted[i].sum = 0;
		snprintf(what, sizeof(what), "pick %d of %d: t %g k %d p %g min %g penalty %g%s: %d not %d",
				 i, n_ids, pick[i].temperature, pick[i].top_k, pick[i].top_p, pick[i].min_p,
				 pick[i].penalty, pick[i].mask != NULL ? " mask" : "", got[i].id, wanted[i].id);
		ck_same(what, &got[i], &wanted[i], sizeof(got[i]));
		if (pick[i].seen != NULL && wanted[i].status == GLM_CUDA_PICKED)
			ck_same("the token is counted as seen",
					&(int){(int) (pick[i].seen[wanted[i].id / 32] >> wanted[i].id % 32 & 1)},
					&(int){1}, sizeof(int));
	}
}

void
ck_pick(int times)
{
	for (int i = 0; i < times; i++)
	{
		check_picks(i % 6 == 5 ? ck_draw(2000, 5000) : ck_draw(2, 700));
		ck_free_all();
	}
}
