/*
 * worker.c - the process that owns the engine: start, main loop, statistics.
 *
 * The main thread sleeps on its latch (backends, signals), on the engine's
 * descriptor (events) and on one that tells of a fault, and moves blocks between
 * queues and engine.  With nothing to do it does not wake at all.
 *
 * It ends with exit code 1 always, on SIGTERM too: a background worker that
 * exits with 0 is never started again, and one that dies of a signal takes the
 * cluster with it.  On its way out it tells all backends, which is what their
 * waits end by; and it leaves by _exit(), because destructors of libraries that
 * had threads are nobody's friends.
 *
 * The worker has a connection to no database in particular.  That makes it
 * visible in pg_stat_activity and lets it run on a hot standby.
 */
#include "chatglm.h"

#include <unistd.h>

#include "postmaster/interrupt.h"
#include "utils/timestamp.h"

#include "model_name.h"
#include "room.h"
#include "settings.h"
#include "shared.h"
#include "worker.h"

#define PUBLISH_MS 50  /* at most so often while requests run */
#define RETRY_MS 60000 /* between starts that fail */

static glm_engine *engine;
static char		   exit_reason[sizeof(((ChatglmShared *) NULL)->worker_error)];
static TimestampTz last_publish;
static bool		   stale; /* what is shown may differ from what is */

static void start_engine(void);
static void stay_down(const glm_error *err) pg_attribute_noreturn();
static void come_in(void);
static void read_settings(void);
static void look_at_model_dir(void);
static void serve_forever(WaitEventSet *set);
static long publish_if_due(void);
static void report_activity(const glm_stats *stats, int models);
static void leave(int code, Datum arg);
static void exit_at_once(int code, Datum arg) pg_attribute_noreturn();

void
chatglm_worker_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "chatglm", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "chatglm_worker_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "chatglm worker", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "chatglm worker", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

/* ---- start ------------------------------------------------------------ */

void
chatglm_worker_main(Datum arg)
{
	WaitEventSet *set;
	int			  fault_fd;

	on_proc_exit(exit_at_once, (Datum) 0); /* first in, last out */
	before_shmem_exit(leave, (Datum) 0);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN); /* pg_cancel_backend: there is no query */
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	fault_fd = chatglm_fault_init();

	start_engine();
	chatglm_tickets_init(engine);
	chatglm_sessions_init();

	set = chatglm_wait_set(4);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, glm_engine_fd(engine), NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, fault_fd, NULL, NULL);

	if (sigsetjmp(chatglm_way_out, 1) == 0)
	{
		come_in();
		serve_forever(set);
		chatglm_worker_reason("it was told to stop");
		CHATGLM_ENGINE(glm_engine_quit_job(engine));
	}
	else
		chatglm_fault_check();
	proc_exit(1);
}

/*
 * Threads inherit the mask they are started with.  One that could take SIGUSR1
 * or SIGURG would steal the wake-ups of the main thread's latch.
 */
static void
start_engine(void)
{
	glm_config config = {
		.threads = chatglm_threads,
		.cpus = chatglm_cpu_affinity,
		.kv_cache_size = (size_t) chatglm_kv_cache_size << 20,
		.memory_limit = (size_t) chatglm_memory_limit << 20,
		.max_sequences = chatglm_max_sequences,
		.max_queue = chatglm_room_places() - chatglm_max_sequences,
		.prefill_budget = chatglm_prefill_budget,
		.kernels = chatglm_kernels,
		.verify = chatglm_verify,
		.kv_type = chatglm_kv_cache_type,
	};
	glm_error err = {0};
	glm_stats stats;
	sigset_t  threads_mask;
	sigset_t  our_mask;

	sigfillset(&threads_mask);
	sigdelset(&threads_mask, SIGSEGV);
	sigdelset(&threads_mask, SIGBUS);
	sigdelset(&threads_mask, SIGFPE);
	sigdelset(&threads_mask, SIGILL);
	pthread_sigmask(SIG_SETMASK, &threads_mask, &our_mask);
	engine = glm_engine_open(&config, &err);
	pthread_sigmask(SIG_SETMASK, &our_mask, NULL);

	if (engine == NULL)
		stay_down(&err);
	glm_engine_set_step_delay(engine, chatglm_debug_step_delay);
	glm_engine_set_speculation(engine, chatglm_speculation);

	glm_engine_stats(engine, &stats);
	if (strcmp(stats.kernels, "scalar") == 0 && strcmp(chatglm_kernels, "auto") == 0)
		ereport(LOG, (errmsg("chatglm has no vector kernels for this CPU and runs the scalar ones"),
					  errhint("They give the same answers, many times slower. On x86-64 a CPU with "
							  "AVX2, FMA and F16C is needed for more.")));
	ereport(LOG, (errmsg("chatglm worker started: %s kernels, %d threads, %d MB of KV cache",
						 stats.kernels, stats.threads, chatglm_kv_cache_size)));
}

/*
 * What keeps the engine from starting (a CPU that is not there, too little
 * memory) seldom goes away by itself, and a worker that ends is started again
 * after a second.  So this one says why, to the log and to whoever calls, and
 * ends only after a minute or when the configuration is read again.
 */
static void
stay_down(const glm_error *err)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
	uint32		wait_event = chatglm_wait_event("ChatglmMain");
	long		left;

	chatglm_worker_reason("%s", err->message);
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	chatglm_shared->worker_cannot_start = true;
	strlcpy(chatglm_shared->worker_error, err->message, sizeof(chatglm_shared->worker_error));
	LWLockRelease(chatglm_shared->lock);
	ereport(
		LOG,
		(errmsg("chatglm worker cannot start: %s", err->message),
		 err->hint[0] != '\0'
			 ? errhint("%s", err->hint)
			 : errhint("It tries again every minute, and when the configuration is reloaded.")));
	pgstat_report_activity(STATE_IDLE, "cannot start; the server's log and glm_health() say why");

	while (!ShutdownRequestPending && !ConfigReloadPending &&
		   (left = (until - GetCurrentTimestamp()) / 1000) > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(1);
}

