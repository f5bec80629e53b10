/*
 * schema_formats.c - what is valid has to be so whether formats are enforced or not.
 *
 * To some validators a format is an annotation.  Mostly a value that keeps to formats is
 * valid for those too, since they ask for less.  Not so below `not`, `oneOf`, `if` and a
 * contains that has a most: there, less in one place is more in another.  Where formats are
 * below one of these, the same is asked once more of a copy that has none.
 */
#include "engine/constrain/schema_compiler.h"

#include <string.h>

/* One node leads to another; the edges to a node are a list. */
typedef struct edge
{
	const glm_node *from;
	struct edge	   *next;
} edge;

typedef struct format_walk
{
	glm_arena  *arena;
	glm_schema *schema;
	int			n_nodes; /* before there were copies */
	bool	   *has;	 /* by id: a format is in it or below it */
	edge	  **into;	 /* by id */
	int			from;	 /* id of the node whose edges are taken down */
	glm_node  **copy;	 /* by id; NULL: not copied */
	glm_node  **stack;
	int			n, room;
} format_walk;

static void
push(format_walk *w, glm_node *node)
{
	w->stack = glm_arena_grow(w->arena, w->stack, sizeof(*w->stack), &w->room, w->n + 1);
	w->stack[w->n++] = node;
}

/* ---- Where formats are ---------------------------------------------------------------------------- */

static void
mark(format_walk *w, const glm_node *node)
{
	if (w->has[node->id])
		return;
	w->has[node->id] = true;
	push(w, w->schema->node[node->id]);
}

static void
add_edge(void *arg, glm_node **child)
{
	format_walk *w = arg;
	edge		*e = GLM_NEW(w->arena, edge, 1);

	*e = (edge){w->schema->node[w->from], w->into[(*child)->id]};
	w->into[(*child)->id] = e;
}

/* false: there are none. */
static bool
find_formats(format_walk *w)
{
	for (int i = 0; i < w->n_nodes; i++)
		if (w->schema->node[i]->formats != 0)
			mark(w, w->schema->node[i]);
	if (w->n == 0)
		return false;
	for (w->from = 0; w->from < w->n_nodes; w->from++)
	{
		glm_node_in_place(w->schema->node[w->from], add_edge, w);
		glm_node_inside(w->schema->node[w->from], add_edge, w);
	}
	while (w->n > 0)
		for (edge *e = w->into[w->stack[--w->n]->id]; e != NULL; e = e->next)
			mark(w, e->from);
	return true;
}

/* ---- Copies without ------------------------------------------------------------------------------- */

/* For glm_node_in_place() and glm_node_inside(): puts the copy of a node in its place. */
static void
take_copy(void *arg, glm_node **child)
{
	format_walk *w = arg;
	int			 id = (*child)->id;

	if (id >= w->n_nodes || !w->has[id])
		return;
	if (w->copy[id] == NULL)
	{
		glm_node *copy = glm_node_new(w->arena, w->schema);
		int		  copy_id = copy->id;

		*copy = **child;
		copy->id = copy_id;
		w->copy[id] = copy;
		push(w, copy);
	}
	*child = w->copy[id];
}

static void *
own(format_walk *w, const void *list, int n, size_t size)
{
	return n > 0 ? memcpy(glm_arena_get(w->arena, (size_t) n * size), list, (size_t) n * size)
				 : NULL;
}

static void
own_nodes(format_walk *w, glm_nodes *nodes)
{
	nodes->node = own(w, nodes->node, nodes->n, sizeof(*nodes->node));
}

/* Lists of children that can be changed, and what they lead to copied as well. */
static void
copy_children(format_walk *w, glm_node *node)
{
	own_nodes(w, &node->all);
	own_nodes(w, &node->any);
	own_nodes(w, &node->one);
	own_nodes(w, &node->any_value);
	own_nodes(w, &node->prefix);
	node->properties = own(w, node->properties, node->n_properties, sizeof(*node->properties));
	node->patterns = own(w, node->patterns, node->n_patterns, sizeof(*node->patterns));
	node->dependent = own(w, node->dependent, node->n_dependent, sizeof(*node->dependent));
	glm_node_in_place(node, take_copy, w);
	glm_node_inside(node, take_copy, w);
}

static void
drop_formats(format_walk *w, glm_node *node)
{
	glm_component *kept = GLM_NEW(w->arena, glm_component, node->n_components);
	int			   n = 0;

	for (int i = 0; i < node->n_components; i++)
		if ((node->formats >> i & 1) == 0)
			kept[n++] = node->component[i];
	node->component = kept;
	node->n_components = n;
	node->formats = 0;
	glm_node_finish(node);
}

static bool
any_has(const format_walk *w, const glm_nodes *nodes)
{
	for (int i = 0; i < nodes->n; i++)
		if (w->has[nodes->node[i]->id])
			return true;
	return false;
}

static bool
has(const format_walk *w, const glm_node *node)
{
	return node != NULL && w->has[node->id];
}

/* A node of what can turn around in this one, to be asked of copies; NULL: nothing can. */
static glm_node *
turning_part(format_walk *w, const glm_node *node)
{
	bool	  one = any_has(w, &node->one);
	bool	  negated = has(w, node->not_);
	bool	  if_ = has(w, node->if_);
	bool	  contains = has(w, node->contains) && node->max_contains != GLM_NO_MOST;
	glm_node *part;

	if (!one && !negated && !if_ && !contains)
		return NULL;
	part = glm_node_new(w->arena, w->schema);
	part->pointer = node->pointer;
	if (one)
		part->one = node->one;
	if (negated)
		part->not_ = node->not_;
	if (if_)
	{
		part->if_ = node->if_;
		part->then_ = node->then_;
		part->else_ = node->else_;
	}
	if (contains)
	{
		part->contains = node->contains;
		part->min_contains = node->min_contains;
		part->max_contains = node->max_contains;
	}
	glm_node_finish(part);
	return part;
}

void
glm_schema_without_formats(glm_compiler *c)
{
	format_walk w = {.arena = c->arena, .schema = c->schema, .n_nodes = c->schema->n_nodes};
	glm_node  **part;

	/* what its limits refuse is there because of formats */
	c->keyword = glm_keyword_find("format", 3);
	c->place = c->root;
	w.has = GLM_NEW(w.arena, bool, w.n_nodes);
	w.into = GLM_NEW(w.arena, edge *, w.n_nodes);
	if (!find_formats(&w))
		return;
	w.copy = GLM_NEW(w.arena, glm_node *, w.n_nodes);
	part = GLM_NEW(w.arena, glm_node *, w.n_nodes);
	for (int i = 0; i < w.n_nodes; i++)
	{
		part[i] = turning_part(&w, w.schema->node[i]);
		if (part[i] != NULL)
			push(&w, part[i]);
	}
	while (w.n > 0)
	{
		glm_node *node = w.stack[--w.n];

		copy_children(&w, node);
		drop_formats(&w, node);
	}
	/* only now, so that no copy has any */
	for (int i = 0; i < w.n_nodes; i++)
		if (part[i] != NULL)
			glm_nodes_add(w.arena, &w.schema->node[i]->all, part[i]);
}
