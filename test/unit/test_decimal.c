/*
 * test_decimal.c - numbers exactly, and what may still become one of a range.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/constrain/decimal.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static glm_decimal
number(const char *text)
{
	glm_decimal d;

	if (!glm_decimal_read(&d, text, strlen(text)))
		fail_msg("%s is not read", text);
	return d;
}

static void
numbers_are_written_as_short_as_they_can(void **state)
{
	static const char *const pairs[][2] = {
		{"0", "0"},
		{"-0", "0"},
		{"0e400", "0"},
		{"1", "1"},
		{"-12.50", "-12.5"},
		{"100", "100"},
		{"1.0", "1"},
		{"0.5", "0.5"},
		{"5e-1", "0.5"},
		{"12E+2", "1200"},
		{"0.000001", "0.000001"},
		{"0.00000012", "1.2e-7"},
		{"1e20", "100000000000000000000"},
		{"1e21", "1e21"},
		{"-1.5e100", "-1.5e100"},
		{"1e100", "1e100"},
		{"9223372036854775807", "9223372036854775807"},
		{"1e400", "1e400"},
		{"1e-400", "1e-400"},
		{"0.1234567890123456789012345678901234567890", "0.123456789012345678901234567890123456789"},
	};

	(void) state;
	for (size_t i = 0; i < COUNT(pairs); i++)
	{
		glm_decimal d = number(pairs[i][0]);
		char		text[65] = {0};

		assert_int_equal(glm_decimal_write(&d, text), strlen(pairs[i][1]));
		assert_string_equal(text, pairs[i][1]);
	}
}

static void
what_is_no_number_or_too_much_is_not_read(void **state)
{
	static const char *const texts[] = {
		"",
		"-",
		"01",
		"1.",
		".5",
		"1e",
		"1e+",
		"+1",
		"1 ",
		"0x1",
		"NaN",
		"1e401",
		"1e-401",
		"0e401",
		"0e-20000",
		"1e99999999999",
		"1..2",
		"--1",
		"1e5.5",
		"1.e5",
		"0.5e-400",
		"1-1",
		"12345678901234567890123456789012345678901",
		"1000000000000000000000000000000000000000000001",
	};
	glm_decimal d;

	(void) state;
	for (size_t i = 0; i < COUNT(texts); i++)
		if (glm_decimal_read(&d, texts[i], strlen(texts[i])))
			fail_msg("%s is read", texts[i]);
}

static void
they_are_compared_by_value(void **state)
{
	/* each is larger than the one before it */
	static const char *const rising[] = {"-1e300",
										 "-10.5",
										 "-10.49",
										 "-1",
										 "-0.5",
										 "-1e-9",
										 "0",
										 "1e-400",
										 "1e-9",
										 "0.09",
										 "0.1",
										 "1",
										 "1.0000000000000001",
										 "2",
										 "10",
										 "11",
										 "99.9",
										 "100",
										 "9223372036854775807",
										 "9223372036854775808",
										 "1e19",
										 "1e20",
										 "1e400"};

	(void) state;
	for (size_t i = 0; i < COUNT(rising); i++)
		for (size_t k = 0; k < COUNT(rising); k++)
		{
			glm_decimal a = number(rising[i]);
			glm_decimal b = number(rising[k]);
			int			order = glm_decimal_compare(&a, &b);

			assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
		}
}

static void
multiples_are_told_exactly(void **state)
{
	static const struct
	{
		const char *a, *b;
		bool		multiple;
	} cases[] = {
		{"0", "3", true},
		{"9", "3", true},
		{"-9", "3", true},
		{"10", "3", false},
		{"4.5", "1.5", true},
		{"0.0075", "0.0001", true},
		{"0.00751", "0.0001", false},
		{"1643723400.5", "1", false},
		{"1643723400", "1", true},
		{"19.99", "0.01", true},
		{"19.999", "0.01", false},
		{"1e308", "0.123456789", false},
		{"12391239123", "1e-8", true},
		{"3e300", "3", true},
		{"0.3", "0.1", true},
		{"9007199254740993", "2", false},
		{"9007199254740992", "2", true},
		{"1e-300", "12345678901234567890123", false},
	};

	(void) state;
	for (size_t i = 0; i < COUNT(cases); i++)
	{
		glm_decimal a = number(cases[i].a);
		glm_decimal b = number(cases[i].b);
		bool		decided;

		if (glm_decimal_is_multiple(&a, &b, &decided) != cases[i].multiple)
			fail_msg("%s of %s", cases[i].a, cases[i].b);
		assert_true(decided);
	}
}

