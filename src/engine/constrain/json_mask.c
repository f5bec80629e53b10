/*
 * json_mask.c - which tokens may come next in JSON, without stepping through each.
 *
 * Most of a vocabulary is plain: tokens that inside of a string are nothing but its content.
 * There only the automata matter that the string runs through, and its length; with no
 * automata, and with patterns that may match anywhere, the mask is there already, one for each
 * number of code points left.  Else plain tokens are walked with the automata alone, and what
 * comes of it is kept where the automata are, for the occasion it was made on.  Whole branches
 * of the vocabulary are taken at once where all their bytes lead back to the same state.
 *
 * All that is kept changes what a mask costs, never what it is.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

#define LOOPS_KNOWN (1u << 31)
#define ALL_CLASSES ((1u << GLM_BYTE_CLASSES) - 1)
#define VISITS_TO_LOOPS 3 /* before it is worth to look where all bytes lead */
#define BRANCH_TO_LOOPS 4 /* nodes, likewise */
#define ROOTS_TO_TRY 8	  /* of which it is looked at whether they are vital */
#define ALWAYS 1		  /* the occasion of masks that are the same wherever the string is */
#define KEPT_BYTES_PART 2 /* of a machine's memory; with less left masks are not kept */

/* A mask of plain tokens that is being made. */
typedef struct plain_mask
{
	glm_reader			   *reader;
	const glm_reader_state *state;
	const glm_vocabulary   *vocabulary;
	bool	  vital; /* a string fails the document as soon as any of its roots fails */
	uint64_t *allowed;
	int		  reach, distance; /* see glm_lexical.mask_reach */
} plain_mask;

/* ---- States that bytes lead back to ---------------------------------------------------------- */

/* Do all characters of these bytes, of which `more` have to follow each, lead to a state? */
static bool
all_lead_to(glm_reader *reader, glm_lexical *from, int low, int high, int more,
			const glm_lexical *to)
{
	glm_lexical *before = NULL;

	for (int byte = low; byte <= high; byte++)
	{
		glm_lexical *next = glm_lexical_next(reader, from, (uint8_t) byte);

		if (next != before &&
			(more == 0 ? next != to : !all_lead_to(reader, next, 0x80, 0xBF, more - 1, to)))
			return false;
		before = next;
	}
	return true;
}

