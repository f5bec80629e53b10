/*
 * test_matcher.c - answers that have to be one of some texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_texts.h"
#include "few_tokens.h"
#include "engine/constrain/matcher_parts.h"

static const char *const piece[] = {
	"ab", "abc", "bcd", "{\"", "name", "\": ", "\": \"", "na", "b", "\"}", "x\"}"};
#define N_PIECES ((int) (sizeof(piece) / sizeof(piece[0])))
enum
{
	AB,
	ABC,
	BCD,
	OPEN,
	NAME,
	COLON,
	COLON_QUOTE,
	NA,
	B,
	CLOSE,
	X_CLOSE
};
#define MOST_WORDS 8

typedef struct setup
{
	glm_vocabulary *vocabulary;
	glm_constraint *constraint;
	glm_matcher	   *matcher;
} setup;

static setup
open_texts(const char *texts, const char *prefix, int max_tokens)
{
	setup	  s = {.vocabulary = ft_open(piece, N_PIECES)};
	glm_error err;

	fx_growth = 0;
	fx_made = 0;
	assert_true(glm_vocabulary_words(s.vocabulary) <= MOST_WORDS);
	s.constraint = fx_open(texts, s.vocabulary);
	s.matcher = glm_matcher_open(s.constraint, prefix, strlen(prefix), max_tokens, &err);
	if (s.matcher == NULL)
		fail_msg("%s", err.message);
	return s;
}

static void
close_texts(setup *s)
{
	glm_matcher_close(s->matcher);
	glm_constraint_release(s->constraint);
	glm_vocabulary_close(s->vocabulary);
}

/* The mask has these tokens, -1 behind the last, and no others. */
static void
assert_mask(glm_matcher *m, const int32_t *want)
{
	uint64_t allowed[MOST_WORDS], wanted[MOST_WORDS] = {0};

	glm_matcher_mask(m, allowed);
	for (; *want >= 0; want++)
		glm_mask_set(wanted, *want);
	for (int32_t id = 0; id < FT_PIECE(N_PIECES); id++)
		if (glm_mask_has(allowed, id) != glm_mask_has(wanted, id))
			fail_msg("token %d is %s", id, glm_mask_has(allowed, id) ? "allowed" : "refused");
}

#define ASSERT_MASK(m, ...) assert_mask(m, (const int32_t[]){__VA_ARGS__, -1})

static void
take(glm_matcher *m, int32_t token)
{
	if (!glm_matcher_allows(m, token))
		fail_msg("token %d is refused", token);
	glm_matcher_take(m, token);
}

static void
masks_are_what_can_be_written(void **state)
{
	setup s = open_texts("abcd\nabx\nb", "", 10);

	(void) state;
	ASSERT_MASK(s.matcher, FT_BYTE('a'), FT_PIECE(AB), FT_PIECE(ABC), FT_BYTE('b'), FT_PIECE(B));
	take(s.matcher, FT_BYTE('a'));
	/* twins: a piece and a byte */
	ASSERT_MASK(s.matcher, FT_BYTE('b'), FT_PIECE(B), FT_PIECE(BCD));
	take(s.matcher, FT_PIECE(B));
	ASSERT_MASK(s.matcher, FT_BYTE('c'), FT_BYTE('x'));
	assert_false(glm_matcher_may_end(s.matcher));
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('d')));
	assert_false(glm_matcher_allows(s.matcher, FT_END));
	assert_false(glm_matcher_allows(s.matcher, 0));
	take(s.matcher, FT_BYTE('x'));
	ASSERT_MASK(s.matcher, FT_END, FT_END + 1);
	assert_true(glm_matcher_must_end(s.matcher));
	take(s.matcher, FT_END + 1);
	assert_mask(s.matcher, (const int32_t[]){-1});
	close_texts(&s);
}

static void
an_answer_may_end_where_it_may_go_on(void **state)
{
	setup s = open_texts("ab\nabcd", "", 10);

	(void) state;
	take(s.matcher, FT_PIECE(AB));
	ASSERT_MASK(s.matcher, FT_END, FT_END + 1, FT_BYTE('c'));
	assert_true(glm_matcher_may_end(s.matcher));
	assert_false(glm_matcher_must_end(s.matcher));
	take(s.matcher, FT_BYTE('c'));
	assert_false(glm_matcher_may_end(s.matcher));
	take(s.matcher, FT_BYTE('d'));
	assert_true(glm_matcher_must_end(s.matcher));
	close_texts(&s);
}

static void
a_token_without_a_way_to_the_end_is_refused(void **state)
{
	setup s = open_texts("abc!d\nabd", "", 10);

	(void) state;
	ASSERT_MASK(s.matcher, FT_BYTE('a'), FT_PIECE(AB), FT_PIECE(ABC));
	assert_false(glm_matcher_allows(s.matcher, FT_PIECE(ABC)));
	take(s.matcher, FT_PIECE(AB));
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('c')));
	assert_int_equal(glm_matcher_way_out(s.matcher), FT_BYTE('d'));
	close_texts(&s);
}

