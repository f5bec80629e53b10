/*
 * mask_walk.c - stepping through a trie, depth first.
 *
 * One state is kept for each depth, and what a branch has taken of the arena is given back
 * when the next begins.
 */
#include "engine/constrain/mask_walk.h"

#include <string.h>

static bool
may_begin(const glm_mask_walk *walk, uint8_t byte)
{
	return walk->first[byte / 64] >> byte % 64 & 1;
}

static void
allow(glm_mask_walk *walk, int32_t token, uint64_t *allowed)
{
	glm_mask_set(allowed, token);
	if (walk->list != NULL && walk->n_list < walk->room)
		walk->list[walk->n_list] = token;
	walk->n_list++;
}

bool
glm_mask_walk_nodes(glm_mask_walk *walk, const glm_trie *trie, int begin, int end,
					const void *state, uint64_t *allowed)
{
	glm_arena_mark	start = glm_arena_here(walk->arena);
	size_t			depths = (size_t) walk->deepest + 1;
	char		   *states = glm_arena_get(walk->arena, depths * walk->size);
	glm_arena_mark *marks = GLM_NEW(walk->arena, glm_arena_mark, depths);
	int				base = begin < end ? trie->node[begin].depth : 0;
	bool			found = false;

	memcpy(states, state, walk->size);
	marks[0] = glm_arena_here(walk->arena);
	for (int i = begin; i < end && (allowed != NULL || !found);)
	{
		const glm_trie_node *node = &trie->node[i];
		int					 depth = node->depth - base;
		char				*next = states + (size_t) (depth + 1) * walk->size;

		if (walk->first != NULL && node->depth == 0 && !may_begin(walk, node->byte))
		{
			i += node->size;
			continue;
		}
		glm_arena_back(walk->arena, marks[depth]);
		memcpy(next, next - walk->size, walk->size);
		if (!walk->step(walk->arg, next, node->byte))
		{
			i += node->size;
			continue;
		}
		marks[depth + 1] = glm_arena_here(walk->arena);
		if (node->token >= 0)
		{
			found = true;
			if (allowed != NULL)
				allow(walk, node->token, allowed);
		}
		i++;
	}
	glm_arena_back(walk->arena, start);
	return found;
}

void
glm_mask_walk_trie(glm_mask_walk *walk, const glm_trie *trie, const void *state, uint64_t *allowed)
{
	glm_mask_walk_nodes(walk, trie, 0, trie->n, state, allowed);
}

void
glm_mask_walk_all(glm_mask_walk *walk, const glm_vocabulary *vocabulary, const void *state,
				  uint64_t *allowed)
{
	memset(allowed, 0, (size_t) vocabulary->words * sizeof(*allowed));
	glm_mask_walk_trie(walk, &vocabulary->plain, state, allowed);
	glm_mask_walk_trie(walk, &vocabulary->rest, state, allowed);
	glm_vocabulary_add_twins(vocabulary, allowed);
}
