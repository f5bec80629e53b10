/*
 * job_table.c - the tables of jobs, read and written.
 *
 * Owners of jobs have no right on these tables, so statements on them run with the
 * rights of their owner, as foreign keys' do: by name, in pg_catalog's sense of all
 * that has none, and only for as long as the statement takes.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "jobs.h"

static Oid	job_table_owner(void);
static void read_definition(ChatglmJob *job);
static void read_state(ChatglmJob *job);

/* ---- Parameters ------------------------------------------------------------------ */

void
chatglm_job_arg(ChatglmJobArgs *args, Oid type, Datum value, bool isnull)
{
	Assert(args->n < (int) lengthof(args->types));
	args->types[args->n] = type;
	args->values[args->n] = value;
	args->nulls[args->n] = isnull ? 'n' : ' ';
	args->n++;
}

void
chatglm_job_arg_text(ChatglmJobArgs *args, const char *text)
{
	chatglm_job_arg(args, TEXTOID, text != NULL ? CStringGetTextDatum(text) : (Datum) 0,
					text == NULL);
}

void
chatglm_job_arg_texts(ChatglmJobArgs *args, char **texts, int n)
{
	Datum *elements = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(texts[i]);
	chatglm_job_arg(args, TEXTARRAYOID,
					PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT)),
					false);
}

/* ---- Statements ------------------------------------------------------------------ */

static Oid
job_table_oid(void)
{
	Oid schema = get_namespace_oid("chatglm", true);

	return OidIsValid(schema) ? get_relname_relid("job", schema) : InvalidOid;
}

bool
chatglm_job_tables_exist(void)
{
	return OidIsValid(job_table_oid());
}

static Oid
job_table_owner(void)
{
	Oid		  table = job_table_oid();
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid		  owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table chatglm.job is not there as the extension made it"),
						errhint("Drop and create the extension again.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
chatglm_job_set_path(void)
{
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* SPI leaves the context of its own as the current one, and results until it ends. */
uint64
chatglm_job_sql(const char *sql, const ChatglmJobArgs *args)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			  user;
	int			  security;
	int			  level;
	int			  result;

	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = NULL;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(job_table_owner(),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	level = NewGUCNestLevel();
	chatglm_job_set_path();
	PushActiveSnapshot(GetTransactionSnapshot());
	result = SPI_execute_with_args(sql, args->n, unconstify(Oid *, &args->types[0]),
								   unconstify(Datum *, &args->values[0]), args->nulls, false, 0);
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	SetUserIdAndSecContext(user, security);
	MemoryContextSwitchTo(context);
	if (result < 0)
		elog(ERROR, "statement of jobs failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

char *
chatglm_job_column(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

Datum
chatglm_job_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

char **
chatglm_job_column_texts(uint64 row, int column, int *n)
{
	bool   isnull;
	Datum  value = chatglm_job_datum(row, column, &isnull);
	Datum *elements;
	char **texts;

	*n = 0;
	if (isnull)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  n);
	texts = palloc(Max(*n, 1) * sizeof(char *));
	for (int i = 0; i < *n; i++)
		texts[i] = TextDatumGetCString(elements[i]);
	return texts;
}

/* ---- A job ----------------------------------------------------------------------- */

char *
chatglm_job_home(void)
{
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
}

static bool
column_bool(int column)
{
	bool  isnull;
	Datum value = chatglm_job_datum(0, column, &isnull);

	return !isnull && DatumGetBool(value);
}

static Datum
column_or(int column, Datum otherwise)
{
	bool  isnull;
	Datum value = chatglm_job_datum(0, column, &isnull);

	return isnull ? otherwise : value;
}

ChatglmJob *
chatglm_job_find(const char *name, bool lock)
{
	ChatglmJobArgs args = {0};
	ChatglmJob	  *job;

	chatglm_job_arg_text(&args, name);
	if (chatglm_job_sql(psprintf("SELECT owner::oid, source::oid, key::text[], target::text[], "
								 "call, condition, options, state, reason, background, home, "
								 "cursor, walked, syncing, not_before, faults, done, failed, total "
								 "FROM chatglm.job WHERE name = $1%s",
								 lock ? " FOR NO KEY UPDATE" : ""),
						&args) == 0)
		return NULL;

	job = palloc0(sizeof(*job));
	job->name = pstrdup(name);
	read_definition(job);
	read_state(job);
	return job;
}

static void
read_definition(ChatglmJob *job)
{
	job->owner = DatumGetObjectId(column_or(1, ObjectIdGetDatum(InvalidOid)));
	job->source = DatumGetObjectId(column_or(2, ObjectIdGetDatum(InvalidOid)));
	job->keys = chatglm_job_column_texts(0, 3, &job->n_keys);
	job->targets = chatglm_job_column_texts(0, 4, &job->n_targets);
	job->call = chatglm_job_column(0, 5);
	job->condition = chatglm_job_column(0, 6);
	chatglm_job_read_options(DatumGetJsonbPCopy(column_or(7, (Datum) 0)), &job->options);
}

static void
read_state(ChatglmJob *job)
{
	char *home = chatglm_job_column(0, 11);

	job->state = chatglm_job_column(0, 8);
	job->reason = chatglm_job_column(0, 9);
	job->background = column_bool(10);
	job->at_home = home != NULL && strcmp(home, chatglm_job_home()) == 0;
	job->cursor = chatglm_job_column(0, 12);
	job->walked = column_bool(13);
	job->syncing = column_bool(14);
	job->not_before = DatumGetTimestampTz(column_or(15, TimestampTzGetDatum(DT_NOBEGIN)));
	job->faults = DatumGetInt32(column_or(16, Int32GetDatum(0)));
	job->done = DatumGetInt64(column_or(17, Int64GetDatum(0)));
	job->failed = DatumGetInt64(column_or(18, Int64GetDatum(0)));
	job->total = DatumGetInt64(column_or(19, Int64GetDatum(-1)));
}

ChatglmJob *
chatglm_job_own(const char *name, bool lock)
{
	ChatglmJob *job = chatglm_job_find(name, lock);

	if (job == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("job \"%s\" does not exist", name),
				 errhint("View glm_jobs shows those of your roles.")));
	if (!has_privs_of_role(GetUserId(), job->owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for job \"%s\"", name),
						errhint("Only its owner and members of that role may use it.")));
	return job;
}
