/*
 * job_launcher.c - the process that starts those that work on jobs.
 *
 * One for the cluster, without a database.  It sleeps until a demand is due
 * (job_shared.h) and starts a process for it, of which one works for one role in one
 * database only, chatglm.job_workers at a time, oldest demands first.  What is left of
 * that number goes to roles that have enough to do for another one.
 *
 * When it starts it knows of no job: then, and whenever demands had no room, it has a
 * process look into each database and tell whose jobs run there.
 *
 * It ends with 1 always, or it would not be started again.  Where the server itself has
 * crashed, the jobs' own tables tell how long to wait (job_claim.c).
 */
#include "chatglm.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "job_launcher.h"
#include "job_shared.h"
#include "settings.h"
#include "waits.h"

#define SLEEP_MS 60000	  /* at most, as times may change */
#define STARTING_MS 60000 /* that a process may take to say that it is there */

typedef struct Launched
{
	BackgroundWorkerHandle *handle;
} Launched;

static Launched launched[CHATGLM_JOB_WORKERS_MAX];

static void launcher_leaves(int code, Datum arg);
static void launch_round(MemoryContext context);
static long time_to_sleep(void);

void
chatglm_job_launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished; /* a promoted standby starts it */
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "chatglm", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "chatglm_job_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "chatglm job launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "chatglm job launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

void
chatglm_job_launcher_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_leaves, (Datum) 0);
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	chatglm_jobs->launcher = MyLatch;
	chatglm_jobs->look = true;
	LWLockRelease(chatglm_jobs->lock);

	context = AllocSetContextCreate(TopMemoryContext, "chatglm launcher", ALLOCSET_DEFAULT_SIZES);
	while (!ShutdownRequestPending)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		launch_round(context);
		MemoryContextReset(context);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, time_to_sleep(),
						 chatglm_wait_event(CHATGLM_WAIT_JOB_LAUNCHER));
		ResetLatch(MyLatch);
	}
	proc_exit(1);
}

static void
launcher_leaves(int code, Datum arg)
{
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	chatglm_jobs->launcher = NULL;
	LWLockRelease(chatglm_jobs->lock);
}

/* ---- Shared catalogs ------------------------------------------------------------- */

/* Databases that one may connect to. */
static List *
databases(MemoryContext context)
{
	Relation	  table = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(table, 0, NULL);
	List		 *found = NIL;
	HeapTuple	  tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext	 old = MemoryContextSwitchTo(context);

		if (form->datallowconn && !form->datistemplate)
			found = lappend_oid(found, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(table, AccessShareLock);
	return found;
}

/* Roles, those who may log in and the others. */
static void
read_roles(MemoryContext context, List **login, List **nologin)
{
	Relation	  table = table_open(AuthIdRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(table, 0, NULL);
	HeapTuple	  tuple;

	*login = *nologin = NIL;
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(tuple);
		MemoryContext  old = MemoryContextSwitchTo(context);

		if (form->rolcanlogin)
			*login = lappend_oid(*login, form->oid);
		else
			*nologin = lappend_oid(*nologin, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(table, AccessShareLock);
}

/* ---- Processes ------------------------------------------------------------------- */

static int
workers_used(void)
{
	int n = 0;

	for (int i = 0; i < CHATGLM_JOB_WORKERS_MAX; i++)
		n += chatglm_jobs->worker[i].used;
	return n;
}

/* Frees places of processes that never came to be, or never said so. */
static void
reap_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < CHATGLM_JOB_WORKERS_MAX; i++)
	{
		ChatglmJobWorker *worker = &chatglm_jobs->worker[i];
		pid_t			  pid;
		bool			  stopped = launched[i].handle != NULL &&
					   GetBackgroundWorkerPid(launched[i].handle, &pid) == BGWH_STOPPED;
		Oid database = InvalidOid;
		Oid owner;

		LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
		owner = worker->owner;
		if (worker->used && worker->pid == 0 &&
			(stopped || now - worker->started > STARTING_MS * INT64CONST(1000)))
		{
			database = worker->database;
			worker->used = false;
		}
		LWLockRelease(chatglm_jobs->lock);
		if (OidIsValid(database))
			chatglm_jobs_failed(database, owner);
		if (stopped)
		{
			pfree(launched[i].handle);
			launched[i].handle = NULL;
		}
	}
}

/* A place for a process, written into; -1: there is none. */
static int
take_place(Oid database, Oid owner, bool switch_user)
{
	int place = -1;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATGLM_JOB_WORKERS_MAX && place < 0; i++)
	{
		ChatglmJobWorker *worker = &chatglm_jobs->worker[i];

		if (worker->used || launched[i].handle != NULL)
			continue;
		memset(worker, 0, sizeof(*worker));
		worker->used = true;
		worker->database = database;
		worker->owner = owner;
		worker->switch_user = switch_user;
		worker->started = GetCurrentTimestamp();
		place = i;
	}
	LWLockRelease(chatglm_jobs->lock);
	return place;
}

