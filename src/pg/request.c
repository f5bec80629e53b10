/*
 * request.c - a backend's requests: sending them, reading their events, ending
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
 * Everything here lives in a memory context of its own, which outlives queries.
 */
#include "session.h"

#include "access/xact.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"

/*
 * The time of one request is up: nobody wants the query to end, so PL/pgSQL's
 * OTHERS shall catch it, as it does not catch ERRCODE_QUERY_CANCELED.
 */
#define ERRCODE_REQUEST_TIMED_OUT MAKE_SQLSTATE('5', '7', 'T', '0', '1')

typedef enum RequestState
{
	REQUEST_RUNNING,			/* its last event has not come yet */
	REQUEST_ENDED,				/* it has; perhaps it still waits in the file */
	REQUEST_LOST,				/* the worker went */
	REQUEST_ROLLED_BACK			/* its subtransaction did */
} RequestState;

/* An event on file; the glm_event itself and two NULs follow. */
typedef struct FiledEvent
{
	dlist_node	link;
} FiledEvent;

#define EVENT_OFFSET MAXALIGN(sizeof(FiledEvent))
#define FILED(filed) ((glm_event *) ((char *) (filed) + EVENT_OFFSET))

struct ChatglmRequest
{
	dlist_node	link;
	uint64		id;
	SubTransactionId subid;
	RequestState state;
	int			entry;			/* of the session's words; -1 = none yet */
	uint32		taken;			/* TOKEN events handed to the caller */
	glm_request *block;			/* until the session has it */
	dlist_head	events;			/* FiledEvent */
	FiledEvent *current;		/* what the caller is looking at */
};

static MemoryContext request_context;
static dlist_head requests = DLIST_STATIC_INIT(requests);	/* alive */
static dlist_head stones = DLIST_STATIC_INIT(stones);	/* rolled back */

static void prepare_backend(void);
static ChatglmRequest *new_request(const ChatglmCall *call);
static void claim_entry(ChatglmRequest *request);
static bool all_entries_alive(void);
static void pump(void);
static void file_event(const glm_event *event);
static const glm_event *take_event(ChatglmRequest *request);
static void count_token(ChatglmRequest *request);
static void throw_event(const glm_event *event) pg_attribute_noreturn();
static void check_running(const ChatglmRequest *request);
static void cancel(ChatglmRequest *request);
static void forget_contents(ChatglmRequest *request);
static void xact_callback(XactEvent event, void *arg);
static void subxact_callback(SubXactEvent event, SubTransactionId mine,
							 SubTransactionId parent, void *arg);

/* ---- entry points ----------------------------------------------------- */

ChatglmRequest *
chatglm_submit(const ChatglmCall *call)
{
	ChatglmRequest *request;
	glm_request *block;

	chatglm_require_preload();
	prepare_backend();

	pump();						/* finds out whether the old worker went */
	chatglm_session_connect();
	chatglm_session_flush();

	request = new_request(call);
	claim_entry(request);
	block = request->block;
	request->block = NULL;
	chatglm_session_send(block);
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
	dlist_iter	iter;
	int			running = 0;

	dlist_foreach(iter, &requests)
	{
		if (dlist_container(ChatglmRequest, link, iter.cur)->state == REQUEST_RUNNING)
			running++;
	}
	return running;
}

void
chatglm_release(ChatglmRequest *request)
{
	cancel(request);
	forget_contents(request);
	dlist_delete(&request->link);
	pfree(request);

	if (dlist_is_empty(&requests))
		chatglm_session_rest();
}

uint64
chatglm_request_id(const ChatglmRequest *request)
{
	return request->id;
}

/*
 * The worker looks for the mark when it next wakes.  A request that is still on
 * its way to the worker is nobody's to see yet, so it is not found.
 */
bool
chatglm_cancel_request(uint64 id)
{
	ChatglmRequestStat *stats;
	bool		found = false;

	chatglm_require_preload();
	stats = chatglm_request_stats();

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < chatglm_shared->n_requests && id != 0 && !found; i++)
	{
		found = stats[i].id == id;
		if (found)
			stats[i].cancel = true;
	}
	LWLockRelease(chatglm_shared->lock);

	if (found)
	{
		pg_atomic_exchange_u32(&chatglm_shared->news, 1);
		chatglm_wake_worker();
	}
	return found;
}

