/*
 * test_activations.c - what rounding activations to 8 bits costs a model, and what
 * rounding keys and values does.
 *
 * Packed weights are put in a model's place, and then, in place of those, the
 * fp32 values that they stand for: between the two models only the rounding of
 * activations differs.  Keys and values are rounded in the model as it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "engine/model/residency.h"
#include "engine/weights/packed.h"
#include "matrix.h"
#include "runner.h"

#define GROUP 64

typedef struct setup
{
	rn_setup   run;
	glm_model *model;
	json_t	  *chats; /* each with ids and greedy_ids */
	json_t	  *expected;
	glm_tensor plain[4 * 64 + 1]; /* the model's own matrices that are multiplied */
} setup;

/* ---- A model's matrices but for the embedding ---------------------------------------------------- */

static int
count_matrices(const glm_model *model)
{
	return model->n_matrices - 1;
}

static glm_tensor *
matrix_of(glm_model *model, int i)
{
	/* the embedding comes first */
	return &model->matrix[i + 1].tensor;
}

static void
pack_matrices(setup *s, glm_dtype dtype)
{
	for (int i = 0; i < count_matrices(s->model); i++)
	{
		glm_tensor		*t = matrix_of(s->model, i);
		float			*w = mx_widen(t);
		glm_quant_matrix q;

		s->plain[i] = *t;
		mx_quantize(&q, dtype, GLM_ROUND_HQQ, w, (int) t->shape[0], (int) t->shape[1], GROUP);
		*t = mx_pack(&q);
		glm_quant_close(&q);
		free(w);
	}
}

/* fp32 in place of packed matrices. */
static void
widen_matrices(setup *s)
{
	for (int i = 0; i < count_matrices(s->model); i++)
	{
		glm_tensor *t = matrix_of(s->model, i);
		float	   *w = mx_widen(t);

		mx_unpack(t);
		t->data = w;
		t->dtype = GLM_F32;
	}
}

/* The model's own matrices again. */
static void
restore_matrices(setup *s)
{
	for (int i = 0; i < count_matrices(s->model); i++)
	{
		glm_tensor *t = matrix_of(s->model, i);

		if (glm_is_packed(t->dtype))
			mx_unpack(t);
		else
			free((void *) t->data);
		*t = s->plain[i];
	}
}

/* ---- Opening ------------------------------------------------------------------ */

static void
set_up(setup *s, const char *dir, const char *expected)
{
	glm_error err = {0};

	s->run = rn_open("auto", 2);
	s->model = glm_model_open("checkpoint", dir, &err);
	s->expected = json_load_file(expected, 0, NULL);
	s->chats = json_object_get(s->expected, "chat");
	if (s->model == NULL)
		fail_msg("%s", err.message);
	assert_true(json_array_size(s->chats) > 0);
	assert_true(s->model->config.layers <= 64);
	rn_use(&s->run, s->model);
}

static void
tear_down(setup *s)
{
	json_decref(s->expected);
	rn_close(&s->run);
	glm_model_close(s->model);
}

/* ---- Perplexity and answers ------------------------------------------------------ */

/* Token i of the prompt and the recorded answer behind it. */
static int32_t
token_of(const json_t *chat, int i)
{
	const json_t *ids = json_object_get(chat, "ids");
	int			  n = (int) json_array_size(ids);
	const json_t *id = i < n
						   ? json_array_get(ids, (size_t) i)
						   : json_array_get(json_object_get(chat, "greedy_ids"), (size_t) (i - n));

	return (int32_t) json_integer_value(id);
}

/* Cross entropy of one token in nats; is it the greedy choice? */
static double
nats_of(const float *logits, int vocab, int token, bool *greedy)
{
	double sum = 0;

	*greedy = true;
	for (int j = 0; j < vocab; j++)
	{
		sum += exp((double) logits[j] - logits[token]);
		*greedy = *greedy && logits[j] <= logits[token];
	}
	return log(sum);
}

/*
 * Prompt and recorded answer in one pass: adds the cross entropy of all tokens but
 * the first to *nats and returns how many of the answer's are the greedy choice.
 */
static int
follow(setup *s, const json_t *chat, double *nats)
{
	int n = (int) json_array_size(json_object_get(chat, "ids")),
		length = n + (int) json_array_size(json_object_get(chat, "greedy_ids")), greedy = 0;
	glm_kv_table kv;
	const float *logits;

	assert_true(n > 0 && length > n && length <= RN_MAX_ROWS);
	rn_take_kv(&s->run, s->model, length, &kv);
	glm_rows_begin(&s->run.rows, &kv);
	for (int i = 0; i < length - 1; i++)
		glm_rows_add(&s->run.rows, token_of(chat, i), i, GLM_WANT_LOGITS);
	logits = rn_run(&s->run);
	for (int i = 1; i < length; i++)
	{
		bool best;

		*nats += nats_of(logits + (size_t) (i - 1) * (size_t) s->model->config.vocab,
						 s->model->config.vocab, token_of(chat, i), &best);
		greedy += best && i >= n;
	}
	glm_kv_give(s->run.kv, s->model->kv_block_bytes, &kv);
	return greedy;
}

static double
perplexity(setup *s)
{
	double nats = 0;
	size_t tokens = 0;

	rn_use(&s->run, s->model); /* as its matrices are now */
	for (size_t i = 0; i < json_array_size(s->chats); i++)
	{
		const json_t *chat = json_array_get(s->chats, i);

		follow(s, chat, &nats);
		tokens += json_array_size(json_object_get(chat, "ids")) +
				  json_array_size(json_object_get(chat, "greedy_ids")) - 1;
	}
	return exp(nats / (double) tokens);
}

