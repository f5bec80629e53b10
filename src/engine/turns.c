/*
 * turns.c - whose turn it is among requests that are being made ready.
 *
 * A request is a *task* from its submission until it is answered or handed to the
 * engine thread.  What that takes nobody knows beforehand: 3 KB of nested tools may
 * become a million tokens.  So there are two lanes.  All tasks begin in the fast one,
 * which one thread works through; whoever has not finished within FAST_NS, or brings
 * more than LARGE bytes, goes on in the slow one.  There each task has a thread, of which
 * one at a time works, for SLICE_NS, at a lower priority than the forward passes.  So a
 * short request never waits for a long one, and long ones wait for each other's slices
 * only.
 *
 * Who goes slow keeps the thread it is on, with all that lies on its stack, and
 * another takes its place in the fast lane.  The code between two pauses therefore
 * reads as if it were alone; glm_pause() is where lanes are changed and turns are
 * given away.  No more than SLOW_TASKS of a tenant's large tasks are begun at a time;
 * the others stay in the queue.
 *
 * In both lanes tenants take turns, the one whose last is longest ago before the
 * others, and a tenant's tasks do so among themselves.  Tasks that have ended, because
 * they were cancelled or are out of time, need no turn: they are looked for before
 * anything else, and a cancel and a deadline wake whoever waits.
 *
 * A task that has to wait for a model is parked: it gives its thread up, stays in
 * the queue at its place and begins anew when the loader has finished (loader.c).
 *
 * Locks.  front.lock guards everything here but what a task says of itself while it
 * runs.  It is held for walks over the tasks at most.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FAST_NS INT64_C(2000000)
#define SLICE_NS INT64_C(5000000)
#define LARGE (32u << 10)
#define SLOW_TASKS 4

static void *front_main(void *engine);

/* ---- Lists ------------------------------------------------------------------- */

static void
remove_task(glm_task **list, glm_task *task)
{
	while (*list != task)
		list = &(*list)->next;
	*list = task->next;
	task->next = NULL;
}

/* Puts a task behind those that came before it. */
static void
insert_by_arrival(glm_task **list, glm_task *task)
{
	while (*list != NULL && (*list)->arrival < task->arrival)
		list = &(*list)->next;
	task->next = *list;
	*list = task;
}

static void
append_task(glm_task **list, glm_task *task)
{
	while (*list != NULL)
		list = &(*list)->next;
	task->next = NULL;
	*list = task;
}

static bool
has_ended(const glm_engine *e, const glm_task *task, int64_t now)
{
	const glm_ticket *ticket = &e->ticket[task->ticket];

	return atomic_load(&ticket->cancelled) ||
		(ticket->deadline_ns != 0 && now >= ticket->deadline_ns);
}

/* ---- Tenants ------------------------------------------------------------------ */

/* The entry of a tenant with tasks, or a free one; as many as tasks, so there is one. */
static glm_task_tenant *
find_tenant(glm_front *f, uint32_t id)
{
	glm_task_tenant *unused = NULL;

	for (int i = 0; i < f->n_tenants; i++)
	{
		glm_task_tenant *t = &f->tenant[i];

		if (t->n_tasks > 0 && t->id == id)
			return t;
		if (t->n_tasks == 0 && unused == NULL)
			unused = t;
	}
	if (unused == NULL)
		unused = &f->tenant[f->n_tenants++];
	*unused = (glm_task_tenant) {.id = id};
	return unused;
}

static void
leave_tenant(glm_front *f, glm_task *task)
{
	task->tenant->n_tasks--;
	task->tenant = NULL;
	while (f->n_tenants > 0 && f->tenant[f->n_tenants - 1].n_tasks == 0)
		f->n_tenants--;
}

static void
count_turn(glm_front *f, glm_task *task)
{
	task->tenant->turn = ++f->turns;
	task->slice_ns = glm_now_ns();
}

/* ---- The slow lane -------------------------------------------------------------- */

/* Lets the next of those that wait for a turn work, if nobody does. */
static void
give_turn(glm_front *f)
{
	glm_task   *next = f->ready;

	if (f->slow != NULL || next == NULL)
		return;
	for (glm_task *task = next->next; task != NULL; task = task->next)
	{
		if (task->tenant->turn < next->tenant->turn)
			next = task;
	}
	remove_task(&f->ready, next);
	atomic_fetch_sub(&f->n_ready, 1);
	next->state = GLM_TASK_SLOW;
	f->slow = next;
	count_turn(f, next);
	pthread_cond_signal(&next->turn);
}

