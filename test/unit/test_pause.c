/*
 * test_pause.c - long work ends at whichever pause it is told to, and is whole if at none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fixtures.h"
#include "engine/base/json.h"
#include "engine/text/literal.h"
#include "engine/text/pieces.h"

static int pauses; /* since they were granted */
static int pauses_granted;

static bool
grant_pause(void *arg, glm_error *err)
{
	(void) arg;
	return pauses++ < pauses_granted || glm_fail(err, GLM_CANCELLED, "pause %d", pauses_granted);
}

/* So many are granted from now on, the next one ends the work. */
static void
grant(int n)
{
	pauses = 0;
	pauses_granted = n;
	glm_pause_with(grant_pause, NULL);
}

static int
grant_all(void **state)
{
	(void) state;
	glm_pause_with(NULL, NULL);
	return 0;
}

/* ---- Texts and ids ------------------------------------------------------------ */

static void
make_text(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text[i] = "word and\n"[i % 9];
}

/* A pause after each segment can end it, and no other follows. */
static void
encoding_ends_in_a_pause(void **state)
{
	char		 text[10000];
	glm_ids		 ids = {0};
	glm_error	 err = {0};
	const size_t segment = fx_tok->segment;
	int			 all;

	(void) state;
	make_text(text, sizeof(text));
	fx_tok->segment = 1000;
	grant(INT32_MAX);
	assert_true(glm_tokenizer_encode(fx_tok, text, sizeof(text), &ids, &err));
	glm_ids_free(&ids);
	all = pauses;
	assert_in_range(all, 8, 12);
	for (int n = 0; n < all; n++)
	{
		grant(n);
		assert_false(glm_tokenizer_encode(fx_tok, text, sizeof(text), &ids, &err));
		ck_assert_error(&err, GLM_CANCELLED, "pause");
		assert_int_equal(pauses, n + 1);
		glm_ids_free(&ids);
	}
	fx_tok->segment = segment;
}

/* Stops behind the segment with which there are enough ids; these are the whole text's. */
static void
encoding_stops_when_it_is_enough(void **state)
{
	char		 text[10000];
	const size_t segment = fx_tok->segment;
	glm_ids		 whole = {0};
	bool		 stopped;

	(void) state;
	make_text(text, sizeof(text));
	fx_tok->segment = 100;
	assert_true(glm_tokenizer_encode(fx_tok, text, sizeof(text), &whole, NULL));
	for (size_t most = 0; most <= whole.length; most += whole.length / 10)
	{
		glm_ids ids = {0};

		assert_true(
			glm_tokenizer_encode_most(fx_tok, text, sizeof(text), most, &stopped, &ids, NULL));
		assert_int_equal(stopped, ids.length < whole.length);
		assert_in_range(ids.length, most < whole.length ? most : whole.length, most + 220);
		assert_memory_equal(ids.data, whole.data, ids.length * sizeof(int32_t));
		glm_ids_free(&ids);
	}
	glm_ids_free(&whole);
	fx_tok->segment = segment;
}

static void
decoding_ends_in_a_pause(void **state)
{
	const size_t n = 100000;
	int32_t		*ids = malloc(n * sizeof(*ids));
	glm_buf		 text = {0};
	glm_error	 err = {0};

	(void) state;
	for (size_t i = 0; i < n; i++)
		ids[i] = 300;
	grant(3);
	assert_false(glm_tokenizer_decode(fx_tok, ids, n, &text, &err));
	ck_assert_error(&err, GLM_CANCELLED, "pause 3");
	assert_int_equal(pauses, 4);
	glm_buf_free(&text);
	free(ids);
}

/* UTF-8 is looked at in windows; what is broken in or between them is found at its place. */
static void
long_texts_are_checked(void **state)
{
	const size_t n = (2 << 20) + 100;
	char		*text = malloc(n);
	ptrdiff_t	 bad;
	glm_error	 err = {0};

	(void) state;
	/* characters of three bytes cross the windows' ends, at any of their bytes */
	for (size_t shift = 0; shift < 3; shift++)
	{
		memset(text, 'x', n);
		for (size_t i = shift; i + 3 <= n; i += 3)
			memcpy(text + i, "\xE4\xBD\xA0", 3);
		assert_true(glm_utf8_check_long(text, n, &bad, &err));
		assert_int_equal(bad, shift < 2 ? glm_utf8_check(text, n) : -1);
		for (size_t at = (1 << 20) - 6; at < (1 << 20) + 6; at++)
		{
			const char before = text[at];

			text[at] = (char) 0xFF;
			assert_true(glm_utf8_check_long(text, n, &bad, &err));
			assert_int_equal(bad, glm_utf8_check(text, n));
			assert_in_range(bad, at - 2, at);
			text[at] = before;
		}
	}
	grant(1);
	assert_false(glm_utf8_check_long(text, n, &bad, &err));
	ck_assert_error(&err, GLM_CANCELLED, "pause 1");
	free(text);
}

