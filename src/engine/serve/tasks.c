/*
 * tasks.c - requests that are being made ready: the queue, the fast lane, the threads.
 *
 * A request is a *task* from its submission until it is answered or handed to the engine
 * thread; front.c says what that takes, turns.c how long ones share a lane of their own.
 * Here is where tasks wait before they begin.  They do so in the order in which tenants
 * had turns, and within a tenant in that of their arrival; but those that have ended,
 * because they were cancelled or are out of time, are looked for before anything else.
 * No more than SLOW_TASKS of a tenant's large tasks are begun at a time.
 *
 * A task that has to wait for a model is parked: it gives its thread up, stays in the
 * queue at its place and begins anew when the loader has finished (loader.c).
 *
 * Threads.  One serves the fast lane.  A task that goes slow takes it along, for which
 * another is started, and it ends with that task.
 *
 * Locks.  front.lock guards everything here but what a task says of itself while it runs.
 * It is held for walks over the tasks at most.
 */
#include <stdlib.h>

#include "engine/serve/turns.h"

#define LARGE (32u << 10) /* bytes of a request that goes slow at once */
#define SLOW_TASKS 4

static void *front_main(void *engine);

/* ---- Small things -------------------------------------------------------------- */

/* Puts a task behind those that came before it. */
static void
insert_by_arrival(glm_task **list, glm_task *task)
{
	while (*list != NULL && (*list)->arrival < task->arrival)
		list = &(*list)->next;
	task->next = *list;
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
	*unused = (glm_task_tenant){.id = id};
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

/* ---- Threads -------------------------------------------------------------------- */

bool
glm_front_thread(glm_engine *e)
{
	if (!glm_thread_start(front_main, e))
		return false;
	e->front.n_threads++;
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
	glm_front *f = &e->front;
	glm_task  *next = NULL;
	int64_t	   now = glm_now_ns();

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
	glm_task_remove(&f->queue, next);
	next->state = GLM_TASK_FAST;
	glm_turn_begin(next);
	return next;
}

/* When the time of the first in the queue is up; 0 = none has a limit. */
static int64_t
next_deadline(const glm_engine *e)
{
	int64_t next = 0;

	for (const glm_task *task = e->front.queue; task != NULL; task = task->next)
	{
		int64_t deadline = e->ticket[task->ticket].deadline_ns;

		if (deadline != 0 && (next == 0 || deadline < next))
			next = deadline;
	}
	return next;
}

/* Ends a task, or parks it; was it slow? */
static bool
leave(glm_engine *e, glm_task *task, bool parked)
{
	glm_front *f = &e->front;
	bool	   slow;

	pthread_mutex_lock(&f->lock);
	slow = task->state == GLM_TASK_SLOW;
	if (slow)
		glm_turn_leave(task);
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

	glm_turn_fast(task);
	glm_pause_with(glm_turn_pause, task);
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
		glm_task *task = next_task(e);

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
	glm_front		  *f = &e->front;
	glm_task		  *task = &f->task[ticket];
	const glm_request *req = e->ticket[ticket].request;

	pthread_mutex_lock(&f->lock);
	task->state = GLM_TASK_QUEUED;
	task->arrival = f->arrivals++;
	task->large = req->size > LARGE && wants_turns(req);
	task->checked = task->verified = task->held = false;
	task->tenant = find_tenant(f, req->tenant);
	task->tenant->n_tasks++;
	atomic_fetch_add(&f->n_tasks, 1);
	insert_by_arrival(&f->queue, task);
	pthread_cond_signal(&f->work);
	pthread_mutex_unlock(&f->lock);
}

void
glm_front_poke(glm_engine *e, int ticket)
{
	glm_front *f = &e->front;
	glm_task  *task = &f->task[ticket];

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
	glm_front *f = &e->front;

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
	bool ok;

	pthread_mutex_lock(&e->front.lock);
	ok = glm_front_thread(e);
	pthread_mutex_unlock(&e->front.lock);
	return ok;
}

void
glm_front_stop(glm_engine *e)
{
	glm_front *f = &e->front;

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
	glm_front *f = &e->front;

	for (int i = 0; i < f->n_slots; i++)
	{
		glm_task *task = &f->task[i];

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
