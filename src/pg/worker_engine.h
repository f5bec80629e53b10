/*
 * worker_engine.h - the engine, as the worker's main thread calls it.
 *
 * A call that hangs because an engine thread died holding a lock is left by a jump to
 * chatglm_engine_way_out; so no LWLock may be held in any of these.
 */
#ifndef CHATGLM_WORKER_ENGINE_H
#define CHATGLM_WORKER_ENGINE_H

#include "chatglm.h"

#include <setjmp.h>

extern sigjmp_buf chatglm_engine_way_out;

/* In a signal handler: jumps there if the main thread is in a call, else returns. */
extern void chatglm_engine_leave(void);

/* Starts the engine as the settings say; false, and *err says why not. */
extern bool chatglm_engine_open(glm_error *err);

/* Tells it the settings that may change while it runs. */
extern void chatglm_engine_reload(void);

/* See glm.h: these are its functions, for the one engine there is. */
extern int				 chatglm_engine_fd(void);
extern int				 chatglm_engine_give(glm_request *block, glm_error *err);
extern void				 chatglm_engine_cancel(int ticket);
extern void				 chatglm_engine_taken(int ticket, uint32 taken);
extern int				 chatglm_engine_generated(int ticket);
extern glm_stage		 chatglm_engine_stage(int ticket);
extern const glm_timing *chatglm_engine_timing(int ticket);
extern bool				 chatglm_engine_poll(glm_event *event);
extern bool				 chatglm_engine_lost(glm_error *err);
extern void				 chatglm_engine_stats(glm_stats *stats);
extern void				 chatglm_engine_progress(glm_progress *progress);
extern int				 chatglm_engine_models(glm_model_info *models, int max);
extern void				 chatglm_engine_quit_job(void);

/* Memory for a block, which chatglm_engine_give() takes over; NULL: there is none. */
extern glm_request *chatglm_block_new(Size size);
extern void			chatglm_block_free(glm_request *block);

#endif /* CHATGLM_WORKER_ENGINE_H */
