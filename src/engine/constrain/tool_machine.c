/*
 * tool_machine.c - calls of tools.
 *
 * A call begins with a line that is the tool's name, and its arguments begin with the brace
 * of an object: up to there it is one of some texts, from there on the JSON machine of that
 * tool.  The texts are sorted, so that those that an answer may still become are a range.
 */
#include "engine/constrain/tool_machine.h"

#include <stdlib.h>
#include <string.h>

#include "engine/constrain/json_machine.h"
#include "engine/constrain/mask_walk.h"

#define BRACE "\n{"

typedef struct tool
{
	const char	*opening; /* the name and BRACE */
	int			 length;
	glm_machine *arguments;
} tool;

typedef struct tool_machine
{
	glm_machine machine;
	tool	   *tool; /* [n] by their openings */
	int			n;
} tool_machine;

typedef struct tool_state
{
	int				 first, end; /* the tools whose openings begin so; one when it was read */
	int				 at;		 /* bytes of the opening */
	glm_reader_state arguments;	 /* behind the opening */
} tool_state;

/* The tool whose opening was read; NULL: it is not yet. */
static const tool *
called(const tool_machine *tools, const tool_state *state)
{
	const tool *first = &tools->tool[state->first];

	return state->at == first->length ? first : NULL;
}

static void
start(glm_machine *machine, glm_arena *walk, void *state)
{
	(void) walk;
	*(tool_state *) state = (tool_state){.end = ((tool_machine *) machine)->n};
}

static bool
step_opening(const tool_machine *tools, glm_arena *walk, tool_state *state, uint8_t byte)
{
	const tool *chosen;
	int			end;

	while (state->first < state->end &&
		   (uint8_t) tools->tool[state->first].opening[state->at] != byte)
		state->first++;
	for (end = state->first;
		 end < state->end && (uint8_t) tools->tool[end].opening[state->at] == byte;)
		end++;
	state->end = end;
	if (state->first == state->end)
		return false;
	state->at++;
	chosen = called(tools, state);
	if (chosen == NULL)
		return true;
	chosen->arguments->kind->start(chosen->arguments, walk, &state->arguments);
	return chosen->arguments->kind->step(chosen->arguments, walk, &state->arguments, byte);
}

static bool
step(glm_machine *machine, glm_arena *walk, void *state, uint8_t byte)
{
	tool_machine *tools = (tool_machine *) machine;
	tool_state	 *s = state;
	const tool	 *tool = called(tools, s);

	if (tool == NULL)
		return step_opening(tools, walk, s, byte);
	return tool->arguments->kind->step(tool->arguments, walk, &s->arguments, byte);
}

static bool
ends(glm_machine *machine, glm_arena *walk, const void *state)
{
	const tool_state *s = state;
	const tool		 *tool = called((tool_machine *) machine, s);

	return tool != NULL && tool->arguments->kind->ends(tool->arguments, walk, &s->arguments);
}

/* The rest of a call of this tool, appended to *out. */
static bool
complete_call(tool_machine *tools, glm_arena *walk, const tool_state *from, int i, long *steps,
			  glm_buf *out)
{
	const tool *tool = &tools->tool[i];
	tool_state	state = *from;

	for (int at = from->at; at < tool->length; at++)
		if (!step(&tools->machine, walk, &state, (uint8_t) tool->opening[at]))
			return false;
	glm_buf_add(out, tool->opening + from->at, (size_t) (tool->length - from->at));
	return tool->arguments->kind->complete(tool->arguments, walk, &state.arguments, steps, out);
}

/* That of the tool whose call can end first. */
static bool
complete(glm_machine *machine, glm_arena *walk, const void *state, long *steps, glm_buf *out)
{
	tool_machine	 *tools = (tool_machine *) machine;
	const tool_state *s = state;
	size_t			  begin = out->length, shortest = SIZE_MAX;
	int				  best = s->first;

	for (int i = s->first; i < s->end && s->end - s->first > 1; i++)
	{
		glm_arena_mark mark = glm_arena_here(walk);

		if (complete_call(tools, walk, s, i, steps, out) && out->length - begin < shortest)
		{
			shortest = out->length - begin;
			best = i;
		}
		glm_arena_back(walk, mark);
		out->length = begin;
	}
	return complete_call(tools, walk, s, best, steps, out);
}

