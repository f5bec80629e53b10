/*
 * test_tokenizer.c - text to ids and back, whole and token by token.
 *
 * Runs on the embedded model's tokenizer, and on the checkpoints of golden/
 * when they lie beside the tree.
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
#include "engine/text/pieces.h"
#include "engine/base/file.h"
#include "engine/text/decoder.h"

#define FFFD "\xEF\xBF\xBD"

static int32_t first_special;

/* ---- Helpers ------------------------------------------------------------- */

static glm_ids
encode(const glm_tokenizer *t, const char *text, size_t n)
{
	glm_ids	  ids = {0};
	glm_error err = {0};

	if (!glm_tokenizer_encode(t, text, n, &ids, &err))
		fail_msg("%s", err.message);
	return ids;
}

static int
open_tiny(void **state)
{
	fx_open_tokenizer(state);
	first_special = glm_tokenizer_special(fx_tok, "[MASK]");
	return 0;
}

static void
assert_decoded(const glm_tokenizer *t, const int32_t *ids, size_t n, const char *want)
{
	glm_buf	  out = {0};
	glm_error err = {0};

	glm_buf_puts(&out, "");
	if (!glm_tokenizer_decode(t, ids, n, &out, &err))
		fail_msg("%s", err.message);
	assert_string_equal(out.data, want);
	glm_buf_free(&out);
}

static json_t *
expected_of(const char *dir, const char *key)
{
	char	path[CK_PATH];
	json_t *expected;

	ck_path(path, dir, "expected.json");
	expected = json_load_file(path, 0, NULL);
	if (expected == NULL || json_object_get(expected, key) == NULL)
		fail_msg("%s has no %s", path, key);
	return expected;
}

static glm_ids
ids_of(json_t *array)
{
	glm_ids ids = {0};

	for (size_t i = 0; i < json_array_size(array); i++)
		glm_ids_add(&ids, (int32_t) json_integer_value(json_array_get(array, i)), NULL);
	return ids;
}

static glm_ids
bytes_as_ids(const char *bytes, size_t n)
{
	glm_ids ids = {0};

	for (size_t i = 0; i < n; i++)
		glm_ids_add(&ids, fx_byte_zero + (unsigned char) bytes[i], NULL);
	return ids;
}

/* ---- golden/ ------------------------------------------------------------- */

static void
check_golden_texts(const glm_tokenizer *t, json_t *expected)
{
	json_t *list = json_object_get(expected, "tokenize");

	assert_true(json_array_size(list) > 0);
	for (size_t i = 0; i < json_array_size(list); i++)
	{
		json_t *row = json_array_get(list, i);
		json_t *text = json_object_get(row, "text");
		glm_ids want = ids_of(json_object_get(row, "ids"));
		glm_ids got = encode(t, json_string_value(text), json_string_length(text));

		assert_int_equal(got.length, want.length);
		if (want.length > 0)
			assert_memory_equal(got.data, want.data, want.length * sizeof(int32_t));
		assert_decoded(t, want.data, want.length,
					   json_string_value(json_object_get(row, "decoded")));
		glm_ids_free(&want);
		glm_ids_free(&got);
	}
}

/* The text of the greedy answers is what the stream of a chat shows. */
static void
check_golden_streams(const glm_tokenizer *t, json_t *expected)
{
	json_t *list = json_object_get(expected, "chat");

	assert_true(json_array_size(list) > 0);
	for (size_t i = 0; i < json_array_size(list); i++)
	{
		json_t		*row = json_array_get(list, i);
		glm_ids		 ids = ids_of(json_object_get(row, "greedy_ids"));
		glm_decoder *dec = glm_decoder_open(t, &glm_chat_chatglm3, NULL, 0);
		glm_buf		 out = {0};
		bool		 stopped;

		for (size_t j = 0; j < ids.length; j++)
			assert_true(glm_decoder_push(dec, ids.data[j], &out, &stopped));
		assert_true(glm_decoder_finish(dec, &out));
		assert_string_equal(out.data, json_string_value(json_object_get(row, "text")));
		glm_decoder_close(dec);
		glm_buf_free(&out);
		glm_ids_free(&ids);
	}
}

