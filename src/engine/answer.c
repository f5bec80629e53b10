/*
 * answer.c - what a chat model answered: content, or a call of a tool.
 *
 * A ChatGLM3 model calls a tool by naming it in the first line and writing a
 * fenced piece of Python after it:
 *
 *     get_weather
 *     ```python
 *     tool_call(city="北京", days=[1, 2])
 *     ```
 *
 * The published demo evaluates that.  Here it is read as what it should be, a
 * call with keywords and literals (literal_read.c).  Whatever else it is, it is
 * not run and not guessed at but returned as content.  The tool named
 * `interpreter` is the exception: its code is returned as it is.
 *
 * The input is a model's output, so anything: it is first copied to valid
 * UTF-8 without NULs, as SQL's text holds neither.
 *
 * No locks: pure functions.
 */
#include <stdlib.h>
#include <string.h>

#include "literal.h"

#define FENCE "```"

/* Some bytes of the answer: [at, end). */
typedef struct slice
{
	const char *at;
	const char *end;
} slice;

/* ---- Slices ------------------------------------------------------------ */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static slice
stripped(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	while (end > at && is_blank(end[-1]))
		end--;
	return (slice) {at, end};
}

/* Is there a fence at `at`, all of it inside s? */
static bool
is_fence(const char *at, slice s)
{
	const ptrdiff_t n = strlen(FENCE);

	return at >= s.at && s.end - at >= n && memcmp(at, FENCE, n) == 0;
}

/* ---- Calls ------------------------------------------------------------- */

/* What a fenced block holds: all that stands between its first and last line. */
static bool
fenced(slice body, slice *code)
{
	const char *line;

	body = stripped(body.at, body.end);
	line = memchr(body.at, '\n', body.end - body.at);
	if (line == NULL || !is_fence(body.at, body) ||
		!is_fence(body.end - strlen(FENCE), (slice) {line + 1, body.end}))
		return false;
	code->at = line + 1;
	code->end = body.end - strlen(FENCE);
	if (code->end > code->at && code->end[-1] == '\n')
		code->end--;
	return true;
}

/* The arguments of the call that `body` makes of `name`; NULL if it makes none. */
static json_t *
call_arguments(slice name, slice body)
{
	size_t		n = name.end - name.at;
	slice		code;

	if (!glm_literal_is_name(name.at, n) || !fenced(body, &code))
		return NULL;
	if (n == strlen("interpreter") && memcmp(name.at, "interpreter", n) == 0)
		return json_pack("{s:o}", "code", json_stringn(code.at, code.end - code.at));
	return glm_literal_read_call(code.at, code.end - code.at);
}

/* ---- Entry ------------------------------------------------------------- */

static void
add_valid(glm_buf *out, const char *s, size_t n)
{
	for (size_t i = 0; i < n;)
	{
		int			length = s[i] ? glm_utf8_length(s + i, n - i) : -1;

		if (length > 0)
			glm_buf_add(out, s + i, length);
		else
			glm_buf_puts(out, "\xEF\xBF\xBD");
		i += length > 0 ? length : 1;
	}
	glm_buf_add(out, "", 0);
}

static char *
as_content(const char *at, const char *end)
{
	json_t	   *answer = json_pack("{s:o}", "content", json_stringn(at, end - at));
	char	   *text = answer ? json_dumps(answer, 0) : NULL;

	json_decref(answer);
	return text;
}

/* Takes over the arguments. */
static char *
as_call(slice name, json_t *arguments)
{
	glm_buf		written = {0};
	json_t	   *answer = NULL;
	char	   *text;

	if (glm_literal_write(&written, arguments, GLM_STYLE_JSON))
		answer = json_pack("{s:n, s:[{s:o, s:o}]}", "content", "tool_calls",
						   "name", json_stringn(name.at, name.end - name.at),
						   "arguments", json_stringn(written.data, written.length));
	text = answer ? json_dumps(answer, 0) : NULL;
	json_decref(answer);
	json_decref(arguments);
	glm_buf_free(&written);
	return text;
}

static char *
parse_answer(const char *text, const char *end)
{
	slice		all = stripped(text, end);
	const char *start = text;
	const char *line;
	json_t	   *arguments;

	while (start < end && *start != '\n' && is_blank(*start))
		start++;
	/* an empty first line, or nothing but blanks: content without a call */
	if (start == end || *start == '\n')
		return as_content(all.at, all.end);
	line = memchr(start, '\n', end - start);
	if (line != NULL)
	{
		slice		name = stripped(start, line);

		arguments = call_arguments(name, (slice) {line, end});
		if (arguments != NULL)
			return as_call(name, arguments);
	}
	return as_content(text, end);
}

char *
glm_answer_parse(const char *raw, size_t length)
{
	glm_buf		text = {0};
	char	   *answer = NULL;

	add_valid(&text, raw, length);
	if (!text.failed)
		answer = parse_answer(text.data, text.data + text.length);
	glm_buf_free(&text);
	return answer;
}