static void
what_cannot_be_told_is_said(void **state)
{
	glm_decimal a = number("99999999999999999999");
	glm_decimal b = number("123456789012345678");
	glm_decimal c = number("0");
	bool		decided = true;

	(void) state;
	assert_false(glm_decimal_is_multiple(&a, &b, &decided));
	assert_false(decided);
	assert_false(glm_decimal_is_multiple(&a, &c, &decided));
	assert_false(decided);
	assert_true(glm_decimal_is_integer(&a));
	assert_true(glm_decimal_is_integer(&c));
	a = number("1.5");
	assert_false(glm_decimal_is_integer(&a));
}

/* ---- Ranges --------------------------------------------------------------------------------- */

typedef struct limits
{
	glm_decimal low, high, step;
	glm_range	range;
} limits;

/* Bounds as texts, "" is none; "<" before one leaves it out. */
static void
set_limits(limits *l, const char *low, const char *high, const char *step, bool integer)
{
	bool above = low[0] == '<';
	bool below = high[0] == '<';

	*l = (limits){.range = {.above_low = above, .below_high = below, .integer = integer}};
	if (low[above] != '\0')
	{
		l->low = number(low + above);
		l->range.low = &l->low;
	}
	if (high[below] != '\0')
	{
		l->high = number(high + below);
		l->range.high = &l->high;
	}
	if (step[0] != '\0')
	{
		l->step = number(step);
		l->range.multiple_of = &l->step;
	}
}

typedef struct ranged
{
	const char *low, *high, *step;
	bool		integer;
	const char *reach; /* beginnings that can become a number of it, by blanks */
	const char * not ; /* that cannot */
} ranged;

static void
assert_reach(const limits *l, const char *texts, bool reaches)
{
	char copy[400];

	snprintf(copy, sizeof(copy), "%s", texts);
	for (char *text = strtok(copy, " "); text != NULL; text = strtok(NULL, " "))
		if (glm_range_reaches(&l->range, text, strlen(text)) != reaches)
			fail_msg("%s %s", text, reaches ? "does not reach" : "reaches");
}