static void
golden_texts_and_ids_are_exact(void **state)
{
	static const char *const names[] = {"chatglm3-a", "chatglm3-b"};
	static const int		 vocabs[] = {768, 1024};

	(void) state;
	if (ck_golden() == NULL)
		skip();
	for (int i = 0; i < 2; i++)
	{
		glm_error	   err = {0};
		char		   dir[CK_PATH];
		glm_tokenizer *t;
		json_t		  *expected;
		json_t		  *special;

		ck_path(dir, ck_golden(), names[i]);
		t = glm_tokenizer_open(dir, vocabs[i], &err);
		if (t == NULL)
			fail_msg("%s", err.message);
		expected = expected_of(dir, "tokenize");
		special = json_object_get(expected, "special");
		assert_int_equal(glm_tokenizer_special(t, "[MASK]"),
						 json_integer_value(json_object_get(special, "[MASK]")));
		assert_int_equal(glm_tokenizer_special(t, "<|observation|>"),
						 json_integer_value(json_object_get(special, "<|observation|>")));
		check_golden_texts(t, expected);
		check_golden_streams(t, expected);
		json_decref(expected);
		glm_tokenizer_close(t);
	}
}

/* ---- Encoding ------------------------------------------------------------ */

static void
texts_come_back_as_they_were(void **state)
{
	static const char *const texts[] = {"",
										"a",
										" ",
										"  two  spaces\tand tab\n",
										"你好,世界!",
										"emoji 🙂 ñ",
										"\n\n\r\n",
										"<s></s><unk><0x41>",
										"[gMASK]sop<|user|><|assistant|>",
										"\x01\x7f",
										"\xEF\xBB\xBFmark"};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		glm_ids ids = encode(fx_tok, texts[i], strlen(texts[i]));

		/* no text yields a special id, whatever is typed */
		for (size_t j = 0; j < ids.length; j++)
			assert_in_range(ids.data[j], 3, first_special - 1);
		assert_decoded(fx_tok, ids.data, ids.length, texts[i]);
		glm_ids_free(&ids);
	}
}

static void
bad_text_is_refused_with_its_place(void **state)
{
	glm_ids	  ids = {0};
	glm_error err;

	(void) state;
	assert_false(glm_tokenizer_encode(fx_tok, "abc\xFF", 4, &ids, &err));
	ck_assert_error(&err, GLM_BAD_TEXT, "byte 3");
	assert_false(glm_tokenizer_encode(fx_tok, "你\xE5\xA5", 5, &ids, &err));
	ck_assert_error(&err, GLM_BAD_TEXT, "byte 3");
	assert_false(glm_tokenizer_encode(fx_tok, "ab\0c", 4, &ids, &err));
	ck_assert_error(&err, GLM_BAD_TEXT, "NUL at byte 2");
	assert_int_equal(ids.length, 0);
}

static glm_spm *
open_spm(void)
{
	glm_buf	  file = {0};
	glm_spm	 *spm = NULL;
	glm_error err;
	char	  why[100];

	assert_true(glm_file_read(&file, FX_MODEL "/tokenizer.model", 1 << 24, &err));
	assert_int_equal(glm_spm_open(file.data, file.length, &spm, why, sizeof(why)), GLM_SPM_OK);
	glm_buf_free(&file);
	return spm;
}

/* A long text is encoded in segments; SentencePiece by itself does it at once. */
static void
assert_segments_do_not_show(const char *const words[8])
{
	glm_spm *spm = open_spm();
	glm_buf	 text = {0};
	glm_ids	 whole = {0};
	glm_ids	 got;
	uint32_t random = 7;

	while (text.length < 600000)
	{
		random = random * 1664525 + 1013904223;
		glm_buf_puts(&text, words[random >> 29]);
	}
	assert_int_equal(glm_spm_encode(spm, text.data, text.length, glm_take_id, &whole), GLM_SPM_OK);
	got = encode(fx_tok, text.data, text.length);
	assert_int_equal(got.length, whole.length);
	assert_memory_equal(got.data, whole.data, whole.length * sizeof(int32_t));
	glm_ids_free(&got);
	glm_ids_free(&whole);
	glm_buf_free(&text);
	glm_spm_close(spm);
}

