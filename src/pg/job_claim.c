/*
 * job_claim.c - the first transaction of a chunk: which keys are computed next.
 *
 * Keys that wait in the queue, those of changes too, go before a walk through the table.  The walk goes by key
 * and remembers how far it has come, so a job over a table of any size has one row in the
 * queue for each chunk that is being computed, and no other.
 *
 * Who claims holds the job's row: one at a time, and shortly.  A claim that its session
 * did not live to end is given out again, after a while that doubles as long as no chunk
 * is stored in between, as an expression that crashes the server must not do so all the
 * time.  Lost twice, its keys are given out alone, and a key lost alone twice more is dead.
 */
#include "chatglm.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "job_chunk.h"
#include "job_trigger.h"
#include "settings.h"

#define ROWS_AT_FIRST 64
#define LOST_TOGETHER 2 /* claims of several keys, before they are given out alone */
#define LOST_ALONE 3	/* claims of a key that was suspected, before it is dead */

typedef struct Claiming
{
	ChatglmJobChunk *chunk;
	double			 speed; /* rows a second, or 0 */
	int				 rows;	/* at most */
	TimestampTz		*until;
	ChatglmJobClaim	 outcome;
} Claiming;

/* A row of the queue. */
typedef struct Queued
{
	int64  id;
	int	   n;
	char **keys;
	int	   tries;
	int	   claims;
	bool   changed;
} Queued;

static void claim_work(void *arg);
static bool take_back_lost(const ChatglmJob *job);
static bool claim_queued(Claiming *claiming);
static bool claim_walk(Claiming *claiming);
static void nothing_to_claim(Claiming *claiming);

ChatglmJobClaim
chatglm_job_claim(ChatglmJobChunk *chunk, double speed, TimestampTz *until)
{
	Claiming claiming = {.chunk = chunk, .speed = speed, .until = until};

	claiming.outcome = CHATGLM_CLAIM_STOPPED;
	chunk->fault = chatglm_job_transact(claim_work, &claiming, chunk->context);
	return chunk->fault != NULL ? CHATGLM_CLAIM_STOPPED : claiming.outcome;
}

/* ---- The job's state ------------------------------------------------------------- */

static void
set_state(const ChatglmJob *job, const char *state, const char *reason)
{
	ChatglmJobArgs args = {0};

	chatglm_job_arg_text(&args, job->name);
	chatglm_job_arg_text(&args, state);
	chatglm_job_arg_text(&args, reason);
	chatglm_job_sql("UPDATE chatglm.job SET state = $2, reason = $3, "
					"finished = CASE WHEN $2 = 'done' THEN clock_timestamp() END "
					"WHERE name = $1",
					&args);
	chatglm_job_changed();
}

/* May a chunk be claimed at all? */
static bool
may_claim(Claiming *claiming, ChatglmJob *job)
{
	TimestampTz now = GetCurrentTimestamp();

	if (job == NULL || strcmp(job->state, "running") != 0)
		return false;
	if (!has_privs_of_role(GetUserId(), job->owner))
		return false; /* another was made by its name */
	if (chatglm_job_is_background() && !(job->background && job->at_home))
		return false;
	if (now >= job->options.deadline)
	{
		set_state(job, "paused", "its deadline has passed");
		return false;
	}
	if (job->not_before > now)
	{
		claiming->outcome = CHATGLM_CLAIM_WAIT;
		*claiming->until = job->not_before;
		return false;
	}
	return true;
}

/*
 * As many as fit into its seconds, with some to spare; a few as long as nobody knows.  Not
 * less than are in flight at a time, which take about as long as one.
 */
static int
rows_of_chunk(const ChatglmJobOptions *options, double speed)
{
	double rows = speed > 0 ? speed * options->chunk_seconds * 0.8 : ROWS_AT_FIRST;

	rows = Max(rows, chatglm_prefetch);
	if (options->rows_per_minute > 0)
		rows = Min(rows, options->rows_per_minute);
	return (int) Max(1, Min(rows, options->chunk));
}

