/*
 * draft.c - speculation without a second model: which tokens will come next?
 *
 * A pass over a few rows takes little longer than one over a single row, so
 * tokens that can be foreseen are computed in one pass and each is compared with
 * what is sampled after the one before it (pass.c).  What is right is kept, what
 * is wrong is computed anew, and the answer is what it would have been.
 *
 * Two sources.  *Look-up*: where the last two tokens (or the last) occurred before
 * in the prompt or answer, the token that followed then may follow now; that
 * foretells answers that copy.  *Habit*: a table over the answers of the model,
 * from three tokens to the one that followed; that foretells what answers
 * have in common, such as the keys of a JSON object.
 *
 * Every guess belongs to a class (length and run of the match; how often the
 * habit was confirmed), and how often guesses of a class were right is counted as
 * answers go by, whether they were used or not.  A draft goes on while the
 * probability that all of it is right is worth more than what a row costs: the
 * part of a pass's time that grows with its rows, fitted to the passes
 * themselves.  And a sequence whose drafts come true less often than hoped is
 * believed less.
 *
 * All of it belongs to the engine thread.  Nothing allocates but open.
 */
#include "draft.h"

#include <stdlib.h>
#include <string.h>

#define HABITS 8192				/* a power of two */
#define HABIT_TOKENS 3
#define CONFIRMED_MAX 7
#define MATCH_MAX 4
#define RUN_MAX 3
#define N_CLASSES (CONFIRMED_MAX + 1 + (MATCH_MAX + 1) * (RUN_MAX + 1))
#define PLACES_MAX 4096
#define FITTED_ROWS 24			/* larger passes use other paths of the kernels */
#define UNKNOWN_SHARE 0.3		/* until passes of several sizes were seen */

/* A token saved is worth less than a pass, as passes give several: see the share. */
#define WORTH 1.5

typedef struct habit
{
	uint32_t	check;			/* the rest of the hash; 0: unused */
	int32_t		token;
	int			confirmed;		/* times it came true lately */
} habit;

/* A rolling count of guesses and of those that were right. */
typedef struct score
{
	float		right;
	float		all;
} score;

typedef struct guess
{
	int32_t		token;			/* negative: none */
	int			class;
} guess;

struct glm_drafter
{
	habit		habit[HABITS];
	score		score[N_CLASSES];
	/* rolling sums over passes of n rows and t ns */
	double		count;
	double		n;
	double		nn;
	double		t;
	double		nt;
};

/* ---- Open and close ---------------------------------------------------------- */

glm_drafter *
glm_drafter_open(void)
{
	glm_drafter *drafter = calloc(1, sizeof(*drafter));

	for (int i = 0; drafter != NULL && i < N_CLASSES; i++)
		drafter->score[i] = (score) {1, 2};
	return drafter;
}

void
glm_drafter_close(glm_drafter *drafter)
{
	free(drafter);
}

