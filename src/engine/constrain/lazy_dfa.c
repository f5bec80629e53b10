/*
 * lazy_dfa.c - the places of a pattern as an automaton, whose states are made when they are
 * first reached.
 *
 * A state is a set of threads: places where a match may be, each with the set of what may
 * follow in the middle of a character, and with its duties behind lookaheads.  The state at
 * the start of the text is one of its own, as "^" goes on there; where "\b" is asked for, what
 * is behind words is too.
 */
#include "engine/constrain/automaton.h"
#include "engine/constrain/lookahead.h"
#include "engine/constrain/pattern.h"
#include "engine/constrain/match_threads.h"

#include <string.h>

#define MAX_THREADS 2000000 /* of all states: a bound of time and memory */

/* What was read last. */
typedef enum before
{
	NOTHING,
	WORD, /* a character of words, where that matters */
	ANYTHING
} before;

typedef struct state
{
	glm_dfa_state public;
	before		before;
	int			n;
	glm_thread *at;
	int16_t	   *next; /* [n_groups], state + 1 or 0; NULL before one is known */
	int16_t	   *high; /* [128] of the bytes from 0x80 on */
} state;

typedef struct lazy_dfa
{
	glm_dfa	   dfa;
	glm_nfa	  *nfa;
	glm_intern index;
	glm_duties duties;
	uint8_t	   group[128]; /* of ASCII: bytes that no set tells apart have one */
	int		   n_groups;
	int		   middle[2]; /* behind ANYTHING and WORD, state + 1; 0: not yet known */
	int		   n_threads;
	bool	   words; /* "\b" is asked for, here or in lookaheads */

	/* the state that is being made */
	glm_threads		 todo, made;
	glm_threads_seen seen;
	bool			 always;
} lazy_dfa;

static int middle(lazy_dfa *lazy, before before);

static void
push(lazy_dfa *lazy, glm_threads *list, glm_thread t)
{
	glm_threads_add(lazy->dfa.arena, list, t);
}

