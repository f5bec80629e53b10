/*
 * test_vocabulary.c - the tokens of a model as tries over their bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_tokens.h"

static const char *const piece[] = {
	"{",   "{\"",  "\": ", "abc", "ab", "abcd", "b", "\xc3\xa9t\xc3\xa9", "\xc3\xa9\xc3",
	"   ", "true", "a\nb"};
#define N_PIECES ((int) (sizeof(piece) / sizeof(piece[0])))

/* Every token of a trie is found by its bytes, below nodes that know of it; returns how many there are. */
static int
check_trie(const glm_vocabulary *v, const glm_trie *trie)
{
	assert_int_equal(trie->n_tokens > 0 ? trie->node[trie->n - 1].end : 0, trie->n_tokens);
	for (int i = 0; i < trie->n_tokens; i++)
	{
		size_t		n;
		const char *bytes = glm_vocabulary_bytes(v, trie->token[i], &n);
		int			node = -1;

		for (size_t k = 0; k < n; k++)
		{
			int parent = node;

			node = glm_trie_child(trie, node, (uint8_t) bytes[k]);
			assert_true(node >= 0);
			assert_int_equal(trie->node[node].depth, k);
			assert_in_range(i, trie->node[node].first, trie->node[node].end - 1);
			if (parent >= 0)
			{
				assert_true(trie->node[parent].classes >> glm_byte_class((uint8_t) bytes[k]) & 1);
				assert_true(node < parent + trie->node[parent].size);
				assert_int_equal(trie->node[node].classes & ~trie->node[parent].classes, 0);
			}
		}
		assert_int_equal(trie->node[node].token, trie->token[i]);
		assert_int_equal(trie->node[node].first, i);
	}
	return trie->n_tokens;
}

static void
tries_hold_every_token_once(void **state)
{
	glm_vocabulary *v = ft_open(piece, N_PIECES);

	(void) state;
	assert_int_equal(glm_vocabulary_words(v), (FT_PIECE(N_PIECES) + 63) / 64);
	/* "{" and "b" are twins of bytes; three tokens have no bytes */
	assert_int_equal(v->n_twins, 2);
	assert_int_equal(check_trie(v, &v->plain) + check_trie(v, &v->rest),
					 FT_PIECE(N_PIECES) - 3 - 2);
	assert_int_equal(v->deepest, 5);
	assert_int_equal(glm_trie_child(&v->plain, -1, '"'), -1);
	assert_true(glm_trie_child(&v->rest, -1, '"') >= 0);
	glm_vocabulary_close(v);
}

static void
twins_are_allowed_together(void **state)
{
	glm_vocabulary *v = ft_open(piece, N_PIECES);
	uint64_t		allowed[8] = {0};

	(void) state;
	assert_true(glm_vocabulary_words(v) <= 8);
	assert_true(v->plain.node[glm_trie_child(&v->plain, -1, '{')].token == FT_PIECE(0));
	glm_mask_set(allowed, FT_PIECE(0));
	glm_vocabulary_add_twins(v, allowed);
	assert_true(glm_mask_has(allowed, FT_BYTE('{')));
	assert_false(glm_mask_has(allowed, FT_BYTE('b')));
	glm_vocabulary_close(v);
}

static void
assert_plain(const glm_vocabulary *v, int most, int32_t token, bool want)
{
	uint64_t allowed[8];

	glm_vocabulary_plain(v, most, allowed);
	if (glm_mask_has(allowed, token) != want)
		fail_msg("token %d of at most %d code points", token, most);
}