static void
segments_do_not_show(void **state)
{
	(void) state;
	assert_segments_do_not_show((const char *const[]){"Ship 3 lamps to Berlin.\n", "\n", "  \n",
													  "你好 世界\r\n", "{\n    \"a\"", "x", " ",
													  "\xE2\x96\x81"});
	assert_segments_do_not_show((const char *const[]){
		"weather ", "the", "  ", "review", "s", "Berlin", "                 ", "\xE2\x96\x81"});
	assert_segments_do_not_show(
		(const char *const[]){"天气", "怎么样", "北京", "评论", "。", "订单", "🙂", "é"});
}

/* Whatever the size of the segments, down to single characters. */
static void
segments_of_any_size_do_not_show(void **state)
{
	static const char *const words[] = {
		"Ship 3 lamps", "\n",		  "    ", "你好世界",
		"\r\n",			"{\"a\": [[", "xx",	  " ",
		"\xE2\x96\x81", "🙂",		  "é",	  "\t",
		"天气",			"1234567",	  "----", "The weather in Berlin",
		"''",			"\xC2\xA0",	  "~"};
	const size_t segment = fx_tok->segment;
	glm_spm		*spm = open_spm();
	uint32_t	 random = 11;

	(void) state;
	for (int round = 0; round < 300; round++)
	{
		glm_buf text = {0};
		glm_ids whole = {0};

		while (text.length < 400)
		{
			random = random * 1664525 + 1013904223;
			glm_buf_puts(&text, words[(random >> 16) % (sizeof(words) / sizeof(words[0]))]);
		}
		assert_int_equal(glm_spm_encode(spm, text.data, text.length, glm_take_id, &whole),
						 GLM_SPM_OK);
		for (fx_tok->segment = 1; fx_tok->segment < 200; fx_tok->segment += 1 + (size_t) round % 7)
		{
			glm_ids got = encode(fx_tok, text.data, text.length);

			assert_int_equal(got.length, whole.length);
			assert_memory_equal(got.data, whole.data, whole.length * sizeof(int32_t));
			glm_ids_free(&got);
		}
		glm_ids_free(&whole);
		glm_buf_free(&text);
	}
	fx_tok->segment = segment;
	glm_spm_close(spm);
}

static void
what_cannot_be_parted_is_bounded(void **state)
{
	const size_t n = 5 << 20;
	char		*text = malloc(n);
	glm_ids		 ids = {0};
	glm_error	 err;

	(void) state;
	memset(text, ' ', n); /* any two blanks stand side by side in a piece */
	assert_false(glm_tokenizer_encode(fx_tok, text, n, &ids, &err));
	ck_assert_error(&err, GLM_TOO_LONG, "5242880 bytes");
	assert_int_equal(ids.length, 0);
	free(text);
}

/* ---- Decoding ------------------------------------------------------------ */

/* Any list of ids decodes to what SentencePiece makes of it, but for NULs. */
static void
decoding_agrees_with_sentencepiece(void **state)
{
	glm_spm *spm = open_spm();
	uint32_t random = 1;

	(void) state;
	for (int round = 0; round < 3000; round++)
	{
		int32_t ids[12];
		glm_buf want = {0};

		for (int i = 0; i < 12; i++)
		{
			random = random * 1664525 + 1013904223;
			/* bytes, blanks and control pieces more often than words */
			ids[i] = (random >> 8) % ((random >> 30) ? 300 : (uint32_t) first_special);
			if (ids[i] == fx_byte_zero)
				ids[i]++;
		}
		assert_int_equal(glm_spm_decode(spm, ids, round % 13, glm_take_text, &want), GLM_SPM_OK);
		assert_decoded(fx_tok, ids, round % 13, want.data);
		glm_buf_free(&want);
	}
	glm_spm_close(spm);
}

