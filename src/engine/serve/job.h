/*
 * job.h - long work beside serving: the quantize job.
 */
#ifndef GLM_JOB_H
#define GLM_JOB_H

#include "engine/base/base.h"

#include <pthread.h>

/* One job at a time.  `started` is the fast lane's, the rest is under lock. */
typedef struct glm_job
{
	pthread_mutex_t lock;
	pthread_t		thread;
	bool			started; /* thread is to be joined */
	bool			busy;
	bool			closed; /* no job any more */
	int				ticket; /* of the request, while busy */
	int64_t			start_ns;
	glm_progress	progress;
} glm_job;

extern void glm_job_init(glm_job *job);

/* Starts a GLM_QUANTIZE on a thread of its own.  GLM_BUSY while another runs. */
extern bool glm_job_start(glm_engine *engine, int ticket, glm_error *err);

/* Cancels the job and waits for its end; nobody starts one any more. */
extern void glm_job_stop(glm_engine *engine);

#endif /* GLM_JOB_H */