static void
what_is_beyond_the_limits_is_refused_alone(void **state)
{
	setup s = open_texts("x\nab~\nabc", "", 10);

	(void) state;
	take(s.matcher, FT_PIECE(AB));
	ASSERT_MASK(s.matcher, FT_BYTE('c'));
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('~')));
	take(s.matcher, FT_BYTE('c'));
	assert_true(glm_matcher_must_end(s.matcher));
	close_texts(&s);
}

static void
an_answer_ends_within_its_tokens(void **state)
{
	/* "abcdefg" takes abc, d, e, f, g and the end, "abx" two and the end */
	setup s = open_texts("abx\nabcdefg", "", 6);

	(void) state;
	take(s.matcher, FT_PIECE(ABC));
	assert_int_equal(glm_matcher_way_out(s.matcher), FT_BYTE('d'));
	close_texts(&s);

	s = open_texts("abx\nabcdefg", "", 5);
	assert_false(glm_matcher_allows(s.matcher, FT_PIECE(ABC)));
	assert_true(glm_matcher_allows(s.matcher, FT_BYTE('a')));
	close_texts(&s);

	/* a, b, x and the end: each token less than the longest costs one */
	s = open_texts("abx\nabcdefg", "", 4);
	take(s.matcher, FT_BYTE('a'));
	take(s.matcher, FT_BYTE('b'));
	take(s.matcher, FT_BYTE('x'));
	assert_true(glm_matcher_must_end(s.matcher));
	take(s.matcher, FT_END);
	close_texts(&s);

	s = open_texts("abx\nabcdefg", "", 3);
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('a')));
	assert_int_equal(glm_matcher_way_out(s.matcher), FT_PIECE(AB));
	close_texts(&s);
}

static void
the_last_token_ends_the_answer(void **state)
{
	setup s = open_texts("ab*\nab", "", 3);

	(void) state;
	take(s.matcher, FT_PIECE(AB));
	assert_false(glm_matcher_must_end(s.matcher));
	close_texts(&s);

	s = open_texts("a*\nb", "", 3);
	take(s.matcher, FT_BYTE('a'));
	ASSERT_MASK(s.matcher, FT_BYTE('a'), FT_BYTE('b'), FT_PIECE(B), FT_PIECE(AB));
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('a')));
	assert_true(glm_matcher_allows(s.matcher, FT_PIECE(AB)));
	take(s.matcher, glm_matcher_way_out(s.matcher));
	assert_true(glm_matcher_must_end(s.matcher));
	ASSERT_MASK(s.matcher, FT_END, FT_END + 1);
	assert_int_equal(glm_matcher_way_out(s.matcher), FT_END);
	close_texts(&s);
}

static void
too_few_tokens_are_refused(void **state)
{
	setup	  s = open_texts("abcdefg", "", 6);
	glm_error err;

	(void) state;
	assert_null(glm_matcher_open(s.constraint, NULL, 0, 5, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	assert_string_equal(err.message, "the shortest answer needs 6 tokens, max_tokens is 5");
	assert_null(glm_matcher_open(s.constraint, "x\n", 2, 7, &err));
	assert_string_equal(err.message, "the shortest answer needs 8 tokens, max_tokens is 7");
	close_texts(&s);
}

static void
a_prefix_comes_first(void **state)
{
	setup	s = open_texts("b\n{\"name", "na\n", 10);
	int32_t forced[8];

	(void) state;
	/* the token that goes over its end is allowed too */
	ASSERT_MASK(s.matcher, FT_BYTE('n'), FT_PIECE(NA));
	assert_false(glm_matcher_may_end(s.matcher));
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 2);
	assert_int_equal(forced[0], FT_PIECE(NA));
	assert_int_equal(forced[1], FT_BYTE('\n'));
	take(s.matcher, forced[0]);
	take(s.matcher, forced[1]);
	ASSERT_MASK(s.matcher, FT_PIECE(B), FT_BYTE('b'), FT_BYTE('{'), FT_PIECE(OPEN));
	take(s.matcher, FT_PIECE(OPEN));
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 1);
	assert_int_equal(forced[0], FT_PIECE(NAME));
	close_texts(&s);
}

