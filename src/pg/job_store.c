/*
 * job_store.c - the last transaction of a chunk: answers go into the table.
 *
 * The rows are locked in the order of their keys, and looked at again: an answer is stored
 * only if the row still has the inputs that it is of, and is still meant.  A row that
 * somebody else has locked is left for a second store, which waits for it a little, so
 * that nobody waits for us while we wait for him.  Answers, failures, what is to be done
 * again, progress and the end of the claim are one transaction; when the claim is gone,
 * all of it is taken back.
 *
 * Locks are taken in one order everywhere: rows of the table, the job, the queue.
 */
#include "chatglm.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "job_chunk.h"
#include "job_trigger.h"

#define LOCK_WAIT "2s"
#define TRIES 5 /* of a store that others get in the way of */

static void store_work(void *arg);
static void lock_rows(ChatglmJobChunk *chunk, Relation source, ChatglmJobKeys *keys, List *inputs);
static void skip_stored(ChatglmJobChunk *chunk);
static void write_rows(ChatglmJobChunk *chunk, Relation source, ChatglmJobKeys *keys,
					   const ChatglmJobResult *result);
static void keep_books(ChatglmJobChunk *chunk);

static int
count_rows(const ChatglmJobChunk *chunk, ChatglmJobRowState state)
{
	int n = 0;

	for (int i = 0; i < chunk->n; i++)
		n += chunk->rows[i].state == state;
	return n;
}

static void
change_rows(ChatglmJobChunk *chunk, ChatglmJobRowState from, ChatglmJobRowState to)
{
	for (int i = 0; i < chunk->n; i++)
		if (chunk->rows[i].state == from)
			chunk->rows[i].state = to;
}

/* What to do after a store that failed; true: try again. */
static bool
after_error(ChatglmJobChunk *chunk, ErrorData *error, int tries)
{
	ChatglmJobFault fault = chatglm_job_fault(error->sqlerrcode);

	if (chunk->lost)
		return false;
	if (fault == CHATGLM_FAULT_ROW && chunk->storing >= 0)
	{
		ChatglmJobRow *row = &chunk->rows[chunk->storing];

		row->state = CHATGLM_ROW_FAILED;
		row->sqlstate = error->sqlerrcode;
		row->message = error->message;
		return true;
	}
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && chunk->waits)
		change_rows(chunk, CHATGLM_ROW_ANSWERED, CHATGLM_ROW_STALE);
	else if (fault != CHATGLM_FAULT_RETRY || tries >= TRIES)
	{
		/* what was computed is lost; without it, the rest may go */
		if (chunk->fault != NULL && tries > TRIES)
			return false;
		chunk->fault = error;
		change_rows(chunk, CHATGLM_ROW_ANSWERED, CHATGLM_ROW_WANTED);
		return tries <= TRIES + 1;
	}
	return true;
}

void
chatglm_job_store(ChatglmJobChunk *chunk)
{
	int tries = 0;

	for (chunk->waits = false;; chunk->waits = true)
	{
		ErrorData *error;

		do
			error = chatglm_job_transact(store_work, chunk, chunk->context);
		while (error != NULL && after_error(chunk, error, ++tries));
		if (error != NULL)
		{
			if (chunk->fault == NULL && !chunk->lost)
				chunk->fault = error;
			return;
		}
		for (int i = 0; i < chunk->n; i++)
			if (chunk->rows[i].to_store)
				chunk->rows[i].state = CHATGLM_ROW_STORED;
		if (count_rows(chunk, CHATGLM_ROW_ANSWERED) == 0)
			return;
		/* what is done with is not told again */
		for (int i = 0; i < chunk->n; i++)
			if (chunk->rows[i].state != CHATGLM_ROW_ANSWERED)
				chunk->rows[i].state = CHATGLM_ROW_GONE;
		chunk->tokens = 0;
		chunk->fault = NULL;
	}
}

