/*
 * fold.h - many texts made one by a model, more than its context holds.
 */
#ifndef CHATGLM_FOLD_H
#define CHATGLM_FOLD_H

#include "ask.h"
#include "batch_stat.h"
#include "call.h"
#include "text_store.h"

typedef struct ChatglmFold
{
	ChatglmCall call;		 /* what all questions have in common, its model named */
	const char *instruction; /* NULL: the tasks have none */

	/* counted up */
	ChatglmBatchStat *stat;
	int64			  prompt_tokens;
	int64			  completion_tokens;
	glm_finish		  finish; /* of the last answer */
} ChatglmFold;

/*
 * Task `first` is asked of as many of the texts as fit, again and again, task `merge` of as
 * many of the answers as fit, until one answer is left.  Questions of a level run side by
 * side.  There is at least one text.
 */
extern text *chatglm_fold_tree(ChatglmFold *fold, const char *first, const char *merge,
							   ChatglmTexts *texts);

/* The task is asked of as many of the texts as fit and of what it answered before, in order. */
extern text *chatglm_fold_left(ChatglmFold *fold, const char *task, ChatglmTexts *texts);

#endif /* CHATGLM_FOLD_H */