static void
plain_tokens_are_known_by_code_points(void **state)
{
	char			line[81] = {0};
	const char	   *with_line[N_PIECES + 1];
	glm_vocabulary *v;

	(void) state;
	memset(line, '-', 80);
	memcpy(with_line, piece, sizeof(piece));
	with_line[N_PIECES] = line;
	v = ft_open(with_line, N_PIECES + 1);
	assert_plain(v, 2, FT_PIECE(3), false);
	assert_plain(v, 3, FT_PIECE(3), true);
	assert_plain(v, 3, FT_PIECE(7), true);
	assert_plain(v, 2, FT_PIECE(7), false);
	assert_plain(v, 0, FT_BYTE('a'), false);
	assert_plain(v, -1, FT_BYTE('a'), false);
	assert_plain(v, 1, FT_BYTE('a'), true);
	assert_plain(v, 79, FT_PIECE(N_PIECES), false);
	assert_plain(v, 79, FT_PIECE(3), true);
	assert_plain(v, 80, FT_PIECE(N_PIECES), true);
	assert_plain(v, GLM_ANY_LENGTH, FT_PIECE(N_PIECES), true);
	/* a quote, a backslash, a control character, half a character */
	for (int i = 0; i < 4; i++)
		assert_plain(v, GLM_ANY_LENGTH,
					 ((int32_t[]){FT_PIECE(2), FT_BYTE('\\'), FT_PIECE(11), FT_PIECE(8)})[i],
					 false);
	glm_vocabulary_close(v);
}

static void
assert_encoded(const glm_vocabulary *v, const char *text, const int32_t *want, size_t n)
{
	glm_ids ids = {0};

	assert_true(glm_vocabulary_encode(v, text, strlen(text), &ids));
	assert_int_equal(ids.length, n);
	assert_memory_equal(ids.data, want, n * sizeof(*want));
	glm_ids_free(&ids);
}

static void
without_a_model_the_longest_token_comes_first(void **state)
{
	glm_vocabulary *v = ft_open(piece, N_PIECES);

	(void) state;
	assert_encoded(v, "abce", (int32_t[]){FT_PIECE(3), FT_BYTE('e')}, 2);
	assert_encoded(v, "{\"ab\": b", (int32_t[]){FT_PIECE(1), FT_PIECE(4), FT_PIECE(2), FT_PIECE(6)},
				   4);
	assert_encoded(v, "\xc3\xa9\xc3\xa9", (int32_t[]){FT_PIECE(8), FT_BYTE(0xa9)}, 2);
	glm_vocabulary_close(v);
}

static bool
encode_as_ends(void *arg, const char *bytes, size_t n, glm_ids *out)
{
	(void) bytes;
	glm_ids_add(out, 7, NULL);
	return *(int *) arg == (int) n;
}

static void
a_model_tells_how_it_writes(void **state)
{
	int					  want = 2;
	glm_vocabulary_source source = ft_source(piece, N_PIECES);
	glm_vocabulary		 *v;
	glm_ids				  ids = {0};

	(void) state;
	source.encode = encode_as_ends;
	source.arg = &want;
	v = glm_vocabulary_open(&source, NULL);
	assert_true(glm_vocabulary_encode(v, "ab", 2, &ids));
	assert_false(glm_vocabulary_encode(v, "abc", 3, &ids));
	assert_int_equal(ids.length, 1);
	assert_int_equal(ids.data[0], 7);
	glm_ids_free(&ids);
	glm_vocabulary_close(v);
}

static void
tokens_that_are_too_long_are_never_written(void **state)
{
	char			line[GLM_TOKEN_BYTES + 2] = {0};
	char			longer[GLM_TOKEN_BYTES + 2] = {0};
	const char	   *both[] = {line, longer};
	glm_vocabulary *v;
	uint64_t		allowed[8];
	size_t			n;

	(void) state;
	memset(line, '=', GLM_TOKEN_BYTES);
	memset(longer, '=', GLM_TOKEN_BYTES + 1);
	v = ft_open(both, 2);
	glm_vocabulary_plain(v, GLM_ANY_LENGTH, allowed);
	assert_true(glm_mask_has(allowed, FT_PIECE(0)));
	assert_false(glm_mask_has(allowed, FT_PIECE(1)));
	glm_vocabulary_bytes(v, FT_PIECE(1), &n);
	assert_int_equal(n, 0);
	assert_int_equal(v->deepest, GLM_TOKEN_BYTES);
	glm_vocabulary_close(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tries_hold_every_token_once),
		cmocka_unit_test(twins_are_allowed_together),
		cmocka_unit_test(plain_tokens_are_known_by_code_points),
		cmocka_unit_test(without_a_model_the_longest_token_comes_first),
		cmocka_unit_test(a_model_tells_how_it_writes),
		cmocka_unit_test(tokens_that_are_too_long_are_never_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