static void
store_work(void *arg)
{
	ChatglmJobChunk	 *chunk = arg;
	MemoryContext	  old = MemoryContextSwitchTo(chunk->context);
	Relation		  source;
	ChatglmJobKeys	 *keys;
	ChatglmJobResult *result;
	Node			 *call;
	List			 *inputs;
	bool			  whole;

	chunk->storing = -1;
	for (int i = 0; i < chunk->n; i++)
		chunk->rows[i].to_store = false;
	if (count_rows(chunk, CHATGLM_ROW_ANSWERED) > 0)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		source = chatglm_job_open_source(chunk->job, RowExclusiveLock);
		keys = chatglm_job_keys(source, chunk->job->keys, chunk->job->n_keys);
		call = chatglm_job_analyse(source, chunk->job->call, "call", true);
		inputs = chatglm_job_inputs(chunk->job, source, call, &whole);
		result = chatglm_job_result(chunk->job, source, call);
		lock_rows(chunk, source, keys, inputs);
		skip_stored(chunk);
		PopActiveSnapshot();
		write_rows(chunk, source, keys, result);
		table_close(source, NoLock);
	}
	keep_books(chunk);
	MemoryContextSwitchTo(old);
}

/* ---- Looking again --------------------------------------------------------------- */

typedef struct Looking
{
	ChatglmJobChunk *chunk;
	int				*numbers;
	int				 n_inputs;
} Looking;

static bool
look_at_row(TupleTableSlot *slot, void *arg)
{
	Looking		  *looking = arg;
	ChatglmJobRow *row;
	uint8		   hash[CHATGLM_JOB_HASH];

	slot_getallattrs(slot);
	row = &looking->chunk->rows[looking->numbers[DatumGetInt64(slot->tts_values[0]) - 1]];
	chatglm_job_hash(looking->chunk->job, slot, 1, 1 + looking->n_inputs, hash);
	if (memcmp(hash, row->hash, CHATGLM_JOB_HASH) == 0)
		row->to_store = true;
	else
		row->state = CHATGLM_ROW_STALE;
	return true;
}

