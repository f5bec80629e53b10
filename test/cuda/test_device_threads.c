/*
 * test_device_threads.c - a thread that cannot be started while a model goes to a device: those
 * that help to fill the pinned memory are done without, others are an error that says so.
 *
 * The threads of the engine are started through pthread_create() below, which fails when it is told to.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "mock.h"

#define MOST 64 /* threads of a load, and many more */

static atomic_int started;	   /* since they were counted */
static atomic_int fails_first; /* 1: the first since then fails; 0: none does */
static atomic_int fails_end;   /* as do those before that one */
static atomic_int failed;

int
pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*thread_main)(void *),
			   void *arg)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*) (void *), void *);
	void *found = dlsym(RTLD_NEXT, "pthread_create");
	int	  number = atomic_fetch_add(&started, 1) + 1;

	if (number >= atomic_load(&fails_first) && number < atomic_load(&fails_end))
	{
		atomic_fetch_add(&failed, 1);
		return EAGAIN;
	}
	memcpy(&create, &found, sizeof(create));
	return create(thread, attr, thread_main, arg);
}

/* Those from `first` on, up to `end`, which is the first that does not. */
static void
fail_threads(int first, int end)
{
	atomic_store(&fails_end, 0);
	atomic_store(&failed, 0);
	atomic_store(&started, 0);
	atomic_store(&fails_first, first);
	atomic_store(&fails_end, end);
}

static void
unload(glm_engine *engine)
{
	glm_request *req = make_request("hello", 1, false);

	req->kind = GLM_UNLOAD;
	assert_int_equal(mock_await(engine, submit(engine, req))->last.kind, GLM_EVENT_DONE);
}

static const char *
answer_once(glm_engine *engine)
{
	const answer *a = mock_await(engine, submit(engine, make_request("hello", 6, false)));

	if (a->last.kind != GLM_EVENT_DONE)
		fail_msg("%s", a->message);
	return a->text;
}

/* What a load does when threads in [first, end) cannot be started; is it done all the same? */
static bool
load_without(int first, int end, const char *expected, int *missed)
{
	glm_config	  config = mock_config("cuda:0", false);
	glm_engine	 *engine = mock_engine(&config);
	const answer *a;
	bool		  done;

	fail_threads(first, end);
	a = mock_await(engine, submit(engine, make_request("hello", 6, false)));
	*missed = atomic_load(&failed);
	fail_threads(0, 0);
	done = a->last.kind == GLM_EVENT_DONE;
	if (done)
		assert_string_equal(a->text, expected);
	else
	{
		assert_int_equal(a->last.status, GLM_NO_ROOM);
		assert_true(strlen(a->message) > 0);
	}
	assert_string_equal(answer_once(engine), expected);
	unload(engine);
	assert_string_equal(answer_once(engine), expected);
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
	return done;
}

/* Each alone, until there are no more of them. */
static void
test_one(void **state)
{
	glm_config	config = mock_config("cpu", false);
	glm_engine *cpu = mock_engine(&config);
	char		expected[256];
	int			n, missed = 1, done = 0, refused = 0;

	(void) state;
	strncpy(expected, answer_once(cpu), sizeof(expected) - 1);
	expected[sizeof(expected) - 1] = '\0';
	glm_engine_close(cpu);
	for (n = 1; missed > 0 && n < MOST; n++)
		if (!load_without(n, n + 1, expected, &missed))
			refused++;
		else if (missed > 0)
			done++;
	assert_int_equal(missed, 0);
	/* a thread of the model's, and the one that helps to copy */
	assert_true(refused > 0 && done > 0);
	for (int first = 1; first < n; first++)
		load_without(first, MOST, expected, &missed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_one)};

	mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
