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
 * and other results are finite.  What is in it is charged to the request's role (room.c),
 * so that a role that does not read its results cannot ask for more and more.
 *
 * Requests come in pieces and are put together in memory of the engine's, which takes it
 * over.  Where there is no memory for a block, only that request fails.  A session
 * that sends malformed messages, or whose events there is no memory for, is dropped, and
 * finds the reason in its segment.
 *
 * An entry stays claimed until the last event of its request is in the queue, or
 * its cancel has been served to the end; then the words' id goes back to 0 and
 * the backend may use the entry again.
 */
#include "chatglm.h"

#include "room.h"
#include "segment.h"
#include "shared.h"
#include "worker_engine.h"
#include "worker_session.h"
#include "worker_ticket.h"

#define PIECES_AT_A_TIME 32 /* of a session, before the others have their turn */

typedef struct OutgoingEvent
{
	dlist_node link;
	int		   entry;
} OutgoingEvent;

/* The glm_event follows. */
#define EVENT_OFFSET MAXALIGN(sizeof(OutgoingEvent))
#define OUTGOING(out) ((glm_event *) ((char *) (out) + EVENT_OFFSET))

static MemoryContext  event_context;
static WorkerSession *sessions; /* [n_slots] */
static dlist_head	  attached = DLIST_STATIC_INIT(attached);

static bool attach_session(WorkerSession *session, dsm_handle handle, pid_t pid);
static void drop_session(WorkerSession *session);
static bool receive_requests(WorkerSession *session);
static bool receive_piece(WorkerSession *session, const glm_fragment *piece, Size size);
static int	entry_of_request(const WorkerSession *session, uint64 id);
static int	begin_request(WorkerSession *session, const glm_fragment *piece);
static void drop_block(WorkerEntry *entry);
static void clear_entry(WorkerEntry *entry);
static void charge_event(WorkerSession *session, const OutgoingEvent *out, int sign);
static void serve_words(WorkerSession *session);
static void abandon_entry(WorkerSession *session, int entry);
static void purge_events(WorkerSession *session, uint64 id);
static bool try_send(WorkerSession *session, int entry, const glm_event *event);
static void send_outgoing(WorkerSession *session);

void
chatglm_sessions_init(void)
{
	event_context =
		AllocSetContextCreate(TopMemoryContext, "chatglm events", ALLOCSET_DEFAULT_SIZES);
	sessions =
		MemoryContextAllocZero(TopMemoryContext, chatglm_shared->n_slots * sizeof(WorkerSession));
	for (int i = 0; i < chatglm_shared->n_slots; i++)
		sessions[i].proc = GetPGProcByNumber(i);
}

/* ---- attaching and dropping ------------------------------------------------- */

void
chatglm_sessions_attach(void)
{
	ChatglmSlot *slots = chatglm_slots();

	for (int i = 0; i < chatglm_shared->n_slots; i++)
	{
		ChatglmSlot seen;
		bool		refused;

		/* without the lock first: most slots are not new, and one may always be later */
		if (slots[i].state != CHATGLM_SLOT_NEW)
			continue;

		LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
		seen = slots[i];
		LWLockRelease(chatglm_shared->lock);
		if (seen.state != CHATGLM_SLOT_NEW)
			continue;

		/* the process number's last owner may not have been noticed leaving */
		if (sessions[i].segment != NULL)
			drop_session(&sessions[i]);
		refused = !attach_session(&sessions[i], seen.handle, seen.pid);

		/* only now: what a backend that leaves before has taken, it gives back itself */
		LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
		if ((sessions[i].segment != NULL || refused) && slots[i].state == CHATGLM_SLOT_NEW &&
			slots[i].handle == seen.handle)
			slots[i].state = refused ? CHATGLM_SLOT_REFUSED : CHATGLM_SLOT_ATTACHED;
		LWLockRelease(chatglm_shared->lock);
		if (refused)
			SetLatch(&sessions[i].proc->procLatch);
	}
}

