/*
 * worker_session.c - the worker's ends of the lines to the backends.
 *
 * A session sits at the index of its backend's process number, as its slot does.
 * The worker attaches to a segment when the slot says NEW and lets it go when the
 * queue says that the backend detached, which a dying backend does too.
 *
 * A queue that is full is not waited for.  Its events stay in `outgoing`, in
 * order, and are tried again when the latch tells that a backend has read.  The
 * head of that list has always been tried already, and a tried message must be
 * repeated to the end: purging leaves the head alone.  The list is bounded by
 * nature: a streaming request has at most GLM_OUTBOX events made and not taken,
 * and other results are finite.
 *
 * An entry stays claimed until the last event of its request is in the queue, or
 * its cancel has been served to the end; then the words' id goes back to 0 and
 * the backend may use the entry again.
 */
#include "worker.h"

typedef struct OutgoingEvent
{
	dlist_node	link;
	int			entry;
} OutgoingEvent;

/* The glm_event follows. */
#define EVENT_OFFSET MAXALIGN(sizeof(OutgoingEvent))
#define OUTGOING(out) ((glm_event *) ((char *) (out) + EVENT_OFFSET))

static MemoryContext event_context;
static WorkerSession *sessions; /* [n_slots] */
static dlist_head attached = DLIST_STATIC_INIT(attached);

static void attach(WorkerSession *session, dsm_handle handle, pid_t pid);
static void drop(WorkerSession *session);
static bool receive_requests(WorkerSession *session);
static bool receive_one(WorkerSession *session, const void *data, Size size);
static void serve_words(WorkerSession *session);
static void abandon_entry(WorkerSession *session, int entry);
static void purge_events(WorkerSession *session, uint64 id);
static bool try_send(WorkerSession *session, int entry, const glm_event *event);
static void send_outgoing(WorkerSession *session);

void
chatglm_sessions_init(void)
{
	event_context = AllocSetContextCreate(TopMemoryContext, "chatglm events",
										  ALLOCSET_DEFAULT_SIZES);
	sessions = MemoryContextAllocZero(TopMemoryContext,
									  chatglm_shared->n_slots * sizeof(WorkerSession));
	for (int i = 0; i < chatglm_shared->n_slots; i++)
		sessions[i].proc = GetPGProcByNumber(i);
}

/* ---- coming and going ------------------------------------------------- */

void
chatglm_sessions_attach(void)
{
	ChatglmSlot *slots = chatglm_slots();

	for (int i = 0; i < chatglm_shared->n_slots; i++)
	{
		ChatglmSlot seen;

		/* a glance first: most slots are not new, and one may always be later */
		if (slots[i].state != CHATGLM_SLOT_NEW)
			continue;

		LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
		seen = slots[i];
		if (seen.state == CHATGLM_SLOT_NEW)
			slots[i].state = CHATGLM_SLOT_ATTACHED;
		LWLockRelease(chatglm_shared->lock);
		if (seen.state != CHATGLM_SLOT_NEW)
			continue;

		/* the process number's last owner may not have been noticed leaving */
		if (sessions[i].segment != NULL)
			drop(&sessions[i]);
		attach(&sessions[i], seen.handle, seen.pid);
	}
}

static void
attach(WorkerSession *session, dsm_handle handle, pid_t pid)
{
	MemoryContext old_context;
	shm_mq	   *requests;
	shm_mq	   *replies;

	/* shm_mq_attach keeps a handle in the current context */
	old_context = MemoryContextSwitchTo(TopMemoryContext);
	session->segment = dsm_attach(handle);
	if (session->segment != NULL)	/* else the backend has gone already */
	{
		dsm_pin_mapping(session->segment);
		session->header = dsm_segment_address(session->segment);
		session->pid = pid;
		dlist_init(&session->outgoing);
		for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
			session->entry[i] = (WorkerEntry) {0, -1};

		requests = chatglm_request_queue(session->header);
		replies = chatglm_reply_queue(session->header);
		shm_mq_set_receiver(requests, MyProc);
		shm_mq_set_sender(replies, MyProc);
		session->requests = shm_mq_attach(requests, session->segment, NULL);
		session->replies = shm_mq_attach(replies, session->segment, NULL);
		dlist_push_tail(&attached, &session->link);
	}
	MemoryContextSwitchTo(old_context);
}

/* Lets a session go, with all it has asked for. */
static void
drop(WorkerSession *session)
{
	dlist_mutable_iter iter;

	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
	{
		if (session->entry[i].id != 0 && session->entry[i].ticket >= 0)
			chatglm_ticket_abandon(session->entry[i].ticket, true);
	}
	dlist_foreach_modify(iter, &session->outgoing)
		pfree(dlist_container(OutgoingEvent, link, iter.cur));

	/* not left to dsm_detach, which would leak the handles' memory */
	shm_mq_detach(session->requests);
	shm_mq_detach(session->replies);
	dsm_detach(session->segment);
	session->segment = NULL;
	dlist_delete(&session->link);
}

