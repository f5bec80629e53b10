/*
 * clock.h - the clock of the engine, and waiting for something until a time of it.
 */
#ifndef GLM_CLOCK_H
#define GLM_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Now, in nanoseconds of CLOCK_MONOTONIC. */
extern int64_t glm_now_ns(void);

/* Something to wait for: a flag that stays raised until it is waited for. */
typedef struct glm_signal
{
	pthread_mutex_t lock;
	pthread_cond_t	raised_cond;
	bool			raised;
} glm_signal;

extern bool glm_signal_init(glm_signal *s);
extern void glm_signal_destroy(glm_signal *s);
extern void glm_signal_raise(glm_signal *s);
/* Waits until raised or until deadline_ns (0: for ever); lowers it. */
extern void glm_signal_wait(glm_signal *s, int64_t deadline_ns);

/* A condition that is waited for until a time of CLOCK_MONOTONIC; 0: for ever. */
extern bool glm_cond_init(pthread_cond_t *cond);
extern void glm_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ns);

#endif /* GLM_CLOCK_H */
