/*
 * inject.c - see inject.h.
 *
 * What is armed lies in memory that is shared by all processes which the one that loaded
 * the library forks, so that a backend arms what the worker meets, and that a worker which
 * was ended by it is not ended by it again.  No locks: a point is armed by one at a time.
 */
#include "engine/base/base.h"

#ifdef GLM_INJECTION

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef enum injection
{
	NOTHING,
	FAIL,
	SEGV,
	KILL,
	STALL,
	N_INJECTIONS
} injection;

static const char *const names[N_INJECTIONS] = {"nothing", "fail", "segv", "kill", "stall"};

static struct armed
{
	char	   point[32];
	atomic_int action; /* NOTHING: not armed, or met */
	atomic_int round;  /* how often something was armed */
	atomic_int met;
} * armed;

/* Before anything can be forked. */
__attribute__((constructor)) static void
share(void)
{
	void *memory =
		mmap(NULL, sizeof(*armed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory != MAP_FAILED)
		armed = memory;
}

bool
glm_inject_arm(const char *point, const char *action)
{
	int i = NOTHING;

	while (point != NULL && i < N_INJECTIONS && strcmp(names[i], action) != 0)
		i++;
	if (armed == NULL || i == N_INJECTIONS || (point != NULL && strlen(point) >= 32))
		return false;
	atomic_store(&armed->action, NOTHING);
	strcpy(armed->point, point != NULL ? point : "");
	atomic_store(&armed->met, 0);
	atomic_fetch_add(&armed->round, 1);
	atomic_store(&armed->action, i);
	return true;
}

bool
glm_inject_met(void)
{
	return armed != NULL && atomic_load(&armed->met) > 0;
}

static void
stall(void)
{
	const struct timespec moment = {.tv_nsec = 10000000};
	int					  round = atomic_load(&armed->round);

	while (atomic_load(&armed->round) == round)
		nanosleep(&moment, NULL);
}

bool
glm_inject(const char *point)
{
	int action = armed != NULL ? atomic_load(&armed->action) : NOTHING;

	if (action == NOTHING || strcmp(armed->point, point) != 0 ||
		!atomic_compare_exchange_strong(&armed->action, &action, NOTHING))
		return false;
	atomic_fetch_add(&armed->met, 1);
	if (action == SEGV)
		*(volatile int *) NULL = 0;
	else if (action == KILL)
		kill(getpid(), SIGKILL);
	else if (action == STALL)
		stall();
	return action == FAIL;
}

#endif /* GLM_INJECTION */
