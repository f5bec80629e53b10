/*
 * fuzz_constrain.c - any bytes as a schema, and any others as an answer to it.
 *
 * The first byte chooses order and white space; a NUL stands between schema and answer.  What
 * the machine accepts as an end has to be JSON, and what it finds as a way to one has to be
 * a way to one.
 */
#include "fuzz.h"

#include <string.h>

#include "engine/base/json.h"
#include "engine/constrain/json_machine.h"

#define ARENA_BYTES ((size_t) 64 << 20)
#define MOST_STEPS 20000 /* of the search for an end */

/* One input: what is compiled, and the text that was accepted so far. */
typedef struct trial
{
	glm_arena	   arena, walk;
	glm_machine	  *machine;
	void		  *state;
	const uint8_t *schema, *answer;
	size_t		   schema_length, answer_length;
	uint8_t		   options;
	glm_buf		   text;
	glm_buf		   way;
} trial;

static void
check_end(trial *t)
{
	json_error_t why;
	json_t		*value;

	if (!t->machine->kind->ends(t->machine, &t->walk, t->state))
		return;
	value = glm_json_parse(t->text.data, t->text.length, false, &why);
	FUZZ_CHECK(value != NULL);
	glm_json_free(value);
}

static bool
step(trial *t, uint8_t byte)
{
	if (!t->machine->kind->step(t->machine, &t->walk, t->state, byte))
		return false;
	glm_buf_add(&t->text, &byte, 1);
	return true;
}

/* May leave by the escape of an arena. */
static void
try_input(trial *t)
{
	glm_schema *schema = glm_schema_compile(
		&t->arena, glm_value_read(&t->arena, (const char *) t->schema, t->schema_length));

	t->machine =
		glm_json_machine(&t->arena, schema, t->options & 1 ? GLM_ORDER_ANY : GLM_ORDER_STRICT,
						 (glm_json_space) (t->options / 2 % 3));
	t->state = glm_arena_get(&t->walk, t->machine->kind->state_size);
	t->machine->kind->start(t->machine, &t->walk, t->state);
	for (size_t i = 0; i < t->answer_length && step(t, t->answer[i]); i++)
		check_end(t);
}

/* From where the answer stopped: a refused byte leaves no state, so it is read anew up to there. */
static void
try_way(trial *t)
{
	long   steps = MOST_STEPS;
	size_t taken = t->text.length;

	t->text.length = 0;
	t->machine->kind->start(t->machine, &t->walk, t->state);
	for (size_t i = 0; i < taken; i++)
		FUZZ_CHECK(step(t, t->answer[i]));
	if (!t->machine->kind->complete(t->machine, &t->walk, t->state, &steps, &t->way))
		return;
	for (size_t i = 0; i < t->way.length; i++)
		FUZZ_CHECK(step(t, (uint8_t) t->way.data[i]));
	FUZZ_CHECK(t->machine->kind->ends(t->machine, &t->walk, t->state));
	check_end(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static trial   t;
	jmp_buf		   escape;
	glm_error	   err;
	const uint8_t *end = size > 1 ? memchr(data + 1, '\0', size - 1) : NULL;

	if (size < 2)
		return 0;
	t = (trial){.options = data[0], .schema = data + 1};
	t.schema_length = end != NULL ? (size_t) (end - t.schema) : size - 1;
	t.answer = end != NULL ? end + 1 : data + size;
	t.answer_length = (size_t) (data + size - t.answer);
	glm_arena_init(&t.arena, ARENA_BYTES);
	glm_arena_init(&t.walk, ARENA_BYTES);
	t.arena.escape = t.walk.escape = &escape;
	t.arena.err = t.walk.err = &err;
	if (setjmp(escape) == 0)
	{
		try_input(&t);
		try_way(&t);
	}
	glm_arena_free(&t.walk);
	glm_arena_free(&t.arena);
	glm_buf_free(&t.text);
	glm_buf_free(&t.way);
	return 0;
}
