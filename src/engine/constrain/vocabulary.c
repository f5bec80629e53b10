/*
 * vocabulary.c - the tokens of a model as tries over their bytes.
 *
 * Made once a model: the bytes of all tokens are copied and sorted, tokens of the same
 * bytes become twins of one of them, and each of the two tries is laid down in one pass
 * over its sorted tokens, of which each shares with the one before it the nodes of their
 * common beginning.  Beside them stand the masks of plain tokens by their length, so that
 * inside of a string that may be anything a mask is a copy.
 */
#include "engine/constrain/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "engine/constrain/vocabulary_tries.h"

#define ANY (GLM_PLAIN_LENGTHS + 1) /* the mask of all lengths */

/* A token on its way into a trie. */
typedef struct entry
{
	const char *bytes;
	int			length;
	int32_t		token;
} entry;

int
glm_vocabulary_words(const glm_vocabulary *vocabulary)
{
	return vocabulary->words;
}

const char *
glm_vocabulary_bytes(const glm_vocabulary *v, int32_t token, size_t *n)
{
	*n = v->offset[token + 1] - v->offset[token];
	return v->bytes + v->offset[token];
}

void
glm_vocabulary_add_twins(const glm_vocabulary *v, uint64_t *allowed)
{
	for (int i = 0; i < v->n_twins; i++)
		if (glm_mask_has(allowed, v->twin[i].token))
			glm_mask_set(allowed, v->twin[i].twin);
}

/* ---- Bytes and lengths ----------------------------------------------------------------------- */

int
glm_byte_class(uint8_t byte)
{
	static const char single[] = " -_./:";
	const char		 *at;

	if (byte >= 0x80)
		return GLM_CLASS_HIGH;
	if (byte >= '0' && byte <= '9')
		return 0;
	if (byte >= 'a' && byte <= 'z')
		return byte <= 'f' ? 1 : 2;
	if (byte >= 'A' && byte <= 'Z')
		return byte <= 'F' ? 3 : 4;
	at = memchr(single, byte, sizeof(single) - 1);
	return at != NULL ? 5 + (int) (at - single) : GLM_CLASS_HIGH - 1;
}

static int
code_points(const char *bytes, size_t n)
{
	int count = 0;

	for (size_t i = 0; i < n; i++)
		count += (bytes[i] & 0xC0) != 0x80;
	return count;
}

static bool
has_control(const char *bytes, int n)
{
	for (int i = 0; i < n; i++)
		if ((uint8_t) bytes[i] < 0x20)
			return true;
	return false;
}

/* Does it end a key, and behind the key's value another? */
static bool
ends_two_keys(const char *bytes, int n)
{
	static const char parts[] = "\":,\"\"";
	const char		 *at = bytes, *end = bytes + n;

	for (int i = 0; parts[i] != '\0' && at != NULL; i++)
	{
		at = memchr(at, parts[i], (size_t) (end - at));
		at = at != NULL ? at + 1 : NULL;
	}
	return at != NULL;
}

static bool
is_plain(const char *bytes, int n)
{
	size_t length = (size_t) n;

	return !has_control(bytes, n) && memchr(bytes, '"', length) == NULL &&
		   memchr(bytes, '\\', length) == NULL && glm_utf8_check(bytes, length) == -1;
}

static bool
make_lengths(glm_vocabulary *v)
{
	size_t words = (size_t) v->words;

	v->lengths = calloc((size_t) (ANY + 1) * words, sizeof(*v->lengths));
	if (v->lengths == NULL)
		return false;
	for (int i = 0; i < v->plain.n_tokens; i++)
	{
		int32_t		token = v->plain.token[i];
		size_t		n;
		const char *bytes = glm_vocabulary_bytes(v, token, &n);
		int			count = code_points(bytes, n);

		v->longest = count > v->longest ? count : v->longest;
		for (int r = count; r <= GLM_PLAIN_LENGTHS; r++)
			glm_mask_set(v->lengths + (size_t) r * words, token);
		glm_mask_set(v->lengths + (size_t) ANY * words, token);
	}
	return true;
}

