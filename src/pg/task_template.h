/*
 * task_template.h - the texts of tasks, as they are written.
 */
#ifndef CHATGLM_TASK_TEMPLATE_H
#define CHATGLM_TASK_TEMPLATE_H

#include "chatglm.h"

/* A piece of a task's text: plain characters, or the name of a placeholder. */
typedef struct ChatglmPiece
{
	const char *text;
	int			length;
	bool		is_name;
} ChatglmPiece;

/* Takes the next piece from *at; false at the end.  ERROR 22023: a brace of no placeholder. */
extern bool chatglm_next_piece(const char *task, const char **at, const char *end,
							   ChatglmPiece *piece);

#endif /* CHATGLM_TASK_TEMPLATE_H */
