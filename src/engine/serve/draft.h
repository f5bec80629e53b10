/*
 * draft.h - speculation by n-grams: drafts of the tokens that come next, the n-grams of
 * answers by which they are made (draft.c), and which of those a model keeps, with what
 * its passes cost (drafter.c).
 */
#ifndef GLM_DRAFT_H
#define GLM_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#define GLM_DRAFT_MAX 15	  /* tokens of a draft */
#define GLM_DRAFT_ROWS 80	  /* passes with more rows are without drafts */
#define GLM_SKIPGRAM_TOKENS 5 /* common ones that a skip-gram has */

typedef struct glm_drafter glm_drafter; /* of one model */
typedef struct glm_ngrams  glm_ngrams;	/* of the answers of one scope */

/* The draft of a sequence, where its tokens occurred before, and how good its drafts were. */
typedef struct glm_draft
{
	int32_t *after_bigram;	/* [mask + 1]: where the latest such pair ended, by hash */
	int32_t *after_unigram; /* [mask + 1]: the same for single tokens */
	uint32_t mask;
	int		 run;						  /* tokens in a row that a look-up predicted */
	int32_t	 common[GLM_SKIPGRAM_TOKENS]; /* the answer's latest tokens that are common */
	int		 n_tokens;					  /* of the draft, behind the last known token */
	float	 expected;					  /* of these, to be accepted */
	float	 expected_sum;				  /* rolling sums over drafts */
	float	 accepted_sum;
} glm_draft;

/* ---- drafter.c ---- */

extern glm_drafter *glm_drafter_open(void); /* NULL: out of memory */
extern void			glm_drafter_close(glm_drafter *drafter);

/*
 * The n-grams of a scope's answers, kept until they are released.  NULL for scope 0, when
 * out of memory, and when too many scopes are in use.
 */
extern glm_ngrams *glm_drafter_ngrams(glm_drafter *drafter, uint64_t scope);
extern void		   glm_drafter_release(glm_drafter *drafter, const glm_ngrams *ngrams);

/* A pass of this many rows, none of them of a prompt, took so long. */
extern void glm_drafter_count_pass(glm_drafter *drafter, int rows, int64_t ns);

/* By what the cost of rows is told. */
typedef struct glm_draft_costs
{
	const double *pass_ns;	/* [GLM_DRAFT_ROWS + 1] that a pass takes, by its rows */
	double		  token_ns; /* what a token is worth */
	double		  least_ns; /* what a row costs at least */
} glm_draft_costs;

/* For passes that sample so many sequences; false: no drafts. */
extern bool glm_drafter_costs(const glm_drafter *drafter, int sampled, glm_draft_costs *costs);

/* ---- draft.c ---- */

extern glm_ngrams *glm_ngrams_open(void);				 /* NULL: out of memory */
extern void		   glm_ngrams_reset(glm_ngrams *ngrams); /* as new */
extern void		   glm_ngrams_close(glm_ngrams *ngrams);

/* Knows the first n of at most `limit` tokens.  false: out of memory. */
extern bool glm_draft_open(glm_draft *draft, const int32_t *tokens, int n, int limit);
extern void glm_draft_close(glm_draft *draft);

/* What a draft may be: at most max tokens, that are worth their cost and allowed. */
typedef struct glm_draft_limits
{
	int					   max;
	int					   rows;  /* that the pass has already */
	const glm_draft_costs *costs; /* NULL: whatever can be predicted is worth it */
	/* The token that has to come next, behind those that allows() said yes to; -1, as is NULL: any. */
	int32_t (*forced)(void *arg);
	/* May this token come next, behind those it said yes to?  NULL: all may. */
	bool (*allows)(void *arg, int32_t token);
	void *arg;
} glm_draft_limits;

/* Writes a draft behind the n tokens.  ngrams NULL: by what the sequence itself holds. */
extern void glm_draft_make(glm_draft *draft, const glm_ngrams *ngrams, int32_t *tokens, int n,
						   const glm_draft_limits *limits);

/* The last of n tokens has been sampled: learns from it. */
extern void glm_draft_learn(glm_draft *draft, glm_ngrams *ngrams, const int32_t *tokens, int n);

/* So many tokens of the draft were accepted. */
extern void glm_draft_verified(glm_draft *draft, int accepted);

#endif /* GLM_DRAFT_H */
