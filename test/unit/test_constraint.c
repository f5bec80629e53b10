/*
 * test_constraint.c - constraints of each kind, shared and kept.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "few_tokens.h"
#include "engine/constrain/matcher_parts.h"

static const char *const piece[] = {
	"{\"",	"\": ", "\": \"", "\", \"", "\"}", "}",		  ", ",
	"name", "na",	"age",	  "[",		"]",   "12",	  "3",
	"true", "ab",	"abc",	  "null",	"],",  "},",	  "x\", \"age\": ",
	"add",	"\n{",	"search", "\n",		" ",   "\xc3\xa9"};
#define N_PIECES ((int) (sizeof(piece) / sizeof(piece[0])))
#define MOST_WORDS 8

static const char person[] =
	"{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 9}, "
	"\"age\": {\"type\": \"integer\", \"minimum\": 3, \"maximum\": 123}, "
	"\"tags\": {\"type\": \"array\", \"items\": {\"type\": \"string\", \"pattern\": "
	"\"^[a-c]{2,}x?$\"}}}, "
	"\"required\": [\"name\", \"age\"], \"additionalProperties\": false}";

static glm_vocabulary *vocabulary;

static int
open_vocabulary(void **state)
{
	(void) state;
	vocabulary = ft_open(piece, N_PIECES);
	return glm_vocabulary_words(vocabulary) <= MOST_WORDS ? 0 : -1;
}

static int
close_vocabulary(void **state)
{
	(void) state;
	glm_vocabulary_close(vocabulary);
	return 0;
}

static glm_constraint *
constrain(glm_constraint_kind kind, const char *text)
{
	glm_constraint_spec spec = {.kind = kind, .text = text, .length = strlen(text)};
	glm_error			err;
	glm_constraint	   *constraint = glm_constraint_open(&spec, vocabulary, &err);

	if (constraint == NULL)
		fail_msg("%s", err.message);
	return constraint;
}

static glm_matcher *
match(glm_constraint *constraint, int max_tokens)
{
	glm_error	 err;
	glm_matcher *matcher = glm_matcher_open(constraint, NULL, 0, max_tokens, &err);

	if (matcher == NULL)
		fail_msg("%s", err.message);
	return matcher;
}

/* ---- Writing answers ------------------------------------------------------------------------- */

static unsigned
draw(unsigned *random)
{
	*random = *random * 1103515245 + 12345;
	return *random >> 8;
}

/* Is the mask what the bytes of each token say? */
static void
check_mask(glm_matcher *m, const uint64_t *allowed)
{
	const glm_machine_kind *kind = m->constraint->machine->kind;
	glm_constraint		   *c = m->constraint;
	jmp_buf					escape;
	glm_error				err;

	c->arena.escape = m->walk.escape = &escape;
	c->arena.err = m->walk.err = &err;
	if (setjmp(escape) != 0)
		fail_msg("%s", err.message);
	for (int32_t token = 0; token < FT_PIECE(N_PIECES); token++)
	{
		glm_arena_mark mark = glm_arena_here(&m->walk);
		glm_place	  *place = glm_arena_get(&m->walk, m->place_size);
		size_t		   n;
		const char	  *bytes = glm_vocabulary_bytes(vocabulary, token, &n);
		bool		   fits = n > 0;

		memcpy(place, m->place, m->place_size);
		for (size_t i = 0; fits && i < n; i++)
			fits = kind->step(c->machine, &m->walk, place->state, (uint8_t) bytes[i]);
		glm_arena_back(&m->walk, mark);
		if (fits != glm_mask_has(allowed, token) && token != FT_END && token != FT_END + 1)
			fail_msg("behind %s token %d \"%.*s\" is %s", m->answer.data, token, (int) n, bytes,
					 fits ? "refused" : "allowed");
	}
}

/* A random answer of at most so many tokens into *out; checks each mask. */
static void
write_answer(glm_matcher *m, unsigned random, int most, bool check, glm_buf *out)
{
	int tokens = 0;

	for (bool ended = false; !ended; tokens++)
	{
		uint64_t	allowed[MOST_WORDS];
		int32_t		token = -1;
		size_t		n;
		const char *bytes;

		glm_matcher_mask(m, allowed);
		if (check)
			check_mask(m, allowed);
		for (int tries = 0; tries < 200 && token < 0; tries++)
		{
			int32_t drawn = (int32_t) (draw(&random) % FT_PIECE(N_PIECES));

			if (glm_mask_has(allowed, drawn) && glm_matcher_allows(m, drawn))
				token = drawn;
		}
		if (token < 0)
			token = glm_matcher_way_out(m);
		assert_true(glm_matcher_allows(m, token));
		bytes = glm_vocabulary_bytes(vocabulary, token, &n);
		glm_buf_add(out, bytes, n);
		ended = token == FT_END || token == FT_END + 1;
		glm_matcher_take(m, token);
	}
	assert_true(tokens <= most);
}

