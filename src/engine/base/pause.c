/*
 * pause.c - long work that gives others a turn, and ends with who wanted it.
 *
 * Work whose length somebody else decides (a text of 60 MB, tools nested 2,000 deep, a
 * weight file of 12 GB) calls glm_pause() every few milliseconds at most.  Who started the
 * work has told by glm_pause_with() what is done there: to look whether it was cancelled or
 * is out of time, or to let others have their turn.  Where nobody has told anything it
 * does nothing.
 *
 * The hook is the thread's own, so that it need not be handed through everything
 * between the request and the loop.  It may wait for a turn that another has, so a thread
 * that holds what others wait for must not ask: it holds its pauses meanwhile.  No locks.
 */
#include "engine/base/base.h"

static _Thread_local glm_pause_hook hook;
static _Thread_local void		   *hook_arg;
static _Thread_local int			held;

void
glm_pause_with(glm_pause_hook new_hook, void *arg)
{
	hook = new_hook;
	hook_arg = arg;
}

bool
glm_pause(glm_error *err)
{
	return hook == NULL || held > 0 || hook(hook_arg, err);
}

void
glm_pause_hold(void)
{
	held++;
}

void
glm_pause_release(void)
{
	held--;
}
