/*
 * stream.c - glm_stream and glm_chat_stream: a row for every token, as it is
 * made.
 *
 * In the select list the functions return a value per call.  PostgreSQL keeps
 * rows back until 8 kB of them are together, so each call after the first
 * begins by pushing the row before it to the client.
 *
 * In FROM that does not help: a FunctionScan collects all rows of a function
 * before it shows the first one.  So a planner hook replaces it by a custom scan,
 * GlmStream, wherever the function stands alone in its FROM and the query does
 * nothing with it that a FunctionScan alone can do; elsewhere the FunctionScan
 * stays, which is right but does not stream.  The scan keeps no rows.  A query
 * below another may be asked for them twice, so there PostgreSQL's own Material
 * goes on top: it keeps what went through it, and passes rows on one by one.
 *
 * Who ends the request:
 *
 *	- the end of the stream: chatglm_stream_next();
 *	- LIMIT, CLOSE, the end of a portal: EndCustomScan, or in the select list
 *	  the shutdown callback of the expression context;
 *	- an aborted transaction or subtransaction: the callbacks of client_request.c; the
 *	  executor's are not called then;
 *	- never ShutdownCustomScan: the executor calls it after every FETCH.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "args.h"
#include "ask.h"
#include "chat.h"
#include "client.h"
#include "function.h"
#include "model_explain.h"
#include "stream.h"

PG_FUNCTION_INFO_V1(chatglm_stream);
PG_FUNCTION_INFO_V1(chatglm_chat_stream);

/* The custom scan's state. */
typedef struct StreamScanState
{
	CustomScanState		   css;
	Oid					   oid;
	const ChatglmFunction *function;
	List				  *arguments; /* ExprState */
	bool				   begun;
	ChatglmStream		   stream;
	int64				   tokens; /* over all rescans, for EXPLAIN, as are the next */
	int64				   accepted;
	List				  *models; /* those that a route has led to, see model_explain.h */
} StreamScanState;

static void	 stream_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte);
static Plan *stream_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
						 List *clauses, List *custom_plans);
static Node *stream_create_state(CustomScan *scan);
static void	 stream_begin_scan(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *stream_exec_scan(CustomScanState *node);
static void			   stream_end_scan(CustomScanState *node);
static void			   stream_rescan(CustomScanState *node);
static void			   stream_explain(CustomScanState *node, List *ancestors, ExplainState *es);

static set_rel_pathlist_hook_type prev_set_rel_pathlist_hook;

static const CustomPathMethods path_methods = {.CustomName = "GlmStream",
											   .PlanCustomPath = stream_plan};
static const CustomScanMethods scan_methods = {.CustomName = "GlmStream",
											   .CreateCustomScanState = stream_create_state};
static const CustomExecMethods exec_methods = {.CustomName = "GlmStream",
											   .BeginCustomScan = stream_begin_scan,
											   .ExecCustomScan = stream_exec_scan,
											   .EndCustomScan = stream_end_scan,
											   .ReScanCustomScan = stream_rescan,
											   .ExplainCustomScan = stream_explain};

void
chatglm_stream_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
	prev_set_rel_pathlist_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = stream_pathlist;
}

/* ---- In the select list ------------------------------------------------------- */

static void
stream_shutdown(Datum arg)
{
	chatglm_stream_end((ChatglmStream *) DatumGetPointer(arg));
}

static ExprContext *
call_context(FunctionCallInfo fcinfo)
{
	return ((ReturnSetInfo *) fcinfo->resultinfo)->econtext;
}

static void
stream_first_call(FunctionCallInfo fcinfo, const ChatglmFunction *function)
{
	FuncCallContext *context = SRF_FIRSTCALL_INIT();
	MemoryContext	 old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
	ChatglmStream	*stream = palloc0(sizeof(*stream));
	TupleDesc		 desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	context->tuple_desc = BlessTupleDesc(desc);
	context->user_fctx = stream;
	MemoryContextSwitchTo(old);

	/* after SRF_FIRSTCALL_INIT's own, so that ours is called before it */
	RegisterExprContextCallback(call_context(fcinfo), stream_shutdown, PointerGetDatum(stream));
	chatglm_stream_begin(stream, function, fcinfo->args, context->multi_call_memory_ctx);
}