static void
lock_rows(ChatglmJobChunk *chunk, Relation source, ChatglmJobKeys *keys, List *inputs)
{
	Looking		  looking = {.chunk = chunk, .n_inputs = list_length(inputs)};
	int			  level = chatglm_job_set_output();
	ParamListInfo params =
		chatglm_job_key_arrays(keys, chunk, CHATGLM_ROW_ANSWERED, &looking.numbers);
	const char	*lock = chunk->waits ? " FOR NO KEY UPDATE OF " CHATGLM_JOB_ALIAS
									 : " FOR NO KEY UPDATE OF " CHATGLM_JOB_ALIAS " SKIP LOCKED";
	PlannedStmt *plan;

	if (chunk->waits)
		(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	plan = chatglm_job_plan(chatglm_job_read_sql(chunk->job, source, keys, inputs, lock), keys->n,
							chatglm_job_key_types(keys, true), params);
	(void) chatglm_job_execute(plan, params, GetActiveSnapshot(), look_at_row, &looking);
	AtEOXact_GUC(true, level);
	/* a row that did not come although we waited is not there, or not meant, any more */
	for (int i = 0; i < chunk->n && chunk->waits; i++)
		if (chunk->rows[i].state == CHATGLM_ROW_ANSWERED && !chunk->rows[i].to_store)
			chunk->rows[i].state = CHATGLM_ROW_GONE;
}

/* What another chunk, of the walk or of changes, has stored since this one read it. */
static void
skip_stored(ChatglmJobChunk *chunk)
{
	bool *answered = chatglm_job_answered(chunk);

	for (int i = 0; i < chunk->n; i++)
	{
		ChatglmJobRow *row = &chunk->rows[i];

		if (!row->to_store || row->known || !answered[i])
			continue;
		row->to_store = false;
		row->state = CHATGLM_ROW_SAME;
	}
}

/* ---- Writing --------------------------------------------------------------------- */

static void
write_row(ChatglmJobRow *row, PlannedStmt *plan, ParamListInfo params, const ChatglmJobKeys *keys,
		  int n_targets)
{
	Datum *key = palloc(keys->n * sizeof(Datum));

	chatglm_job_key_values(keys, row->key, key);
	for (int i = 0; i < n_targets + keys->n; i++)
	{
		params->params[i].value = i < n_targets ? row->values[i] : key[i - n_targets];
		params->params[i].isnull = i < n_targets && row->nulls[i];
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) chatglm_job_execute(plan, params, GetActiveSnapshot(), NULL, NULL);
	PopActiveSnapshot();
}

/* In the order of the keys as the queue has them; they are locked already. */
static void
write_rows(ChatglmJobChunk *chunk, Relation source, ChatglmJobKeys *keys,
		   const ChatglmJobResult *result)
{
	int			  n_targets = chunk->job->n_targets;
	int			  n = n_targets + keys->n;
	Oid			 *types = palloc(n * sizeof(Oid));
	ParamListInfo params;
	PlannedStmt	 *plan;

	memcpy(types, result->types, n_targets * sizeof(Oid));
	memcpy(types + n_targets, chatglm_job_key_types(keys, false), keys->n * sizeof(Oid));
	params = chatglm_job_params(n, types);
	PushActiveSnapshot(GetTransactionSnapshot());
	plan = chatglm_job_plan(chatglm_job_store_sql(chunk->job, source, keys), n, types, NULL);
	PopActiveSnapshot();
	for (int i = 0; i < chunk->n; i++)
	{
		if (!chunk->rows[i].to_store)
			continue;
		chunk->storing = i;
		write_row(&chunk->rows[i], plan, params, keys, n_targets);
	}
	chunk->storing = -1;
	/* deferred triggers and constraints, while we are still the owner */
	PushActiveSnapshot(GetTransactionSnapshot());
	chatglm_job_fire_deferred();
	PopActiveSnapshot();
}

/* ---- Books ----------------------------------------------------------------------- */

/* Keys of rows in this state. */
static char **
keys_in(const ChatglmJobChunk *chunk, ChatglmJobRowState state, int *n)
{
	char **keys = palloc(Max(chunk->n, 1) * sizeof(char *));

	*n = 0;
	for (int i = 0; i < chunk->n; i++)
		if (chunk->rows[i].state == state && !chunk->rows[i].to_store)
			keys[(*n)++] = chunk->rows[i].key;
	return keys;
}

static void
queue_again(const ChatglmJobChunk *chunk, ChatglmJobRowState state, bool changed, int tries)
{
	ChatglmJobArgs args = {0};
	int			   n;
	char		 **keys = keys_in(chunk, state, &n);

	if (n == 0)
		return;
	chatglm_job_arg_text(&args, chunk->name);
	chatglm_job_arg_texts(&args, keys, n);
	chatglm_job_arg(&args, BOOLOID, BoolGetDatum(changed), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(tries), false);
	chatglm_job_sql("INSERT INTO chatglm.job_queue (job, keys, changed, tries) "
					"VALUES ($1, $2, $3, $4)",
					&args);
}

static bool
is_last_attempt(const ChatglmJobChunk *chunk)
{
	return chunk->tries + 1 >= chunk->job->options.attempts;
}

/* Failed rows: again after a while that doubles, or dead. */
static void
book_failures(ChatglmJobChunk *chunk)
{
	ChatglmJobArgs args = {0};
	int			   n = 0;
	char		 **keys = palloc(Max(chunk->n, 1) * sizeof(char *));
	char		 **states = palloc(Max(chunk->n, 1) * sizeof(char *));
	char		 **messages = palloc(Max(chunk->n, 1) * sizeof(char *));

	for (int i = 0; i < chunk->n; i++)
	{
		ChatglmJobRow *row = &chunk->rows[i];

		if (row->state != CHATGLM_ROW_FAILED)
			continue;
		keys[n] = row->key;
		states[n] = pstrdup(unpack_sql_state(row->sqlstate));
		messages[n++] = chatglm_job_clip(row->message);
	}
	if (n == 0)
		return;
	chatglm_job_arg_text(&args, chunk->name);
	chatglm_job_arg_texts(&args, keys, n);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(chunk->tries + 1), false);
	if (is_last_attempt(chunk))
	{
		chatglm_job_arg_texts(&args, states, n);
		chatglm_job_arg_texts(&args, messages, n);
		chatglm_job_sql("INSERT INTO chatglm.job_error (job, key, attempts, sqlstate, message) "
						"SELECT $1, u.k, $3, u.s, u.m FROM unnest($2, $4, $5) AS u (k, s, m) "
						"ON CONFLICT (job, key) DO UPDATE SET attempts = excluded.attempts, "
						"sqlstate = excluded.sqlstate, message = excluded.message, "
						"at = excluded.at",
						&args);
		return;
	}
	chatglm_job_arg(&args, FLOAT8OID, Float8GetDatum(chunk->job->options.backoff), false);
	chatglm_job_sql("INSERT INTO chatglm.job_queue (job, keys, tries, not_before) "
					"SELECT $1, $2, $3, clock_timestamp() + $4 * 2 ^ ($3 - 1) * interval '1 s'",
					&args);
}

