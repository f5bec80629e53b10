/*
 * classify.c - glm_classify, glm_classify_scores and glm_sentiment: which label a text has.
 *
 * One forward pass decides: the labels' probabilities behind the prompt of the task
 * (verdict.c), of which the largest is taken.
 */
#include "chatglm.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "classify.h"
#include "jsonb_build.h"
#include "options.h"
#include "verdict.h"

/* ---- Examples ----------------------------------------------------------------------- */

/* The text of a member of an example. */
static char *
example_member(JsonbContainer *example, const char *key, int number)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(example, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("example %d has no text \"%s\"", number, key),
						errhint("Examples are an array of objects like {\"content\": \"...\", "
								"\"label\": \"...\"}.")));
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static void
append_example(StringInfo out, const JsonbValue *example, int number, const ChatglmLabels *labels)
{
	static const char *const keys[] = {"content", "label", NULL};
	char					*content;
	char					*label;

	if (example->type != jbvBinary || !JsonContainerIsObject(example->val.binary.data))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("example %d is no object", number)));
	chatglm_require_keys(example->val.binary.data, "examples", keys);
	content = example_member(example->val.binary.data, "content", number);
	label = example_member(example->val.binary.data, "label", number);
	if (chatglm_find_label(labels, label) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("example %d has the label \"%s\", which is none of them", number, label)));
	appendStringInfo(out, "%s%s -> %s", number > 1 ? "\n" : "", content, label);
}

