/*
 * job_worker.c - a process that works on the jobs of one role in one database.
 *
 * It is that role: it logs in as it, or, where the role may not log in, becomes it in
 * every transaction, to the commit.  So nothing that an expression leaves behind in the
 * session is another's, and what it could climb to is its own role.
 *
 * Between chunks it looks for the job to be served next: the highest priority, then the
 * one that has waited for longest.  With nothing to do it lingers for a while, then goes
 * and leaves word when to start again.  When others wait for a process it goes, too,
 * after its share of time.
 */
#include "chatglm.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "job_chunk.h"
#include "job_launcher.h"
#include "job_shared.h"
#include "waits.h"

#define LINGER_MS 5000 /* with nothing to do */
#define SHARE_MS 10000 /* when others wait */

typedef struct Listing
{
	Oid	   owner;
	bool   missing; /* there is no extension here */
	int	   n;
	char **names;
	Oid	  *owners;
} Listing;

static ChatglmJobWorker *me;

static void worker_leaves(int code, Datum arg);
static void tell_owners(MemoryContext context);
static void work_for_owner(MemoryContext context);

void
chatglm_job_worker_main(Datum arg)
{
	MemoryContext context;
	Oid			  role;

	me = &chatglm_jobs->worker[DatumGetInt32(arg)];
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	before_shmem_exit(worker_leaves, (Datum) 0);
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	me->pid = MyProcPid;
	me->latch = MyLatch;
	LWLockRelease(chatglm_jobs->lock);
	BackgroundWorkerUnblockSignals();

	role = me->switch_user ? InvalidOid : me->owner;
	BackgroundWorkerInitializeConnectionByOid(me->database, role, 0);
	pgstat_report_appname("chatglm job");
	chatglm_job_in_background(me->owner, me->switch_user);
	context = AllocSetContextCreate(TopMemoryContext, "chatglm chunk", ALLOCSET_DEFAULT_SIZES);
	if (OidIsValid(me->owner))
		work_for_owner(context);
	else
		tell_owners(context);
	proc_exit(0); /* never restarted: the launcher starts another one */
}

static void
worker_leaves(int code, Datum arg)
{
	Oid	 database = me->database;
	Oid	 owner = me->owner;
	bool good;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	good = me->good;
	me->used = false;
	me->latch = NULL;
	if (chatglm_jobs->launcher != NULL)
		SetLatch(chatglm_jobs->launcher);
	LWLockRelease(chatglm_jobs->lock);
	if (!good || code != 0)
		chatglm_jobs_failed(database, owner);
}

/* ---- Which jobs ------------------------------------------------------------------ */

static void
list_work(void *arg)
{
	Listing		  *listing = arg;
	ChatglmJobArgs args = {0};
	uint64		   n;

	listing->missing = !chatglm_job_tables_exist();
	if (listing->missing)
		return;
	chatglm_job_arg(&args, OIDOID, ObjectIdGetDatum(listing->owner), !OidIsValid(listing->owner));
	chatglm_job_arg_text(&args, chatglm_job_home());
	n = chatglm_job_sql("SELECT name, owner::oid FROM chatglm.job WHERE state = 'running' "
						"AND background AND home = $2 AND ($1 IS NULL OR owner = $1) "
						"ORDER BY coalesce((options ->> 'priority')::numeric, 0) DESC, "
						"stored NULLS FIRST, name LIMIT 1000",
						&args);
	listing->names = palloc((n + 1) * sizeof(char *));
	listing->owners = palloc((n + 1) * sizeof(Oid));
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;

		listing->names[i] = chatglm_job_column(i, 1);
		listing->owners[i] = DatumGetObjectId(chatglm_job_datum(i, 2, &isnull));
	}
	listing->n = (int) n;
}

/* false: there is no extension here, or it cannot be asked. */
static bool
list_jobs(Listing *listing, MemoryContext context)
{
	ErrorData *error = chatglm_job_transact(list_work, listing, context);

	if (error != NULL)
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("chatglm cannot look for jobs: %s", error->message)));
	else
		me->good = true;
	return error == NULL && !listing->missing;
}

