/*
 * turns.c - whose turn it is among requests that take long to be made ready.
 *
 * What a request takes before it can be computed nobody knows beforehand: 3 KB of nested
 * tools may become a million tokens.  So tasks have two lanes.  All begin in the fast one,
 * which one thread works through (tasks.c); whoever has not finished within FAST_NS, or
 * brings many bytes, goes on in the slow one.  There each task has a thread, of which one
 * at a time works, for SLICE_NS, at a lower priority than the forward passes.  So a short
 * request never waits for a long one, and long ones wait for each other's slices only.
 *
 * A task that goes slow keeps the thread it is on, with all that lies on its stack, and
 * another takes its place in the fast lane.  The code between two pauses therefore reads
 * as if it were alone; glm_pause() is where lanes are changed and turns are given away.
 *
 * Tenants take turns, the one whose last is longest ago before the others, and a tenant's
 * tasks do so among themselves.  A task that has ended, because it was cancelled or is out
 * of time, waits for no turn: its cancel and its deadline wake it, and it clears up.
 *
 * Locks.  intake.lock guards everything here but what a task says of itself while it runs.
 */
#include <time.h>

#include "engine/serve/turns.h"

#define FAST_NS INT64_C(2000000)	  /* of CPU time ... */
#define PATIENCE_NS INT64_C(20000000) /* ... and of any */
#define SLICE_NS INT64_C(5000000)

static int64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

void
glm_task_remove(glm_task **list, glm_task *task)
{
	while (*list != task)
		list = &(*list)->next;
	*list = task->next;
	task->next = NULL;
}

static void
append_task(glm_task **list, glm_task *task)
{
	while (*list != NULL)
		list = &(*list)->next;
	task->next = NULL;
	*list = task;
}

void
glm_turn_begin(glm_task *task)
{
	glm_intake *in = &task->engine->intake;

	task->tenant->turn = ++in->turns;
	task->slice_ns = glm_now_ns();
}

void
glm_turn_begin_fast(glm_task *task)
{
	task->cpu_ns = cpu_ns();
}

/* ---- The slow lane -------------------------------------------------------------- */

/* Lets the next of those that wait for a turn work, if nobody does. */
static void
give_turn(glm_intake *in)
{
	glm_task *next = in->ready;

	if (in->slow != NULL || next == NULL)
		return;
	for (glm_task *task = next->next; task != NULL; task = task->next)
	{
		if (task->tenant->turn < next->tenant->turn)
			next = task;
	}
	glm_task_remove(&in->ready, next);
	atomic_fetch_sub(&in->n_ready, 1);
	next->state = GLM_TASK_SLOW;
	in->slow = next;
	glm_turn_begin(next);
	pthread_cond_signal(&next->turn);
}

/* Waits for the turn of a task, under the lock; false when it has ended before. */
static bool
wait_for_turn(glm_engine *e, glm_task *task, glm_error *err)
{
	glm_intake *in = &e->intake;

	task->state = GLM_TASK_READY;
	append_task(&in->ready, task);
	atomic_fetch_add(&in->n_ready, 1);
	give_turn(in);
	while (task->state == GLM_TASK_READY)
	{
		if (atomic_load(&e->stopping))
			glm_fail(err, GLM_CANCELLED, "the engine is closing");
		else if (!glm_ticket_ended(&e->ticket[task->ticket], err))
		{
			glm_cond_wait(&task->turn, &in->lock, e->ticket[task->ticket].deadline_ns);
			continue;
		}
		glm_task_remove(&in->ready, task);
		atomic_fetch_sub(&in->n_ready, 1);
		task->state = GLM_TASK_SLOW; /* without a turn, to clear up */
		return false;
	}
	return true;
}

bool
glm_turn_enter_slow(glm_task *task, glm_error *err)
{
	task->tenant->n_slow++;
	return wait_for_turn(task->engine, task, err);
}

bool
glm_turn_is_long(const glm_task *task)
{
	int64_t spent = glm_now_ns() - task->slice_ns;

	return task->state == GLM_TASK_FAST && (task->large || spent > PATIENCE_NS ||
											(spent > FAST_NS && cpu_ns() - task->cpu_ns > FAST_NS));
}

bool
glm_turn_pass(glm_task *task, glm_error *err)
{
	glm_engine *e = task->engine;
	glm_intake *in = &e->intake;
	bool		ok;

	if (task->state != GLM_TASK_SLOW || glm_now_ns() - task->slice_ns <= SLICE_NS ||
		atomic_load(&in->n_ready) == 0)
		return true;
	pthread_mutex_lock(&in->lock);
	in->slow = NULL;
	ok = wait_for_turn(e, task, err);
	pthread_mutex_unlock(&in->lock);
	return ok;
}

void
glm_turn_leave(glm_task *task)
{
	glm_intake *in = &task->engine->intake;

	task->tenant->n_slow--;
	if (in->slow == task)
		in->slow = NULL;
	give_turn(in);
}
