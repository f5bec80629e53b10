/*
 * worker_session.h - the worker's ends of the lines to the backends.
 */
#ifndef CHATGLM_WORKER_SESSION_H
#define CHATGLM_WORKER_SESSION_H

#include "segment.h"
#include "worker_limits.h"

#include "lib/ilist.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"

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
	ChatglmClaim claim;
} WorkerEntry;

struct WorkerSession
{
	dlist_node			  link;	   /* in the list of attached sessions */
	dsm_segment			 *segment; /* NULL: not attached */
	ChatglmSessionHeader *header;
	shm_mq_handle		 *requests;
	shm_mq_handle		 *replies;
	PGPROC				 *proc; /* of the backend */
	pid_t				  pid;
	ChatglmLoss			  loss;		/* not 0: to be dropped, for this reason */
	dlist_head			  outgoing; /* events that the queue had no room for */
	WorkerEntry			  entry[CHATGLM_SESSION_REQUESTS];
};

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

#endif /* CHATGLM_WORKER_SESSION_H */
