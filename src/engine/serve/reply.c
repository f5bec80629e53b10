/*
 * reply.c - how requests end, and what is sent to their readers.
 */
#include "engine/serve/engine.h"

#include <stdlib.h>
#include <string.h>

bool
glm_ticket_ended(const glm_ticket *ticket, glm_error *err)
{
	if (atomic_load(&ticket->cancelled))
	{
		glm_fail(err, GLM_CANCELLED, "the request was cancelled");
		return true;
	}
	if (ticket->deadline_ns != 0 && glm_now_ns() >= ticket->deadline_ns)
	{
		glm_fail(err, GLM_TIMED_OUT, "the request took longer than %d ms",
				 ticket->request->timeout_ms);
		glm_advise(err, GLM_ADVICE_TIMEOUT);
		return true;
	}
	return false;
}

bool
glm_engine_lost(const glm_engine *e, glm_error *err)
{
	if (!atomic_load(&e->lost))
		return false;
	*err = e->lost_why;
	return true;
}

static void
send_pieces(glm_engine *e, int ticket, glm_event_kind kind, const void *bytes, size_t n)
{
	glm_event event = {.kind = kind, .ticket = ticket, .id = e->ticket[ticket].request->id};

	for (size_t at = 0; at < n; at += event.length)
	{
		event.length = n - at < GLM_EVENT_PAYLOAD ? n - at : GLM_EVENT_PAYLOAD;
		glm_outbox_put(&e->outbox, &event, (const char *) bytes + at);
	}
}

void
glm_send_result(glm_engine *e, int ticket, const void *bytes, size_t n)
{
	send_pieces(e, ticket, GLM_EVENT_RESULT, bytes, n);
}

void
glm_send_told(glm_engine *e, int ticket, const void *bytes, size_t n)
{
	send_pieces(e, ticket, GLM_EVENT_LOGPROBS, bytes, n);
}

/* Puts the last event of a request; after it the ticket is not ours. */
static void
send_terminal(glm_engine *e, int ticket, glm_event *event, const void *payload)
{
	glm_ticket *t = &e->ticket[ticket];

	event->ticket = ticket;
	event->id = t->request->id;
	t->timing.stage = (glm_stage) atomic_load(&t->stage);
	t->timing.ended_ns = glm_now_ns();
	free(t->request);
	t->request = NULL;
	glm_outbox_put(&e->outbox, event, payload);
}

void
glm_send_usage(glm_engine *e, int ticket, glm_finish finish, const glm_event *usage)
{
	glm_event event = *usage;

	event.kind = GLM_EVENT_DONE;
	event.finish = finish;
	atomic_fetch_add(&e->count.completed, 1);
	send_terminal(e, ticket, &event, NULL);
}

void
glm_send_done(glm_engine *e, int ticket, glm_finish finish, int prompt_tokens,
			  int completion_tokens)
{
	glm_event usage = {.prompt_tokens = prompt_tokens, .completion_tokens = completion_tokens};

	glm_send_usage(e, ticket, finish, &usage);
}

void
glm_send_error(glm_engine *e, int ticket, const glm_error *err)
{
	union
	{
		glm_event event;
		char	  bytes[sizeof(glm_event) + GLM_ERROR_PAYLOAD];
	} buffer;

	glm_event_set_error(&buffer.event, err);
	atomic_fetch_add(err->status == GLM_CANCELLED ? &e->count.cancelled : &e->count.failed, 1);
	send_terminal(e, ticket, &buffer.event, buffer.event.payload);
}
