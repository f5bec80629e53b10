/*
 * matcher.c - the place of one answer in its constraint, and its way to an end.
 *
 * A matcher never stands where it knows no way to an end: a token is allowed only when the
 * machine finds one behind it, within a number of steps, whose tokens and the one that ends
 * the answer fit what is left.  The way is kept while tokens follow it, so that most need
 * no search; a token that leaves it makes a new one, the `detour`, which becomes the way
 * when it is taken.
 *
 * When the machine cannot go on, be it for its limits or for memory, the matcher goes on
 * blind: the rest of the answer is the way that it knows, and valid as any.
 *
 * All that is allowed depends on the answer so far alone.
 */
#include "engine/constrain/constrain.h"

#include <stdlib.h>
#include <string.h>

#include "engine/constrain/mask_walk.h"
#include "engine/constrain/matcher_parts.h"

#define GUARD_STEPS 60000				  /* of the search for a way behind a token */
#define WALK_BYTES ((size_t) 1024 * 1024) /* of a walk that is not worth moving */

/* ---- Opening --------------------------------------------------------------------------------- */

static bool
find_first_way(glm_matcher *m, int max_tokens, glm_error *err)
{
	const glm_way *rest = &m->constraint->way;
	int			   shortest;

	glm_buf_add(&m->way.bytes, m->prefix.data, m->prefix.length);
	glm_buf_add(&m->way.bytes, rest->bytes.data, rest->bytes.length);
	if (!glm_way_count(&m->way, m->constraint->vocabulary, err))
		return false;
	shortest = glm_way_left(&m->way)->tokens;
	if (shortest >= GLM_NO_WAY)
		return glm_fail(err, GLM_BAD_ARGUMENT, "the model has no tokens for the shortest answer");
	if (shortest + 1 > max_tokens)
		return glm_fail(err, GLM_BAD_ARGUMENT,
						"the shortest answer needs %d tokens, max_tokens is %d", shortest + 1,
						max_tokens);
	return true;
}

glm_matcher *
glm_matcher_open(glm_constraint *constraint, const char *prefix, size_t n, int max_tokens,
				 glm_error *err)
{
	glm_matcher *m = calloc(1, sizeof(*m));

	if (m == NULL)
	{
		glm_no_memory(err);
		return NULL;
	}
	m->constraint = constraint;
	glm_constraint_keep(constraint);
	glm_arena_init(&m->walk, GLM_CONSTRAINT_BYTES);
	glm_arena_init(&m->spare, GLM_CONSTRAINT_BYTES);
	/* whole multiples, as places lie side by side in the stack of a walk */
	m->place_size = (sizeof(glm_place) + constraint->state_size + sizeof(glm_place) - 1) /
					sizeof(glm_place) * sizeof(glm_place);
	m->place = calloc(1, m->place_size);
	m->mark.place = calloc(1, m->place_size);
	m->left = max_tokens;
	m->tried = -1;
	glm_buf_add(&m->prefix, prefix, n);
	if (m->place == NULL || m->mark.place == NULL || m->prefix.failed)
		glm_no_memory(err);
	else if (find_first_way(m, max_tokens, err))
		return m;
	glm_matcher_close(m);
	return NULL;
}

void
glm_matcher_close(glm_matcher *matcher)
{
	if (matcher == NULL)
		return;
	glm_arena_free(&matcher->walk);
	glm_arena_free(&matcher->spare);
	glm_buf_free(&matcher->prefix);
	glm_buf_free(&matcher->answer);
	glm_way_free(&matcher->way);
	glm_way_free(&matcher->detour);
	glm_way_free(&matcher->mark.way);
	free(matcher->mark.place);
	free(matcher->place);
	glm_constraint_release(matcher->constraint);
	free(matcher);
}

/* ---- Where it may end ------------------------------------------------------------------------ */

static bool
is_end(const glm_matcher *m, int32_t token)
{
	const glm_vocabulary *v = m->constraint->vocabulary;

	return v->source.ends(v->source.arg, token);
}

/* Nothing is left of the way. */
static bool
is_there(const glm_matcher *m)
{
	return m->way.at == m->way.bytes.length;
}

typedef struct ending
{
	bool may, must;
} ending;

static void
look_for_end(glm_matcher *m, void *arg)
{
	ending *e = arg;

	e->may = glm_matcher_ends(m, m->place);
	e->must = e->may && (m->left == 1 || !glm_matcher_goes_on(m, m->place, -1));
}

