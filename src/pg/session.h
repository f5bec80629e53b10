/*
 * session.h - a backend's line to the worker.
 */
#ifndef CHATGLM_SESSION_H
#define CHATGLM_SESSION_H

#include "segment.h"
#include "waits.h"

/*
 * Makes sure that there is a line to the worker that runs now; waits a little
 * for one that is starting.  ERROR when there is none, or no preload.
 */
extern void chatglm_session_connect(void);

/* Is there a line, and does the worker at its other end still run? */
extern bool chatglm_session_alive(void);

/* Gives the line up.  Never fails; does nothing when there is none. */
extern void chatglm_session_disconnect(void);

/*
 * Takes a free entry of the words for this request, with its place and its roles' quotas; -1
 * when there is none.
 */
extern int chatglm_session_claim(uint64 id, int place, bool in_flight, const ChatglmQuota *quota);

/* Is there a request that was cancelled, and the worker has not ended yet? */
extern bool chatglm_session_ending(void);

/* The words of a request while the worker still cares for it, else NULL. */
extern ChatglmRequestWords *chatglm_session_words(int entry, uint64 id);

/* Tells the worker that words have changed.  Never fails. */
extern void chatglm_session_ring(void);

/* Sends the rest of what an interrupted call left half sent; or tries to. */
extern void chatglm_session_flush(void);
extern void chatglm_session_push(void);

/* Sends a block, right after a claim that came after a flush.  Serves interrupts. */
extern void chatglm_session_send(const glm_request *block);

/* The next event, good until the next call; NULL when none is there yet. */
extern const glm_event *chatglm_session_receive(void);

/* Waits until something may have happened; serves interrupts. */
extern void chatglm_session_wait(ChatglmWait wait);

/* No request is alive: lets go of what would only burden both sides. */
extern void chatglm_session_rest(void);

/* Why there is no line any more, or the one there is is not alive. */
extern ChatglmLoss chatglm_session_loss(void);

#endif /* CHATGLM_SESSION_H */
