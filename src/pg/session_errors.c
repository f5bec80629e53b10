/*
 * session_errors.c - the words for it when the worker is not there, or not any more.
 *
 * A request is lost with the line that it was sent by (session.c).  Where the worker lives and
 * has let go of the session alone, it leaves the reason in the segment, which both have mapped
 * (worker_session.c).  What may be asked again as it is has class 58 or 53; XX000 means that
 * one side sent what the other does not know, which should not happen.
 */
#include "chatglm.h"

#include "utils/timestamp.h"

#include "encoding.h"
#include "session_errors.h"
#include "shared.h"
#include "worker_device.h"

/* Why the last worker ended, in the database's encoding; NULL: none did. */
static const char *
last_reason(void)
{
	char *reason = palloc(sizeof(chatglm_shared->worker_error));

	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	strlcpy(reason, chatglm_shared->worker_error, sizeof(chatglm_shared->worker_error));
	LWLockRelease(chatglm_shared->lock);
	return reason[0] != '\0' ? chatglm_shown(reason) : NULL;
}

/* Class 08 would make drivers believe that their own connection broke. */
static void
worker_ended(void)
{
	const char *reason = last_reason();

	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("chatglm worker restarted, the request was lost"),
					reason != NULL ? errdetail("The last worker ended: %s.", reason) : 0,
					errhint("Run it again; the worker is back within about a second.")));
}

void
chatglm_session_lost(ChatglmLoss loss)
{
	switch (loss)
	{
		case CHATGLM_LOSS_WORKER:
			worker_ended();
			break;
		case CHATGLM_LOSS_MESSAGE:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("chatglm worker could not read a message of this session"),
					 errdetail("It has dropped all requests of the session, and serves others."),
					 errhint("The server's log has more. The next request begins anew.")));
			break;
		case CHATGLM_LOSS_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory in the chatglm worker"),
					 errdetail("It has dropped all requests of this session, and serves others."),
					 errhint("Run it again. Results that a session does not read take the worker's "
							 "memory.")));
			break;
		case CHATGLM_LOSS_REPLY:
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("a message of the chatglm worker could not be read"),
							errdetail("All requests of this session are lost."),
							errhint("The next request begins anew.")));
			break;
		case CHATGLM_LOSS_DROPPED:
			break;
	}
	ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("the session's line to the chatglm worker broke, the request was lost"),
					errhint("Run it again.")));
}

bool
chatglm_worker_cannot_start(void)
{
	bool cannot;

	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	cannot = chatglm_shared->worker_cannot_start;
	LWLockRelease(chatglm_shared->lock);
	return cannot;
}

void
chatglm_worker_missing(void)
{
	const char		  *reason = last_reason();
	ChatglmDeviceState device;

	chatglm_device_look(&device);
	if (chatglm_worker_cannot_start())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("chatglm worker cannot start"),
				 reason != NULL ? errdetail("%s.", reason) : 0,
				 device.rests_until != 0
					 ? errhint("The device is tried again at %s; "
							   "chatglm.device_fallback = 'cpu' lets the CPU answer meanwhile.",
							   timestamptz_to_str(device.rests_until))
					 : errhint("Correct the setting or its cause, then restart the server.")));
	ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW), errmsg("chatglm worker is not running"),
					reason != NULL ? errdetail("The last worker ended: %s.", reason) : 0,
					errhint("The server starts it again every second; its log says why it ends.")));
}
