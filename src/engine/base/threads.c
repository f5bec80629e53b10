/*
 * threads.c - the compute pool, and what every engine thread does first.
 *
 * A run of the pool is a job: `count` indices, each computed once.  Indices are
 * claimed, not assigned: all threads, the caller's among them, take the next one
 * until none is left.  So when a core is busy with somebody else's work, or a
 * thread is still waking up, the others do its share instead of waiting for it.
 *
 * One 64-bit word, `ticket`, holds the job's number in its upper half and the
 * next unclaimed index in its lower half.  A thread claims by compare-and-swap
 * on the whole word, so a late one cannot claim from a job that is over; and
 * after a successful claim the job's fields stay as they are until that index
 * is counted as done.
 *
 * Waiting: both sides spin for SPIN_NS, then sleep on a futex, so an idle pool
 * uses no CPU.  Neither can miss the other: the sleeper announces itself
 * before it reads the word it sleeps on, the waker changes that word before it
 * looks for sleepers, all in sequentially consistent order.
 *
 * glm_threads_run is called by one thread at a time (the engine's).
 */
#include "engine/base/threads.h"
#include "engine/base/clock.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Longer than the gap between two operations of a pass, short for a neighbour. */
#define SPIN_NS 30000
#define SPIN_PAUSES 32 /* between two looks at the clock */

#define MAX_THREADS 1024

/* Holds a signal frame with all AVX-512 state and the host's handler. */
#define SIGNAL_STACK_BYTES ((size_t) 64 * 1024)

struct glm_threads
{
	int		   count;  /* of threads, the caller's included */
	pthread_t *thread; /* [count - 1] */

	/* the job; written by the caller while no index is claimed */
	glm_share share;
	void	 *arg;

	_Alignas(64) _Atomic uint64_t ticket;
	_Atomic uint32_t job;	   /* its upper half again, as a futex */
	_Atomic int		 sleepers; /* threads that wait for the next job */
	_Atomic bool	 closing;

	_Alignas(64) _Atomic uint32_t done; /* indices computed; a futex too */
	_Atomic bool caller_sleeps;
};

/* ---- Every engine thread ----------------------------------------------- */

/*
 * Initial-exec, because a signal handler reads it: the general model may
 * allocate the variable at its first use.
 */
static __thread bool engine_thread __attribute__((tls_model("initial-exec")));

static pthread_key_t  signal_stack_key;
static pthread_once_t signal_stack_once = PTHREAD_ONCE_INIT;
static bool			  signal_stack_key_made;

/* Runs when a thread ends. */
static void
drop_signal_stack(void *stack)
{
	stack_t none = {.ss_flags = SS_DISABLE};

	sigaltstack(&none, NULL);
	munmap(stack, SIGNAL_STACK_BYTES);
}

static void
make_signal_stack_key(void)
{
	signal_stack_key_made = pthread_key_create(&signal_stack_key, drop_signal_stack) == 0;
}

/*
 * Without a stack of its own a handler cannot report a stack overflow; every
 * other fault it still can.  So the thread goes on when there is none.
 */
static void
take_signal_stack(void)
{
	stack_t stack = {.ss_size = SIGNAL_STACK_BYTES};

	pthread_once(&signal_stack_once, make_signal_stack_key);
	if (!signal_stack_key_made)
		return;
	stack.ss_sp =
		mmap(NULL, SIGNAL_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED)
		return;
	if (pthread_setspecific(signal_stack_key, stack.ss_sp) != 0 || sigaltstack(&stack, NULL) != 0)
	{
		pthread_setspecific(signal_stack_key, NULL);
		munmap(stack.ss_sp, SIGNAL_STACK_BYTES);
	}
}

void
glm_thread_enter(const char *name)
{
	engine_thread = true;
	take_signal_stack();
	pthread_setname_np(pthread_self(), name);
}

bool
glm_engine_thread(void)
{
	return engine_thread;
}

void
glm_thread_lower(int steps)
{
	setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + steps);
}

bool
glm_thread_start(void *(*thread_main)(void *), void *arg)
{
	pthread_t	   thread;
	pthread_attr_t attr;
	bool		   ok;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ok = pthread_create(&thread, &attr, thread_main, arg) == 0;
	pthread_attr_destroy(&attr);
	return ok;
}

/* ---- Waiting ----------------------------------------------------------- */

static void
futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void
futex_wake(_Atomic uint32_t *word, int threads)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static inline void
cpu_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Spins while *word == value, at most SPIN_NS; did it change? */
static bool
spin_while(_Atomic uint32_t *word, uint32_t value)
{
	int64_t end = glm_now_ns() + SPIN_NS;

	do
	{
		for (int i = 0; i < SPIN_PAUSES; i++)
		{
			if (atomic_load_explicit(word, memory_order_acquire) != value)
				return true;
			cpu_pause();
		}
	} while (glm_now_ns() < end);
	return false;
}

