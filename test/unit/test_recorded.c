/*
 * test_recorded.c - the forward pass on real checkpoints: logits and answers that
 * were recorded with them, the golden ones where they are, and the embedded model's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "checkpoint.h"
#include "engine/model/residency.h"
#include "runner.h"

static int32_t
greedy(const float *logits, int vocab)
{
	int32_t best = 0;

	for (int i = 1; i < vocab; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

/* Computes a prompt in chunks; the logits after it. */
static const float *
prefill(rn_setup *s, const json_t *ids, const glm_kv_table *kv)
{
	int			 n = (int) json_array_size(ids);
	const float *logits = NULL;

	for (int done = 0; done < n;)
	{
		int end = n - done < RN_MAX_ROWS ? n : done + RN_MAX_ROWS;

		glm_rows_begin(&s->rows, kv);
		for (; done < end; done++)
			glm_rows_add(&s->rows, (int32_t) json_integer_value(json_array_get(ids, (size_t) done)),
						 done, done == n - 1 ? GLM_WANT_LOGITS : GLM_WANT_NOTHING);
		logits = rn_run(s);
	}
	return logits;
}

/* `expected` lists the first logits, as many as were recorded. */
static double
worst_logit(const float *logits, const json_t *expected)
{
	double worst = 0;

	for (size_t i = 0; i < json_array_size(expected); i++)
		worst = fmax(worst, fabs(logits[i] - json_number_value(json_array_get(expected, i))));
	return worst;
}

static void
check_logits(rn_setup *s, const glm_model *model, const json_t *entry, double *worst)
{
	const json_t *ids = json_object_get(entry, "ids");
	glm_kv_table  kv;

	/* those of the padding behind the vocabulary were not recorded */
	assert_in_range(json_array_size(json_object_get(entry, "next_logits")), 1, model->config.vocab);
	rn_take_kv(s, model, (int) json_array_size(ids), &kv);
	*worst = fmax(*worst, worst_logit(prefill(s, ids, &kv), json_object_get(entry, "next_logits")));
	glm_kv_give(s->kv, model->kv_block_bytes, &kv);
}

/* The greedy ids must come, each of them: their margins exceed any rounding. */
static void
check_chat(rn_setup *s, const glm_model *model, const json_t *chat, double *worst)
{
	const json_t *ids = json_object_get(chat, "ids");
	const json_t *answer = json_object_get(chat, "greedy_ids");
	int			  n = (int) json_array_size(ids);
	int			  steps = (int) json_array_size(answer);
	glm_kv_table  kv;
	const float	 *logits;

	assert_true(n > 0 && steps > 0);
	assert_true(json_number_value(json_object_get(chat, "min_margin")) > 1e-4);
	rn_take_kv(s, model, n + steps, &kv);
	logits = prefill(s, ids, &kv);
	*worst = fmax(*worst, worst_logit(logits, json_object_get(chat, "first_logits")));
	for (int i = 0; i < steps; i++)
	{
		int32_t token = greedy(logits, model->config.vocab);

		assert_int_equal(token, json_integer_value(json_array_get(answer, (size_t) i)));
		rn_row(s, &kv, token, n + i, true);
		logits = rn_run(s);
	}
	glm_kv_give(s->kv, model->kv_block_bytes, &kv);
}

static void
check_checkpoint(const char *dir, const char *expected)
{
	glm_error	 err;
	json_error_t json_error;
	glm_model	*model = glm_model_open("checkpoint", dir, &err);
	json_t		*json = json_load_file(expected, 0, &json_error);
	rn_setup	 s = rn_open("auto", 2);
	double		 worst = 0;

	if (model == NULL)
		fail_msg("%s", err.message);
	if (json == NULL)
		fail_msg("%s: %s", expected, json_error.text);
	rn_use(&s, model);
	assert_true(json_array_size(json_object_get(json, "chat")) > 0);
	for (size_t i = 0; i < json_array_size(json_object_get(json, "chat")); i++)
		check_chat(&s, model, json_array_get(json_object_get(json, "chat"), i), &worst);
	for (size_t i = 0; i < json_array_size(json_object_get(json, "logits")); i++)
		check_logits(&s, model, json_array_get(json_object_get(json, "logits"), i), &worst);
	printf("# %s: logits at most %.1e off\n", dir, worst);
	assert_true(worst < 1e-4);
	json_decref(json);
	rn_close(&s);
	glm_model_close(model);
}

static void
test_golden(void **state)
{
	(void) state;
	rn_each_golden(check_checkpoint);
}

static void
test_embedded_model(void **state)
{
	(void) state;
	check_checkpoint("models/tiny-chatglm3", "test/model/expected.json");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_embedded_model),
	};

	return cmocka_run_group_tests_name("recorded", tests, NULL, NULL);
}
