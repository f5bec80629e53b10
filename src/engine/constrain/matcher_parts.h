/*
 * matcher_parts.h - a matcher from inside.
 */
#ifndef GLM_MATCHER_PARTS_H
#define GLM_MATCHER_PARTS_H

#include <stddef.h>

#include "engine/constrain/constraint.h"

/* How far the bytes of an answer are. */
typedef struct glm_place
{
	size_t written;						/* bytes of the matcher's prefix */
	_Alignas(max_align_t) char state[]; /* of the machine; before the prefix ends, its start */
} glm_place;

/* What back() goes back to. */
typedef struct glm_matcher_past
{
	bool		   set;
	bool		   ended, blind;
	int			   left;
	size_t		   length; /* of the answer */
	uint64_t	   generation;
	glm_arena_mark walk;
	glm_place	  *place;
	bool		   left_way; /* a detour was taken since, */
	glm_way		   way;		 /* from this one, which else is still the matcher's */
	size_t		   at;		 /* where on it */
} glm_matcher_past;

struct glm_matcher
{
	glm_constraint *constraint;
	glm_buf			prefix;
	int				left;	/* tokens that may still be taken */
	bool			ended;	/* a token that ends answers was taken */
	bool			blind;	/* the machine gave up: the rest of the answer is its known way */
	glm_buf			answer; /* its bytes so far */
	glm_way			way;	/* from here to an end */

	uint64_t   generation; /* of the machine that the place belongs to; 0: none, step there again */
	glm_place *place;	   /* here */
	size_t	   place_size;
	glm_arena  walk;	/* what it points into */
	glm_arena  spare;	/* where that is moved to now and then */
	size_t	   settled; /* bytes of the walk when it was last moved */

	int32_t			 tried; /* the token that was found to fit last; -1: none since one was taken */
	bool			 follows; /* it follows the way */
	glm_way			 detour;  /* else the way behind it */
	glm_matcher_past mark;
};

/*
 * Calls work(matcher, arg) with the machine at the matcher's place.  false: it cannot be
 * done, whatever memory there is.
 */
extern bool glm_matcher_work(glm_matcher *m, void (*work)(glm_matcher *m, void *arg), void *arg);

/* Inside of work: */

/* A copy of the matcher's place in scratch. */
extern glm_place *glm_matcher_place(glm_matcher *m);
/* Steps by a byte, with what it takes in scratch; careful: see glm_constraint_step(). */
extern bool		  glm_matcher_step(glm_matcher *m, glm_place *place, uint8_t byte);
/* Steps for good, with what it takes in the walk; may leave. */
extern bool		  glm_matcher_advance(glm_matcher *m, glm_place *place, uint8_t byte);
/* The same as a step of a glm_mask_walk, whose arg is the matcher. */
extern bool		  glm_matcher_walk_step(void *matcher, void *place, uint8_t byte);
/* May the answer end at a place? */
extern bool		  glm_matcher_ends(glm_matcher *m, const glm_place *place);
/* May some byte other than this one (-1: any) come next? */
extern bool		  glm_matcher_goes_on(glm_matcher *m, const glm_place *place, int but);

#endif /* GLM_MATCHER_PARTS_H */
