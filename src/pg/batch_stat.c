/*
 * batch_stat.c - view glm_stat_batches: how far statements with rows in flight
 * have come.
 *
 * The entries lie in shared memory of their own, twice as many as there may be
 * backends.  A statement that finds none left runs unseen.
 *
 * A backend gives an entry back when its node ends, when the memory of its query
 * goes after an error (batch_ring.c), and when it exits.  A lock of their own guards
 * taking and giving back; counters are words that only their backend writes.
 */
#include "chatglm.h"

#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "batch_stat.h"
#include "privileges.h"
#include "result_rows.h"

PG_FUNCTION_INFO_V1(chatglm_stat_batches);

#define BATCHES_COLUMNS 11

/* Everything but whose it is. */
#define FIRST_DETAIL 3

typedef struct BatchStats
{
	LWLock			*lock;
	ChatglmBatchStat entry[FLEXIBLE_ARRAY_MEMBER];
} BatchStats;

static BatchStats	   *stats; /* NULL: chatglm was not preloaded */
static ChatglmBatchStat unseen;

/* ---- Shared memory ----------------------------------------------------------- */

static int
count_stats(void)
{
	return 2 * chatglm_max_backends();
}

Size
chatglm_batch_stat_size(void)
{
	return add_size(offsetof(BatchStats, entry), mul_size(count_stats(), sizeof(ChatglmBatchStat)));
}

static void
init_counters(ChatglmBatchStat *stat)
{
	pg_atomic_init_u64(&stat->rows_read, 0);
	pg_atomic_init_u64(&stat->answered, 0);
	pg_atomic_init_u64(&stat->failed, 0);
	pg_atomic_init_u64(&stat->tokens, 0);
}

void
chatglm_batch_stat_init(void *memory, LWLock *lock)
{
	stats = memory;
	init_counters(&unseen);
	if (lock == NULL)
		return;
	memset(stats, 0, chatglm_batch_stat_size());
	stats->lock = lock;
	for (int i = 0; i < count_stats(); i++)
		init_counters(&stats->entry[i]);
}

/* ---- One's own entries ---------------------------------------------------------- */

static void
end_all_at_exit(int code, Datum arg)
{
	LWLockAcquire(stats->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count_stats(); i++)
		if (stats->entry[i].pid == MyProcPid)
			stats->entry[i].pid = 0;
	LWLockRelease(stats->lock);
}

ChatglmBatchStat *
chatglm_batch_stat_begin(const char *functions, int64 planned)
{
	static bool		  registered = false;
	ChatglmBatchStat *stat = &unseen;

	if (stats == NULL)
		return &unseen;
	if (!registered)
		before_shmem_exit(end_all_at_exit, (Datum) 0);
	registered = true;

	LWLockAcquire(stats->lock, LW_EXCLUSIVE);
	for (int i = 0; i < count_stats() && stat == &unseen; i++)
		if (stats->entry[i].pid == 0)
			stat = &stats->entry[i];
	if (stat != &unseen)
	{
		stat->pid = MyProcPid;
		stat->role = GetUserId();
		stat->database = MyDatabaseId;
		stat->started = GetCurrentTimestamp();
		stat->planned = planned;
		strlcpy(stat->functions, functions, sizeof(stat->functions));
		init_counters(stat);
	}
	LWLockRelease(stats->lock);
	return stat;
}

void
chatglm_batch_stat_end(ChatglmBatchStat *stat)
{
	if (stat == NULL || stat == &unseen)
		return;
	LWLockAcquire(stats->lock, LW_EXCLUSIVE);
	if (stat->pid == MyProcPid)
		stat->pid = 0;
	LWLockRelease(stats->lock);
}

/* Called at the end, and when the memory of the call goes after an error. */
static void
end_call_stat(void *arg)
{
	ChatglmCallStat *call = arg;

	chatglm_batch_stat_end(call->stat);
	call->stat = NULL;
}

ChatglmCallStat *
chatglm_call_stat_begin(const char *function, int64 planned)
{
	ChatglmCallStat *call = palloc0(sizeof(*call));

	call->stat = chatglm_batch_stat_begin(function, planned);
	call->callback.func = end_call_stat;
	call->callback.arg = call;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &call->callback);
	return call;
}

void
chatglm_call_stat_end(ChatglmCallStat *call)
{
	end_call_stat(call);
}

/* ---- The view ------------------------------------------------------------------------ */

static Datum
interval_since(TimestampTz started)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval   *elapsed = palloc0(sizeof(*elapsed));

	elapsed->time = Max(0, now - started);
	return IntervalPGetDatum(elapsed);
}

static Datum
count_of(pg_atomic_uint64 *counter)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(counter));
}

/* As in glm_stat_requests, others do not see what for. */
static void
put_batch(Tuplestorestate *rows, TupleDesc desc, ChatglmBatchStat *stat)
{
	Datum values[BATCHES_COLUMNS] = {0};
	bool  nulls[BATCHES_COLUMNS] = {0};
	char *database = get_database_name(stat->database);

	values[0] = Int32GetDatum(stat->pid);
	values[1] = ObjectIdGetDatum(stat->role);
	nulls[2] = database == NULL;
	if (database != NULL)
		values[2] = CStringGetTextDatum(database);
	if (chatglm_may_see_requests_of(stat->role))
	{
		values[3] = CStringGetTextDatum(stat->functions);
		values[4] = count_of(&stat->rows_read);
		values[5] = count_of(&stat->answered);
		values[6] = count_of(&stat->failed);
		values[7] = Int64GetDatum(stat->planned);
		values[8] = count_of(&stat->tokens);
		values[9] = TimestampTzGetDatum(stat->started);
		values[10] = interval_since(stat->started);
	}
	else
		memset(nulls + FIRST_DETAIL, true, BATCHES_COLUMNS - FIRST_DETAIL);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_stat_batches. */
Datum
chatglm_stat_batches(PG_FUNCTION_ARGS)
{
	TupleDesc		  desc;
	Tuplestorestate	 *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmBatchStat *copy;

	if (stats == NULL)
		return (Datum) 0;
	copy = palloc(count_stats() * sizeof(*copy));
	LWLockAcquire(stats->lock, LW_SHARED);
	memcpy(copy, stats->entry, count_stats() * sizeof(*copy));
	LWLockRelease(stats->lock);

	for (int i = 0; i < count_stats(); i++)
		if (copy[i].pid != 0)
			put_batch(rows, desc, &copy[i]);
	return (Datum) 0;
}
