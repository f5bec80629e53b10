/*
 * bpe.c - byte pair encoding of a long text that cannot be cut.
 *
 * SentencePiece encodes a text in one call, which for the 4 MB of blanks or of one
 * letter that encode.c may hand over takes seconds in which nothing can end it.  Here is
 * the same algorithm with pauses (pause.c), for these texts only:
 *
 *     symbols = the text's characters, and pieces that users have defined, which stay
 *     while two neighbours make a piece: merge those of the best score, the first of equals
 *     ids = the symbols' pieces; of a character that is none, its bytes' pieces
 *
 * Candidates lie in a heap.  One whose symbols have changed since is recognized by its
 * size and skipped.  It is SentencePiece's result only for the models that
 * glm_charsmap_is_plain_bpe() tells, and whose text is left as it is (encode.c finds
 * that out); the tests compare the two.
 *
 * No locks: a glm_bpe is immutable once opened.
 */
#include "engine/text/pieces.h"

#include <stdlib.h>
#include <string.h>

#define DEFINED_MAX 64
#define PAUSE_EVERY 4096 /* characters or merges between two pauses */

struct glm_bpe
{
	glm_buf	  text;	  /* of all pieces, as the model has them */
	uint32_t *offset; /* [size + 1], in text */
	float	 *score;  /* [size] */
	size_t	  longest;
	uint32_t  mask; /* of slot */
	int32_t	 *slot; /* [mask + 1], ids by hash; -1: empty */
	int32_t	  byte_id[256];
	int32_t	  defined[DEFINED_MAX]; /* pieces that users have defined */
	size_t	  n_defined;
	bool	  begins[256]; /* one of these, by its first byte */
};

typedef struct symbol
{
	uint32_t at;	 /* in the text */
	uint32_t length; /* 0: merged into the one before */
	int32_t	 prev;	 /* -1: none */
	int32_t	 next;
	int32_t	 id;	/* -1: no piece */
	bool	 stays; /* as it is */
} symbol;

/* Two neighbours that make a piece. */
typedef struct pair
{
	float	 score;
	int32_t	 left;
	int32_t	 right;
	uint32_t length; /* of both together */
	int32_t	 id;
} pair;

typedef struct merging
{
	const glm_bpe *bpe;
	const char	  *text;
	symbol		  *symbol;
	pair		  *heap;
	size_t		   n_pairs;
	size_t		   capacity;
} merging;

/* ---- Pieces --------------------------------------------------------------------- */

static uint32_t
hash_piece(const char *s, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char) s[i]) * 16777619u;
	return h ^ h >> 15;
}

/* The id of a piece, -1 when there is none like that. */
static int32_t
find_piece(const glm_bpe *b, const char *s, size_t n)
{
	if (n > b->longest)
		return -1;
	for (uint32_t i = hash_piece(s, n) & b->mask; b->slot[i] >= 0; i = (i + 1) & b->mask)
	{
		int32_t id = b->slot[i];

		if (b->offset[id + 1] - b->offset[id] == n &&
			memcmp(b->text.data + b->offset[id], s, n) == 0)
			return id;
	}
	return -1;
}

static void
put_piece(glm_bpe *b, int32_t id)
{
	size_t	 n = b->offset[id + 1] - b->offset[id];
	uint32_t i = hash_piece(b->text.data + b->offset[id], n) & b->mask;

	while (b->slot[i] >= 0)
		i = (i + 1) & b->mask;
	b->slot[i] = id;
	if (n > b->longest)
		b->longest = n;
}

