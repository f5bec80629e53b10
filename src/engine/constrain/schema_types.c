/*
 * schema_types.c - type, enum and const.
 *
 * An enum is taken apart by kind: null, true and false are kinds of their own, strings
 * become one automaton, numbers a list, and each array or object a node that only it fits.
 */
#include "engine/constrain/schema_compiler.h"

#include <string.h>

/* ---- type ----------------------------------------------------------------------------------- */

typedef struct type_name
{
	const char *name;
	unsigned	kinds;
} type_name;

static const type_name types[] = {
	{"null", GLM_KIND_NULL},	  {"boolean", GLM_KIND_FALSE | GLM_KIND_TRUE},
	{"integer", GLM_KIND_NUMBER}, {"number", GLM_KIND_NUMBER},
	{"string", GLM_KIND_STRING},  {"array", GLM_KIND_ARRAY},
	{"object", GLM_KIND_OBJECT},
};

/* Number and integer together are number. */
static void
add_type(glm_compiler *c, const glm_value *name, unsigned *kinds, bool *fractions)
{
	if ((name->kind & (GLM_KIND_OBJECT | GLM_KIND_TRUE | GLM_KIND_FALSE)) != 0)
		glm_compiler_fail(c, GLM_UNSUPPORTED, "has a schema as in draft 3, which is not supported");
	glm_compiler_expect_text(c, name, "the name of a type, or several");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
	{
		if (strcmp(name->text, types[i].name) != 0)
			continue;
		*kinds |= types[i].kinds;
		*fractions |= strcmp(name->text, "number") == 0;
		return;
	}
	if (strcmp(name->text, "any") == 0)
		glm_compiler_fail(c, GLM_UNSUPPORTED, "says any as in draft 3, which is not supported");
	glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has no type \"%.60s\"", name->text);
}

void
glm_read_type(glm_compiler *c, glm_node *node, glm_value *value)
{
	unsigned kinds = 0;
	bool	 fractions = false;

	if (value->kind != GLM_KIND_ARRAY)
		add_type(c, value, &kinds, &fractions);
	else
		for (int i = 0; i < value->n; i++)
			add_type(c, value->item[i], &kinds, &fractions);
	if (kinds == 0)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "has to name a type");
	node->kinds &= kinds;
	node->range.integer = (kinds & GLM_KIND_NUMBER) != 0 && !fractions;
}

/* ---- enum and const --------------------------------------------------------------------------- */

static void set_values(glm_compiler *c, glm_node *node, glm_value *const *value, int n);

static glm_node *
never(glm_compiler *c)
{
	if (c->never == NULL)
	{
		c->never = glm_node_new(c->arena, c->schema);
		c->never->never = true;
		c->never->kinds = 0;
	}
	return c->never;
}

/* A node that this value fits alone; recurses no deeper than values are. */
static glm_node *
literal(glm_compiler *c, glm_value *value)
{
	glm_node *node = glm_node_new(c->arena, c->schema);

	node->pointer = c->place->pointer;
	if (value->kind == GLM_KIND_ARRAY)
	{
		node->kinds = GLM_KIND_ARRAY;
		node->min_items = node->max_items = value->n;
		node->prefix = (glm_nodes){GLM_NEW(c->arena, glm_node *, value->n), value->n};
		for (int i = 0; i < value->n; i++)
			node->prefix.node[i] = literal(c, value->item[i]);
	}
	else if (value->kind == GLM_KIND_OBJECT)
	{
		node->kinds = GLM_KIND_OBJECT;
		node->additional = never(c);
		node->n_properties = node->n_required = value->n;
		node->properties = GLM_NEW(c->arena, glm_property, value->n);
		node->required = GLM_NEW(c->arena, glm_name, value->n);
		for (int i = 0; i < value->n; i++)
		{
			node->required[i] = (glm_name){value->key[i], value->key_length[i]};
			node->properties[i] = (glm_property){node->required[i], literal(c, value->item[i])};
		}
	}
	else
		set_values(c, node, &value, 1);
	glm_node_finish(node);
	return node;
}

