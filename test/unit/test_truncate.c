/*
 * test_truncate.c - prompts that do not fit, cut to fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixtures.h"
#include "engine/text/chat_chatglm3.h"
#include "engine/text/truncate.h"
#include "engine/text/prompt.h"

/* ---- Requests ------------------------------------------------------------ */

static glm_request *
make_request(glm_form form, const char *text, const char *system, glm_truncate how, int max_tokens)
{
	size_t		 n = strlen(text);
	size_t		 m = system ? strlen(system) : 0;
	glm_request *req = calloc(1, sizeof(*req) + n + m + 2);

	req->kind = GLM_GENERATE;
	req->form = form;
	req->truncate = how;
	req->max_tokens = max_tokens;
	req->text = (glm_span){sizeof(*req), (uint32_t) n};
	memcpy(req + 1, text, n);
	if (system != NULL)
		req->system = (glm_span){(uint32_t) (sizeof(*req) + n + 1), (uint32_t) m};
	if (system != NULL)
		memcpy((char *) (req + 1) + n + 1, system, m);
	req->size = (uint32_t) (sizeof(*req) + n + m + 2);
	return req;
}

/* The ids of a prompt that fits, and their text. */
static glm_ids
fit(glm_request *req, int context, glm_buf *text)
{
	glm_ids	  ids = {0};
	glm_error err = {0};

	if (!glm_prompt_fit(&glm_chat_chatglm3, fx_tok, req, context, SIZE_MAX, &ids, &err))
		fail_msg("%s", err.message);
	text->length = 0;
	assert_true(glm_tokenizer_decode(fx_tok, ids.data, ids.length, text, &err));
	assert_int_equal(glm_utf8_check(text->data, text->length), -1);
	/* bytes that are no character would have become this */
	assert_null(strstr(text->data, "\xEF\xBF\xBD"));
	free(req);
	return ids;
}

/* n different words, so that what was cut away shows. */
static char *
words(int n)
{
	char *text = malloc((size_t) n * 8 + 1);
	char *out = text;

	*text = '\0';
	for (int i = 0; i < n; i++)
		out += sprintf(out, "%s%d", i ? " " : "", 10000 + i);
	return text;
}

/* ---- What is cut ----------------------------------------------------------- */

static void
the_named_part_is_cut(void **state)
{
	static const struct
	{
		glm_truncate how;
		const char	*first;
		const char	*last;
	} cases[] = {{GLM_TRUNCATE_HEAD, NULL, "10999"},
				 {GLM_TRUNCATE_TAIL, "10000", NULL},
				 {GLM_TRUNCATE_MIDDLE, "10000", "10999"}};
	char *text = words(1000);

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		glm_buf shown = {0};
		glm_ids ids =
			fit(make_request(GLM_PROMPT, text, "Be brief.", cases[i].how, 40), 400, &shown);

		assert_int_equal(ids.length, 400 - 40);
		assert_memory_equal(shown.data, "[gMASK]sop<|system|>\n Be brief.<|user|>\n", 40);
		assert_non_null(strstr(shown.data, "<|assistant|>"));
		assert_true((strstr(shown.data, "10000") != NULL) == (cases[i].first != NULL));
		assert_true((strstr(shown.data, "10999") != NULL) == (cases[i].last != NULL));
		assert_null(strstr(shown.data, "10500"));
		glm_ids_free(&ids);
		glm_buf_free(&shown);
	}
	free(text);
}

