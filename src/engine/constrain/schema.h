/*
 * schema.h - a JSON Schema as nodes: one for each subschema, with its own keywords and
 * pointers to the others.
 *
 * Combinators stay as they are: nothing is merged and nothing multiplied out.  `$ref` is one
 * more member of `all`.  A node is made once, so what refers to itself is a cycle.
 * Immutable when compiled, but for the automata.
 */
#ifndef GLM_SCHEMA_H
#define GLM_SCHEMA_H

#include "engine/constrain/decimal.h"
#include "engine/constrain/dfa.h"
#include "engine/constrain/value.h"

#define GLM_SCHEMA_DEPTH GLM_VALUE_DEPTH
#define GLM_SCHEMA_NODES 50000
#define GLM_SCHEMA_ENUM 100000 /* values of an enum */
#define GLM_NO_MOST INT32_MAX  /* no maximum */

typedef struct glm_node glm_node;

typedef struct glm_name
{
	const char *text;
	int			length;
} glm_name;

typedef struct glm_property
{
	glm_name  name;
	glm_node *value;
} glm_property;

typedef struct glm_pattern_property
{
	glm_component component[GLM_PATTERN_COMPONENTS]; /* a name matches when it fits all */
	int			  n_components;
	glm_node	 *value;
} glm_pattern_property;

/* When `name` is there, all of `needed` have to be. */
typedef struct glm_dependency
{
	glm_name  name;
	glm_name *needed;
	int		  n_needed;
} glm_dependency;

typedef struct glm_nodes
{
	glm_node **node;
	int		   n;
} glm_nodes;

struct glm_node
{
	int			id;		 /* its number, from 0 */
	unsigned	kinds;	 /* of glm_kinds that it lets pass */
	bool		never;	 /* false: nothing passes */
	const char *pointer; /* where it stands in the schema, for messages */

	/* whether it has keywords for numbers, strings, arrays, objects */
	bool number, string, array, object;

	/* numbers */
	glm_range		   range;
	const glm_decimal *numbers; /* [n_numbers] of an enum; NULL: any */
	int				   n_numbers;

	/* strings: all components and the lengths in code points */
	glm_component *component;
	int			   n_components;
	uint64_t	   formats; /* bit i: component i is of a format */
	int			   min_length, max_length;

	/* arrays */
	glm_nodes prefix; /* of the first items */
	glm_node *items;  /* of the others; NULL: anything */
	glm_node *contains;
	int		  min_contains, max_contains;
	int		  min_items, max_items;
	bool	  unique;

	/* objects */
	glm_property		 *properties;
	int					  n_properties;
	glm_pattern_property *patterns;
	int					  n_patterns;
	glm_node			 *additional;	  /* NULL: anything */
	glm_node			 *property_names; /* NULL: any */
	glm_name			 *required;
	int					  n_required;
	int					  min_properties, max_properties;
	glm_dependency		 *dependencies;
	int					  n_dependencies;
	glm_property		 *dependent; /* when this name is there, that node has to hold too */
	int					  n_dependent;
	bool
		asks_only; /* of objects only: required and min_properties, which come true before the end */

	/* combinators; enum's arrays and objects are `any_value`, beside anyOf */
	bool	  refers; /* what $ref means is one of `all` */
	glm_nodes all, any, one, any_value;
	glm_node *not_, *if_, *then_, *else_;
};

typedef struct glm_schema
{
	glm_node  *root;
	glm_node **node; /* [n_nodes], by id */
	int		   n_nodes, node_room;
} glm_schema;

/*
 * Compiles a schema, of which the value is already read.  GLM_UNSUPPORTED: a keyword that
 * is not; GLM_BAD_ARGUMENT: malformed; GLM_TOO_COMPLEX: limits.  Each message has the
 * keyword and a JSON pointer.  Pauses (glm_pause).
 */
extern glm_schema *glm_schema_compile(glm_arena *arena, glm_value *schema);

/* A node that lets everything pass, for what is made without a schema. */
extern glm_node *glm_node_new(glm_arena *arena, glm_schema *schema);
/* To be called when its keywords have their values: sets number, string, array, object and asks_only. */
extern void		 glm_node_finish(glm_node *node);

#endif /* GLM_SCHEMA_H */
