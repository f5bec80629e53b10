/*
 * test_pattern.c - patterns as automata: what they match, what is refused, and at what cost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/constrain/dfa.h"

#define LIMIT ((size_t) 64 << 20)

typedef struct compiled
{
	glm_arena	  arena;
	glm_error	  err;
	glm_component component[GLM_PATTERN_COMPONENTS];
	int			  n;
} compiled;

/* Compiles; the status is that of the failure, GLM_OK if there is none. */
static glm_status
compile_n(compiled *c, const char *pattern, size_t n, bool anchored)
{
	jmp_buf escape;

	*c = (compiled){0};
	glm_arena_init(&c->arena, LIMIT);
	c->arena.escape = &escape;
	c->arena.err = &c->err;
	if (setjmp(escape) != 0)
		return c->err.status;
	c->n = glm_dfa_pattern(&c->arena, pattern, n, anchored, c->component);
	assert_in_range(c->n, 1, GLM_PATTERN_COMPONENTS);
	return GLM_OK;
}

static glm_status
compile(compiled *c, const char *pattern, bool anchored)
{
	return compile_n(c, pattern, strlen(pattern), anchored);
}

static bool
fits(compiled *c, const char *text)
{
	for (int i = 0; i < c->n; i++)
		if (glm_dfa_accepts(c->component[i].dfa, text, strlen(text)) == c->component[i].negated)
			return false;
	return true;
}

typedef struct expectation
{
	const char *pattern;
	const char *yes[6];
	const char *no[6];
} expectation;

