/*
 * worker.h - what the files of the worker share: worker.c (start, main loop,
 * statistics), worker_session.c (the lines to the backends), worker_ticket.c
 * (the requests the engine has), worker_models.c (what the log says of models),
 * worker_fault.c (dying engine threads).
 *
 * All of it runs in the worker's main thread.  It never waits but in the main
 * loop, and it never computes.
 */
#ifndef CHATGLM_WORKER_H
#define CHATGLM_WORKER_H

#include "segment.h"
#include "shared.h"

#include <setjmp.h>
#include <signal.h>

#include "lib/ilist.h"

/* ---- worker.c --------------------------------------------------------- */

extern PGDLLEXPORT void chatglm_worker_main(Datum arg);
extern void				chatglm_worker_register(void);

/* What chatglm_shared->worker_error will say when this process ends. */
extern void chatglm_worker_reason(const char *fmt, ...) pg_attribute_printf(1, 2);

/* Shows the engine's statistics to everybody, now. */
extern void chatglm_worker_publish(void);

/* ---- worker_models.c -------------------------------------------------- */

/* Logs how what the engine has loaded differs from the last time. */
extern void chatglm_models_compare(const glm_model_info *models, int n);

/* Those missing next time are so because somebody asked for it. */
extern void chatglm_models_unload_asked(void);

/* ---- worker_fault.c --------------------------------------------------- */

/* Installs the handlers; returns a descriptor that a fault makes readable. */
extern int chatglm_fault_init(void);

/* Ends the process (FATAL) when an engine thread has faulted. */
extern void chatglm_fault_check(void);

/*
 * Stands around every call of the engine.  One that hangs because an engine
 * thread died holding a lock is left by a jump to chatglm_way_out; so no LWLock
 * may be held here.
 */
#define CHATGLM_ENGINE(call)                                                                       \
	do                                                                                             \
	{                                                                                              \
		chatglm_in_engine = 1;                                                                     \
		call;                                                                                      \
		chatglm_in_engine = 0;                                                                     \
	} while (0)

extern volatile sig_atomic_t chatglm_in_engine;
extern sigjmp_buf			 chatglm_way_out;

/* ---- worker_session.c ------------------------------------------------- */

/* A request of a session, at the index of its words. */
typedef struct WorkerEntry
{
	uint64		 id;	 /* 0 = unused */
	int			 ticket; /* -1: the engine does not have it, or not any more */
	int			 place;	 /* its room, see room.c */
	glm_request *block;	 /* what has come of it; NULL once all has */
	uint32		 size;	 /* that it is to have */
	uint32		 received;
	int64		 unread; /* bytes of its events in `outgoing` */
} WorkerEntry;

typedef struct WorkerSession
{
	dlist_node			  link;	   /* in the list of attached sessions */
	dsm_segment			 *segment; /* NULL: not attached */
	ChatglmSessionHeader *header;
	shm_mq_handle		 *requests;
	shm_mq_handle		 *replies;
	PGPROC				 *proc; /* of the backend */
	pid_t				  pid;
	bool				  broken;	/* no memory for its events: to be dropped */
	dlist_head			  outgoing; /* events that the queue had no room for */
	WorkerEntry			  entry[CHATGLM_SESSION_REQUESTS];
} WorkerSession;

extern void chatglm_sessions_init(void);

/* Attaches the sessions that have announced themselves. */
extern void chatglm_sessions_attach(void);

/* Looks at every session's words and queues. */
extern void chatglm_sessions_serve(void);

/* Sends an event or keeps it until there is room. */
extern void chatglm_session_post(WorkerSession *session, int entry, const glm_event *event);

/* The engine is done with the request; its room is given back, now or when all is read. */
extern void chatglm_session_done(WorkerSession *session, int entry);

/* The entry is free again, for the backend too. */
extern void chatglm_session_end(WorkerSession *session, int entry);

/* ---- worker_ticket.c -------------------------------------------------- */

extern void chatglm_tickets_init(glm_engine *engine);

/* Gives the request of an entry to the engine, or answers with an ERROR event. */
extern void chatglm_ticket_admit(WorkerSession *session, int entry);

/* Answers a request that the engine does not have. */
extern void chatglm_ticket_refuse(WorkerSession *session, int entry, const glm_error *err);

/* Memory for a block; NULL: there is none. */
extern glm_request *chatglm_block_new(Size size);
extern void			chatglm_block_free(glm_request *block);

/* The backend does not want it any more: cancels it and drops its events. */
extern void chatglm_ticket_abandon(int ticket, bool session_gone);

/* Tells the engine how many tokens the backend has taken. */
extern void chatglm_ticket_taken(int ticket);

/* Serves glm_cancel(). */
extern void chatglm_tickets_cancel_marked(void);

/* Passes on what the engine has made. */
extern void chatglm_tickets_pass_events(void);

extern int chatglm_tickets_live(void);

/* Asks the engine how far the answers are. */
extern void chatglm_tickets_count_tokens(void);

/* Under ChatglmShared.lock: shows what was counted. */
extern void chatglm_tickets_show_tokens(void);

#endif /* CHATGLM_WORKER_H */
