/*
 * job_launcher.h - the process that starts those that work on jobs.
 */
#ifndef CHATGLM_JOB_LAUNCHER_H
#define CHATGLM_JOB_LAUNCHER_H

#include "chatglm.h"

/* In the postmaster: asks for the launcher. */
extern void chatglm_job_launcher_register(void);

/* DROP DATABASE and the like wait for our own processes (job_closing.c). */
extern void chatglm_job_closing_init(void);

extern PGDLLEXPORT void chatglm_job_launcher_main(Datum arg);
extern PGDLLEXPORT void chatglm_job_worker_main(Datum arg);

#endif /* CHATGLM_JOB_LAUNCHER_H */
