/*
 * branch.h - what else may stand behind a prompt, computed beside the sequence itself.
 */
#ifndef GLM_BRANCH_H
#define GLM_BRANCH_H

#include "engine/serve/scheduler.h"

/* Memory for the branches of a sequence that is admitted. */
extern bool glm_branches_open(glm_sequence *seq);

/* Gives their blocks and memory back. */
extern void glm_branches_close(glm_sequence *seq);

/* KV blocks that rows of the sequence and its branches name at most. */
extern size_t glm_branches_blocks(const glm_sequence *seq);

/* Plans those of a pass, once all sequences there have their rows; what is left of the budget. */
extern int glm_branches_plan(glm_scheduler *s, const glm_home *home, int budget);

/* Writes the rows that were planned for a sequence, behind its own; then they are computed. */
extern void glm_branches_write(glm_rows *rows, glm_sequence *seq);
extern void glm_branches_count_computed(glm_sequence *seq);

/* Adds those rows, until they are, the positions that they attend to, and those that are there. */
extern void glm_branches_weigh(const glm_sequence *seq, uint64_t *rows, uint64_t *attended,
							   uint64_t *held);

#endif /* GLM_BRANCH_H */