/* Was this thread seen in this round? */
static bool
seen_before(lazy_dfa *lazy, glm_thread t)
{
	return glm_threads_see(lazy->dfa.arena, &lazy->seen, t);
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
look_start(const lazy_dfa *lazy, int look, before before)
{
	return before == NOTHING ? 0 : middle((lazy_dfa *) lazy->nfa->look[look].dfa, before);
}

/* Goes on where what follows fits a lookahead. */
static void
follow_look(lazy_dfa *lazy, const glm_place *place, int duty, int look, before before)
{
	duty = glm_duty_with(&lazy->duties, duty, look, look_start(lazy, look, before));
	if (duty != GLM_DUTY_BROKEN)
		push(lazy, &lazy->todo, glm_thread_of(place->out, 0, duty));
}

/* The lookahead that is left of a boundary: a word character that has to follow, or must not. */
static int
look_of(const lazy_dfa *lazy, const glm_place *place, before before)
{
	bool wanted = (before == WORD) == (place->other != 0);

	return lazy->nfa->word + !wanted;
}

static void
follow_one(lazy_dfa *lazy, glm_thread t, before before)
{
	const glm_place *place = &lazy->nfa->place[glm_thread_place(t)];
	int				 duty = glm_thread_duty(t);

	if (glm_thread_place(t) == lazy->nfa->rest && duty == 0)
		lazy->always = true;
	switch (place->kind)
	{
		case GLM_PLACE_SPLIT:
			push(lazy, &lazy->todo, glm_thread_of(place->out, 0, duty));
			push(lazy, &lazy->todo, glm_thread_of(place->other, 0, duty));
			break;
		case GLM_PLACE_START:
			if (before == NOTHING)
				push(lazy, &lazy->todo, glm_thread_of(place->out, 0, duty));
			break;
		case GLM_PLACE_LOOK:
			follow_look(lazy, place, duty, place->other, before);
			break;
		case GLM_PLACE_BOUNDARY:
			follow_look(lazy, place, duty, look_of(lazy, place, before), before);
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
follow(lazy_dfa *lazy, int place, int duty, before before)
{
	push(lazy, &lazy->todo, glm_thread_of(place, 0, duty));
	while (lazy->todo.n > 0)
	{
		glm_thread t = lazy->todo.at[--lazy->todo.n];

		/* what leads nowhere is left out early, but for the start, which may go on by "^" */
		if (before != NOTHING && lazy->nfa->place[glm_thread_place(t)].distance == GLM_DFA_NO_END)
			continue;
		if (!seen_before(lazy, t))
			follow_one(lazy, t, before);
	}
}

/* Does a place go on if the text ends here? */
static bool
passes_at_end(const lazy_dfa *lazy, const glm_place *place, before before)
{
	switch (place->kind)
	{
		case GLM_PLACE_SET:
			return false;
		case GLM_PLACE_START:
			return before == NOTHING;
		case GLM_PLACE_LOOK:
			return glm_look_ends(&lazy->nfa->look[place->other],
								 look_start(lazy, place->other, before));
		case GLM_PLACE_BOUNDARY:
			return (before == WORD) != (place->other != 0);
		default:
			return true;
	}
}

/* Does a place that was not seen lead to the final one if the text ends here? */
static bool
ends_from(lazy_dfa *lazy, int from, before before)
{
	lazy->todo.n = 0;
	push(lazy, &lazy->todo, glm_thread_of(from, 0, 0));
	while (lazy->todo.n > 0)
	{
		glm_thread		 t = lazy->todo.at[--lazy->todo.n];
		const glm_place *place = &lazy->nfa->place[glm_thread_place(t)];

		if (place->kind == GLM_PLACE_FINAL)
			return true;
		if (!passes_at_end(lazy, place, before) || seen_before(lazy, t))
			continue;
		push(lazy, &lazy->todo, glm_thread_of(place->out, 0, 0));
		if (place->kind == GLM_PLACE_SPLIT)
			push(lazy, &lazy->todo, glm_thread_of(place->other, 0, 0));
	}
	return false;
}

/* ---- States --------------------------------------------------------------------------------- */

/* Code points that a thread is away from the end; the one it is in the middle of counts no more. */
static int
thread_distance(const glm_nfa *nfa, glm_thread t)
{
	const glm_place *place = &nfa->place[glm_thread_place(t)];

	return glm_thread_set(t) > 0 ? nfa->place[place->out].distance : place->distance;
}

static bool
state_accepts(lazy_dfa *lazy, const state *s)
{
	new_round(lazy);
	if (s->before == NOTHING)
		return ends_from(lazy, lazy->nfa->first, NOTHING);
	for (int i = 0; i < s->n; i++)
	{
		int place = glm_thread_place(s->at[i]);

		if (lazy->nfa->place[place].kind == GLM_PLACE_END &&
			glm_duty_ends(&lazy->duties, glm_thread_duty(s->at[i])) &&
			ends_from(lazy, place, s->before))
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
new_state(lazy_dfa *lazy, before before, uint64_t hash)
{
	glm_arena *arena = lazy->dfa.arena;
	size_t	   size = sizeof(glm_thread) * (size_t) lazy->made.n;
	state	  *s;

	if (lazy->dfa.n == GLM_DFA_STATES || lazy->made.n > MAX_THREADS - lazy->n_threads)
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "pattern has too many states");
	s = glm_dfa_new_record(&lazy->dfa);
	s->before = before;
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
intern(lazy_dfa *lazy, before before)
{
	size_t	 size;
	uint64_t hash;

	if (lazy->always)
	{
		before = before == WORD ? ANYTHING : before;
		lazy->made.n = 0;
		push(lazy, &lazy->made, glm_thread_of(lazy->nfa->rest, 0, 0));
	}
	glm_threads_sort(&lazy->made);
	size = sizeof(glm_thread) * (size_t) lazy->made.n;
	hash = glm_hash_bytes(lazy->made.at, size) + before;
	for (int i = glm_intern_first(&lazy->index, hash); i >= 0; i = glm_intern_next(&lazy->index, i))
	{
		const state *s = glm_dfa_record(&lazy->dfa, i);

		if (s->n == lazy->made.n && s->before == before &&
			(size == 0 || memcmp(s->at, lazy->made.at, size) == 0))
			return i;
	}
	return new_state(lazy, before, hash);
}

static void
begin(lazy_dfa *lazy)
{
	new_round(lazy);
	lazy->made.n = 0;
	lazy->always = false;
}

static int
start(lazy_dfa *lazy, before before)
{
	begin(lazy);
	follow(lazy, lazy->nfa->first, 0, before);
	return intern(lazy, before);
}

/* The state where a text that has already begun begins anew. */
static int
middle(lazy_dfa *lazy, before before)
{
	bool word = before == WORD && lazy->words;

	if (lazy->middle[word] == 0)
		lazy->middle[word] = start(lazy, word ? WORD : ANYTHING) + 1;
	return lazy->middle[word] - 1;
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

/* What a byte leaves behind itself. */
static before
behind(const lazy_dfa *lazy, uint8_t byte)
{
	bool word = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
				(byte >= 'a' && byte <= 'z');

	return word && lazy->words ? WORD : ANYTHING;
}

static void
step_thread(lazy_dfa *lazy, glm_thread t, uint8_t byte)
{
	const glm_place *place = &lazy->nfa->place[glm_thread_place(t)];
	int				 duty;
	int				 set;

	if (place->kind != GLM_PLACE_SET)
		return;
	set = glm_charset_next(lazy->nfa->sets,
						   glm_thread_set(t) > 0 ? glm_thread_set(t) : place->other, byte);
	if (set == GLM_CHARSET_NONE)
		return;
	duty = glm_duty_next(&lazy->duties, glm_thread_duty(t), byte);
	if (duty == GLM_DUTY_BROKEN)
		return;
	if (set == GLM_CHARSET_DONE)
		follow(lazy, place->out, duty, behind(lazy, byte));
	else if (!seen_before(lazy, glm_thread_of(glm_thread_place(t), set, duty)))
		push(lazy, &lazy->made, glm_thread_of(glm_thread_place(t), set, duty));
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
	return intern(lazy, behind(lazy, byte));
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
	lazy->words = nfa->word >= 0;
	for (int i = 0; i < nfa->n_look; i++)
		lazy->words |= ((lazy_dfa *) nfa->look[i].dfa)->words;
	lazy->n_groups = 1;
	for (int set = 1; set <= nfa->sets->n; set++)
		split_groups(lazy, glm_charset_ascii(nfa->sets, set));
	start(lazy, NOTHING);
	return &lazy->dfa;
}
