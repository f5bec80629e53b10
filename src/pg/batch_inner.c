/*
 * batch_inner.c - plans that give one row for each row of another, as in FROM t,
 * glm_try_generate(t.body) r; and the joins that run them.
 *
 * PostgreSQL runs such a plan anew for each row, as the inner side of a nested
 * loop or as a sub-select, with what it needs of that row in parameters.  Where it
 * is but a function of ours, or a SELECT without FROM, it cannot do otherwise than
 * give one row.  So its expressions may as well be evaluated on top of the other
 * plan: the parameters become the expressions that they stand for, the calls go
 * into GlmBatch nodes, and what was a column of the inner plan becomes an
 * expression over the calls' columns.  A function in FROM is called once, however
 * often its columns are used, so its call is taken before they are put in place.
 *
 * What is left alone: inner plans that do not depend on the row (they run once),
 * sub-selects that filter, inner plans with sub-selects, with volatile
 * functions of others, and those that Memoize keeps.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "ask.h"
#include "batch_plan.h"
#include "batch_same.h"
#include "function.h"

/* ---- Parameters -------------------------------------------------------------- */

/* An executor parameter and what it stands for. */
typedef struct Meaning
{
	int	  paramid;
	Node *expr;
} Meaning;

void
chatglm_add_meaning(Meanings *meanings, int paramid, Node *expr)
{
	Meaning *meaning = palloc(sizeof(*meaning));

	meaning->paramid = paramid;
	meaning->expr = expr;
	meanings->list = lappend(meanings->list, meaning);
}

Node *
chatglm_put_meanings(Node *node, void *context)
{
	Meanings *meanings = context;
	ListCell *cell;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC)
	{
		foreach(cell, meanings->list)
		{
			const Meaning *meaning = lfirst(cell);

			if (meaning->paramid != ((Param *) node)->paramid)
				continue;
			meanings->used = true;
			return copyObject(meaning->expr);
		}
	}
	return expression_tree_mutator(node, chatglm_put_meanings, context);
}

/* ---- Plans of one row ---------------------------------------------------------- */

/* The call that is all of a FunctionScan, else NULL. */
static FuncExpr *
function_scanned(Plan *plan)
{
	FunctionScan		  *scan = (FunctionScan *) plan;
	RangeTblFunction	  *item;
	const ChatglmFunction *function;

	if (!IsA(plan, FunctionScan) || list_length(scan->functions) != 1)
		return NULL;
	item = linitial(scan->functions);
	if (!IsA(item->funcexpr, FuncExpr) || item->funccolnames != NIL ||
		((FuncExpr *) item->funcexpr)->funcretset)
		return NULL;
	function = chatglm_function_by_oid(((FuncExpr *) item->funcexpr)->funcid);
	return function != NULL ? (FuncExpr *) item->funcexpr : NULL;
}

/* Is this a LIMIT that leaves the one row? */
static bool
leaves_one(const Limit *limit)
{
	const Const *count;

	if (!IsA(limit, Limit) || limit->limitOffset != NULL || limit->limitCount == NULL ||
		!IsA(limit->limitCount, Const))
		return false;
	count = (const Const *) limit->limitCount;
	return count->constisnull || DatumGetInt64(count->constvalue) > 0;
}

static List *
expressions_of(const List *targetlist)
{
	List	 *exprs = NIL;
	ListCell *cell;

	foreach(cell, targetlist)
		exprs = lappend(exprs, lfirst_node(TargetEntry, cell)->expr);
	return exprs;
}

/*
 * The expressions that such a plan evaluates before all others, as they stand; NIL:
 * it is no plan of one row.  A SubqueryScan may filter it.
 */
static List *
asked_by(Plan *plan)
{
	if (plan == NULL || plan->initPlan != NIL)
		return NIL;
	if (function_scanned(plan) != NULL)
		return list_make1(function_scanned(plan));
	if (IsA(plan, SubqueryScan))
		return asked_by(((SubqueryScan *) plan)->subplan);
	if (leaves_one((Limit *) plan))
		return asked_by(plan->lefttree);
	if (IsA(plan, Result) && plan->lefttree == NULL && plan->qual == NIL &&
		((Result *) plan)->resconstantqual == NULL)
		return expressions_of(plan->targetlist);
	return NIL;
}

/* The columns of a scan, by number, and what they become. */
typedef struct Columns
{
	int	  scanrelid;
	Node *call;		  /* of a FunctionScan; NULL: */
	int	  ordinality; /* its column of that name, or 0 */
	List *exprs;	  /* of a SubqueryScan */
	bool  failed;	  /* met what has no equivalent */
} Columns;

