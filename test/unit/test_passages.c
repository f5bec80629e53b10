/*
 * test_passages.c - texts cut into passages: none has more tokens than it may, they are cut
 * at borders, and without overlap they are the text, whatever it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/text/passages.h"
#include "fixtures.h"

#define CHARACTER_MOST 5 /* tokens of one character: four bytes and the blank before them */

static size_t
count(const char *text, size_t n)
{
	glm_ids	  ids = {.counted = true};
	glm_error err = {0};

	assert_true(glm_tokenizer_encode(fx_tok, text, n, &ids, &err));
	return ids.length;
}

/* Cuts a text and checks each passage; how many there are. */
static int
cut_and_check(const char *text, size_t n, size_t tokens, size_t overlap)
{
	glm_passages p = {.tok = fx_tok, .text = text, .n = n, .tokens = tokens, .overlap = overlap};
	glm_error	 err = {0};
	size_t		 from = 0, end = 0;
	int			 passages = 0;

	while (p.to < p.n)
	{
		assert_true(glm_passages_next(&p, &err));
		assert_true(p.to > end && p.from <= end && (passages == 0 || p.from > from));
		assert_true(count(text + p.from, p.to - p.from) <= tokens);
		assert_true(((unsigned char) text[p.from] & 0xC0) != 0x80);
		if (p.from < end)
			assert_true(count(text + p.from, end - p.from) <= overlap);
		from = p.from;
		end = p.to;
		passages++;
	}
	assert_int_equal(end, n);
	glm_ids_free(&p.ids);
	return passages;
}

/* Does the passage that begins at the text's beginning end behind this? */
static void
first_is(const char *text, size_t tokens, const char *expected)
{
	glm_passages p = {.tok = fx_tok, .text = text, .n = strlen(text), .tokens = tokens};
	glm_error	 err = {0};
	char		 first[1024] = "";

	assert_true(glm_passages_next(&p, &err));
	memcpy(first, text, p.to);
	assert_string_equal(first, expected);
	glm_ids_free(&p.ids);
}

static void
cut_at_borders(void **state)
{
	static const char text[] =
		"The first part is here.\n\nThe second has a sentence. And one more.";
	static const char lamps[] = "A lamp. A lamp. A lamp. A lamp. A lamp";

	(void) state;
	first_is(text, count(text, 40), "The first part is here.\n\n");
	first_is(text, count(text, 58), "The first part is here.\n\nThe second has a sentence. ");
	first_is(lamps, count(lamps, 20), "A lamp. A lamp. ");
	first_is("one two three four", count("one two thr", 11), "one two ");
	first_is("xqxqxqxqxqxqxq", count("xqxqxqx", 7), "xqxqxqx");
	assert_int_equal(cut_and_check("", 0, 8, 0), 0);
	assert_int_equal(cut_and_check("lamp", 4, 8, 4), 1);
	assert_int_equal(cut_and_check(text, strlen(text), 1000, 999), 1);
}

static void
overlaps_are_shared(void **state)
{
	char text[2000] = "";
	int	 plain, shared;

	(void) state;
	for (int i = 0; i < 60; i++)
		strcat(text, i % 7 == 6 ? "Berlin. " : "some lamp and ");
	plain = cut_and_check(text, strlen(text), 24, 0);
	shared = cut_and_check(text, strlen(text), 24, 8);
	assert_true(plain > 10);
	assert_true(shared > plain + plain / 4);
}

static void
whatever_the_text_is(void **state)
{
	static const char *const bits[] = {"a",		   "lamp", " ",	   "  ",  "\n\n",	   ". ",
									   "好",	   "。",   "🐘",	   "é",	  "the desk ", "1234",
									   "\xCC\x81", "\t",   "ZZZZ", "...", "한국"};

	(void) state;
	srand(815);
	for (int round = 0; round < 300; round++)
	{
		char text[2048] = "";

		for (int i = rand() % 120; i > 0; i--)
			strcat(text, bits[rand() % (sizeof(bits) / sizeof(*bits))]);
		for (size_t tokens = CHARACTER_MOST; tokens < 100;
			 tokens = tokens * 2 + (size_t) rand() % 5)
		{
			cut_and_check(text, strlen(text), tokens, 0);
			cut_and_check(text, strlen(text), tokens, (size_t) rand() % tokens);
		}
	}
}

static void
a_character_may_be_too_much(void **state)
{
	glm_passages p = {.tok = fx_tok, .text = "🐘", .n = 4, .tokens = 1};
	glm_error	 err = {0};

	(void) state;
	assert_true(count("🐘", 4) > 1);
	assert_false(glm_passages_next(&p, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	glm_ids_free(&p.ids);
}

/* A long text takes time by its length: this would take minutes if it went by its square. */
static void
a_long_text(void **state)
{
	size_t n = 1 << 20;
	char  *text = malloc(n + 1);

	(void) state;
	for (size_t i = 0; i < n; i++)
		text[i] = i % 6 == 5 ? ' ' : (char) ('a' + i * 7 % 26);
	text[n] = '\0';
	assert_true(cut_and_check(text, n, 500, 20) > 500);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_at_borders),		cmocka_unit_test(overlaps_are_shared),
		cmocka_unit_test(whatever_the_text_is), cmocka_unit_test(a_character_may_be_too_much),
		cmocka_unit_test(a_long_text),
	};

	return cmocka_run_group_tests_name("passages", tests, fx_open_tokenizer, fx_close_tokenizer);
}
