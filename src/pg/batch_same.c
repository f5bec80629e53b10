/*
 * batch_same.c - the fields of one composite are one call.
 *
 * The parser writes (glm_try_generate(body)).* as six fields of six copies of the
 * call, and whoever writes (f(body)).response, (f(body)).error means one answer
 * as well.  So equal calls that fields are taken of get a mark before the query
 * is planned, and where several with the same mark are evaluated by one plan node,
 * GlmBatch makes one call of them (batch_expr.c), whatever the temperature.
 *
 * It is done that early because the planner makes plans of sub-selects in the
 * arguments, one for each copy, after which nothing tells that they are equal.  Calls
 * that come in later, when SQL functions are inlined, are marked in the plan, node
 * by node.
 *
 * The mark is the call's location, which is carried along through all planning,
 * is not looked at by equal(), and serves nothing any more but the cursor of
 * error messages.  Marks are below -1, the location that is unknown, and unique in
 * the session.  Calls inside the call's arguments have marks too, since they are as
 * much the same.  Where no GlmBatch makes the call, composite.c goes by the mark.
 *
 * Other equal calls are told by what they ask, when they ask it (batch_share.c).
 */
#include "chatglm.h"

#include "nodes/nodeFuncs.h"

#include "batch_same.h"
#include "function.h"

static int last_mark = -1; /* given in this session */

/* What of one query has been marked so far. */
typedef struct Marking
{
	List *calls; /* FuncExpr, of this query level */
} Marking;

static bool mark_in_query(Query *query);

int
chatglm_mark_of(const FuncExpr *call)
{
	return call->location < -1 ? call->location : 0;
}

/* After so many, marks begin anew: no plan is as old as that. */
static void
limit_marks(void)
{
	if (last_mark < PG_INT32_MIN / 2)
		last_mark = -1;
}

/* Gives each of our calls in an expression a mark, in the order of the walk. */
static bool
mark_calls(Node *node, void *context)
{
	int *next = context;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && chatglm_function_by_oid(((FuncExpr *) node)->funcid) != NULL)
		((FuncExpr *) node)->location = (*next)--;
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, mark_calls, context);
}

static void
mark_composite(FuncExpr *call, Marking *marking)
{
	int		  next = last_mark - 1;
	ListCell *cell;

	foreach(cell, marking->calls)
	{
		FuncExpr *known = lfirst_node(FuncExpr, cell);

		if (equal(known, call))
		{
			next = known->location;
			(void) mark_calls((Node *) call, &next);
			return;
		}
	}
	(void) mark_calls((Node *) call, &next);
	last_mark = next + 1;
	marking->calls = lappend(marking->calls, call);
}

static bool
mark_in_expression(Node *node, void *context)
{
	Marking *marking = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return mark_in_query((Query *) node);
	if (chatglm_call_of_field(node) != NULL)
		mark_composite(chatglm_call_of_field(node), marking);
	return expression_tree_walker(node, mark_in_expression, context);
}

FuncExpr *
chatglm_call_of_field(Node *node)
{
	FuncExpr *call;

	if (!IsA(node, FieldSelect) || !IsA(((FieldSelect *) node)->arg, FuncExpr))
		return NULL;
	call = (FuncExpr *) ((FieldSelect *) node)->arg;
	return !call->funcretset && chatglm_function_by_oid(call->funcid) != NULL ? call : NULL;
}

/* Each query level has calls of its own; marks are told apart in all of them. */
static bool
mark_in_query(Query *query)
{
	Marking marking = {NIL};

	(void) query_tree_walker(query, mark_in_expression, &marking, 0);
	return false;
}

void
chatglm_mark_composites(Query *query)
{
	limit_marks();
	(void) mark_in_query(query);
}

/* The same in a plan.  Context: Marking. */
static bool
mark_in_node(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (chatglm_call_of_field(node) != NULL && chatglm_mark_of(chatglm_call_of_field(node)) == 0)
		mark_composite(chatglm_call_of_field(node), context);
	return expression_tree_walker(node, mark_in_node, context);
}

void
chatglm_mark_in_plan(List *exprs)
{
	Marking marking = {NIL};

	(void) mark_in_node((Node *) exprs, &marking);
}
