/*
 * job_token.c - which session has a claim, and whether it is still there.
 *
 * A session that works on jobs holds a lock on a random number for as long as it lives,
 * and writes that number into its claims.  Who can take the lock knows that the session
 * is gone: there is no lease to guess, and a claim is taken over at once.  The lock is an
 * advisory one of a class that SQL cannot name.  An expression of a job may yet let go of
 * it (pg_advisory_unlock_all), so it is taken again before each claim; at worst a claim
 * is taken over too early, and the store of one of the two finds it gone.
 */
#include "chatglm.h"

#include "storage/lmgr.h"
#include "storage/lock.h"

#include "job_chunk.h"

#define TOKEN_CLASS 24377 /* SQL has 1 and 2 */

static int64 token;

static void
set_tag(LOCKTAG *tag, int64 number)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (number >> 32), (uint32) number, TOKEN_CLASS);
}

int64
chatglm_job_token(void)
{
	LOCKTAG			  tag;
	LockAcquireResult result;

	if (token == 0 && (!pg_strong_random(&token, sizeof(token)) || token == 0))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not draw a random number")));
	set_tag(&tag, token);
	result = LockAcquire(&tag, ExclusiveLock, true, true);
	if (result == LOCKACQUIRE_ALREADY_HELD)
		LockRelease(&tag, ExclusiveLock, true); /* once is enough */
	return token;
}

void
chatglm_job_token_drop(void)
{
	LOCKTAG tag;

	if (token == 0)
		return;
	set_tag(&tag, token);
	(void) LockRelease(&tag, ExclusiveLock, true);
	token = 0;
}

bool
chatglm_job_token_alive(int64 number)
{
	LOCKTAG tag;

	if (number == token)
		return true;
	set_tag(&tag, number);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) LockRelease(&tag, ExclusiveLock, false);
	return false;
}
