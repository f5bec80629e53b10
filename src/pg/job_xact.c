/*
 * job_xact.c - the transactions of a chunk, as whom they run, and errors in them.
 *
 * They run as the job's owner.  A process in the background begins them itself and is the
 * owner in each, to its very end, so that deferred triggers, too, run as the owner.  In a
 * CALL they are those of a procedure, which is the session's user again when it commits.
 * Where that is not the owner, the owner's code is held as that of index expressions is
 * when a superuser runs VACUUM: it cannot leave a temporary table or anything else in the
 * session, and constraints and triggers that are deferred are made immediate, as there is
 * nobody but the session's user at the commit.
 *
 * What is set in a transaction, and in the background what temporary tables are made, ends
 * with it.
 *
 * The work stands in a subtransaction, which is the sound way to go on after an error.
 */
#include "chatglm.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "catch.h"
#include "errors.h"
#include "job_chunk.h"

static bool			  background;
static Oid			  switch_to; /* role that transactions run as; or none: as they are begun */
static ChatglmJobUser caller;

void
chatglm_job_in_background(Oid owner, bool switch_user)
{
	background = true;
	switch_to = switch_user ? owner : InvalidOid;
}

bool
chatglm_job_is_background(void)
{
	return background;
}

void
chatglm_job_run_as(Oid owner)
{
	switch_to = owner;
}

/* ---- Whose rights ---------------------------------------------------------------- */

void
chatglm_job_become(Oid owner, ChatglmJobUser *before)
{
	int restricted = background ? 0 : SECURITY_RESTRICTED_OPERATION;

	GetUserIdAndSecContext(&before->user, &before->security);
	if (OidIsValid(owner) && owner != before->user)
		SetUserIdAndSecContext(owner, before->security | SECURITY_LOCAL_USERID_CHANGE | restricted);
}

void
chatglm_job_return(const ChatglmJobUser *before)
{
	SetUserIdAndSecContext(before->user, before->security);
}

void
chatglm_job_fire_deferred(void)
{
	MemoryContext context = CurrentMemoryContext;

	if (SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "SET CONSTRAINTS failed");
	MemoryContextSwitchTo(context); /* SPI leaves its own */
}

/* ---- Transactions ---------------------------------------------------------------- */

static void
begin_transaction(void)
{
	if (background)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
	}
	chatglm_job_become(switch_to, &caller);
	if (background && SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
commit_transaction(void)
{
	if (!background)
	{
		chatglm_job_return(&caller);
		SPI_commit();
		SPI_start_transaction();
		return;
	}
	ResetTempTableNamespace();
	SPI_finish();
	CommitTransactionCommand();
	chatglm_job_return(&caller);
	pgstat_report_stat(false);
}

/* Returns what the commit failed of; then nothing of the transaction has happened. */
static ErrorData *
end_transaction(int level, MemoryContext context)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		AtEOXact_GUC(false, level);
		commit_transaction();
	}
	PG_CATCH();
	{
		error = chatglm_take_error(context);
		if (background)
			AbortCurrentTransaction();
	}
	PG_END_TRY();
	return error;
}

typedef struct Work
{
	void (*work)(void *arg);
	void *arg;
} Work;

static void
work_as_owner(void *arg)
{
	Work *work = arg;

	if (OidIsValid(switch_to) && !background)
		chatglm_job_fire_deferred();
	work->work(work->arg);
}

ErrorData *
chatglm_job_transact(void (*work)(void *arg), void *arg, MemoryContext context)
{
	Work	   both = {.work = work, .arg = arg};
	ErrorData *error;
	ErrorData *end_error;
	int		   level;

	begin_transaction();
	level = NewGUCNestLevel();
	MemoryContextSwitchTo(context);
	error = chatglm_try(work_as_owner, &both, context);
	end_error = end_transaction(level, context);
	MemoryContextSwitchTo(context);
	return error != NULL ? error : end_error;
}

/* ---- Errors ---------------------------------------------------------------------- */

ChatglmJobFault
chatglm_job_fault(int sqlstate)
{
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	if (sqlstate == ERRCODE_QUERY_CANCELED)
		return CHATGLM_FAULT_CANCEL;
	if (sqlstate == CHATGLM_ERRCODE_TIMED_OUT)
		return CHATGLM_FAULT_ROW;
	if (category == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION ||
		category == MAKE_SQLSTATE('3', 'F', '0', '0', '0') ||
		category == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
		return CHATGLM_FAULT_PAUSE;
	if (category == ERRCODE_INSUFFICIENT_RESOURCES || category == ERRCODE_OPERATOR_INTERVENTION ||
		category == ERRCODE_SYSTEM_ERROR || category == ERRCODE_TRANSACTION_ROLLBACK ||
		category == ERRCODE_CONNECTION_EXCEPTION ||
		category == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE ||
		category == ERRCODE_INVALID_TRANSACTION_STATE)
		return CHATGLM_FAULT_RETRY;
	return CHATGLM_FAULT_ROW;
}

char *
chatglm_job_clip(const char *message)
{
	int length = strlen(message);

	return pnstrdup(message, length <= CHATGLM_JOB_MESSAGE
								 ? length
								 : pg_mbcliplen(message, length, CHATGLM_JOB_MESSAGE));
}
