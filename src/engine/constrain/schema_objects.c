/*
 * schema_objects.c - properties, patternProperties, required and what depends on names; the
 * rest is read by schema_keywords.c.
 */
#include "engine/constrain/schema_compiler.h"

#include <string.h>

static glm_name
name_of(const glm_value *object, int i)
{
	return (glm_name){object->key[i], object->key_length[i]};
}

void
glm_read_properties(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_compiler_expect(c, value, GLM_KIND_OBJECT, "an object");
	node->properties = GLM_NEW(c->arena, glm_property, value->n);
	node->n_properties = value->n;
	for (int i = 0; i < value->n; i++)
		node->properties[i] =
			(glm_property){name_of(value, i), glm_compiler_child(c, value->item[i], value->key[i])};
}

void
glm_read_pattern_properties(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_compiler_expect(c, value, GLM_KIND_OBJECT, "an object");
	node->patterns = GLM_NEW(c->arena, glm_pattern_property, value->n);
	node->n_patterns = value->n;
	for (int i = 0; i < value->n; i++)
	{
		glm_pattern_property *pattern = &node->patterns[i];
		const glm_fit		 *fit =
			glm_compiler_fit(c, value->key[i], (size_t) value->key_length[i], false);

		memcpy(pattern->component, fit->component, sizeof(fit->component));
		pattern->n_components = fit->n;
		pattern->value = glm_compiler_child(c, value->item[i], value->key[i]);
	}
}

/* The names of a list of strings. */
static glm_name *
read_names(glm_compiler *c, const glm_value *list, int *n)
{
	glm_name *name = GLM_NEW(c->arena, glm_name, list->n);

	for (int i = 0; i < list->n; i++)
	{
		glm_compiler_expect_text(c, list->item[i], "an array of strings");
		name[i] = (glm_name){list->item[i]->text, list->item[i]->n};
	}
	*n = list->n;
	return name;
}

void
glm_read_required(glm_compiler *c, glm_node *node, glm_value *value)
{
	if ((value->kind & (GLM_KIND_TRUE | GLM_KIND_FALSE)) != 0)
		glm_compiler_fail(c, GLM_UNSUPPORTED, "says %s as in draft 3, which is not supported",
						  value->kind == GLM_KIND_TRUE ? "true" : "false");
	glm_compiler_expect(c, value, GLM_KIND_ARRAY, "an array of strings");
	node->required = read_names(c, value, &node->n_required);
}

/* ---- What one name asks of the rest -------------------------------------------------------------- */

/* Makes room for n dependencies of each kind. */
static void
make_room(glm_compiler *c, glm_node *node, int n)
{
	glm_dependency *dependencies = GLM_NEW(c->arena, glm_dependency, node->n_dependencies + n);
	glm_property   *dependent = GLM_NEW(c->arena, glm_property, node->n_dependent + n);

	if (node->n_dependencies > 0)
		memcpy(dependencies, node->dependencies,
			   (size_t) node->n_dependencies * sizeof(*dependencies));
	if (node->n_dependent > 0)
		memcpy(dependent, node->dependent, (size_t) node->n_dependent * sizeof(*dependent));
	node->dependencies = dependencies;
	node->dependent = dependent;
}

/* Lists of names and schemas, as far as the keyword may have them. */
static void
read_dependencies(glm_compiler *c, glm_node *node, glm_value *value, bool names, bool schemas)
{
	glm_compiler_expect(c, value, GLM_KIND_OBJECT, "an object");
	make_room(c, node, value->n);
	for (int i = 0; i < value->n; i++)
	{
		glm_value *needs = value->item[i];

		if (names && needs->kind == GLM_KIND_STRING)
			glm_compiler_fail(c, GLM_UNSUPPORTED,
							  "has a string as in draft 3, which is not supported");
		if (names && (!schemas || needs->kind == GLM_KIND_ARRAY))
		{
			glm_dependency *dependency = &node->dependencies[node->n_dependencies++];

			glm_compiler_expect(c, needs, GLM_KIND_ARRAY, "made of arrays of strings");
			dependency->name = name_of(value, i);
			dependency->needed = read_names(c, needs, &dependency->n_needed);
		}
		else
			node->dependent[node->n_dependent++] =
				(glm_property){name_of(value, i), glm_compiler_child(c, needs, value->key[i])};
	}
}

/* It left the standard in 2019-09; where no draft is declared it is still meant. */
void
glm_read_dependencies(glm_compiler *c, glm_node *node, glm_value *value)
{
	if (c->place->resource->draft <= 7 || !c->place->resource->declared)
		read_dependencies(c, node, value, true, true);
}

void
glm_read_dependent_required(glm_compiler *c, glm_node *node, glm_value *value)
{
	read_dependencies(c, node, value, true, false);
}

void
glm_read_dependent_schemas(glm_compiler *c, glm_node *node, glm_value *value)
{
	read_dependencies(c, node, value, false, true);
}
