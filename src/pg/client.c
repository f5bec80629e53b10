/*
 * client.c - a backend's requests: sending them, reading their events, ending
 * them whatever happens to the transaction.
 *
 * All requests of a session share one line (session.c).  Whoever waits for an
 * event pumps the line and files each event with its request, so an event of
 * one cursor is not lost while another is being fetched.  A streaming request's
 * file stays short, because the engine pauses a sequence whose tokens are not
 * taken, and a token counts as taken only when its caller has got it.
 *
 * A request belongs to the subtransaction that sent it.  Executor nodes end
 * their requests with chatglm_release(); what an error leaves behind, the
 * callbacks at the end of the file cancel.  One case needs care: a cursor of an
 * outer transaction whose first FETCH was rolled back survives with a pointer to
 * its request.  So a request that a subtransaction's abort ends stays behind as
 * a small stone until it is released or the transaction ends.
 *
 * A request takes room in the worker's queue before it is sent (room.c).  The worker
 * gives it back when the request has ended; only what never came to it whole is
 * given back here.
 *
 * Everything here lives in a memory context of its own, which outlives queries.
 */
#include "chatglm.h"

#include "access/xact.h"
#include "lib/ilist.h"

#include "admission.h"
#include "call.h"
#include "client.h"
#include "errors.h"
#include "room.h"
#include "segment.h"
#include "session.h"
#include "shared.h"

typedef enum RequestState
{
	REQUEST_RUNNING,	/* its last event has not come yet */
	REQUEST_ENDED,		/* it has; perhaps it still waits in the file */
	REQUEST_LOST,		/* the worker went */
	REQUEST_ROLLED_BACK /* its subtransaction did */
} RequestState;

/* An event on file; the glm_event itself and two NULs follow. */
typedef struct FiledEvent
{
	dlist_node link;
} FiledEvent;

#define EVENT_OFFSET MAXALIGN(sizeof(FiledEvent))
#define FILED(filed) ((glm_event *) ((char *) (filed) + EVENT_OFFSET))

struct ChatglmRequest
{
	dlist_node		 link;
	uint64			 id;
	SubTransactionId subid;
	RequestState	 state;
	bool			 in_flight; /* no reader holds it up */
	bool			 stream;	/* ends only as its caller reads */
	int				 place;		/* its room in the queue; -1 = none yet */
	int				 entry;		/* of the session's words; -1 = none yet */
	uint32			 taken;		/* TOKEN events handed to the caller */
	glm_request		*block;		/* until it is sent */
	char			*model;		/* its name and directory, UTF-8 */
	char			*path;
	dlist_head		 events;  /* FiledEvent */
	FiledEvent		*current; /* what the caller is looking at */
};

static MemoryContext request_context;
static dlist_head	 requests = DLIST_STATIC_INIT(requests); /* alive */
static dlist_head	 stones = DLIST_STATIC_INIT(stones);	 /* rolled back */

static void				prepare_backend(void);
static ChatglmRequest  *new_request(const ChatglmCall *call);
static void				take_room(const ChatglmCall *call, ChatglmRequest *request);
static void				claim_entry(const ChatglmCall *call, ChatglmRequest *request);
static bool				all_entries_stay(void);
static void				forget_room(ChatglmRequest *request);
static void				pump(void);
static void				file_event(const glm_event *event);
static const glm_event *take_event(ChatglmRequest *request);
static void				count_token(ChatglmRequest *request);
static void				free_if_any(void *memory);
static void				check_running(const ChatglmRequest *request);
static void				cancel(ChatglmRequest *request);
static void				forget_contents(ChatglmRequest *request);
static void				xact_callback(XactEvent event, void *arg);
static void subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							 void *arg);

/* ---- entry points ----------------------------------------------------- */

ChatglmRequest *
chatglm_submit(const ChatglmCall *call)
{
	ChatglmRequest *request;

	chatglm_require_preload();
	prepare_backend();

	pump(); /* finds out whether the old worker went */
	chatglm_session_connect();

	request = new_request(call);
	take_room(call, request);
	chatglm_session_flush();
	claim_entry(call, request);
	chatglm_session_send(request->block);
	pfree(request->block);
	request->block = NULL;
	return request;
}

const glm_event *
chatglm_next_event(ChatglmRequest *request)
{
	const glm_event *event;

	while ((event = chatglm_try_event(request)) == NULL)
		chatglm_session_wait();
	return event;
}