/* Puts a piece's text behind the others; that of a byte piece is none. */
static bool
read_piece(glm_bpe *b, const glm_tokenizer *tok, int32_t id)
{
	glm_spm_kind kind = GLM_SPM_TEXT;

	b->offset[id] = (uint32_t) b->text.length;
	if (glm_spm_piece(tok->spm, id, &kind, glm_take_text, &b->text) != GLM_SPM_OK)
		return false;
	if (kind != GLM_SPM_TEXT)
		b->text.length = b->offset[id];
	if (kind == GLM_SPM_BYTE)
		b->byte_id[tok->pieces[id].byte] = id;
	b->score[id] = glm_spm_score(tok->spm, id);
	b->offset[id + 1] = (uint32_t) b->text.length;
	return true;
}

/* Notes a piece that users have defined; one too many, or that is none, spoils it all. */
static void
note_defined(glm_bpe *b, int32_t id, int size)
{
	if (b->n_defined >= DEFINED_MAX || id >= size || b->offset[id + 1] == b->offset[id])
		b->n_defined = DEFINED_MAX + 1;
	else
	{
		b->defined[b->n_defined++] = id;
		b->begins[(unsigned char) b->text.data[b->offset[id]]] = true;
	}
}

glm_bpe *
glm_bpe_open(const glm_tokenizer *tok, glm_error *err)
{
	glm_bpe *b = calloc(1, sizeof(*b));
	uint32_t slots = 16;
	bool	 ok = b != NULL;

	while (slots < 2 * (uint32_t) tok->size)
		slots *= 2;
	if (ok)
	{
		b->mask = slots - 1;
		b->offset = calloc((size_t) tok->size + 1, sizeof(*b->offset));
		b->score = calloc((size_t) tok->size, sizeof(*b->score));
		b->slot = malloc(slots * sizeof(*b->slot));
		ok = b->offset != NULL && b->score != NULL && b->slot != NULL;
	}
	if (ok)
	{
		memset(b->slot, -1, slots * sizeof(*b->slot));
		memset(b->byte_id, -1, sizeof(b->byte_id));
	}
	for (int32_t id = 0; ok && id < tok->size; id++)
		ok = read_piece(b, tok, id);
	for (int32_t id = 0; ok && id < tok->size; id++)
	{
		if (b->offset[id + 1] > b->offset[id])
			put_piece(b, id);
	}
	for (size_t i = 0; ok && i < tok->defined.length; i++)
		note_defined(b, tok->defined.data[i], tok->size);
	if (ok)
		return b;
	glm_bpe_close(b);
	glm_no_memory(err);
	return NULL;
}

void
glm_bpe_close(glm_bpe *b)
{
	if (b == NULL)
		return;
	glm_buf_free(&b->text);
	free(b->offset);
	free(b->score);
	free(b->slot);
	free(b);
}

bool
glm_bpe_is_good(const glm_bpe *b)
{
	if (b->n_defined > DEFINED_MAX)
		return false;
	for (int i = 0; i < 256; i++)
	{
		if (b->byte_id[i] < 0)
			return false;
	}
	return true;
}

/* ---- The heap: the best pair on top ------------------------------------------------ */

