/*
 * batch_demand.c - how many rows of a plan node the statement can use.
 *
 * Reading ahead must not ask the model for what nobody wants, so the way down
 * the plan carries a demand.  It has several sides:
 *
 *	- the plan itself may end early: a LIMIT, an EXISTS that has its answer with
 *	  the first row, a join that needs one inner row for each outer one;
 *	- the plan may turn out to end early: a merge join whose one side ends before
 *	  the other, a hash join that finds nothing to join with;
 *	- whoever runs the plan may want some rows now and the rest later or never
 *	  (FETCH n, SELECT INTO, a scalar SQL function): a run (batch_run.c).
 *
 * Where a row from above needs an unknown number of rows from below, neither can be
 * kept but by reading one at a time.  A node that drops rows is no such case: as
 * long as no more rows are in flight than are wanted, each of them has to be
 * looked at.
 */
#include "chatglm.h"

#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

#include "batch.h"
#include "batch_plan.h"

const Demand chatglm_demand_all = {.kind = CHATGLM_DEMAND_ALL, .run = CHATGLM_DEMAND_ALL};
const Demand chatglm_demand_one = {.kind = CHATGLM_DEMAND_ONE, .run = CHATGLM_DEMAND_ONE};
const Demand chatglm_demand_top = {.kind = CHATGLM_DEMAND_ALL, .run = CHATGLM_DEMAND_LIMIT};

/* ---- Down the plan ----------------------------------------------------------- */

/* The same when rows from above need an unknown number of rows from below. */
static Demand
demand_of_unknown(Demand demand)
{
	Demand below = chatglm_demand_all;

	if (demand.kind != CHATGLM_DEMAND_ALL)
		return chatglm_demand_one;
	if (demand.run != CHATGLM_DEMAND_ALL)
		below.run = CHATGLM_DEMAND_ONE;
	below.careful = demand.careful;
	return below;
}

static bool
is_simple_limit(const Limit *limit)
{
	return limit->limitOption == LIMIT_OPTION_COUNT &&
		   !contain_volatile_functions(limit->limitCount) &&
		   !contain_volatile_functions(limit->limitOffset) &&
		   !contain_subplans(limit->limitCount) && !contain_subplans(limit->limitOffset);
}

static Demand
demand_of_limit(Limit *limit, Demand demand)
{
	if (!is_simple_limit(limit))
		return chatglm_demand_one;
	if (demand.kind == CHATGLM_DEMAND_ALL)
		demand.kind = CHATGLM_DEMAND_LIMIT;
	demand.limits = lappend(list_copy(demand.limits), limit);
	demand.exact++;
	return demand;
}

/* A nested loop that goes on to the next outer row after the first match. */
static bool
matches_once(const Plan *plan)
{
	const Join *join = (const Join *) plan;

	return IsA(plan, NestLoop) &&
		   (join->inner_unique || join->jointype == JOIN_SEMI || join->jointype == JOIN_ANTI);
}

/* Once it finds that there is nothing to join with, it reads no more. */
static bool
may_end_early(const Plan *plan)
{
	JoinType type = ((const Join *) plan)->jointype;

	if (IsA(plan, HashJoin))
		return type != JOIN_LEFT && type != JOIN_FULL && type != JOIN_ANTI;
	return IsA(plan, MergeJoin) && type != JOIN_FULL;
}

/* Its children share what the demand on it leaves, and so do theirs. */
static Demand
demand_of_append(const Plan *plan, Demand demand)
{
	if (demand.group == 0)
		demand.group = plan->plan_node_id + 1;
	return demand;
}

Demand
chatglm_demand_below(Plan *plan, Demand demand)
{
	switch (nodeTag(plan))
	{
		case T_Limit:
			return demand_of_limit((Limit *) plan, demand);
		case T_Sort:
		case T_Hash:
			return chatglm_demand_all;
		case T_ModifyTable:
			/* a run that has its rows of RETURNING ends the command */
			if (((ModifyTable *) plan)->returningLists == NIL)
				return chatglm_demand_all;
			demand.exact = 0;
			return demand;
		case T_Agg:
			if (((Agg *) plan)->aggstrategy != AGG_SORTED)
				return chatglm_demand_all;
			break;
		case T_WindowAgg:
			/* ends with the last row it is asked for; partitions, it reads all */
			if (chatglm_run_condition((WindowAgg *) plan) != NIL &&
				((WindowAgg *) plan)->partNumCols == 0)
				return chatglm_demand_one;
			break;
		case T_Append:
		case T_MergeAppend:
			return demand_of_append(plan, demand);
		case T_Result:
		case T_SubqueryScan:
			if (plan->qual != NIL)
				demand.exact = 0;
			return demand;
		case T_CteScan:
		case T_LockRows:
		case T_Unique:
		case T_Material:
			demand.exact = 0;
			return demand;
		case T_HashJoin:
		case T_MergeJoin:
			demand.careful |= may_end_early(plan);
			break;
		default:
			if (chatglm_is_single_row_memoize(plan))
				return chatglm_demand_one;
			break;
	}
	return demand_of_unknown(demand);
}

Demand
chatglm_demand_of_inner(Plan *join, Demand demand)
{
	return matches_once(join) ? chatglm_demand_one : chatglm_demand_below(join, demand);
}

/* ---- Subplans ------------------------------------------------------------------ */

/* Of rows that two readers share: whoever is ahead reads for both. */
static Demand
demand_of_either(Demand a, Demand b)
{
	a = demand_of_unknown(a);
	b = demand_of_unknown(b);
	if (a.kind != b.kind)
		return chatglm_demand_one;
	return a.run == CHATGLM_DEMAND_ALL ? b : a;
}

void
chatglm_note_cte_scan(Rewrite *rewrite, CteScan *scan, Demand demand)
{
	CteDemand *cte = &rewrite->ctes[scan->ctePlanId];

	cte->demand = cte->scanned ? demand_of_either(cte->demand, demand) : demand;
	cte->scanned = true;
}

/* Does the sub-select's value stand before all of its rows are read? */
static bool
stops_early(const SubPlan *subplan)
{
	return subplan->subLinkType == EXISTS_SUBLINK || subplan->subLinkType == ALL_SUBLINK ||
		   (subplan->subLinkType == ANY_SUBLINK && !subplan->useHashTable);
}

static bool
note_subplans(Node *node, void *context)
{
	Rewrite *rewrite = context;

	if (node == NULL)
		return false;
	if (IsA(node, SubPlan) && stops_early((SubPlan *) node))
		rewrite->early = bms_add_member(rewrite->early, ((SubPlan *) node)->plan_id);
	return expression_tree_walker(node, note_subplans, context);
}

void
chatglm_note_subplans(Rewrite *rewrite, Plan *plan)
{
	ListCell *cell;

	if (plan == NULL)
		return;
	(void) chatglm_walk_expressions(plan, note_subplans, rewrite);
	(void) note_subplans((Node *) plan->initPlan, rewrite);
	foreach(cell, chatglm_plan_children(plan))
		chatglm_note_subplans(rewrite, lfirst(cell));
}

/*
 * A CTE is read as its scans demand, but one that writes is run to its end.
 */
Demand
chatglm_demand_of_subplan(const Rewrite *rewrite, int plan_id, const Plan *plan)
{
	const CteDemand *cte = &rewrite->ctes[plan_id];

	if (plan != NULL && IsA(plan, ModifyTable))
		return chatglm_demand_all;
	if (cte->scanned)
		return cte->demand;
	return bms_is_member(plan_id, rewrite->early) ? chatglm_demand_one : chatglm_demand_all;
}
