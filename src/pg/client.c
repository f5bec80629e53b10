/*
 * client.c - sends the requests of a backend.
 *
 * All requests of a session share one line to the worker (session.c).  A request takes
 * room in the worker's queue before it is sent (room.c).  The worker gives it back when
 * the request has ended; what never came to it whole, client_request.c gives back.
 */
#include "chatglm.h"

#include "admission.h"
#include "call.h"
#include "client.h"
#include "client_request.h"
#include "room.h"
#include "segment.h"
#include "session.h"
#include "session_errors.h"
#include "shared.h"

static void take_room(const ChatglmCall *call, ChatglmRequest *request);
static void claim_entry(const ChatglmCall *call, ChatglmRequest *request);
static bool all_entries_stay(void);

ChatglmRequest *
chatglm_submit(const ChatglmCall *call)
{
	ChatglmRequest *request;

	chatglm_require_preload();
	chatglm_look(); /* finds out whether the old worker went */
	chatglm_session_connect();

	request = chatglm_new_request(call);
	take_room(call, request);
	chatglm_session_flush();
	claim_entry(call, request);
	chatglm_session_send(request->block);
	pfree(request->block);
	request->block = NULL;
	return request;
}

/* Takes room; while it waits, what comes for others is filed and a new worker met. */
static void
take_room(const ChatglmCall *call, ChatglmRequest *request)
{
	ChatglmRoomWish wish = {
		.id = request->id,
		.role = GetUserId(),
		.bytes = request->block->size,
		.batch = call->in_flight || request->block->batch,
		.timeout_ms = call->in_flight ? 0 : request->block->timeout_ms,
	};

	request->place = chatglm_admission(&wish);
	if (!call->in_flight)
		request->block->timeout_ms = wish.timeout_ms;
	request->state = REQUEST_RUNNING; /* should a worker have got lost, it never had it */
}

/*
 * The entry of a request that has ended or was cancelled is free again when the
 * worker is done with it.  Where all are taken, this waits for one; only streams
 * stay as long as nobody reads them.
 */
static void
claim_entry(const ChatglmCall *call, ChatglmRequest *request)
{
	while ((request->entry = chatglm_session_claim(request->id, request->place, call->in_flight,
												   request->limited.quota)) < 0)
	{
		if (all_entries_stay())
		{
			chatglm_release(request);
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many chatglm requests in this session"),
					 errdetail("A session may have %d requests running.", CHATGLM_SESSION_REQUESTS),
					 errhint("Close cursors that are not needed any more.")));
		}
		chatglm_session_wait(CHATGLM_WAIT_PLACE);
		chatglm_look();
		if (!chatglm_session_alive())
			chatglm_session_lost(chatglm_session_loss());
	}
}

static bool
all_entries_stay(void)
{
	dlist_iter iter;
	int		   staying = 0;

	dlist_foreach(iter, &chatglm_requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->stream && request->entry >= 0 &&
			chatglm_session_words(request->entry, request->id) != NULL)
			staying++;
	}
	return staying >= CHATGLM_SESSION_REQUESTS;
}
