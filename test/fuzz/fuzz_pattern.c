/*
 * fuzz_pattern.c - any bytes as a pattern, and any others as a text that may match it.
 *
 * A NUL stands between the two.  What is accepted has to be UTF-8 without U+0000, the whole
 * has to be found within a longer text too, and what is found as a way to an end has to be
 * one.
 */
#include "fuzz.h"

#include <string.h>

#include "engine/constrain/text_machine.h"

#define ARENA_BYTES ((size_t) 64 << 20)
#define MOST_STEPS 20000 /* of the search for an end */

typedef struct trial
{
	glm_arena	arena, walk;
	const char *pattern, *text;
	size_t		pattern_length, text_length;
	glm_buf		way;
} trial;

static void
check_text(const char *text, size_t n)
{
	FUZZ_CHECK(glm_utf8_check(text, n) < 0 && (n == 0 || memchr(text, '\0', n) == NULL));
}

static bool
fits(const glm_component *component, int n, const char *text, size_t length)
{
	for (int i = 0; i < n; i++)
		if (glm_dfa_accepts(component[i].dfa, text, length) == component[i].negated)
			return false;
	return true;
}

/* From where the text stopped to an end. */
static void
try_way(trial *t, glm_machine *machine, void *state)
{
	long steps = MOST_STEPS;

	if (!machine->kind->complete(machine, &t->walk, state, &steps, &t->way))
		return;
	for (size_t i = 0; i < t->way.length; i++)
		FUZZ_CHECK(machine->kind->step(machine, &t->walk, state, (uint8_t) t->way.data[i]));
	FUZZ_CHECK(machine->kind->ends(machine, &t->walk, state));
}

/* May leave by the escape of an arena. */
static void
try_input(trial *t)
{
	glm_component whole[GLM_PATTERN_COMPONENTS];
	glm_component within[GLM_PATTERN_COMPONENTS];
	int			  n = glm_dfa_pattern(&t->arena, t->pattern, t->pattern_length, true, whole);
	int n_within = glm_dfa_pattern(&t->arena, t->pattern, t->pattern_length, false, within);
	glm_machine	  *machine = glm_text_machine_new(&t->arena, whole, n);
	glm_text_state at;
	glm_text_state next;
	bool		   alive = true;

	machine->kind->start(machine, &t->walk, &at);
	for (size_t i = 0; i < t->text_length && alive; i++)
	{
		next = at;
		alive = machine->kind->step(machine, &t->walk, &next, (uint8_t) t->text[i]);
		if (alive)
			at = next;
		if (alive && machine->kind->ends(machine, &t->walk, &at))
		{
			check_text(t->text, i + 1);
			FUZZ_CHECK(fits(whole, n, t->text, i + 1));
			FUZZ_CHECK(fits(within, n_within, t->text, i + 1));
		}
	}
	FUZZ_CHECK(alive || !fits(whole, n, t->text, t->text_length));
	try_way(t, machine, &at);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static trial   t;
	jmp_buf		   escape;
	glm_error	   err;
	const uint8_t *end = size > 0 ? memchr(data, '\0', size) : NULL;

	t = (trial){.pattern = (const char *) data, .pattern_length = size};
	if (end != NULL)
	{
		t.pattern_length = (size_t) (end - data);
		t.text = (const char *) end + 1;
		t.text_length = size - t.pattern_length - 1;
	}
	glm_arena_init(&t.arena, ARENA_BYTES);
	glm_arena_init(&t.walk, ARENA_BYTES);
	t.arena.escape = t.walk.escape = &escape;
	t.arena.err = t.walk.err = &err;
	if (setjmp(escape) == 0)
		try_input(&t);
	glm_arena_free(&t.walk);
	glm_arena_free(&t.arena);
	glm_buf_free(&t.way);
	return 0;
}
