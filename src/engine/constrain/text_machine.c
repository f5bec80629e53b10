/*
 * text_machine.c - plain texts: automata side by side.
 */
#include "engine/constrain/text_machine.h"

#include <string.h>

#include "engine/constrain/automaton.h"

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

static void
start(glm_machine *machine, glm_arena *walk, void *state)
{
	(void) machine;
	(void) walk;
	*(glm_text_state *) state = (glm_text_state){{0}};
}

static bool
step(glm_machine *machine, glm_arena *walk, void *state, uint8_t byte)
{
	(void) walk;
	return glm_text_step((glm_text_machine *) machine, state, byte);
}

static bool
ends(glm_machine *machine, glm_arena *walk, const void *state)
{
	(void) walk;
	return glm_text_look((glm_text_machine *) machine, state).ends;
}

static const glm_machine_kind text_kind = {.state_size = sizeof(glm_text_state),
										   .start = start,
										   .step = step,
										   .ends = ends,
										   .complete = glm_text_complete,
										   .mask = glm_text_mask};

glm_machine *
glm_text_machine_new(glm_arena *arena, const glm_component *component, int n)
{
	glm_text_machine *text = GLM_NEW(arena, glm_text_machine, 1);

	text->machine = (glm_machine){.kind = &text_kind, .arena = arena};
	memcpy(text->component, component, sizeof(*component) * (size_t) n);
	text->n = n;
	return &text->machine;
}
