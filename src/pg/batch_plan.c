/*
 * batch_plan.c - where GlmBatch goes in a plan.
 *
 * A planner hook rewrites the finished plan, since only there it is settled where
 * an expression will be evaluated.  A plan node that evaluates calls of ours
 * loses them to nodes GlmBatch (batch.c) stacked on top of it:
 *
 *		GlmBatch	the calls of the target list, then the target list itself
 *		GlmBatch	the calls of a WHERE clause, then this clause
 *		the node	gives the columns that all of these need, and no more
 *
 * A call whose arguments hold calls comes after those, one stack higher.  As
 * rows that a clause rejects never reach the next node, a call is made for the
 * same rows as before; clauses behind the first one with a call move with it, so
 * that they still see only what it lets through (row security relies on it).
 * Calls in the arguments of aggregates and in their FILTER go below the Agg.
 *
 * A call is taken only when it is reached through nodes that always evaluate all
 * of their arguments, or the argument that it is in.  Elsewhere under CASE, COALESCE,
 * AND, OR, or in a sub-select's arguments it stays where it is, and asks for one row
 * after the other; so do calls in RETURNING, below Gather, in the arguments of window
 * functions and beside or inside set-returning functions, and calls whose arguments
 * run volatile functions of others (batch_volatile.c).
 *
 * This file goes down the plan; batch_demand.c tells how many rows of each node
 * can be used, batch_node.c puts the nodes there, batch_expr.c takes calls out of
 * expressions.  What is no expression of a plan node like others has files of its
 * own: functions in FROM (batch_inner.c), SET (a, b) = (SELECT ...) (batch_set.c),
 * VALUES (batch_values.c), MERGE (batch_merge.c).  Calls that are the same are found
 * by batch_same.c, batch_carry.c and, as they are made, batch_share.c.
 *
 * Queries without calls should not notice.  The planner lists the functions not
 * built in that a plan depends on, to know when to plan anew; a plan without any
 * is left alone at once, others are walked through.
 */
#include "chatglm.h"

#include "jit/jit.h"
#include "optimizer/planner.h"
#include "utils/syscache.h"

#include "batch.h"
#include "batch_plan.h"
#include "batch_same.h"
#include "settings.h"
#include "shared.h"

static planner_hook_type prev_planner_hook;

static PlannedStmt *batch_planner(Query *query, const char *text, int options,
								  ParamListInfo params);
static Plan		   *rewrite_plan(Rewrite *rewrite, Plan *plan, Demand demand);
static void			rewrite_below(Rewrite *rewrite, Plan *plan, Demand demand);

void
chatglm_batch_init(void)
{
	RegisterCustomScanMethods(&chatglm_batch_scan_methods);
	prev_planner_hook = planner_hook;
	planner_hook = batch_planner;
}

/* ---- The plan as a whole ----------------------------------------------------- */

static bool
depends_on_functions(const PlannedStmt *statement)
{
	ListCell *cell;

	foreach(cell, statement->invalItems)
	{
		if (lfirst_node(PlanInvalItem, cell)->cacheId == PROCOID)
			return true;
	}
	return false;
}

/* The largest plan_node_id below. */
static int
largest_id(Plan *plan)
{
	int		  largest;
	ListCell *cell;

	if (plan == NULL)
		return 0;
	largest = plan->plan_node_id;
	foreach(cell, chatglm_plan_children(plan))
		largest = Max(largest, largest_id(lfirst(cell)));
	return largest;
}

/*
 * A CTE is read as its scans demand.  Those stand in the main plan and in
 * subplans that come later in the list, so the list is walked backwards.
 */
static void
rewrite_statement(PlannedStmt *statement, int options)
{
	Rewrite	  rewrite = {0};
	int		  n_subplans = list_length(statement->subplans);
	ListCell *cell;

	rewrite.next_id = largest_id(statement->planTree) + 1;
	chatglm_note_subplans(&rewrite, statement->planTree);
	foreach(cell, statement->subplans)
	{
		rewrite.next_id = Max(rewrite.next_id, largest_id(lfirst(cell)) + 1);
		chatglm_note_subplans(&rewrite, lfirst(cell));
	}
	rewrite.subplans = statement->subplans;
	rewrite.rtable = statement->rtable;
	rewrite.ctes = palloc0((n_subplans + 1) * sizeof(CteDemand));
	/* only cursors have that option; those with FOR UPDATE know their rows otherwise */
	rewrite.positioned = (options & CURSOR_OPT_FAST_PLAN) != 0 && statement->rowMarks == NIL;
	chatglm_volatile_begin(statement);

	statement->planTree = rewrite_plan(&rewrite, statement->planTree, chatglm_demand_top);
	for (int i = n_subplans; i > 0; i--)
	{
		cell = list_nth_cell(statement->subplans, i - 1);
		lfirst(cell) = rewrite_plan(&rewrite, lfirst(cell),
									chatglm_demand_of_subplan(&rewrite, i, lfirst(cell)));
	}

	statement->rtable = rewrite.rtable;

	/* the honest cost of our functions would have the rest compiled for nothing */
	if (rewrite.n_nodes > 0)
		statement->jitFlags = PGJIT_NONE;
}

