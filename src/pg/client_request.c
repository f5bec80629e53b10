/*
 * client_request.c - a backend's requests, from their making to their end, whatever
 * happens to the transaction.
 *
 * A request belongs to the subtransaction that sent it.  Executor nodes end
 * their requests with chatglm_release(); what an error leaves behind, the
 * callbacks at the end of the file cancel.  One case needs care: a cursor of an
 * outer transaction whose first FETCH was rolled back survives with a pointer to
 * its request.  So a request that a subtransaction's abort ends stays behind as
 * a tombstone until it is released or the transaction ends.
 *
 * Everything here lives in a memory context of its own, which outlives queries.
 */
#include "chatglm.h"

#include "access/xact.h"

#include "call.h"
#include "client.h"
#include "client_request.h"
#include "request_log.h"
#include "room.h"
#include "route.h"
#include "segment.h"
#include "session.h"
#include "shared.h"

dlist_head chatglm_requests = DLIST_STATIC_INIT(chatglm_requests);

static MemoryContext request_context;
static dlist_head	 tombstones = DLIST_STATIC_INIT(tombstones);

static void register_callbacks(void);
static void cancel_request(ChatglmRequest *request);
static void free_if_any(void *memory);
static void forget_room(ChatglmRequest *request);
static void forget_contents(ChatglmRequest *request);
static void end_with_transaction(XactEvent event, void *arg);
static void end_with_subtransaction(SubXactEvent event, SubTransactionId mine,
									SubTransactionId parent, void *arg);

static void
register_callbacks(void)
{
	RegisterXactCallback(end_with_transaction, NULL);
	RegisterSubXactCallback(end_with_subtransaction, NULL);
	request_context =
		AllocSetContextCreate(TopMemoryContext, "chatglm requests", ALLOCSET_DEFAULT_SIZES);
}

static void
keep(ChatglmRequest *request, const ChatglmCall *call)
{
	if (call->kept == NULL)
		return;
	request->kept.data = MemoryContextAllocHuge(request_context, call->kept_length + 1);
	memcpy(request->kept.data, call->kept, call->kept_length);
	request->kept.data[call->kept_length] = '\0';
	request->kept.len = call->kept_length;
}

char *
chatglm_request_kept(const ChatglmRequest *request)
{
	char *copy;

	if (request->kept.data == NULL)
		return NULL;
	copy = palloc_extended(request->kept.len + 1, MCXT_ALLOC_HUGE);
	memcpy(copy, request->kept.data, request->kept.len + 1);
	return copy;
}

ChatglmRequest *
chatglm_new_request(const ChatglmCall *given)
{
	ChatglmCall		routed = *given;
	ChatglmCall	   *call = &routed;
	uint64			id = pg_atomic_fetch_add_u64(&chatglm_shared->next_id, 1);
	ChatglmLimited	limited;
	glm_request	   *block;
	ChatglmRequest *request;

	if (request_context == NULL)
		register_callbacks();
	/* first, as they may throw: nothing may be left that counts as running */
	chatglm_choose_model(call);
	chatglm_limit_call(call, &limited);
	block = chatglm_call_block(call, id, request_context);
	request = MemoryContextAllocZero(request_context, sizeof(*request));
	request->id = id;
	request->subid = GetCurrentSubTransactionId();
	request->state = REQUEST_RUNNING;
	request->in_flight = call->in_flight;
	request->stream = call->stream;
	request->place = request->entry = -1;
	request->limited = limited;
	request->block = block;
	dlist_init(&request->events);
	dlist_push_tail(&chatglm_requests, &request->link);
	request->model = MemoryContextStrdup(request_context, call->model);
	if (call->path != NULL)
		request->path = MemoryContextStrdup(request_context, call->path);
	keep(request, call);
	chatglm_log_begin(request, call);
	return request;
}

void
chatglm_release(ChatglmRequest *request)
{
	cancel_request(request);
	forget_room(request);
	forget_contents(request);
	dlist_delete(&request->link);
	free_if_any(request->model);
	free_if_any(request->path);
	free_if_any(request->kept.data);
	free_if_any(request->text);
	pfree(request);

	if (dlist_is_empty(&chatglm_requests))
		chatglm_session_rest();
}

/* ---- state ---- */

uint64
chatglm_request_id(const ChatglmRequest *request)
{
	return request->id;
}

const char *
chatglm_request_model(const ChatglmRequest *request)
{
	return request->model;
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

	dlist_foreach(iter, &chatglm_requests)
	{
		const ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		running += request->state == REQUEST_RUNNING && request->entry >= 0 &&
				   request->in_flight == in_flight;
	}
	return running;
}

/* ---- endings ---------------------------------------------------------- */

static void
cancel_request(ChatglmRequest *request)
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
		pfree(dlist_container(ChatglmFiledEvent, link, iter.cur));
	dlist_init(&request->events);
	free_if_any(request->block);
	request->block = NULL;
}

/*
 * No request outlives its transaction: a cursor WITH HOLD has been read to its
 * end before the commit comes here.
 */
static void
end_with_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PARALLEL_PRE_COMMIT ||
		event == XACT_EVENT_PRE_PREPARE)
		return;

	while (!dlist_is_empty(&chatglm_requests))
		chatglm_release(dlist_head_element(ChatglmRequest, link, &chatglm_requests));
	while (!dlist_is_empty(&tombstones))
		chatglm_release(dlist_head_element(ChatglmRequest, link, &tombstones));
}

static void
end_with_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
						void *arg)
{
	dlist_mutable_iter iter;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;

	dlist_foreach_modify(iter, &chatglm_requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->subid != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			request->subid = parent;
			continue;
		}
		cancel_request(request);
		forget_room(request);
		forget_contents(request);
		request->state = REQUEST_ROLLED_BACK;
		dlist_delete(iter.cur);
		dlist_push_tail(&tombstones, iter.cur);
	}
	if (event == SUBXACT_EVENT_ABORT_SUB && dlist_is_empty(&chatglm_requests))
		chatglm_session_rest();
}
