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
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "ask.h"
#include "batch_plan.h"
#include "batch_same.h"
#include "function.h"

/* More calls at a time would leave no room for a second row. */
#define MAX_CALLS 16

static bool
is_call(Node *node)
{
	FuncExpr			  *call = (FuncExpr *) node;
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
		case T_SubscriptingRef: /* subscripts of a NULL are not */
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

/*
 * The one argument that such a node evaluates in any case, if it does not evaluate
 * all; NULL: none.
 */
static Node **
first_evaluated(Node *node)
{
	switch (nodeTag(node))
	{
		case T_BoolExpr:
			return (Node **) &linitial(((BoolExpr *) node)->args);
		case T_CoalesceExpr:
			return (Node **) &linitial(((CoalesceExpr *) node)->args);
		case T_CaseExpr:
			if (((CaseExpr *) node)->arg != NULL)
				return (Node **) &((CaseExpr *) node)->arg;
			return (Node **) &linitial_node(CaseWhen, ((CaseExpr *) node)->args)->expr;
		default:
			return NULL;
	}
}

bool
chatglm_has_call(Node *node, void *context)
{
	Node **first;

	if (node == NULL)
		return false;
	if (is_call(node))
		return true;
	if (evaluates_all(node))
		return expression_tree_walker(node, chatglm_has_call, context);
	first = first_evaluated(node);
	return first != NULL && chatglm_has_call(*first, context);
}

bool
chatglm_has_call_anywhere(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return is_call(node) || expression_tree_walker(node, chatglm_has_call_anywhere, context);
}

static Node *
made_column(int varno, int attno, const Node *call)
{
	return (Node *) makeVar(varno, attno, exprType(call), exprTypmod(call), exprCollation(call), 0);
}

/* The column of a call that is made already; 0: it is not. */
static int
find_made(const Calls *calls, Node *node)
{
	ListCell *cell;

	if (!IsA(node, FuncExpr) || chatglm_mark_of((FuncExpr *) node) == 0)
		return 0;
	foreach(cell, *calls->marked)
	{
		const MarkedCall *made = lfirst(cell);

		if (chatglm_mark_of(made->call) == chatglm_mark_of((FuncExpr *) node) &&
			(made->condition == NULL || equal(made->condition, calls->condition)))
			return made->attno;
	}
	return 0;
}

Node *
chatglm_use_made(Node *node, void *context)
{
	const Calls *calls = context;
	int			 attno;

	if (node == NULL)
		return NULL;
	attno = find_made(calls, node);
	if (attno != 0)
		return made_column(calls->varno, attno, node);
	return expression_tree_mutator(node, chatglm_use_made, context);
}

static Node *
on_condition(FuncExpr *call, Node *condition)
{
	CaseExpr *expr = makeNode(CaseExpr);
	CaseWhen *when = makeNode(CaseWhen);
	Const	 *otherwise = makeNullConst(call->funcresulttype, -1, call->funccollid);

	when->expr = copyObject((Expr *) condition);
	when->result = (Expr *) call;
	expr->casetype = call->funcresulttype;
	expr->casecollid = call->funccollid;
	expr->args = list_make1(when);
	expr->defresult = (Expr *) otherwise;
	return (Node *) expr;
}

static Node *
take_call_out(FuncExpr *call, Calls *calls)
{
	int	  attno = find_made(calls, (Node *) call);
	Node *taken = copyObject((Node *) call);

	if (attno != 0)
		return made_column(calls->varno, attno, (Node *) call);
	if (calls->condition != NULL)
		taken = on_condition((FuncExpr *) taken, calls->condition);
	calls->list = lappend(calls->list, taken);
	attno = calls->base + list_length(calls->list);
	if (chatglm_mark_of(call) != 0)
	{
		MarkedCall *made = palloc(sizeof(*made));

		made->call = copyObject(call);
		made->condition = calls->condition;
		made->attno = attno;
		*calls->marked = lappend(*calls->marked, made);
	}
	return made_column(calls->varno, attno, (Node *) call);
}

Node *
chatglm_take_calls(Node *node, void *context)
{
	Calls *calls = context;
	Node **first;

	if (node == NULL)
		return NULL;
	if (is_call(node) && !chatglm_has_call((Node *) ((FuncExpr *) node)->args, NULL) &&
		list_length(calls->list) < MAX_CALLS)
		return take_call_out((FuncExpr *) node, calls);
	if (evaluates_all(node))
		return expression_tree_mutator(node, chatglm_take_calls, context);
	node = copyObject(node);
	first = first_evaluated(node);
	if (first != NULL)
		*first = chatglm_take_calls(*first, context);
	return node;
}

static bool
is_other_volatile(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE &&
		   chatglm_function_by_oid(function) == NULL;
}

static bool
runs_others_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, NextValueExpr) || check_functions_in_node(node, is_other_volatile, NULL))
		return true;
	return expression_tree_walker(node, runs_others_walker, context);
}

