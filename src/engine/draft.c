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
 * foretells answers that copy.  *Habit*: a table over the answers of the model,
 * from three tokens to the one that followed.  *Form*: the same from the last
 * token and the last five common ones, common being what makes up a large part of
 * the model's answers.  So what is particular is left out, and the keys of a JSON
 * object are foretold whatever the values between them are.
 *
 * Every guess belongs to a class (length and run of the match; how often the
 * habit was confirmed), and how often guesses of a class were right is counted as
 * answers go by, whether they were used or not.  A draft is as long as brings
 * most: the sum of the probabilities that all of it up to a token is right, less what
 * its rows cost, which is taken from the times of the passes themselves.  And a
 * sequence whose drafts come true less often than hoped is believed less.
 *
 * All of it belongs to the engine thread.  Nothing allocates but open.
 */
#include "draft.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HABITS 16384			/* a power of two */
#define HABIT_TOKENS 3
#define CONFIRMED_MAX 7
#define MATCH_MAX 4
#define RUN_MAX 3
#define PLACES_SEEN 8192		/* of tokens by id, a power of two */
#define SEEN_MAX 20000			/* tokens after which all counts are halved */
#define COMMON 40				/* one in so many tokens of answers */

/* Where the classes of each source begin. */
enum
{
	HABIT_CLASS = 0,
	FORM_CLASS = HABIT_CLASS + CONFIRMED_MAX + 1,
	COPY_CLASS = FORM_CLASS + CONFIRMED_MAX + 1,
	N_CLASSES = COPY_CLASS + (MATCH_MAX + 1) * (RUN_MAX + 1)
};
#define PLACES_MAX 4096
#define UNKNOWN_SHARE 0.3		/* of a pass: what a row adds, until it is known */
#define LEAST_SHARE 0.05		/* and at least */
#define KNOWN 0.5				/* passes of a size, lately, by which it is known */

/* A token saved is worth less than a pass for it alone, as passes give several. */
#define WORTH 0.65

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
	uint16_t	seen[PLACES_SEEN];	/* tokens of answers, by id */
	int			n_seen;
	/* of passes by their rows: what the quick ones take, and how many there were lately */
	double		quick_ns[GLM_DRAFT_ROWS + 1];
	double		passes[GLM_DRAFT_ROWS + 1];
	double		pass_ns[GLM_DRAFT_ROWS + 1];	/* what a pass is expected to take */
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
	int			below = known_size(d, rows, -1);
	int			above = known_size(d, rows, 1);
	int			before = below > 1 ? known_size(d, below - 1, -1) : 0;
	const double *ns = d->pass_ns;
	double		slope;

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
	double		least = INFINITY;

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
	double		t = (double) ns;
	double	   *quick = &d->quick_ns[rows <= GLM_DRAFT_ROWS ? rows : 0];

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
	costs->drafter = d;
	costs->token_ns = d->pass_ns[sampled] / sampled * WORTH;
	costs->least_ns = LEAST_SHARE * d->pass_ns[1];
	return true;
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
	return (guess) {tokens[at], COPY_CLASS + length * (RUN_MAX + 1) + (run < RUN_MAX ? run : RUN_MAX)};
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
recall(const glm_drafter *d, uint32_t hash, int first_class)
{
	const habit *h = &d->habit[hash % HABITS];

	if (h->check != check_of(hash))
		return (guess) {-1, 0};
	return (guess) {h->token, first_class + h->confirmed};
}

/* ---- Forms ---------------------------------------------------------------------------- */

static bool
is_common(const glm_drafter *d, int32_t token)
{
	return d->seen[(uint32_t) token % PLACES_SEEN] * COMMON > d->n_seen;
}

static void
extend_form(const glm_drafter *d, int32_t *form, int32_t token)
{
	if (!is_common(d, token))
		return;
	memmove(form, form + 1, (GLM_DRAFT_FORM - 1) * sizeof(*form));
	form[GLM_DRAFT_FORM - 1] = token;
}

