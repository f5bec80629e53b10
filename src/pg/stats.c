/*
 * stats.c - what the worker is doing: glm_models, glm_stat_models, glm_stat_requests; and
 * glm_cancel, for a row of the latter.
 *
 * Everything is read from shared memory, where the worker leaves a copy of the
 * engine's figures, so that looking costs the worker nothing and works while
 * it is busy, down, or was never configured.  ChatglmShared is copied
 * under the lock (shared mode, a few microseconds) and rows are built after.
 *
 * Everybody sees how many requests there were.  Totals that depend on what is in them
 * (their length, what they have in common, and so the memory they take) are for members
 * of pg_read_all_stats: such a total, read before and after a request of one's own, tells
 * something of all others.  Others see null.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "encoding.h"
#include "model_hashes.h"
#include "model_name.h"
#include "privileges.h"
#include "result_rows.h"
#include "shared.h"

PG_FUNCTION_INFO_V1(chatglm_models);
PG_FUNCTION_INFO_V1(chatglm_stat_models);
PG_FUNCTION_INFO_V1(chatglm_stat_requests);
PG_FUNCTION_INFO_V1(chatglm_cancel);

/* Columns of the views, as their functions declare them. */
#define MODELS_COLUMNS 20
#define MODELS_LOADED 5 /* from here on: of those that are loaded */
#define STAT_MODELS_COLUMNS 12
#define STAT_MODELS_TOTALS 2 /* from this one on: of all roles */
#define REQUESTS_COLUMNS 10

/* ---- Models ------------------------------------------------------------------ */

static const glm_model_info *
find_ref(const ChatglmShared *shared, const ChatglmModelRef *ref)
{
	return chatglm_find_loaded(shared, ref->name, ref->path);
}