void
chatglm_ereport(int elevel, glm_status status, const char *message, const char *hint)
{
	static const int codes[GLM_N_STATUS] = {
		[GLM_OK] = ERRCODE_INTERNAL_ERROR,	/* no error would be reported so */
		[GLM_BAD_ARGUMENT] = ERRCODE_INVALID_PARAMETER_VALUE,
		[GLM_BAD_TEXT] = ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
		[GLM_BAD_JSON] = ERRCODE_INVALID_JSON_TEXT,
		[GLM_NO_MODEL] = ERRCODE_UNDEFINED_OBJECT,
		[GLM_NO_FILE] = ERRCODE_UNDEFINED_FILE,
		[GLM_BAD_FILE] = ERRCODE_DATA_CORRUPTED,
		[GLM_UNSUPPORTED] = ERRCODE_FEATURE_NOT_SUPPORTED,
		[GLM_TOO_LONG] = ERRCODE_PROGRAM_LIMIT_EXCEEDED,
		[GLM_NO_ROOM] = ERRCODE_OUT_OF_MEMORY,
		[GLM_BUSY] = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
		[GLM_NOT_FINITE] = ERRCODE_FLOATING_POINT_EXCEPTION,
		[GLM_EXISTS] = ERRCODE_DUPLICATE_FILE,
		[GLM_DISK_FULL] = ERRCODE_DISK_FULL,
		[GLM_NOT_WRITABLE] = ERRCODE_IO_ERROR,
		[GLM_TIMED_OUT] = ERRCODE_REQUEST_TIMED_OUT,
		[GLM_CANCELLED] = ERRCODE_QUERY_CANCELED,
		[GLM_INTERNAL] = ERRCODE_INTERNAL_ERROR,
	};
	bool		known = (int) status >= 0 && status < GLM_N_STATUS;

	ereport(elevel,
			(errcode(known ? codes[status] : ERRCODE_INTERNAL_ERROR),
			 errmsg("%s", pg_any_to_server(message, strlen(message), PG_UTF8)),
			 hint != NULL && hint[0] != '\0' ?
			 errhint("%s", pg_any_to_server(hint, strlen(hint), PG_UTF8)) : 0));
}

/* ---- sending ---------------------------------------------------------- */

static void
prepare_backend(void)
{
	if (request_context != NULL)
		return;
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
	request_context = AllocSetContextCreate(TopMemoryContext, "chatglm requests",
											ALLOCSET_DEFAULT_SIZES);
}

static ChatglmRequest *
new_request(const ChatglmCall *call)
{
	ChatglmRequest *request = MemoryContextAllocZero(request_context, sizeof(*request));

	request->id = pg_atomic_fetch_add_u64(&chatglm_shared->next_id, 1);
	request->subid = GetCurrentSubTransactionId();
	request->state = REQUEST_RUNNING;
	request->entry = -1;
	dlist_init(&request->events);
	dlist_push_tail(&requests, &request->link);

	/* before an entry is claimed: only the worker frees one, and it must know */
	request->block = chatglm_call_block(call, request->id, request_context);
	return request;
}

/* The entry of a cancelled request is free again when the worker has seen it. */
static void
claim_entry(ChatglmRequest *request)
{
	while ((request->entry = chatglm_session_claim(request->id)) < 0)
	{
		if (all_entries_alive())
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("too many chatglm requests in this session"),
					 errdetail("A session may have %d requests running.",
							   CHATGLM_SESSION_REQUESTS),
					 errhint("Close cursors that are not needed any more.")));
		chatglm_session_wait();
		if (!chatglm_session_alive())
			chatglm_session_lost();
	}
}

static bool
all_entries_alive(void)
{
	dlist_iter	iter;
	int			alive = 0;

	dlist_foreach(iter, &requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->entry >= 0 && chatglm_session_words(request->entry, request->id) != NULL)
			alive++;
	}
	return alive >= CHATGLM_SESSION_REQUESTS;
}

/* ---- events ----------------------------------------------------------- */

/*
 * Files all events that have come.  Whether the worker lives is asked first:
 * what it wrote before it went is still read.
 */
static void
pump(void)
{
	bool		alive = chatglm_session_alive();
	const glm_event *event;
	dlist_iter	iter;

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
	Size		size = sizeof(glm_event) + event->length;
	dlist_iter	iter;

	dlist_foreach(iter, &requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);
		FiledEvent *filed;

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
		throw_event(event);
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

/* The payload is message NUL hint NUL; two more NULs are always behind it. */
static void
throw_event(const glm_event *event)
{
	const char *message = event->payload;
	const char *hint = message + strlen(message) + 1;

	chatglm_ereport(ERROR, event->status, message, hint);
	pg_unreachable();
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
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_CURSOR_STATE),
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

static void
forget_contents(ChatglmRequest *request)
{
	dlist_mutable_iter iter;

	if (request->current != NULL)
		pfree(request->current);
	request->current = NULL;
	dlist_foreach_modify(iter, &request->events)
		pfree(dlist_container(FiledEvent, link, iter.cur));
	dlist_init(&request->events);
	if (request->block != NULL)
		pfree(request->block);
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
		forget_contents(request);
		request->state = REQUEST_ROLLED_BACK;
		dlist_delete(iter.cur);
		dlist_push_tail(&stones, iter.cur);
	}
	if (event == SUBXACT_EVENT_ABORT_SUB && dlist_is_empty(&requests))
		chatglm_session_rest();
}
