/*
 * errors.c - what an error of the engine is in PostgreSQL.
 */
#include "chatglm.h"

#include "encoding.h"
#include "errors.h"
#include "paths.h"
#include "privileges.h"

int
chatglm_errcode(glm_status status)
{
	static const int codes[GLM_N_STATUS] = {
		[GLM_OK] = ERRCODE_INTERNAL_ERROR, /* no error would be reported so */
		[GLM_BAD_ARGUMENT] = ERRCODE_INVALID_PARAMETER_VALUE,
		[GLM_BAD_TEXT] = ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
		[GLM_BAD_JSON] = ERRCODE_INVALID_JSON_TEXT,
		[GLM_NO_MODEL] = ERRCODE_UNDEFINED_OBJECT,
		[GLM_NO_FILE] = ERRCODE_UNDEFINED_FILE,
		[GLM_NOT_ALLOWED] = ERRCODE_INSUFFICIENT_PRIVILEGE,
		[GLM_BAD_FILE] = ERRCODE_DATA_CORRUPTED,
		[GLM_UNSUPPORTED] = ERRCODE_FEATURE_NOT_SUPPORTED,
		[GLM_TOO_LONG] = ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		[GLM_TOO_COMPLEX] = ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		[GLM_NO_ROOM] = ERRCODE_OUT_OF_MEMORY,
		[GLM_BUSY] = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
		[GLM_NOT_FINITE] = ERRCODE_FLOATING_POINT_EXCEPTION,
		[GLM_EXISTS] = ERRCODE_DUPLICATE_FILE,
		[GLM_DISK_FULL] = ERRCODE_DISK_FULL,
		[GLM_NOT_WRITABLE] = ERRCODE_IO_ERROR,
		[GLM_TIMED_OUT] = CHATGLM_ERRCODE_TIMED_OUT,
		[GLM_CANCELLED] = ERRCODE_QUERY_CANCELED,
		[GLM_INTERNAL] = ERRCODE_INTERNAL_ERROR,
	};

	return (int) status >= 0 && status < GLM_N_STATUS ? codes[status] : ERRCODE_INTERNAL_ERROR;
}

void
chatglm_ereport(int elevel, glm_status status, const char *message, const char *hint)
{
	const char *shown = chatglm_shown(message);
	const char *shown_hint = hint != NULL && hint[0] != '\0' ? chatglm_shown(hint) : NULL;

	ereport(elevel, (errcode(chatglm_errcode(status)), errmsg("%s", shown),
					 shown_hint != NULL ? errhint("%s", shown_hint) : 0));
}

const char *
chatglm_advice_hint(glm_advice advice)
{
	static const char *const hints[GLM_N_ADVICE] = {
		[GLM_ADVICE_TIMEOUT] = "Raise chatglm.request_timeout or options.timeout_ms.",
		[GLM_ADVICE_SHORTEN] = "Shorten the prompt; glm_count_tokens() tells a text's length.",
		[GLM_ADVICE_KV_CACHE] = "Raise chatglm.kv_cache_size or ask for fewer max_tokens.",
		[GLM_ADVICE_MEMORY_LIMIT] = "Raise chatglm.memory_limit.",
		[GLM_ADVICE_JOB_RUNS] = "Wait for it; the view glm_stat_progress shows how far it is.",
		[GLM_ADVICE_JOB_OPTIONS] =
			"Options are method, bits, group_size, keep, wide, calibration, "
			"calibration_query, calibration_file, max_calibration_tokens and rope.",
		[GLM_ADVICE_CALIBRATE] = "Give some by one of the options calibration, calibration_query "
								 "and calibration_file, or use method \"hqq\".",
		[GLM_ADVICE_CONVERT_PYTORCH] = "Convert them to safetensors; docs/reference.md shows how, "
									   "under \"PyTorch files\".",
		[GLM_ADVICE_NEWER_VERSION] =
			"Use a newer chatglm, or quantize the model again with this one.",
	};

	return (int) advice >= 0 && advice < GLM_N_ADVICE ? hints[advice] : NULL;
}

void
chatglm_throw_event(const glm_event *event, const char *model, const char *path)
{
	const char *message = event->payload;
	const char *advice = chatglm_advice_hint(event->advice);
	const char *hint = advice != NULL ? advice : message + strlen(message) + 1;

	if (path != NULL && !chatglm_may_see_paths())
	{
		message = chatglm_hide_path(message, path, model);
		hint = chatglm_hide_path(hint, path, model);
	}
	chatglm_ereport(ERROR, event->status, message, hint);
	pg_unreachable();
}
