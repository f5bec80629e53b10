/*
 * test_backend.c - the door between the engine and a device: devices by name, and an engine
 * on one that computes nothing before it is waited for, and may fail then (late.h).
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "late.h"
#include "made_up.h"
#include "runner.h"

/* ---- Names ---------------------------------------------------------------------- */

static void
test_names(void **state)
{
	static const char *const good[] = {"auto", "cpu",	 "cpu:0",  "cpu:1",
									   "cuda", "cuda:0", "cuda:63"};
	static const char *const bad[] = {"",		 "gpu",	   "cpu:",	   "cpu:x", "cpu:0x", "cpu:-1",
									  "cuda:64", "auto:0", "cuda:1:2", ":0",	"CPU",	  "cpu "};
	glm_error				 err;

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(glm_device_check(good[i], &err));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		assert_false(glm_device_check(bad[i], &err));
		ck_assert_error(&err, GLM_BAD_ARGUMENT, "unknown device");
		assert_true(err.hint[0] != '\0');
	}
	for (int i = 0; i < 3; i++)
		assert_true(glm_device_there(good[i], NULL, &err));
	assert_false(glm_device_there("cpu:1", NULL, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "no device \"cpu:1\", the last is \"cpu:0\"");
	assert_false(glm_device_there("cuda:0", NULL, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "no device \"cuda:0\"");
	assert_true(err.hint[0] != '\0');
	/* nobody asks the driver: that there is its library is all that is known */
	assert_true(glm_device_there("cuda:0", "/dev/null", &err));
	assert_false(glm_device_there("cuda:0", "/nowhere", &err));
	assert_false(glm_device_there("cpu:1", "/dev/null", &err));
	assert_false(glm_device_there("gpu", NULL, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "unknown device \"gpu\"");
}

static int
find_none(glm_device_info *info, int max)
{
	(void) max;
	strcpy(info->why_not, "no driver");
	return 0;
}

static int
find_old(glm_device_info *info, int max)
{
	(void) max;
	strcpy(info->why_not, "too old");
	return 1;
}

/* A backend from outside goes by its name; one of another build is refused. */
static void
test_extra(void **state)
{
	glm_backend		  extra = late_backend;
	glm_device_choice choice;
	glm_error		  err;

	(void) state;
	assert_true(glm_backend_find("late", &extra, &choice, &err));
	assert_ptr_equal(choice.backend, &extra);
	assert_true(glm_backend_find("auto", &extra, &choice, &err));
	assert_string_equal(choice.backend->name, "cpu");
	assert_true(glm_backend_find(NULL, NULL, &choice, &err));
	assert_string_equal(choice.backend->name, "cpu");
	assert_false(glm_backend_find("late", NULL, &choice, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "late");

	extra.find = find_none;
	assert_false(glm_backend_find("late", &extra, &choice, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "no driver");
	extra.find = find_old;
	assert_false(glm_backend_find("late", &extra, &choice, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "too old");

	extra.abi.number++;
	assert_false(glm_backend_find("late", &extra, &choice, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "another version");
	extra.abi = late_backend.abi;
	extra.abi.size[7]++;
	assert_false(glm_backend_find("late", &extra, &choice, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "another version");
}

/* ---- Passes ------------------------------------------------------------------------ */

#define LENGTH 40

/* Rows that want logits, hidden states or nothing. */
static void
add_rows(rn_setup *s, const glm_kv_table *kv)
{
	glm_rows_begin(&s->rows, kv);
	for (int p = 0; p < LENGTH; p++)
		glm_rows_add(&s->rows, p * 37 % 509, p, (glm_want) (p % 3));
}

static bool
give_up(void *arg, glm_error *err)
{
	(void) arg;
	return glm_fail(err, GLM_CANCELLED, "nobody waits");
}

/* The same bits as the CPU's, after passes that failed and that were given up. */
static void
test_passes(void **state)
{
	glm_model	*model = md_make(GLM_Q4, GLM_F16);
	rn_setup	 cpu = rn_open("auto", 2);
	rn_setup	 late = rn_open_on("late", &late_backend, "auto", 2);
	glm_kv_table kv[2];

	(void) state;
	rn_use(&cpu, model);
	rn_use(&late, model);
	rn_take_kv(&cpu, model, LENGTH, &kv[0]);
	rn_take_kv(&late, model, LENGTH, &kv[1]);
	add_rows(&cpu, &kv[0]);
	rn_run(&cpu);

	late_fail(1, GLM_DEVICE_FINE);
	add_rows(&late, &kv[1]);
	rn_run_refused(&late, GLM_INTERNAL, "coughed");
	assert_false(glm_forward_lost(late.forward));
	glm_pause_with(give_up, NULL);
	add_rows(&late, &kv[1]);
	rn_run_refused(&late, GLM_CANCELLED, "nobody waits");
	glm_pause_with(NULL, NULL);
	assert_int_equal(late_pending(), 0); /* nothing is left over for the next */
	add_rows(&late, &kv[1]);
	rn_run(&late);
	assert_memory_equal(late.results.logits, cpu.results.logits, 13 * 509 * sizeof(float));
	assert_memory_equal(late.results.hidden, cpu.results.hidden, 13 * 136 * sizeof(float));

	/* a copy of a block is in order with passes */
	glm_forward_kv_copy(late.forward, 0, kv[1].block[1], kv[1].block[0], model->kv_block_bytes);
	assert_int_equal(late_pending(), 1);
	add_rows(&late, &kv[1]);
	rn_run(&late);
	assert_memory_equal(late.results.logits, cpu.results.logits, 13 * 509 * sizeof(float));

	late_fail(1, GLM_DEVICE_LOST);
	add_rows(&late, &kv[1]);
	rn_run_refused(&late, GLM_INTERNAL, "coughed");
	assert_true(glm_forward_lost(late.forward));
	add_rows(&late, &kv[1]);
	rn_run_refused(&late, GLM_INTERNAL, "coughed");
	glm_kv_give(cpu.kv, model->kv_block_bytes, &kv[0]);
	glm_kv_give(late.kv, model->kv_block_bytes, &kv[1]);
	rn_close(&cpu);
	rn_close(&late);
	md_free(model);
}

/* A device with memory of its own says before it takes any that it has too little. */
static void
test_no_memory(void **state)
{
	glm_model *model = md_make(GLM_F16, GLM_F32);
	rn_setup   late = rn_open_on("late", &late_backend, "auto", 1);
	glm_error  err;

	(void) state;
	late_set_free(1 << 10);
	assert_null(glm_forward_load(late.forward, 0, model, &err));
	ck_assert_error(&err, GLM_NO_ROOM, "device \"late device\"");
	late_set_free(1 << 30);
	rn_use(&late, model);
	rn_close(&late);
	md_free(model);
}

/* What is written may change at once; what is read is there when it was waited for. */
static void
check_copies(const glm_backend *be)
{
	glm_error		 err;
	glm_threads		*pool = glm_threads_open(1, &err);
	glm_device		*dev = be->open(&(int){0}, 1, "auto", pool, GLM_EXACT, &err);
	glm_mem			 m = be->alloc(dev, 0, 4 * sizeof(float), &err);
	glm_device_state state;
	glm_device_info	 info;
	float			 from[4] = {1, 2, 3, 4}, to[2];

	assert_true(m.at != 0);
	be->write(dev, m, from, sizeof(from));
	from[2] = from[3] = 0;
	be->read(dev, to, glm_at(m, 2), sizeof(to));
	be->info(dev, 0, &info);
	assert_int_equal(be->ready(dev, 0), info.host_memory);
	assert_int_equal(to[0] == 3, info.host_memory);
	assert_true(be->wait(dev, 0, &state, &err));
	assert_int_equal(state, GLM_DEVICE_FINE);
	assert_true(be->ready(dev, 0));
	assert_true(to[0] == 3 && to[1] == 4);
	assert_int_equal(be->pick != NULL, info.picks);
	be->free(dev, m);
	be->free(dev, GLM_NO_MEM);
	be->close(dev);
	glm_threads_close(pool);
}

static void
test_copies(void **state)
{
	glm_device_choice cpu;
	glm_error		  err;

	(void) state;
	assert_true(glm_backend_find("cpu", NULL, &cpu, &err));
	check_copies(cpu.backend);
	check_copies(&late_backend);
	check_copies(&late_picker);
}

/* ---- Engines ------------------------------------------------------------------------- */

#define REQUESTS 6

/* Submits prompts that begin alike, so that blocks are shared and copied. */
static void
submit_all(glm_engine *engine, int ticket[REQUESTS])
{
	for (int i = 0; i < REQUESTS; i++)
	{
		char		 prompt[256];
		glm_request *req;

		snprintf(prompt, sizeof(prompt),
				 "lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp lamp order %d chairs", i);
		req = make_request(prompt, 30, false);
		req->temperature = 5; /* so hot that the end is not soon */
		req->seed = (uint64_t) i;
		ticket[i] = submit(engine, req);
	}
}

/* Waits for all; how many of them failed, each as the device said. */
static int
count_failed(glm_engine *engine, const int ticket[REQUESTS])
{
	int n = 0;

	for (int i = 0; i < REQUESTS; i++)
	{
		answer *a = wait_for(engine, ticket[i]);

		if (a->last.kind == GLM_EVENT_DONE)
			continue;
		n++;
		assert_int_equal(a->last.status, GLM_INTERNAL);
		assert_string_equal(a->message, "the device coughed");
	}
	return n;
}

/* A pass that fails takes its sequences along; whoever comes next is answered as ever. */
static void
test_engine_failed_pass(void **state)
{
	glm_engine *engine = open_engine_on(&late_backend, 2, 4, (size_t) 16 << 20, GLM_KV_AUTO);
	static char before[REQUESTS][sizeof(answers[0].text)];
	int			ticket[REQUESTS];

	(void) state;
	submit_all(engine, ticket);
	assert_int_equal(count_failed(engine, ticket), 0);
	for (int i = 0; i < REQUESTS; i++)
		strcpy(before[i], answers[ticket[i]].text);
	for (int n = 1; n <= 6; n++)
	{
		late_fail(n, GLM_DEVICE_FINE);
		submit_all(engine, ticket);
		/* those of a pass, not the ones that wait for a place */
		assert_in_range(count_failed(engine, ticket), 1, 4);
		for (int i = 0; i < REQUESTS; i++)
			if (answers[ticket[i]].last.kind == GLM_EVENT_DONE)
				assert_string_equal(answers[ticket[i]].text, before[i]);
	}
	assert_int_equal(stats_of(engine).kv_bytes_used, 0);
	glm_engine_close(engine);
}

/* A lost device takes all along, and the host is told. */
static void
test_engine_lost(void **state)
{
	glm_engine *engine = open_engine_on(&late_backend, 2, 2, (size_t) 16 << 20, GLM_KV_AUTO);
	int			ticket[REQUESTS];
	glm_error	err = {0};

	(void) state;
	submit_all(engine, ticket);
	assert_int_equal(count_failed(engine, ticket), 0);
	assert_false(glm_engine_lost(engine, &err));
	late_fail(3, GLM_DEVICE_LOST);
	submit_all(engine, ticket);
	assert_int_equal(count_failed(engine, ticket), REQUESTS);
	assert_true(glm_engine_lost(engine, &err));
	ck_assert_error(&err, GLM_INTERNAL, "coughed");
	submit_all(engine, ticket);
	assert_int_equal(count_failed(engine, ticket), REQUESTS);
	/* what needs no pass goes on */
	assert_int_equal(stats_of(engine).running + stats_of(engine).waiting, 0);
	glm_engine_close(engine);
}

/* A device that is not there is said so when the engine is opened. */
static void
test_engine_device_there(void **state)
{
	glm_config config = {.device = "cuda:0",
						 .kernels = "auto",
						 .kv_cache_size = (size_t) 16 << 20,
						 .max_sequences = 2,
						 .max_queue = 2,
						 .prefill_budget = 64};
	glm_error  err = {0};

	(void) state;
	assert_null(glm_engine_open(&config, &err));
	ck_assert_error(&err, GLM_UNSUPPORTED, "cuda:0");
	assert_true(err.hint[0] != '\0');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),		cmocka_unit_test(test_extra),
		cmocka_unit_test(test_passes),		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_copies),		cmocka_unit_test(test_engine_failed_pass),
		cmocka_unit_test(test_engine_lost), cmocka_unit_test(test_engine_device_there),
	};

	return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
