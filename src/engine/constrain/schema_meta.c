/*
 * schema_meta.c - the meta-schemas of drafts 4, 6 and 7, which schemas refer to.
 *
 * They are here because nothing is fetched: what they ask, without annotations, put together
 * from the parts that the draft has.  Those of newer drafts go by $dynamicRef, which is not
 * supported.
 */
#include "engine/constrain/schema_compiler.h"

#include <string.h>

#define SELF "{'$ref': '#'}"
#define MAP "{'type': 'object', 'additionalProperties': {'$ref': '#'}}"
#define DEFINED(name) "{'$ref': '#/definitions/" name "'}"
#define SCHEMAS DEFINED("schemaArray")
#define STRINGS DEFINED("stringArray")
#define TYPE DEFINED("simpleTypes")
#define COUNT_4 DEFINED("positiveInteger")
#define COUNT DEFINED("nonNegativeInteger")
#define STRING "{'type': 'string'}"
#define NUMBER "{'type': 'number'}"
#define BOOLEAN "{'type': 'boolean'}"
#define REGEX "{'type': 'string', 'format': 'regex'}"
#define REFERENCE "{'type': 'string', 'format': 'uri-reference'}"
#define EITHER(a, b) "{'anyOf': [" a ", " b "]}"

typedef struct part
{
	int			since, until; /* drafts */
	const char *name;
	const char *schema; /* with ' for " */
} part;

static const part DEFINITIONS[] = {
	{4, 7, "schemaArray", "{'type': 'array', 'minItems': 1, 'items': " SELF "}"},
	{4, 4, "positiveInteger", "{'type': 'integer', 'minimum': 0}"},
	{4, 4, "positiveIntegerDefault0", COUNT_4},
	{6, 7, "nonNegativeInteger", "{'type': 'integer', 'minimum': 0}"},
	{6, 7, "nonNegativeIntegerDefault0", COUNT},
	{4, 7, "simpleTypes",
	 "{'enum': ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string']}"},
	{4, 4, "stringArray",
	 "{'type': 'array', 'minItems': 1, 'uniqueItems': true, 'items': " STRING "}"},
	{6, 7, "stringArray", "{'type': 'array', 'uniqueItems': true, 'items': " STRING "}"},
};

static const part PROPERTIES[] = {
	{4, 4, "id", STRING},
	{6, 7, "$id", REFERENCE},
	{4, 7, "$schema", "{'type': 'string', 'format': 'uri'}"},
	{6, 7, "$ref", REFERENCE},
	{7, 7, "$comment", STRING},
	{4, 7, "title", STRING},
	{4, 7, "description", STRING},
	{4, 7, "default", "{}"},
	{7, 7, "readOnly", BOOLEAN},
	{6, 7, "examples", "{'type': 'array'}"},
	{4, 4, "multipleOf", "{'type': 'number', 'minimum': 0, 'exclusiveMinimum': true}"},
	{6, 7, "multipleOf", "{'type': 'number', 'exclusiveMinimum': 0}"},
	{4, 7, "maximum", NUMBER},
	{4, 4, "exclusiveMaximum", BOOLEAN},
	{6, 7, "exclusiveMaximum", NUMBER},
	{4, 7, "minimum", NUMBER},
	{4, 4, "exclusiveMinimum", BOOLEAN},
	{6, 7, "exclusiveMinimum", NUMBER},
	{4, 4, "maxLength", COUNT_4},
	{6, 7, "maxLength", COUNT},
	{4, 4, "minLength", COUNT_4},
	{6, 7, "minLength", COUNT},
	{4, 7, "pattern", REGEX},
	{4, 4, "additionalItems", EITHER(BOOLEAN, SELF)},
	{6, 7, "additionalItems", SELF},
	{4, 7, "items", EITHER(SELF, SCHEMAS)},
	{4, 4, "maxItems", COUNT_4},
	{6, 7, "maxItems", COUNT},
	{4, 4, "minItems", COUNT_4},
	{6, 7, "minItems", COUNT},
	{4, 7, "uniqueItems", BOOLEAN},
	{6, 7, "contains", SELF},
	{4, 4, "maxProperties", COUNT_4},
	{6, 7, "maxProperties", COUNT},
	{4, 4, "minProperties", COUNT_4},
	{6, 7, "minProperties", COUNT},
	{4, 7, "required", STRINGS},
	{4, 4, "additionalProperties", EITHER(BOOLEAN, SELF)},
	{6, 7, "additionalProperties", SELF},
	{4, 7, "definitions", MAP},
	{4, 7, "properties", MAP},
	{4, 4, "patternProperties", MAP},
	{6, 7, "patternProperties",
	 "{'type': 'object', 'additionalProperties': " SELF ", 'propertyNames': {'format': 'regex'}}"},
	{4, 7, "dependencies", "{'type': 'object', 'additionalProperties': " EITHER(SELF, STRINGS) "}"},
	{6, 7, "propertyNames", SELF},
	{6, 7, "const", "{}"},
	{4, 7, "enum", "{'type': 'array'}"},
	{4, 7, "type",
	 EITHER(TYPE, "{'type': 'array', 'items': " TYPE ", 'minItems': 1, 'uniqueItems': true}")},
	{4, 7, "format", STRING},
	{7, 7, "contentMediaType", STRING},
	{7, 7, "contentEncoding", STRING},
	{7, 7, "if", SELF},
	{7, 7, "then", SELF},
	{7, 7, "else", SELF},
	{4, 7, "allOf", SCHEMAS},
	{4, 7, "anyOf", SCHEMAS},
	{4, 7, "oneOf", SCHEMAS},
	{4, 7, "not", SELF},
};