static void
a_beginning_reaches_what_it_can_become(void **state)
{
	static const ranged ranges[] = {
		{"", "", "", false, "- 0 -0 1 0. 1.5 1e 1e+ 1E-5 -1.5e10 9e300", "00 01 -- 1.e 1ee +"},
		{"", "", "", true, "- 0 1 123456789012345678901234567890123456", "-0 1. 1e 00"},
		{"0", "", "", true, "0 1 99", "- -0 -1"},
		{"", "", "", false, "0e-40 0e-400 0e-0400 0.00e-39 0.00e-398 0.00e-0398 0.00e400",
		 "0e-401 0.00e-399 0.00e-0400 0.00e-0399 0.00e401"},
		{"<0", "", "", true, "1 10", "0 -"},
		{"<0", "", "", false, "0 0. 0.0 1", "- -0"},
		{"10", "20", "", true, "1 2 10 15 20", "0 3 9 21 100 16. - 1e"},
		{"10", "20", "", false, "1 2 10. 20. 19.9 20.0 1e 1e1 1.5e1 2e+",
		 "0 3 1. 1.5 20.01 21 2. 2e2 1e2 1e-"},
		{"<10", "<12", "", true, "1 11", "10 12 2 110"},
		{"-20", "-10", "", true, "- -1 -2 -15", "0 1 -3 -21 -9"},
		{"-5", "5", "", true, "- 0 -5 5", "-6 6 -0 10"},
		{"9223372036854776000", "9223372036854776001", "", true, "9 92 9223372036854776001",
		 "8 9223372036854776002 9223372036854775 1"},
		{"0.5", "0.75", "", false, "0 0. 0.5 0.6 0.7 0.75 0.750", "0.4 0.8 0.76 1 -"},
		{"1e30", "", "", true, "1 9", "0"},
		{"1e36", "", "", true, "", "1 9 999999999999999999999999999999999999"},
		{"", "1e-30", "", false, "0 0. 0.00000000000000000000 -", "1 0.1 1e3 1e+"},
		{"100", "200", "50", true, "1 2 10 15 100 150", "12 11 3 101 16"},
		{"10", "19", "20", true, "", "1 10 2"},
		{"0", "1", "0.25", false, "0 0. 0.2 0.25 0.5 0.7 1 1. 1.0 0.750", "0.3 0.26 1.2 2 0.24"},
		{"", "", "1000", true, "1 9 -", ""},
		{"", "", "1e34", true, "0 1 12 120 -", "123 1201"},
		{"", "", "1e38", true, "0", "1 12"},
		{"", "", "0.25", false,
		 "1234567890123456789012345678901234.5 12345678901234567890123456789012345",
		 "1234567890123456789012345678901234.2 1234567890123456789012345678901234.7"},
		{"2", "1", "", false, "", "0 1 2 -"},
		{"2", "2", "", true, "2", "1 3 20 -"},
	};

	(void) state;
	for (size_t i = 0; i < COUNT(ranges); i++)
	{
		limits l;

		set_limits(&l, ranges[i].low, ranges[i].high, ranges[i].step, ranges[i].integer);
		assert_reach(&l, ranges[i].reach, true);
		assert_reach(&l, ranges[i].not, false);
	}
}

static void
a_number_holds_or_does_not(void **state)
{
	static const struct
	{
		const char *low, *high, *step;
		bool		integer;
		const char *text;
		bool		holds, decided;
	} cases[] = {
		{"", "", "", false, "-1.5e3", true, true},
		{"", "", "", false, "1e308", true, true},
		{"", "", "", false, "1e309", false, true},
		{"", "", "", false, "-2e308", false, true},
		{"", "", "", false, "1.7976931348623157e308", true, true},
		{"", "", "", false, "-17976931348623158e292", false, true},
		{"", "", "", false, "1e-400", true, true},
		{"", "", "", false, "1e401", false, false},
		{"", "", "", false, "1.", false, true},
		{"", "", "", true, "1.0", false, true},
		{"", "", "", true, "1e2", false, true},
		{"1", "3", "", false, "1", true, true},
		{"<1", "3", "", false, "1", false, true},
		{"<1", "3", "", false, "1.00000000000000000001", true, true},
		{"1", "<3", "", false, "3.0", false, true},
		{"1", "9007199254740992", "", true, "9007199254740993", false, true},
		{"", "", "0.01", false, "19.99", true, true},
		{"", "", "0.01", false, "19.999", false, true},
		{"", "", "123456789012345678", true, "123456789012345678", false, false},
	};

	(void) state;
	for (size_t i = 0; i < COUNT(cases); i++)
	{
		limits l;
		bool   decided;

		set_limits(&l, cases[i].low, cases[i].high, cases[i].step, cases[i].integer);
		if (glm_range_holds(&l.range, cases[i].text, strlen(cases[i].text), &decided) !=
				cases[i].holds ||
			decided != cases[i].decided)
			fail_msg("%s between \"%s\" and \"%s\"", cases[i].text, cases[i].low, cases[i].high);
	}
}

/* ---- Random ranges -------------------------------------------------------------------------- */

static uint32_t
chance(uint32_t n)
{
	static uint64_t at = 14;

	at = at * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (at >> 33) % n;
}

