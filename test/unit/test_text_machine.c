/*
 * test_text_machine.c - answers that are one of some choices, or what a pattern matches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_tokens.h"
#include "engine/constrain/constraint.h"
#include "engine/constrain/text_machine.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A machine and what it works with. */
typedef struct bench
{
	glm_arena	 arena, walk;
	glm_error	 err;
	jmp_buf		 escape;
	glm_machine *machine;
} bench;

static void
open_pattern(bench *b, const char *pattern)
{
	glm_component component[GLM_PATTERN_COMPONENTS];

	glm_arena_init(&b->arena, (size_t) 64 << 20);
	glm_arena_init(&b->walk, (size_t) 64 << 20);
	b->arena.escape = b->walk.escape = &b->escape;
	b->arena.err = b->walk.err = &b->err;
	if (setjmp(b->escape) != 0)
		fail_msg("%s: %s", pattern, b->err.message);
	b->machine =
		glm_text_machine_new(&b->arena, component,
							 glm_dfa_pattern(&b->arena, pattern, strlen(pattern), true, component));
}

static void
close_pattern(bench *b)
{
	glm_arena_free(&b->arena);
	glm_arena_free(&b->walk);
}

/* Goes to the state behind a text; false: it is refused. */
static bool
go(bench *b, const char *text, size_t n, glm_text_state *state)
{
	b->machine->kind->start(b->machine, &b->walk, state);
	for (size_t i = 0; i < n; i++)
		if (!b->machine->kind->step(b->machine, &b->walk, state, (uint8_t) text[i]))
			return false;
	return true;
}

static bool
fits(bench *b, const char *text, size_t n)
{
	glm_text_state state;

	return go(b, text, n, &state) && b->machine->kind->ends(b->machine, &b->walk, &state);
}

/* What complete() says behind a text, or NULL; free it. */
static char *
completion(bench *b, const char *text, long *steps)
{
	glm_buf		   out = {0};
	glm_text_state state;

	assert_true(go(b, text, strlen(text), &state));
	glm_buf_puts(&out, text);
	if (b->machine->kind->complete(b->machine, &b->walk, &state, steps, &out))
		return out.data;
	assert_int_equal(out.length, strlen(text));
	glm_buf_free(&out);
	return NULL;
}

static void
a_text_is_matched_as_a_whole(void **state)
{
	bench b;

	(void) state;
	open_pattern(&b, "[a-c]{2}|(?!x)[^y]中?");
	assert_true(fits(&b, "ab", 2));
	assert_true(fits(&b, "q中", 4));
	assert_false(fits(&b, "abc", 3));
	assert_false(fits(&b, "x", 1));
	assert_false(fits(&b, "q\xe4", 2));
	close_pattern(&b);
}

static void
an_end_is_found(void **state)
{
	static const struct
	{
		const char *pattern, *from, *found;
	} cases[] = {
		{"aaa|b", "", "b"},
		{"aaa|b", "a", "aaa"},
		{"", "", ""},
		{"(yes|no), because .{3,}", "", "no, because aaa"},
		{"(yes|no), because .{3,}", "yes, because x", "yes, because xaa"},
		{"中文|é+z", "", "éz"},
		{"中文|é+z", "\xc3", "éz"},
		{".{3}", "\xe4\xb8",
		 "\xe4\xb8\x80"
		 "aa"},
		{"[^]*", "any", "any"},
		{"(?=.*\\d)(?=.*[A-Z]).{6,}", "", "A0aaaa"},
		/* every character has to count for two */
		{"(?=.*[a-m])(?=.*[k-z]).", "", "k"},
		{"(?=.*[a-m])(?=.*[k-z])(?=.*[A-Z]).{2}", "", "kA"},
		{"(?!a)(?!b)[a-c]", "", "c"},
		{"(?!aaa$)a{3,5}", "", "aaaa"},
		{"(?:(?!ab)[ab]){3}b", "", "bbbb"},
		{"x(?!yyy)y{1,4}z", "xyy", "xyyz"},
		{"x(?!yyyz)(yyyyyz|yyyz)", "xyy", "xyyyyyz"},
	};

	(void) state;
	for (size_t i = 0; i < COUNT(cases); i++)
	{
		bench b;
		long  steps = 60000;
		char *found;

		open_pattern(&b, cases[i].pattern);
		found = completion(&b, cases[i].from, &steps);
		assert_non_null(found);
		if (strlen(found) != strlen(cases[i].found))
			fail_msg("%s: %s instead of %s", cases[i].pattern, found, cases[i].found);
		assert_true(fits(&b, found, strlen(found)));
		assert_in_range(steps, 1, 60000);
		free(found);
		close_pattern(&b);
	}
}

