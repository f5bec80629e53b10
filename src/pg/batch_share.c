/*
 * batch_share.c - calls of one row that ask the same are asked once.
 *
 * Whether two calls ask the same is seen when their arguments have been read, as
 * model, temperature and seed may come from settings or columns: each request is
 * reduced to a print of all its bytes.  A sampled call without a seed has drawn
 * one by then, so that it is like no other, and is asked again as PostgreSQL's
 * semantics have it.  Calls of one function with the same print have the same
 * value.
 *
 * A row has the prints of its own node's calls and of those that the GlmBatch right
 * below made for it, whose values are columns of the row; so a call in WHERE and
 * again in the select list is one.  That holds only where the node below passes
 * all of its columns on, as all but the topmost of a stack do.
 *
 * Further below, the plan may have made prints columns (batch_carry.c).
 *
 * A print is 128 bits of hash.  They need not stand an attack: nobody's answers
 * but those of the same row of the same statement are compared.
 *
 * Prints cost a second copy of the request, so they are only taken where a
 * function is called more than once.
 */
#include "chatglm.h"

#include "common/hashfn.h"
#include "utils/uuid.h"

#include "batch_exec.h"
#include "call.h"

/* Calls of the node below whose values are columns of its rows, and so of ours. */
static int
prints_below(const BatchState *state)
{
	const BatchState *below = state->below;

	if (below == NULL || below->css.ss.ps.ps_ProjInfo != NULL)
		return 0;
	return below->n_prints;
}

static int
n_carried(const BatchState *state)
{
	return list_length(state->carried) / 3;
}

/* Has a call above use for the prints of this function's calls? */
static void
want_prints(BatchState *state, Oid function)
{
	for (int i = 0; i < state->n_calls; i++)
		state->calls[i].printed |= state->calls[i].oid == function;
	if (prints_below(state) > 0)
		want_prints(state->below, function);
}

static bool
has_function(const BatchState *state, Oid function)
{
	for (int i = 0; i < state->n_calls; i++)
		if (state->calls[i].oid == function)
			return true;
	if (list_member_oid(state->carried, function))
		return true;
	return prints_below(state) > 0 && has_function(state->below, function);
}

/* The print is a column: its call must have one. */
static void
want_print(BatchState *state, int print)
{
	int own = state->n_prints - state->n_calls;

	if (print >= own)
		state->calls[print - own].printed = true;
	else if (prints_below(state) > 0)
		want_print(state->below, print - n_carried(state));
}

void
chatglm_share_begin(BatchState *state)
{
	int		  below = prints_below(state);
	ListCell *cell;

	state->n_prints = n_carried(state) + below + state->n_calls;
	state->prints = palloc0((state->capacity + 1) * state->n_prints * sizeof(BatchPrint));
	state->given_prints = &state->prints[state->capacity * state->n_prints];
	state->sources = palloc0(state->capacity * state->n_calls * sizeof(int));

	for (int i = 0; i < state->n_calls; i++)
	{
		BatchCall *call = &state->calls[i];

		for (int j = 0; j < i; j++)
			if (state->calls[j].oid == call->oid)
				call->printed = state->calls[j].printed = true;
		call->printed |= list_member_oid(state->carried, call->oid);
		if (below > 0 && has_function(state->below, call->oid))
		{
			call->printed = true;
			want_prints(state->below, call->oid);
		}
	}
	foreach(cell, state->shown)
		want_print(state, lfirst_int(cell));
}

/* The print that a row has carried up, and where its value is. */
static void
read_carried(BatchState *state, int i, TupleTableSlot *slot, BatchPrint *print)
{
	bool  isnull;
	Datum hash = slot_getattr(slot, (int) list_nth_oid(state->carried, 3 * i + 2), &isnull);

	memset(print, 0, sizeof(*print));
	if (isnull)
		return;
	print->function = list_nth_oid(state->carried, 3 * i);
	print->column = (int) list_nth_oid(state->carried, 3 * i + 1) - 1;
	memcpy(print->hash, DatumGetUUIDP(hash)->data, sizeof(print->hash));
}

void
chatglm_share_read(BatchState *state, int index, TupleTableSlot *slot)
{
	BatchPrint *prints = &state->prints[index * state->n_prints];
	int			below = prints_below(state);

	for (int i = 0; i < n_carried(state); i++)
		read_carried(state, i, slot, &prints[i]);
	if (below > 0)
		memcpy(&prints[n_carried(state)], state->below->given_prints, below * sizeof(BatchPrint));
}

void
chatglm_share_show(BatchState *state, int index, TupleTableSlot *slot)
{
	const BatchPrint *prints = &state->prints[index * state->n_prints];
	int				  column = state->n_columns + state->n_calls;
	ListCell		 *cell;

	foreach(cell, state->shown)
	{
		const BatchPrint *print = &prints[lfirst_int(cell)];
		pg_uuid_t		 *hash = palloc(sizeof(*hash));

		memcpy(hash->data, print->hash, sizeof(print->hash));
		slot->tts_values[column] = UUIDPGetDatum(hash);
		slot->tts_isnull[column++] = print->function == InvalidOid;
	}
}

void
chatglm_share_ask(BatchState *state, int index)
{
	int below = state->n_prints - state->n_calls;

	memset(&state->prints[index * state->n_prints + below], 0, state->n_calls * sizeof(BatchPrint));
	memset(chatglm_share_source(state, index, 0), 0, state->n_calls * sizeof(int));
}

void
chatglm_share_given(BatchState *state, int index)
{
	memcpy(state->given_prints, &state->prints[index * state->n_prints],
		   state->n_prints * sizeof(BatchPrint));
}

static BatchPrint
take_print(const ChatglmCall *call, Oid function, int column)
{
	glm_request *block = chatglm_call_block(call, 0, CurrentMemoryContext);
	BatchPrint	 print = {
		  .function = function,
		  .column = column,
		  .hash = {hash_bytes_extended((unsigned char *) block, (int) block->size, 0),
				   hash_bytes_extended((unsigned char *) block, (int) block->size, PG_INT64_MAX)}};

	if (call->kept != NULL)
		print.hash[0] ^=
			hash_bytes_extended((const unsigned char *) call->kept, (int) call->kept_length, 1);
	pfree(block);
	return print;
}

bool
chatglm_share_known(const ChatglmCall *call, void *arg)
{
	const BatchAsking *asking = arg;
	BatchState		  *state = asking->state;
	BatchPrint		  *prints = &state->prints[asking->index * state->n_prints];
	int				   own = state->n_prints - state->n_calls + asking->call;
	BatchPrint		   print =
		take_print(call, state->calls[asking->call].oid, state->n_columns + asking->call);

	for (int i = 0; i < own; i++)
		if (prints[i].function == print.function && prints[i].hash[0] == print.hash[0] &&
			prints[i].hash[1] == print.hash[1])
		{
			*chatglm_share_source(state, asking->index, asking->call) = prints[i].column + 1;
			return true;
		}
	prints[own] = print;
	return false;
}

int *
chatglm_share_source(BatchState *state, int index, int call)
{
	return &state->sources[index * state->n_calls + call];
}
