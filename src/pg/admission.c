/*
 * admission.c - a backend takes room in the worker's queue, waits for it, or fails.
 *
 * room.c says how much each role gets.  An interactive call that finds no room fails at
 * once: its caller knows best whether to try again.  Rows in flight and calls with
 * priority batch wait, on the session's latch, with interrupts.  While they wait, the
 * events of the session's other requests are filed, so that these can end and make room.
 * A wait goes on when the worker restarts: the old worker never had the request.
 *
 * A wait would last for ever if the session's own streams held all the room, as nobody
 * reads them while it waits.  That is an error, too.  Requests that the session has just
 * cancelled are about to make room, so then every call waits.
 *
 * The total over all roles is told only to those who may see it, as it grows with others'
 * prompts, byte by byte.
 *
 * A call's own time limit includes this wait.  The limit of a row in flight begins with
 * its admission: it was read ahead, and never fails for want of room.
 */
#include "chatglm.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "admission.h"
#include "client.h"
#include "errors.h"
#include "measures.h"
#include "privileges.h"
#include "room.h"
#include "session.h"
#include "shared.h"

static void count_time(ChatglmRoomWish *wish, int timeout_ms, TimestampTz start);
static bool waits_for_itself(const ChatglmRoomWish *wish, ChatglmRoomAnswer answer);
static void no_room(const ChatglmRoomWish *wish, ChatglmRoomAnswer answer) pg_attribute_noreturn();

int
chatglm_admission(ChatglmRoomWish *wish)
{
	TimestampTz start = GetCurrentTimestamp();
	int			timeout_ms = wish->timeout_ms;
	int			place = -1;

	wish->queues = wish->batch;
	for (;;)
	{
		ChatglmRoomAnswer answer;

		wish->idle = chatglm_requests_running() == 0;
		answer = chatglm_room_take(wish, &place);
		if (answer == CHATGLM_ROOM_GIVEN)
			return place;
		if (answer == CHATGLM_ROOM_NEVER ||
			(!chatglm_session_ending() && (!wish->queues || waits_for_itself(wish, answer))))
			no_room(wish, answer);
		chatglm_session_wait(CHATGLM_WAIT_ROOM);
		count_time(wish, timeout_ms, start);
		chatglm_look();
		chatglm_session_connect();
	}
}

/* The time of waiting counts against the request's. */
static void
count_time(ChatglmRoomWish *wish, int timeout_ms, TimestampTz start)
{
	int64 spent_ms = (GetCurrentTimestamp() - start) / 1000;

	if (timeout_ms == 0)
		return;
	if (spent_ms >= timeout_ms)
		chatglm_ereport(ERROR, GLM_TIMED_OUT,
						psprintf("the request took longer than %d ms", timeout_ms),
						chatglm_advice_hint(GLM_ADVICE_TIMEOUT));
	wish->timeout_ms = timeout_ms - spent_ms;
}

bool
chatglm_room_for_row(void)
{
	const ChatglmRoomWish wish = {
		.role = GetUserId(),
		.bytes = sizeof(glm_request),
		.batch = true,
		.queues = true,
	};

	return chatglm_shared == NULL || chatglm_room_open(&wish);
}

static bool
waits_for_itself(const ChatglmRoomWish *wish, ChatglmRoomAnswer answer)
{
	ChatglmRoomUse use;

	if (answer != CHATGLM_ROOM_ROLE_REQUESTS && answer != CHATGLM_ROOM_ROLE_BYTES)
		return false;
	chatglm_room_look(wish->role, &use);
	return use.role_requests > 0 && chatglm_requests_running_as(true) == 0 &&
		   use.role_requests <= chatglm_requests_running_as(false);
}

/* ---- errors ------------------------------------------------------------- */

static double
megabytes(int64 bytes)
{
	return bytes / (1024.0 * 1024.0);
}

static char *
role_name(Oid role)
{
	char *name = GetUserNameFromId(role, true);

	return name != NULL ? name : psprintf("%u", role);
}

/* How much of the budget, as far as the current user may know. */
static char *
taken_of_all(const ChatglmRoomUse *use)
{
	double total = megabytes(use->total_bytes);

	return chatglm_may_see_totals() ? psprintf("%.1f of %.0f MB", megabytes(use->bytes), total)
									: psprintf("%.0f MB", total);
}

static void
no_room_for_bytes(const ChatglmRoomWish *wish, const ChatglmRoomUse *use, bool of_role)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 of_role ? errmsg("requests of role \"%s\" take too much of chatglm.queue_memory (%.1f "
							  "of %.0f MB)",
							  role_name(wish->role), megabytes(use->role_bytes),
							  megabytes(use->total_bytes))
					 : errmsg("requests take all of chatglm.queue_memory (%s)", taken_of_all(use)),
			 errdetail("This one needs %.1f MB more.", megabytes(wish->bytes)),
			 errhint("Try again later, or raise chatglm.queue_memory.")));
}

static void
no_room(const ChatglmRoomWish *wish, ChatglmRoomAnswer answer)
{
	ChatglmRoomUse use;

	chatglm_measure_end(&(ChatglmEnded){
		.login = MyProc->roleId, .role = wish->role, .database = MyDatabaseId, .status = GLM_BUSY});
	chatglm_room_look(wish->role, &use);
	switch (answer)
	{
		case CHATGLM_ROOM_BYTES:
		case CHATGLM_ROOM_ROLE_BYTES:
			no_room_for_bytes(wish, &use, answer == CHATGLM_ROOM_ROLE_BYTES);
			break;
		case CHATGLM_ROOM_NEVER:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("a request of %.1f MB is too large for chatglm.queue_memory (%.0f MB)",
							megabytes(wish->bytes), megabytes(use.total_bytes)),
					 errhint("Send a shorter text, or raise chatglm.queue_memory.")));
			break;
		default:
			break;
	}
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					answer == CHATGLM_ROOM_ROLE_REQUESTS
						? errmsg("too many requests of role \"%s\" are waiting (%d)",
								 role_name(wish->role), use.role_requests)
						: errmsg("too many requests are waiting (%d)", use.requests),
					errhint("Try again later, or raise chatglm.max_queue.")));
}
