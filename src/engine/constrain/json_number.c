/*
 * json_number.c - numbers, whose text is kept: each byte is checked against what may still
 * become of it.
 */
#include "engine/constrain/json_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DOUBLE_DIGITS 15		 /* that any number of a double has */
#define SMALLEST_EXPONENT (-300) /* some below are 0 as doubles */

/* The numbers of an enum as they are written. */
static void
write_numbers(glm_reader *reader, glm_set_member *member)
{
	const glm_node *node = member->node;
	glm_name	   *text;

	if (member->number_text != NULL || node->n_numbers == 0)
		return;
	text = GLM_NEW(reader->machine.arena, glm_name, node->n_numbers);
	for (int i = 0; i < node->n_numbers; i++)
	{
		char out[64];

		text[i].length = glm_decimal_write(&node->numbers[i], out);
		text[i].text = glm_arena_copy(reader->machine.arena, out, (size_t) text[i].length);
	}
	member->number_text = text;
}

/* Does it begin one of the enum's numbers, as an integer or with ".0"? */
static bool
begins_number(const glm_set_member *member, const char *text, int n)
{
	for (int i = 0; i < member->node->n_numbers; i++)
	{
		const glm_name *number = &member->number_text[i];
		int				both = n < number->length ? n : number->length;

		if (memcmp(number->text, text, (size_t) both) != 0)
			continue;
		if (n <= number->length ||
			(glm_decimal_is_integer(&member->node->numbers[i]) && n <= number->length + 2 &&
			 memcmp(".0", text + number->length, (size_t) (n - number->length)) == 0))
			return true;
	}
	return false;
}

static glm_truth
status_so_far(const glm_set_member *member, const glm_reader_state *state)
{
	const glm_node *node = member->node;

	if (!glm_range_reaches(&node->range, state->number, state->digits) ||
		(node->numbers != NULL && !begins_number(member, state->number, state->digits)))
		return GLM_FAILS;
	return GLM_OPEN;
}

/*
 * Open where it cannot be told: 1.0, of which drafts differ on whether it is an integer, and
 * large multiples, of which many validators lose the last digits.
 */
static glm_truth
status_of(const glm_node *node, const char *text, int n, bool digits_only, const glm_decimal *value)
{
	bool decided = true, holds, found = node->numbers == NULL;

	for (int i = 0; i < node->n_numbers && !found; i++)
		found = glm_decimal_compare(&node->numbers[i], value) == 0;
	if (!found)
		return GLM_FAILS;
	if (node->range.integer && !digits_only && glm_decimal_is_integer(value))
		return GLM_OPEN;
	if (node->range.multiple_of != NULL && value->n + value->exponent > DOUBLE_DIGITS)
		return GLM_OPEN;
	holds = glm_range_holds(&node->range, text, (size_t) n, &decided);
	return !decided ? GLM_OPEN : holds ? GLM_HOLDS : GLM_FAILS;
}

/*
 * The number of a text as those read it who have doubles, to the digits that tell it from
 * others: 1.00000000000000000001 is 1.  Returns the length; false in *ok: it is none.
 */
static int
round_number(const char *text, int n, char out[32], glm_decimal *value, bool *ok)
{
	char   number[GLM_NUMBER_BYTES + 1];
	double d;
	int	   length = 0;

	memcpy(number, text, (size_t) n);
	number[n] = '\0';
	d = strtod(number, NULL);
	for (int precision = DOUBLE_DIGITS; precision <= DOUBLE_DIGITS + 2; precision++)
	{
		length = snprintf(out, 32, "%.*g", precision, d);
		if (strtod(out, NULL) == d)
			break;
	}
	*ok = glm_decimal_read(value, out, (size_t) length);
	return length;
}

/* Open, too, where those who round the number to a double would see it otherwise. */
static glm_truth
status_at_end(const glm_node *node, const glm_reader_state *state, const glm_decimal *value)
{
	bool		digits_only = state->part == GLM_NUMBER_ZERO || state->part == GLM_NUMBER_WHOLE, ok;
	glm_truth	status = status_of(node, state->number, state->digits, digits_only, value);
	glm_decimal rounded;
	char		text[32];
	int			n;

	if (digits_only || status == GLM_OPEN ||
		(value->n <= DOUBLE_DIGITS && value->exponent > SMALLEST_EXPONENT))
		return status;
	n = round_number(state->number, state->digits, text, &rounded, &ok);
	return ok && status_of(node, text, n, false, &rounded) == status ? status : GLM_OPEN;
}

