/*
 * task_prompt_table.h - the table chatglm.task_prompt.
 */
#ifndef CHATGLM_TASK_PROMPT_TABLE_H
#define CHATGLM_TASK_PROMPT_TABLE_H

#include "chatglm.h"

/* The text of a row; NULL when there is none, or no table as the extension made it. */
extern char *chatglm_read_task_prompt(const char *task, const char *language);

#endif /* CHATGLM_TASK_PROMPT_TABLE_H */