static ending
find_ending(glm_matcher *m)
{
	ending e = {m->ended, m->ended};

	if (m->ended)
		return e;
	if (!m->blind && !glm_matcher_work(m, look_for_end, &e))
		m->blind = true;
	return m->blind ? (ending){is_there(m), is_there(m)} : e;
}

bool
glm_matcher_may_end(glm_matcher *matcher)
{
	return find_ending(matcher).may;
}

bool
glm_matcher_must_end(glm_matcher *matcher)
{
	return find_ending(matcher).must;
}

int32_t
glm_matcher_way_out(glm_matcher *matcher)
{
	const glm_vocabulary *v = matcher->constraint->vocabulary;

	if (!matcher->ended && !is_there(matcher))
		return glm_way_left(&matcher->way)->token;
	return v->n_ends > 0 ? v->ends[0] : -1;
}

/* ---- Masks ----------------------------------------------------------------------------------- */

typedef struct masking
{
	uint64_t *allowed;
	bool	  careful; /* no byte's step ends the whole work */
} masking;

static void
make_mask(glm_matcher *m, void *arg)
{
	masking				 *mask = arg;
	glm_constraint		 *c = m->constraint;
	const glm_vocabulary *v = c->vocabulary;
	glm_mask_walk		  walk = {.step = glm_matcher_walk_step,
								  .arg = m,
								  .size = m->place_size,
								  .deepest = v->deepest,
								  .arena = &c->scratch};

	if (!mask->careful && c->machine->kind->mask != NULL && m->place->written == m->prefix.length)
		c->machine->kind->mask(c->machine, &c->scratch, m->place->state, v, mask->allowed);
	else
		glm_mask_walk_all(&walk, v, m->place, mask->allowed);
	if (glm_matcher_ends(m, m->place))
		for (int i = 0; i < v->n_ends; i++)
			glm_mask_set(mask->allowed, v->ends[i]);
}

