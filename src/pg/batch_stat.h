/*
 * batch_stat.h - what others see of statements with many rows in flight, in view
 * glm_stat_batches.
 */
#ifndef CHATGLM_BATCH_STAT_H
#define CHATGLM_BATCH_STAT_H

#include "chatglm.h"

#include "datatype/timestamp.h"

/*
 * One GlmBatch node, call of glm_generate_batch, or group of an aggregate.  The backend that it belongs to
 * changes the counters without a lock; the rest stays as it is while pid is set.
 */
typedef struct ChatglmBatchStat
{
	pid_t			 pid; /* of the backend; 0: entry unused */
	Oid				 role;
	Oid				 database;
	TimestampTz		 started;
	int64			 planned; /* rows to be read, as the planner estimates */
	char			 functions[128];
	pg_atomic_uint64 rows_read;
	pg_atomic_uint64 answered;
	pg_atomic_uint64 failed; /* of those answered: with an error as their value */
	pg_atomic_uint64 tokens; /* generated */
} ChatglmBatchStat;

extern Size chatglm_batch_stat_size(void);
/* `lock`: NULL when another process has already filled the memory. */
extern void chatglm_batch_stat_init(void *memory, LWLock *lock);

/*
 * An entry of one's own; where all are in use, one that nobody sees.  Ends with
 * chatglm_batch_stat_end(), which does nothing for NULL, or with the process.
 */
extern ChatglmBatchStat *chatglm_batch_stat_begin(const char *functions, int64 planned);
extern void				 chatglm_batch_stat_end(ChatglmBatchStat *stat);

/* The entry of a call that no node ends: the current memory context does at the latest. */
typedef struct ChatglmCallStat
{
	ChatglmBatchStat	 *stat; /* NULL: it has ended */
	MemoryContextCallback callback;
} ChatglmCallStat;

extern ChatglmCallStat *chatglm_call_stat_begin(const char *function, int64 planned);
extern void				chatglm_call_stat_end(ChatglmCallStat *call);

/* Adds to a counter of one's own entry. */
static inline void
chatglm_batch_stat_add(pg_atomic_uint64 *counter, int64 more)
{
	pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + more);
}

#endif /* CHATGLM_BATCH_STAT_H */
