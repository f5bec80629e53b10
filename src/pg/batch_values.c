/*
 * batch_values.c - calls in the rows of VALUES.
 *
 * Each row of a VALUES list has expressions of its own, which a ValuesScan
 * evaluates as it comes to the row.  GlmBatch has one expression for all rows of
 * its child.  So a column is taken apart: what its rows have in common around their
 * calls becomes the expression, and the parts without calls in which they
 * differ become columns of the ValuesScan.  VALUES (upper(glm_generate('a'))),
 * (upper(glm_generate('b'))) becomes upper(glm_generate(column1)) over 'a' and 'b'.
 *
 * Rows without a call in such a column have their value in another one, and a flag
 * that says so; the call is then made on the condition that the flag is not set.
 *
 * A column whose rows have not the same form, or that runs volatile functions of
 * others, is left as it is.
 *
 * The scan needs a range table entry with the names of its new columns, so it gets
 * one of its own.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

#include "batch_plan.h"

/* A column of the list, taken apart. */
typedef struct Column
{
	Node *form;	 /* over parts, as Var of varno 1; NULL: is left as it is */
	List *parts; /* of lists, one for each row; an empty one: no call */
	int	  n_parts;
	bool  partly; /* there are rows without a call */
	int	  first;  /* column of the scan: parts, then value and flag; or value */
	Node *result; /* over the scan's columns */
} Column;

/* ---- Taking apart ---------------------------------------------------------------- */

/* Replaces what has no call by Vars, and collects it.  Context: List *. */
static Node *
take_parts(Node *node, void *context)
{
	List **parts = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, List) || chatglm_has_call(node, NULL))
		return expression_tree_mutator(node, take_parts, context);
	*parts = lappend(*parts, node);
	return (Node *) makeVar(1, list_length(*parts), exprType(node), exprTypmod(node),
							exprCollation(node), 0);
}

static bool
take_apart_row(Column *column, Node *expr)
{
	List *parts = NIL;
	Node *form;

	if (!chatglm_has_call(expr, NULL))
	{
		column->partly = true;
		column->parts = lappend(column->parts, NIL);
		return !contain_volatile_functions(expr);
	}
	form = take_parts(expr, &parts);
	column->parts = lappend(column->parts, parts);
	if (column->form == NULL)
	{
		column->form = form;
		column->n_parts = list_length(parts);
		return true;
	}
	return equal(form, column->form);
}

/* Takes the n-th column apart, where there are calls and that can be done. */
static void
take_column_apart(Column *column, const List *rows, int n)
{
	bool	  good = true;
	ListCell *cell;

	foreach(cell, rows)
	{
		Node *expr = list_nth(lfirst(cell), n);

		if (!good)
			break;
		good = !chatglm_runs_others(expr) && take_apart_row(column, expr);
	}
	if (!good)
		column->form = NULL;
}

static Column *
take_apart_all(const ValuesScan *scan, int *n_columns)
{
	Column *columns;

	*n_columns = list_length(linitial(scan->values_lists));
	columns = palloc0(*n_columns * sizeof(Column));
	for (int i = 0; i < *n_columns; i++)
		take_column_apart(&columns[i], scan->values_lists, i);
	return columns;
}

/* The part, where it is the same constant in all rows that have a call. */
static Node *
common_part(const Column *column, int part)
{
	Node	 *common = NULL;
	ListCell *cell;

	foreach(cell, column->parts)
	{
		Node *expr;

		if (lfirst(cell) == NIL)
			continue;
		expr = list_nth(lfirst(cell), part);
		if (!IsA(expr, Const) || (common != NULL && !equal(expr, common)))
			return NULL;
		common = expr;
	}
	return common;
}

/* ---- The new scan ------------------------------------------------------------------ */

/* What the parts of a form become, in order.  Context: List. */
static Node *
put_parts(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return copyObject(list_nth((List *) context, ((Var *) node)->varattno - 1));
	return expression_tree_mutator(node, put_parts, context);
}

