/*
 * test_units.c - words, sentences and paragraphs of texts, and the borders between them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/text/units.h"

/* The units of a text with a bar behind each. */
static const char *
units_of(glm_unit unit, const char *text)
{
	static char joined[1024];
	size_t		n = strlen(text), from, to = 0, at = 0;

	while (glm_next_unit(unit, text, n, &from, &to))
	{
		assert_true(from < to && to <= n);
		memcpy(joined + at, text + from, to - from);
		at += to - from;
		joined[at++] = '|';
	}
	joined[at] = '\0';
	return joined;
}

#define WORDS(text, expected) assert_string_equal(units_of(GLM_UNIT_WORD, text), expected)
#define SENTENCES(text, expected) assert_string_equal(units_of(GLM_UNIT_SENTENCE, text), expected)
#define PARAGRAPHS(text, expected) assert_string_equal(units_of(GLM_UNIT_PARAGRAPH, text), expected)

static void
words(void **state)
{
	(void) state;
	WORDS("", "");
	WORDS(" \n ,.!", "");
	WORDS("Hello, world!", "Hello|world|");
	WORDS("can't won’t 'quoted' rock'n'roll", "can't|won’t|quoted|rock'n'roll|");
	WORDS("3.14 1,000,000 3.x 5. v2", "3.14|1,000,000|3|x|5|v2|");
	WORDS("snake_case kebab-case", "snake_case|kebab|case|");
	WORDS("naïve Ωmega straße", "naïve|Ωmega|straße|");
	WORDS("我很好，谢谢。", "我|很|好|谢|谢|");
	WORDS("用PostgreSQL存数据", "用|PostgreSQL|存|数|据|");
	WORDS("カタカナひらがな", "カタカナ|ひ|ら|が|な|");
	WORDS("한국어 단어", "한국어|단어|");
	WORDS("e\xCC\x81t\xC3\xA9 a\xCC\x81", "e\xCC\x81t\xC3\xA9|a\xCC\x81|");
	WORDS("🐘 und 🐘!", "und|");
	WORDS("全角！ＡＢＣ１２", "全|角|ＡＢＣ１２|");
	WORDS("a\xC2\xA0"
		  "b\xE3\x80\x80"
		  "c",
		  "a|b|c|");
}

static void
sentences(void **state)
{
	(void) state;
	SENTENCES("", "");
	SENTENCES("  \n\n ", "");
	SENTENCES("One. Two! Three? Four", "One.|Two!|Three?|Four|");
	SENTENCES("Pi is 3.14. See example.com now.", "Pi is 3.14.|See example.com now.|");
	SENTENCES("Lamps, desks etc. are here. Yes.", "Lamps, desks etc. are here.|Yes.|");
	SENTENCES("He said \"Go!\" Then (softly.) Left.", "He said \"Go!\"|Then (softly.)|Left.|");
	SENTENCES("Wait... what?! No...", "Wait... what?!|No...|");
	SENTENCES("灯坏了。请退款！好吗？好", "灯坏了。|请退款！|好吗？|好|");
	SENTENCES("他说：“好。”然后走了。", "他说：“好。”|然后走了。|");
	SENTENCES("A title\n\nA line that\ngoes on. ", "A title|A line that\ngoes on.|");
	SENTENCES("Line one\r\n\r\nLine two", "Line one|Line two|");
}

static void
paragraphs(void **state)
{
	(void) state;
	PARAGRAPHS("", "");
	PARAGRAPHS("\n\n", "");
	PARAGRAPHS("one\ntwo\n\nthree\n \t\n\n four \n", "one\ntwo|three|four|");
	PARAGRAPHS("a\r\nb\r\n\r\nc", "a\r\nb|c|");
	PARAGRAPHS("a\xE2\x80\xA9"
			   "b",
			   "a|b|");
}

/* What stands before a border, for each place that the last one may be at. */
static void
borders(void **state)
{
	static const char text[] = "One (two). Three, four.\n\nFive";

	(void) state;
	assert_int_equal(glm_last_border(GLM_UNIT_WORD, text, 29, 3), 0);
	assert_int_equal(glm_last_border(GLM_UNIT_WORD, text, 29, 4), 4); /* before the bracket */
	assert_int_equal(glm_last_border(GLM_UNIT_WORD, text, 29, 10), 4);
	assert_int_equal(glm_last_border(GLM_UNIT_WORD, text, 29, 17), 11);
	assert_int_equal(glm_last_border(GLM_UNIT_WORD, text, 29, 18), 18);
	assert_int_equal(glm_last_border(GLM_UNIT_SENTENCE, text, 29, 24), 11);
	assert_int_equal(glm_last_border(GLM_UNIT_PARAGRAPH, text, 29, 24), 0);
	assert_int_equal(glm_last_border(GLM_UNIT_PARAGRAPH, text, 29, 29), 25);
	assert_int_equal(glm_next_border(text, 29, 1), 4);
	assert_int_equal(glm_next_border(text, 29, 12), 18);
	assert_int_equal(glm_next_border(text, 29, 26), 29);
	assert_int_equal(glm_last_border(GLM_UNIT_WORD, "好，世界", 12, 8), 6);
}

/* Whatever bytes a text has, units lie in it in order, begin and end at characters, and end. */
static void
units_of_anything(void **state)
{
	static const char *const bits[] = {
		"a",  "1", ".",		   ",", "'",  " ", "\n", "\r",			 "。", "好",
		"ア", "é", "\xCC\x81", "🐘", "\"", "!", "_",	 "\xE2\x80\xA9", "한"};

	(void) state;
	srand(4711);
	for (int round = 0; round < 20000; round++)
	{
		char text[128] = "";

		for (int i = rand() % 20; i > 0; i--)
			strcat(text, bits[rand() % (sizeof(bits) / sizeof(*bits))]);
		for (glm_unit unit = GLM_UNIT_WORD; unit <= GLM_UNIT_PARAGRAPH; unit++)
		{
			size_t n = strlen(text), from, to = 0, before = 0;

			while (glm_next_unit(unit, text, n, &from, &to))
			{
				assert_true(before <= from && from < to && to <= n);
				assert_true(((unsigned char) text[from] & 0xC0) != 0x80);
				assert_true(((unsigned char) text[to] & 0xC0) != 0x80);
				before = to;
			}
			for (size_t end = 0; end <= n; end++)
				assert_true(glm_last_border(unit, text, n, end) <= end);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words),
		cmocka_unit_test(sentences),
		cmocka_unit_test(paragraphs),
		cmocka_unit_test(borders),
		cmocka_unit_test(units_of_anything),
	};

	return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