static void
claim_work(void *arg)
{
	Claiming	 *claiming = arg;
	MemoryContext old = MemoryContextSwitchTo(claiming->chunk->context);
	ChatglmJob	 *job = chatglm_job_find(claiming->chunk->name, true);
	int			  level = chatglm_job_set_output();

	claiming->chunk->job = job;
	if (may_claim(claiming, job))
	{
		claiming->rows = rows_of_chunk(&job->options, claiming->speed);
		if (take_back_lost(job))
		{
			claiming->outcome = CHATGLM_CLAIM_WAIT;
			*claiming->until = GetCurrentTimestamp();
		}
		else if (claim_queued(claiming) || (!job->walked && claim_walk(claiming)))
			claiming->outcome = CHATGLM_CLAIM_CHUNK;
		else
			nothing_to_claim(claiming);
	}
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(old);
}

/* ---- Claims whose sessions are gone ---------------------------------------------- */

/* true: there were some; they wait a while. */
static bool
take_back_lost(const ChatglmJob *job)
{
	ChatglmJobArgs args = {0};
	uint64		   n;
	int			   n_dead = 0;
	Datum		  *dead;

	chatglm_job_arg_text(&args, job->name);
	n = chatglm_job_sql("SELECT DISTINCT worker FROM chatglm.job_queue "
						"WHERE job = $1 AND worker IS NOT NULL",
						&args);
	dead = palloc((n + 1) * sizeof(Datum));
	for (uint64 i = 0; i < n; i++)
	{
		bool  isnull;
		Datum worker = chatglm_job_datum(i, 1, &isnull);

		/* our own was left by an error between two transactions */
		if (DatumGetInt64(worker) == chatglm_job_token() ||
			!chatglm_job_token_alive(DatumGetInt64(worker)))
			dead[n_dead++] = Int64GetDatum(DatumGetInt64(worker));
	}
	if (n_dead == 0)
		return false;
	chatglm_job_arg(&args, INT8ARRAYOID,
					PointerGetDatum(construct_array(dead, n_dead, INT8OID, sizeof(int64),
													FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
					false);
	chatglm_job_sql("UPDATE chatglm.job_queue SET worker = NULL, pid = NULL "
					"WHERE job = $1 AND worker = ANY ($2)",
					&args);
	args.n = 1;
	chatglm_job_sql("UPDATE chatglm.job SET faults = faults + 1, not_before = clock_timestamp() + "
					"least(60, 2 ^ least(faults, 6)) * interval '1 s' WHERE name = $1",
					&args);
	return true;
}

/* ---- The queue ------------------------------------------------------------------- */

static void
begin_chunk(ChatglmJobChunk *chunk, char **keys, int n, const Queued *like)
{
	chunk->n = n;
	chunk->rows = palloc0(Max(n, 1) * sizeof(ChatglmJobRow));
	for (int i = 0; i < n; i++)
		chunk->rows[i].key = keys[i];
	chunk->tries = like->tries;
	chunk->changed = like->changed;
}

/* Writes the chunk's keys into the queue as claimed by us. */
static void
insert_claim(ChatglmJobChunk *chunk, char **keys)
{
	ChatglmJobArgs args = {0};
	bool		   isnull;

	chatglm_job_arg_text(&args, chunk->name);
	chatglm_job_arg_texts(&args, keys, chunk->n);
	chatglm_job_arg(&args, BOOLOID, BoolGetDatum(chunk->changed), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(chunk->tries), false);
	chatglm_job_arg(&args, INT8OID, Int64GetDatum(chatglm_job_token()), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(MyProcPid), false);
	chatglm_job_sql(
		"INSERT INTO chatglm.job_queue (job, keys, changed, tries, claims, worker, pid) "
		"VALUES ($1, $2, $3, $4, 1, $5, $6) RETURNING id",
		&args);
	chunk->claim = DatumGetInt64(chatglm_job_datum(0, 1, &isnull));
}

/* One that was lost before is claimed as it is, and counted. */
static void
claim_again(ChatglmJobChunk *chunk, const Queued *row)
{
	ChatglmJobArgs args = {0};

	begin_chunk(chunk, row->keys, row->n, row);
	chunk->claim = row->id;
	chatglm_job_arg(&args, INT8OID, Int64GetDatum(row->id), false);
	chatglm_job_arg(&args, INT8OID, Int64GetDatum(chatglm_job_token()), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(MyProcPid), false);
	chatglm_job_sql("UPDATE chatglm.job_queue SET claims = claims + 1, worker = $2, pid = $3 "
					"WHERE id = $1",
					&args);
}

/* Keys that were lost together twice go on one by one. */
static void
split_row(const Queued *row)
{
	ChatglmJobArgs args = {0};

	chatglm_job_arg(&args, INT8OID, Int64GetDatum(row->id), false);
	chatglm_job_sql("WITH d AS (DELETE FROM chatglm.job_queue WHERE id = $1 RETURNING *) "
					"INSERT INTO chatglm.job_queue (job, keys, changed, tries, claims, queued_at) "
					"SELECT job, ARRAY[key], changed, tries, 1, queued_at FROM d, unnest(keys) key",
					&args);
}

static void
bury(const ChatglmJob *job, const Queued *row)
{
	ChatglmJobArgs args = {0};

	chatglm_job_arg(&args, INT8OID, Int64GetDatum(row->id), false);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(row->tries + row->claims), false);
	chatglm_job_sql(
		"WITH d AS (DELETE FROM chatglm.job_queue WHERE id = $1 RETURNING *) "
		"INSERT INTO chatglm.job_error (job, key, attempts, sqlstate, message) "
		"SELECT job, keys[1], $2, '57P02', 'the session that computed it ended, each time' FROM d "
		"ON CONFLICT (job, key) DO UPDATE SET attempts = excluded.attempts, at = excluded.at, "
		"sqlstate = excluded.sqlstate, message = excluded.message",
		&args);
	args.n = 0;
	chatglm_job_arg_text(&args, job->name);
	chatglm_job_sql("UPDATE chatglm.job SET failed = failed + 1 WHERE name = $1", &args);
}

static Queued *
read_queued(uint64 n)
{
	Queued *rows = palloc((n + 1) * sizeof(Queued));

	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;

		rows[i].id = DatumGetInt64(chatglm_job_datum(i, 1, &isnull));
		rows[i].keys = chatglm_job_column_texts(i, 2, &rows[i].n);
		rows[i].tries = DatumGetInt32(chatglm_job_datum(i, 3, &isnull));
		rows[i].claims = DatumGetInt32(chatglm_job_datum(i, 4, &isnull));
		rows[i].changed = DatumGetBool(chatglm_job_datum(i, 5, &isnull));
	}
	return rows;
}

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Sorts them; each stays once. */
static int
deduplicate(char **keys, int n)
{
	int kept = 0;

	qsort(keys, n, sizeof(char *), compare_keys);
	for (int i = 0; i < n; i++)
		if (kept == 0 || strcmp(keys[kept - 1], keys[i]) != 0)
			keys[kept++] = keys[i];
	return kept;
}

