/*
 * job_estimate.c - glm_job_estimate.
 *
 * Nobody knows what a call takes before it was made, so some are: of the first rows that
 * the job would be about, as it would make them, as its owner.  Nothing is stored.
 */
#include "chatglm.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "client.h"
#include "job_chunk.h"
#include "result_rows.h"
#include "shared.h"

PG_FUNCTION_INFO_V1(chatglm_job_estimate);

/* The call over some rows, as a plain statement. */
static uint64
compute_sample(const ChatglmJob *job, int sample)
{
	Relation	   source = chatglm_job_open_source(job, AccessShareLock);
	ChatglmJobUser before;
	int			   level = NewGUCNestLevel();
	PlannedStmt	  *plan;
	uint64		   n;

	chatglm_job_become(job->owner, &before);
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = chatglm_job_plan(chatglm_job_sample_sql(job, source, sample), 0, NULL, NULL);
	n = chatglm_job_execute(plan, NULL, GetActiveSnapshot(), NULL, NULL);
	PopActiveSnapshot();
	chatglm_job_return(&before);
	AtEOXact_GUC(false, level);
	table_close(source, NoLock);
	return n;
}

/* glm_job_estimate(name text, sample int) */
Datum
chatglm_job_estimate(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	int				 sample = PG_ARGISNULL(1) ? 8 : PG_GETARG_INT32(1);
	TimestampTz		 begin = GetCurrentTimestamp();
	uint64			 tokens = chatglm_tokens_used();
	ChatglmJob		*job;
	double			 expected;
	uint64			 n;
	Datum			 values[3];
	bool			 nulls[3] = {false, false, false};

	chatglm_require_preload();
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"name\" must not be NULL")));
	if (sample < 1 || sample > 1000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"sample\" must be from 1 to 1000, not %d", sample)));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	job = chatglm_job_own(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
	expected = chatglm_job_expected(job);
	n = compute_sample(job, sample);
	if (n < (uint64) sample || expected < n)
		expected = n; /* these were all, or more than the planner believes in */
	tokens = chatglm_tokens_used() - tokens;
	SPI_finish();

	values[0] = Int64GetDatum((int64) expected);
	values[1] = Int64GetDatum(n > 0 ? (int64) (expected * tokens / n) : 0);
	values[2] =
		Float8GetDatum(n > 0 ? expected * ((GetCurrentTimestamp() - begin) / 1e6) / n : 0.0);
	tuplestore_putvalues(rows, desc, values, nulls);
	return (Datum) 0;
}
