/*
 * test_decoder.c - the text of an answer, token by token.
 *
 * Every case is pushed twice, cut into single bytes and cut as the tokenizer
 * cuts it: what is shown must not depend on that.
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
#include "engine/text/decoder.h"

#define FFFD "\xEF\xBF\xBD"

/* Stop strings of the cases are written with a | behind each. */
static glm_decoder *
open_decoder(bool chat, const char *stops)
{
	char		 list[100];
	size_t		 n = strlen(stops);
	glm_decoder *dec;

	memcpy(list, stops, n + 1);
	for (size_t i = 0; i < n; i++)
		if (list[i] == '|')
			list[i] = '\0';
	dec = glm_decoder_open(fx_tok, chat ? &glm_chat_chatglm3 : NULL, list, n);
	assert_non_null(dec);
	return dec;
}

static void
push_all(glm_decoder *dec, const glm_ids *ids, glm_buf *out, bool *stopped)
{
	*stopped = false;
	for (size_t i = 0; i < ids->length; i++)
		assert_true(glm_decoder_push(dec, ids->data[i], out, stopped));
	assert_true(glm_decoder_finish(dec, out));
}

/* One way of cutting: byte by byte, or as the tokenizer does. */
static glm_ids
cut_text(const char *text, bool bytes)
{
	glm_ids ids = {0};

	if (bytes)
		for (const char *c = text; *c; c++)
			assert_true(glm_ids_add(&ids, fx_byte_zero + (unsigned char) *c, NULL));
	else
		assert_true(glm_tokenizer_encode(fx_tok, text, strlen(text), &ids, NULL));
	return ids;
}

static bool
assert_cut_shown(bool chat, const char *stops, const char *text, const char *want, bool bytes)
{
	glm_ids		 ids = cut_text(text, bytes);
	glm_decoder *dec = open_decoder(chat, stops);
	glm_buf		 out = {0};
	bool		 stopped;

	glm_buf_puts(&out, "");
	push_all(dec, &ids, &out, &stopped);
	/* a raw continuation keeps the blank that encoding put in front */
	assert_string_equal(!bytes && !chat && out.length > 0 ? out.data + 1 : out.data, want);
	glm_decoder_close(dec);
	glm_buf_free(&out);
	glm_ids_free(&ids);
	return stopped;
}

/* What a stream of text shows; returns whether a stop string came. */
static bool
assert_shown(bool chat, const char *stops, const char *text, const char *want)
{
	bool stopped = assert_cut_shown(chat, stops, text, want, true);

	/* what is no UTF-8 can come as bytes only */
	if (glm_utf8_check(text, strlen(text)) < 0)
		assert_int_equal(assert_cut_shown(chat, stops, text, want, false), stopped);
	return stopped;
}

/* ---- Chat answers -------------------------------------------------------- */

static void
an_empty_first_line_goes_with_the_blanks_around(void **state)
{
	(void) state;
	assert_shown(true, "", "\nHello", "Hello");
	assert_shown(true, "", "\n Hello \n\n you \t\r\n", "Hello \n\n you");
	assert_shown(true, "", "  \t\n\n\n 你好", "你好");
	assert_shown(true, "", "\n", "");
	assert_shown(true, "", "\n \n", "");
	assert_shown(true, "", "", "");
	assert_shown(true, "", "   ", "");
	assert_shown(true, "", "\n\v x\v", "\v x\v");
}

static void
another_first_line_is_shown_as_it_is(void **state)
{
	(void) state;
	assert_shown(true, "", "f\n```\ntool_call()\n``` \n", "f\n```\ntool_call()\n``` \n");
	assert_shown(true, "", "\t x \n", "\t x \n");
}

static void
raw_text_is_shown_as_it_is(void **state)
{
	(void) state;
	assert_shown(false, "", "\n a \n", "\n a \n");
	assert_shown(false, "", " ", " ");
}

static void
a_raw_continuation_keeps_its_first_blank(void **state)
{
	for (int chat = 0; chat < 2; chat++)
	{
		glm_decoder *dec = open_decoder(chat, "");
		glm_ids		 ids = {0};
		glm_buf		 out = {0};
		bool		 stopped;

		(void) state;
		assert_true(glm_tokenizer_encode(fx_tok, "a", 1, &ids, NULL));
		push_all(dec, &ids, &out, &stopped);
		assert_string_equal(out.data, chat ? "a" : " a");
		glm_decoder_close(dec);
		glm_ids_free(&ids);
		glm_buf_free(&out);
	}
}