/* Whose jobs there are; for the launcher, which cannot look into a database. */
static void
tell_owners(MemoryContext context)
{
	Listing listing = {0};

	chatglm_jobs_met(MyDatabaseId, InvalidOid);
	if (list_jobs(&listing, context))
		for (int i = 0; i < listing.n; i++)
			chatglm_jobs_demand(MyDatabaseId, listing.owners[i], GetCurrentTimestamp());
}

/* ---- Working --------------------------------------------------------------------- */

static void
set_idle(bool idle, bool hungry)
{
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	me->idle = idle;
	me->hungry = hungry;
	if (hungry && chatglm_jobs->launcher != NULL)
		SetLatch(chatglm_jobs->launcher);
	LWLockRelease(chatglm_jobs->lock);
}

static void
tell_fault(const ChatglmJobChunk *chunk)
{
	if (chunk->fault == NULL || chatglm_job_fault(chunk->fault->sqlerrcode) == CHATGLM_FAULT_CANCEL)
		return;
	ereport(LOG, (errcode(chunk->fault->sqlerrcode),
				  errmsg("chatglm job \"%s\" failed: %s", chunk->name, chunk->fault->message)));
}

/* One chunk of the first job that has one; false: none has.  *next: when one will. */
static bool
run_some_chunk(const Listing *listing, MemoryContext context, TimestampTz *next)
{
	for (int i = 0; i < listing->n; i++)
	{
		ChatglmJobChunk chunk = {.name = listing->names[i], .context = context};
		TimestampTz		until = DT_NOEND;
		char		   *name = psprintf("chatglm job %s", chunk.name);
		ChatglmJobClaim claim;

		pgstat_report_appname(name);
		pgstat_report_activity(STATE_RUNNING, name);
		claim = chatglm_job_run_chunk(&chunk, &until);
		pgstat_report_activity(STATE_IDLE, NULL);
		tell_fault(&chunk);
		if (claim == CHATGLM_CLAIM_CHUNK)
			return true;
		if (claim == CHATGLM_CLAIM_WAIT)
			*next = Min(*next, until);
	}
	return false;
}

static bool
share_is_over(TimestampTz began)
{
	bool others;

	LWLockAcquire(chatglm_jobs->lock, LW_SHARED);
	others = chatglm_jobs->unmet > 0;
	LWLockRelease(chatglm_jobs->lock);
	return others && GetCurrentTimestamp() - began > SHARE_MS * INT64CONST(1000);
}

/* Waits for something to do; false: for too long, or it comes later. */
static bool
linger(TimestampTz idle_since, TimestampTz next)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end = TimestampTzPlusMilliseconds(idle_since, LINGER_MS);
	long		ms;

	if (now >= end)
		return false;
	ms = (long) ((Min(end, next) - now) / 1000) + 1;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(ms, 1),
					 chatglm_wait_event(CHATGLM_WAIT_JOB));
	ResetLatch(MyLatch);
	return true;
}

static void
work_for_owner(MemoryContext context)
{
	TimestampTz began = GetCurrentTimestamp();
	TimestampTz idle_since = began;
	TimestampTz next = DT_NOEND;

	for (;;)
	{
		Listing listing = {.owner = me->owner};
		bool	worked;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		set_idle(false, false);
		chatglm_jobs_met(me->database, me->owner);
		next = DT_NOEND;
		if (!list_jobs(&listing, context))
			return;
		worked = run_some_chunk(&listing, context, &next);
		if (worked)
			idle_since = GetCurrentTimestamp();
		if (share_is_over(began))
		{
			next = worked ? GetCurrentTimestamp() : next;
			break;
		}
		set_idle(!worked, worked);
		if (!worked && !linger(idle_since, next))
			break;
	}
	if (next != DT_NOEND)
		chatglm_jobs_demand_after(me->database, me->owner, next);
}
