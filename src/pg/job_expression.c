/*
 * job_expression.c - the text of an expression over a row: checked, qualified.
 *
 * Text of a caller is code, so it is never pasted into a statement as it came: it is
 * parsed as the only column of a SELECT without anything else, analysed with the table
 * as the only thing in sight, and written down again by the server, every name of it
 * qualified that is not of pg_catalog.  What was kept like that goes through the same
 * again whenever a chunk is computed, so a column that is gone is found then.
 */
#include "chatglm.h"

#include "access/sysattr.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#include "jobs.h"

static Node *only_expression(const char *sql, const char *what);
static bool	 is_bare_select(const SelectStmt *select);
static void	 refuse(bool found, const char *what, const char *thing);

Relation
chatglm_job_open_source(const ChatglmJob *job, LOCKMODE lock)
{
	Relation source = try_relation_open(job->source, lock);

	if (source == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("the table of job \"%s\" does not exist any more", job->name),
						errhint("Drop the job by glm_job_drop().")));
	return source;
}

/* ---- From text ------------------------------------------------------------------- */

static void not_one_expression(const char *what) pg_attribute_noreturn();

static void
not_one_expression(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("argument \"%s\" must be one expression over a row of the table", what)));
}

static Node *
only_expression(const char *sql, const char *what)
{
	List	   *statements = chatglm_raw_parser(sql);
	SelectStmt *select;
	ResTarget  *target;

	if (list_length(statements) != 1)
		not_one_expression(what);
	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt) || !is_bare_select(select))
		not_one_expression(what);
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL || target->indirection != NIL)
		not_one_expression(what);
	return target->val;
}

/* A SELECT of one column and nothing else. */
static bool
is_bare_select(const SelectStmt *select)
{
	return select->op == SETOP_NONE && list_length(select->targetList) == 1 &&
		   select->distinctClause == NIL && select->intoClause == NULL &&
		   select->fromClause == NIL && select->whereClause == NULL && select->groupClause == NIL &&
		   select->havingClause == NULL && select->windowClause == NIL &&
		   select->valuesLists == NIL && select->sortClause == NIL && select->limitOffset == NULL &&
		   select->limitCount == NULL && select->lockingClause == NIL && select->withClause == NULL;
}

static void
refuse(bool found, const char *what, const char *thing)
{
	if (found)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("argument \"%s\" must not contain %s", what, thing)));
}

static void
refuse_system_columns(Node *expression, const char *what)
{
	Bitmapset *attnums = NULL;
	int		   i = -1;

	pull_varattnos(expression, 1, &attnums);
	while ((i = bms_next_member(attnums, i)) >= 0)
		refuse(i + FirstLowInvalidHeapAttributeNumber < 0, what, "system columns");
}

/* An error's place is one in the text that was given, not in the caller's statement. */
static void
show_text(void *arg)
{
	int position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(arg);
}

static Node *
analyse(Relation source, Node *raw, const char *what, Alias *alias)
{
	ParseState		   *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item =
		addRangeTableEntryForRelation(pstate, source, AccessShareLock, alias, false, true);
	Node *expression;

	addNSItemToQuery(pstate, item, false, true, true);
	expression = transformExpr(pstate, raw, EXPR_KIND_SELECT_TARGET);
	if (exprType(expression) == UNKNOWNOID)
		expression = coerce_to_common_type(pstate, expression, TEXTOID, "SELECT");
	refuse(pstate->p_hasAggs, what, "aggregate functions");
	refuse(pstate->p_hasWindowFuncs, what, "window functions");
	refuse(pstate->p_hasTargetSRFs, what, "functions that return sets");
	if (strcmp(what, "where") == 0)
		expression = coerce_to_boolean(pstate, expression, "WHERE");
	assign_expr_collations(pstate, expression);
	refuse_system_columns(expression, what);
	free_parsestate(pstate);
	return expression;
}

Node *
chatglm_job_analyse(Relation source, const char *text, const char *what, bool kept)
{
	/* the parentheses stand on lines of their own: the text may end in a comment */
	char				*sql = psprintf("SELECT (\n%s\n)", text);
	ErrorContextCallback context = {.callback = show_text, .arg = sql};
	int					 level = NewGUCNestLevel();
	Node				*expression;

	context.previous = error_context_stack;
	error_context_stack = &context;
	if (kept)
		chatglm_job_set_path();
	expression = analyse(source, only_expression(sql, what), what,
						 kept ? makeAlias(CHATGLM_JOB_ALIAS, NIL) : NULL);
	AtEOXact_GUC(true, level);
	error_context_stack = context.previous;
	return expression;
}

/* ---- To text --------------------------------------------------------------------- */

char *
chatglm_job_deparse(Relation source, Node *expression)
{
	int	  level = NewGUCNestLevel();
	List *context = deparse_context_for(CHATGLM_JOB_ALIAS, RelationGetRelid(source));
	char *text;

	chatglm_job_set_path();
	text = deparse_expression(expression, context, true, false);
	AtEOXact_GUC(true, level);
	return text;
}

/* ---- What it reads --------------------------------------------------------------- */

static bool
is_target(const ChatglmJob *job, const char *column)
{
	for (int i = 0; i < job->n_targets; i++)
		if (strcmp(job->targets[i], column) == 0)
			return true;
	return false;
}

List *
chatglm_job_inputs(const ChatglmJob *job, Relation source, Node *expression, bool *whole)
{
	TupleDesc  desc = RelationGetDescr(source);
	Bitmapset *attnums = NULL;
	List	  *inputs = NIL;

	pull_varattnos(expression, 1, &attnums);
	*whole = bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, attnums);
	for (int i = 1; i <= desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i - 1);

		if (attribute->attisdropped)
			continue;
		if (bms_is_member(i - FirstLowInvalidHeapAttributeNumber, attnums) ||
			(*whole && !is_target(job, NameStr(attribute->attname))))
			inputs = lappend_int(inputs, i);
	}
	return inputs;
}
