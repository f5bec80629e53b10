/*
 * turns.h - turns among tasks that take long to be made ready.
 */
#ifndef GLM_TURNS_H
#define GLM_TURNS_H

#include "engine/serve/engine.h"

/* Takes a task out of a list that it is in. */
extern void glm_task_remove(glm_task **list, glm_task *task);

/* A task has a turn from now on; under intake.lock. */
extern void glm_turn_begin(glm_task *task);
/* And by the calling thread, in the fast lane. */
extern void glm_turn_begin_fast(glm_task *task);

/* Has the calling thread's task been in the fast lane for too long? */
extern bool glm_turn_is_long(const glm_task *task);
/*
 * It goes on in the slow lane when its turn comes, for which it waits; under intake.lock.
 * False when the task has ended before, or the engine is closing.
 */
extern bool glm_turn_enter_slow(glm_task *task, glm_error *err);
/* Gives a turn away that has lasted long enough, and waits for the next. */
extern bool glm_turn_pass(glm_task *task, glm_error *err);
/* A slow task is over, or parked; under intake.lock. */
extern void glm_turn_leave(glm_task *task);

#endif /* GLM_TURNS_H */
