/*
 * batch_volatile.c - functions of others that must not run ahead of their turn.
 *
 * PostgreSQL promises that a volatile function sees what the statement around it
 * has done so far: an UPDATE's rows before this one, a sequence's last value.
 * GlmBatch reads rows ahead, and so would run such functions ahead:
 *
 *	- in the arguments of a call: it is not taken (batch_expr.c), but made where
 *	  it stands, when its row goes out;
 *	- in the nodes below: they are read one row at a time (batch_node.c).
 *
 * A function in FROM is no such case: all of it runs before its first row.
 *
 * In what the node itself evaluates they run when the row goes out, which is
 * their turn.
 *
 * Our own functions are volatile for the planner only, so that it does not
 * call them more or less often than is written.  A few of PostgreSQL's look at
 * nothing that a statement could change and leave nothing behind, so below a
 * GlmBatch they may run at any time.
 */
#include "chatglm.h"

#include "access/transam.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

#include "batch_plan.h"
#include "function.h"

static const char *const harmless[] = {"random",	"random_normal",   "clock_timestamp",
									   "timeofday", "gen_random_uuid", "uuidv4",
									   "uuidv7"};

typedef struct Search
{
	const List *subplans;	  /* of the statement */
	bool		in_arguments; /* where the harmless ones count, too */
} Search;

static bool runs_others(Node *node, void *context);

/* The statement being rewritten: expressions name its subplans by number. */
static const List *statement_subplans;

/* What was found last: in a stack of nodes, each asks for all of those below. */
static const Plan *found_for;
static bool		   found;

void
chatglm_volatile_begin(const PlannedStmt *statement)
{
	statement_subplans = statement->subplans;
	found_for = NULL;
}

static bool
is_harmless(Oid function)
{
	const char *name;

	if (function >= FirstGenbkiObjectId)
		return false;
	name = get_func_name(function);
	for (int i = 0; i < (int) lengthof(harmless); i++)
	{
		if (name != NULL && strcmp(name, harmless[i]) == 0)
			return true;
	}
	return false;
}

static bool
must_wait(Oid function, void *context)
{
	const Search *search = context;

	return func_volatile(function) == PROVOLATILE_VOLATILE && !chatglm_is_own_function(function) &&
		   (search->in_arguments || !is_harmless(function));
}

static bool
plan_runs_others(Plan *plan, Search *search)
{
	ListCell *cell;

	if (plan == NULL) /* a subplan that the planner dropped */
		return false;
	if (plan == found_for && !search->in_arguments)
		return found;
	if (IsA(plan, FunctionScan) && bms_is_empty(plan->allParam))
		return runs_others((Node *) plan->qual, search) ||
			   runs_others((Node *) plan->targetlist, search);
	if (chatglm_walk_expressions(plan, runs_others, search))
		return true;
	if (IsA(plan, CteScan) &&
		plan_runs_others(list_nth(search->subplans, ((CteScan *) plan)->ctePlanId - 1), search))
		return true;
	foreach(cell, chatglm_plan_children(plan))
	{
		if (plan_runs_others(lfirst(cell), search))
			return true;
	}
	return false;
}

static bool
runs_others(Node *node, void *context)
{
	Search *search = context;

	if (node == NULL)
		return false;
	if (IsA(node, NextValueExpr) || check_functions_in_node(node, must_wait, context))
		return true;
	if (IsA(node, SubPlan) &&
		plan_runs_others(list_nth(search->subplans, ((SubPlan *) node)->plan_id - 1), search))
		return true;
	return expression_tree_walker(node, runs_others, context);
}

bool
chatglm_arguments_run_others(List *arguments)
{
	Search search = {statement_subplans, true};

	return runs_others((Node *) arguments, &search);
}

bool
chatglm_plan_runs_others(Plan *plan)
{
	Search search = {statement_subplans, false};

	found = plan_runs_others(plan, &search);
	found_for = plan;
	return found;
}
