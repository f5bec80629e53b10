/*
 * text_mask.c - masks of plain texts.
 *
 * The tries are walked beside the automata, but for what is below a node where all bytes
 * lead back to the same state: ".*" and "[a-z ]+" spend their time there.  Masks are kept:
 * the states of a text are few, and it comes back to them.
 */
#include <string.h>

#include "engine/constrain/intern.h"
#include "engine/constrain/text_machine.h"
#include "engine/constrain/vocabulary_tries.h"

#define MASKS_BYTES ((size_t) 16 << 20) /* that are kept of one machine */
#define LARGE 64 /* nodes below one that are worth asking whether they need to be walked */

struct glm_text_masks
{
	const glm_vocabulary *vocabulary;
	glm_intern			  index;
	glm_text_state		 *state; /* [index.n] */
	uint64_t			**mask;	 /* [index.n], each of a word for 64 tokens */
	int					  state_capacity, mask_capacity;
};

/* What a walk through a trie knows. */
typedef struct walker
{
	const glm_text_machine *text;
	glm_text_state		   *at;		/* [depth] before the byte of a node */
	glm_text_state			looped; /* the state that was asked last */
	unsigned				loops;	/* classes of ASCII that lead from it back to it */
} walker;

static bool
same(const glm_text_state *a, const glm_text_state *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Classes of bytes that lead back to a state; characters of more than one byte are not asked for. */
static unsigned
loops_of(walker *w, const glm_text_state *state)
{
	unsigned others = 1u << GLM_CLASS_HIGH;

	if (same(state, &w->looped))
		return w->loops;
	for (int byte = 0; byte < 0x80; byte++)
	{
		glm_text_state next = *state;

		if (!glm_text_step(w->text, &next, (uint8_t) byte) || !same(&next, state))
			others |= 1u << glm_byte_class((uint8_t) byte);
	}
	w->looped = *state;
	w->loops = ~others;
	return w->loops;
}

static void
allow(const glm_trie *trie, const glm_trie_node *node, uint64_t *allowed)
{
	for (int i = node->first; i < node->end; i++)
		glm_mask_set(allowed, trie->token[i]);
}

static void
walk_trie(walker *w, const glm_trie *trie, uint64_t *allowed)
{
	for (int i = 0; i < trie->n;)
	{
		const glm_trie_node *node = &trie->node[i];
		glm_text_state		*next = &w->at[node->depth + 1];

		*next = w->at[node->depth];
		if (!glm_text_step(w->text, next, node->byte))
			i += node->size;
		else if (node->size > LARGE && (node->classes & ~loops_of(w, next)) == 0)
		{
			allow(trie, node, allowed);
			i += node->size;
		}
		else
		{
			if (node->token >= 0)
				glm_mask_set(allowed, node->token);
			i++;
		}
	}
}

static void
make_mask(glm_text_machine *text, glm_arena *arena, const glm_text_state *state,
		  const glm_vocabulary *v, uint64_t *allowed)
{
	walker w = {.text = text, .at = GLM_NEW(arena, glm_text_state, v->deepest + 1)};

	w.at[0] = *state;
	w.looped.at[0] = -1;
	memset(allowed, 0, (size_t) v->words * sizeof(*allowed));
	walk_trie(&w, &v->plain, allowed);
	walk_trie(&w, &v->rest, allowed);
	glm_vocabulary_add_twins(v, allowed);
}

static void
keep(glm_arena *arena, glm_text_masks *masks, const glm_text_state *state, uint64_t hash,
	 const uint64_t *allowed)
{
	size_t	  size = (size_t) masks->vocabulary->words * sizeof(*allowed);
	int		  n = masks->index.n;
	uint64_t *kept;

	if ((size_t) n >= MASKS_BYTES / size)
		return;
	kept = memcpy(glm_arena_get(arena, size), allowed, size);
	masks->state =
		glm_arena_grow(arena, masks->state, sizeof(*masks->state), &masks->state_capacity, n + 1);
	masks->mask =
		glm_arena_grow(arena, masks->mask, sizeof(*masks->mask), &masks->mask_capacity, n + 1);
	masks->state[n] = *state;
	masks->mask[n] = kept;
	glm_intern_add(arena, &masks->index, hash);
}

void
glm_text_mask(glm_machine *machine, glm_arena *walk, const void *state,
			  const glm_vocabulary *vocabulary, uint64_t *allowed)
{
	glm_text_machine *text = (glm_text_machine *) machine;
	glm_text_masks	 *masks = text->masks;
	uint64_t		  hash = glm_hash_bytes(state, sizeof(glm_text_state));

	if (masks == NULL || masks->vocabulary != vocabulary)
	{
		masks = text->masks = GLM_NEW(machine->arena, glm_text_masks, 1);
		masks->vocabulary = vocabulary;
	}
	for (int i = glm_intern_first(&masks->index, hash); i >= 0;
		 i = glm_intern_next(&masks->index, i))
		if (memcmp(&masks->state[i], state, sizeof(glm_text_state)) == 0)
		{
			memcpy(allowed, masks->mask[i], (size_t) vocabulary->words * sizeof(*allowed));
			return;
		}
	make_mask(text, walk, state, vocabulary, allowed);
	keep(machine->arena, masks, state, hash, allowed);
}
