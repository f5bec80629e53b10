/*
 * filter.c - glm_filter and glm_score: yes or no, and how likely yes is.
 *
 * The words that mean yes and those that mean no are the labels (verdict.c); the
 * probability of yes is held against a threshold, or is the value itself.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "filter.h"
#include "jsonb_build.h"
#include "verdict.h"

/* ---- Arguments ------------------------------------------------------------------------ */

/* A text that must be there if that which is judged is. */
static const char *
needed_text(const NullableDatum *arg, const char *name)
{
	if (arg->isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be NULL", name)));
	return TextDatumGetCString(arg->value);
}

static double
read_threshold(const NullableDatum *arg)
{
	double threshold = arg->isnull ? 0.5 : (double) DatumGetFloat4(arg->value);

	/* so that a NaN is out of range */
	if (!(threshold >= 0 && threshold <= 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"threshold\" must be between 0 and 1")));
	return threshold;
}

/* A question of a task, about a text: both first, model and options from `tail` on. */
static bool
read_about(ChatglmCall *call, const NullableDatum *args, const char *task, const char *asked,
		   const char *about, const NullableDatum *tail, const NullableDatum *threshold)
{
	ChatglmWeighing weighing;
	ChatglmQuestion question = {.task = task, .n_parts = 2, .content = 1};

	if (args[1].isnull)
		return false;
	chatglm_begin_verdict(call, &weighing, &tail[0], &tail[1]);
	question.parts[0] = (ChatglmPart){asked, needed_text(&args[0], asked)};
	question.parts[1] = (ChatglmPart){about, TextDatumGetCString(args[1].value)};
	chatglm_put_yes_no(call, &weighing, &question, threshold ? read_threshold(threshold) : 0);
	return true;
}

/* (question text, content text, threshold real, model text, options jsonb) */
static bool
read_filter(ChatglmCall *call, const NullableDatum *args)
{
	return read_about(call, args, "filter", "question", "content", &args[3], &args[2]);
}

/* (question text, content text, model text, options jsonb) */
static bool
read_filter_prob(ChatglmCall *call, const NullableDatum *args)
{
	return read_about(call, args, "filter", "question", "content", &args[2], NULL);
}

/* (query text, document text, model text, options jsonb) */
static bool
read_score(ChatglmCall *call, const NullableDatum *args)
{
	return read_about(call, args, "score", "query", "document", &args[2], NULL);
}

/* One of the labels. */
static const char *
one_label(const ChatglmLabels *labels, const NullableDatum *arg)
{
	const char *label = needed_text(arg, "label");

	if (chatglm_find_label(labels, label) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"label\" is \"%s\", which is none of the labels", label)));
	return label;
}

/*
 * (content text, labels text[], label text, instructions text, threshold real, model text,
 * options jsonb)
 */
static bool
read_has_label(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmWeighing weighing;
	ChatglmLabels	labels;
	ChatglmQuestion question = {.task = "classify_multi", .n_parts = 4, .content = 0};

	if (args[0].isnull)
		return false;
	chatglm_read_labels(&labels, &args[1]);
	chatglm_begin_verdict(call, &weighing, &args[5], &args[6]);
	question.parts[0] = (ChatglmPart){"content", TextDatumGetCString(args[0].value)};
	question.parts[1] = (ChatglmPart){"labels", chatglm_list_labels(&labels)};
	question.parts[2] = (ChatglmPart){"label", one_label(&labels, &args[2])};
	question.parts[3] =
		(ChatglmPart){"instructions", args[3].isnull ? NULL : TextDatumGetCString(args[3].value)};
	chatglm_put_yes_no(call, &weighing, &question, read_threshold(&args[4]));
	return true;
}

/* ---- Values ---------------------------------------------------------------------------- */

/* Is yes likely enough? */
static Datum
yes_value(const ChatglmAnswer *answer, Oid type)
{
	ChatglmVerdict verdict;

	chatglm_read_verdict(&verdict, answer);
	if (type == JSONBOID)
		return JsonbPGetDatum(chatglm_json_of_bool(verdict.p[0] >= verdict.threshold));
	return BoolGetDatum(verdict.p[0] >= verdict.threshold);
}

static Datum
probability_value(const ChatglmAnswer *answer, Oid type)
{
	ChatglmVerdict verdict;

	chatglm_read_verdict(&verdict, answer);
	if (type == JSONBOID)
		return JsonbPGetDatum(chatglm_json_of_float(verdict.p[0]));
	return Float8GetDatum(verdict.p[0]);
}

/* The probability of yes; or an object of that and of the share of yes and no of everything. */
static Datum
yes_and_mass_value(const ChatglmAnswer *answer, Oid type)
{
	ChatglmVerdict	 verdict;
	JsonbParseState *json = NULL;

	if (type != JSONBOID)
		return probability_value(answer, type);
	chatglm_read_verdict(&verdict, answer);
	chatglm_json_object(&json, NULL);
	chatglm_json_float(&json, "prob", verdict.p[0]);
	chatglm_json_float(&json, "mass", verdict.mass);
	return JsonbPGetDatum(chatglm_json_finish(&json));
}

/* ---- Entry points -------------------------------------------------------------------------- */

/*
 * glm_filter(question text, content text, threshold real, model text, options jsonb) returns
 * boolean, as does glm_if; glm_try_filter(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_filter, chatglm_try_filter, .n_args = 5, .model = 3,
						.read = read_filter, .value = yes_value);

/*
 * glm_filter_prob(question text, content text, model text, options jsonb) returns float8;
 * glm_try_filter_prob(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_filter_prob, chatglm_try_filter_prob, .n_args = 4, .model = 2,
						.read = read_filter_prob, .value = yes_and_mass_value);

/*
 * glm_score(query text, document text, model text, options jsonb) returns float8;
 * glm_try_score(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_score, chatglm_try_score, .n_args = 4, .model = 2,
						.read = read_score, .value = probability_value);

/*
 * glm_has_label(content text, labels text[], label text, instructions text, threshold
 * real, model text, options jsonb) returns boolean, which glm_classify_multi asks of each;
 * glm_try_has_label(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_has_label, chatglm_try_has_label, .n_args = 7, .model = 5,
						.read = read_has_label, .value = yes_value);
