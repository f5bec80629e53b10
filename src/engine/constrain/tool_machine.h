/*
 * tool_machine.h - a call of a tool: its name, a newline, and the arguments as JSON.
 */
#ifndef GLM_TOOL_MACHINE_H
#define GLM_TOOL_MACHINE_H

#include "engine/constrain/machine.h"
#include "engine/constrain/schema.h"

/*
 * A call of one of these tools, an array of {"name", "parameters"}, whose arguments are an
 * object that the parameters allow.
 */
extern glm_machine *glm_tool_machine_new(glm_arena *arena, const glm_value *tools,
										 glm_property_order order, glm_json_space space);

#endif /* GLM_TOOL_MACHINE_H */
