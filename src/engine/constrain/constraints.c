/*
 * constraints.c - constraints that were compiled lately.
 *
 * A list, the last used first.  Constraints grow while they are used, so what they take is
 * asked anew whenever one is added, and the oldest go until the rest fits.  Whoever still
 * works with one that went keeps it.
 *
 * Locks: `lock` is of the list, and not held while something is compiled; two that compile
 * the same at once then use the one that was ready first.
 */
#include "engine/constrain/constraint.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/hash.h"

typedef struct cached
{
	struct cached  *next;
	glm_hash		hash; /* of the spec's text */
	glm_constraint *constraint;
} cached;

struct glm_constraints
{
	pthread_mutex_t lock;
	size_t			limit; /* bytes */
	cached		   *first; /* the last used */
};

glm_constraints *
glm_constraints_open(size_t bytes)
{
	glm_constraints *cache = calloc(1, sizeof(*cache));

	if (cache == NULL)
		return NULL;
	pthread_mutex_init(&cache->lock, NULL);
	cache->limit = bytes;
	return cache;
}

static void
drop(cached **at)
{
	cached *entry = *at;

	*at = entry->next;
	glm_constraint_release(entry->constraint);
	free(entry);
}

void
glm_constraints_close(glm_constraints *cache)
{
	if (cache == NULL)
		return;
	while (cache->first != NULL)
		drop(&cache->first);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

void
glm_constraints_forget(glm_constraints *cache, const glm_vocabulary *vocabulary)
{
	pthread_mutex_lock(&cache->lock);
	for (cached **at = &cache->first; *at != NULL;)
		if ((*at)->constraint->vocabulary == vocabulary)
			drop(at);
		else
			at = &(*at)->next;
	pthread_mutex_unlock(&cache->lock);
}

static bool
is_same(const cached *entry, const glm_hash *hash, const glm_constraint_spec *spec,
		const glm_vocabulary *vocabulary)
{
	const glm_constraint *c = entry->constraint;

	return c->vocabulary == vocabulary && c->spec.kind == spec->kind &&
		   c->spec.order == spec->order && c->spec.space == spec->space &&
		   c->spec.length == spec->length && memcmp(&entry->hash, hash, sizeof(*hash)) == 0;
}

/* A reference to the constraint that is there, which becomes the last used; NULL: none is. */
static glm_constraint *
find(glm_constraints *cache, const glm_hash *hash, const glm_constraint_spec *spec,
	 const glm_vocabulary *vocabulary)
{
	cached **at = &cache->first;
	cached	*entry;

	while (*at != NULL && !is_same(*at, hash, spec, vocabulary))
		at = &(*at)->next;
	entry = *at;
	if (entry == NULL)
		return NULL;
	*at = entry->next;
	entry->next = cache->first;
	cache->first = entry;
	glm_constraint_keep(entry->constraint);
	return entry->constraint;
}

/* Drops the oldest beyond the limit. */
static void
trim(glm_constraints *cache)
{
	size_t used = 0;

	for (cached **at = &cache->first; *at != NULL;)
	{
		used += atomic_load(&(*at)->constraint->bytes);
		if (used > cache->limit)
			drop(at);
		else
			at = &(*at)->next;
	}
}

/* Without memory for it, it is not cached. */
static void
add(glm_constraints *cache, const glm_hash *hash, glm_constraint *constraint)
{
	cached *entry = malloc(sizeof(*entry));

	if (entry == NULL)
		return;
	*entry = (cached){cache->first, *hash, constraint};
	cache->first = entry;
	glm_constraint_keep(constraint);
	trim(cache);
}

glm_constraint *
glm_constraints_get(glm_constraints *cache, const glm_constraint_spec *spec,
					const glm_vocabulary *vocabulary, glm_error *err)
{
	glm_hash		hash;
	glm_constraint *made, *found;

	if (!glm_hash_memory(spec->text, spec->length, &hash, err))
		return NULL;
	pthread_mutex_lock(&cache->lock);
	found = find(cache, &hash, spec, vocabulary);
	pthread_mutex_unlock(&cache->lock);
	if (found != NULL)
		return found;

	made = glm_constraint_open(spec, vocabulary, err);
	if (made == NULL)
		return NULL;
	pthread_mutex_lock(&cache->lock);
	found = find(cache, &hash, spec, vocabulary);
	if (found == NULL)
		add(cache, &hash, made);
	pthread_mutex_unlock(&cache->lock);
	if (found == NULL)
		return made;
	glm_constraint_release(made);
	return found;
}
