/*
 * batch_expr.c - calls in expressions: which of them may be made ahead, and how
 * they are taken out.
 *
 * A call may be made before the expression around it is evaluated only if that
 * would have made it in any case.  So the way from the top of an expression to
 * a call must lead through nodes that always evaluate all of their arguments.
 * What lies behind any other node is not looked at: it stays whole, and a call
 * in it is made where it stands.  So is one whose arguments must not be evaluated
 * before its row's turn.
 */
#include "chatglm.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"

#include "batch_plan.h"

/* More calls at a time would leave no room for a second row. */
#define MAX_CALLS 16

static bool
is_call(Node *node)
{
	FuncExpr   *call = (FuncExpr *) node;
	const ChatglmFunction *function;

	if (!IsA(node, FuncExpr) || call->funcretset)
		return false;
	function = chatglm_function_by_oid(call->funcid);
	return function != NULL && list_length(call->args) == function->n_args &&
		!chatglm_arguments_run_others(call->args);
}

/* Does this node always evaluate all of its arguments, once each? */
static bool
evaluates_all(Node *node)
{
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			return !((FuncExpr *) node)->funcretset;
		case T_BoolExpr:
			return ((BoolExpr *) node)->boolop == NOT_EXPR;
		case T_SubscriptingRef:	/* subscripts of a NULL are not */
			return ((SubscriptingRef *) node)->refassgnexpr == NULL &&
				!chatglm_has_call((Node *) ((SubscriptingRef *) node)->refupperindexpr, NULL) &&
				!chatglm_has_call((Node *) ((SubscriptingRef *) node)->reflowerindexpr, NULL);
		case T_List:
		case T_TargetEntry:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_MinMaxExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_CoerceToDomain:
		case T_NullTest:
		case T_BooleanTest:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_FieldSelect:
			return true;
		default:
			return false;
	}
}

bool
chatglm_has_call(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (is_call(node))
		return true;
	return evaluates_all(node) && expression_tree_walker(node, chatglm_has_call, context);
}

Node *
chatglm_take_calls(Node *node, void *context)
{
	Calls	   *calls = context;

	if (node == NULL)
		return NULL;
	if (is_call(node) && !chatglm_has_call((Node *) ((FuncExpr *) node)->args, NULL) &&
		list_length(calls->list) < MAX_CALLS)
	{
		calls->list = lappend(calls->list, copyObject(node));
		return (Node *) makeVar(calls->varno, calls->base + list_length(calls->list),
								exprType(node), exprTypmod(node), exprCollation(node), 0);
	}
	if (!evaluates_all(node))
		return copyObject(node);
	return expression_tree_mutator(node, chatglm_take_calls, context);
}

/* Is the value of this node made by the plan node it is found in? */
static bool
is_column(Node *node)
{
	return IsA(node, Var) || IsA(node, Aggref) || IsA(node, GroupingFunc);
}

Node *
chatglm_to_columns(Node *node, void *context)
{
	List	  **columns = context;
	int			i = 1;
	ListCell   *cell;

	if (node == NULL)
		return NULL;
	if (!is_column(node))
		return expression_tree_mutator(node, chatglm_to_columns, context);

	foreach(cell, *columns)
	{
		if (IsA(node, Var) && equal(lfirst(cell), node))
			break;
		i++;
	}
	if (i > list_length(*columns))
		*columns = lappend(*columns, copyObject(node));
	return (Node *) makeVar(INDEX_VAR, i, exprType(node), exprTypmod(node),
							exprCollation(node), 0);
}

typedef struct Renumbering
{
	int			from;			/* varno */
	int			to;
} Renumbering;

static Node *
renumber_mutator(Node *node, void *context)
{
	const Renumbering *numbers = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && (int) ((Var *) node)->varno == numbers->from)
	{
		Var		   *var = copyObject((Var *) node);

		var->varno = numbers->to;
		return (Node *) var;
	}
	return expression_tree_mutator(node, renumber_mutator, context);
}

Node *
chatglm_renumber(Node *node, int from, int to)
{
	Renumbering numbers = {from, to};

	return renumber_mutator(node, &numbers);
}

bool
chatglm_has_multiexpr(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) && ((SubPlan *) node)->subLinkType == MULTIEXPR_SUBLINK)
		return true;
	return expression_tree_walker(node, chatglm_has_multiexpr, context);
}

/* ---- Calls in aggregates ------------------------------------------------------ */

/* An aggregate that gets the arguments of every row. */
static bool
takes_every_row(Node *node)
{
	Aggref	   *aggref = (Aggref *) node;

	return IsA(node, Aggref) && aggref->aggfilter == NULL &&
		aggref->aggdirectargs == NIL && aggref->aggsplit == AGGSPLIT_SIMPLE;
}

bool
chatglm_has_aggregated_call(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref))
		return takes_every_row(node) && chatglm_has_call((Node *) ((Aggref *) node)->args, NULL);
	return expression_tree_walker(node, chatglm_has_aggregated_call, context);
}

Node *
chatglm_take_aggregated_calls(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (takes_every_row(node))
	{
		Aggref	   *copy = copyObject((Aggref *) node);

		copy->args = (List *) chatglm_take_calls((Node *) copy->args, context);
		return (Node *) copy;
	}
	return expression_tree_mutator(node, chatglm_take_aggregated_calls, context);
}
