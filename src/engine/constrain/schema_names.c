/*
 * schema_names.c - the URIs and anchors in a schema.
 *
 * Before anything is compiled all subschemas are walked for `$id` (`id` in draft 4) and
 * `$anchor`.  Only what keywords hold is a subschema: an "id" among properties is a
 * property's name, and one in an enum is a value.
 */
#include "engine/constrain/schema_compiler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct draft_uri
{
	const char *part;
	int			draft;
} draft_uri;

/* Takes the draft from `$schema`; one that is not known is taken for the newest. */
static void
set_draft(glm_resource *resource, const glm_value *schema_uri)
{
	static const draft_uri drafts[] = {{"draft-03", 3}, {"draft-04", 4},   {"draft-06", 6},
									   {"draft-07", 7}, {"2019-09", 2019}, {"2020-12", 2020}};

	if (schema_uri == NULL || !glm_value_is_text(schema_uri))
		return;
	resource->draft = 2020;
	resource->declared = false;
	for (size_t i = 0; i < sizeof(drafts) / sizeof(drafts[0]); i++)
	{
		if (strstr(schema_uri->text, drafts[i].part) == NULL)
			continue;
		resource->draft = drafts[i].draft;
		resource->declared = true;
	}
}

/* A name is a URI without fragment, or with an anchor as its fragment. */
static void
add_name(glm_compiler *c, const char *uri, const char *anchor, glm_value *value)
{
	char *name = glm_arena_get(c->arena, strlen(uri) + strlen(anchor) + 2);

	sprintf(name, "%s%s%s", uri, anchor[0] != '\0' ? "#" : "", anchor);
	c->names =
		glm_arena_grow(c->arena, c->names, sizeof(*c->names), &c->names_room, c->n_names + 1);
	c->names[c->n_names++] = (glm_schema_name){name, value};
}

static const char *
string_of(const glm_value *object, const char *key)
{
	const glm_value *value = glm_value_get(object, key);

	return value != NULL && glm_value_is_text(value) ? value->text : NULL;
}

/* `$id`, or `id` as it was up to draft 4; NULL: it has none. */
static const char *
id_of(const glm_value *schema, const glm_resource *resource)
{
	const char *id = string_of(schema, "$id");

	/* up to draft 7 nothing counts beside $ref */
	if (resource->draft <= 7 && string_of(schema, "$ref") != NULL)
		return NULL;
	if (resource->draft <= 4 || (id == NULL && !resource->declared))
		id = string_of(schema, "id");
	return id;
}

/* The resource of a subschema, a new one when its id has a URI of its own. */
static const glm_resource *
resource_of(glm_compiler *c, glm_value *schema, const glm_resource *outer)
{
	const char	 *id = id_of(schema, outer);
	char		 *reference;
	char		 *fragment;
	const char	 *uri;
	glm_resource *own;

	if (id == NULL)
		return outer;
	reference = glm_arena_copy(c->arena, id, strlen(id));
	fragment = strchr(reference, '#');
	if (fragment != NULL)
		*fragment++ = '\0';
	uri = glm_uri_resolve(c->arena, outer->uri, reference);
	if (fragment != NULL && fragment[0] != '\0')
		add_name(c, uri, fragment, schema);
	if (strcmp(uri, outer->uri) == 0)
		return outer;
	own = GLM_NEW(c->arena, glm_resource, 1);
	*own = *outer;
	own->uri = uri;
	own->root = schema;
	set_draft(own, glm_value_get(schema, "$schema"));
	add_name(c, uri, "", schema);
	return own;
}

static void
add_anchor(glm_compiler *c, const glm_value *schema, const glm_resource *resource, const char *key,
		   glm_value *value)
{
	const char *anchor = resource->draft >= 2019 ? string_of(schema, key) : NULL;

	if (anchor != NULL)
		add_name(c, resource->uri, anchor, value);
}

static void collect(glm_compiler *c, glm_value *schema, const glm_resource *resource,
					const char *pointer);

/* The subschemas in the value of a keyword. */
static void
collect_held(glm_compiler *c, const glm_keyword *k, glm_value *value, const glm_resource *resource,
			 const char *pointer)
{
	bool list = k->holds == GLM_HOLDS_LIST && value->kind == GLM_KIND_ARRAY;
	bool map = k->holds == GLM_HOLDS_MAP && value->kind == GLM_KIND_OBJECT;

	if (!list && !map && k->holds != GLM_HOLDS_NONE && k->holds != GLM_HOLDS_MAP)
		collect(c, value, resource, glm_pointer_add(c->arena, pointer, k->name, NULL));
	for (int i = 0; (list || map) && i < value->n; i++)
	{
		char index[16];

		snprintf(index, sizeof(index), "%d", i);
		collect(c, value->item[i], resource,
				glm_pointer_add(c->arena, pointer, k->name, map ? value->key[i] : index));
	}
}

/* Recurses no deeper than values are. */
static void
collect(glm_compiler *c, glm_value *schema, const glm_resource *resource, const char *pointer)
{
	if (schema->kind != GLM_KIND_OBJECT)
		return;
	resource = resource_of(c, schema, resource);
	add_anchor(c, schema, resource, "$anchor", schema);
	add_anchor(c, schema, resource, "$dynamicAnchor", schema);
	(void) glm_compiler_place(c, schema, resource, pointer);
	for (int i = 0; i < schema->n; i++)
	{
		const glm_keyword *k = c->find(schema->key[i], resource->draft);

		if (k != NULL)
			collect_held(c, k, schema->item[i], resource, pointer);
	}
}

int
glm_names_compare(const void *a, const void *b)
{
	return strcmp(((const glm_schema_name *) a)->uri, ((const glm_schema_name *) b)->uri);
}

glm_place *
glm_names_collect(glm_compiler *c, glm_value *document, const char *uri)
{
	glm_resource *resource = GLM_NEW(c->arena, glm_resource, 1);

	*resource = (glm_resource){.uri = uri, .root = document, .draft = 2020};
	set_draft(resource, glm_value_get(document, "$schema"));
	add_name(c, uri, "", document);
	collect(c, document, resource, "");
	qsort(c->names, (size_t) c->n_names, sizeof(*c->names), glm_names_compare);
	return glm_compiler_place(c, document, resource, "");
}
