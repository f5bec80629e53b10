/*
 * task_prompt.c - the prompts of glm_extract, glm_translate and the like.
 *
 * A task's text is a row of chatglm.task_prompt, or the extension's own where there is
 * none (task_prompt_texts.c).  Its grammar:
 *
 *	{name}	stands for a part that the function has; "{{" for a brace
 *	---		a line of its own, divides the system message from the user's turn
 *
 * A line whose placeholders all stand for nothing is left out, so that a text may say
 * "The text is written in {from_language}." of what a caller need not say.  What is put
 * in is never looked at again: braces and dashes in a user's text are the user's.
 *
 * The text is read for each question, as a model's name is (catalog.c), which takes a few
 * microseconds beside an answer's milliseconds, so that a change is in force at once in
 * all sessions.
 */
#include "chatglm.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "encoding.h"
#include "settings.h"
#include "task_prompt.h"
#include "task_prompt_table.h"
#include "task_prompt_texts.h"
#include "task_template.h"

#define DIVIDER "---"

PG_FUNCTION_INFO_V1(chatglm_show_task_prompt);

/* ---- Looking a text up ------------------------------------------------------------ */

static char *
text_in(const char *task, const char *language)
{
	char *found = chatglm_read_task_prompt(task, language);

	return found != NULL ? found : chatglm_own_task_text(task, language);
}

/* NULL: there is none in English either. */
static char *
find_text(const char *task, const char *language)
{
	char *found = text_in(task, language);

	return found != NULL ? found : text_in(task, "en");
}

static void
no_such_task(const char *task)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("task \"%s\" has no prompt", task),
					errhint("The table chatglm.task_prompt lists the prompts there are.")));
}

/* glm_task_prompt(name text, language text) returns text */
Datum
chatglm_show_task_prompt(PG_FUNCTION_ARGS)
{
	char *task;
	char *found;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	task = text_to_cstring(PG_GETARG_TEXT_PP(0));
	found = find_text(task, PG_ARGISNULL(1) ? chatglm_task_language
											: text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (found == NULL)
		no_such_task(task);
	PG_RETURN_TEXT_P(cstring_to_text(found));
}

/* ---- Filling it in -------------------------------------------------------------------- */

static const char *
value_of(const char *task, const ChatglmPiece *piece, int n_parts, const ChatglmPart *parts)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < n_parts; i++)
	{
		if (strlen(parts[i].name) == (Size) piece->length &&
			memcmp(parts[i].name, piece->text, piece->length) == 0)
			return parts[i].value != NULL ? parts[i].value : "";
		appendStringInfo(&known, "%s{%s}", i > 0 ? ", " : "", parts[i].name);
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the prompt of task \"%s\" has the unknown placeholder {%.*s}", task,
						   piece->length, piece->text),
					errhint("It may have %s; \"{{\" stands for a brace.", known.data)));
}

/* A line with the parts in it; false: it is about nothing that there is. */
static bool
fill_line(StringInfo out, const char *task, const char *line, const char *end, int n_parts,
		  const ChatglmPart *parts)
{
	ChatglmPiece piece;
	bool		 names = false;
	bool		 filled = false;

	while (chatglm_next_piece(task, &line, end, &piece))
	{
		const char *value;

		if (!piece.is_name)
		{
			appendBinaryStringInfo(out, piece.text, piece.length);
			continue;
		}
		value = value_of(task, &piece, n_parts, parts);
		appendStringInfoString(out, value);
		names = true;
		filled = filled || value[0] != '\0';
	}
	return filled || !names;
}

static const char *
end_of_line(const char *text)
{
	return text + strcspn(text, "\n");
}

static bool
is_divider(const char *line, const char *end)
{
	return end - line == strlen(DIVIDER) && memcmp(line, DIVIDER, end - line) == 0;
}

char *
chatglm_task_prompt(const char *task, int n_parts, const ChatglmPart *parts, char **system)
{
	char		  *text = find_text(task, chatglm_task_language);
	StringInfoData turn;
	bool		   divided = false;
	int			   kept;

	*system = NULL;
	if (text == NULL)
		no_such_task(task);
	initStringInfo(&turn);
	for (const char *line = text, *end; *line != '\0'; line = end + (*end == '\n'))
	{
		end = end_of_line(line);
		if (!divided && is_divider(line, end))
		{
			divided = true;
			*system = turn.len > 0 ? turn.data : NULL;
			initStringInfo(&turn);
			continue;
		}
		kept = turn.len;
		if (turn.len > 0)
			appendStringInfoChar(&turn, '\n');
		if (fill_line(&turn, task, line, end, n_parts, parts))
			continue;
		turn.len = kept;
		turn.data[kept] = '\0';
	}
	return turn.data;
}

void
chatglm_put_task(ChatglmCall *call, const char *task, int n_parts, const ChatglmPart *parts)
{
	char *system;
	char *turn = chatglm_task_prompt(task, n_parts, parts, &system);

	call->text = chatglm_cstring_to_utf8(turn);
	call->text_length = strlen(call->text);
	if (system == NULL)
		return;
	system = chatglm_cstring_to_utf8(system);
	call->system = call->system != NULL ? psprintf("%s\n%s", call->system, system) : system;
}
