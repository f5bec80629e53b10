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
 * callbacks of client_request.c cancel what is in flight; without one EndCustomScan
 * does.  A cursor may outlive a subtransaction in which it was fetched from:
 * when that is rolled back, so are the requests sent then, and the rows that
 * wait for them are asked anew.
 *
 * EvalPlanQual reads its one row through a node of its own, which asks again.
 */
#include "chatglm.h"

#include "catalog/objectaccess.h"
#include "utils/lsyscache.h"

#include "ask.h"
#include "batch.h"
#include "batch_exec.h"
#include "batch_stat.h"
#include "call.h"
#include "client.h"
#include "function.h"
#include "model_explain.h"

/* Rows read before one that is ready goes out: the queue fills, nobody waits. */
#define READS_BEFORE_READY 2

static Node			  *batch_create_state(CustomScan *scan);
static void			   batch_begin(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *batch_exec(CustomScanState *node);
static void			   batch_end(CustomScanState *node);
static void			   batch_rescan(CustomScanState *node);

const CustomScanMethods		   chatglm_batch_scan_methods = {.CustomName = "GlmBatch",
															 .CreateCustomScanState = batch_create_state};
static const CustomExecMethods exec_methods = {.CustomName = "GlmBatch",
											   .BeginCustomScan = batch_begin,
											   .ExecCustomScan = batch_exec,
											   .EndCustomScan = batch_end,
											   .ReScanCustomScan = batch_rescan,
											   .ExplainCustomScan = chatglm_batch_explain};

static bool
is_batch(const PlanState *planstate)
{
	return IsA(planstate, CustomScanState) &&
		   ((const CustomScanState *) planstate)->methods == &exec_methods;
}

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
begin_function(BatchState *state, BatchCall *call, FuncExpr *expr)
{
	AclResult allowed = chatglm_function_aclcheck(expr->funcid, GetUserId());

	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, get_func_name(expr->funcid));
	InvokeFunctionExecuteHook(expr->funcid);

	call->function = chatglm_function_by_oid(expr->funcid);
	if (call->function == NULL)
		elog(ERROR, "function %u cannot be batched", expr->funcid);
	call->oid = expr->funcid;
	call->type = expr->funcresulttype;
	call->expr = expr;
	call->arguments = ExecInitExprList(expr->args, &state->css.ss.ps);
	fmgr_info(expr->funcid, &call->info);
}

static void
begin_call(BatchState *state, BatchCall *call, Expr *expr)
{
	if (IsA(expr, CaseExpr))
	{
		CaseWhen *when = linitial_node(CaseWhen, ((CaseExpr *) expr)->args);

		call->condition = ExecInitQual(list_make1(when->expr), &state->css.ss.ps);
		expr = when->result;
	}
	begin_function(state, call, castNode(FuncExpr, expr));
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
	if (is_batch(outerPlanState(node)))
		state->below = (BatchState *) outerPlanState(node);
	desc = ExecGetResultType(outerPlanState(node));
	state->n_columns = desc->natts;

	state->calls = palloc0(state->n_calls * sizeof(BatchCall));
	foreach(cell, scan->custom_exprs)
	{
		if (i < state->n_calls)
			begin_call(state, &state->calls[i++], lfirst(cell));
		else
			state->limits = lappend(state->limits, ExecInitExpr(lfirst(cell), &node->ss.ps));
	}
	state->priority = intVal(list_nth(scan->custom_private, CHATGLM_BATCH_ALONE))
						  ? CHATGLM_PRIORITY_INTERACTIVE
						  : CHATGLM_PRIORITY_BATCH;
	state->shown = list_nth(scan->custom_private, CHATGLM_BATCH_PRINTS);
	state->carried = list_nth(scan->custom_private, CHATGLM_BATCH_CARRIED);
	chatglm_ring_begin(state, desc, estate);
	chatglm_place_begin(state);
	chatglm_share_begin(state);
}

/* ---- Rows in and out ------------------------------------------------------------------ */

static void
read_row(BatchState *state)
{
	PlanState	   *child = outerPlanState(&state->css);
	TupleTableSlot *slot;

	if (state->below != NULL)
		state->below->told = Max(1, chatglm_ring_wanted(state));
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
		if (chatglm_answer_running(&answers[i]) > 0)
			return false;
	return true;
}