static void
book_stored(ChatglmJobChunk *chunk)
{
	ChatglmJobArgs args = {0};
	int			   n = 0;
	char		 **keys = palloc(Max(chunk->n, 1) * sizeof(char *));
	Datum		  *hashes = palloc(Max(chunk->n, 1) * sizeof(Datum));

	for (int i = 0; i < chunk->n; i++)
	{
		bytea *hash;

		if (!chunk->rows[i].to_store)
			continue;
		hash = palloc(VARHDRSZ + CHATGLM_JOB_HASH);
		SET_VARSIZE(hash, VARHDRSZ + CHATGLM_JOB_HASH);
		memcpy(VARDATA(hash), chunk->rows[i].hash, CHATGLM_JOB_HASH);
		keys[n] = chunk->rows[i].key;
		hashes[n++] = PointerGetDatum(hash);
	}
	if (n == 0)
		return;
	chatglm_job_arg_text(&args, chunk->name);
	chatglm_job_arg_texts(&args, keys, n);
	chatglm_job_arg(&args, BYTEAARRAYOID,
					PointerGetDatum(construct_array(hashes, n, BYTEAOID, -1, false, TYPALIGN_INT)),
					false);
	chatglm_job_sql("INSERT INTO chatglm.job_done (job, key, hash) SELECT $1, u.k, u.h "
					"FROM unnest($2, $3) AS u (k, h) "
					"ON CONFLICT (job, key) DO UPDATE SET hash = excluded.hash",
					&args);
	args.n = 2;
	chatglm_job_sql("DELETE FROM chatglm.job_error WHERE job = $1 AND key = ANY ($2)", &args);
}

/* Seconds that budgets want between this chunk's begin and the next one's. */
static double
pause_of(const ChatglmJobChunk *chunk, int rows)
{
	const ChatglmJobOptions *options;
	double					 pause = 0;

	if (chunk->job == NULL) /* the fault came before it was read */
		return 0;
	options = &chunk->job->options;
	if (options->rows_per_minute > 0)
		pause = 60.0 * rows / options->rows_per_minute;
	if (options->tokens_per_minute > 0)
		pause = Max(pause, 60.0 * chunk->tokens / options->tokens_per_minute);
	return pause;
}