static void
what_can_be_nothing_else_is_forced(void **state)
{
	setup	s = open_texts("{\"name\": \"x\"}\n{\"name\": true}", "", 20);
	int32_t forced[8];

	(void) state;
	/* where the value begins there is a choice, and of `": ` and `": "` too */
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 2);
	assert_int_equal(forced[0], FT_PIECE(OPEN));
	assert_int_equal(forced[1], FT_PIECE(NAME));
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 1), 1);
	take(s.matcher, FT_PIECE(OPEN));
	take(s.matcher, FT_PIECE(NAME));
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 0);
	take(s.matcher, FT_PIECE(COLON_QUOTE));
	/* nothing extends the end */
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 1);
	assert_int_equal(forced[0], FT_PIECE(X_CLOSE));
	take(s.matcher, FT_PIECE(X_CLOSE));
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 0);
	close_texts(&s);
}

static void
forced_tokens_end_where_a_choice_is_to_end(void **state)
{
	setup	s = open_texts("ab\nabx", "", 20);
	int32_t forced[8];

	(void) state;
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 1);
	assert_int_equal(forced[0], FT_PIECE(AB));
	close_texts(&s);
	/* abc may be wanted */
	s = open_texts("ab\nabc", "", 20);
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 0);
	close_texts(&s);
}

static bool
encode_bytes(void *arg, const char *bytes, size_t n, glm_ids *out)
{
	(void) arg;
	for (size_t i = 0; i < n; i++)
		glm_ids_add(out, FT_BYTE(bytes[i]), NULL);
	return true;
}

static void
forced_tokens_leave_room_for_the_end(void **state)
{
	glm_vocabulary_source source = ft_source(piece, N_PIECES);
	setup				  s = {0};
	int32_t				  forced[8];
	glm_error			  err;

	(void) state;
	/* a model that would write single bytes, of which not all are left */
	source.encode = encode_bytes;
	s.vocabulary = glm_vocabulary_open(&source, &err);
	s.constraint = fx_open("abcname", s.vocabulary);
	s.matcher = glm_matcher_open(s.constraint, NULL, 0, 8, &err);
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 7);
	assert_int_equal(forced[6], FT_BYTE('e'));
	glm_matcher_close(s.matcher);
	/* after a, b and c two are left, of which one ends the answer */
	s.matcher = glm_matcher_open(s.constraint, NULL, 0, 5, &err);
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 3);
	for (int i = 0; i < 3; i++)
		take(s.matcher, forced[i]);
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 8), 0);
	assert_int_equal(glm_matcher_way_out(s.matcher), FT_PIECE(NAME));
	close_texts(&s);
}

static void
drafts_are_taken_back(void **state)
{
	setup s = open_texts("abcd\nabx\nb*", "", 12);

	(void) state;
	take(s.matcher, FT_BYTE('b'));
	for (int round = 0; round < 2; round++)
	{
		glm_matcher_mark(s.matcher);
		/* off the way, on it, off again and to the end */
		take(s.matcher, FT_BYTE('b'));
		take(s.matcher, FT_PIECE(AB));
		take(s.matcher, FT_BYTE('x'));
		take(s.matcher, FT_END);
		glm_matcher_back(s.matcher);
		ASSERT_MASK(s.matcher, FT_BYTE('a'), FT_PIECE(AB), FT_PIECE(ABC), FT_BYTE('b'),
					FT_PIECE(B));
		assert_false(glm_matcher_may_end(s.matcher));
		assert_int_equal(glm_matcher_way_out(s.matcher), FT_PIECE(AB));
	}
	/* eleven tokens were left, of which none is lost: ab, x and the end */
	for (int i = 0; i < 8; i++)
		take(s.matcher, FT_BYTE('b'));
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('b')));
	take(s.matcher, FT_PIECE(AB));
	take(s.matcher, FT_BYTE('x'));
	assert_true(glm_matcher_must_end(s.matcher));
	close_texts(&s);
}

/* Takes `n` tokens by turns and notes what was allowed on the way. */
static void
write_turns(glm_matcher *m, int n, uint64_t *seen)
{
	static const int32_t turn[] = {FT_PIECE(AB), FT_BYTE('c'), FT_PIECE(B), FT_PIECE(ABC)};

	for (int i = 0; i < n; i++)
	{
		uint64_t allowed[MOST_WORDS] = {0};

		glm_matcher_mask(m, allowed);
		for (int w = 0; w < MOST_WORDS; w++)
			*seen = (*seen ^ allowed[w]) * UINT64_C(0x9E3779B97F4A7C15);
		take(m, turn[i % 4]);
	}
}

static void
a_long_answer_takes_no_more_memory(void **state)
{
	setup	 s = open_texts("abc*\nb*\nx", "", 1 << 20);
	uint64_t seen = 0;

	(void) state;
	write_turns(s.matcher, 100000, &seen);
	/* each byte has left a list node of 32 bytes */
	assert_in_range(s.matcher->walk.used, 1, 3 << 20);
	assert_false(s.matcher->blind);
	close_texts(&s);
}

