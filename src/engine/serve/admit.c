/*
 * admit.c - which of the waiting sequences run next: whether there is place and room.
 *
 * Whose turn it is tenants.c decides.  A sequence is admitted when there is a place among
 * max_sequences and when the KV pool has room for what it knows already and a block more
 * for every one that runs; what it then needs it takes block by block.  If one has to wait
 * for room, so have all behind it, but interactive ones behind batch: a long prompt is not
 * overtaken for ever.
 *
 * A sequence that finds no place or room may displace others:
 *
 *	- an interactive sequence those of batch jobs, of its own tenant or of one with more
 *	  active ones than its own;
 *	- a tenant below its share of the places those of a tenant above its own, of any
 *	  class: interactive sequences at once, batch when it has waited PATIENCE_NS.
 *
 * One that was displaced before, or is batch whose turn has come, must have got QUANTUM
 * tokens further since, so that all get done.  Paused sequences hold no place and give
 * their room up to any other.
 */
#include "engine/serve/branch.h"

#define PATIENCE_NS INT64_C(1000000000)
#define QUANTUM 16 /* tokens */

/* ---- Place and room ---------------------------------------------------------------- */

static bool
may_displace(const glm_sequence *seq, const glm_sequence *other, int share)
{
	const glm_tenant *mine = seq->tenant;
	const glm_tenant *theirs = other->tenant;

	if ((int) other->tokens.length < other->entitled)
		return false;
	if (!seq->request->batch && other->request->batch &&
		(mine == theirs || theirs->n_active > mine->n_active))
		return true;
	return mine->n_active < share && theirs->n_active > share &&
		   (!seq->request->batch || glm_now_ns() - seq->waits_since >= PATIENCE_NS);
}

/* Of two that may be displaced, the one of whom more is there, of batch, and newer. */
static bool
is_displaced_before(const glm_sequence *a, const glm_sequence *b)
{
	if (a->tenant != b->tenant && a->tenant->n_active != b->tenant->n_active)
		return a->tenant->n_active > b->tenant->n_active;
	if (a->request->batch != b->request->batch)
		return a->request->batch;
	return a->arrival > b->arrival;
}

/* Makes somebody wait again for this one, for its room or its turn; false: there is nobody. */
static bool
displace_for(glm_scheduler *s, const glm_sequence *seq, bool for_room)
{
	int			   share = glm_tenants_share(s);
	glm_sequence **last = NULL;

	for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
	{
		if (!glm_sequence_paused(s->engine, *at) && may_displace(seq, *at, share) &&
			(!for_room || glm_sequences_share_room(seq, *at)) &&
			(last == NULL || is_displaced_before(*at, *last)))
			last = at;
	}
	if (last == NULL)
		return false;
	(*last)->tenant->n_active--;
	glm_preempt_at(s, last);
	return true;
}

/*
 * A place among the sequences that are computed.  When paused ones have woken there
 * may be more than places already; they share the passes (rank.c), so one that goes
 * is enough for one that comes.
 */
static bool
find_place(glm_scheduler *s, const glm_sequence *seq)
{
	return glm_tenants_count_active(s) < s->engine->max_sequences || displace_for(s, seq, false);
}

/* Bytes of one more block for each sequence that runs where this one will. */
static uint64_t
bytes_to_spare(const glm_scheduler *s, const glm_sequence *seq)
{
	uint64_t bytes = 0;

	for (const glm_sequence *other = s->running; other != NULL; other = other->next)
		if (glm_sequences_share_room(seq, other) && !glm_sequence_paused(s->engine, other))
			bytes += other->served->kv_block_bytes;
	return bytes;
}