/* False: it cannot be mapped, for lack of something; a backend that has gone is no such fault. */
static bool
attach_session(WorkerSession *session, dsm_handle handle, pid_t pid)
{
	MemoryContext old_context;
	shm_mq		 *requests;
	shm_mq		 *replies;
	bool		  refused;

	/* shm_mq_attach keeps a handle in the current context */
	old_context = MemoryContextSwitchTo(TopMemoryContext);
	session->segment = chatglm_segment_attach(handle, &refused);
	if (session->segment != NULL) /* else the backend has gone already */
	{
		dsm_pin_mapping(session->segment);
		session->header = dsm_segment_address(session->segment);
		session->pid = pid;
		session->loss = GLM_INJECT("worker-attach") ? CHATGLM_LOSS_DROPPED : 0;
		dlist_init(&session->outgoing);
		for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
			clear_entry(&session->entry[i]);

		requests = chatglm_request_queue(session->header);
		replies = chatglm_reply_queue(session->header);
		shm_mq_set_receiver(requests, MyProc);
		shm_mq_set_sender(replies, MyProc);
		session->requests = shm_mq_attach(requests, session->segment, NULL);
		session->replies = shm_mq_attach(replies, session->segment, NULL);
		dlist_push_tail(&attached, &session->link);
	}
	MemoryContextSwitchTo(old_context);
	return !refused;
}

/* Drops a session, with all its requests. */
static void
drop_session(WorkerSession *session)
{
	dlist_mutable_iter iter;

	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
	{
		WorkerEntry			*entry = &session->entry[i];
		ChatglmRequestWords *words = &session->header->words[i];

		drop_block(entry);
		if (entry->id != 0 && entry->ticket >= 0)
			chatglm_ticket_abandon(entry->ticket, true); /* its room comes back later */
		else
			chatglm_room_give(words->place, pg_atomic_read_u64(&words->id));
	}
	dlist_foreach_modify(iter, &session->outgoing)
		pfree(dlist_container(OutgoingEvent, link, iter.cur));
	pg_atomic_exchange_u32(&session->header->loss, session->loss); /* before the backend sees it */

	/* not left to dsm_detach, which would leak the handles' memory */
	shm_mq_detach(session->requests);
	shm_mq_detach(session->replies);
	dsm_detach(session->segment);
	session->segment = NULL;
	dlist_delete(&session->link);
}

/* ---- requests ---------------------------------------- */

void
chatglm_sessions_serve(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &attached)
	{
		WorkerSession *session = dlist_container(WorkerSession, link, iter.cur);

		if (session->loss != 0 || !receive_requests(session))
		{
			drop_session(session);
			continue;
		}
		if (pg_atomic_read_u32(&session->header->doorbell) != 0)
			serve_words(session);
		send_outgoing(session);
	}
}

/*
 * Reads the pieces there are, but so many only: a session that sends faster than the others
 * must not hold them up.  False when the session is to be dropped.
 */
static bool
receive_requests(WorkerSession *session)
{
	for (int i = 0; i < PIECES_AT_A_TIME; i++)
	{
		Size  size;
		void *data;

		switch (chatglm_mq_receive(session->requests, &size, &data, &session->loss))
		{
			case SHM_MQ_SUCCESS:
				if (receive_piece(session, data, size))
					break;
				ereport(
					LOG,
					(errmsg("chatglm session of process %d sent a malformed message of %zu bytes",
							(int) session->pid, size)));
				session->loss = CHATGLM_LOSS_MESSAGE;
				return false;
			case SHM_MQ_WOULD_BLOCK:
				return true;
			case SHM_MQ_DETACHED:
				return false;
		}
	}
	SetLatch(MyLatch); /* come back to it */
	return true;
}

/* The entry of a request that has begun to come; -1: none. */
static int
entry_of_request(const WorkerSession *session, uint64 id)
{
	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
		if (session->entry[i].id == id)
			return i;
	return -1;
}

/*
 * False for a message that is no piece, and so cannot even be answered: its sender is cut
 * off and gets its ERROR from that.  Pieces of a request that was cancelled meanwhile
 * find no entry.
 */
static bool
receive_piece(WorkerSession *session, const glm_fragment *piece, Size size)
{
	WorkerEntry *entry;
	int			 number;

	if (GLM_INJECT("worker-receive") || !glm_fragment_check(piece, size))
		return false;

	number =
		piece->offset == 0 ? begin_request(session, piece) : entry_of_request(session, piece->id);
	if (number < 0)
		return piece->offset != 0;
	entry = &session->entry[number];
	if (entry->block == NULL)
		return true; /* refused or cancelled, and the rest still comes */
	if (!glm_fragment_put(piece, size, entry->block, entry->size, &entry->received))
		return false;
	if (entry->received < entry->size)
		return true;
	if (entry->block->id != entry->id)
		return false;
	chatglm_ticket_admit(session, number);
	return true;
}

/* What the words say of roles and limits is read once, and looked through before it counts. */
static bool
accept_limits(WorkerSession *session, int entry)
{
	const ChatglmRequestWords *words = &session->header->words[entry];
	ChatglmQuota			   quota[CHATGLM_QUOTAS];

	memcpy(quota, words->quota, sizeof(quota));
	return chatglm_limits_accept(&session->entry[entry].claim, quota, session->proc->roleId,
								 words->role, session->header->database);
}

