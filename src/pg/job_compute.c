/*
 * job_compute.c - the second transaction of a chunk: rows are read, and asked about.
 *
 * The rows' inputs are read into memory with a snapshot.  Then the call runs over them
 * without one, if its plan allows that, so that vacuum can go on meanwhile everywhere.
 * Only the lock that keeps the table's columns as they are is held, and no row's.
 *
 * An error ends the run.  Rows that have answered by then keep their answers.  If it is a
 * row's error, the next row is tried alone, then two, four and so on: a bad row among
 * many costs a few short runs, and an attempt of its own only.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catch.h"
#include "client.h"
#include "job_chunk.h"

typedef struct Computing
{
	ChatglmJobChunk	 *chunk;
	Relation		  source;
	Oid				  row_type;
	ChatglmJobResult *result;
	PlannedStmt		 *plan;
	bool			  needs_snapshot;
	int				 *wanted; /* numbers of the rows to be computed, in the order of their keys */
	int				  n_wanted;
	int				  next;	 /* of these, the first without an answer */
	int				  piece; /* how many a run is about */
	TimestampTz		  end;	 /* of the time that a snapshot may be held */
} Computing;

static void compute_work(void *arg);
static void read_rows(Computing *computing, ChatglmJobKeys *keys, List *inputs, bool whole);
static void skip_answered(ChatglmJobChunk *chunk);
static void run_all(Computing *computing);
static void run_piece(void *arg);

void
chatglm_job_compute(ChatglmJobChunk *chunk)
{
	Computing  computing = {.chunk = chunk};
	uint64	   tokens = chatglm_tokens_used();
	ErrorData *error;

	chunk->began = GetCurrentTimestamp();
	computing.end = TimestampTzPlusMilliseconds(chunk->began,
												(int64) (chunk->job->options.chunk_seconds * 1000));
	error = chatglm_job_transact(compute_work, &computing, chunk->context);
	if (error != NULL && chunk->fault == NULL)
		chunk->fault = error;
	chunk->tokens = chatglm_tokens_used() - tokens;
}

static void
compute_work(void *arg)
{
	Computing		*computing = arg;
	ChatglmJobChunk *chunk = computing->chunk;
	MemoryContext	 old = MemoryContextSwitchTo(chunk->context);
	ChatglmJob		*job = chunk->job;
	ChatglmJobKeys	*keys;
	Node			*call;
	List			*inputs;
	bool			 whole;
	Oid				 rows;

	PushActiveSnapshot(GetTransactionSnapshot());
	computing->source = chatglm_job_open_source(job, AccessShareLock);
	computing->row_type = computing->source->rd_rel->reltype;
	keys = chatglm_job_keys(computing->source, job->keys, job->n_keys);
	call = chatglm_job_analyse(computing->source, job->call, "call", true);
	inputs = chatglm_job_inputs(job, computing->source, call, &whole);
	computing->result = chatglm_job_result(job, computing->source, call);
	PopActiveSnapshot();
	chatglm_job_find_basis(job, call);

	PushActiveSnapshot(GetTransactionSnapshot());
	read_rows(computing, keys, inputs, whole);
	skip_answered(chunk);

	rows = get_array_type(computing->row_type);
	computing->plan = chatglm_job_plan(chatglm_job_compute_sql(job), 1, &rows, NULL);
	computing->needs_snapshot = !chatglm_job_needs_no_snapshot(computing->plan);
	PopActiveSnapshot();
	InvalidateCatalogSnapshot();
	run_all(computing);
	table_close(computing->source, NoLock);
	MemoryContextSwitchTo(old);
}

/* ---- Reading --------------------------------------------------------------------- */

ParamListInfo
chatglm_job_key_arrays(const ChatglmJobKeys *keys, const ChatglmJobChunk *chunk,
					   ChatglmJobRowState state, int **numbers)
{
	Oid			 *types = chatglm_job_key_types(keys, true);
	ParamListInfo params = chatglm_job_params(keys->n, types);
	Datum		**columns = palloc(keys->n * sizeof(Datum *));
	Datum		 *key = palloc(keys->n * sizeof(Datum));
	int			  n = 0;

	*numbers = palloc(Max(chunk->n, 1) * sizeof(int));
	for (int k = 0; k < keys->n; k++)
		columns[k] = palloc(Max(chunk->n, 1) * sizeof(Datum));
	for (int i = 0; i < chunk->n; i++)
	{
		if (chunk->rows[i].state != state)
			continue;
		chatglm_job_key_values(keys, chunk->rows[i].key, key);
		for (int k = 0; k < keys->n; k++)
			columns[k][n] = key[k];
		(*numbers)[n++] = i;
	}
	for (int k = 0; k < keys->n; k++)
	{
		int16 length;
		bool  by_value;
		char  align;

		get_typlenbyvalalign(keys->key[k].type, &length, &by_value, &align);
		params->params[k].value = PointerGetDatum(
			construct_array(columns[k], n, keys->key[k].type, length, by_value, align));
		params->params[k].isnull = false;
	}
	return params;
}

