/*
 * text_machine.h - plain texts: one of some choices, what a pattern matches.
 */
#ifndef GLM_TEXT_MACHINE_H
#define GLM_TEXT_MACHINE_H

#include "engine/constrain/dfa.h"
#include "engine/constrain/machine.h"

/*
 * Texts that fit all n components, 1 to GLM_PATTERN_COMPONENTS, at least one of which is not
 * negated and of the whole text: literals or an anchored pattern.  So no text has U+0000 or
 * is no UTF-8.
 */
extern glm_machine *glm_text_machine_new(glm_arena *arena, const glm_component *component, int n);

/* ---- From inside ---------------------------------------------------------------------------- */

typedef struct glm_text_masks glm_text_masks;

typedef struct glm_text_machine
{
	glm_machine		machine;
	glm_component	component[GLM_PATTERN_COMPONENTS];
	int				n;
	glm_text_masks *masks; /* text_mask.c: those that were made */
} glm_text_machine;

/* The states of all components; those there are none of are 0. */
typedef struct glm_text_state
{
	int at[GLM_PATTERN_COMPONENTS];
} glm_text_state;

/* What components ask for, together. */
typedef struct glm_text_outlook
{
	bool ends;
	int	 points; /* code points to an end, or fewer than it takes */
	int	 sum;	 /* of those of each component */
} glm_text_outlook;

/* text_step.c.  false: the byte leads to where there is no end. */
extern bool glm_text_step(const glm_text_machine *text, glm_text_state *state, uint8_t byte);
extern glm_text_outlook glm_text_look(const glm_text_machine *text, const glm_text_state *state);
/* text_search.c: the machine's complete() */
extern bool glm_text_complete(glm_machine *machine, glm_arena *walk, const void *state, long *steps,
							  glm_buf *out);
/* text_mask.c: the machine's mask() */
extern void glm_text_mask(glm_machine *machine, glm_arena *walk, const void *state,
						  const glm_vocabulary *vocabulary, uint64_t *allowed);

#endif /* GLM_TEXT_MACHINE_H */
