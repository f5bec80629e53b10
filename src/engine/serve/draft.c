/*
 * draft.c - speculation without a second model: which tokens will come next?
 *
 * A pass over a few rows takes little longer than one over a single row, so tokens that
 * can be predicted are computed in one pass, and each is compared with what is sampled
 * after the one before it (kind_generate.c).  What is right is accepted, what is wrong is
 * computed anew, and the answer is what it would have been.
 *
 * Three sources.  *Prompt look-up*: where the last two tokens (or the last) occurred
 * before in the prompt or answer, the token that followed then may follow now; that
 * predicts answers that copy.  *N-grams*: a table over the answers learnt from, from
 * three tokens to the one that followed.  *Skip-grams*: the same from the last token and
 * the last five common ones, common being what makes up a large part of these answers.
 * So what is particular is left out, and the keys of a JSON object are predicted whatever
 * the values between them are.
 *
 * Every guess belongs to a class (length and run of the match; how often the n-gram was
 * confirmed), and how often guesses of a class were right is counted as answers go by,
 * whether they were used or not.  A draft is as long as gains most: the sum of the
 * probabilities that all of it up to a token is right, less what its rows cost.  A
 * sequence of whose drafts less is accepted than was expected has its probabilities
 * lowered.
 *
 * All of it belongs to the engine thread.  Nothing allocates but open.
 */
#include "engine/serve/draft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NGRAMS 16384 /* and skip-grams; a power of two */
#define NGRAM_TOKENS 3
#define CONFIRMED_MAX 7
#define MATCH_MAX 4
#define RUN_MAX 3
#define PLACES_SEEN 8192 /* of tokens by id, a power of two */
#define SEEN_MAX 20000	 /* tokens after which all counts are halved */
#define COMMON 40		 /* one in so many tokens of answers */

/* Where the classes of each source begin. */
enum
{
	NGRAM_CLASS = 0,
	SKIPGRAM_CLASS = NGRAM_CLASS + CONFIRMED_MAX + 1,
	LOOKUP_CLASS = SKIPGRAM_CLASS + CONFIRMED_MAX + 1,
	N_CLASSES = LOOKUP_CLASS + (MATCH_MAX + 1) * (RUN_MAX + 1),
	CERTAIN_CLASS /* of what is no guess */
};
#define PLACES_MAX 4096

/* A token by those that stand before it: an n-gram or a skip-gram. */
typedef struct ngram
{
	uint32_t check; /* the rest of the hash of those before; 0: unused */
	int32_t	 token;
	int		 confirmed; /* times it was right lately */
} ngram;

/* A rolling count of guesses and of those that were right. */
typedef struct score
{
	float right;
	float all;
} score;

typedef struct guess
{
	int32_t token; /* negative: none */
	int class;
} guess;

struct glm_ngrams
{
	ngram	 table[NGRAMS];
	score	 score[N_CLASSES];
	uint16_t seen[PLACES_SEEN]; /* tokens of answers, by id */
	int		 n_seen;
};

/* ---- Open and close ---------------------------------------------------------- */

glm_ngrams *
glm_ngrams_open(void)
{
	glm_ngrams *ngrams = malloc(sizeof(*ngrams));

	if (ngrams != NULL)
		glm_ngrams_reset(ngrams);
	return ngrams;
}

void
glm_ngrams_reset(glm_ngrams *ngrams)
{
	memset(ngrams, 0, sizeof(*ngrams));
	for (int i = 0; i < N_CLASSES; i++)
		ngrams->score[i] = (score){1, 2};
}

void
glm_ngrams_close(glm_ngrams *ngrams)
{
	free(ngrams);
}

bool
glm_draft_open(glm_draft *d, const int32_t *tokens, int n, int limit)
{
	uint32_t places = 64;

	memset(d, 0, sizeof(*d));
	while (places < PLACES_MAX && places < (uint32_t) limit * 2)
		places *= 2;
	d->mask = places - 1;
	d->after_bigram = calloc(places, sizeof(*d->after_bigram));
	d->after_unigram = calloc(places, sizeof(*d->after_unigram));
	if (d->after_bigram == NULL || d->after_unigram == NULL)
		return false;
	for (int i = 1; i <= n; i++)
		glm_draft_learn(d, NULL, tokens, i);
	return true;
}

void
glm_draft_close(glm_draft *d)
{
	free(d->after_bigram);
	free(d->after_unigram);
}

/* ---- Guesses ---------------------------------------------------------------------- */

static uint32_t
hash_mix(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352d;
	x ^= x >> 15;
	x *= 0x846ca68b;
	return x ^ x >> 16;
}

/* The places of what the n tokens end in. */
static int32_t *
place_of_bigram(const glm_draft *d, const int32_t *tokens, int n)
{
	return &d->after_bigram[hash_mix((uint32_t) tokens[n - 2] * 31 + (uint32_t) tokens[n - 1]) &
							d->mask];
}