/* What is asked for cannot be; to know that takes no more steps than are given. */
static void
where_there_is_no_end_none_is_found(void **state)
{
	static const char *const patterns[] = {
		"(?=b)a",
		"(?!a)a",
		"[]",
		"a$b",
		"\\x00",
		"(?=.*[A-Z])(?=.*\\d).",
		"(?=.{5})a{1,4}",
		"(?!.*b)a*b",
		"(?=.*1)(?=.*2)(?=.*3)(?=.*4).{3}",
	};

	(void) state;
	for (size_t i = 0; i < COUNT(patterns); i++)
	{
		bench b;
		long  steps = 60000;

		open_pattern(&b, patterns[i]);
		assert_null(completion(&b, "", &steps));
		assert_in_range(steps + 1000, 1000, 61000);
		close_pattern(&b);
	}
}

static void
steps_are_a_bound(void **state)
{
	bench b;
	long  steps = 50;

	(void) state;
	open_pattern(&b, "a{3000}");
	assert_null(completion(&b, "", &steps));
	assert_in_range(steps + 100, 0, 100);
	close_pattern(&b);
}

/* ---- Walks ---------------------------------------------------------------------------------- */

static uint32_t
chance(uint32_t n)
{
	static uint64_t at = 21;

	at = at * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t) (at >> 33) % n;
}

/* Behind any bytes that were allowed there is an end, and what ends is UTF-8 without U+0000. */
static void
any_bytes_lead_to_an_end(void **state)
{
	static const char *const patterns[] = {"[^a]{0,6}",
										   "[^]*",
										   ".{2,7}x",
										   "(?:é|[一-龥]|\\u{1F600}|\\W){1,5}",
										   "(?=.*[A-Z])(?=.*\\d).{3,8}",
										   "(?!.*(.)\\.)[\\s\\S]{2,9}",
										   "\\D+\\d{3}"};

	(void) state;
	for (int i = 0; i < 300; i++)
	{
		bench  b;
		char   text[200] = "";
		size_t n = 0;

		open_pattern(&b, patterns[chance(COUNT(patterns))]);
		for (int tries = 0; tries < 400 && n < 20; tries++)
		{
			glm_text_state at;

			text[n] = (char) chance(256);
			text[n + 1] = '\0';
			n += go(&b, text, n + 1, &at) && text[n] != '\0';
			text[n] = '\0';
			if (n > 0 && tries % 8 == 0)
			{
				long  steps = 60000;
				char *found = completion(&b, text, &steps);

				if (found == NULL)
					continue; /* lookaheads: only a search tells */
				if (!fits(&b, found, strlen(found)))
					fail_msg("\"%s\" behind \"%s\"", found + strlen(text), text);
				assert_int_equal(glm_utf8_check(found, strlen(found)), -1);
				free(found);
			}
		}
		close_pattern(&b);
	}
}

/* ---- Masks ---------------------------------------------------------------------------------- */

static const char *const piece[] = {"ab",		"abc", "yes", "no", "中", "中文",
									"\xe4\xb8", "12",  "a1",  "é",	" ",  "\n"};
#define N_TOKENS FT_PIECE((int) COUNT(piece))
#define WORDS ((N_TOKENS + 63) / 64)

/* A token's bytes, one by one. */
static bool
may_come(bench *b, const glm_vocabulary *v, const glm_text_state *from, int32_t token)
{
	glm_text_state at = *from;
	size_t		   n;
	const char	  *bytes = glm_vocabulary_bytes(v, token, &n);

	for (size_t i = 0; i < n; i++)
		if (!b->machine->kind->step(b->machine, &b->walk, &at, (uint8_t) bytes[i]))
			return false;
	return n > 0;
}

static void
masks_are_what_steps_say(void **state)
{
	static const char *const cases[][2] = {{"[a-c]*", ""},
										   {"[a-c]*", "ab"},
										   {"yes|no", ""},
										   {"yes|no", "y"},
										   {"[^a]+", ""},
										   {"中文?", ""},
										   {"中文?", "\xe4"},
										   {"(?=.*\\d)(?!ab).{2,3}", ""},
										   {"(?=.*\\d)(?!ab).{2,3}", "a"},
										   {"\\s*\\d{2}", ""},
										   {"", ""}};
	glm_vocabulary			*v = ft_open(piece, COUNT(piece));

	(void) state;
	for (size_t i = 0; i < COUNT(cases); i++)
	{
		glm_text_state at;
		bench		   b;

		open_pattern(&b, cases[i][0]);
		assert_true(go(&b, cases[i][1], strlen(cases[i][1]), &at));
		for (int again = 0; again < 2; again++)
		{
			uint64_t allowed[WORDS];

			memset(allowed, 0xFF, sizeof(allowed));
			assert_int_equal(glm_vocabulary_words(v), WORDS);
			b.machine->kind->mask(b.machine, &b.walk, &at, v, allowed);
			for (int32_t token = 0; token < N_TOKENS; token++)
				if (glm_mask_has(allowed, token) != may_come(&b, v, &at, token))
					fail_msg("%s behind \"%s\": token %d", cases[i][0], cases[i][1], token);
		}
		close_pattern(&b);
	}
	glm_vocabulary_close(v);
}