typedef struct Reading
{
	Computing *computing;
	int		  *numbers;	 /* of the chunk's rows, by the number of the key asked for */
	List	  *columns;	 /* that are read */
	int		   n_inputs; /* of these, those at the beginning are what the call depends on */
} Reading;

/* Makes a row of the source's type, with what the call does not read left out. */
static bool
take_row(TupleTableSlot *slot, void *arg)
{
	Reading		  *reading = arg;
	Computing	  *computing = reading->computing;
	TupleDesc	   desc = RelationGetDescr(computing->source);
	Datum		  *values = palloc0(desc->natts * sizeof(Datum));
	bool		  *nulls = palloc(desc->natts * sizeof(bool));
	MemoryContext  old;
	ChatglmJobRow *row;
	HeapTuple	   tuple;
	ListCell	  *cell;
	int			   i = 1;

	slot_getallattrs(slot);
	row = &computing->chunk->rows[reading->numbers[DatumGetInt64(slot->tts_values[0]) - 1]];
	memset(nulls, true, desc->natts * sizeof(bool));
	foreach(cell, reading->columns)
	{
		values[lfirst_int(cell) - 1] = slot->tts_values[i];
		nulls[lfirst_int(cell) - 1] = slot->tts_isnull[i];
		i++;
	}
	chatglm_job_hash(computing->chunk->job, slot, 1, 1 + reading->n_inputs, row->hash);
	tuple = heap_form_tuple(desc, values, nulls);
	old = MemoryContextSwitchTo(computing->chunk->context);
	row->row = heap_copy_tuple_as_datum(tuple, desc);
	MemoryContextSwitchTo(old);
	row->state = CHATGLM_ROW_WANTED;
	computing->wanted[computing->n_wanted++] = row - computing->chunk->rows;
	heap_freetuple(tuple);
	pfree(values);
	pfree(nulls);
	return true;
}

/* All columns, those of the list first. */
static List *
all_columns(Relation source, const List *inputs)
{
	List *columns = list_copy(inputs);

	for (int i = 1; i <= RelationGetDescr(source)->natts; i++)
		if (!TupleDescAttr(RelationGetDescr(source), i - 1)->attisdropped)
			columns = list_append_unique_int(columns, i);
	return columns;
}

/* Rows that are not there, or not what the job is about any more, are gone. */
static void
read_rows(Computing *computing, ChatglmJobKeys *keys, List *inputs, bool whole)
{
	ChatglmJobChunk *chunk = computing->chunk;
	Reading			 reading = {.computing = computing, .n_inputs = list_length(inputs)};
	int				 level = chatglm_job_set_output();
	ParamListInfo	 params =
		chatglm_job_key_arrays(keys, chunk, CHATGLM_ROW_WANTED, &reading.numbers);
	PlannedStmt *plan;

	reading.columns = whole ? all_columns(computing->source, inputs) : inputs;
	computing->wanted = palloc(Max(chunk->n, 1) * sizeof(int));
	for (int i = 0; i < chunk->n; i++)
		chunk->rows[i].state = CHATGLM_ROW_GONE;
	plan = chatglm_job_plan(
		chatglm_job_read_sql(chunk->job, computing->source, keys, reading.columns, ""), keys->n,
		chatglm_job_key_types(keys, true), params);
	(void) chatglm_job_execute(plan, params, GetActiveSnapshot(), take_row, &reading);
	AtEOXact_GUC(true, level);
}

bool *
chatglm_job_answered(const ChatglmJobChunk *chunk)
{
	ChatglmJobArgs args = {0};
	char		 **keys = palloc(Max(chunk->n, 1) * sizeof(char *));
	bool		  *answered = palloc0(Max(chunk->n, 1) * sizeof(bool));
	uint64		   n;

	for (int i = 0; i < chunk->n; i++)
		keys[i] = chunk->rows[i].key;
	chatglm_job_arg_text(&args, chunk->name);
	chatglm_job_arg_texts(&args, keys, chunk->n);
	n = chatglm_job_sql("SELECT k.n::int, d.hash FROM unnest($2) WITH ORDINALITY k (key, n) "
						"JOIN chatglm.job_done d ON d.job = $1 AND d.key = k.key",
						&args);
	for (uint64 i = 0; i < n; i++)
	{
		bool   isnull;
		int	   row = DatumGetInt32(chatglm_job_datum(i, 1, &isnull)) - 1;
		bytea *hash = DatumGetByteaPP(chatglm_job_datum(i, 2, &isnull));

		answered[row] = VARSIZE_ANY_EXHDR(hash) == CHATGLM_JOB_HASH &&
						memcmp(VARDATA_ANY(hash), chunk->rows[row].hash, CHATGLM_JOB_HASH) == 0;
	}
	return answered;
}

