/*
 * intern.c - an index of things that are kept once each: buckets of numbers, doubled when
 * there are as many things.
 */
#include "engine/constrain/intern.h"

#include <string.h>

#define FIRST_BUCKETS 32

static uint64_t
mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
	return hash ^ hash >> 29;
}

uint64_t
glm_hash_bytes(const void *bytes, size_t n)
{
	uint64_t hash = mix(n, 1);
	uint64_t word;

	for (; n >= sizeof(word); n -= sizeof(word))
	{
		memcpy(&word, bytes, sizeof(word));
		hash = mix(hash, word);
		bytes = (const char *) bytes + sizeof(word);
	}
	word = 0;
	if (n > 0)
		memcpy(&word, bytes, n);
	return mix(hash, word);
}

uint64_t
glm_mix(uint64_t hash, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	hash ^= n * 0x9E3779B97F4A7C15u;
	while (n > 0)
	{
		uint64_t word = 0;
		size_t	 part = n < sizeof(word) ? n : sizeof(word);

		memcpy(&word, at, part);
		hash = (hash ^ word) * 0xBF58476D1CE4E5B9u;
		hash = (hash ^ hash >> 27) * 0x94D049BB133111EBu;
		hash ^= hash >> 31;
		at += part;
		n -= part;
	}
	return hash != 0 ? hash : 1;
}

static int
same_hash(const glm_intern *index, int i, uint64_t hash)
{
	while (i >= 0 && index->hash[i] != hash)
		i = index->next[i];
	return i;
}

int
glm_intern_first(const glm_intern *index, uint64_t hash)
{
	if (index->n == 0)
		return -1;
	return same_hash(index, index->bucket[hash & (uint64_t) (index->n_buckets - 1)] - 1, hash);
}

int
glm_intern_next(const glm_intern *index, int i)
{
	return same_hash(index, index->next[i], index->hash[i]);
}

static void
put(glm_intern *index, int i)
{
	int *bucket = &index->bucket[index->hash[i] & (uint64_t) (index->n_buckets - 1)];

	index->next[i] = *bucket - 1;
	*bucket = i + 1;
}

static void
double_buckets(glm_arena *arena, glm_intern *index)
{
	int		  n = index->n_buckets > 0 ? 2 * index->n_buckets : FIRST_BUCKETS;
	uint64_t *hash = GLM_NEW(arena, uint64_t, n);
	int		 *next = GLM_NEW(arena, int, n);
	int		 *bucket = GLM_NEW(arena, int, n);

	if (index->n > 0)
		memcpy(hash, index->hash, sizeof(*hash) * (size_t) index->n);
	*index = (glm_intern){hash, next, index->n, bucket, n};
	for (int i = 0; i < index->n; i++)
		put(index, i);
}

int
glm_intern_add(glm_arena *arena, glm_intern *index, uint64_t hash)
{
	if (index->n == index->n_buckets)
		double_buckets(arena, index);
	index->hash[index->n] = hash;
	put(index, index->n);
	return index->n++;
}
