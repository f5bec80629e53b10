/*
 * json_move.c - a state of the JSON machine, and nothing but what it still needs.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

static void
move_hashes(glm_reader *reader, const glm_hashes **list)
{
	for (const glm_hashes *old = *list; old != NULL; old = old->next)
	{
		glm_hashes *copy = GLM_WALK(reader, glm_hashes, 1);

		*copy = *old;
		*list = copy;
		list = &copy->next;
	}
}

static glm_frame *
move_frame(glm_reader *reader, const glm_frame *frame)
{
	glm_frame *copy;
	glm_truth *root;
	size_t	   words;

	if (frame->set == NULL)
	{
		copy = GLM_WALK(reader, glm_frame, 1);
		*copy = *frame;
		return copy;
	}
	copy = glm_frame_copy(reader, frame);
	root = GLM_WALK(reader, glm_truth, frame->set->n_roots);
	copy->root = memcpy(root, frame->root, (size_t) frame->set->n_roots);
	if (frame->seen != NULL)
	{
		words = (size_t) glm_name_words(frame->set);
		copy->seen = GLM_WALK(reader, uint64_t, words);
		memcpy(copy->seen, frame->seen, sizeof(uint64_t) * words);
	}
	move_hashes(reader, &copy->hashes);
	return copy;
}

void
glm_reader_move(glm_reader *reader, glm_reader_state *state)
{
	for (glm_frame **at = &state->frame; *at != NULL; at = &(*at)->up)
		*at = move_frame(reader, *at);
}