/* Adds a column, with these values, to the rows; returns it. */
static Node *
add_column(List *rows, List *values)
{
	Node	 *first = linitial(values);
	ListCell *row;
	ListCell *value;

	forboth(row, rows, value, values)
		lfirst(row) = lappend(lfirst(row), lfirst(value));
	return (Node *) makeVar(INDEX_VAR, list_length(linitial(rows)), exprType(first),
							exprTypmod(first), exprCollation(first), 0);
}

/* The values of one part; NULL where the row has no call. */
static List *
values_of_part(const Column *column, int part)
{
	List	 *values = NIL;
	Node	 *some = NULL;
	ListCell *cell;

	foreach(cell, column->parts)
		if (lfirst(cell) != NIL)
			some = list_nth(lfirst(cell), part);
	foreach(cell, column->parts)
		values = lappend(values, lfirst(cell) != NIL
									 ? list_nth(lfirst(cell), part)
									 : (Node *) makeNullConst(exprType(some), exprTypmod(some),
															  exprCollation(some)));
	return values;
}

/* The values of the rows without a call, and whether a row has one. */
static void
plain_values(const Column *column, const List *rows, int n, List **values, List **flags)
{
	ListCell *row;
	ListCell *parts;

	forboth(row, rows, parts, column->parts)
	{
		Node *expr = list_nth(lfirst(row), n);
		bool  called = lfirst(parts) != NIL;

		*values =
			lappend(*values, !called ? expr
									 : (Node *) makeNullConst(exprType(expr), exprTypmod(expr),
															  exprCollation(expr)));
		*flags = lappend(*flags, makeBoolConst(called, false));
	}
}

/* The n-th value of each row. */
static List *
nth_values(const List *rows, int n)
{
	List	 *values = NIL;
	ListCell *cell;

	foreach(cell, rows)
		values = lappend(values, list_nth(lfirst(cell), n));
	return values;
}

/* The range table entry of the scan, but with so many columns; returns its index. */
static int
add_range(Rewrite *rewrite, int scanrelid, int n_columns)
{
	RangeTblEntry *rte = copyObject(list_nth_node(RangeTblEntry, rewrite->rtable, scanrelid - 1));

	rte->eref->colnames = NIL;
	for (int i = 0; i < n_columns; i++)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(psprintf("column%d", i + 1)));
	rewrite->rtable = lappend(rewrite->rtable, rte);
	return list_length(rewrite->rtable);
}

static void
set_scan(Rewrite *rewrite, ValuesScan *scan, List *rows)
{
	Plan	 *plan = &scan->scan.plan;
	int		  n = list_length(linitial(rows));
	ListCell *cell;
	int		  attno = 0;

	scan->scan.scanrelid = add_range(rewrite, scan->scan.scanrelid, n);
	scan->values_lists = rows;
	plan->qual = NIL;
	plan->targetlist = NIL;
	foreach(cell, linitial(rows))
	{
		Node *expr = lfirst(cell);
		Var	 *var = makeVar(scan->scan.scanrelid, ++attno, exprType(expr), exprTypmod(expr),
							exprCollation(expr), 0);

		plan->targetlist =
			lappend(plan->targetlist, makeTargetEntry((Expr *) var, attno, NULL, false));
	}
}

/* ---- On top of it -------------------------------------------------------------------- */

/* The columns of the scan and, for those taken apart, what is asked over them. */
typedef struct Building
{
	List *rows;
	List *asked; /* forms of columns all of whose rows have calls */
} Building;

static void
add_to_scan(Building *building, Column *column, const List *old_rows, int n)
{
	List *parts = NIL;

	if (column->form == NULL)
	{
		column->result = add_column(building->rows, nth_values(old_rows, n));
		return;
	}
	for (int i = 0; i < column->n_parts; i++)
	{
		Node *common = common_part(column, i);

		parts = lappend(
			parts, common != NULL ? common : add_column(building->rows, values_of_part(column, i)));
	}
	column->result = put_parts(column->form, parts);
	if (!column->partly)
		building->asked = lappend(building->asked, column->result);
}

