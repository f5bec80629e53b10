/*
 * batch_plan.h - a statement that GlmBatch nodes are put into, and the steps of that.
 */
#ifndef CHATGLM_BATCH_PLAN_H
#define CHATGLM_BATCH_PLAN_H

#include "batch.h"

#include "nodes/plannodes.h"

/* What is demanded of a plan node. */
typedef struct Demand
{
	ChatglmDemand kind;	   /* by the plan */
	List		 *limits;  /* Limit, outermost first */
	int			  exact;   /* of the limits, those below which no node drops rows */
	ChatglmDemand run;	   /* by a run that wants so many rows; LIMIT: so many */
	bool		  careful; /* a join may end before this side of it does */
	int			  group;   /* nodes that share limits or a run; 0: none do */
} Demand;

/* What the scans of a CTE demand of it. */
typedef struct CteDemand
{
	bool   scanned;
	Demand demand;
} CteDemand;

/* A call with a mark (batch_same.c), and the column that it is. */
typedef struct MarkedCall
{
	FuncExpr *call;
	Node	 *condition; /* on which it is made; NULL: always */
	int		  attno;
} MarkedCall;

/* A statement that is being rewritten. */
typedef struct Rewrite
{
	int		   next_id;	   /* plan_node_id */
	int		   n_nodes;	   /* made so far */
	CteDemand *ctes;	   /* by plan_id, from 1 */
	Bitmapset *early;	   /* plan_ids of sub-selects that need not be read to the end */
	bool	   positioned; /* WHERE CURRENT OF may ask where its scans are */
	List	  *subplans;   /* the statement's */
	List	  *rtable;	   /* the same, and what is added to it */
	List	  *marked;	   /* MarkedCall, made below the node in hand */
} Rewrite;

/* ---- batch_walk.c ------------------------------------------------------- */

/* The plan nodes right below this one, as a new List. */
extern List *chatglm_plan_children(Plan *plan);

/*
 * Would WHERE CURRENT OF find the current row of one of several children below?
 * It looks through these nodes, but GlmBatch can stand for one table only
 * (batch_place.c).
 */
extern bool chatglm_hides_tables(const Plan *plan);