static int32_t *
place_of_unigram(const glm_draft *d, const int32_t *tokens, int n)
{
	return &d->after_unigram[hash_mix((uint32_t) tokens[n - 1]) & d->mask];
}

/* How many of the last tokens, up to MATCH_MAX, stand before place `at` too. */
static int
match_length(const int32_t *tokens, int n, int at)
{
	int length = 0;

	while (length < MATCH_MAX && length < at && tokens[at - 1 - length] == tokens[n - 1 - length])
		length++;
	return length;
}

/* What followed the last of the n tokens when they occurred before, after a run of matches. */
static guess
look_up_text(const glm_draft *d, const int32_t *tokens, int n, int run)
{
	int at = n >= 2 ? *place_of_bigram(d, tokens, n) : 0;
	int length = at > 0 && at < n ? match_length(tokens, n, at) : 0;

	if (length < 2)
	{
		at = n >= 1 ? *place_of_unigram(d, tokens, n) : 0;
		length = at > 0 && at < n ? match_length(tokens, n, at) : 0;
	}
	if (length == 0)
		return (guess){-1, 0};
	return (guess){tokens[at],
				   LOOKUP_CLASS + length * (RUN_MAX + 1) + (run < RUN_MAX ? run : RUN_MAX)};
}

static uint32_t
hash_of_tokens(uint32_t hash, const int32_t *tokens, int n)
{
	for (int i = 0; i < n; i++)
		hash = hash_mix(hash + (uint32_t) tokens[i] + 0x9e3779b9);
	return hash;
}

/* The hash of what the n tokens end in: of an n-gram, and of a skip-gram. */
static uint32_t
hash_of_ngram(const int32_t *tokens, int n)
{
	return hash_of_tokens(NGRAM_CLASS, &tokens[n - NGRAM_TOKENS], NGRAM_TOKENS);
}

static uint32_t
hash_of_skipgram(const int32_t *common, const int32_t *tokens, int n)
{
	return hash_of_tokens(hash_of_tokens(SKIPGRAM_CLASS, common, GLM_SKIPGRAM_TOKENS),
						  &tokens[n - 1], 1);
}

static uint32_t
check_of(uint32_t hash)
{
	return hash / NGRAMS + 1;
}

static guess
look_up_ngram(const glm_ngrams *ngrams, uint32_t hash, int first_class)
{
	const ngram *entry = &ngrams->table[hash % NGRAMS];

	if (entry->check != check_of(hash))
		return (guess){-1, 0};
	return (guess){entry->token, first_class + entry->confirmed};
}

/* ---- Common tokens ---------------------------------------------------------------------------- */

static bool
is_common(const glm_ngrams *ngrams, int32_t token)
{
	return ngrams->seen[(uint32_t) token % PLACES_SEEN] * COMMON > ngrams->n_seen;
}

static void
extend_common(const glm_ngrams *ngrams, int32_t *common, int32_t token)
{
	if (!is_common(ngrams, token))
		return;
	memmove(common, common + 1, (GLM_SKIPGRAM_TOKENS - 1) * sizeof(*common));
	common[GLM_SKIPGRAM_TOKENS - 1] = token;
}

static void
count_frequency(glm_ngrams *ngrams, int32_t token)
{
	ngrams->seen[(uint32_t) token % PLACES_SEEN]++;
	if (++ngrams->n_seen < SEEN_MAX)
		return;
	ngrams->n_seen /= 2;
	for (int i = 0; i < PLACES_SEEN; i++)
		ngrams->seen[i] /= 2;
}

/* ---- Drafts ----------------------------------------------------------------------------- */

/* How likely a guess is right.  Without such counts, look-ups by their length. */
static float
probability(const glm_ngrams *ngrams, guess g)
{
	if (g.token < 0 || g.class == CERTAIN_CLASS)
		return g.token < 0 ? 0 : 1;
	if (ngrams == NULL)
		return g.class >= LOOKUP_CLASS + 2 * (RUN_MAX + 1) ? 0.6f : 0.3f;
	return ngrams->score[g.class].right / ngrams->score[g.class].all;
}

static guess
better(const glm_ngrams *ngrams, guess a, guess b)
{
	return probability(ngrams, b) > probability(ngrams, a) ? b : a;
}

/* The best guess of all sources; `copied` is the look-up's. */
static guess
guess_next(const glm_ngrams *ngrams, guess copied, const int32_t *common, const int32_t *tokens,
		   int n)
{
	guess best = copied;

	if (ngrams == NULL || n < NGRAM_TOKENS)
		return best;
	best = better(ngrams, best, look_up_ngram(ngrams, hash_of_ngram(tokens, n), NGRAM_CLASS));
	return better(ngrams, best,
				  look_up_ngram(ngrams, hash_of_skipgram(common, tokens, n), SKIPGRAM_CLASS));
}

