/*
 * turns.h - what tasks.c (queue, fast lane, threads) and turns.c (slow lane) share.
 */
#ifndef GLM_TURNS_H
#define GLM_TURNS_H

#include "engine/serve/engine.h"

/* ---- tasks.c ---- */

/* Starts a thread for the fast lane; under intake.lock. */
extern bool glm_intake_thread(glm_engine *engine);

/* ---- turns.c ---- */

/* Takes a task out of a list that it is in. */
extern void glm_task_remove(glm_task **list, glm_task *task);
/* A task has a turn from now on; under intake.lock. */
extern void glm_turn_begin(glm_task *task);
/* And by the calling thread, in the fast lane. */
extern void glm_turn_fast(glm_task *task);
/* What glm_pause() does in a task, which is the argument. */
extern bool glm_turn_pause(void *task, glm_error *err);
/* A slow task is over, or parked; under intake.lock. */
extern void glm_turn_leave(glm_task *task);

#endif /* GLM_TURNS_H */
