/*
 * test_kinds.c - the kinds of requests: that each has what its way of being served needs,
 * that requests of all kinds but the job are served, and that a kind whose rows leave something from
 * the middle of its tokens on gets just that, whatever is cached.
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#include "engine/serve/engine.h"

#define ROOMY ((size_t) 64 << 20)
#define N_TOKENS 150
#define FROM 40

static glm_request
of_kind(glm_kind kind)
{
	return (glm_request){.kind = kind};
}

/* ---- The table -------------------------------------------------------------------- */

static void
every_kind_is_served_in_one_way(void **state)
{
	(void) state;
	assert_string_equal(glm_kind_name(0), "unknown");
	assert_string_equal(glm_kind_name(GLM_N_KIND), "unknown");
	for (int i = GLM_GENERATE; i < GLM_N_KIND; i++)
	{
		glm_request				req = of_kind(i);
		const glm_request_kind *kind = glm_request_kind_of(&req);
		bool					by_passes = kind->read_tokens != NULL;
		bool					by_job = kind->start_job != NULL;

		assert_string_equal(kind->name, glm_kind_name(i));
		assert_true((kind->answer != NULL) + by_passes + by_job <= 1);
		assert_int_equal(by_passes, kind->want != GLM_WANT_NOTHING);
		assert_int_equal(by_passes, kind->wants_from != NULL);
		assert_int_equal(by_passes, kind->take != NULL);
		if (by_passes)
			assert_true(kind->needs & GLM_NEEDS_MODEL);
		if (by_job)
			assert_int_equal(kind->needs, 0);
		if (kind->needs & GLM_NEEDS_DECODER)
			assert_true(kind->needs & GLM_NEEDS_SAMPLER);
		if (kind->needs & (GLM_NEEDS_SAMPLER | GLM_NEEDS_POOL))
			assert_non_null(kind->sample);
		if (kind->needs & GLM_NEEDS_POOL)
			assert_int_equal(kind->want, GLM_WANT_HIDDEN);
		if (kind->sample != NULL)
			assert_true(by_passes);
		if (kind->describe != NULL)
			assert_true(kind->want == GLM_WANT_LOGITS && kind->sample != NULL);
		for (int j = GLM_GENERATE; j < i; j++)
		{
			glm_request other = of_kind(j);

			assert_string_not_equal(kind->name, glm_request_kind_of(&other)->name);
		}
	}
}

/* ---- Requests ---------------------------------------------------------------------- */

static glm_request *
make_with_text(glm_kind kind, const char *text)
{
	glm_request *req = make_request(text, 3, false);

	req->kind = kind;
	return req;
}

static glm_request *
make_of_kind(glm_kind kind)
{
	return make_with_text(kind, "Hello, who are you?");
}

static void
every_kind_is_served(void **state)
{
	glm_engine	*engine = open_engine(2, 4, ROOMY);
	glm_request *req;
	int32_t		 ids[64];
	int			 n, ticket;

	(void) state;
	wait_for(engine, submit(engine, make_of_kind(GLM_LOAD)));
	ticket = submit(engine, make_of_kind(GLM_TOKENIZE));
	n = wait_for(engine, ticket)->last.prompt_tokens;
	assert_in_range(n, 1, 63);
	assert_int_equal(answers[ticket].length, n * sizeof(*ids));
	memcpy(ids, answers[ticket].text, answers[ticket].length);
	ticket = submit(engine, make_of_kind(GLM_COUNT_TOKENS));
	assert_int_equal(wait_for(engine, ticket)->last.prompt_tokens, n);
	assert_int_equal(answers[ticket].length, 0);
	assert_int_equal(answers[ticket].last.context, 2048);
	ticket = submit(engine, make_for_tokens(GLM_DETOKENIZE, ids, n));
	assert_string_equal(wait_for(engine, ticket)->text, "Hello, who are you?");
	req = make_with_text(GLM_CHAT_TOKENS, "[{\"role\": \"user\", \"content\": \"hi\"}]");
	req->form = GLM_MESSAGES;
	ticket = submit(engine, req);
	n = wait_for(engine, ticket)->last.prompt_tokens;
	assert_in_range(n, 4, 63);
	assert_int_equal(answers[ticket].length, n * sizeof(*ids));
	ticket = submit(engine, make_of_kind(GLM_GENERATE));
	assert_int_equal(wait_for(engine, ticket)->last.completion_tokens, 3);
	ticket = submit(engine, make_for_tokens(GLM_LOGITS, ids, 2));
	assert_int_equal(wait_for(engine, ticket)->last.prompt_tokens, 2);
	assert_true(answers[ticket].length > 0);
	ticket = submit(engine, make_of_kind(GLM_EMBED));
	assert_int_equal(wait_for(engine, ticket)->last.kind, GLM_EVENT_DONE);
	assert_true(answers[ticket].length > 0);
	ticket = submit(engine, make_of_kind(GLM_UNLOAD));
	assert_int_equal(wait_for(engine, ticket)->last.kind, GLM_EVENT_DONE);
	glm_engine_close(engine);
}

