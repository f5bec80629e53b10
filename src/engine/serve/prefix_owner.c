/*
 * prefix_owner.c - whose cached KV blocks are: a model's and a scope's.
 *
 * Both are kept in lists, as long as they have blocks, or chains that may take some;
 * models and scopes are few beside the tokens of a prompt.  Part of prefix.c, which
 * see; prefix->lock guards it.
 */
#include "engine/serve/prefix_index.h"

#include <stdlib.h>

/* ---- Models ------------------------------------------------------------- */

glm_owner *
glm_owner_get(glm_owner **list, uint64_t generation, size_t block_bytes)
{
	glm_owner *own = *list;

	while (own != NULL && own->generation != generation)
		own = own->next;
	if (own != NULL || (own = calloc(1, sizeof(*own))) == NULL)
		return own;
	own->generation = generation;
	own->block_bytes = block_bytes;
	own->next = *list;
	*list = own;
	return own;
}

void
glm_owners_tidy(glm_owner **list)
{
	for (glm_owner **at = list; *at != NULL;)
	{
		glm_owner *own = *at;

		if (own->n_blocks > 0 || own->n_chains > 0)
			at = &own->next;
		else
		{
			*at = own->next;
			free(own);
		}
	}
}

/* ---- Scopes ------------------------------------------------------------- */

glm_scope *
glm_scope_get(glm_scope **list, uint64_t id)
{
	glm_scope *scope = *list;

	while (scope != NULL && scope->id != id)
		scope = scope->next;
	if (scope != NULL)
		return scope;
	glm_scopes_tidy(list);
	scope = calloc(1, sizeof(*scope));
	if (scope == NULL)
		return NULL;
	scope->id = id;
	scope->idle.next = scope->idle.prev = &scope->idle;
	scope->next = *list;
	*list = scope;
	return scope;
}

void
glm_scopes_tidy(glm_scope **list)
{
	for (glm_scope **at = list; *at != NULL;)
	{
		glm_scope *scope = *at;

		if (scope->n_blocks > 0 || scope->n_chains > 0)
			at = &scope->next;
		else
		{
			*at = scope->next;
			free(scope);
		}
	}
}

const glm_scope *
glm_scopes_most_cached(const glm_scope *list, const glm_scope *own)
{
	const glm_scope *most = own;

	for (; list != NULL; list = list->next)
	{
		if (list->bytes_cached > most->bytes_cached)
			most = list;
	}
	return most;
}