/* A number of up to so many digits on each side of its point. */
static void
random_number(char *text, int whole, int fraction)
{
	int n = 1 + (int) chance((uint32_t) whole);

	if (chance(2) == 0)
		*text++ = '-';
	if (chance(4) == 0)
		n = 1, *text++ = '0';
	else
		*text++ = (char) ('1' + chance(9));
	while (--n > 0)
		*text++ = (char) ('0' + chance(10));
	n = (int) chance((uint32_t) fraction + 1);
	if (n > 0)
		*text++ = '.';
	while (n-- > 0)
		*text++ = (char) ('0' + chance(10));
	*text = '\0';
}

static void
random_limits(limits *l)
{
	static const char *const steps[] = {"",		"",	   "",		 "1",	 "5",	 "12",		"0.1",
										"0.25", "300", "1.5e20", "1e38", "1e50", "0.000125"};
	char					 low[64] = "<";
	char					 high[64] = "<";
	bool					 integer = chance(2) == 0;
	uint32_t				 digits = chance(8) == 0 ? 30 : 4;
	uint32_t				 at_low, at_high;

	random_number(low + 1, (int) digits, chance(3) == 0 ? 4 : 0);
	random_number(high + 1, (int) digits, chance(3) == 0 ? 4 : 0);
	/* one by one: compilers differ in the order in which they evaluate arguments */
	at_low = chance(2);
	at_high = chance(2);
	set_limits(l, low + at_low, high + at_high, steps[chance(COUNT(steps))], integer);
	if (glm_decimal_compare(&l->low, &l->high) > 0)
	{
		glm_decimal swapped = l->low;

		l->low = l->high;
		l->high = swapped;
	}
	if (chance(6) == 0)
		l->range.low = NULL;
	if (chance(6) == 0)
		l->range.high = NULL;
}

/* All beginnings of a number of the range reach it. */
static void
every_number_of_a_range_can_be_written(void **state)
{
	int held = 0;

	(void) state;
	while (held < 20000)
	{
		limits l;
		char   text[64];
		bool   decided;
		bool   plain;

		random_limits(&l);
		random_number(text, chance(4) == 0 ? 12 : 5, 4);
		plain = strspn(text, "-0.") < strlen(text) || text[0] != '-';
		if (!plain || !glm_range_holds(&l.range, text, strlen(text), &decided))
			continue;
		held++;
		for (size_t n = 1; n <= strlen(text); n++)
			if (!glm_range_reaches(&l.range, text, n))
				fail_msg("%s is refused at byte %zu", text, n);
	}
}

/* What reaches a range is a number of it or goes on, to a number at last. */
static void
no_beginning_is_a_dead_end(void **state)
{
	static const char bytes[] = "0123456789.e-+";
	int				  written = 0;

	(void) state;
	for (int i = 0; i < 4000; i++)
	{
		char   text[GLM_NUMBER_BYTES + 1];
		size_t n = 0;
		limits l;

		random_limits(&l);
		for (bool more = true; more;)
		{
			size_t from = chance(sizeof(bytes) - 1);
			bool   decided;

			more = false;
			for (size_t k = 0; k < sizeof(bytes) - 1 && n < GLM_NUMBER_BYTES && !more; k++)
			{
				text[n] = bytes[(from + k) % (sizeof(bytes) - 1)];
				more = glm_range_reaches(&l.range, text, n + 1);
			}
			n += more;
			if (!more && n > 0 && !glm_range_holds(&l.range, text, n, &decided))
				fail_msg("%.*s is a dead end", (int) n, text);
		}
		written += n > 0;
	}
	assert_in_range(written, 2000, 4000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_written_as_short_as_they_can),
		cmocka_unit_test(what_is_no_number_or_too_much_is_not_read),
		cmocka_unit_test(they_are_compared_by_value),
		cmocka_unit_test(multiples_are_told_exactly),
		cmocka_unit_test(what_cannot_be_told_is_said),
		cmocka_unit_test(a_beginning_reaches_what_it_can_become),
		cmocka_unit_test(a_number_holds_or_does_not),
		cmocka_unit_test(every_number_of_a_range_can_be_written),
		cmocka_unit_test(no_beginning_is_a_dead_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
