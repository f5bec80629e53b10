/*
 * limits_table.c - the rows of chatglm.limits, and which of them hold for a role.
 *
 * The one that names the role; else, of the rows of roles that it is a member of, the
 * strictest of each limit; else that of '-', which stands for everybody but superusers.  Each
 * role has its limits to itself: a row of a group is a measure for its members, not something
 * they share.
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

#include "catalog.h"
#include "limits_table.h"

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

static const ChatglmLimits unlimited = {
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

static ChatglmLimits
read_row(HeapTuple row, TupleDesc desc)
{
	return (ChatglmLimits){
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
add_limits(ChatglmLimits *limits, const ChatglmLimits *more)
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
find_row(Relation table, Oid role, ChatglmLimits *limits)
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
find_group_rows(Relation table, Oid role, ChatglmLimits *limits)
{
	TupleDesc	desc = RelationGetDescr(table);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	row;
	bool		found = false;

	*limits = unlimited;
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		bool		  isnull;
		Oid			  group = DatumGetObjectId(heap_getattr(row, LIMITS_ROLE, desc, &isnull));
		ChatglmLimits more;

		if (isnull || !OidIsValid(group) || !is_member_of_role_nosuper(role, group))
			continue;
		more = read_row(row, desc);
		add_limits(limits, &more);
		found = true;
	}
	systable_endscan(scan);
	return found;
}

Relation
chatglm_open_limits(void)
{
	return chatglm_open_table(&limits_table, AccessShareLock);
}

ChatglmLimits
chatglm_limits_of(Relation table, Oid role)
{
	ChatglmLimits limits = unlimited;

	if (table != NULL && OidIsValid(role) && RelationGetNumberOfBlocks(table) > 0 &&
		!find_row(table, role, &limits) && !find_group_rows(table, role, &limits) &&
		(superuser_arg(role) || !find_row(table, InvalidOid, &limits)))
		limits = unlimited;
	limits.quota.role = role;
	return limits;
}