/* Of a constrained answer all is shown but what was put in front. */
static void
an_exact_answer_keeps_its_blanks(void **state)
{
	static const struct
	{
		const char *text;
		size_t		hidden;
		bool		content;
		bool		marked;
		const char *want;
	} cases[] = {
		{" \n  x \n", 3, true, false, " x \n"},
		{" \n  x \n", 3, true, true, "\n x \n"},
		{" f\n{}", 1, false, false, "f\n{}"},
		{" f\n{}", 1, false, true, "f\n{}"},
		{" ", 0, true, false, " "},
		{"\n", 1, true, false, ""},
		{"你 ", 3, true, false, " "},
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int way = 0; way < 2; way++)
		{
			glm_ids		 ids = {0};
			glm_decoder *dec = open_decoder(true, "");
			glm_buf		 out = {0};
			bool		 stopped;

			if (way == 0)
				ids = cut_text(cases[i].text, true);
			else
				assert_true(glm_tokenizer_encode_inner(fx_tok, cases[i].text, strlen(cases[i].text),
													   &ids, NULL));
			glm_buf_puts(&out, "");
			glm_decoder_exact(dec, cases[i].hidden, cases[i].content);
			if (cases[i].marked)
				glm_decoder_mark_turns(dec);
			push_all(dec, &ids, &out, &stopped);
			assert_false(stopped);
			assert_string_equal(out.data, cases[i].want);
			glm_decoder_close(dec);
			glm_buf_free(&out);
			glm_ids_free(&ids);
		}
}

/* ---- What is held back --------------------------------------------------- */

/* Shows step by step what comes of each byte. */
static void
assert_steps(bool chat, const char *stops, const char *bytes, const char *const *want)
{
	glm_decoder *dec = open_decoder(chat, stops);
	glm_buf		 out = {0};
	bool		 stopped;

	for (int i = 0; bytes[i]; i++)
	{
		out.length = 0;
		glm_buf_puts(&out, "");
		assert_true(glm_decoder_push(dec, fx_byte_zero + (unsigned char) bytes[i], &out, &stopped));
		assert_string_equal(out.data, want[i]);
	}
	glm_decoder_close(dec);
	glm_buf_free(&out);
}

static void
text_comes_as_soon_as_it_is_certain(void **state)
{
	(void) state;
	assert_steps(true, "", "a\xE4\xBD\xA0z", (const char *const[]){"a", "", "", "你", "z"});
	assert_steps(true, "", "a\xE0\x80z", (const char *const[]){"a", "", FFFD FFFD, "z"});
	assert_steps(true, "", "\na \n b", (const char *const[]){"", "a", "", "", "", " \n b"});
	assert_steps(true, "END|", "xEENEND", (const char *const[]){"x", "", "E", "", "EN", "", ""});
}

static void
what_never_becomes_a_character_comes_at_the_end(void **state)
{
	(void) state;
	assert_shown(true, "", "\na\xE4\xBD", "a" FFFD FFFD);
	assert_shown(false, "", "\xF0\x9F", FFFD FFFD);
}

static void
endless_blanks_are_let_go(void **state)
{
	glm_decoder *dec = open_decoder(true, "");
	glm_buf		 out = {0};
	bool		 stopped;

	(void) state;
	glm_decoder_push(dec, fx_byte_zero + '\n', &out, &stopped);
	glm_decoder_push(dec, fx_byte_zero + 'a', &out, &stopped);
	for (int i = 0; i < 20000; i++)
	{
		size_t before = out.length;

		assert_true(glm_decoder_push(dec, fx_byte_zero + '\n', &out, &stopped));
		assert_true(out.length - before <= GLM_EVENT_PAYLOAD);
	}
	assert_true(out.length > 16000);
	glm_decoder_close(dec);
	glm_buf_free(&out);
}

