/*
 * measures_table.h - all single figures there are, by name; views and metrics walk them.
 */
#ifndef CHATGLM_MEASURES_TABLE_H
#define CHATGLM_MEASURES_TABLE_H

#include "fmgr.h"
#include "utils/tuplestore.h"

#include "measures.h"
#include "shared.h"

typedef enum ChatglmMeasureId
{
	/* how it is now */
	CHATGLM_UP,
	CHATGLM_THREADS,
	CHATGLM_WAITING,
	CHATGLM_RUNNING,
	CHATGLM_PAUSED,
	CHATGLM_QUEUE_REQUESTS,
	CHATGLM_QUEUE_BYTES,
	CHATGLM_QUEUE_MEMORY,
	CHATGLM_KV_TOTAL,
	CHATGLM_KV_USED,
	CHATGLM_KV_CACHED,
	CHATGLM_MODELS,
	CHATGLM_MODEL_BYTES,
	CHATGLM_MODEL_MAPPED,
	CHATGLM_MODEL_RESIDENT,
	CHATGLM_N_GAUGES,
	/* how much there was since the last reset */
	CHATGLM_STARTS = CHATGLM_N_GAUGES,
	CHATGLM_LOADS,
	CHATGLM_UNLOADS,
	CHATGLM_COMPLETED,
	CHATGLM_FAILED,
	CHATGLM_CANCELLED,
	CHATGLM_TOKENS_OF_PROMPTS,
	CHATGLM_TOKENS_CACHED,
	CHATGLM_PREFIX_HITS,
	CHATGLM_TOKENS_PREFILLED,
	CHATGLM_TOKENS_GENERATED,
	CHATGLM_TOKENS_DRAFTED,
	CHATGLM_TOKENS_ACCEPTED,
	CHATGLM_PREEMPTIONS,
	CHATGLM_EVICTIONS,
	CHATGLM_PASSES,
	CHATGLM_PASS_TIME,
	CHATGLM_N_MEASURES
} ChatglmMeasureId;

typedef struct ChatglmMeasure
{
	const char *name; /* of the column of glm_stat_worker; chatglm_<name> is the metric */
	const char *help; /* starts with a capital and ends without a full stop */
	bool		open; /* for everybody, else for members of pg_read_all_stats */
} ChatglmMeasure;

extern const ChatglmMeasure chatglm_measure_table[CHATGLM_N_MEASURES];

typedef struct ChatglmHistogramName
{
	const char *name;
	const char *help;
} ChatglmHistogramName;

extern const ChatglmHistogramName chatglm_histogram_table[CHATGLM_N_HISTOGRAMS];

/* The bounds of a histogram's classes: microseconds or tokens. */
extern const int64_t *chatglm_histogram_bounds(ChatglmHistogramId id, int *n);
/* What a bound or a sum is in seconds, or tokens. */
extern double		  chatglm_histogram_value(ChatglmHistogramId id, int64 value);

/* "queue" and "tokenize" beside glm_work_name(). */
extern const char *chatglm_work_name(int work);

/* "submit" beside glm_stage_name(). */
extern const char *chatglm_stage_name(int stage);

/* Everything at one moment. */
typedef struct ChatglmSnapshot
{
	ChatglmMeasured measured;
	double			value[CHATGLM_N_MEASURES];
	ChatglmShared  *shared;		/* NULL: chatglm was not preloaded, and all is zero */
	pid_t			worker_pid; /* 0: none */
	TimestampTz		worker_started;
} ChatglmSnapshot;

/* Palloc'd. */
extern ChatglmSnapshot *chatglm_snapshot(void);

/* Puts what a view has of a moment. */
typedef void ChatglmPutMeasured(Tuplestorestate *rows, TupleDesc desc, const ChatglmSnapshot *s);

/*
 * All of a function that returns rows of what was measured.  `totals`: of all roles together,
 * so there are none but for those who may see them.
 */
extern Datum chatglm_measured_rows(FunctionCallInfo fcinfo, bool totals, ChatglmPutMeasured *put);

#endif /* CHATGLM_MEASURES_TABLE_H */
