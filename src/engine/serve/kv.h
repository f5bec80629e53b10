/*
 * kv.h - one pool for the keys and values of all models, block by block.
 */
#ifndef GLM_KV_H
#define GLM_KV_H

#include "engine/compute/backend.h"
#include "engine/model/kv_layout.h"

typedef struct glm_kv_pool glm_kv_pool;

/* NULL: out of memory, or so large that numbers do not suffice. */
extern glm_kv_pool *glm_kv_pool_open(size_t bytes);
extern void			glm_kv_pool_close(glm_kv_pool *pool);
extern uint64_t		glm_kv_pool_total(const glm_kv_pool *pool);
/* To so many bytes at most, before the first block is taken. */
extern void			glm_kv_pool_shrink(glm_kv_pool *pool, uint64_t bytes);
extern uint64_t		glm_kv_pool_used(const glm_kv_pool *pool); /* any thread */

/* Could the pool, all empty, ever hold n blocks of this size? */
extern bool glm_kv_fits(const glm_kv_pool *pool, size_t block_bytes, int n);
/* Takes n blocks into an empty table, or none at all and returns false. */
extern bool glm_kv_take(glm_kv_pool *pool, size_t block_bytes, int n, glm_kv_table *table);
extern void glm_kv_give(glm_kv_pool *pool, size_t block_bytes, glm_kv_table *table);
/* The same for a single block; GLM_KV_NONE when there is no room for it. */
#define GLM_KV_NONE UINT32_MAX
extern uint32_t glm_kv_take_block(glm_kv_pool *pool, size_t block_bytes);
extern void		glm_kv_give_block(glm_kv_pool *pool, size_t block_bytes, uint32_t block);

#endif /* GLM_KV_H */
