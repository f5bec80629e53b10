/*
 * json_recall.c - tokens that were found to fit where everything was as it is here.
 *
 * To walk a trie byte by byte is most of what a mask costs, and within a string, or in the
 * next object of a list, it finds the same again.  So what was found is kept by all that it
 * can depend on, the last for each remainder of its hash.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

#include "engine/constrain/vocabulary_tries.h"

#define KEPT 256
#define MOST_TOKENS 2048 /* of what is kept */
#define BYTES_PART 2	 /* of a machine's memory; with less left nothing more is kept */

struct glm_recollection
{
	uint64_t occasion; /* 0: none */
	int32_t *token;	   /* [n] */
	int		 n, capacity;
};

/* ---- Occasions ------------------------------------------------------------------------------- */

/*
 * The length of a string, where a token may bring it past one of its limits; else how many
 * it is past.
 */
static int
length_that_matters(const glm_set *set, int length, int deepest)
{
	int past = 0;

	/* how far automata are from their ends is compared with what is left */
	if (set->lengths && set->n_components > 0)
		return length;
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *node = set->member[i].node;
		int				limits[] = {node->min_length,
						node->max_length < GLM_NO_MOST ? node->max_length + 1 : 0};

		for (int k = 0; k < 2; k++)
			if (length >= limits[k])
				past++;
			else if (length + deepest >= limits[k])
				return length;
	}
	return -1 - past;
}

static uint64_t
mix_string(uint64_t hash, const glm_reader_state *state, int deepest)
{
	uint64_t at[] = {(uintptr_t) state->lexical,
					 (uint64_t) length_that_matters(state->child->set, state->length, deepest)};

	return glm_mix(hash, at, sizeof(at));
}

/* What a key is matters where it may be one that is there already. */
static uint64_t
mix_key(uint64_t hash, const glm_reader_state *state, const glm_vocabulary *vocabulary)
{
	bool	 first = state->frame->hashes == NULL && !vocabulary->ends_two_keys;
	uint64_t at[] = {(uintptr_t) state->lexical, (uintptr_t) state->name,
					 state->name != NULL ? (uint64_t) state->length : 0, first ? 0 : state->hash};

	return glm_mix(hash, at, sizeof(at));
}

/* All that decides which tokens may come; 0: as good as never the same twice. */
static uint64_t
occasion_of(const glm_reader_state *state, const glm_vocabulary *vocabulary, int deepest)
{
	const uint8_t small[] = {state->mode, state->spaces, state->follow,	 state->low,
							 state->high, state->escape, state->sixteen, 0};
	uint64_t	  at[2] = {0, state->child != NULL ? (uint64_t) state->child->id : 0};
	uint64_t	  hash;

	if (state->frame->hashed)
		return 0;
	at[0] = glm_frame_whole(state->frame);
	hash = glm_mix(glm_mix(0, at, sizeof(at)), small, sizeof(small));
	if (state->mode == GLM_READ_STRING)
		return mix_string(hash, state, deepest);
	if (state->mode == GLM_READ_KEY)
		return mix_key(hash, state, vocabulary);
	if (state->mode == GLM_READ_NUMBER)
		return glm_mix(hash, state->number, state->digits);
	if (state->mode == GLM_READ_LITERAL)
		return glm_mix(hash, &(int[2]){(int) state->kind, state->letters}, 2 * sizeof(int));
	return hash;
}

/* ---- What is kept ---------------------------------------------------------------------------- */

static void
keep(glm_reader *reader, glm_recollection *kept, uint64_t occasion, const glm_mask_walk *walked)
{
	glm_arena *arena = reader->machine.arena;
	int		   n = walked->n_list;

	if (n > MOST_TOKENS || (n > kept->capacity && arena->used > arena->limit / BYTES_PART))
		return;
	kept->occasion = 0;
	kept->token = glm_arena_grow(arena, kept->token, sizeof(int32_t), &kept->capacity, n);
	if (n > 0)
		memcpy(kept->token, walked->list, sizeof(int32_t) * (size_t) n);
	kept->n = n;
	kept->occasion = occasion;
}

static glm_recollection *
place_of(glm_reader *reader, uint64_t occasion)
{
	if (reader->kept == NULL)
		reader->kept = GLM_NEW(reader->machine.arena, glm_recollection, KEPT);
	return &reader->kept[occasion % KEPT];
}

void
glm_reader_add_walked(glm_reader *reader, glm_mask_walk *walk, const glm_vocabulary *vocabulary,
					  const glm_reader_state *state, bool plain, uint64_t *allowed)
{
	uint64_t occasion =
		occasion_of(state, vocabulary, plain ? vocabulary->deepest : vocabulary->deepest_rest);
	glm_recollection *kept = occasion != 0 ? place_of(reader, occasion) : NULL;
	glm_arena_mark	  mark = glm_arena_here(reader->walk);

	if (kept != NULL && kept->occasion == occasion)
	{
		for (int i = 0; i < kept->n; i++)
			glm_mask_set(allowed, kept->token[i]);
		return;
	}
	if (kept != NULL)
	{
		walk->room = MOST_TOKENS;
		walk->list = GLM_WALK(reader, int32_t, walk->room);
	}
	if (plain)
		glm_mask_walk_trie(walk, &vocabulary->plain, state, allowed);
	glm_mask_walk_trie(walk, &vocabulary->rest, state, allowed);
	if (kept != NULL)
		keep(reader, kept, occasion, walk);
	glm_arena_back(reader->walk, mark);
}