/* What stays is what it was, id by id. */
static void
ids_that_stay_are_those_of_the_whole(void **state)
{
	char	 *text = words(300);
	glm_buf	  shown = {0};
	glm_ids	  all = fit(make_request(GLM_RAW, text, NULL, GLM_TRUNCATE_ERROR, 1), 100000, &shown);
	const int context = 500;
	size_t	  keep = 400; /* a quarter of the context is the most that is kept free */
	glm_ids	  ids;

	(void) state;
	assert_true(all.length > 1000);
	ids = fit(make_request(GLM_RAW, text, NULL, GLM_TRUNCATE_TAIL, 100), context, &shown);
	assert_int_equal(ids.length, keep);
	assert_memory_equal(ids.data, all.data, keep * sizeof(int32_t));
	glm_ids_free(&ids);
	ids = fit(make_request(GLM_RAW, text, NULL, GLM_TRUNCATE_HEAD, 100), context, &shown);
	assert_int_equal(ids.length, keep);
	assert_memory_equal(ids.data + 2, all.data + all.length - (keep - 2),
						(keep - 2) * sizeof(int32_t));
	glm_ids_free(&ids);
	ids = fit(make_request(GLM_RAW, text, NULL, GLM_TRUNCATE_MIDDLE, 100), context, &shown);
	assert_int_equal(ids.length, keep);
	assert_memory_equal(ids.data, all.data, (2 + 199) * sizeof(int32_t));
	assert_memory_equal(ids.data + 2 + 199, all.data + all.length - 199, 199 * sizeof(int32_t));
	glm_ids_free(&ids);
	/* the room kept for the answer is at most a quarter */
	ids = fit(make_request(GLM_RAW, text, NULL, GLM_TRUNCATE_TAIL, 1000000), context, &shown);
	assert_int_equal(ids.length, 375);
	glm_ids_free(&ids);
	glm_ids_free(&all);
	glm_buf_free(&shown);
	free(text);
}

static void
a_prompt_that_fits_is_left_alone(void **state)
{
	(void) state;
	for (int how = GLM_TRUNCATE_ERROR; how <= GLM_TRUNCATE_MIDDLE; how++)
	{
		glm_buf shown = {0};
		glm_ids ids = fit(make_request(GLM_PROMPT, "one two three", NULL, how, 512), 2048, &shown);

		assert_string_equal(shown.data, "[gMASK]sop<|user|>\n one two three<|assistant|>");
		glm_ids_free(&ids);
		glm_buf_free(&shown);
	}
}

/* Characters that the vocabulary lacks are several bytes each: a cut spares none. */
static void
no_character_is_cut_apart(void **state)
{
	char text[4 * 400 + 1] = "";

	(void) state;
	for (int i = 0; i < 400; i++)
		strcat(text, i % 2 ? "\xF0\x9D\x84\x9E" : "\xE2\x98\x83");
	for (int context = 60; context < 80; context++)
		for (int how = GLM_TRUNCATE_HEAD; how <= GLM_TRUNCATE_MIDDLE; how++)
		{
			glm_buf shown = {0};
			glm_ids ids = fit(make_request(GLM_PROMPT, text, NULL, how, 10), context, &shown);

			assert_in_range(ids.length, context - 10 - 6, context - 10);
			glm_ids_free(&ids);
			glm_buf_free(&shown);
		}
}

static void
of_a_chat_the_longest_text_is_cut(void **state)
{
	char   *text = words(500);
	char   *messages = malloc(strlen(text) + 400);
	glm_buf shown = {0};
	glm_ids ids;

	(void) state;
	sprintf(
		messages,
		"[{\"role\":\"system\",\"content\":\"Be "
		"brief.\"},{\"role\":\"user\",\"content\":\"question\"},"
		"{\"role\":\"assistant\",\"content\":\"answer\"},{\"role\":\"tool\",\"content\":\"%s\"},"
		"{\"role\":\"user\",\"content\":\"thanks\"}]",
		text);
	ids = fit(make_request(GLM_MESSAGES, messages, NULL, GLM_TRUNCATE_TAIL, 10), 300, &shown);
	assert_int_equal(ids.length, 290);
	assert_non_null(strstr(shown.data, "Be brief."));
	assert_non_null(strstr(shown.data, "question"));
	assert_non_null(strstr(shown.data, "answer<|observation|>\n 10000 10001"));
	assert_non_null(strstr(shown.data, "<|user|>\n thanks<|assistant|>"));
	assert_null(strstr(shown.data, "10499"));
	glm_ids_free(&ids);
	glm_buf_free(&shown);
	free(messages);
	free(text);
}

