/*
 * task_prompt_texts.h - the extension's own prompts of tasks.
 */
#ifndef CHATGLM_TASK_PROMPT_TEXTS_H
#define CHATGLM_TASK_PROMPT_TEXTS_H

#include "chatglm.h"

/* A task that a function of the extension has. */
typedef struct ChatglmTask
{
	const char *name;
	const char *placeholders; /* those its text may have, a blank behind each */
	const char *needed;		  /* those it must have, in the same way */
	const char *english;
	const char *chinese; /* UTF-8 */
} ChatglmTask;

extern const ChatglmTask chatglm_tasks[];
extern const int		 chatglm_n_tasks;

/* NULL: not one of the extension's. */
extern const ChatglmTask *chatglm_find_task(const char *name);

/*
 * The extension's own text of a task in the database's encoding; NULL when there is none
 * in this language, or the encoding lacks a character of it.
 */
extern char *chatglm_own_task_text(const char *task, const char *language);

#endif /* CHATGLM_TASK_PROMPT_TEXTS_H */
