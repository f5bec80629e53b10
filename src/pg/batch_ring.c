/*
 * batch_ring.c - the rows a GlmBatch has in hand, and how many more it may read.
 *
 * A row waits in the ring as a tuple of the child's columns with its unanswered
 * questions.  At most chatglm.prefetch requests are running at a time.  The ring is
 * larger than that, since later rows may be answered before the oldest one, and
 * were they to count as well, one long answer would leave the worker idle; but
 * it is bounded, and so is memory.
 *
 * All nodes of a session share CHATGLM_SESSION_REQUESTS.  A node that has no row
 * at all may always ask for one; to read ahead it must leave a RESERVE, for
 * nodes that come later and calls that stand alone.
 *
 * Under a LIMIT no more rows are in hand than it has left.
 */
#include "chatglm.h"

#include "admission.h"
#include "ask.h"
#include "batch.h"
#include "batch_exec.h"
#include "batch_stat.h"
#include "client.h"
#include "function.h"
#include "segment.h"
#include "settings.h"

/* Requests of a session that reading ahead leaves alone. */
#define RESERVE 16

/* ---- Coming and going ------------------------------------------------------------ */

/* Contexts are deleted after errors too, when EndCustomScan is not called. */
static void
end_state(void *arg)
{
	chatglm_limits_end(arg);
	chatglm_batch_stat_end(((BatchState *) arg)->stat);
}

static void
begin_state(BatchState *state, EState *estate)
{
	MemoryContextCallback *callback = MemoryContextAlloc(estate->es_query_cxt, sizeof(*callback));

	chatglm_limits_begin(state);
	callback->func = end_state;
	callback->arg = state;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, callback);
}

void
chatglm_ring_begin(BatchState *state, TupleDesc desc, EState *estate)
{
	state->capacity = Max(1, chatglm_prefetch / state->n_calls) * CHATGLM_ROWS_IN_HAND;
	state->tuples = palloc0(state->capacity * sizeof(MinimalTuple));
	state->places = palloc0(state->capacity * sizeof(ItemPointerData));
	state->numbers = palloc0(state->capacity * sizeof(int64));
	state->answers = palloc0(state->capacity * state->n_calls * sizeof(ChatglmAnswer));
	state->columns = ExecInitExtraTupleSlot(estate, desc, &TTSOpsMinimalTuple);
	state->context =
		AllocSetContextCreate(estate->es_query_cxt, "GlmBatch rows", ALLOCSET_DEFAULT_SIZES);
	state->told = PG_INT64_MAX;
	begin_state(state, estate);
}

/* ---- The ring ------------------------------------------------------------------- */

int
chatglm_ring_index(const BatchState *state, int row)
{
	return (state->head + row) % state->capacity;
}

ChatglmAnswer *
chatglm_ring_answers(const BatchState *state, int index)
{
	return &state->answers[index * state->n_calls];
}

int
chatglm_ring_running(const BatchState *state)
{
	int running = 0;

	for (int row = 0; row < state->n_rows; row++)
	{
		const ChatglmAnswer *answers = chatglm_ring_answers(state, chatglm_ring_index(state, row));

		for (int i = 0; i < state->n_calls; i++)
			running += chatglm_answer_running(&answers[i]);
	}
	return running;
}

TupleTableSlot *
chatglm_ring_load(BatchState *state, int index)
{
	TupleTableSlot *slot = state->css.ss.ss_ScanTupleSlot;
	int				n_made = slot->tts_tupleDescriptor->natts - state->n_columns;

	ExecClearTuple(slot);
	ExecStoreMinimalTuple(state->tuples[index], state->columns, false);
	slot_getallattrs(state->columns);
	memcpy(slot->tts_values, state->columns->tts_values, state->n_columns * sizeof(Datum));
	memcpy(slot->tts_isnull, state->columns->tts_isnull, state->n_columns * sizeof(bool));
	memset(&slot->tts_values[state->n_columns], 0, n_made * sizeof(Datum));
	memset(&slot->tts_isnull[state->n_columns], true, n_made * sizeof(bool));
	return slot;
}

