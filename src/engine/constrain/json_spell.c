/*
 * json_spell.c - how a string, key or number that was begun can end.
 */
#include "engine/constrain/json_search.h"

#include <string.h>

#define LONGEST_STRAIGHT 16384 /* bytes */
#define PLACES 3000			   /* that are looked at breadth first */
#define LENGTH_COUNTED 600	   /* code points, above which places do not differ by their length */

/* The bytes of text that are tried, those that please most first. */
static const char favoured[] = "a0 A-_.:/@1b";

static bool
is_favoured(int byte)
{
	return memchr(favoured, byte, sizeof(favoured) - 1) != NULL;
}

/* The i-th byte to try in a string, of 256; -1: none that stands for itself. */
static int
byte_to_try(int i)
{
	int n = (int) sizeof(favoured) - 1;
	int byte = i < n ? favoured[i] : i - n;

	return byte < 0x20 || byte > 0xFF || byte == '"' || byte == '\\' ||
				   (i >= n && is_favoured(byte))
			   ? -1
			   : byte;
}

#define BYTES_TO_TRY (256 + (int) sizeof(favoured) - 1)

/* ---- Straight -------------------------------------------------------------------------------- */

/* How far it is from the end, in halves of code points; a character that was begun is half of one. */
static int
distance(const glm_reader_state *state)
{
	return 2 * state->lexical->wanted + (state->follow > 0);
}

/* The ASCII byte that leads nearest to the end by the automata alone; -1: none. */
static int
nearest_ascii(glm_reader *reader, glm_lexical *lexical)
{
	int wanted = lexical->wanted;

	if (lexical->nearest != 0)
		return lexical->nearest;
	lexical->nearest = -1;
	for (int i = 0; i < BYTES_TO_TRY; i++)
		if (byte_to_try(i) > 0 && byte_to_try(i) < 0x80)
		{
			glm_lexical *next = glm_lexical_next(reader, lexical, (uint8_t) byte_to_try(i));

			if (next->wanted < wanted && !(next->fails && !lexical->fails))
			{
				wanted = next->wanted;
				lexical->nearest = byte_to_try(i);
			}
		}
	return lexical->nearest;
}

/* Goes on by it, if that is possible. */
static bool
go_straight(glm_search *search, glm_reader_state *state, char *byte)
{
	glm_reader_state next = *state;
	int				 best = -1;

	if (state->lexical->wanted > 0 && state->follow == 0)
		best = nearest_ascii(search->reader, state->lexical);
	*byte = (char) best;
	if (best < 0 || !glm_search_put(search, &next, byte, 1))
		return false;
	*state = next;
	return true;
}

/* The byte that leads nearest to the end; -1: none.  *state becomes what is behind it. */
static int
nearest_byte(glm_search *search, glm_reader_state *state)
{
	glm_reader_state best = *state;
	bool			 needed = distance(state) > 0;
	int				 found = -1;

	for (int i = 0; i < BYTES_TO_TRY; i++)
	{
		glm_reader_state next = *state;
		char			 byte = (char) byte_to_try(i);

		if (byte_to_try(i) < 0 || !glm_search_put(search, &next, &byte, 1))
			continue;
		if (needed ? distance(&next) < distance(found < 0 ? state : &best) : found < 0)
		{
			best = next;
			found = byte_to_try(i);
		}
		if (!needed && found >= 0)
			break;
	}
	*state = best;
	return found;
}

static bool
is_too_short(const glm_reader_state *state)
{
	const glm_set *set = state->child->set;

	for (int i = 0; i < set->n_members; i++)
		if (state->length < set->member[i].node->min_length)
			return true;
	return false;
}

void
glm_search_straight(glm_search *search, glm_choice *choice)
{
	glm_reader		*reader = search->reader;
	glm_reader_state state = choice->state;
	char			 text[LONGEST_STRAIGHT + 1];

	for (int n = 0; n < LONGEST_STRAIGHT; n++)
	{
		int byte;

		if (distance(&state) == 0)
		{
			glm_reader_state end = state;
			glm_arena_mark	 mark = glm_arena_here(reader->walk);
			bool			 may_end = glm_search_put(search, &end, "\"", 1);

			glm_arena_back(reader->walk, mark);
			if (may_end)
			{
				text[n] = '"';
				glm_search_add(search, choice, text, n + 1, false);
			}
			if (may_end || !is_too_short(&state))
				return;
		}
		if (go_straight(search, &state, &text[n]))
			continue;
		byte = nearest_byte(search, &state);
		if (byte < 0)
			return;
		text[n] = (char) byte;
	}
}

/* ---- Around ---------------------------------------------------------------------------------- */

typedef struct place
{
	glm_reader_state state;
	int				 from; /* the place before it; -1: none */
	int				 same; /* another of the same remainder; -1: none */
	int				 n;	   /* bytes of text that led here */
	char			 text[2];
} place;

