/*
 * scheduler.c - the engine thread: many sequences, one forward pass at a time.
 *
 * Continuous batching.  Each step gathers, for one model, the newest token of
 * every running sequence and as many prompt tokens as the prefill budget
 * allows (plan.c), runs one forward pass over these rows, and samples the
 * sequences whose last known token was among them (pass.c).  A long answer or a
 * long prompt never holds another request up for more than a step, and what a
 * request gets does not depend on its company: each row's result is its own,
 * bit for bit (forward.c).
 *
 * Who is admitted next is told in admit.c, in which order running ones are served in
 * rank.c: in both tenants take turns before classes count.  When the pool is full
 * somebody is preempted (sequence.c).
 *
 * Models share the time: the one whose passes have taken least so far is next.
 * One that had nothing to do meanwhile does not save its time up.
 */
#include "engine/serve/scheduler.h"

#include <stdlib.h>

/* ---- Coming and going ----------------------------------------------------------- */

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

static glm_tenant *
find_tenant(glm_scheduler *s, uint32_t id)
{
	glm_tenant *tenant = s->tenants;

	while (tenant != NULL && tenant->id != id)
		tenant = tenant->next;
	if (tenant == NULL && (tenant = calloc(1, sizeof(*tenant))) != NULL)
	{
		tenant->id = id;
		tenant->next = s->tenants;
		s->tenants = tenant;
	}
	return tenant;
}

static void
take_in(glm_scheduler *s, glm_sequence *seq)
{
	int		  ticket = seq->ticket;
	glm_error err = {0};

	seq->tenant = find_tenant(s, seq->request->tenant);
	if (seq->tenant == NULL)
	{
		atomic_fetch_sub(&s->engine->count.waiting, 1);
		glm_sequence_free(s->engine, seq);
		glm_no_memory(&err);
		glm_send_error(s->engine, ticket, &err);
		return;
	}
	seq->tenant->n_sequences++;
	seq->arrival = s->arrivals++;
	if (seq->sampler != NULL && seq->model->drafter != NULL)
		seq->ngrams = glm_drafter_ngrams(seq->model->drafter, seq->request->scope);
	atomic_fetch_add(&seq->model->tally.prompt_tokens, seq->n_prompt);
	glm_sequence_wait(s, seq); /* counted when it was handed over */
}

void
glm_scheduler_collect(glm_scheduler *s)
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

/* Ends sequences that were cancelled or ran out of time. */
static void
drop_ended(glm_scheduler *s)
{
	glm_engine *e = s->engine;
	glm_error	err;

	for (glm_sequence **at = &s->running; *at != NULL;)
	{
		if (glm_ticket_ended(&e->ticket[(*at)->ticket], &err))
			glm_sequence_fail(s, glm_sequence_remove(s, at), &err);
		else
			at = &(*at)->next;
	}
	for (glm_sequence **at = &s->waiting; *at != NULL;)
	{
		if (glm_ticket_ended(&e->ticket[(*at)->ticket], &err))
			glm_sequence_fail(s, glm_sequence_unwait(s, at), &err);
		else
			at = &(*at)->next;
	}
}

/* ---- The thread ------------------------------------------------------------------------ */

/* The model with work whose passes have taken least; counts the paused. */
static glm_model *
next_model(glm_scheduler *s)
{
	glm_model *next = NULL;
	int		   paused = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		glm_pace *pace = &seq->model->pace;

		if (glm_sequence_paused(s->engine, seq))
		{
			paused++;
			continue;
		}
		if (pace->spent_ns < s->clock_ns)
			pace->spent_ns = s->clock_ns; /* it had nothing to do */
		if (next == NULL || pace->spent_ns < next->pace.spent_ns)
			next = seq->model;
	}
	atomic_store(&s->engine->count.paused, paused);
	return next;
}

/* A pass of the model whose turn it is; false when there is no work. */
static bool
run_step(glm_scheduler *s)
{
	glm_model *model = next_model(s);

	if (model == NULL)
		return false;
	s->clock_ns = model->pace.spent_ns;
	glm_pass_run(s, model);
	return true;
}

/* When the next sequence's time is up; 0 = none has a limit. */
static int64_t
next_deadline(const glm_scheduler *s)
{
	int64_t				next = 0;
	const glm_sequence *list[2] = {s->running, s->waiting};

	for (int i = 0; i < 2; i++)
	{
		for (const glm_sequence *seq = list[i]; seq != NULL; seq = seq->next)
		{
			int64_t deadline = s->engine->ticket[seq->ticket].deadline_ns;

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
	glm_scheduler_collect(s);
	drop_ended(s);
	glm_scheduler_admit(s);
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
		glm_sequence_drop(s, seq);
	}
}

void *
glm_scheduler_main(void *arg)
{
	glm_engine	 *e = arg;
	glm_scheduler s = {.engine = e};

	glm_thread_enter("glm engine");
	while (!atomic_load(&e->stopping))
	{
		take_news(&s);
		if (!run_step(&s))
			glm_signal_wait(&e->wake, next_deadline(&s));
		else if (atomic_load(&e->step_delay_ms) > 0)
			delay_step(&s);
	}
	free_sequences(&s, s.running);
	free_sequences(&s, s.waiting);
	return NULL;
}
