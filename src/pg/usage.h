/*
 * usage.h - what roles used, by database and day, in shared memory; kept over restarts.
 */
#ifndef CHATGLM_USAGE_H
#define CHATGLM_USAGE_H

#include "chatglm.h"

#include "datatype/timestamp.h"

#define CHATGLM_USAGE_ROWS 4096 /* roles by databases by days; the oldest days make way */

typedef struct ChatglmUsage
{
	Oid	   role; /* InvalidOid: all for whom there was no row left on that day */
	Oid	   database;
	int32  day; /* of UTC, since 2000-01-01 */
	uint64 requests;
	uint64 prompt_tokens;
	uint64 completion_tokens;
	uint64 errors; /* of the requests, those that ended in one */
} ChatglmUsage;

extern Size chatglm_usage_size(void);
/* `lock`: NULL when another process has already filled the memory. */
extern void chatglm_usage_init(void *memory, LWLock *lock);

/* The day of a time, and the time at which a day begins. */
extern int32	   chatglm_usage_day(TimestampTz when);
extern TimestampTz chatglm_usage_day_begins(int32 day);

/* A request of a role has ended today; `more` has what it used. */
extern void chatglm_usage_add(Oid role, Oid database, const ChatglmUsage *more);

/* Tokens of prompts and answers that a role has used on a day. */
extern int64 chatglm_usage_tokens(Oid role, Oid database, int32 day);

/* ---- The worker ---- */

/* The first worker since the server's start reads what was kept. */
extern void chatglm_usage_load(void);

/* Writes the file, if there is something new; false: that is still to be done. */
extern bool chatglm_usage_keep(void);

#endif /* CHATGLM_USAGE_H */
