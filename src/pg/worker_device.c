/*
 * worker_device.c - a device that is lost again and again is left alone for a while.
 *
 * A worker whose device is lost ends, and the next one opens it anew.  Where the device does
 * not recover that would go on for ever, each time with models to load and requests to fail.
 * So losses are counted, over workers, in shared memory.  After MOST_LOSSES the device rests
 * for chatglm.device_rest: the CPU stands in, where the settings let it, or the worker stays
 * down and says why.  One more loss after that, and it rests again.  Losses are forgotten when
 * a pass goes well in a worker that has run for as long as the device would rest.
 *
 * How long it rests is looked up whenever that is asked, so a changed setting counts at once.
 */
#include "chatglm.h"

#include "utils/timestamp.h"

#include "settings.h"
#include "shared.h"
#include "worker_device.h"

#define MOST_LOSSES 3

static bool stands_in; /* the CPU computes here while the device rests */
static char why[256];  /* it does */

void
chatglm_device_look(ChatglmDeviceState *state)
{
	TimestampTz last;

	LWLockAcquire(chatglm_shared->lock, LW_SHARED);
	state->losses = chatglm_shared->device_losses;
	last = chatglm_shared->device_lost;
	strlcpy(state->reason, chatglm_shared->device_reason, sizeof(state->reason));
	LWLockRelease(chatglm_shared->lock);
	state->rests_until = 0;
	if (state->losses >= MOST_LOSSES && chatglm_device_rest > 0)
		state->rests_until =
			TimestampTzPlusMilliseconds(last, chatglm_device_rest * INT64CONST(1000));
	if (state->rests_until <= GetCurrentTimestamp())
		state->rests_until = 0;
}

bool
chatglm_device_choose(glm_error *err)
{
	ChatglmDeviceState state;

	chatglm_device_look(&state);
	stands_in = false;
	if (state.rests_until == 0)
		return true;
	snprintf(why, sizeof(why), "the device was lost %d times in a row and rests: %s", state.losses,
			 state.reason);
	stands_in = chatglm_device_fallback != 0 || strcmp(chatglm_device, "auto") == 0;
	if (stands_in)
		return true;
	err->status = GLM_UNSUPPORTED;
	strlcpy(err->message, why, sizeof(err->message));
	snprintf(err->hint, sizeof(err->hint),
			 "It is tried again when chatglm.device_rest is over; with chatglm.device_fallback = "
			 "'cpu' the CPU answers meanwhile.");
	return false;
}

const char *
chatglm_device_chosen(void)
{
	return stands_in ? "cpu" : chatglm_device;
}

bool
chatglm_device_count_loss(const char *reason)
{
	ChatglmDeviceState state;

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_shared->device_losses++;
	chatglm_shared->device_lost = GetCurrentTimestamp();
	strlcpy(chatglm_shared->device_reason, reason, sizeof(chatglm_shared->device_reason));
	LWLockRelease(chatglm_shared->lock);
	chatglm_device_look(&state);
	return state.rests_until != 0;
}

void
chatglm_device_count_passes(uint64 passes)
{
	static uint64 seen;
	bool		  more = passes > seen;

	seen = passes;
	if (stands_in || !more ||
		!TimestampDifferenceExceeds(chatglm_shared->worker_started, GetCurrentTimestamp(),
									chatglm_device_rest * 1000))
		return;
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_shared->device_losses = 0;
	LWLockRelease(chatglm_shared->lock);
}

void
chatglm_device_explain(glm_stats *stats)
{
	if (stands_in)
		strlcpy(stats->device_why, why, sizeof(stats->device_why));
}

long
chatglm_device_rest_left(void)
{
	ChatglmDeviceState state;

	if (why[0] == '\0')
		return -1;
	chatglm_device_look(&state);
	return state.rests_until == 0 ? 0 : (state.rests_until - GetCurrentTimestamp()) / 1000;
}
