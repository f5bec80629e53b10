/*
 * json_machine.c - the machine that reads JSON of a schema, as matchers see it.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

static glm_reader *
reader_of(glm_machine *machine, glm_arena *walk)
{
	glm_reader *reader = (glm_reader *) machine;

	reader->walk = walk;
	return reader;
}

/* The document is the one child of a frame that is no container. */
static void
start(glm_machine *machine, glm_arena *walk, void *state)
{
	glm_reader		 *reader = reader_of(machine, walk);
	const glm_node	 *root = reader->schema->root;
	glm_link		  link = {.member = 0, .root = 0};
	glm_reader_state *first = state;

	if (reader->document == NULL)
		reader->document = glm_child_get(reader, &link, 1, &root);
	memset(first, 0, sizeof(*first));
	first->frame = GLM_WALK(reader, glm_frame, 1);
	first->child = reader->document;
	first->mode = GLM_READ_VALUE;
}

static bool
step(glm_machine *machine, glm_arena *walk, void *state, uint8_t byte)
{
	return glm_reader_step(reader_of(machine, walk), state, byte);
}

static bool
ends(glm_machine *machine, glm_arena *walk, const void *state)
{
	glm_arena_mark mark = glm_arena_here(walk);
	bool		   may = glm_reader_ends(reader_of(machine, walk), state);

	glm_arena_back(walk, mark);
	return may;
}

static void
mask(glm_machine *machine, glm_arena *walk, const void *state, const glm_vocabulary *vocabulary,
	 uint64_t *allowed)
{
	glm_reader_mask(reader_of(machine, walk), state, vocabulary, allowed);
}

static void
move(glm_machine *machine, glm_arena *to, void *state)
{
	glm_reader_move(reader_of(machine, to), state);
}

static bool
complete(glm_machine *machine, glm_arena *walk, const void *state, long *steps, glm_buf *out)
{
	return glm_reader_complete(reader_of(machine, walk), state, steps, out);
}

glm_machine *
glm_json_machine(glm_arena *arena, const glm_schema *schema, glm_property_order order,
				 glm_json_space space)
{
	static const glm_machine_kind kind = {
		.state_size = sizeof(glm_reader_state),
		.start = start,
		.step = step,
		.ends = ends,
		.complete = complete,
		.mask = mask,
		.move = move,
	};
	glm_reader *reader = GLM_NEW(arena, glm_reader, 1);

	reader->machine = (glm_machine){.kind = &kind, .arena = arena};
	reader->schema = schema;
	reader->order = order;
	reader->space = space;
	reader->number = GLM_NEW(arena, int, schema->n_nodes);
	reader->mark = GLM_NEW(arena, int, schema->n_nodes);
	return &reader->machine;
}
