/*
 * rank.c - the order in which running sequences are served.
 *
 * Within a tenant interactive sequences come before those of batch jobs, and within each
 * class who came first comes first; the list of running sequences is kept so.
 * Tenants take turns: all their first sequences rank before all second ones, and so on.
 * So a tenant with one sequence is served as if alone, and of one with sixty the
 * last ones wait, or give way, first.
 *
 * The turns are dealt out anew for every pass.  The sequence that ranks first never has
 * to give way, so there is always progress.
 *
 * Everything here runs in the engine thread and allocates nothing.
 */
#include "engine/serve/scheduler.h"

#include <limits.h>
#include <string.h>

bool
glm_ranks_before(const glm_sequence *a, const glm_sequence *b)
{
	if (a->turn != b->turn)
		return a->turn < b->turn;
	if (a->request->batch != b->request->batch)
		return b->request->batch;
	return a->arrival < b->arrival;
}

static bool
was_in_last_pass(const glm_sequence *seq)
{
	return seq->pass == seq->served->runtime.passes;
}

/*
 * Numbers the active sequences of a model (NULL: of all) within their tenants; with
 * `rotate` those that were not in the last pass first.  Returns how many numbers there are.
 */
static int
deal_turns(glm_scheduler *s, const glm_served *served, bool rotate)
{
	int n = 0;

	for (glm_tenant *tenant = s->tenants; tenant != NULL; tenant = tenant->next)
		tenant->turns = 0;
	for (int round = 0; round <= rotate; round++)
	{
		for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		{
			if (round == 0)
				seq->turn = INT_MAX; /* behind all who have one */
			if (glm_sequence_paused(s->engine, seq) || (served != NULL && seq->served != served) ||
				(rotate && was_in_last_pass(seq) != (round == 1)))
				continue;
			seq->turn = seq->tenant->turns++;
			if (seq->turn >= n)
				n = seq->turn + 1;
		}
	}
	return n;
}

/* Sorts those who have a turn into engine->ranked, by counting; how many they are. */
static int
sort_by_turn(glm_scheduler *s, int n_turns)
{
	int *end = s->engine->rank_counts;
	int	 n = 0;

	memset(end, 0, n_turns * sizeof(*end));
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->turn != INT_MAX)
			end[seq->turn]++;
	}
	for (int turn = 0; turn < n_turns; turn++)
	{
		int count = end[turn];

		end[turn] = n; /* where its first one goes */
		n += count;
	}
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (seq->turn != INT_MAX)
			s->engine->ranked[end[seq->turn]++] = seq;
	}
	return n;
}

/* Chooses all active ones of the model; how many they are. */
static int
choose_all(glm_scheduler *s, const glm_served *served)
{
	int n = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		seq->chosen = seq->served == served && !glm_sequence_paused(s->engine, seq);
		n += seq->chosen;
	}
	return n;
}

/* Chooses as many as there are places, in the order in which they are sorted. */
static void
choose_first(glm_scheduler *s, int n)
{
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		seq->chosen = false;
	for (int i = 0; i < n && i < s->engine->max_sequences; i++)
		s->engine->ranked[i]->chosen = true;
}

/*
 * More sequences than max_sequences may be active when paused ones wake up.  Then
 * tenants share the places of a pass, and of a tenant those that found none are the first
 * in the next.
 */
int
glm_rank_pass(glm_scheduler *s, const glm_served *served)
{
	if (choose_all(s, served) > s->engine->max_sequences)
		choose_first(s, sort_by_turn(s, deal_turns(s, served, true)));
	return sort_by_turn(s, deal_turns(s, NULL, false));
}
