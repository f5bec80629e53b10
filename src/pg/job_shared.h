/*
 * job_shared.h - what sessions, launcher and workers of jobs tell each other.
 */
#ifndef CHATGLM_JOB_SHARED_H
#define CHATGLM_JOB_SHARED_H

#include "chatglm.h"

#include "utils/timestamp.h"

#define CHATGLM_JOB_WORKERS_MAX 64
#define CHATGLM_JOB_DEMANDS 256
#define CHATGLM_JOB_CLOSED 16

/* Jobs of this role in this database may have something to do. */
typedef struct ChatglmJobDemand
{
	Oid			database;	/* InvalidOid: entry unused */
	Oid			owner;		/* InvalidOid: whoever has jobs there */
	TimestampTz at;			/* not before */
	int			backoff_ms; /* of the last try that failed; 0: none did */
} ChatglmJobDemand;

/* A process that works for them. */
typedef struct ChatglmJobWorker
{
	bool		used;
	Oid			database;
	Oid			owner;
	pid_t		pid; /* 0: it has not said so yet */
	Latch	   *latch;
	TimestampTz started;
	bool		switch_user; /* the role may not log in */
	bool		idle;		 /* waits for something to do */
	bool		hungry;		 /* there is enough to do for another one */
	bool		good;		 /* it has come so far as to look for jobs */
} ChatglmJobWorker;

typedef struct ChatglmJobShared
{
	LWLock			*lock;
	Latch			*launcher; /* NULL: there is none */
	bool			 look;	   /* somebody should look into all databases */
	int				 unmet;	   /* demands that wait for a process to end */
	bool			 no_slot;  /* max_worker_processes did not allow another process */
	Oid				 closed[CHATGLM_JOB_CLOSED]; /* databases that nobody may work in now */
	ChatglmJobDemand demand[CHATGLM_JOB_DEMANDS];
	ChatglmJobWorker worker[CHATGLM_JOB_WORKERS_MAX];
} ChatglmJobShared;

extern ChatglmJobShared *chatglm_jobs; /* NULL: not in shared_preload_libraries */

extern Size chatglm_jobs_size(void);
extern void chatglm_jobs_init(void *memory, LWLock *lock); /* lock NULL: it is there already */

/* A process that works for them, one that is idle if there is one; NULL: none does.  Under the lock. */
extern ChatglmJobWorker *chatglm_jobs_worker(Oid database, Oid owner);

/* Jobs of this role are to be looked at when this transaction has committed. */
extern void chatglm_jobs_wake(Oid owner);

/* The same now, or at some time. */
extern void chatglm_jobs_demand(Oid database, Oid owner, TimestampTz at);

/* The same of a worker that goes: it does not wake itself. */
extern void chatglm_jobs_demand_after(Oid database, Oid owner, TimestampTz at);

/* Somebody is about to look at them; or could not, and it is tried again after a while. */
extern void chatglm_jobs_met(Oid database, Oid owner);
extern void chatglm_jobs_failed(Oid database, Oid owner);

/* WARNING when nothing will work on jobs in the background as things are. */
extern void chatglm_jobs_warn(void);

#endif /* CHATGLM_JOB_SHARED_H */
