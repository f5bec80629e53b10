/*
 * test_device_memory.c - a device's memory: what the KV pool and models take of it, that
 * others keep theirs, what is said where it does not suffice, and that all of it is given back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/serve/engine.h"
#include "mock.h"

#define MB ((size_t) 1 << 20)
#define OTHERS (512 * MB) /* that are left to other processes */
#define PLENTY ((size_t) 4096 * MB)

static void
check_fails(const answer *a, glm_status status, const char *words)
{
	assert_int_equal(a->last.kind, GLM_EVENT_ERROR);
	assert_int_equal(a->last.status, status);
	if (strstr(a->message, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, a->message);
	/* what can be done is said */
	assert_true(a->last.advice != GLM_ADVICE_NONE || a->message[strlen(a->message) + 1] != '\0');
}

/* ---- The pool ---------------------------------------------------------------------------- */

/* As large as it was asked for where there is room, else what the first model leaves. */
static void
test_pool(void **state)
{
	static const size_t wanted[] = {16 * MB, 2048 * MB};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		glm_config	config = mock_config("cuda:0", false);
		glm_engine *engine;

		mock_room(OTHERS + 256 * MB);
		config.kv_cache_size = wanted[i];
		engine = mock_engine(&config);
		assert_int_equal(mock_count_failed(engine, 2, ""), 0);
		if (i == 0)
			assert_int_equal(stats_of(engine).kv_bytes_total, wanted[i]);
		else
			assert_in_range(stats_of(engine).kv_bytes_total, 128 * MB, 255 * MB);
		assert_true(mock_in_use() <= 256 * MB + 16 * MB); /* pinned memory is the host's */
		glm_engine_close(engine);
		assert_int_equal(mock_in_use(), 0);
	}
	mock_room(PLENTY);
}

