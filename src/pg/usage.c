/*
 * usage.c - what roles used, by database and day; and the view glm_usage.
 *
 * A row has what counts for a role's limits (worker_limits.c): its requests, whoever was the
 * current user, and those that others made as it.  So a request of two roles is in the rows
 * of both.
 *
 * The rows are in shared memory and outlive workers; a file outlives the server.  It is
 * written when that of measures.c is, a minute after the first change at most, and what
 * resets that resets nothing here.  Usage.lock guards the rows.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "measures_file.h"
#include "privileges.h"
#include "result_rows.h"
#include "usage.h"

PG_FUNCTION_INFO_V1(chatglm_usage);

#define USAGE_COLUMNS 7

typedef struct Rows
{
	int			 n;
	ChatglmUsage row[CHATGLM_USAGE_ROWS];
} Rows;

typedef struct Usage
{
	LWLock *lock;
	bool	begun;	 /* a worker has looked for the file */
	bool	changed; /* since it was written */
	Rows	rows;
} Usage;

static const ChatglmKept usage_file = {"chatglm_usage.stat", 1, sizeof(Rows), NULL};

static Usage *usage; /* NULL: chatglm was not preloaded */

Size
chatglm_usage_size(void)
{
	return MAXALIGN(sizeof(Usage));
}

void
chatglm_usage_init(void *memory, LWLock *lock)
{
	usage = memory;
	if (lock == NULL)
		return;
	memset(usage, 0, sizeof(*usage));
	usage->lock = lock;
}

/* ---- Days ------------------------------------------------------------------------ */

int32
chatglm_usage_day(TimestampTz when)
{
	return (int32) (when / USECS_PER_DAY) - (when % USECS_PER_DAY < 0);
}

TimestampTz
chatglm_usage_day_begins(int32 day)
{
	return day * USECS_PER_DAY;
}

/* ---- Rows ------------------------------------------------------------------------ */

static ChatglmUsage *
find_row(Oid role, Oid database, int32 day)
{
	/* those of today are behind those of earlier days, most often */
	for (int i = usage->rows.n - 1; i >= 0; i--)
	{
		ChatglmUsage *row = &usage->rows.row[i];

		if (row->role == role && row->database == database && row->day == day)
			return row;
	}
	return NULL;
}

/* One of the oldest rows of earlier days; NULL: there are none. */
static ChatglmUsage *
oldest_row(int32 day)
{
	ChatglmUsage *oldest = NULL;

	for (int i = 0; i < usage->rows.n; i++)
	{
		ChatglmUsage *row = &usage->rows.row[i];

		if (row->day < day && (oldest == NULL || row->day < oldest->day))
			oldest = row;
	}
	return oldest;
}

/* The row, or the one of all others of the day, for which the last row is kept free. */
static ChatglmUsage *
row_of(Oid role, Oid database, int32 day)
{
	ChatglmUsage *row = find_row(role, database, day);

	if (row != NULL)
		return row;
	if (usage->rows.n < CHATGLM_USAGE_ROWS)
		row = &usage->rows.row[usage->rows.n++];
	else
		row = oldest_row(day);
	if (row != NULL)
	{
		*row = (ChatglmUsage){.role = role, .database = database, .day = day};
		return row;
	}
	row = &usage->rows.row[CHATGLM_USAGE_ROWS - 1];
	row->role = row->database = InvalidOid;
	return row;
}

void
chatglm_usage_add(Oid role, Oid database, const ChatglmUsage *more)
{
	ChatglmUsage *row;

	if (usage == NULL || !OidIsValid(role))
		return;
	LWLockAcquire(usage->lock, LW_EXCLUSIVE);
	row = row_of(role, database, chatglm_usage_day(GetCurrentTimestamp()));
	row->requests += more->requests;
	row->prompt_tokens += more->prompt_tokens;
	row->completion_tokens += more->completion_tokens;
	row->errors += more->errors;
	usage->changed = true;
	LWLockRelease(usage->lock);
}

int64
chatglm_usage_tokens(Oid role, Oid database, int32 day)
{
	const ChatglmUsage *row;
	int64				tokens;

	LWLockAcquire(usage->lock, LW_SHARED);
	row = find_row(role, database, day);
	tokens = row != NULL ? (int64) (row->prompt_tokens + row->completion_tokens) : 0;
	LWLockRelease(usage->lock);
	return tokens;
}

/* ---- Keeping --------------------------------------------------------------------- */

void
chatglm_usage_load(void)
{
	Rows *kept;

	if (usage->begun) /* the worker's alone */
		return;
	kept = palloc(sizeof(*kept));
	if (chatglm_kept_read(&usage_file, kept) && kept->n >= 0 && kept->n <= CHATGLM_USAGE_ROWS)
	{
		LWLockAcquire(usage->lock, LW_EXCLUSIVE);
		usage->rows = *kept;
		LWLockRelease(usage->lock);
	}
	usage->begun = true;
	pfree(kept);
}

bool
chatglm_usage_keep(void)
{
	Rows *copy;

	if (!usage->begun || !usage->changed)
		return true;
	copy = MemoryContextAllocExtended(TopMemoryContext, sizeof(*copy), MCXT_ALLOC_NO_OOM);
	if (copy == NULL)
		return false; /* the next time there may be more */
	LWLockAcquire(usage->lock, LW_EXCLUSIVE);
	*copy = usage->rows;
	usage->changed = false;
	LWLockRelease(usage->lock);
	if (!chatglm_kept_write(&usage_file, copy))
		usage->changed = true;
	pfree(copy);
	return !usage->changed;
}

/* ---- The view -------------------------------------------------------------------- */

static void
put_row(Tuplestorestate *rows, TupleDesc desc, const ChatglmUsage *row)
{
	Datum values[USAGE_COLUMNS] = {
		ObjectIdGetDatum(row->role),	   ObjectIdGetDatum(row->database),
		DateADTGetDatum(row->day),		   Int64GetDatum(row->requests),
		Int64GetDatum(row->prompt_tokens), Int64GetDatum(row->completion_tokens),
		Int64GetDatum(row->errors)};
	bool nulls[USAGE_COLUMNS] = {row->role == InvalidOid, row->database == InvalidOid};

	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_usage. */
Datum
chatglm_usage(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	Rows			*copy;

	if (usage == NULL)
		return (Datum) 0;
	copy = palloc(sizeof(*copy));
	LWLockAcquire(usage->lock, LW_SHARED);
	*copy = usage->rows;
	LWLockRelease(usage->lock);
	for (int i = 0; i < copy->n; i++)
		if (chatglm_may_see_requests_of(copy->row[i].role))
			put_row(rows, desc, &copy->row[i]);
	return (Datum) 0;
}
