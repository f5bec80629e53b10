/*
 * reply.h - tickets, and events on their way to the host.
 */
#ifndef GLM_REPLY_H
#define GLM_REPLY_H

#include <pthread.h>

#include "engine/base/base.h"

typedef struct glm_ticket
{
	glm_request *request;	  /* the engine's copy; NULL while free */
	int64_t		 deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
	atomic_bool	 cancelled;
	atomic_uint	 taken;		/* TOKEN events the reader has */
	atomic_uint	 generated; /* tokens of the answer so far */
	atomic_int	 stage;		/* glm_stage, but for GLM_STAGE_PAUSED */
	bool		 stream;	/* as the request says; set before it is submitted */
	glm_timing	 timing;	/* of whoever has the ticket */
} glm_ticket;

/* ---- outbox.c ------------------------------------------------------------------------------- */

typedef struct glm_outbox
{
	pthread_mutex_t lock;
	pthread_cond_t	room; /* signalled when the host took something */
	uint8_t		   *ring;
	size_t			head;	/* bytes ever taken */
	size_t			tail;	/* bytes ever put */
	int				fd;		/* eventfd, readable while the ring holds events */
	bool			closed; /* the engine is going: drop everything */
} glm_outbox;

extern bool glm_outbox_open(glm_outbox *box, glm_error *err);
extern void glm_outbox_close(glm_outbox *box); /* wakes and refuses writers */
extern void glm_outbox_free(glm_outbox *box);
/* Puts header and payload (header->length bytes); waits for room. */
extern void glm_outbox_put(glm_outbox *box, const glm_event *header, const void *payload);
extern bool glm_outbox_take(glm_outbox *box, glm_event *buf);

/* ---- reply.c: events, as the engine's threads send them ---------------------------------------- */

/* Sends bytes as RESULT events, as many as it takes. */
extern void glm_send_result(glm_engine *engine, int ticket, const void *bytes, size_t n);
/* The same of LOGPROBS events. */
extern void glm_send_told(glm_engine *engine, int ticket, const void *bytes, size_t n);
/* The terminal events: free the ticket's request; the ticket is the host's again. */
extern void glm_send_usage(glm_engine *engine, int ticket, glm_finish finish,
						   const glm_event *usage);
extern void glm_send_done(glm_engine *engine, int ticket, glm_finish finish, int prompt_tokens,
						  int completion_tokens);
extern void glm_send_error(glm_engine *engine, int ticket, const glm_error *err);

/* Has this request been cancelled, or is its time up?  Says so in *err. */
extern bool glm_ticket_ended(const glm_ticket *ticket, glm_error *err);

#endif /* GLM_REPLY_H */
