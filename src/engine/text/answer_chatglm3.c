/*
 * answer_chatglm3.c - what a ChatGLM3 model answered: content, and calls of tools.
 *
 * A ChatGLM3 model calls a tool by naming it in the first line of a turn and
 * writing a fenced piece of Python after it:
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
 * One answer may hold several turns: text and then a call, or several calls.
 * Where turns are marked (decoder.c) each is read by itself.  An answer as users
 * see it has but a newline there, so in it calls are looked for at its end: the
 * first line that is a name and from which on there is nothing but calls.  A turn
 * that does not say it is content is searched so as well.  The model's own text may
 * also come with the turns' token written out, as the published client splits it.
 *
 * The input is a model's output, so anything: it is first copied to valid
 * UTF-8 without NULs, as SQL's text holds neither.
 *
 * No locks: pure functions.
 */
#include "engine/text/chat_chatglm3.h"

#include <stdlib.h>
#include <string.h>

#include "engine/text/blank.h"
#include "engine/text/literal.h"

#define FENCE "```"
#define TURN "<|assistant|>"
#define SLICE 65536 /* bytes between two pauses */

/* Some bytes of the answer: [at, end). */
typedef struct slice
{
	const char *at;
	const char *end;
} slice;

/* What was found so far. */
typedef struct answer
{
	glm_buf content;	 /* of all turns that are no calls */
	bool	has_content; /* though it may be empty */
	json_t *calls;
	bool	failed; /* out of memory, or ended by a pause */
} answer;

/* Is the rest still worth reading?  To be asked wherever a text may have many of something. */
static bool
goes_on(answer *a)
{
	a->failed = a->failed || !glm_pause(NULL);
	return !a->failed;
}

/* ---- Slices ------------------------------------------------------------ */

static slice
stripped(slice s)
{
	while (s.at < s.end && glm_is_blank(*s.at))
		s.at++;
	while (s.end > s.at && glm_is_blank(s.end[-1]))
		s.end--;
	return s;
}

/* Is there a fence at `at`, all of it inside s? */
static bool
is_fence(const char *at, slice s)
{
	const ptrdiff_t n = strlen(FENCE);

	return at >= s.at && s.end - at >= n && memcmp(at, FENCE, n) == 0;
}

/* The line that s begins with, without its newline. */
static slice
first_line(slice s)
{
	const char *newline = s.at < s.end ? memchr(s.at, '\n', s.end - s.at) : NULL;

	return (slice){s.at, newline ? newline : s.end};
}

/* What lies behind that line. */
static slice
after_line(slice s)
{
	const char *end = first_line(s).end;

	return (slice){end < s.end ? end + 1 : s.end, s.end};
}

/* ---- Calls ------------------------------------------------------------- */

static bool
is_interpreter(slice name)
{
	return (size_t) (name.end - name.at) == strlen(GLM_INTERPRETER) &&
		   memcmp(name.at, GLM_INTERPRETER, strlen(GLM_INTERPRETER)) == 0;
}

/* What a fenced block holds: all that stands between its first and last line. */
static bool
fenced(slice body, slice *code)
{
	body = stripped(body);
	*code = after_line(body);
	if (!is_fence(body.at, body) || !is_fence(body.end - strlen(FENCE), *code))
		return false;
	code->end = body.end - strlen(FENCE);
	if (code->end > code->at && code->end[-1] == '\n')
		code->end--;
	return true;
}

/* The arguments of the call that `body` makes of `name`; NULL if it makes none. */
static json_t *
fenced_arguments(slice name, slice body)
{
	slice code;

	if (!glm_literal_is_name(name.at, name.end - name.at) || !fenced(body, &code))
		return NULL;
	if (is_interpreter(name))
		return json_pack("{s:o}", "code", json_stringn(code.at, code.end - code.at));
	return glm_literal_read_call(code.at, code.end - code.at);
}

/* Takes over the arguments.  False: they are too large to be a call's. */
static bool
add_tool_call(answer *a, slice name, json_t *arguments)
{
	glm_buf written = {0};
	bool	fits = glm_literal_write(&written, arguments, GLM_STYLE_JSON);

	if (fits && a->calls == NULL)
		a->calls = json_array();
	if (!fits)
		a->failed = a->failed || written.failed || !glm_pause(NULL);
	else if (json_array_append_new(a->calls,
								   json_pack("{s:o, s:o}", "name",
											 json_stringn(name.at, name.end - name.at), "arguments",
											 json_stringn(written.data, written.length))) != 0)
		a->failed = true;
	glm_buf_free(&written);
	glm_json_free(arguments);
	return fits;
}

