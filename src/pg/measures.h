/*
 * measures.h - what the worker has measured so far: counters and histograms in shared
 * memory, kept over restarts.
 */
#ifndef CHATGLM_MEASURES_H
#define CHATGLM_MEASURES_H

#include "chatglm.h"

#include "datatype/timestamp.h"

#define CHATGLM_MEASURED_MODELS 64
#define CHATGLM_MEASURED_ROLES 512 /* roles by databases */

#define CHATGLM_PROFILES 64 /* models by labels */

/* What is done for a request: what passes do, and before them. */
#define CHATGLM_WORK_QUEUE GLM_N_WORK
#define CHATGLM_WORK_TOKENIZE (GLM_N_WORK + 1)
#define CHATGLM_N_WORK (GLM_N_WORK + 2)

/* Where a request was refused before the engine had it; behind the engine's stages. */
#define CHATGLM_STAGE_SUBMIT GLM_N_STAGE
#define CHATGLM_N_STAGE (GLM_N_STAGE + 1)

/* Of requests that have ended. */
typedef struct ChatglmUse
{
	uint64 completed;
	uint64 failed;
	uint64 cancelled;
	uint64 prompt_tokens;
	uint64 cached_tokens; /* of prompts, found in the prefix cache */
	uint64 prefix_hits;	  /* requests with such tokens */
	uint64 completion_tokens;
	uint64 draft_tokens;
	uint64 accepted_tokens;
	uint64 preemptions;
	uint64 queue_us; /* waiting to be read, for a place and for KV memory */
	uint64 total_us; /* from their coming to their end */
} ChatglmUse;

typedef struct ChatglmModelUse
{
	char	   name[NAMEDATALEN]; /* UTF-8; empty: all for whom there was no entry left */
	ChatglmUse use;
} ChatglmModelUse;

typedef struct ChatglmRoleUse
{
	Oid		   role; /* InvalidOid: all for whom there was no entry left */
	Oid		   database;
	ChatglmUse use;
} ChatglmRoleUse;

typedef struct ChatglmProfile
{
	char	  model[NAMEDATALEN]; /* UTF-8, as is the label; empty: all without an entry */
	char	  label[NAMEDATALEN]; /* empty: none */
	glm_spent spent[CHATGLM_N_WORK];
} ChatglmProfile;

typedef enum ChatglmHistogramId
{
	CHATGLM_QUEUE_TIME,
	CHATGLM_FIRST_TOKEN_TIME,
	CHATGLM_TOKEN_GAP,
	CHATGLM_REQUEST_TIME,
	CHATGLM_LAST_TIME = CHATGLM_REQUEST_TIME, /* the others are of tokens */
	CHATGLM_PROMPT_TOKENS,
	CHATGLM_ANSWER_TOKENS,
	CHATGLM_N_HISTOGRAMS
} ChatglmHistogramId;

/* Classes by glm_time_bounds or glm_token_bounds. */
typedef struct ChatglmHistogram
{
	uint64 count[GLM_N_TIME_BOUNDS + 1];
	uint64 sum; /* microseconds or tokens */
} ChatglmHistogram;

StaticAssertDecl(GLM_N_TOKEN_BOUNDS <= GLM_N_TIME_BOUNDS, "a histogram has room for either");

/* All that is kept.  When this changes so does the version in measures.c. */
typedef struct ChatglmMeasured
{
	TimestampTz		 reset; /* when it was all zero */
	uint64			 starts;
	uint64			 loads; /* of models */
	uint64			 unloads;
	uint64			 steps;			 /* forward passes */
	uint64			 step_us;		 /* time spent in them */
	uint64			 prefill_tokens; /* computed of prompts, again after a preemption too */
	uint64			 kv_evictions;
	ChatglmUse		 use;
	uint64			 errors[CHATGLM_N_STAGE][GLM_N_STATUS];
	ChatglmHistogram histogram[CHATGLM_N_HISTOGRAMS];
	int				 n_models;
	int				 n_roles;
	int				 n_profiles;
	ChatglmModelUse	 model[CHATGLM_MEASURED_MODELS];
	ChatglmRoleUse	 role[CHATGLM_MEASURED_ROLES];
	ChatglmProfile	 profile[CHATGLM_PROFILES];
} ChatglmMeasured;

/* Are the counts of a ChatglmMeasured within its arrays, and have its names an end? */
extern bool chatglm_measures_sound(const void *measured);

/* A request that has ended. */
typedef struct ChatglmEnded
{
	Oid				  login; /* role that logged in; InvalidOid: none did */
	Oid				  role;	 /* on whose behalf */
	Oid				  database;
	const char		 *model; /* NULL or empty: none */
	const char		 *label; /* the same */
	glm_kind		  kind;
	glm_status		  status; /* GLM_OK: it was answered */
	const glm_timing *timing; /* NULL: the engine never had it */
} ChatglmEnded;

extern Size chatglm_measures_size(void);
/* `lock`: NULL when another process has already filled the memory. */
extern void chatglm_measures_init(void *memory, LWLock *lock);

/* A copy of all; false: chatglm was not preloaded. */
extern bool chatglm_measures_copy(ChatglmMeasured *copy);

/* All is zero from now on. */
extern void chatglm_measures_reset(void);

/* ---- Counting: the worker, but for refusals, which are backends', too ---- */

extern void chatglm_measure_end(const ChatglmEnded *ended);

/* What the engine counts itself; `stats` grow from one call to the next in one process. */
extern void chatglm_measure_engine(const glm_stats *stats);

extern void chatglm_measure_loads(int loads, int unloads);

/* ---- Keeping: the worker ---- */

/* A worker starts: the first since the server's start reads what was kept. */
extern void chatglm_measures_begin(void);

/*
 * Writes the file when there is something new and the last time was a minute ago.  Returns
 * the milliseconds until it wants to be called again, -1 for not at all.
 */
extern long chatglm_measures_keep_if_due(void);

/* Writes it now, if there is something new. */
extern void chatglm_measures_keep(void);

#endif /* CHATGLM_MEASURES_H */