static PlannedStmt *
batch_planner(Query *query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *statement;

	if (chatglm_shared != NULL)
		chatglm_mark_composites(query);
	statement = prev_planner_hook != NULL ? prev_planner_hook(query, text, options, params)
										  : standard_planner(query, text, options, params);

	if (chatglm_shared != NULL && chatglm_prefetch > 1 && (options & CURSOR_OPT_SCROLL) == 0 &&
		depends_on_functions(statement))
		rewrite_statement(statement, options);
	return statement;
}

/* ---- Down the plan ------------------------------------------------------------- */

static Plan *
rewrite_plan(Rewrite *rewrite, Plan *plan, Demand demand)
{
	if (plan == NULL)
		return NULL;
	if (chatglm_is_row_by_row(plan))
	{
		Demand below = demand;

		below.exact = 0; /* the join may drop rows */
		plan->lefttree = rewrite_plan(rewrite, plan->lefttree, below);
		return chatglm_batch_join(rewrite, plan, demand);
	}
	if (chatglm_has_called_values(plan))
		return chatglm_batch_values(rewrite, plan, demand);
	rewrite_below(rewrite, plan, demand);
	return chatglm_batch_node(rewrite, plan, demand);
}

static void
rewrite_list(Rewrite *rewrite, List *plans, Demand demand)
{
	ListCell *cell;

	foreach(cell, plans)
		lfirst(cell) = rewrite_plan(rewrite, lfirst(cell), demand);
}

/*
 * The inner side of a merge join, which marks places in it and returns to them.
 * GlmBatch cannot do that, and nor can a Result on top of it.
 */
static void
rewrite_marked(Rewrite *rewrite, Plan *plan, Demand demand)
{
	if (IsA(plan, Result) && plan->lefttree != NULL)
		rewrite_marked(rewrite, plan->lefttree, chatglm_demand_below(plan, demand));
	else
		rewrite_below(rewrite, plan, demand);
}

/*
 * Everything below this node.  Workers of a parallel query hold no calls, and a
 * foreign or custom scan arranges its children for itself.
 */
static void
rewrite_below(Rewrite *rewrite, Plan *plan, Demand demand)
{
	Demand below = chatglm_demand_below(plan, demand);

	if (IsA(plan, Gather) || IsA(plan, GatherMerge) || IsA(plan, ForeignScan) ||
		IsA(plan, CustomScan))
		return;

	plan->lefttree = rewrite_plan(rewrite, plan->lefttree, below);
	if (IsA(plan, MergeJoin))
		rewrite_marked(rewrite, plan->righttree, below);
	else
		plan->righttree =
			rewrite_plan(rewrite, plan->righttree, chatglm_demand_of_inner(plan, demand));

	if (IsA(plan, Append))
		rewrite_list(rewrite, ((Append *) plan)->appendplans, below);
	else if (IsA(plan, MergeAppend))
		rewrite_list(rewrite, ((MergeAppend *) plan)->mergeplans, below);
	else if (IsA(plan, ModifyTable))
	{
		rewrite_list(rewrite, chatglm_modify_plans((ModifyTable *) plan), below);
		chatglm_batch_merge(rewrite, plan);
	}
	else if (IsA(plan, SubqueryScan))
		((SubqueryScan *) plan)->subplan =
			rewrite_plan(rewrite, ((SubqueryScan *) plan)->subplan, below);
	else if (IsA(plan, CteScan))
		chatglm_note_cte_scan(rewrite, (CteScan *) plan, below);
	else if (IsA(plan, Agg))
		chatglm_batch_aggregates(rewrite, (Agg *) plan, below);
}
