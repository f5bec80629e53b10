/*
 * json_string.c - strings and keys: escapes, UTF-8, and the decoded bytes to their automata.
 *
 * Each string is written in one way: as Python's json.dumps() without ensure_ascii does.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

/* Different maximal lengths that are looked at for the one that ends everything. */
#define LENGTHS_TRIED 16

static const char short_escape[] = "\"\\bfnrt";
static const char short_meaning[] = "\"\\\b\f\n\r\t";

/* ---- Where they begin ------------------------------------------------------------------------ */

/* The next larger maximal length of a member that is open. */
static int
next_length(const glm_set *set, const glm_start *start, int after)
{
	int next = GLM_NO_MOST;

	for (int i = 0; i < set->n_members; i++)
	{
		int most = set->member[i].node->max_length;

		if (start->own[i] == GLM_OPEN && most > after && most < next)
			next = most;
	}
	return next;
}

/* Does a string longer than this fail the document? */
static bool
is_too_long(glm_reader *reader, const glm_reader_state *state, const glm_start *start, int length)
{
	const glm_set *set = state->child->set;
	glm_truth	   own[GLM_SET_MEMBERS], root[GLM_SET_MEMBERS];
	bool		   fails = false;

	for (int i = 0; i < set->n_members; i++)
		own[i] = start->own[i] == GLM_OPEN && set->member[i].node->max_length <= length
					 ? GLM_FAILS
					 : start->own[i];
	glm_set_roots(set, own, NULL, false, root);
	for (int i = 0; i < set->n_roots; i++)
		fails |= root[i] == GLM_FAILS;
	return fails && !glm_frame_bears(reader, state->frame, state->child, root);
}

static int
most_length(glm_reader *reader, const glm_reader_state *state)
{
	glm_set			*set = state->child->set;
	const glm_start *start = glm_set_start(reader, set, GLM_KIND_STRING);
	int				 length = -1;

	for (int i = 0; set->lengths && i < LENGTHS_TRIED; i++)
	{
		length = next_length(set, start, length);
		if (length == GLM_NO_MOST || is_too_long(reader, state, start, length))
			return length;
	}
	return GLM_NO_MOST;
}

static void
begin(glm_reader_state *state, glm_reader_mode mode)
{
	state->mode = mode;
	state->hash = GLM_KIND_STRING;
	state->length = 0;
	state->follow = 0;
	state->escape = GLM_ESCAPE_NONE;
}

bool
glm_reader_string_viable(glm_reader *reader, const glm_reader_state *state, glm_lexical *lexical)
{
	uint64_t at[2] = {0, (uint64_t) state->child->id}, asked;

	if (!lexical->fails)
		return true;
	at[0] = glm_frame_signature(reader, state->frame);
	asked = glm_mix(0, at, sizeof(at));
	if (lexical->asked != asked)
	{
		lexical->viable = glm_frame_bears(reader, state->frame, state->child, lexical->root);
		lexical->asked = asked;
	}
	return lexical->viable;
}

/* The automata allow what follows, within the length that is left. */
static bool
string_viable(glm_reader *reader, const glm_reader_state *state)
{
	return (state->most == GLM_NO_MOST ||
			state->length + state->lexical->distance <= state->most) &&
		   glm_reader_string_viable(reader, state, state->lexical);
}

bool
glm_reader_start_string(glm_reader *reader, glm_reader_state *state)
{
	begin(state, GLM_READ_STRING);
	state->lexical = glm_set_string(reader, state->child->set);
	state->name = NULL;
	state->most = most_length(reader, state);
	return string_viable(reader, state);
}

bool
glm_reader_start_key(glm_reader *reader, glm_reader_state *state)
{
	glm_set *set = state->frame->set;

	if (!glm_frame_keys(reader, state->frame)->any)
		return false;
	begin(state, GLM_READ_KEY);
	state->lexical = glm_set_key(reader, set);
	state->name = set->names != NULL ? glm_set_string(reader, set->names) : NULL;
	state->most = GLM_NO_MOST;
	return true;
}

/* ---- Decoded bytes --------------------------------------------------------------------------- */

