/*
 * dfa.c - what can be asked of any automaton.
 */
#include "engine/constrain/automaton.h"

#include <string.h>

void *
glm_dfa_new_record(glm_dfa *dfa)
{
	if (dfa->n / GLM_DFA_CHUNK == dfa->n_chunks)
	{
		dfa->chunk = glm_arena_grow(dfa->arena, dfa->chunk, sizeof(*dfa->chunk),
									&dfa->chunk_capacity, dfa->n_chunks + 1);
		dfa->chunk[dfa->n_chunks] = glm_arena_get(dfa->arena, GLM_DFA_CHUNK * dfa->record);
		dfa->n_chunks++;
	}
	return memset(glm_dfa_record(dfa, dfa->n), 0, dfa->record);
}

int
glm_dfa_within(const glm_dfa *dfa)
{
	return dfa->within;
}

int
glm_dfa_next(glm_dfa *dfa, int state, uint8_t byte)
{
	return dfa->next(dfa, state, byte);
}

const glm_dfa_state *
glm_dfa_at(const glm_dfa *dfa, int state)
{
	return glm_dfa_record(dfa, state);
}

bool
glm_dfa_accepts(glm_dfa *dfa, const char *text, size_t n)
{
	int state = 0;

	for (size_t i = 0; i < n; i++)
		state = glm_dfa_next(dfa, state, (uint8_t) text[i]);
	return glm_dfa_at(dfa, state)->accepts;
}
