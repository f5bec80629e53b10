/*
 * text_step.c - plain texts: automata side by side.
 */
#include "engine/constrain/automaton.h"
#include "engine/constrain/text_machine.h"

static bool
leads_nowhere(const glm_component *component, int state)
{
	const glm_dfa_state *at = glm_dfa_record(component->dfa, state);

	return component->negated ? at->always : at->dead;
}

bool
glm_text_step(const glm_text_machine *text, glm_text_state *state, uint8_t byte)
{
	for (int i = 0; i < text->n; i++)
	{
		glm_dfa *dfa = text->component[i].dfa;

		state->at[i] = dfa->next(dfa, state->at[i], byte);
		if (leads_nowhere(&text->component[i], state->at[i]))
			return false;
	}
	return true;
}

glm_text_outlook
glm_text_look(const glm_text_machine *text, const glm_text_state *state)
{
	glm_text_outlook outlook = {.ends = true};

	for (int i = 0; i < text->n; i++)
	{
		const glm_component *component = &text->component[i];
		const glm_dfa_state *at = glm_dfa_at(component->dfa, state->at[i]);

		outlook.ends &= at->accepts != component->negated;
		if (component->negated)
			continue;
		outlook.sum += at->distance;
		if (at->distance > outlook.points)
			outlook.points = at->distance;
	}
	return outlook;
}