static void
broken_bytes_become_replacement_characters(void **state)
{
	static const struct
	{
		const char *bytes;
		const char *want;
	} cases[] = {
		{"a\xFFz", "a" FFFD "z"},		  {"\xE4\xBD\xA0", "你"},
		{"\xE4\xBD", FFFD FFFD},		  {"\xE4\xBDz", FFFD FFFD "z"},
		{"\xE4\xE4\xBD\xA0", FFFD "你"},  {"\xF0\x9F\x99\x82", "🙂"},
		{"\xED\xA0\x80", FFFD FFFD FFFD}, {"\xF0\x9F\x99\xF0\x9F\x99\x82", FFFD FFFD FFFD "🙂"},
		{"\xC0\x80", FFFD FFFD}};
	int32_t nul = fx_byte_zero;

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		glm_ids ids = bytes_as_ids(cases[i].bytes, strlen(cases[i].bytes));

		assert_decoded(fx_tok, ids.data, ids.length, cases[i].want);
		glm_ids_free(&ids);
	}
	assert_decoded(fx_tok, &nul, 1, FFFD);
}

static void
special_ids_decode_to_their_names(void **state)
{
	glm_ids hello = encode(fx_tok, "hello", 5);
	glm_ids ids = {0};

	(void) state;
	glm_ids_add(&ids, glm_tokenizer_special(fx_tok, "[gMASK]"), NULL);
	glm_ids_add(&ids, glm_tokenizer_special(fx_tok, "sop"), NULL);
	glm_ids_add(&ids, glm_tokenizer_special(fx_tok, "<|user|>"), NULL);
	for (size_t i = 0; i < hello.length; i++)
		glm_ids_add(&ids, hello.data[i], NULL);
	glm_ids_add(&ids, 2, NULL); /* </s>, a control piece */
	glm_ids_add(&ids, glm_tokenizer_special(fx_tok, "<|assistant|>"), NULL);
	for (size_t i = 0; i < hello.length; i++)
		glm_ids_add(&ids, hello.data[i], NULL);
	assert_decoded(fx_tok, ids.data, ids.length, "[gMASK]sop<|user|>hello<|assistant|>hello");
	glm_ids_free(&ids);
	glm_ids_free(&hello);
}

