/*
 * batch.c - the plan node GlmBatch: many rows in flight, out in order.
 *
 * The node reads rows of its child ahead and asks for each what its calls ask
 * for.  The rows wait in a ring (batch_ring.c); the oldest one leaves when its
 * answers are there.
 *
 * Errors: what is wrong with a row's arguments, or what its requests failed of, is
 * raised when the row's turn comes.  Only the child's own errors and those of
 * argument expressions come up when the row is read.  After an error the
 * callbacks of request.c cancel what is in flight; without one EndCustomScan
 * does.  A cursor may outlive a subtransaction in which it was fetched from:
 * when that is rolled back, so are the requests sent then, and the rows that
 * wait for them are asked anew.
 *
 * EvalPlanQual reads its one row through a node of its own, which asks again.
 */
#include "chatglm.h"

#include "catalog/objectaccess.h"
#include "utils/lsyscache.h"

#include "batch_exec.h"

/* Rows read before one that is ready goes out: the queue fills, nobody waits. */
#define READS_BEFORE_READY 2

static Node *batch_create_state(CustomScan *scan);
static void batch_begin(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *batch_exec(CustomScanState *node);
static void batch_end(CustomScanState *node);
static void batch_rescan(CustomScanState *node);
static void batch_explain(CustomScanState *node, List *ancestors, ExplainState *es);

const CustomScanMethods chatglm_batch_scan_methods = {
	.CustomName = "GlmBatch",
	.CreateCustomScanState = batch_create_state
};
static const CustomExecMethods exec_methods = {
	.CustomName = "GlmBatch",
	.BeginCustomScan = batch_begin,
	.ExecCustomScan = batch_exec,
	.EndCustomScan = batch_end,
	.ReScanCustomScan = batch_rescan,
	.ExplainCustomScan = batch_explain
};

/* ---- Beginning --------------------------------------------------------------- */

static Node *
batch_create_state(CustomScan *scan)
{
	BatchState *state = (BatchState *) newNode(sizeof(BatchState), T_CustomScanState);

	state->css.methods = &exec_methods;
	return (Node *) state;
}

/* The same checks as where the executor prepares a function call. */
static void
begin_call(BatchState *state, BatchCall *call, FuncExpr *expr)
{
	AclResult	allowed = chatglm_function_aclcheck(expr->funcid, GetUserId());

	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, get_func_name(expr->funcid));
	InvokeFunctionExecuteHook(expr->funcid);

	call->function = chatglm_function_by_oid(expr->funcid);
	if (call->function == NULL)
		elog(ERROR, "function %u cannot be batched", expr->funcid);
	call->oid = expr->funcid;
	call->type = expr->funcresulttype;
	call->arguments = ExecInitExprList(expr->args, &state->css.ss.ps);
	fmgr_info(expr->funcid, &call->info);
}

static void
batch_begin(CustomScanState *node, EState *estate, int eflags)
{
	BatchState *state = (BatchState *) node;
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;
	TupleDesc	desc;
	ListCell   *cell;
	int			i = 0;

	state->n_calls = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_CALLS));
	state->demand = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_DEMAND));
	state->group = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_GROUP));

	state->run_demand = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_RUN));
	state->exact = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_EXACT));
	state->careful = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_CAREFUL)) != 0;

	outerPlanState(node) = ExecInitNode(outerPlan(scan), estate, eflags & ~EXEC_FLAG_MARK);
	desc = ExecGetResultType(outerPlanState(node));
	state->n_columns = desc->natts;

	state->calls = palloc0(state->n_calls * sizeof(BatchCall));
	foreach(cell, scan->custom_exprs)
	{
		if (i < state->n_calls)
			begin_call(state, &state->calls[i++], lfirst_node(FuncExpr, cell));
		else
			state->limits = lappend(state->limits, ExecInitExpr(lfirst(cell), &node->ss.ps));
	}
	chatglm_ring_begin(state, desc, estate);
	chatglm_place_begin(state);
}

/* ---- Rows in and out ------------------------------------------------------------------ */

bool
chatglm_is_batch(const PlanState *planstate)
{
	return IsA(planstate, CustomScanState) &&
		((const CustomScanState *) planstate)->methods == &exec_methods;
}

static void
read_row(BatchState *state)
{
	PlanState  *child = outerPlanState(&state->css);
	TupleTableSlot *slot;

	if (chatglm_is_batch(child))
		((BatchState *) child)->told = Max(1, chatglm_ring_wanted(state));
	slot = ExecProcNode(child);
	if (TupIsNull(slot))
	{
		state->child_ended = true;
		return;
	}
	chatglm_ring_add(state, slot);
}

/* Have all answers of the oldest row come? */
static bool
oldest_is_ready(BatchState *state)
{
	const ChatglmAnswer *answers = chatglm_ring_answers(state, state->head);

	if (chatglm_ring_ask_again(state, state->head))
		return false;
	for (int i = 0; i < state->n_calls; i++)
		if (answers[i].request != NULL && chatglm_request_running(answers[i].request))
			return false;
	return true;
}

