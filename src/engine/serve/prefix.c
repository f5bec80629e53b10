/*
 * prefix.c - prompts that begin alike share their KV blocks.
 *
 * A full block is known by the model, by the scope of its request, by the block
 * before it and by its 32 token ids; so the blocks that are indexed form trees, one
 * for each model and scope, and a path from the root is a prefix.  Two sequences whose tokens begin alike walk
 * the same path and hold the same blocks, counted by references.  Blocks are
 * indexed as soon as their last position is computed, prompt and answer alike,
 * and are never written again after that.  The last block of a chat that is over is indexed
 * though it is not full, for its next turn to copy.  Where two prompts part within a block
 * the later one gets a copy of it, of which it computes only what differs.
 *
 * As KV does not depend on a sequence's company (forward.c), a shared block and
 * the beginning of a copied one are the very bits the sequence would have
 * computed.  How blocks are found is told in prefix_index.c, whose they are in
 * prefix_owner.c.  How much of a prompt was
 * found is told to its sender, token by token; so a scope must hold only requests that
 * may know of each other's prompts and answers.
 *
 * An indexed block that nobody holds stays as cache, least recently used first
 * in the `idle` of its scope.  When somebody needs room, the scope that has most
 * cached gives up its oldest block: so how much of its prompts a scope finds again
 * does not depend on what others ask, as long as it keeps to its share.  A chain lets
 * go of its blocks from the last to the first, and whoever holds a block holds those
 * before it; so a block always stands behind its children in that list, and the first
 * of the list has none.
 *
 * Each model is known by its generation, a number that loading it again changes.
 *
 * Memory for the nodes is taken when a chain is opened, which promises it as
 * many as it may need; blocks come and go without malloc.  It is never given back, so it is
 * taken for many nodes at once: each by itself would lie among what requests leave, and keep
 * a page of that from the system.
 *
 * Locks: prefix->lock guards all of it, the index and the pool below.  Chains
 * belong to the engine thread; forget and stats are for any.  No other lock is taken
 * inside.
 */
#include "engine/serve/prefix.h"
#include "engine/serve/prefix_index.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NODES_AT_ONCE 128

typedef struct node_group
{
	struct node_group *next;
	glm_cached		   node[NODES_AT_ONCE];
} node_group;

struct glm_prefix
{
	pthread_mutex_t	 lock;
	glm_kv_pool		*pool;
	glm_kv_copy		 copy;
	void			*copier;
	glm_owner		*owners;
	glm_scope		*scopes;
	glm_prefix_index index;
	node_group		*groups; /* of all nodes that there are */
	glm_cached		*spare;	 /* those without a block */
	int				 n_spare;
	int				 n_promised; /* of those, for open chains */
	uint64_t		 evictions;
};

/* ---- Nodes ------------------------------------------------------------- */

static void
idle_push(glm_cached *node)
{
	glm_cached *head = &node->scope->idle;

	node->next = head;
	node->prev = head->prev;
	node->prev->next = node;
	head->prev = node;
	node->scope->bytes_cached += node->owner->block_bytes;
	node->owner->n_cached++;
}

static void
idle_remove(glm_cached *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->scope->bytes_cached -= node->owner->block_bytes;
	node->owner->n_cached--;
}

/* The block goes to the pool, the node to the spare ones. */
static void
free_node(glm_prefix *p, glm_cached *node)
{
	glm_kv_give_block(p->pool, node->owner->block_bytes, node->block);
	node->owner->n_blocks--;
	node->scope->n_blocks--;
	node->spare = p->spare;
	p->spare = node;
	p->n_spare++;
}

static void
hold(glm_cached *node)
{
	if (node->refs++ == 0)
		idle_remove(node);
}

static void
let_go(glm_prefix *p, glm_cached *node)
{
	if (--node->refs > 0)
		return;
	if (node->indexed)
		idle_push(node);
	else
		free_node(p, node);
}

/* Gives up a cached block that has no children. */
static void
drop_idle(glm_prefix *p, glm_cached *node)
{
	idle_remove(node);
	glm_prefix_index_remove(&p->index, node);
	free_node(p, node);
}

/* The oldest block of who has most cached, of those alike the one that needs room. */
static bool
evict(glm_prefix *p, const glm_scope *own)
{
	const glm_scope *most = glm_scopes_most_cached(p->scopes, own);
	glm_cached		*oldest = most->idle.next;

	if (oldest == &most->idle)
		return false;
	oldest->owner->evictions++;
	p->evictions++;
	drop_idle(p, oldest);
	return true;
}

/* ---- Open and close ---------------------------------------------------- */

glm_prefix *
glm_prefix_open(glm_kv_pool *pool, glm_kv_copy copy, void *copier)
{
	glm_prefix *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->pool = pool;
	p->copy = copy;
	p->copier = copier;
	if (!glm_prefix_index_open(&p->index, glm_kv_pool_total(pool)) ||
		pthread_mutex_init(&p->lock, NULL) != 0)
	{
		glm_prefix_index_close(&p->index);
		free(p);
		return NULL;
	}
	return p;
}

