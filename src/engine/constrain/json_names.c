/*
 * json_names.c - the names and patterns that the objects of a set know.
 *
 * Names have numbers in the order in which the schema lists them: those of properties and
 * dependencies first, then those that are only required.
 */
#include "engine/constrain/json_machine.h"

#include <stdlib.h>
#include <string.h>

/* A name as often as it is listed, and which of those it is. */
typedef struct entry
{
	const glm_name *name;
	int				turn;
} entry;

typedef struct entries
{
	entry	  *entry;
	int		   n, capacity;
	glm_arena *walk;
} entries;

static void
add(entries *list, const glm_name *name)
{
	list->entry =
		glm_arena_grow(list->walk, list->entry, sizeof(entry), &list->capacity, list->n + 1);
	list->entry[list->n] = (entry){name, list->n};
	list->n++;
}

static void
collect(const glm_set *set, entries *list)
{
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *node = set->member[i].node;

		for (int k = 0; k < node->n_properties; k++)
			add(list, &node->properties[k].name);
		for (int k = 0; k < node->n_dependent; k++)
			add(list, &node->dependent[k].name);
		for (int k = 0; k < node->n_dependencies; k++)
		{
			add(list, &node->dependencies[k].name);
			for (int m = 0; m < node->dependencies[k].n_needed; m++)
				add(list, &node->dependencies[k].needed[m]);
		}
	}
	for (int i = 0; i < set->n_members; i++)
		for (int k = 0; k < set->member[i].node->n_required; k++)
			add(list, &set->member[i].node->required[k]);
}

static int
compare(const glm_name *a, const glm_name *b)
{
	int n = a->length < b->length ? a->length : b->length;
	int order = n > 0 ? memcmp(a->text, b->text, (size_t) n) : 0;

	return order != 0 ? order : a->length - b->length;
}

static int
by_bytes(const void *a, const void *b)
{
	const entry *x = a, *y = b;
	int			 order = compare(x->name, y->name);

	return order != 0 ? order : x->turn - y->turn;
}

/* Each name once: set->name by the turn in which it came first, set->sorted by bytes. */
static void
number_names(glm_reader *reader, glm_set *set, entries *list)
{
	int *number = GLM_WALK(reader, int, list->n); /* of a turn, from 1; 0: the name came before */
	int	 n = 0;

	if (list->n > 0)
		qsort(list->entry, (size_t) list->n, sizeof(entry), by_bytes);
	for (int i = 0; i < list->n; i++)
		if (n == 0 || compare(list->entry[n - 1].name, list->entry[i].name) != 0)
		{
			number[list->entry[i].turn] = 1;
			list->entry[n++] = list->entry[i];
		}
	for (int turn = 0, names = 0; turn < list->n; turn++)
		if (number[turn] != 0)
			number[turn] = ++names;
	set->n_names = n;
	set->name = GLM_NEW(reader->machine.arena, glm_known_name, n);
	set->sorted = GLM_NEW(reader->machine.arena, int, n);
	for (int i = 0; i < n; i++)
	{
		set->sorted[i] = number[list->entry[i].turn] - 1;
		set->name[set->sorted[i]].name = *list->entry[i].name;
	}
}

static const glm_name *
sorted_name(const glm_set *set, int i)
{
	return &set->name[set->sorted[i]].name;
}

/* Bytes that the i-th name by bytes begins with like the one before it. */
static int
shared(const glm_set *set, int i)
{
	const glm_name *name = sorted_name(set, i), *before;
	int				n = 0;

	if (i == 0)
		return 0;
	before = sorted_name(set, i - 1);
	while (n < name->length && n < before->length && name->text[n] == before->text[n])
		n++;
	return n;
}

static void
build_trie(glm_reader *reader, glm_set *set)
{
	int	 size = 1, longest = 0, n = 1;
	int *path; /* of the last name, by depth */

	for (int i = 0; i < set->n_names; i++)
	{
		const glm_name *name = sorted_name(set, i);

		size += name->length - shared(set, i);
		longest = name->length > longest ? name->length : longest;
	}
	set->branch = GLM_NEW(reader->machine.arena, glm_branch, size);
	set->branch[0].name = -1;
	path = GLM_WALK(reader, int, longest + 1);
	for (int i = 0; i < set->n_names; i++)
	{
		const glm_name *name = sorted_name(set, i);
		int				depth = shared(set, i);
		int elder = i > 0 && sorted_name(set, i - 1)->length > depth ? path[depth + 1] : 0;

		for (; depth < name->length; depth++, n++, elder = 0)
		{
			set->branch[n] =
				(glm_branch){.first = i, .name = -1, .byte = (uint8_t) name->text[depth]};
			if (elder != 0)
				set->branch[elder].sibling = n;
			else
				set->branch[path[depth]].child = n;
			path[depth + 1] = n;
		}
		set->branch[path[depth]].name = set->sorted[i];
		for (; depth >= 0; depth--)
			set->branch[path[depth]].end = i + 1;
	}
}

/* ---- What members say of names --------------------------------------------------------------- */

/* The number of a known name. */
static int
find(const glm_set *set, const glm_name *name)
{
	int at = 0;

	for (int i = 0; i < name->length; i++)
	{
		at = set->branch[at].child;
		while (set->branch[at].byte != (uint8_t) name->text[i])
			at = set->branch[at].sibling;
	}
	return set->branch[at].name;
}

