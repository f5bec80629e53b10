/*
 * sequence.c - sequences in their lists: among a tenant's, the waiting, the running, and out.
 *
 * Both lists are kept interactive sequences first, then those of batch jobs, and
 * within each class in the order in which they came.  A tenant is there as long as one
 * of its sequences is.
 */
#include "engine/serve/branch.h"
#include "engine/serve/constrained.h"
#include "engine/serve/scheduler.h"

#include <stdlib.h>

/* ---- Sequences --------------------------------------------------------------- */

void
glm_sequence_free(glm_engine *e, glm_sequence *seq)
{
	glm_branches_close(seq);
	glm_chain_close(glm_sequence_prefix(seq), &seq->chain);
	glm_draft_close(&seq->draft);
	glm_drafter_release(seq->served->drafter, seq->ngrams);
	glm_constrained_close(seq->constrained);
	if (seq->own != NULL)
		seq->kind->close(seq->own);
	if (seq->sampler != NULL)
		glm_sampler_close(seq->sampler);
	if (seq->decoder != NULL)
		glm_decoder_close(seq->decoder);
	glm_pool_close(seq->pool);
	glm_buf_free(&seq->text);
	glm_buf_free(&seq->told);
	glm_ids_free(&seq->tokens);
	glm_models_release(&e->models, seq->served);
	free(seq);
}

int
glm_sequence_last_known(const glm_sequence *seq)
{
	return (int) seq->tokens.length - 1;
}

int
glm_sequence_lasting(const glm_sequence *seq)
{
	return seq->kind->goes_back ? seq->n_prompt : seq->limit;
}

bool
glm_sequence_paused(const glm_engine *e, const glm_sequence *seq)
{
	return seq->request->stream &&
		   seq->made - atomic_load(&e->ticket[seq->ticket].taken) >= GLM_OUTBOX;
}

/* ---- Tenants ------------------------------------------------------------------ */

bool
glm_tenant_join(glm_scheduler *s, glm_sequence *seq)
{
	uint32_t	id = seq->request->tenant;
	glm_tenant *tenant = s->tenants;

	while (tenant != NULL && tenant->id != id)
		tenant = tenant->next;
	if (tenant == NULL)
	{
		tenant = calloc(1, sizeof(*tenant));
		if (tenant == NULL)
			return false;
		tenant->id = id;
		tenant->next = s->tenants;
		s->tenants = tenant;
	}
	tenant->n_sequences++;
	seq->tenant = tenant;
	return true;
}

static void
leave_tenant(glm_scheduler *s, glm_tenant *tenant)
{
	glm_tenant **at = &s->tenants;

	if (--tenant->n_sequences > 0)
		return;
	while (*at != tenant)
		at = &(*at)->next;
	*at = tenant->next;
	free(tenant);
}

/* ---- Ends --------------------------------------------------------------------- */

void
glm_sequence_drop(glm_scheduler *s, glm_sequence *seq)
{
	glm_tenant *tenant = seq->tenant;

	glm_sequence_free(s->engine, seq);
	leave_tenant(s, tenant);
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
	glm_event	usage = {.chat = seq->model->chat->number,
						 .prompt_tokens = seq->n_prompt,
						 .cached_tokens = seq->n_cached,
						 .accepted_tokens = seq->n_accepted,
						 .completion_tokens = (int) seq->tokens.length - seq->n_prompt};

	/* a chat's next turn reads all of this one again */
	if (seq->request->form == GLM_MESSAGES && seq->request->scope != 0)
		glm_chain_index_last(glm_sequence_prefix(seq), &seq->chain, seq->tokens.data,
							 seq->n_computed);
	if (!seq->request->stream && seq->text.length > 0)
		glm_send_result(e, ticket, seq->text.data, seq->text.length);
	if (!seq->request->stream && seq->told.length > 0)
		glm_send_told(e, ticket, seq->told.data, seq->told.length);
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
	glm_ticket *ticket = &s->engine->ticket[seq->ticket];

	if (ticket->timing.admitted_ns == 0)
		ticket->timing.admitted_ns = glm_now_ns();
	atomic_store(&ticket->stage,
				 ticket->timing.first_ns == 0 ? GLM_STAGE_PREFILL : GLM_STAGE_DECODE);
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
