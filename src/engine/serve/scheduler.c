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
 * Whose turn it is to be admitted is told in tenants.c and admit.c, in which order running
 * ones are served in rank.c: in both tenants take turns before classes count.  When the
 * pool is full somebody is preempted (preempt.c).
 *
 * Models share the time: the one whose passes have taken least so far is next.
 * One that had nothing to do meanwhile does not save its time up.
 */
#include "engine/serve/scheduler.h"

#include "engine/base/heap.h"

#define REST_NS INT64_C(500000000) /* without work, after which memory goes back */

/* ---- The thread ------------------------------------------------------------------------ */

/* The model with work whose passes have taken least; counts the paused. */
static glm_served *
next_model(glm_scheduler *s)
{
	glm_served *next = NULL;
	int			paused = 0;

	for (glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
	{
		glm_runtime *runtime = &seq->served->runtime;

		if (glm_sequence_paused(s->engine, seq))
		{
			paused++;
			continue;
		}
		if (runtime->virtual_ns < s->clock_ns)
			runtime->virtual_ns = s->clock_ns; /* it had nothing to do */
		if (next == NULL || runtime->virtual_ns < next->runtime.virtual_ns)
			next = seq->served;
	}
	atomic_store(&s->engine->count.paused, paused);
	return next;
}

/* A pass of the model whose turn it is; false when there is no work. */
static bool
run_step(glm_scheduler *s)
{
	glm_served *served = next_model(s);

	if (served == NULL)
		return false;
	s->clock_ns = served->runtime.virtual_ns;
	glm_pass_run(s, served);
	return true;
}

/* When the next sequence's time is up; 0 = none has a limit. */
static int64_t
next_sequence_deadline(const glm_scheduler *s)
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
	glm_inbox_take(s);
	glm_inbox_drop_ended(s, false);
	glm_scheduler_admit(s);
}

/* The delay that tests ask for; cancels go on meanwhile, and a change of it counts at once. */
static void
delay_step(glm_scheduler *s)
{
	glm_engine	 *e = s->engine;
	const int64_t start = glm_now_ns();
	int64_t		  until;

	while (glm_now_ns() < (until = start + atomic_load(&e->step_delay_ms) * INT64_C(1000000)) &&
		   !atomic_load(&e->stopping))
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

/*
 * Waits for what is to be done.  Once nothing came for a while, what was freed goes back to the
 * system: malloc would keep it for each thread, tens of megabytes after a rush.
 */
static void
wait_for_work(const glm_scheduler *s, bool *worked)
{
	glm_engine *e = s->engine;
	int64_t		until = next_sequence_deadline(s);
	bool		idle = s->running == NULL && s->waiting == NULL && *worked;

	if (idle)
		until = glm_now_ns() + REST_NS;
	glm_signal_wait(&e->wake, until);
	if (!idle || glm_now_ns() < until)
		return;
	glm_heap_rest();
	*worked = false;
}

void *
glm_scheduler_main(void *arg)
{
	glm_engine	 *e = arg;
	glm_scheduler s = {.engine = e};
	bool		  worked = false;

	glm_thread_enter("glm engine");
	while (!atomic_load(&e->stopping))
	{
		take_news(&s);
		if (!run_step(&s))
		{
			wait_for_work(&s, &worked);
			continue;
		}
		worked = true;
		if (atomic_load(&e->step_delay_ms) > 0)
			delay_step(&s);
	}
	free_sequences(&s, s.running);
	free_sequences(&s, s.waiting);
	return NULL;
}