/* Where others have the device there is none to be had. */
static void
test_no_memory_at_all(void **state)
{
	glm_config	config = mock_config("cuda:0", false);
	glm_error	err = {0};
	glm_engine *engine;

	(void) state;
	mock_room(OTHERS);
	assert_null(glm_engine_open(&config, &err));
	assert_int_equal(err.status, GLM_NO_ROOM);
	assert_non_null(strstr(err.message, "\"mock GPU\" has no memory for a KV cache: of 512 MB 0"));
	assert_true(err.hint[0] != '\0');
	config.device = "auto";
	engine = mock_engine(&config);
	assert_string_equal(stats_of(engine).device, "CPU");
	assert_non_null(strstr(stats_of(engine).device_why, "no memory for a KV cache"));
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

/* A request that the pool turns out to be too small for when the model is there. */
static void
test_pool_too_small_for_a_request(void **state)
{
	glm_config config = mock_config("cuda:0", false);
	bool	   found = false;

	(void) state;
	/* until there is room for the model, and next to nothing beside it */
	for (size_t room = MB; !found; room += MB / 2)
	{
		glm_engine	 *engine;
		const answer *a;

		mock_room(OTHERS + room);
		engine = mock_engine(&config);
		a = mock_await(engine, submit(engine, make_request("hello", 2000, false)));
		found = strstr(a->message, "bytes of KV cache") != NULL;
		check_fails(a, GLM_NO_ROOM, found ? "tokens of model" : "are free");
		glm_engine_close(engine);
	}
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

/* ---- Models ------------------------------------------------------------------------------ */

/* What is on the device needs no pages of the host, and its limit counts none. */
static void
test_memory_limit(void **state)
{
	glm_config	   config = mock_config("cuda:0", false);
	glm_engine	  *engine;
	glm_model_info info;
	int			   ticket;

	(void) state;
	config.memory_limit = MB;
	engine = mock_engine(&config);
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	assert_int_equal(glm_engine_models(engine, &info, 1), 1);
	assert_true(info.size_bytes > config.memory_limit);
	assert_int_equal(info.chunks_mapped, 0);
	glm_engine_close(engine);

	config.device = "cpu";
	engine = mock_engine(&config);
	ticket = submit(engine, make_request("hello", 4, false));
	assert_non_null(strstr(mock_await(engine, ticket)->message, "more than the limit"));
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

/* One too many while another serves fails and leaves that alone; an idle one makes way. */
static void
test_one_too_many(void **state)
{
	glm_config	config = mock_config("cuda:0", false);
	glm_engine *engine = mock_engine(&config);
	int			served, refused;
	size_t		before, need;

	(void) state;
	before = mock_in_use();
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	need = mock_in_use() - before - ROOMY;
	mock_room(mock_in_use() + OTHERS + need / 8);
	hold(engine);
	served = submit(engine, make_request("lamp", 12, false));
	wait_running(engine, 1);
	refused = submit(engine, mock_for_second(4));
	check_fails(mock_await(engine, refused), GLM_NO_ROOM, "model \"Tiny-chatglm3\" needs ");
	assert_non_null(strstr(answers[refused].message, "MB of memory on device \"mock GPU\""));
	glm_engine_set_step_delay(engine, 0);
	assert_int_equal(mock_await(engine, served)->last.kind, GLM_EVENT_DONE);

	assert_int_equal(engine->models.evicted, 0);
	assert_int_equal(mock_await(engine, submit(engine, mock_for_second(4)))->last.kind,
					 GLM_EVENT_DONE);
	assert_int_equal(engine->models.evicted, 1);
	glm_engine_close(engine);
	mock_room(PLENTY);
	assert_int_equal(mock_in_use(), 0);
}

static uint64_t
digest_of_logits(glm_engine *engine)
{
	int32_t		  tokens[] = {1, 2, 3};
	const answer *a = mock_await(engine, submit(engine, make_for_tokens(GLM_LOGITS, tokens, 3)));
	uint64_t	  digest = 0;

	assert_int_equal(a->last.kind, GLM_EVENT_DONE);
	assert_true(a->length > 0);
	for (size_t i = 0; i < a->length; i++)
		digest = digest * 31 + (unsigned char) a->text[i];
	return digest;
}

/* Logits come home to pinned memory, or where there is none to other. */
static void
test_logits(void **state)
{
	glm_config config = mock_config("cuda:0", false);
	uint64_t   digest[2];

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		glm_engine *engine = mock_engine(&config);

		/* the first three are for the pass, and for what is uploaded */
		mock_fault(i == 0 ? "" : "cuMemHostAlloc:4:2");
		digest[i] = digest_of_logits(engine);
		assert_true(mock_calls("cuMemHostAlloc") >= 4);
		assert_int_equal(mock_calls("unpinned"), i);
		glm_engine_close(engine);
		assert_int_equal(mock_in_use(), 0);
	}
	mock_fault("");
	assert_true(digest[0] == digest[1]);
}

/* All that loading took comes back. */
static void
test_unload(void **state)
{
	glm_config	 config = mock_config("cuda:0", false);
	glm_engine	*engine = mock_engine(&config);
	size_t		 one;
	glm_request *req;

	(void) state;
	glm_engine_set_tuning(engine, false); /* graphs, of which there may be more, stay */
	assert_int_equal(mock_count_failed(engine, 1, ""), 0);
	one = mock_in_use();
	for (int i = 0; i < 3; i++)
	{
		assert_int_equal(mock_await(engine, submit(engine, mock_for_second(2)))->last.kind,
						 GLM_EVENT_DONE);
		assert_true(mock_in_use() > one);
		req = mock_for_second(2);
		req->kind = GLM_UNLOAD;
		assert_int_equal(mock_await(engine, submit(engine, req))->last.kind, GLM_EVENT_DONE);
		while (mock_in_use() != one) /* a thread of its own closes it */
			pump(engine, 1);
	}
	glm_engine_close(engine);
	assert_int_equal(mock_in_use(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_no_memory_at_all),
		cmocka_unit_test(test_pool_too_small_for_a_request),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_one_too_many),
		cmocka_unit_test(test_unload),
		cmocka_unit_test(test_logits),
	};

	mock_backend();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
