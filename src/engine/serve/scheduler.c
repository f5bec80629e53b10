/*
 * scheduler.c - the engine thread: many sequences, one forward pass at a time on each device.
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
 * Models share the time: the one whose steps have taken least so far is next.
 * One that had nothing to do meanwhile does not save its time up.
 *
 * Where each of several devices has models, a pass of another model is started on every one of
 * them before the first is waited for.  They are finished in the order in which they should end,
 * by what the model's last pass took, and one that is quick goes on as long as it does not keep a
 * slower one waiting.  Sequences come and go between steps, when no pass is under way.  A model
 * whose layers are divided needs all devices, and has a step of its own.
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

/* When a pass of the model that begins now should end. */
static int64_t
expected_end(const glm_served *served, int64_t start_ns)
{
	return start_ns + served->runtime.last_ns;
}

/* The pass that should end next, or last; NULL: none is under way. */
static glm_flight *
find_flight(glm_scheduler *s, bool last)
{
	glm_flight *found = NULL;
	int64_t		ends = 0;

	for (int i = 0; i < s->engine->n_homes; i++)
	{
		glm_flight *flight = &s->flight[i];
		int64_t		its_end;

		if (flight->served == NULL)
			continue;
		its_end = expected_end(flight->served, flight->start_ns);
		if (found != NULL && (last ? its_end <= ends : its_end >= ends))
			continue;
		found = flight;
		ends = its_end;
	}
	return found;
}

/* The model there that waits longest for a pass beside another's; NULL: none has work. */
static glm_served *
next_beside(const glm_scheduler *s, const glm_home *home)
{
	glm_served *next = NULL;

	for (const glm_sequence *seq = s->running; seq != NULL; seq = seq->next)
		if (glm_sequence_is_at(seq, home) && !glm_sequence_paused(s->engine, seq) &&
			(next == NULL || atomic_load(&seq->served->used_ns) < atomic_load(&next->used_ns)))
			next = seq->served;
	return next;
}

/* A pass on every device that has none, if the one of the first leaves them free. */
static void
start_beside(glm_scheduler *s, const glm_home *first)
{
	glm_engine *e = s->engine;

	for (int i = 0; first->info.devices == 1 && i < e->n_homes; i++)
	{
		glm_served *served = NULL;

		if (&e->home[i] != first && e->home[i].info.devices == 1)
			served = next_beside(s, &e->home[i]);
		if (served != NULL)
			glm_pass_start(s, served);
	}
}

/* One more pass there while others are under way, if it should end before them. */
static void
go_on_beside(glm_scheduler *s, const glm_home *home)
{
	glm_engine		 *e = s->engine;
	const glm_flight *last = find_flight(s, true);
	glm_served		 *served;

	if (last == NULL || s->flight[home->place].served != NULL || atomic_load(&e->stopping) ||
		atomic_load(&e->lost) || atomic_load(&e->step_delay_ms) > 0)
		return;
	glm_inbox_take(s);
	glm_inbox_drop_ended(s, true);
	served = next_beside(s, home);
	if (served != NULL &&
		expected_end(served, glm_now_ns()) < expected_end(last->served, last->start_ns))
		glm_pass_start(s, served);
}

/*
 * A pass of the model whose turn it is, what fits beside it, and what follows them as long as there
 * is nothing else to do; false when there is no work.
 */
static bool
run_step(glm_scheduler *s)
{
	glm_served	   *served = next_model(s);
	const glm_home *home;
	glm_flight	   *flight;

	if (served == NULL)
		return false;
	home = atomic_load(&served->home);
	s->clock_ns = served->runtime.virtual_ns;
	s->leader = served;
	s->counted_ns = glm_now_ns();
	glm_pass_start(s, served);
	start_beside(s, home);
	while ((flight = find_flight(s, false)) != NULL)
	{
		glm_follow_all(s);
		glm_pass_finish(s, flight);
		go_on_beside(s, flight->home);
	}
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