static void
keep_content(answer *a, slice content)
{
	if (a->content.length > 0 && content.at < content.end)
		glm_buf_add(&a->content, "\n", 1);
	glm_buf_add(&a->content, content.at, content.end - content.at);
	a->has_content = true;
}

/* Is the first line of this turn, its metadata, empty? */
static bool
is_content(slice turn)
{
	slice line = stripped(first_line(turn));

	return line.at == line.end;
}

/* ---- Calls at the end of a text ---------------------------------------- */

/* Does a call begin here?  A name's line, then a fence. */
static bool
may_call(slice s)
{
	slice name = stripped(first_line(s));

	if (!glm_literal_is_name(name.at, name.end - name.at))
		return false;
	s = after_line(s);
	while (s.at < s.end && glm_is_blank(*s.at))
		s.at++;
	return is_fence(s.at, s);
}

/* Moves to the next line that is not blank. */
static slice
next_line(slice s)
{
	s = after_line(s);
	while (s.at < s.end && stripped(first_line(s)).at == first_line(s).end)
		s = after_line(s);
	return s;
}

/* The code that ends at a fence on a line of its own, with nothing but calls behind it. */
static json_t *
read_fenced_code(slice *s)
{
	for (slice line = *s; line.at < s->end && glm_pause(NULL); line = after_line(line))
	{
		slice mark = stripped(first_line(line));
		slice rest = next_line(line);
		slice code = {s->at, line.at > s->at ? line.at - 1 : line.at};

		if (mark.end - mark.at != (ptrdiff_t) strlen(FENCE) || !is_fence(mark.at, mark) ||
			(rest.at < rest.end && !may_call(rest)))
			continue;
		*s = rest;
		return json_pack("{s:o}", "code", json_stringn(code.at, code.end - code.at));
	}
	return NULL;
}

/* The literals of a call and the fence behind them. */
static json_t *
read_literals(slice *s)
{
	size_t	used;
	json_t *arguments = glm_literal_read_call_in(s->at, s->end - s->at, &used);
	slice	rest = {s->at + used, s->end};
	slice	mark;

	if (arguments == NULL)
		return NULL;
	mark = stripped(first_line(rest));
	if (mark.end - mark.at == (ptrdiff_t) strlen(FENCE) && is_fence(mark.at, mark))
	{
		*s = next_line(rest);
		return arguments;
	}
	json_decref(arguments);
	return NULL;
}

/*
 * Reads the calls that s is made of; what is left of s is where it is anything
 * else.  *open: code was begun that nothing ends, so none that begins later ends.
 */
static void
read_calls(answer *a, slice *s, bool *open)
{
	while (s->at < s->end && may_call(*s) && goes_on(a))
	{
		slice	name = stripped(first_line(*s));
		slice	body = next_line(next_line(*s));
		json_t *arguments = NULL;

		if (!is_interpreter(name))
			arguments = read_literals(&body);
		else if (!*open)
		{
			body = after_line(next_line(*s));
			arguments = read_fenced_code(&body);
			*open = arguments == NULL;
		}
		if (arguments == NULL || !add_tool_call(a, name, arguments))
			return;
		*s = body;
	}
}

/*
 * Reads an answer whose turns are not marked.  Where calls end in something else
 * the search goes on there: to begin at the second of them would end there too.
 */
static void
read_unmarked(answer *a, slice text)
{
	slice body = stripped(text);
	slice s = {text.at, body.end};
	bool  open = false;

	while (s.at < s.end && !is_content(text) && goes_on(a))
	{
		slice start = s;

		if (may_call(s))
			read_calls(a, &s, &open);
		if (a->calls != NULL && s.at >= s.end)
		{
			body = stripped((slice){text.at, start.at});
			if (body.at < body.end)
				keep_content(a, body);
			return;
		}
		glm_json_free(a->calls);
		a->calls = NULL;
		if (s.at < s.end)
			s = after_line(s);
	}
	keep_content(a, is_content(text) ? body : text);
}

/* ---- A turn ------------------------------------------------------------ */

/*
 * Reads one turn; what is no call is content as it stands.  A turn that does not
 * say that it is content may still end in calls, as a text may.
 */
