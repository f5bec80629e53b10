/*
 * clock.c - CLOCK_MONOTONIC in nanoseconds, and waiting for something until a time of it.
 */
#include "engine/base/clock.h"

#include <time.h>

int64_t
glm_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

bool
glm_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	bool			   ok;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ok = pthread_cond_init(cond, &attr) == 0;
	pthread_condattr_destroy(&attr);
	return ok;
}

void
glm_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ns)
{
	struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};

	if (deadline_ns == 0)
		pthread_cond_wait(cond, lock);
	else
		pthread_cond_timedwait(cond, lock, &until);
}

bool
glm_signal_init(glm_signal *s)
{
	s->raised = false;
	return pthread_mutex_init(&s->lock, NULL) == 0 && glm_cond_init(&s->raised_cond);
}

void
glm_signal_destroy(glm_signal *s)
{
	pthread_cond_destroy(&s->raised_cond);
	pthread_mutex_destroy(&s->lock);
}

void
glm_signal_raise(glm_signal *s)
{
	pthread_mutex_lock(&s->lock);
	s->raised = true;
	pthread_cond_signal(&s->raised_cond);
	pthread_mutex_unlock(&s->lock);
}

void
glm_signal_wait(glm_signal *s, int64_t deadline_ns)
{
	struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};

	pthread_mutex_lock(&s->lock);
	while (!s->raised)
	{
		if (deadline_ns == 0)
			pthread_cond_wait(&s->raised_cond, &s->lock);
		else if (pthread_cond_timedwait(&s->raised_cond, &s->lock, &until) != 0)
			break;
	}
	s->raised = false;
	pthread_mutex_unlock(&s->lock);
}
