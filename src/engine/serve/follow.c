/*
 * follow.c - the pass behind the one that runs, put in order before that one's ids are home.
 *
 * Where the device picks, it knows the next token of every row before the host does, so the next
 * pass of plain answers, a row each, can be told by the slots where the tokens will be.  The
 * device goes on with it at once, while the host takes what came of the first.
 *
 * A pass is followed only if there is nothing else to do: all who are active are in passes that
 * are under way, nobody waits, has been cancelled or is out of time, and no draft would be made.
 * Everything else begins when no pass is under way, as ever: one that is not followed is the last.
 *
 * Who is known to end with the token that is on its way, or has a reader with room for no more,
 * is left out.  Who turns out to have ended, or fails, leaves at once; its row is computed for
 * nobody.  What that writes, behind all that was computed before, may be in a block that has a new
 * owner by then: he writes it later, as everything on the device is in one order, and blocks that
 * others find are complete without it.  The model stays until the pass is over.
 *
 * Everything here runs in the engine thread and allocates nothing.
 */
#include "engine/serve/scheduler.h"

/* ---- May it be followed? ------------------------------------------------------------ */

/* Does it pick on one device, and has none behind it yet? */
static bool
may_have_another(const glm_scheduler *s, const glm_flight *flight)
{
	return flight->served != NULL && flight->results.picked != NULL &&
		   flight->home->info.devices == 1 && s->ahead[flight->home->place].served == NULL;
}

/* Is there nothing to do but to go on? */
static bool
is_quiet(glm_scheduler *s)
{
	glm_engine *e = s->engine;

	if (atomic_load(&e->stopping) || atomic_load(&e->lost) || atomic_load(&e->step_delay_ms) > 0)
		return false;
	glm_inbox_take(s);
	return s->waiting == NULL;
}

/* Is everybody in a pass that is under way, or paused, and to go on?  Counts the paused. */
static bool
is_nobody_left_out(const glm_scheduler *s)
{
	glm_engine *e = s->engine;
	int			paused = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		const glm_flight *flight = &s->flight[glm_sequence_home(seq)->place];
		bool			  in_pass = seq->n_rows > 0 && flight->served == seq->served;
		glm_error		  err;

		if (glm_ticket_ended(&e->ticket[seq->ticket], &err) ||
			(!in_pass && !glm_sequence_paused(e, seq)))
			return false;
		paused += !in_pass;
	}
	atomic_store(&e->count.paused, paused);
	return true;
}

/*
 * Is its row in the pass that of the newest token of a plain answer, which is picked by nothing
 * that is known here alone?
 */
static bool
is_plain(const glm_home *home, const glm_sequence *seq)
{
	return seq->n_rows == 1 && seq->n_wanted == 1 && seq->draft.n_tokens == 0 &&
		   seq->kind->describe != NULL && seq->constrained == NULL &&
		   !glm_sampler_looks_back(seq->sampler) && home->picks[home->turn][seq->slot].n_ids > 0;
}

static bool
are_all_plain(const glm_scheduler *s, const glm_home *home)
{
	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		if (glm_sequence_is_at(seq, home) && seq->n_rows > 0 && !is_plain(home, seq))
			return false;
	return true;
}

/* Will there be a token behind the one that is on its way, and room for both? */
static bool
goes_on(const glm_engine *e, const glm_sequence *seq)
{
	uint32_t unread = seq->made - atomic_load(&e->ticket[seq->ticket].taken);

	return (int) seq->tokens.length + 1 < seq->limit &&
		   (!seq->request->stream || unread + 2 <= GLM_OUTBOX);
}

/* ---- Its rows ------------------------------------------------------------------------ */