static bool
key_viable(glm_reader *reader, const glm_reader_state *state)
{
	if (state->name != NULL &&
		!glm_key_may_be_named(reader, state->frame, state->name, state->length))
		return false;
	return glm_key_may_be_other(reader, state->frame, state->lexical) ||
		   glm_key_may_be_known(reader, state->frame, state->lexical);
}

/* One byte of the string itself. */
static bool
feed(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	state->length += (byte & 0xC0) != 0x80;
	state->hash = (state->hash ^ byte) * 0x9E3779B97F4A7C15u;
	state->hash ^= state->hash >> 29;
	state->lexical = glm_lexical_next(reader, state->lexical, byte);
	if (state->mode == GLM_READ_STRING)
		return string_viable(reader, state);
	if (state->name != NULL)
		state->name = glm_lexical_next(reader, state->name, byte);
	return key_viable(reader, state);
}

static bool
may_feed(glm_reader *reader, const glm_reader_state *state, uint8_t byte)
{
	glm_reader_state trial = *state;

	return feed(reader, &trial, byte);
}

/* ---- Escapes --------------------------------------------------------------------------------- */

/* Is it a control character that has no short escape?  U+0000 never is one that may come: jsonb has none. */
static bool
needs_digits(int byte)
{
	return byte > 0 && byte < 0x20 && strchr(short_meaning, byte) == NULL;
}

/* May \u00 go on with a character of these? */
static bool
may_need_digits(glm_reader *reader, const glm_reader_state *state, int first, int last)
{
	for (int byte = first; byte <= last; byte++)
		if (needs_digits(byte) && may_feed(reader, state, (uint8_t) byte))
			return true;
	return false;
}

static bool
may_escape(glm_reader *reader, const glm_reader_state *state)
{
	for (int i = 0; short_meaning[i] != '\0'; i++)
		if (may_feed(reader, state, (uint8_t) short_meaning[i]))
			return true;
	return may_need_digits(reader, state, 1, 0x1F);
}

static bool
after_backslash(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	const char *at = byte != 0 ? strchr(short_escape, byte) : NULL;

	if (byte == 'u')
	{
		state->escape = GLM_ESCAPE_U;
		return may_need_digits(reader, state, 1, 0x1F);
	}
	state->escape = GLM_ESCAPE_NONE;
	return at != NULL && feed(reader, state, (uint8_t) short_meaning[at - short_escape]);
}

static bool
after_digits(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	int value = byte >= '0' && byte <= '9'	 ? byte - '0'
				: byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
											 : -1;

	if (value < 0)
		return false;
	switch (state->escape)
	{
		case GLM_ESCAPE_U:
		case GLM_ESCAPE_U0:
			state->escape++;
			return value == 0;
		case GLM_ESCAPE_U00:
			state->escape++;
			state->sixteen = (uint8_t) value;
			return value < 2 && may_need_digits(reader, state, value * 16, value * 16 + 15);
		default:
			value += state->sixteen * 16;
			state->escape = GLM_ESCAPE_NONE;
			return needs_digits(value) && feed(reader, state, (uint8_t) value);
	}
}

/* ---- Bytes as they are written --------------------------------------------------------------- */

/* A byte that begins a character of several: what has to follow it. */
static bool
lead(glm_reader_state *state, uint8_t byte)
{
	if (byte < 0xC2 || byte > 0xF4)
		return false;
	state->follow = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
	state->low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
	state->high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
	return true;
}

bool
glm_reader_string_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	if (state->escape == GLM_ESCAPE_BACKSLASH)
		return after_backslash(reader, state, byte);
	if (state->escape != GLM_ESCAPE_NONE)
		return after_digits(reader, state, byte);
	if (state->follow > 0)
	{
		if (byte < state->low || byte > state->high)
			return false;
		state->follow--;
		state->low = 0x80;
		state->high = 0xBF;
		return feed(reader, state, byte);
	}
	if (byte == '\\')
	{
		state->escape = GLM_ESCAPE_BACKSLASH;
		return may_escape(reader, state);
	}
	if (byte < 0x20 || (byte >= 0x80 && !lead(state, byte)))
		return false;
	return feed(reader, state, byte);
}
