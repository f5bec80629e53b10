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
	uint64_t   *seen;	 /* or NULL */
	int			n_changes;
	cuda_change change[40];
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

/* Of ids that are far apart, some of them among those that were seen, all but one banned at most. */
static void
make_changes(way *w, int n_ids)
{
	int step = ck_draw(1, n_ids / 2 + 1), at = ck_draw(0, n_ids - 1);

	w->req.frequency_penalty = ck_draw(-20, 20) * 0.1;
	w->req.presence_penalty = ck_draw(-4, 4) * 0.5;
	while (at < n_ids && w->n_changes < 40)
	{
		bool ban = w->n_changes > 0 && ck_draw(0, 4) == 0;

		w->change[w->n_changes++] =
			(cuda_change){at, ck_draw(0, 5), ban ? GLM_CUDA_BAN : (float) ck_draw(-60, 60) * 0.5f};
		at += step;
	}
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
		w->seen = some_bits(n_ids, 3);
	if (ck_draw(0, 2) == 0)
		make_changes(w, n_ids);
	for (int i = 0; w->seen != NULL && i < w->n_changes; i++)
		if (w->change[i].count > 0) /* what is in the answer was seen */
			w->seen[w->change[i].id / 64] |= (uint64_t) 1 << w->change[i].id % 64;
}

/* Nearly all ids are as likely, and of them most are wanted: more than are sorted at a time. */
static void
make_flat(way *w, float *logits, int n)
{
	memset(w, 0, sizeof(*w));
	w->req = (glm_request){.temperature = 1, .top_p = 0.95, .repetition_penalty = 1};
	w->logprob = true;
	w->req.seed = ck_bits();
	ck_fill(logits, (size_t) n);
	for (int i = 0; i < n; i++)
		logits[i] *= 0.01f;
}

static cuda_pick
describe(const way *w, int n_ids)
{
	size_t		 bytes = (size_t) w->n_changes * sizeof(*w->change);
	cuda_change *change = bytes > 0 ? ck_take(bytes) : NULL;

	if (change != NULL)
		memcpy(change, w->change, bytes);
	return (cuda_pick){.temperature = w->req.temperature,
					   .top_p = w->req.top_p,
					   .min_p = w->req.min_p,
					   .repetition = w->req.repetition_penalty,
					   .frequency = w->req.frequency_penalty,
					   .presence = w->req.presence_penalty,
					   .seed = w->req.seed,
					   .index = w->index,
					   .mask = (uint32_t *) w->allowed,
					   .seen = (uint32_t *) w->seen,
					   .change = change,
					   .n_changes = w->n_changes,
					   .top_k = w->req.top_k,
					   .n_ids = n_ids,
					   .logprob = w->logprob};
}

/* A sampler that has seen, and counted, what this way says. */
static glm_sampler *
open_sampler(const way *w, int n_ids)
{
	struct
	{
		glm_request req;
		glm_bias	bias[40];
	} *asked = ck_take(sizeof(*asked));
	glm_sampler *s;

	memset(asked, 0, sizeof(*asked));
	asked->req = w->req;
	asked->req.bias = (glm_span){offsetof(__typeof__(*asked), bias),
								 (uint32_t) ((size_t) w->n_changes * sizeof(glm_bias))};
	for (int i = 0; i < w->n_changes; i++)
		asked->bias[i] = (glm_bias){w->change[i].id, w->change[i].bias};
	s = glm_sampler_open(&asked->req, n_ids);
	for (int i = 0; w->seen != NULL && i < n_ids; i++)
		if ((w->seen[i / 64] >> i % 64 & 1) != 0)
			glm_sampler_read(s, i);
	for (int i = 0; i < w->n_changes; i++)
		for (int n = 0; n < w->change[i].count; n++)
			glm_sampler_advance(s, w->change[i].id);
	return s;
}

/* Some logits that change are so small that the order of what is added to them tells. */
static void
make_small(const way *w, float *logits)
{
	for (int i = 0; i < w->n_changes; i++)
		if (ck_draw(0, 2) == 0)
			logits[w->change[i].id] = (float) ck_draw(-9, 9) * 1e-17f;
}

/*
 * What the host's sampler picks, in the same form; but for the sums, which it keeps.  And the
 * logits by which it does.
 */
static cuda_picked
pick_on_host(const way *w, const float *logits, int n_ids, float *changed)
{
	cuda_picked	 p = {.id = -1};
	glm_sampler *s = open_sampler(w, n_ids);
	glm_error	 err;

	memcpy(changed, logits, (size_t) n_ids * 4);
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

static float *
without_signs_of_zeros(float *x, int n)
{
	for (int i = 0; i < n; i++)
		x[i] += 0.0f;
	return x;
}

static void
check_picks(int vocab)
{
	int				n_ids = vocab - ck_draw(0, vocab / 8), sums = (vocab + 63) / 64, left;
	float		   *logits = ck_take((size_t) (ROWS * vocab) * 4);
	cuda_pick	   *pick = ck_take(ROWS * sizeof(*pick));
	cuda_picked	   *got = ck_take(ROWS * sizeof(*got));
	cuda_candidate *candidate = ck_take((size_t) (ROWS * vocab) * sizeof(*candidate));
	double		   *sum = ck_take((size_t) (ROWS * sums) * sizeof(*sum));
	float		   *changed = ck_take((size_t) (ROWS * vocab) * 4);
	float		   *wanted_changed = ck_take((size_t) (ROWS * vocab) * 4);
	cuda_picked		wanted[ROWS];

	for (int i = 0; i < ROWS; i++)
	{
		way	   w;
		float *row = logits + i * vocab;

		make_way(&w, n_ids);
		fill_logits(row, vocab);
		if (i == 0 && n_ids > 2 * GLM_CUDA_SORT)
			make_flat(&w, row, vocab);
		make_small(&w, row);
		wanted[i] = pick_on_host(&w, row, n_ids, wanted_changed + i * vocab);
		pick[i] = describe(&w, n_ids);
	}
	left = ck_draw(0, ROWS * 4);
	if (left < ROWS)
	{
		pick[left].n_ids = 0;
		wanted[left] = (cuda_picked){.id = -1, .status = GLM_CUDA_LEFT};
	}
	cuda_pick_rows(&ck_launcher, &(pick_args){got, logits, pick, changed, candidate, sum, vocab},
				   ROWS);
	for (int i = 0; i < ROWS; i++)
	{
		char what[160];

		/* of what has no id, the status alone counts */
		if (wanted[i].status != GLM_CUDA_PICKED)
			got[i].max = got[i].sum = wanted[i].max = wanted[i].sum = 0;
		snprintf(what, sizeof(what),
				 "pick %d of %d: t %g k %d p %g min %g repetition %g changes %d%s: %d not %d", i,
				 n_ids, pick[i].temperature, pick[i].top_k, pick[i].top_p, pick[i].min_p,
				 pick[i].repetition, pick[i].n_changes, pick[i].mask != NULL ? " mask" : "",
				 got[i].id, wanted[i].id);
		ck_same(what, &got[i], &wanted[i], sizeof(got[i]));
		if (wanted[i].status == GLM_CUDA_PICKED &&
			(pick[i].mask != NULL || pick[i].seen != NULL || pick[i].n_changes > 0))
			ck_same("logits that were changed", without_signs_of_zeros(changed + i * vocab, n_ids),
					without_signs_of_zeros(wanted_changed + i * vocab, n_ids), (size_t) n_ids * 4);
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