void
glm_matcher_mask(glm_matcher *matcher, uint64_t *allowed)
{
	const glm_vocabulary *v = matcher->constraint->vocabulary;

	/* the last token is for the end, as there is nothing left of the way */
	if (!matcher->ended && !matcher->blind && matcher->left > 1)
	{
		if (glm_matcher_work(matcher, make_mask, &(masking){allowed, false}) ||
			glm_matcher_work(matcher, make_mask, &(masking){allowed, true}))
			return;
		matcher->blind = true;
	}
	memset(allowed, 0, (size_t) v->words * sizeof(*allowed));
	if (!matcher->ended && is_there(matcher))
		for (int i = 0; i < v->n_ends; i++)
			glm_mask_set(allowed, v->ends[i]);
	else if (!matcher->ended)
		glm_mask_set(allowed, glm_matcher_way_out(matcher));
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* Do so many tokens fit behind the next one, with one for the end? */
static bool
fit_behind(const glm_matcher *m, int tokens)
{
	return tokens + 1 <= m->left - 1;
}

/* Makes a detour of a way from this place to an end. */
static bool
find_detour(glm_matcher *m, glm_place *place)
{
	glm_constraint *c = m->constraint;
	glm_buf		   *out = &m->detour.bytes;
	long			steps = GUARD_STEPS;

	out->length = 0;
	glm_buf_add(out, m->prefix.data + place->written, m->prefix.length - place->written);
	return c->machine->kind->complete(c->machine, &c->scratch, place->state, &steps, out) &&
		   glm_way_count(&m->detour, c->vocabulary, NULL);
}

/* Sets `tried` to the token where it fits. */
static void
try_token(glm_matcher *m, void *arg)
{
	int32_t		token = *(const int32_t *) arg;
	glm_place  *place = glm_matcher_place(m);
	size_t		n;
	const char *bytes = glm_vocabulary_bytes(m->constraint->vocabulary, token, &n);

	for (size_t i = 0; i < n; i++)
		if (!glm_matcher_step(m, place, (uint8_t) bytes[i]))
			return;
	m->follows =
		glm_way_follows(&m->way, bytes, n) && fit_behind(m, m->way.rest[m->way.at + n].tokens);
	if (m->follows || (find_detour(m, place) && fit_behind(m, m->detour.rest[0].tokens)))
		m->tried = token;
}

bool
glm_matcher_allows(glm_matcher *matcher, int32_t token)
{
	size_t n;

	if (matcher->ended)
		return false;
	if (is_end(matcher, token))
		return glm_matcher_may_end(matcher);
	glm_vocabulary_bytes(matcher->constraint->vocabulary, token, &n);
	if (n == 0)
		return false;
	matcher->tried = -1;
	if (!matcher->blind)
		glm_matcher_work(matcher, try_token, &token);
	else if (!is_there(matcher) && token == glm_matcher_way_out(matcher))
	{
		matcher->follows = true;
		matcher->tried = token;
	}
	return matcher->tried == token;
}

/* Moves what the place points to where there is nothing else. */
static void
move_walk(glm_matcher *m)
{
	glm_constraint *c = m->constraint;
	glm_place	   *place = glm_matcher_place(m);
	glm_arena		old;

	m->spare.escape = m->walk.escape;
	m->spare.err = m->walk.err;
	glm_arena_back(&m->spare, (glm_arena_mark){0});
	if (c->machine->kind->move != NULL)
		c->machine->kind->move(c->machine, &m->spare, place->state);
	memcpy(m->place, place, m->place_size);
	old = m->walk;
	m->walk = m->spare;
	m->spare = old;
	glm_arena_back(&m->spare, (glm_arena_mark){0});
	m->settled = m->walk.used;
}

static void
step_token(glm_matcher *m, void *arg)
{
	int32_t		token = *(const int32_t *) arg;
	glm_place  *place = glm_matcher_place(m);
	size_t		n;
	const char *bytes = glm_vocabulary_bytes(m->constraint->vocabulary, token, &n);

	for (size_t i = 0; i < n; i++)
		if (!glm_matcher_advance(m, place, (uint8_t) bytes[i]))
			glm_arena_fail(&m->walk, GLM_INTERNAL, "a token that was allowed is refused");
	memcpy(m->place, place, m->place_size);
	if (!m->mark.set && m->walk.used > WALK_BYTES && m->walk.used > 2 * m->settled)
		move_walk(m);
}

/* The detour becomes the way; what back() goes back to is kept. */
static void
take_detour(glm_matcher *m)
{
	glm_way left = m->way;

	m->way = m->detour;
	if (m->mark.set && !m->mark.left_way)
	{
		m->detour = m->mark.way;
		m->mark.way = left;
		m->mark.left_way = true;
	}
	else
		m->detour = left;
}

void
glm_matcher_take(glm_matcher *matcher, int32_t token)
{
	size_t		n;
	const char *bytes;

	if (matcher->ended || (token != matcher->tried && !glm_matcher_allows(matcher, token)))
		return;
	matcher->left--;
	matcher->ended = is_end(matcher, token);
	if (matcher->ended)
		return;
	bytes = glm_vocabulary_bytes(matcher->constraint->vocabulary, token, &n);
	if (!matcher->blind && !glm_matcher_work(matcher, step_token, &token))
		matcher->blind = true;
	glm_buf_add(&matcher->answer, bytes, n);
	/* without its bytes the place may not be found again */
	matcher->blind |= matcher->answer.failed;
	matcher->tried = -1;
	if (matcher->follows)
		matcher->way.at += n;
	else
		take_detour(matcher);
}

/* ---- Steps ahead ----------------------------------------------------------------------------- */

void
glm_matcher_mark(glm_matcher *matcher)
{
	glm_matcher_past *mark = &matcher->mark;

	mark->set = true;
	mark->blind = matcher->blind;
	mark->ended = matcher->ended;
	mark->left = matcher->left;
	mark->length = matcher->answer.length;
	mark->generation = matcher->generation;
	mark->walk = glm_arena_here(&matcher->walk);
	memcpy(mark->place, matcher->place, matcher->place_size);
	mark->left_way = false;
	mark->at = matcher->way.at;
}

void
glm_matcher_back(glm_matcher *matcher)
{
	glm_matcher_past *mark = &matcher->mark;
	glm_way			  way = matcher->way;

	if (matcher->generation != 0 && matcher->generation == mark->generation)
	{
		glm_arena_back(&matcher->walk, mark->walk);
		memcpy(matcher->place, mark->place, matcher->place_size);
	}
	else
		matcher->generation = 0;
	if (mark->left_way)
	{
		matcher->way = mark->way;
		mark->way = way;
	}
	matcher->way.at = mark->at;
	matcher->blind = mark->blind;
	matcher->ended = mark->ended;
	matcher->left = mark->left;
	matcher->answer.length = mark->length;
	matcher->tried = -1;
	mark->set = false;
}
