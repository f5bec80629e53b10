/*
 * shared.h - the shared memory of all of chatglm.
 */
#ifndef CHATGLM_SHARED_H
#define CHATGLM_SHARED_H

#include "chatglm.h"

#define CHATGLM_MAX_MODELS 128 /* loaded models that views know of */

typedef enum ChatglmSlotState
{
	CHATGLM_SLOT_FREE = 0,
	CHATGLM_SLOT_NEW, /* backend made the segment, worker has not seen it */
	CHATGLM_SLOT_ATTACHED,
	CHATGLM_SLOT_REFUSED /* the worker could not attach; its log has the reason */
} ChatglmSlotState;

/* A session's place; its index is the process number of the backend. */
typedef struct ChatglmSlot
{
	ChatglmSlotState state;
	pid_t			 pid; /* of the backend */
	dsm_handle		 handle;
} ChatglmSlot;

/* One request the worker knows, for glm_stat_requests. */
typedef struct ChatglmRequestStat
{
	uint64 id;	/* 0 = entry unused */
	pid_t  pid; /* of the backend */
	Oid	   login;
	Oid	   role; /* whose rights count */
	Oid	   database;
	uint16 kind; /* glm_kind */
	uint16 form; /* glm_form */
	bool   stream;
	bool   in_flight; /* a row of GlmBatch or glm_generate_batch */
	char   model[NAMEDATALEN];
	int64  started_us; /* TimestampTz */
	int32  tokens;	   /* generated so far */
	uint16 stage;	   /* glm_stage */
	bool   held;	   /* waits for the limits of its role, the engine does not have it */
	bool   cancel;	   /* somebody wants it cancelled */
} ChatglmRequestStat;

typedef struct ChatglmShared
{
	LWLock			*lock;				  /* everything but the atomics */
	pid_t			 worker_pid;		  /* 0: no worker */
	Latch			*worker_latch;		  /* NULL: no worker */
	bool			 worker_cannot_start; /* worker_error says why */
	TimestampTz		 worker_started;
	char			 worker_error[256]; /* why the last worker ended, or empty */
	int				 device_losses;		/* in a row, see worker_device.c */
	TimestampTz		 device_lost;		/* the last of them */
	char			 device_reason[160];
	pg_atomic_uint32 generation; /* changes when a worker comes or goes */
	pg_atomic_uint64 next_id;	 /* of requests, cluster-wide */
	pg_atomic_uint32 news;		 /* set: a slot is NEW or a stat says cancel */

	glm_stats	   stats;	 /* copied here by the worker */
	glm_progress   progress; /* of the quantize job; id 0: none */
	int			   n_models;
	glm_model_info model[CHATGLM_MAX_MODELS];
	int			   n_requests; /* tickets of the engine, and places in the queue */
	int			   n_stats;	   /* by ticket, then by place: what waits for limits */
	int			   n_slots;
	/* ChatglmSlot[n_slots] and ChatglmRequestStat[n_stats] follow */
} ChatglmShared;

extern ChatglmShared *chatglm_shared; /* NULL: not in shared_preload_libraries */

extern void				   chatglm_shmem_init(void); /* installs the hooks */
extern ChatglmSlot		  *chatglm_slots(void);
extern ChatglmRequestStat *chatglm_request_stats(void);

/* Makes the worker, if there is one, look around.  Never fails. */
extern void chatglm_wake_worker(void);

/* ERROR with the HINT that says how, unless chatglm was preloaded. */
extern void chatglm_require_preload(void);

/* Is the worker running? */
extern bool chatglm_worker_is_up(void);

/* A copy of it all at one moment, up to the loaded models; false: there is none. */
extern bool chatglm_shared_copy(ChatglmShared *copy);

/*
 * The loaded model of this name and directory, NULL when there is none.  Names are
 * compared as they are shown: none holds a backslash, which what has no equivalent has.
 */
extern const glm_model_info *chatglm_find_loaded(const ChatglmShared *shared, const char *name,
												 const char *path);

#endif /* CHATGLM_SHARED_H */