static void
assert_expectations(const expectation *e, size_t n, bool anchored)
{
	for (; n > 0; n--, e++)
	{
		compiled c;

		if (compile(&c, e->pattern, anchored) != GLM_OK)
			fail_msg("%s: %s", e->pattern, c.err.message);
		for (int i = 0; i < 6 && e->yes[i] != NULL; i++)
			if (!fits(&c, e->yes[i]))
				fail_msg("%s does not match \"%s\"", e->pattern, e->yes[i]);
		for (int i = 0; i < 6 && e->no[i] != NULL; i++)
			if (fits(&c, e->no[i]))
				fail_msg("%s matches \"%s\"", e->pattern, e->no[i]);
		glm_arena_free(&c.arena);
	}
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
a_pattern_is_searched_for(void **state)
{
	static const expectation e[] = {
		{"", {"", "a", "中"}, {NULL}},
		{"b", {"b", "abc", "中b文"}, {"", "a", "中"}},
		{"^b", {"b", "bc"}, {"", "ab"}},
		{"b$", {"b", "ab"}, {"bc", "b\n"}},
		{"^a|b$", {"ac", "cb", "a", "b"}, {"ca", "bc", ""}},
		{"^(?:a|b)$", {"a", "b"}, {"ab", "ac", ""}},
		{"a^b", {NULL}, {"ab", "a\nb", "b"}},
		{"a$b", {NULL}, {"ab", "a\nb"}},
		{"(^|,)x(,|$)", {"x", "a,x", "x,b", "a,x,b"}, {"ax", "xb", ",y,"}},
		{"^$", {""}, {"a", "\n"}},
		{"$^", {""}, {"a"}},
		{"^(a*)*b", {"b", "aab"}, {"c", "aac"}},
		{"\\Aab\\Z", {"ab"}, {"xab", "abx", "ab\n"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), false);
}

static void
anchored_it_is_the_whole_text(void **state)
{
	static const expectation e[] = {
		{"b", {"b"}, {"", "ab", "ba"}},
		{"a|bc", {"a", "bc"}, {"abc", "ac", "b"}},
		{"", {""}, {"a"}},
		{"(?=.*\\d)(?!.*x).{3,}", {"ab1", "1234"}, {"abc", "1x3", "12"}},
		{"a(?=b)", {NULL}, {"a", "ab"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), true);
}

static void
classes_are_sets_of_code_points(void **state)
{
	static const expectation e[] = {
		{"^\\d$", {"0", "9"}, {"a", "٣", ""}},
		{"^\\w+$", {"aZ_09"}, {"é", "-", ""}},
		{"^\\W$", {"é", "-", "中"}, {"a", "_"}},
		{"^\\s$",
		 {" ", "\t", "\u00a0", "\u1680", "\u200a", "\u3000"},
		 {"a", "\u200b", "\u180e", "\x1f"}},
		{"^\\s$", {"\u202f", "\u205f", "\ufeff", "\u2028", "\v"}, {"\xc2\x85", ""}},
		{"^\\S$", {"a", "\u200b"}, {" ", "\u3000"}},
		{"^.$", {"a", "中", "😀"}, {"\n", "\r", "\u2028", "\u2029", "ab"}},
		{"^[^]$", {"a", "\n", "😀"}, {"", "ab"}},
		{"[]", {NULL}, {"", "a", "]"}},
		{"^[a-cé-ó]$", {"a", "c", "é", "ñ"}, {"d", "ô", "\xc3"}},
		{"^[^a-y]$", {"z", "A", "中", "😀", "\n"}, {"a", "y"}},
		{"^[\\w-.]+$", {"a-b.c"}, {"a+b", ","}},
		{"^[a\\d-]+$", {"a-1"}, {"b"}},
		{"^[\\]\\\\-]+$", {"]\\-"}, {"["}},
		{"^[\\b]$", {"\b"}, {"b"}},
		{"^[\\u4e00-\\u9fa5\\u{1F600}]+$", {"中文😀"}, {"a", "あ"}},
		{"^\\uD83D\\uDE00\\x41\\cJ\\u{41}$", {"😀A\nA"}, {"😀"}},
		{"^[\\x00-\\x7f]$", {"a", "\x7f"}, {"é"}},
		{"^[\\0-\\uFFFF]$", {"\x01", "中"}, {"😀"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), false);
}

static void
quantifiers_count(void **state)
{
	static const expectation e[] = {
		{"^a{2}$", {"aa"}, {"a", "aaa"}},
		{"^a{2,}$", {"aa", "aaaaa"}, {"a", ""}},
		{"^a{1,3}?$", {"a", "aaa"}, {"", "aaaa"}},
		{"^(ab){0}c$", {"c"}, {"abc"}},
		{"^(?:ab?){2,3}$", {"aa", "abab", "aaba"}, {"a", "aaaa", "abb"}},
		{"^.{2}$", {"中文", "ab"}, {"中", "abc"}},
		{"^a+?b*$", {"a", "ab"}, {"b"}},
		{"^{{.+}}$", {"{{x}}"}, {"{x}"}},
		{"^a{$", {"a{"}, {"a"}},
		{"^a{1$", {"a{1"}, {"a"}},
		{"^a{b}]$", {"a{b}]"}, {"ab"}},
		{"^(?<year>\\d{4})-(?:0[1-9]|1[0-2])$", {"2024-02"}, {"2024-13", "24-02"}},
		{"^\\-\\_\\/\\@\\ $", {"-_/@ "}, {"-"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), false);
}

static void
lookaheads_hold_wherever_they_stand(void **state)
{
	static const expectation e[] = {
		{"^(?=.*[a-z])(?=.*\\d)(?!admin).{6,}$", {"abc123", "1admin"}, {"admin1", "abcdef", "a1"}},
		{"(?=.*[a-z])(?=.*\\d)", {"a1", "1a", "--a1"}, {"a", "1", "--"}},
		{"^(?:(?!foo).)*$", {"", "fo", "barfo"}, {"foo", "a foo", "foob"}},
		{"^/(?!\\.)+[a-z.]{1,3}(?=x)?$", {"/a", "/a.b"}, {"/.a", "a", "/"}},
		{"((?:[^/]*/)*)x(?=\\.(yaml|json))", {"a/x.yaml", "x.json!"}, {"x.txt", "y.json"}},
		{"^a(?=b$|c)[bc]+$", {"ab", "ac", "acb"}, {"abb", "a"}},
		{"^(a(?!b)|b(?=c)|c)+$", {"acbc", "aac"}, {"ab", "bb", "b"}},
		{"^(?!(?!a))", {"a", "ab"}, {"", "b"}},
		{"^a(?!.)", {"a", "a\n"}, {"ab", "a中"}},
		{"^a$(?!x)", {"a"}, {"ax", "b"}},
		{"^a$(?=x)", {NULL}, {"ax", "a"}},
		{"x(?=^)", {NULL}, {"x", "xx"}},
		{"^(?!中).(?=.)", {"文a", "文字"}, {"中a", "文"}},
		{"^(?=1)(?=..)(?=...)(?=....)(?=.....)(?=......)(?=.......)(?=........)(?=.........)1",
		 {"123456789"},
		 {"12345678", "023456789"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), false);
}

static void
characters_have_categories(void **state)
{
	static const expectation e[] = {
		{"^\\p{L}$", {"a", "É", "中", "\xf0\x90\x90\x80", "ǅ", "ʰ"}, {"1", "_", " ", "", "ab"}},
		{"^\\P{L}+$", {"1", "_ €"}, {"a", "1é", ""}},
		{"^[\\p{Lu}\\p{Nd}-]+$", {"É-7", "٣"}, {"é", "½", "_"}},
		{"^[^\\p{Ll}\\P{ASCII}]$", {"A", "~"}, {"a", "É", "€"}},
		{"^\\p{gc=Zs}\\p{General_Category=Currency_Symbol}\\p{Decimal_Number}$",
		 {" €1", "\u3000$٣"},
		 {"\t€1", " €½"}},
		{"^(?:\\p{Any}|x)\\p{Assigned}\\p{Cn}?$", {"aa", "a\u00a0"}, {"a\u0378", ""}},
		{"^[\\p{P}\\p{S}\\p{M}]$", {"!", "+", "\u0301", "、"}, {"a", "1", " "}},
		{"^\\p{C}$", {"\x01", "\u200d", "\ue000", "\xf4\x8f\xbf\xbf"}, {"a", " "}},
		{"^\\p{Lo}$", {"一", "\xf0\xaa\x9b\x9f", "\uac00"}, {"A", "ー"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), false);
}

static void
words_have_boundaries(void **state)
{
	static const expectation e[] = {
		{"\\bword\\b",
		 {"word", "a word", "word.", "éword中", "sword word"},
		 {"words", "sword", "_word", "word1", "wor d"}},
		{"^\\b", {"a", "_x"}, {"", " a", "é"}},
		{"\\b$", {"a", "é_"}, {"", "a ", "aé"}},
		{"$\\b", {"a"}, {"", "-"}},
		{"^\\b$", {NULL}, {"", "a"}},
		{"^\\B$", {""}, {"a", " "}},
		{"\\Bin", {"within", "_in"}, {"in", "a in", "-in", "éin"}},
		{"in\\B", {"inn"}, {"in", "in-", "iné"}},
		{"^(\\w+\\b ?)*$", {"", "a", "two words"}, {" ", "a  b", "é"}},
		{"^a(?=\\b)-$", {"a-"}, {"a", "ab", "a--"}},
		{"^(?!.*\\bno\\b)", {"know", "noes", ""}, {"no", "oh no!"}},
		{"^x(?=.*\\B1)", {"x01", "x1", "x é 21"}, {"x 1", "x", "x é1"}},
		{"^[\\b]\\b$", {NULL}, {"\b", "b"}},
		{"a\\b\\bb|c\\B\\B", {"cc"}, {"ab", "a b", "c"}},
	};

	(void) state;
	assert_expectations(e, COUNT(e), false);
}

typedef struct refusal
{
	glm_status	status;
	const char *pattern;
	const char *words;
} refusal;

static void
what_is_not_supported_or_malformed_is_refused(void **state)
{
	static const refusal refusals[] = {
		{GLM_UNSUPPORTED, "(a)\\1", "back reference, at byte 4"},
		{GLM_UNSUPPORTED, "(?<n>a)\\k<n>", "back reference"},
		{GLM_UNSUPPORTED, "(?<=a)b", "lookbehind"},
		{GLM_UNSUPPORTED, "(?<!a)b", "lookbehind"},
		{GLM_UNSUPPORTED, "\\p{Script=Latin}", "property of Unicode"},
		{GLM_UNSUPPORTED, "[\\P{l}]", "property of Unicode"},
		{GLM_UNSUPPORTED, "\\p{}", "property of Unicode"},
		{GLM_BAD_ARGUMENT, "\\pL", "no { } behind"},
		{GLM_BAD_ARGUMENT, "\\p", "no { } behind"},
		{GLM_BAD_ARGUMENT, "\\p{L", "no { } behind"},
		{GLM_UNSUPPORTED, "(?i)a", "extended group"},
		{GLM_UNSUPPORTED, "(?P<n>a)", "extended group"},
		{GLM_UNSUPPORTED, "a{,3}", "{,n}"},
		{GLM_BAD_ARGUMENT, "(a", "( that is not closed"},
		{GLM_BAD_ARGUMENT, "a)", ") that was not opened"},
		{GLM_BAD_ARGUMENT, "(?", "( that is not closed"},
		{GLM_BAD_ARGUMENT, "(?<", "group's name"},
		{GLM_BAD_ARGUMENT, "(?<>a)", "group's name"},
		{GLM_BAD_ARGUMENT, "(?<a b>a)", "group's name"},
		{GLM_BAD_ARGUMENT, "[a", "[ that is not closed"},
		{GLM_BAD_ARGUMENT, "[a-", "[ that is not closed"},
		{GLM_BAD_ARGUMENT, "[\\", "nothing behind"},
		{GLM_BAD_ARGUMENT, "[z-a]", "range that is out of order"},
		{GLM_BAD_ARGUMENT, "\\", "nothing behind"},
		{GLM_BAD_ARGUMENT, "\\x4", "hexadecimal"},
		{GLM_BAD_ARGUMENT, "\\u12", "hexadecimal"},
		{GLM_BAD_ARGUMENT, "\\u{", "hexadecimal"},
		{GLM_BAD_ARGUMENT, "\\u{110000}", "no such code point"},
		{GLM_BAD_ARGUMENT, "\\c1", "\\c"},
		{GLM_BAD_ARGUMENT, "\\c", "\\c"},
		{GLM_BAD_ARGUMENT, "\\i", "no meaning"},
		{GLM_BAD_ARGUMENT, "\\01", "no meaning"},
		{GLM_BAD_ARGUMENT, "*a", "nothing to repeat"},
		{GLM_BAD_ARGUMENT, "a**", "nothing to repeat"},
		{GLM_BAD_ARGUMENT, "a{2}{3}", "nothing to repeat"},
		{GLM_BAD_ARGUMENT, "^*", "nothing to repeat"},
		{GLM_BAD_ARGUMENT, "a\\b+", "nothing to repeat"},
		{GLM_BAD_ARGUMENT, "\\B?", "nothing to repeat"},
		{GLM_BAD_ARGUMENT, "a{3,2}", "out of order"},
		{GLM_BAD_ARGUMENT, "a\xff", "not UTF-8"},
		{GLM_BAD_ARGUMENT, "\xe4\xb8", "not UTF-8"},
	};

	(void) state;
	for (size_t i = 0; i < COUNT(refusals); i++)
	{
		compiled c;

		assert_int_equal(compile(&c, refusals[i].pattern, false), refusals[i].status);
		if (strstr(c.err.message, refusals[i].words) == NULL)
			fail_msg("%s: %s", refusals[i].pattern, c.err.message);
		glm_arena_free(&c.arena);
	}
}

/* Every beginning of a pattern, in memory that ends with it: for the sanitizers. */
static void
a_pattern_is_not_read_past_its_end(void **state)
{
	static const char pattern[] =
		"^(?<a>x)(?:[\\]a-\\u{41}\\uD83D\\uDE00\\x41\\cJ-]){2,3}(?=中)(?!\\d)*\\.$|{1}{,2}";

	(void) state;
	for (size_t n = 0; n < sizeof(pattern); n++)
	{
		char	*exactly = malloc(n + (n == 0));
		compiled c;

		memcpy(exactly, pattern, n);
		compile_n(&c, exactly, n, false);
		assert_in_range(c.arena.used, 0, LIMIT);
		glm_arena_free(&c.arena);
		free(exactly);
	}
}

/* n times a text, and another behind it */
static char *
repeated(const char *text, int n, const char *behind)
{
	char *all = calloc(1, strlen(text) * (size_t) n + strlen(behind) + 1);

	for (int i = 0; i < n; i++)
		memcpy(all + strlen(text) * (size_t) i, text, strlen(text));
	return strcat(all, behind);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double) now.tv_sec + 1e-9 * (double) now.tv_nsec;
}

static void
what_is_too_large_is_refused_at_once(void **state)
{
	char *const patterns[] = {
		strdup("(a{1000}){1000}"),
		strdup("[^x]{1,100000}"),
		strdup("(((((a{1000}){1000}){1000}){1000}){1000}){1000}"),
		strdup("(){1000000000}"),
		strdup("(|){99999999999999999999}"),
		repeated("a|", 60000, "a"),
		repeated("(", 5000, "a"),
		repeated("(?:", 201, "a"),
		repeated("(?=", 201, "a"),
	};
	double before = seconds();

	(void) state;
	for (size_t i = 0; i < COUNT(patterns); i++)
	{
		compiled c;

		assert_int_equal(compile(&c, patterns[i], false), GLM_TOO_COMPLEX);
		glm_arena_free(&c.arena);
		free(patterns[i]);
	}
	/* milliseconds; written out, the third alone would take years */
	assert_true(seconds() - before < 10);
}

static void
what_backtracks_elsewhere_runs(void **state)
{
	char	*as = repeated("a", 50000, "c");
	char	*nested = repeated("(", 200, "a");
	char	*closed = repeated(")", 200, "");
	char	 both[500];
	double	 before = seconds();
	compiled c;

	(void) state;
	assert_int_equal(compile(&c, "^((a*)*)*b", false), GLM_OK);
	assert_false(fits(&c, as));
	glm_arena_free(&c.arena);
	assert_int_equal(compile(&c, "(a|b)*a(a|b){18}$", false), GLM_OK);
	assert_true(fits(&c, "bbbabbbbbbbbbbbbbbbbbb"));
	assert_false(fits(&c, "bbbabbbbbbbbbbbbbbbbbbb"));
	glm_arena_free(&c.arena);
	snprintf(both, sizeof(both), "^%s%s$", nested, closed);
	assert_int_equal(compile(&c, both, false), GLM_OK);
	assert_true(fits(&c, "a"));
	glm_arena_free(&c.arena);
	/* milliseconds; with backtracking, years */
	assert_true(seconds() - before < 10);
	free(as);
	free(nested);
	free(closed);
}

/* So many states are made that the limit ends it; those there are can be used on. */
static void
states_have_a_limit(void **state)
{
	jmp_buf		 escape;
	compiled	 c;
	volatile int n = 0;
	volatile int at = 0;

	(void) state;
	assert_int_equal(compile(&c, "^a{40000}$", false), GLM_OK);
	c.arena.escape = &escape;
	if (setjmp(escape) == 0)
		for (; n < 40000; n++)
			at = glm_dfa_next(c.component[0].dfa, at, 'a');
	assert_in_range(n, 9000, 10000);
	assert_int_equal(c.err.status, GLM_TOO_COMPLEX);
	assert_false(glm_dfa_at(c.component[0].dfa, at)->dead);
	assert_true(fits(&c, "a") == false);
	glm_arena_free(&c.arena);
}

static const glm_dfa_state *
behind(compiled *c, const char *text)
{
	int at = 0;

	for (; *text != '\0'; text++)
		at = glm_dfa_next(c->component[0].dfa, at, (uint8_t) *text);
	return glm_dfa_at(c->component[0].dfa, at);
}

static void
states_know_how_far_the_end_is(void **state)
{
	compiled c;

	(void) state;
	compile(&c, "^ab(中文|def)?g$", false);
	assert_int_equal(behind(&c, "")->distance, 3);
	assert_int_equal(behind(&c, "ab")->distance, 1);
	assert_int_equal(behind(&c, "ab\xe4")->distance, 2);
	assert_int_equal(behind(&c, "ab中")->distance, 2);
	assert_int_equal(behind(&c, "abd")->distance, 3);
	assert_int_equal(behind(&c, "abg")->distance, 0);
	assert_true(behind(&c, "abg")->accepts);
	assert_false(behind(&c, "abg")->always);
	assert_true(behind(&c, "b")->dead);
	assert_int_equal(behind(&c, "b")->distance, GLM_DFA_NO_END);
	glm_arena_free(&c.arena);

	compile(&c, "b", false);
	assert_true(behind(&c, "ab")->always);
	assert_false(behind(&c, "aa")->dead);
	assert_int_equal(behind(&c, "aa")->distance, 1);
	glm_arena_free(&c.arena);

	/* an end that is behind an edge which cannot come is none */
	compile(&c, "x(a^b|c$d|^)", false);
	assert_true(behind(&c, "")->dead);
	glm_arena_free(&c.arena);
}

/* U+0000 and broken UTF-8 lead nowhere. */
static void
only_characters_that_an_answer_may_have_are_matched(void **state)
{
	static const char *const broken[] = {
		"\x80",			"\xc0\x80",			"\xc1\xbf",			"\xe0\x80\x80",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80",
		"\xe4\xb8x"};
	compiled c;

	(void) state;
	compile(&c, "^[^x]*y$", false);
	for (size_t i = 0; i < COUNT(broken); i++)
		assert_true(behind(&c, broken[i])->dead);
	assert_true(glm_dfa_at(c.component[0].dfa, glm_dfa_next(c.component[0].dfa, 0, 0))->dead);
	assert_false(behind(&c, "\xf4\x8f\xbf\xbf")->dead);
	glm_arena_free(&c.arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_is_searched_for),
		cmocka_unit_test(anchored_it_is_the_whole_text),
		cmocka_unit_test(classes_are_sets_of_code_points),
		cmocka_unit_test(quantifiers_count),
		cmocka_unit_test(lookaheads_hold_wherever_they_stand),
		cmocka_unit_test(characters_have_categories),
		cmocka_unit_test(words_have_boundaries),
		cmocka_unit_test(what_is_not_supported_or_malformed_is_refused),
		cmocka_unit_test(a_pattern_is_not_read_past_its_end),
		cmocka_unit_test(what_is_too_large_is_refused_at_once),
		cmocka_unit_test(what_backtracks_elsewhere_runs),
		cmocka_unit_test(states_have_a_limit),
		cmocka_unit_test(states_know_how_far_the_end_is),
		cmocka_unit_test(only_characters_that_an_answer_may_have_are_matched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
