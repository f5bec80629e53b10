/*
 * nfa.c - a pattern's tree as places that lead to each other.
 *
 * Made from the end to the start, so that each place knows where it goes on.  A character is
 * one place whatever its bytes are.  From where no end can be reached nothing is kept: else
 * "^abc", which may begin anywhere but only fits at the start, would never be over.
 */
#include "engine/constrain/pattern.h"

typedef struct builder
{
	glm_arena *arena;
	glm_nfa	  *nfa;
	int		   capacity; /* of places */
} builder;

static int emit(builder *b, glm_pattern *pattern, int out);

static int
add(builder *b, glm_place_kind kind, int out, int other)
{
	glm_nfa *nfa = b->nfa;

	nfa->place =
		glm_arena_grow(b->arena, nfa->place, sizeof(*nfa->place), &b->capacity, nfa->n + 1);
	nfa->place[nfa->n] = (glm_place){kind, out, other, GLM_DFA_NO_END};
	return nfa->n++;
}

static int
emit_choice(builder *b, glm_pattern *choice, int out)
{
	int first = -1;

	for (glm_pattern *part = choice->last; part != NULL; part = part->before)
	{
		int way = emit(b, part, out);

		first = first < 0 ? way : add(b, GLM_PLACE_SPLIT, way, first);
	}
	return first;
}

static int
emit_repeat(builder *b, glm_pattern *repeat, int out)
{
	int behind = out;

	if (repeat->most < 0)
	{
		int loop = add(b, GLM_PLACE_SPLIT, -1, out);
		int body = emit(b, repeat->last, loop);

		b->nfa->place[loop].out = body;
		out = loop;
	}
	for (int i = repeat->least; i < repeat->most; i++)
		out = add(b, GLM_PLACE_SPLIT, emit(b, repeat->last, out), behind);
	for (int i = 0; i < repeat->least; i++)
		out = emit(b, repeat->last, out);
	return out;
}

/* The number of a new component that what follows has to fit. */
static int
add_look(builder *b, glm_dfa *dfa, bool negated)
{
	glm_nfa *nfa = b->nfa;

	nfa->look = glm_arena_grow(b->arena, nfa->look, sizeof(*nfa->look), &nfa->look_capacity,
							   nfa->n_look + 1);
	nfa->look[nfa->n_look] = (glm_component){dfa, negated};
	return nfa->n_look++;
}

/* What follows, as an automaton of its own. */
static glm_dfa *
prefix_of(builder *b, glm_pattern *part)
{
	return glm_dfa_of(b->arena, glm_nfa_of(b->arena, part, GLM_MATCH_PREFIX, b->nfa->sets));
}

/* All copies of a lookahead have one automaton. */
static int
emit_look(builder *b, glm_pattern *look, int out)
{
	if (look->look == 0)
		look->look = add_look(b, prefix_of(b, look->last), look->negated) + 1;
	return add(b, GLM_PLACE_LOOK, out, look->look - 1);
}

/* What is before it is known when it is reached; so it asks for what follows alone. */
static int
emit_boundary(builder *b, glm_pattern *boundary, int out)
{
	if (b->nfa->word < 0)
	{
		glm_dfa *word = prefix_of(b, boundary->last);

		b->nfa->word = add_look(b, word, false);
		add_look(b, word, true);
	}
	return add(b, GLM_PLACE_BOUNDARY, out, boundary->negated);
}

/* What matches the pattern and then goes on at `out`: where that starts. */
static int
emit(builder *b, glm_pattern *pattern, int out)
{
	switch (pattern->kind)
	{
		case GLM_PATTERN_SET:
			return add(b, GLM_PLACE_SET, out, pattern->set);
		case GLM_PATTERN_SEQUENCE:
			for (glm_pattern *part = pattern->last; part != NULL; part = part->before)
				out = emit(b, part, out);
			return out;
		case GLM_PATTERN_CHOICE:
			return emit_choice(b, pattern, out);
		case GLM_PATTERN_REPEAT:
			return emit_repeat(b, pattern, out);
		case GLM_PATTERN_START:
			return add(b, GLM_PLACE_START, out, -1);
		case GLM_PATTERN_END:
			return add(b, GLM_PLACE_END, out, -1);
		case GLM_PATTERN_LOOK:
			return emit_look(b, pattern, out);
		case GLM_PATTERN_BOUNDARY:
			return emit_boundary(b, pattern, out);
	}
	return out;
}