static bool
high_bytes_loop(glm_reader *reader, glm_lexical *lexical)
{
	/* first bytes of characters, what their second may be, and how many come behind that */
	static const struct
	{
		uint8_t first, last, low, high, more;
	} lead[] = {{0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1},
				{0xE1, 0xEC, 0x80, 0xBF, 1}, {0xED, 0xED, 0x80, 0x9F, 1},
				{0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
				{0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2}};

	for (size_t i = 0; i < sizeof(lead) / sizeof(lead[0]); i++)
	{
		glm_lexical *before = NULL;

		for (int byte = lead[i].first; byte <= lead[i].last; byte++)
		{
			glm_lexical *next = glm_lexical_next(reader, lexical, (uint8_t) byte);

			if (next != before &&
				!all_lead_to(reader, next, lead[i].low, lead[i].high, lead[i].more, lexical))
				return false;
			before = next;
		}
	}
	return true;
}

/* The classes of bytes that lead back to this state, as far as that was worth finding out. */
static uint32_t
loops(glm_reader *reader, glm_lexical *lexical)
{
	uint32_t found = ALL_CLASSES & ~(1u << GLM_CLASS_HIGH);

	if (lexical->loops != 0)
		return lexical->loops & ALL_CLASSES;
	if (++lexical->visits < VISITS_TO_LOOPS)
		return 0;
	for (int byte = 0x20; byte < 0x80; byte++)
		if (byte != '"' && byte != '\\' &&
			glm_lexical_next(reader, lexical, (uint8_t) byte) != lexical)
			found &= ~(1u << glm_byte_class((uint8_t) byte));
	if (high_bytes_loop(reader, lexical))
		found |= 1u << GLM_CLASS_HIGH;
	lexical->loops = found | LOOPS_KNOWN;
	return found;
}

/* ---- Walking plain tokens -------------------------------------------------------------------- */

/* name: of a key that the object's schemas ask something of, where it is as a string; or NULL. */
static bool
is_viable(const plain_mask *m, glm_lexical *lexical, const glm_lexical *name, int length)
{
	const glm_reader_state *state = m->state;

	if (name != NULL && !glm_key_may_be_named(m->reader, state->frame, name, length))
		return false;
	if (state->mode == GLM_READ_KEY)
		return glm_key_may_be_other(m->reader, state->frame, lexical) ||
			   glm_key_may_be_known(m->reader, state->frame, lexical);
	return m->vital ? !lexical->fails : glm_reader_string_viable(m->reader, state, lexical);
}

/* A viable state was found behind so many code points. */
static void
note(plain_mask *m, const glm_lexical *lexical, int length)
{
	if (lexical->distance > m->distance)
		m->distance = lexical->distance;
	if (length + lexical->distance > m->reach)
		m->reach = length + lexical->distance;
}

static void
allow_range(const plain_mask *m, int first, int end)
{
	for (int i = first; i < end; i++)
		glm_mask_set(m->allowed, m->vocabulary->plain.token[i]);
}

/* The classes of bytes after which all is as before. */
static uint32_t
loops_of_both(const plain_mask *m, glm_lexical *lexical, glm_lexical *name)
{
	if (name == NULL)
		return loops(m->reader, lexical);
	/* lengths change with every character */
	return name->set->lengths ? 0 : loops(m->reader, lexical) & loops(m->reader, name);
}

/* Whatever the length of the string. */
static void
walk_freely(plain_mask *m)
{
	const glm_trie *trie = &m->vocabulary->plain;
	int				longest = m->vocabulary->longest;
	glm_lexical	   *at[GLM_TOKEN_BYTES + 1] = {m->state->lexical};
	glm_lexical	   *name[GLM_TOKEN_BYTES + 1] = {m->state->name};
	int				length[GLM_TOKEN_BYTES + 1] = {0};

	if (loops_of_both(m, at[0], name[0]) == ALL_CLASSES)
	{
		note(m, at[0], longest);
		allow_range(m, 0, trie->n_tokens);
		return;
	}
	for (int i = 0; i < trie->n;)
	{
		const glm_trie_node *node = &trie->node[i];
		int					 depth = node->depth, below = depth + 1;
		glm_lexical			*next = glm_lexical_next(m->reader, at[depth], node->byte);

		at[below] = next;
		name[below] =
			name[depth] != NULL ? glm_lexical_next(m->reader, name[depth], node->byte) : NULL;
		length[below] = length[depth] + ((node->byte & 0xC0) != 0x80);
		if (!is_viable(m, next, name[below], m->state->length + length[below]))
		{
			i += node->size;
			continue;
		}
		if (node->size >= BRANCH_TO_LOOPS &&
			(node->classes & ~loops_of_both(m, next, name[below])) == 0)
		{
			note(m, next, longest);
			allow_range(m, node->first, node->end);
			i += node->size;
			continue;
		}
		note(m, next, length[below]);
		if (node->token >= 0)
			glm_mask_set(m->allowed, node->token);
		i++;
	}
}

/* Near the string's maximal length. */
static void
walk_counting(plain_mask *m)
{
	const glm_trie *trie = &m->vocabulary->plain;
	glm_lexical	   *at[GLM_TOKEN_BYTES + 1] = {m->state->lexical};
	int				length[GLM_TOKEN_BYTES + 1] = {m->state->length};

	for (int i = 0; i < trie->n;)
	{
		const glm_trie_node *node = &trie->node[i];
		int					 depth = node->depth;
		glm_lexical			*next = glm_lexical_next(m->reader, at[depth], node->byte);

		at[depth + 1] = next;
		length[depth + 1] = length[depth] + ((node->byte & 0xC0) != 0x80);
		if (length[depth + 1] + next->distance > m->state->most || !is_viable(m, next, NULL, 0))
		{
			i += node->size;
			continue;
		}
		if (node->token >= 0)
			glm_mask_set(m->allowed, node->token);
		i++;
	}
}

/* ---- Masks of plain tokens ------------------------------------------------------------------- */

/* Does each root of the string's set fail the document by itself, so that states alone tell what may come? */
static bool
is_vital(glm_reader *reader, const glm_reader_state *state)
{
	const glm_child *child = state->child;
	glm_truth		 root[ROOTS_TO_TRY];

	if (child->set->n_roots > ROOTS_TO_TRY)
		return false;
	memset(root, GLM_OPEN, sizeof(root));
	for (int i = 0; i < child->set->n_roots; i++)
	{
		root[i] = GLM_FAILS;
		if (glm_frame_bears(reader, state->frame, child, root))
			return false;
		root[i] = GLM_OPEN;
	}
	return true;
}

/* What the mask without lengths depends on, besides the state of the automata. */
static uint64_t
find_occasion(plain_mask *m)
{
	uint64_t at[2];

	if (m->state->mode == GLM_READ_KEY)
		return glm_frame_signature(m->reader, m->state->frame);
	m->vital = is_vital(m->reader, m->state);
	if (m->vital)
		return ALWAYS;
	at[0] = glm_frame_signature(m->reader, m->state->frame);
	at[1] = (uint64_t) m->state->child->id;
	return glm_mix(0, at, sizeof(at));
}

/* The mask without lengths: that of the state, or made anew. */
static const uint64_t *
find_mask(plain_mask *m)
{
	glm_arena	*arena = m->reader->machine.arena;
	glm_lexical *lexical = m->state->lexical;
	int			 words = m->vocabulary->words;
	uint64_t	 occasion = find_occasion(m);

	if (lexical->mask_asked == occasion)
	{
		m->reach = lexical->mask_reach;
		m->distance = lexical->mask_distance;
		return lexical->mask;
	}
	m->allowed = lexical->mask;
	if (m->allowed != NULL)
		memset(m->allowed, 0, sizeof(uint64_t) * (size_t) words);
	else if (arena->used < arena->limit / KEPT_BYTES_PART)
		m->allowed = lexical->mask = GLM_NEW(arena, uint64_t, words);
	else
		m->allowed = GLM_WALK(m->reader, uint64_t, words);
	lexical->mask_asked = 0;
	walk_freely(m);
	if (m->allowed == lexical->mask)
	{
		lexical->mask_reach = m->reach;
		lexical->mask_distance = m->distance;
		lexical->mask_asked = occasion;
	}
	return m->allowed;
}

static void
mask_string(plain_mask *m, uint64_t *allowed)
{
	const glm_reader_state *state = m->state;
	const glm_set		   *set = state->child->set;
	int	   left = state->most == GLM_NO_MOST ? GLM_ANY_LENGTH : state->most - state->length;
	size_t words = (size_t) m->vocabulary->words;
	const uint64_t *mask;

	if (set->n_components == 0)
	{
		glm_vocabulary_plain(m->vocabulary, left, allowed);
		return;
	}
	if (set->within >= 0 && left >= m->vocabulary->longest + set->within)
	{
		glm_vocabulary_plain(m->vocabulary, GLM_ANY_LENGTH, allowed);
		return;
	}
	mask = find_mask(m);
	if (left >= m->reach)
		memcpy(allowed, mask, sizeof(*allowed) * words);
	else if (m->distance == 0)
	{
		glm_vocabulary_plain(m->vocabulary, left, allowed);
		for (size_t i = 0; i < words; i++)
			allowed[i] &= mask[i];
	}
	else
	{
		m->allowed = memset(allowed, 0, sizeof(*allowed) * words);
		walk_counting(m);
	}
}

static void
mask_key(plain_mask *m, uint64_t *allowed)
{
	glm_frame *frame = m->state->frame;

	if (m->state->name != NULL)
	{
		m->allowed = memset(allowed, 0, sizeof(*allowed) * (size_t) m->vocabulary->words);
		walk_freely(m);
	}
	else if (frame->set->n_patterns == 0 && glm_frame_keys(m->reader, frame)->other)
		glm_vocabulary_plain(m->vocabulary, GLM_ANY_LENGTH, allowed);
	else
		memcpy(allowed, find_mask(m), sizeof(*allowed) * (size_t) m->vocabulary->words);
}

/* ---- All tokens ------------------------------------------------------------------------------ */

static bool
step(void *reader, void *state, uint8_t byte)
{
	return glm_reader_step(reader, state, byte);
}

void
glm_reader_mask(glm_reader *reader, const glm_reader_state *state, const glm_vocabulary *vocabulary,
				uint64_t *allowed)
{
	uint64_t	  first[4] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
	glm_mask_walk walk = {.step = step,
						  .arg = reader,
						  .size = sizeof(*state),
						  .deepest = vocabulary->deepest,
						  .arena = reader->walk,
						  .first = first};
	plain_mask	  m = {.reader = reader, .state = state, .vocabulary = vocabulary};
	bool		  whole = state->escape == GLM_ESCAPE_NONE && state->follow == 0;

	bool string = state->mode == GLM_READ_STRING && whole;
	bool key = state->mode == GLM_READ_KEY && whole;

	if (string)
		mask_string(&m, allowed);
	else if (key)
		mask_key(&m, allowed);
	else
		memset(allowed, 0, sizeof(*allowed) * (size_t) vocabulary->words);
	glm_reader_narrow(reader, state, first);
	glm_reader_add_walked(reader, &walk, vocabulary, state, !string && !key, allowed);
	glm_vocabulary_add_twins(vocabulary, allowed);
}
