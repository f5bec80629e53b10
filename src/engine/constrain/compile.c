/*
 * compile.c - the machine of each kind of constraint.
 */
#include "engine/constrain/constraint.h"
#include "engine/constrain/json_machine.h"
#include "engine/constrain/tool_machine.h"

static glm_machine *
compile_schema(glm_arena *arena, const glm_constraint_spec *spec, const char *text, size_t length)
{
	glm_schema *schema = glm_schema_compile(arena, glm_value_read(arena, text, length));

	return glm_json_machine(arena, schema, spec->order, spec->space);
}

static glm_machine *
compile(glm_arena *arena, const glm_constraint_spec *spec)
{
	static const char object[] = "{\"type\": \"object\"}";

	switch (spec->kind)
	{
		case GLM_JSON_OBJECT:
			return compile_schema(arena, spec, object, sizeof(object) - 1);
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