static const part OTHERS[] = {
	{4, 4, "type", "'object'"},
	{6, 7, "type", "['object', 'boolean']"},
	{4, 4, "dependencies", "{'exclusiveMaximum': ['maximum'], 'exclusiveMinimum': ['minimum']}"},
};

#define N_PARTS(parts) (sizeof(parts) / sizeof((parts)[0]))

/* The members that a draft has, behind those there are. */
static void
put_parts(glm_buf *out, const part *parts, size_t n, int draft)
{
	for (size_t i = 0; i < n; i++)
	{
		if (draft < parts[i].since || draft > parts[i].until || out->failed)
			continue;
		glm_buf_puts(out, out->data[out->length - 1] == '{' ? "'" : ", '");
		glm_buf_puts(out, parts[i].name);
		glm_buf_puts(out, "': ");
		glm_buf_puts(out, parts[i].schema);
	}
}

static void
put_meta_schema(glm_buf *out, const char *uri, int draft)
{
	glm_buf_puts(out, draft == 4 ? "{'id': '" : "{'$id': '");
	glm_buf_puts(out, uri);
	glm_buf_puts(out, "#', '$schema': '");
	glm_buf_puts(out, uri);
	glm_buf_puts(out, "#'");
	put_parts(out, OTHERS, N_PARTS(OTHERS), draft);
	glm_buf_puts(out, ", 'definitions': {");
	put_parts(out, DEFINITIONS, N_PARTS(DEFINITIONS), draft);
	glm_buf_puts(out, "}, 'properties': {");
	put_parts(out, PROPERTIES, N_PARTS(PROPERTIES), draft);
	glm_buf_puts(out, "}}");
}

glm_value *
glm_meta_schema(glm_arena *arena, const char *uri)
{
	static const char begin[] = "//json-schema.org/draft-0", end[] = "/schema";
	const char		 *rest = strchr(uri, ':'); /* http and https are both written */
	int				  draft = 0;
	glm_buf			  out = {0};
	char			 *text;

	if (rest != NULL && strncmp(uri, "http", 4) == 0 &&
		strncmp(rest + 1, begin, sizeof(begin) - 1) == 0 &&
		strcmp(rest + sizeof(begin) + 1, end) == 0)
		draft = rest[sizeof(begin)] - '0';
	if (draft != 4 && draft != 6 && draft != 7)
		return NULL;
	put_meta_schema(&out, uri, draft);
	if (out.failed)
	{
		glm_buf_free(&out);
		glm_arena_fail(arena, GLM_NO_ROOM, "out of memory");
	}
	for (size_t i = 0; i < out.length; i++)
		out.data[i] = out.data[i] == '\'' ? '"' : out.data[i];
	text = glm_arena_copy(arena, out.data, out.length);
	glm_buf_free(&out);
	return glm_value_read(arena, text, strlen(text));
}
