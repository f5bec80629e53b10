/*
 * schema_strings.c - pattern and format.
 *
 * A pattern is searched in the text, not matched with all of it.  A format that nobody has
 * heard of says nothing; one that is known but not enforced is refused.
 */
#include "engine/constrain/schema_compiler.h"

#include <string.h>

void
glm_node_add_components(glm_arena *arena, glm_node *node, const glm_component *component, int n)
{
	glm_component *larger = GLM_NEW(arena, glm_component, node->n_components + n);

	if (node->n_components > 0)
		memcpy(larger, node->component, (size_t) node->n_components * sizeof(*larger));
	memcpy(larger + node->n_components, component, (size_t) n * sizeof(*larger));
	node->component = larger;
	node->n_components += n;
}

const glm_fit *
glm_compiler_fit(glm_compiler *c, const char *text, size_t length, bool format)
{
	glm_fit *fit = c->fits;

	while (fit != NULL &&
		   (fit->length != length || fit->format != format || memcmp(fit->text, text, length) != 0))
		fit = fit->next;
	if (fit != NULL)
		return fit;
	fit = GLM_NEW(c->arena, glm_fit, 1);
	*fit = (glm_fit){.next = c->fits, .text = text, .length = length, .format = format};
	fit->n = format ? glm_dfa_format(c->arena, text, fit->component)
					: glm_dfa_pattern(c->arena, text, length, false, fit->component);
	c->fits = fit;
	return fit;
}

void
glm_read_pattern(glm_compiler *c, glm_node *node, glm_value *value)
{
	const glm_fit *fit;

	glm_compiler_expect(c, value, GLM_KIND_STRING, "a string");
	fit = glm_compiler_fit(c, value->text, (size_t) value->n, false);
	glm_node_add_components(c->arena, node, fit->component, fit->n);
}

void
glm_read_format(glm_compiler *c, glm_node *node, glm_value *value)
{
	const glm_fit *fit;

	glm_compiler_expect_text(c, value, "a string");
	if (glm_format_refused(value->text))
		glm_compiler_fail(c, GLM_UNSUPPORTED, "says \"%s\", which is not supported", value->text);
	fit = glm_compiler_fit(c, value->text, (size_t) value->n, true);
	node->formats |= ((UINT64_C(1) << fit->n) - 1) << node->n_components;
	glm_node_add_components(c->arena, node, fit->component, fit->n);
}
