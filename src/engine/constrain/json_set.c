/*
 * json_set.c - sets of nodes: the roots that apply to a value, and all that they refer to in
 * place.
 *
 * Members are numbered so that each comes before those it depends on (Kahn's algorithm).
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

/* What a set is while it is built, in the walk's arena. */
typedef struct builder
{
	glm_reader		*reader;
	const glm_node **node;	  /* [n] as they were found, */
	const glm_node **ordered; /* and in their order */
	int				*above;	  /* [n] how often each is referred to */
	int				 n;
} builder;

/* Does it say nothing but by `all`? */
static bool
says_nothing(const glm_node *node)
{
	return node->kinds == GLM_KIND_ANY && !node->never && !node->number && !node->string &&
		   !node->array && !node->object && node->any.n == 0 && node->any_value.n == 0 &&
		   node->one.n == 0 && node->not_ == NULL && node->if_ == NULL;
}

/*
 * What a node comes to that only refers to another: most sets have one member then.
 */
const glm_node *
glm_node_target(const glm_node *node)
{
	/* a cycle of such is found when its set is put in order */
	for (int i = 0; i < GLM_SET_MEMBERS && node->all.n == 1 && says_nothing(node); i++)
		node = node->all.node[0];
	return node;
}

bool
glm_node_is_any(const glm_node *node)
{
	node = glm_node_target(node);
	return node->all.n == 0 && says_nothing(node);
}

static void
add(builder *build, const glm_node *node)
{
	glm_reader *reader = build->reader;

	if (reader->mark[node->id] == reader->marks)
		return;
	if (build->n == GLM_SET_MEMBERS)
		glm_arena_fail(reader->machine.arena, GLM_TOO_COMPLEX,
					   "more than %d subschemas apply to one value at %s", GLM_SET_MEMBERS,
					   node->pointer);
	reader->mark[node->id] = reader->marks;
	reader->number[node->id] = build->n;
	build->node[build->n++] = node;
}

static void
count(builder *build, const glm_node *node)
{
	build->above[build->reader->number[node->id]]++;
}

/* Puts a node in order when all that refer to it are. */
static void
order(builder *build, const glm_node *node)
{
	if (--build->above[build->reader->number[node->id]] == 0)
		build->ordered[build->n++] = node;
}

static void
each(builder *build, const glm_nodes *nodes, void (*visit)(builder *, const glm_node *))
{
	for (int i = 0; i < nodes->n; i++)
		visit(build, glm_node_target(nodes->node[i]));
}

static void
one(builder *build, const glm_node *node, void (*visit)(builder *, const glm_node *))
{
	if (node != NULL)
		visit(build, glm_node_target(node));
}

/* Visits all that a node refers to in place. */
static void
each_in_place(builder *build, const glm_node *node, void (*visit)(builder *, const glm_node *))
{
	each(build, &node->all, visit);
	each(build, &node->any, visit);
	each(build, &node->any_value, visit);
	each(build, &node->one, visit);
	one(build, node->not_, visit);
	if (node->if_ != NULL)
	{
		one(build, node->if_, visit);
		one(build, node->then_, visit);
		one(build, node->else_, visit);
	}
	for (int i = 0; i < node->n_dependent; i++)
		visit(build, glm_node_target(node->dependent[i].value));
}

static void
find_members(builder *build, const glm_node *const *root, int n)
{
	int found;

	build->reader->marks++;
	build->node = GLM_WALK(build->reader, const glm_node *, GLM_SET_MEMBERS);
	for (int i = 0; i < n; i++)
		add(build, root[i]);
	for (int i = 0; i < build->n; i++)
		each_in_place(build, build->node[i], add);

	found = build->n;
	build->above = GLM_WALK(build->reader, int, found);
	build->ordered = GLM_WALK(build->reader, const glm_node *, found);
	for (int i = 0; i < found; i++)
		each_in_place(build, build->node[i], count);
	build->n = 0;
	for (int i = 0; i < found; i++)
		if (build->above[i] == 0)
			build->ordered[build->n++] = build->node[i];
	for (int i = 0; i < build->n; i++)
		each_in_place(build, build->ordered[i], order);
	if (build->n < found)
		glm_arena_fail(build->reader->machine.arena, GLM_UNSUPPORTED,
					   "$ref: refers to itself in place at %s", root[0]->pointer);
	for (int i = 0; i < found; i++)
		build->reader->number[build->ordered[i]->id] = i;
}

/* ---- Members -------------------------------------------------------------------------------- */

static int
number_of(const glm_reader *reader, const glm_node *node)
{
	return node != NULL ? reader->number[glm_node_target(node)->id] : -1;
}

static int *
numbers_of(glm_reader *reader, const glm_nodes *nodes)
{
	int *number = nodes->n > 0 ? GLM_NEW(reader->machine.arena, int, nodes->n) : NULL;

	for (int i = 0; i < nodes->n; i++)
		number[i] = number_of(reader, nodes->node[i]);
	return number;
}

