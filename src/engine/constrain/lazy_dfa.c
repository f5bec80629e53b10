/*
 * lazy_dfa.c - the places of a pattern as an automaton, whose states are made when they are
 * first reached.
 *
 * A state is a set of threads: places where a match may be, each with the set of what may
 * follow in the middle of a character, and with its duties behind lookaheads.  The state at
 * the start of the text is one of its own, as "^" goes on there.
 */
#include "engine/constrain/automaton.h"
#include "engine/constrain/lookahead.h"
#include "engine/constrain/pattern.h"

#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 2000000 /* of all states: a bound of time and memory */

/* place, 32 bits; set in the middle of a character, 16; duty, 16 */
typedef uint64_t thread;

typedef struct threads
{
	thread *at;
	int		n, capacity;
} threads;

/* Which threads were seen since `round` was counted up. */
typedef struct seen
{
	thread	 *at;
	uint32_t *round_of;
	uint32_t  round;
	int		  n, capacity; /* a power of two */
} seen;

typedef struct state
{
	glm_dfa_state public;
	bool	 at_start;
	int		 n;
	thread	*at;
	int16_t *next; /* [n_groups], state + 1 or 0; NULL before one is known */
	int16_t *high; /* [128] of the bytes from 0x80 on */
} state;

typedef struct lazy_dfa
{
	glm_dfa	   dfa;
	glm_nfa	  *nfa;
	glm_intern index;
	glm_duties duties;
	uint8_t	   group[128]; /* of ASCII: bytes that no set tells apart have one */
	int		   n_groups;
	int		   middle; /* state + 1; 0: not yet known */
	int		   n_threads;

	/* the state that is being made */
	threads todo, made;
	seen	seen;
	bool	always;
} lazy_dfa;

static int middle(lazy_dfa *lazy);

static thread
thread_of(int place, int set, int duty)
{
	return (uint64_t) duty << 48 | (uint64_t) set << 32 | (uint32_t) place;
}

static int
place_of(thread t)
{
	return (int) (t & UINT32_MAX);
}

static int
set_of(thread t)
{
	return (int) (t >> 32 & UINT16_MAX);
}

static int
duty_of(thread t)
{
	return (int) (t >> 48);
}

static void
push(lazy_dfa *lazy, threads *list, thread t)
{
	list->at = glm_arena_grow(lazy->dfa.arena, list->at, sizeof(t), &list->capacity, list->n + 1);
	list->at[list->n++] = t;
}

/* ---- Threads that were seen ----------------------------------------------------------------- */

