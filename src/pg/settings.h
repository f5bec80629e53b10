/*
 * settings.h - the settings chatglm.*.
 */
#ifndef CHATGLM_SETTINGS_H
#define CHATGLM_SETTINGS_H

#include "chatglm.h"

/* postmaster */
extern int	  chatglm_kv_cache_size; /* MB */
extern int	  chatglm_kv_cache_type; /* glm_kv_type */
extern int	  chatglm_memory_limit;	 /* MB, 0 = none */
extern int	  chatglm_max_sequences;
extern int	  chatglm_max_queue;
extern int	  chatglm_queue_memory;		 /* MB */
extern int	  chatglm_threads;			 /* 0 = one a CPU */
extern char	 *chatglm_cpu_affinity;		 /* "" = all */
extern char	 *chatglm_device;			 /* auto, cpu, cuda:0 ... */
extern int	  chatglm_device_fallback;	 /* 1: the CPU */
extern int	  chatglm_device_arithmetic; /* 1: fast */
extern char	 *chatglm_kernels;			 /* auto, scalar, avx2, avx512, neon */
/* sighup */
extern int	  chatglm_device_rest;		/* s, 0: not at all */
extern char	 *chatglm_model_dir;		/* empty: share/extension's chatglm/models */
extern int	  chatglm_verify;			/* glm_verify */
extern int	  chatglm_huge_pages;		/* 0: off */
extern int	  chatglm_tuning;			/* 0: off */
extern int	  chatglm_speculation;		/* glm_speculation */
extern int	  chatglm_prefill_budget;	/* tokens a step */
extern int	  chatglm_job_workers;		/* processes that work on jobs */
extern int	  chatglm_debug_step_delay; /* ms after every engine step, for tests */
/* superuser */
extern int	  chatglm_prefix_sharing;	/* ChatglmSharing */
extern int	  chatglm_log_min_duration; /* ms, -1 = off */
extern bool	  chatglm_log_text;
/* user */
extern char	 *chatglm_model; /* default: tiny-chatglm3 */
extern int	  chatglm_max_tokens;
extern double chatglm_temperature;
extern int	  chatglm_request_timeout; /* ms, 0 = none */
extern int	  chatglm_prefetch;		   /* rows in flight; 1 = one by one */
extern char	 *chatglm_task_language;   /* of chatglm.task_prompt */

/* The requests that find in the prefix cache what another left there. */
typedef enum ChatglmSharing
{
	CHATGLM_SHARING_ROLE, /* requests of the same role in the same database */
	CHATGLM_SHARING_ALL,  /* all that are set so */
	CHATGLM_SHARING_OFF	  /* nobody */
} ChatglmSharing;

/* The file with the backend for GPUs; NULL: it is not installed.  Static. */
extern const char *chatglm_backend_library(void);

#endif /* CHATGLM_SETTINGS_H */
