/*
 * json_complete.c - the stack of choices of the search for an end.
 */
#include "engine/constrain/json_search.h"

#include <stdio.h>

#define MOST_CHOICES 20000 /* above each other */
#define SEVERAL_ENDS 6	   /* of a string or number, that are tried when the first leads nowhere */

/* ---- What may come next ---------------------------------------------------------------------- */

/* A number that is probably none of those that may not come again, as it has been counted on; -1: none need be. */
static int
count_of_taken(const glm_reader_state *state)
{
	const glm_frame *frame = state->frame;

	if (state->mode == GLM_READ_KEY)
		return frame->hashes != NULL ? frame->count : -1;
	if (!frame->hashed)
		return -1;
	while (frame->up->hashed)
		frame = frame->up;
	return frame->count;
}

/* The same as the rest of a string, in digits and in letters, or as a number. */
static void
list_count(glm_search *search, glm_choice *choice)
{
	bool number = choice->state.mode != GLM_READ_STRING && choice->state.mode != GLM_READ_KEY;
	int	 count = count_of_taken(&choice->state), n = 0;
	char text[16];

	if (count < 0)
		return;
	n = snprintf(text, sizeof(text), number ? "%d" : "%d\"", count);
	glm_search_add(search, choice, text, n, number);
	if (number)
		return;
	for (n = 0; count > 0; count /= 26)
		text[n++] = (char) ('a' + count % 26);
	text[n++] = '"';
	glm_search_add(search, choice, text, n, false);
}

static void
list_beginnings(glm_search *search, glm_choice *choice)
{
	static const char *const text[] = {"0", "\"", "null", "false", "true", "[", "{", "1", "-",
									   "2", "3",  "4",	  "5",	   "6",	   "7", "8", "9"};

	list_count(search, choice);
	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		glm_search_add_text(search, choice, text[i]);
}

/* Numbers that the first item's schemas name. */
static void
list_first_numbers(glm_search *search, glm_choice *choice)
{
	const glm_child *child;

	if (glm_frame_item(search->reader, choice->state.frame, &child) != NULL)
		glm_search_numbers(search, choice, child->set);
}

/* All bytes from first to last. */
static void
list_bytes(glm_search *search, glm_choice *choice, int first, int last)
{
	for (int byte = first; byte <= last; byte++)
	{
		char text = (char) byte;

		glm_search_add(search, choice, &text, 1, false);
	}
}

/* What a character or escape sequence lacks. */
static bool
list_pending(glm_search *search, glm_choice *choice)
{
	const glm_reader_state *state = &choice->state;

	if (choice->stage > 1)
		return false;
	if (state->escape == GLM_ESCAPE_BACKSLASH)
		for (const char *at = "n\"\\rtbfu"; *at != '\0'; at++)
			glm_search_add(search, choice, at, 1, false);
	else if (state->escape != GLM_ESCAPE_NONE)
	{
		list_bytes(search, choice, '0', '9');
		list_bytes(search, choice, 'a', 'f');
	}
	else
		list_bytes(search, choice, state->low, state->high);
	return true;
}

static bool
list_spelling(glm_search *search, glm_choice *choice)
{
	bool string = choice->state.mode == GLM_READ_STRING;

	if (choice->state.follow > 0 || choice->state.escape != GLM_ESCAPE_NONE)
		return list_pending(search, choice);
	if (choice->stage == 1)
		list_count(search, choice);
	if (choice->stage == 1 && string)
		glm_search_straight(search, choice);
	else if (choice->stage == 1)
		glm_search_rest_of_key(search, choice);
	else if (choice->stage <= 3)
		glm_search_around(search, choice, choice->stage == 2 ? 1 : SEVERAL_ENDS);
	return choice->stage <= 3;
}

static bool
list_number(glm_search *search, glm_choice *choice)
{
	if (choice->stage == 1)
		glm_search_add(search, choice, "", 0, true);
	else if (choice->stage <= 3)
		glm_search_around(search, choice, choice->stage == 2 ? 1 : SEVERAL_ENDS);
	return choice->stage <= 3;
}