/* ---- Jobs -------------------------------------------------------------- */

/* Claims and computes indices until none is left. */
static void
work(glm_threads *pool)
{
	uint64_t ticket = atomic_load(&pool->ticket);

	while ((uint32_t) ticket < (uint32_t) pool->count)
	{
		if (!atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1))
			continue;
		pool->share(pool->arg, (int) (uint32_t) ticket, pool->count);
		if (atomic_fetch_add(&pool->done, 1) + 1 == (uint32_t) pool->count &&
			atomic_load(&pool->caller_sleeps))
			futex_wake(&pool->done, 1);
		ticket = atomic_load(&pool->ticket);
	}
}

static void
wait_for_job(glm_threads *pool, uint32_t last)
{
	if (spin_while(&pool->job, last))
		return;
	atomic_fetch_add(&pool->sleepers, 1);
	while (atomic_load(&pool->job) == last)
		futex_wait(&pool->job, last);
	atomic_fetch_sub(&pool->sleepers, 1);
}

static void *
thread_main(void *arg)
{
	glm_threads *pool = arg;
	uint32_t	 seen = 0;

	glm_thread_enter("glm compute");
	for (;;)
	{
		wait_for_job(pool, seen);
		seen = atomic_load(&pool->job);
		if (atomic_load(&pool->closing))
			return NULL;
		if (!GLM_INJECT("compute")) /* else the others do its share */
			work(pool);
	}
}

/* Makes the next job visible; the waker's half of the protocol. */
static void
announce(glm_threads *pool, uint32_t job)
{
	atomic_store(&pool->job, job);
	if (atomic_load(&pool->sleepers) > 0)
		futex_wake(&pool->job, pool->count);
}

void
glm_threads_run(glm_threads *pool, glm_share share, void *arg)
{
	uint32_t job, done;

	if (pool->count == 1)
	{
		share(arg, 0, 1);
		return;
	}

	/* all indices of the last job are done, so nobody reads these now */
	pool->share = share;
	pool->arg = arg;
	atomic_store(&pool->done, 0);
	job = atomic_load(&pool->job) + 1;
	atomic_store(&pool->ticket, (uint64_t) job << 32);
	announce(pool, job);
	work(pool);

	while ((done = atomic_load(&pool->done)) < (uint32_t) pool->count)
	{
		if (spin_while(&pool->done, done))
			continue;
		atomic_store(&pool->caller_sleeps, true);
		if ((done = atomic_load(&pool->done)) < (uint32_t) pool->count)
			futex_wait(&pool->done, done);
		atomic_store(&pool->caller_sleeps, false);
	}
}

/* ---- Opening and closing ----------------------------------------------- */

/* Ends the first `started` threads and frees everything. */
static void
shut(glm_threads *pool, int started)
{
	atomic_store(&pool->closing, true);
	announce(pool, atomic_load(&pool->job) + 1);
	for (int i = 0; i < started; i++)
		pthread_join(pool->thread[i], NULL);
	free(pool->thread);
	free(pool);
}

glm_threads *
glm_threads_open(int count, glm_error *err)
{
	glm_threads *pool;

	if (count < 1 || count > MAX_THREADS)
	{
		glm_fail(err, GLM_BAD_ARGUMENT, "threads must be between 1 and %d", MAX_THREADS);
		return NULL;
	}
	pool = aligned_alloc(64, sizeof(*pool));
	if (pool == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	memset(pool, 0, sizeof(*pool));
	pool->count = count;
	atomic_store(&pool->ticket, (uint64_t) count); /* job 0: nothing to claim */
	pool->thread = calloc((size_t) count, sizeof(*pool->thread));
	if (pool->thread == NULL)
	{
		free(pool);
		glm_no_memory(err);
		return NULL;
	}
	for (int i = 0; i < count - 1; i++)
	{
		int rc = pthread_create(&pool->thread[i], NULL, thread_main, pool);

		if (rc != 0)
		{
			shut(pool, i);
			glm_fail(err, GLM_NO_ROOM, "could not start compute thread %d of %d: %s", i + 1,
					 count - 1, strerrordesc_np(rc));
			return NULL;
		}
	}
	return pool;
}

void
glm_threads_close(glm_threads *pool)
{
	if (pool != NULL)
		shut(pool, pool->count - 1);
}

bool
glm_threads_bind(const glm_threads *pool, const char *cpus)
{
	bool ok = true;

	for (int i = 0; i < pool->count - 1; i++)
		ok = glm_cpus_bind(pool->thread[i], cpus) && ok;
	return ok;
}

int
glm_threads_count(const glm_threads *pool)
{
	return pool->count;
}
