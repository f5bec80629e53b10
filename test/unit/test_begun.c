/*
 * test_begun.c - answers that go on from a last message of the assistant's: wherever an
 * answer is cut, what comes then is the rest of it.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/text/decoder.h"
#include "engine/text/prompt.h"
#include "fixtures.h"

#define ROOMY ((size_t) 64 << 20)

static glm_engine *engine;

static int
open_one(void **state)
{
	engine = open_engine(2, 8, ROOMY);
	glm_engine_set_speculation(engine, GLM_SPECULATE_ALWAYS);
	return fx_open_tokenizer(state);
}

static int
close_one(void **state)
{
	glm_engine_close(engine);
	return fx_close_tokenizer(state);
}

/* ---- Asking ------------------------------------------------------------------------- */

/* What is asked, and how. */
typedef struct question
{
	const char *text;
	const char *system; /* in JSON, with a comma behind; "" */
	double		temperature;
	double		frequency;
	uint64_t	seed;
} question;

static void
write_json(char *out, const char *text)
{
	char *end = out + strlen(out);

	*end++ = '"';
	for (; *text != '\0'; text++)
	{
		if (*text == '\n')
		{
			*end++ = '\\';
			*end++ = 'n';
			continue;
		}
		if (*text == '"' || *text == '\\')
			*end++ = '\\';
		*end++ = *text;
	}
	strcpy(end, "\"");
}

/* A chat of the question and, unless it is NULL, a beginning of the answer. */
static glm_request *
make_chat(const question *q, const char *begun, int max_tokens, bool stream)
{
	static char	 messages[8192];
	glm_request *req;

	sprintf(messages, "[%s{\"role\": \"user\", \"content\": ", q->system);
	write_json(messages, q->text);
	if (begun != NULL)
	{
		strcat(messages, "}, {\"role\": \"assistant\", \"content\": ");
		write_json(messages, begun);
	}
	strcat(messages, "}]");
	req = make_request(messages, max_tokens, stream);
	req->form = GLM_MESSAGES;
	req->temperature = q->temperature;
	req->frequency_penalty = q->frequency;
	req->seed = q->seed;
	return req;
}

static answer
ask(glm_request *req)
{
	bool stream = req->stream;
	int	 ticket = submit(engine, req);

	if (stream)
		read_stream(engine, ticket);
	wait_for(engine, ticket);
	if (answers[ticket].last.kind != GLM_EVENT_DONE)
		fail_msg("%s", answers[ticket].message);
	return answers[ticket];
}

/* ---- Cuts everywhere ------------------------------------------------------------------- */

static const question questions[] = {
	{"Who are you?", "", 0, 0, 0},
	{"What can you do?", "", 0, 0, 0},
	{"Please ship 12 desk lamp to Berlin.",
	 "{\"role\": \"system\", \"content\": \"Extract product, city and quantity as JSON.\"}, ", 0, 0,
	 0},
	{"你好", "", 0, 0, 0},
	{"lamp lamp lamp lamp lamp lamp", "", 0, 0.3, 0},
	{"Who are you?", "", 0.7, 0, 1},
	{"Who are you?", "", 0.9, 0.2, 2},
	{"What can you do?", "", 0.8, 0, 3},
};

#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

/*
 * Goes on from an answer that was cut after n tokens.  Greedy ones are the same always; a
 * token that was drawn may be written in another way than encoding does, and then the model
 * has read something else.
 */
static bool
goes_on(const question *q, const answer *whole, int n, bool stream)
{
	static char	 joined[2 * sizeof(whole->text)];
	const answer cut = ask(make_chat(q, NULL, n, false));
	answer		 rest;
	bool		 same_ids;

	assert_int_equal(cut.last.completion_tokens, n);
	if (strstr(cut.text, "\xEF\xBF\xBD") != NULL)
		return false; /* within a character, which is not there */
	rest = ask(make_chat(q, cut.text, 60 - n, stream));
	same_ids = rest.last.prompt_tokens == cut.last.prompt_tokens + n;
	snprintf(joined, sizeof(joined), "%s%s", cut.text, rest.text);
	if (strcmp(joined, whole->text) == 0)
		return true;
	if (q->temperature == 0 || same_ids)
		fail_msg("cut after %d: \"%s\" + \"%s\", not \"%s\"", n, cut.text, rest.text, whole->text);
	return false;
}

static void
wherever_it_was_cut(void **state)
{
	(void) state;
	for (size_t i = 0; i < QUESTIONS; i++)
	{
		const answer whole = ask(make_chat(&questions[i], NULL, 60, false));
		int			 same = 0;

		assert_true(whole.last.completion_tokens > 6);
		for (int n = 1; n < whole.last.completion_tokens; n++)
			same += goes_on(&questions[i], &whole, n, n % 2 == 0);
		assert_true(same > whole.last.completion_tokens / 2);
	}
}

/* An answer that is complete goes on with its end. */
static void
what_is_complete_ends(void **state)
{
	const answer whole = ask(make_chat(&questions[0], NULL, 60, false));
	const answer rest = ask(make_chat(&questions[0], whole.text, 60, false));

	(void) state;
	assert_string_equal(rest.text, "");
	assert_int_equal(rest.last.finish, GLM_FINISH_STOP);
	assert_int_equal(rest.last.completion_tokens, 1);
}

/* ---- What is read -------------------------------------------------------------------- */

