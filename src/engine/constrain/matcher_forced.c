/*
 * matcher_forced.c - tokens that come whatever is drawn.
 *
 * All that can be forced is the next byte of the known way, so what is left to try is
 * whether another could come.  The bytes of a run become the tokens that the model would
 * write them as, but for the last: where a longer token begins with it, the model may want
 * that one, and is asked.
 */
#include <string.h>

#include "engine/constrain/mask_walk.h"
#include "engine/constrain/matcher_parts.h"

#define BYTES_A_TOKEN 16 /* of a run that is looked at, for each token that is asked for */

typedef struct run
{
	int		   most;   /* tokens that are asked for */
	size_t	   length; /* forced bytes of the way */
	glm_ids	   ids;
	glm_place *end;	 /* behind them */
	bool	   open; /* there may be more */
} run;

/* How many bytes of the way are forced. */
static void
find_bytes(glm_matcher *m, run *r)
{
	size_t ahead = m->way.bytes.length - m->way.at;
	size_t most = (size_t) r->most * BYTES_A_TOKEN;

	r->end = glm_matcher_place(m);
	for (r->length = 0; r->length < ahead && r->length < most; r->length++)
	{
		uint8_t byte = (uint8_t) m->way.bytes.data[m->way.at + r->length];

		if (glm_matcher_ends(m, r->end) || glm_matcher_goes_on(m, r->end, byte))
			return;
		glm_matcher_step(m, r->end, byte);
	}
	r->open = r->length < ahead;
}

/* Only characters become tokens: a run that ends within one goes on. */
static void
cut_to_characters(const glm_matcher *m, run *r)
{
	const char *bytes = m->way.bytes.data + m->way.at;
	size_t		whole = 0;
	int			n;

	while (whole < r->length && (n = glm_utf8_length(bytes + whole, r->length - whole)) > 0)
		whole += (size_t) n;
	r->open = r->open || whole < r->length;
	r->length = whole;
}

/* Does a longer token than this one, which ends the run, fit too? */
static bool
is_extended(glm_matcher *m, const run *r, int32_t token)
{
	const glm_vocabulary *v = m->constraint->vocabulary;
	const glm_trie		 *tries[] = {&v->plain, &v->rest};
	glm_mask_walk		  walk = {.step = glm_matcher_walk_step,
								  .arg = m,
								  .size = m->place_size,
								  .deepest = v->deepest,
								  .arena = &m->constraint->scratch};
	size_t				  n;
	const char			 *bytes = glm_vocabulary_bytes(v, token, &n);

	for (int t = 0; t < 2; t++)
	{
		int node = -1;

		for (size_t i = 0; i < n && (i == 0 || node >= 0); i++)
			node = glm_trie_child(tries[t], node, (uint8_t) bytes[i]);
		if (node >= 0 && glm_mask_walk_nodes(&walk, tries[t], node + 1,
											 node + tries[t]->node[node].size, r->end, NULL))
			return true;
	}
	return false;
}

/* Leaves the first `n` ids, of those that write the run's bytes and fit what is left. */
static void
keep_fitting(const glm_matcher *m, run *r, size_t n)
{
	size_t at = m->way.at;

	if (n > (size_t) r->most)
		n = (size_t) r->most;
	for (size_t i = 0; i < n; i++)
	{
		size_t		length;
		const char *bytes =
			glm_vocabulary_bytes(m->constraint->vocabulary, r->ids.data[i], &length);

		if (length == 0 || length > m->way.at + r->length - at ||
			memcmp(m->way.bytes.data + at, bytes, length) != 0 ||
			m->way.rest[at + length].tokens + 1 > m->left - (int) i - 1)
			n = i;
		at += length;
	}
	r->ids.length = n;
}

static void
find_run(glm_matcher *m, void *arg)
{
	run	  *r = arg;
	size_t n;

	r->ids.length = 0;
	find_bytes(m, r);
	cut_to_characters(m, r);
	if (r->length == 0 || !glm_vocabulary_encode(m->constraint->vocabulary,
												 m->way.bytes.data + m->way.at, r->length, &r->ids))
		return;
	n = r->ids.length;
	if (n > 0 && (r->open || is_extended(m, r, r->ids.data[n - 1])))
		n--;
	keep_fitting(m, r, n);
}

int
glm_matcher_forced(glm_matcher *matcher, int32_t *tokens, int most)
{
	run r = {.most = most};
	int n = 0;

	if (matcher->ended || matcher->blind || most <= 0)
		return 0;
	if (glm_matcher_work(matcher, find_run, &r))
		n = (int) r.ids.length;
	for (int i = 0; i < n; i++)
		tokens[i] = r.ids.data[i];
	glm_ids_free(&r.ids);
	return n;
}
