/*
 * paths.c - messages without the paths of models.
 *
 * Anybody may use a model, by its name; its directory is shown only to those who may read
 * the server's files.  The engine's errors name files, so for other roles a message is
 * rewritten: the directory goes, the name of the model and that of the file in it stay.  The
 * server's log has the path only when its own settings log the error.
 */
#include "chatglm.h"

#include "paths.h"

/* A message with a path in it may have been cut off at its end, within the path. */
#define CUT_OFF (sizeof(((glm_error *) NULL)->hint) - 8)

/* The length of the path, or of its beginning that a cut text ends in, at this place. */
static Size
match_path(const char *at, const char *path, Size length, bool cut)
{
	Size n = 0;

	while (n < length && at[n] == path[n])
		n++;
	return n == length || (cut && n > 0 && at[n] == '\0') ? n : 0;
}

/* What of a path comes behind the directory: the name of the file alone. */
static const char *
skip_directories(const char *at)
{
	const char *end = at + strcspn(at, "\"");

	for (const char *c = at; c < end; c++)
		if (*c == '/')
			at = c + 1;
	return at;
}

char *
chatglm_hide_path(const char *text, const char *path, const char *model)
{
	bool		   cut = strlen(text) >= CUT_OFF;
	Size		   length = strlen(path);
	bool		   found = false;
	StringInfoData out;

	while (length > 0 && path[length - 1] == '/')
		length--;
	initStringInfo(&out);
	while (*text != '\0')
	{
		Size n = length > 0 ? match_path(text, path, length, cut) : 0;

		if (n == 0)
		{
			appendStringInfoChar(&out, *text++);
			continue;
		}
		found = true;
		text += n;
		if (*text == '/')
			text = skip_directories(text);
		else
			appendStringInfoString(&out, *text == '\0' ? "..." : model);
	}
	return found ? psprintf("model \"%s\": %s", model, out.data) : out.data;
}
