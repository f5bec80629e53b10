/*
 * scheduler.c - the engine thread: many sequences, one forward pass at a time.
 *
 * Continuous batching.  Each step gathers, for one model, the newest token of
 * every running sequence and as many prompt tokens as the prefill budget
 * allows, runs one forward pass over these rows, and samples the sequences
 * whose last known token was among them.  Models with work take turns.  A long
 * answer or a long prompt never holds another request up for more than a step,
 * and what a request gets does not depend on its company: each row's result is
 * its own, bit for bit (forward.c).
 *
 * A sequence is admitted when the KV pool has blocks for the longest answer it
 * may give, first come first served, so a running sequence never runs out.
 * It leaves, and gives its blocks back, in the step in which it ends.
 *
 * A sequence whose reader does not read is paused.  It keeps its blocks while
 * nobody else needs them; then it is preempted, newest first, and computed anew
 * when its reader comes back.  So cursors left open hold nobody up.
 */
#include "scheduler.h"

#include <stdlib.h>

/* ---- Sequences --------------------------------------------------------------- */

void
glm_scheduler_add(glm_engine *e, glm_sequence *seq)
{
	seq->next = NULL;
	pthread_mutex_lock(&e->inbox_lock);
	*e->inbox_end = seq;
	e->inbox_end = &seq->next;
	pthread_mutex_unlock(&e->inbox_lock);
	atomic_fetch_add(&e->count.waiting, 1);
	glm_signal_raise(&e->wake);
}

void
glm_sequence_free(glm_engine *e, glm_sequence *seq)
{
	if (seq->kv.n_blocks > 0)
		glm_kv_give(e->kv, seq->model->kv_block_bytes, &seq->kv);
	if (seq->sampler != NULL)
		glm_sampler_close(seq->sampler);
	if (seq->decoder != NULL)
		glm_decoder_close(seq->decoder);
	glm_buf_free(&seq->text);
	glm_ids_free(&seq->tokens);
	glm_models_release(&e->models, seq->model);
	free(seq);
}

bool
glm_sequence_paused(const glm_engine *e, const glm_sequence *seq)
{
	return seq->request->stream &&
		seq->made - atomic_load(&e->ticket[seq->ticket].taken) >= GLM_OUTBOX;
}

/* Freed before its reader is told, so that whoever knows of the end finds it gone. */
void
glm_sequence_fail(glm_engine *e, glm_sequence *seq, const glm_error *err)
{
	int			ticket = seq->ticket;

	glm_sequence_free(e, seq);
	glm_send_error(e, ticket, err);
}

void
glm_sequence_finish(glm_engine *e, glm_sequence *seq, glm_finish finish)
{
	int			ticket = seq->ticket;
	int			n_prompt = seq->n_prompt;
	int			n_answer = (int) seq->tokens.length - n_prompt;

	if (!seq->request->stream && seq->text.length > 0)
		glm_send_result(e, ticket, seq->text.data, seq->text.length);
	glm_sequence_free(e, seq);
	glm_send_done(e, ticket, finish, n_prompt, n_answer);
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

/* ---- Admission ------------------------------------------------------------------- */

static void
collect_inbox(glm_scheduler *s)
{
	glm_engine *e = s->engine;

	pthread_mutex_lock(&e->inbox_lock);
	if (e->inbox != NULL)
	{
		*s->waiting_end = e->inbox;
		s->waiting_end = e->inbox_end;
		e->inbox = NULL;
		e->inbox_end = &e->inbox;
	}
	pthread_mutex_unlock(&e->inbox_lock);
}

/* Puts a sequence at the end of the waiting ones. */
static void
add_waiting(glm_scheduler *s, glm_sequence *seq)
{
	seq->next = NULL;
	*s->waiting_end = seq;
	s->waiting_end = &seq->next;
	atomic_fetch_add(&s->engine->count.waiting, 1);
}

/* Takes a sequence out of the waiting ones; *at points to it. */
static glm_sequence *
remove_waiting(glm_scheduler *s, glm_sequence **at)
{
	glm_sequence *seq = *at;

	*at = seq->next;
	if (*at == NULL)
		s->waiting_end = at;
	atomic_fetch_sub(&s->engine->count.waiting, 1);
	return seq;
}

/* Ends sequences that were cancelled or ran out of time. */
static void
drop_ended(glm_scheduler *s)
{
	glm_engine *e = s->engine;
	glm_error	err;

	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if (glm_ticket_ended(&e->ticket[(*at)->ticket], &err))
			glm_sequence_fail(e, glm_sequence_remove(s, at), &err);
		else
			at = &(*at)->next;
	}
	for (glm_sequence **at = &s->waiting; *at != NULL;)
	{
		if (glm_ticket_ended(&e->ticket[(*at)->ticket], &err))
			glm_sequence_fail(e, remove_waiting(s, at), &err);
		else
			at = &(*at)->next;
	}
}

