/*
 * test_constraints.c - constraints that are shared, grow and are kept.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_answers.h"
#include "few_tokens.h"

/* ---- Memory ---------------------------------------------------------------------------------- */

static void
a_machine_made_anew_goes_on(void **state)
{
	glm_constraint *c = fa_constrain(GLM_JSON_SCHEMA, fa_person),
				   *anew = fa_constrain(GLM_JSON_SCHEMA, fa_person);
	unsigned random = 1;

	(void) state;
	for (int walk = 0; walk < 20; walk++)
	{
		glm_matcher *one = fa_match(c, 40), *other = fa_match(anew, 40);

		while (!glm_matcher_must_end(one))
		{
			uint64_t allowed[2][FA_WORDS] = {{0}};
			int32_t	 token = (int32_t) (fa_draw(&random) % FT_PIECE(FA_PIECES));

			glm_matcher_mask(one, allowed[0]);
			glm_matcher_mask(other, allowed[1]);
			assert_memory_equal(allowed[0], allowed[1], sizeof(allowed[0]));
			while (!glm_mask_has(allowed[0], token) || !glm_matcher_allows(one, token))
				token = (int32_t) (fa_draw(&random) % FT_PIECE(FA_PIECES));
			if (token == FT_END || token == FT_END + 1)
				continue;
			glm_matcher_take(one, token);
			glm_matcher_take(other, token);
			assert_int_equal(glm_matcher_way_out(one), glm_matcher_way_out(other));
			/* as if another answer had filled it */
			assert_true(glm_constraint_compile(anew, &(glm_error){0}));
		}
		assert_true(glm_matcher_must_end(other));
		glm_matcher_close(one);
		glm_matcher_close(other);
	}
	glm_constraint_release(c);
	glm_constraint_release(anew);
}

static void
write_text(glm_matcher *m, const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (!glm_matcher_allows(m, FT_BYTE(*text)))
			fail_msg("refused: %s", text);
		glm_matcher_take(m, FT_BYTE(*text));
	}
}

static void
a_long_answer_keeps_what_it_needs(void **state)
{
	glm_constraint *c = fa_constrain(
		GLM_JSON_SCHEMA, "{\"type\": \"array\", \"uniqueItems\": true, \"minItems\": 2, \"items\": "
						 "{\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"integer\"}}, "
						 "\"required\": [\"n\"]}}");
	glm_matcher *m = fa_match(c, 1 << 20);
	char		 item[40];

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		snprintf(item, sizeof(item), "%s{\"n\": %d}", i > 0 ? ", " : "[", i);
		write_text(m, item);
	}
	assert_false(m->blind);
	assert_true(m->settled > 0);
	/* the nodes of 20,000 hashes, and little more */
	assert_in_range(m->walk.used, 1, 8 << 20);
	write_text(m, ", {\"n\": 7");
	assert_false(glm_matcher_allows(m, FT_BYTE('}')));
	write_text(m, "7777777}]");
	assert_true(glm_matcher_must_end(m));
	glm_matcher_close(m);
	glm_constraint_release(c);
}

/* ---- Sharing --------------------------------------------------------------------------------- */

#define THREADS 4

typedef struct writer
{
	glm_constraint *constraint;
	unsigned		random;
	glm_buf			answers;
} writer;

static void *
write_some(void *arg)
{
	writer *w = arg;

	for (unsigned i = 0; i < 20; i++)
	{
		glm_matcher *m = fa_match(w->constraint, 60);

		fa_write_answer(m, w->random + i, 60, false, &w->answers);
		glm_matcher_close(m);
	}
	return NULL;
}

