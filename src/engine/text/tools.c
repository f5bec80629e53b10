/*
 * tools.c - tools as a system turn shows them; see messages.h.
 *
 * The order of the keys of a tool is part of what the model reads.  Tools that
 * come apart keep theirs.  Messages may have passed through jsonb, which keeps
 * none; so in those name, description and parameters come first, as in every
 * published example.
 *
 * A tool under whose name no call could ever be told from prose is refused here,
 * not offered in vain.
 *
 * No locks: pure functions.
 */
#include "engine/text/message_walk.h"

#include <string.h>

#include "engine/text/literal.h"

/* The keys every published tool begins with, then the others. */
static json_t *
ordered_tool(json_t *tool)
{
	static const char *const first[] = {"name", "description", "parameters"};
	json_t					*ordered = glm_json_new();
	const char				*key;
	json_t					*value;

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++)
		if ((value = json_object_get(tool, first[i])) != NULL)
			json_object_set(ordered, first[i], value);
	json_object_foreach(tool, key, value)
		if (json_object_get(ordered, key) == NULL)
			json_object_set(ordered, key, value);
	return ordered;
}

/* {"type": "function", "function": {...}} -> {...}; NULL when it is no tool. */
static json_t *
bare_tool(json_t *tool)
{
	json_t	   *function = json_object_get(tool, "function");
	json_t	   *type = json_object_get(tool, "type");
	const char *type_text = glm_json_text(type);

	if (json_is_object(function) &&
		(type == NULL || (type_text != NULL && strcmp(type_text, "function") == 0)))
		tool = function;
	return json_string_length(json_object_get(tool, "name")) > 0 ? tool : NULL;
}

static bool
add_tool(glm_message_walk *w, json_t *list, json_t *tool, bool reorder, const char *where, size_t i)
{
	json_t *bare = bare_tool(tool);
	json_t *name = json_object_get(bare, "name");

	if (bare == NULL || glm_json_text(name) == NULL)
		return glm_fail(w->err, GLM_BAD_JSON, "%s[%zu] must be an object with a \"name\"", where,
						i);
	if (!glm_literal_is_name(json_string_value(name), json_string_length(name)))
	{
		glm_fail(w->err, GLM_BAD_JSON, "%s[%zu] has the name \"%.100s\", which no call could have",
				 where, i, json_string_value(name));
		glm_hint(w->err,
				 "Names are made of letters, digits, _ and -, with ., : and / inside, "
				 "and have at most %d bytes.",
				 GLM_NAME_MAX);
		return false;
	}
	if (json_array_append_new(list, reorder ? ordered_tool(bare) : json_incref(bare)) != 0)
		return glm_no_memory(w->err);
	return true;
}

bool
glm_tools_add(glm_message_walk *w, json_t *tools, bool reorder, const char *where)
{
	json_t *list = json_array();
	bool	ok = true;

	for (size_t i = 0; ok && i < json_array_size(tools); i++)
		ok = glm_pause(w->err) && add_tool(w, list, json_array_get(tools, i), reorder, where, i);
	if (ok)
	{
		ok = w->chat->write_tools(&w->content, list);
		if (!glm_pause(w->err))
			ok = false;
		else if (!ok && !w->content.failed)
			glm_fail(w->err, GLM_TOO_LONG, "%s take more than %u bytes when written with indents",
					 where, GLM_LITERAL_MAX);
		else if (!ok)
			glm_no_memory(w->err);
	}
	json_decref(list);
	return ok;
}
