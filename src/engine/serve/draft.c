/*
 * draft.c - speculation without a second model: which tokens will come next?
 *
 * A pass over a few rows takes little longer than one over a single row, so
 * tokens that can be foreseen are computed in one pass and each is compared with
 * what is sampled after the one before it (pass.c).  What is right is kept, what
 * is wrong is computed anew, and the answer is what it would have been.
 *
 * Three sources.  *Look-up*: where the last two tokens (or the last) occurred
 * before in the prompt or answer, the token that followed then may follow now; that
 * foretells answers that copy.  *Habit*: a table over the answers learnt from,
 * from three tokens to the one that followed.  *Form*: the same from the last
 * token and the last five common ones, common being what makes up a large part of
 * these answers.  So what is particular is left out, and the keys of a JSON
 * object are foretold whatever the values between them are.
 *
 * Every guess belongs to a class (length and run of the match; how often the
 * habit was confirmed), and how often guesses of a class were right is counted as
 * answers go by, whether they were used or not.  A draft is as long as brings
 * most: the sum of the probabilities that all of it up to a token is right, less what
 * its rows cost, which drafter.c knows.  And a
 * sequence whose drafts come true less often than hoped is believed less.
 *
 * All of it belongs to the engine thread.  Nothing allocates but open.
 */
#include "engine/serve/draft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HABITS 16384 /* a power of two */
#define HABIT_TOKENS 3
#define CONFIRMED_MAX 7
#define MATCH_MAX 4
#define RUN_MAX 3
#define PLACES_SEEN 8192 /* of tokens by id, a power of two */
#define SEEN_MAX 20000	 /* tokens after which all counts are halved */
#define COMMON 40		 /* one in so many tokens of answers */

/* Where the classes of each source begin. */
enum
{
	HABIT_CLASS = 0,
	FORM_CLASS = HABIT_CLASS + CONFIRMED_MAX + 1,
	COPY_CLASS = FORM_CLASS + CONFIRMED_MAX + 1,
	N_CLASSES = COPY_CLASS + (MATCH_MAX + 1) * (RUN_MAX + 1)
};
#define PLACES_MAX 4096

typedef struct habit
{
	uint32_t check; /* the rest of the hash; 0: unused */
	int32_t	 token;
	int		 confirmed; /* times it came true lately */
} habit;

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

struct glm_learnt
{
	habit	 habit[HABITS];
	score	 score[N_CLASSES];
	uint16_t seen[PLACES_SEEN]; /* tokens of answers, by id */
	int		 n_seen;
};

/* ---- Open and close ---------------------------------------------------------- */

glm_learnt *
glm_learnt_open(void)
{
	glm_learnt *l = malloc(sizeof(*l));

	if (l != NULL)
		glm_learnt_reset(l);
	return l;
}

void
glm_learnt_reset(glm_learnt *l)
{
	memset(l, 0, sizeof(*l));
	for (int i = 0; i < N_CLASSES; i++)
		l->score[i] = (score){1, 2};
}

void
glm_learnt_close(glm_learnt *l)
{
	free(l);
}

bool
glm_foresight_open(glm_foresight *f, const int32_t *tokens, int n, int limit)
{
	uint32_t places = 64;

	memset(f, 0, sizeof(*f));
	while (places < PLACES_MAX && places < (uint32_t) limit * 2)
		places *= 2;
	f->mask = places - 1;
	f->after_pair = calloc(places, sizeof(*f->after_pair));
	f->after_one = calloc(places, sizeof(*f->after_one));
	if (f->after_pair == NULL || f->after_one == NULL)
		return false;
	for (int i = 1; i <= n; i++)
		glm_foresight_learn(f, NULL, tokens, i);
	return true;
}

void
glm_foresight_close(glm_foresight *f)
{
	free(f->after_pair);
	free(f->after_one);
}

/* ---- Guesses ---------------------------------------------------------------------- */

