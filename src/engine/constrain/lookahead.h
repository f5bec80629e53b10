/*
 * lookahead.h - lookaheads in the middle of a pattern.
 *
 * Behind a lookahead a thread has duties: automata that what is still to come has to fit or
 * must not.  Sets of them are kept once each, by number; 0 is no duty.
 */
#ifndef GLM_LOOKAHEAD_H
#define GLM_LOOKAHEAD_H

#include "engine/constrain/dfa.h"
#include "engine/constrain/intern.h"

typedef struct glm_duty glm_duty;

typedef struct glm_duties
{
	glm_arena			*arena;
	const glm_component *look; /* the lookaheads of a pattern */
	glm_duty			*duty;
	int					 n, capacity;
	glm_intern			 index;
} glm_duties;

#define GLM_DUTY_BROKEN -1

/* The duties and a lookahead's, which begins here in this state of its automaton. */
extern int	glm_duty_with(glm_duties *duties, int duty, int look, int state);
/* What is left of them behind a byte. */
extern int	glm_duty_next(glm_duties *duties, int duty, uint8_t byte);
/* May the text end here, by its duties? */
extern bool glm_duty_ends(glm_duties *duties, int duty);
/* Is a lookahead that begins in this state fulfilled by an end of the text? */
extern bool glm_look_ends(const glm_component *look, int state);

#endif /* GLM_LOOKAHEAD_H */
