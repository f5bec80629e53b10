/*
 * task_prompt_table.c - the table chatglm.task_prompt: what it may hold, and what of it
 * a dump has.
 *
 * CREATE EXTENSION puts the extension's own texts into it.  A dump has to have those rows
 * alone that somebody changed or added, since restoring it begins with CREATE EXTENSION,
 * which may be a newer one with better texts.  So each row says whether it was changed:
 * the trigger below sets that whenever it does not run for the extension's script.  A row
 * that is inserted takes the place of the extension's, so that a restored one, which
 * comes when the extension's is there already, does not collide with it.
 *
 * A row that is deleted gives the extension's own text its place back (task_prompt.c),
 * before and after a restore.
 */
#include "chatglm.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "catalog.h"
#include "result_rows.h"
#include "task_prompt_table.h"
#include "task_prompt_texts.h"
#include "task_template.h"

/* Columns, from 0. */
enum
{
	COLUMN_NAME,
	COLUMN_LANGUAGE,
	COLUMN_TEXT,
	COLUMN_CHANGED,
	COLUMNS
};

static const ChatglmTable prompt_table = {
	"task_prompt", "chatglm_task_prompt_check", COLUMNS, {TEXTOID, TEXTOID, TEXTOID, BOOLOID}};

PG_FUNCTION_INFO_V1(chatglm_own_task_prompts);
PG_FUNCTION_INFO_V1(chatglm_task_prompt_check);

/* ---- Reading ---------------------------------------------------------------------- */

char *
chatglm_read_task_prompt(const char *task, const char *language)
{
	const char *key[] = {task, language};
	Relation	table = chatglm_open_table(&prompt_table, AccessShareLock);
	HeapTuple	row;
	char	   *found = NULL;

	if (table == NULL)
		return NULL;
	row = chatglm_find_row(table, key, lengthof(key));
	if (HeapTupleIsValid(row))
	{
		bool  isnull;
		Datum value = heap_getattr(row, COLUMN_TEXT + 1, RelationGetDescr(table), &isnull);

		if (!isnull)
			found = TextDatumGetCString(value);
	}
	table_close(table, AccessShareLock);
	return found;
}

/* ---- The extension's own ------------------------------------------------------------ */

/* chatglm.own_task_prompts() returns table(name text, language text, text text) */
Datum
chatglm_own_task_prompts(PG_FUNCTION_ARGS)
{
	static const char *const languages[] = {"en", "zh"};
	TupleDesc				 desc;
	Tuplestorestate			*rows = chatglm_begin_rows(fcinfo, &desc);

	if (desc->natts != COLUMN_TEXT + 1)
		elog(ERROR, "own_task_prompts has %d columns", desc->natts);
	for (int i = 0; i < chatglm_n_tasks * (int) lengthof(languages); i++)
	{
		const char *name = chatglm_tasks[i / lengthof(languages)].name;
		const char *language = languages[i % lengthof(languages)];
		char	   *text = chatglm_own_task_text(name, language);
		bool		nulls[COLUMN_TEXT + 1] = {false};
		Datum		values[COLUMN_TEXT + 1];

		if (text == NULL)
			continue;
		values[COLUMN_NAME] = CStringGetTextDatum(name);
		values[COLUMN_LANGUAGE] = CStringGetTextDatum(language);
		values[COLUMN_TEXT] = CStringGetTextDatum(text);
		tuplestore_putvalues(rows, desc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- What may be written -------------------------------------------------------------- */

/* Is the name in a list that has a blank behind each of its words? */
static bool
is_listed(const char *list, const char *name, int length)
{
	for (const char *word = list; *word != '\0'; word = strchr(word, ' ') + 1)
		if (strncmp(word, name, length) == 0 && word[length] == ' ')
			return true;
	return false;
}

/* The words of such a list as placeholders: "{a}, {b}". */
static char *
as_placeholders(const char *list)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *word = list; *word != '\0'; word = strchr(word, ' ') + 1)
		appendStringInfo(&out, "%s{%.*s}", word > list ? ", " : "", (int) strcspn(word, " "), word);
	return out.data;
}

static bool
has_placeholder(const char *task, const char *text, const char *name, int length)
{
	const char	*end = text + strlen(text);
	ChatglmPiece piece;

	while (chatglm_next_piece(task, &text, end, &piece))
		if (piece.is_name && piece.length == length && memcmp(piece.text, name, length) == 0)
			return true;
	return false;
}

/* A task that is not the extension's may have any placeholders, if they are some. */
static void
check_text(const char *name, const char *text)
{
	const ChatglmTask *task = chatglm_find_task(name);
	const char		  *at = text;
	ChatglmPiece	   piece;

	while (chatglm_next_piece(name, &at, text + strlen(text), &piece))
		if (task != NULL && piece.is_name &&
			!is_listed(task->placeholders, piece.text, piece.length))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the prompt of task \"%s\" has the unknown placeholder {%.*s}",
								   name, piece.length, piece.text),
							errhint("It may have %s; \"{{\" stands for a brace.",
									as_placeholders(task->placeholders))));
	if (task == NULL)
		return;
	for (const char *word = task->needed; *word != '\0'; word = strchr(word, ' ') + 1)
		if (!has_placeholder(name, text, word, strcspn(word, " ")))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the prompt of task \"%s\" lacks the placeholder {%.*s}", name,
								   (int) strcspn(word, " "), word),
							errhint("Without it the model would not know it.")));
}

/* Takes away the row of the extension's that a new one is about to replace. */
static void
make_way(Relation table, const char *name, const char *language)
{
	const char *key[] = {name, language};
	HeapTuple	row = chatglm_find_row(table, key, lengthof(key));
	bool		isnull;
	Datum		changed;

	if (!HeapTupleIsValid(row))
		return;
	changed = heap_getattr(row, COLUMN_CHANGED + 1, RelationGetDescr(table), &isnull);
	if (isnull || DatumGetBool(changed))
		return;
	simple_heap_delete(table, &row->t_self);
	CommandCounterIncrement(); /* another row of this statement must not find it again */
}

/* chatglm.check_task_prompt(): BEFORE INSERT OR UPDATE trigger of chatglm.task_prompt */
Datum
chatglm_task_prompt_check(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	int			 column = COLUMN_CHANGED + 1;
	Datum		 changed = BoolGetDatum(true);
	bool		 isnull = false;
	Datum		 columns[COLUMNS];
	bool		 nulls[COLUMNS];
	char		*values[COLUMN_TEXT + 1];
	HeapTuple	 row =
		chatglm_new_row(fcinfo, &prompt_table, "chatglm.check_task_prompt", columns, nulls);

	for (int i = 0; i < (int) lengthof(values); i++)
	{
		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
							errmsg("a prompt's name, language and text must not be NULL")));
		values[i] = TextDatumGetCString(columns[i]);
	}
	check_text(values[COLUMN_NAME], values[COLUMN_TEXT]);
	if (creating_extension)
		return PointerGetDatum(row);
	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		make_way(trigger->tg_relation, values[COLUMN_NAME], values[COLUMN_LANGUAGE]);
	return PointerGetDatum(heap_modify_tuple_by_cols(row, RelationGetDescr(trigger->tg_relation), 1,
													 &column, &changed, &isnull));
}
