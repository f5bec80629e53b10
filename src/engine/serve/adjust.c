/*
 * adjust.c - penalties and biases: logits as a request wants them changed.
 *
 * For each token that was there or has a bias,
 *
 *     l' = l / r if l > 0 else l * r      r: repetition penalty, of tokens of prompt or answer
 *     l'' = l' - f c - p [c > 0] + b      f, p: frequency and presence penalty, c: times that
 *                                         the token is in the answer, b: its bias
 *
 * in double and rounded once.  The first line is Hugging Face's, the second OpenAI's, and the
 * order of both that of vLLM.  A bias of GLM_BIAS_BAN is a ban: the token gets -infinity, which
 * no draw takes, nor the choice of the largest.
 *
 * Only the tokens concerned are walked, in the order in which they came to be.  All memory
 * is taken at open.  An adjustment belongs to its sampler.
 */
#include "engine/serve/adjust.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A token whose logit changes, or will once it has been there. */
typedef struct changed_token
{
	int32_t token;
	int32_t count; /* in the answer */
	float	bias;
	float	logit; /* before it was changed */
} changed_token;

struct glm_adjust
{
	int			   n_ids;
	double		   repetition;
	double		   frequency;
	double		   presence;
	int32_t		  *place;	/* [n_ids] behind that in `changed`; 0: it is not there */
	changed_token *changed; /* [n_ids], distinct tokens */
	int			   n_changed;
	uint64_t	  *seen; /* the set of those in prompt or answer, see glm_pick */
};

/* ---- What is asked for ---------------------------------------------------------- */

bool
glm_adjust_wanted(const glm_request *req)
{
	return req->repetition_penalty != 1 || req->frequency_penalty != 0 ||
		   req->presence_penalty != 0 || req->bias.length > 0;
}

bool
glm_adjust_check(const glm_request *req, int n_ids, glm_error *err)
{
	size_t			n, banned = 0;
	const glm_bias *bias = glm_request_bias(req, &n);

	for (size_t i = 0; i < n; i++)
	{
		if (bias[i].token < 0 || bias[i].token >= n_ids)
			return glm_fail(err, GLM_BAD_ARGUMENT,
							"argument \"logit_bias\" has token %d, but the model has 0 to %d",
							bias[i].token, n_ids - 1);
		banned += bias[i].bias <= GLM_BIAS_BAN;
	}
	if (banned >= (size_t) n_ids)
		return glm_fail(err, GLM_BAD_ARGUMENT, "argument \"logit_bias\" bans all tokens");
	return true;
}

/* ---- Tokens that are concerned ---------------------------------------------------- */

static void
set_bit(uint64_t *set, int32_t token)
{
	set[token / 64] |= UINT64_C(1) << token % 64;
}

/* The entry of a token; NULL where it is none of the vocabulary. */
static changed_token *
entry_of(glm_adjust *a, int32_t token)
{
	if (token < 0 || token >= a->n_ids)
		return NULL;
	if (a->place[token] == 0)
	{
		a->changed[a->n_changed] = (changed_token){.token = token};
		a->place[token] = ++a->n_changed;
	}
	return &a->changed[a->place[token] - 1];
}

