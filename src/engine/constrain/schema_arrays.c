/*
 * schema_arrays.c - items, additionalItems and uniqueItems; the rest is read by schema_keywords.c.
 *
 * Up to 2019-09 a list of items is what prefixItems is since, and additionalItems what items
 * is beside that.  Where no draft is declared the old form is read too.
 */
#include "engine/constrain/schema_compiler.h"

void
glm_read_additional_items(glm_compiler *c, glm_node *node, glm_value *value)
{
	const glm_value *items = glm_value_get(c->place->value, "items");

	if (items != NULL && items->kind == GLM_KIND_ARRAY && value->kind != GLM_KIND_TRUE)
		node->items = glm_compiler_child(c, value, NULL);
}

void
glm_read_items(glm_compiler *c, glm_node *node, glm_value *value)
{
	const glm_resource *resource = c->place->resource;

	if (value->kind != GLM_KIND_ARRAY)
	{
		if (value->kind != GLM_KIND_TRUE)
			node->items = glm_compiler_child(c, value, NULL);
		return;
	}
	if (resource->declared && resource->draft >= 2020)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to be a schema, a list is prefixItems");
	if (glm_value_get(c->place->value, "prefixItems") != NULL && resource->draft >= 2020)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to be a schema beside prefixItems");
	glm_compiler_children(c, value, &node->prefix);
}

void
glm_read_unique_items(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_compiler_expect(c, value, GLM_KIND_TRUE | GLM_KIND_FALSE, "true or false");
	node->unique = value->kind == GLM_KIND_TRUE;
}
