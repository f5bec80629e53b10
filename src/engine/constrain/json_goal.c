/*
 * json_goal.c - which keys and numbers lead to an end of a value.
 *
 * A goal is a choice of the branches that have to hold: of several, those that lack the
 * fewest names.  Names that the goal requires come first.
 */
#include "engine/constrain/json_search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_OF_REACH (1 << 20) /* names that what has failed lacks */
#define MEMBERS_ASKED 40	   /* for numbers */
#define NUMBERS_ASKED 20	   /* of an enum */
#define FIRST_NAMES 4		   /* that are tried before all others */
#define NAMES_TRIED 40		   /* that begin like a key */

/* ---- Goals ----------------------------------------------------------------------------------- */

static int
lacking(const glm_frame *frame, const glm_set_member *member)
{
	const glm_node *node = member->node;
	int				n = 0;

	for (int i = 0; member->requires != NULL && i < glm_name_words(frame->set); i++)
		n += __builtin_popcountll(member->requires[i] & ~frame->seen[i]);
	if (n < node->min_properties - frame->count)
		n = node->min_properties - frame->count;
	return n < OUT_OF_REACH ? n : OUT_OF_REACH;
}

/* Which of some members lacks the fewest; -1: there are none. */
static int
nearest(const int *of, int n, const int *lacks)
{
	int best = -1;

	for (int i = 0; i < n; i++)
		if (best < 0 || lacks[of[i]] < lacks[best])
			best = of[i];
	return best;
}

static int
sum(int a, int b)
{
	return a + b < OUT_OF_REACH ? a + b : OUT_OF_REACH;
}

/* What a condition wants: `then` if it holds or may, else the other. */
static int
consequence(const glm_frame *frame, const glm_set_member *member)
{
	return frame->own[member->if_] != GLM_FAILS ? member->then_ : member->else_;
}

/* How many names each member lacks to hold. */
static void
measure(const glm_frame *frame, int *lacks)
{
	const glm_set *set = frame->set;

	for (int i = set->n_members - 1; i >= 0; i--)
	{
		const glm_set_member *member = &set->member[i];
		const glm_node		 *node = member->node;
		int					  groups[3];

		lacks[i] = frame->own[i] == GLM_FAILS  ? OUT_OF_REACH
				   : frame->own[i] == GLM_OPEN ? lacking(frame, member)
											   : 0;
		for (int k = 0; k < node->all.n; k++)
			lacks[i] = sum(lacks[i], lacks[member->all[k]]);
		groups[0] = nearest(member->any, node->any.n, lacks);
		groups[1] = nearest(member->any_value, node->any_value.n, lacks);
		groups[2] = nearest(member->one, node->one.n, lacks);
		for (int k = 0; k < 3; k++)
			lacks[i] = groups[k] >= 0 ? sum(lacks[i], lacks[groups[k]]) : lacks[i];
		if (member->if_ >= 0 && consequence(frame, member) >= 0)
			lacks[i] = sum(lacks[i], lacks[consequence(frame, member)]);
	}
}

/* The members that hold when the goal is reached. */
static void
choose(const glm_frame *frame, const int *lacks, bool *chosen)
{
	const glm_set *set = frame->set;

	memset(chosen, 0, (size_t) set->n_members);
	for (int i = 0; i < set->n_roots; i++)
		chosen[set->root[i]] = lacks[set->root[i]] < OUT_OF_REACH;
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_set_member *member = &set->member[i];
		const glm_node		 *node = member->node;
		int					  next[] = {
							  nearest(member->any, node->any.n, lacks),
							  nearest(member->any_value, node->any_value.n, lacks),
							  nearest(member->one, node->one.n, lacks),
			  member->if_ >= 0 ? consequence(frame, member) : -1,
		  };

		if (!chosen[i])
			continue;
		for (int k = 0; k < node->all.n; k++)
			chosen[member->all[k]] = true;
		for (size_t k = 0; k < sizeof(next) / sizeof(next[0]); k++)
			if (next[k] >= 0)
				chosen[next[k]] = true;
		for (int k = 0; k < node->n_dependent; k++)
			if (glm_bit(frame->seen, member->dependent_name[k]))
				chosen[member->dependent[k]] = true;
	}
}

/* ---- Keys ------------------------------------------------------------------------------------ */

typedef struct ranked
{
	int name;
	int asked; /* how many open members require it */
	int goal;  /* 1: one of the goal */
} ranked;

static int
by_rank(const void *a, const void *b)
{
	const ranked *x = a, *y = b;

	if (x->goal != y->goal)
		return y->goal - x->goal;
	return x->asked != y->asked ? y->asked - x->asked : x->name - y->name;
}

static void
rank(ranked *name, bool goal)
{
	name->asked++;
	name->goal |= goal;
}

static void
rank_names(const glm_frame *frame, const bool *chosen, ranked *name)
{
	const glm_set *set = frame->set;

	for (int i = 0; i < set->n_members; i++)
	{
		const glm_set_member *member = &set->member[i];
		const glm_node		 *node = member->node;

		if (frame->own[i] != GLM_OPEN)
			continue;
		for (int k = 0; k < node->n_required; k++)
			rank(&name[member->required[k]], chosen[i]);
		for (int k = 0; k < node->n_dependencies; k++)
			for (int m = 0; m < node->dependencies[k].n_needed; m++)
				if (glm_bit(frame->seen, member->dependency[k]))
					rank(&name[member->needs[k][m]], chosen[i]);
	}
}

