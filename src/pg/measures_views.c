/*
 * measures_views.c - what was measured as rows: glm_stat_worker, glm_stat_roles,
 * glm_stat_model_totals, glm_stat_errors, glm_stat_histograms; and glm_stat_reset.
 *
 * Who sees what is as in stats.c: a role its own row, members of pg_read_all_stats all.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "encoding.h"
#include "errors.h"
#include "measures_table.h"
#include "privileges.h"

PG_FUNCTION_INFO_V1(chatglm_stat_worker);
PG_FUNCTION_INFO_V1(chatglm_stat_roles);
PG_FUNCTION_INFO_V1(chatglm_stat_model_totals);
PG_FUNCTION_INFO_V1(chatglm_stat_errors);
PG_FUNCTION_INFO_V1(chatglm_stat_histograms);
PG_FUNCTION_INFO_V1(chatglm_stat_reset);

#define WORKER_COLUMNS 3 /* and the table's */
#define USE_COLUMNS 12
#define ROLES_COLUMNS (2 + USE_COLUMNS)
#define TOTALS_COLUMNS (1 + USE_COLUMNS)
#define ERRORS_COLUMNS 3
#define HISTOGRAMS_COLUMNS 3

/* ---- The worker ------------------------------------------------------------------ */

/* A figure as what its column is. */
static Datum
figure(double value, Oid type)
{
	return type == FLOAT8OID ? Float8GetDatum(value) : Int64GetDatum((int64) value);
}

