/*
 * json_step.c - the reader: one byte of JSON after the other.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

static const char *const literal[] = {"null", "false", "true"}; /* by glm_kind_index() */

/* ---- The ends of values ---------------------------------------------------------------------- */

static bool
end_container(glm_reader *reader, glm_reader_state *state)
{
	glm_frame *frame = state->frame;
	glm_truth  root[GLM_SET_MEMBERS];
	int		   about[2] = {frame->kind, frame->count};

	glm_frame_end(frame, root);
	return glm_reader_finish(reader, state, frame->up, frame->child, root,
							 glm_mix(frame->hash, about, sizeof(about)));
}

static bool
end_string(glm_reader *reader, glm_reader_state *state)
{
	glm_truth root[GLM_SET_MEMBERS];

	glm_lexical_end(reader, state->lexical, state->length, root);
	return glm_reader_finish(reader, state, state->frame, state->child, root,
							 glm_mix(state->hash, &state->length, sizeof(state->length)));
}

static bool
end_key(glm_reader *reader, glm_reader_state *state)
{
	glm_frame		 *frame = state->frame;
	int				  branch = state->lexical->branch;
	int				  name = branch >= 0 ? frame->set->branch[branch].name : -1;
	glm_truth		  names[GLM_SET_MEMBERS];
	const glm_hashes *before = frame->hashes;

	if (name >= 0 && !glm_bit(glm_frame_keys(reader, frame)->name, name))
		return false;
	while (name < 0 && before != NULL && before->hash != state->hash)
		before = before->next;
	if (name < 0 && before != NULL)
		return false;
	if (state->name != NULL)
		glm_lexical_end(reader, state->name, state->length, names);
	frame = glm_frame_key(reader, frame, name, state->lexical, state->name != NULL ? names : NULL,
						  &state->child);
	if (frame == NULL)
		return false;
	if (name < 0)
	{
		glm_hashes *with = GLM_WALK(reader, glm_hashes, 1);

		*with = (glm_hashes){frame->hashes, state->hash};
		frame->hashes = with;
	}
	frame->key_hash = state->hash;
	state->frame = frame;
	state->mode = GLM_READ_COLON;
	state->spaces = 0;
	return true;
}

/* ---- The beginnings of values ---------------------------------------------------------------- */

static glm_kinds
kind_of(uint8_t byte)
{
	switch (byte)
	{
		case '"':
			return GLM_KIND_STRING;
		case '{':
			return GLM_KIND_OBJECT;
		case '[':
			return GLM_KIND_ARRAY;
		case 't':
			return GLM_KIND_TRUE;
		case 'f':
			return GLM_KIND_FALSE;
		case 'n':
			return GLM_KIND_NULL;
		default:
			return byte == '-' || (byte >= '0' && byte <= '9') ? GLM_KIND_NUMBER : 0;
	}
}

static bool
start_value(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	glm_kinds		 kind = kind_of(byte);
	const glm_start *start;

	if (kind == 0)
		return false;
	start = glm_set_start(reader, state->child->set, kind);
	if (start->fails)
		state->frame = glm_frame_apply(reader, state->frame, state->child, start->root, false);
	if (state->frame == NULL)
		return false;
	state->spaces = 0;
	switch (kind)
	{
		case GLM_KIND_STRING:
			return glm_reader_start_string(reader, state);
		case GLM_KIND_NUMBER:
			return glm_reader_start_number(reader, state, byte);
		case GLM_KIND_OBJECT:
		case GLM_KIND_ARRAY:
			if (state->frame->depth == GLM_JSON_DEPTH)
				return false;
			state->frame = glm_frame_open(reader, state->frame, state->child, kind);
			state->child = NULL;
			state->mode = kind == GLM_KIND_OBJECT ? GLM_READ_FIRST_KEY : GLM_READ_FIRST_ITEM;
			return true;
		default:
			state->kind = kind;
			state->letters = 1;
			state->mode = GLM_READ_LITERAL;
			return true;
	}
}

static bool
start_item(glm_reader *reader, glm_reader_state *state)
{
	state->frame = glm_frame_item(reader, state->frame, &state->child);
	return state->frame != NULL;
}

