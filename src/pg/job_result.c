/*
 * job_result.c - what an expression gives, and the columns that it goes into.
 *
 * A composite's fields go into the targets in their order; any other value is the only
 * one.  A composite with the fields error and sqlstate tells of an error by them, as
 * glm_try_generate's does.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "jobs.h"

static void read_fields(ChatglmJobResult *result, TupleDesc desc);
static void check_target(const ChatglmJob *job, Relation source, int i, Oid type);

ChatglmJobResult *
chatglm_job_result(const ChatglmJob *job, Relation source, Node *expression)
{
	ChatglmJobResult *result = palloc0(sizeof(*result));
	Oid				  type = exprType(expression);
	TupleDesc		  desc = NULL;
	Oid				  target = get_atttype(RelationGetRelid(source),
										   chatglm_job_attnum(source, job->targets[0], "target"));

	result->types = palloc(job->n_targets * sizeof(Oid));
	if ((type_is_rowtype(type) || type == RECORDOID) && !(job->n_targets == 1 && target == type))
		(void) get_expr_result_type(expression, NULL, &desc);
	if (desc != NULL)
		read_fields(result, desc);
	else
		result->n_fields = 1;
	if (job->n_targets > result->n_fields)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"target\" names %d columns, but the call gives %d value%s",
						job->n_targets, result->n_fields, result->n_fields == 1 ? "" : "s"),
				 errhint("Columns take the fields of a composite result in their order.")));
	for (int i = 0; i < job->n_targets; i++)
	{
		result->types[i] =
			desc != NULL ? TupleDescAttr(desc, result->field[i] - 1)->atttypid : type;
		check_target(job, source, i, result->types[i]);
	}
	return result;
}

/* Numbers of the fields that are there, and which of them tell of an error. */
static void
read_fields(ChatglmJobResult *result, TupleDesc desc)
{
	result->composite = true;
	result->field = palloc(desc->natts * sizeof(int));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped)
			continue;
		result->field[result->n_fields++] = i + 1;
		if (attribute->atttypid != TEXTOID)
			continue;
		if (strcmp(NameStr(attribute->attname), "error") == 0)
			result->error = i + 1;
		else if (strcmp(NameStr(attribute->attname), "sqlstate") == 0)
			result->sqlstate = i + 1;
	}
	if (result->error == 0 || result->sqlstate == 0)
		result->error = result->sqlstate = 0;
}

static void
check_target(const ChatglmJob *job, Relation source, int i, Oid type)
{
	AttrNumber		  attnum = chatglm_job_attnum(source, job->targets[i], "target");
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(source), attnum - 1);

	if (attribute->attgenerated != '\0' || attribute->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
		ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
						errmsg("target column \"%s\" is generated", job->targets[i])));
	if (!can_coerce_type(1, &type, &attribute->atttypid, COERCION_ASSIGNMENT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("target column \"%s\" is of type %s but the call gives type %s",
						job->targets[i], format_type_be(attribute->atttypid), format_type_be(type)),
				 errhint("Cast what it gives.")));
}

/* ---- Values ---------------------------------------------------------------------- */

/* A copy in the current context, with nothing out of line. */
static Datum
copy_value(Datum value, Oid type)
{
	int16 length;
	bool  by_value;

	get_typlenbyval(type, &length, &by_value);
	if (length == -1)
		return PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	return datumCopy(value, by_value, length);
}

static char *
text_field(HeapTupleHeader row, int field)
{
	bool  isnull;
	Datum value = field > 0 && row != NULL ? GetAttributeByNum(row, field, &isnull) : (Datum) 0;

	return field > 0 && row != NULL && !isnull ? TextDatumGetCString(value) : NULL;
}

bool
chatglm_job_take_value(const ChatglmJobResult *result, int n_targets, Datum value, bool isnull,
					   Datum *values, bool *nulls, int *sqlstate, char **message)
{
	HeapTupleHeader row = result->composite && !isnull ? DatumGetHeapTupleHeader(value) : NULL;
	char		   *state = text_field(row, result->sqlstate);

	for (int i = 0; i < n_targets; i++)
	{
		Datum field = value;

		nulls[i] = isnull;
		if (row != NULL)
			field = GetAttributeByNum(row, result->field[i], &nulls[i]);
		values[i] = nulls[i] ? (Datum) 0 : copy_value(field, result->types[i]);
	}
	*message = text_field(row, result->error);
	if (*message == NULL)
		return true;
	*sqlstate = state != NULL && strlen(state) == 5
					? MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])
					: ERRCODE_INTERNAL_ERROR;
	return false;
}
