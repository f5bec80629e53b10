/*
 * worker_device.h - a device that is lost again and again: see worker_device.c.
 */
#ifndef CHATGLM_WORKER_DEVICE_H
#define CHATGLM_WORKER_DEVICE_H

#include "chatglm.h"

/* How it stands, for any process. */
typedef struct ChatglmDeviceState
{
	int			losses;		 /* in a row */
	TimestampTz rests_until; /* 0: it does not */
	char		reason[160]; /* of the last loss */
} ChatglmDeviceState;

extern void chatglm_device_look(ChatglmDeviceState *state);

/*
 * Chooses what this worker opens: chatglm.device, or the CPU while that rests and where the
 * settings let it stand in.  False: nothing, *err says why.
 */
extern bool		   chatglm_device_choose(glm_error *err);
extern const char *chatglm_device_chosen(void);

/* The device was lost: true if it rests now. */
extern bool chatglm_device_count_loss(const char *reason);
/* So many passes went well in this worker so far. */
extern void chatglm_device_count_passes(uint64 passes);
/* Says why the CPU computes, where it stands in. */
extern void chatglm_device_explain(glm_stats *stats);

/* Milliseconds until the device may be tried again, by a worker that does without it; else -1. */
extern long chatglm_device_rest_left(void);

#endif /* CHATGLM_WORKER_DEVICE_H */
