/*
 * test_device_faults.c - what fails on a device is said, in the driver's words, to those
 * whom it concerns, and leaves the rest as it was.  Every function of the driver is made to
 * fail, in every phase of a device's life: a call there, in a way that
 * the device outlives and in one that it does not.
 *
 *     test_device_faults
 *     test_device_faults cuda:0,1    the same of several that a model is divided among
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda/driver.h"
#include "engine/glm.h"
#include "mock.h"

#define PART ((size_t) (512 + 15) << 20) /* has no room for the whole model */
#define TOO_LONG 1800 /* s; a test that hangs ends then, on however slow a machine */

static const char *device = "cuda:0";
static bool		   several;

/* ---- The device's functions ----------------------------------------------------------- */

static const char *const functions[] = {
#define NAME(name, ours, parameters) #name,
	GLM_CUDA_DRIVER(NAME)
#undef NAME
};

#define N_FUNCTIONS ((int) (sizeof(functions) / sizeof(functions[0])))

/* As mock_fault() knows it: without its version. */
static const char *
plain(const char *name)
{
	static char plain[64];

	snprintf(plain, sizeof(plain), "%s", name);
	if (strstr(plain, "_v2") != NULL)
		*strstr(plain, "_v2") = '\0';
	return plain;
}

/* ---- A device's life -------------------------------------------------------------------- */

typedef enum phase
{
	OPEN,
	LOAD, /* and a pass */
	PASS,
	COPY, /* of a KV block, and a pass whose logits are wanted */
	UNLOAD,
	AGAIN, /* loaded */
	CLOSE,
	N_PHASES
} phase;

/* A life: its faults, and what came of it. */
typedef struct life
{
	phase		at;		 /* when the fault is to be */
	phase		entered; /* the last */
	const char *fault;
	int			failed; /* requests */
	char		message[512];
	bool		lost, on_cpu;
	bool		reached; /* there were as many calls */
	long	   *calls;	 /* [N_PHASES, N_FUNCTIONS], or NULL */
} life;

/* Is this one of its phases?  All of those that are counted, else what its fault needs. */
static bool
enter_phase(life *l, phase now)
{
	char function[64];
	long nth;

	/* two that are divided find no room at a time, and nobody waits for the one that goes */
	if (several && now == UNLOAD)
		return false;
	if (l->calls == NULL && now != l->at && (now == PASS || now == COPY || now == UNLOAD) &&
		!(now == UNLOAD && l->at == AGAIN))
		return false;
	if (l->calls != NULL && now > OPEN)
		for (int i = 0; i < N_FUNCTIONS; i++)
			l->calls[l->entered * N_FUNCTIONS + i] = mock_calls(plain(functions[i]));
	l->entered = now;
	if (now > l->at && !l->reached && sscanf(l->fault, "%63[^:]:%ld", function, &nth) == 2)
		l->reached = mock_calls(function) >= nth;
	mock_fault(now == l->at ? l->fault : "");
	return true;
}

static void
ask(life *l, glm_engine *engine, glm_request *req)
{
	const answer *a = mock_await(engine, submit(engine, req));

	if (a->last.kind == GLM_EVENT_DONE)
		return;
	if (l->failed++ == 0)
		snprintf(l->message, sizeof(l->message), "%s", a->message);
}

/* A prompt of its own and of others, so that KV blocks are copied; logits come home. */
static void
copy(life *l, glm_engine *engine)
{
	glm_request *req =
		make_request("lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp tree", 1, false);
	int32_t tokens[] = {1, 2, 3};

	ask(l, engine,
		make_request("lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp", 1, false));
	ask(l, engine, req);
	ask(l, engine, make_for_tokens(GLM_LOGITS, tokens, 3));
}

static void
unload(life *l, glm_engine *engine)
{
	glm_request *req = make_request("hello", 1, false);

	req->kind = GLM_UNLOAD;
	ask(l, engine, req);
	/* by a thread that nobody waits for, but who opens the model anew */
	ask(l, engine, mock_for_second(1));
}

static void
live(life *l)
{
	glm_config	config = mock_config(device, true);
	glm_engine *engine;
	glm_stats	stats;
	glm_error	err = {0};

	if (several)
		mock_room(PART);
	enter_phase(l, OPEN);
	engine = mock_engine(&config);
	stats = stats_of(engine);
	l->on_cpu = strcmp(stats.device, "CPU") == 0;
	if (l->on_cpu)
		snprintf(l->message, sizeof(l->message), "%s", stats.device_why);
	enter_phase(l, LOAD);
	ask(l, engine, make_request("hello", 1, false));
	if (enter_phase(l, PASS))
		ask(l, engine, make_request("hello", 2, false));
	if (enter_phase(l, COPY))
		copy(l, engine);
	if (enter_phase(l, UNLOAD))
		unload(l, engine);
	enter_phase(l, AGAIN);
	ask(l, engine, make_request("hello", 1, false));
	l->lost = glm_engine_lost(engine, &err);
	if (l->lost && l->message[0] == '\0')
		snprintf(l->message, sizeof(l->message), "%s", err.message);
	enter_phase(l, CLOSE);
	glm_engine_close(engine);
	enter_phase(l, N_PHASES);
}

/* ---- Lives in processes of their own -------------------------------------------------- */

/* What a process leaves. */
typedef struct left
{
	long   calls[N_PHASES * N_FUNCTIONS];
	life   life;
	size_t in_use;
} left;

static left *
shared(void)
{
	left *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(l != MAP_FAILED);
	return l;
}

