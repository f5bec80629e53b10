/*
 * worker_state.c - what shared memory tells of the worker: whether it runs or why not,
 * and the engine's statistics.
 */
#include "chatglm.h"

#include "utils/timestamp.h"

#include "measures.h"
#include "shared.h"
#include "worker_device.h"
#include "worker_engine.h"
#include "worker_models.h"
#include "worker_state.h"
#include "worker_ticket.h"

#define PUBLISH_MS 50 /* at most so often while requests run */

static char		   exit_reason[sizeof(((ChatglmShared *) NULL)->worker_error)];
static TimestampTz last_publish;
static bool		   stale; /* what is shown may differ from what is */

static void log_smaller_cache(uint64 bytes);
static void log_dropped(const glm_stats *stats);
static void report_activity(const glm_stats *stats, int models);

/* ---- beginning and end ------------------------------------------------- */

void
chatglm_state_begin(void)
{
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	memset(chatglm_slots(), 0, chatglm_shared->n_slots * sizeof(ChatglmSlot));
	memset(chatglm_request_stats(), 0, chatglm_shared->n_stats * sizeof(ChatglmRequestStat));
	chatglm_shared->worker_pid = MyProcPid;
	chatglm_shared->worker_cannot_start = false;
	chatglm_shared->worker_latch = MyLatch;
	chatglm_shared->worker_started = GetCurrentTimestamp();
	pg_atomic_fetch_add_u32(&chatglm_shared->generation, 1);
	LWLockRelease(chatglm_shared->lock);
	chatglm_state_publish();
}

void
chatglm_state_cannot_start(const char *reason)
{
	chatglm_state_reason("%s", reason);
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_shared->worker_cannot_start = true;
	strlcpy(chatglm_shared->worker_error, reason, sizeof(chatglm_shared->worker_error));
	LWLockRelease(chatglm_shared->lock);
}

void
chatglm_state_reason(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(exit_reason, sizeof(exit_reason), fmt, args);
	va_end(args);
}

/*
 * The latch of a slot's owner is found by process number; should the owner have changed,
 * another process wakes once for nothing.
 */
void
chatglm_state_end(void)
{
	ChatglmSlot *slots = chatglm_slots();

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_shared->worker_pid = 0;
	chatglm_shared->worker_latch = NULL;
	strlcpy(chatglm_shared->worker_error,
			exit_reason[0] != '\0' ? exit_reason : "an error; the server's log has it",
			sizeof(chatglm_shared->worker_error));
	memset(&chatglm_shared->stats, 0, sizeof(chatglm_shared->stats));
	chatglm_shared->n_models = 0;
	chatglm_shared->progress.id = 0; /* its target is swept when a worker starts */
	memset(chatglm_request_stats(), 0, chatglm_shared->n_stats * sizeof(ChatglmRequestStat));
	pg_atomic_fetch_add_u32(&chatglm_shared->generation, 1);
	for (int i = 0; i < chatglm_shared->n_slots; i++)
	{
		if (slots[i].state != CHATGLM_SLOT_FREE)
			SetLatch(&GetPGProcByNumber(i)->procLatch);
	}
	LWLockRelease(chatglm_shared->lock);
}

/* ---- statistics ------------------------------------------------------- */

long
chatglm_state_publish_if_due(void)
{
	int64 elapsed_ms;

	if (chatglm_tickets_live() > 0)
		stale = true;
	if (!stale)
		return -1;

	elapsed_ms = (GetCurrentTimestamp() - last_publish) / 1000;
	if (elapsed_ms >= 0 && elapsed_ms < PUBLISH_MS)
		return PUBLISH_MS - elapsed_ms;
	chatglm_state_publish();
	return stale ? PUBLISH_MS : -1;
}

/* A GPU has memory for models first: the pool is what the first of them leaves. */
static void
log_smaller_cache(uint64 bytes)
{
	static uint64 known;

	if (bytes < known)
		ereport(LOG, (errmsg("chatglm has %llu MB of KV cache: the device has no room for more",
							 (unsigned long long) (bytes >> 20))));
	known = bytes;
}

/* What a device turned out not to do as it should; each is said once. */
static void
log_dropped(const glm_stats *stats)
{
	static int told;
	int		   dropped = 0;

	for (int i = 0; i < stats->n_tuned; i++)
		if (stats->tuned[i].dropped && ++dropped > told)
			ereport(LOG, (errmsg("chatglm does without %s on this device: %s", stats->tuned[i].what,
								 stats->tuned[i].how)));
	told = Max(told, dropped);
}

/* The engine is asked before the lock is taken: it has locks of its own. */
void
chatglm_state_publish(void)
{
	static glm_model_info models[CHATGLM_MAX_MODELS];
	glm_stats			  stats;
	glm_progress		  progress;
	int					  n_models;

	chatglm_engine_stats(&stats);
	chatglm_engine_progress(&progress);
	n_models = chatglm_engine_models(models, CHATGLM_MAX_MODELS);

	chatglm_tickets_count_tokens();
	chatglm_models_compare(models, n_models, stats.models_evicted);
	log_smaller_cache(stats.kv_bytes_total);
	log_dropped(&stats);
	chatglm_measure_engine(&stats);
	chatglm_device_count_passes(stats.steps);

	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_shared->stats = stats;
	chatglm_shared->progress = progress;
	chatglm_shared->n_models = n_models;
	memcpy(chatglm_shared->model, models, n_models * sizeof(models[0]));
	chatglm_tickets_show_tokens();
	LWLockRelease(chatglm_shared->lock);

	last_publish = GetCurrentTimestamp();
	/* the engine may tell of an end a moment before it has tidied up */
	stale = chatglm_tickets_live() > 0 || stats.running > 0 || stats.waiting > 0;
	for (int i = 0; i < n_models; i++)
		stale |= models[i].sequences > 0;
	report_activity(&stats, n_models);
}

/* What pg_stat_activity shows; told only when it changes. */
static void
report_activity(const glm_stats *stats, int models)
{
	static char shown[128];
	char		now[sizeof(shown)];
	bool		busy = stats->running > 0 || stats->waiting > 0;

	if (busy)
		snprintf(now, sizeof(now), "%d running (%d paused), %d waiting, %d models loaded",
				 stats->running, stats->paused, stats->waiting, models);
	else
		snprintf(now, sizeof(now), "idle, %d models loaded", models);
	if (strcmp(now, shown) == 0)
		return;
	strlcpy(shown, now, sizeof(shown));
	pgstat_report_activity(busy ? STATE_RUNNING : STATE_IDLE, now);
}