/* Waits for the turn of a task, under the lock; false when it has ended before. */
static bool
wait_for_turn(glm_engine *e, glm_task *task, glm_error *err)
{
	glm_front  *f = &e->front;

	task->state = GLM_TASK_READY;
	append_task(&f->ready, task);
	atomic_fetch_add(&f->n_ready, 1);
	give_turn(f);
	while (task->state == GLM_TASK_READY)
	{
		if (atomic_load(&e->stopping))
			glm_fail(err, GLM_CANCELLED, "the engine is closing");
		else if (!glm_ticket_ended(&e->ticket[task->ticket], err))
		{
			glm_cond_wait(&task->turn, &f->lock, e->ticket[task->ticket].deadline_ns);
			continue;
		}
		remove_task(&f->ready, task);
		atomic_fetch_sub(&f->n_ready, 1);
		task->state = GLM_TASK_SLOW;	/* without a turn, to clear up */
		return false;
	}
	return true;
}

static bool
start_thread(glm_engine *e)
{
	pthread_t	thread;
	pthread_attr_t attr;
	bool		ok;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&thread, &attr, front_main, e) == 0;
	pthread_attr_destroy(&attr);
	if (ok)
		e->front.n_threads++;
	return ok;
}

/* Moves the running task to the slow lane; false when it ended meanwhile. */
static bool
go_slow(glm_engine *e, glm_task *task, glm_error *err)
{
	glm_front  *f = &e->front;
	bool		moved;
	bool		ok = true;

	pthread_mutex_lock(&f->lock);
	moved = start_thread(e);
	if (moved)
	{
		task->tenant->n_slow++;
		ok = wait_for_turn(e, task, err);
	}
	else
		task->slice_ns = glm_now_ns();	/* nobody else is there to serve the others */
	pthread_mutex_unlock(&f->lock);
	/* of this thread alone, which ends with its task */
	if (moved)
		setpriority(PRIO_PROCESS, 0, GLM_NICENESS);
	return ok;
}

static bool
pass_turn(glm_engine *e, glm_task *task, glm_error *err)
{
	glm_front  *f = &e->front;
	bool		ok;

	pthread_mutex_lock(&f->lock);
	f->slow = NULL;
	ok = wait_for_turn(e, task, err);
	pthread_mutex_unlock(&f->lock);
	return ok;
}

/* What glm_pause() does in a task. */
static bool
pause_task(void *arg, glm_error *err)
{
	glm_task   *task = arg;
	glm_engine *e = task->engine;
	glm_error	unwanted;
	int64_t		spent;

	if (err == NULL)
		err = &unwanted;
	if (atomic_load(&e->stopping))
		return glm_fail(err, GLM_CANCELLED, "the engine is closing");
	if (glm_ticket_ended(&e->ticket[task->ticket], err))
		return false;
	spent = glm_now_ns() - task->slice_ns;
	if (task->state == GLM_TASK_FAST && (spent > FAST_NS || task->large))
		return go_slow(e, task, err);
	if (task->state == GLM_TASK_SLOW && spent > SLICE_NS && atomic_load(&e->front.n_ready) > 0)
		return pass_turn(e, task, err);
	return true;
}

/* ---- The fast lane --------------------------------------------------------------- */

static bool
may_begin(const glm_task *task)
{
	if (task->loading != NULL && !glm_loading_done(task->loading))
		return false;
	return !task->large || task->sequence != NULL || task->tenant->n_slow < SLOW_TASKS;
}

/* Takes the task whose turn it is out of the queue; NULL when there is none. */
static glm_task *
next_task(glm_engine *e)
{
	glm_front  *f = &e->front;
	glm_task   *next = NULL;
	int64_t		now = glm_now_ns();

	for (glm_task *task = f->queue; task != NULL; task = task->next)
	{
		if (has_ended(e, task, now))
		{
			next = task;
			break;
		}
		if (may_begin(task) && (next == NULL || task->tenant->turn < next->tenant->turn))
			next = task;
	}
	if (next == NULL)
		return NULL;
	remove_task(&f->queue, next);
	next->state = GLM_TASK_FAST;
	count_turn(f, next);
	return next;
}

/* When the time of the first in the queue is up; 0 = none has a limit. */
static int64_t
next_deadline(const glm_engine *e)
{
	int64_t		next = 0;

	for (const glm_task *task = e->front.queue; task != NULL; task = task->next)
	{
		int64_t		deadline = e->ticket[task->ticket].deadline_ns;

		if (deadline != 0 && (next == 0 || deadline < next))
			next = deadline;
	}
	return next;
}

/* Ends a task, or parks it; was it slow? */
static bool
leave(glm_engine *e, glm_task *task, bool parked)
{
	glm_front  *f = &e->front;
	bool		slow;

	pthread_mutex_lock(&f->lock);
	slow = task->state == GLM_TASK_SLOW;
	if (slow)
	{
		task->tenant->n_slow--;
		if (f->slow == task)
			f->slow = NULL;
		give_turn(f);
	}
	if (parked)
	{
		task->state = GLM_TASK_QUEUED;
		insert_by_arrival(&f->queue, task);
	}
	else
	{
		leave_tenant(f, task);
		task->state = GLM_TASK_NONE;
		atomic_fetch_sub(&f->n_tasks, 1);
	}
	if (slow)
		pthread_cond_signal(&f->work);
	pthread_mutex_unlock(&f->lock);
	return slow;
}

