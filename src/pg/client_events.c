/*
 * client_events.c - what comes back for the requests of a backend.
 *
 * Waiting for an event reads all that the session's queue has and files each event with
 * its request, so an event of one cursor is not lost while another is being
 * fetched.  A streaming request's file stays short, because the engine pauses a sequence
 * whose tokens are not taken, and a token counts as taken only when its caller has got it.
 */
#include "chatglm.h"

#include "client.h"
#include "client_request.h"
#include "errors.h"
#include "request_log.h"
#include "segment.h"
#include "session.h"
#include "session_errors.h"

#define EVENT_OFFSET MAXALIGN(sizeof(ChatglmFiledEvent))
#define FILED(filed) ((glm_event *) ((char *) (filed) + EVENT_OFFSET))

static uint64 tokens_used; /* by all requests of the session that came to their end */

static void				file_event(const glm_event *event);
static const glm_event *take_event(ChatglmRequest *request);
static void				count_taken(ChatglmRequest *request);
static void				check_running(const ChatglmRequest *request);
static void				throw_event(const ChatglmRequest *request, const glm_event *event)
	pg_attribute_noreturn();

const glm_event *
chatglm_next_event(ChatglmRequest *request)
{
	const glm_event *event;

	while ((event = chatglm_try_event(request)) == NULL)
		chatglm_session_wait(CHATGLM_WAIT_REPLY);
	return event;
}

const glm_event *
chatglm_try_event(ChatglmRequest *request)
{
	const glm_event *event = take_event(request);

	if (event == NULL)
	{
		chatglm_look();
		event = take_event(request);
	}
	if (event == NULL)
		check_running(request);
	return event;
}

void
chatglm_wait(void)
{
	chatglm_session_wait(CHATGLM_WAIT_REPLY);
}

uint64
chatglm_tokens_used(void)
{
	return tokens_used;
}

/*
 * Files all events that have come.  Whether the worker lives is asked first:
 * what it wrote before it went is still read.
 */
void
chatglm_look(void)
{
	bool			 alive = chatglm_session_alive();
	const glm_event *event;
	ChatglmLoss		 loss;
	dlist_iter		 iter;

	chatglm_session_push();
	while ((event = chatglm_session_receive()) != NULL)
		file_event(event);
	if (alive)
		return;

	loss = chatglm_session_loss();
	chatglm_session_disconnect();
	dlist_foreach(iter, &chatglm_requests)
	{
		ChatglmRequest *request = dlist_container(ChatglmRequest, link, iter.cur);

		if (request->state != REQUEST_RUNNING)
			continue;
		request->state = REQUEST_LOST;
		request->loss = loss;
	}
}

/* Events of requests that were released meanwhile find no file. */
static void
file_event(const glm_event *event)
{
	Size	   size = sizeof(glm_event) + event->length;
	dlist_iter iter;

	dlist_foreach(iter, &chatglm_requests)
	{
		ChatglmRequest	  *request = dlist_container(ChatglmRequest, link, iter.cur);
		ChatglmFiledEvent *filed;

		if (request->id != event->id || request->state != REQUEST_RUNNING)
			continue;

		filed = MemoryContextAlloc(GetMemoryChunkContext(request), EVENT_OFFSET + size + 2);
		memcpy(FILED(filed), event, size);
		memset((char *) FILED(filed) + size, 0, 2);
		dlist_push_tail(&request->events, &filed->link);
		if (event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR)
		{
			request->state = REQUEST_ENDED;
			chatglm_log_end(request, event);
		}
		if (event->kind == GLM_EVENT_DONE)
			tokens_used += event->prompt_tokens + event->completion_tokens;
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

	request->current =
		dlist_container(ChatglmFiledEvent, link, dlist_pop_head_node(&request->events));
	event = FILED(request->current);
	if (event->kind == GLM_EVENT_TOKEN)
		count_taken(request);
	else if (event->kind == GLM_EVENT_ERROR)
		throw_event(request, event);
	return event;
}

static void
throw_event(const ChatglmRequest *request, const glm_event *event)
{
	if (event->advice == CHATGLM_ADVICE_LIMIT)
		chatglm_limit_reached(event);
	if (event->status == GLM_TIMED_OUT && OidIsValid(request->limited.timed_by))
		chatglm_limit_timed_out(event, request->limited.timed_by);
	chatglm_throw_event(event, request->model, request->path);
}

/*
 * The worker reads the count whenever it passes on a token of this request, so
 * it need be woken only often enough that a full outbox does not stay full.
 */
static void
count_taken(ChatglmRequest *request)
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
			chatglm_session_lost(request->loss);
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