static Datum
stream_per_call(FunctionCallInfo fcinfo, const ChatglmFunction *function)
{
	FuncCallContext *context;
	ChatglmStream	*stream;
	Datum			 values[CHATGLM_STREAM_COLUMNS];
	bool			 nulls[CHATGLM_STREAM_COLUMNS];

	if (SRF_IS_FIRSTCALL())
		stream_first_call(fcinfo, function);
	context = SRF_PERCALL_SETUP();
	stream = context->user_fctx;
	if (chatglm_stream_next(stream, values, nulls))
	{
		HeapTuple row = heap_form_tuple(context->tuple_desc, values, nulls);

		SRF_RETURN_NEXT(context, HeapTupleGetDatum(row));
	}
	UnregisterExprContextCallback(call_context(fcinfo), stream_shutdown, PointerGetDatum(stream));
	SRF_RETURN_DONE(context);
}

const ChatglmFunction chatglm_stream_function = {.symbol = "chatglm_stream",
												 .address = chatglm_stream,
												 .n_args = 1 + CHATGLM_N_TAIL,
												 .model = 1,
												 .streams = true,
												 .tells_logprobs = true,
												 .read = chatglm_read_prompt};

/* glm_stream(prompt text, ...G) returns table(seq, token, token_id, logprob, finish_reason,
 * top_logprobs) */
Datum
chatglm_stream(PG_FUNCTION_ARGS)
{
	return stream_per_call(fcinfo, &chatglm_stream_function);
}

const ChatglmFunction chatglm_chat_stream_function = {.symbol = "chatglm_chat_stream",
													  .address = chatglm_chat_stream,
													  .n_args = 3 + CHATGLM_N_TAIL,
													  .model = 3,
													  .streams = true,
													  .tells_logprobs = true,
													  .read = chatglm_read_chat};

/* glm_chat_stream(messages jsonb, tools json, tool_choice jsonb, ...G) returns the same table */
Datum
chatglm_chat_stream(PG_FUNCTION_ARGS)
{
	return stream_per_call(fcinfo, &chatglm_chat_stream_function);
}

/* ---- In FROM: planning ------------------------------------------------------ */

/* The call of a stream function that is all of this FROM item, else NULL. */
static FuncExpr *
stream_call(RangeTblEntry *rte)
{
	RangeTblFunction	  *item;
	FuncExpr			  *call;
	const ChatglmFunction *function;

	if (rte->rtekind != RTE_FUNCTION || rte->funcordinality || list_length(rte->functions) != 1)
		return NULL;
	item = linitial(rte->functions);
	if (!IsA(item->funcexpr, FuncExpr) || item->funccolnames != NIL)
		return NULL;
	call = (FuncExpr *) item->funcexpr;
	function = call->funcretset ? chatglm_stream_by_oid(call->funcid) : NULL;
	return function != NULL && list_length(call->args) == function->n_args ? call : NULL;
}

/* Does anything ask for the row as a whole?  The scan has only its columns. */
static bool
wants_whole_row(RelOptInfo *rel)
{
	Bitmapset *columns = NULL;
	ListCell  *cell;

	pull_varattnos((Node *) rel->reltarget->exprs, rel->relid, &columns);
	foreach(cell, rel->baserestrictinfo)
		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, rel->relid, &columns);
	return bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, columns);
}

static void
stream_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	CustomPath *path;
	Path	   *replaced;

	if (prev_set_rel_pathlist_hook != NULL)
		prev_set_rel_pathlist_hook(root, rel, rti, rte);

	if (root->parse->commandType != CMD_SELECT || root->rowMarks != NIL ||
		!bms_equal(root->all_baserels, rel->relids) || !bms_is_empty(rel->lateral_relids) ||
		rel->pathlist == NIL || stream_call(rte) == NULL || wants_whole_row(rel))
		return;

	replaced = linitial(rel->pathlist);
	path = makeNode(CustomPath);
	path->path.pathtype = T_CustomScan;
	path->path.parent = rel;
	path->path.pathtarget = rel->reltarget;
	path->path.rows = replaced->rows;
	path->path.startup_cost = 0; /* a LIMIT is worth its while */
	path->path.total_cost = replaced->total_cost;
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->methods = &path_methods;

	rel->pathlist = NIL;
	if (root->parent_root == NULL)
		add_path(rel, (Path *) path);
	else
		add_path(rel, (Path *) create_material_path(rel, (Path *) path));
}

/*
 * The whole call goes into custom_exprs, not just its arguments: so the plan
 * depends on the function and is made anew when that changes.
 */
