/*
 * prefix.h - KV blocks that sequences share: chains, and the index that finds
 * them again.  See prefix.c for the design and the lock rules.
 */
#ifndef GLM_PREFIX_H
#define GLM_PREFIX_H

#include "engine/serve/kv.h"

typedef struct glm_prefix glm_prefix;
struct glm_cached; /* a KV block with what the index knows of it */

/* The blocks of one sequence.  kv is what a forward pass reads. */
typedef struct glm_chain
{
	glm_kv_table		kv;
	struct glm_cached **node;		/* [kv.capacity], beside kv.block */
	int					n_indexed;	/* leading blocks that others can find */
	int					n_promised; /* nodes kept for blocks not yet taken */
	struct glm_owner   *owner;		/* its model's; NULL: not open */
	struct glm_scope   *scope;		/* of those it shares blocks with */
} glm_chain;

/* What the blocks of one model come to, or those of all. */
typedef struct glm_prefix_stats
{
	uint64_t bytes_used;   /* in blocks that sequences hold */
	uint64_t bytes_cached; /* in blocks that nobody holds */
	uint64_t evictions;	   /* cached blocks given up for others */
} glm_prefix_stats;

/* Copies a block, before whatever is computed next; called by the engine thread. */
typedef void (*glm_kv_copy)(void *copier, uint32_t to, uint32_t from, size_t bytes);

/* NULL when out of memory.  The pool is the prefix's alone from now on. */
extern glm_prefix *glm_prefix_open(glm_kv_pool *pool, glm_kv_copy copy, void *copier);
extern void		   glm_prefix_close(glm_prefix *prefix);

/*
 * Memory for an empty chain of at most `capacity` blocks of `block_bytes`; nothing below
 * allocates.  Chains find each other's blocks only within one model, known by
 * its generation, and one scope.
 */
extern bool glm_chain_open(glm_prefix *prefix, glm_chain *chain, uint64_t generation,
						   size_t block_bytes, uint64_t scope, int capacity);
/* Gives all blocks back; the chain is as new and must be opened again. */
extern void glm_chain_close(glm_prefix *prefix, glm_chain *chain);

/* One more block, cached ones making way; false when there is no room. */
extern bool glm_chain_grow(glm_prefix *prefix, glm_chain *chain);

/*
 * Appends the cached block of these ids [GLM_KV_BLOCK] if there is one.  All
 * blocks of the chain must be indexed.
 */
extern bool glm_chain_adopt(glm_prefix *prefix, glm_chain *chain, const int32_t *ids);

/*
 * Appends a block of the chain's own whose first positions are copied from a cached
 * one that begins like ids [n], n < GLM_KV_BLOCK, and returns how many those are; 0
 * when there is none, or no room.  All blocks of the chain must be indexed.
 */
extern int glm_chain_copy(glm_prefix *prefix, glm_chain *chain, const int32_t *ids, int n);

/*
 * Lets others find the blocks whose KV is complete; tokens [n_computed].  A
 * block that somebody else indexed first is replaced by that one.
 */
extern void glm_chain_index(glm_prefix *prefix, glm_chain *chain, const int32_t *tokens,
							int n_computed);

/*
 * Nothing is computed behind these any more: lets others find the last block as well, of
 * which they can copy what is complete.
 */
extern void glm_chain_index_last(glm_prefix *prefix, glm_chain *chain, const int32_t *tokens,
								 int n_computed);

/* Gives up what is cached for a model of this generation, 0: for every model. */
extern void glm_prefix_forget(glm_prefix *prefix, uint64_t generation);

/* Bytes that a chain could take now, cached blocks included. */
extern uint64_t glm_prefix_room(glm_prefix *prefix);

/* Sums of the model of this generation, or with 0 of all.  Any thread. */
extern void glm_prefix_stats_get(glm_prefix *prefix, uint64_t generation, glm_prefix_stats *out);

#endif /* GLM_PREFIX_H */
