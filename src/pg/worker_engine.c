/*
 * worker_engine.c - the engine, as the worker's main thread calls it.
 *
 * An engine thread that faults is kept in its signal handler for ever (worker_fault.c), and
 * it may hold a lock that the main thread is just waiting for.  So every call of a running
 * engine stands in ENGINE(), and none is made elsewhere in src/pg: an alarm that finds the
 * main thread still inside one jumps out of it.  Nothing of the engine is used after that.
 */
#include "chatglm.h"

#include <signal.h>

#include "room.h"
#include "settings.h"
#include "worker_device.h"
#include "worker_engine.h"

#define ENGINE(call)                                                                               \
	do                                                                                             \
	{                                                                                              \
		in_engine = 1;                                                                             \
		call;                                                                                      \
		in_engine = 0;                                                                             \
	} while (0)

sigjmp_buf chatglm_engine_way_out;

static glm_engine			*engine;
static volatile sig_atomic_t in_engine;

void
chatglm_engine_leave(void)
{
	if (!in_engine)
		return;
	in_engine = 0;
	siglongjmp(chatglm_engine_way_out, 1);
}

/* ---- Starting ------------------------------------------------------------ */

/*
 * Threads inherit the mask they are started with.  One that could take SIGUSR1
 * or SIGURG would steal the wake-ups of the main thread's latch.
 */
bool
chatglm_engine_open(glm_error *err)
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
		.device = chatglm_device_chosen(),
		.backend_library = chatglm_backend_library(),
		.fallback = chatglm_device_fallback != 0,
		.fast = chatglm_device_arithmetic != 0,
		.verify = chatglm_verify,
		.kv_type = chatglm_kv_cache_type,
	};
	sigset_t threads_mask;
	sigset_t our_mask;

	sigfillset(&threads_mask);
	sigdelset(&threads_mask, SIGSEGV);
	sigdelset(&threads_mask, SIGBUS);
	sigdelset(&threads_mask, SIGFPE);
	sigdelset(&threads_mask, SIGILL);
	sigdelset(&threads_mask, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &threads_mask, &our_mask);
	engine = glm_engine_open(&config, err);
	pthread_sigmask(SIG_SETMASK, &our_mask, NULL);
	if (engine == NULL)
		return false;
	chatglm_engine_reload();
	return true;
}

void
chatglm_engine_reload(void)
{
	ENGINE(glm_engine_set_step_delay(engine, chatglm_debug_step_delay));
	ENGINE(glm_engine_set_prefill_budget(engine, chatglm_prefill_budget));
	ENGINE(glm_engine_set_verify(engine, chatglm_verify));
	ENGINE(glm_engine_set_speculation(engine, chatglm_speculation));
	ENGINE(glm_engine_set_huge_pages(engine, chatglm_huge_pages != 0));
	ENGINE(glm_engine_set_tuning(engine, chatglm_tuning != 0));
}

int
chatglm_engine_fd(void)
{
	return glm_engine_fd(engine);
}

/* ---- Requests ------------------------------------------------------------ */

glm_request *
chatglm_block_new(Size size)
{
	glm_request *block;

	ENGINE(block = glm_request_new(size));
	return block;
}

void
chatglm_block_free(glm_request *block)
{
	ENGINE(glm_request_free(block));
}

int
chatglm_engine_give(glm_request *block, glm_error *err)
{
	int ticket;

	ENGINE(ticket = glm_engine_give(engine, block, err));
	return ticket;
}

void
chatglm_engine_cancel(int ticket)
{
	ENGINE(glm_engine_cancel(engine, ticket));
}

void
chatglm_engine_taken(int ticket, uint32 taken)
{
	ENGINE(glm_engine_taken(engine, ticket, taken));
}

int
chatglm_engine_generated(int ticket)
{
	int tokens;

	ENGINE(tokens = glm_engine_generated(engine, ticket));
	return tokens;
}

glm_stage
chatglm_engine_stage(int ticket)
{
	glm_stage stage;

	ENGINE(stage = glm_engine_stage(engine, ticket));
	return stage;
}

const glm_timing *
chatglm_engine_timing(int ticket)
{
	return glm_engine_timing(engine, ticket);
}

bool
chatglm_engine_poll(glm_event *event)
{
	bool any;

	ENGINE(any = glm_engine_poll(engine, event));
	return any;
}

bool
chatglm_engine_lost(glm_error *err)
{
	bool lost;

	ENGINE(lost = glm_engine_lost(engine, err));
	return lost;
}

/* ---- Looking ------------------------------------------------------------- */

void
chatglm_engine_stats(glm_stats *stats)
{
	ENGINE(glm_engine_stats(engine, stats));
	chatglm_device_explain(stats);
}

void
chatglm_engine_progress(glm_progress *progress)
{
	ENGINE(glm_engine_progress(engine, progress));
}

int
chatglm_engine_models(glm_model_info *models, int max)
{
	int n;

	ENGINE(n = glm_engine_models(engine, models, max));
	return n;
}

void
chatglm_engine_quit_job(void)
{
	ENGINE(glm_engine_quit_job(engine));
}