/* Does nothing that may come in the container matter? */
static bool
is_decided(const glm_frame *frame)
{
	for (int i = 0; i < frame->set->n_roots; i++)
		if (frame->root[i] == GLM_OPEN)
			return false;
	return true;
}

/* An item: its end if there may be none, numbers that are named, then anything. */
static bool
list_value(glm_search *search, glm_choice *choice)
{
	bool first = choice->state.mode == GLM_READ_FIRST_ITEM;
	int	 stage = first ? choice->stage : choice->stage + 1;

	if (stage == 1)
		glm_search_add_text(search, choice, "]");
	else if (first && is_decided(choice->state.frame))
		return false;
	else if (stage == 2 && first)
		list_first_numbers(search, choice);
	else if (stage == 2)
		glm_search_numbers(search, choice, choice->state.child->set);
	else if (stage == 3 && !first && !choice->state.frame->hashed &&
			 choice->state.child->set->n_roots == 0)
		glm_search_add_text(search, choice, "0"); /* nothing depends on it */
	else if (stage == 3)
		list_beginnings(search, choice);
	return stage <= 3;
}

static bool
list_key(glm_search *search, glm_choice *choice)
{
	int stage = choice->state.mode == GLM_READ_FIRST_KEY ? choice->stage : choice->stage + 1;

	if (stage == 1)
		glm_search_add_text(search, choice, "}");
	else if (choice->state.mode == GLM_READ_FIRST_KEY && is_decided(choice->state.frame))
		return false;
	else if (stage == 2 || stage == 3)
		glm_search_keys(search, choice, stage == 3);
	else if (stage == 4)
		glm_search_add_text(search, choice, "\"");
	return stage <= 4;
}

/* What comes once there is nothing to choose, or the end of a container and then more of it. */
static bool
list_fixed(glm_search *search, glm_choice *choice, const char *first, const char *second)
{
	const char *text = choice->stage == 1 ? first : choice->stage == 2 ? second : NULL;

	if (text != NULL)
		glm_search_add_text(search, choice, text);
	return text != NULL;
}

/* The candidates of the next stage.  false: there are no more. */
static bool
list(glm_search *search, glm_choice *choice)
{
	static const char *const literal[] = {"null", "false", "true"};
	const glm_reader_state	*state = &choice->state;

	choice->stage++;
	if (glm_reader_blank_due(search->reader, state))
		return list_fixed(search, choice, " ", NULL);
	switch (state->mode)
	{
		case GLM_READ_VALUE:
		case GLM_READ_FIRST_ITEM:
			return list_value(search, choice);
		case GLM_READ_FIRST_KEY:
		case GLM_READ_NEXT_KEY:
			return list_key(search, choice);
		case GLM_READ_STRING:
		case GLM_READ_KEY:
			return list_spelling(search, choice);
		case GLM_READ_NUMBER:
			return list_number(search, choice);
		case GLM_READ_LITERAL:
			return list_fixed(search, choice, literal[glm_kind_index(state->kind)] + state->letters,
							  NULL);
		case GLM_READ_COLON:
			return list_fixed(search, choice, ":", NULL);
		case GLM_READ_AFTER:
			return list_fixed(search, choice, state->frame->kind == GLM_KIND_OBJECT ? "}" : "]",
							  is_decided(state->frame) ? NULL : ",");
		default:
			return false;
	}
}

/* ---- The stack ------------------------------------------------------------------------------- */

static glm_choice *
push(glm_search *search, glm_choice *below, const glm_reader_state *state, size_t written)
{
	glm_choice *choice = GLM_WALK(search->reader, glm_choice, 1);

	choice->below = below;
	choice->depth = below != NULL ? below->depth + 1 : 0;
	choice->state = *state;
	choice->written = written;
	choice->base = choice->mark = glm_arena_here(search->reader->walk);
	return choice;
}

