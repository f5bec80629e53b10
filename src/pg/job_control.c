/*
 * job_control.c - glm_job_start, _pause, _resume, _cancel and _sync.
 *
 * A job that follows changes is begun under a lock that waits for all who are writing to
 * its table: whoever writes from then on knows that the job wants to hear of it, and what
 * was written before is found by the walk.
 */
#include "chatglm.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "job_chunk.h"
#include "job_shared.h"
#include "job_trigger.h"
#include "shared.h"

PG_FUNCTION_INFO_V1(chatglm_job_start);
PG_FUNCTION_INFO_V1(chatglm_job_pause);
PG_FUNCTION_INFO_V1(chatglm_job_resume);
PG_FUNCTION_INFO_V1(chatglm_job_cancel);
PG_FUNCTION_INFO_V1(chatglm_job_sync);

static ChatglmJob *job_of_call(FunctionCallInfo fcinfo, const char *function);
static bool		   is_in(const ChatglmJob *job, const char *state);
static void		   wrong_state(const ChatglmJob *job) pg_attribute_noreturn();

/* ---- Beginning ------------------------------------------------------------------- */

static bool
is_in(const ChatglmJob *job, const char *state)
{
	return strcmp(job->state, state) == 0;
}

/* The planner runs functions that are immutable: the owner's, as the owner. */
double
chatglm_job_expected(const ChatglmJob *job)
{
	Relation	   source = chatglm_job_open_source(job, AccessShareLock);
	ChatglmJobUser before;
	PlannedStmt	  *plan;

	chatglm_job_become(job->owner, &before);
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = chatglm_job_plan(chatglm_job_count_sql(job, source), 0, NULL, NULL);
	PopActiveSnapshot();
	chatglm_job_return(&before);
	table_close(source, NoLock);
	return plan->planTree->plan_rows;
}

/* The table is locked before the job's row, as writers and their triggers do. */
ChatglmJob *
chatglm_job_lock_to_begin(const char *name)
{
	ChatglmJob *job = chatglm_job_own(name, false);

	if (job->options.continuous && !is_in(job, "running") && !is_in(job, "paused"))
		table_close(chatglm_job_open_source(job, ShareRowExclusiveLock), NoLock);
	return chatglm_job_own(name, true);
}

static void
begin_anew(const ChatglmJob *job)
{
	ChatglmJobArgs args = {0};

	chatglm_job_arg_text(&args, job->name);
	chatglm_job_arg(&args, INT8OID, Int64GetDatum((int64) chatglm_job_expected(job)), false);
	chatglm_job_sql("UPDATE chatglm.job SET cursor = NULL, walked = false, syncing = false, "
					"done = 0, failed = 0, stale = 0, tokens = 0, total = $2, rate = NULL, "
					"stored = NULL, started = clock_timestamp(), finished = NULL WHERE name = $1",
					&args);
}

void
chatglm_job_begin(ChatglmJob *job, bool background)
{
	ChatglmJobArgs args = {0};

	if (!is_in(job, "running"))
		begin_anew(job);
	chatglm_job_arg_text(&args, job->name);
	chatglm_job_arg(&args, BOOLOID, BoolGetDatum(background), false);
	chatglm_job_arg_text(&args, chatglm_job_home());
	chatglm_job_sql("UPDATE chatglm.job SET state = 'running', reason = NULL, background = $2, "
					"home = $3, not_before = NULL, faults = 0 WHERE name = $1 AND "
					"(state <> 'running' OR background <> $2 OR home IS DISTINCT FROM $3)",
					&args);
	chatglm_job_changed();
}

/* ---- The functions --------------------------------------------------------------- */

static ChatglmJob *
job_of_call(FunctionCallInfo fcinfo, const char *function)
{
	chatglm_require_preload();
	PreventCommandIfReadOnly(function);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	return chatglm_job_own(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
}

static void
wrong_state(const ChatglmJob *job)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("job \"%s\" is %s", job->name, job->state),
					job->reason != NULL ? errdetail("Reason: %s.", job->reason) : 0));
}