static void
ids_outside_the_vocabulary_are_refused(void **state)
{
	glm_error	   err = {0};
	glm_tokenizer *padded = glm_tokenizer_open(FX_MODEL, FX_VOCAB + 10, &err);
	int32_t		   ids[] = {FX_VOCAB + 9, -1, FX_VOCAB + 10};
	glm_buf		   out = {0};

	(void) state;
	assert_non_null(padded);
	assert_decoded(padded, ids, 1, ""); /* padding: an id, but no text */
	assert_false(glm_tokenizer_decode(padded, ids + 1, 1, &out, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "token id -1");
	assert_false(glm_tokenizer_decode(padded, ids, 3, &out, &err));
	ck_assert_error(&err, GLM_BAD_ARGUMENT, "between 0 and 1033");
	glm_buf_free(&out);
	glm_tokenizer_close(padded);
}

/* ---- Files --------------------------------------------------------------- */

static void
assert_refused(const char *dir, int vocab, glm_status status, const char *fragment)
{
	glm_error err = {0};

	assert_null(glm_tokenizer_open(dir, vocab, &err));
	ck_assert_error(&err, status, fragment);
	ck_assert_error(&err, status, "tokenizer.model");
}

static void
broken_files_are_refused_by_name(void **state)
{
	char	  dir[CK_PATH];
	glm_buf	  file = {0};
	glm_error err;

	(void) state;
	assert_refused("/nonexistent", FX_VOCAB, GLM_NO_FILE, "/nonexistent");
	assert_refused(FX_MODEL, first_special + fx_tok->n_special - 1, GLM_BAD_FILE, "do not fit");
	assert_refused(FX_MODEL, 0, GLM_BAD_FILE, "do not fit");

	ck_open(dir);
	ck_puts(dir, "tokenizer.model", "");
	assert_refused(dir, FX_VOCAB, GLM_BAD_FILE, dir);
	ck_puts(dir, "tokenizer.model", "version https://git-lfs.github.com/spec/v1\n");
	assert_refused(dir, FX_VOCAB, GLM_BAD_FILE, dir);
	assert_true(glm_file_read(&file, FX_MODEL "/tokenizer.model", 1 << 24, &err));
	ck_write(dir, "tokenizer.model", file.data, file.length / 2);
	assert_refused(dir, FX_VOCAB, GLM_BAD_FILE, dir);
	glm_buf_free(&file);
	ck_close(dir);
}

/*
 * A model with a table of replacements: a trie of 256 units in which A leads
 * to a value, the first replacement.  Unit 0 is the root.
 */
typedef struct table
{
	uint8_t	 head[8]; /* of ModelProto, NormalizerSpec and the bytes */
	uint32_t size;	  /* of the trie */
	uint32_t unit[256];
	char	 replacements[4];
} table;

#define NODE(label, child, at) ((uint32_t) (label) | ((uint32_t) ((child) ^ (at)) << 10))

static table
good_table(void)
{
	table		   t = {.size = 1024, .replacements = "abc"};
	const unsigned bytes = sizeof(t) - sizeof(t.head);

	t.head[0] = 3 << 3 | 2;
	t.head[1] = 0x80 | ((bytes + 5) & 0x7F); /* 5: the five bytes of head after these */
	t.head[2] = (bytes + 5) >> 7;
	t.head[3] = 2 << 3 | 2;
	t.head[4] = 0x80 | (bytes & 0x7F);
	t.head[5] = 0x80 | (bytes >> 7);
	t.head[6] = 0x80; /* as long as a varint may be written */
	t.head[7] = 0;
	t.unit[0] = NODE(0, 1, 0);
	t.unit[1 ^ 'A'] = NODE('A', 3, 1 ^ 'A') | 0x100;
	t.unit[3] = 0x80000000u | 0;
	return t;
}

static void
tables_that_lead_outside_are_refused(void **state)
{
	table t = good_table();

	(void) state;
	assert_true(glm_charsmap_check("", 0));
	assert_true(glm_charsmap_check(&t, sizeof(t)));
	assert_false(glm_charsmap_check(&t, sizeof(t) - 1));
	t.unit[0] = NODE(0, 256, 0);
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t = good_table();
	t.unit[0] |= 0x80000000u; /* a value, where every lookup begins */
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t = good_table();
	t.unit[7] = NODE('x', 0, 0) | 0xFFFFFu << 10 | 0x200;
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t = good_table();
	t.unit[3] = 0x80000000u | 4; /* a replacement past the last */
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t = good_table();
	t.replacements[3] = 'x'; /* which has no end */
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t = good_table();
	t.size = 1028; /* no room for replacements */
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t.size = 1023;
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t.size = 0;
	assert_false(glm_charsmap_check(&t, sizeof(t)));
	t.size = 0xFFFFFFFC;
	assert_false(glm_charsmap_check(&t, sizeof(t)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_texts_and_ids_are_exact),
		cmocka_unit_test(texts_come_back_as_they_were),
		cmocka_unit_test(bad_text_is_refused_with_its_place),
		cmocka_unit_test(segments_do_not_show),
		cmocka_unit_test(segments_of_any_size_do_not_show),
		cmocka_unit_test(what_cannot_be_parted_is_bounded),
		cmocka_unit_test(decoding_agrees_with_sentencepiece),
		cmocka_unit_test(broken_bytes_become_replacement_characters),
		cmocka_unit_test(special_ids_decode_to_their_names),
		cmocka_unit_test(ids_outside_the_vocabulary_are_refused),
		cmocka_unit_test(broken_files_are_refused_by_name),
		cmocka_unit_test(tables_that_lead_outside_are_refused),
	};

	return cmocka_run_group_tests(tests, open_tiny, fx_close_tokenizer);
}
