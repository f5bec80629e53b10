/*
 * mock.c - see mock.h.
 */
#include "mock.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/compute/backend_host.h"

static bool sleeps;

void
mock_sleeps(void)
{
	sleeps = true;
}

/*
 * In place of the C library's, for who waits for a pass: the driver for tests does nothing while
 * he sleeps, so that passes would seem to take longer, and he would sleep longer, each time.
 */
__attribute__((visibility("default"))) int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
	return sleeps ? (int) syscall(SYS_clock_nanosleep, clock, flags, until, left) : 0;
}

void
mock_devices(int n)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", n);
	setenv("GLM_MOCK_DEVICES", number, 1);
}

const glm_backend *
mock_backend(void)
{
	static const glm_backend *backend;
	const char				 *path = getenv("CUDA_LIBRARY");
	glm_error				  err = {0};

	if (backend == NULL)
		backend = glm_backend_load(path != NULL ? path : LIBRARY, &err);
	if (backend == NULL)
	{
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
	return backend;
}

/* A function of the driver for tests. */
static void
find(const char *name, void *function)
{
	void *library = dlopen("libcuda.so.1", RTLD_NOW), *found;

	found = library != NULL ? dlsym(library, name) : NULL;
	if (found == NULL)
		fail_msg("%s", dlerror());
	memcpy(function, &found, sizeof(found));
}

void
mock_fault(const char *what)
{
	void (*function)(const char *what);

	find("glm_mock_fault", &function);
	function(what);
}

long
mock_calls(const char *what)
{
	long (*function)(const char *what);

	find("glm_mock_calls", &function);
	return function(what);
}

void
mock_room(size_t bytes)
{
	void (*function)(size_t bytes);

	find("glm_mock_room", &function);
	function(bytes);
}

void
mock_room_of(int device, size_t bytes)
{
	void (*function)(int device, size_t bytes);

	find("glm_mock_room_of", &function);
	function(device, bytes);
}

size_t
mock_in_use_of(int device)
{
	size_t (*function)(int device);

	find("glm_mock_in_use_of", &function);
	return function(device);
}

const char *
mock_memory(int device, size_t bytes)
{
	const void *(*function)(int device, size_t bytes);

	find("glm_mock_memory", &function);
	return function(device, bytes);
}

size_t
mock_in_use(void)
{
	size_t (*function)(void);

	find("glm_mock_in_use", &function);
	return function();
}

void
mock_slow(int ms)
{
	void (*function)(int ms);

	find("glm_mock_slow", &function);
	function(ms);
}

long
mock_first_poll(void)
{
	int64_t (*function)(void);

	find("glm_mock_first_poll", &function);
	return (long) function();
}

void
mock_wrong_graphs(bool wrong)
{
	void (*function)(bool wrong);

	find("glm_mock_wrong_graphs", &function);
	function(wrong);
}

void
mock_wrong_kv(bool wrong)
{
	void (*function)(bool wrong);

	find("glm_mock_wrong_kv", &function);
	function(wrong);
}

void
mock_wrong_dependent(bool wrong)
{
	void (*function)(bool wrong);

	find("glm_mock_wrong_dependent", &function);
	function(wrong);
}

void
mock_wgmma(bool wrong, bool idle, bool slow)
{
	void (*function)(bool wrong, bool idle, bool slow);

	find("glm_mock_wgmma", &function);
	function(wrong, idle, slow);
}

void
mock_ptx_version(int version)
{
	void (*function)(int version);

	find("glm_mock_ptx_version", &function);
	function(version);
}

void
mock_capability(int version)
{
	void (*function)(int version);

	find("glm_mock_capability", &function);
	function(version);
}

glm_request *
mock_for_second(int max_tokens)
{
	glm_request *req = make_request("hello", max_tokens, false);

	((char *) req)[req->model.offset] = 'T';
	return req;
}

glm_config
mock_config(const char *device, bool fallback)
{
	return (glm_config){.device = device,
						.backend_library = LIBRARY,
						.fallback = fallback,
						.threads = 1,
						.kv_cache_size = ROOMY,
						.max_sequences = 4,
						.max_queue = 8,
						.prefill_budget = 64,
						.kernels = "auto"};
}

glm_engine *
mock_engine(const glm_config *config)
{
	glm_error	err = {0};
	glm_engine *engine = glm_engine_open(config, &err);

	if (engine == NULL)
		fail_msg("%s", err.message);
	memset(answers, 0, sizeof(answers));
	return engine;
}

const answer *
mock_await(glm_engine *engine, int ticket)
{
	while (!answers[ticket].ended)
		pump(engine, 100);
	return &answers[ticket];
}

int
mock_count_failed(glm_engine *engine, int n, const char *words)
{
	int ticket[8], failed = 0;

	for (int i = 0; i < n; i++)
		ticket[i] = submit(engine, make_request("hello", 6, false));
	for (int i = 0; i < n; i++)
	{
		const answer *a = mock_await(engine, ticket[i]);

		if (a->last.kind == GLM_EVENT_DONE)
			continue;
		failed++;
		if (strstr(a->message, words) == NULL)
			fail_msg("\"%s\" is not in \"%s\"", words, a->message);
	}
	return failed;
}
