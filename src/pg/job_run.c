/*
 * job_run.c - chunk after chunk, and CALL glm_job_run().
 *
 * The procedure needs no process in the background: it computes where it is called, and
 * shares a job with others who do by the same claims.  Its transactions end in between,
 * so it cannot run inside of one.  Members of the owner's role may call it; it is the owner
 * in each of its transactions all the same (job_xact.c).
 */
#include "chatglm.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "job_chunk.h"
#include "job_shared.h"
#include "shared.h"
#include "waits.h"

#define NOTICE_MS 2000 /* between two of them */

PG_FUNCTION_INFO_V1(chatglm_job_run);

typedef struct Speed
{
	char   job[NAMEDATALEN];
	double rows; /* a second, of the last chunk */
} Speed;

static Speed *
speed_of(const char *name)
{
	static HTAB *speeds;
	bool		 found;
	Speed		*speed;

	if (speeds == NULL)
	{
		HASHCTL control = {.keysize = NAMEDATALEN, .entrysize = sizeof(Speed)};

		speeds = hash_create("chatglm jobs", 16, &control, HASH_ELEM | HASH_STRINGS);
	}
	speed = hash_search(speeds, name, HASH_ENTER, &found);
	if (!found)
		speed->rows = 0;
	return speed;
}

ChatglmJobClaim
chatglm_job_run_chunk(ChatglmJobChunk *chunk, TimestampTz *until)
{
	Speed		   *speed = speed_of(chunk->name);
	ChatglmJobClaim claim = chatglm_job_claim(chunk, speed->rows, until);
	double			seconds;
	int				computed = 0;

	if (claim != CHATGLM_CLAIM_CHUNK)
	{
		if (chunk->fault != NULL)
			chatglm_job_store_fault(chunk);
		return claim;
	}
	chatglm_job_compute(chunk);
	for (int i = 0; i < chunk->n; i++)
		computed += chunk->rows[i].state == CHATGLM_ROW_ANSWERED;
	seconds = (GetCurrentTimestamp() - chunk->began) / 1e6;
	if (computed > 0)
		speed->rows = computed / Max(seconds, 0.001);
	chatglm_job_store(chunk);
	return claim;
}

/* ---- CALL ------------------------------------------------------------------------ */

typedef struct Running
{
	char	   *name;
	TimestampTz told; /* last */
	int64		stored;
	int64		failed;
} Running;

static void
check_call(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic || IsSubTransaction())
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("glm_job_run() cannot be called in a transaction"),
						errdetail("It commits after each chunk."),
						errhint("CALL it by itself, outside of BEGIN, functions and blocks with "
								"EXCEPTION.")));
	PreventCommandIfReadOnly("glm_job_run()");
}

static void
check_state(const ChatglmJob *job)
{
	if (strcmp(job->state, "paused") == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("job \"%s\" is paused", job->name),
						job->reason != NULL ? errdetail("Reason: %s.", job->reason) : 0,
						errhint("glm_job_resume() lets it go on.")));
}

static void
tell_progress(Running *running, const ChatglmJobChunk *chunk)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		left;

	if (now - running->told < NOTICE_MS * INT64CONST(1000))
		return;
	running->told = now;
	left =
		chunk->job->total - chunk->job->done - chunk->job->failed - chunk->stored - chunk->failed;
	ereport(NOTICE, (errmsg("job \"%s\": " INT64_FORMAT " rows stored, " INT64_FORMAT
							" failed, about " INT64_FORMAT " left",
							running->name, running->stored, running->failed, Max(left, 0))));
}

static void
wait_until_time(TimestampTz until)
{
	long ms = (long) Max(10, Min((until - GetCurrentTimestamp()) / 1000, 1000));

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 chatglm_wait_event(CHATGLM_WAIT_JOB));
	ResetLatch(MyLatch);
}

/* What ends the call; a cancel is passed on once its claim is given back. */
static void
stopped(const Running *running, const ChatglmJobChunk *chunk)
{
	const ErrorData *fault = chunk->fault;

	if (fault != NULL)
		ereport(ERROR, (errcode(fault->sqlerrcode), errmsg_internal("%s", fault->message),
						fault->detail != NULL ? errdetail_internal("%s", fault->detail) : 0,
						fault->hint != NULL ? errhint("%s", fault->hint) : 0));
	ereport(NOTICE, (errmsg("job \"%s\" was stopped", running->name),
					 chunk->job != NULL && chunk->job->reason != NULL
						 ? errdetail("Reason: %s.", chunk->job->reason)
						 : 0));
}

static bool
goes_on(const ChatglmJobChunk *chunk)
{
	return chunk->fault == NULL ||
		   chatglm_job_fault(chunk->fault->sqlerrcode) == CHATGLM_FAULT_RETRY;
}

static void
run_chunks(Running *running, MemoryContext context)
{
	for (;;)
	{
		ChatglmJobChunk chunk = {.name = running->name, .context = context};
		TimestampTz		until = 0;
		ChatglmJobClaim claim;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		claim = chatglm_job_run_chunk(&chunk, &until);
		running->stored += chunk.stored;
		running->failed += chunk.failed;
		if (claim == CHATGLM_CLAIM_STOPPED || !goes_on(&chunk))
		{
			if (chunk.fault == NULL || !goes_on(&chunk))
			{
				stopped(running, &chunk);
				return;
			}
			wait_until_time(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000));
			continue;
		}
		if (claim == CHATGLM_CLAIM_FINISHED)
			return;
		if (claim == CHATGLM_CLAIM_WAIT)
			wait_until_time(until);
		else
			tell_progress(running, &chunk);
	}
}

/* glm_job_run(name text) */
Datum
chatglm_job_run(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	MemoryContext chunk;
	Running		  running = {.told = GetCurrentTimestamp()};

	chatglm_require_preload();
	check_call(fcinfo);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"name\" must not be NULL")));
	context = AllocSetContextCreate(PortalContext, "chatglm job", ALLOCSET_DEFAULT_SIZES);
	chunk = AllocSetContextCreate(context, "chatglm chunk", ALLOCSET_DEFAULT_SIZES);
	running.name = MemoryContextStrdup(context, text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_TRY();
	{
		ChatglmJob *job;

		SPI_connect_ext(SPI_OPT_NONATOMIC);
		job = chatglm_job_lock_to_begin(running.name);
		check_state(job);
		chatglm_job_begin(job, job->background);
		chatglm_job_run_as(job->owner != GetUserId() ? job->owner : InvalidOid);
		SPI_commit();
		SPI_start_transaction();
		run_chunks(&running, chunk);
		SPI_finish();
		MemoryContextDelete(chunk);
		ereport(NOTICE, (errmsg("job \"%s\": " INT64_FORMAT " rows stored, " INT64_FORMAT " failed",
								running.name, running.stored, running.failed)));
	}
	PG_FINALLY();
	{
		chatglm_job_token_drop();
		chatglm_job_run_as(InvalidOid);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
