/*
 * json_lexical.c - the automata of a set that strings and keys run through, side by side.
 *
 * Their states are interned together and know where each byte leads, once it was asked for.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

static const glm_component *
components(const glm_set *set, bool is_key, int *n)
{
	*n = is_key ? set->n_pattern_components : set->n_components;
	return is_key ? set->pattern_component : set->component;
}

/* What an automaton says of all texts that go on from one of its states. */
static glm_truth
outlook(const glm_component *component, int state)
{
	const glm_dfa_state *at = glm_dfa_at(component->dfa, state);
	glm_truth			 accepts = at->always ? GLM_HOLDS : at->dead ? GLM_FAILS : GLM_OPEN;

	return component->negated ? (glm_truth) (GLM_HOLDS - accepts) : accepts;
}

static bool
fits(const glm_component *component, int state)
{
	return glm_dfa_at(component->dfa, state)->accepts != component->negated;
}

static bool
has_length(const glm_node *node)
{
	return node->min_length > 0 || node->max_length != GLM_NO_MOST;
}

/* Statuses of the members by their automata. */
static void
judge(glm_reader *reader, glm_lexical *lexical)
{
	glm_set			*set = lexical->set;
	const glm_start *start = glm_set_start(reader, set, GLM_KIND_STRING);

	lexical->own = GLM_NEW(reader->machine.arena, glm_truth, set->n_members);
	lexical->root = GLM_NEW(reader->machine.arena, glm_truth, set->n_roots);
	memcpy(lexical->own, start->own, (size_t) set->n_members);
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *node = set->member[i].node;
		glm_truth		all = has_length(node) ? GLM_OPEN : GLM_HOLDS;

		if (start->own[i] != GLM_OPEN)
			continue;
		for (int k = 0; k < node->n_components; k++)
		{
			int		  at = set->member[i].first_component + k;
			glm_truth one = outlook(&set->component[at], lexical->state[at]);

			all = one < all ? one : all;
		}
		lexical->own[i] = all;
	}
	glm_set_roots(set, lexical->own, NULL, false, lexical->root);
	for (int i = 0; i < set->n_roots; i++)
		lexical->fails |= lexical->root[i] == GLM_FAILS;
}

static void
measure(glm_lexical *lexical)
{
	const glm_set *set = lexical->set;

	for (int i = 0; i < set->n_components; i++)
	{
		int distance = glm_dfa_at(set->component[i].dfa, lexical->state[i])->distance;

		if (set->component[i].negated)
			continue;
		if (distance > lexical->wanted && distance < GLM_DFA_NO_END)
			lexical->wanted = distance;
		if (distance > lexical->distance && set->member[set->component_of[i]].needed)
			lexical->distance = distance;
	}
}

static glm_lexical *
lexical_get(glm_reader *reader, glm_set *set, bool is_key, int branch, const int *state)
{
	int			 n;
	size_t		 size;
	uint64_t	 hash;
	glm_lexical *lexical, **chain;

	components(set, is_key, &n);
	size = sizeof(*state) * (size_t) n;
	hash = glm_mix((uint64_t) set->id * 2 + is_key, &branch, sizeof(branch));
	hash = glm_mix(hash, state, size);
	chain = &reader->lexicals[hash % GLM_READER_BUCKETS];
	for (lexical = *chain; lexical != NULL; lexical = lexical->chain)
		if (lexical->hash == hash && lexical->set == set && lexical->is_key == is_key &&
			lexical->branch == branch && memcmp(lexical->state, state, size) == 0)
			return lexical;

	lexical = GLM_NEW(reader->machine.arena, glm_lexical, 1);
	*lexical = (glm_lexical){.set = set, .hash = hash, .is_key = is_key, .branch = branch};
	lexical->state = GLM_NEW(reader->machine.arena, int, n + 1);
	memcpy(lexical->state, state, size);
	if (!is_key)
	{
		judge(reader, lexical);
		measure(lexical);
	}
	lexical->chain = *chain;
	*chain = lexical;
	return lexical;
}

