/*
 * status.h - what went wrong, and what can be done about it.
 */
#ifndef GLM_STATUS_H
#define GLM_STATUS_H

typedef enum glm_status
{
	GLM_OK = 0,
	GLM_BAD_ARGUMENT, /* a parameter of the request is out of range */
	GLM_BAD_TEXT,	  /* bytes that are not valid UTF-8 */
	GLM_BAD_JSON,	  /* messages or tools are not what they should be */
	GLM_NO_MODEL,	  /* no such model, or it is not loaded */
	GLM_NO_FILE,	  /* a file is missing or cannot be read */
	GLM_NOT_ALLOWED,  /* the file system does not let us */
	GLM_BAD_FILE,	  /* a file's contents contradict themselves */
	GLM_UNSUPPORTED,  /* well-formed, but not something we run */
	GLM_TOO_LONG,	  /* prompt does not fit the model's context */
	GLM_TOO_COMPLEX,  /* a constraint past its limits */
	GLM_NO_ROOM,	  /* KV cache or memory limit too small for it */
	GLM_BUSY,		  /* too many requests waiting */
	GLM_NOT_FINITE,	  /* the model computed NaN or infinity */
	GLM_EXISTS,		  /* what is to be made is there already */
	GLM_DISK_FULL,	  /* no space left where a file is written */
	GLM_NOT_WRITABLE, /* a file or directory cannot be written */
	GLM_TIMED_OUT,
	GLM_CANCELLED,
	GLM_INTERNAL, /* broken invariant, bad queue message */
	GLM_N_STATUS
} glm_status;

/* What the host's user can do about an error where only the host has the words for it. */
typedef enum glm_advice
{
	GLM_ADVICE_NONE = 0,
	GLM_ADVICE_TIMEOUT,			/* raise the request's timeout_ms */
	GLM_ADVICE_SHORTEN,			/* shorten the prompt; GLM_COUNT_TOKENS tells its length */
	GLM_ADVICE_KV_CACHE,		/* raise glm_config.kv_cache_size, or lower max_tokens */
	GLM_ADVICE_MEMORY_LIMIT,	/* raise glm_config.memory_limit */
	GLM_ADVICE_JOB_RUNS,		/* wait; glm_engine_progress() tells how far the other job is */
	GLM_ADVICE_JOB_OPTIONS,		/* these are the options that GLM_QUANTIZE and the host have */
	GLM_ADVICE_CALIBRATE,		/* give GLM_QUANTIZE texts, or another method */
	GLM_ADVICE_CONVERT_PYTORCH, /* convert the weights to safetensors */
	GLM_ADVICE_NEWER_VERSION,	/* use a newer version, or quantize the model again */
	GLM_N_ADVICE
} glm_advice;

typedef struct glm_error
{
	glm_status status;
	glm_advice advice;
	char	   message[400]; /* UTF-8, no trailing full stop */
	char	   hint[200];	 /* empty when there is nothing to do, or where advice says it */
} glm_error;

#endif /* GLM_STATUS_H */