/* The examples as a prompt shows them; NULL: there are none. */
static char *
read_examples(const NullableDatum *arg, const ChatglmLabels *labels)
{
	StringInfoData	   out;
	JsonbIterator	  *it;
	JsonbIteratorToken token;
	JsonbValue		   example;
	Jsonb			  *examples;
	int				   number = 0;

	if (arg->isnull)
		return NULL;
	examples = DatumGetJsonbP(arg->value);
	if (!JB_ROOT_IS_ARRAY(examples) || JB_ROOT_IS_SCALAR(examples))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"examples\" must be a JSON array")));
	initStringInfo(&out);
	it = JsonbIteratorInit(&examples->root);
	while ((token = JsonbIteratorNext(&it, &example, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			append_example(&out, &example, ++number, labels);
	return number > 0 ? out.data : NULL;
}

/* ---- Arguments ------------------------------------------------------------------------ */

static const char *
optional_text(const NullableDatum *arg)
{
	return arg->isnull ? NULL : TextDatumGetCString(arg->value);
}

/* (content text, labels text[], instructions text, examples jsonb, model text, options jsonb) */
static bool
read_classify(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmWeighing weighing;
	ChatglmLabels	labels;
	ChatglmQuestion question = {.task = "classify", .n_parts = 4, .content = 0};

	if (args[0].isnull)
		return false;
	chatglm_read_labels(&labels, &args[1]);
	chatglm_begin_verdict(call, &weighing, &args[4], &args[5]);
	question.parts[0] = (ChatglmPart){"content", TextDatumGetCString(args[0].value)};
	question.parts[1] = (ChatglmPart){"labels", chatglm_list_labels(&labels)};
	question.parts[2] = (ChatglmPart){"instructions", optional_text(&args[2])};
	question.parts[3] = (ChatglmPart){"examples", read_examples(&args[3], &labels)};
	chatglm_put_verdict(call, &weighing, &question, &labels, 0);
	return true;
}

/* The same of who wants the likeliest label alone. */
static bool
read_classify_one(ChatglmCall *call, const NullableDatum *args)
{
	return read_classify(call, args) && chatglm_settle_verdict(call);
}

/* (content text, mixed bool, model text, options jsonb) */
static bool
read_sentiment(ChatglmCall *call, const NullableDatum *args)
{
	static const char *names[] = {"positive", "negative", "neutral", "mixed"};
	bool			   mixed = !args[1].isnull && DatumGetBool(args[1].value);
	ChatglmLabels	   labels = {mixed ? 4 : 3, names};
	ChatglmWeighing	   weighing;
	ChatglmQuestion	   question = {.task = "sentiment", .n_parts = 2, .content = 0};

	if (args[0].isnull)
		return false;
	chatglm_begin_verdict(call, &weighing, &args[2], &args[3]);
	question.parts[0] = (ChatglmPart){"content", TextDatumGetCString(args[0].value)};
	question.parts[1] = (ChatglmPart){"labels", chatglm_list_labels(&labels)};
	chatglm_put_verdict(call, &weighing, &question, &labels, 0);
	return chatglm_settle_verdict(call);
}

/* ---- Values ---------------------------------------------------------------------------- */

static const char *
next_name(const char *name)
{
	return name + strlen(name) + 1;
}

/* The likeliest label, of those alike the first. */
static Datum
likeliest_value(const ChatglmAnswer *answer, Oid type)
{
	ChatglmVerdict verdict;
	const char	  *best;
	double		   p = -1;

	chatglm_read_verdict(&verdict, answer);
	best = verdict.name;
	for (int i = 0; i < verdict.n; i++)
	{
		if (verdict.p[i] > p)
		{
			p = verdict.p[i];
			best = verdict.name;
		}
		verdict.name = next_name(verdict.name);
	}
	return CStringGetTextDatum(best);
}

static Jsonb *
scores_json(const ChatglmVerdict *verdict)
{
	JsonbParseState *json = NULL;
	const char		*name = verdict->name;

	chatglm_json_object(&json, NULL);
	chatglm_json_object(&json, "scores");
	for (int i = 0; i < verdict->n; i++)
	{
		chatglm_json_float(&json, name, verdict->p[i]);
		name = next_name(name);
	}
	chatglm_json_end_object(&json);
	chatglm_json_float(&json, "mass", verdict->mass);
	return chatglm_json_finish(&json);
}

/* An array of rows with label, prob and mass; or an object of all that. */
static Datum
scores_value(const ChatglmAnswer *answer, Oid type)
{
	ChatglmVerdict verdict;
	Oid			   row_type = get_element_type(type);
	TupleDesc	   desc;
	Datum		  *rows;
	const char	  *name;

	chatglm_read_verdict(&verdict, answer);
	if (type == JSONBOID)
		return JsonbPGetDatum(scores_json(&verdict));
	desc = lookup_rowtype_tupdesc_copy(row_type, -1);
	if (desc->natts != 3)
		elog(ERROR, "a score has %d columns", desc->natts);
	rows = palloc(verdict.n * sizeof(*rows));
	name = verdict.name;
	for (int i = 0; i < verdict.n; i++)
	{
		Datum values[] = {CStringGetTextDatum(name), Float8GetDatum(verdict.p[i]),
						  Float8GetDatum(verdict.mass)};
		bool  nulls[] = {false, false, false};

		rows[i] = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
		name = next_name(name);
	}
	return PointerGetDatum(construct_array(rows, verdict.n, row_type, -1, false, TYPALIGN_DOUBLE));
}

/* ---- Entry points -------------------------------------------------------------------------- */

/*
 * glm_classify(content text, labels text[], instructions text, examples jsonb, model text,
 * options jsonb) returns text; glm_try_classify(the same) returns glm_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_classify, chatglm_try_classify, .n_args = 6, .model = 4,
						.read = read_classify_one, .value = likeliest_value);

/*
 * glm_classify_scores_array(the same) returns glm_label_score[], which glm_classify_scores
 * unfolds; glm_try_classify_scores(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_classify_scores, chatglm_try_classify_scores, .n_args = 6,
						.model = 4, .read = read_classify, .value = scores_value);

/*
 * glm_sentiment(content text, mixed bool, model text, options jsonb) returns text;
 * glm_try_sentiment(the same) returns glm_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_sentiment, chatglm_try_sentiment, .n_args = 4, .model = 2,
						.read = read_sentiment, .value = likeliest_value);
