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

/* (question text, content text, threshold real, model text, options jsonb) */
static bool
read_filter(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmWeighing weighing;
	ChatglmQuestion question = {.task = "filter", .n_parts = 2, .content = 1};

	if (args[1].isnull)
		return false;
	chatglm_begin_verdict(call, &weighing, &args[3], &args[4]);
	question.parts[0] = (ChatglmPart){"question", needed_text(&args[0], "question")};
	question.parts[1] = (ChatglmPart){"content", TextDatumGetCString(args[1].value)};
	chatglm_put_yes_no(call, &weighing, &question, read_threshold(&args[2]));
	return true;
}

/* (query text, document text, model text, options jsonb) */
static bool
read_score(ChatglmCall *call, const NullableDatum *args)
{
	ChatglmWeighing weighing;
	ChatglmQuestion question = {.task = "score", .n_parts = 2, .content = 1};

	if (args[1].isnull)
		return false;
	chatglm_begin_verdict(call, &weighing, &args[2], &args[3]);
	question.parts[0] = (ChatglmPart){"query", needed_text(&args[0], "query")};
	question.parts[1] = (ChatglmPart){"document", TextDatumGetCString(args[1].value)};
	chatglm_put_yes_no(call, &weighing, &question, 0);
	return true;
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
	question.parts[2] = (ChatglmPart){"label", needed_text(&args[2], "label")};
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

/* ---- Entry points -------------------------------------------------------------------------- */

/*
 * glm_filter(question text, content text, threshold real, model text, options jsonb) returns
 * boolean, as does glm_if; glm_try_filter(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_filter, chatglm_try_filter, .n_args = 5, .model = 3,
						.read = read_filter, .value = yes_value);

/*
 * glm_score(query text, document text, model text, options jsonb) returns float8;
 * glm_try_score(the same) returns glm_json_result
 */
CHATGLM_DEFINE_WITH_TRY(chatglm_score, chatglm_try_score, .n_args = 4, .model = 2,
						.read = read_score, .value = probability_value);

/*
 * glm_has_label(content text, labels text[], label text, instructions text, threshold
 * real, model text, options jsonb) returns boolean, which glm_classify_multi asks of each
 */
CHATGLM_DEFINE_FUNCTION(chatglm_has_label, .n_args = 7, .model = 5, .read = read_has_label,
						.value = yes_value);
