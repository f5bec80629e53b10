/*
 * linear_fit.c - glm_linear_fit: a linear model from the rows of a query.
 *
 * The query runs as its caller, read-only, once.  One of its columns is the target, the last if
 * options do not say; the others are features: numbers, known by the columns' names, or one
 * real[], whose elements are known by their places.  Rows with a NULL are passed over.
 */
#include "chatglm.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "jsonb_build.h"
#include "linear_model.h"
#include "linear_solve.h"
#include "options.h"
#include "sql_values.h"

PG_FUNCTION_INFO_V1(chatglm_linear_fit);

#define FETCH_ROWS 1000
#define DEFAULT_ITERATIONS 50

/* What the query's columns are, and the rows so far. */
typedef struct Reader
{
	MemoryContext	   context;		/* of what stays */
	char			  *target_name; /* by options; NULL: the last column */
	int				   target;		/* columns are counted from 1 */
	int				   array;		/* the one that is real[], or 0 */
	int				   n_columns;
	char			 **names; /* of features; NULL with an array */
	double			  *row;	  /* features, then the target */
	int64			   fetched;
	int64			   skipped;
	bool			   link_said;
	ChatglmLinearRows *rows; /* NULL: none so far */
	ChatglmFit		   fit;
} Reader;

/* ---- Options ------------------------------------------------------------------------ */

static double
option_number(const char *key, const JsonbValue *value)
{
	double number = NAN;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!isfinite(number) || number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"options.%s\" must be a finite number not below 0", key)));
	return number;
}

static char *
option_string(const char *key, const JsonbValue *value)
{
	if (value->type != jbvString)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be a string", key)));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static void
read_fit_option(const char *key, JsonbValue *value, void *arg)
{
	Reader *reader = arg;

	if (value->type == jbvNull)
		return;
	if (strcmp(key, "l2") == 0)
		reader->fit.l2 = option_number(key, value);
	else if (strcmp(key, "link") == 0)
	{
		reader->fit.link = chatglm_read_link(option_string(key, value));
		reader->link_said = true;
	}
	else if (strcmp(key, "max_iterations") == 0)
		reader->fit.max_iterations = (int) Max(1, Min(option_number(key, value), 10000));
	else if (strcmp(key, "target") == 0)
		reader->target_name = option_string(key, value);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown key \"%s\" in argument \"options\"", key),
						errhint("Known keys are l2, link, max_iterations and target.")));
}

/* ---- Columns -------------------------------------------------------------------------- */

static bool
is_number(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == FLOAT4OID ||
		   type == FLOAT8OID || type == NUMERICOID;
}

static double
number_of(Datum value, Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return DatumGetBool(value);
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		default:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
	}
}

static void
find_target(Reader *reader, TupleDesc desc)
{
	Oid type;

	reader->target = desc->natts;
	if (reader->target_name != NULL)
		reader->target = SPI_fnumber(desc, reader->target_name);
	if (reader->target < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the query has no column \"%s\"", reader->target_name)));
	type = SPI_gettypeid(desc, reader->target);
	if (!is_number(type) && type != BOOLOID)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("target \"%s\" must be a number or boolean",
							   SPI_fname(desc, reader->target))));
	if (!reader->link_said && type == BOOLOID)
		reader->fit.link = CHATGLM_LINK_LOGISTIC;
}

static void
check_feature(const Reader *reader, TupleDesc desc, int column)
{
	char *name = SPI_fname(desc, column);

	if (!is_number(SPI_gettypeid(desc, column)) && reader->array != column)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("feature \"%s\" must be a number", name),
						errhint("Features are columns of numbers, or one column of type real[].")));
	for (int other = 1; other < column; other++)
		if (other != reader->target && strcmp(SPI_fname(desc, other), name) == 0)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
							errmsg("two columns of the query are called \"%s\"", name)));
}

