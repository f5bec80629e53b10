/*
 * batch_node.c - GlmBatch nodes on top of a plan node, or below an Agg.
 *
 * A node on top takes over the target list.  The plan node underneath then gives
 * only what it makes itself, so that nothing else in the target list is computed
 * for a row that a WHERE clause above it still rejects.  Parents refer to target
 * lists by position; the topmost node has the old one, junk entries included.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "batch.h"
#include "batch_plan.h"
#include "batch_same.h"

/* ---- On top of a node -------------------------------------------------------------- */

static bool
count_calls(Node *node, void *context)
{
	if (node == NULL)
		return false;
	*(int *) context += IsA(node, FuncExpr) && chatglm_has_call(node, NULL);
	return expression_tree_walker(node, count_calls, context);
}

/*
 * Are there calls in a SELECT without FROM to be made side by side?  One column is
 * left alone: PL/pgSQL takes such plans for simple expressions, and expects a Result.
 */
static bool
has_several_calls(List *targetlist)
{
	int n = 0;

	if (list_length(targetlist) < 2 || !chatglm_has_call((Node *) targetlist, NULL))
		return false;
	(void) count_calls((Node *) targetlist, &n);
	return n > 1;
}

/*
 * Nodes that evaluate target list and quals for each row, and to which nothing
 * but their parent's use of it says what their target list has to be.  (A
 * WindowAgg's run condition refers to its own target list.)
 */
static bool
can_be_batched(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Result:
			return plan->lefttree != NULL || has_several_calls(plan->targetlist);
		case T_ForeignScan:
			return ((ForeignScan *) plan)->operation == CMD_SELECT;
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_SubqueryScan:
		case T_FunctionScan:
		case T_ValuesScan:
		case T_TableFuncScan:
		case T_CteScan:
		case T_NamedTuplestoreScan:
		case T_WorkTableScan:
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
		case T_Agg:
		case T_Gather:
		case T_GatherMerge:
			return true;
		case T_WindowAgg:
			return chatglm_run_condition((WindowAgg *) plan) == NIL;
		default:
			return chatglm_is_tid_range_scan(plan);
	}
}

/* The clauses of a join, but for those that its method looks matches up by. */
static List *
joined_by(Plan *plan)
{
	if (IsA(plan, NestLoop) || IsA(plan, MergeJoin) || IsA(plan, HashJoin))
		return ((Join *) plan)->joinqual;
	return NIL;
}

/* Could the planner have taken this clause for a proof that a row has one match at most? */
static bool
may_prove_unique(Node *clause)
{
	Oid type;

	if (!IsA(clause, OpExpr) || list_length(((OpExpr *) clause)->args) != 2 ||
		contain_volatile_functions(clause))
		return false;
	type = exprType(linitial(((OpExpr *) clause)->args));
	return op_mergejoinable(((OpExpr *) clause)->opno, type) ||
		   op_hashjoinable(((OpExpr *) clause)->opno, type);
}

/*
 * What an inner join joins by may be asked afterwards as well as anything else.
 * But a join whose inner side is unique goes on after the first match, so the
 * clauses that make it the only one must stay: there only those with calls
 * are taken, from between the others.
 */
static List *
cut_joinqual(Join *join)
{
	List	 *kept = NIL;
	List	 *cut = NIL;
	ListCell *cell;

	if (!join->inner_unique)
		return chatglm_cut_before_call(&join->joinqual);
	foreach(cell, join->joinqual)
	{
		if (chatglm_has_call(lfirst(cell), NULL) && !may_prove_unique(lfirst(cell)))
			cut = lappend(cut, lfirst(cell));
		else
			kept = lappend(kept, lfirst(cell));
	}
	join->joinqual = kept;
	return cut;
}

/* Takes the clauses from the first one with a call on out of a node. */
static List *
cut_quals(Plan *plan)
{
	List *cut = NIL;

	if (joined_by(plan) != NIL && ((Join *) plan)->jointype == JOIN_INNER)
		cut = cut_joinqual((Join *) plan);
	if (cut == NIL)
		return chatglm_cut_before_call(&plan->qual);
	cut = list_concat(cut, plan->qual);
	plan->qual = NIL;
	return cut;
}

/* Has the node more columns of its own than a tuple can have? */
static bool
is_too_wide(Plan *plan)
{
	List *columns = NIL;

	if (list_length(plan->targetlist) + list_length(plan->qual) < MaxTupleAttributeNumber / 2)
		return false;
	(void) chatglm_to_columns((Node *) plan->targetlist, &columns);
	(void) chatglm_to_columns((Node *) plan->qual, &columns);
	return !chatglm_fits_tuple(columns, 0);
}

