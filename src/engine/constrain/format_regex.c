/*
 * format_regex.c - the format "regex" as a pattern: what ECMA-262 and Python both take.
 *
 * Patterns are no regular language; those whose groups are nested four deep are.  Two
 * conditions hold together: that groups, quantifiers and lookaheads stand where they may
 * (NESTED), and that each escape, class and { } is well-formed (put_parts()).
 */
#include "engine/constrain/pattern.h"

#include <stdio.h>

/* ---- Where things may stand ------------------------------------------------------------------ */

#define ONE "[^$(-+.?\\[-^{|}]|\\.|\\\\[^bB]|\\[(?:[^\\\\\\]]|\\\\.)+\\]"
#define TIMES "(?:[*+?]|\\{[0-9,]+\\})\\??"
#define EDGE "[\\^$]|\\\\[bB]"
#define LEVEL(group, look) "(?:(?:" ONE group ")(?:" TIMES ")?|" EDGE look "|\\|)*"
#define GROUP(body) "|\\((?:\\?:)?" body "\\)"
#define LOOK "\\(\\?[=!]" LEVEL("", "") "\\)"
#define LEVEL_1 LEVEL(GROUP(LEVEL("", "")), "|" LOOK)
#define LEVEL_2 LEVEL(GROUP(LEVEL_1), "|" LOOK)
#define LEVEL_3 LEVEL(GROUP(LEVEL_2), "|" LOOK)
#define NESTED LEVEL(GROUP(LEVEL_3), "|" LOOK)

/* ---- What they have to be -------------------------------------------------------------------- */

#define HEX "[0-9a-fA-F]"
#define PLAIN "[^\\x00-\\x1f\\\\\\[{\\x7f]"
#define ESCAPE                                                                                     \
	"\\\\(?:[dDwWsSfnrtv!-/:-@\\[-`{-~]|x" HEX "{2}|u(?:[0-9a-cA-CefEF]" HEX "|[dD][0-7])" HEX     \
	"{2})"
#define MEMBER "[^\\x00-\\x1f\\-\\\\\\]\\x7f]"

/*
 * Ranges are what a state of the automaton has most of, so not all there are, but those from
 * one half, quarter or eighth of the letters to the next; those of digits are all.
 */
#define LETTERS(a, c, d, f, g, i, j, m, n, p, q, s, t, v, w, y, z)                                 \
	"|" a "-[" a "-" z "]|[" a "-" y "]-" z "|[" a "-" m "]-[" n "-" z "]|[" a "-" f "]-[" g "-" m \
	"]|[" n "-" s "]-[" t "-" z "]|[" a "-" c "]-[" d "-" f "]|[" g "-" i "]-[" j "-" m "]|[" n    \
	"-" p "]-[" q "-" s "]|[" t "-" v "]-[" w "-" z "]"
#define DIGITS "|0-[0-9]|1-[1-9]|2-[2-9]|3-[3-9]|4-[4-9]|5-[5-9]|6-[6-9]|7-[7-9]|8-[89]|9-9"
#define CODES(before, rest)                                                                        \
	before "(?:[0-7]" rest "-\\\\u" before "[89a-fA-F]" rest "|[0-3]" rest "-\\\\u" before         \
		   "[4-7]" rest "|[89abAB]" rest "-\\\\u" before "[c-fC-F]" rest "|[cdCD]" rest            \
		   "-\\\\u" before "[efEF]" rest ")"
#define OTHERS                                                                                     \
	"|[ !]-[!-,.-\\[^-~]|A-[\\^-~]|\\\\x00-\\\\x" HEX "{2}|[ -,.-Z_-~]-[^\\x00-\\x7f]"             \
	"|\\\\u(?:" CODES("", HEX "{3}") "|" CODES("00", HEX) ")"

/* Its first member is no ^, which Python and ECMA-262 take for different things before ]. */
static void
put_class(glm_buf *out)
{
	glm_buf_puts(out, "\\[\\^?(?!\\^)(?:-|-?(?:" ESCAPE "|" MEMBER);
	glm_buf_puts(out, LETTERS("a", "c", "d", "f", "g", "i", "j", "m", "n", "p", "q", "s", "t", "v",
							  "w", "y", "z"));
	glm_buf_puts(out, LETTERS("A", "C", "D", "F", "G", "I", "J", "M", "N", "P", "Q", "S", "T", "V",
							  "W", "Y", "Z"));
	glm_buf_puts(out, DIGITS OTHERS ")+-?)\\]");
}

/* {m}, {m,} and {m,n} of at most three digits. */
static void
put_times(glm_buf *out)
{
	char text[80];

	glm_buf_puts(out, "\\{(?:(?:0|[1-9][0-9]{0,2}),?|[0-9],[1-9][0-9]{1,2}|[1-9][0-9],[1-9][0-9]"
					  "{2}|9,9");
	for (int d = 0; d < 9; d++)
	{
		snprintf(text, sizeof(text), "|%d,[%d-9]", d, d);
		glm_buf_puts(out, text);
		snprintf(text, sizeof(text), "|%d[0-9],[%d-9][0-9]|%d[0-9]{2},[%d-9][0-9]{2}", d, d + 1, d,
				 d + 1);
		glm_buf_puts(out, d > 0 ? text : "");
	}
	for (int ten = 1; ten < 10; ten++)
	{
		for (int d = 0; d < 10; d++)
		{
			if (d == 0)
				snprintf(text, sizeof(text), "|%d(?:0,%d[0-9]", ten, ten);
			else
				snprintf(text, sizeof(text), "|%d,%d[%d-9]", d, ten, d);
			glm_buf_puts(out, text);
		}
		glm_buf_puts(out, ")");
	}
	glm_buf_puts(out, ")\\}");
}

static void
put_parts(glm_buf *out)
{
	glm_buf_puts(out, "(?:" PLAIN "|" ESCAPE "|\\\\[bB]|");
	put_class(out);
	glm_buf_puts(out, "|");
	put_times(out);
	glm_buf_puts(out, ")*");
}

const char *
glm_regex_format(glm_arena *arena)
{
	glm_buf		out = {0};
	const char *pattern = NULL;

	glm_buf_puts(&out, "(?=");
	put_parts(&out);
	glm_buf_puts(&out, "$)" NESTED);
	if (!out.failed)
		pattern = glm_arena_copy(arena, out.data, out.length);
	glm_buf_free(&out);
	if (pattern == NULL)
		glm_arena_fail(arena, GLM_NO_ROOM, "out of memory");
	return pattern;
}