/* What has to come next; its token is negative where there is a choice. */
static guess
forced_guess(const glm_draft_limits *limits)
{
	return (guess){limits->forced != NULL ? limits->forced(limits->arg) : -1, CERTAIN_CLASS};
}

/* What n more rows cost in a pass that has `rows`, in tokens. */
static float
cost_of_rows(const glm_draft_costs *costs, int rows, int n)
{
	double ns = costs->pass_ns[rows + n] - costs->pass_ns[rows];

	return (float) (fmax(ns, costs->least_ns * n) / costs->token_ns);
}

/*
 * The whole chain of guesses is made first, and then cut where it brings most; so a
 * size of pass that costs much does not hide a better one behind it.
 */
void
glm_draft_make(glm_draft *d, const glm_ngrams *ngrams, int32_t *tokens, int n,
			   const glm_draft_limits *limits)
{
	const glm_draft_costs *costs = limits->costs;
	float				   trust = (d->accepted_sum + 2) / (d->expected_sum + 2);
	float				   all_right = trust < 1 ? trust : 1;
	float				   expected = 0;
	float				   worth = 0;
	float				   cost = 0;
	float				   best_gain = 0;
	int					   run = d->run;
	int32_t				   common[GLM_SKIPGRAM_TOKENS];

	memcpy(common, d->common, sizeof(common));
	d->n_tokens = 0;
	d->expected = 0;
	for (int i = 0; i < limits->max && (costs == NULL || limits->rows + i < GLM_DRAFT_ROWS); i++)
	{
		guess copied = look_up_text(d, tokens, n + i, run);
		guess best = forced_guess(limits);
		float before = cost;

		if (best.token < 0)
			best = guess_next(ngrams, copied, common, tokens, n + i);
		all_right *= probability(ngrams, best);
		if (best.token < 0 || (costs != NULL && all_right * costs->token_ns < costs->least_ns) ||
			(limits->allows != NULL && !limits->allows(limits->arg, best.token)))
			break;
		run = best.token == copied.token ? run + 1 : 0;
		tokens[n + i] = best.token;
		if (ngrams != NULL)
			extend_common(ngrams, common, best.token);
		expected += all_right;
		cost = costs == NULL ? 0 : cost_of_rows(costs, limits->rows, i + 1);
		/* what is forced would come without a draft, for what its row costs */
		worth += all_right * (best.class == CERTAIN_CLASS ? cost - before : 1);
		if (worth - cost > best_gain)
		{
			best_gain = worth - cost;
			d->n_tokens = i + 1;
			d->expected = expected;
		}
	}
}

/* ---- Learning ---------------------------------------------------------------------- */

static void
count_guess(glm_ngrams *ngrams, guess g, int32_t token)
{
	const float keep = 0.98f;
	score	   *s = &ngrams->score[g.class];

	if (g.token < 0)
		return;
	s->right = s->right * keep + (float) (g.token == token);
	s->all = s->all * keep + 1;
}

/* Counts how the guess of a source did, and corrects its entry. */
static void
teach(glm_ngrams *ngrams, uint32_t hash, int first_class, int32_t token)
{
	ngram *entry = &ngrams->table[hash % NGRAMS];

	count_guess(ngrams, look_up_ngram(ngrams, hash, first_class), token);
	if (entry->check == check_of(hash) && entry->token == token)
	{
		if (entry->confirmed < CONFIRMED_MAX)
			entry->confirmed++;
	}
	else if (entry->check != 0 && entry->confirmed > 1)
		entry->confirmed /= 2;
	else
		*entry = (ngram){check_of(hash), token, 0};
}

void
glm_draft_learn(glm_draft *d, glm_ngrams *ngrams, const int32_t *tokens, int n)
{
	int	  before = n - 1;
	guess copied = look_up_text(d, tokens, before, d->run);

	d->run = copied.token >= 0 && copied.token == tokens[before] ? d->run + 1 : 0;
	if (before >= 2)
		*place_of_bigram(d, tokens, before) = before;
	if (before >= 1)
		*place_of_unigram(d, tokens, before) = before;
	if (ngrams == NULL || before < NGRAM_TOKENS)
		return;
	count_guess(ngrams, copied, tokens[before]);
	teach(ngrams, hash_of_ngram(tokens, before), NGRAM_CLASS, tokens[before]);
	teach(ngrams, hash_of_skipgram(d->common, tokens, before), SKIPGRAM_CLASS, tokens[before]);
	extend_common(ngrams, d->common, tokens[before]);
	count_frequency(ngrams, tokens[before]);
}

void
glm_draft_verified(glm_draft *d, int accepted)
{
	const float keep = 0.95f;

	d->expected_sum = d->expected_sum * keep + d->expected;
	d->accepted_sum = d->accepted_sum * keep + (float) accepted;
}
