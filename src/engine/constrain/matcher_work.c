/*
 * matcher_work.c - a matcher's place in the machine of its constraint.
 *
 * The place is only as good as the machine: when that was compiled anew, the bytes of the
 * answer lead there again.
 */
#include "engine/constrain/matcher_parts.h"

#include <string.h>

/* Goes to the place that the answer leads to. */
static void
find_place(glm_matcher *m)
{
	glm_constraint *c = m->constraint;
	glm_place	   *place = glm_arena_get(&c->scratch, m->place_size);

	m->generation = 0;
	m->settled = 0;
	glm_arena_back(&m->walk, (glm_arena_mark){0});
	c->machine->kind->start(c->machine, &m->walk, place->state);
	for (size_t i = 0; i < m->answer.length; i++)
		if (!glm_matcher_advance(m, place, (uint8_t) m->answer.data[i]))
			glm_arena_fail(&m->walk, GLM_INTERNAL, "an answer that was allowed is refused");
	memcpy(m->place, place, m->place_size);
	m->generation = c->generation;
}

/* What glm_constraint_attempt() carries. */
typedef struct task
{
	glm_matcher *m;
	void (*work)(glm_matcher *m, void *arg);
	void *arg;
} task;

static void
do_task(void *arg)
{
	task *t = arg;

	if (t->m->generation != t->m->constraint->generation)
		find_place(t->m);
	t->work(t->m, t->arg);
}

bool
glm_matcher_work(glm_matcher *m, void (*work)(glm_matcher *m, void *arg), void *arg)
{
	glm_constraint *c = m->constraint;
	task			t = {m, work, arg};
	glm_error		err;
	bool			done;

	pthread_mutex_lock(&c->lock);
	glm_pause_hold(); /* of tokenizers and of what compiles, too */
	done = (c->machine != NULL || glm_constraint_compile(c, &err)) &&
		   glm_constraint_attempt(c, &m->walk, do_task, &t, &err);
	if (!done && c->arena.full)
		done = glm_constraint_compile(c, &err) &&
			   glm_constraint_attempt(c, &m->walk, do_task, &t, &err);
	glm_pause_release();
	pthread_mutex_unlock(&c->lock);
	return done;
}

glm_place *
glm_matcher_place(glm_matcher *m)
{
	glm_place *place = glm_arena_get(&m->constraint->scratch, m->place_size);

	return memcpy(place, m->place, m->place_size);
}

static bool
step_prefix(const glm_matcher *m, glm_place *place, uint8_t byte)
{
	return (uint8_t) m->prefix.data[place->written++] == byte;
}

bool
glm_matcher_step(glm_matcher *m, glm_place *place, uint8_t byte)
{
	if (place->written < m->prefix.length)
		return step_prefix(m, place, byte);
	return glm_constraint_step(m->constraint, &m->constraint->scratch, place->state, byte);
}

bool
glm_matcher_advance(glm_matcher *m, glm_place *place, uint8_t byte)
{
	glm_machine *machine = m->constraint->machine;

	if (place->written < m->prefix.length)
		return step_prefix(m, place, byte);
	return machine->kind->step(machine, &m->walk, place->state, byte);
}

bool
glm_matcher_walk_step(void *matcher, void *place, uint8_t byte)
{
	return glm_matcher_step(matcher, place, byte);
}

bool
glm_matcher_ends(glm_matcher *m, const glm_place *place)
{
	glm_constraint *c = m->constraint;

	return place->written == m->prefix.length &&
		   c->machine->kind->ends(c->machine, &c->scratch, place->state);
}

bool
glm_matcher_goes_on(glm_matcher *m, const glm_place *place, int but)
{
	glm_machine	  *machine = m->constraint->machine;
	glm_arena	  *scratch = &m->constraint->scratch;
	glm_place	  *trial = glm_arena_get(scratch, m->place_size);
	uint64_t	   may[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	glm_arena_mark mark;
	bool		   found = false;

	if (place->written < m->prefix.length)
		return (uint8_t) m->prefix.data[place->written] != but;
	if (machine->kind->narrow != NULL)
		machine->kind->narrow(machine, scratch, place->state, may);
	mark = glm_arena_here(scratch);
	/* printing characters first, as one of them mostly is */
	for (int i = ' '; i < ' ' + 256 && !found; i++)
	{
		if ((i & 255) == but || !(may[(i & 255) / 64] >> i % 64 & 1))
			continue;
		memcpy(trial, place, m->place_size);
		found = glm_matcher_step(m, trial, (uint8_t) i);
		glm_arena_back(scratch, mark);
	}
	return found;
}
