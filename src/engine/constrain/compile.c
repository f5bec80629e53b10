/*
 * compile.c - the machine of each kind of constraint.
 */
#include "engine/constrain/constraint.h"
#include "engine/constrain/json_machine.h"
#include "engine/constrain/text_machine.h"
#include "engine/constrain/tool_machine.h"

static glm_machine *
compile_schema(glm_arena *arena, const glm_constraint_spec *spec, const char *text, size_t length)
{
	glm_schema *schema = glm_schema_compile(arena, glm_value_read(arena, text, length));

	return glm_json_machine(arena, schema, spec->order, spec->space);
}

static glm_machine *
compile_choices(glm_arena *arena, const glm_constraint_spec *spec)
{
	const glm_value *list = glm_value_read(arena, spec->text, spec->length);
	int				 n = list->kind == GLM_KIND_ARRAY ? list->n : 0;
	const char	   **text = GLM_NEW(arena, const char *, n);
	size_t			*length = GLM_NEW(arena, size_t, n);
	glm_component	 choices = {0};

	if (n == 0)
		glm_arena_fail(arena, GLM_BAD_ARGUMENT, "choices must be an array of strings");
	for (int i = 0; i < n; i++)
	{
		if (!glm_value_is_text(list->item[i]))
			glm_arena_fail(arena, GLM_BAD_ARGUMENT,
						   "choice %d is no string, or one that holds U+0000", i + 1);
		text[i] = list->item[i]->text;
		length[i] = (size_t) list->item[i]->n;
	}
	choices.dfa = glm_dfa_literals(arena, text, length, n);
	return glm_text_machine_new(arena, &choices, 1);
}

static glm_machine *
compile_pattern(glm_arena *arena, const glm_constraint_spec *spec)
{
	glm_component component[GLM_PATTERN_COMPONENTS];
	int			  n = glm_dfa_pattern(arena, spec->text, spec->length, true, component);

	return glm_text_machine_new(arena, component, n);
}

static glm_machine *
compile(glm_arena *arena, const glm_constraint_spec *spec)
{
	static const char object[] = "{\"type\": \"object\"}";

	switch (spec->kind)
	{
		case GLM_JSON_OBJECT:
			return compile_schema(arena, spec, object, sizeof(object) - 1);
		case GLM_CHOICES:
			return compile_choices(arena, spec);
		case GLM_REGEX:
			return compile_pattern(arena, spec);
		case GLM_TOOL_CALL:
			return glm_tool_machine_new(arena, glm_value_read(arena, spec->text, spec->length),
										spec->order, spec->space);
		default:
			return compile_schema(arena, spec, spec->text, spec->length);
	}
}

glm_constraint *
glm_constraint_open(const glm_constraint_spec *spec, const glm_vocabulary *vocabulary,
					glm_error *err)
{
	return glm_constraint_make(spec, vocabulary, compile, err);
}