/* A job that runs once computes what it meets; who follows changes computes each text once. */
static void
skip_answered(ChatglmJobChunk *chunk)
{
	bool *answered = chatglm_job_answered(chunk);

	for (int i = 0; i < chunk->n; i++)
	{
		ChatglmJobRow *row = &chunk->rows[i];

		row->known = row->state == CHATGLM_ROW_WANTED && answered[i];
		if (row->known && (chunk->changed || chunk->job->options.continuous))
			row->state = CHATGLM_ROW_SAME;
	}
}

/* ---- Computing ------------------------------------------------------------------- */

/* What is in flight then is lost, so only a snapshot is let go like that. */
static bool
is_over(const Computing *computing)
{
	return computing->needs_snapshot && GetCurrentTimestamp() >= computing->end;
}

/* A fault of the job that comes as the value of a row is not that row's either. */
static bool
take_answer(TupleTableSlot *slot, void *arg)
{
	Computing		*computing = arg;
	ChatglmJobChunk *chunk = computing->chunk;
	ChatglmJobRow	*row = &chunk->rows[computing->wanted[computing->next]];
	MemoryContext	 old = MemoryContextSwitchTo(chunk->context);
	bool			 isnull;
	Datum			 value = slot_getattr(slot, 1, &isnull);

	row->values = palloc(chunk->job->n_targets * sizeof(Datum));
	row->nulls = palloc(chunk->job->n_targets * sizeof(bool));
	row->state = CHATGLM_ROW_ANSWERED;
	if (!chatglm_job_take_value(computing->result, chunk->job->n_targets, value, isnull,
								row->values, row->nulls, &row->sqlstate, &row->message))
	{
		row->state = CHATGLM_ROW_FAILED;
		if (chatglm_job_fault(row->sqlstate) != CHATGLM_FAULT_ROW)
		{
			row->state = CHATGLM_ROW_WANTED;
			chunk->fault = palloc0(sizeof(ErrorData));
			chunk->fault->sqlerrcode = row->sqlstate;
			chunk->fault->message = row->message;
		}
	}
	MemoryContextSwitchTo(old);
	computing->next++;
	return !is_over(computing);
}

/* The rows of one run, those that are not skipped. */
static ArrayType *
rows_of_piece(Computing *computing, int first)
{
	Datum *rows = palloc(computing->piece * sizeof(Datum));
	int	   n = Min(computing->piece, computing->n_wanted - first);

	for (int i = 0; i < n; i++)
		rows[i] = computing->chunk->rows[computing->wanted[first + i]].row;
	return construct_array(rows, n, computing->row_type, -1, false, TYPALIGN_DOUBLE);
}

static void
run_piece(void *arg)
{
	Computing	 *computing = arg;
	Oid			  type = get_array_type(computing->row_type);
	ParamListInfo params = chatglm_job_params(1, &type);

	params->params[0].value = PointerGetDatum(rows_of_piece(computing, computing->next));
	params->params[0].isnull = false;
	if (computing->needs_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	(void) chatglm_job_execute(computing->plan, params,
							   computing->needs_snapshot ? GetActiveSnapshot() : InvalidSnapshot,
							   take_answer, computing);
	if (computing->needs_snapshot)
		PopActiveSnapshot();
}

/* Leaves out those that are answered. */
static void
keep_wanted(Computing *computing)
{
	int n = 0;

	for (int i = 0; i < computing->n_wanted; i++)
		if (computing->chunk->rows[computing->wanted[i]].state == CHATGLM_ROW_WANTED)
			computing->wanted[n++] = computing->wanted[i];
	computing->n_wanted = n;
}

static void
run_all(Computing *computing)
{
	ChatglmJobChunk *chunk = computing->chunk;

	keep_wanted(computing);
	computing->piece = Max(computing->n_wanted, 1);
	while (computing->next < computing->n_wanted && chunk->fault == NULL)
	{
		ErrorData *error = chatglm_try(run_piece, computing, chunk->context);

		InvalidateCatalogSnapshotConditionally();
		if (error == NULL)
		{
			if (is_over(computing))
				break;
			computing->piece *= 2;
		}
		else if (chatglm_job_fault(error->sqlerrcode) != CHATGLM_FAULT_ROW)
			chunk->fault = error;
		else if (computing->piece > 1 && computing->next + 1 < computing->n_wanted)
			computing->piece = 1;
		else
		{
			ChatglmJobRow *row = &chunk->rows[computing->wanted[computing->next++]];

			row->state = CHATGLM_ROW_FAILED;
			row->sqlstate = error->sqlerrcode;
			row->message = error->message;
			computing->piece = 1;
		}
	}
}
