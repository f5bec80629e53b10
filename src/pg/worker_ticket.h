/*
 * worker_ticket.h - the requests that the engine has.
 */
#ifndef CHATGLM_WORKER_TICKET_H
#define CHATGLM_WORKER_TICKET_H

#include "worker_session.h"

extern void chatglm_tickets_init(void);

/* Gives the request of an entry to the engine, or answers with an ERROR event. */
extern void chatglm_ticket_admit(WorkerSession *session, int entry);

/*
 * Gives the engine those held for limits that may go now, and ends those out of time.  Returns
 * the milliseconds until it wants to be called again, -1: not before something happens.
 */
extern long chatglm_tickets_serve_held(void);

/* A request that is held, or any other, is not held any more. */
extern void chatglm_ticket_unhold(WorkerEntry *entry);

/* Answers a request that the engine does not have. */
extern void chatglm_ticket_refuse(WorkerSession *session, int entry, const glm_error *err);

/* The backend does not want it any more: cancels it and drops its events. */
extern void chatglm_ticket_abandon(int ticket, bool session_gone);

/* Tells the engine how many tokens the backend has taken. */
extern void chatglm_ticket_taken(int ticket);

/* Serves glm_cancel(). */
extern void chatglm_tickets_cancel_marked(void);

/*
 * Takes the next event of the engine; false: there is none.  *publish_first: its reader may
 * query the views next, so they are published before it is posted.
 */
extern bool chatglm_tickets_take_event(bool *publish_first);

/* Passes the event on to the session that asked. */
extern void chatglm_tickets_post_event(void);

extern int chatglm_tickets_live(void);

/* Asks the engine how far the answers are. */
extern void chatglm_tickets_count_tokens(void);

/* Under ChatglmShared.lock: shows what was counted. */
extern void chatglm_tickets_show_tokens(void);

#endif /* CHATGLM_WORKER_TICKET_H */