static void
link_member(glm_reader *reader, glm_set_member *member, const glm_node *node)
{
	member->node = node;
	member->all = numbers_of(reader, &node->all);
	member->any = numbers_of(reader, &node->any);
	member->any_value = numbers_of(reader, &node->any_value);
	member->one = numbers_of(reader, &node->one);
	member->not_ = number_of(reader, node->not_);
	member->if_ = number_of(reader, node->if_);
	member->then_ = node->if_ != NULL ? number_of(reader, node->then_) : -1;
	member->else_ = node->if_ != NULL ? number_of(reader, node->else_) : -1;
	if (node->n_dependent > 0)
		member->dependent = GLM_NEW(reader->machine.arena, int, node->n_dependent);
	for (int i = 0; i < node->n_dependent; i++)
		member->dependent[i] = number_of(reader, node->dependent[i].value);
	member->plain = node->all.n + node->any.n + node->any_value.n + node->one.n == 0 &&
					node->not_ == NULL && node->if_ == NULL && node->n_dependent == 0;
	member->names = -1;
}

static int
larger(int a, int b)
{
	return a > b ? a : b;
}

/* The items or properties from which on their number makes no difference to a node, or n. */
static int
counted_by(const glm_node *node, int n)
{
	n = larger(n, larger(node->prefix.n, larger(node->min_items, node->min_properties)));
	n = larger(n, node->max_items != GLM_NO_MOST ? node->max_items + 1 : 0);
	return larger(n, node->max_properties != GLM_NO_MOST ? node->max_properties + 1 : 0);
}

static void
link_members(glm_reader *reader, glm_set *set, const builder *build)
{
	set->n_members = build->n;
	set->member = GLM_NEW(reader->machine.arena, glm_set_member, build->n);
	for (int i = 0; i < build->n; i++)
	{
		const glm_node *node = build->ordered[i];

		link_member(reader, &set->member[i], node);
		set->combined |= !set->member[i].plain;
		set->unique |= node->unique;
		set->contains |= node->contains != NULL;
		set->lengths |= node->max_length != GLM_NO_MOST;
		set->counted = counted_by(node, set->counted);
		set->member[i].first_component = set->n_components;
		set->n_components += node->n_components;
	}
	for (int i = 0; i < set->n_roots; i++)
		set->root[i] = number_of(reader, set->root_node[i]);
	if (set->n_roots == 1)
		set->member[set->root[0]].needed = true;
	for (int i = 0; i < set->n_members; i++)
		for (int k = 0; set->member[i].needed && k < set->member[i].node->all.n; k++)
			set->member[set->member[i].all[k]].needed = true;
}

static void
list_components(glm_reader *reader, glm_set *set)
{
	set->component = GLM_NEW(reader->machine.arena, glm_component, set->n_components);
	set->component_of = GLM_NEW(reader->machine.arena, int, set->n_components);
	for (int i = 0; i < set->n_members; i++)
		for (int k = 0; k < set->member[i].node->n_components; k++)
		{
			int at = set->member[i].first_component + k;

			set->component[at] = set->member[i].node->component[k];
			set->component_of[at] = i;
		}
	/* where nothing is combined, strings fail by an automaton that fails alone */
	set->within = set->combined ? -1 : 0;
	for (int i = 0; i < set->n_components && set->within >= 0; i++)
	{
		int within = set->component[i].negated ? -1 : glm_dfa_within(set->component[i].dfa);

		set->within = within < 0 ? -1 : larger(set->within, within);
	}
}

glm_set *
glm_set_get(glm_reader *reader, const glm_node *const *root, int n)
{
	glm_arena	  *arena = reader->machine.arena;
	glm_arena_mark mark = glm_arena_here(reader->walk);
	builder		   build = {.reader = reader};
	uint64_t	   hash = 1;
	glm_set		  *set, **chain;

	for (int i = 0; i < n; i++)
		hash = glm_mix(hash, &root[i]->id, sizeof(root[i]->id));
	chain = &reader->sets[hash % GLM_READER_BUCKETS];
	for (set = *chain; set != NULL; set = set->chain)
		if (set->n_roots == n && memcmp(set->root_node, root, sizeof(*root) * (size_t) n) == 0)
			return set;

	set = GLM_NEW(arena, glm_set, 1);
	set->n_roots = n;
	set->root_node = GLM_NEW(arena, const glm_node *, n);
	if (n > 0)
		memcpy(set->root_node, root, sizeof(*root) * (size_t) n);
	set->root = GLM_NEW(arena, int, n);
	find_members(&build, root, n);
	link_members(reader, set, &build);
	list_components(reader, set);
	set->id = ++reader->n_sets;
	set->chain = *chain;
	*chain = set;
	glm_arena_back(reader->walk, mark);
	return set;
}
