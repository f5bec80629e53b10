/*
 * batch_stack.c - makes GlmBatch nodes and stacks them on top of a plan node.
 *
 * Each makes the calls whose arguments are there already, so a call in the arguments of
 * another goes one node lower.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"

#include "batch.h"
#include "batch_plan.h"

bool
chatglm_fits_tuple(const List *columns, int more)
{
	return list_length(columns) + more <= MaxTupleAttributeNumber;
}

bool
chatglm_passes_all(const CustomScan *scan)
{
	ListCell *cell;

	if (list_length(scan->scan.plan.targetlist) != list_length(scan->custom_scan_tlist))
		return false;
	foreach(cell, scan->scan.plan.targetlist)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!IsA(entry->expr, Var) || ((Var *) entry->expr)->varattno != entry->resno)
			return false;
	}
	return true;
}

List *
chatglm_cut_before_call(List **clauses)
{
	List	 *before = NIL;
	List	 *after = NIL;
	ListCell *cell;

	foreach(cell, *clauses)
	{
		if (after == NIL && !chatglm_has_call(lfirst(cell), NULL))
			before = lappend(before, lfirst(cell));
		else
			after = lappend(after, lfirst(cell));
	}
	*clauses = before;
	return after;
}

/* ---- One node -------------------------------------------------------------------- */

static TargetEntry *
column_entry(int varno, int attno, TargetEntry *of, char *name)
{
	Node *expr = (Node *) of->expr;
	Var	 *var = makeVar(varno, attno, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);

	return makeTargetEntry((Expr *) var, attno, name, false);
}

static List *
limits_as_exprs(List *limits)
{
	List	 *exprs = NIL;
	ListCell *cell;

	foreach(cell, limits)
	{
		Limit *limit = lfirst(cell);
		Node  *none = (Node *) makeNullConst(INT8OID, -1, InvalidOid);

		exprs = lappend(exprs, copyObject(limit->limitCount ? limit->limitCount : none));
		exprs = lappend(exprs, copyObject(limit->limitOffset ? limit->limitOffset : none));
	}
	return exprs;
}

/* Are calls on top of this made for one row only, as in a SELECT without FROM? */
static bool
stands_alone(Plan *child)
{
	while (IsA(child, CustomScan) && ((CustomScan *) child)->methods == &chatglm_batch_scan_methods)
		child = child->lefttree;
	return IsA(child, Result) && child->lefttree == NULL;
}

void
chatglm_set_demand(CustomScan *scan, int n_calls, Demand demand)
{
	List *lists = list_copy_tail(scan->custom_private, CHATGLM_BATCH_PRINTS);

	if (chatglm_plan_runs_others(scan->scan.plan.lefttree))
		demand = chatglm_demand_one;
	scan->custom_exprs =
		list_concat(list_truncate(scan->custom_exprs, n_calls), limits_as_exprs(demand.limits));
	scan->custom_private =
		list_make5(makeInteger(n_calls), makeInteger(demand.kind), makeInteger(demand.group),
				   makeInteger(demand.run), makeInteger(demand.exact));
	scan->custom_private = lappend(scan->custom_private, makeInteger(demand.careful));
	scan->custom_private =
		lappend(scan->custom_private, makeInteger(stands_alone(scan->scan.plan.lefttree)));
	scan->custom_private =
		list_concat(scan->custom_private, lists != NIL ? lists : list_make2(NIL, NIL));
}