static void
check_ids(const char *messages, const char *tail, size_t begun)
{
	glm_request	   *req = make_request(messages, 1, false);
	glm_ids			ids = {0};
	glm_error		err = {0};
	glm_buf			text = {0};
	const glm_chat *chat = glm_chat_choose(fx_tok, &err);

	req->form = GLM_MESSAGES;
	assert_true(glm_prompt_build(chat, fx_tok, req, &ids, &err));
	assert_int_equal(glm_chat_begun(chat, fx_tok, ids.data, ids.length), begun);
	assert_true(glm_tokenizer_decode(fx_tok, ids.data, ids.length, &text, &err));
	glm_buf_add(&text, "", 1);
	assert_true(text.length > strlen(tail));
	assert_string_equal(text.data + text.length - 1 - strlen(tail), tail);
	glm_buf_free(&text);
	glm_ids_free(&ids);
	free(req);
}

#define USER "{\"role\": \"user\", \"content\": \"hello\"}"

static void
the_answer_is_where_the_prompt_ends(void **state)
{
	glm_ids	  line = {0}, word = {0};
	glm_error err = {0};

	(void) state;
	assert_true(glm_tokenizer_encode(fx_tok, "\n", 1, &line, &err));
	assert_true(glm_tokenizer_encode(fx_tok, "Hi", 2, &word, &err));
	check_ids("[" USER "]", "<|assistant|>", 0);
	check_ids("[" USER ", {\"role\": \"assistant\", \"content\": \"Hi\"}]", "Hi",
			  line.length + word.length);
	check_ids("[" USER ", {\"role\": \"assistant\", \"content\": \"\"}]", "\n", line.length);
	/* calls are over, and so is what is answered */
	check_ids("[" USER ", {\"role\": \"assistant\", \"content\": \"Hi\", \"tool_calls\": "
			  "[{\"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}]",
			  "<|assistant|>", 0);
	check_ids("[" USER ", {\"role\": \"assistant\", \"content\": \"Hi\"}, " USER "]",
			  "<|assistant|>", 0);
	glm_ids_free(&line);
	glm_ids_free(&word);
}

/* ---- Beside stop strings, tools and constraints ------------------------------------------ */

static void
stop_strings_begin_behind_it(void **state)
{
	const question q = questions[0];
	glm_request	  *req = make_chat(&q, "I am tiny-chatglm3, a small", 60, false);
	answer		   a;

	(void) state;
	set_stop(req, "small");
	a = ask(req);
	assert_string_equal(a.text, " language model that lives in PostgreSQL.");
	req = make_chat(&q, "I am tiny-chatglm3, a sm", 60, false);
	set_stop(req, "language");
	a = ask(req);
	assert_int_equal(a.last.finish, GLM_FINISH_STOP);
	assert_null(strstr(a.text, "language"));
}

/* Marked turns: what goes on is content, without a first line of its own. */
static void
what_goes_on_is_content(void **state)
{
	glm_request *req = make_chat(&questions[0], "I am tiny-chatglm3, a small", 60, false);
	answer		 a;
	char		*parsed;

	(void) state;
	req->turns = 1;
	a = ask(req);
	parsed = glm_answer_parse_turns(GLM_CHAT_CHATGLM3, a.text, a.length);
	assert_string_equal(parsed, "{\"content\": \" language model that lives in PostgreSQL.\"}");
	free(parsed);
}

#define SCHEMA                                                                                     \
	"{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"n\": {\"type\": " \
	"\"integer\"}}, \"required\": [\"city\", \"n\"], \"additionalProperties\": false}"

/* The whole of both is the value. */
static void
the_whole_is_constrained(void **state)
{
	static const char *const begun[] = {"", "{", "{\"city\": \"Ber",
										"{\"city\": \"Berlin\", \"n\": 1",
										"{\"city\": \"Berlin\", \"n\": 12}"};
	static const char *const bad[] = {"The", "{\"n\"", "{\"city\": 3", "[",
									  "{\"city\": \"Berlin\", \"n\": 12} "};

	(void) state;
	for (int i = 0; i < 10; i++)
	{
		glm_request *req =
			make_chat(&questions[2], i < 5 ? begun[i] : bad[i - 5], 60, i < 5 && i % 2 == 0);
		int	 ticket;
		char whole[1024];
		char city[64], rest[64];
		int	 n;

		req = constrain(req, GLM_JSON_SCHEMA, SCHEMA);
		ticket = submit(engine, req);
		if (i < 5 && i % 2 == 0)
			read_stream(engine, ticket);
		wait_for(engine, ticket);
		if (i >= 5)
		{
			assert_int_equal(answers[ticket].last.kind, GLM_EVENT_ERROR);
			assert_int_equal(answers[ticket].last.status, GLM_BAD_ARGUMENT);
			assert_non_null(strstr(answers[ticket].message, "does not begin"));
			continue;
		}
		assert_int_equal(answers[ticket].last.kind, GLM_EVENT_DONE);
		assert_int_equal(answers[ticket].last.finish, GLM_FINISH_STOP);
		snprintf(whole, sizeof(whole), "%s%s", begun[i], answers[ticket].text);
		assert_int_equal(sscanf(whole, "{\"city\": \"%63[^\"]\", \"n\": %d%63s", city, &n, rest),
						 3);
		assert_string_equal(rest, "}");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wherever_it_was_cut),
		cmocka_unit_test(what_is_complete_ends),
		cmocka_unit_test(the_answer_is_where_the_prompt_ends),
		cmocka_unit_test(stop_strings_begin_behind_it),
		cmocka_unit_test(what_goes_on_is_content),
		cmocka_unit_test(the_whole_is_constrained),
	};

	return cmocka_run_group_tests_name("begun", tests, open_one, close_one);
}
