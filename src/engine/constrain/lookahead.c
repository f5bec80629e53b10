/*
 * lookahead.c - lookaheads in the middle of a pattern.
 *
 * A duty is a set of (lookahead, state of its automaton).  A lookahead that can no longer
 * change is not in it: either it is fulfilled, or the duties are broken.
 */
#include "engine/constrain/lookahead.h"

#include <string.h>

#define MAX_DUTIES 1000
#define MAX_ITEMS 64 /* of one duty */

typedef struct item
{
	int look;
	int state;
} item;

struct glm_duty
{
	item *item; /* [n], sorted */
	int	  n;
};

typedef struct items
{
	item item[MAX_ITEMS];
	int	 n;
} items;

/* Puts an item into its place; false: it breaks the duty. */
static bool
put(glm_duties *duties, items *list, item new)
{
	const glm_component *look = &duties->look[new.look];
	const glm_dfa_state *state = glm_dfa_at(look->dfa, new.state);
	int					 at = list->n;

	if (state->always || state->dead)
		return state->always != look->negated;
	while (at > 0 && (list->item[at - 1].look > new.look || (list->item[at - 1].look == new.look &&
															 list->item[at - 1].state > new.state)))
		at--;
	if (at > 0 && memcmp(&list->item[at - 1], &new, sizeof(new)) == 0)
		return true;
	if (list->n == MAX_ITEMS)
		glm_arena_fail(duties->arena, GLM_TOO_COMPLEX,
					   "pattern has too many lookaheads at one place");
	memmove(&list->item[at + 1], &list->item[at], sizeof(new) * (size_t) (list->n - at));
	list->item[at] = new;
	list->n++;
	return true;
}

static int
intern(glm_duties *duties, const items *list)
{
	size_t	  size = sizeof(list->item[0]) * (size_t) list->n;
	uint64_t  hash = glm_hash_bytes(list->item, size);
	glm_duty *duty;

	if (list->n == 0)
		return 0;
	for (int i = glm_intern_first(&duties->index, hash); i >= 0;
		 i = glm_intern_next(&duties->index, i))
		if (duties->duty[i].n == list->n && memcmp(duties->duty[i].item, list->item, size) == 0)
			return i + 1;
	if (duties->n == MAX_DUTIES)
		glm_arena_fail(duties->arena, GLM_TOO_COMPLEX,
					   "pattern has lookaheads that are too many together");
	duties->duty = glm_arena_grow(duties->arena, duties->duty, sizeof(*duty), &duties->capacity,
								  duties->n + 1);
	duty = &duties->duty[duties->n];
	duty->item = GLM_NEW(duties->arena, item, list->n);
	memcpy(duty->item, list->item, size);
	duty->n = list->n;
	glm_intern_add(duties->arena, &duties->index, hash);
	return ++duties->n;
}

int
glm_duty_with(glm_duties *duties, int duty, int look, int state)
{
	items list = {.n = 0};

	if (duty > 0)
	{
		list.n = duties->duty[duty - 1].n;
		memcpy(list.item, duties->duty[duty - 1].item, sizeof(item) * (size_t) list.n);
	}
	if (!put(duties, &list, (item){look, state}))
		return GLM_DUTY_BROKEN;
	return intern(duties, &list);
}

int
glm_duty_next(glm_duties *duties, int duty, uint8_t byte)
{
	items list = {.n = 0};

	if (duty == 0)
		return 0;
	for (int i = 0; i < duties->duty[duty - 1].n; i++)
	{
		item at = duties->duty[duty - 1].item[i];

		at.state = glm_dfa_next(duties->look[at.look].dfa, at.state, byte);
		if (!put(duties, &list, at))
			return GLM_DUTY_BROKEN;
	}
	return intern(duties, &list);
}

bool
glm_duty_ends(glm_duties *duties, int duty)
{
	if (duty == 0)
		return true;
	for (int i = 0; i < duties->duty[duty - 1].n; i++)
	{
		const item			*at = &duties->duty[duty - 1].item[i];
		const glm_component *look = &duties->look[at->look];

		if (glm_dfa_at(look->dfa, at->state)->accepts == look->negated)
			return false;
	}
	return true;
}

bool
glm_look_ends(const glm_component *look, int state)
{
	return glm_dfa_at(look->dfa, state)->accepts != look->negated;
}
