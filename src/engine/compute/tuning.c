/*
 * tuning.c - ways of reading weights, tried and kept.
 *
 * A sample is what the products of one layer took, by the byte.  Layers are alike and a few
 * milliseconds apart, so ways that take turns layer by layer meet the same machine, whatever
 * mood it is in.  A trial is a tournament: after some samples of each the slower half of the
 * ways is out, and those left are measured longer.  The way that was chosen before, or is the best on
 * most machines, wins where it is about as good.
 *
 * What trials cost is bounded by patience: a round uses it up by as much as it took longer
 * than the best way alone would have, and products that take no part give a little of it
 * back.  Without any left a trial ends with the best so far.
 *
 * Small products come from the caches, where it makes no difference, and what stands in no layer, the
 * head, comes once a pass, too seldom to be tried in its turn: it is read as layers are.
 *
 * No locks: the engine thread's, but for what is atomic.
 */
#include "engine/compute/tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BYTES ((size_t) 512 * 1024)		  /* of a product that is tried */
#define PATIENCE_NS ((int64_t) 150 * 1000 * 1000) /* at first, and at most */
#define PATIENCE_GAIN 200						  /* one part in so many of the time comes back */
#define FIRST_ROUND 3							  /* samples of each way */
#define AGAIN_NS                                                                                   \
	((int64_t) 10 * 1000 * 1000 * 1000) /* of products until a choice is judged again */
#define AS_GOOD 0.96 /* of the time of the one that was chosen: less is the machine's noise */

/* All that won somewhere. */
static const glm_reading ways[GLM_TUNING_WAYS] = {
	{1, 4096, 0, GLM_FETCH_SECOND, true},
	{1, 0, 0, GLM_FETCH_SECOND, true},
	{4, 4096, 2, GLM_FETCH_SECOND, false},
	{2, 16384, GLM_ALL_LINES, GLM_FETCH_SECOND, false},
	{1, 16384, GLM_ALL_LINES, GLM_FETCH_SECOND, false},
	{4, 2048, 4, GLM_FETCH_SECOND, false},
	{4, 4096, GLM_ALL_LINES, GLM_FETCH_SECOND, false},
	{2, 4096, GLM_ALL_LINES, GLM_FETCH_SECOND, false},
	{2, 2048, GLM_ALL_LINES, GLM_FETCH_FIRST, false},
	{2, 4096, GLM_ALL_LINES, GLM_FETCH_FIRST, false},
	{4, 3072, GLM_ALL_LINES, GLM_FETCH_FIRST, false},
	{2, 4096, GLM_ALL_LINES, GLM_FETCH_ONCE, false},
};

#define MOST_IN_ORDER 4 /* rows: for more the sums bound */
#define MOST_ROWS 64	/* more take so long to sum that reading hardly counts */

/* Untried: a few rows are summed faster than memory answers, more are not. */
#define FEW_ROWS_WAY 0
#define MANY_ROWS_WAY 3

static const struct
{
	int			rows; /* up to so many */
	const char *name;
} classes[GLM_TUNING_CLASSES] = {{1, "1 row"},
								 {2, "2 rows"},
								 {4, "3 to 4 rows"},
								 {12, "5 to 12 rows"},
								 {MOST_ROWS, "13 to 64 rows"}};

static glm_trial *
trial_of(glm_tuning *tuning, glm_dtype dtype, int rows)
{
	int c = 0;

	while (rows > classes[c].rows)
		c++;
	return &tuning->trial[dtype == GLM_Q8][c];
}

/* ---- Beginning ---------------------------------------------------------------- */

/* Tiles that this way means for so many rows. */
static int
tiles_of(const glm_tuning *tuning, int way, int class)
{
	int most = class <= 2 || tuning->kernels->tiles < 2 ? tuning->kernels->tiles : 2;

	return ways[way].tiles < most ? ways[way].tiles : most;
}

/* Is it the same for these rows as one before it? */
static bool
is_double(const glm_tuning *tuning, int way, int class)
{
	for (int i = 0; i < way; i++)
		if (ways[i].ahead == ways[way].ahead && ways[i].lines == ways[way].lines &&
			ways[i].level == ways[way].level && ways[i].in_order == ways[way].in_order &&
			tiles_of(tuning, i, class) == tiles_of(tuning, way, class))
			return true;
	return false;
}