static void
special_ids_have_no_text(void **state)
{
	glm_decoder *dec = open_decoder(true, "");
	glm_buf		 out = {0};
	bool		 stopped;

	(void) state;
	glm_decoder_push(dec, fx_byte_zero + 'a', &out, &stopped);
	for (int i = glm_tokenizer_special(fx_tok, "[MASK]"); glm_tokenizer_name(fx_tok, i) != NULL;
		 i++)
		if (i != glm_tokenizer_special(fx_tok, "<|assistant|>"))
			assert_true(glm_decoder_push(dec, i, &out, &stopped));
	assert_true(glm_decoder_push(dec, 1000000, &out, &stopped));
	assert_true(glm_decoder_push(dec, -1, &out, &stopped));
	glm_decoder_push(dec, fx_byte_zero + 'b', &out, &stopped);
	assert_string_equal(out.data, "ab");
	glm_decoder_close(dec);
	glm_buf_free(&out);
}

/* ---- Turns ---------------------------------------------------------------- */

/* Pushes turns, written with a | between them; NULs of what comes out become |. */
static bool
assert_turns_shown(bool chat, bool marked, const char *stops, const char *turns, const char *want)
{
	glm_decoder *dec = open_decoder(chat, stops);
	glm_buf		 out = {0};
	bool		 stopped = false;

	if (marked)
		glm_decoder_mark_turns(dec);
	glm_buf_puts(&out, "");
	for (const char *c = turns; *c; c++)
	{
		size_t before = out.length;

		assert_true(glm_decoder_push(dec,
									 *c == '|' ? glm_tokenizer_special(fx_tok, "<|assistant|>")
											   : fx_byte_zero + (unsigned char) *c,
									 &out, &stopped));
		/* the token between two turns shows at most what was held back of the first */
		if (*c == '|' && out.length > before && !stopped)
			assert_true(out.data[out.length - 1] != '\n' && out.data[out.length - 1] != '\0');
	}
	assert_true(glm_decoder_finish(dec, &out));
	for (size_t i = 0; i < out.length; i++)
		if (out.data[i] == '\0')
			out.data[i] = '|';
	assert_string_equal(out.data, want);
	glm_decoder_close(dec);
	glm_buf_free(&out);
	return stopped;
}

static void
turns_are_shown_with_a_newline_between_them(void **state)
{
	(void) state;
	assert_turns_shown(true, false, "", "\n One.|\n Two. ", "One.\nTwo.");
	assert_turns_shown(true, false, "", "\n One.  \n|f\n```\ntool_call()\n```",
					   "One.\nf\n```\ntool_call()\n```");
	assert_turns_shown(true, false, "", "f\n1|g\n2", "f\n1\ng\n2");
	assert_turns_shown(true, false, "", "|\n One.", "One.");
	assert_turns_shown(true, false, "", "\nOne.|", "One.");
	assert_turns_shown(true, false, "", "\nOne.||\n |\nTwo", "One.\nTwo");
	assert_turns_shown(true, false, "", "\na\xE4\xBD|\nb", "a" FFFD FFFD "\nb");
	/* a raw continuation has no turns */
	assert_turns_shown(false, false, "", "a|b", "ab");
}

static void
turns_are_marked_for_who_reads_them(void **state)
{
	(void) state;
	assert_turns_shown(true, true, "", "\n One.|\n Two. ", "\nOne.|\nTwo.");
	assert_turns_shown(true, true, "", "\n One.|f\n```\ntool_call()\n```",
					   "\nOne.|f\n```\ntool_call()\n```");
	assert_turns_shown(true, true, "", "f\n1|g\n2", "f\n1|g\n2");
	assert_turns_shown(true, true, "", "\n f\n1", "\nf\n1");
	assert_turns_shown(true, true, "", "||\n One.", "\nOne.");
}

