/*
 * test_allocation.c - the token loop takes no memory.
 *
 * This program's malloc and its kin stand before the C library's and count calls
 * by the engine's threads.  Once some tokens of an answer have come, a hundred
 * more may not cause a single one.  Under a sanitizer, which has a malloc of its
 * own, there is nothing to count.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "engine/glm.h"
#include "sanitized.h"

#if !SANITIZED
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t n);
extern void *__libc_memalign(size_t align, size_t n);
#endif

#define WARM 12
#define STEPS 100
#define SEQUENCES 8 /* some end sooner */

static _Atomic int calls;

#if !SANITIZED

static void
count(void)
{
	if (glm_engine_thread())
		atomic_fetch_add(&calls, 1);
}

void *
malloc(size_t n)
{
	count();
	return __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *
realloc(void *old, size_t n)
{
	count();
	return __libc_realloc(old, n);
}

int
posix_memalign(void **to, size_t align, size_t n)
{
	count();
	*to = __libc_memalign(align, n);
	return *to != NULL ? 0 : 12;
}

#endif

static void
put_text(glm_request *req, glm_span *span, const char *text)
{
	*span = (glm_span){req->size, (uint32_t) strlen(text)};
	memcpy((char *) req + req->size, text, strlen(text) + 1);
	req->size += span->length + 1;
}

/* An answer of many tokens: a greedy one, beside some that sample in all ways. */
static void
submit(glm_engine *engine, int number)
{
	_Alignas(8) char block[sizeof(glm_request) + 256] = {0};
	glm_request		*req = (glm_request *) block;
	glm_error		 err;

	req->size = sizeof(*req);
	req->kind = GLM_GENERATE;
	req->form = GLM_RAW;
	req->id = (uint64_t) number + 1;
	put_text(req, &req->model, "tiny-chatglm3");
	put_text(req, &req->path, "models/tiny-chatglm3");
	put_text(req, &req->text, "One two three four five");
	req->max_tokens = 4 * STEPS;
	req->top_p = number % 3 == 1 ? 0.95 : 1;
	req->top_k = number % 3 == 2 ? 500 : 0;
	req->temperature = number == 0 ? 0 : 5; /* so hot that the end is not soon */
	req->seed = (uint64_t) number;
	req->repetition_penalty = number == 3 ? 1.1 : 1;
	req->stream = true;
	assert_true(glm_request_check(req, req->size, &err));
	assert_true(glm_engine_submit(engine, req, &err) >= 0);
}

/* Takes events until all answers that go on have this many tokens; how many go on. */
static int
take(glm_engine *engine, uint32_t taken[SEQUENCES], bool ended[SEQUENCES], uint32_t until)
{
	static glm_event event[GLM_EVENT_MAX / sizeof(glm_event) + 1];
	struct pollfd	 fd = {.fd = glm_engine_fd(engine), .events = POLLIN};

	for (;;)
	{
		int going = 0, behind = 0;

		for (int i = 0; i < SEQUENCES; i++)
		{
			going += !ended[i];
			behind += !ended[i] && taken[i] < until;
		}
		if (behind == 0)
			return going;
		assert_int_equal(poll(&fd, 1, 60000), 1);
		while (glm_engine_poll(engine, event))
		{
			int number = (int) event->id - 1;

			if (event->kind == GLM_EVENT_TOKEN)
				glm_engine_taken(engine, event->ticket, ++taken[number]);
			else
				ended[number] = true;
		}
	}
}

static void
token_loop_takes_no_memory(void **state)
{
	glm_config	config = {.threads = 2,
						  .kv_cache_size = (size_t) 64 << 20,
						  .max_sequences = SEQUENCES,
						  .max_queue = 8,
						  .prefill_budget = 64,
						  .kernels = "auto"};
	uint32_t	taken[SEQUENCES] = {0};
	bool		ended[SEQUENCES] = {false};
	glm_error	err;
	glm_engine *engine;
	int			before;

	(void) state;
	if (!memory_tells())
		skip();
	engine = glm_engine_open(&config, &err);
	assert_non_null(engine);
	for (int i = 0; i < SEQUENCES; i++)
		submit(engine, i);
	assert_true(take(engine, taken, ended, WARM) > 0);
	before = atomic_load(&calls);
	assert_true(before > 0); /* the model was loaded by one of the threads */
	assert_true(take(engine, taken, ended, WARM + STEPS) > 0);
	assert_int_equal(atomic_load(&calls), before);
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_loop_takes_no_memory),
	};

	return cmocka_run_group_tests_name("allocation", tests, NULL, NULL);
}
