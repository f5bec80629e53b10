/*
 * settings.c - the values of the settings chatglm.*.
 */
#include "chatglm.h"

#include <unistd.h>

#include "miscadmin.h"

#include "settings.h"

int	   chatglm_kv_cache_size;
int	   chatglm_kv_cache_type;
int	   chatglm_memory_limit;
int	   chatglm_max_sequences;
int	   chatglm_max_queue;
int	   chatglm_queue_memory;
int	   chatglm_threads;
char  *chatglm_cpu_affinity;
char  *chatglm_device;
int	   chatglm_device_fallback;
int	   chatglm_device_arithmetic;
char  *chatglm_kernels;
char  *chatglm_model_dir;
int	   chatglm_prefill_budget;
int	   chatglm_verify;
int	   chatglm_speculation;
int	   chatglm_huge_pages;
int	   chatglm_tuning;
int	   chatglm_job_workers;
int	   chatglm_device_rest;
int	   chatglm_debug_step_delay;
int	   chatglm_prefix_sharing;
int	   chatglm_log_min_duration;
bool   chatglm_log_text;
char  *chatglm_model;
int	   chatglm_max_tokens;
double chatglm_temperature;
int	   chatglm_request_timeout;
int	   chatglm_prefetch;
char  *chatglm_task_language;

const char *
chatglm_backend_library(void)
{
	static char path[MAXPGPATH];

	snprintf(path, sizeof(path), "%s/chatglm_cuda.so", pkglib_path);
	return access(path, R_OK) == 0 ? path : NULL;
}
