/*
 * prefix_index.c - two hash tables over cached KV blocks.
 *
 * One finds the block whose tokens, and those of all blocks before it, are given:
 * its key is a chained 128-bit hash.  The other finds blocks that only begin so: its
 * key is the hash of the blocks before and the first GLM_ALIKE_MIN tokens.  A hit
 * counts only when parent and ids are equal, so that a collision of hashes, made or
 * met, never shows anybody a wrong prefix.  A tree belongs to one scope, and how many
 * blocks are looked at is counted in it alone; so what others cached changes no result.
 */
#include "engine/serve/prefix_index.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 1024
#define BUCKETS_MAX (1 << 18)
#define BYTES_A_BUCKET (64 * 1024)
#define ALIKE_LOOKED_AT 8 /* of a thousand rows with one instruction any will do */

/* ---- Open and close ---------------------------------------------------- */

bool
glm_prefix_index_open(glm_prefix_index *index, uint64_t pool_bytes)
{
	index->n_buckets = BUCKETS_MIN;
	while (index->n_buckets < BUCKETS_MAX && index->n_buckets * BYTES_A_BUCKET < pool_bytes)
		index->n_buckets *= 2;
	index->whole = calloc(index->n_buckets, sizeof(*index->whole));
	index->opening = calloc(index->n_buckets, sizeof(*index->opening));
	if (index->whole != NULL && index->opening != NULL)
		return true;
	glm_prefix_index_close(index);
	return false;
}

void
glm_prefix_index_close(glm_prefix_index *index)
{
	free(index->whole);
	free(index->opening);
	memset(index, 0, sizeof(*index));
}

/* ---- Hash -------------------------------------------------------------- */

static uint64_t
mixed(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

/* out[1] of the first n ids is the opening; out of all of them is the hash. */
static void
hash_ids(uint64_t out[2], glm_tree tree, const glm_cached *parent, const int32_t *ids, int n)
{
	uint64_t root = tree.owner->generation ^ mixed(tree.scope->id);
	uint64_t a = parent != NULL ? parent->hash[0] : root;
	uint64_t b = parent != NULL ? parent->hash[1] : ~root;

	for (int i = 0; i < n; i++)
	{
		a = mixed(a + (uint32_t) ids[i]);
		b = mixed(b ^ ((uint64_t) (uint32_t) ids[i] << 32 | (uint32_t) i));
	}
	out[0] = a;
	out[1] = b;
}

static uint64_t
hash_opening(glm_tree tree, const glm_cached *parent, const int32_t *ids)
{
	uint64_t hash[2];

	hash_ids(hash, tree, parent, ids, GLM_ALIKE_MIN);
	return hash[0] ^ hash[1];
}

static glm_cached **
bucket(glm_cached **table, const glm_prefix_index *index, uint64_t hash)
{
	return &table[hash & (index->n_buckets - 1)];
}

/* ---- Look-up ----------------------------------------------------------- */

static bool
is_of(const glm_cached *node, glm_tree tree)
{
	return node->owner == tree.owner && node->scope == tree.scope;
}

glm_cached *
glm_prefix_index_find(const glm_prefix_index *index, glm_tree tree, const glm_cached *parent,
					  const int32_t *ids)
{
	uint64_t	hash[2];
	glm_cached *node;

	hash_ids(hash, tree, parent, ids, GLM_KV_BLOCK);
	node = *bucket(index->whole, index, hash[0]);
	while (node != NULL &&
		   (node->hash[0] != hash[0] || node->hash[1] != hash[1] || !is_of(node, tree) ||
			node->parent != parent || memcmp(node->ids, ids, sizeof(node->ids)) != 0))
		node = node->whole_next;
	return node;
}

static int
count_alike(const glm_cached *node, const int32_t *ids, int n)
{
	int alike = 0;

	while (alike < n && node->ids[alike] == ids[alike])
		alike++;
	return alike;
}

glm_cached *
glm_prefix_index_find_alike(const glm_prefix_index *index, glm_tree tree, const glm_cached *parent,
							const int32_t *ids, int n, int *n_alike)
{
	uint64_t	opening;
	glm_cached *best = NULL;
	int			looked_at = 0;

	*n_alike = GLM_ALIKE_MIN - 1;
	if (n < GLM_ALIKE_MIN)
		return NULL;
	opening = hash_opening(tree, parent, ids);
	for (glm_cached *node = *bucket(index->opening, index, opening);
		 node != NULL && looked_at < ALIKE_LOOKED_AT; node = node->opening_next)
	{
		int alike;

		if (node->opening != opening || !is_of(node, tree) || node->parent != parent)
			continue;
		looked_at++;
		alike = count_alike(node, ids, n);
		if (alike > *n_alike)
		{
			*n_alike = alike;
			best = node;
		}
	}
	return best;
}

/* ---- Coming and going -------------------------------------------------- */

void
glm_prefix_index_add(glm_prefix_index *index, glm_cached *node, glm_cached *parent,
					 const int32_t *ids)
{
	glm_tree	 tree = {node->owner, node->scope};
	glm_cached **whole;
	glm_cached **opening;

	node->parent = parent;
	memcpy(node->ids, ids, sizeof(node->ids));
	hash_ids(node->hash, tree, parent, ids, GLM_KV_BLOCK);
	node->opening = hash_opening(tree, parent, ids);
	whole = bucket(index->whole, index, node->hash[0]);
	node->whole_next = *whole;
	*whole = node;
	opening = bucket(index->opening, index, node->opening);
	node->opening_next = *opening;
	*opening = node;
	node->indexed = true;
}

void
glm_prefix_index_remove(glm_prefix_index *index, glm_cached *node)
{
	glm_cached **at = bucket(index->whole, index, node->hash[0]);

	while (*at != node)
		at = &(*at)->whole_next;
	*at = node->whole_next;
	at = bucket(index->opening, index, node->opening);
	while (*at != node)
		at = &(*at)->opening_next;
	*at = node->opening_next;
	node->indexed = false;
}