/* A place from where any characters lead to `out`. */
static int
add_anything(builder *b, int out)
{
	glm_char_ranges none = {0};
	int				loop = add(b, GLM_PLACE_SPLIT, -1, out);
	int				any = add(b, GLM_PLACE_SET, loop, glm_charset_of(b->nfa->sets, &none, true));

	b->nfa->place[loop].out = any;
	return loop;
}

/* ---- Distances ------------------------------------------------------------------------------ */

/* Who leads to a place: from[start[p]] .. from[start[p + 1] - 1]. */
typedef struct arrivals
{
	int *start;
	int *from;
} arrivals;

static arrivals
arrivals_of(glm_arena *arena, const glm_nfa *nfa)
{
	arrivals a = {GLM_NEW(arena, int, nfa->n + 2), GLM_NEW(arena, int, 2 * nfa->n)};
	int		*at = a.start + 1; /* while they are filled in, one further */

	for (int p = 0; p < nfa->n; p++)
	{
		if (nfa->place[p].out >= 0)
			at[nfa->place[p].out + 1]++;
		if (nfa->place[p].kind == GLM_PLACE_SPLIT)
			at[nfa->place[p].other + 1]++;
	}
	for (int p = 0; p < nfa->n; p++)
		at[p + 1] += at[p];
	for (int p = 0; p < nfa->n; p++)
	{
		if (nfa->place[p].out >= 0)
			a.from[at[nfa->place[p].out]++] = p;
		if (nfa->place[p].kind == GLM_PLACE_SPLIT)
			a.from[at[nfa->place[p].other]++] = p;
	}
	return a;
}

typedef struct todo
{
	int *place;
	int	 n;
} todo;

/* Gives all that lead to `to` without a character its distance, and notes who do with one. */
static void
walk_back(glm_nfa *nfa, const arrivals *a, int to, int distance, todo *now, todo *later)
{
	if (nfa->place[to].distance <= distance)
		return;
	nfa->place[to].distance = distance;
	for (int i = a->start[to]; i < a->start[to + 1]; i++)
	{
		glm_place_kind kind = nfa->place[a->from[i]].kind;

		if (kind == GLM_PLACE_SET)
			later->place[later->n++] = a->from[i];
		else if (kind == GLM_PLACE_SPLIT || kind == GLM_PLACE_LOOK || kind == GLM_PLACE_BOUNDARY ||
				 (kind == GLM_PLACE_END && distance == 0))
			now->place[now->n++] = a->from[i];
	}
}

/* A search from the final place backwards, by code points; each arrival is noted once. */
static void
measure(glm_arena *arena, glm_nfa *nfa, int final)
{
	glm_arena_mark before = glm_arena_here(arena);
	arrivals	   a = arrivals_of(arena, nfa);
	todo		   now = {GLM_NEW(arena, int, 2 * nfa->n + 1), 0};
	todo		   later = {GLM_NEW(arena, int, 2 * nfa->n + 1), 0};

	now.place[now.n++] = final;
	for (int distance = 0; now.n > 0; distance++)
	{
		todo done = now;

		while (now.n > 0)
			walk_back(nfa, &a, now.place[--now.n], distance, &now, &later);
		now = later;
		later = (todo){done.place, 0};
	}
	glm_arena_back(arena, before);
}

glm_nfa *
glm_nfa_of(glm_arena *arena, glm_pattern *pattern, glm_match match, glm_charsets *sets)
{
	glm_nfa *nfa = GLM_NEW(arena, glm_nfa, 1);
	builder	 b = {arena, nfa, 0};
	int		 final;
	int		 end;

	nfa->sets = sets;
	nfa->rest = nfa->word = -1;
	final = add(&b, GLM_PLACE_FINAL, -1, -1);
	end = add(&b, GLM_PLACE_END, final, -1);
	if (match != GLM_MATCH_WHOLE)
		end = nfa->rest = add_anything(&b, end);
	nfa->first = emit(&b, pattern, end);
	nfa->anywhere = match == GLM_MATCH_ANYWHERE;
	if (nfa->anywhere)
		nfa->first = add_anything(&b, nfa->first);
	measure(arena, nfa, final);
	return nfa;
}