/* ---- JSON ---------------------------------------------------------------------- */

/* Any pause ends it, the next one says so again, and nothing of it is left (ASan). */
static void
reading_ends_in_a_pause(void **state)
{
	const size_t n = 1 << 20;
	char		*text = malloc(n + 2);
	glm_error	 err = {0};
	json_t		*value;
	int			 all;

	(void) state;
	text[0] = '[';
	for (size_t i = 1; i <= n; i++)
		text[i] = "[],{\"a\":1},"[(i - 1) % 11];
	strcpy(text + n / 11 * 11, "]");
	grant(INT32_MAX);
	value = glm_json_loadb(text, strlen(text), 0, NULL);
	all = pauses;
	assert_int_equal(json_array_size(value), 2 * (n / 11));
	glm_json_free(value);
	assert_in_range(all, 8, 40);
	for (int i = 0; i < all; i++)
	{
		grant(i);
		assert_null(glm_json_loadb(text, strlen(text), 0, NULL));
		assert_false(glm_pause(&err));
		ck_assert_error(&err, GLM_CANCELLED, "pause");
	}
	free(text);
}

/* Indents make megabytes of a kilobyte. */
static void
writing_ends_in_a_pause(void **state)
{
	json_t *value = json_array();
	glm_buf out = {0};
	int		all;

	(void) state;
	for (int i = 0; i < 1500; i++)
		value = json_pack("[o]", value);
	grant(INT32_MAX);
	assert_true(glm_literal_write(&out, value, GLM_STYLE_INDENT));
	assert_true(out.length > 8 << 20);
	all = pauses;
	assert_in_range(all, 10, 60);
	grant(5);
	out.length = 0;
	assert_false(glm_literal_write(&out, value, GLM_STYLE_INDENT));
	assert_false(out.failed);
	assert_true(out.length < 3 << 20);
	glm_buf_free(&out);
	json_decref(value);
}

/* An answer is parsed whole or not at all, wherever it was ended. */
static void
parsing_answers_ends_in_a_pause(void **state)
{
	static const char *const answers[] = {
		"f\n```\ntool_call(a=[1, 2, {'b': 3}], c='d')\n```\ng\n```\ntool_call(x=1)\n```",
		"f\n```\ntool_call(a=1)\n```\nno call\ninterpreter\n```\n1\n2\n```", "a\nb\nc", ""};
	char *(*const parse[])(glm_chat_format, const char *, size_t) = {glm_answer_parse,
																	 glm_answer_parse_turns};

	(void) state;
	for (size_t i = 0; i < 2 * sizeof(answers) / sizeof(answers[0]); i++)
	{
		const char *answer = answers[i / 2];
		char	   *whole;
		int			all;

		grant(INT32_MAX);
		whole = parse[i % 2](GLM_CHAT_CHATGLM3, answer, strlen(answer));
		assert_non_null(whole);
		free(whole);
		all = pauses;
		assert_in_range(all, 1, 1000);
		for (int n = 0; n < all; n++)
		{
			grant(n);
			assert_null(parse[i % 2](GLM_CHAT_CHATGLM3, answer, strlen(answer)));
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(encoding_ends_in_a_pause, grant_all),
		cmocka_unit_test_teardown(encoding_stops_when_it_is_enough, grant_all),
		cmocka_unit_test_teardown(decoding_ends_in_a_pause, grant_all),
		cmocka_unit_test_teardown(long_texts_are_checked, grant_all),
		cmocka_unit_test_teardown(reading_ends_in_a_pause, grant_all),
		cmocka_unit_test_teardown(writing_ends_in_a_pause, grant_all),
		cmocka_unit_test_teardown(parsing_answers_ends_in_a_pause, grant_all),
	};

	return cmocka_run_group_tests_name("pause", tests, fx_open_tokenizer, fx_close_tokenizer);
}