static bool
literal_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	const char *word = literal[glm_kind_index(state->kind)];

	if ((uint8_t) word[state->letters] != byte)
		return false;
	if (word[++state->letters] != '\0')
		return true;
	return glm_reader_finish(reader, state, state->frame, state->child,
							 glm_set_start(reader, state->child->set, state->kind)->root,
							 state->kind);
}

/* After an item or member. */
static bool
after_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	bool object = state->frame->kind == GLM_KIND_OBJECT;

	if (byte == (object ? '}' : ']'))
		return end_container(reader, state);
	if (byte != ',' ||
		(object ? !glm_frame_keys(reader, state->frame)->any : !start_item(reader, state)))
		return false;
	state->mode = object ? GLM_READ_NEXT_KEY : GLM_READ_VALUE;
	state->spaces = 0;
	return true;
}

/* ---- White space ----------------------------------------------------------------------------- */

/* Is this a place between the tokens of JSON?  At the beginning and end there is none. */
static bool
is_between(const glm_reader_state *state)
{
	switch (state->mode)
	{
		case GLM_READ_VALUE:
			return state->frame->set != NULL;
		case GLM_READ_FIRST_KEY:
		case GLM_READ_NEXT_KEY:
		case GLM_READ_COLON:
		case GLM_READ_FIRST_ITEM:
		case GLM_READ_AFTER:
			return true;
		default:
			return false;
	}
}

static bool
is_space(uint8_t byte)
{
	return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

bool
glm_reader_blank_due(const glm_reader *reader, const glm_reader_state *state)
{
	return reader->space == GLM_SPACE_EXACT && state->spaces == 0 &&
		   ((state->mode == GLM_READ_VALUE && state->frame->set != NULL) ||
			state->mode == GLM_READ_NEXT_KEY);
}

/* May a byte of white space come? */
static bool
space_byte(const glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	if (!(reader->space == GLM_SPACE_ANY ? state->spaces < GLM_JSON_SPACES
										 : byte == ' ' && glm_reader_blank_due(reader, state)))
		return false;
	state->spaces++;
	return true;
}

/* ---- All together ---------------------------------------------------------------------------- */

static bool
between_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	switch (state->mode)
	{
		case GLM_READ_VALUE:
			return start_value(reader, state, byte);
		case GLM_READ_FIRST_KEY:
			if (byte == '}')
				return end_container(reader, state);
			return byte == '"' && glm_reader_start_key(reader, state);
		case GLM_READ_NEXT_KEY:
			return byte == '"' && glm_reader_start_key(reader, state);
		case GLM_READ_COLON:
			state->mode = GLM_READ_VALUE;
			state->spaces = 0;
			return byte == ':';
		case GLM_READ_FIRST_ITEM:
			if (byte == ']')
				return end_container(reader, state);
			return start_item(reader, state) && start_value(reader, state, byte);
		case GLM_READ_AFTER:
			return after_byte(reader, state, byte);
		default:
			return false;
	}
}

bool
glm_reader_step(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	bool quote = byte == '"' && state->escape == GLM_ESCAPE_NONE && state->follow == 0;

	switch (state->mode)
	{
		case GLM_READ_STRING:
			return quote ? end_string(reader, state) : glm_reader_string_byte(reader, state, byte);
		case GLM_READ_KEY:
			return quote ? end_key(reader, state) : glm_reader_string_byte(reader, state, byte);
		case GLM_READ_LITERAL:
			return literal_byte(reader, state, byte);
		case GLM_READ_NUMBER:
			if ((byte >= '0' && byte <= '9') || (byte != 0 && strchr(".eE+-", byte) != NULL))
				return glm_reader_number_byte(reader, state, byte);
			if (!glm_reader_end_number(reader, state))
				return false;
			break;
		default:
			break;
	}
	if (is_space(byte))
		return is_between(state) && space_byte(reader, state, byte);
	return !glm_reader_blank_due(reader, state) && between_byte(reader, state, byte);
}

bool
glm_reader_ends(glm_reader *reader, const glm_reader_state *state)
{
	glm_reader_state trial = *state;

	if (state->mode == GLM_READ_NUMBER && state->frame->set == NULL)
		return glm_reader_end_number(reader, &trial);
	return state->mode == GLM_READ_DONE;
}