/* All automata begin in state 0. */
static glm_lexical *
lexical_begin(glm_reader *reader, glm_set *set, bool is_key)
{
	glm_arena_mark mark = glm_arena_here(reader->walk);
	int			   n;
	glm_lexical	  *lexical;

	components(set, is_key, &n);
	lexical = lexical_get(reader, set, is_key, is_key ? 0 : -1, GLM_WALK(reader, int, n + 1));
	glm_arena_back(reader->walk, mark);
	return lexical;
}

glm_lexical *
glm_set_string(glm_reader *reader, glm_set *set)
{
	if (set->string == NULL)
		set->string = lexical_begin(reader, set, false);
	return set->string;
}

glm_lexical *
glm_set_key(glm_reader *reader, glm_set *set)
{
	if (set->key == NULL)
		set->key = lexical_begin(reader, set, true);
	return set->key;
}

static int
next_branch(const glm_set *set, int branch, uint8_t byte)
{
	int at = branch < 0 ? 0 : set->branch[branch].child;

	while (at != 0 && set->branch[at].byte != byte)
		at = set->branch[at].sibling;
	return at == 0 ? -1 : at;
}

glm_lexical *
glm_lexical_next(glm_reader *reader, glm_lexical *lexical, uint8_t byte)
{
	int					 n;
	const glm_component *component = components(lexical->set, lexical->is_key, &n);
	glm_arena_mark		 mark;
	int					*state;

	if (n == 0 && lexical->branch < 0)
		return lexical;
	if (lexical->next == NULL)
		lexical->next = GLM_NEW(reader->machine.arena, glm_lexical *, 256);
	if (lexical->next[byte] != NULL)
		return lexical->next[byte];

	mark = glm_arena_here(reader->walk);
	state = GLM_WALK(reader, int, n + 1);
	for (int i = 0; i < n; i++)
		state[i] = glm_dfa_next(component[i].dfa, lexical->state[i], byte);
	lexical->next[byte] = lexical_get(reader, lexical->set, lexical->is_key,
									  next_branch(lexical->set, lexical->branch, byte), state);
	glm_arena_back(reader->walk, mark);
	return lexical->next[byte];
}

void
glm_lexical_end(glm_reader *reader, const glm_lexical *lexical, int length, glm_truth *root)
{
	glm_set			*set = lexical->set;
	const glm_start *start = glm_set_start(reader, set, GLM_KIND_STRING);
	glm_truth		 own[GLM_SET_MEMBERS];

	memcpy(own, start->own, (size_t) set->n_members);
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *node = set->member[i].node;
		bool			holds = length >= node->min_length && length <= node->max_length;

		if (own[i] != GLM_OPEN)
			continue;
		for (int k = 0; holds && k < node->n_components; k++)
		{
			int at = set->member[i].first_component + k;

			holds = fits(&set->component[at], lexical->state[at]);
		}
		own[i] = holds ? GLM_HOLDS : GLM_FAILS;
	}
	glm_set_roots(set, own, NULL, true, root);
}

/* ---- Keys and patterns ----------------------------------------------------------------------- */

/* The least of what the components of a pattern say. */
static glm_truth
pattern_outlook(const glm_lexical *lexical, int pattern)
{
	const glm_set_pattern *of = &lexical->set->pattern[pattern];
	glm_truth			   all = GLM_HOLDS;

	for (int i = of->first; i < of->first + of->pattern->n_components; i++)
	{
		glm_truth one = outlook(&lexical->set->pattern_component[i], lexical->state[i]);

		all = one < all ? one : all;
	}
	return all;
}

bool
glm_lexical_fits(const glm_lexical *lexical, int pattern)
{
	const glm_set_pattern *of = &lexical->set->pattern[pattern];

	for (int i = of->first; i < of->first + of->pattern->n_components; i++)
		if (!fits(&lexical->set->pattern_component[i], lexical->state[i]))
			return false;
	return true;
}

bool
glm_lexical_may_fit(const glm_lexical *lexical, int pattern)
{
	return pattern_outlook(lexical, pattern) != GLM_FAILS;
}

bool
glm_lexical_will_fit(const glm_lexical *lexical, int pattern)
{
	return pattern_outlook(lexical, pattern) == GLM_HOLDS;
}
