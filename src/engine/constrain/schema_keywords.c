/*
 * schema_keywords.c - the keywords of JSON Schema, drafts 4 to 2020-12, and what of draft 3
 * has to be refused.
 *
 * What is not in the table is an annotation.  A keyword stays one in newer drafts that have
 * it no more, unless its reader looks at the draft.
 */
#include "engine/constrain/schema_compiler.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Where the readers below put what they read. */
static void *
field_of(const glm_compiler *c, glm_node *node)
{
	return (char *) node + c->keyword->field;
}

static void
read_schema(glm_compiler *c, glm_node *node, glm_value *value)
{
	*(glm_node **) field_of(c, node) = glm_compiler_child(c, value, NULL);
}

/* Where NULL stands for "anything" */
static void
read_schema_or_true(glm_compiler *c, glm_node *node, glm_value *value)
{
	if (value->kind != GLM_KIND_TRUE)
		read_schema(c, node, value);
}

static void
read_list(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_compiler_expect(c, value, GLM_KIND_ARRAY, "an array of schemas");
	if (value->n == 0)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to have a schema");
	glm_compiler_children(c, value, field_of(c, node));
}

/* A number of things. */
static void
read_count(glm_compiler *c, glm_node *node, glm_value *value)
{
	const glm_decimal *d = glm_compiler_number(c, value);
	int64_t			   count = 0;

	if (d->sign < 0 || !glm_decimal_is_integer(d))
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to be an integer of 0 or more");
	for (int i = 0; i < d->n + d->exponent && count < GLM_NO_MOST; i++)
		count = count * 10 + (i < d->n ? d->digit[i] : 0);
	*(int *) field_of(c, node) = count < GLM_NO_MOST ? (int) count : GLM_NO_MOST;
}

static void
refuse(glm_compiler *c, glm_node *node, glm_value *value)
{
	(void) node;
	(void) value;
	glm_compiler_fail(c, GLM_UNSUPPORTED, "is not supported");
}

/* What is not evaluated may be anything: that says nothing. */
static void
refuse_unevaluated(glm_compiler *c, glm_node *node, glm_value *value)
{
	if (value->kind != GLM_KIND_TRUE)
		refuse(c, node, value);
}

static void
refuse_draft3(glm_compiler *c, glm_node *node, glm_value *value)
{
	(void) node;
	(void) value;
	if (c->place->resource->draft == 3)
		glm_compiler_fail(c, GLM_UNSUPPORTED, "is of draft 3, which is not supported");
}

#define AT(field) offsetof(glm_node, field)

/* Sorted by name. */
static const glm_keyword keywords[] = {
	{"$defs", 2019, GLM_HOLDS_MAP, NULL, 0},
	{"$dynamicRef", 2019, GLM_HOLDS_NONE, refuse, 0},
	{"$recursiveRef", 2019, GLM_HOLDS_NONE, refuse, 0},
	{"$ref", 3, GLM_HOLDS_NONE, glm_read_ref, 0},
	{"additionalItems", 3, GLM_HOLDS_SCHEMA, glm_read_additional_items, 0},
	{"additionalProperties", 3, GLM_HOLDS_SCHEMA, read_schema_or_true, AT(additional)},
	{"allOf", 4, GLM_HOLDS_LIST, read_list, AT(all)},
	{"anyOf", 4, GLM_HOLDS_LIST, read_list, AT(any)},
	{"const", 6, GLM_HOLDS_NONE, glm_read_const, 0},
	{"contains", 6, GLM_HOLDS_SCHEMA, read_schema, AT(contains)},
	{"definitions", 3, GLM_HOLDS_MAP, NULL, 0},
	{"dependencies", 3, GLM_HOLDS_MAP, glm_read_dependencies, 0},
	{"dependentRequired", 2019, GLM_HOLDS_NONE, glm_read_dependent_required, 0},
	{"dependentSchemas", 2019, GLM_HOLDS_MAP, glm_read_dependent_schemas, 0},
	{"disallow", 3, GLM_HOLDS_NONE, refuse_draft3, 0},
	{"divisibleBy", 3, GLM_HOLDS_NONE, refuse_draft3, 0},
	{"else", 7, GLM_HOLDS_SCHEMA, read_schema, AT(else_)},
	{"enum", 3, GLM_HOLDS_NONE, glm_read_enum, 0},
	{"exclusiveMaximum", 3, GLM_HOLDS_NONE, glm_read_exclusive_maximum, 0},
	{"exclusiveMinimum", 3, GLM_HOLDS_NONE, glm_read_exclusive_minimum, 0},
	{"extends", 3, GLM_HOLDS_NONE, refuse_draft3, 0},
	{"format", 3, GLM_HOLDS_NONE, glm_read_format, 0},
	{"if", 7, GLM_HOLDS_SCHEMA, read_schema, AT(if_)},
	{"items", 3, GLM_HOLDS_LIST, glm_read_items, 0},
	{"maxContains", 2019, GLM_HOLDS_NONE, read_count, AT(max_contains)},
	{"maxItems", 3, GLM_HOLDS_NONE, read_count, AT(max_items)},
	{"maxLength", 3, GLM_HOLDS_NONE, read_count, AT(max_length)},
	{"maxProperties", 4, GLM_HOLDS_NONE, read_count, AT(max_properties)},
	{"maximum", 3, GLM_HOLDS_NONE, glm_read_maximum, 0},
	{"minContains", 2019, GLM_HOLDS_NONE, read_count, AT(min_contains)},
	{"minItems", 3, GLM_HOLDS_NONE, read_count, AT(min_items)},
	{"minLength", 3, GLM_HOLDS_NONE, read_count, AT(min_length)},
	{"minProperties", 4, GLM_HOLDS_NONE, read_count, AT(min_properties)},
	{"minimum", 3, GLM_HOLDS_NONE, glm_read_minimum, 0},
	{"multipleOf", 4, GLM_HOLDS_NONE, glm_read_multiple_of, 0},
	{"not", 4, GLM_HOLDS_SCHEMA, read_schema, AT(not_)},
	{"oneOf", 4, GLM_HOLDS_LIST, read_list, AT(one)},
	{"pattern", 3, GLM_HOLDS_NONE, glm_read_pattern, 0},
	{"patternProperties", 3, GLM_HOLDS_MAP, glm_read_pattern_properties, 0},
	{"prefixItems", 2020, GLM_HOLDS_LIST, read_list, AT(prefix)},
	{"properties", 3, GLM_HOLDS_MAP, glm_read_properties, 0},
	{"propertyNames", 6, GLM_HOLDS_SCHEMA, read_schema_or_true, AT(property_names)},
	{"required", 3, GLM_HOLDS_NONE, glm_read_required, 0},
	{"then", 7, GLM_HOLDS_SCHEMA, read_schema, AT(then_)},
	{"type", 3, GLM_HOLDS_NONE, glm_read_type, 0},
	{"unevaluatedItems", 2019, GLM_HOLDS_SCHEMA, refuse_unevaluated, 0},
	{"unevaluatedProperties", 2019, GLM_HOLDS_SCHEMA, refuse_unevaluated, 0},
	{"uniqueItems", 3, GLM_HOLDS_NONE, glm_read_unique_items, 0},
};

static int
compare_name(const void *name, const void *keyword)
{
	return strcmp(name, ((const glm_keyword *) keyword)->name);
}

const glm_keyword *
glm_keyword_find(const char *name, int draft)
{
	const glm_keyword *k = bsearch(name, keywords, sizeof(keywords) / sizeof(keywords[0]),
								   sizeof(keywords[0]), compare_name);

	return k != NULL && draft >= k->since ? k : NULL;
}
