/*
 * worker.c - the process that owns the engine: start, main loop, end.
 *
 * The main thread sleeps on its latch (backends, signals), on the engine's
 * descriptor (events) and on one that tells of a fault, and moves blocks between
 * queues and engine.  With nothing to do it does not wake at all.
 *
 * It ends with exit code 1 always, on SIGTERM too: a background worker that
 * exits with 0 is never started again, and one that dies of a signal takes the
 * cluster with it.  On its way out it tells all backends, which is what their
 * waits end by; and it leaves by _exit(), because destructors of libraries that
 * had threads may wait for them or crash.
 *
 * The worker has a connection to no database in particular.  That makes it
 * visible in pg_stat_activity and lets it run on a hot standby.
 */
#include "chatglm.h"

#include <malloc.h>
#include <unistd.h>

#include "postmaster/interrupt.h"
#include "utils/timestamp.h"

#include "measures.h"
#include "model_name.h"
#include "room.h"
#include "settings.h"
#include "shared.h"
#include "waits.h"
#include "worker.h"
#include "worker_device.h"
#include "worker_engine.h"
#include "worker_fault.h"
#include "worker_session.h"
#include "worker_state.h"
#include "worker_ticket.h"

#define EVENTS_AT_A_TIME 256 /* before the main loop looks around again */
#define RETRY_MS 60000		 /* between starts that fail */

#define MMAP_BYTES (128 * 1024)		 /* from which on a piece is a mapping of its own */
#define TRIM_BYTES (4 * 1024 * 1024) /* that lie free at the heap's end, at most */

static void set_up_malloc(void);
static void run_worker(int fault_fd);
static void start_engine(void);
static void stay_down(const glm_error *err) pg_attribute_noreturn();
static void begin_service(void);
static void reload_settings(void);
static void look_at_model_dir(void);
static void serve_forever(WaitEventSet *set);
static long keep_in_step(void);
static void pass_events(void);
static void leave_if_device_lost(void);
static void leave_if_device_rested(void);
static void end_service(int code, Datum arg);
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
	int fault_fd;

	set_up_malloc();
	on_proc_exit(exit_at_once, (Datum) 0); /* first in, last out */
	before_shmem_exit(end_service, (Datum) 0);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGINT, SIG_IGN); /* pg_cancel_backend: there is no query */
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	fault_fd = chatglm_fault_init();
	if (sigsetjmp(chatglm_engine_way_out, 1) == 0)
		run_worker(fault_fd);
	else
		chatglm_fault_check();
	proc_exit(1);
}

/*
 * This process stays for months, so it must not grow.  glibc would give every thread a heap of its
 * own, and threads come with each load and quantization: each heap has pages that are partly in
 * use, and a free end that malloc_trim() leaves alone in all but the first.  Besides, having freed
 * a large piece it would take pieces of up to 32 MB from the heaps, and give their ends back from
 * 64 MB on; bounds that are set stay.
 */
static void
set_up_malloc(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
}

static void
run_worker(int fault_fd)
{
	WaitEventSet *set;

	start_engine();
	chatglm_limits_init();
	chatglm_tickets_init();
	chatglm_sessions_init();

	set = chatglm_wait_set(4);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, chatglm_engine_fd(), NULL, NULL);
	AddWaitEventToSet(set, WL_SOCKET_READABLE, fault_fd, NULL, NULL);

	begin_service();
	serve_forever(set);
	chatglm_state_reason("it was told to stop");
	ereport(LOG, (errmsg("chatglm worker stops")));
	chatglm_engine_quit_job();
}

static void
start_engine(void)
{
	glm_error err = {0};
	glm_stats stats;

	if (!chatglm_device_choose(&err) || !chatglm_engine_open(&err))
		stay_down(&err);
	chatglm_engine_stats(&stats);
	if (strcmp(stats.kernels, "scalar") == 0 && strcmp(chatglm_kernels, "auto") == 0)
		ereport(LOG, (errmsg("chatglm has no vector kernels for this CPU and runs the scalar ones"),
					  errhint("They give the same answers, many times slower. On x86-64 a CPU with "
							  "AVX2, FMA and F16C is needed for more.")));
	if (stats.device_why[0] != '\0')
		ereport(LOG, (errmsg("chatglm computes on the CPU: %s", stats.device_why)));
	if (stats.fast)
		ereport(LOG,
				(errmsg("chatglm computes with fast arithmetic on %s", stats.device),
				 errdetail("Answers of models with weights of 16 bits may differ from those of "
						   "the CPU.")));
	ereport(LOG, (errmsg("chatglm worker started: %s kernels, %d threads, %d MB of KV cache",
						 stats.kernels, stats.threads, (int) (stats.kv_bytes_total >> 20))));
}

