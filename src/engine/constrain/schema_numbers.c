/*
 * schema_numbers.c - minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf.
 *
 * In draft 4 exclusiveMinimum says true or false about minimum; since draft 6 it is a bound
 * of its own.  Where no draft is declared both forms are read, as both are found.
 */
#include "engine/constrain/schema_compiler.h"

static void
raise_low(glm_range *range, const glm_decimal *bound, bool exclusive)
{
	int order = range->low == NULL ? 1 : glm_decimal_compare(bound, range->low);

	if (order > 0)
		range->low = bound;
	if (order >= 0)
		range->above_low = exclusive || (order == 0 && range->above_low);
}

static void
lower_high(glm_range *range, const glm_decimal *bound, bool exclusive)
{
	int order = range->high == NULL ? -1 : glm_decimal_compare(bound, range->high);

	if (order < 0)
		range->high = bound;
	if (order <= 0)
		range->below_high = exclusive || (order == 0 && range->below_high);
}

/* Does another keyword of the schema say true? */
static bool
says_true(const glm_compiler *c, const char *keyword)
{
	const glm_value *value = glm_value_get(c->place->value, keyword);

	return value != NULL && value->kind == GLM_KIND_TRUE;
}

/* Is an exclusive bound one of its own?  Else it says something about another. */
static bool
is_bound(glm_compiler *c, const glm_value *value)
{
	const glm_resource *resource = c->place->resource;
	unsigned			booleans = GLM_KIND_TRUE | GLM_KIND_FALSE;

	if (resource->draft <= 4)
		glm_compiler_expect(c, value, booleans, "true or false");
	else if (resource->declared)
		glm_compiler_expect(c, value, GLM_KIND_NUMBER, "a number");
	else
		glm_compiler_expect(c, value, GLM_KIND_NUMBER | booleans, "a number, true or false");
	return value->kind == GLM_KIND_NUMBER;
}

void
glm_read_minimum(glm_compiler *c, glm_node *node, glm_value *value)
{
	raise_low(&node->range, glm_compiler_number(c, value), says_true(c, "exclusiveMinimum"));
}

void
glm_read_maximum(glm_compiler *c, glm_node *node, glm_value *value)
{
	lower_high(&node->range, glm_compiler_number(c, value), says_true(c, "exclusiveMaximum"));
}

void
glm_read_exclusive_minimum(glm_compiler *c, glm_node *node, glm_value *value)
{
	if (is_bound(c, value))
		raise_low(&node->range, glm_compiler_number(c, value), true);
}

void
glm_read_exclusive_maximum(glm_compiler *c, glm_node *node, glm_value *value)
{
	if (is_bound(c, value))
		lower_high(&node->range, glm_compiler_number(c, value), true);
}

void
glm_read_multiple_of(glm_compiler *c, glm_node *node, glm_value *value)
{
	node->range.multiple_of = glm_compiler_number(c, value);
	if (node->range.multiple_of->sign <= 0)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to be more than 0");
}
