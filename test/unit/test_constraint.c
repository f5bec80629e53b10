/*
 * test_constraint.c - constraints of each kind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_answers.h"
#include "few_tokens.h"

static void
answers_of_a_schema_end_and_masks_are_exact(void **state)
{
	glm_constraint *c = fa_constrain(GLM_JSON_SCHEMA, fa_person);
	glm_buf			answer = {0};

	(void) state;
	for (unsigned walk = 0; walk < 40; walk++)
	{
		int			 most = 12 + (int) walk;
		glm_matcher *m = fa_match(c, most);

		answer.length = 0;
		fa_write_answer(m, walk, most, walk < 10, &answer);
		assert_memory_equal(answer.data, "{\"name\": \"", 10);
		assert_non_null(strstr(answer.data, "\", \"age\": "));
		assert_int_equal(answer.data[answer.length - 1], '}');
		glm_matcher_close(m);
	}
	glm_buf_free(&answer);
	glm_constraint_release(c);
}

static void
a_json_object_is_any_object(void **state)
{
	glm_constraint *c = fa_constrain(GLM_JSON_OBJECT, "");
	glm_matcher	   *m = fa_match(c, 3);
	uint64_t		allowed[FA_WORDS];

	(void) state;
	glm_matcher_mask(m, allowed);
	assert_true(glm_mask_has(allowed, FT_BYTE('{')) && glm_mask_has(allowed, FT_PIECE(0)));
	assert_false(glm_mask_has(allowed, FT_BYTE('[')) || glm_mask_has(allowed, FT_END));
	assert_false(glm_matcher_allows(m, FT_PIECE(0)));
	assert_true(glm_matcher_allows(m, FT_BYTE('{')));
	glm_matcher_take(m, FT_BYTE('{'));
	glm_matcher_take(m, FT_PIECE(5));
	assert_true(glm_matcher_must_end(m));
	glm_matcher_close(m);
	glm_constraint_release(c);
}

/* ---- Plain texts ----------------------------------------------------------------------------- */

static void
choices_are_written_as_they_are(void **state)
{
	glm_constraint *c = fa_constrain(GLM_CHOICES, "[\"abc\", \"name\", \"ab\\n\", \"na\"]");
	glm_matcher	   *m = fa_match(c, 4);
	uint64_t		allowed[FA_WORDS];

	(void) state;
	glm_matcher_mask(m, allowed);
	fa_check_mask(m, allowed);
	assert_true(glm_mask_has(allowed, FT_PIECE(7)) && glm_mask_has(allowed, FT_PIECE(16)));
	assert_true(glm_matcher_allows(m, FT_PIECE(8)));
	glm_matcher_take(m, FT_PIECE(8));
	assert_true(glm_matcher_may_end(m));
	assert_false(glm_matcher_must_end(m));
	assert_true(glm_matcher_allows(m, FT_BYTE('m')));
	glm_matcher_close(m);
	glm_constraint_release(c);
}

static void
a_pattern_is_matched_as_a_whole(void **state)
{
	glm_constraint *c = fa_constrain(GLM_REGEX, "(?!abcx)[ab]+(c|\u00e9){2,3}x?");
	glm_buf			answer = {0};

	(void) state;
	for (unsigned walk = 0; walk < 30; walk++)
	{
		glm_matcher *m = fa_match(c, 20);
		size_t		 n;

		answer.length = 0;
		fa_write_answer(m, walk, 20, true, &answer);
		n = strspn(answer.data, "ab");
		assert_in_range(n, 1, 80);
		assert_in_range(strspn(answer.data + n, "c\xc3\xa9"), 2, 6);
		glm_matcher_close(m);
	}
	glm_buf_free(&answer);
	glm_constraint_release(c);
}

/* ---- Calls of tools -------------------------------------------------------------------------- */

static void
a_call_is_a_name_and_its_arguments(void **state)
{
	static const char tools[] =
		"[{\"name\": \"search\", \"parameters\": {\"properties\": {\"name\": {\"const\": \"ab\"}}, "
		"\"required\": [\"name\"], \"additionalProperties\": false}}, "
		"{\"name\": \"add\", \"parameters\": {}}, {\"name\": \"address\", \"parameters\": true}]";
	glm_constraint *c = fa_constrain(GLM_TOOL_CALL, tools);
	glm_matcher	   *m = fa_match(c, 30);
	uint64_t		allowed[FA_WORDS];
	int32_t			forced[20];
	glm_buf			answer = {0};
	int				n;

	(void) state;
	glm_matcher_mask(m, allowed);
	fa_check_mask(m, allowed);
	for (int32_t token = FT_PIECE(0); token < FT_PIECE(FA_PIECES); token++)
		assert_int_equal(glm_mask_has(allowed, token),
						 token == FT_PIECE(21) || token == FT_PIECE(23));
	/* the shortest call */
	assert_memory_equal(m->way.bytes.data, "add\n{}", 7);
	assert_true(glm_matcher_allows(m, FT_BYTE('s')));
	glm_matcher_take(m, FT_BYTE('s'));
	n = glm_matcher_forced(m, forced, 20);
	for (int i = 0; i < n; i++)
	{
		size_t		length;
		const char *bytes = glm_vocabulary_bytes(fa_vocabulary, forced[i], &length);

		glm_buf_add(&answer, bytes, length);
		assert_true(glm_matcher_allows(m, forced[i]));
		glm_matcher_take(m, forced[i]);
	}
	assert_string_equal(answer.data, "earch\n{\"name\": \"ab\"}");
	assert_true(glm_matcher_must_end(m));
	glm_matcher_close(m);

	for (unsigned walk = 0; walk < 20; walk++)
	{
		m = fa_match(c, 20);
		answer.length = 0;
		fa_write_answer(m, walk, 20, walk < 5, &answer);
		assert_non_null(strstr(answer.data, "\n{"));
		glm_matcher_close(m);
	}
	glm_buf_free(&answer);
	glm_constraint_release(c);
}

