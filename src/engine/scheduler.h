/*
 * scheduler.h - the engine thread's own state: scheduler.c (who runs, who
 * waits) and pass.c (one forward pass and what comes of it).
 */
#ifndef GLM_SCHEDULER_H
#define GLM_SCHEDULER_H

#include "engine.h"

typedef struct glm_scheduler
{
	glm_engine *engine;
	glm_sequence *waiting;		/* oldest first */
	glm_sequence **waiting_end;
	glm_sequence *running;		/* in order of admission */
	int			n_running;
	int			n_rows;			/* rows of the pass, in engine->row */
	uint32_t	round;			/* each round, every model with work has one pass */
} glm_scheduler;

/* ---- scheduler.c ---- */

/* Has its reader left GLM_OUTBOX tokens unread? */
extern bool glm_sequence_paused(const glm_engine *engine, const glm_sequence *seq);

/* Takes a sequence out of the running ones; *at points to it. */
extern glm_sequence *glm_sequence_remove(glm_scheduler *s, glm_sequence **at);

/* Frees a sequence, then tells its reader how it ended. */
extern void glm_sequence_fail(glm_engine *engine, glm_sequence *seq, const glm_error *err);
extern void glm_sequence_finish(glm_engine *engine, glm_sequence *seq, glm_finish finish);

/* ---- pass.c ---- */

/* One forward pass for the sequences of a model that had none in this round. */
extern void glm_pass_run(glm_scheduler *s, const glm_model *model);

#endif							/* GLM_SCHEDULER_H */