static void
ask_call(BatchState *state, int index, int i)
{
	BatchCall				*call = &state->calls[i];
	ChatglmAnswer			*answer = &chatglm_ring_answers(state, index)[i];
	ExprContext				*econtext = state->css.ss.ps.ps_ExprContext;
	BatchAsking				 asking = {state, index, i};
	NullableDatum			 args[CHATGLM_MAX_ARGS];
	PgStat_FunctionCallUsage usage;
	ListCell				*cell;
	int						 n = 0;

	answer->null = call->condition != NULL && !ExecQual(call->condition, econtext);
	if (answer->null)
		return;
	foreach(cell, call->arguments)
	{
		args[n].value = ExecEvalExpr((ExprState *) lfirst(cell), econtext, &args[n].isnull);
		n++;
	}
	chatglm_usage_begin(&call->info, &usage);
	chatglm_ask_or_error(call->function, args, state->priority, answer, state->context,
						 call->printed ? chatglm_share_known : NULL, &asking);
	pgstat_end_function_usage(&usage, false); /* counted with its answer */
	if (answer->request == NULL)
		return;
	state->requests++;
	state->in_flight += chatglm_ring_running(state);
}

/* Sends a row's questions. */
static void
ask_row(BatchState *state, int index)
{
	ExprContext	 *econtext = state->css.ss.ps.ps_ExprContext;
	int64		  asked_before = state->asked_number;
	MemoryContext old;

	state->asked_number = state->numbers[index];
	chatglm_share_ask(state, index);
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = ExecStoreVirtualTuple(chatglm_ring_load(state, index));
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	for (int i = 0; i < state->n_calls; i++)
		ask_call(state, index, i);
	MemoryContextSwitchTo(old);
	state->asked_number = asked_before;
}

static void
abandon_answers(BatchState *state, int index)
{
	for (int i = 0; i < state->n_calls; i++)
		chatglm_abandon(&chatglm_ring_answers(state, index)[i]);
}

void
chatglm_ring_clear(BatchState *state)
{
	for (; state->n_rows > 0; state->n_rows--)
	{
		abandon_answers(state, state->head);
		state->head = chatglm_ring_index(state, 1);
	}
	state->given = NULL;
	ExecClearTuple(state->columns);
	MemoryContextReset(state->context);
}

void
chatglm_ring_add(BatchState *state, TupleTableSlot *slot)
{
	int			  index = chatglm_ring_index(state, state->n_rows);
	MemoryContext old = MemoryContextSwitchTo(state->context);

	state->tuples[index] = ExecCopySlotMinimalTuple(slot);
	MemoryContextSwitchTo(old);
	state->added++;
	chatglm_place_keep(state, index);
	memset(chatglm_ring_answers(state, index), 0, state->n_calls * sizeof(ChatglmAnswer));
	state->numbers[index] = ++state->n_read;
	state->n_rows++;
	chatglm_batch_stat_add(&state->stat->rows_read, 1);
	chatglm_share_read(state, index, slot);
	ask_row(state, index);
}

bool
chatglm_ring_ask_again(BatchState *state, int index)
{
	const ChatglmAnswer *answers = chatglm_ring_answers(state, index);
	bool				 rolled_back = false;

	for (int i = 0; i < state->n_calls; i++)
		rolled_back |=
			answers[i].request != NULL && chatglm_request_rolled_back(answers[i].request);
	if (rolled_back)
	{
		abandon_answers(state, index);
		ask_row(state, index);
	}
	return rolled_back;
}

/* ---- How far ahead ------------------------------------------------------------------ */

int64
chatglm_ring_wanted(BatchState *state)
{
	int64 wanted = state->told - state->n_rows;

	switch (state->demand)
	{
		case CHATGLM_DEMAND_ALL:
			break;
		case CHATGLM_DEMAND_LIMIT:
			chatglm_limits_evaluate(state);
			wanted = Min(wanted, chatglm_limits_left(state, state->bound, false));
			break;
		case CHATGLM_DEMAND_ONE:
			wanted = Min(wanted, 1 - state->n_rows);
			break;
	}
	return Min(wanted, chatglm_run_wanted(state));
}

bool
chatglm_ring_may_read(BatchState *state)
{
	if (state->child_ended)
		return false;
	if (state->n_rows == 0)
		return true;
	return state->n_rows < state->capacity &&
		   chatglm_ring_running(state) + state->n_calls <= chatglm_prefetch &&
		   chatglm_requests_running() + state->n_calls <= CHATGLM_SESSION_REQUESTS - RESERVE &&
		   chatglm_ring_wanted(state) > 0 && chatglm_room_for_row();
}
