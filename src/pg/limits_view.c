/*
 * limits_view.c - the view glm_limits: the limits of a role here, and what it has used of them.
 *
 * The limits are read as they are for a request (limits_table.c), so the view needs no right
 * to the table.  A role sees its own and those of roles that it is a member of, members of
 * pg_read_all_stats see all.
 */
#include "chatglm.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "limits_table.h"
#include "limits_use.h"
#include "privileges.h"
#include "result_rows.h"
#include "shared.h"
#include "usage.h"

PG_FUNCTION_INFO_V1(chatglm_role_limits);

#define LIMITS_VIEW_COLUMNS 5

typedef struct Rows
{
	Tuplestorestate *rows;
	TupleDesc		 desc;
} Rows;

/* used: -1: not known, or not counted; until: 0: none. */
static void
put_number(const Rows *to, const char *name, int64 most, int64 used, TimestampTz until)
{
	Datum values[LIMITS_VIEW_COLUMNS] = {CStringGetTextDatum(name), Int64GetDatum(most),
										 Int64GetDatum(used), TimestampTzGetDatum(until)};
	bool  nulls[LIMITS_VIEW_COLUMNS] = {false, false, used < 0, until == 0, true};

	if (most >= 0)
		tuplestore_putvalues(to->rows, to->desc, values, nulls);
}

static void
put_text(const Rows *to, const char *name, const char *value)
{
	Datum values[LIMITS_VIEW_COLUMNS] = {CStringGetTextDatum(name), 0, 0, 0,
										 CStringGetTextDatum(value)};
	bool  nulls[LIMITS_VIEW_COLUMNS] = {false, true, true, true, false};

	tuplestore_putvalues(to->rows, to->desc, values, nulls);
}

/* ---- Numbers --------------------------------------------------------------------- */

/* What the worker counts since it started. */
static void
put_counted(const Rows *to, const ChatglmQuota *quota)
{
	int64			 most = quota->tokens_per_minute;
	TimestampTz		 now = GetCurrentTimestamp();
	ChatglmLimitsUse use;
	bool			 known = chatglm_limits_use_look(quota->role, MyDatabaseId, &use);
	double			 spent = chatglm_spent_by(use.spent, use.spent_at, most, now);

	put_number(to, "concurrent", quota->concurrent, known ? use.running : -1, 0);
	put_number(to, "queued", quota->queued, known ? use.waiting : -1, 0);
	put_number(to, "tokens_per_minute", most, known ? (int64) spent : -1,
			   chatglm_spent_until(spent, now, most));
}

static void
put_day(const Rows *to, const ChatglmQuota *quota)
{
	int32 day = chatglm_usage_day(GetCurrentTimestamp());
	int64 most = quota->tokens_per_day;
	int64 used = chatglm_shared != NULL ? chatglm_usage_tokens(quota->role, MyDatabaseId, day) : 0;

	put_number(to, "tokens_per_day", most, used,
			   most > 0 && used >= most ? chatglm_usage_day_begins(day + 1) : 0);
}

/* ---- Models ---------------------------------------------------------------------- */

static bool
is_in(const List *names, const char *name)
{
	ListCell *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* Those that are in each list, as an array is written. */
static char *
models_in_all(const List *lists)
{
	List	  *first = linitial(lists);
	Datum	  *names = palloc((list_length(first) + 1) * sizeof(*names));
	int		   n = 0;
	ArrayType *array;
	ListCell  *cell;

	foreach(cell, first)
	{
		bool	  in_all = true;
		ListCell *other;

		foreach(other, lists)
			in_all &= is_in(lfirst(other), lfirst(cell));
		if (in_all)
			names[n++] = CStringGetTextDatum(lfirst(cell));
	}
	array = construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
	return OidOutputFunctionCall(F_ARRAY_OUT, PointerGetDatum(array));
}

/* ---- The view -------------------------------------------------------------------- */

static void
put_limits(const Rows *to, const ChatglmLimits *limits)
{
	put_counted(to, &limits->quota);
	put_day(to, &limits->quota);
	put_number(to, "max_tokens", limits->max_tokens, -1, 0);
	put_number(to, "timeout_ms", limits->timeout_ms, -1, 0);
	if (limits->batch)
		put_text(to, "priority", "batch");
	if (limits->models != NIL)
		put_text(to, "models", models_in_all(limits->models));
	if (limits->no_cache || limits->role_cache)
		put_text(to, "sharing", limits->no_cache ? "off" : "role");
}

/* chatglm.role_limits(role oid): the rows of view glm_limits for one role. */
Datum
chatglm_role_limits(PG_FUNCTION_ARGS)
{
	Rows	 to;
	Oid		 role = PG_GETARG_OID(0);
	Relation table;

	to.rows = chatglm_begin_rows(fcinfo, &to.desc);
	if (!chatglm_may_see_requests_of(role))
		return (Datum) 0;
	table = chatglm_open_limits();
	if (table != NULL)
	{
		ChatglmLimits limits = chatglm_limits_of(table, role);

		put_limits(&to, &limits);
		table_close(table, AccessShareLock);
	}
	return (Datum) 0;
}