/* ---- Constraints ---------------------------------------------------------------------------- */

/* What comes of a constraint: NULL, or the words it is refused with. */
static const char *
refusal(glm_constraint_kind kind, const char *text, glm_error *err)
{
	glm_vocabulary	   *v = ft_open(piece, COUNT(piece));
	glm_constraint_spec spec = {.kind = kind, .text = text, .length = strlen(text)};
	glm_constraint	   *c = glm_constraint_open(&spec, v, err);

	glm_constraint_release(c);
	glm_vocabulary_close(v);
	return c != NULL ? NULL : err->message;
}

static void
constraints_of_texts_are_refused_with_a_reason(void **state)
{
	static const struct
	{
		glm_constraint_kind kind;
		const char		   *text;
		glm_status			status;
		const char		   *words;
	} cases[] = {
		{GLM_CHOICES, "[]", GLM_BAD_ARGUMENT, "array of strings"},
		{GLM_CHOICES, "{}", GLM_BAD_ARGUMENT, "array of strings"},
		{GLM_CHOICES, "[\"a\", 1]", GLM_BAD_ARGUMENT, "choice 2"},
		{GLM_CHOICES, "[\"a\\u0000\"]", GLM_BAD_ARGUMENT, "U+0000"},
		{GLM_CHOICES, "[\"a\"", GLM_BAD_ARGUMENT, "byte"},
		{GLM_REGEX, "(a", GLM_BAD_ARGUMENT, "pattern is malformed"},
		{GLM_REGEX, "(?<=a)b", GLM_UNSUPPORTED, "pattern has a lookbehind"},
		{GLM_REGEX, "(a{1000}){1000}", GLM_TOO_COMPLEX, "places"},
		{GLM_REGEX, "(?!a)a", GLM_BAD_ARGUMENT, "no text was found"},
	};
	glm_error err;

	(void) state;
	for (size_t i = 0; i < COUNT(cases); i++)
	{
		const char *words = refusal(cases[i].kind, cases[i].text, &err);

		assert_non_null(words);
		assert_int_equal(err.status, cases[i].status);
		if (strstr(words, cases[i].words) == NULL)
			fail_msg("%s: %s", cases[i].text, words);
	}
	assert_null(refusal(GLM_CHOICES, "[\"yes\", \"no\", \"\"]", &err));
	assert_null(refusal(GLM_REGEX, "[A-Z]{2}\\d{4}", &err));
}

/* Takes the known way, and what else is drawn where it is allowed. */
static void
answers_are_choices(void **state)
{
	glm_vocabulary	   *v = ft_open(piece, COUNT(piece));
	const char		   *choices = "[\"yes\", \"no\", \"abc\", \"中文\", \"a1\"]";
	glm_constraint_spec spec = {.kind = GLM_CHOICES, .text = choices, .length = strlen(choices)};
	glm_error			err;
	glm_constraint	   *c = glm_constraint_open(&spec, v, &err);

	(void) state;
	assert_non_null(c);
	for (int i = 0; i < 200; i++)
	{
		glm_matcher *m = glm_matcher_open(c, "", 0, 10, &err);
		char		 answer[64] = "\"";
		size_t		 length = 1;
		size_t		 n;

		while (!glm_matcher_must_end(m))
		{
			int32_t		token = (int32_t) chance((uint32_t) N_TOKENS);
			const char *bytes;

			if (!glm_matcher_allows(m, token))
				continue;
			bytes = glm_vocabulary_bytes(v, token, &n);
			memcpy(answer + length, bytes, n);
			length += n;
			glm_matcher_take(m, token);
		}
		memcpy(answer + length, "\"", 2);
		assert_non_null(strstr(choices, answer));
		glm_matcher_close(m);
	}
	glm_constraint_release(c);
	glm_vocabulary_close(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_matched_as_a_whole),
		cmocka_unit_test(an_end_is_found),
		cmocka_unit_test(where_there_is_no_end_none_is_found),
		cmocka_unit_test(steps_are_a_bound),
		cmocka_unit_test(any_bytes_lead_to_an_end),
		cmocka_unit_test(masks_are_what_steps_say),
		cmocka_unit_test(constraints_of_texts_are_refused_with_a_reason),
		cmocka_unit_test(answers_are_choices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
