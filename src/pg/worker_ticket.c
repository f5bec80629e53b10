/*
 * worker_ticket.c - the requests the engine has, by ticket.
 *
 * The engine numbers its requests by tickets; the table here has the session of each
 * and shows it in chatglm_request_stats() at the same index.  A ticket stays in
 * use until its last event was polled, even when nobody wants the events any
 * more: its backend cancelled it, or is gone.  Then, too, its room in the queue is
 * given back.
 */
#include "chatglm.h"

#include "utils/timestamp.h"

#include "measures.h"
#include "room.h"
#include "shared.h"
#include "worker_engine.h"
#include "worker_models.h"
#include "worker_session.h"
#include "worker_shown.h"
#include "worker_ticket.h"

#define LONGEST_US (3600 * INT64CONST(1000000)) /* between looks at those held */

typedef struct Ticket
{
	uint64		   id;		/* of the request; 0 = unused */
	WorkerSession *session; /* NULL: gone */
	int			   entry;
	int			   place;	  /* given back when the engine is done */
	bool		   abandoned; /* events are dropped */
	bool		   marked;	  /* somebody else wants it cancelled */
	glm_kind	   kind;
	bool		   stream;
	ChatglmClaim   claim;
	char		   label[NAMEDATALEN]; /* UTF-8; empty: none */
	uint32		   taken;			   /* as last told to the engine */
	int32		   tokens;			   /* of its answer, as last counted */
	glm_stage	   stage;			   /* as last asked */
} Ticket;

static Ticket *tickets; /* [chatglm_shared->n_requests] */
static int	   live;	/* tickets in use */

static TimestampTz next_look = DT_NOEND; /* at those held, if nothing happens before */

static bool end_ticket(int number);
static bool is_unlimited(WorkerSession *session, int entry);
static bool may_go(WorkerSession *session, int entry);

void
chatglm_tickets_init(void)
{
	tickets = MemoryContextAllocZero(TopMemoryContext, chatglm_shared->n_requests * sizeof(Ticket));
}

int
chatglm_tickets_live(void)
{
	return live;
}

/* ---- requests --------------------------------------------------------- */

/*
 * The engine may be done with the request, and have freed it, before we have shown it to
 * others; so what is shown is kept before.
 */
static void
give(WorkerSession *session, int entry)
{
	WorkerEntry		  *given = &session->entry[entry];
	ChatglmRequestStat stat = {0};
	glm_error		   err = {0};
	Ticket			  *ticket;
	char			   label[NAMEDATALEN] = "";
	int				   number;

	chatglm_describe_request(session, entry, &stat);
	chatglm_copy_text(label, sizeof(label), given->block, given->block->label);
	if (given->block->kind == GLM_QUANTIZE)
		chatglm_show_target(given->block);
	number = chatglm_engine_give(given->block, &err);
	if (number < 0)
	{
		chatglm_ticket_refuse(session, entry, &err);
		return;
	}

	given->block = NULL;
	given->ticket = number;
	ticket = &tickets[number];
	memset(ticket, 0, sizeof(*ticket));
	ticket->id = given->id;
	ticket->session = session;
	ticket->entry = entry;
	ticket->place = given->place;
	ticket->kind = stat.kind;
	ticket->stream = stat.stream;
	ticket->claim = given->claim;
	chatglm_accounts_begin(&ticket->claim);
	strlcpy(ticket->label, label, sizeof(ticket->label));
	live++;
	chatglm_show_request(number, &stat);
}

void
chatglm_ticket_admit(WorkerSession *session, int entry)
{
	WorkerEntry *given = &session->entry[entry];
	glm_error	 err = {0};

	/* the texts, which may have megabytes, the engine checks beside everything else */
	if (!glm_request_check_frame(given->block, given->size, &err))
		chatglm_ticket_refuse(session, entry, &err);
	else if (is_unlimited(session, entry) || may_go(session, entry))
		give(session, entry);
}

/* An event of an error, without what it says. */
typedef union ErrorEvent
{
	glm_event event;
	char	  bytes[sizeof(glm_event) + GLM_ERROR_PAYLOAD];
} ErrorEvent;

static void
refuse(WorkerSession *session, int entry, ErrorEvent *buffer)
{
	WorkerEntry *refused = &session->entry[entry];

	buffer->event.id = refused->id;
	buffer->event.ticket = -1;
	chatglm_measure_end(&(ChatglmEnded){.login = session->proc->roleId,
										.role = session->header->words[entry].role,
										.database = session->header->database,
										.status = (glm_status) buffer->event.status});
	chatglm_ticket_unhold(refused);
	if (refused->block != NULL)
		chatglm_block_free(refused->block);
	refused->block = NULL;
	chatglm_room_give(refused->place, refused->id);
	chatglm_session_post(session, entry, &buffer->event);
}

void
chatglm_ticket_refuse(WorkerSession *session, int entry, const glm_error *err)
{
	ErrorEvent buffer;

	glm_event_set_error(&buffer.event, err);
	refuse(session, entry, &buffer);
}

StaticAssertDecl(sizeof(ChatglmLimitHit) <= GLM_ERROR_PAYLOAD, "an event has room for it");

