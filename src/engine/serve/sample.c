/*
 * sample.c - the next token from the logits.
 *
 * The order of the steps is Hugging Face's: penalties and biases (adjust.c), then the ids
 * that are not allowed are left out, then the largest logit if temperature is 0, else
 * temperature, top_k, top_p, min_p and a draw.  Tokens of equal logits count by ascending id, so that
 * every step has one answer.
 *
 * The vocabulary is never sorted whole.  With top_k, one walk over the logits
 * keeps the best so far in a heap, the worst of them on top; nearly every logit
 * costs a comparison with that one, and only those that stay have weights.  With
 * top_p alone the candidates that could be needed lie in a heap, the largest logit
 * on top, and as many come off as it asks for.  Without either there is no heap: the draw walks the
 * ids in order.
 *
 * The draw is the inverse of the cumulative distribution at a random number of this
 * seed and index.  Exponentials, sums and random numbers are those of sample_math.h.
 * Sums go over all tokens by ascending id, or over the candidates in their order.
 *
 * A sampler belongs to one sequence and is used by one thread at a time.  All
 * its memory is taken when it is opened.
 */
#include "engine/serve/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/adjust.h"
#include "engine/serve/candidates.h"
#include "engine/serve/sample_math.h"

struct glm_sampler
{
	int		 n_ids;
	int		 top_k;		  /* 0 = off */
	double	 temperature; /* 0 = greedy */
	double	 top_p;
	double	 min_p;
	uint64_t seed;

	glm_adjust *adjust; /* NULL: logits stay as they are */

	/* of the logits that glm_sampler_begin() saw: see glm_logits_sum() */
	double max, sum;

	/* candidates; NULL when greedy */
	float	*weight; /* [n_ids] exp((logit - max) / temperature) */
	int32_t *heap;	 /* [n_ids] token ids; see choose_top_p() */
};

glm_sampler *
glm_sampler_open(const glm_request *req, int n_ids)
{
	glm_sampler *s = calloc(1, sizeof(*s));
	size_t		 n = (size_t) n_ids;

	if (s == NULL)
		return NULL;
	s->n_ids = n_ids;
	s->top_k = req->top_k < n_ids ? req->top_k : 0;
	s->temperature = req->temperature;
	s->top_p = req->top_p;
	s->min_p = req->min_p;
	s->seed = req->seed;
	if (glm_adjust_wanted(req))
	{
		s->adjust = glm_adjust_open(req, n_ids);
		if (s->adjust == NULL)
			goto fail;
	}
	if (s->temperature > 0)
	{
		s->weight = calloc(n, sizeof(*s->weight));
		s->heap = calloc(n, sizeof(*s->heap));
		if (s->weight == NULL || s->heap == NULL)
			goto fail;
	}
	return s;

fail:
	glm_sampler_close(s);
	return NULL;
}

void
glm_sampler_close(glm_sampler *s)
{
	if (s == NULL)
		return;
	glm_adjust_close(s->adjust);
	free(s->weight);
	free(s->heap);
	free(s);
}

/* All that a sampler keeps of the tokens so far changes in these two. */
void
glm_sampler_read(glm_sampler *s, int32_t token)
{
	glm_adjust_read(s->adjust, token);
}

void
glm_sampler_advance(glm_sampler *s, int32_t token)
{
	glm_adjust_count(s->adjust, token);
}

/* ---- Steps ------------------------------------------------------------- */

static bool
not_finite(glm_error *err)
{
	return glm_fail(err, GLM_NOT_FINITE, "the model computed a logit that is not finite");
}

static bool
none_allowed(glm_error *err)
{
	return glm_fail(err, GLM_INTERNAL, "no token is allowed to come next");
}

static bool
all_finite(const float *x, int n)
{
	unsigned bad = 0;

	for (int i = 0; i < n; i++)
	{
		uint32_t bits;

		memcpy(&bits, &x[i], sizeof bits);
		bad |= (bits & 0x7f800000) == 0x7f800000;
	}
	return bad == 0;
}

bool
glm_logits_check(const float *logits, int n, glm_error *err)
{
	return all_finite(logits, n) || not_finite(err);
}

