/*
 * call_chatglm3.c - calls of tools as a ChatGLM3 model writes them.
 *
 * It names the tool in the first line of a turn and writes a fenced piece of Python
 * after it:
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
 * A call that the model has to make (GLM_TOOL_CALL) is the name's line and then the
 * JSON object of the arguments, which is returned byte for byte: it is what was validated.
 *
 * No locks: pure functions.
 */
#include "engine/text/call_chatglm3.h"

#include "engine/text/chat_chatglm3.h"
#include "engine/text/literal.h"

/* ---- A turn that is a call ------------------------------------------------------------- */

static bool
is_interpreter(glm_slice name)
{
	return (size_t) (name.end - name.at) == strlen(GLM_INTERPRETER) &&
		   memcmp(name.at, GLM_INTERPRETER, strlen(GLM_INTERPRETER)) == 0;
}

/* What a fenced block holds: all that stands between its first and last line. */
static bool
fenced(glm_slice body, glm_slice *code)
{
	body = glm_slice_strip(body);
	*code = glm_slice_after_line(body);
	if (!glm_slice_fence(body.at, body) || !glm_slice_fence(body.end - strlen(GLM_FENCE), *code))
		return false;
	code->end = body.end - strlen(GLM_FENCE);
	if (code->end > code->at && code->end[-1] == '\n')
		code->end--;
	return true;
}

/* Adds a call whose arguments are n bytes of JSON. */
static void
add_call(glm_answer *a, glm_slice name, const char *arguments, size_t n)
{
	if (a->calls == NULL)
		a->calls = json_array();
	if (json_array_append_new(a->calls, json_pack("{s:o, s:o}", "name",
												  json_stringn(name.at, name.end - name.at),
												  "arguments", json_stringn(arguments, n))) != 0)
		a->failed = true;
}

/* The same, and takes the arguments over.  False: they are too large to be a call's. */
static bool
add_literals(glm_answer *a, glm_slice name, json_t *arguments)
{
	glm_buf written = {0};
	bool	fits = glm_literal_write(&written, arguments, GLM_STYLE_JSON);

	if (fits)
		add_call(a, name, written.data, written.length);
	else
		a->failed = a->failed || written.failed || !glm_pause(NULL);
	glm_buf_free(&written);
	glm_json_free(arguments);
	return fits;
}

bool
glm_call_read_fenced(glm_answer *a, glm_slice turn)
{
	glm_slice name = glm_slice_strip(glm_slice_line(turn));
	glm_slice code;
	json_t	 *arguments;

	if (!glm_literal_is_name(name.at, name.end - name.at) ||
		!fenced(glm_slice_after_line(turn), &code))
		return false;
	if (is_interpreter(name))
		arguments = json_pack("{s:o}", "code", json_stringn(code.at, code.end - code.at));
	else
		arguments = glm_literal_read_call(code.at, code.end - code.at);
	return arguments != NULL && add_literals(a, name, arguments);
}

bool
glm_call_read_json(glm_answer *a, glm_slice turn)
{
	glm_slice	 name = glm_slice_strip(glm_slice_line(turn));
	glm_slice	 body = glm_slice_strip(glm_slice_after_line(turn));
	json_error_t why;
	json_t		*arguments;
	bool		 object;

	if (body.at == body.end || *body.at != '{' || !glm_literal_is_name(name.at, name.end - name.at))
		return false;
	arguments = glm_json_parse(body.at, body.end - body.at, false, &why);
	object = json_is_object(arguments);
	if (object)
		add_call(a, name, body.at, body.end - body.at);
	glm_json_free(arguments);
	return object;
}

/* ---- Calls at the end of a text ---------------------------------------- */

bool
glm_call_begins(glm_slice s)
{
	glm_slice name = glm_slice_strip(glm_slice_line(s));

	if (!glm_literal_is_name(name.at, name.end - name.at))
		return false;
	s = glm_slice_after_line(s);
	while (s.at < s.end && glm_is_blank(*s.at))
		s.at++;
	return glm_slice_fence(s.at, s);
}

/* Moves to the next line that is not blank. */
static glm_slice
next_line(glm_slice s)
{
	s = glm_slice_after_line(s);
	while (s.at < s.end && glm_slice_strip(glm_slice_line(s)).at == glm_slice_line(s).end)
		s = glm_slice_after_line(s);
	return s;
}

/* The code that ends at a fence on a line of its own, with nothing but calls behind it. */
static json_t *
read_fenced_code(glm_slice *s)
{
	for (glm_slice line = *s; line.at < s->end && glm_pause(NULL);
		 line = glm_slice_after_line(line))
	{
		glm_slice mark = glm_slice_strip(glm_slice_line(line));
		glm_slice rest = next_line(line);
		glm_slice code = {s->at, line.at > s->at ? line.at - 1 : line.at};

		if (mark.end - mark.at != (ptrdiff_t) strlen(GLM_FENCE) ||
			!glm_slice_fence(mark.at, mark) || (rest.at < rest.end && !glm_call_begins(rest)))
			continue;
		*s = rest;
		return json_pack("{s:o}", "code", json_stringn(code.at, code.end - code.at));
	}
	return NULL;
}

/* The literals of a call and the fence behind them. */
static json_t *
read_literals(glm_slice *s)
{
	size_t	  used;
	json_t	 *arguments = glm_literal_read_call_in(s->at, s->end - s->at, &used);
	glm_slice rest = {s->at + used, s->end};
	glm_slice mark;

	if (arguments == NULL)
		return NULL;
	mark = glm_slice_strip(glm_slice_line(rest));
	if (mark.end - mark.at == (ptrdiff_t) strlen(GLM_FENCE) && glm_slice_fence(mark.at, mark))
	{
		*s = next_line(rest);
		return arguments;
	}
	json_decref(arguments);
	return NULL;
}

void
glm_call_read_all(glm_answer *a, glm_slice *s, bool *open)
{
	while (s->at < s->end && glm_call_begins(*s) && glm_answer_goes_on(a))
	{
		glm_slice name = glm_slice_strip(glm_slice_line(*s));
		glm_slice body = next_line(next_line(*s));
		json_t	 *arguments = NULL;

		if (!is_interpreter(name))
			arguments = read_literals(&body);
		else if (!*open)
		{
			body = glm_slice_after_line(next_line(*s));
			arguments = read_fenced_code(&body);
			*open = arguments == NULL;
		}
		if (arguments == NULL || !add_literals(a, name, arguments))
			return;
		*s = body;
	}
}
