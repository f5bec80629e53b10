/*
 * session.c - a backend's line to the worker.
 *
 * A session makes one dynamic shared memory segment at its first request and
 * keeps it: a header of words, a queue of requests, a queue of replies.  It
 * puts the segment's handle into the slot of its process number and wakes the
 * worker, which attaches.  The line is as good as the worker's generation: when
 * that has changed, the worker that held the other end is gone, and the next
 * request makes a new line.
 *
 * Neither side ever waits inside a queue.  Here the sends and receives are tried,
 * and between tries the backend waits on its own latch and serves interrupts.
 *
 * A block is sent in pieces (glm_fragment).  An interrupt may end a send halfway; the
 * queue then still expects the rest of the piece it has begun with, but not the
 * pieces behind it.  So the piece being sent belongs to the session, not to the call,
 * and the next send or look finishes it (its request is marked as cancelled by then).
 *
 * Locks: ChatglmShared.lock for the slot; the words are atomics.
 */
#include "chatglm.h"

/* libpq-be.h would include GSSAPI's headers, which need not be installed. */
#undef ENABLE_GSS
#include "libpq/libpq.h"
#include "libpq/libpq-be.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "room.h"
#include "segment.h"
#include "session.h"
#include "session_errors.h"
#include "shared.h"

#define WORKER_WAIT_MS 3000 /* for a worker that restarts within a second */
#define WORKER_RETRY_MS 10
#define CLIENT_CHECK_MS 200 /* between looks at the client's socket */

typedef struct Session
{
	dsm_segment			 *segment; /* NULL: no line */
	ChatglmSessionHeader *header;
	shm_mq_handle		 *requests;
	shm_mq_handle		 *replies;
	uint32				  generation; /* of the worker that was told of the segment */
	bool				  detached;	  /* the other end was found missing */
	bool				  unreadable; /* or sent what is no event */
	glm_fragment		 *piece;	  /* on its way; memory for any one */
	Size				  piece_size; /* of the message; 0: none is on its way */
} Session;

static Session	   session;
static ChatglmLoss last_loss; /* of the line before */

static bool			 worker_present(void);
static void			 create_segment(void);
static bool			 announce_segment(void);
static bool			 withdraw_segment(dsm_handle handle);
static void			 give_room_back(void);
static shm_mq_result try_piece(void);
static void			 wait_on_latch(ChatglmWait wait, long timeout_ms);
static void			 check_client(void);

/* ---- connecting ------------------------------------------------- */

static void
disconnect_at_exit(int code, Datum arg)
{
	chatglm_session_disconnect();
}

void
chatglm_session_connect(void)
{
	static bool registered = false;
	TimestampTz deadline;

	chatglm_require_preload();
	if (chatglm_session_alive())
		return;
	chatglm_session_disconnect();

	if (!registered)
	{
		before_shmem_exit(disconnect_at_exit, (Datum) 0);
		registered = true;
	}

	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WORKER_WAIT_MS);
	for (;;)
	{
		if (worker_present())
		{
			create_segment();
			if (announce_segment())
				return;
			chatglm_session_disconnect();
		}
		if (GetCurrentTimestamp() >= deadline || chatglm_worker_cannot_start())
			chatglm_worker_missing();
		wait_on_latch(CHATGLM_WAIT_WORKER, WORKER_RETRY_MS);
	}
}

bool
chatglm_session_alive(void)
{
	/* nobody else writes "refused" into our slot, and that wakes us */
	return session.segment != NULL && !session.detached &&
		   chatglm_slots()[chatglm_proc_number()].state != CHATGLM_SLOT_REFUSED &&
		   session.generation == pg_atomic_read_u32(&chatglm_shared->generation);
}

void
chatglm_session_disconnect(void)
{
	if (session.segment == NULL)
		return;
	last_loss = chatglm_session_loss();

	/* a worker that never saw the segment cannot give back what its words have taken */
	if (withdraw_segment(dsm_segment_handle(session.segment)))
		give_room_back();

	/* Not left to dsm_detach, which would leak the handles' memory. */
	if (session.requests != NULL)
		shm_mq_detach(session.requests);
	if (session.replies != NULL)
		shm_mq_detach(session.replies);
	dsm_detach(session.segment);
	if (session.piece != NULL)
		pfree(session.piece);
	memset(&session, 0, sizeof(session));
}

