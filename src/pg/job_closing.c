/*
 * job_closing.c - DROP DATABASE and the like, beside processes that work on jobs.
 *
 * These statements fail while another session is connected to the database.  Ours would
 * be, for as long as there is a job, so they are ended first and none is started until the
 * statement has ended, one way or the other.  The statement comes from another database,
 * which need not have the extension: the hook is the library's.
 */
#include "chatglm.h"

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

#include "job_launcher.h"
#include "job_shared.h"
#include "waits.h"

#define WAIT_MS 10000 /* for processes to end */

static ProcessUtility_hook_type prev_utility_hook;

static void		   closing_utility(CHATGLM_UTILITY_PARAMETERS);
static const char *closed_database(Node *statement);

void
chatglm_job_closing_init(void)
{
	prev_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = closing_utility;
}

/* ---- Which statements ------------------------------------------------------------ */

static const char *
option_value(const List *options, const char *name)
{
	ListCell *cell;

	foreach(cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that nobody may be connected to; NULL: the statement is none of these. */
static const char *
closed_database(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (option_value(((AlterDatabaseStmt *) statement)->options, "tablespace") != NULL)
				return ((AlterDatabaseStmt *) statement)->dbname;
			return NULL;
		case T_CreatedbStmt:
			return option_value(((CreatedbStmt *) statement)->options, "template");
		default:
			return NULL;
	}
}

/* ---- Closing and opening --------------------------------------------------------- */

/* How many processes of ours are there; they are told to go. */
static int
end_workers(Oid database)
{
	int n = 0;

	LWLockAcquire(chatglm_jobs->lock, LW_SHARED);
	for (int i = 0; i < CHATGLM_JOB_WORKERS_MAX; i++)
	{
		ChatglmJobWorker *worker = &chatglm_jobs->worker[i];

		if (!worker->used || worker->database != database)
			continue;
		n++;
		if (worker->pid != 0)
			(void) kill(worker->pid, SIGTERM);
	}
	LWLockRelease(chatglm_jobs->lock);
	return n;
}

static bool
close_database(Oid database)
{
	bool closed = false;

	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATGLM_JOB_CLOSED && !closed; i++)
		if (!OidIsValid(chatglm_jobs->closed[i]))
		{
			chatglm_jobs->closed[i] = database;
			closed = true;
		}
	LWLockRelease(chatglm_jobs->lock);
	return closed;
}

static void
open_database(Oid database)
{
	LWLockAcquire(chatglm_jobs->lock, LW_EXCLUSIVE);
	for (int i = 0; i < CHATGLM_JOB_CLOSED; i++)
		if (chatglm_jobs->closed[i] == database)
		{
			chatglm_jobs->closed[i] = InvalidOid;
			break;
		}
	LWLockRelease(chatglm_jobs->lock);
	/* what was running there goes on, if it is still there */
	chatglm_jobs_demand(database, InvalidOid, GetCurrentTimestamp());
}

static void
wait_for_workers(Oid database)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WAIT_MS);

	while (end_workers(database) > 0 && GetCurrentTimestamp() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 chatglm_wait_event(CHATGLM_WAIT_JOB_END));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
run_utility(CHATGLM_UTILITY_PARAMETERS)
{
	if (prev_utility_hook != NULL)
		prev_utility_hook(CHATGLM_UTILITY_ARGUMENTS);
	else
		standard_ProcessUtility(CHATGLM_UTILITY_ARGUMENTS);
}

/* Only for who owns the database: others' statements fail, and shall stop nothing. */
static void
closing_utility(CHATGLM_UTILITY_PARAMETERS)
{
	const char *name = closed_database(pstmt->utilityStmt);
	Oid			database = name != NULL ? get_database_oid(name, true) : InvalidOid;

	if (chatglm_jobs == NULL || !OidIsValid(database) || !chatglm_owns_database(database) ||
		!close_database(database))
	{
		run_utility(CHATGLM_UTILITY_ARGUMENTS);
		return;
	}
	PG_TRY();
	{
		wait_for_workers(database);
		run_utility(CHATGLM_UTILITY_ARGUMENTS);
	}
	PG_FINALLY();
	{
		open_database(database);
	}
	PG_END_TRY();
}