static void
read_turn(answer *a, slice turn)
{
	slice	name = stripped(first_line(turn));
	answer	own = {0};
	json_t *arguments;

	if (is_content(turn))
	{
		keep_content(a, stripped(turn));
		return;
	}
	arguments = fenced_arguments(name, after_line(turn));
	if (arguments != NULL && add_tool_call(a, name, arguments))
		return;
	read_unmarked(&own, turn);
	if (own.has_content)
		keep_content(a, (slice){own.content.data, own.content.data + own.content.length});
	if (a->calls == NULL)
		a->calls = json_incref(own.calls);
	else if (own.calls != NULL && json_array_extend(a->calls, own.calls) != 0)
		a->failed = true;
	a->failed |= own.failed || own.content.failed;
	json_decref(own.calls);
	glm_buf_free(&own.content);
}

/* ---- Entry ------------------------------------------------------------- */

static void
add_valid(glm_buf *out, const char *s, size_t n)
{
	size_t look = SLICE;

	for (size_t i = 0; i < n;)
	{
		int length = s[i] ? glm_utf8_length(s + i, n - i) : -1;

		if (length > 0)
			glm_buf_add(out, s + i, length);
		else
			glm_buf_puts(out, "\xEF\xBF\xBD");
		i += length > 0 ? length : 1;
		if (i < look)
			continue;
		look = i + SLICE;
		if (!glm_pause(NULL))
			break;
	}
	glm_buf_add(out, "", 0);
}

/* Jansson's: takes some bytes of JSON; -1: no more of it. */
static int
take_bytes(const char *bytes, size_t n, void *arg)
{
	glm_buf *out = arg;

	glm_buf_add(out, bytes, n);
	return out->failed || !glm_pause(NULL) ? -1 : 0;
}

/* The answer as JSON; frees it. */
static char *
answer_json(answer *a)
{
	json_t *content = json_null();
	json_t *object;
	glm_buf text = {0};

	/* silence beside a call is no content */
	if (a->calls == NULL || a->content.length > 0)
		content = json_stringn(a->content.data ? a->content.data : "", a->content.length);
	if (a->calls != NULL)
		object = json_pack("{s:o, s:o}", "content", content, "tool_calls", a->calls);
	else
		object = json_pack("{s:o}", "content", content);
	if (a->failed || a->content.failed || object == NULL ||
		json_dump_callback(object, take_bytes, &text, 0) != 0)
		glm_buf_free(&text);
	glm_json_free(object);
	glm_buf_free(&a->content);
	return text.data;
}

static const char *
find_mark(const char *at, const char *end)
{
	return memmem(at, end - at, TURN, strlen(TURN));
}

/*
 * The next token between turns, written out: a call begins or ends there, else it
 * is text.  A call's first lines hold no such token, so no more is looked at.
 */
static const char *
find_turn(slice s, const char *at)
{
	const ptrdiff_t n = strlen(FENCE);
	const char	   *next;

	for (at = find_mark(at, s.end); at != NULL; at = next)
	{
		const char *behind = at + strlen(TURN);

		next = find_mark(behind, s.end);
		if ((at - s.at >= n && is_fence(at - n, s)) ||
			may_call((slice){behind, next ? next : s.end}))
			break;
	}
	return at;
}

/* Reads an answer as the published client gets it, if that makes any call of it. */
static void
read_written_turns(answer *a, slice text)
{
	const char *at = text.at;
	const char *mark;

	do
	{
		mark = find_turn(text, at);
		read_turn(a, (slice){at, mark ? mark : text.end});
		at = mark ? mark + strlen(TURN) : text.end;
	} while (mark != NULL && goes_on(a));
	if (a->calls == NULL)
	{
		glm_buf_free(&a->content);
		a->has_content = false;
	}
}

static char *
parse_text(const char *raw, size_t length)
{
	glm_buf text = {0};
	answer	a = {0};
	slice	all;

	add_valid(&text, raw, length);
	if (text.failed)
		return NULL;
	all = (slice){text.data, text.data + text.length};
	if (find_turn(all, all.at) != NULL)
		read_written_turns(&a, all);
	if (a.calls == NULL)
		read_unmarked(&a, all);
	glm_buf_free(&text);
	return answer_json(&a);
}

static char *
parse_turns(const char *raw, size_t length)
{
	answer		a = {0};
	const char *end = raw + length;

	for (const char *turn = raw; turn <= end;)
	{
		const char *nul = turn < end ? memchr(turn, '\0', end - turn) : NULL;
		glm_buf		text = {0};

		add_valid(&text, turn, (nul ? nul : end) - turn);
		if (text.failed)
			a.failed = true;
		else
			read_turn(&a, (slice){text.data, text.data + text.length});
		glm_buf_free(&text);
		turn = (nul ? nul : end) + 1;
	}
	return answer_json(&a);
}

char *
glm_chatglm3_parse(const char *raw, size_t length, bool marked)
{
	return marked ? parse_turns(raw, length) : parse_text(raw, length);
}
