/*
 * job_options.c - argument "options" of glm_job_create.
 *
 * The argument is kept with the job as it was given, and read again whenever the job
 * is.  A key whose value is null has its default.
 */
#include "chatglm.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "jobs.h"
#include "options.h"

static void read_option(const char *key, JsonbValue *value, void *arg);

void
chatglm_job_read_options(Jsonb *options, ChatglmJobOptions *result)
{
	memset(result, 0, sizeof(*result));
	result->chunk = 500;
	result->chunk_seconds = 10;
	result->attempts = 3;
	result->backoff = 1;
	result->deadline = DT_NOEND;
	if (options != NULL)
		chatglm_read_options(options, read_option, result);
	if (result->replicated && !result->continuous)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"replicated\" needs mode \"continuous\"")));
}

static void wrong_value(const char *key, const char *rule) pg_attribute_noreturn();

static void
wrong_value(const char *key, const char *rule)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("job option \"%s\" must be %s", key, rule)));
}

static double
read_number(const char *key, const JsonbValue *value, double least, double most, bool whole)
{
	double number = NAN;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= least && number <= most) || (whole && number != floor(number)))
		wrong_value(key, psprintf("a %s from %.15g to %.15g", whole ? "whole number" : "number",
								  least, most));
	return number;
}

static char *
read_string(const char *key, const JsonbValue *value)
{
	if (value->type != jbvString)
		wrong_value(key, "a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static bool
read_bool(const char *key, const JsonbValue *value)
{
	if (value->type != jbvBool)
		wrong_value(key, "true or false");
	return value->val.boolean;
}

static void
read_option(const char *key, JsonbValue *value, void *arg)
{
	static const char *const modes[] = {"once", "continuous", NULL};
	ChatglmJobOptions		*options = arg;
	bool					 null = value->type == jbvNull;

	if (strcmp(key, "where") == 0)
		options->where = null ? NULL : read_string(key, value);
	else if (strcmp(key, "mode") == 0)
	{
		int mode = null ? 0 : chatglm_option_choice(value, modes);

		if (mode < 0)
			wrong_value(key, "\"once\" or \"continuous\"");
		options->continuous = mode == 1;
	}
	else if (strcmp(key, "chunk") == 0)
		options->chunk = null ? options->chunk : (int) read_number(key, value, 1, 100000, true);
	else if (strcmp(key, "chunk_seconds") == 0)
		options->chunk_seconds =
			null ? options->chunk_seconds : read_number(key, value, 0.1, 3600, false);
	else if (strcmp(key, "attempts") == 0)
		options->attempts = null ? options->attempts : (int) read_number(key, value, 1, 100, true);
	else if (strcmp(key, "backoff") == 0)
		options->backoff = null ? options->backoff : read_number(key, value, 0, 86400, false);
	else if (strcmp(key, "deadline") == 0)
	{
		if (!null)
			options->deadline = DatumGetTimestampTz(
				DirectFunctionCall3(timestamptz_in, CStringGetDatum(read_string(key, value)),
									ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	}
	else if (strcmp(key, "tokens_per_minute") == 0)
		options->tokens_per_minute = null ? 0 : (int) read_number(key, value, 1, INT_MAX, true);
	else if (strcmp(key, "rows_per_minute") == 0)
		options->rows_per_minute = null ? 0 : (int) read_number(key, value, 1, INT_MAX, true);
	else if (strcmp(key, "priority") == 0)
		options->priority = null ? 0 : (int) read_number(key, value, -1000, 1000, true);
	else if (strcmp(key, "replicated") == 0)
		options->replicated = null ? false : read_bool(key, value);
	else
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown job option \"%s\"", key),
			 errhint("Known options are attempts, backoff, chunk, chunk_seconds, deadline, mode, "
					 "priority, replicated, rows_per_minute, tokens_per_minute and where.")));
}
