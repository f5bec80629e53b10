/*
 * scheduler.h - the engine thread's own state: scheduler.c (the loop), sequence.c (the
 * lists of sequences), admit.c (who is next), rank.c (in which order), plan.c (what the
 * next pass computes) and pass.c (one forward pass and what comes of it).
 */
#ifndef GLM_SCHEDULER_H
#define GLM_SCHEDULER_H

#include "engine/serve/engine.h"

typedef struct glm_scheduler
{
	glm_engine	 *engine;
	glm_sequence *waiting; /* both lists interactive first, then by arrival */
	glm_sequence *running;
	int			  n_running;
	int			  n_rows;	  /* rows of the pass, in engine->row */
	int			  reserved;	  /* of its prefill budget, for all tenants */
	glm_tenant	 *tenants;	  /* that have sequences */
	uint64_t	  arrivals;	  /* sequences ever come in */
	uint64_t	  admissions; /* and admitted */
	int64_t		  clock_ns;	  /* glm_runtime.virtual_ns of the model that ran last */
	int64_t		  looked_ns;  /* when a pass last looked around, see pass.c */
} glm_scheduler;

/* ---- scheduler.c ---- */

/* Takes in the sequences that were handed over, as waiting ones. */
extern void glm_scheduler_collect(glm_scheduler *s);

/* ---- sequence.c ---- */

/* Has its reader left GLM_OUTBOX tokens unread? */
extern bool glm_sequence_paused(const glm_engine *engine, const glm_sequence *seq);

/* Takes a sequence out of the running or the waiting ones; *at points to it. */
extern glm_sequence *glm_sequence_remove(glm_scheduler *s, glm_sequence **at);
extern glm_sequence *glm_sequence_unwait(glm_scheduler *s, glm_sequence **at);

/* Puts a sequence among the waiting ones, which are counted apart, or the running ones. */
extern void glm_sequence_wait(glm_scheduler *s, glm_sequence *seq);
extern void glm_sequence_start(glm_scheduler *s, glm_sequence *seq);

/* Frees a sequence that has left the lists. */
extern void glm_sequence_drop(glm_scheduler *s, glm_sequence *seq);

/* The same, then tells its reader how it ended. */
extern void glm_sequence_fail(glm_scheduler *s, glm_sequence *seq, const glm_error *err);
extern void glm_sequence_finish(glm_scheduler *s, glm_sequence *seq, glm_finish finish);

/*
 * Makes somebody give his KV blocks up for `seq` and wait again: the newest
 * paused sequence, else the last in rank behind it.  False when there is nobody.
 */
extern bool glm_sequence_preempt_for(glm_scheduler *s, const glm_sequence *seq);

/* The newest paused one only. */
extern bool glm_sequence_preempt_paused(glm_scheduler *s);

/* The same for a sequence itself, which no other can make room for. */
extern void glm_sequence_preempt(glm_scheduler *s, glm_sequence *seq);

/* The same for the running one that *at points to. */
extern void glm_sequence_preempt_at(glm_scheduler *s, glm_sequence **at);

/* ---- admit.c ---- */

/* Lets those run whose time has come. */
extern void glm_scheduler_admit(glm_scheduler *s);

/* ---- rank.c ---- */

/*
 * Brings the active sequences into their order, in engine->order, and chooses those of
 * the model that are in its next pass.  Returns how many there are.
 */
extern int	glm_rank_pass(glm_scheduler *s, const glm_served *served);
/* By the turns that were dealt out last. */
extern bool glm_ranks_before(const glm_sequence *a, const glm_sequence *b);

/* ---- plan.c ---- */

/*
 * Appends the blocks of its tokens that are cached, if it is about to begin a new
 * one; returns how many tokens that saves, which are counted apart.
 */
extern int	glm_plan_adopt(glm_engine *engine, glm_sequence *seq);
extern void glm_plan_count_cached(glm_engine *engine, glm_sequence *seq, int tokens);

/* Fills engine->row with the rows of a pass of this model; may be none. */
extern void glm_plan_pass(glm_scheduler *s, glm_served *served);

/* ---- pass.c ---- */

/* One forward pass of a model. */
extern void glm_pass_run(glm_scheduler *s, glm_served *served);

#endif /* GLM_SCHEDULER_H */
