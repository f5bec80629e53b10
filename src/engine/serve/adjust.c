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

/* A token whose logit changes, or will once it has been there. */
typedef struct changed_token
{
	int32_t token;
	int32_t count; /* in the answer */
	float	bias;
	float	logit; /* before it was changed */
	bool	seen;  /* in prompt or answer */
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
	if (a->place == NULL || a->changed == NULL)
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
	free(a);
}

void
glm_adjust_read(glm_adjust *a, int32_t token)
{
	changed_token *entry;

	if (a == NULL || a->repetition == 1)
		return;
	entry = entry_of(a, token);
	if (entry != NULL)
		entry->seen = true;
}

void
glm_adjust_count(glm_adjust *a, int32_t token)
{
	changed_token *entry = a != NULL ? entry_of(a, token) : NULL;

	if (entry == NULL)
		return;
	entry->seen = true;
	entry->count++;
}

/* ---- Logits ------------------------------------------------------------------------- */

static double
changed_logit(const glm_adjust *a, const changed_token *entry, double logit)
{
	double value = logit;

	if (entry->seen && a->repetition != 1)
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