glm_adjust *
glm_adjust_open(const glm_request *req, int n_ids)
{
	glm_adjust	   *a = calloc(1, sizeof(*a));
	size_t			n;
	const glm_bias *bias = glm_request_bias(req, &n);

	if (a == NULL)
		return NULL;
	a->n_ids = n_ids;
	a->repetition = req->repetition_penalty;
	a->frequency = req->frequency_penalty;
	a->presence = req->presence_penalty;
	a->place = calloc((size_t) n_ids, sizeof(*a->place));
	a->changed = calloc((size_t) n_ids, sizeof(*a->changed));
	a->seen = calloc(1, GLM_PICK_SET_BYTES(n_ids));
	if (a->place == NULL || a->changed == NULL || a->seen == NULL)
	{
		glm_adjust_close(a);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
	{
		changed_token *entry = entry_of(a, bias[i].token);

		if (entry != NULL)
			entry->bias = bias[i].bias;
	}
	return a;
}

void
glm_adjust_close(glm_adjust *a)
{
	if (a == NULL)
		return;
	free(a->place);
	free(a->changed);
	free(a->seen);
	free(a);
}

void
glm_adjust_read(glm_adjust *a, int32_t token)
{
	if (a != NULL && a->repetition != 1 && entry_of(a, token) != NULL)
		set_bit(a->seen, token);
}

void
glm_adjust_count(glm_adjust *a, int32_t token)
{
	changed_token *entry = a != NULL ? entry_of(a, token) : NULL;

	if (entry == NULL)
		return;
	set_bit(a->seen, token);
	entry->count++;
}

/* ---- Logits ------------------------------------------------------------------------- */

static double
changed_logit(const glm_adjust *a, const changed_token *entry, double logit)
{
	double value = logit;

	if (a->repetition != 1 && (a->seen[entry->token / 64] >> entry->token % 64 & 1) != 0)
		value = value > 0 ? value / a->repetition : value * a->repetition;
	value -= a->frequency * entry->count;
	if (entry->count > 0)
		value -= a->presence;
	value += entry->bias;
	/* a tiny penalty must not make an infinity */
	return fmin(fmax(value, -FLT_MAX), FLT_MAX);
}

void
glm_adjust_apply(glm_adjust *a, float *logits)
{
	for (int i = 0; a != NULL && i < a->n_changed; i++)
	{
		changed_token *entry = &a->changed[i];
		float		  *logit = &logits[entry->token];

		entry->logit = *logit;
		*logit = entry->bias <= GLM_BIAS_BAN ? -INFINITY : (float) changed_logit(a, entry, *logit);
	}
}

float
glm_adjust_original(const glm_adjust *a, const float *logits, int32_t token)
{
	return a != NULL && a->place[token] != 0 ? a->changed[a->place[token] - 1].logit
											 : logits[token];
}

/* ---- Picks that are made elsewhere ---------------------------------------------------- */

bool
glm_adjust_looks_back(const glm_adjust *a)
{
	return a != NULL && (a->repetition != 1 || a->frequency != 0 || a->presence != 0);
}

/* Those below n_ids alone have logits. */
static bool
is_counted(const glm_adjust *a, int32_t token)
{
	return token >= 0 && token < a->n_ids;
}

static bool
describe_seen(const glm_adjust *a, const int32_t *token, int n, glm_pick_room *room, glm_pick *pick)
{
	size_t	  bytes = GLM_PICK_SET_BYTES(a->n_ids);
	uint64_t *seen;

	if (a->repetition == 1)
		return true;
	seen = glm_pick_room_take(room, bytes);
	if (seen == NULL)
		return false;
	memcpy(seen, a->seen, bytes);
	for (int i = 0; i < n; i++)
		if (is_counted(a, token[i]))
			set_bit(seen, token[i]);
	pick->seen = seen;
	return true;
}

/* Counts a token in the list, which has room for one more. */
static void
count_change(glm_pick_change *change, int *n, int32_t token)
{
	int i = 0;

	while (i < *n && change[i].id != token)
		i++;
	if (i == *n)
		change[(*n)++] = (glm_pick_change){.id = token};
	change[i].count++;
}

static bool
describe_changes(const glm_adjust *a, const int32_t *token, int n, glm_pick_room *room,
				 glm_pick *pick)
{
	bool			 counts = a->frequency != 0 || a->presence != 0;
	int				 most = n;
	glm_pick_change *change;

	for (int i = 0; i < a->n_changed; i++)
		most += (counts && a->changed[i].count > 0) || a->changed[i].bias != 0;
	change = glm_pick_room_take(room, (size_t) most * sizeof(*change));
	if (change == NULL)
		return false;
	for (int i = 0; i < a->n_changed; i++)
	{
		const changed_token *entry = &a->changed[i];

		if ((counts && entry->count > 0) || entry->bias != 0)
			change[pick->n_changes++] = (glm_pick_change){entry->token, entry->count, entry->bias};
	}
	for (int i = 0; counts && i < n; i++)
		if (is_counted(a, token[i]))
			count_change(change, &pick->n_changes, token[i]);
	pick->change = change;
	return true;
}

bool
glm_adjust_describe(const glm_adjust *a, const int32_t *token, int n, glm_pick_room *room,
					glm_pick *pick)
{
	if (a == NULL)
		return true;
	pick->repetition = a->repetition;
	pick->frequency = a->frequency;
	pick->presence = a->presence;
	return describe_seen(a, token, n, room, pick) && describe_changes(a, token, n, room, pick);
}