bool
glm_foresight_open(glm_foresight *f, const int32_t *tokens, int n, int limit)
{
	uint32_t	places = 64;

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

/* ---- What a row costs ---------------------------------------------------------- */

void
glm_drafter_count_pass(glm_drafter *d, int rows, int64_t ns)
{
	const double keep = 0.99;
	double		expected = d->count > 0 ? d->t / d->count : 0;
	double		t = (double) ns;

	if (rows > FITTED_ROWS)
		return;
	/* a pass that something else held up tells nothing */
	if (d->count > 8 && t > 8 * expected)
		return;
	d->count = d->count * keep + 1;
	d->n = d->n * keep + rows;
	d->nn = d->nn * keep + (double) rows * rows;
	d->t = d->t * keep + t;
	d->nt = d->nt * keep + rows * t;
}

double
glm_drafter_share(const glm_drafter *d, int rows)
{
	double		spread = d->nn * d->count - d->n * d->n;
	double		slope;
	double		fixed;

	if (d->count < 8 || spread < 0.1 * d->count * d->count)
		return UNKNOWN_SHARE * rows / (1 - UNKNOWN_SHARE + UNKNOWN_SHARE * rows);
	slope = (d->nt * d->count - d->n * d->t) / spread;
	fixed = (d->t - slope * d->n) / d->count;
	if (slope <= 0)
		return 0;
	if (fixed <= 0)
		return 1;
	return slope * rows / (fixed + slope * rows);
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
	return &f->after_pair[mixed((uint32_t) tokens[n - 2] * 31 + (uint32_t) tokens[n - 1]) & f->mask];
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
	int			length = 0;

	while (length < MATCH_MAX && length < at && tokens[at - 1 - length] == tokens[n - 1 - length])
		length++;
	return length;
}

/* What followed the last tokens when they occurred before; at most the first `known` count. */
static guess
look_up(const glm_foresight *f, const int32_t *tokens, int n, int run)
{
	int			at = n >= 2 ? *place_of_pair(f, tokens, n) : 0;
	int			length = at > 0 && at < n ? match_length(tokens, n, at) : 0;

	if (length < 2)
	{
		at = n >= 1 ? *place_of_one(f, tokens, n) : 0;
		length = at > 0 && at < n ? match_length(tokens, n, at) : 0;
	}
	if (length == 0)
		return (guess) {-1, 0};
	return (guess) {tokens[at], CONFIRMED_MAX + 1 + length * (RUN_MAX + 1) + (run < RUN_MAX ? run : RUN_MAX)};
}

static uint32_t
hash_of_habit(const int32_t *tokens, int n)
{
	uint32_t	hash = 0;

	for (int i = n - HABIT_TOKENS; i < n; i++)
		hash = mixed(hash + (uint32_t) tokens[i] + 0x9e3779b9);
	return hash;
}

static uint32_t
check_of_habit(uint32_t hash)
{
	return hash / HABITS + 1;
}

static guess
habitual(const glm_drafter *d, const int32_t *tokens, int n)
{
	uint32_t	hash;
	const habit *h;

	if (d == NULL || n < HABIT_TOKENS)
		return (guess) {-1, 0};
	hash = hash_of_habit(tokens, n);
	h = &d->habit[hash % HABITS];
	if (h->check != check_of_habit(hash))
		return (guess) {-1, 0};
	return (guess) {h->token, h->confirmed};
}

/* How likely a guess is right.  Without a model's counts, look-ups by their length. */
static float
chance(const glm_drafter *d, guess g)
{
	if (g.token < 0)
		return 0;
	if (d == NULL)
		return g.class >= CONFIRMED_MAX + 1 + 2 * (RUN_MAX + 1) ? 0.6f : 0.3f;
	return d->score[g.class].right / d->score[g.class].all;
}

void
glm_foresight_draft(glm_foresight *f, const glm_drafter *d,
					int32_t *tokens, int n, int max, double share)
{
	float		trust = (f->came + 2) / (f->hoped + 2);
	float		all_right = trust < 1 ? trust : 1;
	int			run = f->run;

	f->n_drafts = 0;
	f->hope = 0;
	while (f->n_drafts < max)
	{
		int			end = n + f->n_drafts;
		guess		copied = look_up(f, tokens, end, run);
		guess		usual = habitual(d, tokens, end);
		guess		best = chance(d, usual) >= chance(d, copied) ? usual : copied;

		all_right *= chance(d, best);
		if (best.token < 0 || all_right < share * WORTH)
			break;
		run = best.token == copied.token ? run + 1 : 0;
		tokens[end] = best.token;
		f->n_drafts++;
		f->hope += all_right;
	}
}

/* ---- Learning ---------------------------------------------------------------------- */

static void
count_guess(glm_drafter *d, guess g, int32_t token)
{
	const float keep = 0.98f;
	score	   *s = &d->score[g.class];

	if (g.token < 0)
		return;
	s->right = s->right * keep + (float) (g.token == token);
	s->all = s->all * keep + 1;
}

static void
form_habit(glm_drafter *d, const int32_t *tokens, int n)
{
	uint32_t	hash = hash_of_habit(tokens, n);
	habit	   *h = &d->habit[hash % HABITS];

	if (h->check == check_of_habit(hash) && h->token == tokens[n])
	{
		if (h->confirmed < CONFIRMED_MAX)
			h->confirmed++;
	}
	else if (h->check != 0 && h->confirmed > 1)
		h->confirmed /= 2;
	else
		*h = (habit) {check_of_habit(hash), tokens[n], 0};
}

void
glm_foresight_learn(glm_foresight *f, glm_drafter *d, const int32_t *tokens, int n)
{
	int			before = n - 1;
	guess		copied = look_up(f, tokens, before, f->run);

	f->run = copied.token >= 0 && copied.token == tokens[before] ? f->run + 1 : 0;
	if (before >= 2)
		*place_of_pair(f, tokens, before) = before;
	if (before >= 1)
		*place_of_one(f, tokens, before) = before;
	if (d == NULL || before < HABIT_TOKENS)
		return;
	count_guess(d, copied, tokens[before]);
	count_guess(d, habitual(d, tokens, before), tokens[before]);
	form_habit(d, tokens, before);
}

void
glm_foresight_judge(glm_foresight *f, int accepted)
{
	const float keep = 0.95f;

	f->hoped = f->hoped * keep + f->hope;
	f->came = f->came * keep + (float) accepted;
}
