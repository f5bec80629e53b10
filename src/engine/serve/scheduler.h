/*
 * scheduler.h - the engine thread's own state, and what is done to it: inbox.c (which come
 * and end), sequence.c (the lists of sequences), tenants.c (whose turn it is), admit.c
 * (which run), rank.c (in which order), preempt.c (which give way), plan.c (what the next
 * pass computes), pass.c (one forward pass and what comes of it), follow.c (the one behind it),
 * scheduler.c (the loop).
 */
#ifndef GLM_SCHEDULER_H
#define GLM_SCHEDULER_H

#include "engine/serve/engine.h"

/* A pass that was started and is not finished. */
typedef struct glm_flight
{
	glm_served		*served; /* NULL: there is none */
	glm_home		*home;
	glm_model_config config;
	int64_t			 start_ns;
	bool			 late;	  /* another was waited for since it was started */
	bool			 kept;	  /* it has a reference to the model */
	glm_results		 results; /* once it is finished */
} glm_flight;

typedef struct glm_scheduler
{
	glm_engine	 *engine;
	glm_sequence *waiting; /* both lists interactive first, then by arrival */
	glm_sequence *running;
	int			  n_running;
	int			  reserved;		/* of its prefill budget, for all tenants */
	int			  spare_logits; /* rows of it that may leave some, beside those of drafts */
	glm_tenant	 *tenants;		/* that have sequences */
	uint64_t	  arrivals;		/* sequences ever come in */
	uint64_t	  admissions;	/* and admitted */
	int64_t		  clock_ns;		/* glm_runtime.virtual_ns of the model that ran last */
	int64_t		  looked_ns;	/* when a pass last looked around, see pass.c */
	glm_served	 *leader;		/* the model that ran last; it may be gone */
	int64_t		  counted_ns;	/* until when its time is counted */
	glm_flight	  flight[GLM_MOST_PLACES]; /* by home */
	glm_flight	  ahead[GLM_MOST_PLACES];  /* behind these, see follow.c */
} glm_scheduler;

/* ---- inbox.c ---- */

/* Takes in the sequences that were handed over, as waiting ones. */
extern void glm_inbox_take(glm_scheduler *s);

/*
 * Ends sequences that were cancelled or are out of time; of those in a pass that runs
 * none, but is one of them still wanted?
 */
extern bool glm_inbox_drop_ended(glm_scheduler *s, bool in_pass);

/* ---- sequence.c ---- */

/* Has its reader left GLM_OUTBOX tokens unread? */
extern bool glm_sequence_paused(const glm_engine *engine, const glm_sequence *seq);

/* Takes a sequence out of the running or the waiting ones; *at points to it. */
extern glm_sequence *glm_sequence_remove(glm_scheduler *s, glm_sequence **at);
extern glm_sequence *glm_sequence_unwait(glm_scheduler *s, glm_sequence **at);

/* Puts a sequence among the waiting ones, which are counted apart, or the running ones. */
extern void glm_sequence_wait(glm_scheduler *s, glm_sequence *seq);
extern void glm_sequence_start(glm_scheduler *s, glm_sequence *seq);

/* Makes a sequence one of its tenant's, which is there from now on; false: out of memory. */
extern bool glm_tenant_join(glm_scheduler *s, glm_sequence *seq);

/* Frees a sequence that has left the lists, with the last one its tenant. */
extern void glm_sequence_drop(glm_scheduler *s, glm_sequence *seq);

/* The same, then tells its reader how it ended. */
extern void glm_sequence_fail(glm_scheduler *s, glm_sequence *seq, const glm_error *err);
extern void glm_sequence_finish(glm_scheduler *s, glm_sequence *seq, glm_finish finish);

/* ---- preempt.c: sequences that give their KV blocks up and wait again ---- */

/*
 * Somebody makes room for `seq`: the newest paused sequence, else the last in rank behind
 * it.  False when there is nobody.
 */
extern bool glm_preempt_for(glm_scheduler *s, const glm_sequence *seq);

/* The newest paused one only. */
extern bool glm_preempt_paused(glm_scheduler *s, const glm_sequence *seq);

/* A sequence itself, which no other can make room for. */
extern void glm_preempt_alone(glm_scheduler *s, glm_sequence *seq);

/* The running one that *at points to. */
extern void glm_preempt_at(glm_scheduler *s, glm_sequence **at);

/* ---- tenants.c: whose turn it is ---- */

/* Counts the active sequences of all tenants; how many they are together. */
extern int glm_tenants_count_active(glm_scheduler *s);

/* Places for each tenant that has something to do. */
extern int glm_tenants_share(const glm_scheduler *s);

/* Finds the first waiting sequence of each class of each tenant; none was tried yet. */
extern void glm_tenants_find_waiting(glm_scheduler *s);

/* The next tenant that was not tried, which it is from now on; NULL: all were. */
extern glm_tenant *glm_tenants_next(glm_scheduler *s);

/* Does batch come before what is interactive? */
extern bool glm_tenant_batch_is_next(const glm_tenant *tenant);

/* One of its sequences, of this class, was admitted. */
extern void glm_tenant_had_turn(glm_scheduler *s, glm_tenant *tenant, bool batch);

/* ---- admit.c ---- */

/* Lets those run whose time has come. */
extern void glm_scheduler_admit(glm_scheduler *s);

/* ---- rank.c ---- */

/*
 * Brings the active sequences into their order, in engine->ranked, and chooses those of
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
extern int	glm_plan_adopt(glm_sequence *seq);
extern void glm_plan_count_cached(glm_engine *engine, glm_sequence *seq, int tokens);

/* Fills home->rows with a pass of this model; may be none. */
extern void glm_plan_pass(glm_scheduler *s, glm_served *served, glm_home *home);

/* Would anybody whose pass, without drafts, is under way there have one by the known tokens? */
extern bool glm_plan_would_draft(glm_scheduler *s, const glm_served *served, const glm_home *home);

/* ---- pass.c ---- */

/* Starts a forward pass of a model, if there is something to compute: it has a flight then. */
extern void glm_pass_start(glm_scheduler *s, glm_served *served);
/* Waits for it, and takes what came of it; the one that follows it has its flight then. */
extern void glm_pass_finish(glm_scheduler *s, glm_flight *flight);

/* ---- follow.c ---- */

/* Puts the next pass in order behind each that is under way and may be followed. */
extern void glm_follow_all(glm_scheduler *s);
/* The one behind a pass that is over is the home's from now on, if there is one. */
extern void glm_follow_move_up(glm_scheduler *s, glm_flight *flight, int64_t now_ns);
/* The pass before it failed: it is waited for, and nobody has what came of it. */
extern void glm_follow_drop(glm_scheduler *s, const glm_home *home);

#endif /* GLM_SCHEDULER_H */