/* ---- A kind of the test's own --------------------------------------------------------- */

static int32_t
largest(const float *logits, int n)
{
	int32_t best = 0;

	for (int32_t i = 1; i < n; i++)
		if (logits[i] > logits[best])
			best = i;
	return best;
}

static bool
read_tokens(const glm_request *req, const glm_model *model, glm_ids *tokens, glm_error *err)
{
	size_t		   n;
	const int32_t *ids = glm_request_tokens(req, &n);

	(void) model;
	for (size_t i = 0; i < n; i++)
		if (!glm_ids_add(tokens, ids[i], err))
			return false;
	return true;
}

static int
from_the_middle(const glm_sequence *seq)
{
	(void) seq;
	return FROM;
}

/* Sends the likeliest token behind each. */
static bool
take_best(glm_engine *engine, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	int vocab = seq->model->config.vocab;

	(void) err;
	for (int i = 0; i < seq->n_wanted; i++)
	{
		int32_t best = largest(seq->logits + (size_t) i * vocab, vocab);

		glm_send_result(engine, seq->ticket, &best, sizeof(best));
	}
	if (seq->n_computed == seq->n_prompt)
		*finish = GLM_FINISH_STOP;
	return true;
}

static const glm_request_kind best_tokens = {
	.name = "best_tokens",
	.needs = GLM_NEEDS_MODEL,
	.read_tokens = read_tokens,
	.want = GLM_WANT_LOGITS,
	.wants_from = from_the_middle,
	.take = take_best,
};

/* FNV-1a, of all bits of n floats. */
static uint64_t
digest(const float *x, size_t n)
{
	const unsigned char *bytes = (const unsigned char *) x;
	uint64_t			 hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < n * sizeof(*x); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
	return hash;
}

/* Sends a digest of what the final norm gives for each. */
static bool
take_hidden(glm_engine *engine, glm_sequence *seq, glm_finish *finish, glm_error *err)
{
	size_t hidden = (size_t) seq->model->config.hidden;

	(void) err;
	assert_null(seq->logits);
	for (int i = 0; i < seq->n_wanted; i++)
	{
		uint64_t one = digest(seq->hidden + (size_t) i * hidden, hidden);

		glm_send_result(engine, seq->ticket, &one, sizeof(one));
	}
	if (seq->n_computed == seq->n_prompt)
		*finish = GLM_FINISH_STOP;
	return true;
}

static const glm_request_kind hidden_states = {
	.name = "hidden_states",
	.needs = GLM_NEEDS_MODEL,
	.read_tokens = read_tokens,
	.want = GLM_WANT_HIDDEN,
	.wants_from = from_the_middle,
	.take = take_hidden,
};

