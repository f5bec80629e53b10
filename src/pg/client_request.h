/*
 * client_request.h - a request of a backend, as the files client*.c have it.
 */
#ifndef CHATGLM_CLIENT_REQUEST_H
#define CHATGLM_CLIENT_REQUEST_H

#include "client.h"
#include "limits.h"

#include "lib/ilist.h"

typedef enum ChatglmRequestState
{
	REQUEST_RUNNING,	/* its last event has not come yet */
	REQUEST_ENDED,		/* it has; perhaps it still waits in the file */
	REQUEST_LOST,		/* the line to the worker ended before */
	REQUEST_ROLLED_BACK /* its subtransaction did */
} ChatglmRequestState;

/* An event on file; the glm_event itself and two NULs follow. */
typedef struct ChatglmFiledEvent
{
	dlist_node link;
} ChatglmFiledEvent;

struct ChatglmRequest
{
	dlist_node			link;
	uint64				id;
	SubTransactionId	subid;
	ChatglmRequestState state;
	ChatglmLoss			loss;	   /* why it is lost */
	bool				in_flight; /* no reader holds it up */
	bool				stream;	   /* ends only as its caller reads */
	int					place;	   /* its room in the queue; -1 = none yet */
	int					entry;	   /* of the session's words; -1 = none yet */
	uint32				taken;	   /* TOKEN events handed to the caller */
	ChatglmLimited		limited;
	glm_request		   *block; /* until it is sent */
	char			   *model; /* its name and directory, UTF-8 */
	char			   *path;
	glm_kind			kind;
	TimestampTz			begun;
	char			   *text;	 /* the beginning of its prompt, for the log; NULL: it stays out */
	StringInfoData		kept;	 /* as in the ChatglmCall; no data: nothing */
	dlist_head			events;	 /* ChatglmFiledEvent */
	ChatglmFiledEvent  *current; /* what the caller is looking at */
};

/* Those that no rollback has ended. */
extern dlist_head chatglm_requests;

/* Makes a request of the current subtransaction, not sent yet. */
extern ChatglmRequest *chatglm_new_request(const ChatglmCall *call);

#endif /* CHATGLM_CLIENT_REQUEST_H */