const glm_event *
chatglm_try_event(ChatglmRequest *request)
{
	const glm_event *event = take_event(request);

	if (event == NULL)
	{
		pump();
		event = take_event(request);
	}
	if (event == NULL)
		check_running(request);
	return event;
}

void
chatglm_look(void)
{
	pump();
}

void
chatglm_wait(void)
{
	chatglm_session_wait();
}

bool
chatglm_request_running(const ChatglmRequest *request)
{
	return request->state == REQUEST_RUNNING;
}

bool
chatglm_request_rolled_back(const ChatglmRequest *request)
{
	return request->state == REQUEST_ROLLED_BACK;
}

int
chatglm_requests_running(void)
{
	return chatglm_requests_running_as(true) + chatglm_requests_running_as(false);
}

/* Those that wait for room themselves do not count. */
int
chatglm_requests_running_as(bool in_flight)
{
	dlist_iter iter;
	int		   running = 0;

	dlist_foreach(iter, &requests)
	{
		const ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		running += request->state == REQUEST_RUNNING && request->entry >= 0 &&
				   request->in_flight == in_flight;
	}
	return running;
}

void
chatglm_release(ChatglmRequest *request)
{
	cancel(request);
	forget_room(request);
	forget_contents(request);
	dlist_delete(&request->link);
	free_if_any(request->model);
	free_if_any(request->path);
	pfree(request);

	if (dlist_is_empty(&requests))
		chatglm_session_rest();
}

uint64
chatglm_request_id(const ChatglmRequest *request)
{
	return request->id;
}

/* ---- sending ---------------------------------------------------------- */

static void
prepare_backend(void)
{
	if (request_context != NULL)
		return;
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	request_context =
		AllocSetContextCreate(TopMemoryContext, "chatglm requests", ALLOCSET_DEFAULT_SIZES);
}

static ChatglmRequest *
new_request(const ChatglmCall *call)
{
	uint64			id = pg_atomic_fetch_add_u64(&chatglm_shared->next_id, 1);
	/* first, as it may throw: nothing may be left that counts as running */
	glm_request	   *block = chatglm_call_block(call, id, request_context);
	ChatglmRequest *request = MemoryContextAllocZero(request_context, sizeof(*request));

	request->id = id;
	request->subid = GetCurrentSubTransactionId();
	request->state = REQUEST_RUNNING;
	request->in_flight = call->in_flight;
	request->stream = call->stream;
	request->place = request->entry = -1;
	request->block = block;
	dlist_init(&request->events);
	dlist_push_tail(&requests, &request->link);
	request->model = MemoryContextStrdup(request_context, call->model);
	if (call->path != NULL)
		request->path = MemoryContextStrdup(request_context, call->path);
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
		.batch = call->in_flight || call->priority == CHATGLM_PRIORITY_BATCH,
		.timeout_ms = call->in_flight ? 0 : call->timeout_ms,
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
	while ((request->entry = chatglm_session_claim(request->id, request->place, call->in_flight)) <
		   0)
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
		chatglm_session_wait();
		pump();
		if (!chatglm_session_alive())
			chatglm_session_lost();
	}
}

static bool
all_entries_stay(void)
{
	dlist_iter iter;
	int		   staying = 0;

	dlist_foreach(iter, &requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->stream && request->entry >= 0 &&
			chatglm_session_words(request->entry, request->id) != NULL)
			staying++;
	}
	return staying >= CHATGLM_SESSION_REQUESTS;
}

/* ---- events ----------------------------------------------------------- */

/*
 * Files all events that have come.  Whether the worker lives is asked first:
 * what it wrote before it went is still read.
 */
static void
pump(void)
{
	bool			 alive = chatglm_session_alive();
	const glm_event *event;
	dlist_iter		 iter;

	chatglm_session_push();
	while ((event = chatglm_session_receive()) != NULL)
		file_event(event);
	if (alive)
		return;

	chatglm_session_disconnect();
	dlist_foreach(iter, &requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->state == REQUEST_RUNNING)
			request->state = REQUEST_LOST;
	}
}

