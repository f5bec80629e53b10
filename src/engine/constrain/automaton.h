/*
 * automaton.h - what automata have in common: numbered states that stay where they are.
 */
#ifndef GLM_AUTOMATON_H
#define GLM_AUTOMATON_H

#include "engine/constrain/dfa.h"

#define GLM_DFA_CHUNK 32 /* states that lie side by side */

/* Each kind's own automaton begins with this. */
struct glm_dfa
{
	glm_arena *arena;
	int (*next)(glm_dfa *dfa, int state, uint8_t byte);
	size_t record; /* bytes of a state, which begins with its glm_dfa_state */
	char **chunk;  /* of records */
	int	   n_chunks, chunk_capacity;
	int	   n;	   /* states */
	int	   within; /* see glm_dfa_within() */
};

static inline void *
glm_dfa_record(const glm_dfa *dfa, int state)
{
	unsigned i = (unsigned) state;

	return dfa->chunk[i / GLM_DFA_CHUNK] + dfa->record * (i % GLM_DFA_CHUNK);
}

/* The record of state `dfa->n`, all zeros, which is a state when the caller has counted it. */
extern void *glm_dfa_new_record(glm_dfa *dfa);

#endif /* GLM_AUTOMATON_H */
