/*
 * waits.c - what processes of chatglm wait for, by name where the server has names for it.
 */
#include "chatglm.h"

#include "waits.h"

static const char *const names[CHATGLM_N_WAITS] = {
	[CHATGLM_WAIT_REPLY] = "ChatglmReply",	  [CHATGLM_WAIT_ROOM] = "ChatglmRoom",
	[CHATGLM_WAIT_PLACE] = "ChatglmPlace",	  [CHATGLM_WAIT_SEND] = "ChatglmSend",
	[CHATGLM_WAIT_WORKER] = "ChatglmWorker",  [CHATGLM_WAIT_MAIN] = "ChatglmMain",
	[CHATGLM_WAIT_DOWN] = "ChatglmDown",	  [CHATGLM_WAIT_JOB] = "ChatglmJob",
	[CHATGLM_WAIT_JOB_END] = "ChatglmJobEnd", [CHATGLM_WAIT_JOB_LAUNCHER] = "ChatglmJobLauncher",
};

/* Asking the server for one takes a lock, so it is asked once a process. */
uint32
chatglm_wait_event(ChatglmWait wait)
{
	static uint32 known[CHATGLM_N_WAITS];

	if (known[wait] == 0)
		known[wait] = chatglm_wait_event_new(names[wait]);
	return known[wait];
}