static void
read_columns(Reader *reader, TupleDesc desc)
{
	int n = 0;

	reader->n_columns = desc->natts;
	find_target(reader, desc);
	if (desc->natts < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the query has no column beside the target")));
	if (desc->natts == 2 && SPI_gettypeid(desc, 3 - reader->target) == FLOAT4ARRAYOID)
		reader->array = 3 - reader->target;
	for (int column = 1; column <= desc->natts; column++)
		if (column != reader->target)
			check_feature(reader, desc, column);
	if (reader->array != 0)
		return;
	reader->names = MemoryContextAlloc(reader->context, desc->natts * sizeof(char *));
	for (int column = 1; column <= desc->natts; column++)
		if (column != reader->target)
			reader->names[n++] = MemoryContextStrdup(reader->context, SPI_fname(desc, column));
}

/* ---- Rows ------------------------------------------------------------------------------- */

/* The first row says how many features an array has. */
static void
begin_rows(Reader *reader, int p)
{
	MemoryContext caller = MemoryContextSwitchTo(reader->context);

	if (p < 1 || p > CHATGLM_FEATURES_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a fit has 1 to %d features, not %d", CHATGLM_FEATURES_MAX, p)));
	reader->rows = chatglm_linear_rows_begin(p, reader->names);
	reader->row = palloc((p + 1) * sizeof(double));
	MemoryContextSwitchTo(caller);
}

/* False: it holds a NULL. */
static bool
read_array(Reader *reader, ArrayType *array)
{
	const float *feature = (const float *) chatglm_array_data(array);
	int			 p = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (array_contains_nulls(array))
		return false;
	if (reader->rows == NULL)
		begin_rows(reader, p);
	if (p != reader->rows->p)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("row " INT64_FORMAT " has %d features, others have %d",
							   reader->fetched, p, reader->rows->p)));
	for (int i = 0; i < p; i++)
		reader->row[i] = feature[i];
	return true;
}

static void
check_row(const Reader *reader)
{
	int	   p = reader->rows->p;
	double target = reader->row[p];

	for (int i = 0; i <= p; i++)
		if (!isfinite(reader->row[i]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("row " INT64_FORMAT " holds a number that is not finite",
								   reader->fetched)));
	if (reader->fit.link == CHATGLM_LINK_LOGISTIC && target != 0 && target != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the target of row " INT64_FORMAT " is neither 0 nor 1", reader->fetched),
				 errdetail("A logistic model predicts the probability of 1, or true.")));
}

static void
add_row(Reader *reader, HeapTuple tuple, TupleDesc desc)
{
	bool complete = true;
	int	 n = 0;

	reader->fetched++;
	if (reader->rows == NULL && reader->array == 0)
		begin_rows(reader, reader->n_columns - 1);
	for (int column = 1; column <= reader->n_columns && complete; column++)
	{
		bool  isnull;
		Datum value = SPI_getbinval(tuple, desc, column, &isnull);

		if (isnull)
			complete = false;
		else if (column == reader->array)
			complete = read_array(reader, DatumGetArrayTypeP(value));
		else if (column != reader->target)
			reader->row[n++] = number_of(value, SPI_gettypeid(desc, column));
	}
	if (complete)
	{
		bool isnull;

		reader->row[reader->rows->p] =
			number_of(SPI_getbinval(tuple, desc, reader->target, &isnull),
					  SPI_gettypeid(desc, reader->target));
		check_row(reader);
		chatglm_linear_rows_add(reader->rows, reader->row);
	}
	else
		reader->skipped++;
}