/* One model as the view shows it: a name, where from, and what is loaded. */
static void
put_model(Tuplestorestate *rows, TupleDesc desc, const ChatglmModelRef *ref,
		  const glm_model_info *loaded)
{
	Datum			 values[MODELS_COLUMNS] = {0};
	bool			 nulls[MODELS_COLUMNS] = {0};
	ChatglmModelHash known;

	values[0] = CStringGetTextDatum(ref->name);
	/* the setting's directory may be in another encoding */
	nulls[1] = !chatglm_may_see_paths() || !pg_verifymbstr(ref->path, strlen(ref->path), true);
	if (!nulls[1])
		values[1] = CStringGetTextDatum(ref->path);
	values[2] = CStringGetTextDatum(ref->registered ? "table" : "directory");
	nulls[3] = nulls[4] = !chatglm_known_hash(ref, &known);
	if (!nulls[3])
	{
		values[3] = CStringGetTextDatum(known.hash);
		values[4] = Int32GetDatum(GLM_ARITHMETIC);
	}
	values[MODELS_LOADED] = BoolGetDatum(loaded != NULL);
	if (loaded != NULL)
	{
		values[6] = CStringGetTextDatum(loaded->dtype);
		values[7] = CStringGetTextDatum(loaded->quantization);
		values[8] = Int32GetDatum(loaded->layers);
		values[9] = Int32GetDatum(loaded->hidden);
		values[10] = Int32GetDatum(loaded->vocab);
		values[11] = Int32GetDatum(loaded->context);
		values[12] = Int32GetDatum(loaded->sequences);
		values[13] = Int64GetDatum(loaded->size_bytes);
		values[14] = Int32GetDatum(loaded->chunks_total);
		values[15] = Int32GetDatum(loaded->chunks_mapped);
		values[16] = Int64GetDatum(loaded->bytes_mapped);
		values[17] = Int64GetDatum(loaded->bytes_resident);
		values[18] = Int64GetDatum(loaded->requests);
		values[19] = Float8GetDatum(loaded->load_ms);
	}
	else
		memset(nulls + MODELS_LOADED + 1, true, MODELS_COLUMNS - MODELS_LOADED - 1);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_models: what names mean here. */
Datum
chatglm_models(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmShared	*shared = palloc(sizeof(*shared));
	ListCell		*cell;

	if (!chatglm_shared_copy(shared))
		shared->n_models = 0;
	foreach(cell, chatglm_usable_models())
		put_model(rows, desc, lfirst(cell), find_ref(shared, lfirst(cell)));
	return (Datum) 0;
}

static void
put_model_stats(Tuplestorestate *rows, TupleDesc desc, const char *name,
				const glm_model_info *model)
{
	Datum values[STAT_MODELS_COLUMNS] = {CStringGetTextDatum(name),
										 Int64GetDatum(model->requests),
										 Int64GetDatum(model->prompt_tokens),
										 Int64GetDatum(model->cached_tokens),
										 Int64GetDatum(model->prefill_tokens),
										 Int64GetDatum(model->completion_tokens),
										 Int64GetDatum(model->draft_tokens),
										 Int64GetDatum(model->accepted_tokens),
										 Int64GetDatum(model->preemptions),
										 Int64GetDatum(model->kv_bytes_used),
										 Int64GetDatum(model->kv_bytes_cached),
										 Int64GetDatum(model->kv_evictions)};
	bool  nulls[STAT_MODELS_COLUMNS] = {0};

	if (!chatglm_may_see_totals())
		memset(nulls + STAT_MODELS_TOTALS, true, STAT_MODELS_COLUMNS - STAT_MODELS_TOTALS);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_stat_models: what loaded models were used for. */
Datum
chatglm_stat_models(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmShared	*shared = palloc(sizeof(*shared));
	ListCell		*cell;

	if (!chatglm_shared_copy(shared))
		return (Datum) 0;
	foreach(cell, chatglm_usable_models())
	{
		const ChatglmModelRef *ref = lfirst(cell);
		const glm_model_info  *model = find_ref(shared, ref);

		if (model != NULL)
			put_model_stats(rows, desc, ref->name, model);
	}
	return (Datum) 0;
}

/* ---- Requests ------------------------------------------------------------------ */

/* A GLM_GENERATE goes by the name of its function, without the glm_. */
static const char *
generate_name(const ChatglmRequestStat *stat)
{
	if (stat->form == GLM_MESSAGES)
		return stat->stream ? "chat_stream" : "chat";
	if (stat->stream)
		return "stream";
	return stat->form == GLM_RAW ? "complete" : "generate";
}

static const char *
kind_name(const ChatglmRequestStat *stat)
{
	return stat->kind == GLM_GENERATE ? generate_name(stat) : glm_kind_name((glm_kind) stat->kind);
}

/*
 * Everybody sees which role asks.  What it asks is shown to the role itself and to
 * pg_read_all_stats, as in pg_stat_activity.
 */
static void
put_request(Tuplestorestate *rows, TupleDesc desc, const ChatglmRequestStat *stat)
{
	Datum values[REQUESTS_COLUMNS] = {0};
	bool  nulls[REQUESTS_COLUMNS] = {0};

	values[0] = Int64GetDatum((int64) stat->id);
	values[1] = Int32GetDatum(stat->pid);
	values[2] = ObjectIdGetDatum(stat->role);
	if (chatglm_may_see_requests_of(stat->role))
	{
		values[3] = CStringGetTextDatum(kind_name(stat));
		values[4] = CStringGetTextDatum(chatglm_shown(stat->model));
		values[5] = TimestampTzGetDatum(stat->started_us);
		values[6] = Int32GetDatum(stat->tokens);
		values[7] = ObjectIdGetDatum(stat->database);
		values[8] = BoolGetDatum(stat->in_flight);
		values[9] =
			CStringGetTextDatum(stat->held ? "limited" : glm_stage_name((glm_stage) stat->stage));
	}
	else
		memset(nulls + 3, true, REQUESTS_COLUMNS - 3);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_stat_requests: what the worker has in hand. */
Datum
chatglm_stat_requests(PG_FUNCTION_ARGS)
{
	TupleDesc			desc;
	Tuplestorestate	   *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmRequestStat *stats;
	int					n;

	if (chatglm_shared == NULL)
		return (Datum) 0;
	n = chatglm_shared->n_stats; /* set once, at the server's start */
	stats = palloc(n * sizeof(*stats));
	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	memcpy(stats, chatglm_request_stats(), n * sizeof(*stats));
	LWLockRelease(chatglm_shared->lock);

	for (int i = 0; i < n; i++)
		if (stats[i].id != 0)
			put_request(rows, desc, &stats[i]);
	return (Datum) 0;
}

/*
 * The worker looks for the mark when it next wakes.  A request that is still on
 * its way to the worker is not shown yet, so it is not found.
 */
static bool
mark_cancelled(uint64 id)
{
	ChatglmRequestStat *stats;
	bool				found = false;

	chatglm_require_preload();
	stats = chatglm_request_stats();

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < chatglm_shared->n_stats && id != 0 && !found; i++)
	{
		found = stats[i].id == id;
		if (found)
			stats[i].cancel = true;
	}
	LWLockRelease(chatglm_shared->lock);

	if (found)
	{
		pg_atomic_exchange_u32(&chatglm_shared->news, 1);
		chatglm_wake_worker();
	}
	return found;
}

/* glm_cancel(request_id bigint) returns boolean */
Datum
chatglm_cancel(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mark_cancelled((uint64) PG_GETARG_INT64(0)));
}