/*
 * What keeps the engine from starting (a CPU that is not there, too little
 * memory) seldom goes away by itself, and a worker that ends is started again
 * after a second.  So this one says why, to the log and to whoever calls, and
 * ends only after a minute or when the configuration is read again, or when a device has
 * rested.
 */
static void
stay_down(const glm_error *err)
{
	long		rest = chatglm_device_rest_left();
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													rest >= 0 && rest < RETRY_MS ? rest : RETRY_MS);
	long		left;

	chatglm_state_cannot_start(err->message);
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
						 chatglm_wait_event(CHATGLM_WAIT_DOWN));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(1);
}

/* Files that a quantization left half written go with the worker that wrote them. */
static void
begin_service(void)
{
	if (chatglm_shared->progress.target[0] != '\0')
		glm_quantize_sweep(chatglm_shared->progress.target);

	chatglm_measures_begin();
	chatglm_room_reset();
	look_at_model_dir();
	pgstat_report_appname("chatglm");
	chatglm_state_begin();
}

/* ---- main loop -------------------------------------------------------- */

static void
serve_forever(WaitEventSet *set)
{
	uint32 wait_event = chatglm_wait_event(CHATGLM_WAIT_MAIN);
	bool   backends_rang = true;

	while (!ShutdownRequestPending)
	{
		WaitEvent events[4];
		int		  n_events;

		chatglm_fault_check();
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload_settings();

		if (backends_rang)
		{
			if (pg_atomic_exchange_u32(&chatglm_shared->news, 0) != 0)
			{
				chatglm_sessions_attach();
				chatglm_tickets_cancel_marked();
			}
			chatglm_sessions_serve();
		}
		pass_events();
		leave_if_device_lost();
		leave_if_device_rested();

		n_events = WaitEventSetWait(set, keep_in_step(), events, lengthof(events), wait_event);
		backends_rang = false;
		for (int i = 0; i < n_events; i++)
			backends_rang |= (events[i].events & WL_LATCH_SET) != 0;
		if (backends_rang)
			ResetLatch(MyLatch);
	}
}

/* Of two waits in milliseconds, -1: for ever. */
static long
sooner(long a, long b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* What is due now and then; milliseconds until something is again, -1: nothing. */
static long
keep_in_step(void)
{
	long rest = chatglm_tickets_live() > 0 ? -1 : chatglm_device_rest_left();

	return sooner(rest,
				  sooner(chatglm_tickets_serve_held(),
						 sooner(chatglm_state_publish_if_due(), chatglm_measures_keep_if_due())));
}

/* Publishes before a last event is posted: its reader may query the views next. */
static void
pass_events(void)
{
	for (int i = 0; i < EVENTS_AT_A_TIME; i++)
	{
		bool publish_first;

		if (!chatglm_tickets_take_event(&publish_first))
			break;
		if (publish_first)
			chatglm_state_publish();
		chatglm_tickets_post_event();
	}
}

/* A device that is lost does not come back to this process; the next one opens it anew. */
static void
leave_if_device_lost(void)
{
	glm_error err;
	glm_stats stats;
	bool	  rests;

	if (!chatglm_engine_lost(&err))
		return;
	chatglm_engine_stats(&stats);
	chatglm_device_count_passes(stats.steps);
	rests = chatglm_device_count_loss(err.message);
	chatglm_state_reason("the device that computes was lost: %s", err.message);
	ereport(FATAL, (errcode(ERRCODE_SYSTEM_ERROR),
					errmsg("chatglm lost the device that computes: %s", err.message),
					errdetail("Requests in flight are lost."),
					rests ? errhint("It was lost too often: it is left alone for %d s "
									"(chatglm.device_rest).",
									chatglm_device_rest)
						  : errhint("The server starts the worker again within about a second.")));
}

/* A worker that does without its device, which has rested: when nobody needs this one. */
static void
leave_if_device_rested(void)
{
	if (chatglm_device_rest_left() != 0 || chatglm_tickets_live() > 0)
		return;
	chatglm_state_reason("the device has rested and is tried again");
	ereport(LOG, (errmsg("chatglm tries the device again that was lost")));
	proc_exit(1);
}

static void
reload_settings(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	chatglm_engine_reload();
	look_at_model_dir();
}

/* Told to the log when it has changed; of all processes the worker is the one to do it. */
static void
look_at_model_dir(void)
{
	static char *seen = NULL;
	char		*dir = chatglm_model_dir_path();

	if (seen == NULL || strcmp(seen, dir) != 0)
		chatglm_check_model_dir(LOG, dir);
	if (seen != NULL)
		pfree(seen);
	seen = MemoryContextStrdup(TopMemoryContext, dir);
	pfree(dir);
}

/* ---- end -------------------------------------------------------------- */

static void
end_service(int code, Datum arg)
{
	chatglm_state_end();
	chatglm_measures_keep();
}

static void
exit_at_once(int code, Datum arg)
{
	_exit(code);
}