/* The driver's state is a process's: a device that is lost is so for good. */
static void
live_apart(left *l, phase at, const char *fault)
{
	pid_t child;
	int	  status;

	memset(l, 0, sizeof(*l));
	l->life = (life){.at = at, .fault = fault, .calls = fault[0] == '\0' ? l->calls : NULL};
	fflush(NULL);
	child = fork();
	if (child == 0)
	{
		alarm(TOO_LONG);
		live(&l->life);
		l->in_use = mock_in_use();
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("\"%s\" in phase %d: ended by %x", fault, (int) at, (unsigned) status);
}

/* Lasting ones lose the device, which is told; the others end what they hit and no more. */
static void
check_life(const left *l, phase at, const char *fault, bool lasts)
{
	const life *life = &l->life;
	bool		told = life->message[0] != '\0';

	assert_true(life->reached || !told);
	if (!life->reached)
		return;
	if (told && strstr(life->message, lasts ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_") == NULL)
		fail_msg("\"%s\" in phase %d: %s", fault, (int) at, life->message);
	if (at == OPEN && life->on_cpu)
		assert_int_equal(life->failed, 0);
	else if (lasts && at < CLOSE && !life->lost)
		fail_msg("\"%s\" in phase %d: the device is lost, and nobody knows", fault, (int) at);
	else if (lasts && at < CLOSE)
		assert_true(life->failed > 0);
	else if (!lasts && (life->lost || life->failed > 2))
		fail_msg("\"%s\" in phase %d: %d failed, lost: %d (%s)", fault, (int) at, life->failed,
				 life->lost, life->message);
	/* a call that gives something back, and fails, does not */
	if (!lasts && strstr(fault, "Free") == NULL && strstr(fault, "Destroy") == NULL &&
		strstr(fault, "Unload") == NULL && strstr(fault, "Release") == NULL &&
		strstr(fault, "SetCurrent") == NULL && l->in_use != 0)
		fail_msg("\"%s\" in phase %d: %zu bytes are left", fault, (int) at, l->in_use);
}

static int n_reached;

/* The n-th call of a function in a phase. */
static void
check_fault(left *l, phase at, const char *function, long nth, bool lasts)
{
	char fault[96];

	snprintf(fault, sizeof(fault), "%s:%ld:%d", function, nth, lasts ? 700 : 1);
	live_apart(l, at, fault);
	n_reached += l->life.reached;
	check_life(l, at, fault, lasts);
}

static void
test_every_function(void **state)
{
	left *counted = shared(), *l = shared();
	int	  n = 0;

	(void) state;
	live_apart(counted, OPEN, "");
	assert_int_equal(counted->life.failed, 0);
	assert_int_equal(counted->in_use, 0);
	for (int at = OPEN; at < N_PHASES; at++)
		for (int i = 0; i < N_FUNCTIONS; i++)
		{
			long calls = counted->calls[at * N_FUNCTIONS + i];

			/* how often it is asked whether a pass is done depends on the machine */
			if (strcmp(functions[i], "cuStreamQuery") == 0 && calls > 1)
				calls = 1;
			for (int lasts = 0; lasts < 2 && calls > 0; lasts++, n++)
				check_fault(l, (phase) at, plain(functions[i]), (n % 2) * (calls / 2) + 1, lasts);
		}
	print_message("    %d faults, %d of them came\n", n, n_reached);
	assert_true(n > 100 && n_reached > n - n / 8);
	munmap(counted, sizeof(*counted));
	munmap(l, sizeof(*l));
}

/* A kernel's fault comes with the pass that it ends, and stays. */
static void
test_kernels(void **state)
{
	static const phase at[] = {LOAD, PASS, COPY, AGAIN};
	left			  *l = shared();

	(void) state;
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		check_fault(l, at[i], "kernel", 1 + 5 * (long) i, true);
	munmap(l, sizeof(*l));
}

/* ---- What goes on ----------------------------------------------------------------------- */

/* What a device outlives ends those in the pass, and no others. */
static void
test_outlived(void **state)
{
	glm_config	config = mock_config("cuda:0", false);
	glm_engine *engine = mock_engine(&config);
	glm_error	err;

	(void) state;
	assert_int_equal(mock_count_failed(engine, 2, ""), 0);
	mock_fault("cuLaunchKernel:40:701");
	assert_true(mock_count_failed(engine, 4, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES") > 0);
	mock_fault("");
	assert_false(glm_engine_lost(engine, &err));
	assert_int_equal(mock_count_failed(engine, 4, ""), 0);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* A model that cannot be loaded fails who asked for it, and can be loaded later. */
static void
test_load(void **state)
{
	glm_config	config = mock_config("cuda:0", false);
	glm_engine *engine = mock_engine(&config);
	glm_error	err;

	(void) state;
	mock_fault("cuMemAlloc:2:2");
	assert_int_equal(mock_count_failed(engine, 1, "CUDA_ERROR_OUT_OF_MEMORY"), 1);
	mock_fault("cuMemcpyHtoDAsync:5:1");
	assert_int_equal(mock_count_failed(engine, 1, "CUDA_ERROR_INVALID_VALUE"), 1);
	mock_fault("");
	assert_int_equal(mock_count_failed(engine, 2, ""), 0);
	assert_false(glm_engine_lost(engine, &err));
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest of_several[] = {
		cmocka_unit_test(test_every_function),
		cmocka_unit_test(test_kernels),
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_function),
		cmocka_unit_test(test_kernels),
		cmocka_unit_test(test_outlived),
		cmocka_unit_test(test_load),
	};

	several = argc > 1;
	if (several)
	{
		device = argv[1];
		mock_devices(2);
	}
	mock_backend();
	if (several)
		return cmocka_run_group_tests(of_several, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
