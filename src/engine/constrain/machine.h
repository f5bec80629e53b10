/*
 * machine.h - what a constraint is to a matcher: bytes that are allowed one after the other.
 *
 * A machine is what a constraint was compiled to: JSON beside a schema (json_step.c) or an
 * automaton over plain bytes (text_step.c).  It grows as it is used, in its own arena and
 * under its constraint's lock; what grows are caches, so that no answer depends on it.  A
 * state is a value of `state_size` bytes that may point into the arena it is stepped with:
 * copying it is enough to come back to it.  All functions here may leave by the escape of
 * either arena.
 */
#ifndef GLM_MACHINE_H
#define GLM_MACHINE_H

#include "engine/constrain/arena.h"
#include "engine/constrain/vocabulary.h"

typedef struct glm_machine glm_machine;

typedef struct glm_machine_kind
{
	size_t state_size;
	void (*start)(glm_machine *machine, glm_arena *walk, void *state);
	/* Goes on by a byte.  false: it may not come, and the state is of no more use. */
	bool (*step)(glm_machine *machine, glm_arena *walk, void *state, uint8_t byte);
	/* May the text end here? */
	bool (*ends)(glm_machine *machine, glm_arena *walk, const void *state);
	/*
	 * A short text that leads to an end, appended to *out; false: none was found within
	 * `steps` steps, of which *steps is reduced by those taken.
	 */
	bool (*complete)(glm_machine *machine, glm_arena *walk, const void *state, long *steps,
					 glm_buf *out);
	/*
	 * The tokens that may come next, by bytes alone: all bits are set anew, and ids that end
	 * an answer are the matcher's affair.  The same as trying step() on each, only faster;
	 * NULL: it would not be.
	 */
	void (*mask)(glm_machine *machine, glm_arena *walk, const void *state,
				 const glm_vocabulary *vocabulary, uint64_t *allowed);
	/* Copies to this arena what the state points to in others of walks.  NULL: nothing. */
	void (*move)(glm_machine *machine, glm_arena *to, void *state);
} glm_machine_kind;

/* Each kind's own machine begins with this. */
struct glm_machine
{
	const glm_machine_kind *kind;
	glm_arena			   *arena; /* what lasts as long as the constraint */
};

#endif /* GLM_MACHINE_H */
