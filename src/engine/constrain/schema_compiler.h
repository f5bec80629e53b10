/*
 * schema_compiler.h - what the files that compile a schema share.
 *
 * A subschema's place is its value, its pointer and what `$ref` means there.  Making the
 * node of a place puts the place into a queue; so only what the root leads to is compiled,
 * each place once, and nothing recurses.
 */
#ifndef GLM_SCHEMA_COMPILER_H
#define GLM_SCHEMA_COMPILER_H

#include "engine/constrain/schema.h"

/* A schema with a URI of its own, without those that lie in it. */
typedef struct glm_resource
{
	const char *uri; /* without fragment; "" where the schema says none */
	glm_value  *root;
	int			draft;	  /* 3, 4, 6, 7, 2019, 2020 */
	bool		declared; /* `$schema` says so; else it is the newest, and what older ones had */
} glm_resource;

typedef struct glm_place glm_place;

/* glm_value.node of a subschema */
struct glm_place
{
	glm_value		   *value;
	glm_node		   *node; /* NULL: nothing leads to it yet */
	const glm_resource *resource;
	const char		   *pointer;
	glm_place		   *next; /* in the queue */
};

/* A URI of a resource, or one with an anchor behind it. */
typedef struct glm_schema_name
{
	const char *uri;
	glm_value  *value;
} glm_schema_name;

/* What a text has to fit: the components of a pattern or a format. */
typedef struct glm_fit glm_fit;

struct glm_fit
{
	glm_fit		 *next;
	const char	 *text; /* the pattern, or the format's name */
	size_t		  length;
	bool		  format;
	glm_component component[GLM_PATTERN_COMPONENTS];
	int			  n;
};

typedef struct glm_keyword glm_keyword;

typedef struct glm_compiler
{
	glm_arena		*arena;
	glm_schema		*schema;
	glm_place		*root;
	glm_place	   **queue_end;
	glm_node		*never; /* of literals, NULL until needed */
	glm_fit			*fits;
	glm_schema_name *names; /* sorted by URI */
	int				 n_names, names_room;
	/* glm_keyword_find, which has $ref read, which may have a document's names collected */
	const glm_keyword *(*find)(const char *name, int draft);
	/* what is being read */
	const glm_place	  *place;
	const glm_keyword *keyword;
	bool			   told; /* the error names both already */
} glm_compiler;

/* How a keyword's value holds subschemas. */
typedef enum glm_keyword_holds
{
	GLM_HOLDS_NONE,
	GLM_HOLDS_SCHEMA,
	GLM_HOLDS_LIST, /* or one schema, where the keyword may have that too */
	GLM_HOLDS_MAP	/* whose values may be something else too */
} glm_keyword_holds;

/* Takes a keyword's value over into the node; c->place and c->keyword are set. */
typedef void glm_keyword_reader(glm_compiler *c, glm_node *node, glm_value *value);

struct glm_keyword
{
	const char		   *name;
	int					since; /* the draft; in older ones it means nothing */
	glm_keyword_holds	holds;
	glm_keyword_reader *read;  /* NULL: nothing of its own */
	size_t				field; /* of glm_node, for readers of more than one keyword */
};

/* ---- schema_compiler.c -------------------------------------------------------------------------------- */

/* Ends with `schema keyword "K" at "/p" WHY`. */
extern void glm_compiler_fail(glm_compiler *c, glm_status status, const char *why, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* The value of a keyword has to be of these kinds; `what` they are: "an array". */
extern void glm_compiler_expect(glm_compiler *c, const glm_value *value, unsigned kinds,
								const char *what);
/* It has to be a string without U+0000, which no answer can have. */
extern void glm_compiler_expect_text(glm_compiler *c, const glm_value *value, const char *what);
/* A number, exactly. */
extern const glm_decimal *glm_compiler_number(glm_compiler *c, const glm_value *value);

/* The place of a value: a new one of these, where it has none. */
extern glm_place *glm_compiler_place(glm_compiler *c, glm_value *value,
									 const glm_resource *resource, const char *pointer);
/* The node of a place, to be compiled later. */
extern glm_node	 *glm_compiler_node(glm_compiler *c, glm_place *place);
/* The node of a subschema of the keyword: its value (name: NULL), or what is there by a name. */
extern glm_node	 *glm_compiler_child(glm_compiler *c, glm_value *value, const char *name);
/* Appends the nodes of a list of subschemas. */
extern void		  glm_compiler_children(glm_compiler *c, glm_value *list, glm_nodes *nodes);
extern void		  glm_nodes_add(glm_arena *arena, glm_nodes *nodes, glm_node *node);

/* ---- schema_keywords.c ------------------------------------------------------------------------ */

/* NULL: no keyword of this draft, an annotation. */
extern const glm_keyword *glm_keyword_find(const char *name, int draft);

/* ---- schema_names.c, schema_refs.c, schema_uri.c ------------------------------------------------- */

/* Finds what has a URI or an anchor in a document, which has this one; the place of its root. */
extern glm_place  *glm_names_collect(glm_compiler *c, glm_value *document, const char *uri);
/* For qsort() and bsearch(): by URI. */
extern int		   glm_names_compare(const void *a, const void *b);
/* JSON pointer with one or two tokens more (second: NULL); cut at its beginning when it gets long. */
extern const char *glm_pointer_add(glm_arena *arena, const char *pointer, const char *first,
								   const char *second);
/* What a reference means where `base` is the URI ("": none is known); both without fragment. */
extern const char *glm_uri_resolve(glm_arena *arena, const char *base, const char *reference);

/* ---- schema_meta.c ---------------------------------------------------------------------------- */

/* The meta-schema of this URI, which has no fragment; NULL: it is not one of those there are. */
extern glm_value *glm_meta_schema(glm_arena *arena, const char *uri);

/* ---- Readers, in the file of their family --------------------------------------------------------- */

extern glm_keyword_reader glm_read_ref;
extern glm_keyword_reader glm_read_type, glm_read_enum, glm_read_const;
extern glm_keyword_reader glm_read_minimum, glm_read_maximum, glm_read_exclusive_minimum,
	glm_read_exclusive_maximum, glm_read_multiple_of;
extern glm_keyword_reader glm_read_pattern, glm_read_format;
extern glm_keyword_reader glm_read_items, glm_read_additional_items, glm_read_unique_items;
extern glm_keyword_reader glm_read_properties, glm_read_pattern_properties, glm_read_required,
	glm_read_dependencies, glm_read_dependent_required, glm_read_dependent_schemas;

/* Made once for all places of a schema that have it. */
extern const glm_fit *glm_compiler_fit(glm_compiler *c, const char *text, size_t length,
									   bool format);
/* A text has to fit these n components too. */
extern void			  glm_node_add_components(glm_arena *arena, glm_node *node,
											  const glm_component *component, int n);

/* ---- schema_graph.c, schema_formats.c: when all nodes are made --------------------------------------- */

typedef void glm_child_visit(void *arg, glm_node **child);

/* Visits the nodes that apply to the same value as this one. */
extern void glm_node_in_place(glm_node *node, glm_child_visit *visit, void *arg);
/* And those for what is in it. */
extern void glm_node_inside(glm_node *node, glm_child_visit *visit, void *arg);

/* A value must not have to be looked at without end. */
extern void glm_schema_refuse_cycles(glm_compiler *c);
/* What is valid has to be so for those too who do not enforce formats. */
extern void glm_schema_without_formats(glm_compiler *c);

#endif /* GLM_SCHEMA_COMPILER_H */
