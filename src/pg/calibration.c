/*
 * calibration.c - where glm_quantize gets its calibration texts: an array in its
 * options, a query, a file on the server.
 *
 * All become one JSON array of strings in the database's encoding, which travels
 * as the text of the request.  A query runs as its caller, read-only; a file is
 * for members of pg_read_server_files.  Collecting ends with an ERROR as soon as
 * there is more than a request can carry.
 */
#include "chatglm.h"

#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "args.h"
#include "calibration.h"

#define FETCH_ROWS 1000

static void add_text(StringInfo texts, const char *text);
static void add_array(StringInfo texts, const JsonbValue *value);
static void add_query(StringInfo texts, const char *query);
static void add_file(StringInfo texts, const char *path);

/* The value of a key that must be a string; NULL: absent. */
static char *
string_option(Jsonb *options, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&options->root, key, strlen(key), &value) == NULL)
		return NULL;
	if (value.type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a string", key)));
	return pnstrdup(value.val.string.val, value.val.string.len);
}

char *
chatglm_calibration_texts(Jsonb *options)
{
	StringInfoData texts;
	JsonbValue	array;
	bool		has_array = getKeyJsonValueFromContainer(&options->root, "calibration",
														 strlen("calibration"), &array) != NULL;
	char	   *query = string_option(options, "calibration_query");
	char	   *path = string_option(options, "calibration_file");

	if (!has_array && query == NULL && path == NULL)
		return NULL;
	initStringInfo(&texts);
	if (has_array)
		add_array(&texts, &array);
	if (query != NULL)
		add_query(&texts, query);
	if (path != NULL)
		add_file(&texts, path);
	if (texts.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there are no calibration texts")));
	appendStringInfoChar(&texts, ']');
	return chatglm_cstring_to_utf8(texts.data);
}

static void
add_text(StringInfo texts, const char *text)
{
	appendStringInfoChar(texts, texts->len == 0 ? '[' : ',');
	escape_json(texts, text);
	if (texts->len >= (int) GLM_REQUEST_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("calibration texts are larger than %u MB", GLM_REQUEST_MAX >> 20),
				 errhint("A few hundred texts like those the model will meet are enough.")));
}

/* Strings, and chats as arrays of messages. */
static void
add_array(StringInfo texts, const JsonbValue *value)
{
	JsonbContainer *array = value->type == jbvBinary ? value->val.binary.data : NULL;

	if (array == NULL || !JsonContainerIsArray(array) || JsonContainerIsScalar(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"calibration\" must be an array of texts")));
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *text = getIthJsonbValueFromContainer(array, i);

		if (text->type == jbvString)
			add_text(texts, pnstrdup(text->val.string.val, text->val.string.len));
		else if (text->type == jbvBinary && JsonContainerIsArray(text->val.binary.data))
			add_text(texts, JsonbToCString(NULL, text->val.binary.data, text->val.binary.len));
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"calibration\" must hold strings and arrays of messages")));
	}
}

/*
 * The first column of every row.  A cursor, so that a table too large is not
 * first read into memory.  *texts grows in the caller's context, where it began.
 */
static void
add_query(StringInfo texts, const char *query)
{
	SPIPlanPtr	plan;
	Portal		portal;

	SPI_connect();
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL || !SPI_is_cursor_plan(plan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"calibration_query\" must be one query that returns rows")));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	do
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			char	   *text = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

			if (text != NULL)
			{
				add_text(texts, text);
				pfree(text);
			}
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
}

/* A line without its end; false at the end of the file. */
static bool
read_line(FILE *file, StringInfo line)
{
	char		piece[8192];

	resetStringInfo(line);
	while (fgets(piece, sizeof(piece), file) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		appendStringInfoString(line, piece);
		if (line->len > 0 && line->data[line->len - 1] == '\n')
			break;
		if (line->len > (int) GLM_REQUEST_MAX)
			break;				/* add_text() will say so */
	}
	if (line->len == 0)
		return false;
	while (line->len > 0 && strchr("\r\n", line->data[line->len - 1]) != NULL)
		line->data[--line->len] = '\0';
	return true;
}

/* Lines of a file; empty ones are none. */
static void
add_file(StringInfo texts, const char *path)
{
	StringInfoData line;
	FILE	   *file;

	chatglm_require_role(ROLE_PG_READ_SERVER_FILES, "pg_read_server_files",
						 "read calibration texts from a file");
	file = AllocateFile(path, "r");
	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open calibration file \"%s\": %m", path)));
	initStringInfo(&line);
	while (read_line(file, &line))
	{
		if (line.len == 0)
			continue;
		pg_verifymbstr(line.data, line.len, false);
		add_text(texts, line.data);
	}
	if (ferror(file))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read calibration file \"%s\": %m", path)));
	FreeFile(file);
}
