/*
 * dfa.h - patterns, formats and literals as automata over the bytes of UTF-8.
 *
 * A pattern is ECMA-262's, of which each construct is either followed exactly or refused
 * with GLM_UNSUPPORTED.  States are made when they are first reached, in the arena of the
 * automaton, so an automaton is not thread-safe; its state 0 is the start.
 */
#ifndef GLM_DFA_H
#define GLM_DFA_H

#include "engine/constrain/arena.h"

typedef struct glm_dfa glm_dfa;

#define GLM_DFA_NO_END (1 << 28) /* distance of a dead state, and beyond counting */

typedef struct glm_dfa_state
{
	bool accepts;  /* the text may end here */
	bool always;   /* and whatever follows, it may end there too */
	bool dead;	   /* no text from here on is accepted */
	int	 distance; /* code points to an end, the fewest; behind lookaheads there may be more */
} glm_dfa_state;

/* A text fits a component if its automaton accepts it, or does not if `negated`. */
typedef struct glm_component
{
	glm_dfa *dfa;
	bool	 negated;
} glm_component;

#define GLM_PATTERN_COMPONENTS 8

/*
 * Of n bytes of a pattern: as many components as are returned, all of which a text has to
 * fit (lookaheads that a pattern begins with are components of their own).  `anchored`: the
 * whole text has to match, not some part of it..
 */
extern int		glm_dfa_pattern(glm_arena *arena, const char *pattern, size_t n, bool anchored,
								glm_component out[GLM_PATTERN_COMPONENTS]);
/* Of a format that JSON Schema names: 0 where the name means nothing here. */
extern int		glm_dfa_format(glm_arena *arena, const char *name,
							   glm_component out[GLM_PATTERN_COMPONENTS]);
/* A format that is known but cannot be enforced. */
extern bool		glm_format_refused(const char *name);
/*
 * Accepts exactly these n texts, as a trie: 100,000 of them, 1 MiB in all are not too many.
 * They are not copied.
 */
extern glm_dfa *glm_dfa_literals(glm_arena *arena, const char *const *text, const size_t *length,
								 int n);

/*
 * How many code points an end is away at most, whatever the text is so far; -1: some texts are
 * over.  It is told of patterns that may match anywhere.
 */
extern int					glm_dfa_within(const glm_dfa *dfa);
/* The state behind a byte. */
extern int					glm_dfa_next(glm_dfa *dfa, int state, uint8_t byte);
extern const glm_dfa_state *glm_dfa_at(const glm_dfa *dfa, int state);
/* Does it accept this text? */
extern bool					glm_dfa_accepts(glm_dfa *dfa, const char *text, size_t n);

#endif /* GLM_DFA_H */
