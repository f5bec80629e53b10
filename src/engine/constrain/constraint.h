/*
 * constraint.h - a constraint from inside.
 *
 * Whoever works with its machine holds the lock and is inside of glm_constraint_attempt(),
 * the one place that the machine and the arenas leave to when they cannot go on.  The
 * machine grows while it is used; when it is full it is compiled anew, which ends the
 * `generation` of all states that point into it.
 */
#ifndef GLM_CONSTRAINT_H
#define GLM_CONSTRAINT_H

#include <pthread.h>

#include "engine/constrain/constrain.h"
#include "engine/constrain/machine.h"
#include "engine/constrain/way.h"

#define GLM_CONSTRAINT_BYTES ((size_t) 64 << 20) /* of one machine, of a walk, of scratch */

/* Makes the machine that a spec asks for; leaves by the arena's escape. */
typedef glm_machine *glm_machine_maker(glm_arena *arena, const glm_constraint_spec *spec);

struct glm_constraint
{
	glm_constraint_spec	  spec;
	char				 *text; /* of the spec, with a NUL behind it */
	const glm_vocabulary *vocabulary;
	glm_machine_maker	 *make;
	bool				  ends;		  /* a way was found */
	glm_way				  way;		  /* from the start to an end */
	size_t				  state_size; /* of its machines */
	atomic_int			  references;
	atomic_size_t		  bytes; /* of memory, as it was after the last work */

	pthread_mutex_t lock; /* of all below */
	glm_arena		arena;
	glm_machine	   *machine;	/* NULL: it could not be compiled anew */
	uint64_t		generation; /* counts how often it was compiled */
	glm_arena		scratch;	/* of the work that runs */
	glm_arena_mark	clean;		/* its beginning */
	glm_arena	   *walk;		/* of who works, or NULL */
};

/* glm_constraint_open() with any maker. */
extern glm_constraint *glm_constraint_make(const glm_constraint_spec *spec,
										   const glm_vocabulary		 *vocabulary,
										   glm_machine_maker *make, glm_error *err);
extern bool			   glm_constraint_compile(glm_constraint *constraint, glm_error *err);

/*
 * Calls work(arg), which may leave at any place; false and *err: it did.  `walk`, or NULL, is
 * an arena of the caller that it uses too.  What lay in `scratch` is given back before.
 */
extern bool glm_constraint_attempt(glm_constraint *constraint, glm_arena *walk,
								   void (*work)(void *arg), void *arg, glm_error *err);
/*
 * Inside of work(): a step of the machine.  Where that leaves because of what the byte leads
 * to, the byte may not come.
 */
extern bool glm_constraint_step(glm_constraint *constraint, glm_arena *walk, void *state,
								uint8_t byte);

#endif /* GLM_CONSTRAINT_H */