static Node *
field_of(Node *call, const Var *column)
{
	FieldSelect *field;

	if (!type_is_rowtype(exprType(call)))
		return column->varattno == 1 ? copyObject(call) : NULL;
	field = makeNode(FieldSelect);
	field->arg = copyObject((Expr *) call);
	field->fieldnum = column->varattno;
	field->resulttype = column->vartype;
	field->resulttypmod = column->vartypmod;
	field->resultcollid = column->varcollid;
	return (Node *) field;
}

/*
 * What UPDATE ... FROM and FOR UPDATE carry of a function with one value, to lock it as
 * a row.
 */
static Node *
record_of(Node *call, const Var *row)
{
	RowExpr *expr = makeNode(RowExpr);

	if (row->vartype != RECORDOID)
		return NULL;
	expr->row_typeid = RECORDOID;
	expr->row_format = COERCE_IMPLICIT_CAST;
	expr->args = list_make1(copyObject(call));
	expr->colnames = list_make1(makeString(pstrdup("column1")));
	return (Node *) expr;
}

/* The row as a whole, which is none that is NULL even if the function's value is. */
static Node *
whole_row_of(Node *call, const Var *row)
{
	RowExpr	 *expr;
	TupleDesc desc;

	if (!type_is_rowtype(exprType(call)))
		return record_of(call, row);
	if (row->vartype != exprType(call))
		return NULL;
	expr = makeNode(RowExpr);
	expr->row_typeid = row->vartype;
	expr->row_format = COERCE_IMPLICIT_CAST;
	desc = lookup_rowtype_tupdesc_copy(row->vartype, -1);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Var				  column = {.varattno = i + 1,
									.vartype = att->atttypid,
									.vartypmod = att->atttypmod,
									.varcollid = att->attcollation};

		expr->args = lappend(expr->args, field_of(call, &column));
	}
	return (Node *) expr;
}

static Node *
meaning_of_column(const Columns *columns, const Var *column)
{
	if (column->varattno > 0 && column->varattno == columns->ordinality)
		return (Node *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(1), false,
								  FLOAT8PASSBYVAL);
	if (column->varattno > 0 && columns->call != NULL)
		return field_of(columns->call, column);
	if (column->varattno == 0 && columns->call != NULL && columns->ordinality == 0)
		return whole_row_of(columns->call, column);
	if (column->varattno > 0 && column->varattno <= list_length(columns->exprs))
		return copyObject(list_nth(columns->exprs, column->varattno - 1));
	return NULL;
}

/* Replaces the columns.  Context: Columns. */
static Node *
put_columns(Node *node, void *context)
{
	Columns *columns = context;
	Node	*meaning;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var) || (int) ((Var *) node)->varno != columns->scanrelid)
		return expression_tree_mutator(node, put_columns, context);
	meaning = meaning_of_column(columns, (Var *) node);
	columns->failed |= meaning == NULL;
	return meaning;
}

bool
chatglm_given_by(Plan *plan, List *asked, Meanings *meanings, List **targets, List **quals)
{
	Columns columns = {0};

	if (IsA(plan, Limit))
		return chatglm_given_by(plan->lefttree, asked, meanings, targets, quals);
	if (IsA(plan, Result))
	{
		*targets = asked;
		return true;
	}
	columns.scanrelid = ((Scan *) plan)->scanrelid;
	if (IsA(plan, FunctionScan))
	{
		const RangeTblFunction *item = linitial(((FunctionScan *) plan)->functions);

		columns.call = linitial(asked);
		columns.ordinality = ((FunctionScan *) plan)->funcordinality ? item->funccolcount + 1 : 0;
	}
	else if (!chatglm_given_by(((SubqueryScan *) plan)->subplan, asked, meanings, &columns.exprs,
							   quals))
		return false;
	*targets = (List *) put_columns(
		chatglm_put_meanings((Node *) expressions_of(plan->targetlist), meanings), &columns);
	*quals = list_concat(
		*quals,
		(List *) put_columns(chatglm_put_meanings((Node *) plan->qual, meanings), &columns));
	return !columns.failed;
}

/* Does it do what must be done once, at its place, and for each row? */
static bool
inner_runs_others(Plan *plan)
{
	List *exprs = list_make2(plan->targetlist, plan->qual);

	if (contain_subplans((Node *) exprs) || chatglm_runs_others((Node *) exprs))
		return true;
	if (IsA(plan, Limit))
		return inner_runs_others(plan->lefttree);
	return IsA(plan, SubqueryScan) && inner_runs_others(((SubqueryScan *) plan)->subplan);
}

bool
chatglm_begin_inner(Plan *plan, Meanings *meanings, List **asked)
{
	*asked = asked_by(plan);
	if (*asked == NIL || inner_runs_others(plan) || contain_subplans((Node *) *asked) ||
		chatglm_runs_others((Node *) *asked))
		return false;
	meanings->used = false;
	*asked = (List *) chatglm_put_meanings((Node *) *asked, meanings);
	return meanings->used && chatglm_has_call((Node *) *asked, NULL);
}