/* Room in the pool for what it knows: all its tokens and the next one. */
static bool
find_room(glm_scheduler *s, glm_sequence *seq)
{
	size_t block_bytes = seq->served->kv_block_bytes;

	for (;;)
	{
		int tokens = (int) seq->tokens.length + 1;
		int blocks =
			((tokens < seq->limit ? tokens : seq->limit) + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;
		uint64_t need = (uint64_t) (blocks - seq->chain.kv.n_blocks) * block_bytes;

		if (glm_prefix_room(glm_sequence_prefix(seq)) >= need + bytes_to_spare(s, seq))
			return true;
		if (!glm_preempt_paused(s, seq) && !displace_for(s, seq, true))
			return false;
	}
}

/* ---- Admission --------------------------------------------------------------------- */

typedef enum glm_admission
{
	ADMITTED, /* or failed: it waits no more */
	NO_PLACE,
	NO_ROOM
} glm_admission;

/* Takes a sequence out of the waiting ones. */
static void
take_from_waiting(glm_scheduler *s, const glm_sequence *seq)
{
	glm_sequence **at = &s->waiting;

	while (*at != seq)
		at = &(*at)->next;
	glm_sequence_unwait(s, at);
}

/* Room in a pass for the blocks of all who run there, and this one's. */
static bool
reserve_pass(glm_scheduler *s, const glm_sequence *seq, glm_error *err)
{
	glm_home *home = &s->engine->home[glm_sequence_home(seq)->place];
	size_t	  blocks = glm_branches_blocks(seq);

	for (const glm_sequence *other = s->running; other != NULL; other = other->next)
		if (glm_sequence_is_at(other, home))
			blocks += glm_branches_blocks(other);
	for (int turn = 0; turn < 2; turn++)
		if (!glm_rows_reserve(&home->rows[turn], s->engine->max_sequences + GLM_PREFILL_MAX, blocks,
							  err))
			return false;
	return true;
}

/* Gives a sequence its place and what is cached of its prompt, or lets it wait. */
static glm_admission
admit_one(glm_scheduler *s, glm_sequence *seq)
{
	glm_engine *e = s->engine;
	glm_error	err = {0};
	int			cached = 0;
	int			capacity = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;

	if (!find_place(s, seq))
		return NO_PLACE;
	if (!glm_chain_open(glm_sequence_prefix(seq), &seq->chain, seq->served->generation,
						seq->served->kv_block_bytes, seq->request->scope, capacity) ||
		!glm_branches_open(seq))
		glm_no_memory(&err);
	else if (glm_sequence_prepare(seq, &err) && reserve_pass(s, seq, &err) &&
			 glm_forward_prepare(e->forward, glm_sequence_home(seq)->place, seq->model, &err))
	{
		cached = glm_plan_adopt(seq);
		if (!find_room(s, seq))
		{
			glm_branches_close(seq);
			glm_chain_close(glm_sequence_prefix(seq), &seq->chain);
			seq->n_computed = 0;
			return NO_ROOM;
		}
	}
	take_from_waiting(s, seq);
	if (err.status != GLM_OK)
	{
		glm_device_look(e, &err);
		glm_sequence_fail(s, seq, &err);
		return ADMITTED;
	}
	seq->entitled = seq->preempted || (seq->request->batch && glm_tenant_batch_is_next(seq->tenant))
						? (int) seq->tokens.length + QUANTUM
						: 0;
	glm_tenant_had_turn(s, seq->tenant, seq->request->batch);
	glm_plan_count_cached(e, seq, cached);
	glm_sequence_start(s, seq);
	return ADMITTED;
}

/* Admits one of the waiting sequences; false: all have to wait. */
static bool
admit_next(glm_scheduler *s)
{
	bool		no_room = false; /* somebody waits for it */
	glm_tenant *tenant;

	glm_tenants_find_waiting(s);
	glm_tenants_count_active(s);
	while ((tenant = glm_tenants_next(s)) != NULL)
	{
		int first = glm_tenant_batch_is_next(tenant);

		for (int i = 0; i < 2; i++)
		{
			int			  batch = i == 0 ? first : !first;
			glm_sequence *seq = tenant->next_of[batch];
			glm_admission admission;

			if (seq == NULL || (batch && no_room))
				continue;
			admission = admit_one(s, seq);
			if (admission == ADMITTED)
				return true;
			if (admission == NO_ROOM && !batch)
				return false;
			no_room |= admission == NO_ROOM;
		}
	}
	return false;
}

void
glm_scheduler_admit(glm_scheduler *s)
{
	while (s->waiting != NULL && admit_next(s))
		continue;
}
