/*
 * test_chat_format.c - which format a tokenizer speaks, and what the format says.
 *
 * A second format is made up here, to see that what differs comes from the value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixtures.h"
#include "engine/text/chat_chatglm3.h"
#include "engine/text/decoder.h"
#include "engine/text/pieces.h"
#include "engine/text/prompt.h"

static int32_t
id_of(const char *name)
{
	int32_t id = glm_tokenizer_special(fx_tok, name);

	assert_true(id >= 0);
	assert_string_equal(glm_tokenizer_name(fx_tok, id), name);
	return id;
}

static void
the_tokens_of_a_tokenizer_tell_its_format(void **state)
{
	glm_error err = {0};
	int		  n = fx_tok->n_special;

	(void) state;
	assert_ptr_equal(glm_chat_choose(fx_tok, &err), &glm_chat_chatglm3);
	fx_tok->n_special = n - 1; /* <|observation|> is the last */
	assert_null(glm_chat_choose(fx_tok, &err));
	fx_tok->n_special = 0;
	assert_null(glm_tokenizer_name(fx_tok, fx_tok->size));
	assert_null(glm_chat_choose(fx_tok, &err));
	fx_tok->n_special = n;
	assert_int_equal(err.status, GLM_UNSUPPORTED);
	assert_int_equal(glm_tokenizer_special(fx_tok, "<|im_start|>"), -1);
}

static void
users_and_observations_end_an_answer(void **state)
{
	static const char *const ends[] = {"<|user|>", "<|observation|>"};
	static const char *const others[] = {"<|assistant|>", "<|system|>", "[gMASK]", "sop"};

	(void) state;
	for (int i = 0; i < 2; i++)
		assert_true(glm_chat_stops(&glm_chat_chatglm3, fx_tok, id_of(ends[i])));
	for (int i = 0; i < 4; i++)
		assert_false(glm_chat_stops(&glm_chat_chatglm3, fx_tok, id_of(others[i])));
	assert_false(glm_chat_stops(&glm_chat_chatglm3, fx_tok, 5));
	assert_false(glm_chat_stops(&glm_chat_chatglm3, fx_tok, -1));
	assert_false(glm_chat_stops(&glm_chat_chatglm3, fx_tok, 1000000));
}

static void
a_model_says_what_follows_its_token(void **state)
{
	const int32_t ids[] = {id_of("[gMASK]"),
						   id_of("sop"),
						   id_of("<|user|>"),
						   7,
						   8,
						   id_of("<|assistant|>"),
						   9,
						   id_of("<|assistant|>"),
						   10,
						   id_of("<|observation|>"),
						   11};
	const bool	  want[] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0};
	bool		  said[11];

	(void) state;
	glm_chat_chatglm3.find_said(fx_tok, ids, 11, said);
	assert_memory_equal(said, want, sizeof(want));
}

static void
a_prompt_begins_with_the_prefix(void **state)
{
	glm_ids ids = {0};

	(void) state;
	assert_int_equal(glm_prompt_prefix_length(&glm_chat_chatglm3), 2);
	assert_true(glm_prompt_prefix(&glm_chat_chatglm3, fx_tok, &ids, NULL));
	assert_int_equal(ids.length, 2);
	assert_int_equal(ids.data[0], id_of("[gMASK]"));
	assert_int_equal(ids.data[1], id_of("sop"));
	glm_ids_free(&ids);
}

/* What a format shows of an answer, with | for the token between turns. */
static void
assert_shown(const glm_chat *chat, const char *text, const char *want)
{
	glm_decoder *dec = glm_decoder_open(fx_tok, chat, NULL, 0);
	glm_buf		 out = {0};
	glm_ids		 newline = {0};
	bool		 stopped;

	assert_non_null(dec);
	assert_true(glm_tokenizer_encode(fx_tok, "\n", 1, &newline, NULL));
	for (const char *c = text; *c != '\0'; c++)
	{
		int32_t byte = newline.data[1] - '\n' + (unsigned char) *c;

		assert_true(
			glm_decoder_push(dec, *c == '|' ? id_of("<|assistant|>") : byte, &out, &stopped));
	}
	assert_true(glm_decoder_finish(dec, &out));
	assert_string_equal(out.data, want);
	glm_ids_free(&newline);
	glm_buf_free(&out);
	glm_decoder_close(dec);
}

static void
a_format_may_have_no_metadata_and_one_turn(void **state)
{
	glm_chat plain = glm_chat_chatglm3;

	(void) state;
	plain.metadata_line = false;
	assert_shown(&glm_chat_chatglm3, " name\n b|\n c ", " name\n b\nc");
	assert_shown(&plain, " name\n b|\n c ", "name\n b\nc");
	plain.next_turn = NULL;
	assert_shown(&plain, " name\n b|\n c ", "name\n b\n c");
}

static void
answers_are_read_by_a_number(void **state)
{
	char *got = glm_answer_parse(GLM_CHAT_CHATGLM3, "a", 1);

	(void) state;
	assert_int_equal(glm_chat_chatglm3.number, GLM_CHAT_CHATGLM3);
	assert_string_equal(got, "{\"content\": \"a\"}");
	free(got);
	assert_null(glm_answer_parse(GLM_CHAT_NONE, "a", 1));
	assert_null(glm_answer_parse_turns(GLM_N_CHAT_FORMATS, "a", 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tokens_of_a_tokenizer_tell_its_format),
		cmocka_unit_test(users_and_observations_end_an_answer),
		cmocka_unit_test(a_model_says_what_follows_its_token),
		cmocka_unit_test(a_prompt_begins_with_the_prefix),
		cmocka_unit_test(answers_are_read_by_a_number),
		cmocka_unit_test(a_format_may_have_no_metadata_and_one_turn),
	};

	return cmocka_run_group_tests(tests, fx_open_tokenizer, fx_close_tokenizer);
}
