/*
 * batch_merge.c - calls in the actions of MERGE.
 *
 * A MERGE evaluates for each row of its source the first action of those for its
 * kind, matched or not, whose condition holds.  Where kind and conditions can be
 * told from the source's row, so can the calls that will be made, and GlmBatch
 * makes them below the ModifyTable.  That leaves out conditions and arguments that
 * look at the target's row, which is only fetched, and locked, when its turn comes.
 *
 * When the target's row was changed meanwhile, PostgreSQL joins it anew, through
 * GlmBatch, and starts again.  When it is gone by then, the source's row is one
 * without a match, for which nothing was asked ahead; its action asks itself.
 */
#include "chatglm.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

#include "batch_plan.h"
#include "batch_same.h"

#if CHATGLM_HAVE_MERGE

/* Is there a column of the target?  Those of the source are INNER_VAR. */
static bool
looks_at_target(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return (int) ((Var *) node)->varno != INNER_VAR;
	return expression_tree_walker(node, looks_at_target, context);
}

/* Do calls in it look at the target? */
static bool
calls_look_at_target(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && chatglm_has_call(node, NULL))
		return looks_at_target(node, NULL);
	return expression_tree_walker(node, calls_look_at_target, context);
}

/* Can this condition be told from the source's row, and told twice? */
static bool
can_be_told(Node *condition)
{
	return !looks_at_target(condition, NULL) && !contain_volatile_functions(condition) &&
		   !contain_subplans(condition);
}

/* The junk column of the subplan that says whether there is a match; NULL: none. */
static Var *
find_ctid(const Plan *subplan)
{
	ListCell *cell;

	foreach(cell, subplan->targetlist)
	{
		const TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk && entry->resname != NULL && strcmp(entry->resname, "ctid") == 0)
			return makeVar(INDEX_VAR, entry->resno, exprType((Node *) entry->expr), -1, InvalidOid,
						   0);
	}
	return NULL;
}

static Expr *
kind_is(const Var *ctid, bool matched)
{
	NullTest *test = makeNode(NullTest);

	test->arg = copyObject((Expr *) ctid);
	test->nulltesttype = matched ? IS_NOT_NULL : IS_NULL;
	test->location = -1;
	return (Expr *) test;
}

static Expr *
is_not_true(Expr *condition)
{
	BooleanTest *test = makeNode(BooleanTest);

	test->arg = condition;
	test->booltesttype = IS_NOT_TRUE;
	test->location = -1;
	return (Expr *) test;
}

/*
 * The condition on which this action is the one, over the subplan's columns; NULL
 * when that cannot be told.
 */
static Node *
when_taken(const List *actions, const MergeAction *action, const Var *ctid)
{
	List	 *all = list_make1(kind_is(ctid, chatglm_merge_matched(action)));
	ListCell *cell;

	foreach(cell, actions)
	{
		const MergeAction *other = lfirst_node(MergeAction, cell);
		List			  *clauses = (List *) other->qual;

		if (chatglm_merge_matched(other) != chatglm_merge_matched(action))
			continue;
		if (!can_be_told((Node *) clauses))
			return NULL;
		clauses = (List *) chatglm_renumber((Node *) clauses, INNER_VAR, INDEX_VAR);
		if (other == action)
		{
			all = list_concat(all, clauses);
			break;
		}
		all = lappend(all, is_not_true(make_ands_explicit(clauses)));
	}
	return (Node *) make_ands_explicit(all);
}

/*
 * What an action for rows without a match evaluates: calls made ahead, but calls of its
 * own for a row that had a match then.
 */
static List *
unless_lost(List *ahead, const List *own, const Var *ctid)
{
	ListCell *made;
	ListCell *cell;

	forboth(made, ahead, cell, own)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, made);
		Expr		*expr = lfirst_node(TargetEntry, cell)->expr;
		CaseExpr	*either = makeNode(CaseExpr);
		CaseWhen	*when = makeNode(CaseWhen);

		if (!chatglm_has_call((Node *) expr, NULL))
			continue;
		when->expr = kind_is(ctid, false);
		when->result = entry->expr;
		either->casetype = exprType((Node *) expr);
		either->casecollid = exprCollation((Node *) expr);
		either->args = list_make1(when);
		either->defresult = copyObject(expr);
		entry->expr = (Expr *) chatglm_renumber((Node *) either, INDEX_VAR, INNER_VAR);
	}
	return ahead;
}

/* The nodes give all columns of the subplan first, by their names; the rest is junk. */
static void
name_columns(Plan *top, const Plan *subplan)
{
	ListCell *cell;

	foreach(cell, top->targetlist)
	{
		TargetEntry		  *entry = lfirst_node(TargetEntry, cell);
		const TargetEntry *old =
			entry->resno <= list_length(subplan->targetlist)
				? list_nth_node(TargetEntry, subplan->targetlist, entry->resno - 1)
				: NULL;

		entry->resname = old != NULL ? old->resname : NULL;
		entry->resjunk = old == NULL || old->resjunk;
	}
}

void
chatglm_batch_merge(Rewrite *rewrite, Plan *plan)
{
	ModifyTable *modify = (ModifyTable *) plan;
	Plan		*subplan = plan->lefttree;
	Plan		*top = subplan;
	List		*actions;
	Var			*ctid;
	ListCell	*cell;

	if (modify->operation != CMD_MERGE || list_length(modify->mergeActionLists) != 1 ||
		chatglm_merge_by_source(linitial(modify->mergeActionLists)))
		return;
	actions = linitial(modify->mergeActionLists);
	ctid = find_ctid(subplan);
	rewrite->marked = NIL;
	foreach(cell, actions)
	{
		MergeAction *action = lfirst_node(MergeAction, cell);
		List		*list = action->targetList;
		Node		*condition;

		if (ctid == NULL || !chatglm_has_call((Node *) list, NULL) ||
			calls_look_at_target((Node *) list, NULL))
			continue;
		condition = when_taken(actions, action, ctid);
		if (condition == NULL)
			continue;
		chatglm_mark_in_plan(list);
		list = (List *) chatglm_renumber((Node *) list, INNER_VAR, INDEX_VAR);
		top = chatglm_stack_calls(rewrite, top, &list, condition);
		list = (List *) chatglm_renumber((Node *) list, INDEX_VAR, INNER_VAR);
		action->targetList =
			chatglm_merge_matched(action) ? list : unless_lost(list, action->targetList, ctid);
	}
	if (top != subplan)
		name_columns(top, subplan);
	plan->lefttree = top;
}

#else

void
chatglm_batch_merge(Rewrite *rewrite, Plan *plan)
{
}

#endif
