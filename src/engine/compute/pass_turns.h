/*
 * pass_turns.h - the passes of a place that are under way: one, and one that follows it.
 *
 * Passes have the two turns one after the other.  Of the time of one that is followed what
 * putting the other in order took is no part, and that of the other begins anew when it has the
 * device for itself.
 */
#ifndef GLM_PASS_TURNS_H
#define GLM_PASS_TURNS_H

#include <stdlib.h>

#include "engine/compute/backend.h"
#include "engine/compute/pass_times.h"

typedef struct glm_pass_turn
{
	glm_picked_id *picked; /* [max_logits]; NULL: the device does not pick */
	int			   n_picked;
	glm_pass_times times;
} glm_pass_turn;

/* Zeroed: there was no pass. */
typedef struct glm_pass_turns
{
	glm_pass_turn turn[2];
	int			  last; /* that was begun */
	int			  finished;
	int			  n; /* begun and not finished */
} glm_pass_turns;

/* Memory for the ids of passes with at most so many logits; false: there is none. */
static inline bool
glm_turns_open(glm_pass_turns *t, int max_logits)
{
	for (int i = 0; i < 2; i++)
		t->turn[i].picked = calloc((size_t) max_logits, sizeof(glm_picked_id));
	return t->turn[0].picked != NULL && t->turn[1].picked != NULL;
}

static inline void
glm_turns_close(glm_pass_turns *t)
{
	free(t->turn[0].picked);
	free(t->turn[1].picked);
}

/* Of the pass that was begun last. */
static inline glm_pass_turn *
glm_turn_last(glm_pass_turns *t)
{
	return &t->turn[t->last];
}

/* Of the pass that was finished last. */
static inline const glm_pass_times *
glm_turn_times(const glm_pass_turns *t)
{
	return &t->turn[t->finished].times;
}

/* How many ids the next pass may name that are not known yet. */
static inline int
glm_turn_picks(const glm_pass_turns *t)
{
	return t->n > 0 ? t->turn[t->last].n_picked : 0;
}

static inline void
glm_turn_begin(glm_pass_turns *t)
{
	t->last = !t->last;
	t->n++;
	t->turn[t->last].n_picked = 0;
	glm_pass_times_begin(&t->turn[t->last].times);
}

/* All of it was put in order. */
static inline void
glm_turn_end(glm_pass_turns *t)
{
	for (int i = 0; t->n > 1 && i < GLM_N_PARTS; i++)
		t->turn[!t->last].times.since_ns += t->turn[t->last].times.ns[i];
}

/* The first has been waited for, which is the part of a device with memory of its own. */
static inline void
glm_turn_finish(glm_pass_turns *t, bool waited)
{
	t->finished = t->n > 1 ? !t->last : t->last;
	t->n--;
	if (waited)
		glm_pass_times_add(&t->turn[t->finished].times, GLM_PART_COPY);
	if (t->n > 0)
		t->turn[t->last].times.since_ns = t->turn[t->finished].times.since_ns;
}

#endif /* GLM_PASS_TURNS_H */