/* Events of requests that were released meanwhile find no file. */
static void
file_event(const glm_event *event)
{
	Size	   size = sizeof(glm_event) + event->length;
	dlist_iter iter;

	dlist_foreach(iter, &requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);
		FiledEvent	   *filed;

		if (request->id != event->id || request->state != REQUEST_RUNNING)
			continue;

		filed = MemoryContextAlloc(request_context, EVENT_OFFSET + size + 2);
		memcpy(FILED(filed), event, size);
		memset((char *) FILED(filed) + size, 0, 2);
		dlist_push_tail(&request->events, &filed->link);
		if (event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR)
			request->state = REQUEST_ENDED;
		return;
	}
}

static const glm_event *
take_event(ChatglmRequest *request)
{
	const glm_event *event;

	if (request->current != NULL)
		pfree(request->current);
	request->current = NULL;
	if (dlist_is_empty(&request->events))
		return NULL;

	request->current = dlist_container(FiledEvent, link, dlist_pop_head_node(&request->events));
	event = FILED(request->current);
	if (event->kind == GLM_EVENT_TOKEN)
		count_token(request);
	else if (event->kind == GLM_EVENT_ERROR)
		chatglm_throw_event(event, request->model, request->path);
	return event;
}

/*
 * The worker reads the count whenever it passes on a token of this request, so
 * it need be woken only often enough that a full outbox does not stay full.
 */
static void
count_token(ChatglmRequest *request)
{
	ChatglmRequestWords *words = chatglm_session_words(request->entry, request->id);

	request->taken++;
	if (words == NULL)
		return;
	pg_atomic_write_u32(&words->taken, request->taken);
	if (request->taken % (GLM_OUTBOX / 2) == 0)
		chatglm_session_ring();
}

/* There is no event now: will there be one? */
static void
check_running(const ChatglmRequest *request)
{
	switch (request->state)
	{
		case REQUEST_RUNNING:
			return;
		case REQUEST_LOST:
			chatglm_session_lost();
			break;
		case REQUEST_ROLLED_BACK:
			ereport(ERROR, (errcode(ERRCODE_INVALID_CURSOR_STATE),
							errmsg("chatglm request was cancelled by a rollback"),
							errhint("Its first row was fetched in a subtransaction that was rolled "
									"back; open the cursor again.")));
			break;
		case REQUEST_ENDED:
			elog(ERROR, "chatglm request " UINT64_FORMAT " has no more events", request->id);
			break;
	}
}

/* ---- endings ---------------------------------------------------------- */

static void
cancel(ChatglmRequest *request)
{
	ChatglmRequestWords *words;

	if (request->state != REQUEST_RUNNING || request->entry < 0)
		return;
	words = chatglm_session_words(request->entry, request->id);
	if (words == NULL)
		return;
	pg_atomic_write_u64(&words->cancel, request->id);
	chatglm_session_ring();
}

/* Stops waiting for room, and gives back what the worker will not. */
static void
forget_room(ChatglmRequest *request)
{
	if (request->block == NULL)
		return;
	chatglm_room_leave();
	chatglm_room_give(request->place, request->id);
}

static void
free_if_any(void *memory)
{
	if (memory != NULL)
		pfree(memory);
}

static void
forget_contents(ChatglmRequest *request)
{
	dlist_mutable_iter iter;

	free_if_any(request->current);
	request->current = NULL;
	dlist_foreach_modify(iter, &request->events)
		pfree(dlist_container(FiledEvent, link, iter.cur));
	dlist_init(&request->events);
	free_if_any(request->block);
	request->block = NULL;
}

/*
 * No request outlives its transaction: a cursor WITH HOLD has been read to its
 * end before the commit comes here.
 */
static void
xact_callback(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;

	while (!dlist_is_empty(&requests))
		chatglm_release(dlist_head_element(ChatglmRequest, link, &requests));
	while (!dlist_is_empty(&stones))
		chatglm_release(dlist_head_element(ChatglmRequest, link, &stones));
}

static void
subxact_callback(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	dlist_mutable_iter iter;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;

	dlist_foreach_modify(iter, &requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->subid != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			request->subid = parent;
			continue;
		}
		cancel(request);
		forget_room(request);
		forget_contents(request);
		request->state = REQUEST_ROLLED_BACK;
		dlist_delete(iter.cur);
		dlist_push_tail(&stones, iter.cur);
	}
	if (event == SUBXACT_EVENT_ABORT_SUB && dlist_is_empty(&requests))
		chatglm_session_rest();
}
