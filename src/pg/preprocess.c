/*
 * preprocess.c - glm_preprocess: a text made ready for counting, searching or a linear model.
 *
 * It needs no model, so it is IMMUTABLE and may stand in a generated column or an index.
 * The text is normalized, then its letters made small or capital, both by PostgreSQL, then split by
 * the engine's rules (engine/text/units.c), and words are left out.  What remains is given
 * one by one, or with max_length in runs of so many.
 */
#include "chatglm.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "encoding.h"
#include "options.h"
#include "stop_words.h"

PG_FUNCTION_INFO_V1(chatglm_preprocess);

#define LONGEST_PHRASE 4 /* words side by side that may be one stop word: Chinese characters */

typedef enum Split
{
	SPLIT_NONE,
	SPLIT_WORDS,
	SPLIT_SENTENCES,
	SPLIT_PARAGRAPHS,
	SPLIT_TOKENS
} Split;

typedef enum LetterCase
{
	CASE_NONE,
	CASE_LOWER,
	CASE_UPPER
} LetterCase;

typedef struct Preprocess
{
	Oid				  collation;
	Split			  split;
	int				  form; /* of normalization_forms */
	LetterCase		  letter_case;
	ChatglmStopWords *stop_words; /* NULL: none */
	int				  max_length; /* 0: not said */
	int				  overlap;
} Preprocess;

static const char *const normalization_forms[] = {"none", "nfc", "nfd", "nfkc", "nfkd", NULL};

/* ---- Options ---------------------------------------------------------------------- */

static int
read_choice(const char *key, const JsonbValue *value, const char *const *names, const char *rule)
{
	int choice = chatglm_option_choice(value, names);

	if (choice < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be %s", key, rule)));
	return choice;
}

static int
read_count(const char *key, const JsonbValue *value, int least)
{
	double number = -1;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= least && number <= INT_MAX && number == (int) number))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.%s\" must be a whole number, at least %d", key,
							   least)));
	return (int) number;
}

static void
read_preprocess_option(const char *key, JsonbValue *value, void *arg)
{
	static const char *const splits[] = {"none",	   "words",	 "sentences",
										 "paragraphs", "tokens", NULL};
	static const char *const cases[] = {"none", "lower", "upper", NULL};
	Preprocess				*p = arg;
	bool					 is_null = value->type == jbvNull;

	if (strcmp(key, "split") == 0)
		p->split = is_null ? SPLIT_NONE
						   : read_choice(key, value, splits,
										 "\"words\", \"sentences\", \"paragraphs\" or \"none\"");
	else if (strcmp(key, "normalize") == 0)
		p->form = is_null ? 0
						  : read_choice(key, value, normalization_forms,
										"\"nfc\", \"nfd\", \"nfkc\", \"nfkd\" or \"none\"");
	else if (strcmp(key, "case") == 0)
		p->letter_case = is_null
							 ? CASE_NONE
							 : read_choice(key, value, cases, "\"lower\", \"upper\" or \"none\"");
	else if (strcmp(key, "stop_words") == 0)
		p->stop_words = is_null ? NULL : chatglm_read_stop_words(value, p->collation);
	else if (strcmp(key, "max_length") == 0)
		p->max_length = is_null ? 0 : read_count(key, value, 1);
	else if (strcmp(key, "overlap") == 0)
		p->overlap = is_null ? 0 : read_count(key, value, 0);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown key \"%s\" in argument \"options\"", key),
						errhint("Known keys are case, max_length, normalize, overlap, split and "
								"stop_words.")));
}

static void
check_options(const Preprocess *p)
{
	if (p->split == SPLIT_TOKENS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"options.split\" cannot be \"tokens\", which take a model"),
				 errhint("glm_chunk cuts a text by a model's tokens.")));
	if (p->stop_words != NULL && p->split != SPLIT_WORDS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.stop_words\" needs \"split\": \"words\"")));
	if (p->overlap > 0 && p->overlap >= p->max_length)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"options.overlap\" must be less than "
							   "\"options.max_length\"")));
}

/* ---- The text as a whole ------------------------------------------------------------ */

static text *
normalize(text *content, int form)
{
	if (form == 0)
		return content;
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("texts are normalized in databases with encoding UTF8 only")));
	return DatumGetTextPP(DirectFunctionCall2(unicode_normalize_func, PointerGetDatum(content),
											  CStringGetTextDatum(normalization_forms[form])));
}

static text *
set_case(text *content, LetterCase letter_case, Oid collation)
{
	if (letter_case == CASE_NONE)
		return content;
	return DatumGetTextPP(DirectFunctionCall1Coll(letter_case == CASE_LOWER ? lower : upper,
												  collation, PointerGetDatum(content)));
}

/* ---- Units --------------------------------------------------------------------------- */

/* A unit of the text: bytes [from, to). */
typedef struct Unit
{
	Size from;
	Size to;
} Unit;

