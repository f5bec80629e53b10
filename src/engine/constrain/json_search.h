/*
 * json_search.h - the search for a short end of a text of JSON.
 *
 * Depth first over texts that may come next, the promising ones first.  States are values,
 * so going back is free; a stack of choices, in the arena of the walk, takes the place of
 * recursion.  Whatever is proposed is read by the reader, so that proposals may be guesses.
 */
#ifndef GLM_JSON_SEARCH_H
#define GLM_JSON_SEARCH_H

#include "engine/constrain/json_machine.h"

typedef struct glm_candidate
{
	glm_name text;
	bool	 number; /* and the number ends behind it */
} glm_candidate;

/* A state, and what was thought of to go on from it. */
typedef struct glm_choice
{
	struct glm_choice *below;
	glm_reader_state   state;
	size_t			   written;	  /* bytes that led here */
	int				   depth;	  /* of the stack */
	glm_arena_mark	   base;	  /* before the candidates */
	glm_arena_mark	   mark;	  /* behind them */
	glm_candidate	  *candidate; /* of the last stage */
	int				   n, capacity, next;
	int				   stage; /* how often candidates were listed */
} glm_choice;

typedef struct glm_search
{
	glm_reader *reader;
	long	   *steps; /* that are left */
} glm_search;

/* ---- json_search.c ---------------------------------------------------------------------------- */

/* Reads n bytes.  false: they may not come, or there are no steps left. */
extern bool glm_search_put(glm_search *search, glm_reader_state *state, const char *text, int n);
/* A candidate more, of a text that is copied. */
extern void glm_search_add(glm_search *search, glm_choice *choice, const char *text, int n,
						   bool number);
/* The same of a text that stays. */
extern void glm_search_add_text(glm_search *search, glm_choice *choice, const char *text);

/* ---- json_goal.c: keys and values ------------------------------------------------------------ */

/* Known names that may come, those that are needed first: the first few, or the others. */
extern void glm_search_keys(glm_search *search, glm_choice *choice, bool others);
/* The rest of known names that begin like the key that was begun. */
extern void glm_search_rest_of_key(glm_search *search, glm_choice *choice);
/* Numbers that some member of a set names. */
extern void glm_search_numbers(glm_search *search, glm_choice *choice, const glm_set *set);

/* ---- json_spell.c: strings and numbers that were begun --------------------------------------- */

/* The way of fewest code points, to the end of the string. */
extern void glm_search_straight(glm_search *search, glm_choice *choice);
/* Ends that are found breadth first, so many of them. */
extern void glm_search_around(glm_search *search, glm_choice *choice, int ends);

#endif /* GLM_JSON_SEARCH_H */