static int
count_kinds(glm_value *const *value, int n, unsigned kinds)
{
	int count = 0;

	for (int i = 0; i < n; i++)
		count += (value[i]->kind & kinds) != 0;
	return count;
}

static void
set_strings(glm_compiler *c, glm_node *node, glm_value *const *value, int n, int n_strings)
{
	const char	**text = GLM_NEW(c->arena, const char *, n_strings);
	size_t		 *length = GLM_NEW(c->arena, size_t, n_strings);
	glm_component literals = {NULL, false};

	n_strings = 0;
	for (int i = 0; i < n; i++)
	{
		/* no answer holds U+0000 */
		if (!glm_value_is_text(value[i]))
			continue;
		text[n_strings] = value[i]->text;
		length[n_strings++] = (size_t) value[i]->n;
	}
	literals.dfa = glm_dfa_literals(c->arena, text, length, n_strings);
	glm_node_add_components(c->arena, node, &literals, 1);
}

static void
set_numbers(glm_compiler *c, glm_node *node, glm_value *const *value, int n, int n_numbers)
{
	glm_decimal *numbers = GLM_NEW(c->arena, glm_decimal, n_numbers);

	node->numbers = numbers;
	for (int i = 0; i < n; i++)
		if (value[i]->kind == GLM_KIND_NUMBER &&
			!glm_decimal_read(&numbers[node->n_numbers++], value[i]->text, (size_t) value[i]->n))
			glm_compiler_fail(c, GLM_TOO_COMPLEX, "has a number of too many digits");
}

/* Arrays and objects, and one node that all else fits. */
static void
set_containers(glm_compiler *c, glm_node *node, glm_value *const *value, int n, int n_containers)
{
	glm_nodes *any = &node->any_value;
	glm_node  *others = glm_node_new(c->arena, c->schema);

	others->kinds = GLM_KIND_ANY & ~(GLM_KIND_ARRAY | GLM_KIND_OBJECT);
	others->pointer = c->place->pointer;
	any->node = GLM_NEW(c->arena, glm_node *, n_containers + 1);
	any->node[any->n++] = others;
	for (int i = 0; i < n; i++)
		if (value[i]->kind == GLM_KIND_ARRAY || value[i]->kind == GLM_KIND_OBJECT)
			any->node[any->n++] = literal(c, value[i]);
}

/* Only these values pass. */
static void
set_values(glm_compiler *c, glm_node *node, glm_value *const *value, int n)
{
	int		 n_strings = count_kinds(value, n, GLM_KIND_STRING);
	int		 n_numbers = count_kinds(value, n, GLM_KIND_NUMBER);
	int		 n_containers = count_kinds(value, n, GLM_KIND_ARRAY | GLM_KIND_OBJECT);
	unsigned kinds = 0;

	for (int i = 0; i < n; i++)
		kinds |= value[i]->kind;
	node->kinds &= kinds;
	if (n_strings > 0)
		set_strings(c, node, value, n, n_strings);
	if (n_numbers > 0)
		set_numbers(c, node, value, n, n_numbers);
	if (n_containers > 0)
		set_containers(c, node, value, n, n_containers);
}

void
glm_read_enum(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_compiler_expect(c, value, GLM_KIND_ARRAY, "an array");
	if (value->n > GLM_SCHEMA_ENUM)
		glm_compiler_fail(c, GLM_TOO_COMPLEX, "has more than %d values", GLM_SCHEMA_ENUM);
	set_values(c, node, value->item, value->n);
}

void
glm_read_const(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_node *own;

	if (glm_value_get(c->place->value, "enum") == NULL)
	{
		set_values(c, node, &value, 1);
		return;
	}
	own = glm_node_new(c->arena, c->schema);
	own->pointer = c->place->pointer;
	set_values(c, own, &value, 1);
	glm_node_finish(own);
	glm_nodes_add(c->arena, &node->all, own);
}
