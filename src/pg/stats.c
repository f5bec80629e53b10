/*
 * stats.c - what the worker is doing: glm_health, glm_ready, glm_models,
 * glm_stat_models, glm_stat_requests; and glm_cancel, which acts on what the
 * latter shows.
 *
 * Everything is read from shared memory, where the worker leaves a copy of the
 * engine's figures, so that looking costs the worker nothing and works while
 * it is busy, down, or was never configured.  ChatglmShared is copied whole
 * under the lock (shared mode, a few microseconds) and rows are built after.
 */
#include "chatglm.h"

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "args.h"

PG_FUNCTION_INFO_V1(chatglm_health);
PG_FUNCTION_INFO_V1(chatglm_ready);
PG_FUNCTION_INFO_V1(chatglm_models);
PG_FUNCTION_INFO_V1(chatglm_stat_models);
PG_FUNCTION_INFO_V1(chatglm_stat_requests);
PG_FUNCTION_INFO_V1(chatglm_cancel);

/* Columns of the views, as their functions declare them. */
#define MODELS_COLUMNS		18
#define STAT_MODELS_COLUMNS	12
#define REQUESTS_COLUMNS	7

/* ---- Health ------------------------------------------------------------ */

/* A snapshot of the shared state; false when there is none. */
static bool
copy_shared(ChatglmShared *copy)
{
	if (chatglm_shared == NULL)
		return false;
	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	memcpy(copy, chatglm_shared, sizeof(*copy));
	LWLockRelease(chatglm_shared->lock);
	return true;
}

/* Appends `, "key": "value"`, the value null when there is none. */
static void
append_text(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, ", \"%s\": ", key);
	if (value != NULL && value[0] != '\0')
		escape_json(out, value);
	else
		appendStringInfoString(out, "null");
}

static void
append_count(StringInfo out, const char *key, uint64 value)
{
	appendStringInfo(out, ", \"%s\": " UINT64_FORMAT, key, value);
}

static void
append_stats(StringInfo out, const glm_stats *stats)
{
	append_text(out, "kernels", stats->kernels);
	append_count(out, "threads", stats->threads);
	append_count(out, "requests", stats->requests);
	append_count(out, "completed", stats->completed);
	append_count(out, "failed", stats->failed);
	append_count(out, "cancelled", stats->cancelled);
	append_count(out, "prompt_tokens", stats->prompt_tokens);
	append_count(out, "cached_tokens", stats->cached_tokens);
	append_count(out, "completion_tokens", stats->completion_tokens);
	append_count(out, "preemptions", stats->preemptions);
	append_count(out, "waiting", stats->waiting);
	append_count(out, "running", stats->running);
	append_count(out, "paused", stats->paused);
	append_count(out, "kv_bytes_total", stats->kv_bytes_total);
	append_count(out, "kv_bytes_used", stats->kv_bytes_used);
	append_count(out, "kv_bytes_cached", stats->kv_bytes_cached);
	append_count(out, "kv_evictions", stats->kv_evictions);
}

static char *
utf8_field(const char *field)
{
	return chatglm_show_utf8(field);
}

static void
append_models(StringInfo out, const ChatglmShared *shared)
{
	appendStringInfoString(out, ", \"models\": [");
	for (int i = 0; i < shared->n_models; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		escape_json(out, utf8_field(shared->model[i].name));
	}
	appendStringInfoChar(out, ']');
}