static void
wait_for_any(BatchState *state)
{
	Instrumentation *instrument = state->css.ss.ps.instrument;
	instr_time	start;
	instr_time	end;

	if (instrument == NULL)
	{
		chatglm_wait();
		return;
	}
	state->waits++;
	state->in_flight += chatglm_ring_running(state);
	if (!instrument->need_timer)
	{
		chatglm_wait();
		return;
	}
	INSTR_TIME_SET_CURRENT(start);
	chatglm_wait();
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_ACCUM_DIFF(state->waited, end, start);
}

/* Reads ahead and waits until the oldest row is ready; false: there is none. */
static bool
prepare_oldest(BatchState *state)
{
	int			reads = 0;

	for (;;)
	{
		bool		ready;

		chatglm_look();
		ready = state->n_rows > 0 && oldest_is_ready(state);
		if (chatglm_ring_may_read(state) && !(ready && reads >= READS_BEFORE_READY))
		{
			read_row(state);
			reads++;
		}
		else if (ready)
			return true;
		else if (state->n_rows == 0)
			return false;
		else
			wait_for_any(state);
	}
}

/* Takes the oldest row out of the ring, with its answers, into the scan's slot. */
static TupleTableSlot *
take_oldest(BatchState *state)
{
	ExprContext *econtext = state->css.ss.ps.ps_ExprContext;
	ChatglmAnswer *answers = chatglm_ring_answers(state, state->head);
	PgStat_FunctionCallUsage usage;
	TupleTableSlot *slot;
	MemoryContext old;

	ResetExprContext(econtext);
	slot = chatglm_ring_load(state, state->head);
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	for (int i = 0; i < state->n_calls; i++)
	{
		int			column = state->n_columns + i;

		chatglm_usage_begin(&state->calls[i].info, &usage);
		slot->tts_values[column] = chatglm_answer_value(state->calls[i].function, &answers[i],
														state->calls[i].type,
														&slot->tts_isnull[column]);
		pgstat_end_function_usage(&usage, true);
		state->prompt_tokens += answers[i].prompt_tokens;
		state->cached_tokens += answers[i].cached_tokens;
		state->completion_tokens += answers[i].completion_tokens;
		chatglm_abandon(&answers[i]);	/* a caught error; its value is made */
	}
	MemoryContextSwitchTo(old);

	chatglm_place_show(state, state->head, ExecStoreVirtualTuple(slot));
	if (state->given != NULL)
		pfree(state->given);
	state->given = state->tuples[state->head];
	state->head = chatglm_ring_index(state, 1);
	state->n_rows--;
	return slot;
}

static TupleTableSlot *
batch_exec(CustomScanState *node)
{
	BatchState *state = (BatchState *) node;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;

	chatglm_run_enter(state);
	while (prepare_oldest(state))
	{
		econtext->ecxt_scantuple = take_oldest(state);
		if (node->ss.ps.qual != NULL && !ExecQual(node->ss.ps.qual, econtext))
		{
			InstrCountFiltered1(node, 1);
			continue;
		}
		state->emitted++;
		if (node->ss.ps.ps_ProjInfo != NULL)
			return ExecProject(node->ss.ps.ps_ProjInfo);
		return econtext->ecxt_scantuple;
	}
	return ExecClearTuple(node->ss.ss_ScanTupleSlot);
}

static void
batch_end(CustomScanState *node)
{
	chatglm_ring_clear((BatchState *) node);
	ExecEndNode(outerPlanState(node));
}

static void
batch_rescan(CustomScanState *node)
{
	BatchState *state = (BatchState *) node;

	chatglm_ring_clear(state);
	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	state->child_ended = false;
	state->emitted = 0;
	state->emitted_before = 0;
	state->bound = -1;
	chatglm_hand_on_bound(state);	/* before the rescan of a Sort that minds it */
	if (outerPlanState(node)->chgParam == NULL)
		ExecReScan(outerPlanState(node));
}

/* ---- EXPLAIN ---------------------------------------------------------------------------- */

static void
batch_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	BatchState *state = (BatchState *) node;
	List	   *names = NIL;

	for (int i = 0; i < state->n_calls; i++)
		names = lappend(names, get_func_name(state->calls[i].oid));
	ExplainPropertyList("Function", names, es);
	if (!es->analyze)
		return;

	ExplainPropertyInteger("Requests", NULL, state->requests, es);
	ExplainPropertyInteger("Prompt Tokens", NULL, state->prompt_tokens, es);
	ExplainPropertyInteger("Cached Tokens", NULL, state->cached_tokens, es);
	ExplainPropertyInteger("Generated Tokens", NULL, state->completion_tokens, es);
	ExplainPropertyFloat("Mean in Flight", NULL,
						 state->waits > 0 ? (double) state->in_flight / state->waits : 0, 1, es);
	if (es->timing)
		ExplainPropertyFloat("Time Waiting", "ms", INSTR_TIME_GET_MILLISEC(state->waited), 3, es);
}