/* What the worker has said counts, though it may have ended since. */
ChatglmLoss
chatglm_session_loss(void)
{
	ChatglmLoss said;

	if (session.segment == NULL)
		return last_loss;
	if (session.unreadable)
		return CHATGLM_LOSS_REPLY;
	said = pg_atomic_read_u32(&session.header->loss);
	if (said != CHATGLM_LOSS_WORKER)
		return said;
	return session.generation != pg_atomic_read_u32(&chatglm_shared->generation)
			   ? CHATGLM_LOSS_WORKER
			   : CHATGLM_LOSS_DROPPED;
}

void
chatglm_session_rest(void)
{
	if (session.piece_size > 0)
		chatglm_session_disconnect();
}

static bool
worker_present(void)
{
	bool present;

	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	present = chatglm_shared->worker_latch != NULL;
	LWLockRelease(chatglm_shared->lock);
	return present;
}

/*
 * Makes the segment.  An error on the way leaves a session that
 * chatglm_session_disconnect() can clear.
 */
static void
create_segment(void)
{
	MemoryContext		  old_context = MemoryContextSwitchTo(TopMemoryContext);
	ChatglmSessionHeader *header;
	shm_mq				 *requests;
	shm_mq				 *replies;

	session.segment = dsm_create(CHATGLM_SEGMENT_SIZE, 0);
	dsm_pin_mapping(session.segment);

	header = dsm_segment_address(session.segment);
	pg_atomic_init_u32(&header->doorbell, 0);
	pg_atomic_init_u32(&header->loss, 0);
	header->database = MyDatabaseId;
	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
	{
		pg_atomic_init_u64(&header->words[i].cancel, 0);
		pg_atomic_init_u64(&header->words[i].id, 0);
		pg_atomic_init_u32(&header->words[i].taken, 0);
		header->words[i].role = InvalidOid;
		header->words[i].in_flight = false;
		header->words[i].place = -1;
	}
	session.header = header;
	session.piece = palloc(GLM_FRAGMENT_HEADER + CHATGLM_PIECE_SIZE);

	requests = shm_mq_create(chatglm_request_queue(header), CHATGLM_QUEUE_SIZE);
	replies = shm_mq_create(chatglm_reply_queue(header), CHATGLM_QUEUE_SIZE);
	shm_mq_set_sender(requests, MyProc);
	shm_mq_set_receiver(replies, MyProc);
	session.requests = shm_mq_attach(requests, session.segment, NULL);
	session.replies = shm_mq_attach(replies, session.segment, NULL);

	MemoryContextSwitchTo(old_context);
}

/* Shows the segment to the worker; false when that has just gone. */
static bool
announce_segment(void)
{
	ChatglmSlot *slot = &chatglm_slots()[chatglm_proc_number()];
	bool		 present;

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	present = chatglm_shared->worker_latch != NULL;
	if (present)
	{
		session.generation = pg_atomic_read_u32(&chatglm_shared->generation);
		slot->handle = dsm_segment_handle(session.segment);
		slot->pid = MyProcPid;
		slot->state = CHATGLM_SLOT_NEW;
		pg_atomic_exchange_u32(&chatglm_shared->news, 1);
		SetLatch(chatglm_shared->worker_latch);
	}
	LWLockRelease(chatglm_shared->lock);
	return present;
}

/*
 * Frees our slot, unless it never was ours or a new worker freed it.  True when no
 * worker has come to see it.
 */
static bool
withdraw_segment(dsm_handle handle)
{
	ChatglmSlot *slot = &chatglm_slots()[chatglm_proc_number()];
	bool		 unseen = true;

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	if (slot->state != CHATGLM_SLOT_FREE && slot->handle == handle)
	{
		unseen = slot->state != CHATGLM_SLOT_ATTACHED;
		slot->state = CHATGLM_SLOT_FREE;
		slot->pid = 0;
	}
	LWLockRelease(chatglm_shared->lock);
	return unseen;
}

static void
give_room_back(void)
{
	for (int i = 0; session.header != NULL && i < CHATGLM_SESSION_REQUESTS; i++)
	{
		ChatglmRequestWords *words = &session.header->words[i];

		chatglm_room_give(words->place, pg_atomic_read_u64(&words->id));
	}
}

/* ---- words ------------------------------------------------------------ */

int
chatglm_session_claim(uint64 id, int place, bool in_flight, const ChatglmQuota *quota)
{
	for (int i = 0; i < CHATGLM_SESSION_REQUESTS; i++)
	{
		ChatglmRequestWords *words = &session.header->words[i];

		if (pg_atomic_read_u64(&words->id) != 0)
			continue;
		pg_atomic_write_u64(&words->cancel, 0);
		pg_atomic_write_u32(&words->taken, 0);
		words->role = GetUserId();
		words->in_flight = in_flight;
		words->place = place;
		memcpy(words->quota, quota, sizeof(words->quota));
		/* last, and with a barrier: now the entry means something */
		pg_atomic_exchange_u64(&words->id, id);
		return i;
	}
	return -1;
}

