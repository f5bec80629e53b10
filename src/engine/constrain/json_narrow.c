/*
 * json_narrow.c - bytes that cannot come next, told without trying them.
 *
 * What is forced is punctuation, words and keys mostly; to see that nothing else may come
 * there, few bytes are left to try.
 */
#include "engine/constrain/json_machine.h"

typedef struct bytes
{
	uint64_t bit[4];
} bytes;

static void
add_byte(bytes *set, uint8_t byte)
{
	set->bit[byte / 64] |= UINT64_C(1) << byte % 64;
}

/* As it is written in a string: behind a backslash if need be. */
static void
add_written(bytes *set, uint8_t byte)
{
	add_byte(set, byte < 0x20 || byte == '"' || byte == '\\' ? '\\' : byte);
}

static void
add_text(bytes *set, const char *text)
{
	for (; *text != '\0'; text++)
		add_byte(set, (uint8_t) *text);
}

/* Of a key that has to be a known name: the quote at its end, or how such a name goes on. */
static bool
add_key_bytes(glm_reader *reader, const glm_reader_state *state, bytes *set)
{
	const glm_set *of = state->frame->set;
	int			   branch = state->lexical->branch;

	if (state->escape != GLM_ESCAPE_NONE || of->n_patterns > 0 ||
		glm_frame_keys(reader, state->frame)->other)
		return false;
	add_byte(set, '"');
	for (int at = branch < 0 ? 0 : of->branch[branch].child; at != 0; at = of->branch[at].sibling)
		add_written(set, of->branch[at].byte);
	return true;
}

void
glm_reader_narrow(glm_reader *reader, const glm_reader_state *state, uint64_t may[4])
{
	bytes set = {0};

	if (state->mode == GLM_READ_STRING)
		return;
	if (state->mode == GLM_READ_KEY && !add_key_bytes(reader, state, &set))
		return;
	if (state->mode == GLM_READ_LITERAL)
		add_text(&set, "aelnrstu"); /* of null, true and false */
	else if (state->mode != GLM_READ_KEY)
		add_text(&set, "{}[]\",:tfn-+.eE0123456789 \t\r\n");
	for (int i = 0; i < 4; i++)
		may[i] &= set.bit[i];
}