static void
link_names(glm_reader *reader, const glm_set *set, glm_set_member *member)
{
	glm_arena	   *arena = reader->machine.arena;
	const glm_node *node = member->node;

	member->property = GLM_NEW(arena, int, node->n_properties);
	for (int i = 0; i < node->n_properties; i++)
		member->property[i] = find(set, &node->properties[i].name);
	member->required = GLM_NEW(arena, int, node->n_required);
	if (node->n_required > 0)
	member->requires = GLM_NEW(arena, uint64_t, glm_name_words(set));
	for (int i = 0; i < node->n_required; i++)
	{
		member->required[i] = find(set, &node->required[i]);
		member->requires[member->required[i] >> 6] |= (uint64_t) 1 << (member->required[i] & 63);
	}
	member->dependent_name = GLM_NEW(arena, int, node->n_dependent);
	for (int i = 0; i < node->n_dependent; i++)
		member->dependent_name[i] = find(set, &node->dependent[i].name);
	member->dependency = GLM_NEW(arena, int, node->n_dependencies);
	member->needs = GLM_NEW(arena, int *, node->n_dependencies);
	for (int i = 0; i < node->n_dependencies; i++)
	{
		const glm_dependency *dependency = &node->dependencies[i];

		member->dependency[i] = find(set, &dependency->name);
		member->needs[i] = GLM_NEW(arena, int, dependency->n_needed);
		for (int k = 0; k < dependency->n_needed; k++)
			member->needs[i][k] = find(set, &dependency->needed[k]);
	}
}

static void
list_properties(glm_reader *reader, glm_set *set)
{
	for (int i = 0; i < set->n_members; i++)
		for (int k = 0; k < set->member[i].node->n_properties; k++)
			set->name[set->member[i].property[k]].n_listed++;
	for (int i = 0; i < set->n_names; i++)
	{
		set->name[i].listed = GLM_NEW(reader->machine.arena, glm_listing, set->name[i].n_listed);
		set->name[i].n_listed = 0;
	}
	for (int i = 0; i < set->n_members; i++)
		for (int k = 0; k < set->member[i].node->n_properties; k++)
		{
			glm_known_name *name = &set->name[set->member[i].property[k]];

			name->listed[name->n_listed++] = (glm_listing){i, k};
		}
}

static void
list_patterns(glm_reader *reader, glm_set *set)
{
	glm_arena *arena = reader->machine.arena;
	int		   patterns = 0, components = 0;

	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *node = set->member[i].node;

		set->member[i].first_pattern = patterns;
		patterns += node->n_patterns;
		for (int k = 0; k < node->n_patterns; k++)
			components += node->patterns[k].n_components;
	}
	set->n_patterns = patterns;
	set->n_pattern_components = components;
	set->pattern = GLM_NEW(arena, glm_set_pattern, patterns);
	set->pattern_component = GLM_NEW(arena, glm_component, components);
	set->name_fits = GLM_NEW(arena, int8_t, (size_t) set->n_names * (size_t) patterns);
	memset(set->name_fits, -1, (size_t) set->n_names * (size_t) patterns);
	patterns = components = 0;
	for (int i = 0; i < set->n_members; i++)
		for (int k = 0; k < set->member[i].node->n_patterns; k++)
		{
			const glm_pattern_property *pattern = &set->member[i].node->patterns[k];

			set->pattern[patterns++] = (glm_set_pattern){pattern, components};
			for (int c = 0; c < pattern->n_components; c++)
				set->pattern_component[components++] = pattern->component[c];
		}
}

bool
glm_set_name_fits(glm_set *set, int name, int pattern)
{
	int8_t					   *kept = &set->name_fits[name * set->n_patterns + pattern];
	const glm_pattern_property *property = set->pattern[pattern].pattern;
	const glm_name			   *text = &set->name[name].name;

	if (*kept < 0)
	{
		int8_t fits = 1;

		for (int i = 0; i < property->n_components; i++)
			fits &= glm_dfa_accepts(property->component[i].dfa, text->text,
									(size_t) text->length) != property->component[i].negated;
		*kept = fits;
	}
	return *kept != 0;
}

/* The set of all property_names, each once. */
static void
gather_property_names(glm_reader *reader, glm_set *set)
{
	const glm_node **root = GLM_WALK(reader, const glm_node *, set->n_members + 1);
	int				 n = 0;

	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *names = set->member[i].node->property_names;
		int				k = 0;

		if (names == NULL)
			continue;
		names = glm_node_target(names);
		while (k < n && root[k] != names)
			k++;
		root[k] = names;
		n += k == n;
		set->member[i].names = k;
	}
	if (n > 0)
		set->names = glm_set_get(reader, root, n);
}

/* May be left halfway and called again. */
void
glm_set_open_names(glm_reader *reader, glm_set *set)
{
	glm_arena_mark mark = glm_arena_here(reader->walk);
	entries		   list = {.walk = reader->walk};

	if (set->named)
		return;
	collect(set, &list);
	number_names(reader, set, &list);
	build_trie(reader, set);
	for (int i = 0; i < set->n_members; i++)
		link_names(reader, set, &set->member[i]);
	list_properties(reader, set);
	list_patterns(reader, set);
	gather_property_names(reader, set);
	set->named = true;
	glm_arena_back(reader->walk, mark);
}
