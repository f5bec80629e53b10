/*
 * runner.c - see runner.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "checkpoint.h"
#include "runner.h"

#define MAX_BLOCKS 1024 /* of all sequences of a pass */

rn_setup
rn_open(const char *kernels, int threads)
{
	return rn_open_on("cpu", NULL, kernels, threads);
}

static rn_setup
open_at(const char *device, const glm_backend *extra, const char *kernels, int threads, bool last,
		glm_arithmetic arithmetic)
{
	rn_setup			s = {0};
	glm_forward_options options = {.device = device,
								   .backend = extra,
								   .kernels = kernels,
								   .arithmetic = arithmetic,
								   .max_rows = RN_MAX_ROWS};
	glm_error			err = {0};

	options.pool = s.threads = glm_threads_open(threads, &err);
	s.kv = glm_kv_pool_open((size_t) 64 << 20);
	s.forward = glm_forward_open(&options, &err);
	if (s.forward == NULL)
		fail_msg("%s", err.message);
	s.place = last ? glm_forward_places(s.forward) - 1 : 0;
	assert_true(glm_forward_kv_pool(s.forward, s.place, glm_kv_pool_total(s.kv), &err));
	assert_true(glm_rows_reserve(&s.rows, RN_MAX_ROWS + 1, MAX_BLOCKS, &err));
	return s;
}

rn_setup
rn_open_on(const char *device, const glm_backend *extra, const char *kernels, int threads)
{
	return open_at(device, extra, kernels, threads, false, GLM_EXACT);
}

rn_setup
rn_open_fast(const char *device, const glm_backend *extra, int threads)
{
	return open_at(device, extra, "auto", threads, false, GLM_FAST);
}

rn_setup
rn_open_on_all(const char *device, const glm_backend *extra, int threads)
{
	return open_at(device, extra, "auto", threads, true, GLM_EXACT);
}

void
rn_close(rn_setup *s)
{
	assert_int_equal(glm_kv_pool_used(s->kv), 0);
	if (s->weights != NULL)
		glm_forward_unload(s->forward, s->weights);
	glm_forward_close(s->forward);
	glm_kv_pool_close(s->kv);
	glm_threads_close(s->threads);
	glm_rows_free(&s->rows);
}

void
rn_use(rn_setup *s, const glm_model *model)
{
	glm_error err = {0};

	if (s->weights != NULL)
		glm_forward_unload(s->forward, s->weights);
	s->model = model;
	s->weights = glm_forward_load(s->forward, s->place, model, &err);
	if (s->weights == NULL || !glm_forward_prepare(s->forward, s->place, model, &err))
		fail_msg("%s", err.message);
}

void
rn_take_kv(rn_setup *s, const glm_model *model, int tokens, glm_kv_table *kv)
{
	assert_true(glm_kv_take(s->kv, model->kv_block_bytes, tokens / GLM_KV_BLOCK + 1, kv));
}

void
rn_row(rn_setup *s, const glm_kv_table *kv, int32_t token, int position, bool logits)
{
	glm_rows_begin(&s->rows, kv);
	glm_rows_add(&s->rows, token, position, logits ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
}

/* Whatever comes of it, the next pass begins without rows. */
static bool
run(rn_setup *s, glm_error *err)
{
	bool ok =
		glm_forward_run(s->forward, s->model, s->weights, &s->rows.pass, NULL, &s->results, err);

	glm_rows_clear(&s->rows);
	return ok;
}

const float *
rn_run(rn_setup *s)
{
	glm_error err = {0};

	if (!run(s, &err))
		fail_msg("%s", err.message);
	return s->results.logits;
}

void
rn_run_refused(rn_setup *s, glm_status status, const char *fragment)
{
	glm_error err = {0};

	assert_false(run(s, &err));
	ck_assert_error(&err, status, fragment);
}

void
rn_each_golden(void (*check)(const char *dir, const char *expected))
{
	const char *golden = ck_golden();

	if (golden == NULL)
		skip();
	for (const char *name = "ab"; *name; name++)
	{
		char dir[CK_PATH], expected[CK_PATH];

		snprintf(dir, sizeof(dir), "%s/chatglm3-%c", golden, *name);
		ck_path(expected, dir, "expected.json");
		check(dir, expected);
	}
}
