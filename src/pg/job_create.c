/*
 * job_create.c - glm_job_create and glm_job_drop.
 *
 * Everything that a chunk will do is planned once, and its privileges are checked by the
 * executor itself, so that what is wrong with a definition is said here.
 */
#include "chatglm.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "jobs.h"
#include "job_trigger.h"
#include "settings.h"
#include "shared.h"

PG_FUNCTION_INFO_V1(chatglm_job_create);
PG_FUNCTION_INFO_V1(chatglm_job_drop);

static void	  check_source(Relation source);
static void	  check_name(const char *name);
static char **read_columns(Relation source, const char *list, const char *argument, int *n);
static void	  check_columns(const ChatglmJob *job, Relation source, List *inputs);
static void	  check_plans(const ChatglmJob *job, Relation source, Node *expression, List *inputs);
static void	  tell_how_it_runs(const PlannedStmt *compute);
static void	  insert_job(const ChatglmJob *job, Jsonb *options);

static char *
text_argument(FunctionCallInfo fcinfo, int i, const char *name)
{
	if (PG_ARGISNULL(i))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be NULL", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(i));
}

/* glm_job_create(name text, source regclass, key text, target text, call text, options jsonb) */
Datum
chatglm_job_create(PG_FUNCTION_ARGS)
{
	ChatglmJob job = {0};
	Jsonb	  *options = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	char	  *key = text_argument(fcinfo, 2, "key");
	char	  *target = text_argument(fcinfo, 3, "target");
	char	  *call = text_argument(fcinfo, 4, "call");
	char	  *table;
	Relation   source;
	Node	  *expression;
	Node	  *condition = NULL;
	List	  *inputs;
	bool	   whole;

	chatglm_require_preload();
	PreventCommandIfReadOnly("glm_job_create()");
	job.name = text_argument(fcinfo, 0, "name");
	check_name(job.name);
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"source\" must not be NULL")));
	job.owner = GetUserId();
	job.source = PG_GETARG_OID(1);
	chatglm_job_read_options(options, &job.options);

	source =
		table_open(job.source, job.options.continuous ? ShareRowExclusiveLock : AccessShareLock);
	check_source(source);
	job.keys = read_columns(source, key, "key", &job.n_keys);
	job.targets = read_columns(source, target, "target", &job.n_targets);
	chatglm_job_check_keys(source, chatglm_job_keys(source, job.keys, job.n_keys));

	expression = chatglm_job_analyse(source, call, "call", false);
	inputs = chatglm_job_inputs(&job, source, expression, &whole);
	job.call = chatglm_job_deparse(source, expression);
	if (job.options.where != NULL)
	{
		condition = chatglm_job_analyse(source, job.options.where, "where", false);
		job.condition = chatglm_job_deparse(source, condition);
		if (chatglm_job_asks(condition))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("job option \"where\" must not ask the model"),
							errhint("Let the call do it, and give NULL.")));
	}
	check_columns(&job, source, inputs);
	check_plans(&job, source, expression, inputs);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	insert_job(&job, options);
	inputs = list_concat_unique_int(inputs, chatglm_job_inputs(&job, source, condition, &whole));
	table = chatglm_job_table_name(source);
	table_close(source, NoLock); /* its trigger cannot be altered while we use it */
	if (job.options.continuous)
		chatglm_job_make_trigger(&job, table, inputs);
	SPI_finish();
	PG_RETURN_VOID();
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("a job's name has 1 to %d bytes", NAMEDATALEN - 1)));
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
							errmsg("a job's name has no control characters")));
}

static void
check_source(Relation source)
{
	char kind = source->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table", RelationGetRelationName(source)),
						errhint("Where a table is foreign, make the job on its server.")));
	if (IsSystemRelation(source))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("\"%s\" is a table of the system", RelationGetRelationName(source))));
	if (RelationUsesLocalBuffers(source))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("temporary tables cannot have jobs"),
						errhint("A plain UPDATE keeps rows in flight, too.")));
}

/* Names separated by commas, written as in SQL. */
static char **
read_columns(Relation source, const char *list, const char *argument, int *n)
{
	List	 *names;
	ListCell *cell;
	char	**columns;

	if (!SplitIdentifierString(pstrdup(list), ',', &names) || names == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be names of columns separated by commas, "
							   "not \"%s\"",
							   argument, list)));
	*n = 0;
	columns = palloc(list_length(names) * sizeof(char *));
	foreach(cell, names)
	{
		char *name = lfirst(cell);

		(void) chatglm_job_attnum(source, name, argument);
		for (int i = 0; i < *n; i++)
			if (strcmp(columns[i], name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("argument \"%s\" names column \"%s\" twice", argument, name)));
		columns[(*n)++] = name;
	}
	return columns;
}

/* A target that is an input would be changed again and again. */
static void
check_columns(const ChatglmJob *job, Relation source, List *inputs)
{
	for (int i = 0; i < job->n_targets; i++)
	{
		AttrNumber attnum = chatglm_job_attnum(source, job->targets[i], "target");

		for (int k = 0; k < job->n_keys; k++)
			if (strcmp(job->keys[k], job->targets[i]) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("target column \"%s\" is part of the key", job->targets[i])));
		if (list_member_int(inputs, attnum))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("target column \"%s\" is read by the call", job->targets[i]),
					 errhint("Let the job write another column, and copy it when it is done.")));
	}
}

/* ---- Plans and privileges -------------------------------------------------------- */