static Plan *
stream_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist, List *clauses,
			List *custom_plans)
{
	FuncExpr   *call = stream_call(planner_rt_fetch(rel->relid, root));
	CustomScan *scan = makeNode(CustomScan);
	TupleDesc	desc;

	if (get_expr_result_type((Node *) call, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Var				 *column =
			makeVar(rel->relid, i + 1, att->atttypid, att->atttypmod, att->attcollation, 0);

		scan->custom_scan_tlist =
			lappend(scan->custom_scan_tlist,
					makeTargetEntry((Expr *) column, i + 1, pstrdup(NameStr(att->attname)), false));
	}
	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);
	scan->scan.scanrelid = 0;
	scan->flags = path->flags;
	scan->custom_exprs = list_make1(copyObject(call));
	scan->methods = &scan_methods;
	return (Plan *) scan;
}

/* ---- In FROM: execution ------------------------------------------------------- */

static Node *
stream_create_state(CustomScan *scan)
{
	StreamScanState *state =
		(StreamScanState *) newNode(sizeof(StreamScanState), T_CustomScanState);

	state->css.methods = &exec_methods;
	return (Node *) state;
}

static void
stream_begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	StreamScanState *state = (StreamScanState *) node;
	CustomScan		*scan = (CustomScan *) node->ss.ps.plan;
	FuncExpr		*call = linitial_node(FuncExpr, scan->custom_exprs);
	AclResult		 allowed = chatglm_function_aclcheck(call->funcid, GetUserId());

	/* a FunctionScan would have asked here, too */
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, get_func_name(call->funcid));
	InvokeFunctionExecuteHook(call->funcid);

	state->oid = call->funcid;
	state->function = chatglm_stream_by_oid(call->funcid);
	if (state->function == NULL)
		elog(ERROR, "function %u is not a stream function of chatglm", call->funcid);
	state->arguments = ExecInitExprList(call->args, &node->ss.ps);
}

static void
evaluate_and_begin(StreamScanState *state, ExprContext *econtext)
{
	NullableDatum args[CHATGLM_MAX_ARGS];
	ListCell	 *cell;
	int			  n = 0;

	foreach(cell, state->arguments)
	{
		args[n].value = ExecEvalExpr((ExprState *) lfirst(cell), econtext, &args[n].isnull);
		n++;
	}
	state->begun = true;
	chatglm_stream_begin(&state->stream, state->function, args,
						 state->css.ss.ps.state->es_query_cxt);
	if (state->stream.routed)
		chatglm_count_model(&state->models, state->css.ss.ps.state->es_query_cxt,
							chatglm_request_model(state->stream.request));
}

static TupleTableSlot *
stream_access(ScanState *node)
{
	StreamScanState *state = (StreamScanState *) node;
	ExprContext		*econtext = node->ps.ps_ExprContext;
	TupleTableSlot	*slot = node->ss_ScanTupleSlot;
	MemoryContext	 old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	bool			 found;

	if (!state->begun)
		evaluate_and_begin(state, econtext);
	ExecClearTuple(slot);
	found = chatglm_stream_next(&state->stream, slot->tts_values, slot->tts_isnull);
	MemoryContextSwitchTo(old);
	if (!found)
	{
		state->accepted += state->stream.accepted;
		state->stream.accepted = 0;
		return slot;
	}
	state->tokens++;
	return ExecStoreVirtualTuple(slot);
}

/* A row has nothing in it that could have changed since. */
static bool
stream_recheck(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

static TupleTableSlot *
stream_exec_scan(CustomScanState *node)
{
	return ExecScan(&node->ss, stream_access, stream_recheck);
}

static void
stream_end_scan(CustomScanState *node)
{
	chatglm_stream_end(&((StreamScanState *) node)->stream);
}

static void
stream_rescan(CustomScanState *node)
{
	StreamScanState *state = (StreamScanState *) node;

	ExecScanReScan(&node->ss);
	chatglm_stream_end(&state->stream);
	state->begun = false;
}

static void
stream_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	StreamScanState	 *state = (StreamScanState *) node;
	const CustomScan *scan = (const CustomScan *) node->ss.ps.plan;
	const char		 *model = chatglm_model_of_call(state->function, linitial(scan->custom_exprs));

	ExplainPropertyText("Function", get_func_name(state->oid), es);
	if (model != NULL)
		chatglm_explain_model(model, es);
	if (!es->analyze)
		return;
	ExplainPropertyInteger("Tokens", NULL, state->tokens, es);
	ExplainPropertyInteger("Accepted Tokens", NULL, state->accepted, es);
	chatglm_explain_models(state->models, es);
}
