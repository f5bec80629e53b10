/*
 * sequence.c - sequences in their lists: among the waiting, among the running, and out.
 *
 * Both lists are kept interactive sequences first, then those of batch jobs, and
 * within each class in the order in which they came.  Preemption takes a running
 * sequence's KV blocks and has it wait again; it computes them anew later, or finds
 * them still cached.  Paused sequences (whose reader does not read) go first, newest
 * first, so that cursors left open hold nobody up; then who ranks last.  The first in
 * rank is never preempted, so there is always progress.
 */
#include "engine/serve/scheduler.h"

#include <stdlib.h>

/* ---- Sequences --------------------------------------------------------------- */

void
glm_sequence_free(glm_engine *e, glm_sequence *seq)
{
	glm_chain_close(e->prefix, &seq->chain);
	glm_draft_close(&seq->draft);
	glm_drafter_release(seq->model->drafter, seq->ngrams);
	if (seq->sampler != NULL)
		glm_sampler_close(seq->sampler);
	if (seq->decoder != NULL)
		glm_decoder_close(seq->decoder);
	glm_buf_free(&seq->text);
	glm_ids_free(&seq->tokens);
	glm_models_release(&e->models, seq->model);
	free(seq);
}

int
glm_sequence_last_known(const glm_sequence *seq)
{
	return (int) seq->tokens.length - 1;
}

bool
glm_sequence_paused(const glm_engine *e, const glm_sequence *seq)
{
	return seq->request->stream &&
		   seq->made - atomic_load(&e->ticket[seq->ticket].taken) >= GLM_OUTBOX;
}

/* The tenant is freed with the last of its sequences. */
void
glm_sequence_drop(glm_scheduler *s, glm_sequence *seq)
{
	glm_tenant *tenant = seq->tenant;

	glm_sequence_free(s->engine, seq);
	if (--tenant->n_sequences > 0)
		return;
	for (glm_tenant **at = &s->tenants; *at != NULL; at = &(*at)->next)
	{
		if (*at == tenant)
		{
			*at = tenant->next;
			free(tenant);
			return;
		}
	}
}

/* Freed before its reader is told, so that whoever knows of the end finds it gone. */
void
glm_sequence_fail(glm_scheduler *s, glm_sequence *seq, const glm_error *err)
{
	int ticket = seq->ticket;

	glm_sequence_drop(s, seq);
	glm_send_error(s->engine, ticket, err);
}

void
glm_sequence_finish(glm_scheduler *s, glm_sequence *seq, glm_finish finish)
{
	glm_engine *e = s->engine;
	int			ticket = seq->ticket;
	glm_event	usage = {.prompt_tokens = seq->n_prompt,
						 .cached_tokens = seq->n_cached,
						 .accepted_tokens = seq->n_accepted,
						 .completion_tokens = (int) seq->tokens.length - seq->n_prompt};

	if (!seq->request->stream && seq->text.length > 0)
		glm_send_result(e, ticket, seq->text.data, seq->text.length);
	glm_sequence_drop(s, seq);
	glm_send_usage(e, ticket, finish, &usage);
}

/* ---- The lists ------------------------------------------------------------------- */

static bool
stands_before(const glm_sequence *a, const glm_sequence *b)
{
	if (a->request->batch != b->request->batch)
		return b->request->batch;
	return a->arrival < b->arrival;
}

static void
insert_sequence(glm_sequence **at, glm_sequence *seq)
{
	while (*at != NULL && stands_before(*at, seq))
		at = &(*at)->next;
	seq->next = *at;
	*at = seq;
}

void
glm_sequence_wait(glm_scheduler *s, glm_sequence *seq)
{
	seq->waits_since = glm_now_ns();
	insert_sequence(&s->waiting, seq);
}

glm_sequence *
glm_sequence_unwait(glm_scheduler *s, glm_sequence **at)
{
	glm_sequence *seq = *at;

	*at = seq->next;
	atomic_fetch_sub(&s->engine->count.waiting, 1);
	return seq;
}

void
glm_sequence_start(glm_scheduler *s, glm_sequence *seq)
{
	insert_sequence(&s->running, seq);
	s->n_running++;
	atomic_store(&s->engine->count.running, s->n_running);
}

glm_sequence *
glm_sequence_remove(glm_scheduler *s, glm_sequence **at)
{
	glm_sequence *seq = *at;

	*at = seq->next;
	s->n_running--;
	atomic_store(&s->engine->count.running, s->n_running);
	return seq;
}

/* ---- Preemption -------------------------------------------------------------------- */

void
glm_sequence_preempt_at(glm_scheduler *s, glm_sequence **at)
{
	glm_sequence *seq = glm_sequence_remove(s, at);

	glm_chain_close(s->engine->prefix, &seq->chain);
	seq->n_computed = 0;
	seq->n_rows = 0;
	seq->chosen = false;
	seq->preempted = true;
	atomic_fetch_add(&s->engine->count.preemptions, 1);
	atomic_fetch_add(&seq->model->tally.preemptions, 1);
	atomic_fetch_add(&s->engine->count.waiting, 1);
	glm_sequence_wait(s, seq);
}

bool
glm_sequence_preempt_paused(glm_scheduler *s)
{
	glm_sequence **newest = NULL;

	for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
	{
		if (glm_sequence_paused(s->engine, *at) &&
			(newest == NULL || (*at)->arrival > (*newest)->arrival))
			newest = at;
	}
	if (newest == NULL)
		return false;
	glm_sequence_preempt_at(s, newest);
	return true;
}

bool
glm_sequence_preempt_for(glm_scheduler *s, const glm_sequence *seq)
{
	glm_sequence **last = NULL;

	if (glm_sequence_preempt_paused(s))
		return true;
	for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
	{
		if (glm_ranks_before(seq, *at) && (last == NULL || glm_ranks_before(*last, *at)))
			last = at;
	}
	if (last == NULL)
		return false;
	glm_sequence_preempt_at(s, last);
	return true;
}

/*
 * What a lonely sequence lacks is there, but scattered between blocks of other
 * sizes; in an empty pool it finds the room that glm_kv_fits promised it.
 */
void
glm_sequence_preempt(glm_scheduler *s, glm_sequence *seq)
{
	glm_sequence **at = &s->running;

	while (*at != seq)
		at = &(*at)->next;
	glm_sequence_preempt_at(s, at);
	if (s->running == NULL)
		glm_prefix_forget(s->engine->prefix, 0);
}
