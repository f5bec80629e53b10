/*
 * batch_walk.c - a finished plan as a tree: the children of a node, and the
 * expressions that it evaluates.
 *
 * PostgreSQL has such walkers for expressions, queries and the executor's
 * states, but none for plans.
 */
#include "chatglm.h"

#include "nodes/nodeFuncs.h"

#include "batch_plan.h"

List *
chatglm_plan_children(Plan *plan)
{
	List *children = NIL;

	if (plan->lefttree != NULL)
		children = lappend(children, plan->lefttree);
	if (plan->righttree != NULL)
		children = lappend(children, plan->righttree);
	switch (nodeTag(plan))
	{
		case T_Append:
			return list_concat(children, ((Append *) plan)->appendplans);
		case T_MergeAppend:
			return list_concat(children, ((MergeAppend *) plan)->mergeplans);
		case T_BitmapAnd:
			return list_concat(children, ((BitmapAnd *) plan)->bitmapplans);
		case T_BitmapOr:
			return list_concat(children, ((BitmapOr *) plan)->bitmapplans);
		case T_CustomScan:
			return list_concat(children, ((CustomScan *) plan)->custom_plans);
		case T_SubqueryScan:
			return lappend(children, ((SubqueryScan *) plan)->subplan);
		case T_ModifyTable:
			return list_concat(children, chatglm_modify_plans((ModifyTable *) plan));
		default:
			return children;
	}
}

/* What nodes have besides target list and quals, as one List of Lists and nodes. */
static List *
scan_expressions(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_SampleScan:
			return list_make1(((SampleScan *) plan)->tablesample);
		case T_IndexScan:
			return list_make2(((IndexScan *) plan)->indexqual, ((IndexScan *) plan)->indexorderby);
		case T_IndexOnlyScan:
			return list_make2(((IndexOnlyScan *) plan)->indexqual,
							  ((IndexOnlyScan *) plan)->indexorderby);
		case T_BitmapIndexScan:
			return list_make1(((BitmapIndexScan *) plan)->indexqual);
		case T_BitmapHeapScan:
			return list_make1(((BitmapHeapScan *) plan)->bitmapqualorig);
		case T_TidScan:
			return list_make1(((TidScan *) plan)->tidquals);
		case T_FunctionScan:
			return list_make1(((FunctionScan *) plan)->functions);
		case T_ValuesScan:
			return list_make1(((ValuesScan *) plan)->values_lists);
		case T_TableFuncScan:
			return list_make1(((TableFuncScan *) plan)->tablefunc);
		case T_ForeignScan:
			return list_make1(((ForeignScan *) plan)->fdw_exprs);
		case T_CustomScan:
			return list_make1(((CustomScan *) plan)->custom_exprs);
		default:
			return chatglm_is_tid_range_scan(plan) ? list_make1(chatglm_tid_range_quals(plan))
												   : NIL;
	}
}

static List *
other_expressions(Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_NestLoop:
			return list_make1(((Join *) plan)->joinqual);
		case T_MergeJoin:
			return list_make2(((Join *) plan)->joinqual, ((MergeJoin *) plan)->mergeclauses);
		case T_HashJoin:
			return list_make2(((Join *) plan)->joinqual, ((HashJoin *) plan)->hashclauses);
		case T_Result:
			return list_make1(((Result *) plan)->resconstantqual);
		case T_Limit:
			return list_make2(((Limit *) plan)->limitCount, ((Limit *) plan)->limitOffset);
		case T_WindowAgg:
			return list_make3(((WindowAgg *) plan)->startOffset, ((WindowAgg *) plan)->endOffset,
							  chatglm_run_condition((WindowAgg *) plan));
		case T_ModifyTable:
			return list_make5(((ModifyTable *) plan)->returningLists,
							  ((ModifyTable *) plan)->withCheckOptionLists,
							  ((ModifyTable *) plan)->onConflictSet,
							  ((ModifyTable *) plan)->onConflictWhere,
							  chatglm_merge_actions((ModifyTable *) plan));
		default:
			return scan_expressions(plan);
	}
}

bool
chatglm_walk_expressions(Plan *plan, bool (*walker)(Node *node, void *context), void *context)
{
	ListCell *cell;

	if (walker((Node *) plan->targetlist, context) || walker((Node *) plan->qual, context))
		return true;
	foreach(cell, other_expressions(plan))
	{
		if (walker(lfirst(cell), context))
			return true;
	}
	return false;
}

bool
chatglm_hides_tables(const Plan *plan)
{
	switch (nodeTag(plan))
	{
		case T_Append:
		case T_MergeAppend:
			return true;
		case T_Result:
		case T_Limit:
		case T_CustomScan:
			return plan->lefttree != NULL && chatglm_hides_tables(plan->lefttree);
		case T_SubqueryScan:
			return chatglm_hides_tables(((const SubqueryScan *) plan)->subplan);
		default:
			return false;
	}
}