static void
add_running(glm_scheduler *s, glm_sequence *seq)
{
	glm_sequence **end = &s->running;

	while (*end != NULL)
		end = &(*end)->next;
	*end = seq;
	seq->next = NULL;
	s->n_running++;
	atomic_store(&s->engine->count.running, s->n_running);
}

/* Takes the KV blocks of the newest paused sequence; false when there is none. */
static bool
preempt_paused(glm_scheduler *s)
{
	glm_sequence **newest = NULL;
	glm_sequence *seq;

	for (glm_sequence **at = &s->running; *at != NULL; at = &(*at)->next)
	{
		if (glm_sequence_paused(s->engine, *at))
			newest = at;
	}
	if (newest == NULL)
		return false;
	seq = glm_sequence_remove(s, newest);
	glm_kv_give(s->engine->kv, seq->model->kv_block_bytes, &seq->kv);
	seq->n_computed = 0;
	add_waiting(s, seq);
	return true;
}

static bool
take_blocks(glm_scheduler *s, glm_sequence *seq)
{
	int			blocks = (seq->limit + GLM_KV_BLOCK - 1) / GLM_KV_BLOCK;

	do
	{
		if (glm_kv_take(s->engine->kv, seq->model->kv_block_bytes, blocks, &seq->kv))
			return true;
	} while (preempt_paused(s));
	return false;
}

static int
count_active(const glm_scheduler *s)
{
	int			n = 0;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		n += !glm_sequence_paused(s->engine, seq);
	return n;
}

/* Admits the sequences whose time has come, in the order in which they wait. */
static void
admit(glm_scheduler *s)
{
	int			active = count_active(s);

	for (glm_sequence **at = &s->waiting; *at != NULL && active < s->engine->max_sequences;)
	{
		glm_sequence *seq = *at;
		glm_error	err;

		if (glm_sequence_paused(s->engine, seq))
		{
			at = &seq->next;	/* preempted, and its reader is not back yet */
			continue;
		}
		if (!take_blocks(s, seq))
			break;
		remove_waiting(s, at);
		if (glm_forward_prepare(s->engine->forward, seq->model, &err))
		{
			add_running(s, seq);
			active++;
		}
		else
			glm_sequence_fail(s->engine, seq, &err);
	}
}

/* ---- The thread ------------------------------------------------------------------------ */

/* A sequence whose model has not had its pass in this round; counts the paused. */
static glm_sequence *
next_in_round(glm_scheduler *s)
{
	glm_sequence *found = NULL;
	int			paused = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		if (glm_sequence_paused(s->engine, seq))
			paused++;
		else if (seq->round != s->round && found == NULL)
			found = seq;
	}
	atomic_store(&s->engine->count.paused, paused);
	return found;
}

/* One pass for every model with work; false when there was none. */
static bool
run_round(glm_scheduler *s)
{
	bool		any = false;
	glm_sequence *seq;

	s->round++;
	while ((seq = next_in_round(s)) != NULL)
	{
		glm_pass_run(s, seq->model);
		any = true;
	}
	return any;
}

/* When the next sequence's time is up; 0 = none has a limit. */
static int64_t
next_deadline(const glm_scheduler *s)
{
	int64_t		next = 0;
	const glm_sequence *list[2] = {s->running, s->waiting};

	for (int i = 0; i < 2; i++)
	{
		for (const glm_sequence *seq = list[i]; seq != NULL; seq = seq->next)
		{
			int64_t		deadline = s->engine->ticket[seq->ticket].deadline_ns;

			if (deadline != 0 && (next == 0 || deadline < next))
				next = deadline;
		}
	}
	return next;
}

/* Takes in what has happened outside since the last look. */
static void
take_news(glm_scheduler *s)
{
	collect_inbox(s);
	drop_ended(s);
	admit(s);
}

/* The delay that tests ask for; cancels go on meanwhile. */
static void
delay_step(glm_scheduler *s)
{
	glm_engine *e = s->engine;
	int64_t		until = glm_now_ns() + atomic_load(&e->step_delay_ms) * INT64_C(1000000);

	while (glm_now_ns() < until && !atomic_load(&e->stopping))
	{
		glm_signal_wait(&e->wake, until);
		take_news(s);
	}
}

static void
free_sequences(glm_scheduler *s, glm_sequence *list)
{
	while (list != NULL)
	{
		glm_sequence *seq = list;

		list = seq->next;
		glm_sequence_free(s->engine, seq);
	}
}

void *
glm_scheduler_main(void *arg)
{
	glm_engine *e = arg;
	glm_scheduler s = {.engine = e};

	glm_thread_enter("glm engine");
	s.waiting_end = &s.waiting;
	while (!atomic_load(&e->stopping))
	{
		take_news(&s);
		if (!run_round(&s))
			glm_signal_wait(&e->wake, next_deadline(&s));
		else if (atomic_load(&e->step_delay_ms) > 0)
			delay_step(&s);
	}
	free_sequences(&s, s.running);
	free_sequences(&s, s.waiting);
	return NULL;
}
