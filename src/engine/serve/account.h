/*
 * account.h - what passes do for each request, noted in its ticket.
 */
#ifndef GLM_ACCOUNT_H
#define GLM_ACCOUNT_H

#include "engine/serve/scheduler.h"

/* Fills in what a row of this model costs. */
extern void glm_account_model(const glm_model *model, glm_pass_cost *out);

/* A pass has been run; its rows are not counted as computed yet. */
extern void glm_account_pass(glm_scheduler *s, const glm_served *served);

/* What has come of it for one sequence was sampled, and passed on in this time. */
extern void glm_account_results(glm_engine *engine, const glm_sequence *seq, int64_t deliver_ns);

#endif /* GLM_ACCOUNT_H */
