/*
 * job_views.c - the rows of glm_jobs and glm_job_errors.
 *
 * Nothing here counts a table.  What is left of a walk is what the planner expected less
 * what is done; a queue of up to a thousand rows is looked at, and of a longer one the
 * numbers of its first and last row tell how long it is at most.  So are the first thousand
 * changes; where there are more, the job's share of these and the server's own estimate tell.
 */
#include "chatglm.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "jobs.h"
#include "result_rows.h"

PG_FUNCTION_INFO_V1(chatglm_jobs_rows);
PG_FUNCTION_INFO_V1(chatglm_job_errors_rows);

static const char jobs_query[] =
	"SELECT j.name, pg_get_userbyid(j.owner), j.source, coalesce(j.options ->> 'mode', 'once'), "
	"j.state, j.reason, j.background, j.done, j.failed, j.stale, l.rows_left, l.estimated, "
	"j.rate, CASE WHEN j.state = 'running' AND j.rate > 0 THEN "
	"least(l.rows_left / j.rate, 1e9) * interval '1 s' END, "
	"clock_timestamp() - least(q.oldest, c.oldest), j.tokens, q.workers::int, "
	"CASE WHEN j.not_before > clock_timestamp() THEN j.not_before END, j.started, j.finished "
	"FROM chatglm.job j, LATERAL (SELECT count(*) AS rows, sum(cardinality(keys)) AS keys, "
	"min(queued_at) AS oldest, count(worker) AS workers FROM (SELECT * FROM chatglm.job_queue "
	"WHERE job = j.name ORDER BY id LIMIT 1001) first) q, "
	"LATERAL (SELECT count(*) FILTER (WHERE job = j.name) AS own, count(*) AS every, "
	"min(queued_at) FILTER (WHERE job = j.name) AS oldest FROM (SELECT job, queued_at "
	"FROM chatglm.job_change LIMIT 1001) first) c, "
	"LATERAL (SELECT CASE WHEN j.state IN ('done', 'cancelled') THEN 0 "
	"WHEN NOT j.walked THEN greatest(j.total - j.done - j.failed, 0) "
	"ELSE (CASE WHEN q.rows <= 1000 THEN coalesce(q.keys, 0) "
	"ELSE (SELECT max(id) - min(id) + 1 FROM chatglm.job_queue WHERE job = j.name) END) "
	"+ (CASE WHEN c.own = 0 OR c.every <= 1000 THEN c.own "
	"ELSE greatest(c.own, c.own * (SELECT reltuples FROM pg_class "
	"WHERE oid = 'chatglm.job_change'::regclass)::bigint / c.every) END) END, "
	"j.state NOT IN ('done', 'cancelled') AND (NOT j.walked OR q.rows > 1000 OR c.own > 0 AND "
	"c.every > 1000)) "
	"AS l (rows_left, estimated) WHERE pg_has_role($1, j.owner, 'MEMBER') ORDER BY j.name";

static const char errors_query[] =
	"SELECT e.job, e.key, e.attempts, e.sqlstate, e.message, e.at FROM chatglm.job_error e "
	"JOIN chatglm.job j ON j.name = e.job WHERE pg_has_role($1, j.owner, 'MEMBER') "
	"ORDER BY e.job, e.key";

static Datum
rows_of_query(FunctionCallInfo fcinfo, const char *query)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmJobArgs	 args = {0};
	uint64			 n;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	chatglm_job_arg(&args, OIDOID, ObjectIdGetDatum(GetUserId()), false);
	n = chatglm_job_sql(query, &args);
	for (uint64 i = 0; i < n; i++)
		tuplestore_puttuple(rows, SPI_tuptable->vals[i]);
	SPI_finish();
	return (Datum) 0;
}

/* chatglm.jobs() */
Datum
chatglm_jobs_rows(PG_FUNCTION_ARGS)
{
	return rows_of_query(fcinfo, jobs_query);
}

/* chatglm.job_errors() */
Datum
chatglm_job_errors_rows(PG_FUNCTION_ARGS)
{
	return rows_of_query(fcinfo, errors_query);
}
