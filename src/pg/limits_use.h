/*
 * limits_use.h - what roles use of their limits now, as the worker counts it, for others to see.
 */
#ifndef CHATGLM_LIMITS_USE_H
#define CHATGLM_LIMITS_USE_H

#include "chatglm.h"

#include "datatype/timestamp.h"

#define CHATGLM_LIMITED 1024 /* roles by databases that are shown */

typedef struct ChatglmLimitsUse
{
	Oid			role;
	Oid			database;
	int			running; /* requests that the engine has */
	int			waiting; /* calls that wait for that */
	double		spent;	 /* of tokens a minute, as of then */
	TimestampTz spent_at;
} ChatglmLimitsUse;

extern Size chatglm_limits_use_size(void);
/* `lock`: NULL when another process has already filled the memory. */
extern void chatglm_limits_use_init(void *memory, LWLock *lock);

/* What a role uses in a database; false: it is not among those that are shown. */
extern bool chatglm_limits_use_look(Oid role, Oid database, ChatglmLimitsUse *use);

/* ---- Tokens a minute: what was spent is forgotten evenly, the limit in a minute ---- */

/* What is left of it by now. */
extern double chatglm_spent_by(double spent, TimestampTz spent_at, int64 most, TimestampTz now);

/* When less than the limit will be left; 0: never, or now. */
extern TimestampTz chatglm_spent_until(double spent, TimestampTz spent_at, int64 most);

/* ---- The worker ---- */

/* Nobody uses anything. */
extern void chatglm_limits_use_reset(void);

/* Shows another role, or what has changed of one; the number of a new one, -1: no room. */
extern int	chatglm_limits_use_add(const ChatglmLimitsUse *use);
extern void chatglm_limits_use_set(int number, const ChatglmLimitsUse *use);

#endif /* CHATGLM_LIMITS_USE_H */
