/*
 * pattern_components.c - patterns as components.
 */
#include "engine/constrain/pattern.h"

static glm_component
component_of(glm_arena *arena, glm_pattern *pattern, glm_match match, bool negated,
			 glm_charsets *sets)
{
	glm_nfa *nfa = glm_nfa_of(arena, pattern, match, sets);

	return (glm_component){glm_dfa_of(arena, nfa), negated};
}

/* The parts of a sequence from the first on; *n of them. */
static glm_pattern **
parts_of(glm_arena *arena, const glm_pattern *sequence, int *n)
{
	glm_pattern **parts;
	int			  i = 0;

	for (glm_pattern *part = sequence->last; part != NULL; part = part->before)
		i++;
	*n = i;
	parts = GLM_NEW(arena, glm_pattern *, i + 1);
	for (glm_pattern *part = sequence->last; part != NULL; part = part->before)
		parts[--i] = part;
	return parts;
}

/*
 * Lookaheads at the start of the text are conditions on all of it: "^(?=.*[0-9])(?!admin).{8,}"
 * has three.  They are taken out of the pattern.
 */
static int
take_lookaheads(glm_arena *arena, glm_pattern *pattern, bool anchored, glm_charsets *sets,
				glm_component out[GLM_PATTERN_COMPONENTS])
{
	glm_pattern **part;
	int			  n;
	int			  at;
	int			  taken = 0;

	if (pattern->kind != GLM_PATTERN_SEQUENCE || pattern->last == NULL)
		return 0;
	part = parts_of(arena, pattern, &n);
	at = part[0]->kind == GLM_PATTERN_START;
	if (at == 0 && !anchored)
		return 0;
	for (; at < n && part[at]->kind == GLM_PATTERN_LOOK; at++)
	{
		if (taken == GLM_PATTERN_COMPONENTS - 1)
			break;
		out[taken++] =
			component_of(arena, part[at]->last, GLM_MATCH_PREFIX, part[at]->negated, sets);
	}
	if (taken == 0)
		return 0;
	if (at < n)
		part[at]->before = part[0]->kind == GLM_PATTERN_START ? part[0] : NULL;
	else
		pattern->last = NULL;
	return taken;
}

int
glm_pattern_components(glm_arena *arena, const char *pattern, size_t n, bool anchored,
					   glm_component out[GLM_PATTERN_COMPONENTS])
{
	glm_charsets *sets = glm_charsets_new(arena);
	glm_pattern	 *tree = glm_pattern_read(arena, pattern, n, sets);
	glm_match	  match = anchored ? GLM_MATCH_WHOLE : GLM_MATCH_ANYWHERE;
	int			  taken = take_lookaheads(arena, tree, anchored, sets, out);

	out[taken] = component_of(arena, tree, match, false, sets);
	return taken + 1;
}

int
glm_dfa_pattern(glm_arena *arena, const char *pattern, size_t n, bool anchored,
				glm_component out[GLM_PATTERN_COMPONENTS])
{
	if (n > GLM_PATTERN_BYTES)
		glm_arena_fail(arena, GLM_TOO_COMPLEX, "pattern has more than %d bytes", GLM_PATTERN_BYTES);
	return glm_pattern_components(arena, pattern, n, anchored, out);
}