/* A chat of so many users' texts, which get longer or shorter; its length in tokens is returned. */
static int
fit_many(int n, bool longer, int context, glm_buf *shown)
{
	glm_buf messages = {0};
	glm_ids ids;
	int		length;

	for (int i = 0; i < n; i++)
	{
		char *text = words(300 + 10 * (longer ? i : n - i));

		glm_buf_puts(&messages, i ? ",{\"role\":\"user\",\"content\":\""
								  : "[{\"role\":\"user\",\"content\":\"");
		glm_buf_puts(&messages, text);
		glm_buf_puts(&messages, "\"}");
		free(text);
	}
	glm_buf_puts(&messages, ",{\"role\":\"user\",\"content\":\"question\"}]");
	ids =
		fit(make_request(GLM_MESSAGES, messages.data, NULL, GLM_TRUNCATE_TAIL, 10), context, shown);
	length = (int) ids.length;
	glm_ids_free(&ids);
	glm_buf_free(&messages);
	return length;
}

/* The longest go first, so of these the first or the last one stays in part. */
static void
where_the_longest_is_not_enough_the_next_is_cut(void **state)
{
	glm_buf shown = {0};

	(void) state;
	assert_int_equal(fit_many(3, true, 300, &shown), 290);
	assert_non_null(strstr(shown.data, "sop<|user|>\n 10000 10001"));
	assert_non_null(strstr(shown.data, "<|user|>\n<|user|>\n<|user|>\n question<|assistant|>"));
	assert_int_equal(fit_many(3, false, 300, &shown), 290);
	assert_non_null(strstr(shown.data, "sop<|user|>\n<|user|>\n<|user|>\n 10000 10001"));
	assert_non_null(strstr(shown.data, "<|user|>\n question<|assistant|>"));
	assert_int_equal(fit_many(40, true, 300, &shown), 290);
	assert_non_null(strstr(shown.data, "sop<|user|>\n 10000 10001"));
	assert_int_equal(fit_many(40, false, 300, &shown), 290);
	assert_non_null(strstr(shown.data, "<|user|>\n question<|assistant|>"));
	glm_buf_free(&shown);
}

static void
what_is_not_cut_must_fit(void **state)
{
	char		*text = words(300);
	glm_request *req = make_request(GLM_PROMPT, "hi", text, GLM_TRUNCATE_HEAD, 10);
	glm_ids		 ids = {0};
	glm_error	 err = {0};

	(void) state;
	assert_false(glm_prompt_fit(&glm_chat_chatglm3, fx_tok, req, 300, SIZE_MAX, &ids, &err));
	assert_int_equal(err.status, GLM_TOO_LONG);
	assert_non_null(strstr(err.message, "leave no room for the text"));
	glm_ids_free(&ids);
	free(req);
	free(text);
}

/* Sixteen megabytes cost what the context's share of them costs. */
static void
a_long_text_is_cut_before_it_is_encoded(void **state)
{
	const int n = 2 << 20;
	char	 *text = words(n);

	(void) state;
	for (int how = GLM_TRUNCATE_HEAD; how <= GLM_TRUNCATE_MIDDLE; how++)
	{
		const char *at = text;
		size_t		length = strlen(text);
		glm_buf		joined = {0};
		glm_buf		shown = {0};
		glm_error	err = {0};
		glm_ids		ids;

		assert_true(glm_truncate_text(fx_tok, how, 200, &at, &length, &joined, &err));
		assert_in_range(length, 200, 2 * 208 * glm_tokenizer_longest(fx_tok));
		glm_buf_free(&joined);
		ids = fit(make_request(GLM_RAW, text, NULL, how, 10), 210, &shown);
		assert_int_equal(ids.length, 200);
		assert_true((strstr(shown.data, "10000 10001") != NULL) == (how != GLM_TRUNCATE_HEAD));
		assert_true((strstr(shown.data, "2107150 2107151") != NULL) == (how != GLM_TRUNCATE_TAIL));
		glm_ids_free(&ids);
		glm_buf_free(&shown);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_named_part_is_cut),
		cmocka_unit_test(ids_that_stay_are_those_of_the_whole),
		cmocka_unit_test(a_prompt_that_fits_is_left_alone),
		cmocka_unit_test(no_character_is_cut_apart),
		cmocka_unit_test(of_a_chat_the_longest_text_is_cut),
		cmocka_unit_test(where_the_longest_is_not_enough_the_next_is_cut),
		cmocka_unit_test(what_is_not_cut_must_fit),
		cmocka_unit_test(a_long_text_is_cut_before_it_is_encoded),
	};

	return cmocka_run_group_tests(tests, fx_open_tokenizer, fx_close_tokenizer);
}
