/*
 * session_errors.h - the words for it when the worker is not there, or not any more.
 */
#ifndef CHATGLM_SESSION_ERRORS_H
#define CHATGLM_SESSION_ERRORS_H

#include "segment.h"

/* The ERROR of a request that was lost. */
extern void chatglm_session_lost(ChatglmLoss loss) pg_attribute_noreturn();

/* The ERROR of a request for which there is no worker. */
extern void chatglm_worker_missing(void) pg_attribute_noreturn();

/* Has the worker said that it cannot start, so that waiting is of no use? */
extern bool chatglm_worker_cannot_start(void);

#endif /* CHATGLM_SESSION_ERRORS_H */