void
glm_prefix_close(glm_prefix *p)
{
	if (p == NULL)
		return;
	glm_prefix_forget(p, 0);
	while (p->groups != NULL)
	{
		node_group *group = p->groups;

		p->groups = group->next;
		free(group);
	}
	pthread_mutex_destroy(&p->lock);
	glm_prefix_index_close(&p->index);
	free(p);
}

/* ---- Chains ------------------------------------------------------------ */

static bool
make_nodes(glm_prefix *p)
{
	node_group *made = malloc(sizeof(*made));

	if (made == NULL)
		return false;
	made->next = p->groups;
	p->groups = made;
	for (int i = 0; i < NODES_AT_ONCE; i++)
	{
		made->node[i].spare = p->spare;
		p->spare = &made->node[i];
	}
	p->n_spare += NODES_AT_ONCE;
	return true;
}

/* Promises n nodes, making those that are missing. */
static bool
promise(glm_prefix *p, int n)
{
	while (p->n_spare < p->n_promised + n)
	{
		if (!make_nodes(p))
			return false;
	}
	p->n_promised += n;
	return true;
}

bool
glm_chain_open(glm_prefix *p, glm_chain *chain, uint64_t generation, size_t block_bytes,
			   uint64_t scope, int capacity)
{
	glm_owner *own;
	glm_scope *sharers;
	bool	   ok;

	memset(chain, 0, sizeof(*chain));
	chain->kv.block = malloc((size_t) capacity * sizeof(*chain->kv.block));
	chain->node = malloc((size_t) capacity * sizeof(*chain->node));
	pthread_mutex_lock(&p->lock);
	own = glm_owner_get(&p->owners, generation, block_bytes);
	sharers = glm_scope_get(&p->scopes, scope);
	ok = chain->kv.block != NULL && chain->node != NULL && own != NULL && sharers != NULL &&
		 promise(p, capacity);
	if (ok)
	{
		chain->kv.capacity = capacity;
		chain->n_promised = capacity;
		chain->owner = own;
		chain->scope = sharers;
		own->n_chains++;
		sharers->n_chains++;
	}
	pthread_mutex_unlock(&p->lock);
	if (!ok)
	{
		free(chain->kv.block);
		free(chain->node);
		memset(chain, 0, sizeof(*chain));
	}
	return ok;
}