/* glm_health() returns jsonb */
Datum
chatglm_health(PG_FUNCTION_ARGS)
{
	ChatglmShared *shared = palloc(sizeof(*shared));
	StringInfoData out;
	const char *reason = NULL;

	if (!copy_shared(shared))
		reason = "chatglm is not in shared_preload_libraries";
	else if (shared->worker_pid == 0)
		reason = "the chatglm worker is not running";

	initStringInfo(&out);
	appendStringInfo(&out, "{\"ready\": %s", reason == NULL ? "true" : "false");
	append_text(&out, "version", CHATGLM_VERSION);
	if (reason != NULL)
		append_text(&out, "reason", reason);
	else
	{
		append_count(&out, "worker_pid", shared->worker_pid);
		appendStringInfo(&out, ", \"uptime_s\": %.3f",
						 (GetCurrentTimestamp() - shared->worker_started) / 1e6);
		append_stats(&out, &shared->stats);
		append_models(&out, shared);
	}
	append_text(&out, "last_error",
				chatglm_shared != NULL ? utf8_field(shared->worker_error) : NULL);
	appendStringInfoChar(&out, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/* glm_ready() returns boolean */
Datum
chatglm_ready(PG_FUNCTION_ARGS)
{
	bool		ready = false;

	if (chatglm_shared != NULL)
	{
		LWLockAcquire(chatglm_shared->lock, LW_SHARED);
		ready = chatglm_shared->worker_pid != 0;
		LWLockRelease(chatglm_shared->lock);
	}
	PG_RETURN_BOOL(ready);
}

/* ---- Rows ------------------------------------------------------------------ */

Tuplestorestate *
chatglm_begin_rows(FunctionCallInfo fcinfo, TupleDesc *desc)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Tuplestorestate *rows;

	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	rows = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0,
								 false, work_mem);
	*desc = CreateTupleDescCopy(*desc);
	info->returnMode = SFRM_Materialize;
	info->setResult = rows;
	info->setDesc = *desc;
	MemoryContextSwitchTo(old);
	return rows;
}

/* ---- Models ------------------------------------------------------------------ */