static void
stop_strings_lie_within_a_turn(void **state)
{
	(void) state;
	assert_true(assert_turns_shown(true, false, "END|", "\nOne.|\nTwo END three", "One.\nTwo"));
	assert_true(assert_turns_shown(true, false, "One|", "\nOne.|\nTwo", ""));
	assert_false(assert_turns_shown(true, false, ".Two|", "\nOne.|\nTwo", "One.\nTwo"));
	assert_true(assert_turns_shown(true, false, "EN|", "\nxE|\nEN", "xE"));
	/* the newline between two turns is part of what is shown */
	assert_true(assert_turns_shown(true, false, "\n|", "\nOne.|\nTwo", "One."));
	assert_true(assert_turns_shown(true, false, "\nTwo|", "\nOne.|\nTwo", "One."));
	assert_true(assert_turns_shown(true, false, "\n|", "f\n1|g\n2", "f"));
	assert_true(assert_turns_shown(true, false, "\ng|", "f1|g2", "f1"));
	/* whether turns are marked makes no difference to that */
	assert_true(assert_turns_shown(true, true, "\n|", "\nOne.|\nTwo", "\nOne."));
	assert_true(assert_turns_shown(true, true, "\nTwo|", "\nOne.|\nTwo", "\nOne."));
	assert_true(assert_turns_shown(true, true, "\ng|", "f1|g2", "f1"));
	assert_true(assert_turns_shown(true, true, "END|", "\nOne.|g\nEND", "\nOne.|g\n"));
	assert_false(assert_turns_shown(true, true, "\ngx|", "f1|g2|\n g", "f1|g2|\ng"));
}

/* ---- Stop strings -------------------------------------------------------- */

static void
text_ends_before_a_stop_string(void **state)
{
	(void) state;
	assert_true(assert_shown(true, "STOP|", "\nfine STOP not shown", "fine"));
	assert_true(assert_shown(false, "STOP|", "fine STOP not shown", "fine "));
	assert_true(assert_shown(false, "。|", "你好。再见。", "你好"));
	assert_true(assert_shown(false, "aab|", "aaab", "a"));
	assert_true(assert_shown(true, "\n|", "\nline\nline", "line"));
	assert_true(assert_shown(true, "x|", "\nx", ""));
	assert_false(assert_shown(true, "STOP|", "\nfine STO", "fine STO"));
	assert_false(assert_shown(true, "\n|", "\n\n\n", ""));
}

static void
of_several_the_one_that_begins_first_wins(void **state)
{
	(void) state;
	assert_true(assert_shown(false, "bc|abcd|", "xabcd", "x"));
	assert_true(assert_shown(false, "abcd|bc|", "xabce", "xa"));
	/* known only when no more text comes, too late for a reason to finish */
	assert_false(assert_shown(false, "abcd|bc|", "xabc", "xa"));
	assert_true(assert_shown(false, "zz|yy|", "ayyzz", "a"));
}

static void
nothing_comes_after_a_stop(void **state)
{
	glm_decoder *dec = open_decoder(false, "b|");
	glm_buf		 out = {0};
	bool		 stopped;

	(void) state;
	for (const char *c = "abcb"; *c; c++)
	{
		assert_true(glm_decoder_push(dec, fx_byte_zero + *c, &out, &stopped));
		assert_int_equal(stopped, *c != 'a');
	}
	assert_true(glm_decoder_finish(dec, &out));
	assert_string_equal(out.data, "a");
	glm_decoder_close(dec);
	glm_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_first_line_goes_with_the_blanks_around),
		cmocka_unit_test(another_first_line_is_shown_as_it_is),
		cmocka_unit_test(raw_text_is_shown_as_it_is),
		cmocka_unit_test(an_exact_answer_keeps_its_blanks),
		cmocka_unit_test(a_raw_continuation_keeps_its_first_blank),
		cmocka_unit_test(text_comes_as_soon_as_it_is_certain),
		cmocka_unit_test(what_never_becomes_a_character_comes_at_the_end),
		cmocka_unit_test(endless_blanks_are_let_go),
		cmocka_unit_test(special_ids_have_no_text),
		cmocka_unit_test(turns_are_shown_with_a_newline_between_them),
		cmocka_unit_test(turns_are_marked_for_who_reads_them),
		cmocka_unit_test(stop_strings_lie_within_a_turn),
		cmocka_unit_test(text_ends_before_a_stop_string),
		cmocka_unit_test(of_several_the_one_that_begins_first_wins),
		cmocka_unit_test(nothing_comes_after_a_stop),
	};

	return cmocka_run_group_tests(tests, fx_open_tokenizer, fx_close_tokenizer);
}
