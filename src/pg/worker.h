/*
 * worker.h - the process that owns the engine.
 */
#ifndef CHATGLM_WORKER_H
#define CHATGLM_WORKER_H

#include "chatglm.h"

extern PGDLLEXPORT void chatglm_worker_main(Datum arg);
extern void				chatglm_worker_register(void);

#endif /* CHATGLM_WORKER_H */
