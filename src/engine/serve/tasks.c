/*
 * tasks.c - requests that are being made ready: the queue, the fast lane, the threads.
 *
 * A request is a *task* from its submission until it is answered or handed to the engine
 * thread; intake.c says what that takes, turns.c how long ones share a lane of their own.
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
 * Locks.  intake.lock guards everything here but what a task says of itself while it runs.
 * It is held for walks over the tasks at most.
 */
#include <stdlib.h>

#include "engine/serve/turns.h"

#define LARGE (32u << 10) /* bytes of a request that goes slow at once */
#define SLOW_TASKS 4

static void *intake_main(void *engine);

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
tenant_entry(glm_intake *in, uint32_t id)
{
	glm_task_tenant *unused = NULL;

	for (int i = 0; i < in->n_tenants; i++)
	{
		glm_task_tenant *t = &in->tenant[i];

		if (t->n_tasks > 0 && t->id == id)
			return t;
		if (t->n_tasks == 0 && unused == NULL)
			unused = t;
	}
	if (unused == NULL)
		unused = &in->tenant[in->n_tenants++];
	*unused = (glm_task_tenant){.id = id};
	return unused;
}

static void
add_to_tenant(glm_intake *in, glm_task *task, uint32_t id)
{
	task->tenant = tenant_entry(in, id);
	task->tenant->n_tasks++;
}

static void
take_from_tenant(glm_intake *in, glm_task *task)
{
	task->tenant->n_tasks--;
	task->tenant = NULL;
	while (in->n_tenants > 0 && in->tenant[in->n_tenants - 1].n_tasks == 0)
		in->n_tenants--;
}

/* ---- Threads -------------------------------------------------------------------- */

/* Starts a thread for the fast lane; under the lock. */
static bool
start_fast_thread(glm_engine *e)
{
	if (GLM_INJECT("intake-thread") || !glm_thread_start(intake_main, e))
		return false;
	e->intake.n_threads++;
	return true;
}

/* Moves the running task to the slow lane; false when it ended meanwhile. */
static bool
go_slow(glm_engine *e, glm_task *task, glm_error *err)
{
	glm_intake *in = &e->intake;
	bool		moved;
	bool		ok = true;

	pthread_mutex_lock(&in->lock);
	moved = start_fast_thread(e);
	if (moved)
		ok = glm_turn_enter_slow(task, err);
	else /* nobody else is there to serve the others: it begins anew */
	{
		task->slice_ns = glm_now_ns();
		glm_turn_begin_fast(task);
	}
	pthread_mutex_unlock(&in->lock);
	/* of this thread alone, which ends with its task */
	if (moved)
		glm_thread_lower(GLM_LOWER_REQUEST);
	return ok;
}

/* What glm_pause() does in a task. */
static bool
pause_task(void *arg, glm_error *err)
{
	glm_task   *task = arg;
	glm_engine *e = task->engine;
	glm_error	unwanted;

	if (err == NULL)
		err = &unwanted;
	if (atomic_load(&e->stopping))
		return glm_fail(err, GLM_CANCELLED, "the engine is closing");
	if (glm_ticket_ended(&e->ticket[task->ticket], err))
		return false;
	return glm_turn_is_long(task) ? go_slow(e, task, err) : glm_turn_pass(task, err);
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
	glm_intake *in = &e->intake;
	glm_task   *next = NULL;
	int64_t		now = glm_now_ns();

	for (glm_task *task = in->queue; task != NULL; task = task->next)
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
	glm_task_remove(&in->queue, next);
	next->state = GLM_TASK_FAST;
	glm_turn_begin(next);
	return next;
}

/* When the time of the first in the queue is up; 0 = none has a limit. */
static int64_t
next_task_deadline(const glm_engine *e)
{
	int64_t next = 0;

	for (const glm_task *task = e->intake.queue; task != NULL; task = task->next)
	{
		int64_t deadline = e->ticket[task->ticket].deadline_ns;

		if (deadline != 0 && (next == 0 || deadline < next))
			next = deadline;
	}
	return next;
}

/* Ends a task, or parks it; was it slow? */
static bool
leave_lane(glm_engine *e, glm_task *task, bool parked)
{
	glm_intake *in = &e->intake;
	bool		slow;

	pthread_mutex_lock(&in->lock);
	slow = task->state == GLM_TASK_SLOW;
	if (slow)
		glm_turn_leave(task);
	if (parked)
	{
		task->state = GLM_TASK_QUEUED;
		atomic_store(&e->ticket[task->ticket].stage, GLM_STAGE_LOADING);
		insert_by_arrival(&in->queue, task);
	}
	else
	{
		take_from_tenant(in, task);
		task->state = GLM_TASK_NONE;
		atomic_fetch_sub(&in->n_tasks, 1);
	}
	if (slow)
		pthread_cond_signal(&in->work);
	pthread_mutex_unlock(&in->lock);
	return slow;
}

