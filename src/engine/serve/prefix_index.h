/*
 * prefix_index.h - how cached KV blocks are found: by all of their tokens, or by
 * the first ones; and whose they are.  Parts of prefix.c, which see; prefix->lock
 * guards it all.
 */
#ifndef GLM_PREFIX_INDEX_H
#define GLM_PREFIX_INDEX_H

#include "engine/model/kv_layout.h"

#define GLM_ALIKE_MIN 8 /* leading tokens by which blocks are found that begin alike */

/* The blocks of one model; freed when it has none. */
typedef struct glm_owner
{
	struct glm_owner *next;
	uint64_t		  generation;
	size_t			  block_bytes;
	int				  n_blocks; /* held and cached */
	int				  n_cached;
	int				  n_chains;
	uint64_t		  evictions;
} glm_owner;

typedef struct glm_cached
{
	uint32_t		   block; /* its place in the pool */
	glm_owner		  *owner;
	struct glm_scope  *scope;
	int				   refs; /* chains that hold it */
	bool			   indexed;
	struct glm_cached *prev; /* among those of its scope that nobody holds */
	struct glm_cached *next;
	struct glm_cached *spare; /* the next one without a block */
	/* while indexed */
	struct glm_cached *parent;	   /* NULL: the first block of a prompt */
	struct glm_cached *whole_next; /* in its buckets */
	struct glm_cached *opening_next;
	uint64_t		   hash[2]; /* of the path, its ids included */
	uint64_t		   opening; /* of the path to its parent and the first ids */
	int32_t			   ids[GLM_KV_BLOCK];
} glm_cached;

/* The blocks of one scope of requests (glm_request), of whatever model. */
typedef struct glm_scope
{
	struct glm_scope *next;
	uint64_t		  id;
	glm_cached		  idle; /* head of the ring of cached blocks, oldest next */
	uint64_t		  bytes_cached;
	int				  n_blocks; /* held and cached */
	int				  n_chains;
} glm_scope;

/* Blocks that may follow each other: those of one model and scope. */
typedef struct glm_tree
{
	const glm_owner *owner;
	const glm_scope *scope;
} glm_tree;

/* ---- prefix_owner.c ---- */

/* What a list has of this model, or this scope, made when need be; NULL: out of memory. */
extern glm_owner *glm_owner_get(glm_owner **list, uint64_t generation, size_t block_bytes);
extern glm_scope *glm_scope_get(glm_scope **list, uint64_t id);

/* Frees what has neither blocks nor chains. */
extern void glm_owners_tidy(glm_owner **list);
extern void glm_scopes_tidy(glm_scope **list);

/* The scope that has most cached, `own` if none has more than that. */
extern const glm_scope *glm_scopes_most_cached(const glm_scope *list, const glm_scope *own);

/* ---- prefix_index.c ---- */

typedef struct glm_prefix_index
{
	size_t		 n_buckets; /* a power of two */
	glm_cached **whole;		/* [n_buckets] by hash */
	glm_cached **opening;	/* [n_buckets] by opening, newest first */
} glm_prefix_index;

/* For a pool of so many bytes; false: out of memory.  Both may be called on zeroes. */
extern bool glm_prefix_index_open(glm_prefix_index *index, uint64_t pool_bytes);
extern void glm_prefix_index_close(glm_prefix_index *index);

/* The block behind `parent` with these ids [GLM_KV_BLOCK], or NULL. */
extern glm_cached *glm_prefix_index_find(const glm_prefix_index *index, glm_tree tree,
										 const glm_cached *parent, const int32_t *ids);

/*
 * Of the newest blocks behind `parent` that begin with the same tokens as ids [n],
 * the one that shares most; *n_alike tells how many, at least GLM_ALIKE_MIN.
 */
extern glm_cached *glm_prefix_index_find_alike(const glm_prefix_index *index, glm_tree tree,
											   const glm_cached *parent, const int32_t *ids, int n,
											   int *n_alike);

/* Adds a block, its owner and scope known, as the one behind `parent` with these ids. */
extern void glm_prefix_index_add(glm_prefix_index *index, glm_cached *node, glm_cached *parent,
								 const int32_t *ids);
extern void glm_prefix_index_remove(glm_prefix_index *index, glm_cached *node);

#endif /* GLM_PREFIX_INDEX_H */