static void
begin_trial(const glm_tuning *tuning, glm_trial *trial, int class)
{
	trial->n_ways = 0;
	for (int i = 0; i < GLM_TUNING_WAYS; i++)
		if (!is_double(tuning, i, class) &&
			!(ways[i].in_order && classes[class].rows > MOST_IN_ORDER))
			trial->way[trial->n_ways++] = i;
	trial->open = trial->n_ways > 1;
	trial->wanted = FIRST_ROUND;
	trial->n_samples = trial->turn = 0;
	trial->round_ns = 0;
	trial->layer = GLM_NO_LAYER;
	trial->bytes = 0;
	trial->ns = 0;
}

void
glm_tuning_init(glm_tuning *tuning, const glm_packed_kernels *kernels)
{
	memset(tuning, 0, sizeof(*tuning));
	tuning->kernels = kernels;
	tuning->patience_ns = PATIENCE_NS;
	atomic_init(&tuning->on, true);
	for (int d = 0; d < 2; d++)
		for (int c = 0; c < GLM_TUNING_CLASSES; c++)
		{
			atomic_init(&tuning->trial[d][c].chosen, c <= 1 ? FEW_ROWS_WAY : MANY_ROWS_WAY);
			if (kernels->tiles > 0)
				begin_trial(tuning, &tuning->trial[d][c], c);
		}
}

void
glm_tuning_set(glm_tuning *tuning, bool on)
{
	atomic_store(&tuning->on, on);
}

/* ---- Judging ------------------------------------------------------------------- */

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

/*
 * Divides the samples that all ways took in turn by their mean: what the machine was like
 * then is none of their merit.
 */
static void
level_turn(glm_trial *trial, int turn)
{
	double mean = 0;

	for (int i = 0; i < trial->n_ways; i++)
		mean += trial->sample[trial->way[i]][turn] / trial->n_ways;
	for (int i = 0; i < trial->n_ways; i++)
		trial->sample[trial->way[i]][turn] /= mean;
}

/* The median of a way's first n samples, n > 0. */
static double
time_of(const glm_trial *trial, int way, int n)
{
	double sorted[GLM_TUNING_SAMPLES], time;

	memcpy(sorted, trial->sample[way], (size_t) n * sizeof(double));
	qsort(sorted, (size_t) n, sizeof(double), compare);
	time = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
	return way == atomic_load(&trial->chosen) ? time * AS_GOOD : time;
}

/* The ways by what they took. */
static void
sort_ways(glm_trial *trial, double *time)
{
	for (int i = 1; i < trial->n_ways; i++)
		for (int j = i; j > 0 && time[j] < time[j - 1]; j--)
		{
			int	   way = trial->way[j];
			double t = time[j];

			trial->way[j] = trial->way[j - 1];
			trial->way[j - 1] = way;
			time[j] = time[j - 1];
			time[j - 1] = t;
		}
}

/* What this round took longer than the best way alone would have; the ways by their times. */
static int64_t
judge_round(glm_trial *trial)
{
	double time[GLM_TUNING_WAYS], sum = 0;

	for (int i = 0; i < trial->n_ways; i++)
		sum += time[i] = time_of(trial, trial->way[i], trial->n_samples);
	sort_ways(trial, time);
	return (int64_t) ((double) trial->round_ns * (1 - time[0] * trial->n_ways / sum));
}

/* The way to be beaten is left to the end, though bad luck may have it among the slower. */
static void
keep_chosen(glm_trial *trial)
{
	int chosen = atomic_load(&trial->chosen);

	for (int i = 0; i < trial->n_ways; i++)
		if (trial->way[i] == chosen)
			return;
	trial->way[trial->n_ways - 1] = chosen;
}

/* The faster half of the ways is left, or the fastest. */
static void
end_round(glm_tuning *tuning, glm_trial *trial, int64_t cost)
{
	tuning->patience_ns -= cost;
	atomic_fetch_add(&tuning->cost_ns, (unsigned long long) cost);
	trial->n_ways = tuning->patience_ns > 0 ? (trial->n_ways + 1) / 2 : 1;
	trial->wanted = trial->wanted * 2 < GLM_TUNING_SAMPLES ? trial->wanted * 2 : GLM_TUNING_SAMPLES;
	trial->n_samples = trial->turn = 0;
	trial->round_ns = 0;
	if (trial->n_ways > 1)
	{
		keep_chosen(trial);
		return;
	}
	atomic_store(&trial->chosen, trial->way[0]);
	trial->judged = true;
	trial->open = false;
	trial->idle_ns = 0;
}