static uint32_t
mixed(uint32_t x)
{
	x ^= x >> 16;
	x *= 0x7feb352d;
	x ^= x >> 15;
	x *= 0x846ca68b;
	return x ^ x >> 16;
}

/* The places of what the n tokens end in. */
static int32_t *
place_of_pair(const glm_foresight *f, const int32_t *tokens, int n)
{
	return &f->after_pair[mixed((uint32_t) tokens[n - 2] * 31 + (uint32_t) tokens[n - 1]) &
						  f->mask];
}

static int32_t *
place_of_one(const glm_foresight *f, const int32_t *tokens, int n)
{
	return &f->after_one[mixed((uint32_t) tokens[n - 1]) & f->mask];
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

/* What followed the last tokens when they occurred before; at most the first `known` count. */
static guess
look_up(const glm_foresight *f, const int32_t *tokens, int n, int run)
{
	int at = n >= 2 ? *place_of_pair(f, tokens, n) : 0;
	int length = at > 0 && at < n ? match_length(tokens, n, at) : 0;

	if (length < 2)
	{
		at = n >= 1 ? *place_of_one(f, tokens, n) : 0;
		length = at > 0 && at < n ? match_length(tokens, n, at) : 0;
	}
	if (length == 0)
		return (guess){-1, 0};
	return (guess){tokens[at],
				   COPY_CLASS + length * (RUN_MAX + 1) + (run < RUN_MAX ? run : RUN_MAX)};
}

static uint32_t
hash_of_tokens(uint32_t hash, const int32_t *tokens, int n)
{
	for (int i = 0; i < n; i++)
		hash = mixed(hash + (uint32_t) tokens[i] + 0x9e3779b9);
	return hash;
}

/* What the n tokens end in, as habits and as forms know it. */
static uint32_t
hash_of_habit(const int32_t *tokens, int n)
{
	return hash_of_tokens(HABIT_CLASS, &tokens[n - HABIT_TOKENS], HABIT_TOKENS);
}

static uint32_t
hash_of_form(const int32_t *form, const int32_t *tokens, int n)
{
	return hash_of_tokens(hash_of_tokens(FORM_CLASS, form, GLM_DRAFT_FORM), &tokens[n - 1], 1);
}

static uint32_t
check_of(uint32_t hash)
{
	return hash / HABITS + 1;
}

static guess
recall(const glm_learnt *l, uint32_t hash, int first_class)
{
	const habit *h = &l->habit[hash % HABITS];

	if (h->check != check_of(hash))
		return (guess){-1, 0};
	return (guess){h->token, first_class + h->confirmed};
}

/* ---- Forms ---------------------------------------------------------------------------- */

static bool
is_common(const glm_learnt *l, int32_t token)
{
	return l->seen[(uint32_t) token % PLACES_SEEN] * COMMON > l->n_seen;
}

static void
extend_form(const glm_learnt *l, int32_t *form, int32_t token)
{
	if (!is_common(l, token))
		return;
	memmove(form, form + 1, (GLM_DRAFT_FORM - 1) * sizeof(*form));
	form[GLM_DRAFT_FORM - 1] = token;
}

static void
count_token(glm_learnt *l, int32_t token)
{
	l->seen[(uint32_t) token % PLACES_SEEN]++;
	if (++l->n_seen < SEEN_MAX)
		return;
	l->n_seen /= 2;
	for (int i = 0; i < PLACES_SEEN; i++)
		l->seen[i] /= 2;
}

/* ---- Drafts ----------------------------------------------------------------------------- */

/* How likely a guess is right.  Without such counts, look-ups by their length. */
static float
chance(const glm_learnt *l, guess g)
{
	if (g.token < 0)
		return 0;
	if (l == NULL)
		return g.class >= COPY_CLASS + 2 * (RUN_MAX + 1) ? 0.6f : 0.3f;
	return l->score[g.class].right / l->score[g.class].all;
}

static guess
better(const glm_learnt *l, guess a, guess b)
{
	return chance(l, b) > chance(l, a) ? b : a;
}

/*
 * The whole chain of guesses is made first, and then cut where it brings most; so a
 * size of pass that costs much does not hide a better one behind it.
 */
void
glm_foresight_draft(glm_foresight *f, const glm_learnt *l, int32_t *tokens, int n, int max,
					const glm_draft_costs *costs, int rows)
{
	float	trust = (f->came + 2) / (f->hoped + 2);
	float	all_right = trust < 1 ? trust : 1;
	float	hope = 0;
	float	best_gain = 0;
	int		run = f->run;
	int32_t form[GLM_DRAFT_FORM];

	memcpy(form, f->form, sizeof(form));
	f->n_drafts = 0;
	f->hope = 0;
	for (int i = 0; i < max && (costs == NULL || rows + i < GLM_DRAFT_ROWS); i++)
	{
		guess copied = look_up(f, tokens, n + i, run);
		guess best = copied;
		float gain;

		if (l != NULL && n + i >= HABIT_TOKENS)
		{
			best = better(l, best, recall(l, hash_of_habit(tokens, n + i), HABIT_CLASS));
			best = better(l, best, recall(l, hash_of_form(form, tokens, n + i), FORM_CLASS));
		}
		all_right *= chance(l, best);
		if (best.token < 0 || (costs != NULL && all_right * costs->token_ns < costs->least_ns))
			break;
		run = best.token == copied.token ? run + 1 : 0;
		tokens[n + i] = best.token;
		if (l != NULL)
			extend_form(l, form, best.token);
		hope += all_right;
		gain = costs == NULL ? hope : hope - glm_draft_cost(costs, rows, i + 1);
		if (gain > best_gain)
		{
			best_gain = gain;
			f->n_drafts = i + 1;
			f->hope = hope;
		}
	}
}

/* ---- Learning ---------------------------------------------------------------------- */

static void
count_guess(glm_learnt *l, guess g, int32_t token)
{
	const float keep = 0.98f;
	score	   *s = &l->score[g.class];

	if (g.token < 0)
		return;
	s->right = s->right * keep + (float) (g.token == token);
	s->all = s->all * keep + 1;
}

/* Counts how the guess of a source did, and gets its habit right. */
static void
teach(glm_learnt *l, uint32_t hash, int first_class, int32_t token)
{
	habit *h = &l->habit[hash % HABITS];

	count_guess(l, recall(l, hash, first_class), token);
	if (h->check == check_of(hash) && h->token == token)
	{
		if (h->confirmed < CONFIRMED_MAX)
			h->confirmed++;
	}
	else if (h->check != 0 && h->confirmed > 1)
		h->confirmed /= 2;
	else
		*h = (habit){check_of(hash), token, 0};
}

void
glm_foresight_learn(glm_foresight *f, glm_learnt *l, const int32_t *tokens, int n)
{
	int	  before = n - 1;
	guess copied = look_up(f, tokens, before, f->run);

	f->run = copied.token >= 0 && copied.token == tokens[before] ? f->run + 1 : 0;
	if (before >= 2)
		*place_of_pair(f, tokens, before) = before;
	if (before >= 1)
		*place_of_one(f, tokens, before) = before;
	if (l == NULL || before < HABIT_TOKENS)
		return;
	count_guess(l, copied, tokens[before]);
	teach(l, hash_of_habit(tokens, before), HABIT_CLASS, tokens[before]);
	teach(l, hash_of_form(f->form, tokens, before), FORM_CLASS, tokens[before]);
	extend_form(l, f->form, tokens[before]);
	count_token(l, tokens[before]);
}

void
glm_foresight_judge(glm_foresight *f, int accepted)
{
	const float keep = 0.95f;

	f->hoped = f->hoped * keep + f->hope;
	f->came = f->came * keep + (float) accepted;
}
