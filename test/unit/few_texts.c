/*
 * few_texts.c - a machine of some texts.
 */
#include "few_texts.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST_TEXTS 16

typedef struct texts
{
	glm_machine machine;
	char	   *text[MOST_TEXTS];
	int			n;
} texts;

typedef struct letter
{
	struct letter *before;
	uint8_t		   byte;
	int			   count;
} letter;

typedef struct place
{
	unsigned in; /* those that begin so */
	int		 at; /* bytes of them */
	letter	*last;
} place;

size_t fx_growth;
int	   fx_made;

static void
start(glm_machine *machine, glm_arena *walk, void *state)
{
	(void) walk;
	*(place *) state = (place){.in = (1u << ((texts *) machine)->n) - 1};
}

static bool
step(glm_machine *machine, glm_arena *walk, void *state, uint8_t byte)
{
	texts  *t = (texts *) machine;
	place  *p = state;
	letter *last = GLM_NEW(walk, letter, 1);

	/* the list must be whole */
	if (p->last != NULL && p->last->count > 1)
		assert_int_equal(p->last->before->count, p->last->count - 1);
	*last = (letter){p->last, byte, p->last != NULL ? p->last->count + 1 : 1};
	p->last = last;
	glm_arena_get(machine->arena, fx_growth);
	for (int i = 0; i < t->n; i++)
		if (p->in >> i & 1 && (byte == '\0' || (uint8_t) t->text[i][p->at] != byte))
			p->in &= ~(1u << i);
	p->at++;
	if (p->in == 0)
		return false;
	if (byte == '~')
		glm_arena_fail(machine->arena, GLM_TOO_COMPLEX, "too much");
	for (int i = 0; i < t->n; i++)
		if (p->in >> i & 1 && strcmp(t->text[i] + p->at, "*") == 0)
			*p = (place){.in = (1u << t->n) - 1, .last = last};
	return true;
}

static bool
ends(glm_machine *machine, glm_arena *walk, const void *state)
{
	texts		*t = (texts *) machine;
	const place *p = state;

	(void) walk;
	for (int i = 0; i < t->n; i++)
		if (p->in >> i & 1 && t->text[i][p->at] == '\0')
			return true;
	return false;
}

/* The shortest of those that end. */
static bool
complete(glm_machine *machine, glm_arena *walk, const void *state, long *steps, glm_buf *out)
{
	texts		*t = (texts *) machine;
	const place *p = state;
	const char	*best = NULL, *loop = NULL;

	for (int i = 0; i < t->n; i++)
	{
		const char *left = t->text[i] + p->at;

		--*steps;
		if (!(p->in >> i & 1) || strchr(t->text[i], '!') != NULL)
			continue;
		if (left[strlen(left) - (*left != '\0')] == '*')
			loop = left;
		else if (best == NULL || strlen(left) < strlen(best))
			best = left;
	}
	if (best == NULL && loop != NULL)
	{
		place again;

		glm_buf_add(out, loop, strlen(loop) - 1);
		start(machine, walk, &again);
		return complete(machine, walk, &again, steps, out);
	}
	if (best != NULL)
		glm_buf_add(out, best, strlen(best));
	return best != NULL;
}

/* Only the last letter matters. */
static void
move(glm_machine *machine, glm_arena *to, void *state)
{
	place *p = state;

	(void) machine;
	if (p->last != NULL)
	{
		letter *last = GLM_NEW(to, letter, 1), *before = GLM_NEW(to, letter, 1);

		*last = *p->last;
		if (last->before != NULL)
		{
			*before = *last->before;
			last->before = before;
		}
		p->last = last;
	}
}

const glm_machine_kind fx_kind = {.state_size = sizeof(place),
								  .start = start,
								  .step = step,
								  .ends = ends,
								  .complete = complete,
								  .move = move};

glm_machine *
fx_make(glm_arena *arena, const glm_constraint_spec *spec)
{
	texts *t = GLM_NEW(arena, texts, 1);

	fx_made++;
	t->machine.kind = &fx_kind;
	t->machine.arena = arena;
	for (char *text = glm_arena_copy(arena, spec->text, spec->length);
		 text != NULL && *text != '\0';)
		t->text[t->n++] = strsep(&text, "\n");
	return &t->machine;
}

glm_constraint *
fx_open(const char *texts, const glm_vocabulary *vocabulary)
{
	glm_constraint_spec spec = {.kind = GLM_CHOICES, .text = texts, .length = strlen(texts)};
	glm_error			err;
	glm_constraint	   *constraint = glm_constraint_make(&spec, vocabulary, fx_make, &err);

	if (constraint == NULL)
		fail_msg("%s", err.message);
	return constraint;
}