static void
book_progress(ChatglmJobChunk *chunk, int stored, int dead)
{
	ChatglmJobArgs	args = {0};
	int				stale = count_rows(chunk, CHATGLM_ROW_STALE);
	ChatglmJobFault fault =
		chunk->fault != NULL ? chatglm_job_fault(chunk->fault->sqlerrcode) : CHATGLM_FAULT_CANCEL;

	chatglm_job_arg_text(&args, chunk->name);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(stored), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(dead), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(stale), false);
	chatglm_job_arg(&args, INT8OID, Int64GetDatum(chunk->tokens), false);
	chatglm_job_arg(&args, TIMESTAMPTZOID, TimestampTzGetDatum(chunk->began), false);
	chatglm_job_arg(&args, FLOAT8OID, Float8GetDatum(pause_of(chunk, stored + dead)), false);
	chatglm_job_arg(&args, BOOLOID, BoolGetDatum(fault == CHATGLM_FAULT_RETRY), false);
	chatglm_job_arg_text(&args, chunk->fault != NULL && fault != CHATGLM_FAULT_CANCEL
									? chatglm_job_clip(chunk->fault->message)
									: NULL);
	chatglm_job_arg(&args, BOOLOID,
					BoolGetDatum(fault == CHATGLM_FAULT_PAUSE ||
								 (chunk->fault != NULL && fault == CHATGLM_FAULT_ROW)),
					false);
	if (chatglm_job_sql(
			"UPDATE chatglm.job SET done = done + $2, failed = failed + $3, stale = stale + $4, "
			"tokens = tokens + $5, "
			"rate = CASE WHEN $2 = 0 THEN rate WHEN stored IS NULL THEN NULL "
			"WHEN rate IS NULL THEN $2 / greatest(extract(epoch FROM clock_timestamp() - stored), "
			"0.001) ELSE rate + ($2 / greatest(extract(epoch FROM clock_timestamp() - stored), "
			"0.001) - rate) * (1 - exp(-extract(epoch FROM clock_timestamp() - stored) / 60)) END, "
			"stored = CASE WHEN $2 = 0 THEN stored ELSE clock_timestamp() END, "
			"not_before = CASE WHEN $8 THEN clock_timestamp() + least(60, 2 ^ least(faults, 6)) "
			"* interval '1 s' WHEN $7 > 0 THEN greatest(not_before, $6) + $7 * interval '1 s' "
			"ELSE not_before END, "
			"faults = CASE WHEN $8 THEN faults + 1 WHEN $2 > 0 THEN 0 ELSE faults END, "
			"state = CASE WHEN $10 AND state = 'running' THEN 'paused' ELSE state END, "
			"reason = CASE WHEN $10 OR $8 THEN $9 WHEN state = 'running' THEN NULL "
			"ELSE reason END WHERE name = $1",
			&args) == 0)
		chunk->lost = true;
	if (fault == CHATGLM_FAULT_PAUSE)
		chatglm_job_changed();
}

static void
book_fault_work(void *arg)
{
	book_progress(arg, 0, 0);
}

void
chatglm_job_store_fault(ChatglmJobChunk *chunk)
{
	/* should this fail, too, the next one who claims finds out */
	(void) chatglm_job_transact(book_fault_work, chunk, chunk->context);
}

/* Ends the claim, or leaves it those keys that the second store is about. */
static void
end_claim(ChatglmJobChunk *chunk)
{
	ChatglmJobArgs args = {0};
	int			   n;
	char		 **left = keys_in(chunk, CHATGLM_ROW_ANSWERED, &n);

	chatglm_job_arg(&args, INT8OID, Int64GetDatum(chunk->claim), false);
	chatglm_job_arg(&args, INT8OID, Int64GetDatum(chatglm_job_token()), false);
	chatglm_job_arg_texts(&args, left, n);
	if (chatglm_job_sql(n == 0 ? "DELETE FROM chatglm.job_queue WHERE id = $1 AND worker = $2 "
								 "AND $3 IS NOT NULL"
							   : "UPDATE chatglm.job_queue SET keys = $3 "
								 "WHERE id = $1 AND worker = $2",
						&args) == 0)
		chunk->lost = true;
}

static void
keep_books(ChatglmJobChunk *chunk)
{
	int stored = 0;
	int dead = is_last_attempt(chunk) ? count_rows(chunk, CHATGLM_ROW_FAILED) : 0;

	for (int i = 0; i < chunk->n; i++)
		stored += chunk->rows[i].to_store;
	book_progress(chunk, stored, dead);
	if (!chunk->lost)
		end_claim(chunk);
	if (chunk->lost)
		elog(ERROR, "the claim of a chunk of job \"%s\" is gone", chunk->name);
	book_failures(chunk);
	book_stored(chunk);
	queue_again(chunk, CHATGLM_ROW_WANTED, chunk->changed, chunk->tries);
	queue_again(chunk, CHATGLM_ROW_STALE, true, 0);
	chunk->stored += stored;
	chunk->failed += dead;
}
