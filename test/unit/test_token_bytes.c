/*
 * test_token_bytes.c - the bytes that tokens add to an answer, and the tokens of text that
 * stands behind other text.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixtures.h"

static const char *const texts[] = {
	"{\"name\": \"Berlin\", \"n\": [1, 2.5]}", " lamp", "lamp ", "  \n\t ", "你好 ☃", "\"", "x",
};

#define N_TEXTS (sizeof(texts) / sizeof(texts[0]))

static void
assert_bytes(const glm_ids *ids, const char *lead, const char *text)
{
	glm_buf all = {0};

	for (size_t i = 0; i < ids->length; i++)
	{
		size_t		n;
		const char *bytes = glm_tokenizer_bytes(fx_tok, ids->data[i], &n);

		assert_true(bytes != NULL && n > 0);
		glm_buf_add(&all, bytes, n);
	}
	assert_int_equal(all.length, strlen(lead) + strlen(text));
	assert_memory_equal(all.data, lead, strlen(lead));
	assert_memory_equal(all.data + strlen(lead), text, strlen(text));
	glm_buf_free(&all);
}

static void
bytes_of_tokens_are_the_text(void **state)
{
	(void) state;
	assert_string_equal(glm_tokenizer_lead(fx_tok), " ");
	for (size_t i = 0; i < N_TEXTS; i++)
	{
		glm_ids	  ids = {0};
		glm_error err = {0};

		assert_true(glm_tokenizer_encode(fx_tok, texts[i], strlen(texts[i]), &ids, &err));
		assert_bytes(&ids, " ", texts[i]);
		ids.length = 0;
		assert_true(glm_tokenizer_encode_inner(fx_tok, texts[i], strlen(texts[i]), &ids, &err));
		assert_bytes(&ids, "", texts[i]);
		glm_ids_free(&ids);
	}
}

/* What is cut behind a token has the tokens that follow there in the whole. */
static void
inner_tokens_are_those_of_the_whole(void **state)
{
	const char *text = "The order: {\"item\": \"desk lamp\", \"city\": \"Berlin\", \"n\": 12}";
	glm_ids		whole = {0};
	size_t		at = 0;

	(void) state;
	assert_true(glm_tokenizer_encode_inner(fx_tok, text, strlen(text), &whole, NULL));
	for (size_t i = 0; i < whole.length; i++)
	{
		glm_ids rest = {0};
		size_t	n;

		assert_true(glm_tokenizer_encode_inner(fx_tok, text + at, strlen(text) - at, &rest, NULL));
		assert_int_equal(rest.length, whole.length - i);
		assert_memory_equal(rest.data, whole.data + i, rest.length * sizeof(int32_t));
		glm_ids_free(&rest);
		assert_non_null(glm_tokenizer_bytes(fx_tok, whole.data[i], &n));
		at += n;
	}
	glm_ids_free(&whole);
}

/* Of all ids: what they decode to behind other text. */
static void
bytes_are_what_decoding_adds(void **state)
{
	int none = 0;

	(void) state;
	for (int32_t id = -1; id <= glm_tokenizer_size(fx_tok); id++)
	{
		glm_detok	run;
		glm_buf		out = {0};
		size_t		n;
		const char *bytes = glm_tokenizer_bytes(fx_tok, id, &n);

		glm_detok_begin(&run, fx_tok, false);
		glm_detok_push(&run, id, &out);
		if (bytes == NULL)
		{
			assert_true(out.length == 0 || id == fx_byte_zero ||
						fx_tok->pieces[id].kind == GLM_SPM_UNKNOWN);
			assert_int_equal(n, 0);
			none++;
		}
		else if ((unsigned char) bytes[0] < 0x80 || n > 1)
		{
			assert_int_equal(out.length, n);
			assert_memory_equal(out.data, bytes, n);
		}
		glm_buf_free(&out);
	}
	/* those of the special tokens, the NUL, <unk>, <s> and </s>, one at either end */
	assert_int_equal(none, fx_tok->n_special + 6);
	assert_null(
		glm_tokenizer_bytes(fx_tok, glm_tokenizer_special(fx_tok, "<|user|>"), &(size_t){0}));
}

static void
inner_text_has_to_be_text(void **state)
{
	glm_ids	  ids = {0};
	glm_error err = {0};

	(void) state;
	assert_false(glm_tokenizer_encode_inner(fx_tok, "\xE4\xBD", 2, &ids, &err));
	ck_assert_error(&err, GLM_BAD_TEXT, "not valid UTF-8");
	assert_int_equal(ids.length, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_tokens_are_the_text),
		cmocka_unit_test(inner_tokens_are_those_of_the_whole),
		cmocka_unit_test(bytes_are_what_decoding_adds),
		cmocka_unit_test(inner_text_has_to_be_text),
	};

	return cmocka_run_group_tests(tests, fx_open_tokenizer, fx_close_tokenizer);
}