static bool
is_better(const pair *a, const pair *b)
{
	return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static bool
push_pair(merging *m, pair p)
{
	size_t i = m->n_pairs;

	if (m->n_pairs == m->capacity)
	{
		size_t capacity = m->capacity ? 2 * m->capacity : 1024;
		pair  *bigger = realloc(m->heap, capacity * sizeof(*bigger));

		if (bigger == NULL)
			return false;
		m->heap = bigger;
		m->capacity = capacity;
	}
	m->n_pairs++;
	for (; i > 0 && is_better(&p, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = p;
	return true;
}

static pair
pop_pair(merging *m)
{
	pair   top = m->heap[0];
	pair   last = m->heap[--m->n_pairs];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < m->n_pairs; i = child)
	{
		if (child + 1 < m->n_pairs && is_better(&m->heap[child + 1], &m->heap[child]))
			child++;
		if (!is_better(&m->heap[child], &last))
			break;
		m->heap[i] = m->heap[child];
	}
	m->heap[i] = last;
	return top;
}

/* ---- Merging ------------------------------------------------------------------------ */

/* Two neighbours become a candidate if they make a piece; false: out of memory. */
static bool
consider_pair(merging *m, int32_t left, int32_t right)
{
	uint32_t length;
	int32_t	 id;

	if (left < 0 || right < 0 || m->symbol[left].stays || m->symbol[right].stays)
		return true;
	length = m->symbol[left].length + m->symbol[right].length;
	id = find_piece(m->bpe, m->text + m->symbol[left].at, length);
	return id < 0 || push_pair(m, (pair){m->bpe->score[id], left, right, length, id});
}

/* Bytes of the longest piece that users have defined and the text begins with; 0: none. */
static size_t
match_defined(const glm_bpe *b, const char *text, size_t n)
{
	size_t longest = 0;

	for (size_t i = 0; b->begins[(unsigned char) text[0]] && i < b->n_defined; i++)
	{
		const char *piece = b->text.data + b->offset[b->defined[i]];
		size_t		length = b->offset[b->defined[i] + 1] - b->offset[b->defined[i]];

		if (length > longest && length <= n && memcmp(piece, text, length) == 0)
			longest = length;
	}
	return longest;
}

/* The text's characters, each a symbol, and the pairs among them. */
static bool
split_text(merging *m, size_t n, glm_error *err)
{
	int32_t count = 0;

	for (size_t at = 0, length; at < n; count++)
	{
		bool stays = (length = match_defined(m->bpe, m->text + at, n - at)) > 0;

		if (!stays)
			length = (size_t) glm_utf8_length(m->text + at, n - at);
		m->symbol[count] = (symbol){(uint32_t) at,
									(uint32_t) length,
									count - 1,
									count + 1,
									find_piece(m->bpe, m->text + at, length),
									stays};
		at += length;
		if (at == n)
			m->symbol[count].next = -1;
		if (!consider_pair(m, count - 1, count))
			return glm_no_memory(err);
		if (count % PAUSE_EVERY == 0 && !glm_pause(err))
			return false;
	}
	return true;
}

static bool
merge_pairs(merging *m, glm_error *err)
{
	for (size_t i = 1; m->n_pairs > 0; i++)
	{
		pair	best = pop_pair(m);
		symbol *left = &m->symbol[best.left];
		symbol *right = &m->symbol[best.right];

		if (i % PAUSE_EVERY == 0 && !glm_pause(err))
			return false;
		if (left->length == 0 || right->length == 0 || left->length + right->length != best.length)
			continue; /* one of them has changed */
		left->length = best.length;
		left->id = best.id;
		left->next = right->next;
		right->length = 0;
		if (left->next >= 0)
			m->symbol[left->next].prev = best.left;
		if (!consider_pair(m, left->prev, best.left) || !consider_pair(m, best.left, left->next))
			return glm_no_memory(err);
	}
	return true;
}

static bool
put_ids(const merging *m, glm_ids *out, glm_error *err)
{
	for (int32_t i = 0; i >= 0; i = m->symbol[i].next)
	{
		const symbol *s = &m->symbol[i];

		if (s->id >= 0 && !glm_ids_add(out, s->id, err))
			return false;
		for (uint32_t j = 0; s->id < 0 && j < s->length; j++)
		{
			if (!glm_ids_add(out, m->bpe->byte_id[(unsigned char) m->text[s->at + j]], err))
				return false;
		}
	}
	return true;
}

bool
glm_bpe_encode(const glm_bpe *bpe, const char *text, size_t n, glm_ids *out, glm_error *err)
{
	merging m = {.bpe = bpe, .text = text};
	bool	ok = true;

	if (n == 0)
		return true;
	m.symbol = malloc(n * sizeof(*m.symbol));
	if (m.symbol == NULL)
		return glm_no_memory(err);
	ok = split_text(&m, n, err) && merge_pairs(&m, err) && put_ids(&m, out, err);
	free(m.symbol);
	free(m.heap);
	return ok;
}
