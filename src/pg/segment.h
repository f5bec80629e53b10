/*
 * segment.h - the shared memory of one session, as its backend and the worker see it.
 *
 * It has a header of words that both sides touch without locks, a queue of requests and a
 * queue of replies.
 */
#ifndef CHATGLM_SEGMENT_H
#define CHATGLM_SEGMENT_H

#include "chatglm.h"

#include "datatype/timestamp.h"

#define CHATGLM_SESSION_REQUESTS 64	   /* requests in flight in one session */
#define CHATGLM_QUEUE_SIZE (32 * 1024) /* bytes of each shm_mq */
#define CHATGLM_PIECE_SIZE 8192		   /* most bytes of a block in one message */

/* What a role may take by all of its requests in a database together; -1: as much as it likes. */
typedef struct ChatglmQuota
{
	Oid	  role;		  /* InvalidOid: there is none */
	int32 concurrent; /* requests computed at a time */
	int32 queued;	  /* calls that wait for that */
	int64 tokens_per_minute;
	int64 tokens_per_day;
} ChatglmQuota;

#define CHATGLM_MOST_TOKENS (INT64CONST(1) << 53) /* more than any role will ever use */
#define CHATGLM_QUOTAS 2 /* of the role that logged in, and of another current user */

/* A limit that the worker refused a request for: payload of an ERROR event with this advice. */
#define CHATGLM_ADVICE_LIMIT GLM_N_ADVICE

typedef enum ChatglmLimitId
{
	CHATGLM_LIMIT_CONCURRENT,
	CHATGLM_LIMIT_QUEUED,
	CHATGLM_LIMIT_MINUTE,
	CHATGLM_LIMIT_DAY
} ChatglmLimitId;

typedef struct ChatglmLimitHit
{
	ChatglmLimitId limit;
	Oid			   role;
	int64		   figure; /* the limit itself */
	int64		   used;   /* tokens, of a limit of tokens */
	TimestampTz	   until;  /* 0: not known */
} ChatglmLimitHit;

/*
 * One request of a session, as both sides see it without a lock.  The backend
 * fills a free entry and sets its id last; the worker sets the id back to 0
 * when it has nothing more to do for the request.  Only while id is its own
 * may a backend write the other words.
 */
typedef struct ChatglmRequestWords
{
	pg_atomic_uint64 cancel;	/* id of the request to cancel; 0 = none */
	pg_atomic_uint64 id;		/* id of the request living here; 0 = free */
	pg_atomic_uint32 taken;		/* TOKEN events its backend has read */
	Oid				 role;		/* who asks; written before the id, as is the next */
	bool			 in_flight; /* one of several rows that are asked together */
	int				 place;		/* that it has taken, see room.c */
	ChatglmQuota	 quota[CHATGLM_QUOTAS];
} ChatglmRequestWords;

/* Why a session's requests are lost. */
typedef enum ChatglmLoss
{
	CHATGLM_LOSS_WORKER,	/* the worker ended */
	CHATGLM_LOSS_DROPPED,	/* it let go of the session, and did not say why */
	CHATGLM_LOSS_MESSAGE,	/* it could not read what came */
	CHATGLM_LOSS_NO_MEMORY, /* it had no memory for what came, or for results */
	CHATGLM_LOSS_REPLY,		/* the backend could not read what the worker sent */
} ChatglmLoss;

/* Start of a session's segment; the request and the reply queue follow. */
typedef struct ChatglmSessionHeader
{
	pg_atomic_uint32	doorbell; /* set by the backend: look at the words below */
	pg_atomic_uint32	loss;	  /* ChatglmLoss: why the worker lets go; 0: it has not */
	Oid					database; /* of the session */
	ChatglmRequestWords words[CHATGLM_SESSION_REQUESTS];
} ChatglmSessionHeader;

#define CHATGLM_SEGMENT_SIZE (MAXALIGN(sizeof(ChatglmSessionHeader)) + 2 * CHATGLM_QUEUE_SIZE)

/* Where the two queues of a segment lie. */
static inline void *
chatglm_request_queue(ChatglmSessionHeader *header)
{
	return (char *) header + MAXALIGN(sizeof(ChatglmSessionHeader));
}

static inline void *
chatglm_reply_queue(ChatglmSessionHeader *header)
{
	return (char *) chatglm_request_queue(header) + CHATGLM_QUEUE_SIZE;
}

/* NULL: it has gone, or *refused: it cannot be mapped here, which the log has. */
extern dsm_segment *chatglm_segment_attach(dsm_handle handle, bool *refused);

/* shm_mq_receive() that does not wait; an ERROR is logged, *loss says which, and it is as if detached. */
extern shm_mq_result chatglm_mq_receive(shm_mq_handle *queue, Size *size, void **data,
										ChatglmLoss *loss);

#endif /* CHATGLM_SEGMENT_H */