static void
a_full_machine_is_made_anew(void **state)
{
	setup		 s = open_texts("abc*\nb*\nx", "", 1000);
	glm_matcher *other = glm_matcher_open(s.constraint, NULL, 0, 1000, &(glm_error){0});
	glm_matcher *marked = glm_matcher_open(s.constraint, NULL, 0, 1000, &(glm_error){0});
	uint64_t	 want = 0, seen = 0, seen_other = 0;

	(void) state;
	write_turns(s.matcher, 40, &want);
	glm_matcher_close(s.matcher);
	s.matcher = glm_matcher_open(s.constraint, NULL, 0, 1000, &(glm_error){0});
	assert_int_equal(fx_made, 1);
	fx_growth = 1 << 15;
	take(marked, FT_PIECE(ABC));
	glm_matcher_mark(marked);
	take(marked, FT_PIECE(ABC));
	write_turns(s.matcher, 20, &seen);
	write_turns(other, 40, &seen_other);
	/* 20 turns in one go, from where the other stopped */
	write_turns(s.matcher, 20, &seen);
	assert_true(fx_made > 1);
	assert_int_equal(seen, want);
	assert_int_equal(seen_other, want);
	glm_matcher_back(marked);
	take(marked, FT_PIECE(AB));
	ASSERT_MASK(marked, FT_BYTE('c'));
	glm_matcher_close(marked);
	glm_matcher_close(other);
	close_texts(&s);
}

static void
without_memory_the_known_way_is_written(void **state)
{
	setup	s = open_texts("abcname*\nabcd\nabcx", "", 20);
	int32_t forced[4];

	(void) state;
	take(s.matcher, FT_PIECE(AB));
	glm_matcher_mark(s.matcher);
	fx_growth = (size_t) 65 << 20;
	ASSERT_MASK(s.matcher, FT_BYTE('c'));
	assert_true(s.matcher->blind);
	assert_int_equal(glm_matcher_forced(s.matcher, forced, 4), 0);
	assert_false(glm_matcher_allows(s.matcher, FT_BYTE('x')));
	take(s.matcher, FT_BYTE('c'));
	ASSERT_MASK(s.matcher, FT_BYTE('d'));
	assert_false(glm_matcher_may_end(s.matcher));
	take(s.matcher, glm_matcher_way_out(s.matcher));
	assert_true(glm_matcher_must_end(s.matcher));
	ASSERT_MASK(s.matcher, FT_END, FT_END + 1);
	glm_matcher_back(s.matcher);
	fx_growth = 0;
	take(s.matcher, FT_BYTE('c'));
	ASSERT_MASK(s.matcher, FT_BYTE('n'), FT_PIECE(NA), FT_PIECE(NAME), FT_BYTE('d'), FT_BYTE('x'));
	close_texts(&s);
}

static void
random_answers_end(void **state)
{
	static const char texts[] = "abcd*\nab!\nabx*\nb\n{\"name\": \"x\"}*\n{\"nab\"}\nbcdabcd";
	unsigned		  random = 12345;
	setup			  s = open_texts(texts, "", 30);

	(void) state;
	for (int walk = 0; walk < 300; walk++)
	{
		int			 most = 2 + walk % 30, taken = 0;
		glm_matcher *m = glm_matcher_open(s.constraint, NULL, 0, most, &(glm_error){0});

		for (bool ended = false; !ended; taken++)
		{
			int32_t token;

			for (int tries = 0;; tries++)
			{
				random = random * 1103515245 + 12345;
				token = (int32_t) (random >> 8) % FT_PIECE(N_PIECES);
				if (tries == 500)
					token = glm_matcher_way_out(m);
				if (glm_matcher_allows(m, token))
					break;
				assert_true(tries < 500);
			}
			ended = token == FT_END || token == FT_END + 1;
			glm_matcher_take(m, token);
		}
		assert_true(taken <= most);
		glm_matcher_close(m);
	}
	close_texts(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(masks_are_what_can_be_written),
		cmocka_unit_test(an_answer_may_end_where_it_may_go_on),
		cmocka_unit_test(a_token_without_a_way_to_the_end_is_refused),
		cmocka_unit_test(what_is_beyond_the_limits_is_refused_alone),
		cmocka_unit_test(an_answer_ends_within_its_tokens),
		cmocka_unit_test(the_last_token_ends_the_answer),
		cmocka_unit_test(too_few_tokens_are_refused),
		cmocka_unit_test(a_prefix_comes_first),
		cmocka_unit_test(what_can_be_nothing_else_is_forced),
		cmocka_unit_test(forced_tokens_end_where_a_choice_is_to_end),
		cmocka_unit_test(forced_tokens_leave_room_for_the_end),
		cmocka_unit_test(drafts_are_taken_back),
		cmocka_unit_test(a_long_answer_takes_no_more_memory),
		cmocka_unit_test(a_full_machine_is_made_anew),
		cmocka_unit_test(without_memory_the_known_way_is_written),
		cmocka_unit_test(random_answers_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
