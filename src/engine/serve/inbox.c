/*
 * inbox.c - what the engine thread hears from others: sequences that are handed over to
 * it, cancels and deadlines.
 *
 * It looks between passes, and in long ones too (pass.c).
 */
#include "engine/serve/scheduler.h"

void
glm_inbox_add(glm_engine *e, glm_sequence *seq)
{
	glm_ticket *ticket = &e->ticket[seq->ticket];

	ticket->timing.ready_ns = glm_now_ns();
	ticket->timing.prompt_tokens = seq->n_prompt;
	atomic_store(&ticket->stage, GLM_STAGE_WAITING);
	seq->next = NULL;
	pthread_mutex_lock(&e->inbox_lock);
	*e->inbox_end = seq;
	e->inbox_end = &seq->next;
	pthread_mutex_unlock(&e->inbox_lock);
	atomic_fetch_add(&e->count.waiting, 1);
	glm_signal_raise(&e->wake);
}

static void
take_in(glm_scheduler *s, glm_sequence *seq)
{
	int		  ticket = seq->ticket;
	glm_error err = {0};

	if (!glm_tenant_join(s, seq))
	{
		atomic_fetch_sub(&s->engine->count.waiting, 1);
		glm_sequence_free(s->engine, seq);
		glm_no_memory(&err);
		glm_send_error(s->engine, ticket, &err);
		return;
	}
	seq->arrival = s->arrivals++;
	if ((seq->kind->needs & GLM_NEEDS_SAMPLER) != 0 && seq->served->drafter != NULL)
		seq->ngrams = glm_drafter_ngrams(seq->served->drafter, seq->request->scope);
	atomic_fetch_add(&seq->served->counters.prompt_tokens, seq->n_prompt);
	glm_sequence_wait(s, seq); /* counted when it was handed over */
}

void
glm_inbox_take(glm_scheduler *s)
{
	glm_engine	 *e = s->engine;
	glm_sequence *seq;

	pthread_mutex_lock(&e->inbox_lock);
	seq = e->inbox;
	e->inbox = NULL;
	e->inbox_end = &e->inbox;
	pthread_mutex_unlock(&e->inbox_lock);
	while (seq != NULL)
	{
		glm_sequence *next = seq->next;

		take_in(s, seq);
		seq = next;
	}
}

/* Was it cancelled, is its time up, or is there nothing left that could compute it? */
static bool
must_end(const glm_engine *e, const glm_sequence *seq, glm_error *err)
{
	if (!atomic_load(&e->lost))
		return glm_ticket_ended(&e->ticket[seq->ticket], err);
	*err = e->lost_why;
	return true;
}

bool
glm_inbox_drop_ended(glm_scheduler *s, bool in_pass)
{
	glm_engine *e = s->engine;
	bool		wanted = false;
	glm_error	err;

	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		bool ended = must_end(e, *at, &err);
		bool stays = in_pass && (*at)->n_rows > 0;

		wanted |= stays && !ended;
		if (ended && !stays)
			glm_sequence_fail(s, glm_sequence_remove(s, at), &err);
		else
			at = &(*at)->next;
	}
	for (glm_sequence **at = &s->waiting; *at != NULL;)
	{
		if (must_end(e, *at, &err))
			glm_sequence_fail(s, glm_sequence_unwait(s, at), &err);
		else
			at = &(*at)->next;
	}
	return wanted;
}