/* A cursor, so that rows are not first read into memory. */
static void
read_query(Reader *reader, const char *query)
{
	SPIPlanPtr plan;
	Portal	   portal;

	SPI_connect();
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL || !SPI_is_cursor_plan(plan))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"query\" must be one query that returns rows")));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	read_columns(reader, portal->tupDesc);
	do
	{
		MemoryContext batch =
			AllocSetContextCreate(CurrentMemoryContext, "rows to fit", ALLOCSET_DEFAULT_SIZES);
		MemoryContext caller;

		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		caller = MemoryContextSwitchTo(batch);
		for (uint64 i = 0; i < SPI_processed; i++)
			add_row(reader, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(batch);
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
}

static void
check_rows(const Reader *reader)
{
	const ChatglmLinearRows *rows = reader->rows;

	if (rows == NULL || rows->n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the query returned no rows without NULLs")));
	if (reader->fit.link == CHATGLM_LINK_LOGISTIC &&
		(rows->mean[rows->p] == 0 || rows->mean[rows->p] == 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the target is the same in all rows")));
	if (reader->fit.l2 == 0 && rows->n <= rows->p)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg(INT64_FORMAT " rows do not determine %d weights and a bias", rows->n,
							   rows->p),
						errhint("Give more rows, or options.l2, a penalty on weights.")));
}

/* ---- What has come of it ------------------------------------------------------------------ */

static void
put_number(JsonbParseState **json, const char *key, double number)
{
	char digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isfinite(number))
	{
		double_to_shortest_decimal_buf(number, digits);
		chatglm_json_number(json, key, digits);
	}
	else if (key != NULL)
		chatglm_json_null(json, key);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the fit has a weight that is not finite"),
						errhint("Give features of like sizes.")));
}

static Jsonb *
weights_of(const Reader *reader)
{
	JsonbParseState *json = NULL;
	JsonbValue		*array;

	if (reader->names != NULL)
	{
		chatglm_json_object(&json, NULL);
		for (int i = 0; i < reader->rows->p; i++)
			put_number(&json, reader->names[i], reader->fit.weights[i]);
		return chatglm_json_finish(&json);
	}
	chatglm_json_array(&json, NULL);
	for (int i = 0; i < reader->rows->p; i++)
		put_number(&json, NULL, reader->fit.weights[i]);
	array = pushJsonbValue(&json, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(array);
}

static Jsonb *
summary_of(const Reader *reader)
{
	const ChatglmLinearRows *rows = reader->rows;
	const ChatglmFit		*fit = &reader->fit;
	JsonbParseState			*json = NULL;
	double					 spread = rows->square[rows->p] / rows->n;

	chatglm_json_object(&json, NULL);
	chatglm_json_count(&json, "n", rows->n);
	chatglm_json_count(&json, "skipped", reader->skipped);
	chatglm_json_count(&json, "features", rows->p);
	chatglm_json_string(&json, "link", chatglm_link_names[fit->link]);
	put_number(&json, "l2", fit->l2);
	if (fit->link == CHATGLM_LINK_IDENTITY)
	{
		put_number(&json, "r2", spread > 0 ? 1 - 2 * fit->loss / spread : NAN);
		put_number(&json, "rmse", sqrt(2 * fit->loss));
	}
	else
	{
		put_number(&json, "accuracy", fit->accuracy);
		put_number(&json, "log_loss", fit->loss);
		chatglm_json_count(&json, "iterations", fit->iterations);
	}
	return chatglm_json_finish(&json);
}

/* glm_linear_fit(name text, query text, options jsonb) returns jsonb */
Datum
chatglm_linear_fit(PG_FUNCTION_ARGS)
{
	Reader reader = {.context = CurrentMemoryContext,
					 .fit = {.max_iterations = DEFAULT_ITERATIONS}};
	Jsonb *summary;
	char  *name;

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be NULL", i == 0 ? "name" : "query")));
	PreventCommandIfReadOnly("glm_linear_fit()");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(2))
		chatglm_read_options(PG_GETARG_JSONB_P(2), read_fit_option, &reader);
	chatglm_linear_check_name(name); /* before the work, and again as it is stored */
	read_query(&reader, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	check_rows(&reader);
	chatglm_linear_solve(reader.rows, &reader.fit);
	chatglm_linear_rows_end(reader.rows);
	summary = summary_of(&reader);
	chatglm_linear_store(name, reader.fit.link, reader.fit.bias, weights_of(&reader), summary);
	PG_RETURN_POINTER(summary);
}
