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

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "calibration.h"
#include "encoding.h"
#include "privileges.h"

#define FETCH_ROWS 1000

static void add_calibration_text(StringInfo texts, const char *text);
static void add_array(StringInfo texts, const JsonbValue *value);
static void add_query(StringInfo texts, const char *query);
static void add_file(StringInfo texts, const char *path);

/* The value of a key that must be a string; NULL: absent. */
static char *
string_option(Jsonb *options, const char *key)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(&options->root, key, strlen(key), &value) == NULL)
		return NULL;
	if (value.type != jbvString)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must be a string", key)));
	return pnstrdup(value.val.string.val, value.val.string.len);
}

char *
chatglm_calibration_texts(Jsonb *options)
{
	StringInfoData texts;
	JsonbValue	   array;
	bool		   has_array = getKeyJsonValueFromContainer(&options->root, "calibration",
															strlen("calibration"), &array) != NULL;
	char		  *query = string_option(options, "calibration_query");
	char		  *path = string_option(options, "calibration_file");

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
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there are no calibration texts")));
	appendStringInfoChar(&texts, ']');
	return chatglm_cstring_to_utf8(texts.data);
}

static void
add_calibration_text(StringInfo texts, const char *text)
{
	appendStringInfoChar(texts, texts->len == 0 ? '[' : ',');
	escape_json(texts, text);
	if (texts->len >= (int) GLM_REQUEST_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("calibration texts are larger than %u MB", GLM_REQUEST_MAX >> 20),
						errhint("A few hundred texts like those the model will meet are enough.")));
}

/* Strings, and chats as arrays of messages. */
static void
add_array(StringInfo texts, const JsonbValue *value)
{
	JsonbContainer *array = value->type == jbvBinary ? value->val.binary.data : NULL;

	if (array == NULL || !JsonContainerIsArray(array) || JsonContainerIsScalar(array))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"calibration\" must be an array of texts")));
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *text = getIthJsonbValueFromContainer(array, i);

		if (text->type == jbvString)
			add_calibration_text(texts, pnstrdup(text->val.string.val, text->val.string.len));
		else if (text->type == jbvBinary && JsonContainerIsArray(text->val.binary.data))
			add_calibration_text(texts,
								 JsonbToCString(NULL, text->val.binary.data, text->val.binary.len));
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
	SPIPlanPtr plan;
	Portal	   portal;

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
			char *text = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

			if (text != NULL)
			{
				add_calibration_text(texts, text);
				pfree(text);
			}
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
}

/* A file that is read line by line. */
typedef struct Lines
{
	const char *path;
	int			fd;
	char		piece[8192]; /* of it */
	ssize_t		length;
	ssize_t		at; /* what of the piece is not used yet */
} Lines;

/*
 * Only regular files: opening a FIFO would wait for its writer, uncancellable, and a
 * device may never end.  O_NONBLOCK makes the open return in any case.
 */
static void
open_lines(Lines *lines, const char *path)
{
	struct stat st;

	lines->path = path;
	lines->length = lines->at = 0;
	lines->fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | PG_BINARY);
	if (lines->fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open calibration file \"%s\": %m", path)));
	if (fstat(lines->fd, &st) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not examine calibration file \"%s\": %m", path)));
	if (!S_ISREG(st.st_mode))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("calibration file \"%s\" is not a regular file", path)));
}

/* False at the end of the file. */
static bool
read_file_piece(Lines *lines)
{
	CHECK_FOR_INTERRUPTS();
	lines->at = 0;
	lines->length = read(lines->fd, lines->piece, sizeof(lines->piece));
	if (lines->length < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not read calibration file \"%s\": %m", lines->path)));
	return lines->length > 0;
}

/* A line without its end; false at the end of the file. */
static bool
read_line(Lines *lines, StringInfo line)
{
	bool  any = false;
	char *end = NULL;

	resetStringInfo(line);
	/* one that is too long for a request is cut: add_calibration_text() will say so */
	while (end == NULL && line->len <= (int) GLM_REQUEST_MAX &&
		   (lines->at < lines->length || read_file_piece(lines)))
	{
		char   *begin = lines->piece + lines->at;
		ssize_t n = lines->length - lines->at;

		end = memchr(begin, '\n', n);
		if (end != NULL)
			n = end + 1 - begin;
		appendBinaryStringInfo(line, begin, n);
		lines->at += n;
		any = true;
	}
	while (line->len > 0 &&
		   (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r'))
		line->data[--line->len] = '\0';
	return any;
}

/* Lines of a file; empty ones are none. */
static void
add_file(StringInfo texts, const char *path)
{
	Lines		   lines;
	StringInfoData line;

	chatglm_require_role(ROLE_PG_READ_SERVER_FILES, "pg_read_server_files",
						 "read calibration texts from a file");
	open_lines(&lines, path);
	initStringInfo(&line);
	while (read_line(&lines, &line))
	{
		if (line.len == 0)
			continue;
		/* a NUL is no text of any encoding, which this says too */
		pg_verifymbstr(line.data, line.len, false);
		add_calibration_text(texts, line.data);
	}
	CloseTransientFile(lines.fd);
}