bool
chatglm_runs_others(Node *node)
{
	return runs_others_walker(node, NULL);
}

/* Is the value of this node made by the plan node it is found in? */
static bool
is_column(Node *node)
{
	return IsA(node, Var) || IsA(node, Aggref) || IsA(node, GroupingFunc) || IsA(node, WindowFunc);
}

Node *
chatglm_to_columns(Node *node, void *context)
{
	List	**columns = context;
	int		  i = 1;
	ListCell *cell;

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
	return (Node *) makeVar(INDEX_VAR, i, exprType(node), exprTypmod(node), exprCollation(node), 0);
}

typedef struct Renumbering
{
	int from; /* varno */
	int to;
} Renumbering;

static Node *
renumber_mutator(Node *node, void *context)
{
	const Renumbering *numbers = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && (int) ((Var *) node)->varno == numbers->from)
	{
		Var *var = copyObject((Var *) node);

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

/* Aggregates that meet every row with nothing before the FILTER. */
static bool
meets_every_row(Node *node)
{
	Aggref *aggref = (Aggref *) node;

	return IsA(node, Aggref) && aggref->aggdirectargs == NIL && aggref->aggsplit == AGGSPLIT_SIMPLE;
}

/* May this be evaluated once more, ahead? */
static bool
can_repeat(Node *expr)
{
	return !contain_volatile_functions(expr) && !contain_subplans(expr);
}

/*
 * The clauses that a FILTER is an AND of, up to the first one with a call, go to
 * *before; returns that one's cell, NULL when there is none.  All those before must
 * have been found not false for it to be evaluated.
 */
static ListCell *
first_clause_with_call(Node *filter, List **before)
{
	ListCell *cell;

	*before = NIL;
	if (filter == NULL || !IsA(filter, BoolExpr) || ((BoolExpr *) filter)->boolop != AND_EXPR)
		return NULL;
	foreach(cell, ((BoolExpr *) filter)->args)
	{
		if (chatglm_has_call(lfirst(cell), NULL))
			return cell;
		*before = lappend(*before, lfirst(cell));
	}
	return NULL;
}

static bool
has_call_in_filter(Node *filter)
{
	List *before;

	return chatglm_has_call(filter, NULL) ||
		   (first_clause_with_call(filter, &before) != NULL && can_repeat((Node *) before));
}

bool
chatglm_has_aggregated_call(Node *node, void *context)
{
	Aggref *aggref = (Aggref *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Aggref))
		return expression_tree_walker(node, chatglm_has_aggregated_call, context);
	return meets_every_row(node) && (has_call_in_filter((Node *) aggref->aggfilter) ||
									 (can_repeat((Node *) aggref->aggfilter) &&
									  chatglm_has_call((Node *) aggref->args, NULL)));
}

/* Takes the calls of a clause that is evaluated when those before it are not false. */
static void
take_calls_of_clause(ListCell *clause, List *before, Calls *calls)
{
	BooleanTest *test = makeNode(BooleanTest);

	test->arg = make_ands_explicit(copyObject(before));
	test->booltesttype = IS_NOT_FALSE;
	test->location = -1;
	calls->condition = (Node *) test;
	lfirst(clause) = chatglm_take_calls(lfirst(clause), calls);
	calls->condition = NULL;
}

/* The calls of a FILTER are made before those of the arguments that depend on it. */
static Node *
take_calls_of_aggregate(Aggref *aggref, Calls *calls)
{
	Aggref *copy = copyObject(aggref);
	List   *before;

	if (chatglm_has_call((Node *) copy->aggfilter, NULL))
		copy->aggfilter = (Expr *) chatglm_take_calls((Node *) copy->aggfilter, calls);
	else if (has_call_in_filter((Node *) copy->aggfilter))
	{
		ListCell *clause = first_clause_with_call((Node *) copy->aggfilter, &before);

		take_calls_of_clause(clause, before, calls);
	}
	else if (can_repeat((Node *) copy->aggfilter))
	{
		calls->condition = (Node *) copy->aggfilter;
		copy->args = (List *) chatglm_take_calls((Node *) copy->args, calls);
		calls->condition = NULL;
	}
	return (Node *) copy;
}

Node *
chatglm_take_aggregated_calls(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (meets_every_row(node))
		return take_calls_of_aggregate((Aggref *) node, context);
	return expression_tree_mutator(node, chatglm_take_aggregated_calls, context);
}
