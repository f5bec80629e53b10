/*
 * mask_walk.h - tokens that can be written from a state, by stepping through a trie.
 */
#ifndef GLM_MASK_WALK_H
#define GLM_MASK_WALK_H

#include "engine/constrain/arena.h"
#include "engine/constrain/vocabulary_tries.h"

/* How states go on by a byte; false: it may not come, and the state is of no more use. */
typedef struct glm_mask_walk
{
	bool (*step)(void *arg, void *state, uint8_t byte);
	void		   *arg;
	size_t			size;	 /* of a state */
	int				deepest; /* bytes of the longest token */
	glm_arena	   *arena;	 /* of what step() makes, given back at the end */
	const uint64_t *first;	 /* [4] bytes that a token may begin with; NULL: any may be tried */
	int32_t		   *list;	 /* [room] tokens that were found; NULL: not wanted */
	int				n_list, room; /* as many were found as n_list says */
} glm_mask_walk;

/*
 * Allows the tokens that end at nodes [begin, end) of a trie (which are siblings and what
 * is below them) and that can be written from a state of before the first of them.  With
 * allowed NULL it only tells whether there is one.
 */
extern bool glm_mask_walk_nodes(glm_mask_walk *walk, const glm_trie *trie, int begin, int end,
								const void *state, uint64_t *allowed);
/* The same for a whole trie. */
extern void glm_mask_walk_trie(glm_mask_walk *walk, const glm_trie *trie, const void *state,
							   uint64_t *allowed);

/* All tokens that can be written from a state, twins too: the mask is set anew. */
extern void glm_mask_walk_all(glm_mask_walk *walk, const glm_vocabulary *vocabulary,
							  const void *state, uint64_t *allowed);

#endif /* GLM_MASK_WALK_H */
