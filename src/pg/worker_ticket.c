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

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

#include "measures.h"
#include "room.h"
#include "shared.h"
#include "worker_engine.h"
#include "worker_models.h"
#include "worker_session.h"
#include "worker_ticket.h"

typedef struct Ticket
{
	uint64		   id;		/* of the request; 0 = unused */
	WorkerSession *session; /* NULL: gone */
	int			   entry;
	int			   place;	  /* given back when the engine is done */
	bool		   abandoned; /* events are dropped */
	bool		   marked;	  /* somebody else wants it cancelled */
	glm_kind	   kind;
	char		   label[NAMEDATALEN]; /* UTF-8; empty: none */
	uint32		   taken;			   /* as last told to the engine */
	int32		   tokens;			   /* of its answer, as last counted */
	glm_stage	   stage;			   /* as last asked */
} Ticket;

static Ticket *tickets; /* [chatglm_shared->n_requests] */
static int	   live;	/* tickets in use */

static void describe_request(const WorkerSession *session, int entry, ChatglmRequestStat *stat);
static void copy_text(char *to, size_t size, const glm_request *request, glm_span span);
static void show_request(int number, const ChatglmRequestStat *stat);
static void hide_request(int number);
static bool end_ticket(int number);

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
void
chatglm_ticket_admit(WorkerSession *session, int entry)
{
	WorkerEntry		  *given = &session->entry[entry];
	ChatglmRequestStat stat = {0};
	glm_error		   err = {0};
	Ticket			  *ticket;
	char			   label[NAMEDATALEN] = "";
	int				   number = -1;

	/* the texts, which may have megabytes, the engine checks beside everything else */
	if (glm_request_check_frame(given->block, given->size, &err))
	{
		describe_request(session, entry, &stat);
		copy_text(label, sizeof(label), given->block, given->block->label);
		number = chatglm_engine_give(given->block, &err);
	}
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
	strlcpy(ticket->label, label, sizeof(ticket->label));
	live++;
	show_request(number, &stat);
}

void
chatglm_ticket_refuse(WorkerSession *session, int entry, const glm_error *err)
{
	WorkerEntry *refused = &session->entry[entry];
	union
	{
		glm_event event;
		char	  bytes[sizeof(glm_event) + GLM_ERROR_PAYLOAD];
	} buffer;

	glm_event_set_error(&buffer.event, err);
	buffer.event.id = refused->id;
	buffer.event.ticket = -1;
	chatglm_measure_end(&(ChatglmEnded){.role = session->header->words[entry].role,
										.database = session->header->database,
										.status = err->status});
	if (refused->block != NULL)
		chatglm_block_free(refused->block);
	refused->block = NULL;
	chatglm_room_give(refused->place, refused->id);
	chatglm_session_post(session, entry, &buffer.event);
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
}

/* ---- what others see -------------------------------------------------- */

/* A text of a request, UTF-8, cut between characters; `to` is all zero. */
static void
copy_text(char *to, size_t size, const glm_request *request, glm_span span)
{
	const char *text = glm_request_text(request, span);

	if (text != NULL)
		memcpy(to, text, pg_encoding_mbcliplen(PG_UTF8, text, strlen(text), size - 1));
}

/* What others will see of the request of an entry. */
static void
describe_request(const WorkerSession *session, int entry, ChatglmRequestStat *stat)
{
	const glm_request *request = session->entry[entry].block;

	stat->id = request->id;
	stat->pid = session->pid;
	stat->role = session->header->words[entry].role;
	stat->database = session->header->database;
	stat->kind = request->kind;
	stat->form = request->form;
	stat->stream = request->stream;
	stat->in_flight = session->header->words[entry].in_flight;
	copy_text(stat->model, sizeof(stat->model), request, request->model);
	stat->started_us = GetCurrentTimestamp();
}

static void
show_request(int number, const ChatglmRequestStat *stat)
{
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_request_stats()[number] = *stat;
	LWLockRelease(chatglm_shared->lock);
}

static void
hide_request(int number)
{
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_request_stats()[number].id = 0;
	LWLockRelease(chatglm_shared->lock);
}

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
		.role = stat->role,
		.database = stat->database,
		.model = stat->model,
		.label = tickets[event->ticket].label,
		.kind = (glm_kind) stat->kind,
		.status = event->kind == GLM_EVENT_ERROR ? (glm_status) event->status : GLM_OK,
		.timing = chatglm_engine_timing(event->ticket)});
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

	hide_request(number);
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
