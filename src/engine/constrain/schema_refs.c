/*
 * schema_refs.c - what `$ref` means: URIs, anchors and JSON pointers.
 *
 * Before anything is compiled all subschemas are walked for `$id` (`id` in draft 4) and
 * `$anchor`.  Only what keywords hold is a subschema: an "id" among properties is a
 * property's name, and one in an enum is a value.  A pointer may lead anywhere, also where
 * no keyword is; what is there becomes a place when it is referred to.
 *
 * Nothing is fetched: a URI that the schema itself does not have is refused.
 */
#include "engine/constrain/schema_compiler.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Finding what has a name ---------------------------------------------------------------------- */

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
		const glm_keyword *k = glm_keyword_find(schema->key[i], resource->draft);

		if (k != NULL)
			collect_held(c, k, schema->item[i], resource, pointer);
	}
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const glm_schema_name *) a)->uri, ((const glm_schema_name *) b)->uri);
}

glm_place *
glm_refs_collect(glm_compiler *c, glm_value *document)
{
	glm_resource *resource = GLM_NEW(c->arena, glm_resource, 1);

	*resource = (glm_resource){.uri = "", .root = document, .draft = 2020};
	set_draft(resource, glm_value_get(document, "$schema"));
	add_name(c, "", "", document);
	collect(c, document, resource, "");
	qsort(c->names, (size_t) c->n_names, sizeof(*c->names), compare_names);
	return glm_compiler_place(c, document, resource, "");
}

/* ---- Following a reference ---------------------------------------------------------------------- */

static int
hex_digit(char c)
{
	return isdigit((unsigned char) c) ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Decodes %XX in place. */
static void
decode_percent(char *text)
{
	char *out = text;

	for (const char *at = text; *at != '\0'; at++)
	{
		bool coded =
			at[0] == '%' && isxdigit((unsigned char) at[1]) && isxdigit((unsigned char) at[2]);

		*out++ = coded ? (char) (hex_digit(at[1]) * 16 + hex_digit(at[2])) : *at;
		at += coded ? 2 : 0;
	}
	*out = '\0';
}

/* What a token of a JSON pointer leads to, ~0 and ~1 decoded in place; NULL: nothing. */
static glm_value *
step(const glm_value *value, char *token)
{
	char *out = token;
	long  index;

	for (const char *at = token; *at != '\0'; at++)
	{
		bool coded = at[0] == '~' && (at[1] == '0' || at[1] == '1');

		*out++ = !coded ? *at : at[1] == '0' ? '~' : '/';
		at += coded;
	}
	*out = '\0';
	if (value->kind != GLM_KIND_ARRAY)
		return glm_value_get(value, token);
	if (token[0] == '\0' || strspn(token, "0123456789") != strlen(token) || strlen(token) > 9)
		return NULL;
	index = strtol(token, NULL, 10);
	return index < value->n ? value->item[index] : NULL;
}

/* The place that a JSON pointer means, seen from a place; NULL: there is no subschema. */
static glm_place *
follow_pointer(glm_compiler *c, const glm_place *from, const char *pointer)
{
	glm_value		   *value = from->value;
	const glm_resource *resource = from->resource;
	const char		   *at = from->pointer;
	char			   *rest = glm_arena_copy(c->arena, pointer, strlen(pointer));

	for (char *token = rest; token != NULL; token = rest)
	{
		token++; /* its slash */
		rest = strchr(token, '/');
		if (rest != NULL)
			*rest = '\0';
		value = step(value, token);
		if (value == NULL)
			return NULL;
		at = glm_pointer_add(c->arena, at, token, NULL);
		if (value->node != NULL)
			resource = ((glm_place *) value->node)->resource;
	}
	if ((value->kind & (GLM_KIND_OBJECT | GLM_KIND_TRUE | GLM_KIND_FALSE)) == 0)
		return NULL;
	return glm_compiler_place(c, value, resource, at);
}

/* The place of a resource or an anchor; NULL: there is none. */
static glm_place *
find_name(const glm_compiler *c, const char *uri, const char *anchor)
{
	glm_schema_name	 wanted = {.uri = uri};
	glm_schema_name *found;

	if (anchor[0] != '\0')
	{
		char *name = glm_arena_get(c->arena, strlen(uri) + strlen(anchor) + 2);

		sprintf(name, "%s#%s", uri, anchor);
		wanted.uri = name;
	}
	found = bsearch(&wanted, c->names, (size_t) c->n_names, sizeof(wanted), compare_names);
	return found != NULL ? found->value->node : NULL;
}

/* A fragment in the resource that begins at a place. */
static glm_place *
follow_fragment(glm_compiler *c, glm_place *root, const char *fragment)
{
	if (fragment[0] == '\0')
		return root;
	if (fragment[0] == '/')
		return follow_pointer(c, root, fragment);
	return find_name(c, root->resource->uri, fragment);
}

void
glm_read_ref(glm_compiler *c, glm_node *node, glm_value *value)
{
	glm_place *root = c->place->resource->root->node;
	glm_place *target;
	char	  *reference;
	char	  *fragment;

	glm_compiler_expect_text(c, value, "a string");
	reference = glm_arena_copy(c->arena, value->text, (size_t) value->n);
	fragment = strchr(reference, '#');
	if (fragment != NULL)
		*fragment++ = '\0';
	else
		fragment = reference + value->n;
	decode_percent(fragment);
	if (reference[0] != '\0')
		root = find_name(c, glm_uri_resolve(c->arena, c->place->resource->uri, reference), "");
	if (root == NULL)
		glm_compiler_fail(c, GLM_UNSUPPORTED,
						  "refers to \"%.120s\", and remote references are not supported",
						  value->text);
	target = follow_fragment(c, root, fragment);
	/* inside of what has an id, "#/..." is often meant from the document's root */
	if (target == NULL && reference[0] == '\0')
		target = follow_fragment(c, c->root, fragment);
	if (target == NULL)
		glm_compiler_fail(c, GLM_BAD_ARGUMENT, "refers to \"%.120s\", which is not there",
						  value->text);
	node->refers = true;
	glm_nodes_add(c->arena, &node->all, glm_compiler_node(c, target));
}
