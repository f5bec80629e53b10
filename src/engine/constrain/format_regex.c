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

/* c-c to c-z */
static void
put_ranges(glm_buf *out, char from, char to)
{
	for (char low = from; low <= to; low++)
	{
		char text[16];

		snprintf(text, sizeof(text), "|%c-[%c-%c]", low, low, to);
		glm_buf_puts(out, text);
	}
}

/* Ranges of \uXXXX whose first different digit is behind `before`, `behind` digits in front of the end. */
static void
put_unicode_ranges(glm_buf *out, const char *before, int behind)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

	for (int i = 0; i < 15; i++)
	{
		char text[120];

		snprintf(text, sizeof(text), "|\\\\u%s[%c%c]%s{%d}-\\\\u%s[%s%s]%s{%d}", before, lower[i],
				 upper[i], HEX, behind, before, lower + i + 1, upper + i + 1, HEX, behind);
		glm_buf_puts(out, text);
	}
}

/* Its first member is no ^, which Python and ECMA-262 take for different things before ]. */
static void
put_class(glm_buf *out)
{
	glm_buf_puts(out, "\\[\\^?(?!\\^)(?:-|-?(?:" ESCAPE "|" MEMBER);
	put_ranges(out, '0', '9');
	put_ranges(out, 'A', 'Z');
	put_ranges(out, 'a', 'z');
	put_unicode_ranges(out, "", 3);
	put_unicode_ranges(out, "00", 1);
	glm_buf_puts(out, "|[ !]-[!-,.-\\[^-~]|A-[\\^-~]|\\\\x00-\\\\x" HEX "{2}|[ -,.-Z_-~]-"
					  "[^\\x00-\\x7f])+-?)\\]");
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
	for (int d = 10; d < 100; d++)
	{
		snprintf(text, sizeof(text), "|%d,%d[%d-9]", d, d / 10, d % 10);
		glm_buf_puts(out, text);
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
