/*
 * kv.c - the pool of KV blocks: keys and values of all sequences of all models.
 *
 * What lies in a block is said in model/kv_layout.h, and where it lies is the device's
 * affair (compute/backend.h): here a block is a number, the place in the pool at which it
 * begins, in units of GLM_KV_UNIT bytes.  Nothing here touches the pool's memory.
 *
 * Models have blocks of different sizes.  The pool is cut into slabs of 256 KiB.  A *run*
 * is a row of neighbouring slabs that serves blocks of one size, long enough to waste at
 * most an eighth, and lives while any of its blocks is in use.  Blocks given back last are
 * taken first and new runs begin at the lowest free slab, so memory that was touched is
 * touched again.
 *
 * When no block is in use every slab is free, whatever happened before.  That is
 * why glm_kv_fits can promise.
 *
 * Locks: none.  Who takes and gives sees to it that nobody else does meanwhile
 * (prefix.c, under its lock); total, used and fits may be called by any thread, and shrink
 * by any before the first block is taken.
 */
#include "engine/serve/kv.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SLAB_BYTES ((size_t) 256 * 1024)
#define SLAB_UNITS (SLAB_BYTES / GLM_KV_UNIT)
#define NONE (-1)

/* One for each slab; the fields after `first` count in a run's first slab. */
typedef struct slab
{
	bool	taken;	/* part of a run */
	int32_t first;	/* the run's first slab */
	int32_t length; /* the run's slabs */
	size_t	block_bytes;
	size_t	capacity; /* blocks in the run */
	size_t	fresh;	  /* of those, never taken since the run began */
	size_t	used;
	int32_t free; /* given back, last one first: its number in the run; NONE: there is none */
	int32_t prev; /* in the list of runs with a block to take */
	int32_t next;
} slab;

struct glm_kv_pool
{
	int32_t			 n_slabs;
	slab			*slab; /* [n_slabs] */
	/*
	 * Of every free block the number of the next one, [n_slabs * SLAB_UNITS]: those of a
	 * run from its first slab's on.  Most of it is never touched.
	 */
	int32_t			*link;
	int32_t			 open; /* runs with a block to take, newest first */
	_Atomic uint64_t used; /* bytes of blocks in use */
};

/* ---- Sizes -------------------------------------------------------------- */

static size_t
block_stride(size_t block_bytes)
{
	return (block_bytes + GLM_KV_UNIT - 1) / GLM_KV_UNIT * GLM_KV_UNIT;
}

/* Slabs of a run for such blocks; 0 when not even one fits into the pool. */
static int32_t
slabs_of_run(const glm_kv_pool *pool, size_t block_bytes)
{
	size_t stride = block_stride(block_bytes);
	size_t length = stride / SLAB_BYTES + (stride % SLAB_BYTES != 0);

	if (block_bytes == 0 || length > (size_t) pool->n_slabs)
		return 0;
	while (length < (size_t) pool->n_slabs &&
		   length * SLAB_BYTES % stride > length * SLAB_BYTES / 8)
		length++;
	return (int32_t) length;
}

static size_t
blocks_of_run(int32_t length, size_t block_bytes)
{
	return (size_t) length * SLAB_BYTES / block_stride(block_bytes);
}

/* ---- The list of runs with a block to take ------------------------------ */

static void
list_push(glm_kv_pool *pool, int32_t run)
{
	pool->slab[run].prev = NONE;
	pool->slab[run].next = pool->open;
	if (pool->open != NONE)
		pool->slab[pool->open].prev = run;
	pool->open = run;
}

static void
list_remove(glm_kv_pool *pool, int32_t run)
{
	slab *s = &pool->slab[run];

	if (s->prev != NONE)
		pool->slab[s->prev].next = s->next;
	else
		pool->open = s->next;
	if (s->next != NONE)
		pool->slab[s->next].prev = s->prev;
}

/* ---- Runs -------------------------------------------------------------- */

/* The lowest row of `length` free slabs, or NONE. */
static int32_t
find_slabs(const glm_kv_pool *pool, int32_t length)
{
	int32_t free = 0;

	for (int32_t i = 0; i < pool->n_slabs; i++)
	{
		free = pool->slab[i].taken ? 0 : free + 1;
		if (free == length)
			return i - length + 1;
	}
	return NONE;
}

/* Begins a run for such blocks, or NONE when there is no room for one. */
static int32_t
take_run(glm_kv_pool *pool, size_t block_bytes)
{
	int32_t length = slabs_of_run(pool, block_bytes);
	int32_t run = length > 0 ? find_slabs(pool, length) : NONE;

	if (run == NONE)
		return NONE;
	for (int32_t i = run; i < run + length; i++)
	{
		pool->slab[i].taken = true;
		pool->slab[i].first = run;
	}
	pool->slab[run].length = length;
	pool->slab[run].block_bytes = block_bytes;
	pool->slab[run].capacity = blocks_of_run(length, block_bytes);
	pool->slab[run].fresh = pool->slab[run].capacity;
	pool->slab[run].used = 0;
	pool->slab[run].free = NONE;
	list_push(pool, run);
	return run;
}