/* The lowest id of the largest logit. */
static int32_t
largest(const float *logits, int n)
{
	int32_t best = 0;

	for (int32_t i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

void
glm_logits_sum(const float *logits, int n, double *max, double *total)
{
	double	  e[BLOCK];
	token_sum sum = {0};

	*max = logits[largest(logits, n)];

	for (int i = 0; i < n; i += BLOCK)
	{
		int block = n - i < BLOCK ? n - i : BLOCK;

		exponentials(e, logits + i, block, *max, 1);
		add_block(&sum, e, block);
	}
	*total = sum_of(&sum);
}

/*
 * Gives the ids whose bit is not set no probability: exp(-infinity), which is 0 as a
 * weight.  False when none is left, or none but those that are banned.
 */
static bool
leave_out(const glm_sampler *s, float *logits, const uint64_t *allowed)
{
	uint64_t any = 0;

	for (int i = 0; i < s->n_ids; i++)
	{
		uint64_t bit = allowed[i / 64] >> i % 64 & 1;

		any |= bit & (logits[i] > -INFINITY);
		logits[i] = bit != 0 ? logits[i] : -INFINITY;
	}
	return any != 0;
}

/* ---- Candidates -------------------------------------------------------- */

/* Weights of all tokens; returns the sum of those that are at least `least`. */
static double
set_weights(glm_sampler *s, const float *logits, double least)
{
	double	  max = logits[largest(logits, s->n_ids)];
	double	  e[BLOCK];
	token_sum sum = {0};

	for (int i = 0; i < s->n_ids; i += BLOCK)
	{
		int block = s->n_ids - i < BLOCK ? s->n_ids - i : BLOCK;

		exponentials(e, logits + i, block, max, s->temperature);
		for (int j = 0; j < block; j++)
		{
			s->weight[i + j] = (float) e[j];
			e[j] = s->weight[i + j] >= least ? s->weight[i + j] : 0;
		}
		add_block(&sum, e, block);
	}
	return sum_of(&sum);
}

/* Moves the top_k first candidates to the end of the heap, the first one last. */
static void
take_top_k(glm_sampler *s, const float *logits)
{
	int		 k = s->top_k;
	int32_t *best = s->heap + (s->n_ids - k);
	float	 worst;

	for (int i = 0; i < k; i++)
		best[i] = i;
	make_heap(best, k, logits, true);
	worst = logits[best[0]];
	for (int32_t i = k; i < s->n_ids; i++)
	{
		/* of equal logits the lower id, which was seen before, comes first */
		if (logits[i] <= worst)
			continue;
		best[0] = i;
		sift_down(best, k, 0, logits, true);
		worst = logits[best[0]];
	}
	for (int n = k; n > 1; n--)
		pop_candidate(best, n, logits, true);
	for (int i = 0; i < k / 2; i++)
	{
		int32_t token = best[i];

		best[i] = best[k - 1 - i];
		best[k - 1 - i] = token;
	}
}

/* top_k, then of those what top_p and min_p leave; as choose_top_p(). */
static int
choose_top_k(glm_sampler *s, const float *logits)
{
	const int32_t *first = &s->heap[s->n_ids - 1];
	token_sum	   sum = {0}, so_far = {0};
	int			   n = 0;

	take_top_k(s, logits);
	for (int i = 0; i < s->top_k; i++)
	{
		double e;

		exponentials(&e, &logits[first[-i]], 1, logits[first[0]], s->temperature);
		s->weight[first[-i]] = (float) e;
		add_token(&sum, s->weight[first[-i]]);
	}
	do
		add_token(&so_far, s->weight[first[-n++]]);
	while (n < s->top_k && sum_of(&so_far) < s->top_p * sum_of(&sum) &&
		   s->weight[first[-n]] >= s->min_p);
	return n;
}

/*
 * Takes the candidates that top_p and min_p leave off the heap, at least one.
 * They are heap[n_ids - 1], heap[n_ids - 2], ...; returns how many.
 */
static int
choose_top_p(glm_sampler *s, const float *logits)
{
	double	  sum = set_weights(s, logits, 0);
	token_sum so_far = {0};
	/* all that weigh less than this are together less than what top_p leaves out */
	double	  least = (1 - s->top_p) * sum / s->n_ids / 2;
	int32_t	 *heap = s->heap + s->n_ids;
	int		  n_heap, n = 0;

	for (int i = s->n_ids - 1; i >= 0; i--)
		if (s->weight[i] >= least)
			*--heap = i;
	n_heap = (int) (s->heap + s->n_ids - heap);
	make_heap(heap, n_heap, logits, false);
	while (n < n_heap)
	{
		int32_t token = pop_candidate(heap, n_heap - n, logits, false);

		if (n > 0 && s->weight[token] < s->min_p) /* the first one's is 1 */
			break;
		add_token(&so_far, s->weight[token]);
		n++;
		if (sum_of(&so_far) >= s->top_p * sum)
			break;
	}
	return n;
}

/* Draws from the n tokens that were chosen. */
static int32_t
draw_chosen(const glm_sampler *s, int n, double u)
{
	const int32_t *first = &s->heap[s->n_ids - 1];
	token_sum	   sum = {0}, so_far = {0};

	for (int i = 0; i < n; i++)
		add_token(&sum, s->weight[first[-i]]);
	for (int i = 0; i < n; i++)
	{
		add_token(&so_far, s->weight[first[-i]]);
		if (sum_of(&so_far) > u * sum_of(&sum))
			return first[-i];
	}
	return first[0]; /* only if rounding ate the last one's share */
}

/* Draws from all tokens that min_p leaves, by ascending id. */
static int32_t
draw_any(glm_sampler *s, const float *logits, double u)
{
	double	  sum = set_weights(s, logits, s->min_p);
	token_sum so_far = {0};

	for (int i = 0; i < s->n_ids; i++)
	{
		add_token(&so_far, s->weight[i] >= s->min_p ? s->weight[i] : 0);
		if (sum_of(&so_far) > u * sum)
			return i;
	}
	return largest(logits, s->n_ids);
}

bool
glm_sampler_begin(glm_sampler *s, float *logits, bool logprob, glm_error *err)
{
	if (!all_finite(logits, s->n_ids))
		return not_finite(err);
	if (logprob)
		glm_logits_sum(logits, s->n_ids, &s->max, &s->sum);
	glm_adjust_apply(s->adjust, logits);
	return true;
}

bool
glm_sampler_cuts(const glm_sampler *s)
{
	return s->heap != NULL && (s->top_k > 0 || s->top_p < 1 || s->min_p > 0);
}

int32_t
glm_sampler_draw(glm_sampler *s, float *logits, uint64_t index, const uint64_t *allowed)
{
	double u;

	if (allowed != NULL && !leave_out(s, logits, allowed))
		return -1;
	if (s->heap == NULL)
		return largest(logits, s->n_ids);
	u = uniform(s->seed, index);
	if (s->top_k > 0)
		return draw_chosen(s, choose_top_k(s, logits), u);
	if (s->top_p < 1)
		return draw_chosen(s, choose_top_p(s, logits), u);
	return draw_any(s, logits, u);
}

void
glm_sampler_end(glm_sampler *s, const float *logits, int32_t token, float *logprob)
{
	if (logprob != NULL)
		*logprob = log_probability(glm_adjust_original(s->adjust, logits, token), s->max, s->sum);
	glm_sampler_advance(s, token);
}

bool
glm_sampler_pick(glm_sampler *s, float *logits, uint64_t index, const uint64_t *allowed,
				 int32_t *token, float *logprob, glm_error *err)
{
	if (!glm_sampler_begin(s, logits, logprob != NULL, err))
		return false;
	*token = glm_sampler_draw(s, logits, index, allowed);
	if (*token < 0)
		return none_allowed(err);
	glm_sampler_end(s, logits, *token, logprob);
	return true;
}

bool
glm_sampler_know(const glm_sampler *s, const float *logits, int32_t token, float *logprob,
				 glm_error *err)
{
	double max, sum;

	if (!all_finite(logits, s->n_ids))
		return not_finite(err);
	glm_logits_sum(logits, s->n_ids, &max, &sum);
	*logprob = log_probability(logits[token], max, sum);
	return true;
}

int
glm_sampler_likeliest(const glm_sampler *s, const float *logits, int n, glm_likely *likely)
{
	double max, sum;
	int	   have = 0;

	for (int32_t i = 0; i < s->n_ids && n > 0; i++)
	{
		int at = have < n ? have : n - 1;

		if (have == n && logits[i] <= logits[likely[at].token])
			continue;
		have += have < n;
		for (; at > 0 && logits[i] > logits[likely[at - 1].token]; at--)
			likely[at] = likely[at - 1];
		likely[at].token = i;
	}
	glm_logits_sum(logits, s->n_ids, &max, &sum);
	for (int i = 0; i < have; i++)
		likely[i].logprob = log_probability(logits[likely[i].token], max, sum);
	return have;
}

/* ---- Picks that are made elsewhere ------------------------------------------- */

bool
glm_sampler_describe(const glm_sampler *s, uint64_t index, bool logprob, const int32_t *draft,
					 int n_draft, glm_pick_room *room, glm_pick *pick)
{
	*pick = (glm_pick){.temperature = s->temperature,
					   .top_p = s->top_p,
					   .min_p = s->min_p,
					   .repetition = 1,
					   .top_k = s->top_k,
					   .n_ids = s->n_ids,
					   .seed = s->seed,
					   .index = index,
					   .logprob = logprob};
	return glm_adjust_describe(s->adjust, draft, n_draft, room, pick);
}

bool
glm_sampler_looks_back(const glm_sampler *s)
{
	return glm_adjust_looks_back(s->adjust);
}

bool
glm_sampler_take(glm_sampler *s, const glm_picked_id *picked, int32_t *token, float *logprob,
				 glm_error *err)
{
	if (picked->status == GLM_INTERNAL)
		return none_allowed(err);
	if (picked->status != GLM_OK)
		return not_finite(err);
	*token = picked->id;
	if (logprob != NULL)
		*logprob = log_probability(picked->logit, picked->max, picked->sum);
	glm_sampler_advance(s, *token);
	return true;
}