static void
count_token(glm_drafter *d, int32_t token)
{
	d->seen[(uint32_t) token % PLACES_SEEN]++;
	if (++d->n_seen < SEEN_MAX)
		return;
	d->n_seen /= 2;
	for (int i = 0; i < PLACES_SEEN; i++)
		d->seen[i] /= 2;
}

/* ---- Drafts ----------------------------------------------------------------------------- */

/* How likely a guess is right.  Without a model's counts, look-ups by their length. */
static float
chance(const glm_drafter *d, guess g)
{
	if (g.token < 0)
		return 0;
	if (d == NULL)
		return g.class >= COPY_CLASS + 2 * (RUN_MAX + 1) ? 0.6f : 0.3f;
	return d->score[g.class].right / d->score[g.class].all;
}

static guess
better(const glm_drafter *d, guess a, guess b)
{
	return chance(d, b) > chance(d, a) ? b : a;
}

/* What n more rows cost in a pass that has `rows`, in tokens. */
static float
cost_of(const glm_draft_costs *costs, int rows, int n)
{
	const double *pass_ns = costs->drafter->pass_ns;
	double		ns = pass_ns[rows + n] - pass_ns[rows];

	return (float) (fmax(ns, costs->least_ns * n) / costs->token_ns);
}

/*
 * The whole chain of guesses is made first, and then cut where it brings most; so a
 * size of pass that costs much does not hide a better one behind it.
 */
void
glm_foresight_draft(glm_foresight *f, const glm_drafter *d, int32_t *tokens, int n, int max,
					const glm_draft_costs *costs, int rows)
{
	float		trust = (f->came + 2) / (f->hoped + 2);
	float		all_right = trust < 1 ? trust : 1;
	float		hope = 0;
	float		best_gain = 0;
	int			run = f->run;
	int32_t		form[GLM_DRAFT_FORM];

	memcpy(form, f->form, sizeof(form));
	f->n_drafts = 0;
	f->hope = 0;
	for (int i = 0; i < max && (costs == NULL || rows + i < GLM_DRAFT_ROWS); i++)
	{
		guess		copied = look_up(f, tokens, n + i, run);
		guess		best = copied;
		float		gain;

		if (d != NULL && n + i >= HABIT_TOKENS)
		{
			best = better(d, best, recall(d, hash_of_habit(tokens, n + i), HABIT_CLASS));
			best = better(d, best, recall(d, hash_of_form(form, tokens, n + i), FORM_CLASS));
		}
		all_right *= chance(d, best);
		if (best.token < 0 || (costs != NULL && all_right * costs->token_ns < costs->least_ns))
			break;
		run = best.token == copied.token ? run + 1 : 0;
		tokens[n + i] = best.token;
		if (d != NULL)
			extend_form(d, form, best.token);
		hope += all_right;
		gain = costs == NULL ? hope : hope - cost_of(costs, rows, i + 1);
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
count_guess(glm_drafter *d, guess g, int32_t token)
{
	const float keep = 0.98f;
	score	   *s = &d->score[g.class];

	if (g.token < 0)
		return;
	s->right = s->right * keep + (float) (g.token == token);
	s->all = s->all * keep + 1;
}

/* Counts how the guess of a source did, and gets its habit right. */
static void
teach(glm_drafter *d, uint32_t hash, int first_class, int32_t token)
{
	habit	   *h = &d->habit[hash % HABITS];

	count_guess(d, recall(d, hash, first_class), token);
	if (h->check == check_of(hash) && h->token == token)
	{
		if (h->confirmed < CONFIRMED_MAX)
			h->confirmed++;
	}
	else if (h->check != 0 && h->confirmed > 1)
		h->confirmed /= 2;
	else
		*h = (habit) {check_of(hash), token, 0};
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
	teach(d, hash_of_habit(tokens, before), HABIT_CLASS, tokens[before]);
	teach(d, hash_of_form(f->form, tokens, before), FORM_CLASS, tokens[before]);
	extend_form(d, f->form, tokens[before]);
	count_token(d, tokens[before]);
}

void
glm_foresight_judge(glm_foresight *f, int accepted)
{
	const float keep = 0.95f;

	f->hoped = f->hoped * keep + f->hope;
	f->came = f->came * keep + (float) accepted;
}
