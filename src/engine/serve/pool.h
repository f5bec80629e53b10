/*
 * pool.h - the hidden states of a text made one vector.
 */
#ifndef GLM_POOL_H
#define GLM_POOL_H

#include "engine/base/base.h"

typedef struct glm_pool glm_pool;

/* For vectors of so many numbers. */
extern glm_pool *glm_pool_open(glm_pooling pooling, int width);
extern void		 glm_pool_close(glm_pool *pool); /* may be NULL */

/* Adds the next n positions' states; rows [n, width]. */
extern void glm_pool_add(glm_pool *pool, const float *rows, int n);

/* How many were added. */
extern int glm_pool_count(const glm_pool *pool);

/*
 * Gives their mean, or the last, in the pool's own memory, [width]; of length 1 if
 * `normalize`.  GLM_NOT_FINITE when a number is none.
 */
extern const float *glm_pool_vector(glm_pool *pool, bool normalize, glm_error *err);

#endif /* GLM_POOL_H */
