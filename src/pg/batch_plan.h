/*
 * batch_plan.h - what the planner files of GlmBatch share: batch_plan.c (the way
 * down the plan), batch_node.c (the nodes), batch_expr.c (the expressions).
 */
#ifndef CHATGLM_BATCH_PLAN_H
#define CHATGLM_BATCH_PLAN_H

#include "batch.h"

#include "nodes/plannodes.h"

/* What is demanded of a plan node. */
typedef struct Demand
{
	ChatglmDemand kind;			/* by the plan */
	List	   *limits;			/* Limit, outermost first */
	int			exact;			/* of the limits, those below which no node drops rows */
	ChatglmDemand run;			/* by a run that wants so many rows; LIMIT: so many */
	bool		careful;		/* a join may end before this side of it does */
	int			group;			/* nodes that share limits or a run; 0: none do */
} Demand;

/* What the scans of a CTE demand of it. */
typedef struct CteDemand
{
	bool		scanned;
	Demand		demand;
} CteDemand;

/* A statement that is being rewritten. */
typedef struct Rewrite
{
	int			next_id;		/* plan_node_id */
	int			n_nodes;		/* made so far */
	CteDemand  *ctes;			/* by plan_id, from 1 */
	Bitmapset  *early;			/* plan_ids of sub-selects that need not be read to the end */
	bool		positioned;		/* WHERE CURRENT OF may ask where its scans are */
} Rewrite;

/* ---- batch_walk.c ------------------------------------------------------- */

/* The plan nodes right below this one, as a new List. */
extern List *chatglm_plan_children(Plan *plan);

/* Calls the walker for all expressions of this one node until it says true. */
extern bool chatglm_walk_expressions(Plan *plan, bool (*walker) (Node *node, void *context),
									 void *context);

/* ---- batch_demand.c ----------------------------------------------------- */

extern const Demand chatglm_demand_all; /* every row will be read */
extern const Demand chatglm_demand_one; /* cannot be told: one after the other */
extern const Demand chatglm_demand_top; /* of the statement's own plan */

/* What a node demands of its children; a join, of its inner side. */
extern Demand chatglm_demand_below(Plan *plan, Demand demand);
extern Demand chatglm_demand_of_inner(Plan *join, Demand demand);

/*
 * What is demanded of a subplan: known when all plans went through
 * chatglm_note_subplans() and all its scans through chatglm_note_cte_scan().
 */
extern void chatglm_note_subplans(Rewrite *rewrite, Plan *plan);
extern void chatglm_note_cte_scan(Rewrite *rewrite, CteScan *scan, Demand demand);
extern Demand chatglm_demand_of_subplan(const Rewrite *rewrite, int plan_id, const Plan *plan);

/* ---- batch_volatile.c ----------------------------------------------------- */

/* The statement that the following are about. */
extern void chatglm_volatile_begin(const PlannedStmt *statement);

/* Do these arguments hold volatile functions that are not ours? */
extern bool chatglm_arguments_run_others(List *arguments);

/* Does this plan run such that must not run ahead of its parent? */
extern bool chatglm_plan_runs_others(Plan *plan);

/* ---- batch_node.c ------------------------------------------------------- */

/* Stacks GlmBatch nodes on this one where it has calls; returns the topmost node. */
extern Plan *chatglm_batch_node(Rewrite *rewrite, Plan *plan, Demand demand);

/* Puts GlmBatch nodes below it for the calls in its aggregates' arguments. */
extern void chatglm_batch_aggregates(Rewrite *rewrite, Agg *agg, Demand demand);

/* ---- batch_expr.c ------------------------------------------------------- */

/* Calls taken out of expressions; the i-th becomes column base + i of varno. */
typedef struct Calls
{
	List	   *list;			/* FuncExpr */
	int			base;
	int			varno;
} Calls;

/*
 * The following are walkers and mutators, to be called as such; a node may be a
 * List.  Mutators copy.
 */

/* Is there a call that is evaluated whenever the expression is?  No context. */
extern bool chatglm_has_call(Node *node, void *context);

/* Replaces the innermost calls by their columns.  Context: Calls. */
extern Node *chatglm_take_calls(Node *node, void *context);

/* The same inside of aggregates that get the arguments of every row. */
extern bool chatglm_has_aggregated_call(Node *node, void *context);
extern Node *chatglm_take_aggregated_calls(Node *node, void *context);

/*
 * Replaces what the plan node of the expression makes itself (variables,
 * aggregates) by INDEX_VAR columns.  Context: List *, to which they are added.
 */
extern Node *chatglm_to_columns(Node *node, void *context);

/* Gives the variables of one varno another. */
extern Node *chatglm_renumber(Node *node, int from, int to);

/* UPDATE ... SET (a, b) = (SELECT ...): a sub-select whose columns are parameters. */
extern bool chatglm_has_multiexpr(Node *node, void *context);

#endif							/* CHATGLM_BATCH_PLAN_H */
