/*
 * test_threads.c - the compute pool: every index once, no thread lost, idle
 * when idle, and the signal stack that lets a fault be reported.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/threads.h"

#define MAX_COUNT 8

static glm_threads *
open_pool(int count)
{
	glm_error	 err;
	glm_threads *pool = glm_threads_open(count, &err);

	assert_non_null(pool);
	assert_int_equal(glm_threads_count(pool), count);
	return pool;
}

/* ---- Jobs ---------------------------------------------------------------- */

typedef struct tally
{
	_Atomic int calls[MAX_COUNT];
	int			plain[MAX_COUNT]; /* not atomic: the pool must order them */
	int			count;
	_Atomic int wrong;
} tally;

static void
count_call(void *arg, int index, int count)
{
	tally *t = arg;

	if (index < 0 || index >= count || count != t->count)
	{
		atomic_fetch_add(&t->wrong, 1);
		return;
	}
	atomic_fetch_add(&t->calls[index], 1);
	t->plain[index]++;
}

/* ---- Ranges ---------------------------------------------------------------- */

#define ITEMS 1000

typedef struct taken
{
	atomic_int times[ITEMS];
	atomic_int wrong; /* pieces that are none */
	int		   grain, least, most;
} taken;

static void
take_items(const void *arg, int thread, int begin, int end)
{
	taken *t = (taken *) arg;
	int	   n = end - begin;

	if (thread < 0 || thread >= MAX_COUNT || begin % t->grain != 0 || n < 1 || n > t->most ||
		(n < t->least && end < ITEMS))
		atomic_fetch_add(&t->wrong, 1);
	for (int i = begin; i < end; i++)
		atomic_fetch_add(&t->times[i], 1);
}

static void
test_every_item_once(void **state)
{
	static const struct
	{
		int grain, least, most;
	} cuts[] = {{1, 1, 1}, {1, 1, ITEMS}, {8, 16, ITEMS}, {4, 4, 12}};

	(void) state;
	for (int count = 1; count <= MAX_COUNT; count++)
	{
		glm_threads *pool = open_pool(count);

		for (int i = 0; i < 4; i++)
		{
			taken t = {.grain = cuts[i].grain, .least = cuts[i].least, .most = cuts[i].most};

			glm_threads_spread(pool, take_items, &t, ITEMS, t.grain, t.least, t.most);
			for (int j = 0; j < ITEMS; j++)
				assert_int_equal(t.times[j], 1);
			assert_int_equal(t.wrong, 0);
		}
		glm_threads_close(pool);
	}
}

static void
test_every_index_once(void **state)
{
	(void) state;
	for (int count = 1; count <= MAX_COUNT; count++)
	{
		glm_threads *pool = open_pool(count);
		tally		 t = {.count = count};

		for (int run = 1; run <= 3000; run++)
		{
			glm_threads_run(pool, count_call, &t);
			for (int i = 0; i < count; i++)
				assert_int_equal(t.plain[i], run);
		}
		assert_int_equal(t.wrong, 0);
		for (int i = 0; i < count; i++)
			assert_int_equal(t.calls[i], 3000);
		glm_threads_close(pool);
	}
}

static void
test_bad_count(void **state)
{
	static const int counts[] = {0, -1, 1000000};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		glm_error err;

		assert_null(glm_threads_open(counts[i], &err));
		assert_int_equal(err.status, GLM_BAD_ARGUMENT);
		assert_non_null(strstr(err.message, "threads"));
	}
	glm_threads_close(NULL);
}

/* ---- What the threads are ------------------------------------------------ */

typedef struct meeting
{
	_Atomic int here;
	_Atomic int engine_threads;
	_Atomic int signal_stacks;
	void	   *stack[MAX_COUNT];
	_Atomic int names;
	int			cpus[MAX_COUNT]; /* that each may run on */
} meeting;

/* Nobody leaves before all have come, so every thread has one index. */
static void
meet(void *arg, int index, int count)
{
	meeting *m = arg;
	stack_t	 stack;
	char	 name[16];

	(void) index;
	atomic_fetch_add(&m->here, 1);
	while (atomic_load(&m->here) < count)
		sched_yield();
	if (!glm_engine_thread())
		return;
	atomic_fetch_add(&m->engine_threads, 1);
	if (sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE))
		m->stack[atomic_fetch_add(&m->signal_stacks, 1)] = stack.ss_sp;
	if (pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 &&
		strcmp(name, "glm compute") == 0)
		atomic_fetch_add(&m->names, 1);
}

static void
test_threads_are_marked(void **state)
{
	glm_threads *pool = open_pool(4);
	meeting		 m = {0};

	(void) state;
	assert_false(glm_engine_thread());
	glm_threads_run(pool, meet, &m);
	assert_int_equal(m.here, 4);
	assert_int_equal(m.engine_threads, 3); /* the caller is not one here */
	assert_int_equal(m.signal_stacks, 3);
	assert_int_equal(m.names, 3);
	assert_false(glm_engine_thread());
	glm_threads_close(pool);
}

/* ---- Faults -------------------------------------------------------------- */

static void
report_fault(int signal)
{
	(void) signal;
	_exit(glm_engine_thread() ? 42 : 1);
}

static int
overflow(volatile int depth)
{
	volatile char page[4096];

	page[0] = (char) depth;
	return depth < 1 << 30 ? overflow(depth + 1) + page[0] : 0;
}

static void
overflow_in_engine(void *arg, int index, int count)
{
	meeting *m = arg;

	(void) index;
	atomic_fetch_add(&m->here, 1);
	while (atomic_load(&m->here) < count)
		sched_yield();
	if (glm_engine_thread())
		overflow(0);
	for (;;)
		pause();
}

