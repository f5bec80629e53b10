/*
 * choice.h - which of several labels comes next: their probabilities, of these alone.
 */
#ifndef GLM_CHOICE_H
#define GLM_CHOICE_H

#include "engine/base/base.h"

typedef struct glm_choice glm_choice;

/* Ids that end an answer, as the end of a label may be one of several ways to go on. */
#define GLM_CHOICE_ENDS 16

/* NULL when out of memory. */
extern glm_choice *glm_choice_open(int n_labels, const int32_t *ends, int n_ends);
extern void		   glm_choice_close(glm_choice *choice);

/* A path that says this label: n > 0 ids. */
extern bool glm_choice_add(glm_choice *choice, int label, const int32_t *ids, size_t n,
						   glm_error *err);

/*
 * All paths are there.  *ids are those that all of them begin with, of which one at least
 * is left to choose, and *more how many ids behind these will be asked for at most.
 * GLM_BAD_ARGUMENT when two labels are said by the same path.  Nothing below allocates.
 */
extern bool glm_choice_begin(glm_choice *choice, glm_ids *ids, int *more, glm_error *err);

/* Only the likeliest label is wanted: no more is asked for once no other can overtake it. */
extern void glm_choice_settle(glm_choice *choice);

#define GLM_CHOICE_AT_ONCE 16

/* For how many places logits may be wanted at a time, 1 to GLM_CHOICE_AT_ONCE; once begun. */
extern int glm_choice_most(const glm_choice *choice);

/*
 * The ids behind the common ones after which logits are wanted, and how many: at the i-th
 * place, from 0, of those that may come next.  False: there are no more than i.
 */
extern bool glm_choice_next(const glm_choice *choice, int i, const int32_t **ids, int *n);

/* These are the logits [n, stride] of the first n of these places, n_ids of each row. */
extern bool glm_choice_take(glm_choice *choice, const float *logits, size_t stride, int n,
							int n_ids, glm_error *err);

/* The probabilities [labels], which add up to 1, then the share that they have of all. */
extern const double *glm_choice_result(glm_choice *choice, int *n);

#endif /* GLM_CHOICE_H */