/* Calls the walker for all expressions of this one node until it says true. */
extern bool chatglm_walk_expressions(Plan *plan, bool (*walker)(Node *node, void *context),
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
extern void	  chatglm_note_subplans(Rewrite *rewrite, Plan *plan);
extern void	  chatglm_note_cte_scan(Rewrite *rewrite, CteScan *scan, Demand demand);
extern Demand chatglm_demand_of_subplan(const Rewrite *rewrite, int plan_id, const Plan *plan);

/* ---- batch_volatile.c ----------------------------------------------------- */

/* The statement that the following are about. */
extern void chatglm_volatile_begin(const PlannedStmt *statement);

/* Do these arguments hold volatile functions that are not ours? */
extern bool chatglm_arguments_run_others(List *arguments);

/* Does this plan run such that must not run ahead of its parent? */
extern bool chatglm_plan_runs_others(Plan *plan);

/* ---- batch_stack.c ------------------------------------------------------ */

/*
 * A node on top of the child that makes these calls, whose arguments are over
 * the child's columns as INDEX_VAR.  It gives all its columns.
 */
extern CustomScan *chatglm_make_batch(Rewrite *rewrite, Plan *child, List *calls);

/* Says what is demanded of a node that makes so many calls. */
extern void chatglm_set_demand(CustomScan *scan, int n_calls, Demand demand);

/* Cuts a list of clauses before the first one with a call; returns the rest. */
extern List *chatglm_cut_before_call(List **clauses);

/* Can a row of these columns and so many more be kept as a tuple? */
extern bool chatglm_fits_tuple(const List *columns, int more);

/*
 * Stacks nodes on the child until no call is left in *exprs, expressions over its
 * columns.  Calls for which a row would become too wide stay, to be made one by one.
 * With a condition, also over its columns, calls are made for the rows that meet it.
 * Returns the child where there was nothing to stack.
 */
extern Plan *chatglm_stack_calls(Rewrite *rewrite, Plan *child, List **exprs, Node *condition);

/*
 * Stacks what else these clauses and this target list need on a GlmBatch, and gives
 * them to the topmost node, which it returns.
 */
extern Plan *chatglm_finish_stack(Rewrite *rewrite, Plan *top, List *quals, List *list,
								  Demand demand);

/* Stacks nodes for the clauses: each for one with a call and those behind it without. */
extern Plan *chatglm_stack_quals(Rewrite *rewrite, Plan *child, List *clauses);

/* Does the node give all of its columns, so that those of its child keep their numbers? */
extern bool chatglm_passes_all(const CustomScan *scan);

/* ---- batch_node.c ------------------------------------------------------- */

/* Stacks GlmBatch nodes on this one where it has calls; returns the topmost node. */
extern Plan *chatglm_batch_node(Rewrite *rewrite, Plan *plan, Demand demand);

/* Puts GlmBatch nodes below it for the calls in its aggregates' arguments. */
extern void chatglm_batch_aggregates(Rewrite *rewrite, Agg *agg, Demand demand);

/* ---- batch_inner.c ------------------------------------------------------ */

/*
 * Is this a join that runs calls of ours for each row of its outer side?  Then this
 * puts GlmBatch nodes in its place, on top of the outer side.
 */
extern bool	 chatglm_is_row_by_row(Plan *plan);
extern Plan *chatglm_batch_join(Rewrite *rewrite, Plan *plan, Demand demand);

/* Executor parameters, and what they stand for. */
typedef struct Meanings
{
	List *list;
	bool  used; /* chatglm_put_meanings() has replaced one */
} Meanings;

extern void chatglm_add_meaning(Meanings *meanings, int paramid, Node *expr);

/* Replaces the parameters.  Context: Meanings. */
extern Node *chatglm_put_meanings(Node *node, void *context);

/*
 * Is this a plan of one row that asks, for other rows?  Then *asked is what it asks,
 * over their columns.
 */
extern bool chatglm_begin_inner(Plan *plan, Meanings *meanings, List **asked);

/*
 * What the plan gives, by position, and filters by (added to *quals), once nodes
 * are stacked for what it asks.  false: something has no equivalent, as can be tried
 * with what is asked as it stands.
 */
extern bool chatglm_given_by(Plan *plan, List *asked, Meanings *meanings, List **targets,
							 List **quals);

/* The same as a question; filtered: may it filter? */
extern bool chatglm_can_be_given(Plan *plan, Meanings *meanings, List *asked, bool filtered);

/* ---- batch_set.c -------------------------------------------------------- */

/*
 * Are all sub-selects for several columns in the target list such that ask once a
 * row?  Then this stacks nodes for them, and *targetlist, over the child's columns,
 * does without them.
 */
extern bool	 chatglm_can_inline_multiexprs(const Rewrite *rewrite, Plan *plan);
extern Plan *chatglm_inline_multiexprs(Rewrite *rewrite, Plan *top, List **targetlist);

/* ---- batch_values.c ----------------------------------------------------- */

/* Is this a ValuesScan with calls in its rows?  Then this makes them in flight. */
extern bool	 chatglm_has_called_values(Plan *plan);
extern Plan *chatglm_batch_values(Rewrite *rewrite, Plan *plan, Demand demand);

/* ---- batch_carry.c ------------------------------------------------------ */

/*
 * Where these expressions may make calls again that GlmBatch makes below, adds their
 * values to the columns of the child, and of a plan on top of it, if there is one.
 * Returns what CHATGLM_BATCH_CARRIED is to be.
 */
extern List *chatglm_carry_calls(Rewrite *rewrite, Plan *child, List **columns, List *wanted);

/* ---- batch_merge.c ------------------------------------------------------ */

/* Puts GlmBatch nodes below a ModifyTable for calls in the actions of its MERGE. */
extern void chatglm_batch_merge(Rewrite *rewrite, Plan *plan);

/* ---- batch_expr.c ------------------------------------------------------- */

/*
 * Calls taken out of expressions; the i-th becomes column base + i of varno.  With a
 * condition, it becomes CASE WHEN the condition THEN the call END.
 */
typedef struct Calls
{
	List  *list; /* FuncExpr, or CaseExpr around one */
	int	   base;
	int	   varno;
	Node  *condition; /* NULL: none */
	List **marked;	  /* MarkedCall, to which those with a mark are added */
} Calls;

/*
 * The following are walkers and mutators, to be called as such; a node may be a
 * List.  Mutators copy.
 */

/* Is there a call that is evaluated whenever the expression is?  No context. */
extern bool chatglm_has_call(Node *node, void *context);

/* Is there one at all? */
extern bool chatglm_has_call_anywhere(Node *node, void *context);

/* Are there volatile functions that are not ours? */
extern bool chatglm_runs_others(Node *node);

/* Replaces the innermost calls by their columns.  Context: Calls. */
extern Node *chatglm_take_calls(Node *node, void *context);

/* Replaces calls that are made already, wherever they stand.  Context: Calls. */
extern Node *chatglm_use_made(Node *node, void *context);

/*
 * The same inside of aggregates: their FILTER, which every row meets, and then
 * their arguments.  A call in the arguments of one with a FILTER becomes
 * CASE WHEN the filter THEN the call END.
 */
extern bool	 chatglm_has_aggregated_call(Node *node, void *context);
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

#endif /* CHATGLM_BATCH_PLAN_H */