/* ---- What is refused ------------------------------------------------------------------------- */

static void
assert_refused(glm_constraint_kind kind, const char *text, glm_status status, const char *fragment)
{
	glm_constraint_spec spec = {.kind = kind, .text = text, .length = strlen(text)};
	glm_error			err = {0};

	assert_null(glm_constraint_open(&spec, fa_vocabulary, &err));
	if (err.status != status || strstr(err.message, fragment) == NULL)
		fail_msg("%s: status %d, %s", text, err.status, err.message);
}

static void
what_cannot_be_is_refused(void **state)
{
	(void) state;
	assert_refused(GLM_JSON_SCHEMA, "{", GLM_BAD_ARGUMENT, "JSON");
	assert_refused(GLM_JSON_SCHEMA, "{\"type\": 1}", GLM_BAD_ARGUMENT, "type");
	assert_refused(GLM_JSON_SCHEMA, "{\"unevaluatedItems\": false}", GLM_UNSUPPORTED,
				   "unevaluatedItems");
	assert_refused(GLM_JSON_SCHEMA, "false", GLM_BAD_ARGUMENT, "no value was found");
	assert_refused(GLM_JSON_SCHEMA,
				   "{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"integer\"}]}",
				   GLM_BAD_ARGUMENT, "no value was found");
	assert_refused(GLM_JSON_SCHEMA, "{\"type\": \"array\", \"minItems\": 10000000}",
				   GLM_BAD_ARGUMENT, "no value was found");
	assert_refused(GLM_CHOICES, "[]", GLM_BAD_ARGUMENT, "array of strings");
	assert_refused(GLM_CHOICES, "[\"a\", 1]", GLM_BAD_ARGUMENT, "choice 2");
	assert_refused(GLM_REGEX, "(a", GLM_BAD_ARGUMENT, "");
	assert_refused(GLM_REGEX, "(a)\\1", GLM_UNSUPPORTED, "");
	assert_refused(GLM_REGEX, "[^\\s\\S]", GLM_BAD_ARGUMENT, "no text was found");
	assert_refused(GLM_TOOL_CALL, "[]", GLM_BAD_ARGUMENT, "not empty");
	assert_refused(GLM_TOOL_CALL, "[{\"name\": \"a\"}]", GLM_BAD_ARGUMENT, "\"parameters\"");
	assert_refused(GLM_TOOL_CALL, "[{\"name\": \"a\\nb\", \"parameters\": {}}]", GLM_BAD_ARGUMENT,
				   "one line");
	assert_refused(GLM_TOOL_CALL,
				   "[{\"name\": \"a\", \"parameters\": {}}, {\"name\": \"a\", \"parameters\": {}}]",
				   GLM_BAD_ARGUMENT, "two tools have the name \"a\"");
	assert_refused(GLM_TOOL_CALL, "[{\"name\": \"a\", \"parameters\": {\"type\": \"string\"}}]",
				   GLM_BAD_ARGUMENT, "no value was found");
}

static bool
no_more(void *arg, glm_error *err)
{
	return --*(int *) arg > 0 || glm_fail(err, GLM_CANCELLED, "that is enough");
}

static void
compiling_can_be_ended(void **state)
{
	int					pauses = 3;
	glm_error			err;
	glm_constraint_spec spec = {.kind = GLM_JSON_SCHEMA};
	glm_buf				text = {0};

	(void) state;
	glm_buf_puts(&text, "{\"enum\": [");
	for (int i = 0; i < 60000; i++)
		glm_buf_puts(&text, "\"some text\", ");
	glm_buf_puts(&text, "1]}");
	spec.text = text.data;
	spec.length = text.length;
	glm_pause_with(no_more, &pauses);
	assert_null(glm_constraint_open(&spec, fa_vocabulary, &err));
	glm_pause_with(NULL, NULL);
	assert_int_equal(err.status, GLM_CANCELLED);
	glm_buf_free(&text);
}

static bool
count(void *pauses, glm_error *err)
{
	(void) err;
	++*(int *) pauses;
	return true;
}

