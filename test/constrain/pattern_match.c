/*
 * pattern_match.c - patterns and texts from standard input, answers on standard output.
 *
 * A line that begins with "P" or "A" has a pattern, searched for or anchored, and one that
 * begins with "F" the name of a format; each is answered with "ok" or the error's status and
 * message.  A line that begins with "T" has a text, answered with whether it fits, "1" or "0".
 * What follows the letter is in hex.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/constrain/dfa.h"

#define ARENA_LIMIT ((size_t) 64 * 1024 * 1024)

typedef struct matcher
{
	glm_arena	  arena;
	glm_error	  err;
	glm_component component[GLM_PATTERN_COMPONENTS];
	int			  n;
} matcher;

static int
hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes that hex digits stand for, in place. */
static size_t
unhex(char *text)
{
	char *out = text;

	for (const char *in = text; hex_value(in[0]) >= 0 && hex_value(in[1]) >= 0; in += 2)
		*out++ = (char) (hex_value(in[0]) << 4 | hex_value(in[1]));
	*out = '\0';
	return (size_t) (out - text);
}

static void
compile(matcher *m, char kind, const char *text, size_t n)
{
	glm_arena_free(&m->arena);
	m->n = kind == 'F' ? glm_dfa_format(&m->arena, text, m->component)
					   : glm_dfa_pattern(&m->arena, text, n, kind == 'A', m->component);
	puts("ok");
}

static void
match(matcher *m, const char *text, size_t n)
{
	bool fits = true;

	for (int i = 0; i < m->n; i++)
		fits = fits && glm_dfa_accepts(m->component[i].dfa, text, n) != m->component[i].negated;
	puts(fits ? "1" : "0");
}

static void
answer(matcher *m, char *line)
{
	jmp_buf escape;
	size_t	n = unhex(line + 1);

	m->arena.escape = &escape;
	m->arena.err = &m->err;
	if (setjmp(escape) != 0)
	{
		printf("%d %s\n", (int) m->err.status, m->err.message);
		m->n = 0;
	}
	else if (line[0] == 'T')
		match(m, line + 1, n);
	else
		compile(m, line[0], line + 1, n);
	fflush(stdout);
}

int
main(void)
{
	static matcher m;
	static char	   line[1 << 20];

	glm_arena_init(&m.arena, ARENA_LIMIT);
	while (fgets(line, sizeof(line), stdin) != NULL)
		answer(&m, line);
	glm_arena_free(&m.arena);
	return 0;
}