static void
free_run(glm_kv_pool *pool, int32_t run)
{
	list_remove(pool, run);
	for (int32_t i = run; i < run + pool->slab[run].length; i++)
		pool->slab[i].taken = false;
}

/* ---- Blocks ------------------------------------------------------------ */

/* The links between a run's free blocks, by their numbers in it. */
static int32_t *
links_of(glm_kv_pool *pool, int32_t run)
{
	return pool->link + (size_t) run * SLAB_UNITS;
}

/* Units of a run's block. */
static uint32_t
units_of(const slab *run)
{
	return (uint32_t) (block_stride(run->block_bytes) / GLM_KV_UNIT);
}

uint32_t
glm_kv_take_block(glm_kv_pool *pool, size_t block_bytes)
{
	int32_t run = pool->open;
	int32_t number;
	slab   *s;

	while (run != NONE && pool->slab[run].block_bytes != block_bytes)
		run = pool->slab[run].next;
	if (run == NONE)
		run = take_run(pool, block_bytes);
	if (run == NONE || GLM_INJECT("kv-block"))
		return GLM_KV_NONE;

	s = &pool->slab[run];
	number = s->free;
	if (number != NONE)
		s->free = links_of(pool, run)[number];
	else
		number = (int32_t) (s->capacity - s->fresh--);
	s->used++;
	if (s->used == s->capacity)
		list_remove(pool, run);
	atomic_fetch_add(&pool->used, block_bytes);
	return (uint32_t) run * (uint32_t) SLAB_UNITS + (uint32_t) number * units_of(s);
}

void
glm_kv_give_block(glm_kv_pool *pool, size_t block_bytes, uint32_t block)
{
	int32_t run = pool->slab[block / SLAB_UNITS].first;
	slab   *s = &pool->slab[run];
	int32_t number = (int32_t) ((block - (uint32_t) run * (uint32_t) SLAB_UNITS) / units_of(s));

	if (s->used == s->capacity)
		list_push(pool, run);
	links_of(pool, run)[number] = s->free;
	s->free = number;
	s->used--;
	if (s->used == 0)
		free_run(pool, run);
	atomic_fetch_sub(&pool->used, block_bytes);
}

bool
glm_kv_take(glm_kv_pool *pool, size_t block_bytes, int n, glm_kv_table *table)
{
	memset(table, 0, sizeof(*table));
	if ((size_t) n > (glm_kv_pool_total(pool) - glm_kv_pool_used(pool)) / block_bytes)
		return false;
	table->block = malloc((size_t) n * sizeof(*table->block));
	if (table->block == NULL)
		return n == 0;
	table->capacity = n;
	while (table->n_blocks < n)
	{
		uint32_t block = glm_kv_take_block(pool, block_bytes);

		if (block == GLM_KV_NONE)
		{
			glm_kv_give(pool, block_bytes, table);
			return false;
		}
		table->block[table->n_blocks++] = block;
	}
	return true;
}

void
glm_kv_give(glm_kv_pool *pool, size_t block_bytes, glm_kv_table *table)
{
	/* backwards, so that the next to take gets them in ascending order */
	while (table->n_blocks > 0)
		glm_kv_give_block(pool, block_bytes, table->block[--table->n_blocks]);
	free(table->block);
	table->block = NULL;
	table->capacity = 0;
}

/* ---- The pool ---------------------------------------------------------- */

glm_kv_pool *
glm_kv_pool_open(size_t bytes)
{
	glm_kv_pool *pool = calloc(1, sizeof(*pool));
	size_t		 n_slabs = bytes / SLAB_BYTES;

	if (pool == NULL || n_slabs < 1 || n_slabs > GLM_KV_NONE / SLAB_UNITS)
	{
		free(pool);
		return NULL;
	}
	pool->n_slabs = (int32_t) n_slabs;
	pool->open = NONE;
	pool->slab = calloc(n_slabs, sizeof(*pool->slab));
	pool->link = calloc(n_slabs * SLAB_UNITS, sizeof(*pool->link));
	if (pool->slab == NULL || pool->link == NULL)
	{
		glm_kv_pool_close(pool);
		return NULL;
	}
	return pool;
}

void
glm_kv_pool_close(glm_kv_pool *pool)
{
	if (pool == NULL)
		return;
	free(pool->slab);
	free(pool->link);
	free(pool);
}

uint64_t
glm_kv_pool_total(const glm_kv_pool *pool)
{
	return (uint64_t) pool->n_slabs * SLAB_BYTES;
}

void
glm_kv_pool_shrink(glm_kv_pool *pool, uint64_t bytes)
{
	if (bytes < glm_kv_pool_total(pool))
		pool->n_slabs = (int32_t) (bytes / SLAB_BYTES);
}

uint64_t
glm_kv_pool_used(const glm_kv_pool *pool)
{
	return atomic_load(&pool->used);
}

bool
glm_kv_fits(const glm_kv_pool *pool, size_t block_bytes, int n)
{
	int32_t length = slabs_of_run(pool, block_bytes);

	return length > 0 &&
		   (size_t) n <= (size_t) (pool->n_slabs / length) * blocks_of_run(length, block_bytes);
}