static bool
see(seen *seen, thread t)
{
	uint32_t mask = (uint32_t) seen->capacity - 1;
	uint32_t i = (uint32_t) ((t * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & mask;

	for (; seen->round_of[i] == seen->round; i = (i + 1) & mask)
		if (seen->at[i] == t)
			return true;
	seen->at[i] = t;
	seen->round_of[i] = seen->round;
	seen->n++;
	return false;
}

static void
double_seen(lazy_dfa *lazy)
{
	seen old = lazy->seen;
	int	 n = old.capacity > 0 ? 2 * old.capacity : 64;
	seen larger = {.round = old.round, .capacity = n};

	larger.at = GLM_NEW(lazy->dfa.arena, thread, n);
	larger.round_of = GLM_NEW(lazy->dfa.arena, uint32_t, n);
	for (int i = 0; i < old.capacity; i++)
		if (old.round_of[i] == old.round)
			see(&larger, old.at[i]);
	lazy->seen = larger;
}

/* Was this thread seen in this round? */
static bool
seen_before(lazy_dfa *lazy, thread t)
{
	if (2 * lazy->seen.n >= lazy->seen.capacity)
		double_seen(lazy);
	return see(&lazy->seen, t);
}

static void
new_round(lazy_dfa *lazy)
{
	lazy->seen.round++;
	lazy->seen.n = 0;
	lazy->todo.n = 0;
}

/* ---- Where threads go without a byte -------------------------------------------------------- */

/* Where the automaton of a lookahead begins. */
static int
look_start(const lazy_dfa *lazy, int look, bool at_start)
{
	return at_start ? 0 : middle((lazy_dfa *) lazy->nfa->look[look].dfa);
}

static void
follow_one(lazy_dfa *lazy, thread t, bool at_start)
{
	const glm_place *place = &lazy->nfa->place[place_of(t)];
	int				 duty = duty_of(t);

	if (place_of(t) == lazy->nfa->rest && duty == 0)
		lazy->always = true;
	switch (place->kind)
	{
		case GLM_PLACE_SPLIT:
			push(lazy, &lazy->todo, thread_of(place->out, 0, duty));
			push(lazy, &lazy->todo, thread_of(place->other, 0, duty));
			break;
		case GLM_PLACE_START:
			if (at_start)
				push(lazy, &lazy->todo, thread_of(place->out, 0, duty));
			break;
		case GLM_PLACE_LOOK:
			duty = glm_duty_with(&lazy->duties, duty, place->other,
								 look_start(lazy, place->other, at_start));
			if (duty != GLM_DUTY_BROKEN)
				push(lazy, &lazy->todo, thread_of(place->out, 0, duty));
			break;
		case GLM_PLACE_SET:
		case GLM_PLACE_END:
		case GLM_PLACE_FINAL:
			if (place->distance < GLM_DFA_NO_END)
				push(lazy, &lazy->made, t);
			break;
	}
}

/* Adds where a match goes on from a place to the state that is being made. */
static void
follow(lazy_dfa *lazy, int place, int duty, bool at_start)
{
	push(lazy, &lazy->todo, thread_of(place, 0, duty));
	while (lazy->todo.n > 0)
	{
		thread t = lazy->todo.at[--lazy->todo.n];

		/* what leads nowhere is left out early, but for the start, which may go on by "^" */
		if (!at_start && lazy->nfa->place[place_of(t)].distance == GLM_DFA_NO_END)
			continue;
		if (!seen_before(lazy, t))
			follow_one(lazy, t, at_start);
	}
}

/* Does a place that was not seen lead to the final one if the text ends here? */
static bool
ends_from(lazy_dfa *lazy, int from, bool at_start)
{
	lazy->todo.n = 0;
	push(lazy, &lazy->todo, thread_of(from, 0, 0));
	while (lazy->todo.n > 0)
	{
		thread			 t = lazy->todo.at[--lazy->todo.n];
		const glm_place *place = &lazy->nfa->place[place_of(t)];

		if (place->kind == GLM_PLACE_FINAL)
			return true;
		if (place->kind == GLM_PLACE_SET || (place->kind == GLM_PLACE_START && !at_start) ||
			seen_before(lazy, t))
			continue;
		if (place->kind == GLM_PLACE_LOOK &&
			!glm_look_ends(&lazy->nfa->look[place->other],
						   look_start(lazy, place->other, at_start)))
			continue;
		push(lazy, &lazy->todo, thread_of(place->out, 0, 0));
		if (place->kind == GLM_PLACE_SPLIT)
			push(lazy, &lazy->todo, thread_of(place->other, 0, 0));
	}
	return false;
}

/* ---- States --------------------------------------------------------------------------------- */

static int
by_thread(const void *a, const void *b)
{
	thread x = *(const thread *) a;
	thread y = *(const thread *) b;

	return (x > y) - (x < y);
}

static void
sort(threads *list)
{
	bool sorted = true;

	for (int i = 1; i < list->n && sorted; i++)
		sorted = list->at[i - 1] <= list->at[i];
	if (!sorted)
		qsort(list->at, (size_t) list->n, sizeof(thread), by_thread);
}

/* Code points that a thread is away from the end; the one it is in the middle of counts no more. */
static int
thread_distance(const glm_nfa *nfa, thread t)
{
	const glm_place *place = &nfa->place[place_of(t)];

	return set_of(t) > 0 ? nfa->place[place->out].distance : place->distance;
}

static bool
state_accepts(lazy_dfa *lazy, const state *s)
{
	new_round(lazy);
	if (s->at_start)
		return ends_from(lazy, lazy->nfa->first, true);
	for (int i = 0; i < s->n; i++)
	{
		int place = place_of(s->at[i]);

		if (lazy->nfa->place[place].kind == GLM_PLACE_END &&
			glm_duty_ends(&lazy->duties, duty_of(s->at[i])) && ends_from(lazy, place, false))
			return true;
	}
	return false;
}

static void
describe(lazy_dfa *lazy, state *s)
{
	s->public.always = lazy->always;
	s->public.dead = s->n == 0;
	s->public.distance = GLM_DFA_NO_END;
	for (int i = 0; i < s->n; i++)
	{
		int distance = thread_distance(lazy->nfa, s->at[i]);

		if (distance < s->public.distance)
			s->public.distance = distance;
	}
	s->public.accepts = s->public.always || state_accepts(lazy, s);
	if (s->public.accepts)
	{
		s->public.dead = false;
		s->public.distance = 0;
	}
}

static int
new_state(lazy_dfa *lazy, bool at_start, uint64_t hash)
{
	glm_arena *arena = lazy->dfa.arena;
	size_t	   size = sizeof(thread) * (size_t) lazy->made.n;
	state	  *s;

	if (lazy->dfa.n == GLM_DFA_STATES || lazy->made.n > MAX_THREADS - lazy->n_threads)
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "pattern has too many states");
	s = glm_dfa_new_record(&lazy->dfa);
	s->at_start = at_start;
	s->n = lazy->made.n;
	s->at = glm_arena_get(arena, size);
	if (size > 0)
		memcpy(s->at, lazy->made.at, size);
	describe(lazy, s);
	glm_intern_add(arena, &lazy->index, hash);
	lazy->n_threads += s->n;
	return lazy->dfa.n++;
}

/* The state of the threads that were made. */
static int
intern(lazy_dfa *lazy, bool at_start)
{
	size_t	 size;
	uint64_t hash;

	if (lazy->always)
	{
		lazy->made.n = 0;
		push(lazy, &lazy->made, thread_of(lazy->nfa->rest, 0, 0));
	}
	sort(&lazy->made);
	size = sizeof(thread) * (size_t) lazy->made.n;
	hash = glm_hash_bytes(lazy->made.at, size) + at_start;
	for (int i = glm_intern_first(&lazy->index, hash); i >= 0; i = glm_intern_next(&lazy->index, i))
	{
		const state *s = glm_dfa_record(&lazy->dfa, i);

		if (s->n == lazy->made.n && s->at_start == at_start &&
			(size == 0 || memcmp(s->at, lazy->made.at, size) == 0))
			return i;
	}
	return new_state(lazy, at_start, hash);
}

static void
begin(lazy_dfa *lazy)
{
	new_round(lazy);
	lazy->made.n = 0;
	lazy->always = false;
}

static int
start(lazy_dfa *lazy, bool at_start)
{
	begin(lazy);
	follow(lazy, lazy->nfa->first, 0, at_start);
	return intern(lazy, at_start);
}

/* The state where a text that has already begun begins anew. */
static int
middle(lazy_dfa *lazy)
{
	if (lazy->middle == 0)
		lazy->middle = start(lazy, false) + 1;
	return lazy->middle - 1;
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

static void
step_thread(lazy_dfa *lazy, thread t, uint8_t byte)
{
	const glm_place *place = &lazy->nfa->place[place_of(t)];
	int				 duty;
	int				 set;

	if (place->kind != GLM_PLACE_SET)
		return;
	set = glm_charset_next(lazy->nfa->sets, set_of(t) > 0 ? set_of(t) : place->other, byte);
	if (set == GLM_CHARSET_NONE)
		return;
	duty = glm_duty_next(&lazy->duties, duty_of(t), byte);
	if (duty == GLM_DUTY_BROKEN)
		return;
	if (set == GLM_CHARSET_DONE)
		follow(lazy, place->out, duty, false);
	else if (!seen_before(lazy, thread_of(place_of(t), set, duty)))
		push(lazy, &lazy->made, thread_of(place_of(t), set, duty));
}

static int
step(lazy_dfa *lazy, int from, uint8_t byte)
{
	const state *s = glm_dfa_record(&lazy->dfa, from);

	if (s->public.always)
		return from;
	begin(lazy);
	for (int i = 0; i < s->n && !lazy->always; i++)
		step_thread(lazy, s->at[i], byte);
	return intern(lazy, false);
}

static int
next(glm_dfa *dfa, int from, uint8_t byte)
{
	lazy_dfa *lazy = (lazy_dfa *) dfa;
	state	 *s = glm_dfa_record(dfa, from);
	int16_t **table = byte < 0x80 ? &s->next : &s->high;
	int		  i = byte < 0x80 ? lazy->group[byte] : byte - 0x80;

	if (*table == NULL)
		*table = GLM_NEW(dfa->arena, int16_t, byte < 0x80 ? lazy->n_groups : 128);
	if ((*table)[i] == 0)
		(*table)[i] = (int16_t) (step(lazy, from, byte) + 1);
	return (*table)[i] - 1;
}

/* ---- The automaton -------------------------------------------------------------------------- */

/* Splits each group into the bytes that are in a set and those that are not. */
static void
split_groups(lazy_dfa *lazy, const uint64_t *ascii)
{
	int part[2][128]; /* of each group: the number of its bytes outside and inside, or -1 */

	memset(part, -1, sizeof(part));
	for (int c = 0; c < 128; c++)
	{
		int	 old = lazy->group[c];
		bool in = ascii[c / 64] >> c % 64 & 1;

		if (part[in][old] < 0)
			part[in][old] = part[!in][old] < 0 ? old : lazy->n_groups++;
		lazy->group[c] = (uint8_t) part[in][old];
	}
}

glm_dfa *
glm_dfa_of(glm_arena *arena, glm_nfa *nfa)
{
	lazy_dfa *lazy = GLM_NEW(arena, lazy_dfa, 1);

	lazy->dfa = (glm_dfa){.arena = arena, .next = next, .record = sizeof(state), .within = -1};
	/* a match that may begin anywhere may always still begin */
	if (nfa->anywhere && nfa->place[nfa->first].distance < GLM_DFA_NO_END)
		lazy->dfa.within = nfa->place[nfa->first].distance;
	lazy->nfa = nfa;
	lazy->duties = (glm_duties){.arena = arena, .look = nfa->look};
	lazy->n_groups = 1;
	for (int set = 1; set <= nfa->sets->n; set++)
		split_groups(lazy, glm_charset_ascii(nfa->sets, set));
	start(lazy, true);
	return &lazy->dfa;
}
