/*
 * limits.c - what chatglm.limits allows a session, read for every request.
 *
 * Whose limits.  A request counts for the role that logged in and, where that is another,
 * for the current user as well, and has to be within the limits of both.  So SET ROLE and
 * functions with SECURITY DEFINER add limits and never lift any, and a pool that logs in
 * once and sets a role for each customer can have limits by customer.
 *
 * Which row.  The one that names the role; else, of the rows of roles that it is a member
 * of, the strictest of each limit; else that of '-', which stands for everybody but
 * superusers.  Each role has its limits to itself: a row of a group is a measure for its
 * members, not something they share.
 *
 * Rows are looked up as those of routes are (route.c), with a snapshot of their own: a
 * change counts from the next request on, in all sessions, and in the middle of a
 * statement.  As nothing is kept, no setting and no DISCARD can keep an old limit.
 *
 * What one request can break alone (tokens of an answer, time, models, class, sharing)
 * is held to here.  Numbers of requests and tokens go to the worker with the request, which
 * knows those of all sessions (worker_limits.c).
 */
#include "chatglm.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "encoding.h"
#include "errors.h"
#include "limits.h"

/* Columns of chatglm.limits. */
enum
{
	LIMITS_ROLE = 1,
	LIMITS_CONCURRENT,
	LIMITS_QUEUED,
	LIMITS_TOKENS_PER_MINUTE,
	LIMITS_TOKENS_PER_DAY,
	LIMITS_MAX_TOKENS,
	LIMITS_TIMEOUT_MS,
	LIMITS_PRIORITY,
	LIMITS_MODELS,
	LIMITS_SHARING,
	LIMITS_COLUMNS = LIMITS_SHARING
};

static const ChatglmTable limits_table = {"limits",
										  "",
										  LIMITS_COLUMNS,
										  {REGROLEOID, INT4OID, INT4OID, INT8OID, INT8OID, INT4OID,
										   INT4OID, TEXTOID, TEXTARRAYOID, TEXTOID}};

/* One row, or the strictest of several; -1: no limit. */
typedef struct Limits
{
	ChatglmQuota quota;
	int64		 max_tokens;
	int64		 timeout_ms;
	bool		 batch;
	bool		 role_cache; /* at most the role's own */
	bool		 no_cache;
	List		*models; /* of Lists of names, each of which a model has to be in */
} Limits;

static const Limits unlimited = {
	.quota = {InvalidOid, -1, -1, -1, -1}, .max_tokens = -1, .timeout_ms = -1};

/* ---- Rows ------------------------------------------------------------------------ */

/* The table may have lost its constraints: what is below 0 allows nothing. */
static int64
read_number(HeapTuple row, int column, TupleDesc desc)
{
	bool  isnull;
	Datum value = heap_getattr(row, column, desc, &isnull);
	int64 number;

	if (isnull)
		return -1;
	number = TupleDescAttr(desc, column - 1)->atttypid == INT4OID ? DatumGetInt32(value)
																  : DatumGetInt64(value);
	return Min(Max(number, 0), CHATGLM_MOST_TOKENS);
}

static bool
text_is(HeapTuple row, int column, TupleDesc desc, const char *what)
{
	bool  isnull;
	Datum value = heap_getattr(row, column, desc, &isnull);

	return !isnull && strcmp(TextDatumGetCString(value), what) == 0;
}

static List *
read_models(HeapTuple row, TupleDesc desc)
{
	bool   isnull;
	Datum  value = heap_getattr(row, LIMITS_MODELS, desc, &isnull);
	Datum *names;
	bool  *nulls;
	int	   n;
	List  *models = NIL;

	if (isnull)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls,
					  &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			models = lappend(models, TextDatumGetCString(names[i]));
	return list_make1(models);
}

