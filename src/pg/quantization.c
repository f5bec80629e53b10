/*
 * quantization.c - glm_quantize, and how far it has come: glm_stat_progress.
 *
 * The work is the engine's, in a job of its own (job.c).  Here the caller's
 * rights are checked: the server writes a directory where he says, so that is
 * for members of pg_write_server_files, and a source that is a path and not a
 * name for those of pg_read_server_files.  What the options mean the engine
 * knows; only the calibration texts are fetched here, as they may be in tables.
 */
#include "chatglm.h"

#include <math.h>

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "ask.h"
#include "calibration.h"
#include "call.h"
#include "encoding.h"
#include "model_name.h"
#include "options.h"
#include "privileges.h"
#include "result_rows.h"
#include "route.h"
#include "shared.h"

#define QUANTIZE_COLUMNS 7
#define PROGRESS_COLUMNS 11

PG_FUNCTION_INFO_V1(chatglm_quantize);
PG_FUNCTION_INFO_V1(chatglm_stat_progress);

static void log_quantization(const ChatglmCall *call, TimestampTz began);
static void read_source(ChatglmCall *call, const char *source);
static void take_options(ChatglmCall *call, Jsonb *options);
static void put_quantized(Tuplestorestate *rows, TupleDesc desc, const glm_quantized *q);

/* glm_quantize(source text, target text, options jsonb) returns table (...) */
Datum
chatglm_quantize(PG_FUNCTION_ARGS)
{
	TupleDesc		 desc;
	Tuplestorestate *rows = chatglm_begin_rows(fcinfo, &desc);
	ChatglmCall		 call;
	ChatglmAnswer	 answer;
	TimestampTz		 began = GetCurrentTimestamp();
	char			*target;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be NULL",
							   PG_ARGISNULL(0) ? "source" : "target")));
	chatglm_require_preload();
	chatglm_require_role(ROLE_PG_WRITE_SERVER_FILES, "pg_write_server_files",
						 "write a model directory");
	target = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!is_absolute_path(target) || strlen(target) >= sizeof(((glm_progress *) NULL)->target))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "argument \"target\" must be an absolute path of less than %zu bytes, not \"%s\"",
				 sizeof(((glm_progress *) NULL)->target), target)));

	chatglm_call_defaults(&call, GLM_QUANTIZE);
	call.timeout_ms = 0; /* chatglm.request_timeout means answers */
	call.target = target;
	read_source(&call, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (!PG_ARGISNULL(2))
		take_options(&call, PG_GETARG_JSONB_P(2));
	log_quantization(&call, 0);
	chatglm_run(&call, &answer);
	log_quantization(&call, began);
	for (int at = 0; at + (int) sizeof(glm_quantized) <= answer.bytes.len;
		 at += sizeof(glm_quantized))
	{
		glm_quantized row;

		memcpy(&row, answer.bytes.data + at, sizeof(row));
		put_quantized(rows, desc, &row);
	}
	return (Datum) 0;
}

/* Its begin, and its end when it began then; of one that failed the error is in the log. */
static void
log_quantization(const ChatglmCall *call, TimestampTz began)
{
	double seconds = (GetCurrentTimestamp() - began) / 1e6;

	if (began == 0)
		ereport(LOG, (errmsg("chatglm quantizes model \"%s\" into \"%s\"",
							 chatglm_shown(call->model), call->target),
					  errhidestmt(true)));
	else
		ereport(LOG, (errmsg("chatglm quantized model \"%s\" into \"%s\" in %.1f s",
							 chatglm_shown(call->model), call->target, seconds),
					  errhidestmt(true)));
}

/* A name, or the path of a directory; such a model is called by its last part. */
static void
read_source(ChatglmCall *call, const char *source)
{
	if (is_absolute_path(source))
	{
		char *path = pstrdup(source);

		chatglm_require_role(ROLE_PG_READ_SERVER_FILES, "pg_read_server_files",
							 "read a model directory by its path");
		canonicalize_path(path);
		call->path = path;
		call->model = chatglm_cstring_to_utf8(last_dir_separator(path) + 1);
		if (call->model[0] == '\0')
			call->model = "/";
	}
	else
	{
		ChatglmModelRef ref;

		chatglm_refuse_route(source);
		ref = chatglm_resolve_model(source);
		call->model = chatglm_cstring_to_utf8(ref.name);
		call->path = ref.path;
	}
}

