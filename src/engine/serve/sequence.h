/*
 * sequence.h - sequences: prompts with the tokens generated after them, and on whose behalf.
 */
#ifndef GLM_SEQUENCE_H
#define GLM_SEQUENCE_H

#include "engine/serve/draft.h"
#include "engine/serve/models.h"
#include "engine/serve/pool.h"
#include "engine/serve/prefix.h"
#include "engine/serve/reply.h"
#include "engine/serve/sample.h"
#include "engine/text/decoder.h"

/* On whose behalf sequences are computed; the engine thread's alone. */
typedef struct glm_tenant
{
	struct glm_tenant	*next;
	uint32_t			 id;			 /* of requests */
	int					 n_sequences;	 /* running and waiting */
	uint64_t			 admitted;		 /* when one was last admitted */
	int					 ahead_of_batch; /* interactive ones admitted while batch waited */
	/* of the admission or pass that is being planned: */
	int					 n_active;	 /* running and not paused */
	struct glm_sequence *next_of[2]; /* waiting ones: interactive, batch; NULL: none */
	bool				 tried;
	int					 turns;	   /* dealt out to its sequences */
	int					 prefill;  /* tokens of prompts that they lack */
	int					 reserved; /* of the prefill budget */
} glm_tenant;

/* A token as it was sampled. */
typedef struct glm_picked
{
	int32_t	   token;
	float	   logprob; /* where it is told, as are the others */
	int		   n_likely;
	glm_likely likely[GLM_LOGPROBS_MAX];
} glm_picked;

typedef struct glm_request_kind glm_request_kind;
typedef struct glm_constrained	glm_constrained; /* see constrained.h */
typedef struct glm_branches		glm_branches;	 /* see branch.h */

typedef struct glm_sequence
{
	struct glm_sequence	   *next;
	int						ticket;
	const glm_request	   *request; /* the ticket's */
	const glm_request_kind *kind;	 /* its own; see kinds.h */
	glm_served			   *served;	 /* its model, one reference */
	const glm_model		   *model;	 /* the same */
	glm_tenant			   *tenant;
	uint64_t				arrival; /* its number among all; with batch, its rank in the tenant */
	int						turn;	 /* its number among its tenant's, see rank.c */
	int64_t					waits_since; /* when it last came to wait */
	int						entitled;	 /* tokens up to which it is not displaced */
	glm_ids					tokens;		 /* prompt, then answer; room for `limit` */
	int						n_prompt;
	int						n_begun;	/* of it at the end: an answer that goes on */
	int						limit;		/* most tokens it may come to */
	int						n_shown;	/* of them, whose text was passed on */
	int						n_computed; /* positions whose KV is in place */
	int						n_cached;	/* of its prompt, found in the prefix cache */
	int						n_rows;		/* rows of its known tokens in the pass being run */
	bool					copied;		/* a block was copied for it since the last pass */
	int						n_wanted;	/* rows of which that pass leaves something, drafts' too */
	int						slot;		/* of the first of these, among all that the pass leaves */
	int						ahead;		/* the same in the pass that follows, and 1; 0: not in it */
	uint32_t				pass;		/* its last one, as its model counts them */
	bool					chosen;		/* for the pass that is planned */
	bool					preempted;	/* once at least */
	glm_chain				chain;
	glm_draft				draft;	/* what may come next; GLM_NEEDS_SAMPLER only, as is the next */
	glm_ngrams			   *ngrams; /* by answers of its scope; NULL: by none */
	int						n_accepted;	   /* drafts that were right */
	float				   *logits;		   /* [n_wanted, vocab] of the pass just run; NULL: none */
	const glm_picked_id	   *device_picked; /* [n_wanted], see glm_sequence_has_logits(), or NULL */
	int						fetched_from;  /* the first row whose logits came home all the same */
	bool					lacks_logits;  /* those of the row behind n_picked are wanted */
	float				   *hidden;		   /* [n_wanted, hidden], if that is what its kind wants */
	int						n_picked;	   /* tokens sampled from them */
	int64_t					sample_ns;	   /* what that took */
	glm_picked				picked[GLM_DRAFT_MAX + 1];
	glm_error				pick_error; /* why there are no more */
	glm_sampler			   *sampler;	/* NULL without GLM_NEEDS_SAMPLER */
	glm_decoder			   *decoder;
	glm_constrained		   *constrained; /* NULL: the answer may be anything */
	glm_pool			   *pool;		 /* NULL without GLM_NEEDS_POOL */
	void				   *own;		 /* what its kind alone has; see kinds.h */
	int						n_branches;	 /* that a pass may have at most, GLM_DRAFT_MAX */
	glm_branches		   *branches;	 /* NULL: it has none, or does not run */
	int						more;		 /* tokens that it may come to, by that */
	glm_buf					text;		 /* text not yet sent */
	glm_buf					told;		 /* of tokens, not yet sent: glm_told */
	uint32_t				made;		 /* TOKEN events sent */
} glm_sequence;

/* Where its model is, once that is resident; before it the first may be NULL. */
static inline const glm_home *
glm_sequence_home(const glm_sequence *seq)
{
	return atomic_load(&seq->served->home);
}

static inline glm_prefix *
glm_sequence_prefix(const glm_sequence *seq)
{
	const glm_home *home = glm_sequence_home(seq);

	return home != NULL ? home->prefix : NULL;
}

/* Is it computed there? */
static inline bool
glm_sequence_is_at(const glm_sequence *seq, const glm_home *home)
{
	return glm_sequence_home(seq) == home;
}

/* Are their blocks in one pool, so that one can give room to the other? */
static inline bool
glm_sequences_share_room(const glm_sequence *a, const glm_sequence *b)
{
	return glm_sequence_home(a) == glm_sequence_home(b);
}

/* Are the logits of this row at home?  If not the device has picked by them. */
static inline bool
glm_sequence_has_logits(const glm_sequence *seq, int row)
{
	const glm_picked_id *picked = seq->device_picked;

	return picked == NULL || row >= seq->fetched_from ||
		   (picked[row].id < 0 && picked[row].status == GLM_OK);
}

/* Hands a sequence over to the engine thread (inbox.c).  Any thread. */
extern void	 glm_inbox_add(glm_engine *engine, glm_sequence *seq);
extern void *glm_scheduler_main(void *engine); /* the engine thread */

/* ---- sequence_open.c ---- */

/* Makes a sequence of the ticket's request; takes over the reference to the model. */
extern glm_sequence *glm_sequence_open(glm_engine *engine, const glm_request_kind *kind, int ticket,
									   glm_served *served, glm_error *err);
/* Takes what only those that are admitted need, once.  false: GLM_NO_MEMORY. */
extern bool			 glm_sequence_prepare(glm_sequence *seq, glm_error *err);
/* Could the KV pool where its model is hold all of it?  Yes, if that is not known yet. */
extern bool			 glm_sequence_fits(const glm_sequence *seq, glm_error *err);
/* Fails for a prompt of so many tokens; `more`: it was not read to its end. */
extern bool glm_prompt_too_long(size_t tokens, bool more, const glm_model *model, glm_error *err);

/* ---- sequence.c ---- */

/* The position of its last token that is known. */
extern int	glm_sequence_last_known(const glm_sequence *seq);
/* How many of its tokens, from the first, are never taken back, whatever it comes to. */
extern int	glm_sequence_lasting(const glm_sequence *seq);
/* Frees a sequence that never reached the scheduler, or has left it. */
extern void glm_sequence_free(glm_engine *engine, glm_sequence *seq);

#endif /* GLM_SEQUENCE_H */
