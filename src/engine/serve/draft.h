/*
 * draft.h - tokens foreseen before they are computed: draft.c, which guesses and
 * learns, and drafter.c, what is known of a model for it.
 */
#ifndef GLM_DRAFT_H
#define GLM_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#define GLM_DRAFT_MAX 15  /* tokens foreseen at a time */
#define GLM_DRAFT_ROWS 80 /* passes with more rows are without drafts */
#define GLM_DRAFT_FORM 5  /* common tokens that an answer is recognised by */

typedef struct glm_drafter glm_drafter; /* what is known of one model */
typedef struct glm_learnt  glm_learnt;	/* what the answers of one scope taught */

/* Where a sequence's tokens occurred before, and how well that foretold others. */
typedef struct glm_foresight
{
	int32_t *after_pair; /* [mask + 1]: where the latest such pair ended, by hash */
	int32_t *after_one;	 /* [mask + 1]: the same for single tokens */
	uint32_t mask;
	int		 run;				   /* tokens in a row that a look-up foretold */
	int32_t	 form[GLM_DRAFT_FORM]; /* the answer's latest tokens that are common */
	int		 n_drafts;			   /* foreseen now, behind the last token */
	float	 hope;				   /* of those, expected to be right */
	float	 hoped;				   /* rolling sums: of hope, */
	float	 came;				   /* and of what was right */
} glm_foresight;

/* ---- drafter.c ---- */

extern glm_drafter *glm_drafter_open(void); /* NULL: out of memory */
extern void			glm_drafter_close(glm_drafter *drafter);

/*
 * What a scope's answers taught, kept until it is released.  NULL for scope 0, when
 * out of memory, and when too many scopes are in use.
 */
extern glm_learnt *glm_drafter_learnt(glm_drafter *drafter, uint64_t scope);
extern void		   glm_drafter_release(glm_drafter *drafter, const glm_learnt *learnt);

/* A pass of this many rows, none of them of a prompt, took so long. */
extern void glm_drafter_count_pass(glm_drafter *drafter, int rows, int64_t ns);

/* By what the cost of rows is told. */
typedef struct glm_draft_costs
{
	const glm_drafter *drafter;	 /* that knows what passes take */
	double			   token_ns; /* what a token is worth */
	double			   least_ns; /* what a row costs at least */
} glm_draft_costs;

/* For passes that sample so many sequences; false: no drafts. */
extern bool glm_drafter_costs(const glm_drafter *drafter, int sampled, glm_draft_costs *costs);

/* What n more rows cost in a pass that has `rows`, in tokens. */
extern float glm_draft_cost(const glm_draft_costs *costs, int rows, int n);

/* ---- draft.c ---- */

extern glm_learnt *glm_learnt_open(void);				 /* NULL: out of memory */
extern void		   glm_learnt_reset(glm_learnt *learnt); /* as new */
extern void		   glm_learnt_close(glm_learnt *learnt);

/* Knows the first n of at most `limit` tokens.  false: out of memory. */
extern bool glm_foresight_open(glm_foresight *f, const int32_t *tokens, int n, int limit);
extern void glm_foresight_close(glm_foresight *f);

/*
 * Writes drafts behind the n tokens, at most `max`: as many as are worth their cost
 * in a pass that has so many rows already; costs NULL: as many as can be guessed.
 * learnt NULL: only by what the sequence itself holds.
 */
extern void glm_foresight_draft(glm_foresight *f, const glm_learnt *learnt, int32_t *tokens, int n,
								int max, const glm_draft_costs *costs, int rows);

/* The last of n tokens has been sampled: learns from it. */
extern void glm_foresight_learn(glm_foresight *f, glm_learnt *learnt, const int32_t *tokens, int n);

/* So many of the drafts were right. */
extern void glm_foresight_judge(glm_foresight *f, int accepted);

#endif /* GLM_DRAFT_H */
