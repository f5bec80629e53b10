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
 * error messages.  Marks are below -1, the location that is unknown.  Calls inside
 * the call's arguments have marks too, since they are as much the same.
 *
 * Other equal calls are told by what they ask, when they ask it (batch_share.c).
 */
#include "chatglm.h"

#include "nodes/nodeFuncs.h"

#include "args.h"
#include "batch_plan.h"

/* Where the marks given in plans begin: there are no such many calls in a query. */
#define FIRST_MARK_IN_PLAN (INT_MIN / 2)

/* What of one query has been marked so far. */
typedef struct Marking
{
	int			last;			/* mark given */
	List	   *calls;			/* FuncExpr, of this query level */
	bool		equal;			/* there were equal ones, at any level */
} Marking;

static bool mark_in_query(Query *query, Marking *outer);

int
chatglm_mark_of(const FuncExpr *call)
{
	return call->location < -1 ? call->location : 0;
}

/* Gives each of our calls in an expression a mark, in the order of the walk. */
static bool
mark_calls(Node *node, void *context)
{
	int		   *next = context;

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
	int			next = marking->last - 1;
	ListCell   *cell;

	foreach(cell, marking->calls)
	{
		FuncExpr   *known = lfirst_node(FuncExpr, cell);

		if (equal(known, call))
		{
			next = known->location;
			marking->equal = true;
			(void) mark_calls((Node *) call, &next);
			return;
		}
	}
	(void) mark_calls((Node *) call, &next);
	marking->last = next + 1;
	marking->calls = lappend(marking->calls, call);
}

static bool
mark_in_expression(Node *node, void *context)
{
	Marking    *marking = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return mark_in_query((Query *) node, marking);
	if (chatglm_call_of_field(node) != NULL)
		mark_composite(chatglm_call_of_field(node), marking);
	return expression_tree_walker(node, mark_in_expression, context);
}

FuncExpr *
chatglm_call_of_field(Node *node)
{
	FuncExpr   *call;

	if (!IsA(node, FieldSelect) || !IsA(((FieldSelect *) node)->arg, FuncExpr))
		return NULL;
	call = (FuncExpr *) ((FieldSelect *) node)->arg;
	return !call->funcretset && chatglm_function_by_oid(call->funcid) != NULL ? call : NULL;
}

/* Each query level has calls of its own; marks are told apart in all of them. */
static bool
mark_in_query(Query *query, Marking *outer)
{
	Marking		marking = {outer->last, NIL, outer->equal};

	(void) query_tree_walker(query, mark_in_expression, &marking, 0);
	outer->last = marking.last;
	outer->equal = marking.equal;
	return false;
}

bool
chatglm_mark_composites(Query *query)
{
	Marking		marking = {-1, NIL, false};

	(void) mark_in_query(query, &marking);
	return marking.equal;
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
chatglm_mark_in_plan(Rewrite *rewrite, List *exprs)
{
	Marking		marking = {Min(rewrite->last_mark, FIRST_MARK_IN_PLAN), NIL, false};

	(void) mark_in_node((Node *) exprs, &marking);
	rewrite->last_mark = marking.last;
}
