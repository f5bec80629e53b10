/*
 * json_search.c - what is tried in the search for an end, and what a try costs.
 */
#include "engine/constrain/json_search.h"

#include <string.h>

#define MEMBERS_OF_A_STEP 16
#define STEPS_A_PAUSE 512

/* A byte where many subschemas apply takes as long as several. */
static long
cost(const glm_reader_state *state)
{
	const glm_set *set = state->child != NULL ? state->child->set : state->frame->set;

	return 1 + (set != NULL ? set->n_members / MEMBERS_OF_A_STEP : 0);
}

bool
glm_search_put(glm_search *search, glm_reader_state *state, const char *text, int n)
{
	for (int i = 0; i < n; i++)
	{
		long before = *search->steps;

		*search->steps -= cost(state);
		if (before / STEPS_A_PAUSE != *search->steps / STEPS_A_PAUSE)
			glm_arena_pause(search->reader->walk);
		if (*search->steps < 0 || !glm_reader_step(search->reader, state, (uint8_t) text[i]))
			return false;
	}
	return true;
}

static void
add_candidate(glm_search *search, glm_choice *choice, const char *text, int n, bool number)
{
	choice->candidate = glm_arena_grow(search->reader->walk, choice->candidate,
									   sizeof(glm_candidate), &choice->capacity, choice->n + 1);
	choice->candidate[choice->n++] = (glm_candidate){{text, n}, number};
}

void
glm_search_add(glm_search *search, glm_choice *choice, const char *text, int n, bool number)
{
	add_candidate(search, choice, glm_arena_copy(search->reader->walk, text, (size_t) n), n,
				  number);
}

void
glm_search_add_text(glm_search *search, glm_choice *choice, const char *text)
{
	add_candidate(search, choice, text, (int) strlen(text), false);
}