/* Runs a task as far as it gets; was it slow in the end? */
static bool
run_task(glm_engine *e, glm_task *task)
{
	int			ticket = task->ticket;
	glm_outcome outcome = {0};
	bool		slow;

	glm_pause_with(pause_task, task);
	glm_task_run(e, task, &outcome);
	glm_pause_with(NULL, NULL);
	/* what comes next may end the ticket, which then can be somebody else's task */
	slow = leave(e, task, outcome.end == GLM_TASK_PARKED);
	glm_task_finish(e, ticket, &outcome);
	return slow;
}

static void *
front_main(void *arg)
{
	glm_engine *e = arg;
	glm_front  *f = &e->front;
	bool		slow = false;

	glm_thread_enter("glm front");
	pthread_mutex_lock(&f->lock);
	while (!slow && !atomic_load(&e->stopping))
	{
		glm_task   *task = next_task(e);

		if (task == NULL)
		{
			glm_cond_wait(&f->work, &f->lock, next_deadline(e));
			continue;
		}
		pthread_mutex_unlock(&f->lock);
		slow = run_task(e, task);
		pthread_mutex_lock(&f->lock);
	}
	f->n_threads--;
	pthread_cond_broadcast(&f->gone);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* ---- Entry points ------------------------------------------------------------------ */

static bool
wants_turns(const glm_request *req)
{
	return req->kind != GLM_LOAD && req->kind != GLM_UNLOAD && req->kind != GLM_QUANTIZE;
}

void
glm_front_add(glm_engine *e, int ticket)
{
	glm_front  *f = &e->front;
	glm_task   *task = &f->task[ticket];
	const glm_request *req = e->ticket[ticket].request;

	pthread_mutex_lock(&f->lock);
	task->state = GLM_TASK_QUEUED;
	task->arrival = f->arrivals++;
	task->large = req->size > LARGE && wants_turns(req);
	task->checked = task->verified = task->held = false;
	task->tenant = find_tenant(f, req->tenant);
	task->tenant->n_tasks++;
	atomic_fetch_add(&f->n_tasks, 1);
	append_task(&f->queue, task);
	pthread_cond_signal(&f->work);
	pthread_mutex_unlock(&f->lock);
}

void
glm_front_poke(glm_engine *e, int ticket)
{
	glm_front  *f = &e->front;
	glm_task   *task = &f->task[ticket];

	pthread_mutex_lock(&f->lock);
	if (task->state == GLM_TASK_QUEUED)
		pthread_cond_signal(&f->work);
	else if (task->state == GLM_TASK_READY)
		pthread_cond_signal(&task->turn);
	pthread_mutex_unlock(&f->lock);
}

bool
glm_front_open(glm_engine *e, int n_tickets, glm_error *err)
{
	glm_front  *f = &e->front;

	f->task = calloc(n_tickets, sizeof(*f->task));
	f->tenant = calloc(n_tickets, sizeof(*f->tenant));
	if (f->task == NULL || f->tenant == NULL)
		return glm_no_memory(err);
	pthread_mutex_init(&f->lock, NULL);
	glm_cond_init(&f->work);
	glm_cond_init(&f->gone);
	for (int i = 0; i < n_tickets; i++)
	{
		f->task[i].engine = e;
		f->task[i].ticket = i;
		glm_cond_init(&f->task[i].turn);
	}
	f->n_slots = n_tickets;
	return true;
}

bool
glm_front_start(glm_engine *e)
{
	bool		ok;

	pthread_mutex_lock(&e->front.lock);
	ok = start_thread(e);
	pthread_mutex_unlock(&e->front.lock);
	return ok;
}

void
glm_front_stop(glm_engine *e)
{
	glm_front  *f = &e->front;

	if (f->n_slots == 0)
		return;
	pthread_mutex_lock(&f->lock);
	pthread_cond_broadcast(&f->work);
	for (int i = 0; i < f->n_slots; i++)
		pthread_cond_signal(&f->task[i].turn);
	while (f->n_threads > 0 || f->n_loaders > 0)
		pthread_cond_wait(&f->gone, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

/* Its threads have ended; tasks that were parked have something to give back. */
void
glm_front_close(glm_engine *e)
{
	glm_front  *f = &e->front;

	for (int i = 0; i < f->n_slots; i++)
	{
		glm_task   *task = &f->task[i];

		if (task->loading != NULL)
			glm_loading_drop(e, task->loading);
		if (task->sequence != NULL)
			glm_sequence_free(e, task->sequence);
		pthread_cond_destroy(&task->turn);
	}
	if (f->n_slots > 0)
	{
		pthread_cond_destroy(&f->gone);
		pthread_cond_destroy(&f->work);
		pthread_mutex_destroy(&f->lock);
	}
	free(f->task);
	free(f->tenant);
}
