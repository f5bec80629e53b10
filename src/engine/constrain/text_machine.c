/*
 * text_machine.c - plain texts, as matchers see them.
 */
#include "engine/constrain/text_machine.h"

#include <string.h>

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