/* Opens for business.  Whatever a worker before us left behind is void. */
static void
come_in(void)
{
	if (chatglm_shared->progress.target[0] != '\0')
		glm_quantize_sweep(chatglm_shared->progress.target);

	chatglm_room_reset();
	LWLockAcquire(chatglm_shared->lock, LW_EXCLUSIVE);
	memset(chatglm_slots(), 0, chatglm_shared->n_slots * sizeof(ChatglmSlot));
	memset(chatglm_request_stats(), 0, chatglm_shared->n_requests * sizeof(ChatglmRequestStat));
	chatglm_shared->worker_pid = MyProcPid;
	chatglm_shared->worker_cannot_start = false;
	chatglm_shared->worker_latch = MyLatch;
	chatglm_shared->worker_started = GetCurrentTimestamp();
	pg_atomic_fetch_add_u32(&chatglm_shared->generation, 1);
	LWLockRelease(chatglm_shared->lock);

	look_at_model_dir();
	pgstat_report_appname("chatglm");
	chatglm_worker_publish();
}

/* ---- main loop -------------------------------------------------------- */

static void
serve_forever(WaitEventSet *set)
{
	uint32 wait_event = chatglm_wait_event("ChatglmMain");
	bool   backends_rang = true;

	while (!ShutdownRequestPending)
	{
		WaitEvent events[4];
		int		  n_events;

		chatglm_fault_check();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			read_settings();

		if (backends_rang)
		{
			if (pg_atomic_exchange_u32(&chatglm_shared->news, 0) != 0)
			{
				chatglm_sessions_attach();
				chatglm_tickets_cancel_marked();
			}
			chatglm_sessions_serve();
		}
		chatglm_tickets_pass_events();

		n_events = WaitEventSetWait(set, publish_if_due(), events, lengthof(events), wait_event);
		backends_rang = false;
		for (int i = 0; i < n_events; i++)
			backends_rang |= (events[i].events & WL_LATCH_SET) != 0;
		if (backends_rang)
			ResetLatch(MyLatch);
	}
}

static void
read_settings(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	CHATGLM_ENGINE(glm_engine_set_step_delay(engine, chatglm_debug_step_delay));
	CHATGLM_ENGINE(glm_engine_set_prefill_budget(engine, chatglm_prefill_budget));
	CHATGLM_ENGINE(glm_engine_set_verify(engine, chatglm_verify));
	CHATGLM_ENGINE(glm_engine_set_speculation(engine, chatglm_speculation));
	look_at_model_dir();
}

/* Told to the log when it has changed; of all processes the worker is the one to do it. */
static void
look_at_model_dir(void)
{
	static char *seen = NULL;
	char		*dir = chatglm_model_dir_path();

	if (seen == NULL || strcmp(seen, dir) != 0)
		chatglm_check_directory(LOG, dir);
	if (seen != NULL)
		pfree(seen);
	seen = MemoryContextStrdup(TopMemoryContext, dir);
	pfree(dir);
}

/* ---- statistics ------------------------------------------------------- */

/*
 * Brings the views up to date now and then while requests run, and once more
 * when all is quiet.  Returns the milliseconds until it wants to be called
 * again, -1 for not at all.
 */
static long
publish_if_due(void)
{
	int64 elapsed_ms;

	if (chatglm_tickets_live() > 0)
		stale = true;
	if (!stale)
		return -1;

	elapsed_ms = (GetCurrentTimestamp() - last_publish) / 1000;
	if (elapsed_ms >= 0 && elapsed_ms < PUBLISH_MS)
		return PUBLISH_MS - elapsed_ms;
	chatglm_worker_publish();
	return stale ? PUBLISH_MS : -1;
}

/* The engine is asked before the lock is taken: it has locks of its own. */
void
chatglm_worker_publish(void)
{
	static glm_model_info models[CHATGLM_MAX_MODELS];
	glm_stats			  stats;
	glm_progress		  progress;
	int					  n_models;

	CHATGLM_ENGINE(glm_engine_stats(engine, &stats));
	CHATGLM_ENGINE(glm_engine_progress(engine, &progress));
	CHATGLM_ENGINE(n_models = glm_engine_models(engine, models, CHATGLM_MAX_MODELS));

	chatglm_tickets_count_tokens();
	chatglm_models_compare(models, n_models);

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

/* ---- end -------------------------------------------------------------- */

void
chatglm_worker_reason(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(exit_reason, sizeof(exit_reason), fmt, args);
	va_end(args);
}

/*
 * Takes the sign down and wakes all who may wait for us.  The latch of a slot's
 * owner is found by process number; should the owner have changed, a stranger
 * wakes once for nothing.
 */
static void
leave(int code, Datum arg)
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
	chatglm_shared->progress.id = 0; /* its target is for come_in() */
	memset(chatglm_request_stats(), 0, chatglm_shared->n_requests * sizeof(ChatglmRequestStat));
	pg_atomic_fetch_add_u32(&chatglm_shared->generation, 1);
	for (int i = 0; i < chatglm_shared->n_slots; i++)
	{
		if (slots[i].state != CHATGLM_SLOT_FREE)
			SetLatch(&GetPGProcByNumber(i)->procLatch);
	}
	LWLockRelease(chatglm_shared->lock);
}

static void
exit_at_once(int code, Datum arg)
{
	_exit(code);
}