/* The backend, which knows the names of roles, finds the words. */
static void
refuse_for_limit(WorkerSession *session, int entry, const ChatglmLimitHit *hit)
{
	ErrorEvent buffer = {.event = {.kind = GLM_EVENT_ERROR,
								   .status = GLM_BUSY,
								   .advice = CHATGLM_ADVICE_LIMIT,
								   .length = sizeof(*hit)}};

	memcpy(buffer.event.payload, hit, sizeof(*hit));
	refuse(session, entry, &buffer);
}

void
chatglm_ticket_abandon(int number, bool session_gone)
{
	tickets[number].abandoned = true;
	if (session_gone)
		tickets[number].session = NULL;
	chatglm_engine_cancel(number);
}

void
chatglm_ticket_taken(int number)
{
	Ticket *ticket = &tickets[number];
	uint32	taken;

	taken = pg_atomic_read_u32(&ticket->session->header->words[ticket->entry].taken);
	if (taken == ticket->taken)
		return;
	ticket->taken = taken;
	chatglm_engine_taken(number, taken);
}

/* Of those held, which have no tickets; the lock is not held while they are answered. */
static void
cancel_held(void)
{
	const glm_error err = {.status = GLM_CANCELLED, .message = "the request was cancelled"};

	for (int class = 0; class < CHATGLM_HELD_CLASSES; class ++)
	{
		dlist_mutable_iter iter;

		dlist_foreach_modify(iter, chatglm_limits_held(class))
		{
			ChatglmClaim *claim = dlist_container(ChatglmClaim, link, iter.cur);

			if (chatglm_held_marked(&claim->session->entry[claim->entry]))
				chatglm_ticket_refuse(claim->session, claim->entry, &err);
		}
	}
}

void
chatglm_tickets_cancel_marked(void)
{
	ChatglmRequestStat *stats = chatglm_request_stats();

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < chatglm_shared->n_requests; i++)
	{
		tickets[i].marked = stats[i].id != 0 && stats[i].cancel;
		stats[i].cancel = false;
	}
	LWLockRelease(chatglm_shared->lock);

	for (int i = 0; i < chatglm_shared->n_requests; i++)
	{
		if (tickets[i].marked)
			chatglm_engine_cancel(i);
	}
	cancel_held();
}

/* ---- limits of roles ---------------------------------------------------- */

/* Administration; a role that is over its limits can go on with that. */
static bool
is_unlimited(WorkerSession *session, int entry)
{
	WorkerEntry *given = &session->entry[entry];

	given->claim.batch = given->block->batch || session->header->words[entry].in_flight;
	if (given->block->kind != GLM_LOAD && given->block->kind != GLM_UNLOAD &&
		given->block->kind != GLM_QUANTIZE)
		return false;
	memset(given->claim.account, 0, sizeof(given->claim.account));
	return true;
}

/* Is all that the account has running streams of this session, which nobody reads while it waits? */
static bool
waits_for_itself(const WorkerSession *session, const ChatglmAccount *account)
{
	for (int i = 0, seen = 0; seen < live; i++)
	{
		const Ticket *ticket = &tickets[i];

		if (ticket->id == 0)
			continue;
		seen++;
		if ((ticket->claim.account[0] == account || ticket->claim.account[1] == account) &&
			(ticket->session != session || !ticket->stream || ticket->abandoned))
			return false;
	}
	return true;
}

/* May it go to the engine?  If not it is held or refused, where it is not held already. */
static bool
may_go(WorkerSession *session, int entry)
{
	WorkerEntry	   *given = &session->entry[entry];
	TimestampTz		now = GetCurrentTimestamp();
	ChatglmLimitHit hit = {0};
	ChatglmMay		may = chatglm_limits_look(&given->claim, now, &hit);

	if (may == CHATGLM_MAY_GO)
	{
		chatglm_ticket_unhold(given);
		return true;
	}
	if (may == CHATGLM_MAY_WAIT && hit.limit == CHATGLM_LIMIT_CONCURRENT &&
		waits_for_itself(session, chatglm_limits_account(&given->claim, &hit)))
		may = CHATGLM_MAY_NOT;
	if (may == CHATGLM_MAY_NOT)
		refuse_for_limit(session, entry, &hit);
	else if (!given->claim.held)
	{
		given->claim.session = session;
		given->claim.entry = entry;
		chatglm_limits_hold(&given->claim, now);
		chatglm_show_held(session, entry);
		next_look = now; /* its time limit is one of the times to look at */
	}
	next_look = Min(next_look, hit.until != 0 ? hit.until : DT_NOEND);
	return false;
}

void
chatglm_ticket_unhold(WorkerEntry *entry)
{
	if (!entry->claim.held)
		return;
	chatglm_hide_held(entry);
	chatglm_limits_unhold(&entry->claim);
}