static void
answers_are_the_same_whoever_shares(void **state)
{
	writer	  alone[THREADS] = {{0}}, shared[THREADS] = {{0}};
	pthread_t thread[THREADS];

	(void) state;
	for (unsigned i = 0; i < THREADS; i++)
	{
		alone[i] =
			(writer){.constraint = fa_constrain(GLM_JSON_SCHEMA, fa_person), .random = 1000 * i};
		write_some(&alone[i]);
		glm_constraint_release(alone[i].constraint);
	}
	shared[0].constraint = fa_constrain(GLM_JSON_SCHEMA, fa_person);
	for (unsigned i = 0; i < THREADS; i++)
	{
		shared[i] = (writer){.constraint = shared[0].constraint, .random = 1000 * i};
		assert_int_equal(pthread_create(&thread[i], NULL, write_some, &shared[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
	{
		pthread_join(thread[i], NULL);
		assert_int_equal(shared[i].answers.length, alone[i].answers.length);
		assert_memory_equal(shared[i].answers.data, alone[i].answers.data, alone[i].answers.length);
		glm_buf_free(&shared[i].answers);
		glm_buf_free(&alone[i].answers);
	}
	glm_constraint_release(shared[0].constraint);
}

/* ---- The cache ------------------------------------------------------------------------------- */

static glm_constraint *
get(glm_constraints *cache, const char *text, glm_property_order order)
{
	glm_constraint_spec spec = {
		.kind = GLM_JSON_SCHEMA, .order = order, .text = text, .length = strlen(text)};
	glm_constraint *c = glm_constraints_get(cache, &spec, fa_vocabulary, NULL);

	assert_non_null(c);
	/* the cache keeps its own, as long as it does */
	glm_constraint_release(c);
	return c;
}

static void
constraints_are_kept_by_what_they_are(void **state)
{
	glm_constraints *cache = glm_constraints_open(64 << 20);
	glm_constraint	*one = get(cache, fa_person, GLM_ORDER_STRICT);
	glm_error		 err;

	(void) state;
	assert_ptr_equal(get(cache, fa_person, GLM_ORDER_STRICT), one);
	assert_ptr_not_equal(get(cache, fa_person, GLM_ORDER_ANY), one);
	assert_ptr_not_equal(get(cache, "{}", GLM_ORDER_STRICT), one);
	assert_ptr_equal(get(cache, fa_person, GLM_ORDER_STRICT), one);
	assert_null(glm_constraints_get(
		cache, &(glm_constraint_spec){.kind = GLM_JSON_SCHEMA, .text = "1", .length = 1},
		fa_vocabulary, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	glm_constraint_keep(one);
	glm_constraints_forget(cache, fa_vocabulary);
	assert_ptr_not_equal(get(cache, fa_person, GLM_ORDER_STRICT), one);
	glm_constraint_release(one);
	glm_constraints_close(cache);
}

static void
the_oldest_go_first(void **state)
{
	/* room for one and half another */
	glm_constraint	*probe = fa_constrain(GLM_JSON_SCHEMA, "{}");
	glm_constraints *cache = glm_constraints_open(atomic_load(&probe->bytes) * 5 / 2);
	glm_constraint	*first, *second;

	(void) state;
	glm_constraint_release(probe);
	first = get(cache, "{}", GLM_ORDER_STRICT);
	glm_constraint_keep(first);
	second = get(cache, "{ }", GLM_ORDER_STRICT);
	glm_constraint_keep(second);
	assert_ptr_equal(get(cache, "{}", GLM_ORDER_STRICT), first);
	get(cache, "{  }", GLM_ORDER_STRICT);
	assert_ptr_equal(get(cache, "{}", GLM_ORDER_STRICT), first);
	assert_ptr_not_equal(get(cache, "{ }", GLM_ORDER_STRICT), second);
	glm_constraint_release(first);
	glm_constraint_release(second);
	glm_constraints_close(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_made_anew_goes_on),
		cmocka_unit_test(a_long_answer_keeps_what_it_needs),
		cmocka_unit_test(answers_are_the_same_whoever_shares),
		cmocka_unit_test(constraints_are_kept_by_what_they_are),
		cmocka_unit_test(the_oldest_go_first),
	};

	return cmocka_run_group_tests(tests, fa_open, fa_close);
}