void
glm_chain_close(glm_prefix *p, glm_chain *chain)
{
	if (chain->owner == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	while (chain->kv.n_blocks > 0)
		let_go(p, chain->node[--chain->kv.n_blocks]);
	p->n_promised -= chain->n_promised;
	chain->owner->n_chains--;
	chain->scope->n_chains--;
	pthread_mutex_unlock(&p->lock);
	free(chain->kv.block);
	free(chain->node);
	memset(chain, 0, sizeof(*chain));
}

static void
append(glm_chain *chain, glm_cached *node)
{
	chain->node[chain->kv.n_blocks] = node;
	chain->kv.block[chain->kv.n_blocks++] = node->block;
}

/* A new block at the end of a chain, cached ones making way.  Under the lock. */
static bool
grow(glm_prefix *p, glm_chain *chain)
{
	glm_owner  *own = chain->owner;
	glm_cached *node;
	uint32_t	block;

	do
		block = glm_kv_take_block(p->pool, own->block_bytes);
	while (block == GLM_KV_NONE && evict(p, chain->scope));
	if (block == GLM_KV_NONE)
		return false;
	node = p->spare;
	p->spare = node->spare;
	p->n_spare--;
	p->n_promised--;
	chain->n_promised--;
	*node = (glm_cached){.block = block, .owner = own, .scope = chain->scope, .refs = 1};
	own->n_blocks++;
	chain->scope->n_blocks++;
	append(chain, node);
	return true;
}

bool
glm_chain_grow(glm_prefix *p, glm_chain *chain)
{
	bool ok;

	if (chain->n_promised == 0)
		return false;
	pthread_mutex_lock(&p->lock);
	ok = grow(p, chain);
	pthread_mutex_unlock(&p->lock);
	return ok;
}

/* Where its blocks are found. */
static glm_tree
tree_of(const glm_chain *chain)
{
	return (glm_tree){chain->owner, chain->scope};
}

/* May what is cached come next?  Then all blocks before it are indexed. */
static bool
may_continue(const glm_chain *chain, glm_cached **parent)
{
	int n = chain->kv.n_blocks;

	*parent = n > 0 ? chain->node[n - 1] : NULL;
	return chain->n_indexed == n && n < chain->kv.capacity;
}

bool
glm_chain_adopt(glm_prefix *p, glm_chain *chain, const int32_t *ids)
{
	glm_cached *parent;
	glm_cached *node;

	if (!may_continue(chain, &parent))
		return false;
	pthread_mutex_lock(&p->lock);
	node = glm_prefix_index_find(&p->index, tree_of(chain), parent, ids);
	if (node != NULL)
	{
		hold(node);
		append(chain, node);
		chain->n_indexed++;
		chain->n_promised--;
		p->n_promised--;
	}
	pthread_mutex_unlock(&p->lock);
	return node != NULL;
}

int
glm_chain_copy(glm_prefix *p, glm_chain *chain, const int32_t *ids, int n)
{
	glm_cached *parent;
	glm_cached *alike;
	int			n_alike = 0;

	if (!may_continue(chain, &parent) || chain->n_promised == 0)
		return 0;
	pthread_mutex_lock(&p->lock);
	alike = glm_prefix_index_find_alike(&p->index, tree_of(chain), parent, ids, n, &n_alike);
	if (alike != NULL)
	{
		hold(alike); /* growing must not evict it */
		if (grow(p, chain))
			p->copy(p->copier, chain->kv.block[chain->kv.n_blocks - 1], alike->block,
					chain->owner->block_bytes);
		else
			n_alike = 0;
		let_go(p, alike);
	}
	pthread_mutex_unlock(&p->lock);
	return alike != NULL ? n_alike : 0;
}

/* Puts block i of a chain into the index, or takes the equal one that is there. */
static void
index_block(glm_prefix *p, glm_chain *chain, int i, const int32_t *ids)
{
	glm_cached *parent = i > 0 ? chain->node[i - 1] : NULL;
	glm_cached *node = chain->node[i];
	glm_cached *equal = glm_prefix_index_find(&p->index, tree_of(chain), parent, ids);

	if (equal == NULL)
	{
		glm_prefix_index_add(&p->index, node, parent, ids);
		return;
	}
	hold(equal);
	let_go(p, node);
	chain->node[i] = equal;
	chain->kv.block[i] = equal->block;
}

void
glm_chain_index(glm_prefix *p, glm_chain *chain, const int32_t *tokens, int n_computed)
{
	int full = n_computed / GLM_KV_BLOCK;

	if (chain->n_indexed >= full)
		return;
	pthread_mutex_lock(&p->lock);
	for (; chain->n_indexed < full; chain->n_indexed++)
		index_block(p, chain, chain->n_indexed, tokens + chain->n_indexed * GLM_KV_BLOCK);
	pthread_mutex_unlock(&p->lock);
}

/* The places that are not computed get an id that no token has, so that nobody adopts it whole. */
void
glm_chain_index_last(glm_prefix *p, glm_chain *chain, const int32_t *tokens, int n_computed)
{
	int		full = n_computed / GLM_KV_BLOCK;
	int		n = n_computed % GLM_KV_BLOCK;
	int32_t ids[GLM_KV_BLOCK];

	glm_chain_index(p, chain, tokens, n_computed);
	if (n < GLM_ALIKE_MIN || chain->n_indexed != full || chain->kv.n_blocks <= full)
		return;
	for (int i = 0; i < GLM_KV_BLOCK; i++)
		ids[i] = i < n ? tokens[full * GLM_KV_BLOCK + i] : -1;
	pthread_mutex_lock(&p->lock);
	index_block(p, chain, full, ids);
	pthread_mutex_unlock(&p->lock);
}

/* ---- All of them ------------------------------------------------------- */

/* From the oldest on, so children go before their parents. */
static void
forget_idle(glm_prefix *p, const glm_scope *scope, uint64_t generation)
{
	for (glm_cached *node = scope->idle.next; node != &scope->idle;)
	{
		glm_cached *next = node->next;

		if (generation == 0 || node->owner->generation == generation)
			drop_idle(p, node);
		node = next;
	}
}

void
glm_prefix_forget(glm_prefix *p, uint64_t generation)
{
	pthread_mutex_lock(&p->lock);
	for (const glm_scope *scope = p->scopes; scope != NULL; scope = scope->next)
		forget_idle(p, scope, generation);
	glm_owners_tidy(&p->owners);
	glm_scopes_tidy(&p->scopes);
	pthread_mutex_unlock(&p->lock);
}

uint64_t
glm_prefix_room(glm_prefix *p)
{
	glm_prefix_stats all;

	glm_prefix_stats_get(p, 0, &all);
	return glm_kv_pool_total(p->pool) - all.bytes_used;
}

void
glm_prefix_stats_get(glm_prefix *p, uint64_t generation, glm_prefix_stats *out)
{
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&p->lock);
	for (const glm_owner *own = p->owners; own != NULL; own = own->next)
	{
		if (generation != 0 && own->generation != generation)
			continue;
		out->bytes_cached += (uint64_t) own->n_cached * own->block_bytes;
		out->bytes_used += (uint64_t) (own->n_blocks - own->n_cached) * own->block_bytes;
		out->evictions += own->evictions;
	}
	if (generation == 0)
		out->evictions = p->evictions;
	pthread_mutex_unlock(&p->lock);
}
