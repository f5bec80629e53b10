/*
 * admit.c - which of the waiting sequences run next.
 *
 * The waiting sequence of the better class whose tenant has the fewest running, of
 * tenants alike the one that waits longest for an admission, within a tenant who came
 * first.  It is admitted when there is a place among max_sequences and when the KV
 * pool has room for what it knows already and a block more for everybody who runs;
 * what it then needs it takes block by block.  If it has to wait, so has everybody
 * behind it: nobody overtakes a long prompt for ever.
 *
 * An interactive sequence that finds no place or room takes it from batch jobs, and
 * paused sequences give their room to everybody.
 */
#include "scheduler.h"

/* ---- Whose turn it is ------------------------------------------------------------- */

static bool
is_served_before(const glm_tenant *a, const glm_tenant *b)
{
	if (a->n_running != b->n_running)
		return a->n_running < b->n_running;
	return a->served < b->served;
}

/* The waiting sequence whose turn it is; NULL when there is none. */
static glm_sequence **
next_to_admit(glm_scheduler *s)
{
	glm_sequence **best = NULL;

	for (glm_sequence **at = &s->waiting; *at != NULL; at = &(*at)->next)
	{
		if (glm_sequence_paused(s->engine, *at))
			continue;			/* preempted, and its reader is not back yet */
		if (best == NULL)
			best = at;
		else if ((*at)->request->batch != (*best)->request->batch)
			break;
		else if (is_served_before((*at)->tenant, (*best)->tenant))
			best = at;
	}
	return best;
}

/* ---- Place and room ---------------------------------------------------------------- */

static int
count_active(const glm_scheduler *s)
{
	int			n = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		n += !glm_sequence_paused(s->engine, seq);
	return n;
}

/* Bytes of one more block for everybody who runs. */
static uint64_t
bytes_to_spare(const glm_scheduler *s)
{
	uint64_t	bytes = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		bytes += glm_sequence_paused(s->engine, seq) ? 0 : seq->model->kv_block_bytes;
	return bytes;
}

/* A place among the sequences that are computed; an interactive one takes it from a batch job. */
static bool
find_place(glm_scheduler *s, const glm_sequence *seq)
{
	while (count_active(s) >= s->engine->max_sequences)
	{
		glm_sequence **last = NULL;

		for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
		{
			if ((*at)->request->batch && !glm_sequence_paused(s->engine, *at))
				last = at;
		}
		if (seq->request->batch || last == NULL)
			return false;
		glm_scheduler_preempt_at(s, last);
	}
	return true;
}

/*
 * Room in the pool for what it knows: all its tokens and the next one.  Paused
 * sequences make way, and those of batch jobs for an interactive one.
 */
static bool
find_room(glm_scheduler *s, glm_sequence *seq)
{
	glm_engine *e = s->engine;

	for (;;)
	{
		int			tokens = (int) seq->tokens.length + 1;
		int			blocks = ((tokens < seq->limit ? tokens : seq->limit) + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
		uint64_t	need = (uint64_t) (blocks - seq->chain.kv.n_blocks) * seq->model->kv_block_bytes;

		if (glm_prefix_room(e->prefix) >= need + bytes_to_spare(s))
			return true;
		if (!glm_scheduler_preempt_for(s, seq, false))
			return false;
	}
}

/* ---- Admission --------------------------------------------------------------------- */

/* Gives a sequence its place and what is cached of its prompt; false: it has to wait. */
static bool
admit_one(glm_scheduler *s, glm_sequence **at)
{
	glm_engine *e = s->engine;
	glm_sequence *seq = *at;
	glm_error	err = {0};
	int			cached = 0;
	int			capacity = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;

	if (!find_place(s, seq))
		return false;
	if (!glm_chain_open(e->prefix, &seq->chain, seq->model, seq->request->scope, capacity))
		glm_no_memory(&err);
	else if (glm_forward_prepare(e->forward, seq->model, &err))
	{
		cached = glm_plan_adopt(e, seq);
		if (!find_room(s, seq))
		{
			glm_chain_close(e->prefix, &seq->chain);
			seq->n_computed = 0;
			return false;
		}
	}
	/* whoever was preempted for it may stand before it now */
	for (at = &s->waiting; *at != seq;)
		at = &(*at)->next;
	glm_sequence_unwait(s, at);
	if (err.status != GLM_OK)
	{
		glm_sequence_fail(s, seq, &err);
		return true;
	}
	seq->tenant->served = ++s->admissions;
	glm_plan_count_cached(e, seq, cached);
	glm_sequence_start(s, seq);
	return true;
}

void
glm_scheduler_admit(glm_scheduler *s)
{
	glm_sequence **at;

	while ((at = next_to_admit(s)) != NULL && admit_one(s, at))
		continue;
}
