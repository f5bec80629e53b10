/*
 * batch_set.c - UPDATE ... SET (a, b) = (SELECT ... FROM glm_try_generate(body)).
 *
 * Such a sub-select is a junk entry of the target list, and its columns are
 * parameters that other entries refer to.  Where it is a plan of one row
 * (batch_inner.c), what it asks goes into GlmBatch nodes, and the parameters become
 * the expressions over the calls that they stand for.
 */
#include "chatglm.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"

#include "batch_plan.h"
#include "batch_same.h"

static Meanings
meanings_of_subplan(SubPlan *subplan)
{
	Meanings  meanings = {0};
	ListCell *param;
	ListCell *arg;

	forboth(param, subplan->parParam, arg, subplan->args)
		chatglm_add_meaning(&meanings, lfirst_int(param), lfirst(arg));
	return meanings;
}

/* The sub-selects among the entries whose columns are parameters. */
static List *
multiexprs_of(const List *targetlist)
{
	List	 *found = NIL;
	ListCell *cell;

	foreach(cell, targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (IsA(entry->expr, SubPlan) &&
			((SubPlan *) entry->expr)->subLinkType == MULTIEXPR_SUBLINK)
			found = lappend(found, entry->expr);
	}
	return found;
}

bool
chatglm_can_inline_multiexprs(const Rewrite *rewrite, Plan *plan)
{
	List	 *found = multiexprs_of(plan->targetlist);
	ListCell *cell;

	foreach(cell, found)
	{
		SubPlan *subplan = lfirst_node(SubPlan, cell);
		Plan	*inner = list_nth(rewrite->subplans, subplan->plan_id - 1);
		Meanings meanings = meanings_of_subplan(subplan);
		List	*asked;

		if (!chatglm_begin_inner(inner, &meanings, &asked) || subplan->useHashTable ||
			!chatglm_can_be_given(inner, &meanings, asked, false))
			return false;
	}
	return found != NIL;
}

/* Asks for what one sub-select asks; its parameters get their meanings. */
static Plan *
inline_multiexpr(Rewrite *rewrite, Plan *top, SubPlan *subplan, Meanings *outputs)
{
	Plan	 *inner = list_nth(rewrite->subplans, subplan->plan_id - 1);
	Meanings  meanings = meanings_of_subplan(subplan);
	List	 *asked;
	List	 *targets = NIL;
	List	 *quals = NIL;
	ListCell *param;
	ListCell *target;

	(void) chatglm_begin_inner(inner, &meanings, &asked);
	chatglm_mark_in_plan(asked);
	top = chatglm_stack_calls(rewrite, top, &asked, NULL);
	(void) chatglm_given_by(inner, asked, &meanings, &targets, &quals);
	forboth(param, subplan->setParam, target, targets)
		chatglm_add_meaning(outputs, lfirst_int(param), lfirst(target));
	return top;
}

Plan *
chatglm_inline_multiexprs(Rewrite *rewrite, Plan *top, List **targetlist)
{
	List	 *found = multiexprs_of(*targetlist);
	Meanings  outputs = {0};
	ListCell *cell;

	foreach(cell, found)
		top = inline_multiexpr(rewrite, top, lfirst(cell), &outputs);
	foreach(cell, *targetlist)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		/* junk that nobody reads, but whose place counts */
		if (list_member_ptr(found, entry->expr))
			entry->expr = (Expr *) makeNullConst(exprType((Node *) entry->expr), -1, InvalidOid);
	}
	*targetlist = (List *) chatglm_put_meanings((Node *) *targetlist, &outputs);
	return top;
}