/* The executor's own checks of tables, columns and functions, without running anything. */
static void
check_plan(PlannedStmt *plan, ParamListInfo params)
{
	QueryDesc *query = CreateQueryDesc(plan, "", GetActiveSnapshot(), InvalidSnapshot,
									   None_Receiver, params, NULL, 0);

	ExecutorStart(query, EXEC_FLAG_EXPLAIN_ONLY);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

static PlannedStmt *
plan_and_check(const char *sql, int n, const Oid *types)
{
	ParamListInfo params = chatglm_job_params(n, types);
	PlannedStmt	 *plan = chatglm_job_plan(sql, n, types, params);

	check_plan(plan, params);
	return plan;
}

static void
check_plans(const ChatglmJob *job, Relation source, Node *expression, List *inputs)
{
	ChatglmJobKeys	 *keys = chatglm_job_keys(source, job->keys, job->n_keys);
	ChatglmJobResult *result = chatglm_job_result(job, source, expression);
	Oid				 *key_types = chatglm_job_key_types(keys, false);
	Oid				 *types = palloc((job->n_targets + keys->n) * sizeof(Oid));
	Oid				  rows = get_array_type(source->rd_rel->reltype);

	(void) plan_and_check(chatglm_job_walk_sql(job, source, keys, 1), 0, NULL);
	(void) plan_and_check(
		chatglm_job_read_sql(job, source, keys, inputs, " FOR NO KEY UPDATE OF " CHATGLM_JOB_ALIAS),
		keys->n, chatglm_job_key_types(keys, true));
	memcpy(types, result->types, job->n_targets * sizeof(Oid));
	memcpy(types + job->n_targets, key_types, keys->n * sizeof(Oid));
	(void) plan_and_check(chatglm_job_store_sql(job, source, keys), job->n_targets + keys->n,
						  types);
	tell_how_it_runs(plan_and_check(chatglm_job_compute_sql(job), 1, &rows));
}

static void
tell_how_it_runs(const PlannedStmt *compute)
{
	if (chatglm_prefetch > 1 && !chatglm_job_in_flight(compute))
		ereport(NOTICE, (errmsg("the call will ask the model for one row after the other"),
						 errhint("Rows are in flight when functions of chatglm stand in the call "
								 "itself, not in CASE, AND, OR, a sub-select or a function of "
								 "your own.")));
	if (!chatglm_job_needs_no_snapshot(compute))
		ereport(NOTICE, (errmsg("a snapshot will be held while a chunk is computed"),
						 errdetail("The call has something in it that may read tables."),
						 errhint("A small chunk_seconds lets vacuum go on in between.")));
}

/* ---- The row --------------------------------------------------------------------- */

static void
insert_job(const ChatglmJob *job, Jsonb *options)
{
	ChatglmJobArgs args = {0};

	if (chatglm_job_find(job->name, false) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("job \"%s\" already exists", job->name),
				 errhint("glm_job_drop() removes one.")));
	chatglm_job_arg_text(&args, job->name);
	chatglm_job_arg(&args, OIDOID, ObjectIdGetDatum(job->owner), false);
	chatglm_job_arg(&args, OIDOID, ObjectIdGetDatum(job->source), false);
	chatglm_job_arg_texts(&args, job->keys, job->n_keys);
	chatglm_job_arg_texts(&args, job->targets, job->n_targets);
	chatglm_job_arg_text(&args, job->call);
	chatglm_job_arg_text(&args, job->condition);
	chatglm_job_arg(&args, JSONBOID, PointerGetDatum(options), options == NULL);
	/* a deadline may have been said in words that mean another time tomorrow */
	chatglm_job_arg(&args, TIMESTAMPTZOID, TimestampTzGetDatum(job->options.deadline),
					job->options.deadline == DT_NOEND);
	chatglm_job_sql("INSERT INTO chatglm.job (name, owner, source, key, target, call, condition, "
					"options) VALUES ($1, $2::regrole, $3::regclass, $4::name[], $5::name[], $6, "
					"$7, coalesce($8, '{}') || CASE WHEN $9 IS NULL THEN '{}' "
					"ELSE jsonb_build_object('deadline', $9) END)",
					&args);
	chatglm_job_changed();
}

/* glm_job_drop(name text) */
Datum
chatglm_job_drop(PG_FUNCTION_ARGS)
{
	char		  *name = text_argument(fcinfo, 0, "name");
	ChatglmJobArgs args = {0};
	ChatglmJob	  *job;
	Relation	   source;

	PreventCommandIfReadOnly("glm_job_drop()");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	job = chatglm_job_own(name, false);
	/* the table before the job's row, as writers and their triggers go */
	source = try_relation_open(job->source,
							   job->options.continuous ? ShareRowExclusiveLock : AccessShareLock);
	job = chatglm_job_own(name, true);
	chatglm_job_arg_text(&args, name);
	chatglm_job_sql("DELETE FROM chatglm.job WHERE name = $1", &args);
	chatglm_job_sql("DELETE FROM chatglm.job_change WHERE job = $1", &args);
	chatglm_job_sql("DELETE FROM chatglm.job_queue WHERE job = $1", &args);
	chatglm_job_sql("DELETE FROM chatglm.job_error WHERE job = $1", &args);
	chatglm_job_sql("DELETE FROM chatglm.job_done WHERE job = $1", &args);
	if (source != NULL)
		chatglm_job_drop_trigger(job, source);
	chatglm_job_changed();
	SPI_finish();
	PG_RETURN_VOID();
}
