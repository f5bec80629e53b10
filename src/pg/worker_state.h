/*
 * worker_state.h - what shared memory tells of the worker.
 */
#ifndef CHATGLM_WORKER_STATE_H
#define CHATGLM_WORKER_STATE_H

#include "chatglm.h"

/* Tells everybody that there is a worker.  What one before us left behind is void. */
extern void chatglm_state_begin(void);

/* Tells everybody that there is none, nor will be soon, and why. */
extern void chatglm_state_cannot_start(const char *reason);

/* What ChatglmShared.worker_error will say when this process ends. */
extern void chatglm_state_reason(const char *fmt, ...) pg_attribute_printf(1, 2);

/* Tells everybody that there is no worker any more, and wakes all who may wait for it. */
extern void chatglm_state_end(void);

/* Shows the engine's statistics to everybody, now. */
extern void chatglm_state_publish(void);

/*
 * The same now and then while requests run, and once more when all is quiet.  Returns the
 * milliseconds until it wants to be called again, -1 for not at all.
 */
extern long chatglm_state_publish_if_due(void);

#endif /* CHATGLM_WORKER_STATE_H */
