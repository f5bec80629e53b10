/*
 * json_status.c - what the combinators of a set make of its members' own statuses.
 *
 * Members depend on members of higher numbers only, so that one pass from the last to the
 * first evaluates them all, and one the other way finds those that matter.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

static glm_truth
least(glm_truth a, glm_truth b)
{
	return a < b ? a : b;
}

static glm_truth
any_of(const int *of, int n, const glm_truth *value)
{
	glm_truth best = GLM_FAILS;

	for (int i = 0; i < n && best != GLM_HOLDS; i++)
		best = value[of[i]] > best ? value[of[i]] : best;
	return best;
}

static glm_truth
one_of(const int *of, int n, const glm_truth *value)
{
	int holds = 0, open = 0;

	for (int i = 0; i < n; i++)
	{
		holds += value[of[i]] == GLM_HOLDS;
		open += value[of[i]] == GLM_OPEN;
	}
	if (holds > 1 || holds + open == 0)
		return GLM_FAILS;
	return open > 0 ? GLM_OPEN : GLM_HOLDS;
}

static glm_truth
if_then_else(const glm_set_member *member, const glm_truth *value)
{
	glm_truth then = member->then_ >= 0 ? value[member->then_] : GLM_HOLDS;
	glm_truth otherwise = member->else_ >= 0 ? value[member->else_] : GLM_HOLDS;

	if (value[member->if_] == GLM_OPEN)
		return then == otherwise ? then : GLM_OPEN;
	return value[member->if_] == GLM_HOLDS ? then : otherwise;
}

/* Schemas that apply where a name is there. */
static glm_truth
dependents(const glm_set_member *member, const glm_truth *value, const uint64_t *seen, bool ended)
{
	glm_truth all = GLM_HOLDS;

	for (int i = 0; i < member->node->n_dependent; i++)
		if (glm_bit(seen, member->dependent_name[i]))
			all = least(all, value[member->dependent[i]]);
		else if (!ended && value[member->dependent[i]] != GLM_HOLDS)
			all = least(all, GLM_OPEN);
	return all;
}

static glm_truth
combine(const glm_set_member *member, glm_truth own, const glm_truth *value, const uint64_t *seen,
		bool ended)
{
	const glm_node *node = member->node;

	for (int i = 0; i < node->all.n && own != GLM_FAILS; i++)
		own = least(own, value[member->all[i]]);
	if (own != GLM_FAILS && node->any.n > 0)
		own = least(own, any_of(member->any, node->any.n, value));
	if (own != GLM_FAILS && node->any_value.n > 0)
		own = least(own, any_of(member->any_value, node->any_value.n, value));
	if (own != GLM_FAILS && node->one.n > 0)
		own = least(own, one_of(member->one, node->one.n, value));
	if (own != GLM_FAILS && member->not_ >= 0)
		own = least(own, (glm_truth) (GLM_HOLDS - value[member->not_]));
	if (own != GLM_FAILS && member->if_ >= 0)
		own = least(own, if_then_else(member, value));
	if (own != GLM_FAILS && seen != NULL)
		own = least(own, dependents(member, value, seen, ended));
	return own;
}

static void
evaluate(const glm_set *set, const glm_truth *own, const uint64_t *seen, bool ended,
		 glm_truth *value)
{
	for (int i = set->n_members - 1; i >= 0; i--)
	{
		const glm_set_member *member = &set->member[i];

		value[i] = member->plain || own[i] == GLM_FAILS
					   ? own[i]
					   : combine(member, own[i], value, seen, ended);
	}
}

void
glm_set_roots(const glm_set *set, const glm_truth *own, const uint64_t *seen, bool ended,
			  glm_truth *root)
{
	glm_truth		 combined[GLM_SET_MEMBERS];
	const glm_truth *value = own;

	if (set->combined)
	{
		evaluate(set, own, seen, ended, combined);
		value = combined;
	}
	for (int i = 0; i < set->n_roots; i++)
		root[i] = value[set->root[i]];
}

static void
mark_open(bool *relevant, const int *of, int n, const glm_truth *value)
{
	for (int i = 0; i < n; i++)
		if (of[i] >= 0 && value[of[i]] == GLM_OPEN)
			relevant[of[i]] = true;
}

void
glm_set_relevant(const glm_set *set, const glm_truth *own, const uint64_t *seen, bool *relevant)
{
	glm_truth combined[GLM_SET_MEMBERS];

	evaluate(set, own, seen, false, combined);
	memset(relevant, 0, (size_t) set->n_members);
	mark_open(relevant, set->root, set->n_roots, combined);
	for (int i = 0; set->combined && i < set->n_members; i++)
	{
		const glm_set_member *member = &set->member[i];
		const glm_node		 *node = member->node;

		if (!relevant[i] || member->plain)
			continue;
		mark_open(relevant, member->all, node->all.n, combined);
		mark_open(relevant, member->any, node->any.n, combined);
		mark_open(relevant, member->any_value, node->any_value.n, combined);
		mark_open(relevant, member->one, node->one.n, combined);
		mark_open(relevant, &member->not_, 1, combined);
		mark_open(relevant, &member->if_, 1, combined);
		mark_open(relevant, &member->then_, 1, combined);
		mark_open(relevant, &member->else_, 1, combined);
		mark_open(relevant, member->dependent, node->n_dependent, combined);
	}
}

static glm_truth
own_status(const glm_node *node, glm_kinds kind)
{
	if (node->never || !(node->kinds & kind))
		return GLM_FAILS;
	if ((kind == GLM_KIND_NUMBER && node->number) || (kind == GLM_KIND_STRING && node->string) ||
		(kind == GLM_KIND_ARRAY && node->array) || (kind == GLM_KIND_OBJECT && node->object))
		return GLM_OPEN;
	return GLM_HOLDS;
}

const glm_start *
glm_set_start(glm_reader *reader, glm_set *set, glm_kinds kind)
{
	glm_start **kept = &set->start[glm_kind_index(kind)];
	glm_start  *start;
	uint64_t   *seen = NULL;

	if (*kept != NULL)
		return *kept;
	start = GLM_NEW(reader->machine.arena, glm_start, 1);
	start->own = GLM_NEW(reader->machine.arena, glm_truth, set->n_members);
	start->root = GLM_NEW(reader->machine.arena, glm_truth, set->n_roots);
	for (int i = 0; i < set->n_members; i++)
		start->own[i] = own_status(set->member[i].node, kind);
	if (kind == GLM_KIND_OBJECT)
	{
		glm_set_open_names(reader, set);
		seen = GLM_NEW(reader->machine.arena, uint64_t, glm_name_words(set));
	}
	glm_set_roots(set, start->own, seen, kind < GLM_KIND_NUMBER, start->root);
	for (int i = 0; i < set->n_roots; i++)
		start->fails |= start->root[i] == GLM_FAILS;
	return *kept = start;
}