static void
wait_for_any(BatchState *state)
{
	Instrumentation *instrument = state->css.ss.ps.instrument;
	instr_time		 start;
	instr_time		 end;

	if (instrument == NULL || !instrument->need_timer)
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
	int reads = 0;

	for (;;)
	{
		bool ready;

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

/* Counts an answer whose value is made. */
static void
count_answer(BatchState *state, const ChatglmAnswer *answer)
{
	state->prompt_tokens += answer->prompt_tokens;
	state->cached_tokens += answer->cached_tokens;
	state->completion_tokens += answer->completion_tokens;
	state->accepted_tokens += answer->accepted_tokens;
	state->failed += answer->error != NULL;
	if (answer->routed && answer->model != NULL)
		chatglm_count_model(&state->models, state->context, answer->model);
	chatglm_batch_stat_add(&state->stat->tokens, answer->completion_tokens);
	chatglm_batch_stat_add(&state->stat->failed, answer->error != NULL);
}

/* The value of a call of the oldest row: its own answer, or what an equal call got. */
static void
set_value(BatchState *state, int i, TupleTableSlot *slot)
{
	ChatglmAnswer			*answer = &chatglm_ring_answers(state, state->head)[i];
	int						 source = *chatglm_share_source(state, state->head, i);
	int						 column = state->n_columns + i;
	PgStat_FunctionCallUsage usage;

	if (source > 0)
	{
		slot->tts_values[column] = slot->tts_values[source - 1];
		slot->tts_isnull[column] = slot->tts_isnull[source - 1];
		return;
	}
	state->asked_id = answer->id;
	chatglm_usage_begin(&state->calls[i].info, &usage);
	slot->tts_values[column] = chatglm_answer_value(
		state->calls[i].function, answer, state->calls[i].type, &slot->tts_isnull[column]);
	pgstat_end_function_usage(&usage, true);
	state->asked_id = 0;
	count_answer(state, answer);
	chatglm_abandon(answer); /* a caught error; its value is made */
}

/* Takes the oldest row out of the ring, with its answers, into the scan's slot. */
static TupleTableSlot *
take_oldest(BatchState *state)
{
	ExprContext	   *econtext = state->css.ss.ps.ps_ExprContext;
	TupleTableSlot *slot;
	MemoryContext	old;

	ResetExprContext(econtext);
	slot = chatglm_ring_load(state, state->head);
	old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	for (int i = 0; i < state->n_calls; i++)
		set_value(state, i, slot);
	chatglm_share_show(state, state->head, slot);
	MemoryContextSwitchTo(old);
	chatglm_share_given(state, state->head);
	chatglm_batch_stat_add(&state->stat->answered, 1);

	chatglm_place_show(state, state->head, ExecStoreVirtualTuple(slot));
	if (state->given != NULL)
		pfree(state->given);
	state->given = state->tuples[state->head];
	state->head = chatglm_ring_index(state, 1);
	state->n_rows--;
	return slot;
}

/* The next row, with what the plan node makes of it; NULL at the end. */
static TupleTableSlot *
next_row(BatchState *state)
{
	PlanState	*ps = &state->css.ss.ps;
	ExprContext *econtext = ps->ps_ExprContext;

	while (prepare_oldest(state))
	{
		state->asked_number = state->numbers[state->head];
		econtext->ecxt_scantuple = take_oldest(state);
		if (ps->qual != NULL && !ExecQual(ps->qual, econtext))
		{
			InstrCountFiltered1(ps, 1);
			state->asked_number = 0;
			continue;
		}
		state->emitted++;
		if (ps->ps_ProjInfo != NULL)
			return ExecProject(ps->ps_ProjInfo);
		return econtext->ecxt_scantuple;
	}
	return NULL;
}

static ChatglmBatchStat *
begin_node_stat(BatchState *state)
{
	return chatglm_batch_stat_begin(chatglm_batch_functions(state),
									(int64) outerPlan(state->css.ss.ps.plan)->plan_rows);
}

/* Which row is it that an error is about? */
static void
add_context(void *arg)
{
	const BatchState *state = arg;

	if (state->asked_number == 0)
		return;
	if (state->asked_id == 0)
		errcontext("GlmBatch, row " INT64_FORMAT, state->asked_number);
	else
		errcontext("GlmBatch, row " INT64_FORMAT ", request " UINT64_FORMAT, state->asked_number,
				   state->asked_id);
}

static TupleTableSlot *
batch_exec(CustomScanState *node)
{
	BatchState			*state = (BatchState *) node;
	ErrorContextCallback callback = {error_context_stack, add_context, state};
	TupleTableSlot		*slot;

	chatglm_run_enter(state);
	if (state->stat == NULL)
		state->stat = begin_node_stat(state);
	error_context_stack = &callback;
	slot = next_row(state);
	error_context_stack = callback.previous;
	state->asked_number = 0;
	return slot != NULL ? slot : ExecClearTuple(node->ss.ss_ScanTupleSlot);
}

static void
batch_end(CustomScanState *node)
{
	chatglm_ring_clear((BatchState *) node);
	chatglm_batch_stat_end(((BatchState *) node)->stat);
	((BatchState *) node)->stat = NULL;
	ExecEndNode(outerPlanState(node));
}

static void
batch_rescan(CustomScanState *node)
{
	BatchState *state = (BatchState *) node;

	chatglm_ring_clear(state);
	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	state->n_read = 0;
	state->child_ended = false;
	state->emitted = 0;
	state->emitted_before = 0;
	state->bound = -1;
	chatglm_hand_on_bound(state); /* before the rescan of a Sort that minds it */
	if (outerPlanState(node)->chgParam == NULL)
		ExecReScan(outerPlanState(node));
}
