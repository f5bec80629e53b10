/*
 * task_prompt.h - the prompts of glm_extract, glm_translate and the like.
 */
#ifndef CHATGLM_TASK_PROMPT_H
#define CHATGLM_TASK_PROMPT_H

#include "call.h"

/* What takes the place of {name}, in the database's encoding; NULL is as good as "". */
typedef struct ChatglmPart
{
	const char *name;
	const char *value;
} ChatglmPart;

/*
 * The user's turn of a task: its text in chatglm.task_prompt, in the language that
 * chatglm.task_language names or else in English, with these parts in their places.
 * *system has the system message, NULL where the text has none.  Both in the database's
 * encoding, in the current context.
 *
 * ERROR 42704: no such task; 22023: its text has a placeholder that is not among the parts.
 */
extern char *chatglm_task_prompt(const char *task, int n_parts, const ChatglmPart *parts,
								 char **system);

/*
 * Makes that turn the call's text, and its system message the call's, behind one that the
 * caller's arguments have brought.
 */
extern void chatglm_put_task(ChatglmCall *call, const char *task, int n_parts,
							 const ChatglmPart *parts);

#endif /* CHATGLM_TASK_PROMPT_H */