typedef struct Units
{
	const char *text; /* UTF-8 */
	Size		n;
	const char *separator; /* that stands for what stood between two of them */
	int			count;
	int			capacity;
	Unit	   *unit;
} Units;

static void
add_unit(Units *units, Size from, Size to)
{
	if (units->count == units->capacity)
	{
		units->capacity *= 2;
		units->unit = repalloc_huge(units->unit, units->capacity * sizeof(Unit));
	}
	units->unit[units->count++] = (Unit){from, to};
}

static void
find_units(Units *units, glm_unit kind)
{
	size_t from, to = 0;

	while (glm_next_unit(kind, units->text, units->n, &from, &to))
	{
		CHECK_FOR_INTERRUPTS();
		add_unit(units, from, to);
	}
}

static void
find_characters(Units *units)
{
	int length;

	for (Size at = 0; at < units->n; at += length)
	{
		CHECK_FOR_INTERRUPTS();
		length = pg_utf_mblen((const unsigned char *) units->text + at);
		add_unit(units, at, at + length);
	}
}

/* How many units from the i-th on, side by side, are one stop word; 0: none. */
static int
stop_word_at(const Units *units, int i, const ChatglmStopWords *words)
{
	int n = 1;

	while (n < LONGEST_PHRASE && i + n < units->count &&
		   units->unit[i + n].from == units->unit[i + n - 1].to)
		n++;
	for (; n > 0; n--)
		if (chatglm_is_stop_word(words, units->text + units->unit[i].from,
								 units->unit[i + n - 1].to - units->unit[i].from))
			return n;
	return 0;
}

static void
drop_stop_words(Units *units, const ChatglmStopWords *words)
{
	int kept = 0;

	for (int i = 0, n; words != NULL && i < units->count; i += Max(n, 1))
	{
		CHECK_FOR_INTERRUPTS();
		n = stop_word_at(units, i, words);
		if (n == 0)
			units->unit[kept++] = units->unit[i];
	}
	if (words != NULL)
		units->count = kept;
}

static void
split(Units *units, const Preprocess *p)
{
	units->capacity = 64;
	units->unit = palloc(units->capacity * sizeof(Unit));
	units->separator = p->split == SPLIT_PARAGRAPHS ? "\n\n" : " ";
	if (p->split == SPLIT_WORDS)
		find_units(units, GLM_UNIT_WORD);
	else if (p->split == SPLIT_SENTENCES)
		find_units(units, GLM_UNIT_SENTENCE);
	else if (p->split == SPLIT_PARAGRAPHS)
		find_units(units, GLM_UNIT_PARAGRAPH);
	else if (p->max_length > 0)
		find_characters(units);
	else if (units->n > 0)
		add_unit(units, 0, units->n);
	drop_stop_words(units, p->stop_words);
}

/* ---- What is given ---------------------------------------------------------------------- */

/* The text of so many units: with a separator where something stood between two of them. */
static text *
join_units(const Units *units, int first, int n)
{
	StringInfoData joined;
	text		  *value;

	initStringInfo(&joined);
	for (int i = first; i < first + n; i++)
	{
		const Unit *unit = &units->unit[i];

		if (i > first && unit->from > unit[-1].to)
			appendStringInfoString(&joined, units->separator);
		appendBinaryStringInfo(&joined, units->text + unit->from, unit->to - unit->from);
	}
	value = chatglm_text_from_utf8(joined.data, joined.len);
	pfree(joined.data);
	return value;
}

static Datum
give(const Units *units, const Preprocess *p)
{
	ArrayBuildState *result = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	int				 length = p->max_length > 0 ? p->max_length : 1;

	for (int i = 0; i < units->count; i += length - p->overlap)
	{
		int	  n = Min(length, units->count - i);
		text *one = join_units(units, i, n);

		CHECK_FOR_INTERRUPTS();
		result =
			accumArrayResult(result, PointerGetDatum(one), false, TEXTOID, CurrentMemoryContext);
		pfree(one);
		if (i + n == units->count)
			break;
	}
	return makeArrayResult(result, CurrentMemoryContext);
}

/* glm_preprocess(content text, options jsonb) returns text[] */
Datum
chatglm_preprocess(PG_FUNCTION_ARGS)
{
	Preprocess p = {.collation = PG_GET_COLLATION()};
	Units	   units = {0};
	text	  *content;

	if (!PG_ARGISNULL(1))
		chatglm_read_options(PG_GETARG_JSONB_P(1), read_preprocess_option, &p);
	check_options(&p);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	content = normalize(PG_GETARG_TEXT_PP(0), p.form);
	content = set_case(content, p.letter_case, p.collation);
	units.text = chatglm_text_to_utf8(content, &units.n);
	split(&units, &p);
	PG_RETURN_DATUM(give(&units, &p));
}
