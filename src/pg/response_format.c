/*
 * response_format.c - arguments that say what an answer has to be: response_format and
 * the options choices and regex.
 *
 * What they say goes to the engine as a text; whether a schema or a pattern is sound,
 * and has any value, the engine finds out.  Here it is seen to that there is one of them,
 * and no stop strings beside it: these would cut what has to be whole.
 *
 * A schema inside response_format has lost the order of its keys, as jsonb forgets it.
 * Where the order matters it comes as a string, whose text is the schema.
 */
#include "chatglm.h"

#include "encoding.h"
#include "options.h"
#include "response_format.h"

#define MAX_CHOICES 100000
#define MAX_CHOICES_SIZE (1024 * 1024) /* bytes of all choices */

static void read_json_schema(ChatglmCall *call, Jsonb *format);
static void bad_choices(const char *what) pg_attribute_noreturn();
static void too_many_choices(void) pg_attribute_noreturn();

/* ---- Constraints -------------------------------------------------------- */

void
chatglm_constrain(ChatglmCall *call, glm_constraint_kind kind, const char *argument,
				  const char *text)
{
	if (call->constrained != GLM_UNCONSTRAINED)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" has no place beside \"%s\"", argument,
							   call->constrained_by),
						errdetail("Both say what the answer has to be.")));
	if (call->stop != NULL && call->stop->len > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"stop\" has no place beside \"%s\"", argument),
						errdetail("A stop string could cut what has to be whole.")));
	call->constrained = kind;
	call->constrained_by = argument;
	call->constraint = text != NULL ? chatglm_cstring_to_utf8(text) : NULL;
}

/* ---- response_format ------------------------------------------------------ */

static bool
has_type(const JsonbValue *type, const char *name)
{
	return type->val.string.len == (int) strlen(name) &&
		   memcmp(type->val.string.val, name, type->val.string.len) == 0;
}

void
chatglm_read_response_format(ChatglmCall *call, Jsonb *format)
{
	static const char *const only_type[] = {"type", NULL};
	JsonbValue				 type;

	if (!JB_ROOT_IS_OBJECT(format) ||
		getKeyJsonValueFromContainer(&format->root, "type", 4, &type) == NULL ||
		type.type != jbvString)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"response_format\" must be an object with a string \"type\", not %s",
					chatglm_show_json(format))));
	if (has_type(&type, "json_schema"))
	{
		read_json_schema(call, format);
		return;
	}
	if (!has_type(&type, "text") && !has_type(&type, "json_object"))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("response_format of type \"%.*s\" is not supported",
							   type.val.string.len, type.val.string.val),
						errhint("Types are \"text\", \"json_object\" and \"json_schema\".")));
	chatglm_require_keys(&format->root, "response_format", only_type);
	if (has_type(&type, "json_object"))
		chatglm_constrain(call, GLM_JSON_OBJECT, "response_format", NULL);
}

/* The text of a schema that is an object, true or false, or a string that is its text. */
static char *
schema_text(JsonbValue *schema)
{
	StringInfoData text;

	if (schema->type == jbvString)
		return pnstrdup(schema->val.string.val, schema->val.string.len);
	initStringInfo(&text);
	chatglm_append_json(&text, schema);
	return text.data;
}

/*
 * {"type": "json_schema", "json_schema": {"schema": ...}}.  OpenAI's other keys change
 * nothing: a schema is always kept to.
 */
static void
read_json_schema(ChatglmCall *call, Jsonb *format)
{
	static const char *const format_keys[] = {"type", "json_schema", NULL};
	static const char *const schema_keys[] = {"schema", "name", "strict", "description", NULL};
	JsonbValue				 json_schema;
	JsonbValue				 schema;

	chatglm_require_keys(&format->root, "response_format", format_keys);
	if (getKeyJsonValueFromContainer(&format->root, "json_schema", 11, &json_schema) == NULL ||
		json_schema.type != jbvBinary || !JsonContainerIsObject(json_schema.val.binary.data))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"response_format.json_schema\" must be an object with a "
							   "\"schema\"")));
	chatglm_require_keys(json_schema.val.binary.data, "response_format.json_schema", schema_keys);
	if (getKeyJsonValueFromContainer(json_schema.val.binary.data, "schema", 6, &schema) == NULL ||
		!(schema.type == jbvString || schema.type == jbvBool ||
		  (schema.type == jbvBinary && JsonContainerIsObject(schema.val.binary.data))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"response_format.json_schema.schema\" must be a JSON "
							   "schema, or a string that is its text")));
	chatglm_constrain(call, GLM_JSON_SCHEMA, "response_format", schema_text(&schema));
}

/* ---- Options ------------------------------------------------------------- */

static int
compare_strings(const void *a, const void *b)
{
	const JsonbValue *x = a;
	const JsonbValue *y = b;
	int				  by_bytes =
		memcmp(x->val.string.val, y->val.string.val, Min(x->val.string.len, y->val.string.len));

	return by_bytes != 0 ? by_bytes : x->val.string.len - y->val.string.len;
}

static void
bad_choices(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("argument \"options.choices\" must %s", what)));
}

static void
too_many_choices(void)
{
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("argument \"options.choices\" may have at most %d strings, of %d bytes "
						   "together",
						   MAX_CHOICES, MAX_CHOICES_SIZE)));
}

/* Are these strings, not empty and not too many?  Fills choices[]. */
static void
take_choices(JsonbContainer *array, JsonbValue *choices)
{
	JsonbIterator	  *it = JsonbIteratorInit(array);
	JsonbIteratorToken token;
	JsonbValue		   item;
	Size			   size = 0;
	int				   n = 0;

	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (item.type != jbvString || item.val.string.len == 0)
			bad_choices("hold strings that are not empty");
		size += item.val.string.len;
		if (size > MAX_CHOICES_SIZE)
			too_many_choices();
		choices[n++] = item;
	}
}

void
chatglm_read_choices(ChatglmCall *call, const char *key, JsonbValue *value)
{
	JsonbContainer *array;
	JsonbValue	   *choices;
	StringInfoData	text;
	int				n;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad_choices("be an array of strings");
	array = value->val.binary.data;
	n = JsonContainerSize(array);
	if (n == 0)
		bad_choices("hold at least one string");
	if (n > MAX_CHOICES)
		too_many_choices();
	choices = palloc(n * sizeof(*choices));
	take_choices(array, choices);
	qsort(choices, n, sizeof(*choices), compare_strings);
	for (int i = 1; i < n; i++)
		if (compare_strings(&choices[i - 1], &choices[i]) == 0)
			bad_choices("hold each string once");
	pfree(choices);

	initStringInfo(&text);
	chatglm_append_json(&text, value);
	chatglm_constrain(call, GLM_CHOICES, "options.choices", text.data);
}

void
chatglm_read_regex(ChatglmCall *call, const char *key, JsonbValue *value)
{
	if (value->type != jbvString)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.regex\" must be a string")));
	chatglm_constrain(call, GLM_REGEX, "options.regex",
					  pnstrdup(value->val.string.val, value->val.string.len));
}
