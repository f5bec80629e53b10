/*
 * literals.c - the automaton of some texts.
 *
 * A state is what a prefix leaves of the sorted texts: a range of them.  The states behind
 * it are made together when one of them is asked for, and lie side by side by their bytes.
 */
#include "engine/constrain/automaton.h"

#include <stdlib.h>
#include <string.h>

#define DEAD 1

typedef struct literal
{
	const uint8_t *text;
	int			   length;
	int			   points; /* code points */
} literal;

typedef struct state
{
	glm_dfa_state public;
	uint8_t byte; /* that led here */
	bool	opened;
	int16_t n_children;
	int		first_child;
	int		from, to; /* the texts [from, to) begin with the bytes that led here */
	int		depth;	  /* so many bytes */
	int		points;	  /* of them that begin a character */
} state;

typedef struct literals
{
	glm_dfa	 dfa;
	literal *literal; /* sorted, none twice */
	int		 n;
} literals;

static bool
begins_char(uint8_t byte)
{
	return (byte & 0xC0) != 0x80;
}

static int
by_text(const void *a, const void *b)
{
	const literal *x = a;
	const literal *y = b;
	int			   n = x->length < y->length ? x->length : y->length;
	int			   order = n > 0 ? memcmp(x->text, y->text, (size_t) n) : 0;

	return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

static void
add_state(literals *all, int from, int to, const state *parent, uint8_t byte)
{
	state *s = glm_dfa_new_record(&all->dfa);

	s->byte = byte;
	s->from = from;
	s->to = to;
	if (parent != NULL)
	{
		s->depth = parent->depth + 1;
		s->points = parent->points + begins_char(byte);
	}
	/* sorted, so that the text that ends here is the first */
	s->public.accepts = from < to && all->literal[from].length == s->depth;
	s->public.dead = from == to;
	s->public.distance = GLM_DFA_NO_END;
	for (int i = from; i < to; i++)
		if (all->literal[i].points - s->points < s->public.distance)
			s->public.distance = all->literal[i].points - s->points;
	all->dfa.n++;
}

/* Where the texts behind `from` that have the same byte at this depth end. */
static int
end_of_same(const literals *all, int from, int to, int depth)
{
	uint8_t byte = all->literal[from].text[depth];
	int		low = from; /* has it */

	while (to - low > 1)
	{
		int middle = low + (to - low) / 2;

		if (all->literal[middle].text[depth] == byte)
			low = middle;
		else
			to = middle;
	}
	return to;
}

static void
open_children(literals *all, state *s)
{
	int first = all->dfa.n;
	int from = s->from + s->public.accepts;

	while (from < s->to)
	{
		int to = end_of_same(all, from, s->to, s->depth);

		add_state(all, from, to, s, all->literal[from].text[s->depth]);
		from = to;
	}
	s->first_child = first;
	s->n_children = (int16_t) (all->dfa.n - first);
	s->opened = true;
}

static int
next(glm_dfa *dfa, int from, uint8_t byte)
{
	literals *all = (literals *) dfa;
	state	 *s = glm_dfa_record(dfa, from);
	int		  low = 0;
	int		  high;

	if (!s->opened)
		open_children(all, s);
	high = s->n_children;
	while (low < high)
	{
		int			 middle = (low + high) / 2;
		const state *child = glm_dfa_record(dfa, s->first_child + middle);

		if (child->byte == byte)
			return s->first_child + middle;
		if (child->byte < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return DEAD;
}

static literal
literal_of(const char *text, size_t n)
{
	literal l = {(const uint8_t *) text, (int) n, 0};

	for (size_t i = 0; i < n; i++)
		l.points += begins_char((uint8_t) text[i]);
	return l;
}

glm_dfa *
glm_dfa_literals(glm_arena *arena, const char *const *text, const size_t *length, int n)
{
	literals *all = GLM_NEW(arena, literals, 1);
	literal	 *sorted = GLM_NEW(arena, literal, n);

	all->dfa = (glm_dfa){.arena = arena, .next = next, .record = sizeof(state), .within = -1};
	all->literal = sorted;
	for (int i = 0; i < n; i++)
		sorted[i] = literal_of(text[i], length[i]);
	qsort(sorted, (size_t) n, sizeof(*sorted), by_text);
	for (int i = 0; i < n; i++)
		if (all->n == 0 || by_text(&sorted[all->n - 1], &sorted[i]) != 0)
			sorted[all->n++] = sorted[i];
	add_state(all, 0, all->n, NULL, 0);
	add_state(all, 0, 0, NULL, 0);
	return &all->dfa;
}
