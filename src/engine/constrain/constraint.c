/*
 * constraint.c - what is shared by all answers that have to be the same.
 *
 * The limit of a constraint's memory is one of its caches too: a machine that has grown to
 * it is thrown away and compiled anew, and each matcher steps through its answer again when
 * it comes next.  So memory never changes an answer.
 *
 * Locks: `lock` is held while the machine works, be it for compute threads that share the
 * constraint, and nobody pauses who has it (matcher_work.c): the engine thread may wait for
 * it.  What is set before glm_constraint_make() returns is read without it.
 */
#include "engine/constrain/constraint.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_STEPS 400000			   /* of the search for an end at compile time */
#define SCRATCH_BYTES ((size_t) 65536) /* that stay */

/* ---- Work that may leave --------------------------------------------------------------------- */

static void
arm(glm_constraint *c, jmp_buf *escape)
{
	c->arena.escape = c->scratch.escape = escape;
	if (c->walk != NULL)
		c->walk->escape = escape;
}

bool
glm_constraint_attempt(glm_constraint *constraint, glm_arena *walk, void (*work)(void *arg),
					   void *arg, glm_error *err)
{
	jmp_buf escape;

	constraint->walk = walk;
	constraint->arena.err = constraint->scratch.err = err;
	if (walk != NULL)
		walk->err = err;
	arm(constraint, &escape);
	constraint->scratch.full = false;
	glm_arena_back(&constraint->scratch, constraint->clean);
	if (setjmp(escape) != 0)
		return false;
	work(arg);
	atomic_store(&constraint->bytes, constraint->arena.used + constraint->scratch.used);
	return true;
}

bool
glm_constraint_step(glm_constraint *constraint, glm_arena *walk, void *state, uint8_t byte)
{
	jmp_buf	 escape;
	jmp_buf *outer = constraint->arena.escape;
	bool	 may_come;

	arm(constraint, &escape);
	if (setjmp(escape) == 0)
	{
		may_come = constraint->machine->kind->step(constraint->machine, walk, state, byte);
		arm(constraint, outer);
		return may_come;
	}
	arm(constraint, outer);
	/* that there is no memory says nothing of the byte */
	if (constraint->arena.full || constraint->arena.err->status != GLM_TOO_COMPLEX)
		longjmp(*outer, 1);
	return false;
}

/* ---- Compiling ------------------------------------------------------------------------------- */

static void
make_machine(void *arg)
{
	glm_constraint *c = arg;

	if (c->scratch.last == NULL)
	{
		glm_arena_get(&c->scratch, SCRATCH_BYTES);
		c->clean = glm_arena_here(&c->scratch);
		c->clean.at = 0;
	}
	c->machine = c->make(&c->arena, &c->spec);
}

bool
glm_constraint_compile(glm_constraint *constraint, glm_error *err)
{
	glm_arena_free(&constraint->arena);
	glm_arena_init(&constraint->arena, GLM_CONSTRAINT_BYTES);
	constraint->machine = NULL;
	constraint->generation++;
	return glm_constraint_attempt(constraint, NULL, make_machine, constraint, err);
}

static void
search_way(void *arg)
{
	glm_constraint		   *c = arg;
	const glm_machine_kind *kind = c->machine->kind;
	void				   *state = glm_arena_get(&c->scratch, kind->state_size);
	long					steps = FIRST_STEPS;

	c->state_size = kind->state_size;
	kind->start(c->machine, &c->scratch, state);
	c->ends = kind->complete(c->machine, &c->scratch, state, &steps, &c->way.bytes);
}

/* Finds the way from the start.  A search that fills its memory has found none. */
static bool
find_way(glm_constraint *c, glm_error *err)
{
	bool is_text = c->spec.kind == GLM_CHOICES || c->spec.kind == GLM_REGEX;

	if (!glm_constraint_attempt(c, NULL, search_way, c, err) && !c->scratch.full)
		return false;
	if (!c->ends)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						is_text ? "no text was found that matches the pattern"
								: "no value was found that satisfies the schema");
	return glm_way_count(&c->way, c->vocabulary, err);
}

glm_constraint *
glm_constraint_make(const glm_constraint_spec *spec, const glm_vocabulary *vocabulary,
					glm_machine_maker *make, glm_error *err)
{
	glm_constraint *c = calloc(1, sizeof(*c));

	if (c == NULL || (c->text = malloc(spec->length + 1)) == NULL)
	{
		free(c);
		glm_no_memory(err);
		return NULL;
	}
	if (spec->length > 0)
		memcpy(c->text, spec->text, spec->length);
	c->text[spec->length] = '\0';
	c->spec = *spec;
	c->spec.text = c->text;
	c->vocabulary = vocabulary;
	c->make = make;
	atomic_init(&c->references, 1);
	pthread_mutex_init(&c->lock, NULL);
	glm_arena_init(&c->scratch, GLM_CONSTRAINT_BYTES);
	if (glm_constraint_compile(c, err) && find_way(c, err))
		return c;
	glm_constraint_release(c);
	return NULL;
}

void
glm_constraint_keep(glm_constraint *constraint)
{
	atomic_fetch_add(&constraint->references, 1);
}

void
glm_constraint_release(glm_constraint *constraint)
{
	if (constraint == NULL || atomic_fetch_sub(&constraint->references, 1) > 1)
		return;
	pthread_mutex_destroy(&constraint->lock);
	glm_arena_free(&constraint->arena);
	glm_arena_free(&constraint->scratch);
	glm_way_free(&constraint->way);
	free(constraint->text);
	free(constraint);
}