void
glm_vocabulary_plain(const glm_vocabulary *v, int most, uint64_t *allowed)
{
	bool any = most >= v->longest;
	int	 row = any ? ANY : most > GLM_PLAIN_LENGTHS ? GLM_PLAIN_LENGTHS : most > 0 ? most : 0;

	memcpy(allowed, v->lengths + (size_t) row * (size_t) v->words,
		   (size_t) v->words * sizeof(*allowed));
	if (any || most <= GLM_PLAIN_LENGTHS)
		return;
	/* the few that are longer than what has a mask */
	for (int i = 0; i < v->plain.n_tokens; i++)
	{
		size_t		n;
		const char *bytes = glm_vocabulary_bytes(v, v->plain.token[i], &n);

		if (n > GLM_PLAIN_LENGTHS && code_points(bytes, n) <= most)
			glm_mask_set(allowed, v->plain.token[i]);
	}
}

/* ---- Tries ----------------------------------------------------------------------------------- */

static int
compare_entries(const void *one, const void *other)
{
	const entry *a = one, *b = other;
	int			 shared = a->length < b->length ? a->length : b->length;
	int			 difference = memcmp(a->bytes, b->bytes, (size_t) shared);

	if (difference == 0)
		difference = a->length - b->length;
	return difference != 0 ? difference : (a->token > b->token) - (a->token < b->token);
}

/*
 * Of tokens with the same bytes leaves the last: pieces of bytes, which a model rarely
 * writes, come before those of text.  Returns how many entries are left.
 */
static int
take_twins(glm_vocabulary *v, entry *sorted, int n)
{
	int kept = 0;

	for (int i = 0, end; i < n; i = end)
	{
		for (end = i + 1;
			 end < n && sorted[end].length == sorted[i].length &&
			 memcmp(sorted[end].bytes, sorted[i].bytes, (size_t) sorted[i].length) == 0;)
			end++;
		for (; i < end - 1; i++)
			v->twin[v->n_twins++] = (glm_twin){sorted[end - 1].token, sorted[i].token};
		sorted[kept++] = sorted[end - 1];
	}
	return kept;
}

/* Ends the nodes on the path that are at this depth or deeper. */
static void
close_nodes(glm_trie *trie, const int *path, int *open, int depth)
{
	while (*open > depth)
	{
		glm_trie_node *node = &trie->node[path[--*open]];

		node->size = trie->n - path[*open];
		node->end = trie->n_tokens;
		if (*open > 0)
			trie->node[path[*open - 1]].classes |=
				(uint16_t) (node->classes | 1u << glm_byte_class(node->byte));
	}
}

static bool
make_trie(glm_trie *trie, const entry *sorted, int n)
{
	int	   path[GLM_TOKEN_BYTES];
	int	   open = 0;
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += (size_t) sorted[i].length;
	/* one more, so that nothing is not NULL */
	trie->node = calloc(total + 1, sizeof(*trie->node));
	trie->token = calloc((size_t) n + 1, sizeof(*trie->token));
	memset(trie->child, -1, sizeof(trie->child));
	if (trie->node == NULL || trie->token == NULL)
		return false;
	for (int i = 0; i < n; i++)
	{
		const entry *e = &sorted[i];
		int			 shared = 0;

		while (shared < open && trie->node[path[shared]].byte == (uint8_t) e->bytes[shared])
			shared++;
		close_nodes(trie, path, &open, shared);
		for (; open < e->length; open++)
		{
			path[open] = trie->n++;
			trie->node[path[open]] = (glm_trie_node){.byte = (uint8_t) e->bytes[open],
													 .depth = (uint8_t) open,
													 .token = -1,
													 .first = trie->n_tokens};
		}
		trie->child[(uint8_t) e->bytes[0]] = path[0];
		trie->node[path[open - 1]].token = e->token;
		trie->token[trie->n_tokens++] = e->token;
	}
	close_nodes(trie, path, &open, 0);
	return true;
}

