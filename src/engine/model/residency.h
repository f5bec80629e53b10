/*
 * residency.h - the weights of a model that somebody keeps readable.
 *
 * A segment is touched before its first use and stays readable until it is released or
 * the residency closed.  A model may have several residencies, each for itself.
 */
#ifndef GLM_RESIDENCY_H
#define GLM_RESIDENCY_H

#include "engine/model/model.h"

typedef struct glm_residency
{
	const glm_model *model;
	bool			*touched;  /* [layers + 2], by segment */
	atomic_bool		 complete; /* all segments have been touched */
} glm_residency;

extern bool glm_residency_open(glm_residency *r, const glm_model *model, glm_error *err);
extern void glm_residency_close(glm_residency *r); /* zeroed is fine */

/* One thread at a time calls these three. */
extern bool glm_residency_touch(glm_residency *r, int segment, glm_error *err);
extern void glm_residency_release(glm_residency *r, int segment);
/*
 * Touches all segments, with pauses, and brings back what the kernel took away of those
 * that were touched before: afterwards nobody who reads weights waits for a disk.
 */
extern bool glm_residency_hold(glm_residency *r, glm_error *err);

/* Have all been touched?  Any thread. */
extern bool glm_residency_complete(const glm_residency *r);

#endif /* GLM_RESIDENCY_H */
