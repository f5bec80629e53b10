/*
 * pass_times.h - where the time of a forward pass went.
 */
#ifndef GLM_PASS_TIMES_H
#define GLM_PASS_TIMES_H

#include "engine/base/clock.h"

/*
 * On a device that computes later the parts of a pass have the time that asking for them
 * took, and its answer is waited for in the last one.
 */
typedef enum glm_pass_part
{
	GLM_PART_MATMUL = 0, /* of layers, with all between but attention */
	GLM_PART_ATTENTION,
	GLM_PART_HEAD, /* final norm, logits, picks */
	GLM_PART_COPY, /* waiting for a device with memory of its own, reading from it */
	GLM_N_PARTS
} glm_pass_part;

typedef struct glm_pass_times
{
	int64_t since_ns; /* what is not in any part yet */
	int64_t ns[GLM_N_PARTS];
} glm_pass_times;

static inline void
glm_pass_times_begin(glm_pass_times *times)
{
	*times = (glm_pass_times){.since_ns = glm_now_ns()};
}

/* What has passed since the last call was this. */
static inline void
glm_pass_times_add(glm_pass_times *times, glm_pass_part part)
{
	int64_t now_ns = glm_now_ns();

	times->ns[part] += now_ns - times->since_ns;
	times->since_ns = now_ns;
}

#endif /* GLM_PASS_TIMES_H */
