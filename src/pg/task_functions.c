/*
 * task_functions.c - glm_extract, glm_translate and glm_summarize: questions whose prompts are not
 * the caller's but those of chatglm.task_prompt.
 *
 * Each of them puts what it has into the prompt of its task and is a glm_generate or
 * glm_json from there on, so all that is said of these holds of it too.
 */
#include "chatglm.h"

#include "utils/builtins.h"

#include "args.h"
#include "encoding.h"
#include "json_answer.h"
#include "json_walk.h"
#include "response_format.h"
#include "task_prompt.h"
#include "task_functions.h"

/* Reads ...G of a task that is asked in the chat template. */
static void
begin_task(ChatglmCall *call, const NullableDatum *tail)
{
	chatglm_call_defaults(call, GLM_GENERATE);
	call->form = GLM_PROMPT;
	chatglm_read_tail(call, tail);
}

/* ---- glm_extract ------------------------------------------------------------------- */

/*
 * Does a keyword tell the model something that it has no other way to know?  Types, lengths
 * and patterns need not be told, as the answer has to keep to them anyway.
 */
static bool
is_telling(ChatglmJsonSlice key)
{
	static const char *const telling[] = {"$ref",		 "allOf",		"anyOf",	"const",
										  "description", "enum",		"examples", "items",
										  "oneOf",		 "prefixItems", "title"};

	for (int i = 0; i < (int) lengthof(telling); i++)
		if (chatglm_json_is(key, telling[i]))
			return true;
	return false;
}

/* Does a property's schema say nothing of that kind? */
static bool
is_silent(ChatglmJsonSlice schema)
{
	ChatglmJsonWalk	 walk;
	ChatglmJsonSlice key;
	ChatglmJsonSlice value;

	if (!chatglm_json_walk(&walk, schema, '{'))
		return false;
	while (chatglm_json_next(&walk, &key, &value))
		if (is_telling(key) || chatglm_json_is(key, "properties"))
			return false;
	return true;
}

/*
 * The names of an object's properties; *told: they are all that the schema tells.  Empty,
 * and not told, where it has none.
 */
static char *
names_of_fields(const char *schema, bool *told)
{
	ChatglmJsonWalk	 walk;
	ChatglmJsonWalk	 properties = {0};
	ChatglmJsonSlice key;
	ChatglmJsonSlice value;
	StringInfoData	 names;

	initStringInfo(&names);
	*told = true;
	if (chatglm_json_walk(&walk, chatglm_json_slice(schema), '{'))
		while (chatglm_json_next(&walk, &key, &value))
		{
			if (chatglm_json_is(key, "properties"))
				chatglm_json_walk(&properties, value, '{');
			*told = *told && !is_telling(key);
		}
	while (properties.at != NULL && chatglm_json_next(&properties, &key, &value))
	{
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", chatglm_json_decode(key));
		*told = *told && is_silent(value);
	}
	*told = *told && names.len > 0;
	return names.data;
}

/* Reads (content text, schema json, ...G). */
static bool
read_extract(ChatglmCall *call, const NullableDatum *args)
{
	char *schema;
	char *content;
	char *names;
	bool  told;

	begin_task(call, &args[2]);
	if (args[0].isnull)
		return false;
	schema = chatglm_read_schema(call, &args[1]);
	content = TextDatumGetCString(args[0].value);
	names = names_of_fields(schema, &told);
	chatglm_put_task(
		call, "extract", 3,
		(ChatglmPart[]){{"content", content}, {"fields", names}, {"schema", told ? NULL : schema}});
	return true;
}

/* ---- glm_translate --------------------------------------------------------------------- */

/* An argument that names a language. */
static char *
read_language(const NullableDatum *arg, const char *name)
{
	char *language = TextDatumGetCString(arg->value);

	if (language[strspn(language, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must not be empty", name)));
	return language;
}

/* Reads (content text, to_language text, from_language text, ...G). */
static bool
read_translate(ChatglmCall *call, const NullableDatum *args)
{
	char *to;
	char *from;

	begin_task(call, &args[3]);
	if (args[0].isnull)
		return false;
	if (args[1].isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"to_language\" must not be NULL")));
	to = read_language(&args[1], "to_language");
	from = args[2].isnull ? NULL : read_language(&args[2], "from_language");
	chatglm_put_task(call, "translate", 3,
					 (ChatglmPart[]){{"content", TextDatumGetCString(args[0].value)},
									 {"language", to},
									 {"from_language", from}});
	return true;
}

/* ---- glm_summarize --------------------------------------------------------------------- */

/* Reads (content text, max_words int, ...G). */
static bool
read_summarize(ChatglmCall *call, const NullableDatum *args)
{
	int words = args[1].isnull ? 0 : DatumGetInt32(args[1].value);

	begin_task(call, &args[2]);
	if (!args[1].isnull && words < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"max_words\" must be at least 1, not %d", words)));
	if (args[0].isnull)
		return false;
	chatglm_put_task(call, "summarize", 2,
					 (ChatglmPart[]){{"content", TextDatumGetCString(args[0].value)},
									 {"max_words", words > 0 ? psprintf("%d", words) : NULL}});
	return true;
}

/* ---- Values and entry points ------------------------------------------------------------ */

static Datum
answer_text(const ChatglmAnswer *answer, Oid type)
{
	return PointerGetDatum(chatglm_text_from_utf8(answer->bytes.data, answer->bytes.len));
}

/*
 * glm_extract(content text, schema json, ...G) returns jsonb
 * glm_try_extract(content text, schema json, ...G) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_extract, chatglm_try_extract, .n_args = 2 + CHATGLM_N_TAIL,
						.model = 2, .read = read_extract, .value = chatglm_json_answer);

/*
 * glm_translate(content text, to_language text, from_language text, ...G) returns text
 * glm_try_translate(content text, to_language text, from_language text, ...G)
 * returns glm_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_translate, chatglm_try_translate, .n_args = 3 + CHATGLM_N_TAIL,
						.model = 3, .read = read_translate, .value = answer_text);

/*
 * glm_summarize(content text, max_words int, ...G) returns text
 * glm_try_summarize(content text, max_words int, ...G) returns glm_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_summarize, chatglm_try_summarize, .n_args = 2 + CHATGLM_N_TAIL,
						.model = 2, .read = read_summarize, .value = answer_text);