/* Says it once, until it works again. */
static void
tell_no_slot(bool none)
{
	if (none && !chatglm_jobs->no_slot)
		ereport(LOG, (errmsg("chatglm cannot start a process for jobs"),
					  errhint("Raise max_worker_processes.")));
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	chatglm_jobs->no_slot = none;
	LWLockRelease(chatglm_jobs->lock);
}

static bool
start_worker(Oid database, Oid owner, bool switch_user)
{
	BackgroundWorker worker;
	MemoryContext	 old;
	bool			 started;
	int				 place = take_place(database, owner, switch_user);

	if (place < 0)
		return false;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = Int32GetDatum(place);
	strlcpy(worker.bgw_library_name, "chatglm", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "chatglm_job_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "chatglm job", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "chatglm job", sizeof(worker.bgw_type));
	old = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &launched[place].handle);
	MemoryContextSwitchTo(old);
	tell_no_slot(!started);
	if (!started)
	{
		launched[place].handle = NULL;
		LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
		chatglm_jobs->worker[place].used = false;
		LWLockRelease(chatglm_jobs->lock);
	}
	return started;
}

/* ---- A round --------------------------------------------------------------------- */

static bool
is_closed(Oid database)
{
	for (int i = 0; i < CHATGLM_JOB_CLOSED; i++)
		if (chatglm_jobs->closed[i] == database)
			return true;
	return false;
}

/* The demand that is due for longest and that nobody works for; a copy. */
static bool
next_demand(ChatglmJobDemand *next)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		found = false;
	int			unmet = 0;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATGLM_JOB_DEMANDS; i++)
	{
		ChatglmJobDemand *demand = &chatglm_jobs->demand[i];

		if (!OidIsValid(demand->database) || demand->at > now || is_closed(demand->database) ||
			chatglm_jobs_worker(demand->database, demand->owner) != NULL)
			continue;
		unmet++;
		if (!found || demand->at < next->at)
			*next = *demand;
		found = true;
	}
	chatglm_jobs->unmet = unmet;
	found = found && workers_used() < chatglm_job_workers;
	LWLockRelease(chatglm_jobs->lock);
	return found;
}

/* Somebody who has enough to do for one more. */
static bool
next_hungry(ChatglmJobWorker *next)
{
	bool found = false;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATGLM_JOB_WORKERS_MAX && workers_used() < chatglm_job_workers; i++)
	{
		ChatglmJobWorker *worker = &chatglm_jobs->worker[i];

		if (!worker->used || !worker->hungry || is_closed(worker->database))
			continue;
		worker->hungry = false;
		*next = *worker;
		found = true;
		break;
	}
	LWLockRelease(chatglm_jobs->lock);
	return found;
}

/* Has all databases looked into, where that was asked for. */
static void
look_everywhere(const List *all)
{
	ListCell *cell;
	bool	  look;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	look = chatglm_jobs->look;
	chatglm_jobs->look = false;
	LWLockRelease(chatglm_jobs->lock);
	if (look)
		foreach(cell, all)
			chatglm_jobs_demand(lfirst_oid(cell), InvalidOid, GetCurrentTimestamp());
}

static void
launch_round(MemoryContext context)
{
	ChatglmJobDemand demand = {0};
	ChatglmJobWorker hungry = {0};
	List			*all;
	List			*login;
	List			*nologin;

	reap_workers();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	all = databases(context);
	read_roles(context, &login, &nologin);
	CommitTransactionCommand();

	look_everywhere(all);
	while (next_demand(&demand))
	{
		bool known = !OidIsValid(demand.owner) || list_member_oid(login, demand.owner) ||
					 list_member_oid(nologin, demand.owner);

		if (!list_member_oid(all, demand.database) || !known)
			chatglm_jobs_met(demand.database, demand.owner);
		else if (!start_worker(demand.database, demand.owner,
							   OidIsValid(demand.owner) && !list_member_oid(login, demand.owner)))
		{
			chatglm_jobs_failed(demand.database, demand.owner);
			return;
		}
	}
	while (next_hungry(&hungry))
		if (!start_worker(hungry.database, hungry.owner, hungry.switch_user))
			return;
}

static long
time_to_sleep(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		ms = SLEEP_MS;

	LWLockAcquire(chatglm_jobs->lock, LW_SHARED);
	for (int i = 0; i < CHATGLM_JOB_DEMANDS; i++)
	{
		ChatglmJobDemand *demand = &chatglm_jobs->demand[i];

		/* one that is due waits for a process to end, which will wake us */
		if (OidIsValid(demand->database) && demand->at > now)
			ms = Min(ms, (demand->at - now) / 1000 + 1);
	}
	LWLockRelease(chatglm_jobs->lock);
	return (long) ms;
}