/* Runs a task as far as it gets; was it slow in the end? */
static bool
run_task(glm_engine *e, glm_task *task)
{
	int			ticket = task->ticket;
	glm_outcome outcome = {0};
	bool		slow;

	glm_turn_begin_fast(task);
	if (e->ticket[ticket].timing.begun_ns == 0)
		e->ticket[ticket].timing.begun_ns = glm_now_ns();
	glm_pause_with(pause_task, task);
	glm_task_run(e, task, &outcome);
	glm_pause_with(NULL, NULL);
	/* what comes next may end the ticket, which then can be somebody else's task */
	slow = leave_lane(e, task, outcome.end == GLM_TASK_PARKED);
	glm_task_finish(e, ticket, &outcome);
	return slow;
}

static void *
intake_main(void *arg)
{
	glm_engine *e = arg;
	glm_intake *in = &e->intake;
	bool		slow = false;

	glm_thread_enter("glm intake");
	pthread_mutex_lock(&in->lock);
	while (!slow && !atomic_load(&e->stopping))
	{
		glm_task *task = next_task(e);

		if (task == NULL)
		{
			glm_cond_wait(&in->work, &in->lock, next_task_deadline(e));
			continue;
		}
		pthread_mutex_unlock(&in->lock);
		slow = run_task(e, task);
		pthread_mutex_lock(&in->lock);
	}
	in->n_threads--;
	pthread_cond_broadcast(&in->gone);
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

/* ---- Entry points ------------------------------------------------------------------ */

void
glm_intake_add(glm_engine *e, int ticket)
{
	glm_intake		  *in = &e->intake;
	glm_task		  *task = &in->task[ticket];
	const glm_request *req = e->ticket[ticket].request;

	pthread_mutex_lock(&in->lock);
	task->state = GLM_TASK_QUEUED;
	task->arrival = in->arrivals++;
	task->kind = glm_request_kind_of(req);
	task->large = req->size > LARGE && (task->kind->needs & GLM_NEEDS_TEXT) != 0;
	task->checked = task->verified = task->held = false;
	add_to_tenant(in, task, req->tenant);
	atomic_fetch_add(&in->n_tasks, 1);
	insert_by_arrival(&in->queue, task);
	pthread_cond_signal(&in->work);
	pthread_mutex_unlock(&in->lock);
}

void
glm_intake_poke(glm_engine *e, int ticket)
{
	glm_intake *in = &e->intake;
	glm_task   *task = &in->task[ticket];

	pthread_mutex_lock(&in->lock);
	if (task->state == GLM_TASK_QUEUED)
		pthread_cond_signal(&in->work);
	else if (task->state == GLM_TASK_READY)
		pthread_cond_signal(&task->turn);
	pthread_mutex_unlock(&in->lock);
}

bool
glm_intake_open(glm_engine *e, int n_tickets, glm_error *err)
{
	glm_intake *in = &e->intake;

	in->task = calloc(n_tickets, sizeof(*in->task));
	in->tenant = calloc(n_tickets, sizeof(*in->tenant));
	if (in->task == NULL || in->tenant == NULL)
		return glm_no_memory(err);
	pthread_mutex_init(&in->lock, NULL);
	glm_cond_init(&in->work);
	glm_cond_init(&in->gone);
	for (int i = 0; i < n_tickets; i++)
	{
		in->task[i].engine = e;
		in->task[i].ticket = i;
		glm_cond_init(&in->task[i].turn);
	}
	in->n_slots = n_tickets;
	return true;
}

bool
glm_intake_start(glm_engine *e)
{
	bool ok;

	pthread_mutex_lock(&e->intake.lock);
	ok = start_fast_thread(e);
	pthread_mutex_unlock(&e->intake.lock);
	return ok;
}

void
glm_intake_stop(glm_engine *e)
{
	glm_intake *in = &e->intake;

	if (in->n_slots == 0)
		return;
	pthread_mutex_lock(&in->lock);
	pthread_cond_broadcast(&in->work);
	for (int i = 0; i < in->n_slots; i++)
		pthread_cond_signal(&in->task[i].turn);
	while (in->n_threads > 0 || in->n_loaders > 0)
		pthread_cond_wait(&in->gone, &in->lock);
	pthread_mutex_unlock(&in->lock);
}

/* Its threads have ended; tasks that were parked have something to give back. */
void
glm_intake_close(glm_engine *e)
{
	glm_intake *in = &e->intake;

	for (int i = 0; i < in->n_slots; i++)
	{
		glm_task *task = &in->task[i];

		if (task->loading != NULL)
			glm_loading_drop(e, task->loading);
		if (task->sequence != NULL)
			glm_sequence_free(e, task->sequence);
		pthread_cond_destroy(&task->turn);
	}
	if (in->n_slots > 0)
	{
		pthread_cond_destroy(&in->gone);
		pthread_cond_destroy(&in->work);
		pthread_mutex_destroy(&in->lock);
	}
	free(in->task);
	free(in->tenant);
}
