/*
 * batch_carry.c - equal calls below and above a Sort or an Agg's input.
 *
 * With an ORDER BY the planner filters below the Sort and evaluates calls of the
 * select list above it, in a Result; with aggregates, it groups by calls of the
 * input and has those in their arguments for itself.  A call in both is the same
 * call all the same, so its value is carried up, as a column that the nodes between
 * pass on.  What is
 * taken of a composite is found by its mark; for other calls their print
 * (batch_share.c) is carried beside, by which the node above finds out whether it
 * would ask the same.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"

#include "batch.h"
#include "batch_plan.h"
#include "batch_same.h"

static bool
is_stacked(const Plan *plan)
{
	return IsA(plan, CustomScan) &&
		   ((const CustomScan *) plan)->methods == &chatglm_batch_scan_methods;
}

static bool
passes_on(const Plan *plan)
{
	return IsA(plan, Sort) || IsA(plan, IncrementalSort) || IsA(plan, Limit);
}

/* The topmost GlmBatch below nodes that pass on what they get; NULL: there is none. */
static CustomScan *
find_stack(Plan *child)
{
	while (child != NULL && passes_on(child))
		child = child->lefttree;
	return child != NULL && is_stacked(child) ? (CustomScan *) child : NULL;
}

/* Is this function called?  Context: its Oid. */
static bool
calls_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == *(Oid *) context)
		return true;
	return expression_tree_walker(node, calls_function, context);
}

/*
 * Adds a column to the target lists from the stack up to the child of the plan;
 * returns its number, which is the same in all of them only by accident.
 */
static int
add_output(Plan *child, Plan *stack, Expr *column)
{
	int attno = list_length(child->targetlist) + 1;

	if (child != stack)
	{
		int below = add_output(child->lefttree, stack, column);

		column = (Expr *) makeVar(OUTER_VAR, below, exprType((Node *) column),
								  exprTypmod((Node *) column), exprCollation((Node *) column), 0);
	}
	child->targetlist = lappend(child->targetlist, makeTargetEntry(column, attno, NULL, true));
	return attno;
}

/* Where calls are carried from, and where to. */
typedef struct Carrying
{
	Rewrite	   *rewrite;
	CustomScan *stack;
	Plan	   *child;	 /* the stack, or what passes on its rows */
	List	  **columns; /* of a plan on top of the child; NULL: there is none */
	List	   *wanted;	 /* expressions that may make the calls again */
	List	   *carried;
} Carrying;

/* Carries a column of the stack's rows up; returns its number there. */
static int
carry_column(Carrying *carrying, int attno)
{
	const TargetEntry *entry =
		list_nth_node(TargetEntry, carrying->stack->custom_scan_tlist, attno - 1);
	Node *expr = (Node *) entry->expr;
	Var	 *column =
		makeVar(INDEX_VAR, attno, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);
	int below = add_output(carrying->child, &carrying->stack->scan.plan, (Expr *) column);

	if (carrying->columns == NULL)
		return below;
	column = makeVar(OUTER_VAR, below, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);
	*carrying->columns =
		lappend(*carrying->columns,
				makeTargetEntry((Expr *) column, list_length(*carrying->columns) + 1, NULL, false));
	return list_length(*carrying->columns);
}

/* Makes the print of one of its calls a column of the stack's rows; returns its number. */
static int
add_print(CustomScan *stack, int print)
{
	ListCell *cell = list_nth_cell(stack->custom_private, CHATGLM_BATCH_PRINTS);
	Const	 *shown = makeNullConst(UUIDOID, -1, InvalidOid);
	int		  attno = list_length(stack->custom_scan_tlist) + 1;

	stack->custom_scan_tlist =
		lappend(stack->custom_scan_tlist, makeTargetEntry((Expr *) shown, attno, NULL, false));
	lfirst(cell) = lappend_int(lfirst(cell), print);
	return attno;
}

