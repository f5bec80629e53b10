/*
 * room.h - how much each role may put into the worker's queue.
 */
#ifndef CHATGLM_ROOM_H
#define CHATGLM_ROOM_H

#include "chatglm.h"

/* What a request wants that asks for room. */
typedef struct ChatglmRoomWish
{
	uint64 id;		   /* of the request */
	Oid	   role;	   /* on whose behalf */
	int64  bytes;	   /* of its block */
	bool   batch;	   /* leaves what is kept for interactive calls alone */
	bool   queues;	   /* waits its turn when there is no room */
	bool   idle;	   /* its session has nothing running */
	int	   timeout_ms; /* it may wait so long; 0 = for ever */
} ChatglmRoomWish;

typedef enum ChatglmRoomAnswer
{
	CHATGLM_ROOM_GIVEN,
	CHATGLM_ROOM_TURN,			/* there is room, but others come first */
	CHATGLM_ROOM_REQUESTS,		/* too many requests in all */
	CHATGLM_ROOM_ROLE_REQUESTS, /* of this role */
	CHATGLM_ROOM_BYTES,			/* too many bytes in all */
	CHATGLM_ROOM_ROLE_BYTES,	/* of this role */
	CHATGLM_ROOM_NEVER			/* more bytes than will ever be free */
} ChatglmRoomAnswer;

/* ---- memory ---- */

extern Size chatglm_room_size(void);
/* `lock`: NULL when another process has already filled the memory. */
extern void chatglm_room_init(void *memory, LWLock *lock);
/* A new worker: nothing is taken. */
extern void chatglm_room_reset(void);

/* Requests that may be in the worker's hands at a time: tickets of the engine. */
extern int chatglm_room_places(void);

/* ---- taking and giving ---- */

/*
 * Takes a place and bytes; *place is set when they are given.  A wish that queues and gets
 * none is registered, and the latch of its process set when its turn may have come; the
 * process asks again, or leaves.
 */
extern ChatglmRoomAnswer chatglm_room_take(const ChatglmRoomWish *wish, int *place);

/* Would it be given now?  Registers nobody. */
extern bool chatglm_room_open(const ChatglmRoomWish *wish);

/* The worker holds so many bytes more, or less, of the request's block, and of its results. */
extern void chatglm_room_charge(int place, uint64 id, int64 block, int64 results);

/* Gives a place back.  Does nothing when it is not this request's (any more). */
extern void chatglm_room_give(int place, uint64 id);

/* Waits for room no more.  Never fails. */
extern void chatglm_room_leave(void);

/* What is taken: in all, and by a role. */
typedef struct ChatglmRoomUse
{
	int	  requests;
	int	  role_requests;
	int64 bytes;
	int64 role_bytes;
	int64 total_bytes; /* that there are */
} ChatglmRoomUse;

extern void chatglm_room_look(Oid role, ChatglmRoomUse *use);

#endif /* CHATGLM_ROOM_H */