static Limits
read_row(HeapTuple row, TupleDesc desc)
{
	return (Limits){
		.quota = {.concurrent = read_number(row, LIMITS_CONCURRENT, desc),
				  .queued = read_number(row, LIMITS_QUEUED, desc),
				  .tokens_per_minute = read_number(row, LIMITS_TOKENS_PER_MINUTE, desc),
				  .tokens_per_day = read_number(row, LIMITS_TOKENS_PER_DAY, desc)},
		.max_tokens = read_number(row, LIMITS_MAX_TOKENS, desc),
		.timeout_ms = read_number(row, LIMITS_TIMEOUT_MS, desc),
		.batch = text_is(row, LIMITS_PRIORITY, desc, "batch"),
		.role_cache = text_is(row, LIMITS_SHARING, desc, "role"),
		.no_cache = text_is(row, LIMITS_SHARING, desc, "off"),
		.models = read_models(row, desc),
	};
}

static int64
least(int64 a, int64 b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void
add_limits(Limits *limits, const Limits *more)
{
	ChatglmQuota	   *quota = &limits->quota;
	const ChatglmQuota *other = &more->quota;

	quota->concurrent = least(quota->concurrent, other->concurrent);
	quota->queued = least(quota->queued, other->queued);
	quota->tokens_per_minute = least(quota->tokens_per_minute, other->tokens_per_minute);
	quota->tokens_per_day = least(quota->tokens_per_day, other->tokens_per_day);
	limits->max_tokens = least(limits->max_tokens, more->max_tokens);
	limits->timeout_ms = least(limits->timeout_ms, more->timeout_ms);
	limits->batch |= more->batch;
	limits->role_cache |= more->role_cache;
	limits->no_cache |= more->no_cache;
	limits->models = list_concat(limits->models, more->models);
}

/* ---- Which of them --------------------------------------------------------------- */

/* The row of this role alone, which may be '-'; false: there is none. */
static bool
find_row(Relation table, Oid role, Limits *limits)
{
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;
	List	   *indexes = RelationGetIndexList(table); /* fills rd_pkindex */

	list_free(indexes);
	ScanKeyInit(&key, LIMITS_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan =
		systable_beginscan(table, table->rd_pkindex, OidIsValid(table->rd_pkindex), NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		*limits = read_row(row, RelationGetDescr(table));
	systable_endscan(scan);
	return HeapTupleIsValid(row);
}

/* The strictest of the rows of groups; false: it is in none that has one. */
static bool
find_group_rows(Relation table, Oid role, Limits *limits)
{
	TupleDesc	desc = RelationGetDescr(table);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	row;
	bool		found = false;

	*limits = unlimited;
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		bool   isnull;
		Oid	   group = DatumGetObjectId(heap_getattr(row, LIMITS_ROLE, desc, &isnull));
		Limits more;

		if (isnull || !OidIsValid(group) || !is_member_of_role_nosuper(role, group))
			continue;
		more = read_row(row, desc);
		add_limits(limits, &more);
		found = true;
	}
	systable_endscan(scan);
	return found;
}

static Limits
limits_of(Relation table, Oid role)
{
	Limits limits = unlimited;

	if (table != NULL && OidIsValid(role) && RelationGetNumberOfBlocks(table) > 0 &&
		!find_row(table, role, &limits) && !find_group_rows(table, role, &limits) &&
		(superuser_arg(role) || !find_row(table, InvalidOid, &limits)))
		limits = unlimited;
	limits.quota.role = role;
	return limits;
}

/* ---- A call ---------------------------------------------------------------------- */

static char *
role_name(Oid role)
{
	char *name = GetUserNameFromId(role, true);

	return name != NULL ? name : psprintf("%u", role);
}

static void
limit_tokens(ChatglmCall *call, const Limits *limits)
{
	if (call->kind != GLM_GENERATE || limits->max_tokens < 0 ||
		call->max_tokens <= limits->max_tokens)
		return;
	if (!call->max_tokens_unsaid || limits->max_tokens == 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("%d tokens are more than the limit max_tokens of role \"%s\" "
							   "(" INT64_FORMAT ")",
							   call->max_tokens, role_name(limits->quota.role), limits->max_tokens),
						errhint("Ask for fewer max_tokens. Limits are rows of chatglm.limits.")));
	call->max_tokens = (int) limits->max_tokens;
}

static void
limit_models(const ChatglmCall *call, const Limits *limits)
{
	const char *model = chatglm_shown(call->model);
	ListCell   *cell;

	foreach(cell, limits->models)
	{
		ListCell *name;
		bool	  found = false;

		foreach(name, (List *) lfirst(cell))
			found |= strcmp(lfirst(name), model) == 0;
		if (!found)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied for model \"%s\"", model),
							errdetail("It is not among the models of role \"%s\" in "
									  "chatglm.limits.",
									  role_name(limits->quota.role))));
	}
}