/*
 * What the node itself makes; quals and target list become expressions on top of
 * that.
 */
static List *
columns_of(Plan *plan, List **quals, List **list)
{
	List	 *columns = NIL;
	List	 *entries = NIL;
	int		  attno = 0;
	ListCell *cell;

	*quals = (List *) chatglm_to_columns((Node *) *quals, &columns);
	*list = (List *) chatglm_to_columns((Node *) plan->targetlist, &columns);
	foreach(cell, columns)
		entries = lappend(entries, makeTargetEntry(lfirst(cell), ++attno, NULL, false));
	return entries;
}

/* Tells the lowest node of a stack on top of the plan what is carried up to it. */
static void
set_carried(Plan *top, Plan *plan, List *carried)
{
	while (top != plan && top->lefttree != plan)
		top = top->lefttree;
	if (top != plan)
		lfirst(list_nth_cell(((CustomScan *) top)->custom_private, CHATGLM_BATCH_CARRIED)) =
			carried;
}

Plan *
chatglm_batch_node(Rewrite *rewrite, Plan *plan, Demand demand)
{
	Plan *top;
	List *columns;
	List *list;
	List *quals;
	List *carried = NIL;
	bool  inlining;

	if (!can_be_batched(plan) || is_too_wide(plan) ||
		(rewrite->positioned && chatglm_hides_tables(plan)))
		return plan;
	chatglm_mark_in_plan(list_make3(plan->targetlist, plan->qual, joined_by(plan)));
	inlining = chatglm_can_inline_multiexprs(rewrite, plan);
	if (!inlining && chatglm_has_multiexpr((Node *) plan->targetlist, NULL))
		return plan;
	quals = cut_quals(plan);
	if (!inlining && !chatglm_has_call((Node *) plan->targetlist, NULL) && quals == NIL)
		return plan;

	columns = columns_of(plan, &quals, &list);
	plan->targetlist = columns;
	chatglm_forbid_async(plan); /* only an Append right above could serve it */

	rewrite->marked = NIL;
	if (IsA(plan, Result) && plan->lefttree != NULL)
		carried = chatglm_carry_calls(rewrite, plan->lefttree, &plan->targetlist, list);
	top = chatglm_stack_quals(rewrite, plan, quals);
	if (inlining)
		top = chatglm_inline_multiexprs(rewrite, top, &list);
	top = chatglm_finish_stack(rewrite, top, NIL, list, demand);
	set_carried(top, plan, carried);
	return top;
}

/* ---- Below an aggregate --------------------------------------------------------------- */

/*
 * The arguments are over the child's columns as OUTER_VAR.  Grouping sets read
 * their input several times, in orders of their own: they are left alone.
 */
void
chatglm_batch_aggregates(Rewrite *rewrite, Agg *agg, Demand demand)
{
	Plan *plan = &agg->plan;
	Plan *child = plan->lefttree;
	List *carried = NIL;

	if (agg->chain != NIL)
		return;
	rewrite->marked = NIL;
	chatglm_mark_in_plan(list_make2(plan->targetlist, plan->qual));
	if (chatglm_has_aggregated_call((Node *) plan->targetlist, NULL) ||
		chatglm_has_aggregated_call((Node *) plan->qual, NULL))
		carried = chatglm_carry_calls(rewrite, plan->lefttree, NULL,
									  list_make2(plan->targetlist, plan->qual));
	while (chatglm_fits_tuple(plan->lefttree->targetlist, 0) &&
		   (chatglm_has_aggregated_call((Node *) plan->targetlist, NULL) ||
			chatglm_has_aggregated_call((Node *) plan->qual, NULL)))
	{
		Calls		calls = {NIL, list_length(plan->lefttree->targetlist), OUTER_VAR, NULL,
							 &rewrite->marked};
		CustomScan *scan;

		plan->targetlist =
			(List *) chatglm_take_aggregated_calls((Node *) plan->targetlist, &calls);
		plan->qual = (List *) chatglm_take_aggregated_calls((Node *) plan->qual, &calls);
		if (calls.list == NIL)
			continue;
		calls.list = (List *) chatglm_renumber((Node *) calls.list, OUTER_VAR, INDEX_VAR);
		scan = chatglm_make_batch(rewrite, plan->lefttree, calls.list);
		chatglm_set_demand(scan, list_length(calls.list), demand);
		plan->lefttree = &scan->scan.plan;
	}
	set_carried(plan->lefttree, child, carried);
}
