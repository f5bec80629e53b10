/*
 * redact.c - glm_redact: a text in which personal data is replaced by what kind it is of.
 *
 * The model does not write the text anew, as it could then leave something out or make
 * something up.  It is asked what there is to hide, as a JSON array of kinds and literal
 * pieces, and these are replaced in the content itself (replace.c); so all else is the
 * content's, byte by byte, and whatever the model answers, nothing of it comes in.
 *
 * What has a form of its own, like an e-mail address, is found by that, too
 * (redact_patterns.c), whether the model has seen it or not.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "args.h"
#include "ask.h"
#include "encoding.h"
#include "json_walk.h"
#include "redact.h"
#include "redact_patterns.h"
#include "replace.h"
#include "response_format.h"
#include "task_prompt.h"

/* What is personal where nobody says it. */
static const char *const default_kinds[] = {"name",			 "address",		"email", "phone",
											"date of birth", "credit card", "iban",	 "id number",
											"ip address",	 "password"};

/* ---- Asking --------------------------------------------------------------------------- */

static void
append_kinds(StringInfo out, const char *kind, const char *between, bool quoted)
{
	if (out->len > 0)
		appendStringInfoString(out, between);
	if (quoted)
		escape_json(out, kind);
	else
		appendStringInfoString(out, kind);
}

/* The kinds that an argument lists, each once. */
static List *
read_kinds(const NullableDatum *arg)
{
	List  *kinds = NIL;
	Datum *elements;
	bool  *nulls;
	int	   n;

	deconstruct_array(DatumGetArrayTypeP(arg->value), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char *kind = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		bool  known = false;

		if (kind == NULL)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"kinds\" must not contain NULL")));
		if (kind[strspn(kind, " \t\r\n")] == '\0')
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"kinds\" must not contain an empty string")));
		for (int j = 0; j < list_length(kinds); j++)
			known = known || strcmp(list_nth(kinds, j), kind) == 0;
		if (!known)
			kinds = lappend(kinds, kind);
	}
	if (kinds == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"kinds\" must not be empty")));
	return kinds;
}

static List *
kinds_of(const NullableDatum *arg)
{
	List *kinds = NIL;

	if (!arg->isnull)
		return read_kinds(arg);
	for (int i = 0; i < (int) lengthof(default_kinds); i++)
		kinds = lappend(kinds, unconstify(char *, default_kinds[i]));
	return kinds;
}

static char *
schema_of_finds(List *kinds)
{
	StringInfoData names;
	ListCell	  *cell;

	initStringInfo(&names);
	foreach(cell, kinds)
		append_kinds(&names, lfirst(cell), ", ", true);
	return psprintf("{\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": "
					"{\"kind\": {\"enum\": [%s]}, \"text\": {\"type\": \"string\", "
					"\"minLength\": 1}}, \"required\": [\"kind\", \"text\"], "
					"\"additionalProperties\": false}}",
					names.data);
}

/* What hides nothing because it is not read cannot be let through. */
static void
refuse_truncation(const ChatglmCall *call)
{
	if (call->truncate != GLM_TRUNCATE_ERROR)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.truncate\" has no place in glm_redact"),
						errdetail("What is cut away would not be looked through.")));
}

/* Reads (content text, kinds text[], ...G). */
static bool
read_redact(ChatglmCall *call, const NullableDatum *args)
{
	List		  *kinds;
	char		  *content;
	StringInfoData listed;
	StringInfoData kept;
	ListCell	  *cell;

	chatglm_call_defaults(call, GLM_GENERATE);
	call->form = GLM_PROMPT;
	chatglm_read_tail(call, &args[2]);
	kinds = kinds_of(&args[1]);
	refuse_truncation(call);
	if (args[0].isnull)
		return false;
	content = TextDatumGetCString(args[0].value);
	chatglm_constrain(call, GLM_JSON_SCHEMA, "kinds", schema_of_finds(kinds));
	initStringInfo(&listed);
	initStringInfo(&kept);
	foreach(cell, kinds)
	{
		append_kinds(&listed, lfirst(cell), ", ", false);
		appendBinaryStringInfo(&kept, lfirst(cell), strlen(lfirst(cell)) + 1);
	}
	appendStringInfoChar(&kept, '\0');
	appendStringInfoString(&kept, content);
	call->kept = kept.data;
	call->kept_length = kept.len;
	chatglm_put_task(call, "redact", 2,
					 (ChatglmPart[]){{"content", content}, {"kinds", listed.data}});
	return true;
}

/* ---- Replacing -------------------------------------------------------------------------- */

/* What an answer, a JSON array of objects with kind and text, has found. */
static List *
finds_of(const char *answer)
{
	ChatglmJsonWalk	 array;
	ChatglmJsonWalk	 object;
	ChatglmJsonSlice key;
	ChatglmJsonSlice item;
	ChatglmJsonSlice value;
	List			*finds = NIL;

	if (!chatglm_json_walk(&array, chatglm_json_slice(answer), '['))
		return NIL;
	while (chatglm_json_next(&array, &key, &item))
	{
		ChatglmFind *find = palloc0(sizeof(*find));

		if (!chatglm_json_walk(&object, item, '{'))
			continue;
		while (chatglm_json_next(&object, &key, &value))
			*(chatglm_json_is(key, "kind") ? &find->kind : &find->text) =
				chatglm_json_decode(value);
		if (find->kind != NULL && find->text != NULL &&
			find->text[strspn(find->text, " \t\r\n")] != '\0')
			finds = lappend(finds, find);
	}
	return finds;
}

static Datum
redacted_value(const ChatglmAnswer *answer, Oid type)
{
	const char *content = answer->kept;
	List	   *kinds = NIL;
	List	   *finds;

	if (answer->finish == GLM_FINISH_LENGTH)
		chatglm_cut_error(answer->completion_tokens);
	for (; *content != '\0'; content += strlen(content) + 1)
		kinds = lappend(kinds, unconstify(char *, content));
	content++;
	finds = finds_of(chatglm_cstring_from_utf8(answer->bytes.data, answer->bytes.len));
	finds = chatglm_find_patterns(finds, content, kinds);
	return CStringGetTextDatum(chatglm_replace_finds(content, finds));
}

/*
 * glm_redact(content text, kinds text[], ...G) returns text
 * glm_try_redact(content text, kinds text[], ...G) returns glm_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_redact, chatglm_try_redact, .n_args = 2 + CHATGLM_N_TAIL,
						.model = 2, .read = read_redact, .value = redacted_value);
