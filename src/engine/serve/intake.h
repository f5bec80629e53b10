/*
 * intake.h - requests until they are answered or sequences.
 */
#ifndef GLM_INTAKE_H
#define GLM_INTAKE_H

#include <pthread.h>

#include "engine/serve/kinds.h"

/* ---- tasks.c, turns.c: requests that are being made ready ---------------------------------- */

typedef struct glm_loading glm_loading; /* see loader.c */

typedef enum glm_task_state
{
	GLM_TASK_NONE = 0,
	GLM_TASK_QUEUED, /* not begun, or parked */
	GLM_TASK_FAST,
	GLM_TASK_READY, /* slow, waits for its turn */
	GLM_TASK_SLOW
} glm_task_state;

/* On whose behalf tasks run. */
typedef struct glm_task_tenant
{
	uint32_t id;	  /* of requests */
	int		 n_tasks; /* 0: nobody's entry */
	int		 n_slow;  /* of them, in the slow lane */
	uint64_t turn;	  /* the number of its last */
} glm_task_tenant;

/* A request until it is answered or a sequence; one a ticket. */
typedef struct glm_task
{
	struct glm_task		   *next; /* in the queue, or of those that are ready */
	glm_engine			   *engine;
	int						ticket;
	const glm_request_kind *kind;
	glm_task_state			state;
	uint64_t				arrival;
	glm_task_tenant		   *tenant;
	bool					large;	  /* goes to the slow lane at once */
	int64_t					slice_ns; /* when its turn began */
	int64_t					cpu_ns;	  /* of its thread then, in the fast lane */
	pthread_cond_t			turn;	  /* signalled when it may have one, or should look */
	/* how far it is */
	bool					checked;  /* its texts */
	bool					verified; /* its model, as GLM_LOAD asks for */
	bool					held;	  /* its model was brought into memory */
	glm_loading			   *loading;  /* it is parked on, or was */
	glm_sequence		   *sequence; /* made; its model is not in memory yet */
} glm_task;

typedef struct glm_intake
{
	pthread_mutex_t	 lock;
	pthread_cond_t	 work; /* the fast thread waits for tasks */
	pthread_cond_t	 gone; /* a thread has ended */
	int				 n_slots;
	glm_task		*task;		/* [n_slots], by ticket */
	glm_task_tenant *tenant;	/* [n_slots] */
	int				 n_tenants; /* the last one with tasks, and 1 */
	glm_task		*queue;		/* by arrival */
	glm_task		*ready;		/* those that wait longest first */
	glm_task		*slow;		/* whose turn it is in the slow lane */
	atomic_int		 n_ready;
	atomic_int		 n_tasks; /* in whatever state */
	int				 n_threads;
	int				 n_loaders; /* threads of loadings */
	uint64_t		 turns;
	uint64_t		 arrivals;
	glm_loading		*loadings; /* that are not done */
} glm_intake;

extern bool glm_intake_open(glm_engine *engine, int n_tickets, glm_error *err);
extern bool glm_intake_start(glm_engine *engine);
/* Ends the threads; engine->stopping is set. */
extern void glm_intake_stop(glm_engine *engine);
extern void glm_intake_close(glm_engine *engine);
/* A ticket that was submitted. */
extern void glm_intake_add(glm_engine *engine, int ticket);
/* Has it look at a ticket that was cancelled, if it has it. */
extern void glm_intake_poke(glm_engine *engine, int ticket);

/* ---- intake.c: what a task does --------------------------------------------------------------- */

typedef enum glm_outcome_kind
{
	GLM_TASK_FAILED = 0,
	GLM_TASK_GOES_ON, /* not over */
	GLM_TASK_PARKED,  /* to be begun again when task->loading is done */
	GLM_TASK_ANSWERED,
	GLM_TASK_SEQUENCED, /* for the scheduler */
	GLM_TASK_IS_JOB
} glm_outcome_kind;

typedef struct glm_outcome
{
	glm_outcome_kind end;
	glm_error		 err;											   /* FAILED */
	int				 tokens;										   /* ANSWERED: usage */
	int				 context;										   /* and its model's */
	glm_sequence	*sequence;										   /* SEQUENCED */
	bool (*start_job)(glm_engine *engine, int ticket, glm_error *err); /* IS_JOB */
} glm_outcome;

/* Works on a task until it is over or parked. */
extern void glm_task_run(glm_engine *engine, glm_task *task, glm_outcome *outcome);
/* What is left to do when the ticket is no task any more. */
extern void glm_task_finish(glm_engine *engine, int ticket, glm_outcome *outcome);

/* ---- loader.c: models on their way ---------------------------------------------------------------- */

/* The request's model with a reference, or the task is parked until it is open. */
extern glm_outcome_kind glm_loader_find(glm_engine *engine, glm_task *task, const glm_request *req,
										glm_served **served, glm_error *err);
/* GOES_ON when all of it is in memory, or the task is parked until then. */
extern glm_outcome_kind glm_loader_hold(glm_engine *engine, glm_task *task, glm_served *served,
										glm_error *err);
/* For glm_models.closer; arg is the engine. */
extern void				glm_loader_close(void *engine, glm_served *served);

extern bool glm_loading_done(const glm_loading *loading);
/* Did one that is done come to a good end? */
extern bool glm_loading_good(const glm_loading *loading, glm_error *err);
/* A task does not wait for it any more. */
extern void glm_loading_drop(glm_engine *engine, glm_loading *loading);

#endif /* GLM_INTAKE_H */
