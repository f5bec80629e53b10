/*
 * schema.c - from a schema that was read to its nodes.
 *
 * Four steps: what has a URI is found (schema_names.c); from the root on, each place that
 * something leads to becomes a node (the readers of schema_keywords.c); cycles that end
 * nowhere are refused (schema_graph.c); and formats are made safe (schema_formats.c).
 *
 * Errors come from anywhere below, automata and numbers included, by the escape of the
 * arena.  It is taken over meanwhile, so that every message gets keyword and pointer.
 */
#include "engine/constrain/schema_compiler.h"

#define PLACES_A_PAUSE 64

static void
read_keyword(glm_compiler *c, glm_node *node, const char *name, glm_value *value)
{
	c->keyword = glm_keyword_find(name, c->place->resource->draft);
	if (c->keyword != NULL && c->keyword->read != NULL)
		c->keyword->read(c, node, value);
}

static void
compile_place(glm_compiler *c, glm_place *place)
{
	glm_value *value = place->value;
	glm_value *ref = glm_value_get(value, "$ref");
	glm_node  *node = place->node;

	c->place = place;
	node->never = value->kind == GLM_KIND_FALSE;
	if (node->never)
		node->kinds = 0;
	/* up to draft 7 nothing counts beside $ref */
	if (ref != NULL && place->resource->draft <= 7)
		read_keyword(c, node, "$ref", ref);
	else if (value->kind == GLM_KIND_OBJECT)
		for (int i = 0; i < value->n; i++)
			read_keyword(c, node, value->key[i], value->item[i]);
	c->keyword = NULL;
	if (node->if_ == NULL)
		node->then_ = node->else_ = NULL;
	glm_node_finish(node);
}

static void
compile(glm_compiler *c, glm_value *document)
{
	int n = 0;

	if ((document->kind & (GLM_KIND_OBJECT | GLM_KIND_TRUE | GLM_KIND_FALSE)) == 0)
		glm_arena_fail(c->arena, GLM_BAD_ARGUMENT, "schema has to be an object, true or false");
	c->root = glm_names_collect(c, document, "");
	c->schema->root = glm_compiler_node(c, c->root);
	for (glm_place *place = c->root; place != NULL; place = place->next)
	{
		if (++n % PLACES_A_PAUSE == 0)
			glm_arena_pause(c->arena);
		compile_place(c, place);
	}
	glm_schema_refuse_cycles(c);
	glm_schema_without_formats(c);
}

/* Hands an error out, with what it does not say yet. */
static _Noreturn void
hand_out(glm_compiler *c, const glm_error *why)
{
	if (c->told || c->keyword == NULL)
	{
		*c->arena->err = *why;
		longjmp(*c->arena->escape, 1);
	}
	glm_arena_fail(c->arena, why->status, "schema keyword \"%s\" at \"%s\": %s", c->keyword->name,
				   c->place->pointer, why->message);
}

glm_schema *
glm_schema_compile(glm_arena *arena, glm_value *document)
{
	/* in the arena, because what is changed after setjmp() is not kept on the stack */
	glm_compiler *c = GLM_NEW(arena, glm_compiler, 1);
	jmp_buf		 *outer_escape = arena->escape;
	glm_error	 *outer_err = arena->err;
	jmp_buf		  escape;
	glm_error	  why;

	c->arena = arena;
	c->find = glm_keyword_find;
	c->schema = GLM_NEW(arena, glm_schema, 1);
	c->queue_end = &GLM_NEW(arena, glm_place, 1)->next;
	arena->escape = &escape;
	arena->err = &why;
	if (setjmp(escape) == 0)
	{
		compile(c, document);
		arena->escape = outer_escape;
		arena->err = outer_err;
		return c->schema;
	}
	arena->escape = outer_escape;
	arena->err = outer_err;
	hand_out(c, &why);
}