/* ---- what backends have to say ---------------------------------------- */

void
chatglm_sessions_serve(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &attached)
	{
		WorkerSession *session = dlist_container(WorkerSession, link, iter.cur);

		if (!receive_requests(session))
		{
			drop(session);
			continue;
		}
		if (pg_atomic_read_u32(&session->header->doorbell) != 0)
			serve_words(session);
		send_outgoing(session);
	}
}

/* Reads all requests there are; false when the session is to be dropped. */
static bool
receive_requests(WorkerSession *session)
{
	for (;;)
	{
		Size		size;
		void	   *data;

		switch (shm_mq_receive(session->requests, &size, &data, true))
		{
			case SHM_MQ_SUCCESS:
				if (!receive_one(session, data, size))
					return false;
				break;
			case SHM_MQ_WOULD_BLOCK:
				return true;
			case SHM_MQ_DETACHED:
				return false;
		}
	}
}

/*
 * A request belongs to the entry whose words bear its id.  A message that has
 * none cannot even be answered, so its sender is cut off and gets its ERROR from
 * that.
 */
static bool
receive_one(WorkerSession *session, const void *data, Size size)
{
	const glm_request *request = data;

	if (size >= sizeof(glm_request) && request->id != 0)
	{
		for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
		{
			ChatglmRequestWords *words = &session->header->words[i];

			if (pg_atomic_read_u64(&words->id) != request->id || session->entry[i].id != 0)
				continue;
			session->entry[i] = (WorkerEntry) {request->id, -1};
			if (pg_atomic_read_u64(&words->cancel) == request->id)
				chatglm_session_end(session, i);
			else
				chatglm_ticket_admit(session, i, request, size);
			return true;
		}
	}
	ereport(LOG,
			(errmsg("chatglm session of process %d sent a malformed message of %zu bytes",
					(int) session->pid, size)));
	return false;
}

/* Cancels and progress. */
static void
serve_words(WorkerSession *session)
{
	/* lower the bell first, with a barrier: what comes later rings again */
	pg_atomic_exchange_u32(&session->header->doorbell, 0);

	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
	{
		WorkerEntry *entry = &session->entry[i];

		if (entry->id == 0)
			continue;
		if (pg_atomic_read_u64(&session->header->words[i].cancel) == entry->id)
			abandon_entry(session, i);
		else if (entry->ticket >= 0)
			chatglm_ticket_taken(entry->ticket);
	}
}

static void
abandon_entry(WorkerSession *session, int entry)
{
	purge_events(session, session->entry[entry].id);
	if (session->entry[entry].ticket >= 0)
		chatglm_ticket_abandon(session->entry[entry].ticket, false);
	else
		chatglm_session_end(session, entry);
}

void
chatglm_session_end(WorkerSession *session, int entry)
{
	session->entry[entry] = (WorkerEntry) {0, -1};
	pg_atomic_exchange_u64(&session->header->words[entry].id, 0);
	SetLatch(&session->proc->procLatch);	/* it may wait for a free entry */
}

/* ---- what they get ---------------------------------------------------- */

void
chatglm_session_post(WorkerSession *session, int entry, const glm_event *event)
{
	Size		size = sizeof(glm_event) + event->length;
	OutgoingEvent *out;

	if (dlist_is_empty(&session->outgoing) && try_send(session, entry, event))
		return;

	out = MemoryContextAlloc(event_context, EVENT_OFFSET + size);
	out->entry = entry;
	memcpy(OUTGOING(out), event, size);
	dlist_push_tail(&session->outgoing, &out->link);
}

static void
send_outgoing(WorkerSession *session)
{
	while (!dlist_is_empty(&session->outgoing))
	{
		OutgoingEvent *out = dlist_head_element(OutgoingEvent, link, &session->outgoing);

		if (!try_send(session, out->entry, OUTGOING(out)))
			return;
		dlist_delete(&out->link);
		pfree(out);
	}
}

/*
 * False when the queue is full.  A detached queue swallows everything; the
 * request queue will tell the same story and the session be dropped.
 */
static bool
try_send(WorkerSession *session, int entry, const glm_event *event)
{
	bool		last = event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR;

	if (chatglm_mq_send(session->replies, sizeof(glm_event) + event->length, event) ==
		SHM_MQ_WOULD_BLOCK)
		return false;
	/* a head that outlived its request's cancel finds the entry in other hands */
	if (last && session->entry[entry].id == event->id)
		chatglm_session_end(session, entry);
	return true;
}

static void
purge_events(WorkerSession *session, uint64 id)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &session->outgoing)
	{
		OutgoingEvent *out = dlist_container(OutgoingEvent, link, iter.cur);

		if (OUTGOING(out)->id != id || iter.cur == dlist_head_node(&session->outgoing))
			continue;
		dlist_delete(iter.cur);
		pfree(out);
	}
}
