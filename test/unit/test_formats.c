/*
 * test_formats.c - automata of formats, and of some texts.
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

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef struct room
{
	glm_arena arena;
	glm_error err;
	jmp_buf	  escape;
} room;

/* Nothing here may fail. */
#define OPEN(r)                                                                                    \
	do                                                                                             \
	{                                                                                              \
		glm_arena_init(&(r)->arena, (size_t) 64 << 20);                                            \
		(r)->arena.err = &(r)->err;                                                                \
		(r)->arena.escape = &(r)->escape;                                                          \
		if (setjmp((r)->escape) != 0)                                                              \
			fail_msg("%s", (r)->err.message);                                                      \
	} while (0)

static bool
fits(const glm_component *component, int n, const char *text)
{
	for (int i = 0; i < n; i++)
		if (glm_dfa_accepts(component[i].dfa, text, strlen(text)) == component[i].negated)
			return false;
	return true;
}

/* ---- Formats -------------------------------------------------------------------------------- */

typedef struct example
{
	const char *format;
	const char *yes[20];
	const char *no[20];
} example;

static const example EXAMPLES[] = {
	{"date",
	 {"2024-02-29", "2000-02-29", "1999-12-31", "0001-01-01", "2400-02-29"},
	 {"2023-02-29", "1900-02-29", "0000-01-01", "2024-13-01", "2024-04-31", "2024-1-1", "24-01-01",
	  "2024-01-01 ", "2024-00-10", ""}},
	{"time",
	 {"00:00:00Z", "23:59:59.999+01:00", "12:30:00z", "23:59:60Z", "08:30:06-08:00"},
	 {"24:00:00Z", "12:60:00Z", "12:00:60Z", "12:00:00", "12:00:00.Z", "12:00:00+24:00",
	  "23:59:60+01:00", "1:00:00Z", "12:00:00+0100"}},
	{"date-time",
	 {"2024-02-29T23:59:59Z", "1963-06-19t08:30:06.283185z", "1990-12-31T15:59:59.1-08:00"},
	 {"2024-02-30T00:00:00Z", "2024-02-29 00:00:00Z", "2024-02-29", "2024-02-29T00:00:00",
	  "0000-01-01T00:00:00Z", "1990-12-31T10:00:00+10", "06/19/1963 08:30:06 PST"}},
	{"duration",
	 {"P4DT12H30M5S", "P4Y", "PT0S", "P0D", "P1M", "PT1M", "PT36H", "P2W", "P1DT12H"},
	 {"P", "PT", "P1YT", "4D", "P2D1Y", "P1D2H", "P2S", "P1Y2W", "P1", "PT1D", "P1YT ", "P১Y"}},
	{"email",
	 {"joe.bloggs@example.com", "te~st@example.com", "a@b", "a+b=c@x-y.org"},
	 {"2962", ".test@example.com", "test.@example.com", "te..st@example.com", "a@-b.c", "a@b_c",
	  "a@", "@b", "a b@c.d", "a@b.", "a@b..c"}},
	{"hostname",
	 {"www.example.com", "a", "xn--4gbwdl.xn--wgbh1c", "1host", "host-name"},
	 {"", "-a", "a-", "a_b", "a..b", ".a", "a.", "a b",
	  "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl.com"}},
	{"ipv4",
	 {"192.168.0.1", "0.0.0.0", "255.255.255.255"},
	 {"256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "0x7f.0.0.1", "1.2.3.4/24", "", "1..2.3"}},
	{"ipv6",
	 {"::1", "::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:192.168.0.1", "1:2::192.168.0.1", "::42:ff:1",
	  "1:2:3:4:5:6::8", "1:2:3:4:5:6:7::", "abef::"},
	 {"12345::", "1:1:1:1:1:1:1:1:1", "::laptop", ":2:3:4:5:6:7:8", "1::2::3", "1:2:3:4:5:::8",
	  "1:2:3:4:5:6:7", "::1.2.3", "::256.1.1.1", "fe80::1%eth0", "1::2/64", ":"}},
	{"uri",
	 {"http://foo.bar/?baz=qux#quux", "urn:oasis:names:x", "mailto:a@b.c", "tel:+1-816-555-1212",
	  "http://user:p%20w@[::1]:80/a/b;c", "http://223.255.255.254", "file:///etc/hosts",
	  "a:", "ldap://[2001:db8::7]/c=GB?objectClass?one", "http://foo.bar/#"},
	 {"//foo.bar/", "/abc", "abc", ":// no", "http:// no.com", "bar,baz:foo", "http://a/b c",
	  "http://a/<b>", "http://a/%zz", "http://a/b#c#d", "http://a/é", "http://[::1"}},
	{"uri-reference",
	 {"http://foo.bar/?baz=qux#quux", "//foo.bar/x", "/abc", "abc", "#frag", "?q", "", "../a",
	  "a/b:c", "%20"},
	 {"\\\\WINDOWS\\share", "#a\\b", "a b", "1:b", "://", "#a#b", "%", "{x}", "//a b", "é"}},
	{"iri",
	 {"http://ƒøø.ßår/?∂éœ=πîx#πîüx", "http://a", "http://例え.jp/😀"},
	 {"/abc", "âππ", "http://a b", "http://2001:0db8::7334:x", "\\\\a"}},
	{"iri-reference", {"//ƒøø.ßår/", "/âππ", "âππ", "#ƒrägmênt", ""}, {"\\\\é", "#é\\", "a b"}},
	{"uuid",
	 {"2eb8aa08-aa98-11ea-b4aa-73b441d16380", "2EB8AA08-AA98-11EA-B4AA-73B441D16380"},
	 {"2eb8aa08-aa98-11ea-b4aa-73b441d1638", "2eb8aa08aa9811eab4aa73b441d16380",
	  "2eb8-aa08-aa98-11ea-b4aa73b441d16380", "zeb8aa08-aa98-11ea-b4aa-73b441d16380"}},
	{"json-pointer",
	 {"", "/", "/foo/0", "/a~1b", "/~0~1", "/ ", "/中"},
	 {"a", "/~", "/~2", "0", "#/a", "/foo/bar~"}},
	{"regex",
	 {"^[a-zA-Z0-9_]{3,16}$", "a|b*", "", "^(?:[^\\s@]+|\\d{2,}?)(,(x|(y)+){2,3})*$",
	  "^(?=.*\\d)(?!x).{8,}$", "[-+.\\w]", "[^-]", "\\x41\\u00e9é\\/\\bword\\b", "/.+/",
	  "[\\x00-\\x1f\\]]", "^[1-5][b-y]{10,14}$", "((((a))))", "a(?!b)[^[\\]^]+[ -~]",
	  "^[\\u4e00-\\u9FA5\\u00c0-\\u00ff]*[A-z]{9,10}$", "(?:(?!x).)*", "[а-]", "[0-\xc3\xa9]"},
	 {"*", "\\", "(a", "a)", "[z-a]", "a**", "^*", "a{3,2}", "(a))", "[a", "(?<=a)b", "x{2}{3}",
	  "[5-1]", "x{14,10}", "[^]", "[]", "\\1", "(?=a)*", "[\\w-x]"}},
	{"uri-template",
	 {"http://example.com/dictionary/{term:1}/{term}", "{+path,x*}/here{?q,lang}", "", "a%20b",
	  "{a.b_1}", "{%41}", "/é[1]", "{&x:9999}"},
	 {"{", "http://example.com/{term:1}/{term", "}", "{}", "{term:0}", "{a..b}", "{a,}", "a b",
	  "%zz", "<x>", "{!a}", "{a:12345}"}},
	{"relative-json-pointer",
	 {"1", "0/foo/bar", "2/0/baz/1/zip", "0#", "120/a"},
	 {"/foo", "-1/a", "01/a", "01#", "0##", "", "+1/a"}},
};

static void
formats_take_what_their_standards_say(void **state)
{
	(void) state;
	for (size_t i = 0; i < COUNT(EXAMPLES); i++)
	{
		const example *e = &EXAMPLES[i];
		glm_component  component[GLM_PATTERN_COMPONENTS];
		int			   n;
		room		   r;

		OPEN(&r);
		n = glm_dfa_format(&r.arena, e->format, component);
		assert_in_range(n, 1, GLM_PATTERN_COMPONENTS);
		assert_false(glm_format_refused(e->format));
		for (size_t k = 0; k < COUNT(e->yes) && e->yes[k] != NULL; k++)
			if (!fits(component, n, e->yes[k]))
				fail_msg("\"%s\" is no %s", e->yes[k], e->format);
		for (size_t k = 0; k < COUNT(e->no) && e->no[k] != NULL; k++)
			if (fits(component, n, e->no[k]))
				fail_msg("\"%s\" is a %s", e->no[k], e->format);
		glm_arena_free(&r.arena);
	}
}

static void
other_formats_mean_nothing_or_are_refused(void **state)
{
	static const char *const refused[] = {"idn-email", "idn-hostname"};
	static const char *const nothing[] = {"", "int32", "Date", "date ", "url", "color"};
	glm_component			 component[GLM_PATTERN_COMPONENTS];
	room					 r;

	(void) state;
	OPEN(&r);
	for (size_t i = 0; i < COUNT(refused); i++)
	{
		assert_true(glm_format_refused(refused[i]));
		assert_int_equal(glm_dfa_format(&r.arena, refused[i], component), 0);
	}
	for (size_t i = 0; i < COUNT(nothing); i++)
	{
		assert_false(glm_format_refused(nothing[i]));
		assert_int_equal(glm_dfa_format(&r.arena, nothing[i], component), 0);
	}
	glm_arena_free(&r.arena);
}

/* ---- Texts ---------------------------------------------------------------------------------- */

static const glm_dfa_state *
behind(glm_dfa *dfa, const char *text)
{
	int at = 0;

	for (; *text != '\0'; text++)
		at = glm_dfa_next(dfa, at, (uint8_t) *text);
	return glm_dfa_at(dfa, at);
}

static void
literals_are_accepted_and_nothing_else(void **state)
{
	static const char *const texts[] = {"red", "green", "re", "中文", "red", "中\"", ""};
	static const char *const others[] = {"r", "redd", "gree", "x", "中", "文", "\xe4"};
	size_t					 length[COUNT(texts)];
	glm_dfa					*dfa;
	room					 r;

	(void) state;
	OPEN(&r);
	for (size_t i = 0; i < COUNT(texts); i++)
		length[i] = strlen(texts[i]);
	dfa = glm_dfa_literals(&r.arena, texts, length, COUNT(texts));
	for (size_t i = 0; i < COUNT(texts); i++)
		assert_true(glm_dfa_accepts(dfa, texts[i], length[i]));
	for (size_t i = 0; i < COUNT(others); i++)
		assert_false(glm_dfa_accepts(dfa, others[i], strlen(others[i])));
	assert_int_equal(behind(dfa, "")->distance, 0);
	assert_int_equal(behind(dfa, "g")->distance, 4);
	assert_int_equal(behind(dfa, "中")->distance, 1);
	assert_int_equal(behind(dfa, "\xe4")->distance, 1);
	assert_false(behind(dfa, "gre")->dead);
	assert_true(behind(dfa, "gra")->dead);
	assert_true(behind(dfa, "redx")->dead);
	assert_int_equal(behind(dfa, "redx")->distance, GLM_DFA_NO_END);
	assert_false(behind(dfa, "red")->always);
	glm_arena_free(&r.arena);
}

static void
no_literals_are_no_text(void **state)
{
	glm_dfa *dfa;
	room	 r;

	(void) state;
	OPEN(&r);
	dfa = glm_dfa_literals(&r.arena, NULL, NULL, 0);
	assert_true(glm_dfa_at(dfa, 0)->dead);
	assert_false(glm_dfa_accepts(dfa, "", 0));
	assert_false(glm_dfa_accepts(dfa, "a", 1));
	glm_arena_free(&r.arena);
}

/* 100,000 texts of 1 MB: all are found, in less memory and time than there is. */
static void
many_literals_are_a_trie(void **state)
{
	enum
	{
		N = 100000,
		BYTES = 11
	};
	char(*text)[BYTES] = malloc((size_t) N * BYTES);
	const char **texts = malloc(sizeof(*texts) * N);
	size_t		*lengths = malloc(sizeof(*lengths) * N);
	clock_t		 before = clock();
	glm_dfa		*dfa;
	room		 r;

	(void) state;
	OPEN(&r);
	for (int i = 0; i < N; i++)
	{
		texts[i] = text[i];
		lengths[i] = (size_t) snprintf(text[i], BYTES, "%010u", (unsigned) i * 2654435761u);
	}
	dfa = glm_dfa_literals(&r.arena, texts, lengths, N);
	for (int i = 0; i < N; i++)
		assert_true(glm_dfa_accepts(dfa, texts[i], lengths[i]));
	assert_false(glm_dfa_accepts(dfa, "0000000001", 10));
	/* of the machine's seconds; looking through all for each would take hundreds */
	assert_true((double) (clock() - before) / CLOCKS_PER_SEC < 20);
	glm_arena_free(&r.arena);
	free(text);
	free(texts);
	free(lengths);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_take_what_their_standards_say),
		cmocka_unit_test(other_formats_mean_nothing_or_are_refused),
		cmocka_unit_test(literals_are_accepted_and_nothing_else),
		cmocka_unit_test(no_literals_are_no_text),
		cmocka_unit_test(many_literals_are_a_trie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