/* A column some of whose rows have calls: asks where they have, and puts both together. */
static Plan *
ask_partly(Rewrite *rewrite, Plan *top, Column *column, Node *value, Node *flag)
{
	List	 *asked = list_make1(column->result);
	CaseExpr *either = makeNode(CaseExpr);
	CaseWhen *when = makeNode(CaseWhen);

	top = chatglm_stack_calls(rewrite, top, &asked, flag);
	when->expr = copyObject((Expr *) flag);
	when->result = linitial(asked);
	either->casetype = exprType(value);
	either->casecollid = exprCollation(value);
	either->args = list_make1(when);
	either->defresult = (Expr *) value;
	column->result = (Node *) either;
	return top;
}

/* Puts the results for the columns of the old scan.  Context: Results. */
typedef struct Results
{
	int			  scanrelid;
	const Column *columns;
} Results;

static Node *
put_results(Node *node, void *context)
{
	const Results *results = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && (int) ((Var *) node)->varno == results->scanrelid)
		return copyObject(results->columns[((Var *) node)->varattno - 1].result);
	return expression_tree_mutator(node, put_results, context);
}

bool
chatglm_has_called_values(Plan *plan)
{
	Column	  *columns;
	Bitmapset *used = NULL;
	int		   n;
	int		   width = 0;
	bool	   found = false;

	if (!IsA(plan, ValuesScan) ||
		!chatglm_has_call_anywhere((Node *) ((ValuesScan *) plan)->values_lists, NULL))
		return false;
	columns = take_apart_all((ValuesScan *) plan, &n);
	for (int i = 0; i < n; i++)
	{
		found |= columns[i].form != NULL;
		width += columns[i].n_parts + 2;
	}
	pull_varattnos((Node *) list_make2(plan->targetlist, plan->qual),
				   ((ValuesScan *) plan)->scan.scanrelid, &used);
	return found && width <= MaxTupleAttributeNumber &&
		   !bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, used);
}

Plan *
chatglm_batch_values(Rewrite *rewrite, Plan *plan, Demand demand)
{
	ValuesScan *scan = (ValuesScan *) plan;
	List	   *old_rows = scan->values_lists;
	Building	building = {NIL, NIL};
	Results		results;
	int			n;
	Column	   *columns = take_apart_all(scan, &n);
	Node	  **values = palloc0(n * sizeof(Node *));
	Node	  **flags = palloc0(n * sizeof(Node *));
	Plan	   *top = plan;
	List	   *list = plan->targetlist;
	List	   *quals = plan->qual;
	ListCell   *cell;

	foreach(cell, old_rows)
		building.rows = lappend(building.rows, NIL);
	for (int i = 0; i < n; i++)
	{
		List *plain = NIL;
		List *called = NIL;

		add_to_scan(&building, &columns[i], old_rows, i);
		if (columns[i].form == NULL || !columns[i].partly)
			continue;
		plain_values(&columns[i], old_rows, i, &plain, &called);
		values[i] = add_column(building.rows, plain);
		flags[i] = add_column(building.rows, called);
	}
	results = (Results){scan->scan.scanrelid, columns};
	set_scan(rewrite, scan, building.rows);

	rewrite->marked = NIL;
	top = chatglm_stack_calls(rewrite, top, &building.asked, NULL);
	cell = list_head(building.asked);
	for (int i = 0; i < n; i++)
	{
		if (flags[i] != NULL)
			top = ask_partly(rewrite, top, &columns[i], values[i], flags[i]);
		else if (columns[i].form != NULL)
		{
			columns[i].result = lfirst(cell);
			cell = lnext(building.asked, cell);
		}
	}
	quals = (List *) put_results((Node *) quals, &results);
	list = (List *) put_results((Node *) list, &results);
	return chatglm_finish_stack(rewrite, top, quals, list, demand);
}
