/*
 * json_walk.c - the parts of a JSON text as they are written.
 *
 * A value of type json keeps the text that it came as, and what is made of a part of it
 * has to keep the order of keys and the digits of numbers: jsonb does not.  The text has
 * been checked, when it became json or was made of jsonb, so it is enough to know where
 * strings and brackets end.  In all encodings of databases these marks are single bytes
 * that stand for nothing else.
 */
#include "chatglm.h"

#include "utils/fmgrprotos.h"

#include "json_walk.h"

#define BLANKS " \t\r\n"

static const char *
skip_blanks(const char *at, const char *end)
{
	while (at < end && strchr(BLANKS, *at) != NULL)
		at++;
	return at;
}

ChatglmJsonSlice
chatglm_json_slice(const char *text)
{
	ChatglmJsonSlice slice = {text, text + strlen(text)};

	slice.at = skip_blanks(slice.at, slice.end);
	while (slice.end > slice.at && strchr(BLANKS, slice.end[-1]) != NULL)
		slice.end--;
	return slice;
}

/* Behind the string that begins at `at`. */
static const char *
skip_string(const char *at)
{
	while (*++at != '"')
		if (*at == '\\')
			at++;
	return at + 1;
}

/* Behind the value that begins at `at`. */
static const char *
skip_value(const char *at)
{
	int depth = 0;

	if (*at != '"' && *at != '[' && *at != '{')
		return at + strcspn(at, ",]}" BLANKS);
	do
	{
		if (*at == '"')
		{
			at = skip_string(at);
			continue;
		}
		depth += *at == '[' || *at == '{';
		depth -= *at == ']' || *at == '}';
		at++;
	} while (depth > 0);
	return at;
}

bool
chatglm_json_walk(ChatglmJsonWalk *walk, ChatglmJsonSlice value, char bracket)
{
	if (value.at == value.end || *value.at != bracket)
		return false;
	walk->at = value.at + 1;
	walk->end = value.end;
	walk->keys = bracket == '{';
	return true;
}

bool
chatglm_json_next(ChatglmJsonWalk *walk, ChatglmJsonSlice *key, ChatglmJsonSlice *value)
{
	const char *at = skip_blanks(walk->at, walk->end);

	CHECK_FOR_INTERRUPTS();
	if (at < walk->end && *at == ',')
		at = skip_blanks(at + 1, walk->end);
	if (at == walk->end || *at == ']' || *at == '}')
		return false;
	if (walk->keys)
	{
		key->at = at;
		key->end = skip_string(at);
		at = skip_blanks(key->end, walk->end) + 1; /* the colon */
		at = skip_blanks(at, walk->end);
	}
	value->at = at;
	value->end = walk->at = skip_value(at);
	return true;
}

bool
chatglm_json_is(ChatglmJsonSlice string, const char *text)
{
	Size n = strlen(text);

	return (Size) (string.end - string.at) == n + 2 && memcmp(string.at + 1, text, n) == 0;
}

char *
chatglm_json_decode(ChatglmJsonSlice string)
{
	char	  *text = pnstrdup(string.at, string.end - string.at);
	JsonbValue value;

	if (*text != '"')
		return NULL;
	(void) JsonbExtractScalar(
		&DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)))->root, &value);
	return pnstrdup(value.val.string.val, value.val.string.len);
}