static void
update_state(const ChatglmJob *job, const char *assignments)
{
	ChatglmJobArgs args = {0};

	chatglm_job_arg_text(&args, job->name);
	chatglm_job_sql(psprintf("UPDATE chatglm.job SET %s WHERE name = $1", assignments), &args);
	chatglm_job_changed();
}

static void
resume_job(const ChatglmJob *job)
{
	update_state(job, psprintf("state = 'running', reason = NULL, not_before = NULL, faults = 0, "
							   "home = %s",
							   quote_literal_cstr(chatglm_job_home())));
}

/* glm_job_start(name text) */
Datum
chatglm_job_start(PG_FUNCTION_ARGS)
{
	ChatglmJob *job = job_of_call(fcinfo, "glm_job_start()");

	job = chatglm_job_lock_to_begin(job->name);
	if (is_in(job, "paused"))
	{
		resume_job(job);
		update_state(job, "background = true");
	}
	else
		chatglm_job_begin(job, true);
	chatglm_jobs_wake(job->owner);
	chatglm_jobs_warn();
	SPI_finish();
	PG_RETURN_VOID();
}

/* glm_job_pause(name text) */
Datum
chatglm_job_pause(PG_FUNCTION_ARGS)
{
	ChatglmJob *job = job_of_call(fcinfo, "glm_job_pause()");

	job = chatglm_job_own(job->name, true);
	if (!is_in(job, "running") && !is_in(job, "paused"))
		wrong_state(job);
	update_state(job, "state = 'paused', reason = NULL");
	SPI_finish();
	PG_RETURN_VOID();
}

/* glm_job_resume(name text) */
Datum
chatglm_job_resume(PG_FUNCTION_ARGS)
{
	ChatglmJob *job = job_of_call(fcinfo, "glm_job_resume()");

	job = chatglm_job_own(job->name, true);
	if (!is_in(job, "running") && !is_in(job, "paused"))
		wrong_state(job);
	resume_job(job);
	if (job->background)
		chatglm_jobs_wake(job->owner);
	SPI_finish();
	PG_RETURN_VOID();
}

/* Cancels what computes a chunk of it now. */
static void
cancel_sessions(const ChatglmJob *job)
{
	ChatglmJobArgs args = {0};
	uint64		   n;

	chatglm_job_arg_text(&args, job->name);
	chatglm_job_sql("DELETE FROM chatglm.job_change WHERE job = $1", &args);
	n = chatglm_job_sql("DELETE FROM chatglm.job_queue WHERE job = $1 RETURNING worker, pid",
						&args);
	for (uint64 i = 0; i < n; i++)
	{
		bool  isnull;
		Datum worker = chatglm_job_datum(i, 1, &isnull);
		Datum pid = chatglm_job_datum(i, 2, &isnull);

		if (!isnull && DatumGetInt32(pid) != MyProcPid &&
			chatglm_job_token_alive(DatumGetInt64(worker)))
			(void) kill(DatumGetInt32(pid), SIGINT);
	}
}

/* glm_job_cancel(name text) */
Datum
chatglm_job_cancel(PG_FUNCTION_ARGS)
{
	ChatglmJob *job = job_of_call(fcinfo, "glm_job_cancel()");

	job = chatglm_job_own(job->name, true);
	update_state(job, "state = 'cancelled', reason = NULL, finished = clock_timestamp()");
	cancel_sessions(job);
	SPI_finish();
	PG_RETURN_VOID();
}

/* glm_job_sync(name text) */
Datum
chatglm_job_sync(PG_FUNCTION_ARGS)
{
	ChatglmJob *job = job_of_call(fcinfo, "glm_job_sync()");

	job = chatglm_job_own(job->name, true);
	if (is_in(job, "created") || is_in(job, "cancelled"))
		wrong_state(job);
	update_state(job, psprintf("syncing = true, cursor = NULL, walked = false, finished = NULL, "
							   "total = done + failed + " INT64_FORMAT
							   ", state = CASE state WHEN 'done' THEN 'running' ELSE state END",
							   (int64) chatglm_job_expected(job)));
	if (job->background)
		chatglm_jobs_wake(job->owner);
	SPI_finish();
	PG_RETURN_VOID();
}