/* May the number so far stand here? */
static bool
viable(glm_reader *reader, const glm_reader_state *state)
{
	glm_set			*set = state->child->set;
	const glm_start *start = glm_set_start(reader, set, GLM_KIND_NUMBER);
	glm_truth		 own[GLM_SET_MEMBERS], root[GLM_SET_MEMBERS];
	bool			 fails = false;

	for (int i = 0; i < set->n_members; i++)
		own[i] = start->own[i] == GLM_OPEN ? status_so_far(&set->member[i], state) : start->own[i];
	glm_set_roots(set, own, NULL, false, root);
	for (int i = 0; i < set->n_roots; i++)
		fails |= root[i] == GLM_FAILS;
	return !fails || glm_frame_bears(reader, state->frame, state->child, root);
}

bool
glm_reader_start_number(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	glm_set *set = state->child->set;

	for (int i = 0; i < set->n_members; i++)
		write_numbers(reader, &set->member[i]);
	state->mode = GLM_READ_NUMBER;
	state->number[0] = (char) byte;
	state->digits = 1;
	state->part = byte == '-' ? GLM_NUMBER_SIGN : byte == '0' ? GLM_NUMBER_ZERO : GLM_NUMBER_WHOLE;
	return viable(reader, state);
}

/* The part behind a byte; -1: it cannot come. */
static int
next_part(glm_number_part part, uint8_t byte)
{
	bool digit = byte >= '0' && byte <= '9', exponent = byte == 'e' || byte == 'E';

	switch (part)
	{
		case GLM_NUMBER_SIGN:
			return !digit ? -1 : byte == '0' ? GLM_NUMBER_ZERO : GLM_NUMBER_WHOLE;
		case GLM_NUMBER_ZERO:
			return byte == '.' ? GLM_NUMBER_POINT : exponent ? GLM_NUMBER_E : -1;
		case GLM_NUMBER_WHOLE:
			return digit		 ? GLM_NUMBER_WHOLE
				   : byte == '.' ? GLM_NUMBER_POINT
				   : exponent	 ? GLM_NUMBER_E
								 : -1;
		case GLM_NUMBER_POINT:
			return digit ? GLM_NUMBER_FRACTION : -1;
		case GLM_NUMBER_FRACTION:
			return digit ? GLM_NUMBER_FRACTION : exponent ? GLM_NUMBER_E : -1;
		case GLM_NUMBER_E:
			if (byte == '+' || byte == '-')
				return GLM_NUMBER_E_SIGN;
			return digit ? GLM_NUMBER_EXPONENT : -1;
		case GLM_NUMBER_E_SIGN:
		case GLM_NUMBER_EXPONENT:
			return digit ? GLM_NUMBER_EXPONENT : -1;
	}
	return -1;
}

bool
glm_reader_number_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte)
{
	int			part = next_part(state->part, byte);
	glm_decimal value;

	if (part < 0 || state->digits == GLM_NUMBER_BYTES)
		return false;
	state->part = (uint8_t) part;
	state->number[state->digits++] = (char) byte;
	/* an exponent that is too large stays so; where nothing is said of numbers, too, all are finite */
	if (part == GLM_NUMBER_EXPONENT &&
		(!glm_decimal_read(&value, state->number, state->digits) || !glm_decimal_is_finite(&value)))
		return false;
	return viable(reader, state);
}

/* Equal numbers have equal hashes, however they are written. */
static uint64_t
hash_of(const glm_decimal *value)
{
	int around[2] = {value->sign, value->exponent};

	if (value->n == 0)
		return GLM_KIND_NUMBER;
	return glm_mix(glm_mix(GLM_KIND_NUMBER, around, sizeof(around)), value->digit,
				   (size_t) value->n);
}

bool
glm_reader_end_number(glm_reader *reader, glm_reader_state *state)
{
	glm_set			*set = state->child->set;
	const glm_start *start = glm_set_start(reader, set, GLM_KIND_NUMBER);
	glm_truth		 own[GLM_SET_MEMBERS], root[GLM_SET_MEMBERS];
	glm_decimal		 value;

	if (state->part != GLM_NUMBER_ZERO && state->part != GLM_NUMBER_WHOLE &&
		state->part != GLM_NUMBER_FRACTION && state->part != GLM_NUMBER_EXPONENT)
		return false;
	if (!glm_decimal_read(&value, state->number, state->digits))
		return false; /* too many digits to be told exactly */
	for (int i = 0; i < set->n_members; i++)
		own[i] = start->own[i] == GLM_OPEN ? status_at_end(set->member[i].node, state, &value)
										   : start->own[i];
	glm_set_roots(set, own, NULL, true, root);
	for (int i = 0; i < set->n_roots; i++)
		if (root[i] == GLM_OPEN)
			return false;
	return glm_reader_finish(reader, state, state->frame, state->child, root, hash_of(&value));
}
