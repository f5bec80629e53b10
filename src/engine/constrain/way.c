/*
 * way.c - the fewest tokens that write some bytes.
 *
 * Counted from the end: what is left from a byte on is one token and the least that is left
 * behind it.  So while an answer follows its way there is nothing to count again.
 */
#include "engine/constrain/way.h"

#include <stdlib.h>
#include <string.h>

#define PAUSE_BYTES 4096

/* What is left from byte i on; what is behind it is counted. */
static glm_way_rest
count_from(const glm_way *way, const glm_vocabulary *v, size_t i)
{
	const glm_trie *tries[] = {&v->plain, &v->rest};
	glm_way_rest	best = {GLM_NO_WAY, -1};
	size_t			end = 0; /* of the best token */

	for (int t = 0; t < 2; t++)
		for (int node = -1, k = 0; i + (size_t) k < way->bytes.length; k++)
		{
			size_t	next = i + (size_t) k + 1;
			int32_t token;

			node = glm_trie_child(tries[t], node, (uint8_t) way->bytes.data[next - 1]);
			if (node < 0)
				break;
			token = tries[t]->node[node].token;
			/* of as many tokens the longer first one, as models write them */
			if (token >= 0 && (way->rest[next].tokens + 1 < best.tokens ||
							   (way->rest[next].tokens + 1 == best.tokens && next > end)))
			{
				best = (glm_way_rest){way->rest[next].tokens + 1, token};
				end = next;
			}
		}
	return best;
}

static bool
reserve(glm_way *way, size_t n, glm_error *err)
{
	glm_way_rest *rest;

	if (n <= way->capacity)
		return true;
	rest = realloc(way->rest, 2 * n * sizeof(*rest));
	if (rest == NULL)
		return glm_no_memory(err);
	way->rest = rest;
	way->capacity = 2 * n;
	return true;
}

bool
glm_way_count(glm_way *way, const glm_vocabulary *vocabulary, glm_error *err)
{
	size_t n = way->bytes.length;

	if (way->bytes.failed)
		return glm_no_memory(err);
	if (!reserve(way, n + 1, err))
		return false;
	way->at = 0;
	way->rest[n] = (glm_way_rest){0, -1};
	for (size_t i = n; i-- > 0;)
	{
		way->rest[i] = count_from(way, vocabulary, i);
		if (i % PAUSE_BYTES == 0 && err != NULL && !glm_pause(err))
			return false;
	}
	return true;
}

void
glm_way_free(glm_way *way)
{
	glm_buf_free(&way->bytes);
	free(way->rest);
	*way = (glm_way){0};
}

bool
glm_way_follows(const glm_way *way, const char *bytes, size_t n)
{
	return n <= way->bytes.length - way->at && memcmp(way->bytes.data + way->at, bytes, n) == 0;
}