/* What the intake does for a kind that is in the table. */
static int
submit_own(glm_engine *engine, const glm_request_kind *kind, const int32_t *tokens, int n,
		   uint64_t scope)
{
	glm_request		*req = make_for_tokens(GLM_LOGITS, tokens, n);
	int				 number = engine->free_ticket[--engine->n_free];
	glm_open_options options;
	glm_served		*served;
	glm_sequence	*seq;
	glm_error		 err = {0};

	req->scope = scope;
	engine->ticket[number].request = req;
	assert_true(glm_models_find(&engine->models, req, &options, &served, &err));
	assert_non_null(served);
	seq = glm_sequence_open(engine, kind, number, served, &err);
	assert_non_null(seq);
	memset(&answers[number], 0, sizeof(answers[number]));
	glm_inbox_add(engine, seq);
	return number;
}

/*
 * The rows of all passes together leave one result for each position from FROM on, as
 * alone: first with nothing cached, then with all of it, of which only what stands before
 * FROM may be taken.
 */
static void
results_of_all_positions(void **state)
{
	glm_engine		*engine = open_engine(2, 4, ROOMY); /* 64 tokens in a pass */
	static const int length[] = {FROM + 1, FROM + 2, 64, 65, 110, N_TOKENS};
	int32_t			 tokens[N_TOKENS], alone[6];

	(void) state;
	wait_for(engine, submit(engine, make_of_kind(GLM_LOAD)));
	for (int i = 0; i < N_TOKENS; i++)
		tokens[i] = 300 + i * 7 % 83;
	for (int i = 0; i < 6; i++)
	{
		int ticket = submit(engine, make_for_tokens(GLM_LOGITS, tokens, length[i]));

		wait_for(engine, ticket);
		alone[i] = largest((const float *) (const void *) answers[ticket].text,
						   (int) (answers[ticket].length / sizeof(float)));
	}
	for (int again = 0; again < 2; again++)
	{
		int		ticket = submit_own(engine, &best_tokens, tokens, N_TOKENS, 2);
		answer *a = wait_for(engine, ticket);
		int32_t best[N_TOKENS];

		assert_int_equal(a->last.kind, GLM_EVENT_DONE);
		assert_int_equal(a->length, (N_TOKENS - FROM) * sizeof(*best));
		memcpy(best, a->text, a->length);
		for (int i = 0; i < 6; i++)
			assert_int_equal(best[length[i] - 1 - FROM], alone[i]);
		assert_int_equal(a->last.cached_tokens, again == 0 ? 0 : FROM);
	}
	glm_engine_close(engine);
}

/* Hidden states beside a kind that wants logits are those of a request alone. */
static void
hidden_states_beside_logits(void **state)
{
	glm_engine *engine = open_engine(2, 4, ROOMY);
	int32_t		tokens[N_TOKENS];
	uint64_t	alone[N_TOKENS];

	(void) state;
	wait_for(engine, submit(engine, make_of_kind(GLM_LOAD)));
	for (int i = 0; i < N_TOKENS; i++)
		tokens[i] = 300 + i * 7 % 83;
	/* brings the model into memory, as the intake does */
	wait_for(engine, submit(engine, make_for_tokens(GLM_LOGITS, tokens, 1)));
	for (int beside = 0; beside < 2; beside++)
	{
		int		other = beside ? submit_own(engine, &best_tokens, tokens, N_TOKENS, 0) : -1;
		int		ticket = submit_own(engine, &hidden_states, tokens, N_TOKENS, 0);
		answer *a = wait_for(engine, ticket);

		assert_int_equal(a->last.kind, GLM_EVENT_DONE);
		assert_int_equal(a->length, (N_TOKENS - FROM) * sizeof(*alone));
		if (!beside)
		{
			memcpy(alone, a->text, a->length);
			assert_int_not_equal(alone[0], alone[1]);
			continue;
		}
		assert_memory_equal(a->text, alone, a->length);
		wait_for(engine, other);
		assert_int_equal(answers[other].length, (N_TOKENS - FROM) * sizeof(int32_t));
	}
	glm_engine_close(engine);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_is_served_in_one_way),
		cmocka_unit_test(every_kind_is_served),
		cmocka_unit_test(results_of_all_positions),
		cmocka_unit_test(hidden_states_beside_logits),
	};

	return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}