/* A call of the stack that may be made again. */
static void
carry_call(Carrying *carrying, FuncExpr *call, int attno, int print)
{
	int value;

	if (!calls_function((Node *) carrying->wanted, &call->funcid))
		return;
	value = carry_column(carrying, attno);
	if (chatglm_mark_of(call) != 0)
	{
		MarkedCall *made = palloc(sizeof(*made));

		made->call = copyObject(call);
		made->condition = NULL;
		made->attno = value;
		carrying->rewrite->marked = lappend(carrying->rewrite->marked, made);
	}
	carrying->carried = lappend_oid(carrying->carried, call->funcid);
	carrying->carried = lappend_oid(carrying->carried, value);
	carrying->carried =
		lappend_oid(carrying->carried, carry_column(carrying, add_print(carrying->stack, print)));
}

/*
 * The calls of one node of the stack, after those of the nodes below it; returns
 * how many prints its rows have.
 */
static int
carry_node(Carrying *carrying, CustomScan *node)
{
	Plan *child = node->scan.plan.lefttree;
	int	  n_calls = intVal(list_nth(node->custom_private, CHATGLM_BATCH_CALLS));
	int	  prints = 0;

	if (is_stacked(child) && chatglm_passes_all((CustomScan *) child))
		prints = carry_node(carrying, (CustomScan *) child);
	prints += list_length(list_nth(node->custom_private, CHATGLM_BATCH_CARRIED)) / 3;
	for (int i = 0; i < n_calls; i++)
	{
		Node *call = list_nth(node->custom_exprs, i);

		if (IsA(call, FuncExpr))
			carry_call(carrying, (FuncExpr *) call, list_length(child->targetlist) + i + 1,
					   prints + i);
	}
	return prints + n_calls;
}

/* ---- Calls that got their marks in the plan ----------------------------------- */

/* A column that the child gives, as an expression over the stack's columns. */
static Node *
column_below(const Carrying *carrying, int attno)
{
	const Plan *plan = carrying->child;
	Node	   *expr;

	for (;;)
	{
		if (attno > list_length(plan->targetlist))
			return NULL;
		expr = (Node *) list_nth_node(TargetEntry, plan->targetlist, attno - 1)->expr;
		if (plan == &carrying->stack->scan.plan)
			return expr;
		if (!IsA(expr, Var))
			return NULL;
		attno = ((Var *) expr)->varattno;
		plan = plan->lefttree;
	}
}

/* Puts an expression over the stack's columns.  Context: Carrying. */
static Node *
put_below(Node *node, void *context)
{
	const Carrying *carrying = context;
	Node		   *below;
	int				attno;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var))
		return expression_tree_mutator(node, put_below, context);
	attno = ((Var *) node)->varattno;
	if (carrying->columns != NULL && (int) ((Var *) node)->varno == INDEX_VAR)
	{
		Node *own = (Node *) list_nth_node(TargetEntry, *carrying->columns, attno - 1)->expr;

		attno = IsA(own, Var) ? ((Var *) own)->varattno : 0;
	}
	below = attno > 0 ? column_below(carrying, attno) : NULL;
	return below != NULL ? copyObject(below) : copyObject(node);
}

/* Gives a call the mark of an equal one in the stack.  Context: Carrying. */
static bool
give_marks(Node *node, void *context)
{
	const Carrying *carrying = context;
	FuncExpr	   *call;

	if (node == NULL)
		return false;
	call = chatglm_call_of_field(node);
	for (Plan *plan = &carrying->stack->scan.plan; call != NULL && is_stacked(plan);
		 plan = plan->lefttree)
	{
		Node	 *below = put_below((Node *) call, context);
		ListCell *cell;

		foreach(cell, ((CustomScan *) plan)->custom_exprs)
			if (equal(lfirst(cell), below) && chatglm_mark_of(lfirst(cell)) != 0)
				call->location = chatglm_mark_of(lfirst(cell));
		if (is_stacked(plan->lefttree) && !chatglm_passes_all((CustomScan *) plan->lefttree))
			break;
	}
	return expression_tree_walker(node, give_marks, context);
}

List *
chatglm_carry_calls(Rewrite *rewrite, Plan *child, List **columns, List *wanted)
{
	Carrying carrying = {rewrite, find_stack(child), child, columns, wanted, NIL};

	if (carrying.stack == NULL)
		return NIL;
	(void) give_marks((Node *) wanted, &carrying);
	(void) carry_node(&carrying, carrying.stack);
	return carrying.carried;
}
