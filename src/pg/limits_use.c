/*
 * limits_use.c - what roles use of their limits now, as the worker counts it, for others to see.
 *
 * The worker alone counts (worker_limits.c) and writes here what has changed; nothing is
 * decided by what stands here.  Only roles with limits by number are shown.  They stay until
 * the worker ends, with which all of these counts begin anew.  Use.lock guards all of it.
 */
#include "chatglm.h"

#include "limits_use.h"

#define MINUTE_US (60 * INT64CONST(1000000))
#define MOST_MINUTES 1e9 /* that a debt is paid off in: some thousand years */

typedef struct Use
{
	LWLock			*lock;
	int				 n;
	ChatglmLimitsUse role[CHATGLM_LIMITED];
} Use;

static Use *use; /* NULL: chatglm was not preloaded */

Size
chatglm_limits_use_size(void)
{
	return MAXALIGN(sizeof(Use));
}

void
chatglm_limits_use_init(void *memory, LWLock *lock)
{
	use = memory;
	if (lock == NULL)
		return;
	memset(use, 0, sizeof(*use));
	use->lock = lock;
}

bool
chatglm_limits_use_look(Oid role, Oid database, ChatglmLimitsUse *found)
{
	bool shown;

	*found = (ChatglmLimitsUse){.role = role, .database = database};
	if (use == NULL)
		return true;
	LWLockAcquire(use->lock, LW_SHARED);
	shown = use->n < CHATGLM_LIMITED; /* else it may be one that found no room */
	for (int i = 0; i < use->n; i++)
	{
		if (use->role[i].role != role || use->role[i].database != database)
			continue;
		*found = use->role[i];
		shown = true;
	}
	LWLockRelease(use->lock);
	return shown;
}

/* ---- Tokens a minute ------------------------------------------------------------- */

double
chatglm_spent_by(double spent, TimestampTz spent_at, int64 most, TimestampTz now)
{
	if (most >= 0 && now > spent_at)
		spent -= (double) most * (now - spent_at) / MINUTE_US;
	return most < 0 || spent < 0 ? 0 : spent;
}

TimestampTz
chatglm_spent_until(double spent, TimestampTz spent_at, int64 most)
{
	double minutes;

	if (most <= 0 || spent < most)
		return 0;
	minutes = Min((spent - most) / most, MOST_MINUTES);
	return spent_at + (int64) (minutes * MINUTE_US) + 1000; /* more than nothing */
}

/* ---- The worker ------------------------------------------------------------------ */

void
chatglm_limits_use_reset(void)
{
	LWLockAcquire(use->lock, LW_EXCLUSIVE);
	use->n = 0;
	LWLockRelease(use->lock);
}

int
chatglm_limits_use_add(const ChatglmLimitsUse *more)
{
	int number = -1;

	LWLockAcquire(use->lock, LW_EXCLUSIVE);
	if (use->n < CHATGLM_LIMITED)
	{
		number = use->n++;
		use->role[number] = *more;
	}
	LWLockRelease(use->lock);
	return number;
}

void
chatglm_limits_use_set(int number, const ChatglmLimitsUse *changed)
{
	LWLockAcquire(use->lock, LW_EXCLUSIVE);
	use->role[number] = *changed;
	LWLockRelease(use->lock);
}