/* Joins rows that are like the first one into one claim, up to so many keys. */
static void
claim_joined(Claiming *claiming, const Queued *rows, uint64 n)
{
	ChatglmJobArgs args = {0};
	int			   n_keys = 0;
	int			   n_ids = 0;
	int			   room = Max(claiming->rows, rows[0].n);
	char		 **keys = palloc(room * sizeof(char *));
	Datum		  *ids = palloc(n * sizeof(Datum));

	for (uint64 i = 0; i < n; i++)
	{
		if (rows[i].claims > 0 || rows[i].tries != rows[0].tries ||
			rows[i].changed != rows[0].changed || n_keys + rows[i].n > room)
			continue;
		memcpy(keys + n_keys, rows[i].keys, rows[i].n * sizeof(char *));
		n_keys += rows[i].n;
		ids[n_ids++] = Int64GetDatum(rows[i].id);
	}
	chatglm_job_arg_text(&args, claiming->chunk->name);
	chatglm_job_arg(&args, INT8ARRAYOID,
					PointerGetDatum(construct_array(ids, n_ids, INT8OID, sizeof(int64),
													FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
					false);
	chatglm_job_sql("DELETE FROM chatglm.job_queue WHERE job = $1 AND id = ANY ($2)", &args);
	begin_chunk(claiming->chunk, keys, deduplicate(keys, n_keys), &rows[0]);
	insert_claim(claiming->chunk, keys);
}

static bool
claim_queued(Claiming *claiming)
{
	ChatglmJobArgs args = {0};
	uint64		   n;
	Queued		  *rows;

	if (claiming->chunk->job->options.continuous)
		chatglm_job_take_changes();
	chatglm_job_arg_text(&args, claiming->chunk->name);
	chatglm_job_arg(&args, INT4OID, Int32GetDatum(claiming->rows), false);
	for (;;)
	{
		n = chatglm_job_sql("SELECT id, keys, tries, claims, changed FROM chatglm.job_queue "
							"WHERE job = $1 AND worker IS NULL AND "
							"(not_before IS NULL OR not_before <= clock_timestamp()) "
							"ORDER BY id LIMIT $2",
							&args);
		if (n == 0)
			return false;
		rows = read_queued(n);
		if (rows[0].claims >= LOST_TOGETHER && rows[0].n > 1)
			split_row(&rows[0]);
		else if (rows[0].claims >= LOST_ALONE)
			bury(claiming->chunk->job, &rows[0]);
		else
			break;
	}
	if (rows[0].claims > 0)
		claim_again(claiming->chunk, &rows[0]);
	else
		claim_joined(claiming, rows, n);
	return true;
}

/* ---- The walk -------------------------------------------------------------------- */

typedef struct Walk
{
	MemoryContext		  context;
	const ChatglmJobKeys *keys;
	char				**found;
	int					  n;
} Walk;

static bool
take_key(TupleTableSlot *slot, void *arg)
{
	Walk		 *walk = arg;
	MemoryContext old = MemoryContextSwitchTo(walk->context);

	slot_getallattrs(slot);
	walk->found[walk->n++] = chatglm_job_key_text(walk->keys, slot->tts_values);
	MemoryContextSwitchTo(old);
	return true;
}

static void
remember_walk(const ChatglmJob *job, const char *cursor)
{
	ChatglmJobArgs args = {0};

	chatglm_job_arg_text(&args, job->name);
	chatglm_job_arg_text(&args, cursor);
	chatglm_job_sql("UPDATE chatglm.job SET cursor = coalesce($2, cursor), walked = $2 IS NULL, "
					"syncing = syncing AND $2 IS NOT NULL WHERE name = $1",
					&args);
}

/* As the job's owner, who sees what his policies let him see. */
static bool
claim_walk(Claiming *claiming)
{
	ChatglmJob	   *job = claiming->chunk->job;
	Relation		source = chatglm_job_open_source(job, AccessShareLock);
	ChatglmJobKeys *keys = chatglm_job_keys(source, job->keys, job->n_keys);
	Walk			walk = {.context = CurrentMemoryContext,
							.keys = keys,
							.found = palloc(claiming->rows * sizeof(char *))};
	Oid			   *types = chatglm_job_key_types(keys, false);
	int				n_params = job->cursor != NULL ? keys->n : 0;
	ParamListInfo	params = chatglm_job_params(n_params, types);
	Datum		   *place = palloc(keys->n * sizeof(Datum));
	Queued			like = {.changed = job->syncing};

	if (job->cursor != NULL)
		chatglm_job_key_values(keys, job->cursor, place);
	for (int i = 0; i < n_params; i++)
	{
		params->params[i].value = place[i];
		params->params[i].isnull = false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) chatglm_job_execute(
		chatglm_job_plan(chatglm_job_walk_sql(job, source, keys, claiming->rows), n_params, types,
						 params),
		params, GetActiveSnapshot(), take_key, &walk);
	PopActiveSnapshot();
	table_close(source, NoLock);

	remember_walk(job, walk.n > 0 ? walk.found[walk.n - 1] : NULL);
	if (walk.n == 0)
	{
		job->walked = true;
		return false;
	}
	begin_chunk(claiming->chunk, walk.found, walk.n, &like);
	insert_claim(claiming->chunk, walk.found);
	return true;
}

/* ---- Nothing --------------------------------------------------------------------- */

/* Keys may wait for their time, or be others'. */
static void
nothing_to_claim(Claiming *claiming)
{
	ChatglmJob	  *job = claiming->chunk->job;
	ChatglmJobArgs args = {0};
	bool		   isnull;
	Datum		   next;
	TimestampTz	   soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);

	chatglm_job_arg_text(&args, job->name);
	chatglm_job_sql(
		"SELECT count(*) > 0 OR EXISTS (SELECT FROM chatglm.job_change WHERE job = $1), "
		"min(not_before) FILTER (WHERE worker IS NULL) FROM "
		"(SELECT * FROM chatglm.job_queue WHERE job = $1 LIMIT 1000) q",
		&args);
	if (DatumGetBool(chatglm_job_datum(0, 1, &isnull)))
	{
		next = chatglm_job_datum(0, 2, &isnull);
		claiming->outcome = CHATGLM_CLAIM_WAIT;
		*claiming->until = isnull ? soon : Min(DatumGetTimestampTz(next), soon);
		return;
	}
	claiming->outcome = CHATGLM_CLAIM_FINISHED;
	if (!job->options.continuous)
		set_state(job, "done", NULL);
}