/* Takes the calibration out of the options; the rest is the engine's. */
static void
take_options(ChatglmCall *call, Jsonb *options)
{
	static const char *const ours[] = {"calibration", "calibration_query", "calibration_file"};
	Datum					 rest = JsonbPGetDatum(options);
	Jsonb					*json;

	chatglm_require_object(options);
	for (int i = 0; i < (int) lengthof(ours); i++)
		rest = DirectFunctionCall2(jsonb_delete, rest, CStringGetTextDatum(ours[i]));
	json = DatumGetJsonbP(rest);
	call->model_options = chatglm_cstring_to_utf8(JsonbToCString(NULL, &json->root, VARSIZE(json)));
	call->text = chatglm_calibration_texts(options);
	if (call->text != NULL)
		call->text_length = strlen(call->text);
}

static void
put_number(Datum *value, bool *null, double number)
{
	*value = Float8GetDatum(number);
	*null = isnan(number);
}

static void
put_quantized(Tuplestorestate *rows, TupleDesc desc, const glm_quantized *q)
{
	Datum values[QUANTIZE_COLUMNS] = {0};
	bool  nulls[QUANTIZE_COLUMNS] = {0};

	values[0] = CStringGetTextDatum(q->name);
	nulls[0] = q->name[0] == '\0';
	values[1] = CStringGetTextDatum(q->method);
	values[2] = Float4GetDatum((float4) q->bits);
	put_number(&values[3], &nulls[3], q->weight_error);
	put_number(&values[4], &nulls[4], q->output_error);
	put_number(&values[5], &nulls[5], q->perplexity_before);
	put_number(&values[6], &nulls[6], q->perplexity_after);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* ---- Progress ------------------------------------------------------------ */

/* The request of the job; its role decides who sees more than that there is one. */
static const ChatglmRequestStat *
find_request(uint64 id)
{
	const ChatglmRequestStat *stats = chatglm_request_stats();

	for (int i = 0; i < chatglm_shared->n_requests; i++)
		if (stats[i].id == id)
			return &stats[i];
	return NULL;
}

/* A path is in the encoding of the database where it was named; ours may be another. */
static bool
is_readable(const char *path)
{
	return pg_verifymbstr(path, strlen(path), true);
}

static Datum
utf8_datum(const char *field)
{
	return CStringGetTextDatum(chatglm_shown(field));
}

static void
put_progress(Tuplestorestate *rows, TupleDesc desc, const glm_progress *p,
			 const ChatglmRequestStat *stat)
{
	Datum values[PROGRESS_COLUMNS] = {0};
	bool  nulls[PROGRESS_COLUMNS] = {0};
	bool  own = has_privs_of_role(GetUserId(), stat->role);

	values[0] = Int64GetDatum((int64) p->id);
	values[1] = Int32GetDatum(stat->pid);
	values[2] = utf8_datum(p->source);
	values[3] = CStringGetTextDatum(p->target);
	nulls[2] = !chatglm_may_see_requests_of(stat->role);
	nulls[3] = nulls[2] || !(own || chatglm_may_see_paths()) || !is_readable(p->target);
	values[4] = utf8_datum(p->phase);
	values[5] = utf8_datum(p->tensor);
	nulls[5] = p->tensor[0] == '\0';
	values[6] = Int64GetDatum((int64) p->bytes_done);
	values[7] = Int64GetDatum((int64) p->bytes_total);
	put_number(&values[8], &nulls[8],
			   p->bytes_total > 0 ? 100.0 * p->bytes_done / p->bytes_total : 0);
	put_number(&values[9], &nulls[9], p->seconds_left < 0 ? NAN : p->seconds_left);
	values[10] = Float8GetDatum(p->elapsed_s);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/* The rows of view glm_stat_progress: the job that runs, if one does. */
Datum
chatglm_stat_progress(PG_FUNCTION_ARGS)
{
	TupleDesc				  desc;
	Tuplestorestate			 *rows = chatglm_begin_rows(fcinfo, &desc);
	const ChatglmRequestStat *found;
	ChatglmRequestStat		  stat;
	glm_progress			  progress;

	if (chatglm_shared == NULL)
		return (Datum) 0;
	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	progress = chatglm_shared->progress;
	found = progress.id != 0 ? find_request(progress.id) : NULL;
	if (found != NULL)
		stat = *found;
	LWLockRelease(chatglm_shared->lock);
	if (found != NULL)
		put_progress(rows, desc, &progress, &stat);
	return (Datum) 0;
}