/* Lists what comes next; false: nothing. */
static bool
relist(glm_search *search, glm_choice *choice)
{
	glm_arena_back(search->reader->walk, choice->base);
	choice->candidate = NULL;
	choice->n = choice->capacity = choice->next = 0;
	if (!list(search, choice))
		return false;
	choice->mark = glm_arena_here(search->reader->walk);
	return true;
}

/*
 * Was the search at a state that goes on like this one?  Then it led nowhere: this finds the
 * ways that come back to where they were, and spares values that differ in nothing that
 * matters.  uniqueItems looks at all of them.
 */
static bool
has_been(glm_search *search, const glm_reader_state *state)
{
	glm_reader *reader = search->reader;
	uint64_t	at[2] = {reader->searches, 0};
	uint64_t   *kept;

	if (state->mode != GLM_READ_AFTER || state->frame->hashed)
		return false;
	at[1] = glm_frame_outlook(state->frame);
	at[0] = glm_mix(0, at, sizeof(at));
	kept = &reader->been[at[0] % GLM_READER_BEEN];
	if (*kept == at[0])
		return true;
	*kept = at[0];
	return false;
}

/* Reads a candidate, and what has to follow it, and writes it. */
static bool
take(glm_search *search, const glm_choice *choice, const glm_candidate *candidate,
	 glm_reader_state *state, glm_buf *out)
{
	glm_reader *reader = search->reader;

	if (!glm_search_put(search, state, candidate->text.text, candidate->text.length) ||
		(candidate->number && !glm_reader_end_number(reader, state)) || has_been(search, state))
		return false;
	out->length = choice->written;
	glm_buf_add(out, candidate->text.text, (size_t) candidate->text.length);
	for (bool due = true; due;)
	{
		const char *text = state->mode == GLM_READ_COLON		 ? ":"
						   : glm_reader_blank_due(reader, state) ? " "
																 : NULL;

		due = text != NULL;
		if (due && !glm_search_put(search, state, text, 1))
			return false;
		if (due)
			glm_buf_puts(out, text);
	}
	if (out->failed)
		glm_arena_fail(reader->walk, GLM_NO_ROOM, "out of memory");
	return true;
}

/* The choice behind the next candidate that may come; NULL: there is none. */
static glm_choice *
go_on(glm_search *search, glm_choice *choice, glm_buf *out)
{
	while (*search->steps > 0 && choice->depth < MOST_CHOICES)
	{
		glm_reader_state state = choice->state;

		if (choice->next == choice->n && !relist(search, choice))
			return NULL;
		if (choice->next == choice->n)
			continue; /* an empty stage */
		glm_arena_back(search->reader->walk, choice->mark);
		if (take(search, choice, &choice->candidate[choice->next++], &state, out))
			return push(search, choice, &state, out->length);
	}
	return NULL;
}

static bool
ends(glm_search *search, const glm_choice *choice)
{
	glm_arena_mark mark = glm_arena_here(search->reader->walk);
	bool		   may = glm_reader_ends(search->reader, &choice->state);

	glm_arena_back(search->reader->walk, mark);
	return may;
}

bool
glm_reader_complete(glm_reader *reader, const glm_reader_state *state, long *steps, glm_buf *out)
{
	glm_search	   search = {reader, steps};
	glm_arena_mark mark = glm_arena_here(reader->walk);
	size_t		   before = out->length;
	glm_choice	  *choice = push(&search, NULL, state, before);
	bool		   found = ends(&search, choice);

	if (reader->been == NULL)
		reader->been = GLM_NEW(reader->machine.arena, uint64_t, GLM_READER_BEEN);
	reader->searches++;
	while (!found && choice != NULL && *steps > 0)
	{
		glm_choice *next = go_on(&search, choice, out);

		found = next != NULL && ends(&search, next);
		choice = next != NULL ? next : choice->below;
	}
	if (!found)
		out->length = before;
	glm_arena_back(reader->walk, mark);
	return found;
}
