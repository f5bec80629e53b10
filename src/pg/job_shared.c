/*
 * job_shared.c - what sessions, launcher and workers of jobs tell each other.
 *
 * A demand says that a role's jobs in a database may have something to do.  Sessions and
 * workers make them, the launcher (job_launcher.c) has them met.  A demand that finds no
 * room is left out: the launcher then looks into all databases anew.
 *
 * ChatglmJobShared.lock guards all of it; nobody throws or waits while holding it.
 */
#include "chatglm.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "job_shared.h"
#include "settings.h"

#define BACKOFF_MAX_MS 60000

ChatglmJobShared *chatglm_jobs;

static List *woken; /* owners, of this transaction */

static void wake_at_commit(XactEvent event, void *arg);

Size
chatglm_jobs_size(void)
{
	return sizeof(ChatglmJobShared);
}

void
chatglm_jobs_init(void *memory, LWLock *lock)
{
	chatglm_jobs = memory;
	if (lock == NULL)
		return;
	memset(chatglm_jobs, 0, sizeof(*chatglm_jobs));
	chatglm_jobs->lock = lock;
}

/* ---- Demands --------------------------------------------------------------------- */

ChatglmJobWorker *
chatglm_jobs_worker(Oid database, Oid owner)
{
	ChatglmJobWorker *busy = NULL;

	for (int i = 0; i < CHATGLM_JOB_WORKERS_MAX; i++)
	{
		ChatglmJobWorker *worker = &chatglm_jobs->worker[i];

		if (!worker->used || worker->database != database || worker->owner != owner)
			continue;
		if (worker->idle)
			return worker;
		busy = worker;
	}
	return busy;
}

/* The entry of a role, or a free one for it; NULL: all are taken. */
static ChatglmJobDemand *
demand_of(Oid database, Oid owner)
{
	ChatglmJobDemand *unused = NULL;

	for (int i = 0; i < CHATGLM_JOB_DEMANDS; i++)
	{
		ChatglmJobDemand *demand = &chatglm_jobs->demand[i];

		if (demand->database == database && demand->owner == owner)
			return demand;
		if (!OidIsValid(demand->database) && unused == NULL)
			unused = demand;
	}
	if (unused != NULL)
		memset(unused, 0, sizeof(*unused));
	return unused;
}

static void
note_demand(Oid database, Oid owner, TimestampTz at)
{
	ChatglmJobDemand *demand = demand_of(database, owner);

	if (demand == NULL)
		chatglm_jobs->look = true;
	else
	{
		demand->at = OidIsValid(demand->database) ? Min(demand->at, at) : at;
		demand->database = database;
		demand->owner = owner;
	}
	/* one who works for them wakes the launcher when he goes: not with each row of a writer */
	if (chatglm_jobs->launcher != NULL && chatglm_jobs_worker(database, owner) == NULL)
		SetLatch(chatglm_jobs->launcher);
}

/* The demand stands until a worker takes it, as an idle one may be about to go. */
void
chatglm_jobs_demand(Oid database, Oid owner, TimestampTz at)
{
	ChatglmJobWorker *worker;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	note_demand(database, owner, at);
	worker = chatglm_jobs_worker(database, owner);
	if (worker != NULL && worker->idle && worker->latch != NULL)
		SetLatch(worker->latch);
	LWLockRelease(chatglm_jobs->lock);
}

void
chatglm_jobs_demand_after(Oid database, Oid owner, TimestampTz at)
{
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	note_demand(database, owner, at);
	LWLockRelease(chatglm_jobs->lock);
}

void
chatglm_jobs_met(Oid database, Oid owner)
{
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATGLM_JOB_DEMANDS; i++)
		if (chatglm_jobs->demand[i].database == database && chatglm_jobs->demand[i].owner == owner)
			chatglm_jobs->demand[i].database = InvalidOid;
	LWLockRelease(chatglm_jobs->lock);
}

void
chatglm_jobs_failed(Oid database, Oid owner)
{
	ChatglmJobDemand *demand;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	demand = demand_of(database, owner);
	if (demand != NULL)
	{
		demand->backoff_ms = Min(Max(demand->backoff_ms * 2, 1000), BACKOFF_MAX_MS);
		demand->database = database;
		demand->owner = owner;
		demand->at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), demand->backoff_ms);
	}
	if (chatglm_jobs->launcher != NULL)
		SetLatch(chatglm_jobs->launcher);
	LWLockRelease(chatglm_jobs->lock);
}

/* ---- After a commit -------------------------------------------------------------- */

static void
wake_at_commit(XactEvent event, void *arg)
{
	ListCell *cell;

	if (woken == NIL)
		return;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PARALLEL_COMMIT)
		foreach(cell, woken)
			chatglm_jobs_demand(MyDatabaseId, lfirst_oid(cell), GetCurrentTimestamp());
	else if (event != XACT_EVENT_ABORT && event != XACT_EVENT_PARALLEL_ABORT &&
			 event != XACT_EVENT_PREPARE)
		return;
	woken = NIL; /* was the transaction's memory */
}

void
chatglm_jobs_wake(Oid owner)
{
	static bool	  registered = false;
	MemoryContext old;

	if (chatglm_jobs == NULL)
		return;
	if (!registered)
		RegisterXactCallback(wake_at_commit, NULL);
	registered = true;
	old = MemoryContextSwitchTo(TopTransactionContext);
	woken = list_append_unique_oid(woken, owner);
	MemoryContextSwitchTo(old);
}

void
chatglm_jobs_warn(void)
{
	bool no_slot;

	LWLockAcquire(chatglm_jobs->lock, LW_SHARED);
	no_slot = chatglm_jobs->no_slot;
	LWLockRelease(chatglm_jobs->lock);
	if (chatglm_job_workers == 0)
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("nothing works on jobs in the background"),
						  errdetail("chatglm.job_workers is 0."),
						  errhint("CALL glm_job_run() needs no process in the background.")));
	else if (no_slot)
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("no process in the background is free for jobs"),
						  errdetail("All of max_worker_processes are in use."),
						  errhint("Raise max_worker_processes. CALL glm_job_run() needs none.")));
}
