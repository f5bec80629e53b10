/*
 * waits.h - what processes of chatglm wait for, as pg_stat_activity shows it.
 */
#ifndef CHATGLM_WAITS_H
#define CHATGLM_WAITS_H

#include "chatglm.h"

typedef enum ChatglmWait
{
	CHATGLM_WAIT_REPLY,		   /* an answer, or a piece of one */
	CHATGLM_WAIT_ROOM,		   /* room in the worker's queue */
	CHATGLM_WAIT_PLACE,		   /* a place among the requests of the session */
	CHATGLM_WAIT_SEND,		   /* the worker has read what was sent */
	CHATGLM_WAIT_WORKER,	   /* a worker that is starting */
	CHATGLM_WAIT_MAIN,		   /* the worker: something to do */
	CHATGLM_WAIT_DOWN,		   /* the worker, which cannot start: another try */
	CHATGLM_WAIT_JOB,		   /* the time from which on a job may go on, or something to do */
	CHATGLM_WAIT_JOB_END,	   /* the end of the jobs of a database that is dropped */
	CHATGLM_WAIT_JOB_LAUNCHER, /* jobs to start */
	CHATGLM_N_WAITS
} ChatglmWait;

/* The wait event, for WaitLatch() and its like. */
extern uint32 chatglm_wait_event(ChatglmWait wait);

#endif /* CHATGLM_WAITS_H */
