/*
 * job_query.c - the statements on a job's own table.
 *
 * They are analysed with pg_catalog alone in the search path, so that what was qualified
 * once cannot come to mean something else; but they are planned and run with the path of
 * the session, since triggers and functions that they reach may depend on it.  SPI would
 * use one path for both.  A plan may also run without any snapshot (job_flight.c).
 */
#include "chatglm.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "tcop/pquery.h"
#include "utils/snapmgr.h"

#include "jobs.h"

typedef struct RowReceiver
{
	DestReceiver	 base;
	ChatglmJobReader read;
	void			*arg;
} RowReceiver;

static Query *analyse_statement(const char *sql, int n, const Oid *types);

PlannedStmt *
chatglm_job_plan(const char *sql, int n, const Oid *types, ParamListInfo params)
{
	Query *query = analyse_statement(sql, n, types);

	return pg_plan_query(query, sql, 0, params);
}

static Query *
analyse_statement(const char *sql, int n, const Oid *types)
{
	int	  level = NewGUCNestLevel();
	List *queries;

	chatglm_job_set_path();
	queries = chatglm_analyze(linitial_node(RawStmt, chatglm_raw_parser(sql)), sql,
							  unconstify(Oid *, types), n);
	AtEOXact_GUC(true, level);
	/* a rule of the table could make several of one */
	if (list_length(queries) != 1)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("tables with rules cannot have jobs")));
	return linitial_node(Query, queries);
}

ParamListInfo
chatglm_job_params(int n, const Oid *types)
{
	ParamListInfo params = makeParamList(n);

	for (int i = 0; i < n; i++)
	{
		params->params[i].value = (Datum) 0;
		params->params[i].isnull = true;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	return params;
}

/* ---- Running --------------------------------------------------------------------- */

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;

	return receiver->read == NULL || receiver->read(slot, receiver->arg);
}

static void
receive_start(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receive_nothing(DestReceiver *self)
{
}

/* Without a snapshot nothing may be written, so no command is counted. */
uint64
chatglm_job_execute(PlannedStmt *plan, ParamListInfo params, Snapshot snapshot,
					ChatglmJobReader read, void *arg)
{
	RowReceiver receiver = {.base = {.receiveSlot = receive_row,
									 .rStartup = receive_start,
									 .rShutdown = receive_nothing,
									 .rDestroy = receive_nothing,
									 .mydest = DestNone},
							.read = read,
							.arg = arg};
	QueryDesc  *query = CreateQueryDesc(plan, "", snapshot, InvalidSnapshot,
										(DestReceiver *) &receiver, params, NULL, 0);
	uint64		rows;

	ExecutorStart(query, 0);
	chatglm_executor_run(query);
	rows = query->estate->es_processed;
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
	if (plan->commandType != CMD_SELECT)
		CommandCounterIncrement();
	return rows;
}

int
chatglm_job_set_output(void)
{
	static const char *const settings[][2] = {{"datestyle", "ISO, YMD"},
											  {"intervalstyle", "postgres"},
											  {"extra_float_digits", "3"},
											  {"bytea_output", "hex"}};
	int						 level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}