/* The layer at work is over: its sample, and the next way's turn. */
static void
take_sample(glm_tuning *tuning, glm_trial *trial)
{
	int64_t cost;

	trial->sample[trial->way[trial->turn]][trial->n_samples] =
		(double) trial->ns / (double) trial->bytes;
	trial->round_ns += trial->ns;
	trial->bytes = 0;
	trial->ns = 0;
	if (++trial->turn < trial->n_ways)
		return;
	trial->turn = 0;
	level_turn(trial, trial->n_samples++);
	cost = judge_round(trial);
	if (trial->n_samples == trial->wanted || cost >= tuning->patience_ns)
		end_round(tuning, trial, cost);
}

/* ---- Products -------------------------------------------------------------------- */

/* How to read what is never tried: as layers of the same codes are, or else as those of the others. */
static int
way_of_layers(glm_tuning *tuning, glm_dtype dtype, int rows)
{
	const glm_trial *same = trial_of(tuning, dtype, rows);
	const glm_trial *other = trial_of(tuning, dtype == GLM_Q8 ? GLM_Q4 : GLM_Q8, rows);

	return atomic_load(!same->judged && other->judged ? &other->chosen : &same->chosen);
}

glm_reading
glm_tuning_reading(glm_tuning *tuning, glm_dtype dtype, int rows, int layer, size_t bytes)
{
	glm_trial *trial;

	if (!atomic_load(&tuning->on) || rows > MOST_ROWS)
		return ways[rows <= 2 ? FEW_ROWS_WAY : MANY_ROWS_WAY];
	if (layer < 0)
		return ways[way_of_layers(tuning, dtype, rows)];
	trial = trial_of(tuning, dtype, rows);
	if (bytes < LEAST_BYTES || !trial->open)
		return ways[atomic_load(&trial->chosen)];
	if (trial->bytes > 0 && layer != trial->layer)
		take_sample(tuning, trial);
	trial->layer = layer;
	return ways[trial->open ? trial->way[trial->turn] : atomic_load(&trial->chosen)];
}

void
glm_tuning_count(glm_tuning *tuning, glm_dtype dtype, int rows, int layer, size_t bytes, int64_t ns)
{
	glm_trial *trial;

	if (!atomic_load(&tuning->on) || layer < 0 || bytes < LEAST_BYTES || rows > MOST_ROWS)
		return;
	trial = trial_of(tuning, dtype, rows);
	if (trial->open)
	{
		trial->bytes += bytes;
		trial->ns += ns;
		return;
	}
	tuning->patience_ns += ns / PATIENCE_GAIN;
	if (tuning->patience_ns > PATIENCE_NS)
		tuning->patience_ns = PATIENCE_NS;
	trial->idle_ns += ns;
	if (trial->idle_ns >= AGAIN_NS && tuning->kernels->tiles > 0)
		begin_trial(tuning, trial, (int) (trial - tuning->trial[dtype == GLM_Q8]));
}

/* ---- For people ------------------------------------------------------------------- */

int
glm_tuning_report(const glm_tuning *tuning, glm_tuned *out, int max)
{
	static const char *const level[] = {"first level", "second level", "once"};
	int						 n = 0;

	for (int i = 0; i < 2 * GLM_TUNING_CLASSES && n < max && atomic_load(&tuning->on); i++)
	{
		int class = i % GLM_TUNING_CLASSES;
		const glm_trial	  *trial = &tuning->trial[i / GLM_TUNING_CLASSES][class];
		int				   chosen = atomic_load(&trial->chosen);
		const glm_reading *r = &ways[chosen];
		glm_tuned		  *t = &out[n];

		if (!trial->judged)
			continue;
		n++;
		snprintf(t->what, sizeof(t->what), "%s, %s", i < GLM_TUNING_CLASSES ? "int4" : "int8",
				 classes[class].name);
		if (r->in_order)
			snprintf(t->how, sizeof(t->how), "in order, fetched %d bytes ahead", r->ahead);
		else if (r->lines == 0)
			snprintf(t->how, sizeof(t->how), "tiles %d, nothing fetched",
					 tiles_of(tuning, chosen, class));
		else
			snprintf(t->how, sizeof(t->how), "tiles %d, %s fetched %d bytes ahead, %s",
					 tiles_of(tuning, chosen, class),
					 r->lines == GLM_ALL_LINES ? "all"
					 : r->lines == 2		   ? "2 lines"
											   : "4 lines",
					 r->ahead, level[r->level]);
	}
	return n;
}
