/*
 * schema_refs.c - what `$ref` means: a URI, and an anchor or a JSON pointer behind it.
 *
 * A pointer may lead anywhere, also where no keyword is; what is there becomes a place when
 * it is referred to.  Nothing is fetched: a URI that is neither in the schema itself nor that
 * of a meta-schema which is built in (schema_meta.c) is refused.
 */
#include "engine/constrain/schema_compiler.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	found = bsearch(&wanted, c->names, (size_t) c->n_names, sizeof(wanted), glm_names_compare);
	return found != NULL ? found->value->node : NULL;
}

/* The place of a document: one in the schema, or a meta-schema; NULL: there is none. */
static glm_place *
find_document(glm_compiler *c, const char *uri)
{
	glm_place *root = find_name(c, uri, "");
	glm_value *meta = root == NULL ? glm_meta_schema(c->arena, uri) : NULL;

	return meta != NULL ? glm_names_collect(c, meta, uri) : root;
}

/* Does a path of whole names end a URI? */
static bool
ends_with_path(const char *uri, const char *path)
{
	size_t n = strlen(uri), end = strlen(path);

	return n > end && strcmp(uri + n - end, path) == 0 &&
		   (path[0] == '/' || uri[n - end - 1] == '/');
}

/* The place of the only resource whose URI ends so: bases are often not what they should be. */
static glm_place *
find_by_end(const glm_compiler *c, const char *reference)
{
	const glm_schema_name *found = NULL;

	for (int i = 0; i < c->n_names; i++)
	{
		if (strchr(c->names[i].uri, '#') != NULL || !ends_with_path(c->names[i].uri, reference))
			continue;
		if (found != NULL)
			return NULL;
		found = &c->names[i];
	}
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
		root = find_document(c, glm_uri_resolve(c->arena, c->place->resource->uri, reference));
	if (root == NULL)
		root = find_by_end(c, reference);
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
