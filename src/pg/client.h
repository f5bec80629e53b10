/*
 * client.h - the requests of a backend.
 */
#ifndef CHATGLM_CLIENT_H
#define CHATGLM_CLIENT_H

#include "call.h"

typedef struct ChatglmRequest ChatglmRequest;

/*
 * Sends a request.  It belongs to the current subtransaction and is cancelled
 * when that aborts; otherwise the caller must release it.  Connects the
 * session to the worker first when needed; waits up to three seconds for a
 * worker that is just restarting.  Rows in flight and batch calls wait for room in
 * the queue and in the session.  Where the call has a route and no model yet, one is chosen.
 * ERRORs: no preload, no worker; no room.
 */
extern ChatglmRequest *chatglm_submit(const ChatglmCall *call);

/*
 * The next event of a request: TOKEN, RESULT or DONE; waits with interrupts.
 * The event is good until the next call for the same request.  An ERROR event
 * is thrown as a PostgreSQL ERROR, and so is the loss of the worker.  After
 * DONE it must not be called again.
 */
extern const glm_event *chatglm_next_event(ChatglmRequest *request);

/* The same without waiting: NULL when nothing is there yet. */
extern const glm_event *chatglm_try_event(ChatglmRequest *request);

/* Files what has come for any request, without waiting and without throwing it. */
extern void chatglm_look(void);

/* Waits until there may be something to look for; serves interrupts. */
extern void chatglm_wait(void);

/* Is there more to come from the worker than chatglm_look() has filed? */
extern bool chatglm_request_running(const ChatglmRequest *request);

/* Did its subtransaction's abort end it? */
extern bool chatglm_request_rolled_back(const ChatglmRequest *request);

/* How many requests of this session are running: in all, or those in flight, or the others. */
extern int chatglm_requests_running(void);
extern int chatglm_requests_running_as(bool in_flight);

/* Ends a request; cancels it when it is not done.  Never fails, never blocks. */
extern void chatglm_release(ChatglmRequest *request);

/* A copy of what its call said to keep, with a NUL behind it; NULL: nothing. */
extern char *chatglm_request_kept(const ChatglmRequest *request);

/* Tokens of prompts and answers of this session's requests so far. */
extern uint64 chatglm_tokens_used(void);

extern uint64 chatglm_request_id(const ChatglmRequest *request);

/* The name of its model, UTF-8. */
extern const char *chatglm_request_model(const ChatglmRequest *request);

#endif /* CHATGLM_CLIENT_H */
