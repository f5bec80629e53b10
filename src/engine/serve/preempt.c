/*
 * preempt.c - which sequence gives its KV blocks up when there is no room.
 *
 * A sequence that is preempted waits again; what its blocks held it computes anew later,
 * or finds still cached.  Paused sequences (whose reader does not read) go first, newest
 * first, so that cursors left open hold nobody up; then the one that ranks last (rank.c).  The
 * first in rank is never preempted, so there is always progress.
 */
#include "engine/serve/branch.h"

void
glm_preempt_at(glm_scheduler *s, glm_sequence **at)
{
	glm_sequence *seq = glm_sequence_remove(s, at);

	glm_branches_close(seq);
	glm_chain_close(glm_sequence_prefix(seq), &seq->chain);
	seq->n_computed = 0;
	seq->n_rows = 0;
	seq->copied = false;
	seq->chosen = false;
	seq->preempted = true;
	s->engine->ticket[seq->ticket].timing.preemptions++;
	atomic_store(&s->engine->ticket[seq->ticket].stage, GLM_STAGE_WAITING);
	atomic_fetch_add(&s->engine->count.preemptions, 1);
	atomic_fetch_add(&seq->served->counters.preemptions, 1);
	atomic_fetch_add(&s->engine->count.waiting, 1);
	glm_sequence_wait(s, seq);
}

bool
glm_preempt_paused(glm_scheduler *s, const glm_sequence *seq)
{
	glm_sequence **newest = NULL;

	for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
	{
		if (glm_sequence_paused(s->engine, *at) && glm_sequences_share_room(seq, *at) &&
			(newest == NULL || (*at)->arrival > (*newest)->arrival))
			newest = at;
	}
	if (newest == NULL)
		return false;
	glm_preempt_at(s, newest);
	return true;
}

bool
glm_preempt_for(glm_scheduler *s, const glm_sequence *seq)
{
	glm_sequence **last = NULL;

	if (glm_preempt_paused(s, seq))
		return true;
	for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
	{
		if (glm_sequences_share_room(seq, *at) && glm_ranks_before(seq, *at) &&
			(last == NULL || glm_ranks_before(*last, *at)))
			last = at;
	}
	if (last == NULL)
		return false;
	glm_preempt_at(s, last);
	return true;
}

/*
 * What a lonely sequence lacks is there, but scattered between blocks of other
 * sizes; in an empty pool it finds the room that glm_kv_fits promised it.
 */
void
glm_preempt_alone(glm_scheduler *s, glm_sequence *seq)
{
	glm_sequence **at = &s->running;
	bool		   alone = true;

	while (*at != seq)
		at = &(*at)->next;
	glm_preempt_at(s, at);
	for (const glm_sequence *other = s->running; other != NULL; other = other->next)
		alone &= !glm_sequences_share_room(seq, other);
	if (alone)
		glm_prefix_forget(glm_sequence_prefix(seq), 0);
}