int
glm_trie_child(const glm_trie *trie, int node, uint8_t byte)
{
	int end;

	if (node < 0)
		return trie->child[byte];
	end = node + trie->node[node].size;
	for (int child = node + 1; child < end; child += trie->node[child].size)
		if (trie->node[child].byte == byte)
			return child;
	return -1;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Copies the bytes of all tokens that may be written, and notes those that end an answer. */
static bool
copy_bytes(glm_vocabulary *v)
{
	glm_buf all = {0};
	int		n_ids = v->source.n_ids;

	for (int32_t id = 0; id < n_ids; id++)
	{
		size_t		n = 0;
		const char *bytes = v->source.bytes(v->source.arg, id, &n);

		v->offset[id] = (uint32_t) all.length;
		if (v->source.ends(v->source.arg, id))
			v->ends[v->n_ends++] = id;
		else if (bytes != NULL && n <= GLM_TOKEN_BYTES)
			glm_buf_add(&all, bytes, n);
	}
	v->offset[n_ids] = (uint32_t) all.length;
	v->bytes = all.data;
	return !all.failed && (v->bytes != NULL || (v->bytes = calloc(1, 1)) != NULL);
}

/* Sorts the tokens into the two tries; `plain` and `rest` have room for all. */
static bool
make_tries(glm_vocabulary *v, entry *plain, entry *rest)
{
	int n_plain = 0, n_rest = 0;

	for (int32_t id = 0; id < v->source.n_ids; id++)
	{
		size_t n;
		entry  e = {.token = id};

		e.bytes = glm_vocabulary_bytes(v, id, &n);
		e.length = (int) n;
		if (n == 0)
			continue;
		v->deepest = e.length > v->deepest ? e.length : v->deepest;
		v->ends_two_keys |= ends_two_keys(e.bytes, e.length);
		if (is_plain(e.bytes, e.length))
			plain[n_plain++] = e;
		else
			rest[n_rest++] = e;
		if (!is_plain(e.bytes, e.length) && !has_control(e.bytes, e.length) &&
			e.length > v->deepest_rest)
			v->deepest_rest = e.length;
	}
	qsort(plain, (size_t) n_plain, sizeof(*plain), compare_entries);
	qsort(rest, (size_t) n_rest, sizeof(*rest), compare_entries);
	n_plain = take_twins(v, plain, n_plain);
	n_rest = take_twins(v, rest, n_rest);
	return make_trie(&v->plain, plain, n_plain) && make_trie(&v->rest, rest, n_rest);
}

glm_vocabulary *
glm_vocabulary_open(const glm_vocabulary_source *source, glm_error *err)
{
	size_t			n = (size_t) source->n_ids + 1;
	glm_vocabulary *v = calloc(1, sizeof(*v));
	entry		   *entries = calloc(2 * n, sizeof(*entries));
	bool			made = false;

	if (v != NULL && entries != NULL)
	{
		v->source = *source;
		v->words = (source->n_ids + 63) / 64;
		v->offset = calloc(n, sizeof(*v->offset));
		v->ends = calloc(n, sizeof(*v->ends));
		v->twin = calloc(n, sizeof(*v->twin));
		made = v->offset != NULL && v->ends != NULL && v->twin != NULL && copy_bytes(v) &&
			   make_tries(v, entries, entries + n) && make_lengths(v);
	}
	free(entries);
	if (made)
		return v;
	glm_vocabulary_close(v);
	glm_no_memory(err);
	return NULL;
}

void
glm_vocabulary_close(glm_vocabulary *vocabulary)
{
	if (vocabulary == NULL)
		return;
	free(vocabulary->bytes);
	free(vocabulary->offset);
	free(vocabulary->plain.node);
	free(vocabulary->plain.token);
	free(vocabulary->rest.node);
	free(vocabulary->rest.token);
	free(vocabulary->twin);
	free(vocabulary->ends);
	free(vocabulary->lengths);
	free(vocabulary);
}

/* ---- Bytes as tokens ------------------------------------------------------------------------- */

/* The longest token that n bytes begin with; -1: there is none. */
static int32_t
longest_token(const glm_vocabulary *v, const char *bytes, size_t n, size_t *length)
{
	const glm_trie *tries[] = {&v->plain, &v->rest};
	int32_t			token = -1;

	*length = 0;
	for (int t = 0; t < 2; t++)
		for (size_t i = 0, node = 0; i < n; i++)
		{
			int child = glm_trie_child(tries[t], i > 0 ? (int) node : -1, (uint8_t) bytes[i]);

			if (child < 0)
				break;
			node = (size_t) child;
			if (tries[t]->node[child].token >= 0 && i + 1 > *length)
			{
				token = tries[t]->node[child].token;
				*length = i + 1;
			}
		}
	return token;
}

bool
glm_vocabulary_encode(const glm_vocabulary *v, const char *bytes, size_t n, glm_ids *out)
{
	size_t before = out->length;
	size_t length;

	if (v->source.encode != NULL)
	{
		if (v->source.encode(v->source.arg, bytes, n, out))
			return true;
		out->length = before;
		return false;
	}
	for (size_t at = 0; at < n; at += length)
	{
		int32_t token = longest_token(v, bytes + at, n - at, &length);

		if (token < 0 || !glm_ids_add(out, token, NULL))
		{
			out->length = before;
			return false;
		}
	}
	return true;
}
