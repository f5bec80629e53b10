/*
 * text_search.c - a short text that leads to an end.
 *
 * First straight on: always by the byte that takes the components nearest to their ends.
 * Where that is caught, as components may want different things of the same character, all
 * texts are tried in the order of the code points that they must have at least: those there
 * are and those that an end is still away.
 */
#include "engine/constrain/intern.h"
#include "engine/constrain/text_machine.h"

#include <string.h>

#define BYTES_A_STEP 16 /* tried for each step that is counted */
#define STEPS_A_PAUSE 512

/* Bytes in the order they are tried in: what reads well first. */
static const uint8_t TRIED[][2] = {
	{'a', 'z'},	  {'0', '9'},	{'A', 'Z'},	  {' ', '/'},	{':', '@'},	  {'[', '`'},  {'{', '~'},
	{0x80, 0xBF}, {0xC2, 0xF4}, {'\t', '\n'}, {0x01, 0x08}, {0x0B, 0x1F}, {0x7F, 0x7F}};
#define N_TRIED (sizeof(TRIED) / sizeof(TRIED[0]))

/* A text that was tried: that of `before` and a byte. */
typedef struct tried
{
	glm_text_state state;
	int			   before; /* or -1 */
	int			   points; /* code points of it */
	int			   next;   /* in its bucket, or -1 */
	uint8_t		   byte;
} tried;

typedef struct search
{
	glm_text_machine *text;
	glm_arena		 *walk;
	long			 *steps;
	tried			 *tried;
	int				  capacity;
	glm_intern		  index;  /* of their states */
	int				 *bucket; /* by code points in all, less the fewest; its newest, or -1 */
	int				  n_buckets, bucket_capacity;
	int				  fewest;
} search;

static bool
begins_char(uint8_t byte)
{
	return (byte & 0xC0) != 0x80;
}

static void
spend(search *s, long steps)
{
	long before = *s->steps;

	*s->steps -= steps;
	if (before / STEPS_A_PAUSE != *s->steps / STEPS_A_PAUSE)
		glm_arena_pause(s->walk);
}

/* ---- Straight on ---------------------------------------------------------------------------- */

/*
 * Goes on by the byte that brings the components nearest, within a character also by one that
 * keeps them as near; returns it.  -1: there is none.
 */
static int
go_nearer(search *s, glm_text_state *at)
{
	glm_text_state best;
	int			   least = glm_text_look(s->text, at).sum;
	int			   enough = least - s->text->n; /* each nearer by one */
	int			   found = -1;
	int			   n_tried = 0;

	for (size_t i = 0; i < N_TRIED && (found < 0 || least > enough); i++)
		for (int byte = TRIED[i][0]; byte <= TRIED[i][1]; byte++)
		{
			glm_text_state next = *at;
			int			   sum;

			n_tried++;
			if (!glm_text_step(s->text, &next, (uint8_t) byte))
				continue;
			sum = glm_text_look(s->text, &next).sum;
			if (sum > least || (sum == least && (found >= 0 || begins_char((uint8_t) byte))))
				continue;
			least = sum;
			found = byte;
			best = next;
			if (least <= enough)
				break;
		}
	spend(s, 1 + n_tried / BYTES_A_STEP);
	if (found >= 0)
		*at = best;
	return found;
}

static bool
go_straight(search *s, glm_text_state at, glm_buf *out)
{
	size_t length = out->length;

	while (!glm_text_look(s->text, &at).ends)
	{
		int	 byte = *s->steps > 0 ? go_nearer(s, &at) : -1;
		char text = (char) byte;

		if (byte < 0)
		{
			out->length = length;
			return false;
		}
		glm_buf_add(out, &text, 1);
	}
	return true;
}

/* ---- All texts ------------------------------------------------------------------------------ */

static void
put_in_bucket(search *s, int i, int points)
{
	int at = points - s->fewest;

	s->bucket = glm_arena_grow(s->walk, s->bucket, sizeof(*s->bucket), &s->bucket_capacity, at + 1);
	while (s->n_buckets <= at)
		s->bucket[s->n_buckets++] = -1;
	s->tried[i].next = s->bucket[at];
	s->bucket[at] = i;
}

/* Adds a text, unless there is one that leads to the same state. */
static void
try_text(search *s, const tried *t)
{
	uint64_t hash = glm_hash_bytes(&t->state, sizeof(t->state));
	int		 i;

	for (i = glm_intern_first(&s->index, hash); i >= 0; i = glm_intern_next(&s->index, i))
		if (memcmp(&s->tried[i].state, &t->state, sizeof(t->state)) == 0)
		{
			if (s->tried[i].before == t->before) /* this byte reads better */
				s->tried[i].byte = t->byte;
			return;
		}
	s->tried = glm_arena_grow(s->walk, s->tried, sizeof(*t), &s->capacity, s->index.n + 1);
	i = glm_intern_add(s->walk, &s->index, hash);
	s->tried[i] = *t;
	put_in_bucket(s, i, t->points + glm_text_look(s->text, &t->state).points);
	spend(s, 1);
}

/* Backwards, as what is added last is gone on with first. */
static void
try_next_bytes(search *s, int from)
{
	for (size_t i = N_TRIED; i-- > 0;)
		for (int byte = TRIED[i][1]; byte >= TRIED[i][0]; byte--)
		{
			tried next = {.state = s->tried[from].state, .before = from, .byte = (uint8_t) byte};

			next.points = s->tried[from].points + begins_char((uint8_t) byte);
			if (glm_text_step(s->text, &next.state, (uint8_t) byte))
				try_text(s, &next);
		}
	spend(s, 256 / BYTES_A_STEP);
}

/* Takes a text of the fewest code points; -1: there is none. */
static int
take_nearest(search *s)
{
	for (int at = 0; at < s->n_buckets; at++)
	{
		int i = s->bucket[at];

		if (i < 0)
			continue;
		s->bucket[at] = s->tried[i].next;
		return i;
	}
	return -1;
}

static void
write_text(const search *s, int last, glm_buf *out)
{
	int	  n = 0;
	char *text;

	for (int i = last; s->tried[i].before >= 0; i = s->tried[i].before)
		n++;
	text = glm_arena_get(s->walk, (size_t) n);
	for (int i = last, at = n; s->tried[i].before >= 0; i = s->tried[i].before)
		text[--at] = (char) s->tried[i].byte;
	glm_buf_add(out, text, (size_t) n);
}

static bool
search_all(search *s, const glm_text_state *from, glm_buf *out)
{
	int i;

	s->fewest = glm_text_look(s->text, from).points;
	try_text(s, &(tried){.state = *from, .before = -1});
	while (*s->steps > 0 && (i = take_nearest(s)) >= 0)
	{
		if (glm_text_look(s->text, &s->tried[i].state).ends)
		{
			write_text(s, i, out);
			return true;
		}
		try_next_bytes(s, i);
	}
	return false;
}

bool
glm_text_complete(glm_machine *machine, glm_arena *walk, const void *state, long *steps,
				  glm_buf *out)
{
	glm_arena_mark before = glm_arena_here(walk);
	search		   s = {.text = (glm_text_machine *) machine, .walk = walk, .steps = steps};
	bool		   found =
		go_straight(&s, *(const glm_text_state *) state, out) || search_all(&s, state, out);

	glm_arena_back(walk, before);
	return found;
}