bool
chatglm_session_ending(void)
{
	for (int i = 0; session.header != NULL && i < CHATGLM_SESSION_REQUESTS; i++)
	{
		ChatglmRequestWords *words = &session.header->words[i];
		uint64				 id = pg_atomic_read_u64(&words->id);

		if (id != 0 && pg_atomic_read_u64(&words->cancel) == id)
			return true;
	}
	return false;
}

ChatglmRequestWords *
chatglm_session_words(int entry, uint64 id)
{
	ChatglmRequestWords *words;

	if (session.header == NULL)
		return NULL;
	words = &session.header->words[entry];
	return pg_atomic_read_u64(&words->id) == id ? words : NULL;
}

void
chatglm_session_ring(void)
{
	/* an exchange is a full barrier: the words are there before the bell */
	pg_atomic_exchange_u32(&session.header->doorbell, 1);
	chatglm_wake_worker();
}

/* ---- queues ----------------------------------------------------------- */

/*
 * The first piece is the session's before anything is waited for: the worker will come to
 * know of every request that has an entry.
 */
void
chatglm_session_send(const glm_request *block)
{
	Assert(session.piece_size == 0);
	for (uint32 offset = 0; offset < block->size;)
	{
		uint32 length = Min(block->size - offset, CHATGLM_PIECE_SIZE);

		if (offset > 0)
			chatglm_session_flush();
		session.piece->id = block->id;
		session.piece->size = block->size;
		session.piece->offset = offset;
		memcpy(session.piece->bytes, (const char *) block + offset, length);
		session.piece_size = GLM_FRAGMENT_HEADER + length;
		offset += length;
	}
	chatglm_session_flush();
}

void
chatglm_session_push(void)
{
	if (session.piece_size > 0 && chatglm_session_alive())
		(void) try_piece();
}

void
chatglm_session_flush(void)
{
	while (session.piece_size > 0)
	{
		switch (try_piece())
		{
			case SHM_MQ_SUCCESS:
				break;
			case SHM_MQ_WOULD_BLOCK:
				chatglm_session_wait(CHATGLM_WAIT_SEND);
				break;
			case SHM_MQ_DETACHED:
				chatglm_session_lost(chatglm_session_loss());
		}
	}
}

static shm_mq_result
try_piece(void)
{
	shm_mq_result result = SHM_MQ_DETACHED;

	if (!GLM_INJECT("session-send") && chatglm_session_alive())
		result = chatglm_mq_send(session.requests, session.piece_size, session.piece);
	if (result == SHM_MQ_SUCCESS)
		session.piece_size = 0;
	else if (result == SHM_MQ_DETACHED)
		session.detached = true;
	return result;
}

const glm_event *
chatglm_session_receive(void)
{
	Size	   size;
	void	  *data;
	glm_event *event;

	if (session.segment == NULL || session.detached)
		return NULL;

	switch (shm_mq_receive(session.replies, &size, &data, true))
	{
		case SHM_MQ_WOULD_BLOCK:
			return NULL;
		case SHM_MQ_DETACHED:
			session.detached = true;
			return NULL;
		case SHM_MQ_SUCCESS:
			break;
	}

	event = data;
	if (GLM_INJECT("session-receive") || !glm_event_check(event, size))
	{
		session.detached = session.unreadable = true;
		chatglm_session_lost(CHATGLM_LOSS_REPLY);
	}
	return event;
}

/* ---- waiting ---------------------------------------------------------- */

void
chatglm_session_wait(ChatglmWait wait)
{
	check_client();
	/* looking up functions and models left one, which would hold vacuum up everywhere */
	InvalidateCatalogSnapshotConditionally();
	wait_on_latch(wait, CLIENT_CHECK_MS);
}

static void
wait_on_latch(ChatglmWait wait, long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms,
					 chatglm_wait_event(wait));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * A backend that waits here does not read from its client and would not notice
 * that it is gone before the answer is complete.
 */
static void
check_client(void)
{
	static TimestampTz last_check = 0;
	TimestampTz		   now = GetCurrentTimestamp();

	if (now - last_check < CLIENT_CHECK_MS * INT64CONST(1000))
		return;
	last_check = now;

	if (MyProcPort != NULL && whereToSendOutput == DestRemote && !chatglm_client_connected())
	{
		ClientConnectionLost = true;
		InterruptPending = true;
	}
}