static void
answers_of_a_schema_end_and_masks_are_exact(void **state)
{
	glm_constraint *c = constrain(GLM_JSON_SCHEMA, person);
	glm_buf			answer = {0};

	(void) state;
	for (unsigned walk = 0; walk < 40; walk++)
	{
		int			 most = 12 + (int) walk;
		glm_matcher *m = match(c, most);

		answer.length = 0;
		write_answer(m, walk, most, walk < 10, &answer);
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
	glm_constraint *c = constrain(GLM_JSON_OBJECT, "");
	glm_matcher	   *m = match(c, 3);
	uint64_t		allowed[MOST_WORDS];

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

/* ---- Calls of tools -------------------------------------------------------------------------- */

static void
a_call_is_a_name_and_its_arguments(void **state)
{
	static const char tools[] =
		"[{\"name\": \"search\", \"parameters\": {\"properties\": {\"name\": {\"const\": \"ab\"}}, "
		"\"required\": [\"name\"], \"additionalProperties\": false}}, "
		"{\"name\": \"add\", \"parameters\": {}}, {\"name\": \"address\", \"parameters\": true}]";
	glm_constraint *c = constrain(GLM_TOOL_CALL, tools);
	glm_matcher	   *m = match(c, 30);
	uint64_t		allowed[MOST_WORDS];
	int32_t			forced[20];
	glm_buf			answer = {0};
	int				n;

	(void) state;
	glm_matcher_mask(m, allowed);
	check_mask(m, allowed);
	for (int32_t token = FT_PIECE(0); token < FT_PIECE(N_PIECES); token++)
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
		const char *bytes = glm_vocabulary_bytes(vocabulary, forced[i], &length);

		glm_buf_add(&answer, bytes, length);
		assert_true(glm_matcher_allows(m, forced[i]));
		glm_matcher_take(m, forced[i]);
	}
	assert_string_equal(answer.data, "earch\n{\"name\": \"ab\"}");
	assert_true(glm_matcher_must_end(m));
	glm_matcher_close(m);

	for (unsigned walk = 0; walk < 20; walk++)
	{
		m = match(c, 20);
		answer.length = 0;
		write_answer(m, walk, 20, walk < 5, &answer);
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

	assert_null(glm_constraint_open(&spec, vocabulary, &err));
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
	assert_null(glm_constraint_open(&spec, vocabulary, &err));
	glm_pause_with(NULL, NULL);
	assert_int_equal(err.status, GLM_CANCELLED);
	glm_buf_free(&text);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void
a_machine_made_anew_goes_on(void **state)
{
	glm_constraint *c = constrain(GLM_JSON_SCHEMA, person),
				   *anew = constrain(GLM_JSON_SCHEMA, person);
	unsigned random = 1;

	(void) state;
	for (int walk = 0; walk < 20; walk++)
	{
		glm_matcher *one = match(c, 40), *other = match(anew, 40);

		while (!glm_matcher_must_end(one))
		{
			uint64_t allowed[2][MOST_WORDS] = {{0}};
			int32_t	 token = (int32_t) (draw(&random) % FT_PIECE(N_PIECES));

			glm_matcher_mask(one, allowed[0]);
			glm_matcher_mask(other, allowed[1]);
			assert_memory_equal(allowed[0], allowed[1], sizeof(allowed[0]));
			while (!glm_mask_has(allowed[0], token) || !glm_matcher_allows(one, token))
				token = (int32_t) (draw(&random) % FT_PIECE(N_PIECES));
			if (token == FT_END || token == FT_END + 1)
				continue;
			glm_matcher_take(one, token);
			glm_matcher_take(other, token);
			assert_int_equal(glm_matcher_way_out(one), glm_matcher_way_out(other));
			/* as if another answer had filled it */
			assert_true(glm_constraint_compile(anew, &(glm_error){0}));
		}
		assert_true(glm_matcher_must_end(other));
		glm_matcher_close(one);
		glm_matcher_close(other);
	}
	glm_constraint_release(c);
	glm_constraint_release(anew);
}

static void
write_text(glm_matcher *m, const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (!glm_matcher_allows(m, FT_BYTE(*text)))
			fail_msg("refused: %s", text);
		glm_matcher_take(m, FT_BYTE(*text));
	}
}

static void
a_long_answer_keeps_what_it_needs(void **state)
{
	glm_constraint *c = constrain(
		GLM_JSON_SCHEMA, "{\"type\": \"array\", \"uniqueItems\": true, \"minItems\": 2, \"items\": "
						 "{\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"integer\"}}, "
						 "\"required\": [\"n\"]}}");
	glm_matcher *m = match(c, 1 << 20);
	char		 item[40];

	(void) state;
	for (int i = 0; i < 20000; i++)
	{
		snprintf(item, sizeof(item), "%s{\"n\": %d}", i > 0 ? ", " : "[", i);
		write_text(m, item);
	}
	assert_false(m->blind);
	assert_true(m->settled > 0);
	/* the nodes of 20,000 hashes, and little more */
	assert_in_range(m->walk.used, 1, 8 << 20);
	write_text(m, ", {\"n\": 7");
	assert_false(glm_matcher_allows(m, FT_BYTE('}')));
	write_text(m, "7777777}]");
	assert_true(glm_matcher_must_end(m));
	glm_matcher_close(m);
	glm_constraint_release(c);
}

/* ---- Sharing --------------------------------------------------------------------------------- */

#define THREADS 4

typedef struct writer
{
	glm_constraint *constraint;
	unsigned		random;
	glm_buf			answers;
} writer;

static void *
write_some(void *arg)
{
	writer *w = arg;

	for (unsigned i = 0; i < 20; i++)
	{
		glm_matcher *m = match(w->constraint, 60);

		write_answer(m, w->random + i, 60, false, &w->answers);
		glm_matcher_close(m);
	}
	return NULL;
}

static void
answers_are_the_same_whoever_shares(void **state)
{
	writer	  alone[THREADS] = {{0}}, shared[THREADS] = {{0}};
	pthread_t thread[THREADS];

	(void) state;
	for (unsigned i = 0; i < THREADS; i++)
	{
		alone[i] = (writer){.constraint = constrain(GLM_JSON_SCHEMA, person), .random = 1000 * i};
		write_some(&alone[i]);
		glm_constraint_release(alone[i].constraint);
	}
	shared[0].constraint = constrain(GLM_JSON_SCHEMA, person);
	for (unsigned i = 0; i < THREADS; i++)
	{
		shared[i] = (writer){.constraint = shared[0].constraint, .random = 1000 * i};
		assert_int_equal(pthread_create(&thread[i], NULL, write_some, &shared[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
	{
		pthread_join(thread[i], NULL);
		assert_int_equal(shared[i].answers.length, alone[i].answers.length);
		assert_memory_equal(shared[i].answers.data, alone[i].answers.data, alone[i].answers.length);
		glm_buf_free(&shared[i].answers);
		glm_buf_free(&alone[i].answers);
	}
	glm_constraint_release(shared[0].constraint);
}

/* ---- The cache ------------------------------------------------------------------------------- */

static glm_constraint *
get(glm_constraints *cache, const char *text, glm_property_order order)
{
	glm_constraint_spec spec = {
		.kind = GLM_JSON_SCHEMA, .order = order, .text = text, .length = strlen(text)};
	glm_constraint *c = glm_constraints_get(cache, &spec, vocabulary, NULL);

	assert_non_null(c);
	/* the cache keeps its own, as long as it does */
	glm_constraint_release(c);
	return c;
}

static void
constraints_are_kept_by_what_they_are(void **state)
{
	glm_constraints *cache = glm_constraints_open(64 << 20);
	glm_constraint	*one = get(cache, person, GLM_ORDER_STRICT);
	glm_error		 err;

	(void) state;
	assert_ptr_equal(get(cache, person, GLM_ORDER_STRICT), one);
	assert_ptr_not_equal(get(cache, person, GLM_ORDER_ANY), one);
	assert_ptr_not_equal(get(cache, "{}", GLM_ORDER_STRICT), one);
	assert_ptr_equal(get(cache, person, GLM_ORDER_STRICT), one);
	assert_null(glm_constraints_get(
		cache, &(glm_constraint_spec){.kind = GLM_JSON_SCHEMA, .text = "1", .length = 1},
		vocabulary, &err));
	assert_int_equal(err.status, GLM_BAD_ARGUMENT);
	glm_constraint_keep(one);
	glm_constraints_forget(cache, vocabulary);
	assert_ptr_not_equal(get(cache, person, GLM_ORDER_STRICT), one);
	glm_constraint_release(one);
	glm_constraints_close(cache);
}

static void
the_oldest_go_first(void **state)
{
	/* room for one and half another */
	glm_constraint	*probe = constrain(GLM_JSON_SCHEMA, "{}");
	glm_constraints *cache = glm_constraints_open(atomic_load(&probe->bytes) * 5 / 2);
	glm_constraint	*first, *second;

	(void) state;
	glm_constraint_release(probe);
	first = get(cache, "{}", GLM_ORDER_STRICT);
	glm_constraint_keep(first);
	second = get(cache, "{ }", GLM_ORDER_STRICT);
	glm_constraint_keep(second);
	assert_ptr_equal(get(cache, "{}", GLM_ORDER_STRICT), first);
	get(cache, "{  }", GLM_ORDER_STRICT);
	assert_ptr_equal(get(cache, "{}", GLM_ORDER_STRICT), first);
	assert_ptr_not_equal(get(cache, "{ }", GLM_ORDER_STRICT), second);
	glm_constraint_release(first);
	glm_constraint_release(second);
	glm_constraints_close(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_of_a_schema_end_and_masks_are_exact),
		cmocka_unit_test(a_json_object_is_any_object),
		cmocka_unit_test(a_call_is_a_name_and_its_arguments),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(compiling_can_be_ended),
		cmocka_unit_test(a_machine_made_anew_goes_on),
		cmocka_unit_test(a_long_answer_keeps_what_it_needs),
		cmocka_unit_test(answers_are_the_same_whoever_shares),
		cmocka_unit_test(constraints_are_kept_by_what_they_are),
		cmocka_unit_test(the_oldest_go_first),
	};

	return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
