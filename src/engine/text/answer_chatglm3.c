/*
 * answer_chatglm3.c - what a ChatGLM3 model answered: content, and calls of tools.
 *
 * One answer may hold several turns: text and then a call, or several calls, in the
 * forms of call_chatglm3.c.  Where turns are marked (decoder.c) each is read by itself.
 * An answer as users see it has but a newline there, so in it calls are looked for at
 * its end: the first line that is a name and from which on there is nothing but fenced
 * calls.  A turn that does not say it is content is searched so as well.  The model's own
 * text may also come with the turns' token written out, as the published client splits it.
 *
 * The input is a model's output, so anything: it is first copied to valid
 * UTF-8 without NULs, as SQL's text holds neither.
 *
 * No locks: pure functions.
 */
#include "engine/text/chat_chatglm3.h"

#include <stdlib.h>
#include <string.h>

#include "engine/text/call_chatglm3.h"

#define TURN "<|assistant|>"
#define SLICE 65536 /* bytes between two pauses */

static void
keep_content(glm_answer *a, glm_slice content)
{
	if (a->content.length > 0 && content.at < content.end)
		glm_buf_add(&a->content, "\n", 1);
	glm_buf_add(&a->content, content.at, content.end - content.at);
	a->has_content = true;
}

/* Is the first line of this turn, its metadata, empty? */
static bool
is_content(glm_slice turn)
{
	glm_slice line = glm_slice_strip(glm_slice_line(turn));

	return line.at == line.end;
}

/*
 * Reads an answer whose turns are not marked.  Where calls end in something else
 * the search goes on there: to begin at the second of them would end there too.
 */
static void
read_unmarked(glm_answer *a, glm_slice text)
{
	glm_slice body = glm_slice_strip(text);
	glm_slice s = {text.at, body.end};
	bool	  open = false;

	while (s.at < s.end && !is_content(text) && glm_answer_goes_on(a))
	{
		glm_slice start = s;

		if (glm_call_begins(s))
			glm_call_read_all(a, &s, &open);
		if (a->calls != NULL && s.at >= s.end)
		{
			body = glm_slice_strip((glm_slice){text.at, start.at});
			if (body.at < body.end)
				keep_content(a, body);
			return;
		}
		glm_json_free(a->calls);
		a->calls = NULL;
		if (s.at < s.end)
			s = glm_slice_after_line(s);
	}
	keep_content(a, is_content(text) ? body : text);
}

/* ---- A turn ------------------------------------------------------------ */

/*
 * Reads one turn; what is no call is content as it stands.  A turn that does not
 * say that it is content may still end in calls, as a text may.  Of one that is marked the
 * blanks around its content were taken where they are none of it (decoder.c).
 */
static void
read_turn(glm_answer *a, glm_slice turn, bool marked)
{
	glm_answer own = {0};

	if (is_content(turn))
	{
		keep_content(a, marked ? glm_slice_after_line(turn) : glm_slice_strip(turn));
		return;
	}
	if (glm_call_read_fenced(a, turn) || glm_call_read_json(a, turn))
		return;
	read_unmarked(&own, turn);
	if (own.has_content)
		keep_content(a, (glm_slice){own.content.data, own.content.data + own.content.length});
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
answer_json(glm_answer *a)
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
find_turn(glm_slice s, const char *at)
{
	const ptrdiff_t n = strlen(GLM_FENCE);
	const char	   *next;

	for (at = find_mark(at, s.end); at != NULL; at = next)
	{
		const char *behind = at + strlen(TURN);

		next = find_mark(behind, s.end);
		if ((at - s.at >= n && glm_slice_fence(at - n, s)) ||
			glm_call_begins((glm_slice){behind, next ? next : s.end}))
			break;
	}
	return at;
}

/* Reads an answer as the published client gets it, if that makes any call of it. */
static void
read_written_turns(glm_answer *a, glm_slice text)
{
	const char *at = text.at;
	const char *mark;

	do
	{
		mark = find_turn(text, at);
		read_turn(a, (glm_slice){at, mark ? mark : text.end}, false);
		at = mark ? mark + strlen(TURN) : text.end;
	} while (mark != NULL && glm_answer_goes_on(a));
	if (a->calls == NULL)
	{
		glm_buf_free(&a->content);
		a->has_content = false;
	}
}

static char *
parse_text(const char *raw, size_t length)
{
	glm_buf	   text = {0};
	glm_answer a = {0};
	glm_slice  all;

	add_valid(&text, raw, length);
	if (text.failed)
		return NULL;
	all = (glm_slice){text.data, text.data + text.length};
	if (!glm_call_read_json(&a, all) && find_turn(all, all.at) != NULL)
		read_written_turns(&a, all);
	if (a.calls == NULL)
		read_unmarked(&a, all);
	glm_buf_free(&text);
	return answer_json(&a);
}

static char *
parse_turns(const char *raw, size_t length)
{
	glm_answer	a = {0};
	const char *end = raw + length;

	for (const char *turn = raw; turn <= end;)
	{
		const char *nul = turn < end ? memchr(turn, '\0', end - turn) : NULL;
		glm_buf		text = {0};

		add_valid(&text, turn, (nul ? nul : end) - turn);
		if (text.failed)
			a.failed = true;
		else
			read_turn(&a, (glm_slice){text.data, text.data + text.length}, true);
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
