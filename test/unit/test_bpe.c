/*
 * test_bpe.c - texts that cannot be cut get SentencePiece's ids without being its prisoners.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "fixtures.h"
#include "engine/text/pieces.h"

/* Compares bpe.c and SentencePiece, as encode.c uses them for the first part of a text. */
static void
assert_same_merges(const glm_tokenizer *t, const char *text, size_t n)
{
	glm_ids want = {0};
	glm_ids got = {0};
	glm_buf escaped = {0};

	assert_int_equal(glm_spm_encode(t->spm, text, n, glm_take_id, &want), GLM_SPM_OK);
	glm_buf_puts(&escaped, n > 0 ? "\xE2\x96\x81" : "");
	for (size_t i = 0; i < n; i++)
		glm_buf_add(&escaped, text[i] == ' ' ? "\xE2\x96\x81" : text + i, text[i] == ' ' ? 3 : 1);
	assert_true(glm_bpe_encode(t->bpe, escaped.data, escaped.length, &got, NULL));
	assert_int_equal(got.length, want.length);
	assert_memory_equal(got.data, want.data, want.length * sizeof(int32_t));
	glm_ids_free(&want);
	glm_ids_free(&got);
	glm_buf_free(&escaped);
}

/* Texts of characters, of pieces, of few letters and of many alike. */
static void
check_merges(const glm_tokenizer *t)
{
	static const char *const odd[] = {" ",		  "\xE2\x96\x81", "\n",			  "你",	 "🙂",
									  "é",		  "e\xCC\x81",	  "\t",			  "<s>", "<0x0A>",
									  "\xC2\xA0", "\r\n",		  "\xEF\xBF\xBD", "\x7F"};
	uint32_t				 random = 3;

	for (int round = 0; round < 2000; round++)
	{
		glm_buf text = {0};
		size_t	length = round % 10 == 0 ? 5000 : (size_t) round % 200;

		while (text.length < length)
		{
			uint32_t		 r;
			char			 letter;
			const glm_piece *p;

			random = random * 1664525 + 1013904223;
			r = random >> 12;
			letter = (char) ('a' + r % (1 + round % 26));
			p = &t->pieces[r % (uint32_t) t->size];
			if (t->defined.length > 0 && r % 16 == 1)
				p = &t->pieces[t->defined.data[r / 16 % t->defined.length]];
			if (round % 3 == 0)
				glm_buf_add(&text, &letter, 1);
			else if (r % 8 == 0)
				glm_buf_puts(&text, odd[r / 8 % (sizeof(odd) / sizeof(odd[0]))]);
			else if (p->kind == GLM_SPM_TEXT)
				glm_buf_add(&text, t->text.data + p->offset, p->length);
		}
		assert_same_merges(t, text.data ? text.data : "", text.length);
		glm_buf_free(&text);
	}
	for (int c = 1; c < 127; c++)
	{
		char text[1000];

		memset(text, c, sizeof(text));
		for (size_t n = 0; n <= sizeof(text); n += n < 70 ? 1 : 310)
			assert_same_merges(t, text, n);
	}
}

static void
merging_is_what_sentencepiece_does(void **state)
{
	static const char *const names[] = {"chatglm3-a", "chatglm3-b"};
	static const int		 vocabs[] = {768, 1024};

	(void) state;
	assert_non_null(fx_tok->bpe);
	assert_int_equal(fx_tok->defined.length, 4);
	check_merges(fx_tok);
	for (int i = 0; i < 2 && ck_golden() != NULL; i++)
	{
		char		   path[CK_PATH];
		glm_tokenizer *t;

		ck_path(path, ck_golden(), names[i]);
		t = glm_tokenizer_open(path, vocabs[i], NULL);
		assert_non_null(t);
		assert_non_null(t->bpe);
		check_merges(t);
		glm_tokenizer_close(t);
	}
}

static int pauses_granted;

static bool
grant_pause(void *arg, glm_error *err)
{
	(void) arg;
	return pauses_granted-- > 0 || glm_fail(err, GLM_CANCELLED, "enough");
}

/* A long run without a place to cut, among others: the ids are SentencePiece's, and a pause ends it. */
static void
long_runs_are_merged_here(void **state)
{
	glm_buf	  text = {0};
	glm_ids	  whole = {0};
	glm_ids	  got = {0};
	glm_error err = {0};

	(void) state;
	for (int part = 0; part < 3; part++)
	{
		glm_buf_puts(&text, "Ship 3 lamps to Berlin.\n");
		for (int i = 0; i < 100000; i++)
			glm_buf_add(&text, &"` e"[part], 1);
	}
	assert_int_equal(glm_spm_encode(fx_tok->spm, text.data, text.length, glm_take_id, &whole),
					 GLM_SPM_OK);
	assert_true(glm_tokenizer_encode(fx_tok, text.data, text.length, &got, &err));
	assert_int_equal(got.length, whole.length);
	assert_memory_equal(got.data, whole.data, whole.length * sizeof(int32_t));
	glm_ids_free(&got);
	glm_ids_free(&whole);

	glm_pause_with(grant_pause, NULL);
	for (int n = 0; n < 60; n += 7)
	{
		pauses_granted = n;
		assert_false(glm_tokenizer_encode(fx_tok, text.data, text.length, &got, &err));
		ck_assert_error(&err, GLM_CANCELLED, "enough");
		assert_int_equal(pauses_granted, -1);
		glm_ids_free(&got);
	}
	glm_pause_with(NULL, NULL);
	glm_buf_free(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merging_is_what_sentencepiece_does),
		cmocka_unit_test(long_runs_are_merged_here),
	};

	return cmocka_run_group_tests_name("bpe", tests, fx_open_tokenizer, fx_close_tokenizer);
}