/* The time that a request waited counts; when all is used up, it ends. */
static bool
takes_too_long(WorkerSession *session, int entry, TimestampTz now)
{
	WorkerEntry *waiting = &session->entry[entry];
	int			 timeout_ms = waiting->block->timeout_ms;
	TimestampTz	 end = waiting->claim.since + timeout_ms * INT64CONST(1000);
	glm_error	 err = {.status = GLM_TIMED_OUT, .advice = GLM_ADVICE_TIMEOUT};

	if (timeout_ms <= 0)
		return false;
	if (now < end)
	{
		next_look = Min(next_look, end);
		return false;
	}
	snprintf(err.message, sizeof(err.message), "the request took longer than %d ms", timeout_ms);
	chatglm_ticket_refuse(session, entry, &err);
	return true;
}

static void
serve_held(ChatglmClaim *claim, TimestampTz now)
{
	WorkerSession *session = claim->session;
	WorkerEntry	  *waiting = &session->entry[claim->entry];

	if (takes_too_long(session, claim->entry, now) || !may_go(session, claim->entry))
		return;
	if (waiting->block->timeout_ms > 0)
		waiting->block->timeout_ms -= (now - claim->since) / 1000;
	give(session, claim->entry);
}

long
chatglm_tickets_serve_held(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (chatglm_limits_moved() || now >= next_look)
	{
		next_look = DT_NOEND;
		for (int class = 0; class < CHATGLM_HELD_CLASSES; class ++)
		{
			dlist_mutable_iter iter;

			dlist_foreach_modify(iter, chatglm_limits_held(class))
				serve_held(dlist_container(ChatglmClaim, link, iter.cur), now);
		}
	}
	if (next_look == DT_NOEND)
		return -1;
	/* a wait has its bounds, a debt of tokens need not */
	return (long) (Max(0, Min(next_look - now, LONGEST_US)) / 1000) + 1;
}

/* ---- what others see -------------------------------------------------- */

void
chatglm_tickets_count_tokens(void)
{
	for (int i = 0, seen = 0; seen < live; i++)
	{
		if (tickets[i].id == 0)
			continue;
		tickets[i].tokens = chatglm_engine_generated(i);
		tickets[i].stage = chatglm_engine_stage(i);
		seen++;
	}
}

void
chatglm_tickets_show_tokens(void)
{
	ChatglmRequestStat *stats = chatglm_request_stats();

	for (int i = 0, seen = 0; seen < live; i++)
	{
		if (tickets[i].id == 0)
			continue;
		stats[i].tokens = tickets[i].tokens;
		stats[i].stage = tickets[i].stage;
		seen++;
	}
}

/* ---- events ----------------------------------------------------------- */

/* The event that was taken last, and its ticket as it was then. */
static union
{
	glm_event event;
	char	  bytes[GLM_EVENT_MAX];
} last;
static Ticket last_ticket;

/* Counts a request whose last event this is; only we change what is shown of it. */
static void
measure_end(const glm_event *event)
{
	const ChatglmRequestStat *stat = &chatglm_request_stats()[event->ticket];

	chatglm_measure_end(&(ChatglmEnded){
		.login = stat->login,
		.role = stat->role,
		.database = stat->database,
		.model = stat->model,
		.label = tickets[event->ticket].label,
		.kind = (glm_kind) stat->kind,
		.status = event->kind == GLM_EVENT_ERROR ? (glm_status) event->status : GLM_OK,
		.timing = chatglm_engine_timing(event->ticket)});
}

static void
end_claim(int number)
{
	const glm_timing *timing = chatglm_engine_timing(number);

	chatglm_accounts_end(&tickets[number].claim,
						 (int64) timing->prompt_tokens + timing->completion_tokens);
}

bool
chatglm_tickets_take_event(bool *publish_first)
{
	const glm_event *event = &last.event;

	*publish_first = false;
	if (!chatglm_engine_poll(&last.event))
		return false;
	if (event->ticket < 0 || event->ticket >= chatglm_shared->n_requests ||
		tickets[event->ticket].id != event->id)
		elog(ERROR, "event of unknown request " UINT64_FORMAT " from the chatglm engine",
			 (uint64) event->id);

	last_ticket = tickets[event->ticket];
	if (event->kind == GLM_EVENT_DONE || event->kind == GLM_EVENT_ERROR)
	{
		measure_end(event);
		end_claim(event->ticket);
		*publish_first = end_ticket(event->ticket);
	}
	else if (!last_ticket.abandoned)
		chatglm_ticket_taken(event->ticket);
	return true;
}

void
chatglm_tickets_post_event(void)
{
	if (!last_ticket.abandoned)
		chatglm_session_post(last_ticket.session, last_ticket.entry, &last.event);
}

/*
 * The engine is done with it.  True when what the views show is to be published: this was
 * all there was to do, or models have come or gone.
 */
static bool
end_ticket(int number)
{
	Ticket *ticket = &tickets[number];

	chatglm_hide_request(number);
	if (ticket->session == NULL)
		chatglm_room_give(ticket->place, ticket->id);
	else if (ticket->abandoned)
		chatglm_session_end(ticket->session, ticket->entry);
	else
		chatglm_session_done(ticket->session, ticket->entry);
	ticket->id = 0;
	live--;
	if (ticket->kind == GLM_UNLOAD)
		chatglm_models_unload_asked();
	return live == 0 || ticket->kind == GLM_LOAD || ticket->kind == GLM_UNLOAD;
}