/* Gives a request the entry whose words bear its id; -1 when there is none. */
static int
begin_request(WorkerSession *session, const glm_fragment *piece)
{
	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
	{
		ChatglmRequestWords *words = &session->header->words[i];
		WorkerEntry			*entry = &session->entry[i];
		glm_error err = {.status = GLM_NO_ROOM, .message = "out of memory in the chatglm worker"};

		if (pg_atomic_read_u64(&words->id) != piece->id || entry->id != 0)
			continue;
		clear_entry(entry);
		if (!accept_limits(session, i))
			return -1;
		entry->id = piece->id;
		entry->place = words->place;
		entry->size = piece->size;
		if (pg_atomic_read_u64(&words->cancel) == piece->id)
			chatglm_session_end(session, i);
		else if ((entry->block = chatglm_block_new(piece->size)) == NULL)
			chatglm_ticket_refuse(session, i, &err);
		return i;
	}
	return -1;
}

static void
clear_entry(WorkerEntry *entry)
{
	memset(entry, 0, sizeof(*entry));
	entry->ticket = entry->place = -1;
}

static void
drop_block(WorkerEntry *entry)
{
	if (entry->block != NULL)
		chatglm_block_free(entry->block);
	entry->block = NULL;
	chatglm_ticket_unhold(entry);
}

/* Cancels and progress. */
static void
serve_words(WorkerSession *session)
{
	/* reset the doorbell first, with a barrier: what comes later rings again */
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
chatglm_session_done(WorkerSession *session, int entry)
{
	WorkerEntry *done = &session->entry[entry];

	done->ticket = -1;
	if (done->unread > 0)
		chatglm_room_charge(done->place, done->id, -(int64) done->size, 0);
	else
		chatglm_room_give(done->place, done->id);
}

void
chatglm_session_end(WorkerSession *session, int entry)
{
	drop_block(&session->entry[entry]);
	chatglm_room_give(session->entry[entry].place, session->entry[entry].id);
	clear_entry(&session->entry[entry]);
	pg_atomic_exchange_u64(&session->header->words[entry].id, 0);
	SetLatch(&session->proc->procLatch); /* it may wait for a free entry */
}

/* ---- events ---------------------------------------------------- */

void
chatglm_session_post(WorkerSession *session, int entry, const glm_event *event)
{
	Size		   size = sizeof(glm_event) + event->length;
	OutgoingEvent *out;

	(void) GLM_INJECT("worker-send");
	if (dlist_is_empty(&session->outgoing) && try_send(session, entry, event))
		return;

	out = MemoryContextAllocExtended(event_context, EVENT_OFFSET + size, MCXT_ALLOC_NO_OOM);
	if (out == NULL || GLM_INJECT("worker-event"))
	{
		session->loss = CHATGLM_LOSS_NO_MEMORY;
		SetLatch(MyLatch);
		return;
	}
	out->entry = entry;
	memcpy(OUTGOING(out), event, size);
	dlist_push_tail(&session->outgoing, &out->link);
	charge_event(session, out, 1);
}

/* An event has come into the list of outgoing ones, or leaves it. */
static void
charge_event(WorkerSession *session, const OutgoingEvent *out, int sign)
{
	WorkerEntry *entry = &session->entry[out->entry];
	int64		 bytes = sign * (int64) (sizeof(glm_event) + OUTGOING(out)->length);

	if (entry->id != OUTGOING(out)->id)
		return; /* its request was cancelled */
	entry->unread += bytes;
	chatglm_room_charge(entry->place, entry->id, 0, bytes);
}

static void
send_outgoing(WorkerSession *session)
{
	while (!dlist_is_empty(&session->outgoing))
	{
		OutgoingEvent *out = dlist_head_element(OutgoingEvent, link, &session->outgoing);

		if (!try_send(session, out->entry, OUTGOING(out)))
			return;
		charge_event(session, out, -1);
		dlist_delete(&out->link);
		pfree(out);
	}
}

/*
 * False when the queue is full.  Events for a detached queue are lost; the request queue
 * is detached as well, and the session will be dropped for it.
 */
static bool
try_send(WorkerSession *session, int entry, const glm_event *event)
{
	bool last = event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR;

	if (chatglm_mq_send(session->replies, sizeof(glm_event) + event->length, event) ==
		SHM_MQ_WOULD_BLOCK)
		return false;
	/* the entry may belong to another request now, if this one was cancelled */
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
		charge_event(session, out, -1);
		dlist_delete(iter.cur);
		pfree(out);
	}
}