CustomScan *
chatglm_make_batch(Rewrite *rewrite, Plan *child, List *calls)
{
	CustomScan *scan = makeNode(CustomScan);
	Plan	   *plan = &scan->scan.plan;
	int			attno = 0;
	ListCell   *cell;

	plan->startup_cost = child->startup_cost;
	plan->total_cost = child->total_cost;
	plan->plan_rows = child->plan_rows;
	plan->plan_width = child->plan_width;
	plan->plan_node_id = rewrite->next_id++;
	plan->extParam = bms_copy(child->extParam);
	plan->allParam = bms_copy(child->allParam);
	plan->lefttree = child;
	scan->flags = ExecSupportsBackwardScan(child) ? CUSTOMPATH_SUPPORT_BACKWARD_SCAN : 0;
	scan->methods = &chatglm_batch_scan_methods;

	foreach(cell, child->targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		attno++;
		scan->custom_scan_tlist =
			lappend(scan->custom_scan_tlist, column_entry(OUTER_VAR, attno, entry, entry->resname));
	}
	foreach(cell, calls)
	{
		/* as EXPLAIN shows it */
		Node *call = chatglm_renumber(lfirst(cell), INDEX_VAR, OUTER_VAR);

		scan->custom_scan_tlist =
			lappend(scan->custom_scan_tlist, makeTargetEntry((Expr *) call, ++attno, NULL, false));
	}
	attno = 0;
	foreach(cell, scan->custom_scan_tlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		attno++;
		plan->targetlist =
			lappend(plan->targetlist, column_entry(INDEX_VAR, attno, entry, entry->resname));
	}
	scan->custom_exprs = calls;
	chatglm_set_demand(scan, list_length(calls), chatglm_demand_all);
	rewrite->n_nodes++;
	return scan;
}

/* ---- Several ------------------------------------------------------------------- */

Plan *
chatglm_stack_calls(Rewrite *rewrite, Plan *child, List **exprs, Node *condition)
{
	for (;;)
	{
		Calls calls = {NIL, list_length(child->targetlist), INDEX_VAR, condition, &rewrite->marked};

		*exprs = (List *) chatglm_use_made((Node *) *exprs, &calls);
		if (!chatglm_has_call((Node *) *exprs, NULL) || !chatglm_fits_tuple(child->targetlist, 0))
			return child;
		*exprs = (List *) chatglm_take_calls((Node *) *exprs, &calls);
		child = &chatglm_make_batch(rewrite, child, calls.list)->scan.plan;
	}
}

Plan *
chatglm_stack_quals(Rewrite *rewrite, Plan *child, List *clauses)
{
	while (clauses != NIL)
	{
		List *first = list_make1(linitial(clauses));
		List *rest = list_delete_first(list_copy(clauses));

		clauses = chatglm_cut_before_call(&rest);
		child = chatglm_stack_calls(rewrite, child, &first, NULL);
		child->qual = list_concat(child->qual, list_concat(first, rest));
		child->plan_rows = clamp_row_est(child->plan_rows * 0.5);
	}
	return child;
}

/* Undoes chatglm_to_columns().  Context: the target list of the columns. */
static Node *
from_columns(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && (int) ((Var *) node)->varno == INDEX_VAR)
		return copyObject(
			(Node *) list_nth_node(TargetEntry, (List *) context, ((Var *) node)->varattno - 1)
				->expr);
	return expression_tree_mutator(node, from_columns, context);
}

Plan *
chatglm_finish_stack(Rewrite *rewrite, Plan *top, List *quals, List *list, Demand demand)
{
	List	   *with_calls = chatglm_cut_before_call(&quals);
	CustomScan *scan;

	top->qual = list_concat(top->qual, quals);
	top = chatglm_stack_quals(rewrite, top, with_calls);
	top = chatglm_stack_calls(rewrite, top, &list, NULL);
	if (!IsA(top, CustomScan))
	{
		/* all calls are made further below (batch_carry.c) */
		top->qual = (List *) from_columns((Node *) top->qual, top->targetlist);
		top->targetlist = (List *) from_columns((Node *) list, top->targetlist);
		return top;
	}
	top->targetlist = list;
	scan = castNode(CustomScan, top);
	chatglm_set_demand(scan, intVal(list_nth(scan->custom_private, CHATGLM_BATCH_CALLS)), demand);
	return top;
}
