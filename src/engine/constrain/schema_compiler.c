/*
 * schema_compiler.c - what the readers of keywords need: errors, places, nodes.
 *
 * No locks: a compiler belongs to the thread that compiles.
 */
#include "engine/constrain/schema_compiler.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Errors ------------------------------------------------------------------------------- */

void
glm_compiler_fail(glm_compiler *c, glm_status status, const char *why, ...)
{
	char	text[sizeof(c->arena->err->message)];
	va_list args;

	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	c->told = true;
	glm_arena_fail(c->arena, status, "schema keyword \"%s\" at \"%s\" %s", c->keyword->name,
				   c->place->pointer, text);
}

void
glm_compiler_expect(glm_compiler *c, const glm_value *value, unsigned kinds, const char *what)
{
	if ((value->kind & kinds) == 0)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to be %s", what);
}

void
glm_compiler_expect_text(glm_compiler *c, const glm_value *value, const char *what)
{
	glm_compiler_expect(c, value, GLM_KIND_STRING, what);
	if (!glm_value_is_text(value))
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "holds U+0000, which no answer can");
}

const glm_decimal *
glm_compiler_number(glm_compiler *c, const glm_value *value)
{
	glm_decimal *number = GLM_NEW(c->arena, glm_decimal, 1);

	glm_compiler_expect(c, value, GLM_KIND_NUMBER, "a number");
	if (!glm_decimal_read(number, value->text, (size_t) value->n))
		glm_compiler_fail(c, GLM_TOO_COMPLEX, "has a number of too many digits");
	return number;
}

/* ---- Nodes -------------------------------------------------------------------------------- */

glm_node *
glm_node_new(glm_arena *arena, glm_schema *schema)
{
	glm_node *node;

	if (schema->n_nodes == GLM_SCHEMA_NODES)
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "more than %d subschemas", GLM_SCHEMA_NODES);
	node = GLM_NEW(arena, glm_node, 1);
	*node = (glm_node){.id = schema->n_nodes,
					   .kinds = GLM_KIND_ANY,
					   .pointer = "",
					   .min_contains = 1,
					   .max_contains = GLM_NO_MOST,
					   .max_length = GLM_NO_MOST,
					   .max_items = GLM_NO_MOST,
					   .max_properties = GLM_NO_MOST};
	schema->node = glm_arena_grow(arena, schema->node, sizeof(*schema->node), &schema->node_room,
								  schema->n_nodes + 1);
	schema->node[schema->n_nodes++] = node;
	return node;
}

void
glm_node_finish(glm_node *node)
{
	bool names = node->n_properties > 0 || node->n_patterns > 0 || node->additional != NULL ||
				 node->property_names != NULL || node->n_dependencies > 0 ||
				 node->n_dependent > 0 || node->max_properties != GLM_NO_MOST;

	node->number = node->numbers != NULL || node->range.low != NULL || node->range.high != NULL ||
				   node->range.integer || node->range.multiple_of != NULL;
	node->string =
		node->n_components > 0 || node->min_length > 0 || node->max_length != GLM_NO_MOST;
	node->array = node->prefix.n > 0 || node->items != NULL || node->contains != NULL ||
				  node->min_items > 0 || node->max_items != GLM_NO_MOST || node->unique;
	node->object = names || node->n_required > 0 || node->min_properties > 0;
	node->asks_only = node->object && !names;
}

void
glm_nodes_add(glm_arena *arena, glm_nodes *nodes, glm_node *node)
{
	/* lists are few and short but for those of glm_compiler_children() */
	glm_node **larger = GLM_NEW(arena, glm_node *, nodes->n + 1);

	if (nodes->n > 0)
		memcpy(larger, nodes->node, (size_t) nodes->n * sizeof(*larger));
	larger[nodes->n++] = node;
	nodes->node = larger;
}

/* ---- Places ------------------------------------------------------------------------------- */

glm_place *
glm_compiler_place(glm_compiler *c, glm_value *value, const glm_resource *resource,
				   const char *pointer)
{
	glm_place *place = value->node;

	if (place == NULL)
	{
		place = GLM_NEW(c->arena, glm_place, 1);
		*place = (glm_place){.value = value, .resource = resource, .pointer = pointer};
		value->node = place;
	}
	return place;
}

glm_node *
glm_compiler_node(glm_compiler *c, glm_place *place)
{
	if (place->node == NULL)
	{
		place->node = glm_node_new(c->arena, c->schema);
		place->node->pointer = place->pointer;
		*c->queue_end = place;
		c->queue_end = &place->next;
	}
	return place->node;
}

glm_node *
glm_compiler_child(glm_compiler *c, glm_value *value, const char *name)
{
	glm_compiler_expect(c, value, GLM_KIND_OBJECT | GLM_KIND_TRUE | GLM_KIND_FALSE,
						name == NULL ? "a schema" : "made of schemas");
	if (value->node == NULL)
		(void) glm_compiler_place(
			c, value, c->place->resource,
			glm_pointer_add(c->arena, c->place->pointer, c->keyword->name, name));
	return glm_compiler_node(c, value->node);
}

void
glm_compiler_children(glm_compiler *c, glm_value *list, glm_nodes *nodes)
{
	glm_node **all = GLM_NEW(c->arena, glm_node *, nodes->n + list->n);

	if (nodes->n > 0)
		memcpy(all, nodes->node, (size_t) nodes->n * sizeof(*all));
	for (int i = 0; i < list->n; i++)
	{
		char index[16];

		snprintf(index, sizeof(index), "%d", i);
		all[nodes->n + i] = glm_compiler_child(c, list->item[i], index);
	}
	*nodes = (glm_nodes){all, nodes->n + list->n};
}