/* One model as the view shows it: a name, where from, and what is loaded. */
static void
put_model(Tuplestorestate *rows, TupleDesc desc, const char *name, const char *path,
		  const char *source, const glm_model_info *loaded)
{
	Datum		values[MODELS_COLUMNS] = {0};
	bool		nulls[MODELS_COLUMNS] = {0};

	values[0] = CStringGetTextDatum(name);
	nulls[1] = !chatglm_may_see_paths();
	if (!nulls[1])
		values[1] = CStringGetTextDatum(path);
	nulls[2] = source == NULL;
	if (!nulls[2])
		values[2] = CStringGetTextDatum(source);
	values[3] = BoolGetDatum(loaded != NULL);
	if (loaded != NULL)
	{
		values[4] = CStringGetTextDatum(loaded->dtype);
		values[5] = CStringGetTextDatum(loaded->quantization);
		values[6] = Int32GetDatum(loaded->layers);
		values[7] = Int32GetDatum(loaded->hidden);
		values[8] = Int32GetDatum(loaded->vocab);
		values[9] = Int32GetDatum(loaded->context);
		values[10] = Int32GetDatum(loaded->sequences);
		values[11] = Int64GetDatum(loaded->size_bytes);
		values[12] = Int32GetDatum(loaded->chunks_total);
		values[13] = Int32GetDatum(loaded->chunks_mapped);
		values[14] = Int64GetDatum(loaded->bytes_mapped);
		values[15] = Int64GetDatum(loaded->bytes_resident);
		values[16] = Int64GetDatum(loaded->requests);
		values[17] = Float8GetDatum(loaded->load_ms);
	}
	else
		memset(nulls + 4, true, MODELS_COLUMNS - 4);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* Takes a known model's entry out of the loaded ones; NULL when it is not there. */
static const glm_model_info *
take_loaded(const ChatglmShared *shared, bool *taken, const char *name, const char *path)
{
	const char *utf8 = chatglm_cstring_to_utf8(name);

	for (int i = 0; i < shared->n_models; i++)
		if (!taken[i] && strcmp(shared->model[i].name, utf8) == 0 &&
			strcmp(shared->model[i].path, path) == 0)
		{
			taken[i] = true;
			return &shared->model[i];
		}
	return NULL;
}

static bool
name_in_rows(const List *refs, const char *name)
{
	ListCell   *cell;

	foreach(cell, refs)
		if (strcmp(((ChatglmModelRef *) lfirst(cell))->name, name) == 0)
			return true;
	return false;
}

/*
 * The rows of view glm_models: those of the table, directories no row hides,
 * and what is still loaded though its row has gone.
 */
Datum
chatglm_models(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	List	   *refs = chatglm_model_table_rows();
	ChatglmShared *shared = palloc(sizeof(*shared));
	bool		taken[CHATGLM_MAX_MODELS] = {0};
	ListCell   *cell;

	if (!copy_shared(shared))
		shared->n_models = 0;
	foreach(cell, refs)
	{
		ChatglmModelRef *ref = lfirst(cell);

		put_model(rows, desc, ref->name, ref->path, "table",
				  take_loaded(shared, taken, ref->name, ref->path));
	}
	foreach(cell, chatglm_model_dir_names())
	{
		char	   *name = lfirst(cell);
		char	   *path = psprintf("%s/%s", chatglm_model_dir_path(), name);

		if (!name_in_rows(refs, name))
			put_model(rows, desc, name, path, "directory",
					  take_loaded(shared, taken, name, path));
	}
	for (int i = 0; i < shared->n_models; i++)
		if (!taken[i])
			put_model(rows, desc, utf8_field(shared->model[i].name),
					  shared->model[i].path, NULL, &shared->model[i]);
	return (Datum) 0;
}

/* The rows of view glm_stat_models: what loaded models were used for. */
Datum
chatglm_stat_models(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmShared *shared = palloc(sizeof(*shared));

	if (!copy_shared(shared))
		return (Datum) 0;
	for (int i = 0; i < shared->n_models; i++)
	{
		const glm_model_info *model = &shared->model[i];
		Datum		values[STAT_MODELS_COLUMNS] = {
			CStringGetTextDatum(utf8_field(model->name)),
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
			Int64GetDatum(model->kv_evictions)
		};
		bool		nulls[STAT_MODELS_COLUMNS] = {0};

		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- Requests ------------------------------------------------------------------ */

static const char *
kind_name(uint16 kind)
{
	static const char *const names[GLM_N_KIND] = {
		[GLM_GENERATE] = "generate",
		[GLM_LOGITS] = "logits",
		[GLM_TOKENIZE] = "tokenize",
		[GLM_DETOKENIZE] = "detokenize",
		[GLM_COUNT_TOKENS] = "count_tokens",
		[GLM_CHAT_TOKENS] = "chat_tokens",
		[GLM_LOAD] = "load",
		[GLM_UNLOAD] = "unload",
		[GLM_QUANTIZE] = "quantize"
	};

	return kind < GLM_N_KIND && names[kind] != NULL ? names[kind] : "unknown";
}

/*
 * Who asks is no secret, what for is the role's own business: as in
 * pg_stat_activity, the rest is for the role and for pg_read_all_stats.
 */
static void
put_request(Tuplestorestate *rows, TupleDesc desc, const ChatglmRequestStat *stat)
{
	Datum		values[REQUESTS_COLUMNS] = {0};
	bool		nulls[REQUESTS_COLUMNS] = {0};

	values[0] = Int64GetDatum((int64) stat->id);
	values[1] = Int32GetDatum(stat->pid);
	values[2] = ObjectIdGetDatum(stat->role);
	if (has_privs_of_role(GetUserId(), stat->role) ||
		has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS))
	{
		values[3] = CStringGetTextDatum(kind_name(stat->kind));
		values[4] = CStringGetTextDatum(utf8_field(stat->model));
		values[5] = TimestampTzGetDatum(stat->started_us);
		values[6] = Int32GetDatum(stat->tokens);
	}
	else
		memset(nulls + 3, true, REQUESTS_COLUMNS - 3);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_stat_requests: what the worker has in hand. */
Datum
chatglm_stat_requests(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmRequestStat *stats;
	int			n;

	if (chatglm_shared == NULL)
		return (Datum) 0;
	n = chatglm_shared->n_requests; /* set once, at the server's start */
	stats = palloc(n * sizeof(*stats));
	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	memcpy(stats, chatglm_request_stats(), n * sizeof(*stats));
	LWLockRelease(chatglm_shared->lock);

	for (int i = 0; i < n; i++)
		if (stats[i].id != 0)
			put_request(rows, desc, &stats[i]);
	return (Datum) 0;
}

/* glm_cancel(request_id bigint) returns boolean */
Datum
chatglm_cancel(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(chatglm_cancel_request((uint64) PG_GETARG_INT64(0)));
}
