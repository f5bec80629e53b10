/*
 * literal_read.c - reading a call of tool_call() with literals; see literal.h.
 *
 * A recursive descent over the literals of Python that have a value in JSON:
 * strings and numbers (literal_scan.c), True, False, None (and JSON's true, false,
 * null), lists, tuples (as lists) and dicts, whose keys become strings as
 * json.dumps() makes them.  Names, operators, sets, f-strings, positional
 * arguments: no literal, and so no call.  Nothing is ever evaluated.
 *
 * The text is a model's output.  The parser never looks past its end, nests
 * DEPTH_MAX deep at most and reads each byte once.
 *
 * No locks: pure functions.
 */
#include "engine/text/literal_scan.h"

#define DEPTH_MAX 64

static json_t *parse_value(glm_scan *s);

/* Takes the text if it comes next but for blanks. */
static bool
take_next(glm_scan *s, const char *text)
{
	glm_scan_blanks(s);
	return glm_scan_take(s, text);
}

/* ---- Strings and names ------------------------------------------------- */

static json_t *
parse_string(glm_scan *s)
{
	glm_buf text = {0};
	json_t *value = glm_scan_text(s, &text) ? json_stringn(text.data, text.length) : NULL;

	glm_buf_free(&text);
	return value;
}

/* The length of the name that comes next, 0 when none does. */
static size_t
name_length(const glm_scan *s)
{
	return glm_identifier_length(s->at, s->end - s->at);
}

static json_t *
parse_constant(glm_scan *s)
{
	static const char *const names[] = {"None", "null", "False", "false", "True", "true"};
	size_t					 n = name_length(s);

	for (int i = 0; i < 6; i++)
		if (strlen(names[i]) == n && memcmp(names[i], s->at, n) == 0)
		{
			s->at += n;
			return i < 2 ? json_null() : json_boolean(i >= 4);
		}
	return NULL;
}

/* ---- Containers -------------------------------------------------------- */

/* The rest of a list or tuple after its opening bracket. */
static json_t *
parse_items(glm_scan *s, const char *close)
{
	json_t *list = json_array();
	bool	tuple = *close == ')';
	bool	comma = true;

	while (!take_next(s, close))
	{
		json_t *item = comma ? parse_value(s) : NULL;

		if (item == NULL || json_array_append_new(list, item) != 0)
		{
			json_decref(list);
			return NULL;
		}
		comma = take_next(s, ",");
	}
	/* (x) is x; only a comma makes it a tuple */
	if (tuple && !comma && json_array_size(list) == 1)
	{
		json_t *item = json_incref(json_array_get(list, 0));

		json_decref(list);
		return item;
	}
	return list;
}

/* A key as json.dumps() writes it; false when it could be none. */
static bool
parse_key(glm_scan *s, glm_buf *out)
{
	json_t *key;
	bool	ok;

	glm_scan_blanks(s);
	if (glm_scan_at_string(s))
		return glm_scan_text(s, out);
	key = parse_value(s);
	ok = key != NULL && !json_is_array(key) && !json_is_object(key);
	if (ok && glm_json_text(key) != NULL) /* ("a") */
		glm_buf_add(out, json_string_value(key), json_string_length(key));
	else if (ok)
		ok = glm_literal_write(out, key, GLM_STYLE_JSON);
	json_decref(key);
	return ok;
}

/* One key: value of a dict into object. */
static bool
parse_pair(glm_scan *s, json_t *object)
{
	glm_buf key = {0};
	json_t *value = NULL;
	bool	ok;

	if (parse_key(s, &key) && take_next(s, ":"))
		value = parse_value(s);
	ok = value != NULL && !key.failed &&
		 json_object_set_new(object, key.data ? key.data : "", value) == 0;
	glm_buf_free(&key);
	return ok;
}

/* The rest of a dict after its opening brace, into object. */
static bool
parse_pairs(glm_scan *s, json_t *object)
{
	bool comma = true;

	while (!take_next(s, "}"))
	{
		if (!comma || !parse_pair(s, object))
			return false;
		comma = take_next(s, ",");
	}
	return true;
}

static json_t *
parse_dict(glm_scan *s)
{
	json_t *object = glm_json_new();

	if (object != NULL && parse_pairs(s, object))
		return object;
	json_decref(object);
	return NULL;
}

/* One literal; NULL when there is none. */
static json_t *
parse_value(glm_scan *s)
{
	json_t *value;

	glm_scan_blanks(s);
	if (s->at == s->end || s->depth == DEPTH_MAX || !glm_pause(NULL))
		return NULL;
	s->depth++;
	if (glm_scan_at_string(s))
		value = parse_string(s);
	else if (glm_scan_take(s, "["))
		value = parse_items(s, "]");
	else if (glm_scan_take(s, "("))
		value = parse_items(s, ")");
	else if (glm_scan_take(s, "{"))
		value = parse_dict(s);
	else if (name_length(s) > 0)
		value = parse_constant(s);
	else
		value = glm_scan_number(s);
	s->depth--;
	return value;
}

/* ---- Calls ------------------------------------------------------------- */

/*
 * keyword=value into arguments; a keyword that comes twice is an error.  Reserved
 * words are taken, as a tool's parameter may well be called `from`.
 */
static bool
parse_keyword(glm_scan *s, json_t *arguments)
{
	glm_buf name = {0};
	size_t	n = name_length(s);
	json_t *value;
	bool	ok = false;

	glm_buf_add(&name, s->at, n);
	s->at += n;
	if (n > 0 && !name.failed && json_object_get(arguments, name.data) == NULL && take_next(s, "="))
	{
		value = parse_value(s);
		ok = value != NULL && json_object_set_new(arguments, name.data, value) == 0;
	}
	glm_buf_free(&name);
	return ok;
}

/* The dict behind ** into arguments; none of its keys may be there already. */
static bool
parse_unpacked(glm_scan *s, json_t *arguments)
{
	json_t	   *more = glm_json_new();
	const char *key;
	json_t	   *value;
	bool		ok = more != NULL && take_next(s, "{") && parse_pairs(s, more);

	json_object_foreach(more, key, value)
		ok = ok && json_object_get(arguments, key) == NULL &&
			 json_object_set(arguments, key, value) == 0;
	json_decref(more);
	return ok;
}

/* The rest of a call after its opening parenthesis. */
static bool
parse_arguments(glm_scan *s, json_t *arguments)
{
	bool comma = true;

	while (!take_next(s, ")"))
	{
		if (!comma)
			return false;
		/* ** brings names that are no keywords, see calls.c */
		if (glm_scan_take(s, "**") ? !parse_unpacked(s, arguments) : !parse_keyword(s, arguments))
			return false;
		comma = take_next(s, ",");
	}
	return true;
}

json_t *
glm_literal_read_call_in(const char *text, size_t n, size_t *used)
{
	glm_scan s = {text, text + n, 0};
	json_t	*arguments = glm_json_new();

	if (take_next(&s, "tool_call") && take_next(&s, "(") && parse_arguments(&s, arguments))
	{
		glm_scan_blanks(&s);
		*used = s.at - text;
		return arguments;
	}
	json_decref(arguments);
	*used = 0;
	return NULL;
}

json_t *
glm_literal_read_call(const char *code, size_t n)
{
	size_t	used;
	json_t *arguments = glm_literal_read_call_in(code, n, &used);

	if (used == n)
		return arguments;
	json_decref(arguments);
	return NULL;
}