typedef struct places
{
	place *place;
	int	   n, capacity;
	int	   alike;		 /* places that may go on alike */
	int	   last[PLACES]; /* of each remainder, from 1; 0: none */
} places;

/* The length, where two places that differ by it alone are not alike. */
static int
counted_length(const glm_reader_state *state)
{
	if (state->mode == GLM_READ_KEY && state->name == NULL)
		return 0;
	return state->length < LENGTH_COUNTED ? state->length : LENGTH_COUNTED;
}

static bool
alike(const glm_reader_state *a, const glm_reader_state *b)
{
	return a->lexical == b->lexical && a->name == b->name && a->follow == b->follow &&
		   a->low == b->low && counted_length(a) == counted_length(b);
}

/* Texts that may not come again, each of which one more that goes on alike has to be kept for. */
static int
texts_taken(const glm_reader_state *state)
{
	int n = 0;

	if (state->mode == GLM_READ_KEY || (state->frame->set != NULL && state->frame->set->unique))
		for (const glm_hashes *at = state->frame->hashes; at != NULL && n < PLACES; at = at->next)
			n++;
	return n;
}

/* Adds a place, unless enough that go on alike are there.  Numbers never do: their text is kept. */
static void
add_place(glm_search *search, places *all, const glm_reader_state *state, int from,
		  const char *text, int n)
{
	int *last = NULL, same = -1, n_alike = 0;

	if (all->n == PLACES)
		return;
	if (state->mode != GLM_READ_NUMBER)
	{
		last = &all->last[(state->lexical->hash + (uint64_t) counted_length(state)) % PLACES];
		for (same = *last - 1; same >= 0; same = all->place[same].same)
			n_alike += alike(&all->place[same].state, state);
		if (n_alike >= all->alike)
			return;
		same = *last - 1;
		*last = all->n + 1;
	}
	all->place =
		glm_arena_grow(search->reader->walk, all->place, sizeof(place), &all->capacity, all->n + 1);
	all->place[all->n] = (place){.state = *state, .from = from, .same = same, .n = n};
	memcpy(all->place[all->n++].text, text, (size_t) n);
}

static bool
try_text(glm_search *search, places *all, int from, const char *text, int n)
{
	glm_reader_state next = all->place[from].state;

	if (!glm_search_put(search, &next, text, n))
		return false;
	add_place(search, all, &next, from, text, n);
	return true;
}

static void
expand_number(glm_search *search, places *all, int from)
{
	for (const char *at = "0123456789."; *at != '\0'; at++)
		try_text(search, all, from, at, 1);
}

static void
expand_string(glm_search *search, places *all, int from)
{
	const glm_reader_state *state = &all->place[from].state;
	/* where nothing but the length is asked, one character is as good as another */
	bool free = state->mode == GLM_READ_STRING && state->lexical->set->n_components == 0;
	bool whole = state->follow == 0;

	for (int i = 0; i < BYTES_TO_TRY; i++)
	{
		char byte = (char) byte_to_try(i);

		if (byte_to_try(i) >= 0 && try_text(search, all, from, &byte, 1) && free)
			return;
	}
	for (const char *at = "\"\\nrtbf"; whole && *at != '\0'; at++)
	{
		char text[2] = {'\\', *at};

		if (try_text(search, all, from, text, 2) && free)
			return;
	}
}

/* May it end at this place? */
static bool
may_end(glm_search *search, const place *at)
{
	glm_arena_mark	 mark = glm_arena_here(search->reader->walk);
	glm_reader_state end = at->state;
	bool			 may = end.mode == GLM_READ_NUMBER
							   ? glm_reader_end_number(search->reader, &end)
							   : end.follow == 0 && glm_search_put(search, &end, "\"", 1);

	glm_arena_back(search->reader->walk, mark);
	return may;
}

static void
propose(glm_search *search, glm_choice *choice, const places *all, int at)
{
	bool  number = choice->state.mode == GLM_READ_NUMBER;
	int	  n = number ? 0 : 1;
	char *text, *end;

	for (int i = at; i >= 0; i = all->place[i].from)
		n += all->place[i].n;
	text = GLM_WALK(search->reader, char, n + 1);
	end = text + n;
	if (!number)
		*--end = '"';
	for (int i = at; i >= 0; i = all->place[i].from)
	{
		end -= all->place[i].n;
		memcpy(end, all->place[i].text, (size_t) all->place[i].n);
	}
	glm_search_add(search, choice, text, n, number);
}

void
glm_search_around(glm_search *search, glm_choice *choice, int ends)
{
	places *all = GLM_WALK(search->reader, places, 1);

	all->alike = 1 + texts_taken(&choice->state);
	add_place(search, all, &choice->state, -1, "", 0);
	for (int i = 0; *search->steps > 0 && i < all->n; i++)
	{
		if (may_end(search, &all->place[i]))
			propose(search, choice, all, i);
		if (choice->n == ends)
			return;
		if (choice->state.mode == GLM_READ_NUMBER)
			expand_number(search, all, i);
		else
			expand_string(search, all, i);
	}
}