/* The row behind that of the pass; false: it has no KV block, or no pick can be told for it. */
static bool
write_row(glm_home *home, glm_sequence *seq)
{
	glm_rows *rows = &home->rows[!home->turn];
	int		  position = seq->n_computed + 1;

	if (position == seq->chain.kv.n_blocks * GLM_KV_BLOCK &&
		!glm_chain_grow(glm_sequence_prefix(seq), &seq->chain))
		return false;
	if (!seq->kind->describe(seq, 1, &home->pick_room[!home->turn],
							 &home->picks[!home->turn][rows->pass.n_logits]))
		return false;
	glm_rows_begin(rows, &seq->chain.kv);
	glm_rows_add(rows, -1 - seq->slot, position, GLM_WANT_LOGITS);
	seq->ahead = rows->pass.n_logits;
	return true;
}

static void
clear_ahead(glm_scheduler *s, const glm_home *home)
{
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		if (glm_sequence_is_at(seq, home))
			seq->ahead = 0;
}

/* The rows of all who go on; false: there are none, or the pass cannot be followed. */
static bool
write_rows(glm_scheduler *s, glm_home *home)
{
	glm_rows *rows = &home->rows[!home->turn];

	glm_rows_clear(rows);
	home->pick_room[!home->turn].used = 0;
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (glm_sequence_is_at(seq, home) && seq->n_rows > 0 && goes_on(s->engine, seq) &&
			!write_row(home, seq))
			return false;
	}
	return rows->pass.n_rows > 0;
}

/* ---- The pass ------------------------------------------------------------------------- */

/* Puts the one behind this in order. */
static void
follow(glm_scheduler *s, const glm_flight *flight)
{
	glm_engine *e = s->engine;
	glm_home   *home = flight->home;
	glm_flight *ahead = &s->ahead[home->place];
	glm_served *served = flight->served;
	glm_error	err;

	if (!are_all_plain(s, home) || glm_plan_would_draft(s, served, home))
		return;
	*ahead = (glm_flight){.home = home, .config = flight->config, .kept = true};
	if (!write_rows(s, home) ||
		!glm_forward_start(e->forward, served->model, atomic_load(&served->weights),
						   &home->rows[!home->turn].pass, home->picks[!home->turn], &ahead->results,
						   &err))
	{
		clear_ahead(s, home);
		return;
	}
	glm_models_keep(&e->models, served);
	ahead->served = served;
	atomic_fetch_add(&e->count.followed, 1);
}

void
glm_follow_all(glm_scheduler *s)
{
	for (int i = 0; i < s->engine->n_homes; i++)
	{
		if (!may_have_another(s, &s->flight[i]))
			continue;
		if (!is_quiet(s) || !is_nobody_left_out(s))
			return;
		follow(s, &s->flight[i]);
	}
}

/* It has had the device since the one before was over, and is a step of its model's. */
void
glm_follow_move_up(glm_scheduler *s, glm_flight *flight, int64_t now_ns)
{
	glm_home   *home = flight->home;
	glm_flight *ahead = &s->ahead[home->place];
	glm_served *served = ahead->served;

	if (served == NULL)
		return;
	*flight = *ahead;
	flight->start_ns = now_ns;
	ahead->served = NULL;
	home->turn = !home->turn;
	served->runtime.passes++;
	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (!glm_sequence_is_at(seq, home))
			continue;
		seq->n_rows = seq->n_wanted = seq->ahead > 0;
		if (seq->ahead > 0)
			seq->pass = served->runtime.passes;
		seq->slot = seq->ahead - 1;
		seq->ahead = 0;
	}
	s->leader = served;
	s->clock_ns = served->runtime.virtual_ns;
}

void
glm_follow_drop(glm_scheduler *s, const glm_home *home)
{
	glm_flight *ahead = &s->ahead[home->place];
	glm_served *served = ahead->served;
	glm_error	err;

	if (served == NULL)
		return;
	glm_forward_finish(s->engine->forward, atomic_load(&served->weights), &err);
	ahead->served = NULL;
	clear_ahead(s, home);
	glm_models_release(&s->engine->models, served);
}
