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

rn_setup
rn_open(const char *kernels, int threads)
{
	rn_setup  s;
	glm_error err;

	s.threads = glm_threads_open(threads, &err);
	s.kv = glm_kv_pool_open((size_t) 64 << 20);
	s.forward = glm_forward_open(kernels, s.threads, RN_MAX_ROWS, &err);
	assert_true(s.threads && s.kv && s.forward);
	assert_true(glm_forward_kv_pool(s.forward, glm_kv_pool_total(s.kv), &err));
	return s;
}

void
rn_close(rn_setup *s)
{
	assert_int_equal(glm_kv_pool_used(s->kv), 0);
	glm_forward_close(s->forward);
	glm_kv_pool_close(s->kv);
	glm_threads_close(s->threads);
}

void
rn_take_kv(rn_setup *s, const glm_model *model, int tokens, glm_kv_table *kv)
{
	assert_true(glm_kv_take(s->kv, model->kv_block_bytes, tokens / GLM_KV_BLOCK + 1, kv));
}

float *
rn_run(rn_setup *s, const glm_model *model, const glm_row *rows, int n)
{
	float	 *logits;
	glm_error err;

	if (!glm_forward_run(s->forward, model, rows, n, &logits, &err))
		fail_msg("%s", err.message);
	return logits;
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