/* In a child: the handler runs, on its own stack, and knows the thread. */
static void
test_stack_overflow_is_reported(void **state)
{
	pid_t child = fork();
	int	  status;

	(void) state;
	assert_true(child >= 0);
	if (child == 0)
	{
		struct sigaction action = {.sa_handler = report_fault, .sa_flags = SA_ONSTACK};
		struct rlimit	 no_core = {0, 0};
		meeting			 m = {0};

		setrlimit(RLIMIT_CORE, &no_core);
		sigaction(SIGSEGV, &action, NULL);
		alarm(20);
		glm_threads_run(glm_threads_open(2, NULL), overflow_in_engine, &m);
		_exit(2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

/* ---- Resources ----------------------------------------------------------- */

/* Threads of this process that are not asleep, the caller left out. */
static int
threads_awake(void)
{
	DIR			  *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int			   awake = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
	{
		char  path[300], thread_state = 'R';
		FILE *file;

		if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/stat", entry->d_name);
		file = fopen(path, "r");
		assert_non_null(file);
		assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &thread_state), 1);
		fclose(file);
		awake += thread_state != 'S';
	}
	closedir(dir);
	return awake;
}

static void
test_idle_pool_sleeps(void **state)
{
	glm_threads *pool = open_pool(4);
	time_t		 end = time(NULL) + 600;
	meeting		 m = {0};

	(void) state;
	glm_threads_run(pool, meet, &m);
	while (threads_awake() > 0 && time(NULL) < end)
		sched_yield();
	assert_int_equal(threads_awake(), 0);
	m = (meeting){0};
	glm_threads_run(pool, meet, &m); /* and wakes up again */
	assert_int_equal(m.here, 4);
	glm_threads_close(pool);
}

static void
note_cpus(void *arg, int index, int count)
{
	meeting	 *m = arg;
	cpu_set_t set;

	(void) index;
	meet(m, index, count); /* so that every thread has its turn */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		m->cpus[index] = CPU_COUNT(&set);
}

static void
test_bind(void **state)
{
	glm_threads *pool = open_pool(3);
	meeting		 m = {0};
	cpu_set_t	 allowed;
	char		 first[16], range[48];
	int			 cpu = 0;
	glm_error	 err;

	(void) state;
	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	snprintf(first, sizeof(first), "%d", cpu);
	snprintf(range, sizeof(range), "%d,%d-%d", cpu, cpu, cpu);
	assert_int_equal(glm_cpus_count(first, &err), 1);
	assert_int_equal(glm_cpus_count(range, &err), 1);
	assert_int_equal(glm_cpus_count("", &err), CPU_COUNT(&allowed));
	assert_true(glm_threads_bind(pool, first));
	glm_threads_run(pool, note_cpus, &m);
	for (int i = 0, own = 0; i < 3; i++)
	{
		own += m.cpus[i] == CPU_COUNT(&allowed); /* the caller's, if it may run on more */
		assert_true(m.cpus[i] == 1 || own == 1);
	}
	glm_threads_close(pool);
}

static void
test_bad_lists(void **state)
{
	static const char *const bad[] = {",",	 "0,", "a",		"1-",	   "3-1",
									  "0 1", "-1", "99999", "0-99999", "0;1"};
	glm_error				 err;

	(void) state;
	assert_true(glm_cpus_check("", &err));
	assert_true(glm_cpus_check("0-3,8", &err));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_false(glm_cpus_check(bad[i], &err));
		assert_int_equal(err.status, GLM_BAD_ARGUMENT);
		assert_int_equal(glm_cpus_count(bad[i], &err), 0);
	}
	assert_int_equal(glm_cpus_count("1023", &err), 0);
	assert_int_equal(err.status, GLM_UNSUPPORTED);
}

static void
test_close_unmaps_signal_stacks(void **state)
{
	glm_threads	 *pool = open_pool(4);
	meeting		  m = {0};
	unsigned char resident;

	(void) state;
	glm_threads_run(pool, meet, &m);
	assert_int_equal(m.signal_stacks, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(mincore(m.stack[i], 1, &resident), 0);
	glm_threads_close(pool);
	for (int i = 0; i < 3; i++)
	{
		assert_int_equal(mincore(m.stack[i], 1, &resident), -1);
		assert_int_equal(errno, ENOMEM);
	}
}

static void *
lower_twice(void *arg)
{
	int *nice = arg;

	nice[0] = getpriority(PRIO_PROCESS, 0);
	glm_thread_lower(2);
	nice[1] = getpriority(PRIO_PROCESS, 0);
	glm_thread_lower(1);
	nice[2] = getpriority(PRIO_PROCESS, 0);
	return NULL;
}

/* By steps from what it was, whatever the process began with; and no other thread's. */
static void
test_lower(void **state)
{
	int		  ours = getpriority(PRIO_PROCESS, 0);
	int		  nice[3];
	pthread_t thread;

	(void) state;
	assert_int_equal(pthread_create(&thread, NULL, lower_twice, nice), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(nice[0], ours);
	assert_int_equal(nice[1], ours + 2 < 19 ? ours + 2 : 19);
	assert_int_equal(nice[2], ours + 3 < 19 ? ours + 3 : 19);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), ours);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_index_once),
		cmocka_unit_test(test_every_item_once),
		cmocka_unit_test(test_bad_count),
		cmocka_unit_test(test_threads_are_marked),
		cmocka_unit_test(test_stack_overflow_is_reported),
		cmocka_unit_test(test_idle_pool_sleeps),
		cmocka_unit_test(test_lower),
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_close_unmaps_signal_stacks),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