/* Appends n bytes as a string of JSON has them; returns how many that makes, at most 6 each. */
static int
write_escaped(char *out, const char *text, int n)
{
	static const char meaning[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
	int				  length = 0;

	for (int i = 0; i < n; i++)
	{
		uint8_t		byte = (uint8_t) text[i];
		const char *at = byte != 0 ? strchr(meaning, byte) : NULL;

		if (at == NULL && byte >= 0x20)
			out[length++] = text[i];
		else if (at == NULL)
			length += sprintf(out + length, "\\u%04x", byte);
		else
		{
			out[length++] = '\\';
			out[length++] = letter[at - meaning];
		}
	}
	return length;
}

/* A name from some byte on, to its end quote. */
static void
add_name(glm_search *search, glm_choice *choice, const glm_name *name, int from)
{
	int	  n = 0;
	char *text = GLM_WALK(search->reader, char, (size_t) (name->length - from) * 6 + 3);

	if (from == 0 && choice->state.mode != GLM_READ_KEY)
		text[n++] = '"';
	n += write_escaped(text + n, name->text + from, name->length - from);
	text[n++] = '"';
	glm_search_add(search, choice, text, n, false);
}

/* The numbers of known names by rank, in the arena of the walk. */
static const ranked *
names_by_rank(glm_reader *reader, const glm_frame *frame)
{
	const glm_set *set = frame->set;
	int			  *lacks = GLM_WALK(reader, int, set->n_members);
	bool		  *chosen = GLM_WALK(reader, bool, set->n_members);
	ranked		  *name = GLM_WALK(reader, ranked, set->n_names + 1);

	for (int i = 0; i < set->n_names; i++)
		name[i].name = i;
	measure(frame, lacks);
	choose(frame, lacks, chosen);
	rank_names(frame, chosen, name);
	qsort(name, (size_t) set->n_names, sizeof(*name), by_rank);
	return name;
}

void
glm_search_keys(glm_search *search, glm_choice *choice, bool others)
{
	glm_reader		   *reader = search->reader;
	glm_arena_mark		mark = glm_arena_here(reader->walk);
	glm_frame		   *frame = choice->state.frame;
	const glm_key_info *keys = glm_frame_keys(reader, frame);
	const ranked	   *name = names_by_rank(reader, frame);
	int					first[FIRST_NAMES], n = 0, i = 0;

	for (; i < frame->set->n_names && n < FIRST_NAMES; i++)
		if (glm_bit(keys->name, name[i].name))
			first[n++] = name[i].name;
	if (others)
	{
		for (; i < frame->set->n_names; i++)
			if (glm_bit(keys->name, name[i].name))
				add_name(search, choice, &frame->set->name[name[i].name].name, 0);
		return;
	}
	glm_arena_back(reader->walk, mark); /* most choices go no further, and there are many */
	for (i = 0; i < n; i++)
		add_name(search, choice, &frame->set->name[first[i]].name, 0);
}

/* Bytes of the first n code points. */
static int
bytes_of(const glm_name *name, int n)
{
	int at = 0;

	for (; n > 0 && at < name->length; n--)
		do
			at++;
		while (at < name->length && (name->text[at] & 0xC0) == 0x80);
	return at;
}

void
glm_search_rest_of_key(glm_search *search, glm_choice *choice)
{
	const glm_reader_state *state = &choice->state;
	const glm_set		   *set = state->frame->set;
	const glm_key_info	   *keys = glm_frame_keys(search->reader, state->frame);
	const glm_branch	   *branch = &set->branch[state->lexical->branch];

	if (state->lexical->branch < 0)
		return;
	for (int i = branch->first; i < branch->end && choice->n < NAMES_TRIED; i++)
		if (glm_bit(keys->name, set->sorted[i]))
		{
			const glm_name *name = &set->name[set->sorted[i]].name;

			add_name(search, choice, name, bytes_of(name, state->length));
		}
}

/* ---- Numbers --------------------------------------------------------------------------------- */

/* About its value: guesses need no more. */
static long double
about(const glm_decimal *number)
{
	char text[80];
	int	 n = glm_decimal_write(number, text);

	text[n] = '\0';
	return strtold(text, NULL);
}

static void
add_guess(glm_search *search, glm_choice *choice, long double guess)
{
	char text[GLM_NUMBER_BYTES + 1];
	int	 n;

	if (!(fabsl(guess) < 1e30L))
		return;
	n = snprintf(text, sizeof(text), "%.0Lf", guess == 0 ? 0 : guess);
	glm_search_add(search, choice, text, n, true);
}

static void
guess_in_range(glm_search *search, glm_choice *choice, const glm_range *range)
{
	long double step = range->multiple_of != NULL ? about(range->multiple_of) : 1;

	if (range->low != NULL)
	{
		long double low = about(range->low);

		add_guess(search, choice, ceill(low / step) * step);
		add_guess(search, choice, (floorl(low / step) + 1) * step);
	}
	if (range->high != NULL)
	{
		long double high = about(range->high);

		add_guess(search, choice, floorl(high / step) * step);
		add_guess(search, choice, (ceill(high / step) - 1) * step);
		add_guess(search, choice, floorl(high / step + 1) * step);
	}
	if (range->multiple_of != NULL)
		add_guess(search, choice, step);
}

void
glm_search_numbers(glm_search *search, glm_choice *choice, const glm_set *set)
{
	for (int i = 0; i < set->n_members && i < MEMBERS_ASKED; i++)
	{
		const glm_node *node = set->member[i].node;

		if (!node->number)
			continue;
		guess_in_range(search, choice, &node->range);
		for (int k = 0; k < node->n_numbers && k < NUMBERS_ASKED; k++)
		{
			char text[80];

			glm_search_add(search, choice, text, glm_decimal_write(&node->numbers[k], text), true);
		}
	}
}