static void
check_perplexity(glm_dtype dtype)
{
	setup  s;
	double rounded, exact;

	set_up(&s, "models/tiny-chatglm3", "test/model/expected.json");
	pack_matrices(&s, dtype);
	rounded = perplexity(&s);
	widen_matrices(&s);
	exact = perplexity(&s);
	printf("# perplexity, activations of 8 bits %.5f, fp32 %.5f: %+.3f %%\n", rounded, exact,
		   100 * (rounded / exact - 1));
	assert_true(rounded != exact);
	assert_true(fabs(rounded / exact - 1) < 0.005);
	restore_matrices(&s);
	tear_down(&s);
}

static void
test_perplexity(void **state)
{
	(void) state;
	check_perplexity(GLM_Q8);
	check_perplexity(GLM_Q4);
}

static void
check_answers(const char *dir, const char *expected)
{
	setup s;
	int	  answers = 0;

	set_up(&s, dir, expected);
	pack_matrices(&s, GLM_Q8);
	rn_use(&s.run, s.model);
	for (size_t i = 0; i < json_array_size(s.chats); i++)
	{
		const json_t *chat = json_array_get(s.chats, i);
		double		  nats = 0;

		if (json_number_value(json_object_get(chat, "min_margin")) < 0.5)
			continue;
		answers++;
		assert_int_equal(follow(&s, chat, &nats),
						 json_array_size(json_object_get(chat, "greedy_ids")));
	}
	printf("# %s: %d answers with such margins\n", dir, answers);
	restore_matrices(&s);
	tear_down(&s);
}

/* With INT8 weights, answers whose margins are 0.5 and more do not change. */
static void
test_golden_answers(void **state)
{
	(void) state;
	rn_each_golden(check_answers);
}

/* ---- Keys and values ------------------------------------------------------------ */

static void
set_kv(setup *s, glm_dtype kv_dtype)
{
	s->model->kv_dtype = kv_dtype;
	s->model->kv_block_bytes = glm_kv_block_bytes(&s->model->config, kv_dtype);
}

/* A copy of the logits of all tokens of a prompt and its answer, *n of them. */
static float *
logits_of(setup *s, const json_t *chat, glm_dtype kv_dtype, size_t *n)
{
	int length = (int) json_array_size(json_object_get(chat, "ids")) +
				 (int) json_array_size(json_object_get(chat, "greedy_ids"));
	glm_kv_table kv;
	float		*copy;

	set_kv(s, kv_dtype);
	*n = (size_t) length * (size_t) s->model->config.vocab;
	copy = malloc(*n * sizeof(float));
	assert_true(copy != NULL && length <= RN_MAX_ROWS);
	rn_take_kv(&s->run, s->model, length, &kv);
	glm_rows_begin(&s->run.rows, &kv);
	for (int i = 0; i < length; i++)
		glm_rows_add(&s->run.rows, token_of(chat, i), i, GLM_WANT_LOGITS);
	memcpy(copy, rn_run(&s->run), *n * sizeof(float));
	glm_kv_give(s->run.kv, s->model->kv_block_bytes, &kv);
	return copy;
}

/* The largest difference of any logit to what it is with fp32 keys and values. */
static double
worst_of(setup *s, glm_dtype kv_dtype)
{
	double worst = 0;

	for (size_t c = 0; c < json_array_size(s->chats); c++)
	{
		size_t n;
		float *exact = logits_of(s, json_array_get(s->chats, c), GLM_F32, &n);
		float *got = logits_of(s, json_array_get(s->chats, c), kv_dtype, &n);

		for (size_t i = 0; i < n; i++)
			worst = fmax(worst, fabs(got[i] - exact[i]));
		free(exact);
		free(got);
	}
	return worst;
}

static void
check_kv(const char *dir, const char *expected)
{
	setup  s;
	double half, codes;

	set_up(&s, dir, expected);
	half = worst_of(&s, GLM_F16);
	codes = worst_of(&s, GLM_I8);
	printf("# %s: logits at most %.4f off with fp16 keys and values, %.4f with int8\n", dir, half,
		   codes);
	assert_true(0 < half && half < codes && codes < 0.5);
	tear_down(&s);
}

/* The golden checkpoints are made up, so a perplexity of theirs says nothing. */
static void
check_kv_perplexity(void)
{
	setup  s;
	double exact, half, codes;

	set_up(&s, "models/tiny-chatglm3", "test/model/expected.json");
	exact = perplexity(&s);
	set_kv(&s, GLM_F16);
	half = perplexity(&s);
	set_kv(&s, GLM_I8);
	codes = perplexity(&s);
	printf("# perplexity %.5f, with fp16 keys and values %+.4f %%, int8 %+.4f %%\n", exact,
		   100 * (half / exact - 1), 100 * (codes / exact - 1));
	assert_true(half != exact && codes != exact && codes != half);
	assert_true(fabs(codes / exact - 1) < 0.001);
	tear_down(&s);
}

static void
test_keys_and_values(void **state)
{
	(void) state;
	check_kv_perplexity();
	check_kv("models/tiny-chatglm3", "test/model/expected.json");
	rn_each_golden(check_kv);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_perplexity),
		cmocka_unit_test(test_golden_answers),
		cmocka_unit_test(test_keys_and_values),
	};

	return cmocka_run_group_tests_name("activations", tests, NULL, NULL);
}