/* What a glm_mask_walk steps with. */
typedef struct mask_step
{
	glm_machine *machine;
	glm_arena	*walk;
} mask_step;

static bool
step_mask(void *arg, void *state, uint8_t byte)
{
	const mask_step *s = arg;

	return step(s->machine, s->walk, state, byte);
}

static void
mask(glm_machine *machine, glm_arena *walk, const void *state, const glm_vocabulary *vocabulary,
	 uint64_t *allowed)
{
	const tool_state *s = state;
	const tool		 *tool = called((tool_machine *) machine, s);
	mask_step		  stepping = {machine, walk};
	glm_mask_walk	  all = {.step = step_mask,
							 .arg = &stepping,
							 .size = sizeof(*s),
							 .deepest = vocabulary->deepest,
							 .arena = walk};

	if (tool != NULL)
		tool->arguments->kind->mask(tool->arguments, walk, &s->arguments, vocabulary, allowed);
	else
		glm_mask_walk_all(&all, vocabulary, state, allowed);
}

static void
narrow(glm_machine *machine, glm_arena *walk, const void *state, uint64_t may[4])
{
	const tool_state *s = state;
	const tool		 *tool = called((tool_machine *) machine, s);

	if (tool != NULL)
		tool->arguments->kind->narrow(tool->arguments, walk, &s->arguments, may);
}

static void
move(glm_machine *machine, glm_arena *to, void *state)
{
	tool_state *s = state;
	const tool *tool = called((tool_machine *) machine, s);

	if (tool != NULL)
		tool->arguments->kind->move(tool->arguments, to, &s->arguments);
}

/* ---- Compiling ------------------------------------------------------------------------------- */

static const char *
make_opening(glm_arena *arena, const glm_value *name)
{
	char *opening;

	if (!glm_value_is_text(name) || name->n == 0 || strchr(name->text, '\n') != NULL)
		glm_arena_fail(arena, GLM_BAD_ARGUMENT,
					   "\"name\" of a tool must be a text of one line that is not empty");
	opening = glm_arena_get(arena, (size_t) name->n + sizeof(BRACE));
	memcpy(opening, name->text, (size_t) name->n);
	memcpy(opening + name->n, BRACE, sizeof(BRACE));
	return opening;
}

static int
compare_tools(const void *a, const void *b)
{
	return strcmp(((const tool *) a)->opening, ((const tool *) b)->opening);
}

glm_machine *
glm_tool_machine_new(glm_arena *arena, const glm_value *tools, glm_property_order order,
					 glm_json_space space)
{
	static const glm_machine_kind kind = {
		.state_size = sizeof(tool_state),
		.start = start,
		.step = step,
		.ends = ends,
		.complete = complete,
		.mask = mask,
		.narrow = narrow,
		.move = move,
	};
	tool_machine *machine = GLM_NEW(arena, tool_machine, 1);

	if (tools->kind != GLM_KIND_ARRAY || tools->n == 0)
		glm_arena_fail(arena, GLM_BAD_ARGUMENT, "tools must be an array that is not empty");
	machine->machine = (glm_machine){.kind = &kind, .arena = arena};
	machine->tool = GLM_NEW(arena, tool, tools->n);
	machine->n = tools->n;
	for (int i = 0; i < tools->n; i++)
	{
		const glm_value *name = glm_value_get(tools->item[i], "name");
		glm_value		*parameters = glm_value_get(tools->item[i], "parameters");

		if (name == NULL || parameters == NULL)
			glm_arena_fail(arena, GLM_BAD_ARGUMENT, "a tool must have \"name\" and \"parameters\"");
		machine->tool[i].opening = make_opening(arena, name);
		machine->tool[i].length = (int) strlen(machine->tool[i].opening);
		machine->tool[i].arguments =
			glm_json_machine(arena, glm_schema_compile(arena, parameters), order, space);
	}
	qsort(machine->tool, (size_t) machine->n, sizeof(tool), compare_tools);
	for (int i = 1; i < machine->n; i++)
		if (strcmp(machine->tool[i - 1].opening, machine->tool[i].opening) == 0)
			glm_arena_fail(arena, GLM_BAD_ARGUMENT, "two tools have the name \"%.*s\"",
						   machine->tool[i].length - (int) strlen(BRACE), machine->tool[i].opening);
	return &machine->machine;
}