static void
put_worker(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s)
{
	bool  all = chatglm_may_see_totals();
	Datum values[WORKER_COLUMNS + CHATGLM_N_MEASURES] = {0};
	bool  nulls[WORKER_COLUMNS + CHATGLM_N_MEASURES] = {0};

	if (desc->natts != lengthof(values))
		elog(ERROR, "chatglm.stat_worker() has %d columns, not %d", desc->natts,
			 (int) lengthof(values));
	nulls[0] = nulls[1] = s->worker_pid == 0;
	nulls[2] = s->measured.reset == 0;
	values[0] = Int32GetDatum(s->worker_pid);
	values[1] = TimestampTzGetDatum(s->worker_started);
	values[2] = TimestampTzGetDatum(s->measured.reset);
	for (int i = 0; i < CHATGLM_N_MEASURES; i++)
	{
		nulls[WORKER_COLUMNS + i] = !all && !chatglm_measure_table[i].open;
		values[WORKER_COLUMNS + i] =
			figure(s->value[i], TupleDescAttr(desc, WORKER_COLUMNS + i)->atttypid);
	}
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The row of view glm_stat_worker: the columns are those of the table, in its order. */
Datum
chatglm_stat_worker(PG_FUNCTION_ARGS)
{
	return chatglm_measured_rows(fcinfo, false, put_worker);
}

/* ---- Roles ----------------------------------------------------------------------- */

/* The columns of what requests used; all are told. */
static void
take_use(const ChatglmUse *use, Datum *values)
{
	const Datum columns[USE_COLUMNS] = {
		Int64GetDatum(use->completed),		   Int64GetDatum(use->failed),
		Int64GetDatum(use->cancelled),		   Int64GetDatum(use->prompt_tokens),
		Int64GetDatum(use->cached_tokens),	   Int64GetDatum(use->prefix_hits),
		Int64GetDatum(use->completion_tokens), Int64GetDatum(use->draft_tokens),
		Int64GetDatum(use->accepted_tokens),   Int64GetDatum(use->preemptions),
		Float8GetDatum(use->queue_us / 1e6),   Float8GetDatum(use->total_us / 1e6)};

	memcpy(values, columns, sizeof(columns));
}

static void
put_role(Tuplestorestate *rows, TupleDesc desc, const ChatglmRoleUse *role)
{
	Datum values[ROLES_COLUMNS] = {ObjectIdGetDatum(role->role), ObjectIdGetDatum(role->database)};
	bool  nulls[ROLES_COLUMNS] = {role->role == InvalidOid, role->database == InvalidOid};

	take_use(&role->use, &values[2]);
	tuplestore_putvalues(rows, desc, values, nulls);
}

static void
put_roles(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s)
{
	for (int i = 0; i < s->measured.n_roles; i++)
		if (chatglm_may_see_requests_of(s->measured.role[i].role))
			put_role(rows, desc, &s->measured.role[i]);
}

/* The rows of view glm_stat_roles. */
Datum
chatglm_stat_roles(PG_FUNCTION_ARGS)
{
	return chatglm_measured_rows(fcinfo, false, put_roles);
}

/* ---- Models ---------------------------------------------------------------------- */

static void
put_models(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s)
{
	bool nulls[TOTALS_COLUMNS] = {0};

	for (int i = 0; i < s->measured.n_models; i++)
	{
		const ChatglmModelUse *model = &s->measured.model[i];
		Datum				   values[TOTALS_COLUMNS];

		values[0] = CStringGetTextDatum(chatglm_shown(model->name));
		nulls[0] = model->name[0] == '\0';
		take_use(&model->use, &values[1]);
		tuplestore_putvalues(rows, desc, values, nulls);
	}
}

/* The rows of view glm_stat_model_totals. */
Datum
chatglm_stat_model_totals(PG_FUNCTION_ARGS)
{
	return chatglm_measured_rows(fcinfo, true, put_models);
}

/* ---- Errors and histograms ------------------------------------------------------- */

static void
put_errors_of(Tuplestorestate *rows, TupleDesc desc, const ChatglmMeasured *m, int stage)
{
	bool nulls[ERRORS_COLUMNS] = {0};

	for (int status = GLM_OK + 1; status < GLM_N_STATUS; status++)
	{
		const char *state = unpack_sql_state(chatglm_errcode((glm_status) status));
		Datum		values[ERRORS_COLUMNS] = {CStringGetTextDatum(chatglm_stage_name(stage)),
											  CStringGetTextDatum(state),
											  Int64GetDatum(m->errors[stage][status])};

		if (m->errors[stage][status] > 0)
			tuplestore_putvalues(rows, desc, values, nulls);
	}
}

static void
put_errors(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s)
{
	for (int stage = 0; stage < CHATGLM_N_STAGE; stage++)
		put_errors_of(rows, desc, &s->measured, stage);
}

/* The rows that view glm_stat_errors adds up: of two errors with one SQLSTATE there are two. */
Datum
chatglm_stat_errors(PG_FUNCTION_ARGS)
{
	return chatglm_measured_rows(fcinfo, true, put_errors);
}

static void
put_histogram(Tuplestorestate *rows, TupleDesc desc, const ChatglmMeasured *m,
			  ChatglmHistogramId id)
{
	int			   n;
	const int64_t *bounds = chatglm_histogram_bounds(id, &n);

	for (int i = 0; i <= n; i++)
	{
		Datum values[HISTOGRAMS_COLUMNS] = {CStringGetTextDatum(chatglm_histogram_table[id].name)};
		bool  nulls[HISTOGRAMS_COLUMNS] = {false, i == n, false};

		if (i < n)
			values[1] = Float8GetDatum(chatglm_histogram_value(id, bounds[i]));
		values[2] = Int64GetDatum(m->histogram[id].count[i]);
		tuplestore_putvalues(rows, desc, values, nulls);
	}
}

static void
put_histograms(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s)
{
	for (int id = 0; id < CHATGLM_N_HISTOGRAMS; id++)
		put_histogram(rows, desc, &s->measured, (ChatglmHistogramId) id);
}

/* The rows of view glm_stat_histograms. */
Datum
chatglm_stat_histograms(PG_FUNCTION_ARGS)
{
	return chatglm_measured_rows(fcinfo, true, put_histograms);
}

/* glm_stat_reset() returns void; the worker writes the empty figures to their file. */
Datum
chatglm_stat_reset(PG_FUNCTION_ARGS)
{
	chatglm_require_preload();
	chatglm_measures_reset();
	chatglm_wake_worker();
	PG_RETURN_VOID();
}
