/*
 * schema_graph.c - walks over nodes, and cycles that end nowhere.
 *
 * A schema may lead back to itself where the value it is for gets smaller: by way of an
 * item or a property.  By way of combinators and $ref alone it would ask for itself.
 */
#include "engine/constrain/schema_compiler.h"

static void
visit_list(glm_nodes *list, glm_child_visit *visit, void *arg)
{
	for (int i = 0; i < list->n; i++)
		visit(arg, &list->node[i]);
}

static void
visit_one(glm_node **child, glm_child_visit *visit, void *arg)
{
	if (*child != NULL)
		visit(arg, child);
}

void
glm_node_in_place(glm_node *node, glm_child_visit *visit, void *arg)
{
	visit_list(&node->all, visit, arg);
	visit_list(&node->any, visit, arg);
	visit_list(&node->one, visit, arg);
	visit_list(&node->any_value, visit, arg);
	for (int i = 0; i < node->n_dependent; i++)
		visit(arg, &node->dependent[i].value);
	visit_one(&node->not_, visit, arg);
	visit_one(&node->if_, visit, arg);
	visit_one(&node->then_, visit, arg);
	visit_one(&node->else_, visit, arg);
}

void
glm_node_inside(glm_node *node, glm_child_visit *visit, void *arg)
{
	visit_list(&node->prefix, visit, arg);
	visit_one(&node->items, visit, arg);
	visit_one(&node->contains, visit, arg);
	for (int i = 0; i < node->n_properties; i++)
		visit(arg, &node->properties[i].value);
	for (int i = 0; i < node->n_patterns; i++)
		visit(arg, &node->patterns[i].value);
	visit_one(&node->additional, visit, arg);
	visit_one(&node->property_names, visit, arg);
}

/* ---- Cycles ----------------------------------------------------------------------------------- */

enum
{
	NEW,
	ENTERED, /* what is below it is being walked */
	LEFT
};

/* Depth first, with a stack of its own. */
typedef struct cycle_walk
{
	glm_compiler *c;
	glm_node	**stack;
	int			  n, room;
	uint8_t		 *state; /* by id */
} cycle_walk;

/* Says where a $ref is among the nodes that were entered since this one. */
static _Noreturn void
refuse_cycle(cycle_walk *w, const glm_node *begin)
{
	glm_compiler   *c = w->c;
	const glm_node *refers = begin;
	glm_place		place;

	for (int i = w->n - 1; i >= 0 && w->stack[i] != begin; i--)
		if (w->state[w->stack[i]->id] == ENTERED && w->stack[i]->refers)
			refers = w->stack[i];
	place = (glm_place){.pointer = refers->pointer};
	c->place = &place;
	c->keyword = glm_keyword_find("$ref", 2020);
	glm_compiler_fail(c, GLM_BAD_ARGUMENT,
					  "leads back to itself without an item or a property between");
}

static void
push(void *arg, glm_node **child)
{
	cycle_walk *w = arg;

	if (w->state[(*child)->id] == ENTERED)
		refuse_cycle(w, *child);
	if (w->state[(*child)->id] == LEFT)
		return;
	w->stack = glm_arena_grow(w->c->arena, w->stack, sizeof(*w->stack), &w->room, w->n + 1);
	w->stack[w->n++] = *child;
}

void
glm_schema_refuse_cycles(glm_compiler *c)
{
	cycle_walk	   w = {.c = c};
	glm_arena_mark mark = glm_arena_here(c->arena);

	w.state = GLM_NEW(c->arena, uint8_t, c->schema->n_nodes);
	for (int i = 0; i < c->schema->n_nodes; i++)
	{
		push(&w, &c->schema->node[i]);
		while (w.n > 0)
		{
			glm_node *node = w.stack[w.n - 1];

			if (w.state[node->id] == NEW)
			{
				w.state[node->id] = ENTERED;
				glm_node_in_place(node, push, &w);
				continue;
			}
			w.state[node->id] = LEFT;
			w.n--;
		}
	}
	glm_arena_back(c->arena, mark);
}