static void
recompile(glm_matcher *m, void *arg)
{
	glm_error err;

	(void) arg;
	assert_true(glm_constraint_compile(m->constraint, &err));
}

/* The search for an end pauses while nobody has the constraint, and can be ended. */
static void
a_search_pauses_until_it_is_shared(void **state)
{
	static const char  *search[] = {"{\"type\": \"array\", \"minItems\": 10000000}",
									"(?=.*a{9}b)(?=.*c{9}d)(?=.*e{9}f)(?=.{0,20}$).*"};
	glm_constraint_kind kind[] = {GLM_JSON_SCHEMA, GLM_REGEX};
	glm_constraint	   *c;
	glm_matcher		   *m;
	int					pauses;
	glm_error			err;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		glm_constraint_spec spec = {
			.kind = kind[i], .text = search[i], .length = strlen(search[i])};

		pauses = 0;
		glm_pause_with(count, &pauses);
		assert_null(glm_constraint_open(&spec, fa_vocabulary, &err));
		assert_int_equal(err.status, GLM_BAD_ARGUMENT);
		assert_true(pauses > 20);
		pauses = 3;
		glm_pause_with(no_more, &pauses);
		assert_null(glm_constraint_open(&spec, fa_vocabulary, &err));
		assert_int_equal(err.status, GLM_CANCELLED);
		assert_string_equal(err.message, "that is enough");
	}
	glm_pause_with(NULL, NULL);
	c = fa_constrain(GLM_JSON_SCHEMA, "{\"type\": \"array\", \"minItems\": 2000}");
	m = fa_match(c, 10000);
	pauses = 1; /* more than one that ends it would be seen */
	glm_pause_with(no_more, &pauses);
	assert_true(glm_matcher_allows(m, FT_BYTE('[')));
	glm_matcher_take(m, FT_BYTE('['));
	assert_true(glm_matcher_allows(m, FT_BYTE('7'))); /* off the known way, so an end is searched */
	assert_true(glm_matcher_work(m, recompile, NULL));
	glm_pause_with(NULL, NULL);
	assert_int_equal(pauses, 1);
	glm_matcher_close(m);
	glm_constraint_release(c);
}

/* Encodes as bytes, and pauses as tokenizers do. */
static bool
encode_and_pause(void *arg, const char *bytes, size_t n, glm_ids *out)
{
	(void) arg;
	for (size_t i = 0; i < n; i++)
		assert_true(glm_pause(NULL) && glm_ids_add(out, FT_BYTE(bytes[i]), NULL));
	return true;
}

/*
 * Who pauses may wait for a turn, and who has it for the constraint that the first holds:
 * so nobody pauses who holds one, not where it is compiled anew, nor where it asks a tokenizer.
 */
static void
nobody_pauses_who_holds_a_constraint(void **state)
{
	glm_vocabulary_source source = ft_source(NULL, 0);
	glm_vocabulary		 *vocabulary;
	glm_constraint		 *c;
	glm_matcher			 *m;
	glm_buf				  choice = {0};
	int32_t				  forced[8];
	int					  pauses = 0;
	glm_error			  err;
	glm_constraint_spec	  spec = {.kind = GLM_JSON_SCHEMA};

	(void) state;
	source.encode = encode_and_pause;
	vocabulary = glm_vocabulary_open(&source, &err);
	assert_non_null(vocabulary);
	glm_buf_puts(&choice, "{\"enum\": [\"x\"");
	for (int i = 0; i < 20000; i++)
		glm_buf_puts(&choice, ", \"x\"");
	glm_buf_puts(&choice, "]}");
	spec.text = choice.data;
	spec.length = choice.length;
	glm_pause_with(count, &pauses);
	c = glm_constraint_open(&spec, vocabulary, &err);
	assert_non_null(c);
	assert_true(pauses > 0); /* it may be ended while nobody else has it */
	m = fa_match(c, 10);
	pauses = 0;
	assert_int_equal(glm_matcher_forced(m, forced, 8), 3);
	assert_true(glm_matcher_work(m, recompile, NULL));
	assert_true(glm_matcher_allows(m, FT_BYTE('"')));
	assert_int_equal(pauses, 0);
	assert_true(glm_pause(NULL));
	assert_int_equal(pauses, 1);
	glm_pause_with(NULL, NULL);
	glm_matcher_close(m);
	glm_constraint_release(c);
	glm_vocabulary_close(vocabulary);
	glm_buf_free(&choice);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_of_a_schema_end_and_masks_are_exact),
		cmocka_unit_test(a_json_object_is_any_object),
		cmocka_unit_test(choices_are_written_as_they_are),
		cmocka_unit_test(a_pattern_is_matched_as_a_whole),
		cmocka_unit_test(a_call_is_a_name_and_its_arguments),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(compiling_can_be_ended),
		cmocka_unit_test(a_search_pauses_until_it_is_shared),
		cmocka_unit_test(nobody_pauses_who_holds_a_constraint),
	};

	return cmocka_run_group_tests(tests, fa_open, fa_close);
}
