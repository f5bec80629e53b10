/*
 * work.h - long work cut into pieces, spread over a pool, and ended when it is cancelled.
 */
#ifndef GLM_WORK_H
#define GLM_WORK_H

#include "engine/base/threads.h"

/* Who works, and when to stop. */
typedef struct glm_work
{
	glm_threads		   *pool;	/* NULL: the calling thread alone */
	const _Atomic bool *cancel; /* NULL: never */
} glm_work;

static inline bool
glm_work_cancelled(const glm_work *work)
{
	return work->cancel != NULL && atomic_load(work->cancel);
}

/* false and GLM_CANCELLED once it was cancelled */
extern bool glm_work_goes_on(const glm_work *work, glm_error *err);

/* false: out of memory; the pieces that are left are skipped */
typedef bool (*glm_work_piece)(void *arg, int index);

/* Runs piece(arg, i) for all i < n on the pool.  false: cancelled, out of memory. */
extern bool glm_work_run(const glm_work *work, glm_work_piece piece, void *arg, int n,
						 glm_error *err);

#endif /* GLM_WORK_H */
