/*
 * options.c - arguments of type jsonb: options by name, and what else is in them.
 */
#include "chatglm.h"

#include "mb/pg_wchar.h"

#include "options.h"

#define MAX_SHOWN 80 /* bytes of a value in a message */

char *
chatglm_show_json(Jsonb *value)
{
	char *shown = JsonbToCString(NULL, &value->root, VARSIZE(value));
	int	  length = strlen(shown);

	if (length <= MAX_SHOWN)
		return shown;
	shown[pg_mbcliplen(shown, length, MAX_SHOWN)] = '\0';
	return psprintf("%s...", shown);
}

void
chatglm_append_json(StringInfo out, JsonbValue *value)
{
	Jsonb *scalar;

	if (value->type == jbvBinary)
	{
		(void) JsonbToCString(out, value->val.binary.data, value->val.binary.len);
		return;
	}
	scalar = JsonbValueToJsonb(value);
	(void) JsonbToCString(out, &scalar->root, VARSIZE(scalar));
	pfree(scalar);
}

void
chatglm_require_keys(JsonbContainer *object, const char *argument, const char *const *keys)
{
	JsonbIterator	  *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue		   key;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
		if (token == WJB_KEY && chatglm_option_choice(&key, keys) < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("unknown key \"%.*s\" in argument \"%s\"", key.val.string.len,
								   key.val.string.val, argument)));
}

void
chatglm_require_object(Jsonb *options)
{
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options\" must be a JSON object, not %s",
							   chatglm_show_json(options))));
}

void
chatglm_read_options(Jsonb *options, ChatglmOptionReader read, void *arg)
{
	JsonbIterator	  *it;
	JsonbIteratorToken token;
	JsonbValue		   value;

	chatglm_require_object(options);
	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			char *key = pnstrdup(value.val.string.val, value.val.string.len);

			(void) JsonbIteratorNext(&it, &value, true);
			read(key, &value, arg);
		}
}

static bool
is_string(const JsonbValue *value, const char *string)
{
	return value->type == jbvString && value->val.string.len == (int) strlen(string) &&
		   memcmp(value->val.string.val, string, value->val.string.len) == 0;
}

int
chatglm_option_choice(const JsonbValue *value, const char *const *names)
{
	for (int i = 0; names[i] != NULL; i++)
		if (is_string(value, names[i]))
			return i;
	return -1;
}
