/*
 * pattern.h - patterns of ECMA-262 as trees, and the automata made of them.
 */
#ifndef GLM_PATTERN_H
#define GLM_PATTERN_H

#include "engine/constrain/charset.h"
#include "engine/constrain/dfa.h"

#define GLM_PATTERN_BYTES 4096
#define GLM_PATTERN_DEPTH 200
#define GLM_PATTERN_PLACES 140000 /* of the automaton that it would be: enough for ^.{1,65535}$ */
#define GLM_DFA_STATES 10000

/* ---- pattern_read.c: text -> tree ------------------------------------------------------------ */

typedef enum glm_pattern_kind
{
	GLM_PATTERN_SET,	  /* a character of a set */
	GLM_PATTERN_SEQUENCE, /* all parts, one after the other; there may be none */
	GLM_PATTERN_CHOICE,	  /* one of the parts */
	GLM_PATTERN_REPEAT,	  /* its part, least to most times */
	GLM_PATTERN_START,	  /* nothing, at the start of the text */
	GLM_PATTERN_END,	  /* nothing, at its end */
	GLM_PATTERN_BOUNDARY, /* nothing, where a word begins or ends; or none does */
	GLM_PATTERN_LOOK	  /* nothing, where its part matches from here on; or does not */
} glm_pattern_kind;

typedef struct glm_pattern glm_pattern;

struct glm_pattern
{
	glm_pattern_kind kind;
	int				 set;
	int				 least, most; /* most: -1 without end */
	bool			 negated;
	int				 look;	 /* LOOK: the number of its automaton + 1, or 0 */
	int				 places; /* that an automaton of this has */
	glm_pattern *last; /* of its parts; each knows the one before it; BOUNDARY: what words are of */
	glm_pattern *before;
};

/* Fails as glm_dfa_pattern() says, before anything becomes large. */
extern glm_pattern *glm_pattern_read(glm_arena *arena, const char *text, size_t n,
									 glm_charsets *sets);

/* ---- pattern_components.c, format_regex.c ---------------------------------------------------- */

/* As glm_dfa_pattern(), however long the text is. */
extern int glm_pattern_components(glm_arena *arena, const char *pattern, size_t n, bool anchored,
								  glm_component out[GLM_PATTERN_COMPONENTS]);
/* The pattern that patterns fit. */
extern const char *glm_regex_format(glm_arena *arena);

/* ---- nfa.c: tree -> places ------------------------------------------------------------------- */

typedef enum glm_place_kind
{
	GLM_PLACE_SET,		/* goes on with a character */
	GLM_PLACE_SPLIT,	/* goes both ways */
	GLM_PLACE_START,	/* goes on at the start of the text */
	GLM_PLACE_END,		/* goes on at its end */
	GLM_PLACE_LOOK,		/* goes on where what follows fits a component */
	GLM_PLACE_BOUNDARY, /* goes on where a word begins or ends, or (other: 1) none does */
	GLM_PLACE_FINAL		/* the text is accepted */
} glm_place_kind;

typedef struct glm_place
{
	glm_place_kind kind;
	int			   out;	  /* where it goes on */
	int			   other; /* SPLIT: the other way; SET: the set; LOOK: the component */
	int distance; /* fewest code points to the end, behind the start; GLM_DFA_NO_END: none */
} glm_place;

/* Where a match may begin and end; lookaheads begin here and end anywhere. */
typedef enum glm_match
{
	GLM_MATCH_WHOLE,
	GLM_MATCH_PREFIX,
	GLM_MATCH_ANYWHERE
} glm_match;

typedef struct glm_nfa
{
	glm_charsets  *sets;
	glm_place	  *place;
	int			   n;
	int			   first;	 /* where it starts */
	bool		   anywhere; /* a match may begin anywhere */
	int			   rest;	 /* from where on everything is accepted, or -1 */
	glm_component *look;
	int			   n_look, look_capacity;
	int word; /* component that a word character fits, the one behind it none; -1: not asked */
} glm_nfa;

extern glm_nfa *glm_nfa_of(glm_arena *arena, glm_pattern *pattern, glm_match match,
						   glm_charsets *sets);

/* ---- lazy_dfa.c: places -> states ------------------------------------------------------------ */

extern glm_dfa *glm_dfa_of(glm_arena *arena, glm_nfa *nfa);

#endif /* GLM_PATTERN_H */
