/*
 * threads.h - the compute pool, the other threads of the engine, and the CPUs they run on.
 */
#ifndef GLM_THREADS_H
#define GLM_THREADS_H

#include <pthread.h>

#include "engine/base/base.h"

/* ---- threads.c: the compute pool -------------------------------------------------------- */

typedef struct glm_threads glm_threads;

/* share(arg, index, count) runs once for each index in [0, count). */
typedef void (*glm_share)(void *arg, int index, int count);

extern glm_threads *glm_threads_open(int count, glm_error *err);
extern void			glm_threads_close(glm_threads *pool);
extern int			glm_threads_count(const glm_threads *pool);
/* Lets them run on these CPUs only; see glm_cpus_check. */
extern bool			glm_threads_bind(const glm_threads *pool, const char *cpus);
/* Runs share on all threads, the caller's among them; returns when all are done. */
extern void			glm_threads_run(glm_threads *pool, glm_share share, void *arg);

/* ---- spread.c: a range of items over the pool -------------------------------------------- */

/* Takes the items [begin, end), on the thread of this number. */
typedef void (*glm_range_body)(const void *arg, int thread, int begin, int end);

/*
 * Runs body over n_items.  Threads take multiples of `grain` at a time, from `least` to
 * `most` items, fewer towards the end.  How the items are cut must not change a result.
 */
extern void glm_threads_spread(glm_threads *pool, glm_range_body body, const void *arg, int n_items,
							   int grain, int least, int most);

/* ---- threads.c: any thread ----------------------------------------------------------------- */

/* First thing every engine thread does: marks itself, takes a signal stack. */
extern void glm_thread_enter(const char *name);

/* Starts a thread that nobody joins. */
extern bool glm_thread_start(void *(*thread_main)(void *), void *arg);

/*
 * Lowers the priority of the calling thread, for good, by so many steps of nice.  Threads that
 * must not take the CPUs from forward passes do so: for what somebody waits for by less than
 * for jobs, since busy neighbours on the machine leave these nothing.
 */
extern void glm_thread_lower(int steps);

#define GLM_LOWER_REQUEST 5
#define GLM_LOWER_JOB 10

/* ---- affinity.c: lists of CPUs, see glm_cpus_check ---------------------------------------- */

/* How many CPUs a list names, or the process has; 0 and *err when one is not there. */
extern int	glm_cpus_count(const char *list, glm_error *err);
/* Lets a thread run on these CPUs only. */
extern bool glm_cpus_bind(pthread_t thread, const char *list);

#endif /* GLM_THREADS_H */