static void
limit_one(ChatglmCall *call, const Limits *limits, ChatglmLimited *limited)
{
	limit_tokens(call, limits);
	limit_models(call, limits);
	if (limits->timeout_ms >= 0 && (call->timeout_ms == 0 || call->timeout_ms > limits->timeout_ms))
	{
		call->timeout_ms = (int) Max(limits->timeout_ms, 1);
		limited->timed_by = limits->quota.role;
	}
	if (limits->batch)
		call->priority = CHATGLM_PRIORITY_BATCH;
	call->no_cache |= limits->no_cache;
	call->role_cache |= limits->role_cache;
}

/* What only those do who may: nothing is computed for them. */
static bool
is_administration(glm_kind kind)
{
	return kind == GLM_LOAD || kind == GLM_UNLOAD || kind == GLM_QUANTIZE;
}

void
chatglm_limit_call(ChatglmCall *call, ChatglmLimited *limited)
{
	Relation table = chatglm_open_table(&limits_table, AccessShareLock);
	Oid		 roles[CHATGLM_QUOTAS] = {MyProc->roleId, GetUserId()};

	memset(limited, 0, sizeof(*limited));
	if (roles[1] == roles[0])
		roles[1] = InvalidOid;
	for (int i = 0; i < CHATGLM_QUOTAS; i++)
	{
		Limits limits = limits_of(table, roles[i]);

		limited->quota[i] = limits.quota;
		if (!is_administration(call->kind))
			limit_one(call, &limits, limited);
	}
	if (table != NULL)
		table_close(table, AccessShareLock);
}

/* ---- Errors ---------------------------------------------------------------------- */

static void
too_many_requests(const ChatglmLimitHit *hit)
{
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					hit->limit == CHATGLM_LIMIT_QUEUED
						? errmsg("role \"%s\" has reached its limit queued (" INT64_FORMAT
								 " requests wait)",
								 role_name(hit->role), hit->figure)
						: errmsg("role \"%s\" has reached its limit concurrent (" INT64_FORMAT
								 " requests at a time)",
								 role_name(hit->role), hit->figure),
					hit->figure > 0 || hit->limit == CHATGLM_LIMIT_QUEUED
						? errhint("Try again when one of them has ended. Limits are rows of "
								  "chatglm.limits.")
						: errhint("It may not ask before the row of chatglm.limits is another.")));
}

static void
too_many_tokens(const ChatglmLimitHit *hit)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("role \"%s\" has used up its limit %s (" INT64_FORMAT " of " INT64_FORMAT
					" tokens)",
					role_name(hit->role),
					hit->limit == CHATGLM_LIMIT_MINUTE ? "tokens_per_minute" : "tokens_per_day",
					hit->used, hit->figure),
			 hit->until != 0
				 ? errhint("Try again after %s. Limits are rows of chatglm.limits.",
						   timestamptz_to_str(hit->until))
				 : errhint("It may not ask before the row of chatglm.limits is another.")));
}

void
chatglm_limit_reached(const glm_event *event)
{
	ChatglmLimitHit hit;

	if (event->length != sizeof(hit))
		elog(ERROR, "malformed event of %u bytes from the chatglm worker", event->length);
	memcpy(&hit, event->payload, sizeof(hit));
	if (hit.limit == CHATGLM_LIMIT_CONCURRENT || hit.limit == CHATGLM_LIMIT_QUEUED)
		too_many_requests(&hit);
	too_many_tokens(&hit);
	pg_unreachable();
}

void
chatglm_limit_timed_out(const glm_event *event, Oid role)
{
	ereport(ERROR, (errcode(CHATGLM_ERRCODE_TIMED_OUT), errmsg("%s", chatglm_shown(event->payload)),
					errhint("That is the limit timeout_ms of role \"%s\" in chatglm.limits.",
							role_name(role))));
	pg_unreachable();
}
