/*
 * task_template.c - the texts of tasks, as they are written: plain characters, {name} for
 * a placeholder, "{{" for a brace.
 */
#include "chatglm.h"

#include "task_template.h"

bool
chatglm_next_piece(const char *task, const char **at, const char *end, ChatglmPiece *piece)
{
	const char *text = *at;
	const char *brace = memchr(text, '{', end - text);

	if (text == end)
		return false;
	*piece = (ChatglmPiece){text, (brace != NULL ? brace : end) - text, false};
	if (brace == text && text + 1 < end && text[1] == '{')
	{
		piece->length = 1;
		*at = text + 2;
		return true;
	}
	if (brace == text)
	{
		int length = strspn(text + 1, "abcdefghijklmnopqrstuvwxyz_");

		if (length == 0 || text + 1 + length >= end || text[1 + length] != '}')
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the prompt of task \"%s\" has a brace that begins no "
								   "placeholder",
								   task),
							errhint("A placeholder is a name in braces, as in {content}; \"{{\" "
									"stands for a brace.")));
		*piece = (ChatglmPiece){text + 1, length, true};
		*at = text + length + 2;
		return true;
	}
	*at = text + piece->length;
	return true;
}
