/*
 * job_flight.c - how the expression of a job will run.
 *
 * A chunk's rows are read first.  The expression is then computed over these rows in
 * memory, by a plan of its own: rows in flight, and where nothing in the plan reads a
 * table, without a snapshot, so that vacuum goes on elsewhere for as long as the model
 * computes.  Only what is known not to need one may run so: this library's functions, and
 * immutable ones in C or of the server, with few stable ones besides.  Functions in other
 * languages, domains, sub-selects and casts of users' types may run SQL.
 */
#include "chatglm.h"

#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "batch.h"
#include "function.h"
#include "jobs.h"
#include "shared.h"

static bool needs_snapshot(Node *node, void *context);

static bool
is_batch(const Plan *plan)
{
	return IsA(plan, CustomScan) &&
		   ((const CustomScan *) plan)->methods == &chatglm_batch_scan_methods;
}

/* ---- Without a snapshot ---------------------------------------------------------- */

/* Stable functions of pg_catalog that look at settings only, if their arguments are plain. */
static bool
is_harmless(Oid function)
{
	static const char *const names[] = {"format",
										"concat",
										"concat_ws",
										"to_char",
										"array_to_string",
										"jsonb_build_object",
										"json_build_object",
										"to_jsonb",
										"to_json",
										"jsonb_build_array",
										"json_build_array"};
	char					*name = get_func_name(function);

	for (int i = 0; i < (int) lengthof(names); i++)
		if (name != NULL && strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static bool
has_plain_arguments(const List *args)
{
	ListCell *cell;

	foreach(cell, args)
	{
		Oid type = exprType(lfirst(cell));

		if (type >= FirstNormalObjectId || type == RECORDOID || type == RECORDARRAYOID)
			return false;
	}
	return true;
}

static bool
function_needs_snapshot(Oid function, void *context)
{
	HeapTuple	 tuple;
	Form_pg_proc form;
	bool		 safe;

	if (chatglm_function_by_oid(function) != NULL)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	safe = (form->prolang == INTERNALlanguageId || form->prolang == ClanguageId) &&
		   !form->prosecdef && heap_attisnull(tuple, Anum_pg_proc_proconfig, NULL) &&
		   (form->provolatile == PROVOLATILE_IMMUTABLE ||
			(form->pronamespace == PG_CATALOG_NAMESPACE && function < FirstNormalObjectId &&
			 is_harmless(function)));
	ReleaseSysCache(tuple);
	return !safe;
}

static bool
io_needs_snapshot(const CoerceViaIO *coerce)
{
	Oid from = exprType((Node *) coerce->arg);

	return from >= FirstNormalObjectId || coerce->resulttype >= FirstNormalObjectId ||
		   from == RECORDOID || coerce->resulttype == RECORDOID;
}

/* Every kind of node that is not known to need none does. */
static bool
node_needs_snapshot(Node *node)
{
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			return ((FuncExpr *) node)->funcretset ||
				   (((FuncExpr *) node)->funcid < FirstNormalObjectId &&
					is_harmless(((FuncExpr *) node)->funcid) &&
					!has_plain_arguments(((FuncExpr *) node)->args));
		case T_CoerceViaIO:
			return io_needs_snapshot((CoerceViaIO *) node);
		case T_MinMaxExpr: /* compares by a function of the type */
			return ((MinMaxExpr *) node)->minmaxtype >= FirstNormalObjectId;
		case T_Param:
			return ((Param *) node)->paramkind != PARAM_EXTERN;
		case T_Var:
		case T_Const:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_RelabelType:
		case T_ArrayExpr:
		case T_ArrayCoerceExpr:
		case T_RowExpr:
		case T_FieldSelect:
		case T_SubscriptingRef:
		case T_NamedArgExpr:
		case T_SQLValueFunction:
		case T_TargetEntry:
		case T_List:
			return false;
		default:
			return true;
	}
}

static bool
needs_snapshot(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (node_needs_snapshot(node) || check_functions_in_node(node, function_needs_snapshot, NULL))
		return true;
	return expression_tree_walker(node, needs_snapshot, context);
}

static bool
plan_needs_snapshot(const Plan *plan)
{
	if (plan == NULL)
		return false;
	if (!IsA(plan, FunctionScan) && !IsA(plan, Result) && !is_batch(plan))
		return true;
	if (plan->righttree != NULL || plan->initPlan != NIL ||
		needs_snapshot((Node *) plan->targetlist, NULL) ||
		needs_snapshot((Node *) plan->qual, NULL))
		return true;
	if (IsA(plan, Result) && needs_snapshot(((const Result *) plan)->resconstantqual, NULL))
		return true;
	if (is_batch(plan) &&
		(needs_snapshot((Node *) ((const CustomScan *) plan)->custom_exprs, NULL) ||
		 ((const CustomScan *) plan)->custom_plans != NIL))
		return true;
	return plan_needs_snapshot(plan->lefttree);
}

bool
chatglm_job_needs_no_snapshot(const PlannedStmt *plan)
{
	return plan->commandType == CMD_SELECT && plan->subplans == NIL && plan->rowMarks == NIL &&
		   !plan_needs_snapshot(plan->planTree);
}

/* ---- In flight ------------------------------------------------------------------- */

static bool
function_asks(Oid function, void *context)
{
	return chatglm_function_by_oid(function) != NULL;
}

static bool
contains_call(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, function_asks, NULL))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, contains_call, context, 0);
	return expression_tree_walker(node, contains_call, context);
}

bool
chatglm_job_asks(Node *expression)
{
	return contains_call(expression, NULL);
}

/* Counts nodes GlmBatch; false: a call stands outside of them. */
static bool
calls_are_batched(const Plan *plan, int *n_batches)
{
	if (plan == NULL)
		return true;
	if (is_batch(plan))
		(*n_batches)++;
	if (contains_call((Node *) plan->targetlist, NULL) || contains_call((Node *) plan->qual, NULL))
		return false;
	return calls_are_batched(plan->lefttree, n_batches) &&
		   calls_are_batched(plan->righttree, n_batches);
}

bool
chatglm_job_in_flight(const PlannedStmt *plan)
{
	int n_batches = 0;

	return plan->subplans == NIL && calls_are_batched(plan->planTree, &n_batches) && n_batches > 0;
}
