/*
 * job_xact.c - the transactions of a chunk, and errors in them.
 *
 * In a CALL they are those of a procedure, and run as whoever calls.  A process in the
 * background begins them itself and is the job's owner in each, to its very end, so that
 * deferred triggers, too, run as the owner.  What is set in one, and in the background
 * what temporary tables are made, ends with it.
 *
 * The work stands in a subtransaction, which is the sound way to go on after an error.
 */
#include "chatglm.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "errors.h"
#include "job_chunk.h"

static bool background;
static Oid	switch_to; /* role that transactions in the background run as; or none */

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

static ErrorData *
take_job_error(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	return error;
}

ErrorData *
chatglm_job_try(void (*work)(void *arg), void *arg, MemoryContext context)
{
	MemoryContext old_context = CurrentMemoryContext;
	ResourceOwner old_owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old_context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		error = take_job_error(context);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	CurrentResourceOwner = old_owner;
	return error;
}

static void
begin_transaction(void)
{
	if (!background)
		return;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (OidIsValid(switch_to))
		SetUserIdAndSecContext(switch_to, SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
commit_transaction(void)
{
	if (!background)
	{
		SPI_commit();
		SPI_start_transaction();
		return;
	}
	ResetTempTableNamespace();
	SPI_finish();
	CommitTransactionCommand();
	if (OidIsValid(switch_to))
		SetUserIdAndSecContext(GetSessionUserId(), 0);
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
		error = take_job_error(context);
		if (background)
			AbortCurrentTransaction();
	}
	PG_END_TRY();
	return error;
}

ErrorData *
chatglm_job_transact(void (*work)(void *arg), void *arg, MemoryContext context)
{
	ErrorData *error;
	ErrorData *end_error;
	int		   level;

	begin_transaction();
	level = NewGUCNestLevel();
	MemoryContextSwitchTo(context);
	error = chatglm_job_try(work, arg, context);
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
