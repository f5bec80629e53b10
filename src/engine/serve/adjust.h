/*
 * adjust.h - what a request does to logits before a token is drawn by them: penalties for
 * tokens that were there already, and biases.
 */
#ifndef GLM_ADJUST_H
#define GLM_ADJUST_H

#include "engine/base/base.h"
#include "engine/compute/backend.h"
#include "engine/serve/pick_room.h"

typedef struct glm_adjust glm_adjust;

/* Does the request ask for any of it? */
extern bool glm_adjust_wanted(const glm_request *req);
/* Are the ids of its biases below n_ids, and is one left that is not banned?  *err says no. */
extern bool glm_adjust_check(const glm_request *req, int n_ids, glm_error *err);

/* For the ids below n_ids, of a request that was checked; NULL: out of memory. */
extern glm_adjust *glm_adjust_open(const glm_request *req, int n_ids);
extern void		   glm_adjust_close(glm_adjust *a); /* NULL is fine, here and below */

/* A token of the prompt was there, or one of the answer. */
extern void glm_adjust_read(glm_adjust *a, int32_t token);
extern void glm_adjust_count(glm_adjust *a, int32_t token);

/*
 * Changes logits [n_ids] in place, all of them finite.  A token that is banned gets
 * -infinity, any other stays finite.
 */
extern void	 glm_adjust_apply(glm_adjust *a, float *logits);
/* What the logit of a token was before that. */
extern float glm_adjust_original(const glm_adjust *a, const float *logits, int32_t token);

/*
 * Says the same of a pick that is made elsewhere, where these n tokens were counted too; false:
 * there is no room for it.
 */
extern bool glm_adjust_describe(const glm_adjust *a, const int32_t *token, int n,
								glm_pick_room *room, glm_pick *pick);
/* Does it depend on the tokens that are counted? */
extern bool glm_adjust_looks_back(const glm_adjust *a);

#endif /* GLM_ADJUST_H */