bool
chatglm_can_be_given(Plan *plan, Meanings *meanings, List *asked, bool filtered)
{
	List *targets = NIL;
	List *quals = NIL;

	return chatglm_given_by(plan, asked, meanings, &targets, &quals) && (filtered || quals == NIL);
}

/* ---- Joins ------------------------------------------------------------------------ */

/* Puts OUTER_VAR and INNER_VAR of a join together.  Context: List of the inner targets. */
static Node *
put_sides(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && (int) ((Var *) node)->varno == INNER_VAR)
		return copyObject(list_nth((List *) context, ((Var *) node)->varattno - 1));
	if (IsA(node, Var) && (int) ((Var *) node)->varno == OUTER_VAR)
		return chatglm_renumber(node, OUTER_VAR, INDEX_VAR);
	return expression_tree_mutator(node, put_sides, context);
}

static Meanings
meanings_of_join(NestLoop *join)
{
	Meanings  meanings = {0};
	ListCell *cell;

	foreach(cell, join->nestParams)
	{
		NestLoopParam *param = lfirst(cell);

		chatglm_add_meaning(&meanings, param->paramno,
							chatglm_renumber((Node *) param->paramval, OUTER_VAR, INDEX_VAR));
	}
	return meanings;
}

/* May clauses of an outer join be evaluated for each column of the inner side? */
static bool
can_be_condition(List *clauses)
{
	return !chatglm_has_call_anywhere((Node *) clauses, NULL) &&
		   !contain_volatile_functions((Node *) clauses) && !contain_subplans((Node *) clauses);
}

/* The columns of an outer join's inner side: NULL where the clauses do not hold. */
static List *
columns_on_condition(List *targets, List *clauses)
{
	List	 *columns = NIL;
	ListCell *cell;

	if (clauses == NIL)
		return targets;
	foreach(cell, targets)
	{
		Node	 *target = lfirst(cell);
		CaseExpr *expr = makeNode(CaseExpr);
		CaseWhen *when = makeNode(CaseWhen);

		when->expr = make_ands_explicit(copyObject(clauses));
		when->result = (Expr *) target;
		expr->casetype = exprType(target);
		expr->casecollid = exprCollation(target);
		expr->args = list_make1(when);
		expr->defresult =
			(Expr *) makeNullConst(exprType(target), exprTypmod(target), exprCollation(target));
		columns = lappend(columns, expr);
	}
	return columns;
}

bool
chatglm_is_row_by_row(Plan *plan)
{
	NestLoop *join = (NestLoop *) plan;
	Meanings  meanings;
	List	 *asked;

	if (!IsA(plan, NestLoop) ||
		(join->join.jointype != JOIN_INNER && join->join.jointype != JOIN_LEFT))
		return false;
	if (join->join.jointype == JOIN_LEFT &&
		(!can_be_condition(join->join.joinqual) || !can_be_condition(plan->righttree->qual)))
		return false;
	meanings = meanings_of_join(join);
	return chatglm_begin_inner(plan->righttree, &meanings, &asked) &&
		   chatglm_fits_tuple(plan->lefttree->targetlist, list_length(asked)) &&
		   chatglm_can_be_given(plan->righttree, &meanings, asked, true);
}

Plan *
chatglm_batch_join(Rewrite *rewrite, Plan *plan, Demand demand)
{
	NestLoop *join = (NestLoop *) plan;
	Meanings  meanings = meanings_of_join(join);
	Plan	 *top;
	List	 *asked;
	List	 *targets = NIL;
	List	 *quals = NIL;
	List	 *list;

	(void) chatglm_begin_inner(plan->righttree, &meanings, &asked);
	rewrite->marked = NIL;
	chatglm_mark_in_plan(asked);
	top = chatglm_stack_calls(rewrite, plan->lefttree, &asked, NULL);
	(void) chatglm_given_by(plan->righttree, asked, &meanings, &targets, &quals);
	quals = list_concat(quals, (List *) put_sides((Node *) join->join.joinqual, targets));
	if (join->join.jointype == JOIN_LEFT)
	{
		targets = columns_on_condition(targets, quals);
		quals = NIL;
	}
	quals = list_concat(quals, (List *) put_sides((Node *) plan->qual, targets));
	list = (List *) put_sides((Node *) plan->targetlist, targets);

	top->initPlan = plan->initPlan;
	top = chatglm_finish_stack(rewrite, top, quals, list, demand);
	for (Plan *node = top; node != plan->lefttree; node = node->lefttree)
	{
		node->extParam = bms_copy(plan->extParam);
		node->allParam = bms_copy(plan->allParam);
		node->plan_rows = plan->plan_rows;
	}
	return top;
}
