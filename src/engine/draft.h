/*
 * draft.h - tokens foreseen before they are computed; see draft.c.
 */
#ifndef GLM_DRAFT_H
#define GLM_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#define GLM_DRAFT_MAX 15		/* tokens foreseen at a time */
#define GLM_DRAFT_ROWS 80		/* passes with more rows are without drafts */
#define GLM_DRAFT_FORM 5		/* common tokens that an answer is recognised by */

typedef struct glm_drafter glm_drafter;	/* what was learnt of one model */

/* Where a sequence's tokens occurred before, and how well that foretold others. */
typedef struct glm_foresight
{
	int32_t    *after_pair;		/* [mask + 1]: where the latest such pair ended, by hash */
	int32_t    *after_one;		/* [mask + 1]: the same for single tokens */
	uint32_t	mask;
	int			run;			/* tokens in a row that a look-up foretold */
	int32_t		form[GLM_DRAFT_FORM];	/* the answer's latest tokens that are common */
	int			n_drafts;		/* foreseen now, behind the last token */
	float		hope;			/* of those, expected to be right */
	float		hoped;			/* rolling sums: of hope, */
	float		came;			/* and of what was right */
} glm_foresight;

extern glm_drafter *glm_drafter_open(void);	/* NULL: out of memory */
extern void glm_drafter_close(glm_drafter *drafter);

/* A pass of this many rows, none of them of a prompt, took so long. */
extern void glm_drafter_count_pass(glm_drafter *drafter, int rows, int64_t ns);

/* By what the cost of rows is told. */
typedef struct glm_draft_costs
{
	const glm_drafter *drafter; /* that knows what passes take */
	double		token_ns;		/* what a token is worth */
	double		least_ns;		/* what a row costs at least */
} glm_draft_costs;

/* For passes that sample so many sequences; false: no drafts. */
extern bool glm_drafter_costs(const glm_drafter *drafter, int sampled, glm_draft_costs *costs);

/* Knows the first n of at most `limit` tokens.  false: out of memory. */
extern bool glm_foresight_open(glm_foresight *f, const int32_t *tokens, int n, int limit);
extern void glm_foresight_close(glm_foresight *f);

/*
 * Writes drafts behind the n tokens, at most `max`: as many as are worth their cost
 * in a pass that has so many rows already; costs NULL: as many as can be guessed.
 * drafter NULL: only by what the sequence itself holds.
 */
extern void glm_foresight_draft(glm_foresight *f, const glm_drafter *drafter, int32_t *tokens,
								int n, int max, const glm_draft_costs *costs, int rows);

/* The last of n tokens has been sampled: learns from it. */
extern void glm_foresight_learn(glm_foresight *f, glm_drafter *drafter,
								const int32_t *tokens, int n);

/* So many of the drafts were right. */
extern void glm_foresight_judge(glm_foresight *f, int accepted);

#endif							/* GLM_DRAFT_H */
